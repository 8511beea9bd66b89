"""Rate limits: permits that accrue with time. Nothing here waits; the caller asks how many it may use now."""

from collections.abc import Callable
from concurrent.futures import Future

SHARE_EVERY_S = 4.0
"""How often a shared budget asks how many runs use it."""
UNLIMITED = 1_000_000
"""The permits of a limiter that sets no limit: more than any window has room for."""


class RateLimit:
    """A number of permits a second, from zero up to the full rate over the ramp. Times in seconds.

    Args:
        per_second: the full rate, above zero; None for no limit.
        ramp_s: how long the rate grows evenly from zero to full; 0 for full from the start.
        sent_for_s: how much of the ramp earlier hops have used.
        now_s: the monotonic time at which this hop begins.
    """

    __slots__ = ("_began_s", "_last_s", "_most", "_per_second", "_permits", "_ramp_s")

    BURST_S = 0.1
    """Unused permits are kept for this long: time lost is not made up for by a burst that the gateway would refuse."""

    def __init__(self, per_second: float | None, ramp_s: float, sent_for_s: float, now_s: float) -> None:
        self.set_rate(per_second)
        self._ramp_s = ramp_s
        self._began_s = now_s - sent_for_s
        self._last_s = now_s
        self._permits = 0.0
        self._most = 1.0
        """As many whole permits are kept, however low the rate is."""

    def carry_on(self, waited_s: float) -> None:
        """Earlier hops have waited for so long for the next permit: a rate below one a second outlasts a hop."""
        self._last_s -= waited_s
        self._began_s -= waited_s  # time at rest is not sending time: without this it would lie before the ramp
        # The lane was woken later than it asked for, by up to a minute: that must not lower a low rate. Until the first
        # permit is used: what is to be sent is read meanwhile, over several turns.
        self._most = 2.0

    def set_rate(self, per_second: float | None) -> None:
        """Change the full rate from now on.

        Raises:
            ValueError: it is not above zero.
        """
        if per_second is not None and not 0 < per_second < float("inf"):
            raise ValueError("per_second must be above zero")
        self._per_second = per_second

    def begin_earlier(self, began_s: float) -> None:
        """The ramp began at this time, if that is earlier: another lane of the run sends for longer."""
        self._began_s = min(self._began_s, began_s)

    @property
    def full_rate(self) -> float | None:
        """Permits a second after the ramp; None for no limit."""
        return self._per_second

    def rate(self, now_s: float) -> float | None:
        """Permits a second at this moment; None for no limit."""
        if self._per_second is None:
            return None
        if self._ramp_s <= 0:
            return self._per_second
        return self._per_second * min(1.0, max(now_s - self._began_s, 0.0) / self._ramp_s)

    def permits(self, now_s: float) -> int:
        """How many may go now."""
        rate = self.rate(now_s)
        if rate is None:
            return UNLIMITED
        # The mean rate over the time that passed. The ramp is a straight line, so the rate at its middle is exact.
        passed_s = now_s - self._last_s
        middle = self.rate(now_s - passed_s / 2) or 0.0
        self._last_s = now_s
        # At least one whole permit is kept, and what accrued just now: rates below 1 / BURST_S would never reach one.
        most = max(rate * self.BURST_S, self._most + middle * min(passed_s, self.BURST_S))
        self._permits = min(self._permits + middle * passed_s, most)
        return int(self._permits)

    def take(self, n: int) -> None:
        """Use `n` of the permits."""
        if n:
            self._most = 1.0
        if self._per_second is not None:
            self._permits -= n  # may fall below zero: the excess is waited for

    def wait_s(self, now_s: float) -> float:
        """Seconds until there is a whole permit, at most 1; an estimate, for how long to wait for answers."""
        rate = self.rate(now_s + 0.01)  # a ramp begins at zero: look a little ahead
        if rate is None or self._permits >= 1:
            return 0.0
        return min((1 - self._permits) / rate, 1.0) if rate > 0 else 0.05

    def waited_s(self) -> float | None:
        """For how long it has waited for the permits that it has; None at a rate of one a second or more."""
        if self._per_second is None or self._per_second >= 1:
            return None
        return max(self._permits, 0.0) / self._per_second

    def next_s(self, now_s: float) -> float:
        """Seconds until there is a whole permit; 0 while that is not known, because the rate still grows."""
        rate = self.rate(now_s)
        if rate is None or rate != self._per_second:
            return 0.0
        return max(1 - self._permits, 0.0) / rate


class SharedBudget:
    """A rate limit whose full rate is divided evenly among the runs that use it.

    Args:
        rate_limit: begins with the whole budget.
        per_second: the whole budget.
        ask: begins to count the runs that use it, this one included; the task's result is the number. If it fails, the
            share stays as it was.
    """

    def __init__(self, rate_limit: RateLimit, per_second: float, ask: Callable[[], Future[int]]) -> None:
        self._rate_limit = rate_limit
        self._per_second = per_second
        self._ask = ask
        self._asked: Future[int] | None = None
        self._next_s: float | None = None

    def permits(self, now_s: float) -> int:
        """How many may go now."""
        self._update(now_s)
        return self._rate_limit.permits(now_s)

    def take(self, n: int) -> None:
        """Use `n` of the permits."""
        self._rate_limit.take(n)

    def _update(self, now_s: float) -> None:
        """Take in the number of users when it has come; ask again when it is time."""
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            try:
                users = asked.result()
            except Exception:  # noqa: BLE001 - the ledger cannot be read: the share stays until the next try
                return
            # 1 at least: an index that lags may not list this run yet.
            self._rate_limit.set_rate(self._per_second / max(users, 1))
        if self._asked is None and (self._next_s is None or now_s >= self._next_s):
            self._next_s = now_s + SHARE_EVERY_S
            self._asked = self._ask()
