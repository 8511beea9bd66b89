"""Reads and writes text, plain or gzip: told by content when read, by name when written."""

import contextlib
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_MAGIC = b"\x1f\x8b"


@contextlib.contextmanager
def text_of(path: Path) -> Iterator[IO[str]]:
    """A file's text as UTF-8; line ends as they are, because CSV fields may hold some."""
    with path.open("rb") as stored:
        is_gzip = stored.read(2) == _MAGIC
        stored.seek(0)
        plain = gzip.GzipFile(fileobj=stored) if is_gzip else stored
        with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as text:
            yield text


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, gzipped where its name ends in `.gz`. It gets its name only when it is complete."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with unfinished.open("wb") as stored:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=stored, mode="wb", compresslevel=6, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield stored
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
