"""Erases users from a whole stack in one pass: first from what runs sent, with tombstones, then from all other files.

It can be repeated at any time, also after a crash: nothing is deleted before its tombstone is written.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import msgspec

from notifier.model.rewritten import metadata_of
from privacy.counted import CountedEraser, has_hashes
from privacy.erased_bytes import CAPS, document, listed, result
from privacy.places import MADE_HERE, PREFIXES, Way
from privacy.records import Unreadable, user_of
from privacy.run_eraser import GONE, IN_THIS_MOMENT, READERS, Doomed, RunEraser
from privacy.runs import Open, Runs, is_over, read_open, read_runs
from privacy.suspicion import MAX_CHARS, has_user, is_of_user
from privacy.versions import Version, versions_under
from privacy.waiting import note_waiting, waited_for
from privacy.whom import FOLDER, REFUSED, Whom

OBJECTS_PER_S = 30
"""About so many objects a second are read, and read again to see that nobody is left: measured by tests.bench.erase."""
OURS_BYTES_PER_S, LARGE_BYTES_PER_S, SMALL_BYTES_PER_S = 10_000_000, 2_000_000, 600_000
"""Beside that, bytes a second of files with user ids that runs made, of any others, and of those that may be texts to
look through: measured by tests.bench.looking. Which others have user ids is known only when they are read."""
GZIP_FACTOR = 8
"""Gzipped, so many bytes of an audience are one."""
AHEAD, SMALL_BYTES = 128, 1_000_000
"""So many objects are fetched ahead, if each is no larger: this bounds the memory."""
LOOK_AGAIN_S = 30
"""While versions are deleted, what has begun meanwhile is looked for after so many seconds, in the whole table."""
AGAIN_S = 120
"""One that has taken less goes through all once more where something has ended meanwhile that nobody tells of."""
REWRITES = 5
"""So often a file is read and rewritten that somebody else writes at the same time."""
_RESULTS = tuple(prefix for prefix, way in PREFIXES.items() if way is Way.RESULT)

Progress = Callable[[str, int, int], object]


class Stack(msgspec.Struct, frozen=True):
    """Clients and names of a stack."""

    s3: Any
    dynamodb: Any
    bucket: str
    table: str
    suppression: str
    approval_table: str | None = None


class Erased(msgspec.Struct, frozen=True):
    """What came of an erasure.

    `runs` are users by run; `waiting` and `left` have a reason for each object; `waits_for` are the runs of `waiting`,
    and what else is left to: what is being prepared, decided on or counted. `ended` are those of them that were
    not under way any more at its last look.
    """

    runs: dict[str, int]
    objects: int
    tests: int
    waiting: dict[str, str]
    left: dict[str, str]
    waits_for: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Nobody is left, as far as this stack can reach."""
        return not self.waiting and not self.left


def read_versions(stack: Stack) -> dict[str, list[Version]]:
    """All versions in the bucket, newest first, by their key."""
    found: dict[str, list[Version]] = {}
    for version in versions_under(stack.s3, stack.bucket, ""):
        found.setdefault(version.key, []).append(version)
    return found


def seconds_for(versions: Mapping[str, Sequence[Version]]) -> float:
    """About how long an erasure takes that reads these."""
    return sum(1 / OBJECTS_PER_S + _seconds_of(one) for some in versions.values() for one in some)


def _seconds_of(version: Version) -> float:
    """The CPU time that one file takes for its size."""
    way = next((way for prefix, way in PREFIXES.items() if version.key.startswith(prefix)), Way.FILE)
    if way is not Way.FILE:
        return 0
    size = version.size * (GZIP_FACTOR if version.key.lower().endswith(".gz") else 1)
    if version.key.startswith(MADE_HERE):
        return size / OURS_BYTES_PER_S
    return size / (SMALL_BYTES_PER_S if size <= MAX_CHARS else LARGE_BYTES_PER_S)


def in_words(versions: Mapping[str, Sequence[Version]]) -> str:
    """What an erasure reads, before it does."""
    all_ = [one for some in versions.values() for one in some]
    seconds = max(1, round(seconds_for(versions)))
    return f"{len(all_):,} objects, {sum(one.size for one in all_) / 1e6:,.1f} MB: read twice, about {seconds:,} s"


