"""What still has an erased user after an erasure: from the bucket as it is, not from what the code meant to do."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from privacy.counted import has_hashes
from privacy.erased_bytes import CAPS, document, listed, result
from privacy.places import Way
from privacy.records import Unreadable, user_of
from privacy.run_eraser import READERS
from privacy.runs import Open
from privacy.stack import Progress, Stack, get_version, is_manifest, left_to, read_versions, way_of
from privacy.suspicion import has_user
from privacy.versions import Version
from privacy.whom import Whom

AHEAD, SMALL_BYTES = 128, 1_000_000
"""So many objects are fetched ahead, if each is no larger: this bounds the memory."""


def remaining(
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
        if way_of(stack, one.key) is not Way.NOBODY and one.size and has_hashes(one.key) is are_hashes
    ]  # fmt: skip
    for n, (version, body) in enumerate(_read(stack, versions), 1):
        if body is not None and (why := _why_left(way_of(stack, version.key), version, body, whom)):
            name = left_to(stack, open_, version.key)
            if name is None:
                left[_named(version)] = why
            else:
                waiting[version.key] = name
        on_progress("checked", n, len(versions))
    return waiting, left


def _read(stack: Stack, versions: Sequence[Version]) -> Iterator[tuple[Version, bytes | None]]:
    """Each version with its bytes, in order; None where it has expired. Small ones are fetched some ahead."""

    def body_of(version: Version) -> bytes | None:
        answer = get_version(stack, version)
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
        is_ours = way is Way.DOCUMENT or is_manifest(key)
        found = document(body, whom) if is_ours else listed(body, whom, looks=True)
    except Unreadable as error:
        if has_user(body, whom) is False:
            return None
        # A person's own export: another one without these users takes its place, or nothing does.
        mend = "put one without these users in its place, or delete it" if version.latest else "delete this version"
        return f"{error}, which may have an erased user: {mend}"
    return has if found.erased else found.why_left


def _named(version: Version) -> str:
    """An object; of an older version also which: a new object under the key, or a delete marker, leaves it there."""
    return version.key if version.latest else f"{version.key}, older version {version.id}"
