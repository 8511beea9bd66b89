"""Time that passes only when a test lets it."""

from collections.abc import Callable

START_S = 1_800_000_000.0


class TwinClock:
    """The clock of a simulation: `now` and `monotonic` run together.

    Args:
        slept: called with the seconds of a `sleep`, before they pass.
    """

    def __init__(self, slept: Callable[[float], object] = lambda _: None) -> None:
        self.time_s = START_S
        self.slept = slept

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.time_s

    def monotonic(self) -> float:
        """Seconds since the simulation's own beginning of time."""
        return self.time_s - START_S + 1000.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept(seconds)
        self.time_s += seconds