def erase(stack: Stack, whom: Whom, by: str, now: datetime, on_progress: Progress = lambda *_: None) -> Erased:
    """Erase these users. Raises nothing for what it cannot do: that is in the result."""
    began = time.monotonic()

    def is_again() -> bool:
        # A run that ended before it was waited for was heard of by nobody.
        if any(is_over(stack.s3, stack.bucket, run_id) for run_id in found.waits_for):
            return True
        return bool(found.ended) and time.monotonic() - began < AGAIN_S

    found = _pass(stack, whom, by, now, on_progress)
    # Ends: a run that has its summary is closed to the next pass, which waits for it no more; each turn takes one open
    # run away. All else has its time.
    while is_again():
        # A tombstone is named by its time: the next pass must not write over one of this, which takes two times.
        now += timedelta(milliseconds=2)
        again = _pass(stack, whom, by, now, on_progress)
        runs = {
            run_id: found.runs.get(run_id, 0) + again.runs.get(run_id, 0) for run_id in {**found.runs, **again.runs}
        }
        found = msgspec.structs.replace(
            again, runs=runs, objects=found.objects + again.objects, tests=found.tests + again.tests
        )
    return found


def _pass(stack: Stack, whom: Whom, by: str, now: datetime, on_progress: Progress) -> Erased:
    # Before anything else: what another erasure adds to it is not this one's to take away.
    awaited = waited_for(stack.s3, stack.bucket)
    versions = read_versions(stack)
    runs = read_runs(stack.s3, stack.dynamodb, stack.bucket, stack.table, versions, now.timestamp())
    doomed = Doomed({}, {})
    eraser = RunEraser(stack.s3, stack.bucket, whom, doomed)
    by_run: dict[str, int] = {}
    for n, sent in enumerate(runs.closed, 1):
        own = {key: some for key, some in versions.items() if _is_of(key, sent.run_id)}
        if users := eraser.erase(sent, own, by, int(now.timestamp() * 1000)):
            by_run[sent.run_id] = users
        on_progress("runs", n, len(runs.closed))
    files = _Files(stack, whom, runs.open, doomed)
    for n, some in enumerate(versions.values(), 1):
        for version in some:
            files.erase(version)
        on_progress("files", n, len(versions))
    counted = CountedEraser(stack.s3, stack.bucket, whom, runs, doomed)
    counted.erase(eraser, versions, by, int(now.timestamp() * 1000))
    known = len(whom.counted)
    files.delete_manifests(versions)
    gone, open_ = _delete(stack, runs, runs.open, doomed.versions, now)
    tests = _tests(stack, whom)
    # From the bucket as it is now, not from what this code meant to do.
    waiting, left = _remaining(stack, whom, open_, on_progress)
    hashes_waiting, hashes_left = _remaining(stack, whom, open_, on_progress, are_hashes=True)
    if hashes_left and len(whom.counted) > known:
        # Who is only suspected somewhere is met here for the first time, where all is looked through.
        done, versions = set(doomed.versions), read_versions(stack)
        for key in versions:
            if has_hashes(key):
                doomed.left.pop(key, None)
        counted.erase(eraser, versions, by, int(now.timestamp() * 1000) + 1)
        files.delete_manifests(versions)
        more, open_ = _delete(stack, runs, open_, doomed.versions.keys() - done, now)
        gone += more
        hashes_waiting, hashes_left = _remaining(stack, whom, open_, on_progress, are_hashes=True)
    waiting, left = waiting | hashes_waiting, left | hashes_left
    waits_for = tuple(sorted(set(waiting.values())))
    over = {*runs.over, *(awaited - open_.words.keys())}
    note_waiting(stack.s3, stack.bucket, waits_for, over)
    reasons = {key: open_.words[name] for key, name in waiting.items()}
    ended = tuple(name for name in waits_for if name in open_.gone)
    return Erased(by_run, gone, tests, reasons, left | doomed.left, waits_for, ended)


def _delete(
    stack: Stack, runs: Runs, before: Open, versions: Iterable[tuple[str, str]], now: datetime
) -> tuple[int, Open]:
    """Delete versions for good, but what is needed by now.

    Returns how many, and what is under way, with what was at any look before: what that was left is not erased.
    """
    began = time.monotonic()

    def look() -> tuple[Open, float]:
        now_s = now.timestamp() + time.monotonic() - began
        found = read_open(stack.s3, stack.dynamodb, stack.bucket, stack.table, runs, now_s)
        return found, time.monotonic()

    # The reading has taken minutes, and so does this: what has begun meanwhile may have pinned one of them.
    count, (open_, looked) = 0, look()
    for key, id_ in versions:
        if time.monotonic() - looked >= LOOK_AGAIN_S:
            open_.carry(before)
            before, (open_, looked) = open_, look()
        if _waits(stack, open_, key) is None:
            stack.s3.delete_object(Bucket=stack.bucket, Key=key, VersionId=id_)
            count += 1
    open_.carry(before)
    return count, open_


def _is_of(key: str, run_id: str) -> bool:
    folder, _, rest = key.partition("/")
    return f"{folder}/" in _RESULTS and rest.startswith(f"run_id={run_id}/")


