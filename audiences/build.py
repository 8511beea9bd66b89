"""Makes a prepared audience of files, in an order that lets any attempt die at any step.

An attempt writes under a folder of its own, and the manifest last. So a reader finds either no manifest, or one that
names objects which are all there; two attempts at the same time leave one manifest, that of the first to finish.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from audiences.compose import Node
from audiences.counted_rows import CountedRows
from audiences.counts import counts_of
from audiences.database import Limits, connect
from audiences.destinations import Destination
from audiences.faults import limits_as_faults
from audiences.joined_users import Preparation
from audiences.manifest_format import (
    MAX_USERS_IN_PART,
    NAME,
    Input,
    InvalidObject,
    Manifest,
    PreparedPart,
    attempt_folder,
    audience_id,
    decode_manifest,
    folder_of,
)
from audiences.parts import WrittenPart, written_parts
from audiences.rows import RowTable
from audiences.sources import InputFile
from audiences.watch import LastProgress, Progress, watched
from notifier.model.audience_counts import Counts
from notifier.model.batch_file import PinnedObject
from notifier.model.user_rows import BATCH_SIZE

_INVALID = "invalid.jsonl"


class Order(msgspec.Struct, frozen=True):
    """What is to be made of what.

    Args:
        request: as it was asked for; it is part of the audience's id.
        inputs: files of this machine.
        attempt: a number that no other attempt at this audience has: its objects' folder is named by it.
        show: attributes whose values may be shown; None for all.
        composition: who of the inputs' users belongs to the audience; None for all.
        owners: with a composition, of each input the number of its source.
        lanes: into so many parts it is divided at least, if it is large enough: a lane is a range of parts.
        queries: the SQL of each query by its name, for the manifest.
    """

    request: Mapping[str, Any]
    inputs: tuple[InputFile, ...]
    attempt: int = 1
    show: tuple[str, ...] | None = ()
    max_users: int = MAX_USERS_IN_PART
    composition: Node | None = None
    owners: tuple[int, ...] = ()
    lanes: int = 1
    queries: Mapping[str, str] = {}

    @property
    def id(self) -> str:
        """The audience's id."""
        return audience_id(self.request, tuple(map(pinned_of, self.inputs)))


def pinned_of(source: InputFile) -> PinnedObject:
    """The object that a file was fetched from; a file of this machine by its path, size and time of change."""
    if source.pinned is not None:
        return source.pinned
    found = source.path.stat()
    return PinnedObject("", str(source.path), None, f"{found.st_mtime_ns:x}-{found.st_size:x}", found.st_size)


def found_manifest(destination: Destination, audience: str) -> Manifest | None:
    """The manifest of an audience that is prepared already. Raises UnknownManifest."""
    data = destination.read(folder_of(audience) + NAME)
    return None if data is None else decode_manifest(data)


def is_whole(destination: Destination, found: Manifest) -> bool:
    """Whether all parts are there. Those that no run has taken expire before their manifest does."""
    return all(destination.has(part.pinned) for part in found.parts)


def build(
    order: Order, destination: Destination, limits: Limits, on_progress: Progress = lambda _what, _users: None
) -> Manifest:
    """Prepare an audience, unless it is prepared already. Returns its manifest, which may be another attempt's.

    Raises:
        BrokenFile, AudienceFault: it cannot be made. Nothing that anybody reads was written.
    """
    audience = order.id
    key = folder_of(audience) + NAME
    before = destination.read(key)
    if before is not None and is_whole(destination, found := decode_manifest(before)):
        return found
    reported = LastProgress(on_progress)
    with prepared(order, limits, reported) as (made, counts):
        folder = attempt_folder(audience, order.attempt)
        written = written_parts(
            made.lines(),
            limits.work / "parts",
            users_in_part(order, counts.users),
            lambda users: reported("writing", users),
        )
        parts = tuple(stored_part(destination, folder, part) for part in written)
        manifest = Manifest(
            id=audience,
            attempt=order.attempt,
            request=order.request,
            inputs=tuple(map(_input, order.inputs, made.rows)),
            parts=parts,
            counts=counts,
            invalid=_store_invalid(destination, folder, made, counts, limits.work),
            queries=order.queries,
        )
    # Last, and once: from here on the audience is there. Nothing above is ever read without it.
    # That of an audience whose parts have expired is replaced, once as well.
    data = manifest.encode()
    if destination.create(key, data) if before is None else destination.replace(key, data, before):
        return manifest
    # Another attempt was first. Its parts hold the same users: this one's objects stay unread, and expire.
    winner = found_manifest(destination, audience)
    assert winner is not None
    return winner


