"""Time as an input: the worker reads no clock of the machine, so that tests decide what time it is."""

from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Two times: `now` is for records and appointments, `monotonic` for durations. Both in seconds."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


class Deadline:
    """The end of this invocation, and the moment to begin handing over.

    Args:
        remaining_ms: asks the platform, as Lambda's `context.get_remaining_time_in_millis` does.
        recurse_below_ms: with less time left than this the lane hands over.
    """

    __slots__ = ("_recurse_below_ms", "_remaining_ms")

    def __init__(self, remaining_ms: Callable[[], int], recurse_below_ms: int) -> None:
        self._remaining_ms = remaining_ms
        self._recurse_below_ms = recurse_below_ms

    def remaining_ms(self) -> int:
        """Milliseconds until the platform ends this invocation."""
        return self._remaining_ms()

    def is_near(self) -> bool:
        """Whether it is time to hand over."""
        return self._remaining_ms() < self._recurse_below_ms

    def before_near_ms(self) -> int:
        """Milliseconds until it is time to hand over; negative afterwards."""
        return self._remaining_ms() - self._recurse_below_ms

    @property
    def stop_answers_ms(self) -> int:
        """With less left than this no answer is waited for: what is in flight is given up."""
        return self._recurse_below_ms // 4

    @property
    def stop_settling_ms(self) -> int:
        """With less left than this no settlement is waited for: what remains is for the last write."""
        return self._recurse_below_ms // 8

    @property
    def stop_requests_ms(self) -> int:
        """With less left than this nothing more is asked for: what remains is for settling."""
        return self._recurse_below_ms // 2
