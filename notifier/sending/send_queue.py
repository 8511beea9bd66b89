"""Passes the devices of open batches on to the dispatch: those for the first time as the rate limit allows."""

import math
from collections import deque
from collections.abc import Callable

from notifier.model.campaign import CONTROL
from notifier.model.outcome import Outcome, timestamp
from notifier.model.runtime import Clock
from notifier.sending.batch import Batch, Push
from notifier.sending.dispatch import Dispatch
from notifier.sending.rate_limit import RateLimit

REST_ABOVE_S = 90.0
"""A longer wait than this is not billed: the lane rests."""
HAND_OVER_ABOVE_S = 10.0
"""A wait that outlasts the hop and is longer than this: a rest, too. A shorter one goes on in the next hop, at once."""
TURN = 256
"""Most pushes that are passed on in one turn of the loop, so that answers are never kept waiting."""


class SendQueue:
    """The batches that were begun and still have devices to be asked for.

    Args:
        rate_limit: of first requests, control users included.
    """

    def __init__(self, dispatch: Dispatch, rate_limit: RateLimit, clock: Clock) -> None:
        self._dispatch = dispatch
        self._rate_limit = rate_limit
        self._clock = clock
        self._first: list[Batch] = []
        """Batches with devices that were never asked for."""
        self._again: deque[Batch] = deque()
        """Batches with devices that are asked for again."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._first and not self._again

    @property
    def has_first(self) -> bool:
        """Whether a device waits for its first request, and so for the rate limit."""
        return bool(self._first)

    @property
    def half_sent(self) -> int | None:
        """The number of the last batch once half of its devices are sent, so that the one after it comes soon."""
        last = self._first[-1] if self._first else None
        # Batches are entered in their order, so the last is the one that the audience goes on from.
        return last.number if last is not None and 2 * len(last.waiting) <= last.pushes else None

    def put(self, batch: Batch) -> None:
        """Add a batch of the audience."""
        self._first.append(batch)

    def put_again(self, batch: Batch) -> None:
        """Add a batch of deferred devices."""
        self._again.append(batch)

    def wait_s(self) -> float:
        """Seconds until the rate limit allows a first request."""
        return self._rate_limit.wait_s(self._clock.monotonic())

    def first_requests_in(self, within_ms: int) -> float:
        """How many first requests the full rate allows in so many milliseconds; infinite without a limit."""
        rate = self._rate_limit.full_rate
        return math.inf if rate is None else rate * within_ms / 1000

    def rest_s(self, before_near_ms: int) -> float:
        """Seconds until a first request is allowed, where nobody should pay for waiting so long; otherwise 0.

        Args:
            before_near_ms: until the hop hands over.
        """
        wait_s = self._rate_limit.next_s(self._clock.monotonic())
        outlasts_hop = wait_s * 1000 > before_near_ms and wait_s > HAND_OVER_ABOVE_S
        return wait_s if wait_s > REST_ABOVE_S or outlasts_hop else 0.0

    def waits_from_ms(self) -> int | None:
        """Since when the next first request is waited for; None where the rate is at least one a second."""
        waited_s = self._rate_limit.waited_s()
        return None if waited_s is None else int((self._clock.now() - waited_s) * 1000)

    def send(self, next_batch: Callable[[], Batch | None]) -> None:
        """Send what rate limit and window allow: of the open batches first, then of new ones.

        Args:
            next_batch: a batch with devices to send, or None when there is none now.
        """
        permits = self._rate_limit.permits(self._clock.monotonic())
        # Deferred devices first: they are due, and take their part of the turn and of the window.
        left = min(permits, self._send_again())
        sent = 0
        while sent < left:
            if not self._first:
                batch = next_batch()
                if batch is None:
                    break
                self._first.append(batch)
            sent += self._send_from(self._first[0], left - sent)
            if not self._first[0].waiting:
                self._first.pop(0)
        self._rate_limit.take(sent)

    def _send_from(self, batch: Batch, limit: int) -> int:
        """Send up to `limit` devices of a batch. Those of the control group are held, and counted like the others."""
        waiting, enqueue, sent = batch.waiting, self._dispatch.enqueue, 0
        now_s, at = self._clock.now(), ""
        times = None if self._dispatch.times.is_free else self._dispatch.times
        while waiting and sent < limit:
            push = waiting.popleft()
            if times and (found := times.obstacle(push.timezone, now_s, is_first=not push.attempts)) is not None:
                # Not counted as sent: what is only put off must not cost the paid time of a low rate.
                _put_off(batch, push, found, timestamp(now_s))
                continue
            if push.arm == CONTROL:
                at = at or timestamp(now_s)
                batch.hold(push, at)
            else:
                enqueue(push)
            sent += 1
        return sent

    def _send_again(self) -> int:
        """Send the deferred devices that are due. The rate limit is for first requests: it does not hold them back.

        Returns how many more pushes may be sent in this turn.
        """
        left = min(self._dispatch.room, TURN)
        while self._again and left > 0:
            batch = self._again[0]
            while batch.waiting and batch.waiting[0].attempts and left > 0:
                self._dispatch.enqueue(batch.waiting.popleft())
                left -= 1
            if not batch.waiting or not batch.waiting[0].attempts:
                self._again.popleft()
                if batch.waiting:
                    # Deferred before their first request, these count for the rate limit. They go before the audience.
                    self._first.insert(0, batch)
        return left

    def drain(self) -> None:
        """Send nothing of what waits: defer it. The control group needs no request and is held at once."""
        at = timestamp(self._clock.now())
        for batch in (*self._first, *self._again):
            while batch.waiting:
                push = batch.waiting.popleft()
                if push.is_control:
                    batch.hold(push, at)
                else:
                    batch.defer(push)
        self._first.clear()
        self._again.clear()


def _put_off(batch: Batch, push: Push, obstacle: float | str, at: str) -> None:
    """A device that may not be asked for now: it waits, or has failed. The control group's like all others."""
    if isinstance(obstacle, str):
        batch.record_outcome(push, Outcome.FAILED, obstacle, at)
    elif push.is_control:
        # Held as of the time at which the variants get theirs: figures over time would differ otherwise.
        batch.hold(push, timestamp(obstacle))
    else:
        push.due_at = obstacle
        batch.defer(push)
