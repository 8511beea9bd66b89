"""Answers by the tokens' prefixes, and notes when each request came: by the stand-ins' own clock, in a file.

`SANDBOX_ARRIVALS` names the file. A line is the time, the gateway and the token.
"""

import os
import time
from pathlib import Path

from sandbox.gateways.behaviour import Behaviour, Gateway, by_prefix

_FILE = Path(os.environ.get("SANDBOX_ARRIVALS", os.devnull)).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115


def answer(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """The behaviour that the token's prefix asks for."""
    _FILE.write(f"{time.time():.3f} {gateway.value} {token}\n")
    return by_prefix(gateway, token, attempt, nth)


def arrivals(path: Path) -> list[tuple[float, str]]:
    """When each request came, and for which token, in their order."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [(float(at), token) for at, _, token in lines]
