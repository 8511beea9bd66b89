"""The sink in place of the stand-ins: it takes a fraction of their CPU, and notes when each request came.

Every push is accepted. Of FCM's the tokens are not seen, which are in the bodies: they count as different ones.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from sandbox.gateways import Gateways
from sandbox.gateways.counts import ARRIVALS_PER_S, Figures, GatewayFigures, OAuthFigures, ProcessFigures
from sandbox.gateways.server import Addresses
from tests.bench import sink
from tests.bench.keys import apns_key, service_account

APNS_PATH = "/3/device/"
FCM_PATH = "/v1/"
LOG_LATE_S = 1.5
"""The sink writes its log each second."""


class SunkGateways(Gateways):
    """Has the stand-ins' address and counts, and no process of theirs."""

    def __init__(self, to: sink.Sink) -> None:
        self.sink = to
        home = Path(to.ca_file).parent
        # As the stand-ins name them: what is served over https beside them takes the same certificate.
        for theirs, ours in (("cert.pem", "server.pem"), ("key.pem", "server-key.pem")):
            (home / ours).write_bytes((home / theirs).read_bytes())
        self.addresses = Addresses(
            to.url, to.url, to.url, f"{to.url}/token", to.url, to.ca_file, fcm_service_account_file="",
            apns_key_file="", pid=0,
        )  # fmt: skip

    def stop(self) -> None:
        """Whoever began it ends the sink."""

    @cached_property
    def fcm_service_account(self) -> str:
        """The FCM secret."""
        return json.dumps(service_account(f"{self.sink.url}/token"))

    @cached_property
    def apns_key(self) -> str:
        """The APNs secret."""
        key = {"key": apns_key(), "key_id": "ABC123DEFG", "team_id": "TEAM123456", "topic": "com.example.app"}
        return json.dumps(key)

    def counts(self) -> Figures:
        """What the sink has noted so far."""
        time.sleep(LOG_LATE_S)
        tokens: Counter[str] = Counter()
        fcm = 0
        for _, path in self._noted():
            if path.startswith(APNS_PATH):
                tokens[path] += 1
            fcm += path.startswith(FCM_PATH)
        repeated = sum(times > 1 for times in tokens.values())
        return Figures(
            _figures(fcm, fcm, 0),
            _figures(tokens.total(), len(tokens), repeated),
            _figures(0, 0, 0),
            OAuthFigures(0, 0, {}),
            ProcessFigures(0.0, 0.0),
        )

    def arrivals(self) -> dict[str, dict[int, int]]:
        """By gateway, how many requests came in each 20 ms, by the sink's clock."""
        time.sleep(LOG_LATE_S)
        found: dict[str, Counter[int]] = {"fcm": Counter(), "apns": Counter()}
        for at_s, path in self._noted():
            gateway = "apns" if path.startswith(APNS_PATH) else "fcm"
            if path.startswith((APNS_PATH, FCM_PATH)):
                found[gateway][int(at_s * ARRIVALS_PER_S)] += 1
        return {name: dict(of_one) for name, of_one in found.items()}

    def _noted(self) -> Iterator[tuple[float, str]]:
        """When each request came, and its path."""
        assert self.sink.log is not None
        for line in self.sink.log.read_text().splitlines():
            # The time is that of the answer: the pause before it is taken back.
            answered_s, took_s, path = line.split(" ", 2)
            yield float(answered_s) - float(took_s), path


def _figures(requests: int, distinct: int, repeated: int) -> GatewayFigures:
    return GatewayFigures(requests, distinct, repeated, distinct, repeated, 0, 0, 0, 0, 0, {"200": requests})


@contextlib.contextmanager
def sunk_gateways(*, late: bool = False) -> Iterator[SunkGateways]:
    """A sink that counts. `late`: it answers when gateways do (`tests.bench.latency`)."""
    with sink.running(late=late, logs=True) as to:
        yield SunkGateways(to)
