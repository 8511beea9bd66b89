"""The first four connections to each gateway fail in the TLS handshake."""

from collections.abc import Callable

from sandbox.faults.line import STEADY, Line
from sandbox.faults.scenario import Scenario


def hello() -> Callable[[int], Line]:
    """Nonsense instead of a handshake, four times."""
    return lambda n: Line(garbage=True) if n <= 4 else STEADY


SCENARIO = Scenario(
    name="tls-failure",
    breaks="The first four connections to each gateway fail in the TLS handshake.",
    expects="New connections are made; none of their devices fails.",
    line=hello,
)
