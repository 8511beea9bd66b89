"""The stack around the schedules: the audience function, the ledger's runs, the bucket with the batch files.

It reads and writes items that other functions own, each by the attributes that are public: preparations (see
`notifier.preparation_items`), lanes, approvals.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import Items, Update, Value, item_of
from notifier.lane_commands import DUE_PARTITIONS, LANE
from notifier.model.cursor import decode_cursor
from notifier.model.preparation import PreparationState
from notifier.model.run import HAND_OVER_MS, LEDGER_VERSION, Ending, LaneState
from notifier.preparation_items import asked_for, preparation_key, preparation_of
from schedules.batch_files import BatchFiles, lanes_of
from schedules.occurrence_steps import Prepared

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ASKED_MS = 30_000
"""The audience function is invoked at once. Where that failed, the sweeper asks it again after this."""
FIRST_BYTES = 64 * 1024
"""Of a part that are read for examples of its users."""


class _Part(msgspec.Struct, frozen=True):
    bucket: str
    key: str
    etag: str
    version_id: str | None = None


class _Counts(msgspec.Struct, frozen=True):
    users: int = 0
    rows: int = 0


class _Manifest(msgspec.Struct, frozen=True):
    """The manifest of a prepared audience, as far as it is needed here. `audiences.manifest_format` has all of it."""

    parts: tuple[_Part, ...]
    counts: _Counts = _Counts()


class Stack:
    """The stack's table, bucket and audience function.

    Args:
        ask_audiences: invokes the audience function, asynchronously, for a preparation.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        dynamodb: Any,
        table: str,
        s3: "S3Client",
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

    # -- preparations -------------------------------------------------------------------------------------------------

    def ask(self, preparation: str, request: Mapping[str, Any]) -> None:
        """Have an audience prepared. Asked twice it is prepared once."""
        text, due_at_ms = json.dumps(request, ensure_ascii=False), int(self._now() * 1000) + ASKED_MS
        self._enter(**asked_for(preparation, text, self._bucket, due_at_ms))
        self._ask(preparation)

    def prepared(self, preparation: str) -> Prepared | None:
        """How a preparation ended; None while it is under way."""
        item = self._items.get(preparation_key(preparation))
        if item is None:
            return Prepared(fault="its preparation is not in the ledger any more")
        found = preparation_of(item)
        if not found.state.is_over:
            return None
        # Seen: the sweeper need not ask for it again.
        self._items.update(preparation_key(preparation), Update().remove("due", "due_at").only_if(Attr("due").exists()))
        if found.state is not PreparationState.PREPARED:
            return Prepared(fault=found.reason or found.state.value)
        try:
            data = self._s3.get_object(Bucket=self._bucket, Key=found.manifest)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            # It expires after two days, and an erasure deletes it: raised, its occurrence would never come to an end.
            return Prepared(fault="its prepared audience is gone")
        manifest = msgspec.json.decode(data, type=_Manifest)
        parts = [msgspec.to_builtins(part) for part in manifest.parts]
        pinned = [{name: value for name, value in part.items() if value is not None} for part in parts]
        counts = manifest.counts
        return Prepared(counts.users, counts.rows, found.manifest, {"parts": pinned})

    def first_users(self, prepared: Prepared, count: int) -> list[bytes]:
        """The records of a prepared audience's first users, as JSON. They are in the order of a hash: any users."""
        parts = prepared.audience["parts"] if prepared.audience else []
        if not parts:
            return []
        pinned = {"VersionId": parts[0]["version_id"]} if parts[0].get("version_id") else {}
        first = self._s3.get_object(
            Bucket=parts[0]["bucket"], Key=parts[0]["key"], Range=f"bytes=0-{FIRST_BYTES - 1}", **pinned
        )["Body"].read()
        # The last line of a range may be half a record.
        whole = first.split(b"\n") if len(first) < FIRST_BYTES else first.split(b"\n")[:-1]
        return [line for line in whole if line][:count]

    def _enter(self, **values: Value) -> None:
        self._items.put_new({**values, "version": LEDGER_VERSION})

    # -- runs ---------------------------------------------------------------------------------------------------------

    def first_requests_over(self, run_id: str) -> bool:
        """Whether no lane of a run makes first requests any more. A run that has stopped makes none by itself."""
        lanes = list(lanes_of(self._items, run_id))
        over = (LaneState.DONE.value, LaneState.STOPPED.value)
        # Without a lane the batch file was not looked at yet.
        return bool(lanes) and all(
            lane["state"]["S"] in over or decode_cursor(lane["cursor"]["S"]).round > 0 for lane in lanes
        )

    def has_begun(self, run_id: str) -> bool:
        """Whether the ledger has a lane of a run."""
        return next(lanes_of(self._items, run_id), None) is not None

    def completed(self, run_id: str) -> bool:
        """Whether every lane of a run has completed."""
        lanes = list(lanes_of(self._items, run_id))
        return bool(lanes) and all(lane.get("ending", {}).get("S") == Ending.COMPLETED.value for lane in lanes)

    def due_runs(self) -> list[str]:
        """The ids of the runs of which a lane is due, sorted."""
        # A file that has come meanwhile is due a little later, as a lane is that was handed over.
        until_ms = int(self._now() * 1000) + HAND_OVER_MS
        partitions = (LANE, *(f"{LANE}#{number:02d}" for number in range(DUE_PARTITIONS)))
        found = (
            item["pk"]["S"].partition("#")[2]
            for partition in partitions
            for item in self._items.query(Key("due").eq(partition) & Key("due_at").lte(until_ms), IndexName="due")
        )
        return sorted(set(found))

    # -- batch files --------------------------------------------------------------------------------------------------

    def write_batch_file(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """As `BatchFiles.write`."""
        return self._batch_files.write(key, body, sha256_hex, approved_by)

    def declared_ready(self, name: str, day: str) -> bool:
        """Whether an operator has said that a day's files are complete."""
        return self._items.get(item_of({"pk": f"schedule#{name}", "sk": f"ready#{day}"})) is not None

    def declare_ready(self, name: str, day: str, by: str) -> None:
        """Enter that a day's files are complete."""
        self._enter(pk=f"schedule#{name}", sk=f"ready#{day}", by=by, state_at_ms=int(self._now() * 1000))
