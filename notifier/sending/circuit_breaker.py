"""A circuit breaker for refusals that would concern every device: wrong credentials, a wrong address, a proxy's page.

One such answer proves nothing: that device is asked again, soon. While they come and nothing is accepted in between,
only a few requests go out, to learn whether it is over. Many of them open the breaker: the run has to stop. A device
that is refused so again and again while others are accepted is rejected. Times in seconds, `now_s` monotonic. Pure.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from notifier.sending.rate_limit import UNLIMITED, RateLimit

MIN_REFUSED = 50
"""Distinct devices of one endpoint refused in this way, with none accepted in between: it is not the devices. The same
number as for refused payloads (`notifier.sending.withheld_refusals`)."""
MIN_LASTING_S = 5.0
"""They must have come for this long: what was in flight together when a front end failed for a moment is one event."""
PROBES_PER_S = 10.0
"""Requests a second to an endpoint while such refusals are outstanding: enough to learn, too few to burn a list."""
TRIES = 6
"""How often a device is asked, over about 6 s, before its refusal is withheld for a decision. Where one answer in ten
is odd, one device in a million meets six of them."""
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 2.0
"""Between two tries, doubling; short enough that the device's batch waits for it, so that it is judged while others are
accepted."""
FEW = 5
"""So few withheld devices are rejected at the end of a round, when no more answers come, if others were accepted in
this hop. More, or none accepted, and it may concern every device."""

R = TypeVar("R")


class _Tried(NamedTuple):
    """One device: how often it was refused, and what had come before: devices refused first, acceptances."""

    times: int
    refused_before: int
    accepted_before: int


class CircuitBreaker(Generic[R]):
    """One endpoint's breaker. `R` is whatever the caller keeps of a withheld refusal.

    Args:
        now_s: the time.
        most_withheld: so many withheld refusals open it: they must not fill the caller's window.
    """

    def __init__(self, now_s: float, most_withheld: int = MIN_REFUSED) -> None:
        self._most_withheld = most_withheld
        self._rate_limit = RateLimit(PROBES_PER_S, 0.0, 0.0, now_s)
        self._tried: dict[Hashable, _Tried] = {}
        self._withheld: dict[Hashable, R] = {}
        self._streak: set[Hashable] = set()
        """Devices refused since the last acceptance."""
        self._began_s = self._last_s = now_s
        """When the streak began, and its latest refusal."""
        self.elsewhere = 0
        """Devices that other lanes of the run had refused so, each since its last acceptance."""
        self._refused = 0
        """Distinct devices refused so far."""
        self._accepted = 0

    @property
    def withheld(self) -> int:
        """How many refusals wait for a decision."""
        return len(self._withheld)

    @property
    def is_open(self) -> bool:
        """So many refusals, and nothing accepted, that the run has to stop."""
        is_lasting = self._last_s - self._began_s >= MIN_LASTING_S
        # The second rule is for an endpoint that refuses most devices and accepts one now and then.
        # Only with one of its own: the lanes that met the others stop the run themselves.
        streak = len(self._streak) + self.elsewhere if self._streak else 0
        return (streak >= MIN_REFUSED and is_lasting) or len(self._withheld) >= self._most_withheld

    @property
    def streak(self) -> int:
        """Devices refused since the last acceptance."""
        return len(self._streak)

    def permits(self, now_s: float) -> int:
        """How many requests may go now: few while refusals are outstanding."""
        return self._rate_limit.permits(now_s) if self._streak else UNLIMITED

    def take(self, n: int) -> None:
        """Use `n` of them."""
        if self._streak:
            self._rate_limit.take(n)

    def accept(self, device: Hashable) -> None:
        """The endpoint processed the push of a device."""
        self._accepted += 1
        if self._tried:  # nearly never: this is called for every accepted push
            self._streak.clear()
            self._tried.pop(device, None)

    def refuse(self, device: Hashable, refusal: R, now_s: float, draw: float) -> float | None:
        """A device was refused. Returns after how many seconds to ask it again; None: `refusal` is withheld.

        Afterwards `exceptions` and `is_open` say what follows from it.
        """
        before = self._tried.get(device)
        if before is None:
            before = _Tried(0, self._refused, self._accepted)
            self._refused += 1
        tried = self._tried[device] = before._replace(times=before.times + 1)
        self._last_s = now_s
        # An exception says nothing about the others: it neither begins nor lengthens a streak.
        if not self._is_exception(device):
            self._began_s = self._began_s if self._streak else now_s
            self._streak.add(device)
        if tried.times >= TRIES:
            self._withheld[device] = refusal
            return None
        return min(FIRST_DELAY_S * 2.0 ** (tried.times - 1), LONGEST_DELAY_S) * (0.5 + draw / 2)

    def exceptions(self) -> list[R]:
        """Take out what is withheld of devices that were refused while others were accepted: to be rejected."""
        return [self._forget(device) for device in list(self._withheld) if self._is_exception(device)]

    def decide(self) -> tuple[list[R], list[R]]:
        """No more answers come. Returns what was withheld: to be rejected, and what may concern every device."""
        is_own = len(self._withheld) <= FEW and self._accepted > 0
        refusals = self.take_all()
        return (refusals, []) if is_own else ([], refusals)

    def take_all(self) -> list[R]:
        """Take out all that is withheld, to be asked for later."""
        refusals = list(self._withheld.values())
        self._withheld.clear()
        return refusals

    def renewed(self) -> list[R]:
        """The credentials were replaced: nothing that was refused before counts. Returns what was withheld."""
        # `_refused` may keep counting: only its growth since a device's first refusal is compared.
        self._tried.clear()
        self._streak.clear()
        self._accepted = 0
        return self.take_all()

    def _is_exception(self, device: Hashable) -> bool:
        """Whether, since the device was first refused, more pushes were accepted than other devices refused."""
        tried = self._tried[device]
        others_refused = self._refused - tried.refused_before - 1
        return self._accepted - tried.accepted_before > others_refused

    def _forget(self, device: Hashable) -> R:
        self._tried.pop(device, None)
        return self._withheld.pop(device)
