"""Which runs are over, and which objects each run sent. What a run still needs is not touched before it has ended."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.batch_file import PinnedObject
from notifier.model.cut import CutParts
from notifier.model.run import Run
from reporting.proof.conclusion import CannotProve, NotProved
from reporting.proof.erased import Erasures
from reporting.proof.evidence import Admitted, find_source, read_erasures, read_object, read_summary

_RUN_KEY = re.compile(r"[a-z-]+/run_id=([0-9a-f]{20})/")
_CAPS_KEY = re.compile(r"caps/group=[^/]+/day=[^/]+/run_id=([0-9a-z-]+)\.parquet\Z")
_LEDGER_KEY = re.compile(r"run#([0-9a-f]{20})\Z")


def _summary_key(run_id: str) -> str:
    return f"summaries/run_id={run_id}/summary.json"


class Sent(msgspec.Struct, frozen=True):
    """What one run read: audiences, each a list of parts in their order; lists of ids; its batch file."""

    run_id: str
    audiences: tuple[tuple[PinnedObject, ...], ...] = ()
    lists: tuple[PinnedObject, ...] = ()
    prepared: str = ""
    erasures: Erasures = Erasures()


class Open:
    """The runs that are not over, and what must be left to them."""

    def __init__(self) -> None:
        self.run_ids: set[str] = set()
        self._keys: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._everything: set[str] = set()

    def take(self, client: Any, bucket: str, run_id: str, batch_file: str | None) -> None:
        """Keep what an open run reads."""
        self.run_ids.add(run_id)
        if batch_file:
            self._keys[batch_file] = run_id
        sent = _sent(client, bucket, run_id, Erasures())
        if sent is None or not batch_file:
            # Its audience is being prepared, or what it began with is not known: every file may be its own.
            self._everything.add(run_id)
            return
        for part in (*(one for some in sent.audiences for one in some), *sent.lists):
            self._keys[part.key] = run_id
        if sent.prepared:
            self._folders[sent.prepared.rpartition("/")[0] + "/"] = run_id

    def waits_for(self, key: str) -> str | None:
        """The run that an object is left to; None if it may be replaced."""
        if run_id := run_counted(key):
            # It counts again when it ends early.
            return run_id if run_id in self.run_ids else None
        if found := _RUN_KEY.search(key.removeprefix("audiences/")):
            return found[1] if found[1] in self.run_ids else None
        if key.startswith(("batches/", "audiences/", "standing/")):
            if self._everything:
                return min(self._everything)
            return self._keys.get(key) or next((id_ for one, id_ in self._folders.items() if key.startswith(one)), None)
        return None


def run_counted(key: str) -> str:
    """The run whose users an object counts for caps; "" for any other object."""
    found = _CAPS_KEY.match(key)
    return found[1] if found else ""


class Runs(msgspec.Struct, frozen=True):
    """All runs of a stack."""

    closed: tuple[Sent, ...]
    open: Open


def read_runs(client: Any, dynamodb: Any, bucket: str, table: str, keys: Mapping[str, bool]) -> Runs:
    """Every run that the ledger or the bucket knows. One with a summary is over.

    Args:
        keys: of the bucket, with whether the object is there, and not only older versions of it.
    """
    known: dict[str, str | None] = {}
    over: set[str] = set()
    for key, is_there in keys.items():
        if found := _RUN_KEY.match(key):
            known.setdefault(found[1], None)
            if is_there and key == _summary_key(found[1]):
                over.add(found[1])
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table,
        ConsistentRead=True,
        FilterExpression="sk = :run",
        ExpressionAttributeValues={":run": {"S": "run"}},
    )
    for page in pages:
        for item in page["Items"]:
            if found := _LEDGER_KEY.match(item["pk"]["S"]):
                source = msgspec.json.decode(item["run"]["S"], type=Run).source
                known[found[1]] = source.key if source.bucket == bucket else ""
    open_ = Open()
    for run_id in sorted(known.keys() - over):
        open_.take(client, bucket, run_id, known[run_id])
    closed = tuple(_closed(client, bucket, run_id) for run_id in sorted(over))
    return Runs(closed, open_)


def is_over(client: Any, bucket: str, run_id: str) -> bool:
    """Whether a run has its summary by now."""
    try:
        client.head_object(Bucket=bucket, Key=_summary_key(run_id))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise
    return True


def _closed(client: Any, bucket: str, run_id: str) -> Sent:
    erasures = read_erasures(client, bucket, run_id)
    sent = _sent(client, bucket, run_id, erasures) or Sent(run_id, erasures=erasures)
    try:
        source = find_source(client, read_summary(client, bucket, run_id), erasures)
    except (CannotProve, NotProved):
        # Expired: there is nothing to erase in it.
        return sent
    file = PinnedObject(source.bucket, source.key, source.version_id, source.etag, 0)
    if any(one.key == file.key for some in sent.audiences for one in some):
        return sent
    return msgspec.structs.replace(sent, audiences=(*sent.audiences, (file,)))


def _sent(client: Any, bucket: str, run_id: str, erasures: Erasures) -> Sent | None:
    state = read_object(client, bucket, f"state/run_id={run_id}/campaign.json")
    if state is None:
        return None
    admitted = msgspec.json.decode(state, type=Admitted)
    audiences = [admitted.parts]
    cut = read_object(client, bucket, f"state/run_id={run_id}/cut.json")
    if cut is not None:
        audiences.append(tuple(part.pinned for part in msgspec.json.decode(cut, type=CutParts).parts))
    return Sent(run_id, tuple(audiences), admitted.exclude, admitted.prepared, erasures)
