"""What failed last in a hop: logged as it occurs, and kept for the ledger's next write, in case the hop is killed."""

from collections.abc import Callable

from notifier.model.runtime import Clock

SAY_AGAIN_S = 10.0
"""Trouble of one kind is logged at most this often: a store that is down fails many times a second."""
MAX_TROUBLE = 1_000
"""Characters of a trouble that are kept."""


class TroubleLog:
    """The trouble of one lane.

    Args:
        log: logs one trouble.
        last: what failed last, as an earlier hop wrote it into the ledger.
    """

    def __init__(self, clock: Clock, log: Callable[[str], None], last: str = "") -> None:
        self.last = last
        """What failed last since the cursor moved; empty when nothing did."""
        self._clock = clock
        self._log = log
        self._logged_at_s: dict[str, float] = {}
        """By kind."""

    def note(self, text: str) -> None:
        """Something failed."""
        self.last = text[:MAX_TROUBLE]
        now_s, kind = self._clock.monotonic(), kind_of(text)
        if now_s - self._logged_at_s.get(kind, now_s - SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._logged_at_s[kind] = now_s
            self._log(self.last)

    def clear(self) -> None:
        """Something was settled: what failed before is over."""
        self.last = ""


def kind_of(trouble: str) -> str:
    """What two troubles have in common that differ in the object's name only."""
    return trouble.partition(":")[0]