def users_in_part(order: Order, users: int) -> int:
    """At most so many users in a part: few enough for a part for each lane, whole batches."""
    in_lane = -(-users // order.lanes)
    return min(order.max_users, max(-(-in_lane // BATCH_SIZE), 1) * BATCH_SIZE)


def count(order: Order, limits: Limits, on_progress: Progress = lambda _what, _users: None) -> Counts:
    """What the audience would hold. Raises as `build`."""
    with prepared(order, limits, LastProgress(on_progress), only_counts=True) as (_, counts):
        return counts


@contextlib.contextmanager
def prepared(
    order: Order, limits: Limits, reported: LastProgress, *, only_counts: bool = False
) -> Iterator[tuple[Preparation, Counts]]:
    """The users in a database, and what they are. Raises as `build`.

    Args:
        only_counts: nobody asks for the users themselves.
    """
    # Of one file most rows need not be stored for counts. Of several, and of a composition, all rows are compared.
    is_short = only_counts and len(order.inputs) == 1 and order.composition is None
    con = connect(limits)
    try:
        with watched(con, limits, reported.again):
            work = limits.work / "rows"
            table = (CountedRows if is_short else RowTable)(con, work)
            made = Preparation(con, order.inputs, work, order.composition, order.owners, table)
            reported("reading", 0)
            made.run()
            reported("counting", 0)
            yield made, counts_of(con, made, order.show)
    finally:
        con.close()
        # Also after a failure: a warm Lambda environment keeps /tmp, and the next attempt needs all of it.
        shutil.rmtree(limits.work, ignore_errors=True)


def _input(source: InputFile, rows: int) -> Input:
    pinned = pinned_of(source)
    return Input(
        bucket=pinned.bucket,
        key=pinned.key,
        version_id=pinned.version_id,
        etag=pinned.etag,
        size=pinned.size,
        rows=rows,
    )


def stored_part(destination: Destination, folder: str, part: WrittenPart) -> PreparedPart:
    """Store a part and delete its file."""
    pinned = destination.put(folder + part.path.name, part.path)
    # Stored, so its room on the disk is free for the next.
    part.path.unlink(missing_ok=True)
    return PreparedPart(
        bucket=pinned.bucket,
        key=pinned.key,
        version_id=pinned.version_id,
        etag=pinned.etag,
        sha256=part.sha256,
        bytes=part.bytes,
        users=part.users,
        devices=part.devices,
        first_record=part.first_record,
        first_hash=part.batches[0],
        batches=part.batches,
    )


def _store_invalid(
    destination: Destination, folder: str, prepared: Preparation, counts: Counts, work: Path
) -> InvalidObject | None:
    """The list of what was left out; None where nothing was."""
    if not counts.invalid and not counts.repeated_tokens:
        return None
    path = work / _INVALID
    with limits_as_faults("the list of what is left out"), path.open("wb") as out:
        for some in prepared.invalid_lines():
            out.write(("\n".join(line for (line,) in some) + "\n").encode())
    return InvalidObject(destination.put(folder + _INVALID, path).key)


def parts_reference(manifest: Manifest) -> dict[str, Sequence[Mapping[str, Any]]]:
    """What a batch file says to send to this audience: the value of its key `audience`."""
    return {
        "parts": [
            {"bucket": part.bucket, "key": part.key, "etag": part.etag}
            | ({"version_id": part.version_id} if part.version_id else {})
            for part in manifest.parts
        ]
    }
