"""The sweeper: nudges what nobody came back to, closes runs, replays dead letters, prunes old versions of the code."""

from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from notifier.composition import Process
from notifier.observe import Observer, swept
from notifier.premises import close
from notifier.pruning import Pruner
from notifier.run import LaneState
from notifier.telemetry import Action, Tracing


class Sweeper:
    """Every minute: nudges lanes that nobody came back to, closes runs, replays dead letters."""

    MOVE_ON_MS = 120_000
    REPLAYS = 3

    def __init__(self, process: Process, observer: Observer, queue: Any, pruner: Pruner) -> None:
        self._process = process
        self._pruner = pruner
        self._observer = observer
        self._log = observer.log
        self._queue = queue

    def sweep(self) -> dict[str, int]:
        """Sweep once."""
        nudged = closed = stalled = 0
        now_ms = int(self._process.clock.now() * 1000)
        for lane in self._process.ledger.due(now_ms):
            if not self._process.ledger.put_off(lane, now_ms + self.MOVE_ON_MS):
                continue
            if lane.state is LaneState.DONE:
                run = self._process.ledger.read_run(lane.run_id)
                if run is not None:
                    close(self._process, self._observer, run, lane)
                    closed += 1
            else:
                Tracing.current.part_ways()
                self._process.continuation.nudge(lane.run_id, lane.lane, lane.function_version, "nudge")
                nudged += 1
                stalled += lane.state is not LaneState.RESTING
        replayed = self._replay()
        self._prune()
        self._observer.metrics.tell(swept(stalled))
        if nudged or closed or replayed:
            self._log.info(Action.SWEPT, nudged=nudged, closed=closed, replayed=replayed)
        return {"nudged": nudged, "closed": closed, "replayed": replayed}

    def _prune(self) -> None:
        """Once a day. A sweep is never worth less because this failed."""
        try:
            deleted = self._pruner.prune_daily()
        except (ClientError, BotoCoreError) as error:
            self._log.warning(Action.TROUBLE, reason=f"versions were not pruned: {error}")
            return
        if deleted:
            self._log.info(Action.PRUNED, versions=deleted)

    def _replay(self) -> int:
        """Events that Lambda gave up on are tried again, three times each."""
        url = self._process.settings.dead_letter_queue_url
        if not url:
            return 0
        answer = self._queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=55)
        replayed = 0
        for message in answer.get("Messages", ()):
            event = _replayable(message["Body"], self.REPLAYS)
            if event is None:
                continue
            Tracing.current.part_ways()
            self._process.continuation.invoke(event)
            self._queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            replayed += 1
        return replayed


def _replayable(body: str, limit: int) -> bytes | None:
    """The dead event with its replays counted, or None when it had enough of them: then it stays, and alarms."""
    try:
        event = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if not isinstance(event, dict):
        return None
    replays = event.get("replays", 0)
    if not isinstance(replays, int) or replays >= limit:
        return None
    return msgspec.json.encode(event | {"replays": replays + 1})
