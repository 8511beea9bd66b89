"""Whom the runs of a group have reached, by day: what caps are judged by.

`caps/group=G/day=D/run_id=R.parquet` has the users whom one run assigned to an arm, control users too, whose planned
instant is on the local day D: one column `user`, UBIGINT, the first 8 bytes of the SHA-256 of the user id, big-endian,
sorted. A run's object is replaced as a whole, so that a cut that is repeated counts nobody twice. Version 1 is a public
contract.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from audiences.database import Limits, connect, text
from audiences.destinations import Bucket
from notifier.model.caps import Cap

PREFIX = "caps/"
_KEY = re.compile(r"caps/group=[a-z0-9_-]{1,32}/day=(\d{4}-\d\d-\d\d)/run_id=([0-9a-z-]+)\.parquet")
_ROWS_AT_ONCE = 100_000


def key_of(group: str, day: date, run_id: str) -> str:
    """The key of what a run counts in a group on a day."""
    return f"{PREFIX}group={group}/day={day.isoformat()}/run_id={run_id}.parquet"


class Users:
    """User hashes, looked up without an object for each: 8 MB for a million."""

    def __init__(self, ordered: "array[int]") -> None:
        self._ordered = ordered

    def __contains__(self, user: object) -> bool:
        if not isinstance(user, int):
            return False
        at = bisect_left(self._ordered, user)
        return at < len(self._ordered) and self._ordered[at] == user

    def __len__(self) -> int:
        return len(self._ordered)


class Counted(msgspec.Struct, frozen=True):
    """One run's object of one day. `size` is in bytes."""

    key: str
    day: date
    run_id: str
    size: int = 0


class CapObjects:
    """The objects under `caps/` of a stack.

    Args:
        client: a boto3 S3 client.
        limits: of the database that counts.
    """

    def __init__(self, client: Any, bucket: str, limits: Limits) -> None:
        self._client = client
        self._bucket = Bucket(client, bucket)
        self.limits = limits

    def of_group(self, group: str) -> Iterator[Counted]:
        """All objects of a group: of 32 days at most."""
        return self._under(f"{PREFIX}group={group}/")

    def all(self) -> Iterator[Counted]:
        """The objects of every group. A run of several groups has one in each."""
        return self._under(PREFIX)

    def _under(self, prefix: str) -> Iterator[Counted]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket.bucket, Prefix=prefix)
        for page in pages:
            for one in page.get("Contents", ()):
                if found := _KEY.fullmatch(one["Key"]):
                    yield Counted(one["Key"], date.fromisoformat(found[1]), found[2], one["Size"])

    def fetch(self, key: str, path: Path) -> bool:
        """Store an object in a file. False where it has expired since it was listed."""
        data = self._bucket.read(key)
        if data is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return data is not None

    def put(self, key: str, path: Path) -> None:
        """Store an object, in place of an earlier one."""
        self._bucket.put(key, path)

    def copy(self, source: str, key: str) -> None:
        """The same from another object of the bucket."""
        self._bucket.copy(source, key)

    def write(self, users: Iterable[int], path: Path) -> None:
        """A Parquet file of these users, each once."""
        rows = path.with_suffix(".txt")
        rows.parent.mkdir(parents=True, exist_ok=True)
        # By way of a file of text: without another library DuckDB takes rows from Python one by one only.
        with rows.open("w", encoding="ascii") as out:
            out.writelines(f"{user}\n" for user in users)
        with connect(self.limits) as con:
            read = f"read_csv({text(str(rows))}, header = false, columns = {{'user': 'UBIGINT'}})"
            con.execute(f"COPY (SELECT DISTINCT user FROM {read} ORDER BY user) TO {text(str(path))} (FORMAT parquet)")
        rows.unlink()

    def read(self, path: Path) -> "array[int]":
        """The users in a Parquet file, sorted."""
        with connect(self.limits) as con:
            return _ordered(con.execute(f"SELECT user FROM read_parquet({text(str(path))}) ORDER BY user"))

    def judge(self, run_id: str, caps: Sequence[Cap], work: Path, on_object: Callable[[], object]) -> "Judge":
        """What says who has had enough: of what other runs have counted until now.

        Args:
            work: a directory that stays until the judge is not asked any more.
            on_object: called before each object that is read.
        """
        found: dict[str, list[tuple[date, Path]]] = {}
        for number, group in enumerate(sorted({cap.group for cap in caps})):
            # A run's own object is of an earlier attempt at the same cut.
            others = [one for one in self.of_group(group) if one.run_id != run_id]
            files = found.setdefault(group, [])
            for n, one in enumerate(others):
                on_object()
                path = work / f"group-{number}" / f"{n}.parquet"
                if self.fetch(one.key, path):
                    files.append((one.day, path))
        return Judge(found, tuple(caps), self.limits)


class Judge:
    """Who must not get another campaign, by the day on which it would be."""

    def __init__(self, files: Mapping[str, Sequence[tuple[date, Path]]], caps: tuple[Cap, ...], limits: Limits) -> None:
        self._files = files
        self._caps = caps
        self._limits = limits
        self._capped: dict[date, tuple[Users, ...]] = {}

    def is_capped(self, user: int, day: date) -> bool:
        """Whether a campaign on this day would be one too many for a user, by any of the caps."""
        found = self._capped.get(day)
        if found is None:
            found = self._capped[day] = tuple(users for cap in self._caps if len(users := self._over(cap, day)))
        return any(user in users for users in found)

    def _over(self, cap: Cap, day: date) -> Users:
        """Users who have had as many as the cap allows in some `days` days in a row that the day is one of."""
        files = [(one, path) for one, path in self._files.get(cap.group, ()) if abs((one - day).days) < cap.days]
        if len(files) < cap.most:  # a run counts a user once
            return Users(array("Q"))
        # Runs in local time are cut for later days, too. Where there are none, the days up to this one are all.
        windows = range(cap.days) if any(one > day for one, _ in files) else range(1)
        selected = "\nUNION ALL ".join(
            f"SELECT user, {(one - day).days} AS day FROM read_parquet({text(str(path))})" for one, path in files
        )
        with connect(self._limits) as con:
            con.execute(f"CREATE TABLE counted AS {selected}")
            # A window ends so many days after the day, and begins `days` days before its end.
            within = " UNION ".join(
                f"SELECT user FROM counted WHERE day BETWEEN {end - cap.days + 1} AND {end} "
                f"GROUP BY user HAVING count(*) >= {cap.most}"
                for end in windows
            )
            return Users(_ordered(con.execute(f"SELECT DISTINCT user FROM ({within}) ORDER BY user")))


def _ordered(found: Any) -> "array[int]":
    users = array("Q")
    while rows := found.fetchmany(_ROWS_AT_ONCE):
        users.extend(user for (user,) in rows)
    return users
