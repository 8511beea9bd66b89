"""Reads the notifier's ledger, records approvals in it, and gives its runs commands."""

import enum
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
from botocore.exceptions import ClientError, HTTPClientError

from approval.reasons import without_commands
from approval.request import Refused
from approval.table import Table
from notifier.dynamodb import IS_NEW, Item, Items, condition_of, is_refused, item_of
from notifier.hold_item import HOLD, HOLD_KEY, hold_of, holding, releasing
from notifier.lane_commands import NO_ROOM, command_run, number_of_lane
from notifier.model.account import Account
from notifier.model.campaign import Part
from notifier.model.cursor import decode_cursor
from notifier.model.hold import Hold
from notifier.model.run import COMMANDS, LEDGER_VERSION, REFUSED, Ending, Lane, LaneState
from notifier.model.span import Span
from notifier.model.whole_run import slowest

MAX_KEPT = 5_000
"""Runs that are over whose status a process keeps."""


class ControlAction(enum.StrEnum):
    """What a person may do with a run."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class RunSeen(msgspec.Struct, frozen=True):
    """A run as the ledger has it. `status` is one word for the page."""

    run_id: str
    status: str
    account: Account
    control: str = "go"
    control_by: str = ""
    control_at_ms: int | None = None
    reason: str = ""
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    due_at_ms: int | None = None
    sending_ms: int = 0
    """Time spent sending, over all lanes."""
    lanes: int = 1
    slowest_lane: int | None = None
    """Of several lanes, while they send, the one that is furthest behind."""
    is_cancelled: bool = False
    """Whether each lane that has not ended has the command to cancel, which nothing takes back."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status in tuple(Ending)

    @property
    def accepted(self) -> int:
        """Devices for which Apple or Google accepted the push."""
        return sum(arm.accepted for arm in self.account.arms.values())


class RunBrief(msgspec.Struct, frozen=True):
    """A run in one line: its status in one word, and devices for which the push was accepted."""

    status: str
    accepted: int
    is_over: bool


class RunOver(msgspec.Struct, frozen=True):
    """A run over an audience, as the notifier has entered it. `at_ms` is when it began, since the epoch."""

    run_id: str
    campaign_id: str
    at_ms: int


