"""The first three connections to each gateway are reset with requests in flight."""

from collections.abc import Callable

from sandbox.faults.line import STEADY, Line
from sandbox.faults.scenario import Scenario


def tear() -> Callable[[int], Line]:
    """Reset once 12 kB of answers have passed."""
    return lambda n: Line(reset_after=12_000) if n <= 3 else STEADY


SCENARIO = Scenario(
    name="connection-torn",
    breaks="The first three connections to each gateway are reset with requests in flight.",
    expects="What was not answered is asked for again, with the same id, and counted as possibly repeated.",
    line=tear,
    in_gate=True,
)
