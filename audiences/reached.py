"""How many campaigns each user has had in the last days, of those that count for caps: approvers see it.

Of the objects under `caps/`. A run of several groups has one in each: it counts once.
"""

import shutil
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from audiences.caps import CapObjects
from audiences.database import Limits, connect, text

DAYS = 7
MOST = 3
"""Users with as many, or more, are one number."""
MAX_BYTES = 256 * 1024 * 1024
"""Of objects that are read: 32 campaigns to a million users. A page waits for the answer."""


class Reached:
    """How many campaigns a user has had, at most `MOST`; looked up without an object for each user."""

    def __init__(self, users: "array[int]", times: bytes) -> None:
        self._users = users
        self._times = times

    def __len__(self) -> int:
        return len(self._users)

    def times(self, user: int) -> int:
        """Of a user, by the hash of the id."""
        at = bisect_left(self._users, user)
        return self._times[at] if at < len(self._users) and self._users[at] == user else 0


def reached_in_days(objects: CapObjects, today: date, work: Path) -> Reached | None:
    """Who was reached in the last days, today among them; None where that is too much to read.

    Args:
        today: by the calendar of the stack's zone. The objects are of each user's own day.
        work: a directory that is not needed afterwards.
    """
    # Days that are still to come are those of runs in local time: nobody has got these yet.
    listed = [one for one in objects.all() if timedelta(0) <= today - one.day < timedelta(days=DAYS)]
    if sum(one.size for one in listed) > MAX_BYTES:
        return None
    files: list[tuple[str, Path]] = []
    for number, one in enumerate(listed):
        path = work / f"{number}.parquet"
        # One that has expired since it was listed says nothing any more.
        if objects.fetch(one.key, path):
            files.append((one.run_id, path))
    found = _joined(files, objects.limits) if files else Reached(array("Q"), b"")
    shutil.rmtree(work, ignore_errors=True)
    return found


def _joined(files: Sequence[tuple[str, Path]], limits: Limits) -> Reached:
    runs = {run_id: number for number, run_id in enumerate(dict.fromkeys(run_id for run_id, _ in files))}
    selected = "\nUNION ALL ".join(
        f"SELECT user, {runs[run_id]} AS run FROM read_parquet({text(str(path))})" for run_id, path in files
    )
    users, times = array("Q"), bytearray()
    with connect(limits) as con:
        found = con.execute(
            f"SELECT user, least(count(DISTINCT run), {MOST}) FROM ({selected}) GROUP BY user ORDER BY user"
        )
        while rows := found.fetchmany(100_000):
            for user, count in rows:
                users.append(user)
                times.append(count)
    return Reached(users, bytes(times))