class Runs(Table):
    """The ledger's table and the control function.

    Args:
        client: a boto3 DynamoDB client.
        table: the ledger's table.
        lambda_client: a boto3 Lambda client that soon gives up.
        function: the control function's name or ARN.
    """

    def __init__(self, client: Any, table: str, lambda_client: Any, function: str) -> None:
        super().__init__(client, table)
        self._lambda = lambda_client
        self._function = function
        self._ended: dict[str, RunBrief] = {}
        """Runs that are over, which do not change: the list asks for many at once."""

    def run(self, run_id: str) -> RunSeen | None:
        """A run; None until the notifier knows it."""
        items = self._items(f"run#{run_id}", "lane#")
        lanes = [_lane_seen(run_id, item) for item in items]
        return _as_one(lanes, _slowest(run_id, items)) if lanes else None

    def brief(self, run_id: str) -> "RunBrief | None":
        """What the list shows of a run; None until the notifier knows it."""
        if run_id in self._ended:
            return self._ended[run_id]
        run = self.run(run_id)
        if run is None:
            return None
        brief = RunBrief(run.status, run.accepted, run.is_over)
        if run.is_over and len(self._ended) < MAX_KEPT:
            self._ended[run_id] = brief
        return brief

    def control(self, run_id: str, action: ControlAction, by: str, now_ms: int) -> bool:
        """Pause, resume or cancel a run, by the control function; where that fails, by the ledger itself.

        Waited for: an asynchronous invocation that Lambda has no room for waits in Lambda's queue for up to six hours,
        and is accepted all the same. It could pause a run long after it was resumed.

        Returns whether the function did it. A run that is resumed without it goes on with the next sweep.

        Raises:
            Refused: no lane of the run takes a command, by either way.
        """
        if self._commanded({"action": action.value, "run_id": run_id, "by": by}):
            return True
        if not command_run(Items(self._client, self._table), run_id, COMMANDS[action], by, now_ms):
            raise _refused(REFUSED)
        return False

    def over(self, parts: Sequence[Part], limit: int) -> list[RunOver]:
        """The latest runs over any of these objects, in any version and of any origin; newest first."""
        found = {
            item["run_id"]["S"]: RunOver(item["run_id"]["S"], _text(item, "campaign_id"), _whole(item, "at_ms") or 0)
            for part in parts
            for item in self._items(f"audience#{part.bucket}/{part.key}", "run#", newest_first=True, limit=limit)
        }
        return sorted(found.values(), key=lambda run: run.at_ms, reverse=True)[:limit]

    def knows_campaign(self, campaign_id: str) -> bool:
        """Whether there has been a run of this campaign id: the notifier would refuse a second one."""
        return self._get(f"campaign#{campaign_id}", "campaign") is not None

    def hold(self) -> Hold | None:
        """The hold of the whole stack, or None."""
        return hold_of(self._get(HOLD, HOLD))

    def set_hold(self, by: str, reason: str, now_ms: int) -> None:
        """Hold the whole stack, by the control function; where that has no room, by the ledger itself."""
        if not self._commanded({"action": "hold", "reason": reason, "by": by}):
            self._client.update_item(TableName=self._table, Key=HOLD_KEY, **holding(by, reason, now_ms).arguments())

    def release_hold(self, by: str, now_ms: int) -> None:
        """Release the stack. Another hold that has come meanwhile stays: raises Refused."""
        found = self.hold()
        if found is None:
            return
        try:
            is_released = self._commanded({"action": "release", "by": by})
        except Refused:
            is_released = False  # another person has released it meanwhile, unless it is held again
        if not is_released:
            is_released = Items(self._client, self._table).update(HOLD_KEY, releasing(found, by, now_ms)) is not None
        if not is_released and self.hold() is not None:
            raise Refused("It was not released: it was put on hold once more just now. Look at it again.")

    # -- approvals ----------------------------------------------------------------------------------------------------

    def record_approval(
        self, bucket: str, key: str, body: bytes, request_id: str, by: Sequence[str], expires_at_s: int
    ) -> None:
        """Record which bytes are approved under which key. Call it before the batch file is written.

        The order matters: with RequireApproval the notifier refuses a file that it finds without an approval. The bytes
        are named by their SHA-256, because the ETag is known only after the write, and is no hash under a KMS key.
        """
        item = item_of(
            {
                "pk": f"approved#{bucket}/{key}",
                "sk": "approved",
                "version": LEDGER_VERSION,
                "sha256": sha256(body).hexdigest(),
                "request_id": request_id,
                "approved_by": ", ".join(by),
                "expires_at": expires_at_s,
            }
        )
        try:
            # Only the first one: an approval is never replaced. Called again with the same bytes it changes nothing; a
            # call with other bytes changes nothing either, and the notifier will refuse a file with those bytes.
            self._client.put_item(TableName=self._table, Item=item, **condition_of(IS_NEW))
        except ClientError as error:
            if not is_refused(error):
                raise

    def _commanded(self, event: dict[str, Any]) -> bool:
        """Whether the control function has done it; False where Lambda has no room for it, or it does not answer.

        Raises Refused where it answers that it has not done it.
        """
        try:
            return self._invoke(event)
        except ClientError as error:
            if error.response["Error"]["Code"] not in NO_ROOM:
                raise
        except HTTPClientError:
            # No answer in time. Given twice, the command is the same command.
            pass
        return False

    def _invoke(self, event: dict[str, Any]) -> bool:
        """Whether the control function has done what the event says."""
        payload = json.dumps(event).encode()
        answer = self._lambda.invoke(FunctionName=self._function, InvocationType="RequestResponse", Payload=payload)
        if answer.get("FunctionError"):
            return False
        said = msgspec.json.decode(answer["Payload"].read(), type=_Answer)
        if said.status == "refused":
            raise _refused(said.reason)
        return True


