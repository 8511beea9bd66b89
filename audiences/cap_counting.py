"""What a run counts for caps that had no final cut, or that ended before it had reached everybody: from its rows.

A run over a prepared audience is counted by its final cut, before anything is sent. Only what was then not sent because
a person ended the run is taken back here: the users of its objects who have no row. A plain batch file has no cut, and
its records are not kept; its users count on the day of the run, by the calendar of the stack's zone.
"""

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from audiences.cap_locks import CapLocks
from audiences.caps import CapObjects, key_of
from audiences.cut_rules import hash_of_user
from audiences.destinations import Bucket
from audiences.watch import Progress
from notifier.model.caps import NO_CAPS, RunCaps
from notifier.model.local_time import QUIET
from notifier.model.preparation import Preparation
from notifier.model.run import state_key
from notifier.model.time_zones import zone_named
from notifier.preparation_items import COUNT, CountRequest

READERS = 8
NEVER_ASKED = frozenset({"too_large", "too_late", "suppressed"})
"""Reasons of rows of users whom no request was made for."""


class _Row(msgspec.Struct, frozen=True):
    user_id: str
    reason: str | None = None
    attempts: int = 0

    @property
    def counts(self) -> bool:
        """Whether the user was held, or asked for. Quiet hours end a push before its first request, and after it."""
        return self.reason not in NEVER_ASKED and (self.reason != QUIET or self.attempts > 0)


class _Campaign(msgspec.Struct, frozen=True):
    not_before: datetime | None = None


class _Beginning(msgspec.Struct, frozen=True):
    """Of what the run began with."""

    campaign: _Campaign = _Campaign()
    prepared: str = ""
    caps: RunCaps = NO_CAPS


_row = msgspec.json.Decoder(_Row)


def _day_of(began: _Beginning, request: str) -> date:
    """The day of a run in the stack's zone: of its planned instant."""
    began_s = msgspec.json.decode(request, type=CountRequest).began_at_ms / 1000
    not_before = began.campaign.not_before
    planned_s = max(began_s, not_before.timestamp() if not_before else 0.0)
    return datetime.fromtimestamp(planned_s, zone_named(began.caps.timezone) or UTC).date()


class CapCounter:
    """Counts runs that are over.

    Args:
        client: a boto3 S3 client (thread-safe).
        bucket: the stack's.
    """

    def __init__(self, client: Any, bucket: str, objects: CapObjects, locks: CapLocks) -> None:
        self._client = client
        self._bucket = Bucket(client, bucket)
        self._objects = objects
        self._locks = locks

    def __call__(self, preparation: Preparation, work: Path, on_progress: Progress) -> str:
        """Count the run, and return the prefix of its objects. Repeatable. Raises GroupLocked."""
        run_id = preparation.run_id.removeprefix(COUNT)
        stored = self._bucket.read(state_key(run_id, "campaign"))
        # Gone: it was refused before it began, or its days are over, and so are those of the caps.
        began = msgspec.json.decode(stored, type=_Beginning) if stored else _Beginning()
        if not began.caps.groups:
            return COUNT
        on_progress("reading whom the run has reached", 0)
        reached = set(self._reached(run_id))
        with self._locks.held(began.caps.groups, run_id):
            for group in began.caps.groups:
                if began.prepared:
                    self._take_back(group, run_id, reached, work)
                elif reached:
                    self._write(group, _day_of(began, preparation.request), run_id, reached, work)
        return COUNT

    def _take_back(self, group: str, run_id: str, reached: set[int], work: Path) -> None:
        """Leave in the run's objects only those whom it has reached."""
        for one in list(self._objects.of_group(group)):
            path = work / "counted.parquet"
            if one.run_id == run_id and self._objects.fetch(one.key, path):
                counted = self._objects.read(path)
                kept = [user for user in counted if user in reached]
                if len(kept) < len(counted):
                    self._write(group, one.day, run_id, kept, work)

    def _write(self, group: str, day: date, run_id: str, users: Any, work: Path) -> None:
        path = work / "reached.parquet"
        self._objects.write(users, path)
        self._objects.put(key_of(group, day, run_id), path)

    def _reached(self, run_id: str) -> Iterator[int]:
        """The users with a row that says more than that nothing was sent."""
        prefix = f"rows/run_id={run_id}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket.bucket, Prefix=prefix)
        with ThreadPoolExecutor(READERS, thread_name_prefix="rows") as pool:
            for page in pages:
                # Names with `_` in front are no rows.
                keys = [one["Key"] for one in page.get("Contents", ()) if "/_" not in one["Key"] and one["Size"]]
                for users in pool.map(self._users_in, keys):
                    yield from users

    def _users_in(self, key: str) -> set[int]:
        body = self._bucket.read(key)
        rows = _row.decode_lines(gzip.decompress(body)) if body else []
        return {hash_of_user(row.user_id) for row in rows if row.counts}
