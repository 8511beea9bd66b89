"""Answers as gateways give them: log-normal, median 60 ms, 99th percentile 400 ms, one in 1,000 at 5 s.

A behaviour of the stand-ins (`sandbox.gateways.behaviour`): `tests.bench.latency:answers`.
"""

import math
import random

from sandbox.gateways.behaviour import Behaviour, Gateway

MEDIAN_MS, P99_MS = 60.0, 400.0
SLOW_MS, SLOW_SHARE = 5_000.0, 0.001
_SIGMA = math.log(P99_MS / MEDIAN_MS) / 2.3263
_draw = random.Random(7)


def answers(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """Accepted, late."""
    if _draw.random() < SLOW_SHARE:
        return Behaviour(delay_ms=SLOW_MS)
    return Behaviour(delay_ms=_draw.lognormvariate(math.log(MEDIAN_MS), _SIGMA))
