"""Going slower when a gateway asks for it or becomes slow, and coming back: one throttle for each endpoint. Pure.

Free until there is trouble. Then a rate, taken from what the gateway really answered, cut again for every second of
trouble and raised for every calm one, until it is clear of what was sent before the trouble: free again.
"""

from notifier.sending.rate_limit import RateLimit

INTERVAL_S = 1.0
"""Answers are judged by the second; the interval goes on until there are enough of them."""
MIN_ANSWERS = 20
CROWDED = frozenset({429, 503})
"""HTTP statuses by which a gateway says that it has too much to do."""
CROWDED_SHARE = 0.05
"""So many of them are a message; fewer are single devices, or chance."""
SLOW_FACTOR = 3.0
"""So much slower than usual, at the median, is slow …"""
SLOW_ABOVE_S = 1.0
"""… if it is above this too."""
CUT = 0.7
RAISE = 1.15
RAISE_BY = 5.0
CLEAR = 1.5
"""So far above the rate at which the trouble began the throttle lets go."""
FLOOR = 10.0
"""Requests a second that are always allowed: less would not learn that the trouble is over."""
LEARN = 0.1
"""How fast what is usual follows what is: a gateway that stays slow is not waited for for ever."""


class Backpressure:
    """How many requests one endpoint may get now. Times in seconds, `now_s` monotonic."""

    __slots__ = ("_answers", "_began_s", "_crowded", "_free_above", "_latencies", "_rate", "_rate_limit", "_usual_s")

    def __init__(self, now_s: float) -> None:
        self._rate: float | None = None
        self._rate_limit = RateLimit(None, 0.0, 0.0, now_s)
        self._free_above = 0.0
        self._usual_s: float | None = None
        self._began_s = now_s
        self._answers = 0
        self._crowded = 0
        self._latencies: list[float] = []

    @property
    def rate(self) -> float | None:
        """Requests a second; None while it is free."""
        return self._rate

    def note(self, status: int, latency_s: float, now_s: float) -> None:
        """One answer. Requests that were not answered tell nothing about load, and are not noted."""
        if status == 0:
            return
        self._answers += 1
        if status in CROWDED:
            self._crowded += 1
        else:
            self._latencies.append(latency_s)
        if self._answers >= MIN_ANSWERS and now_s - self._began_s >= INTERVAL_S:
            self._judge(now_s)

    def permits(self, now_s: float) -> int:
        """How many requests may go now."""
        return self._rate_limit.permits(now_s)

    def take(self, n: int) -> None:
        """Use `n` of them."""
        self._rate_limit.take(n)

    def _judge(self, now_s: float) -> None:
        """The end of an interval."""
        taken = self._answers - self._crowded
        per_second = taken / (now_s - self._began_s)
        if self._crowded > CROWDED_SHARE * self._answers or self._is_slow():
            self._slow_down(per_second)
        elif self._rate is not None:
            self._recover()
        self._began_s = now_s
        self._answers = self._crowded = 0
        self._latencies.clear()

    def _is_slow(self) -> bool:
        if not self._latencies:
            return False
        middle_s = sorted(self._latencies)[len(self._latencies) // 2]
        usual_s = self._usual_s if self._usual_s is not None else middle_s
        self._usual_s = middle_s if middle_s < usual_s else usual_s + LEARN * (middle_s - usual_s)
        return middle_s > SLOW_ABOVE_S and middle_s > SLOW_FACTOR * usual_s

    def _slow_down(self, per_second: float) -> None:
        if self._rate is None:
            self._free_above = max(per_second, FLOOR) * CLEAR
            self._set(per_second * CUT)
        else:
            self._set(min(self._rate, max(per_second, self._rate * CUT)) * CUT)

    def _recover(self) -> None:
        rate = (self._rate or 0.0) * RAISE + RAISE_BY
        self._set(None if rate > self._free_above else rate)

    def _set(self, rate: float | None) -> None:
        self._rate = None if rate is None else max(rate, FLOOR)
        self._rate_limit.set_rate(self._rate)
