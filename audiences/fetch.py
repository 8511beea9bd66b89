"""Pinned objects become files of this attempt, by the worker's own ranged reader."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiences.faults import limits_as_faults, storage_full
from audiences.sources import InputFile
from notifier.audience.ranges import Sleep, read_ranges
from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RESERVE_BYTES = 64 * 1024 * 1024
"""Left free on the disk: what is prepared has to be written, too."""


def fetch(
    client: "S3Client",
    objects: Sequence[PinnedObject],
    directory: Path,
    *,
    sleep: Sleep = time.sleep,
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> tuple[InputFile, ...]:
    """Fetch every object into a file of its own. The directory is this attempt's.

    Raises:
        AudienceFault: they do not fit on the disk; nothing is fetched then.
        AudienceChanged, AudienceUnreachable: as of the reader.
    """
    directory.mkdir(parents=True, exist_ok=True)
    total, free = sum(one.size for one in objects), free_bytes(directory)
    if total + _RESERVE_BYTES > free:
        raise storage_full(f"the files have {_mb(total)} MB, {_mb(free)} MB are free")
    return tuple(_fetch_one(client, pinned, directory / f"{n:05d}", sleep) for n, pinned in enumerate(objects))


def _fetch_one(client: "S3Client", pinned: PinnedObject, path: Path, sleep: Sleep) -> InputFile:
    # The key's last part says to people, and to nothing here, what the file is.
    with limits_as_faults(pinned.name), path.open("wb") as out:
        for piece in read_ranges(client, pinned, 0, sleep):
            out.write(piece)
    return InputFile(path, pinned.name, pinned)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"
