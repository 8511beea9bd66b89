"""The notifier as approval sees it: the ledger (read only, but for its own approvals), and the control entry."""

import enum
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from approval.table import Table
from notifier.account import Account
from notifier.campaign import Part
from notifier.counting import CountJob, CountProgress, CountStatus, count_id
from notifier.run import LEDGER_VERSION, Ending
from notifier.tally import Figures


class ControlAction(enum.StrEnum):
    """What may be done to a run."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


class RunSeen(msgspec.Struct, frozen=True):
    """A run, as far as the ledger tells. `status` is one word for people."""

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

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in tuple(Ending)

    @property
    def accepted(self) -> int:
        """For how many devices Apple or Google took the push."""
        return sum(arm.accepted for arm in self.account.arms.values())


class RunOver(msgspec.Struct, frozen=True):
    """A run over an audience, as the notifier entered it when the run began. `at_ms`: since the epoch."""

    run_id: str
    campaign_id: str
    at_ms: int


class Runs(Table):
    """The ledger's table and the control function.

    Args:
        client: a boto3 DynamoDB client.
        table: the ledger's table.
        lambda_client: a boto3 Lambda client.
        function: the control function's name or ARN.
    """

    def __init__(self, client: Any, table: str, lambda_client: Any, function: str) -> None:
        super().__init__(client, table)
        self._lambda = lambda_client
        self._function = function

    def run(self, run_id: str) -> RunSeen | None:
        """A run; None when the notifier does not know it yet."""
        item = self._get(f"run#{run_id}", "lane#0000")
        if item is None:
            return None
        return RunSeen(
            run_id=run_id,
            status=_text(item, "ending") or _status(_text(item, "state")),
            account=_decoded(item, "account", Account) or Account(),
            control=_text(item, "control") or "go",
            control_by=_text(item, "control_by"),
            control_at_ms=_whole(item, "control_at_ms"),
            reason=_text(item, "reason"),
            started_at_ms=_whole(item, "started_at_ms"),
            ended_at_ms=_whole(item, "ended_at_ms"),
            due_at_ms=_whole(item, "due_at"),
        )

    def control(self, run_id: str, action: ControlAction, by: str) -> None:
        """Ask the notifier to pause, resume or cancel a run."""
        self._invoke({"action": action.value, "run_id": run_id, "by": by})

    def over(self, parts: Sequence[Part], limit: int) -> list[RunOver]:
        """The latest runs over any of these objects, whatever their versions and whoever began them; newest first."""
        found = {
            item["run_id"]["S"]: RunOver(item["run_id"]["S"], _text(item, "campaign_id"), _whole(item, "at_ms") or 0)
            for part in parts
            for item in self._items(f"audience#{part.bucket}/{part.key}", "run#", newest_first=True, limit=limit)
        }
        return sorted(found.values(), key=lambda run: run.at_ms, reverse=True)[:limit]

    def knows_campaign(self, campaign_id: str) -> bool:
        """Whether a run of this campaign id has been there already: a second one would be refused."""
        return self._get(f"campaign#{campaign_id}", "campaign") is not None

    # -- counting -----------------------------------------------------------------------------------------------------

    def count(self, parts: Sequence[Part]) -> CountJob | None:
        """The counting job of these objects, if there ever was one."""
        name = count_id(parts)
        item = self._get(f"count#{name}", "count")
        if item is None:
            return None
        return CountJob(
            count_id=name,
            status=CountStatus(_text(item, "status") or CountStatus.COUNTING),
            progress=_decoded(item, "progress", CountProgress) or CountProgress(),
            result=_decoded(item, "result", Figures),
            reason=_text(item, "reason"),
            updated_at_ms=_whole(item, "updated_at_ms") or 0,
        )

    def begin_count(self, parts: Sequence[Part], by: str) -> None:
        """Have these objects counted."""
        named = [{"bucket": p.bucket, "key": p.key, "version_id": p.version_id, "etag": p.etag} for p in parts]
        self._invoke({"action": "count", "parts": named, "by": by})

    # -- approvals ----------------------------------------------------------------------------------------------------

    def record_approval(
        self, bucket: str, key: str, body: bytes, request_id: str, by: Sequence[str], expires_at_s: int
    ) -> None:
        """Tell the notifier, before the batch file is there, which bytes are approved under which key. Once.

        By their SHA-256: the ETag is known too late, and of an object encrypted with a KMS key it is no hash at all.
        """
        item = {
            "pk": {"S": f"approved#{bucket}/{key}"},
            "sk": {"S": "approved"},
            "version": {"N": str(LEDGER_VERSION)},
            "sha256": {"S": sha256(body).hexdigest()},
            "request_id": {"S": request_id},
            "approved_by": {"S": ", ".join(by)},
            "expires_at": {"N": str(expires_at_s)},
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def _invoke(self, event: dict[str, Any]) -> None:
        self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=json.dumps(event).encode())


def _status(state: str) -> str:
    return {"ready": "running", "": "waiting"}.get(state, state)


def _text(item: Any, name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def _whole(item: Any, name: str) -> int | None:
    text = item.get(name, {}).get("N")
    return int(float(text)) if text is not None else None


def _decoded(item: Any, name: str, kind: Any) -> Any:
    text = _text(item, name)
    return msgspec.json.decode(text, type=kind) if text else None
