"""A run's results in S3: rows, invalid records, dead tokens, deferred devices, its state and its summary.

The rows object of a batch *is* its settlement. Two workers may have sent the same batch; the one that puts the object
first (`If-None-Match: *`) has settled it, and the other takes over what that object says.
"""

import gzip
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.account import Account
from notifier.model.outcome import Row
from notifier.model.run import batch_name, state_key
from notifier.model.store_error import StoreRefused, refusal_code, what_to_change
from notifier.sending.batch import Batch
from notifier.sending.deferred_format import (
    DeferredBatch,
    DeferredDevice,
    OpenBatches,
    deferred_device,
    due_from,
    open_of,
)
from notifier.sending.settled_batch import SettledBatch
from notifier.stores.direct_put import DirectPut

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_ROWS = msgspec.json.Decoder(Row)
_NAME = re.compile(r"batch=(\d{8,})(?:\.r(\d+))?(?:\.e(\d+))?\.json\.gz\Z")
NUMBER_DIGITS = 8
"""Of a batch in the names of its objects; more only from the 100,000,000th batch on."""
MAX_BATCHES = 10**12
"""More than any run has."""
SETTLED_FOLDERS = ("rows", "deferred", "invalid", "dead-tokens", "excluded")
"""Folders of the objects of a batch."""
PROBE = "_probe"
"""The name of the empty object that proves a folder writable."""
EXISTS = frozenset({"PreconditionFailed", "412"})
"""S3's codes for a conditional PUT of an object that exists."""
CONFLICTS = frozenset({"ConditionalRequestConflict", "409"})
"""Another request for the same key was under way: the object may exist or not, so that the PUT is repeated.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""
CONFLICT_PAUSES_S = (0.05, 0.2, 0.8)
"""Pauses between attempts of a conditional PUT that was in conflict."""


class S3Results:
    """Results in one bucket.

    Args:
        client: a boto3 S3 client (thread-safe).
        bucket: the bucket's name.
        sleep: waits so many seconds, in the thread that writes.
        direct: puts objects into the bucket at less cost; the client puts what it does not. None: the client puts all.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        sleep: Callable[[float], object] = time.sleep,
        direct: DirectPut | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._sleep = sleep
        self._direct = direct

    # -- settling -----------------------------------------------------------------------------------------------------

    def settle(self, batch: Batch, epoch: int) -> SettledBatch:
        """Write the objects of a complete batch, the rows last: everything else is there before the batch is settled.

        Runs in a thread. Repeated after a failure it writes the same objects.

        Raises:
            StoreRefused: S3 will refuse until an operator changes a permission, a key or the bucket.
        """
        where = f"run_id={batch.run_id}/{batch.name}.json.gz"
        if batch.deferred:
            self._put_deferred(batch, epoch)
        if batch.invalid:
            self._put(f"invalid/{where}", _lines(batch.invalid))
        if batch.excluded:
            # By epoch, because suppression is read again at each claim: the object with the epoch of the rows counts.
            self._put(f"excluded/run_id={batch.run_id}/{batch.name}.e{epoch}.json.gz", _lines(batch.excluded))
        if batch.dead:
            # By epoch: the answers that two workers got are true, whichever of them settles the batch.
            self._put(f"dead-tokens/run_id={batch.run_id}/{batch.name}.e{epoch}.json.gz", _lines(batch.dead))
        key = f"rows/{where}"
        try:
            self._put(key, _lines(batch.rows), _metadata_of(batch, epoch), only_new=True)
        except ClientError as error:
            if error.response["Error"]["Code"] not in EXISTS:
                raise
            # Our own epoch: an earlier PUT of ours was done and its answer lost. Another one: that worker was first.
            if self._epoch_of(key) != epoch:
                return self.settled(batch.run_id, batch.number, batch.round)
        return SettledBatch(
            batch.number,
            batch.round,
            batch.account,
            epoch=epoch,
            pushes=batch.pushes,
            repeated=batch.repeated,
            passed=batch.passed_repeated,
            passed_over=len(batch.passed_over),
        )

    def prove_writable(self, run_id: str) -> None:
        """Write an empty object into each folder that `settle` writes to, before anything is sent.

        Readers and query engines skip names that begin with `_`.

        Raises:
            StoreRefused: nothing that is sent could be settled.
        """
        for folder in SETTLED_FOLDERS:
            self._put(f"{folder}/run_id={run_id}/{PROBE}", b"")

    def settled_from(self, run_id: str, number: int, round_: int, below: int | None = None) -> frozenset[int]:
        """The numbers of this round's settled batches, from `number` on and below `below`."""
        found = self._batches("rows", run_id, (number, MAX_BATCHES if below is None else below))
        return frozenset(int(match[1]) for match in found if int(match[2] or 0) == round_)

    def settled(self, run_id: str, number: int, round_: int) -> SettledBatch:
        """A settled batch, from its rows object: outcomes are counted from the rows, the rest is in the metadata."""
        key = f"rows/run_id={run_id}/{batch_name(number, round_)}.json.gz"
        with self._refusals("GetObject", key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            body = answer["Body"].read()
        metadata = answer["Metadata"]
        account = _account_from_metadata(metadata["account"])
        account.count_rows(_ROWS.decode_lines(gzip.decompress(body)))
        return SettledBatch(
            number,
            round_,
            account,
            ours=False,
            epoch=int(metadata["epoch"]),
            pushes=int(metadata["pushes"]),
            repeated=int(metadata.get("repeated", "0")),
            passed=int(metadata.get("passed", "0")),
            passed_over=int(metadata.get("passed-over", "0")),
        )

    def _epoch_of(self, key: str) -> int:
        return int(self._head(key)["epoch"])

    def _head(self, key: str) -> dict[str, str]:
        with self._refusals("HeadObject", key):
            metadata: dict[str, str] = self._client.head_object(Bucket=self._bucket, Key=key)["Metadata"]
        return metadata

    # -- deferred devices ---------------------------------------------------------------------------------------------

    def _put_deferred(self, batch: Batch, epoch: int) -> None:
        """Write the deferred devices of a batch, before its rows.

        The name has the epoch. Only the object with the epoch of the rows object counts: another one is of a worker
        that did not settle the batch.
        """
        name = f"{batch_name(batch.number, batch.round + 1)}.e{epoch}"
        body = _lines([deferred_device(push) for push in batch.deferred])
        metadata = {
            "due-at": repr(max(push.due_at for push in batch.deferred)),
            "due-from": repr(min(map(due_from, batch.deferred))),
        }
        self._put(f"deferred/run_id={batch.run_id}/{name}.json.gz", body, metadata)

    def open_deferred(self, run_id: str, within: tuple[int, int] | None = None) -> OpenBatches:
        """The batches with deferred devices, each with the round that is to be sent next."""
        within = within or (0, MAX_BATCHES)
        rounds = self._deferred_rounds(run_id, within)
        settled = {
            (int(match[1]), int(match[2] or 0))
            for match in self._batches("rows", run_id, within)
            if int(match[1]) in rounds
        }
        return open_of(rounds, settled)

    def _deferred_rounds(self, run_id: str, within: tuple[int, int]) -> dict[int, dict[int, list[int]]]:
        """The epochs of the objects under `deferred/`, by number and round of their batch."""
        rounds: dict[int, dict[int, list[int]]] = {}
        for match in self._batches("deferred", run_id, within):
            if match[3] is not None:
                rounds.setdefault(int(match[1]), {}).setdefault(int(match[2] or 0), []).append(int(match[3]))
        return rounds

    def _batches(self, folder: str, run_id: str, within: tuple[int, int]) -> Iterator[re.Match[str]]:
        """The names of a run's objects whose batches have these numbers (`_NAME`). Others are not even listed."""
        prefix, (first, below) = f"{folder}/run_id={run_id}/", within
        for key in self._list(prefix, after=f"{prefix}batch={first:08d}"):
            match = _NAME.fullmatch(key, len(prefix))
            if match is None:
                continue
            number = int(match[1])
            # Names of 8 digits are in the order of the numbers; the few longer ones are not.
            if number >= below and len(match[1]) == NUMBER_DIGITS:
                return
            if first <= number < below:
                yield match

    def first_due(self, run_id: str, found: DeferredBatch) -> float:
        """When the first device of a deferred batch is due, in seconds since the epoch.

        0 where the release before wrote the object without that time: then it has to be read to find out.
        """
        answers = (self._head(_deferred_key(run_id, found, epoch)) for epoch in found.epochs)
        return min(float(metadata.get("due-from", "0")) for metadata in answers)

    def read_deferred(self, run_id: str, found: DeferredBatch) -> list[DeferredDevice]:
        """The devices of a deferred batch; none where its objects are of workers that did not settle it."""
        epoch = self._epoch_of(f"rows/run_id={run_id}/{batch_name(found.number, found.round - 1)}.json.gz")
        if epoch not in found.epochs:
            return []
        key = _deferred_key(run_id, found, epoch)
        with self._refusals("GetObject", key):
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return msgspec.json.Decoder(DeferredDevice).decode_lines(gzip.decompress(body))

    # -- one object per run -------------------------------------------------------------------------------------------

    def put_state(self, run_id: str, name: str, value: object) -> None:
        """Store what every hop needs. Of two claims that do so at the same time, the first one's value stays."""
        try:
            self._put(state_key(run_id, name), _ENCODER.encode(value), only_new=True)
        except ClientError as error:
            if error.response["Error"]["Code"] not in EXISTS:
                raise

    def get_state(self, run_id: str, name: str) -> bytes | None:
        """What `put_state` stored, or None."""
        key = state_key(run_id, name)
        try:
            with self._refusals("GetObject", key):
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        body: bytes = answer["Body"].read()
        return body

    def put_summary(self, run_id: str, summary: object) -> str:
        """Write the run's summary. Written again, it is the same object. Returns its key."""
        key = f"summaries/run_id={run_id}/summary.json"
        body = msgspec.json.format(_ENCODER.encode(summary), indent=2)
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")
        return key

    # -- plumbing -----------------------------------------------------------------------------------------------------

    def _put(self, key: str, body: bytes, metadata: dict[str, str] | None = None, *, only_new: bool = False) -> None:
        if self._direct is not None and self._direct.put(key, body, metadata or {}, only_new=only_new):
            return
        condition = {"IfNoneMatch": "*"} if only_new else {}
        for pause_s in (*CONFLICT_PAUSES_S, None):
            try:
                with self._refusals("PutObject", key):
                    self._client.put_object(
                        Bucket=self._bucket, Key=key, Body=body, Metadata=metadata or {}, **condition
                    )
            except ClientError as error:
                if pause_s is None or error.response["Error"]["Code"] not in CONFLICTS:
                    raise
                self._sleep(pause_s)
            else:
                return

    @contextmanager
    def _refusals(self, operation: str, key: str) -> Iterator[None]:
        """Around one call: an error that no other try can help becomes `StoreRefused`, with what has to be changed."""
        try:
            yield
        except ClientError as error:
            code = refusal_code(error)
            if code is None:
                raise
            folder = f"s3://{self._bucket}/{key.rpartition('/')[0]}/"
            raise StoreRefused(f"{code} by S3 for {operation} under {folder}: {what_to_change(code)}") from error

    def _list(self, prefix: str, after: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, StartAfter=after
        )
        with self._refusals("ListBucket", prefix):
            for page in pages:
                for listed in page.get("Contents", ()):
                    yield listed["Key"]


def _deferred_key(run_id: str, found: DeferredBatch, epoch: int) -> str:
    return f"deferred/run_id={run_id}/{batch_name(found.number, found.round)}.e{epoch}.json.gz"


def _lines(values: Sequence[object]) -> bytes:
    """Gzipped newline-delimited JSON, the same bytes for the same values."""
    # Without the time in the header (mtime), which would make the bytes of a repeated write differ.
    return gzip.compress(_ENCODER.encode_lines(values), compresslevel=1, mtime=0)


class _Metadata(msgspec.Struct, omit_defaults=True):
    """What of a batch's account cannot be counted from its rows. Short names: S3 allows 2 KB of metadata."""

    u: int = 0
    """Users."""
    d: int = 0
    """Devices."""
    i: int = 0
    """Invalid records."""
    x: int = 0
    """Excluded users."""
    f: int = 0
    """Deferred devices."""
    p: int = 0
    """Possibly repeated devices."""
    y: int = 0
    """Dry pushes."""
    q: int = 0
    """Requests that may have been repeats."""
    a: dict[str, int] = {}
    """Users assigned, by arm."""
    e: dict[str, int] = {}
    """Excluded users, by reason."""


def _metadata_of(batch: Batch, epoch: int) -> dict[str, str]:
    """The metadata of a batch's rows object."""
    metadata = {"epoch": str(epoch), "account": _account_in_metadata(batch.account), "pushes": str(batch.pushes)}
    counts = {
        "repeated": batch.repeated,
        "passed": batch.passed_repeated,
        "passed-over": len(batch.passed_over),
    }
    # Only above 0: most batches have none of these, and their objects stay as every release has written them.
    return metadata | {name: str(count) for name, count in counts.items() if count}


def _account_in_metadata(account: Account) -> str:
    assigned = {name: figures.assigned for name, figures in account.arms.items() if figures.assigned}
    short = _Metadata(
        account.users,
        account.devices,
        account.invalid_records,
        account.excluded,
        account.deferred,
        account.possibly_repeated,
        account.dry,
        account.repeat_requests,
        assigned,
        account.excluded_by,
    )
    return msgspec.json.encode(short).decode()


def _account_from_metadata(text: str) -> Account:
    short = msgspec.json.decode(text, type=_Metadata)
    account = Account(
        short.u,
        short.d,
        short.i,
        short.x,
        short.f,
        short.p,
        short.y,
        repeat_requests=short.q,
        excluded_by=short.e,
    )
    for name, assigned in short.a.items():
        account.arm(name).assigned = assigned
    return account