class _Answer(msgspec.Struct, frozen=True):
    """What the control function answers, as far as it is read."""

    status: str = ""
    reason: str = ""


def _refused(reason: str) -> Refused:
    """Why the control function, or the ledger, has not done what it was asked for."""
    if reason == REFUSED:
        return Refused(
            "It was not done: the run is over or cancelled, or it is not known any more. Load its page again."
        )
    return Refused(f"It was not done: {without_commands(reason)}." if reason else "It was not done.")


def _lane_seen(run_id: str, item: Item) -> RunSeen:
    """One lane of a run, which is the whole run unless it was spread over several."""
    return RunSeen(
        run_id=run_id,
        status=_text(item, "ending") or _status(_text(item, "state")),
        account=msgspec.json.decode(item["account"]["S"], type=Account) if "account" in item else Account(),
        control=_text(item, "control") or "go",
        is_cancelled=_text(item, "control") == COMMANDS["cancel"].value,
        control_by=_text(item, "control_by"),
        control_at_ms=_whole(item, "control_at_ms"),
        reason=_text(item, "reason"),
        started_at_ms=_whole(item, "started_at_ms"),
        ended_at_ms=_whole(item, "ended_at_ms"),
        due_at_ms=_whole(item, "due_at"),
        sending_ms=_whole(item, "sending_ms") or 0,
    )


def _slowest(run_id: str, items: Sequence[Item]) -> int | None:
    """The lane that is furthest behind; None of a run of one lane, or of a newer release's."""
    try:
        lanes = [
            Lane(
                run_id,
                number_of_lane(item),
                state=LaneState(_text(item, "state")),
                cursor=decode_cursor(_text(item, "cursor")),
                span=msgspec.json.decode(item["span"]["S"], type=Span),
            )
            for item in items
            if "span" in item
        ]
    except (ValueError, msgspec.MsgspecError):
        return None
    behind = slowest(lanes) if lanes else None
    return behind.lane if behind is not None else None


_STATUSES = ("running", "waiting", "stopped", "paused", "resting", "failed", "cancelled", "aborted", "completed")
"""The status of a run is the first of these that a lane of it has: while one is at work the run is."""
_COMMANDS = ("cancel", "pause", "go")
"""The same of the command that it was given."""


def _as_one(lanes: Sequence[RunSeen], slowest_lane: int | None) -> RunSeen:
    """The run of these lanes."""
    if len(lanes) == 1:
        return lanes[0]
    status = min((lane.status for lane in lanes), key=_STATUSES.index)
    decisive = next(lane for lane in lanes if lane.status == status)
    # A command that has reached one lane is on its way to the others.
    commanded = min(lanes, key=lambda lane: _COMMANDS.index(lane.control))
    account = Account()
    for lane in lanes:
        account.add(lane.account)
    began = [lane.started_at_ms for lane in lanes if lane.started_at_ms is not None]
    ended = [lane.ended_at_ms for lane in lanes if lane.ended_at_ms is not None]
    is_over = status in tuple(Ending)
    return msgspec.structs.replace(
        decisive,
        account=account,
        control=commanded.control,
        control_by=commanded.control_by,
        control_at_ms=commanded.control_at_ms,
        is_cancelled=all(lane.is_cancelled for lane in lanes if not lane.is_over),
        lanes=len(lanes),
        sending_ms=sum(lane.sending_ms for lane in lanes),
        slowest_lane=slowest_lane,
        started_at_ms=min(began, default=None),
        ended_at_ms=max(ended, default=None) if is_over else None,
    )


def _status(state: str) -> str:
    # A lane that is ready is between two invocations, which the page does not show. Without a state it has not begun.
    return {"ready": "running", "": "waiting"}.get(state, state)


def _text(item: Item, name: str) -> str:
    return str(item[name]["S"]) if name in item else ""


def _whole(item: Item, name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None
