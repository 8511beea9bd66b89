"""One person: every campaign, arm, device, outcome and time that a stack has of a user.

A prepared audience is in the order of a hash, so that its manifest says in which batch a user is: one or two objects
are read for such a run. What the final cut removed moved the others up, so that its manifest says it then: in each of
its windows, for which of them a user was in nothing says. Of any other run every object of rows is read. `plan` says
which, before anything is.
"""

import gzip
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import msgspec

from notifier.model.cut import CUT_LIST, CUT_PREFIX, Window
from notifier.model.outcome import Row
from notifier.model.run import batch_name
from notifier.model.user_rows import BATCH_SIZE
from reporting.cost import S3_GET

READERS = 8
"""Objects fetched at once."""
OBJECTS_PER_S = 40
"""About so many objects are fetched and looked through a second: measured, 1,200 in 29 s on two busy cores."""
_RUN = re.compile(r"run_id=([0-9a-f]{20})/\Z")
_ROWS = msgspec.json.Decoder(Row)


class LeftOut(msgspec.Struct, frozen=True):
    """A user whom a run left out, as `excluded/` has it: by the final cut, or with the record of the audience."""

    run_id: str
    user_id: str
    reason: str
    record: int | None = None
    campaign_id: str = ""
    """Of the run, where its state is still there: the list itself has none."""


_EXCLUDED = msgspec.json.Decoder(LeftOut)


class Ordered(msgspec.Struct, frozen=True):
    """A part of a prepared audience, as its manifest has it: `batches` are hashes of the first user of each 500."""

    first_record: int
    first_hash: str
    batches: tuple[str, ...]


class _Manifest(msgspec.Struct, frozen=True):
    version: int
    parts: tuple[Ordered, ...]
    windows: tuple[Window, ...] = ()


class _Part(msgspec.Struct, frozen=True):
    bucket: str
    key: str


class _Campaign(msgspec.Struct, frozen=True):
    id: str = ""


class _State(msgspec.Struct, frozen=True):
    parts: tuple[_Part, ...]
    prepared: str = ""
    campaign: _Campaign = _Campaign()


