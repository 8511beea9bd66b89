"""The final cut: when a run begins, the users of its prepared audience who must not get it are removed.

It only removes and orders, and never adds. An attempt writes under a folder of its own, and the manifest last and once,
as preparation does; the list of those left out is published after that, from the manifest that counts. So a killed
attempt leaves nothing that anything reads, and of two attempts one counts, with its own list.
"""

import gzip
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from audiences.build import stored_part
from audiences.cut_rules import PreparedUser, Rule, reason_by_id, reason_of
from audiences.destinations import Bucket
from audiences.faults import AudienceFault, limits_as_faults
from audiences.fetch import fetch
from audiences.manifest_format import MAX_USERS_IN_PART, NAME, PreparedPart, UnknownManifest
from audiences.parts import PartWriter
from audiences.prepared_lines import devices_in, id_in
from audiences.watch import Progress
from notifier.model.cut import CUT_LIST, CUT_PREFIX, CUT_VERSION, Window
from notifier.model.local_time import MAX_LATE_SHARE, TOO_LATE
from notifier.model.outcome import CutUser
from notifier.model.user_rows import BATCH_SIZE

_READ_BYTES = 1024 * 1024
_EXCLUDED = "excluded.json.gz"
_decoded = msgspec.json.Decoder(PreparedUser).decode
ALWAYS = Window(0, 0, 0, 0)


class CutOrder(msgspec.Struct, frozen=True):
    """What is to be cut, and how.

    Args:
        attempt: a number that no other attempt at this cut has: its objects' folder is named by it.
        prepared: the key of the prepared audience's manifest.
        rules: why users are left out, in their order of precedence.
        windows: the times in which users may first be asked, in their order.
        window_of: the index of a user's window.
        is_assumed: whether the campaign's time zone was taken for a user; None where that does not matter.
        late_is_fault: with too many users whose hour is past, the cut fails: the campaign does not say what to do.
        max_users: in a part, as in the prepared ones: lanes are ranges of parts.
        devices: of the prepared audience, by platform and gateway.
        as_of: when the lists were read that the rules look at: UTC, ISO 8601.
        day_of: the local day on which a user counts for caps; None where nobody counts.
        write_users: writes a file of the users of one day.
    """

    run_id: str
    attempt: int
    prepared: str
    parts: tuple[PreparedPart, ...]
    rules: tuple[Rule, ...] = ()
    as_of: str = ""
    windows: tuple[Window, ...] = (ALWAYS,)
    window_of: Callable[[PreparedUser], int] = lambda _: 0
    is_assumed: Callable[[PreparedUser], bool] | None = None
    late_is_fault: bool = False
    max_users: int = MAX_USERS_IN_PART
    devices: Mapping[str, Mapping[str, int]] = {}
    day_of: Callable[[PreparedUser], date] | None = None
    write_users: Callable[[Iterable[int], Path], object] = lambda _users, _path: None

    @property
    def folder(self) -> str:
        """Of this attempt's objects."""
        return f"{cut_folder(self.run_id)}attempt={self.attempt}/"


class CutCounts(msgspec.Struct, frozen=True):
    """`devices` are those of the prepared audience, by platform and gateway: at most so many are left."""

    devices: Mapping[str, Mapping[str, int]] = {}


class CutManifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A final cut. Version 1 is a public contract, which changes by adding fields only.

    Args:
        prepared: the manifest of the audience that was cut.
        parts: those of the prepared audience where nothing was removed before them.
        excluded_by: users who were left out, by reason.
        excluded: the key of their list, in this attempt's folder.
        caps: the key of the users who are left, as caps count them, by the local day of their planned instant.
        timezone_assumed: users without a known time zone, for whom the campaign's own was taken.
    """

    run_id: str
    attempt: int
    prepared: str
    as_of: str
    users: int
    parts: tuple[PreparedPart, ...]
    windows: tuple[Window, ...]
    excluded_by: Mapping[str, int] = {}
    excluded: str | None = None
    counts: CutCounts = CutCounts()
    caps: Mapping[str, str] = {}
    timezone_assumed: int = 0
    version: int = CUT_VERSION

    def encode(self) -> bytes:
        """As JSON, indented: people look at it."""
        plain = {"version": self.version, **msgspec.to_builtins(self)}
        return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


def cut_folder(run_id: str) -> str:
    """The keys' prefix of everything that belongs to a run's cut."""
    return f"{CUT_PREFIX}run_id={run_id}/"


def found_cut(destination: Bucket, run_id: str) -> CutManifest | None:
    """The cut of a run, once it is made. Raises UnknownManifest."""
    data = destination.read(cut_folder(run_id) + NAME)
    if data is None:
        return None
    found = msgspec.json.decode(data, type=CutManifest)
    if found.version > CUT_VERSION:
        raise UnknownManifest(f"a cut of version {found.version}: this release reads {CUT_VERSION}")
    return found


def make_cut(
    order: CutOrder,
    client: Any,
    destination: Bucket,
    work: Path,
    on_progress: Progress = lambda _what, _users: None,
    count: Callable[[CutManifest], object] = lambda _manifest: None,
) -> CutManifest:
    """Cut an audience, unless it is cut already. Returns the cut, which may be another attempt's.

    Args:
        count: counts the users who are left for caps. Repeatable.

    Raises:
        AudienceFault, AudienceChanged, AudienceUnreachable: it cannot be made. Nothing that anything reads was written.
    """
    found = found_cut(destination, order.run_id)
    if found is None:
        made = _Cutting(order, client, destination, work, on_progress).run()
        # Before the cut is there: nobody is sent to who is not counted.
        count(made)
        # Last, and once: from here on the cut is there.
        is_ours = destination.create(cut_folder(order.run_id) + NAME, made.encode())
        found = made if is_ours else found_cut(destination, order.run_id)
        assert found is not None
    # Once more, because of two attempts the other one's cut may be the one that counts.
    count(found)
    publish_excluded(destination, found)
    return found


def publish_excluded(destination: Bucket, found: CutManifest) -> None:
    """Put the list of those left out where the worker puts its own. After the manifest, and so from it alone."""
    if found.excluded is not None:
        destination.copy(found.excluded, f"excluded/run_id={found.run_id}/{CUT_LIST}")


class _Cutting:
    """One attempt."""

    def __init__(self, order: CutOrder, client: Any, destination: Bucket, work: Path, on_progress: Progress) -> None:
        self._order = order
        self._client = client
        self._destination = destination
        self._work = work
        self._on_progress = on_progress
        self._kept: list[PreparedPart] = []
        """Prepared parts that are used as they are: nothing is removed in them, nor before them."""
        self._written: list[list[PreparedPart]] = [[] for _ in order.windows]
        self._writers: dict[int, PartWriter] = {}
        """By window, from its first user on: most of the windows there could be have none."""
        self._excluded_by = Counter[str]()
        self._counted: dict[date, array[int]] = {}
        self._assumed = 0

    def run(self) -> CutManifest:
        """Cut the parts, one after the other."""
        try:
            listed = self._cut_parts()
            self._check_late()
            for number, writer in self._writers.items():
                self._store(number, writer.end())
        finally:
            for writer in self._writers.values():
                writer.close()
        return self._manifest(self._store_list(listed), self._store_counted())

    def _cut_parts(self) -> Path:
        """Write those who stay, and the list of the others. Returns the list's file."""
        encode = msgspec.json.Encoder().encode_lines
        listed = self._work / _EXCLUDED
        self._work.mkdir(parents=True, exist_ok=True)
        with gzip.open(listed, "wb", compresslevel=1) as excluded:
            for part in self._order.parts:
                self._on_progress("the final cut", self._staying)
                if self._keeps_all():
                    # Not even fetched: most runs have no list, and their first push waits for this.
                    self._kept.append(part)
                    continue
                with _fetched(self._client, part, self._work / "prepared") as path:
                    if self._is_kept(path):
                        self._kept.append(part)
                        self._count_kept(path)
                        continue
                    for left_out in self._cut(path):
                        with limits_as_faults(str(self._work)):
                            excluded.write(encode(left_out))
        return listed

    def _keeps_all(self) -> bool:
        """Whether nobody can be left out, nobody is counted for caps, and all begin at the same time."""
        order = self._order
        return not order.rules and len(order.windows) == 1 and order.is_assumed is None and order.day_of is None

    def _is_kept(self, path: Path) -> bool:
        """Whether the part is used as it is. Decided at the first user who is left out, mostly soon."""
        # Once anybody was left out, the parts behind are written again: batches begin at multiples of 500 of those who
        # stay. Not by the writers: of a part of which nobody stays there may be none.
        # With windows each user is looked at, and may be in any of them.
        if self._excluded_by or len(self._order.windows) > 1 or self._order.is_assumed is not None:
            return False
        if not self._order.rules:
            return True
        if (by_id := reason_by_id(self._order.rules)) is not None:
            return all(by_id(id_in(line)) is None for lines in _lines(path) for line in lines)
        return all(reason_of(user, self._order.rules) is None for some in _users(path) for user, _ in some)

    def _count_kept(self, path: Path) -> None:
        if self._order.day_of is not None:
            for some in _users(path):
                self._count(user for user, _ in some)

    def _count(self, users: Iterable[PreparedUser]) -> None:
        day_of = self._order.day_of
        if day_of is None:
            return
        for user in users:
            self._counted.setdefault(day_of(user), array("Q")).append(user.hash)

    @property
    def _staying(self) -> int:
        """How many users stay so far; those of kept parts are counted from the first that is cut on."""
        return sum(writer.users for writer in self._writers.values())

    def _writer(self, number: int) -> PartWriter:
        found = self._writers.get(number)
        if found is None:
            # Kept parts are full, but for the last of all: so the next part begins at a multiple of 500 as well.
            first = 0 if number else sum(part.users for part in self._kept)
            found = PartWriter(self._work / f"window={number:03d}", self._order.max_users, first)
            self._writers[number] = found
        return found

    def _check_late(self) -> None:
        """A file that is late for many, and does not say what becomes of them, was dropped too late or is wrong."""
        late = self._excluded_by[TOO_LATE]
        everybody = self._staying + late
        if self._order.late_is_fault and late > everybody * MAX_LATE_SHARE:
            share = f"{late:,} of {everybody:,} users ({late / everybody:.0%})"
            raise AudienceFault(
                f"campaign.local_time: too late for {share}: their hour is past",
                "write local_time.if_past (skip, now or tomorrow), or a later local_time.date",
            )

    def _cut(self, path: Path) -> Iterator[list[CutUser]]:
        """Write those who stay, each into the parts of the window; give the others."""
        order = self._order
        by_id = reason_by_id(order.rules)
        if by_id is not None and len(order.windows) == 1 and order.day_of is None:
            yield from self._cut_by_id(path, by_id)
            return
        for some in _users(path):
            left_out: list[CutUser] = []
            staying: dict[int, list[tuple[int, int, bytes]]] = {}
            counted: list[PreparedUser] = []
            for user, line in some:
                reason = reason_of(user, order.rules)
                if reason is None:
                    users = staying.setdefault(order.window_of(user), [])
                    users.append((user.hash, len(user.devices), line))
                    counted.append(user)
                    self._assumed += order.is_assumed is not None and order.is_assumed(user)
                else:
                    self._excluded_by[reason] += 1
                    left_out.append(CutUser(order.run_id, user.user_id, reason))
            self._count(counted)
            for number, users in staying.items():
                self._store(number, self._writer(number).write(users))
            yield left_out

    def _cut_by_id(self, path: Path, reason_of_id: Callable[[bytes], str | None]) -> Iterator[list[CutUser]]:
        """The same where only the user id decides, and there is one window: no line is decoded."""
        for lines in _lines(path):
            left_out: list[CutUser] = []
            staying: list[tuple[bytes, int, bytes]] = []
            for line in lines:
                user_id = id_in(line)
                reason = reason_of_id(user_id)
                if reason is None:
                    staying.append((user_id, devices_in(line), line))
                else:
                    self._excluded_by[reason] += 1
                    left_out.append(CutUser(self._order.run_id, user_id.decode(), reason))
            self._store(0, self._writer(0).write_lines(staying))
            yield left_out

    def _store(self, window: int, parts: Iterator[Any]) -> None:
        folder = f"{self._order.folder}window={window:03d}/"
        self._written[window] += [stored_part(self._destination, folder, part) for part in parts]

    def _store_list(self, path: Path) -> str | None:
        if not self._excluded_by:
            return None
        return self._destination.put(self._order.folder + _EXCLUDED, path).key

    def _store_counted(self) -> dict[str, str]:
        stored: dict[str, str] = {}
        for day, users in sorted(self._counted.items()):
            path = self._work / "counted.parquet"
            self._order.write_users(users, path)
            key = f"{self._order.folder}caps/day={day.isoformat()}.parquet"
            stored[day.isoformat()] = self._destination.put(key, path).key
        return stored

    def _manifest(self, excluded: str | None, caps: Mapping[str, str]) -> CutManifest:
        order = self._order
        parts: list[PreparedPart] = []
        windows: list[Window] = []
        first_record = 0
        for number, window in enumerate(order.windows):
            # Parts are kept only where there is one window.
            kept = () if number else self._kept
            moved = [
                msgspec.structs.replace(part, first_record=part.first_record + first_record)
                for part in (*kept, *self._written[number])
            ]
            users = sum(part.users for part in moved)
            times = {"not_before": window.not_before, "not_after": window.not_after}
            windows.append(Window(number, len(parts), len(moved), users, **times))
            parts += moved
            # Two windows never share a batch: each is a lane.
            first_record += -(-users // BATCH_SIZE) * BATCH_SIZE
        return CutManifest(
            run_id=order.run_id,
            attempt=order.attempt,
            prepared=order.prepared,
            as_of=order.as_of,
            users=sum(window.users for window in windows),
            parts=tuple(parts),
            windows=tuple(windows),
            excluded_by=dict(sorted(self._excluded_by.items())),
            excluded=excluded,
            counts=CutCounts(order.devices),
            caps=caps,
            timezone_assumed=self._assumed,
        )


@contextmanager
def _fetched(client: Any, part: PreparedPart, folder: Path) -> Iterator[Path]:
    try:
        [found] = fetch(client, (part.pinned,), folder)
        yield found.path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lines_of_part(client: Any, part: PreparedPart, folder: Path) -> Iterator[list[bytes]]:
    """The lines of a prepared part; some thousands at once."""
    with _fetched(client, part, folder) as path:
        yield from _lines(path)


def users_of_part(client: Any, part: PreparedPart, folder: Path) -> Iterator[list[PreparedUser]]:
    """The users of a prepared part; some thousands at once."""
    with _fetched(client, part, folder) as path:
        yield from ([user for user, _ in some] for some in _users(path))


def _lines(path: Path) -> Iterator[list[bytes]]:
    """The lines of a prepared part, with their ends; some thousands at once."""
    with path.open("rb") as stored:
        while lines := stored.readlines(_READ_BYTES):
            yield lines


def _users(path: Path) -> Iterator[list[tuple[PreparedUser, bytes]]]:
    """The users of a prepared part, each with its line."""
    for lines in _lines(path):
        yield [(_decoded(line), line.removesuffix(b"\n")) for line in lines]
