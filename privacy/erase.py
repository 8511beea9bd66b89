"""Erases users from a whole stack in one pass: first from what runs sent, with tombstones, then from all other files.

It can be repeated at any time, also after a crash: nothing is deleted before its tombstone is written.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from privacy.counted import CountedEraser, has_hashes
from privacy.file_eraser import FileEraser
from privacy.places import MADE_HERE, PREFIXES, Way
from privacy.remaining import remaining
from privacy.run_eraser import Doomed, RunEraser
from privacy.runs import Open, Runs, is_over, read_open, read_runs
from privacy.stack import Progress, Stack, left_to, read_versions
from privacy.suspicion import MAX_CHARS
from privacy.test_pushes import erase_test_pushes
from privacy.versions import Version
from privacy.waiting import note_waiting, waited_for
from privacy.whom import Whom

OBJECTS_PER_S = 30
"""About so many objects a second are read, and read again to see that nobody is left: measured by tests.bench.erase."""
OURS_BYTES_PER_S, LARGE_BYTES_PER_S, SMALL_BYTES_PER_S = 10_000_000, 2_000_000, 600_000
"""Beside that, bytes a second of files with user ids that runs made, of any others, and of those that may be texts to
look through: measured by tests.bench.looking. Which others have user ids is known only when they are read."""
GZIP_FACTOR = 8
"""Gzipped, so many bytes of an audience are one."""
LOOK_AGAIN_S = 30
"""While versions are deleted, what has begun meanwhile is looked for after so many seconds, in the whole table."""
AGAIN_S = 120
"""One that has taken less goes through all once more where something has ended meanwhile that nobody tells of."""
_RESULTS = tuple(prefix for prefix, way in PREFIXES.items() if way is Way.RESULT)


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
    files = FileEraser(stack, whom, runs.open, doomed)
    for n, some in enumerate(versions.values(), 1):
        for version in some:
            files.erase(version)
        on_progress("files", n, len(versions))
    counted = CountedEraser(stack.s3, stack.bucket, whom, runs, doomed)
    counted.erase(eraser, versions, by, int(now.timestamp() * 1000))
    known = len(whom.counted)
    files.delete_manifests(versions)
    gone, open_ = _delete(stack, runs, runs.open, doomed.versions, now)
    tests = erase_test_pushes(stack, whom)
    # From the bucket as it is now, not from what this code meant to do.
    waiting, left = remaining(stack, whom, open_, on_progress)
    hashes_waiting, hashes_left = remaining(stack, whom, open_, on_progress, are_hashes=True)
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
        hashes_waiting, hashes_left = remaining(stack, whom, open_, on_progress, are_hashes=True)
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
        if left_to(stack, open_, key) is None:
            stack.s3.delete_object(Bucket=stack.bucket, Key=key, VersionId=id_)
            count += 1
    open_.carry(before)
    return count, open_


def _is_of(key: str, run_id: str) -> bool:
    folder, _, rest = key.partition("/")
    return f"{folder}/" in _RESULTS and rest.startswith(f"run_id={run_id}/")
