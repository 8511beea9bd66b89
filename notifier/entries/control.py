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
        """`{"action": "pause" | "resume" | "cancel", "run_id": "…", "by": "…"}`, or a hold of the whole stack.

        `{"action": "hold", "reason": "…", "by": "…"}`, `{"action": "release", "by": "…"}`.
        """
        if isinstance(event, dict) and event.get("action") in ("hold", "release"):
            return self._hold(event)
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

    def _hold(self, event: dict[str, Any]) -> dict[str, Any]:
        """Hold the stack, or release it. What is due then is nudged by the next sweep, within a minute."""
        ledger, by = self._process.ledger, str(event.get("by", ""))
        if event["action"] == "hold":
            hold = ledger.set_hold(by, str(event.get("reason", "")))
            self._log.warning(Action.HELD, reason=hold.words, by=by)
            return {"status": "held", "by": hold.by, "reason": hold.reason, "since_ms": hold.since_ms}
        if not ledger.release_hold(by):
            return {"status": "refused", "reason": "nothing is held"}
        self._log.info(Action.RELEASED, by=by)
        return {"status": "released"}