def _way_of(stack: Stack, key: str) -> Way:
    if key.startswith(stack.suppression):
        # The keyed hashes stay: they keep the erased from being reached again.
        return Way.NOBODY if key.startswith(stack.suppression + FOLDER) else Way.FILE
    # An object under no prefix of ours is read as a file: it may be anything.
    return next((way for prefix, way in PREFIXES.items() if key.startswith(prefix)), Way.FILE)


def _waits(stack: Stack, open_: Open, key: str) -> str | None:
    """The open run that an object is left to, or what else."""
    # A run that an earlier release began does not understand keyed hashes: until then it needs the plain ids.
    if key.startswith(stack.suppression) and open_.run_ids:
        return min(open_.run_ids)
    return open_.waits_for(key)


class _Files:
    """Everything but the results of runs, version by version."""

    def __init__(self, stack: Stack, whom: Whom, open_: Open, doomed: Doomed) -> None:
        self._stack = stack
        self._whom = whom
        self._open = open_
        self._doomed = doomed

    def erase(self, version: Version) -> None:
        """Replace a version that is the newest and read by its name; delete any other that has an erased user."""
        key, way = version.key, _way_of(self._stack, version.key)
        if way in (Way.RESULT, Way.NOBODY) or has_hashes(key) or not version.size:
            return
        if _waits(self._stack, self._open, key):
            return
        if _is_manifest(key) and not version.latest:
            self._doomed.versions[key, version.id] = None
            return
        for _ in range(REWRITES):
            answer = _get(self._stack, version)
            if answer is None or self._rewrite(version, way, answer):
                return
            newest = _newest(self._stack, key)
            if newest is None:
                # Deleted in this moment: what was read is an older version now.
                self._doomed.versions[key, version.id] = None
                return
            if newest.id != version.id:
                self._doomed.versions[key, version.id] = None
            version = newest
        self._doomed.left[key] = IN_THIS_MOMENT

    def _rewrite(self, version: Version, way: Way, answer: Any) -> bool:
        """Replace a version, or have it deleted. False where another one has taken its place since it was read."""
        key, body = version.key, answer["Body"].read()
        try:
            if way is Way.ANSWER:
                # Nobody's proof needs it.
                if user_of(body) in self._whom:
                    self._doomed.versions[key, version.id] = None
                return True
            new = (document if way is Way.DOCUMENT or _is_manifest(key) else listed)(body, self._whom)
        except Unreadable:
            if self._is_deletable(version, body):
                self._doomed.versions[key, version.id] = None
            return True
        if not new.erased:
            return True
        if _is_manifest(key) or (version.latest and not key.startswith((*MADE_HERE, "batches/"))):
            try:
                put = self._stack.s3.put_object(
                    Bucket=self._stack.bucket, Key=key, Body=new.body, ContentType=answer["ContentType"],
                    Metadata=metadata_of(answer["Metadata"], version.id, answer["LastModified"], new.erased),
                    # Only in place of what was read: somebody may put a newer list in this moment.
                    IfMatch=answer["ETag"],
                )  # fmt: skip
            except self._stack.s3.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in (*REFUSED, *GONE):
                    raise
                return False
            if not put.get("VersionId"):
                return True
        self._doomed.versions[key, version.id] = None
        return True

    def _is_deletable(self, version: Version, body: bytes) -> bool:
        """Whether a version that cannot be rewritten may go. A person's own export may not, on suspicion alone."""
        if version.key.startswith(MADE_HERE):
            return has_user(body, self._whom) is not False
        # A word of a text may be an id, and may be a word.
        return not version.latest and is_of_user(body, self._whom)

    def delete_manifests(self, versions: dict[str, list[Version]]) -> None:
        """A manifest whose parts are gone is found by nobody any more: such an audience is prepared again."""
        gone = tuple(key for key, _ in self._doomed.versions if not _is_manifest(key))
        for key in [key for key in versions if _is_manifest(key)]:
            folder = key.rpartition("/")[0] + "/"
            if any(one.startswith(folder) for one in gone):
                for version in versions_under(self._stack.s3, self._stack.bucket, key):
                    self._doomed.versions[key, version.id] = None


def _named(version: Version) -> str:
    """An object; of an older version also which: a new object under the key, or a delete marker, leaves it there."""
    return version.key if version.latest else f"{version.key}, older version {version.id}"


def _is_manifest(key: str) -> bool:
    return key.startswith(("audiences/prepared/", "audiences/cut/")) and key.endswith("/_manifest.json")


def _newest(stack: Stack, key: str) -> Version | None:
    """What stands under a key now."""
    found = versions_under(stack.s3, stack.bucket, key)
    return next((one for one in found if one.key == key and one.latest), None)


