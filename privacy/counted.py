"""Erases users from what runs count for caps: 8 bytes of a hash of each id.

After everything that has plain ids. Of the users of earlier erasures the stack has keyed hashes only, from which no
other hash follows: who they are is known again where an object has one of their ids.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from privacy.erased_bytes import CAPS, result
from privacy.records import Unreadable
from privacy.run_eraser import Doomed, RunEraser
from privacy.runs import Runs, run_counted
from privacy.versions import Version
from privacy.whom import Whom

_OF_A_CUT = re.compile(r"audiences/cut/run_id=[^/]+/(?:[^/]+/)*caps/day=[^/]+\.parquet\Z")


def has_hashes(key: str) -> bool:
    """Whether an object is a file of such hashes: of a run under `caps/`, or where its cut made it."""
    return bool(run_counted(key)) or _OF_A_CUT.match(key) is not None


class CountedEraser:
    """Replaces what is under `caps/`, and deletes what it was copied from.

    Args:
        client: a boto3 S3 client.
    """

    def __init__(self, client: Any, bucket: str, whom: Whom, runs: Runs, doomed: Doomed) -> None:
        self._client = client
        self._bucket = bucket
        self._whom = whom
        self._runs = runs
        self._doomed = doomed

    def erase(self, eraser: RunEraser, versions: Mapping[str, Sequence[Version]], by: str, now_ms: int) -> None:
        """Erase from all of them, but those of runs that are not over: a run that ends early counts again."""
        counted: dict[str, list[Sequence[Version]]] = {}
        for key, some in versions.items():
            if self._runs.open.waits_for(key):
                continue
            if run_id := run_counted(key):
                counted.setdefault(run_id, []).append(some)
            elif _OF_A_CUT.match(key):
                self._doomed.versions.update(self._of_a_cut(some))
        for run_id, objects in counted.items():
            eraser.erase_counted(run_id, objects, by, now_ms)

    def _of_a_cut(self, versions: Sequence[Version]) -> Iterator[tuple[tuple[str, str], None]]:
        # Copied to caps/ by the cut itself: nobody reads it any more.
        for version in versions:
            pin = {"VersionId": version.pin} if version.pin else {}
            body = self._client.get_object(Bucket=self._bucket, Key=version.key, **pin)["Body"].read()
            # One that is damaged stays, and is named in the end.
            with suppress(Unreadable):
                if result(CAPS, body, self._whom).erased:
                    yield (version.key, version.id), None
