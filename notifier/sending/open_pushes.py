"""Where each open push of a hop is, and how it stops being open: with an outcome, or deferred."""

import heapq
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import NamedTuple

import msgspec

from notifier.model.outcome import Disposition, Outcome, Verdict, timestamp
from notifier.sending.batch import Push
from notifier.sending.retry import Again, on_grid

_ACCEPT, _DROP_TOKEN, _ACCEPTED = Disposition.ACCEPT, Disposition.DROP_TOKEN, Outcome.ACCEPTED
PATIENCE_S = 2.0
"""A device whose next attempt is later than this is deferred, so that its batch can settle."""
LOOK_ASIDE_S = 0.25
"""How often the pushes that are set aside are searched for those whose batch waits for nothing else."""


class Refusal(NamedTuple):
    """A push that a gateway refused, with what it answered. What is withheld until it is clear whose fault it is."""

    push: Push
    verdict: Verdict
    status: int


class OpenPushes:
    """The pushes that dispatch has taken and that have neither an outcome nor are deferred.

    Each is in exactly one state: queued for its endpoint, in flight, waiting for a near time (`_later`), set aside for
    a far one (`_aside`), or held by a caller as a withheld refusal.

    Args:
        window: how many there may be at once.
    """

    def __init__(self, endpoints: Iterable[str], window: int) -> None:
        self.window = window
        self.count = 0
        self.is_draining = False
        """No request starts any more: what would be asked again is deferred."""
        self.queues: dict[str, deque[Push]] = {name: deque() for name in endpoints}
        """By endpoint, those that are asked for as soon as there is room."""
        self._in_flight: dict[int, Push] = {}
        """By `id`, in the order of their requests."""
        self._later: list[tuple[float, int, Push]] = []
        """A heap by due time: asked again while the batch waits for them."""
        self._aside: list[tuple[float, int, Push]] = []
        """A heap by due time: deferred as soon as their batch waits for nothing else."""
        self._look_aside_at = 0.0
        self._tick = count()
        """Breaks ties between equal due times: a push cannot be compared."""
        self._now_s = 0.0
        self._at = ""
        """The time of this step, and the same as rows have it: empty until a push of this step ends."""

    # -- in -----------------------------------------------------------------------------------------------------------

    def queue(self, push: Push) -> None:
        """Take a push that is asked for at once."""
        self.count += 1
        self.queues[push.endpoint].append(push)

    def set_aside(self, push: Push) -> None:
        """Take a push that is asked for when it is due, or deferred when the rest of its batch is through."""
        self.count += 1
        self._push_aside(push, push.due_at)

    def wake(self, now_s: float) -> None:
        """Queue those whose time has come. Called once a step, before anything is asked or answered."""
        self._now_s, self._at = now_s, ""
        self._queue_due(self._aside, now_s)
        if self._aside:  # rarely
            self._defer_aside(now_s)
        self._queue_due(self._later, now_s)

    def _queue_due(self, waiting: list[tuple[float, int, Push]], now_s: float) -> None:
        while waiting and waiting[0][0] <= now_s:
            _, _, push = heapq.heappop(waiting)
            self.queues[push.endpoint].append(push)

    def _push_aside(self, push: Push, due_at: float) -> None:
        heapq.heappush(self._aside, (due_at, next(self._tick), push))

    def _defer_aside(self, now_s: float) -> None:
        """Defer those set aside whose batch waits for nothing else: they alone would keep it from settling."""
        if now_s < self._look_aside_at:  # a search through all of them, so not in every step
            return
        self._look_aside_at = now_s + LOOK_ASIDE_S
        kept = [one for one in self._aside if one[2].batch.waiting or one[0] <= now_s + PATIENCE_S]
        if len(kept) < len(self._aside):
            for due_at, _, push in self._aside:
                if not push.batch.waiting and due_at > now_s + PATIENCE_S:
                    self.defer(push, due_at)
            heapq.heapify(kept)
            self._aside = kept

    # -- in flight ----------------------------------------------------------------------------------------------------

    def start(self, push: Push) -> None:
        """Its request goes out."""
        self._in_flight[id(push)] = push

    def land(self, push: Push) -> bool:
        """Its answer came. False for a push that was abandoned meanwhile: it is deferred already."""
        return self._in_flight.pop(id(push), None) is not None

    def abandon(self) -> list[Push]:
        """Return all that are in flight; their answers will not count."""
        abandoned = list(self._in_flight.values())
        self._in_flight.clear()
        return abandoned

    # -- again --------------------------------------------------------------------------------------------------------

    def ask_later(self, push: Push, due_at: float) -> None:
        """Ask for it again at a near time; its batch waits."""
        heapq.heappush(self._later, (due_at, next(self._tick), push))

    def ask_again(self, push: Push, again: Again, now_s: float, expires_at: float, *, maybe_processed: bool) -> None:
        """Ask for a push again as decided: in this round of its batch, or deferred to a later one.

        Args:
            expires_at: when trying is over, seconds since the epoch.
            maybe_processed: the last request may have reached the phone.
        """
        must_defer = self.is_draining or maybe_processed
        if not must_defer and again.delay_s <= PATIENCE_S:
            self.ask_later(push, now_s + again.delay_s)
            return
        due_at = on_grid(now_s + again.delay_s, again.grid_s)
        # Rounding up to the grid must not carry the last attempt over the end of trying.
        due_at = due_at if due_at < expires_at else now_s + again.delay_s
        # What may have reached the phone is asked again in a later round: so a claim makes at most one such request
        # for a device in a round, and after a crash the batches it may have reached bound what went uncounted.
        if push.batch.waiting and not must_defer:
            # A slow rate limit still holds other devices of its batch back: deferred now, it would only come later.
            self._push_aside(push, due_at)
        else:
            self.defer(push, due_at)

    # -- out ----------------------------------------------------------------------------------------------------------

    def end(self, push: Push, verdict: Verdict, status: int | None, outcome: Outcome | None = None) -> None:
        """Record its outcome, by default the one that the verdict means. `status` is None where nothing was asked."""
        if outcome is None:
            outcome = _ACCEPTED if verdict.disposition is _ACCEPT else _outcome_of(verdict.disposition)
        if verdict.disposition is _DROP_TOKEN:
            push.batch.record_dead_token(push, verdict.reason or "unknown", verdict.since_ms)
        # Made at the first outcome of a step: most steps of a run with slow answers have none.
        at = self._at = self._at or timestamp(self._now_s)
        push.batch.record_outcome(push, outcome, verdict.reason, at, status, verdict.message_id)
        self.count -= 1

    def reject(self, refusals: Iterable[Refusal]) -> None:
        """Record them as rejected. No token is recorded as dead: the refusal may not have been about the token."""
        for push, verdict, status in refusals:
            self.end(push, msgspec.structs.replace(verdict, disposition=Disposition.REJECT), status)

    def defer(self, push: Push, due_at: float) -> None:
        """Leave it to a later round of its batch, not before `due_at`."""
        push.due_at = max(due_at, push.due_at)  # a batch may be taken before its devices are due (`DeferredQueue.take`)
        push.batch.defer(push)
        self.count -= 1

    def defer_to_end(self, push: Push) -> None:
        """Ask for it again when the audience has been read."""
        push.due_at = 0.0  # by convention: a device that was asked for and has no due time waits for the end
        self.defer(push, 0.0)

    def defer_refused(self, refusals: Iterable[Refusal]) -> None:
        """Ask for withheld refusals again when the audience has been read."""
        for refusal in refusals:
            self.defer_to_end(refusal.push)

    def defer_queue(self, endpoint: str, due_at: float) -> None:
        """Defer all that wait for an endpoint's room."""
        queue = self.queues[endpoint]
        while queue:
            self.defer(queue.popleft(), due_at)

    def drain(self, now_s: float) -> None:
        """Defer all that are not in flight, and from now on all that would be asked again. Withheld refusals remain."""
        self.is_draining = True
        for endpoint in self.queues:
            self.defer_queue(endpoint, now_s)
        for due_at, _, push in (*self._later, *self._aside):
            self.defer(push, due_at)
        self._later.clear()
        self._aside.clear()


def _outcome_of(disposition: Disposition) -> Outcome:
    match disposition:
        case Disposition.ACCEPT:
            return Outcome.ACCEPTED
        case Disposition.DROP_TOKEN | Disposition.REJECT:
            return Outcome.REJECTED
        case _:
            return Outcome.FAILED