class RunPlan(msgspec.Struct, frozen=True):
    """What is read of one run: the keys of its objects, and whether a manifest named them."""

    run_id: str
    keys: tuple[str, ...]
    size: int
    by_index: bool
    campaign_id: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What a look-up reads, and about what that costs."""

    runs: tuple[RunPlan, ...]

    @property
    def objects(self) -> int:
        """Objects that are read."""
        return sum(len(run.keys) for run in self.runs)

    @property
    def megabytes(self) -> float:
        """The size of what is read."""
        return sum(run.size for run in self.runs) / 1e6

    @property
    def seconds(self) -> int:
        """About how long that takes."""
        return max(1, round(self.objects / OBJECTS_PER_S))

    @property
    def usd(self) -> float:
        """About what that costs."""
        return self.objects * S3_GET

    @property
    def in_words(self) -> str:
        """For the operator, before anything is read."""
        indexed = sum(run.by_index for run in self.runs)
        return (
            f"{len(self.runs):,} runs: {indexed:,} by the index of their audience, {len(self.runs) - indexed:,} whole. "
            f"{self.objects:,} objects, {self.megabytes:,.1f} MB: about {self.seconds:,} s and ${self.usd:.4f}"
        )


class Found(msgspec.Struct, frozen=True):
    """All that rows and lists of left-out users say of one user, oldest first."""

    user_id: str
    rows: tuple[Row, ...]
    excluded: tuple[LeftOut, ...]


def plan(client: Any, bucket: str, user_id: str, since_s: float = 0.0) -> Plan:
    """Which objects have to be read. Costs a listing, and one manifest for each run with a prepared audience.

    Args:
        since_s: runs whose last object is older are left out.
    """
    run_ids = _run_ids(client, bucket)
    with ThreadPoolExecutor(READERS) as pool:
        plans = pool.map(lambda run_id: _plan_of(client, bucket, run_id, user_id, since_s), run_ids)
        return Plan(tuple(one for one in plans if one.keys))


def find(
    client: Any,
    bucket: str,
    user_id: str,
    planned: Plan,
    on_progress: Callable[[int, int], object] = lambda _, __: None,
) -> Found:
    """What the planned objects have of a user."""
    keys = [key for run in planned.runs for key in run.keys]
    campaigns = {run.run_id: run.campaign_id for run in planned.runs}
    rows: list[Row] = []
    excluded: list[LeftOut] = []
    # The id as it stands in JSON. Only an object that has these bytes is decoded.
    needle = msgspec.json.encode(user_id)
    with ThreadPoolExecutor(READERS) as pool:
        for n, (key, body) in enumerate(_bodies(pool, client, bucket, keys), 1):
            for line in _lines_with(body, needle):
                if key.startswith("rows/"):
                    rows += [row for row in (_ROWS.decode(line),) if row.user_id == user_id]
                else:
                    one = _EXCLUDED.decode(line)
                    if one.user_id == user_id:
                        excluded.append(msgspec.structs.replace(one, campaign_id=campaigns.get(one.run_id, "")))
            on_progress(n, len(keys))
    rows.sort(key=lambda row: (row.at, row.run_id, row.record, row.device))
    return Found(user_id, tuple(rows), tuple(excluded))


def _run_ids(client: Any, bucket: str) -> list[str]:
    """Every run with rows, or with users who were left out: those under way are among them."""
    found: dict[str, None] = {}
    for folder in ("rows/", "excluded/"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder, Delimiter="/")
        for page in pages:
            for one in page.get("CommonPrefixes", ()):
                if match := _RUN.search(one["Prefix"]):
                    found[match[1]] = None
    return list(found)


def _plan_of(client: Any, bucket: str, run_id: str, user_id: str, since_s: float) -> RunPlan:
    began = _state_of(client, bucket, run_id)
    numbers = _numbers_of(client, bucket, run_id, user_id, began)
    # Rounds and claims of a batch have names that begin with its own.
    names = ["batch="] if numbers is None else [batch_name(number, 0) for number in numbers]
    keys: list[str] = []
    size, last_s = 0, 0.0
    for prefix in (
        f"{folder}/run_id={run_id}/{name}" for folder in ("rows", "excluded") for name in (*names, CUT_LIST)
    ):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", ()):
                keys.append(one["Key"])
                size += one["Size"]
                last_s = max(last_s, one["LastModified"].timestamp())
    campaign_id = began.campaign.id if began is not None else ""
    return RunPlan(run_id, tuple(keys) if last_s >= since_s else (), size, numbers is not None, campaign_id)


def _state_of(client: Any, bucket: str, run_id: str) -> _State | None:
    """What was stored when the run began; None where it has expired."""
    body = _body(client, bucket, f"state/run_id={run_id}/campaign.json")
    return None if body is None else msgspec.json.decode(body, type=_State)


def _numbers_of(client: Any, bucket: str, run_id: str, user_id: str, began: _State | None) -> list[int] | None:
    """The batches of which one has the user if the run's audience has; None where nothing says which."""
    if began is None:
        return None
    cut = _body(client, bucket, f"{CUT_PREFIX}run_id={run_id}/_manifest.json")
    if cut is None and _body(client, bucket, f"state/run_id={run_id}/cut.json") is not None:
        # The prepared audience's own manifest would lead to other batches.
        return None
    key = began.prepared or (began.parts[0].key.rpartition("/")[0] + "/_manifest.json" if began.parts else "")
    if not key.startswith("audiences/prepared/"):
        return None
    found = cut or _body(client, bucket, key)
    if found is None:
        return None
    manifest = msgspec.json.decode(found, type=_Manifest)
    # Every window begins with the first hashes again.
    shares = [manifest.parts[one.first_part :][: one.parts] for one in manifest.windows] or [manifest.parts]
    return sorted({batch_of(share, user_id) for share in shares if share})


def batch_of(parts: Sequence[Ordered], user_id: str) -> int:
    """The number of the batch that a user's place in the order of hashes is in."""
    wanted = sha256(user_id.encode()).hexdigest()[:16]
    number = parts[0].first_record // BATCH_SIZE
    for part in parts:
        if part.first_hash > wanted:
            break
        number = part.first_record // BATCH_SIZE + bisect_right(part.batches, wanted) - 1
    return number


def _bodies(pool: ThreadPoolExecutor, client: Any, bucket: str, keys: list[str]) -> Iterator[tuple[str, bytes]]:
    """Keys and bodies, in their order; a few hundred at a time, which bounds the memory."""
    for first in range(0, len(keys), 256):
        some = keys[first : first + 256]
        # An object that has expired since it was listed has nothing of anybody.
        yield from zip(some, pool.map(lambda key: _body(client, bucket, key) or b"", some), strict=True)


def _lines_with(body: bytes, needle: bytes) -> Iterator[bytes]:
    # `_probe` is empty.
    text = gzip.decompress(body) if body else b""
    if needle in text:
        yield from (line for line in text.splitlines() if needle in line)


def _body(client: Any, bucket: str, key: str) -> bytes | None:
    try:
        body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    return body
