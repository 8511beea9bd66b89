"""What a lane of several may use of the rates that are the run's or the stack's: its share, by how many lanes share.

A lane that joins waits until all others have seen it, and takes less than its share by then; so together they never
exceed the rate. One that cannot reach the ledger stops before the others take it for dead.
"""

from collections.abc import Callable
from concurrent.futures import Future

from notifier.model.lane_membership import Member, Membership, Tally
from notifier.model.run import BLIND_MS
from notifier.sending.rate_limit import SHARE_EVERY_S, UNLIMITED, RateLimit, SharedBudget

ALL_HAVE_SEEN_S = SHARE_EVERY_S + 1.0
"""After this every lane that shares has asked once, and its question was answered."""


class LaneShares:
    """The lanes that share, as the ledger had them a moment ago.

    Args:
        name: this lane's, among the members.
        ask: begins to enter this lane, and to ask who shares. The first time (the second argument) the answer is of
            before it was entered.
        now_ms: milliseconds since the epoch.
        sending_ms: for how long this lane has sent.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[Member, bool], Future[Membership]],
        now_ms: Callable[[], int],
        sending_ms: Callable[[], int],
        member_ms: int,
    ) -> None:
        self._name = name
        self._run = name.rpartition("_")[0]
        self._ask = ask
        self._now_ms = now_ms
        self._sending_ms = sending_ms
        self._member_ms = member_ms
        self._asked: Future[Membership] | None = None
        self._asked_s = 0.0
        self._next_s: float | None = None
        self._membership: Membership | None = None
        self._seen_s = 0.0
        """When the last question that was answered was asked."""
        self.tally: Callable[[], Tally] = Tally
        """What this lane has seen of the gateways."""
        self.has_news = False
        """The others' tallies were read since `others` was called last."""
        self._open_s: float | None = None
        """From when on this lane may take its share."""

    def poll(self, now_s: float) -> None:
        """Take in an answer; ask again when it is time. Never blocks. `now_s` is monotonic, as everywhere here."""
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            # Unreachable: the share stays, until this lane is blind.
            if asked.exception() is None:
                self._take_in(asked.result(), now_s)
        if self._asked is None and (self._next_s is None or now_s >= self._next_s):
            self._next_s, self._asked_s = now_s + SHARE_EVERY_S, now_s
            until_ms = self._now_ms() + self._member_ms
            self._asked = self._ask(Member(until_ms, self._sending_ms(), self.tally()), self._membership is None)

    @property
    def is_asking(self) -> bool:
        """Whether a question is under way. It enters this lane, whenever it arrives."""
        return self._asked is not None and not self._asked.done()

    def _take_in(self, found: Membership, now_s: float) -> None:
        present = found.present(self._now_ms())
        self._membership, self._seen_s = found, self._asked_s
        self.has_news = True
        if self._open_s is not None:
            return
        # The opener of the run has entered its lanes, and the hop before has left this one in: all have seen it.
        is_known, others = self._name in present, found.alone + len(present)
        self._open_s = now_s if is_known or not others else now_s + ALL_HAVE_SEEN_S

    def others(self) -> Tally:
        """What the other lanes of the run have seen. Also those that have ended: what they saw stays true."""
        self.has_news = False
        total = Tally()
        for name, member in self._membership.members.items() if self._membership else ():
            if name.startswith(self._run) and name != self._name and member.tally is not None:
                total.add(member.tally)
        return total

    def may_use(self, now_s: float) -> bool:
        """Whether this lane may take its share: all others have seen it, and it has seen them lately."""
        is_blind = (now_s - self._seen_s) * 1000 >= BLIND_MS
        return self._open_s is not None and now_s >= self._open_s and not is_blind

    @property
    def fcm_users(self) -> int:
        """How many lanes share FCM's budget, this one included."""
        return self._others("", with_resting=False) + (self._membership.alone if self._membership else 0) + 1

    @property
    def lanes(self) -> int:
        """How many lanes of the run share its rate, this one included."""
        return self._others(self._run) + 1

    def _others(self, prefix: str, *, with_resting: bool = True) -> int:
        present = self._membership.present(self._now_ms()) if self._membership else {}
        # A lane at rest keeps its part of `per_second`; of FCM's budget it uses nothing.
        others = {name: member for name, member in present.items() if name != self._name and name.startswith(prefix)}
        return sum(with_resting or not member.rests for member in others.values())

    @property
    def sent_for_s(self) -> float:
        """For how long the run has sent, by the lane that has sent longest: the ramp is the run's."""
        found = self._membership.members if self._membership is not None else {}
        of_run = (member.sending_ms for name, member in found.items() if name.startswith(self._run))
        return max(of_run, default=0) / 1000


class LaneBudget(SharedBudget):
    """FCM's budget, for a lane of several.

    Args:
        rate_limit: with the ramp.
        per_second: the whole budget.
    """

    def __init__(self, rate_limit: RateLimit, per_second: float, shares: LaneShares) -> None:
        self._rate_limit = rate_limit
        self._per_second = per_second
        self._shares = shares

    def permits(self, now_s: float) -> int:
        """How many may go now."""
        shares = self._shares
        shares.poll(now_s)
        if not shares.may_use(now_s):
            return 0
        self._rate_limit.begin_earlier(now_s - shares.sent_for_s)
        self._rate_limit.set_rate(self._per_second / shares.fcm_users)
        return self._rate_limit.permits(now_s)


class LaneRateLimit(RateLimit):
    """The campaign's own rate, for a lane of several."""

    __slots__ = ("_of_run", "_shares")

    def __init__(
        self, per_second: float | None, ramp_s: float, sent_for_s: float, now_s: float, shares: LaneShares
    ) -> None:
        super().__init__(per_second, ramp_s, sent_for_s, now_s)
        self._of_run = per_second
        self._shares = shares

    def permits(self, now_s: float) -> int:
        """How many may go now."""
        shares = self._shares
        shares.poll(now_s)
        if self._of_run is None:
            return UNLIMITED
        if not shares.may_use(now_s):
            return 0
        self.begin_earlier(now_s - shares.sent_for_s)
        self.set_rate(self._of_run / shares.lanes)
        return super().permits(now_s)

    def next_s(self, now_s: float) -> float:
        """Seconds until there is a whole permit; 0 while the lane does not know its share."""
        return super().next_s(now_s) if self._shares.may_use(now_s) else 0.0