def _get(stack: Stack, version: Version) -> Any:
    more = {"VersionId": version.pin} if version.pin else {}
    try:
        return stack.s3.get_object(Bucket=stack.bucket, Key=version.key, **more)
    except stack.s3.exceptions.ClientError as error:
        # Expired since it was listed.
        if error.response["Error"]["Code"] in GONE:
            return None
        raise


def _tests(stack: Stack, whom: Whom) -> int:
    """Test pushes of the approval pages name the sample user whose attributes they have."""
    if stack.approval_table is None:
        return 0
    count = 0
    pages = stack.dynamodb.get_paginator("scan").paginate(
        TableName=stack.approval_table, FilterExpression="begins_with(sk, :test)", ConsistentRead=True,
        ExpressionAttributeValues={":test": {"S": "test#"}},
    )  # fmt: skip
    for page in pages:
        for item in page["Items"]:
            found: dict[str, Any] | None = item
            while found is not None and _has_sample(found, whom):
                found = _without_sample(stack, found)
                count += found is None
    return count


def _has_sample(item: dict[str, Any], whom: Whom) -> bool:
    return msgspec.json.decode(item["data"]["S"]).get("sample") in whom


def _without_sample(stack: Stack, item: dict[str, Any]) -> dict[str, Any] | None:
    """Take the sample user out of a test push. What stands there now, where that is something else; else None."""
    test = msgspec.json.decode(item["data"]["S"]) | {"sample": ""}
    try:
        stack.dynamodb.update_item(
            TableName=stack.approval_table, Key={name: item[name] for name in ("pk", "sk")},
            # The pages may write what became of the push in this moment.
            UpdateExpression="SET #data = :data", ConditionExpression="#data = :before",
            ExpressionAttributeNames={"#data": "data"},
            ExpressionAttributeValues={
                ":data": {"S": msgspec.json.encode(test).decode()}, ":before": item["data"],
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )  # fmt: skip
    except stack.dynamodb.exceptions.ConditionalCheckFailedException as error:
        # Nothing is there where it has expired.
        found: dict[str, Any] | None = error.response.get("Item")
        return found or None
    return None


def _remaining(
    stack: Stack, whom: Whom, open_: Open, on_progress: Progress, *, are_hashes: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """Objects that still have an erased user: those that are left to something, with its name, and any others.

    Args:
        are_hashes: of those that caps are counted by, or of all others. These first: who is met there may be counted.
    """
    waiting: dict[str, str] = {}
    left: dict[str, str] = {}
    versions = [
        one for some in read_versions(stack).values() for one in some
        if _way_of(stack, one.key) is not Way.NOBODY and one.size and has_hashes(one.key) is are_hashes
    ]  # fmt: skip
    for n, (version, body) in enumerate(_read(stack, versions), 1):
        if body is not None and (why := _why_left(_way_of(stack, version.key), version, body, whom)):
            name = _waits(stack, open_, version.key)
            if name is None:
                left[_named(version)] = why
            else:
                waiting[version.key] = name
        on_progress("checked", n, len(versions))
    return waiting, left


def _read(stack: Stack, versions: Sequence[Version]) -> Iterator[tuple[Version, bytes | None]]:
    """Each version with its bytes, in order; None where it has expired. Small ones are fetched some ahead."""

    def body_of(version: Version) -> bytes | None:
        answer = _get(stack, version)
        return None if answer is None else bytes(answer["Body"].read())

    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(versions), AHEAD):
            some = versions[first : first + AHEAD]
            # A part of an audience is one of 60 MB: only one of those is in memory.
            ahead = {n: pool.submit(body_of, one) for n, one in enumerate(some) if one.size <= SMALL_BYTES}
            for n, one in enumerate(some):
                yield one, ahead[n].result() if n in ahead else body_of(one)


def _why_left(way: Way, version: Version, body: bytes, whom: Whom) -> str | None:
    """Why a version is not free of erased users; None if it is."""
    key, has = version.key, "it still has an erased user"
    try:
        if way is Way.ANSWER:
            return has if user_of(body) in whom else None
        if way is Way.RESULT or has_hashes(key):
            return has if result(CAPS if has_hashes(key) else key.partition("/")[0], body, whom).erased else None
        is_ours = way is Way.DOCUMENT or _is_manifest(key)
        found = document(body, whom) if is_ours else listed(body, whom, looks=True)
    except Unreadable as error:
        if has_user(body, whom) is False:
            return None
        # A person's own export: another one without these users takes its place, or nothing does.
        mend = "put one without these users in its place, or delete it" if version.latest else "delete this version"
        return f"{error}, which may have an erased user: {mend}"
    return has if found.erased else found.why_left
