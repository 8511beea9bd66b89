"""Files of any format become raw rows: numbered lines, each the JSON text of one object.

Text that is JSON in lines is read by SQL as it is. The worker's own parsers rewrite any other JSON in lines,
so that both take the same records from every file.
"""

import enum
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import msgspec

from audiences.faults import limits_as_faults
from audiences.reader import Invalid, encoded, judged
from audiences.sources import InputFile
from notifier.audience.batch_file_parser import BatchFileParser
from notifier.audience.local import read_local
from notifier.audience.part_parser import PartParser
from notifier.audience.unpack import Unpacker
from notifier.model.audience_faults import BrokenFile
from notifier.model.spelling import FIRST_INEXACT, BrokenRecord

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Format", "RawFile", "opened", "rewritten", "zstd"]
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_READ_BYTES = 1024 * 1024
_HEAD_BYTES = 256 * 1024
_SAMPLE_LINES = 1000
_BLOCK_BYTES = 2 * 1024 * 1024
_BEGINNING_BYTES = 64 * 1024
_TABLE = "a table (CSV)"
SEPARATOR = "\x01"
"""Between the number and the text of a line that was rewritten. No JSON text has it."""


class Format(enum.StrEnum):
    """How SQL reads a file."""

    LINES = "lines"
    """As it is: it seems to have one JSON object a line."""
    VALUES = "values"
    """Rewritten in numbered lines."""
    TABLE = "table"
    PARQUET = "parquet"


class RawFile(msgspec.Struct, frozen=True):
    """A file as SQL can read it.

    Args:
        path: of the plain file, which is not the input's where that is packed.
        sample: the first records.
        is_shortest: some of the first lines are in JSON's shortest form; it costs much to try that for each in vain.
        broken: the numbers and reasons of records that are no JSON, of files that were rewritten.
        rows: how many records, where it is known.
    """

    path: Path
    format: Format
    sample: tuple[dict[str, Any], ...] = ()
    is_shortest: bool = True
    broken: tuple[tuple[int, str], ...] = ()
    rows: int | None = None


def opened(source: InputFile, work: Path) -> RawFile:
    """The file, unpacked, and how to read it.

    Args:
        work: for an unpacked copy.

    Raises:
        BrokenFile: it is no audience: the message names the format, and what to do.
        AudienceFault: the disk is full.
    """
    path = _plain(source, work)
    if source.in_batch_file:
        return RawFile(path, Format.VALUES)
    with path.open("rb") as stored:
        head = stored.read(_HEAD_BYTES)
    if head.startswith(_PARQUET):
        return RawFile(path, Format.PARQUET)
    parser = PartParser(source.name)
    try:
        records = parser.feed(head, final=len(head) < _HEAD_BYTES)
    except BrokenFile as error:
        if error.reason.startswith(_TABLE):
            return RawFile(path, Format.TABLE)
        # Further on in the file it is not a matter of the format: the reader finds it again, with what comes before.
        return RawFile(path, Format.VALUES)
    if parser.byte is None or not records or _has_endless_line(path):
        return RawFile(path, Format.VALUES)
    sample = tuple(record for record in records[:_SAMPLE_LINES] if isinstance(record, dict))
    lines = set(head.splitlines()[:_SAMPLE_LINES])
    return RawFile(path, Format.LINES, sample, any(encoded(record) in lines for record in sample))


def _has_endless_line(path: Path) -> bool:
    """Whether there is a line of over 4 MiB (one of over 2 MiB may be found): DuckDB may lose it without a word.

    Such a line covers a whole block. Of most blocks only the beginning is read, where a line ends.
    """
    with path.open("rb") as stored:
        for at in range(0, path.stat().st_size, _BLOCK_BYTES):
            stored.seek(at)
            if b"\n" not in stored.read(_BEGINNING_BYTES):
                rest = stored.read(_BLOCK_BYTES - _BEGINNING_BYTES)
                if len(rest) == _BLOCK_BYTES - _BEGINNING_BYTES and b"\n" not in rest:
                    return True
    return False


def rewritten(source: InputFile, path: Path, work: Path) -> RawFile:
    """The file's records in numbered lines, as the worker's parsers read them. Raises BrokenFile."""
    out, broken, sample, number = work / f"{path.name}.lines", list[tuple[int, str]](), list[dict[str, Any]](), 0
    with limits_as_faults(source.name), out.open("wb") as lines:
        parser = BatchFileParser(source.name) if source.in_batch_file else PartParser(source.name)
        for records in read_local(path, parser):
            for record in records:
                if isinstance(record, BrokenRecord):
                    broken.append((number, str(record)))
                elif _has_large_decimal_id(record):
                    broken += [(number, one.reason) for one in judged(number, record) if isinstance(one, Invalid)]
                else:
                    lines.write(b"%d\x01%s\n" % (number, encoded(record)))
                    if len(sample) < _SAMPLE_LINES and isinstance(record, dict):
                        sample.append(record)
                number += 1
    return RawFile(out, Format.VALUES, tuple(sample), broken=tuple(broken), rows=number)


def _has_large_decimal_id(record: object) -> bool:
    """Whether the user id may have lost digits: 1.0973195452152408e+16 would be written as if it were an integer."""
    return isinstance(record, dict) and any(
        type(value) is Decimal and not -FIRST_INEXACT < value < FIRST_INEXACT and name.lower() == "user_id"
        for name, value in record.items()
    )


def _plain(source: InputFile, work: Path) -> Path:
    """The file itself if it is plain, else an unpacked copy."""
    with source.path.open("rb") as stored:
        magic = stored.read(4)
        if not magic.startswith((_ZSTD, _GZIP)):
            return source.path
        stored.seek(0)
        work.mkdir(parents=True, exist_ok=True)
        out = work / f"{source.path.name}.plain"
        with limits_as_faults(source.name), out.open("wb") as plain:
            for piece in _unpacked(source.name, stored, is_zstd=magic == _ZSTD):
                plain.write(piece)
    return out


def _unpacked(name: str, stored: IO[bytes], *, is_zstd: bool) -> Iterator[bytes]:
    """Text in pieces. gzip may be within zstd, and gzip within gzip, as tools write it that compress what is packed."""
    unpacker = Unpacker(name)
    read: Callable[[int], bytes] = zstd.ZstdFile(stored).read if is_zstd else stored.read
    while True:
        text = unpacker.pull()
        if text is None:
            try:
                unpacker.push(read(_READ_BYTES))
            except (zstd.ZstdError, EOFError):
                raise BrokenFile(name, "damaged zstd, or cut off", (stored.tell(),)) from None
        elif text:
            yield text
        else:
            return
