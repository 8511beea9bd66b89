"""The tests whose winners are decided, in the rest of the stack: what was sent, what was counted, what follows.

It reads what other functions own, each by what is public: the run's item and lanes, `state/`, counted conversions.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from notifier.dynamodb import Item, Items, item_of, text_of
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Campaign, Part
from notifier.model.conversion_counts import ConversionCounts
from notifier.model.cursor import decode_cursor
from notifier.model.preparation import PreparationState, Stage
from notifier.model.run import Ending, LaneState, Run, state_key
from notifier.preparation_items import asked_for, conversions_id, preparation_key, preparation_of
from schedules.batch_files import APPROVED_S, BatchFiles, lanes_of
from schedules.stack import ASKED_MS
from schedules.winner_steps import Counts, TestRun


class _Admitted(msgspec.Struct, frozen=True):
    """What a run began with, as far as it is needed here."""

    campaign: Campaign
    parts: tuple[PinnedObject, ...]
    rehearse: bool = False


class TestsOfStack:
    """The stack's table, bucket and audience function.

    Args:
        ask_audiences: invokes the audience function, asynchronously, for a count.
        now: seconds since the epoch.
    """

    __test__ = False  # for pytest

    def __init__(
        self,
        dynamodb: Any,
        table: str,
        s3: Any,
        bucket: str,
        ask_audiences: Callable[[str], object],
        now: Callable[[], float],
    ) -> None:
        self._items = Items(dynamodb, table)
        self._s3 = s3
        self._bucket = bucket
        self._ask = ask_audiences
        self._now = now
        self._batch_files = BatchFiles(self._items, s3, bucket, now)

    def test(self, run_id: str) -> TestRun | None:
        """The test as it was sent, and how far its run is; None where what it began with is gone."""
        body = self._read(state_key(run_id, "campaign"))
        run = self._items.get(item_of({"pk": f"run#{run_id}", "sk": "run"}))
        if body is None or run is None:
            return None
        admitted = msgspec.json.decode(body, type=_Admitted)
        lanes = list(lanes_of(self._items, run_id))
        source = msgspec.json.decode(run["run"]["S"], type=Run).source
        approval = self._items.get(item_of({"pk": f"approved#{source.bucket}/{source.key}", "sk": "approved"})) or {}
        return TestRun(
            admitted.campaign,
            tuple(Part(one.key, one.bucket, one.version_id, one.etag) for one in admitted.parts),
            _ending(lanes),
            bool(lanes) and all(_is_asked(lane) for lane in lanes),
            admitted.rehearse,
            text_of(approval, "approved_by"),
            text_of(approval, "request_id"),
        )

    def ask_for_counts(self, run_id: str, after_h: int) -> str:
        """Have the test's conversions counted, by those before so many hours after its last push."""
        now_ms = int(self._now() * 1000)
        name = conversions_id(run_id, now_ms)
        request = json.dumps({"run_id": run_id, "after_h": after_h})
        asked = asked_for(name, request, self._bucket, now_ms + ASKED_MS, Stage.CONVERSIONS)
        self._items.put_new({**asked, "expires_at": int(self._now()) + APPROVED_S})
        self._ask(name)
        return name

    def counts(self, count: str) -> Counts | None:
        """What was counted, or why it could not be; None while it is under way."""
        item = self._items.get(preparation_key(count))
        if item is None:
            return Counts(fault="the count of the conversions is not in the ledger any more")
        found = preparation_of(item)
        if not found.state.is_over:
            return None
        if found.state is not PreparationState.PREPARED:
            return Counts(fault=found.reason or found.state.value)
        body = self._read(found.manifest)
        if body is None:
            return Counts(fault=f"s3://{self._bucket}/{found.manifest} is gone")
        counted = msgspec.json.decode(body, type=ConversionCounts)
        through = counted.complete_through
        return Counts(
            counted.figures,
            datetime.fromisoformat(counted.last_at).timestamp(),
            datetime.fromisoformat(through).timestamp() if through else None,
            changed=counted.changed,
        )

    def write_remainder(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """As `BatchFiles.write`: of a test that nobody approved no approval is recorded."""
        return self._batch_files.write(key, body, sha256_hex, approved_by)

    def remainder(self, key: str) -> str:
        """The id of the run of a remainder's batch file that is written; "" where none is."""
        return self._batch_files.written(key)

    def _read(self, key: str) -> bytes | None:
        try:
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None
        return body


def _is_asked(lane: Item) -> bool:
    """Whether a lane makes no first request any more. A run that has stopped goes on once it is resumed."""
    return lane["state"]["S"] == LaneState.DONE.value or decode_cursor(lane["cursor"]["S"]).round > 0


def _ending(lanes: list[Item]) -> str:
    """How a run ended: the worst of its lanes; "" while one goes on."""
    if not lanes or any(lane["state"]["S"] != LaneState.DONE.value for lane in lanes):
        return ""
    found = [lane.get("ending", {}).get("S", "") for lane in lanes]
    return next((one for one in found if one != Ending.COMPLETED.value), Ending.COMPLETED.value)
