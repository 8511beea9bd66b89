"""The control entry: operators' commands."""

from typing import Any

from notifier.composition.process import Process
from notifier.events.triggers import UnknownEvent
from notifier.model.log import Action
from notifier.model.run import COMMANDS, REFUSED, LaneState
from notifier.model.whole_run import as_one
from notifier.telemetry import JsonLog


class ControlService:
    """Pause, resume and cancel, for the command line and the approval app."""

    def __init__(self, process: Process, log: JsonLog) -> None:
        self._process = process
        self._log = log

    def handle(self, event: object) -> dict[str, Any]:
        """`{"action": "pause" | "resume" | "cancel", "run_id": "…", "by": "…"}`."""
        if not isinstance(event, dict) or event.get("action") not in COMMANDS or not event.get("run_id"):
            raise UnknownEvent('expected {"action": "pause" | "resume" | "cancel", "run_id": "…", "by": "…"}')
        control, run_id, by = COMMANDS[event["action"]], str(event["run_id"]), str(event.get("by", ""))
        lanes = self._process.ledger.control_run(run_id, control, by)
        if not lanes:
            return {"status": "refused", "run_id": run_id, "reason": REFUSED}
        for lane in lanes:
            if lane.state is LaneState.READY:
                self._process.continuation.nudge(run_id, lane.lane, lane.function_version, "nudge")
        whole = as_one(lanes)
        run = self._process.ledger.read_run(run_id)
        about = {"campaign": run.campaign_id, "file": run.source.url} if run else {}
        self._log.info(Action.CONTROLLED, run_id=run_id, control=control.value, by=by, state=whole.state.value, **about)
        return {"status": whole.status, "run_id": run_id, "control": whole.control.value, "by": by}
