"""The sweeper: nudges lanes that are due, closes and ends runs, replays dead letters, prunes old versions."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from notifier.composition.hop_metrics import Observer, swept
from notifier.composition.hops import close
from notifier.composition.process import Process
from notifier.entries.dead_letters import DeadLetters, Queues
from notifier.entries.expiry import Expiry
from notifier.entries.pruning import Pruner
from notifier.events.triggers import NUDGE
from notifier.model.log import Action
from notifier.model.preparation import PreparationState
from notifier.model.run import Control, Lane, LaneState
from notifier.telemetry import Tracing


class Sweeper:
    """Every minute: nudges lanes that are due, closes runs, replays dead letters."""

    MOVE_ON_MS = 120_000
    """A lane that was nudged is due again after this, in case nothing comes of the nudge."""

    def __init__(self, process: Process, observer: Observer, queue: Any, pruner: Pruner, expiry: Expiry) -> None:
        self._process = process
        self._pruner = pruner
        self._expiry = expiry
        self._observer = observer
        self._log = observer.log
        self._queue = queue

    def sweep(self) -> dict[str, int]:
        """Sweep once. Each lane and each dead letter is tried by itself: one that fails keeps no other waiting."""
        counts = Counter[str](nudged=0, closed=0, replayed=0)
        now_ms = int(self._process.clock.now() * 1000)
        is_held = self._process.ledger.read_hold() is not None
        for lane in self._process.ledger.due(now_ms, self._log_unreadable):
            # Left as it is, and so due when the hold is released. What is done or cancelled sends nothing any more.
            if is_held and lane.state is not LaneState.DONE and lane.control is not Control.CANCEL:
                continue
            with self._each(run_id=lane.run_id, counts=counts):
                self._look_after(lane, now_ms, counts)
        self._ask_for_audiences(now_ms, counts, is_held=is_held)
        self._replay(counts)
        self._prune()
        self._expire()
        # Not in the log line's counts: they go to a metric with an alarm.
        stalled = counts.pop("stalled", 0) + counts.pop("failed", 0)
        self._observer.metrics.emit(swept(stalled, counts["given_up"]))
        if counts["given_up"]:
            self._log.error(Action.GIVEN_UP, letters=counts["given_up"])
        if any(counts.values()):
            self._log.info(Action.SWEPT, **counts)
        return dict(counts)

    def _look_after(self, lane: Lane, now_ms: int, counts: Counter[str]) -> None:
        """Nudge the lane, or close its run. Moved on first, so that one that fails comes back later and not at once."""
        # Refused where the lane has changed since the index listed it: a worker has come back to it.
        if not self._process.ledger.put_off(lane, now_ms + self.MOVE_ON_MS):
            return
        # Done and still due: the worker that finished it was ended before it wrote the summary or announced the end.
        if lane.state is LaneState.DONE:
            run = self._process.ledger.read_run(lane.run_id)
            if run is not None:
                counts["closed"] += close(self._process, self._observer, run, lane)
            return
        Tracing.current.start_new_trace()
        if not self._process.continuation.nudge(lane.run_id, lane.lane, lane.function_version, NUDGE):
            reason = f"version {lane.function_version} of the code, with which the run began, was deleted"
            self._log.warning(Action.VERSION_GONE, run_id=lane.run_id, reason=f"{reason}: the current one is asked")
        counts["nudged"] += 1
        # A rest that is over is the plan. READY or RUNNING: no worker came in time, or its input could not be read.
        if lane.state is not LaneState.RESTING:
            counts["stalled"] += 1

    def _ask_for_audiences(self, now_ms: int, counts: Counter[str], *, is_held: bool) -> None:
        """Take up preparations that were killed, or never begun, and those whose lane was not nudged."""
        ledger = self._process.ledger
        for found in ledger.due_preparations(now_ms, self._log_unreadable):
            # Of a cancelled one a query may have to be stopped, which is paid for.
            if is_held and found.state is not PreparationState.CANCELLED:
                continue
            with self._each(run_id=found.run_id, counts=counts):
                if ledger.put_off_preparation(found, now_ms + self.MOVE_ON_MS):
                    Tracing.current.start_new_trace()
                    self._process.audiences.ask(found.run_id)
                    counts["prepared"] += 1

    @contextmanager
    def _each(self, counts: Counter[str], **about: str) -> Iterator[None]:
        """A failure of what is inside is logged and counted as a stalled lane. A later sweep tries again."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is: the next lane is due all the same
            counts["failed"] += 1
            self._log.warning(Action.TROUBLE, reason=f"the sweeper looks at it again: {error}", **about)

    def _log_unreadable(self, key: str, error: Exception) -> None:
        self._log.warning(Action.TROUBLE, item=key, reason=f"this item of the ledger cannot be read: {error}")

    def _expire(self) -> None:
        """Once a day. As with pruning, the sweep counts whether or not this failed; tomorrow's tries again."""
        try:
            expired = self._expiry.expire_daily()
        except (ClientError, BotoCoreError) as error:
            self._log.warning(Action.TROUBLE, reason=f"old runs were not ended: {error}")
            return
        for run_id in expired:
            self._log.warning(Action.EXPIRED, run_id=run_id)

    def _prune(self) -> None:
        """Once a day. The sweep counts whether or not this failed; tomorrow's tries again."""
        try:
            deleted = self._pruner.prune_daily()
        except (ClientError, BotoCoreError) as error:
            self._log.warning(Action.TROUBLE, reason=f"versions were not pruned: {error}")
            return
        if deleted:
            self._log.info(Action.PRUNED, versions=deleted)

    def _replay(self, counts: Counter[str]) -> None:
        """Invoke the worker with events that Lambda gave up on; move aside those that were replayed often enough."""
        settings = self._process.settings
        if not settings.dead_letter_queue_url:
            return
        queues = Queues(settings.dead_letter_queue_url, settings.spent_letter_queue_url)
        letters = DeadLetters(self._queue, queues, self._invoke, lambda id_: self._each(message_id=id_, counts=counts))
        for is_replayed in letters.sweep():
            counts["replayed" if is_replayed else "given_up"] += 1

    def _invoke(self, event: bytes) -> None:
        Tracing.current.start_new_trace()
        self._process.continuation.invoke(event)
