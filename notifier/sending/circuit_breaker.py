"""A circuit breaker for refusals that would be about everybody: wrong credentials, a wrong address, a proxy's page.

One such answer proves nothing: that device is asked again, soon. While they come and nothing is accepted in between,
only a few requests go out to learn whether it is over. Many of them, and the run has to stop. A device that is refused
so again and again while others are accepted is rejected. Times in seconds, `now_s` monotonic. Pure.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from notifier.sending.rate_limit import RateLimit

MIN_REFUSED = 50
"""Distinct devices of one endpoint refused in this way, with none accepted in between: it is not the devices. The same
number as for refused payloads (`notifier.sending.withheld_refusals`)."""
MIN_LASTING_S = 5.0
"""They must have come for this long: what was in flight together when a front end failed for a moment is one event."""
PROBES_PER_S = 10.0
"""Requests a second to an endpoint while such refusals are outstanding: enough to learn, too few to burn a list."""
TRIES = 6
"""So often a device is asked, over about 6 s, before its refusal is withheld for a judgement. Where one answer in ten
is odd, one device in a million meets six of them."""
LONGEST_DELAY_S = 2.0
"""Short enough that the device's batch waits for it, so that it is judged while others are accepted."""
FEW = 5
"""At the end of a round, when no more answers come: so few withheld devices are rejected if others were accepted in
this hop. More, or none accepted, and it may be everybody."""
_FREE = 1_000_000

H = TypeVar("H")


class _Tried(NamedTuple):
    """One device: how often it was refused, and what had come before: devices refused first, acceptances."""

    times: int
    refused_before: int
    accepted_before: int


class Circuit(Generic[H]):
    """One endpoint's breaker. `H` is whatever the caller withholds with a refusal.

    Args:
        now_s: the time.
        most_withheld: so many withheld refusals open it: they must not fill the caller's window.
    """

    def __init__(self, now_s: float, most_withheld: int = MIN_REFUSED) -> None:
        self._most_withheld = most_withheld
        self._rate_limit = RateLimit(PROBES_PER_S, 0.0, 0.0, now_s)
        self._tried: dict[Hashable, _Tried] = {}
        self._withheld: dict[Hashable, H] = {}
        self._streak: set[Hashable] = set()
        """Devices refused since the last acceptance."""
        self._began_s = self._last_s = now_s
        self._refused = 0
        self._accepted = 0

    @property
    def withheld(self) -> int:
        """How many refusals wait for a judgement."""
        return len(self._withheld)

    @property
    def is_open(self) -> bool:
        """So many refusals, and nothing accepted, that the run has to stop."""
        is_lasting = self._last_s - self._began_s >= MIN_LASTING_S
        # The second rule is for an endpoint that refuses most devices and accepts one now and then.
        return (len(self._streak) >= MIN_REFUSED and is_lasting) or len(self._withheld) >= self._most_withheld

    def permits(self, now_s: float) -> int:
        """How many requests may go now: few while refusals are outstanding."""
        return self._rate_limit.permits(now_s) if self._streak else _FREE

    def take(self, n: int) -> None:
        """Use `n` of them."""
        if self._streak:
            self._rate_limit.take(n)

    def accept(self, key: Hashable) -> None:
        """The endpoint processed the push of `key`."""
        self._accepted += 1
        if self._tried:
            self._streak.clear()
            self._tried.pop(key, None)

    def refuse(self, key: Hashable, what: H, now_s: float, draw: float) -> float | None:
        """A device was refused. Returns after how many seconds to ask it again; None: `what` is withheld.

        Afterwards `exceptions` and `is_open` say what has come of it.
        """
        before = self._tried.get(key)
        if before is None:
            before = _Tried(0, self._refused, self._accepted)
            self._refused += 1
        tried = self._tried[key] = before._replace(times=before.times + 1)
        self._last_s = now_s
        if not self._is_exception(key):
            self._began_s = self._began_s if self._streak else now_s
            self._streak.add(key)
        if tried.times >= TRIES:
            self._withheld[key] = what
            return None
        return min(0.5 * 2.0 ** (tried.times - 1), LONGEST_DELAY_S) * (0.5 + draw / 2)

    def exceptions(self) -> list[H]:
        """Take out what is withheld of devices that were refused while others were accepted: to be rejected."""
        return [self._forget(key) for key in list(self._withheld) if self._is_exception(key)]

    def settle(self) -> tuple[list[H], list[H]]:
        """No more answers come for now. Returns what was withheld: devices to reject, and what may be everybody's."""
        is_own = len(self._withheld) <= FEW and self._accepted > 0
        some = self.put_aside()
        return (some, []) if is_own else ([], some)

    def put_aside(self) -> list[H]:
        """Return all that is withheld, to be asked for later."""
        some = list(self._withheld.values())
        self._withheld.clear()
        return some

    def renewed(self) -> list[H]:
        """The credentials are others now: nothing that was refused before counts. Returns what was withheld."""
        self._tried.clear()
        self._streak.clear()
        self._accepted = 0
        return self.put_aside()

    def _is_exception(self, key: Hashable) -> bool:
        """Whether, since the device was first refused, more pushes were accepted than other devices refused."""
        tried = self._tried[key]
        others = self._refused - tried.refused_before - 1
        return self._accepted - tried.accepted_before > others

    def _forget(self, key: Hashable) -> H:
        self._tried.pop(key, None)
        return self._withheld.pop(key)
