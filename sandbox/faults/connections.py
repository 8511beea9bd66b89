"""Connections to the gateways: nothing listens, the handshake fails, the connection breaks, answers come in pieces."""

from collections.abc import Callable

from sandbox.faults.http2 import accepted
from sandbox.faults.line import STEADY, Line
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action
from sandbox.wire.server import Behaviour, Seen

_FAILED_HANDSHAKES = 4
_TORN_CONNECTIONS = 3
_TORN_AFTER_BYTES = 12_000
_FRAMES = 5


def no_handshake() -> Callable[[int], Line]:
    """The first connections get nonsense instead of a TLS handshake."""
    return lambda n: Line(garbage=True) if n <= _FAILED_HANDSHAKES else STEADY


def tear() -> Callable[[int], Line]:
    """The first connections are reset once some answers have passed."""
    return lambda n: Line(reset_after=_TORN_AFTER_BYTES) if n <= _TORN_CONNECTIONS else STEADY


def split() -> Behaviour:
    """Every answer in several DATA frames."""

    def behave(seen: Seen) -> tuple[Action, ...]:
        return (accepted(seen, frames=_FRAMES),)

    return behave


SCENARIOS = (
    # Nothing was sent, so nothing can be a repeat.
    Scenario(
        name="connection-refused",
        breaks="For three seconds the ports of FCM and APNs refuse connections.",
        expects="Devices are asked for later; none fails.",
        deaf_s=3.0,
    ),
    # A connection that was never made must not use up the attempts of the devices that waited for it.
    Scenario(
        name="tls-failure",
        breaks="The first four connections to each gateway fail in the TLS handshake.",
        expects="New connections are made; none of their devices fails.",
        line=no_handshake,
    ),
    # What was sent and not answered may have been processed.
    Scenario(
        name="connection-torn",
        breaks="The first three connections to each gateway are reset with requests in flight.",
        expects="What was not answered is asked for again, with the same id, and counted as possibly repeated.",
        line=tear,
        in_gate=True,
    ),
    # A body is complete at the end of its stream, not at the end of a frame.
    Scenario(
        name="split-answers",
        breaks="Every answer comes in five DATA frames.",
        expects="They are read whole.",
        wire=split,
    ),
)
