"""Reads and writes text, plain or gzip: by its content when read, by its name when written."""

import codecs
import contextlib
import errno
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 1024 * 1024
_HEAD_BYTES = 4096
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
WINDOWS = "cp1252"
"""The encoding of Excel's "CSV" in Western Europe and the Americas. The file itself does not name it."""
_MOSTLY_ASCII = 0.8
"""A share of ASCII letters that a list of tokens and ids exceeds, whatever the names in it."""
_NOT_TEXT = (
    (b"PK", "an Excel workbook or another zip archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (xls)"),
    (b"PAR1", "Parquet"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"\x1f\x8b", "compressed with gzip twice"),
)


class NotText(ValueError):
    """The file is not text in a known encoding. The message says what it is, `mend` what to do."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.mend = mend


@contextlib.contextmanager
def text_of(path: Path, encoding: str | None = None) -> Iterator[IO[str]]:
    """A file's text. Line ends are kept as they are, because cells of a CSV may contain some.

    Args:
        encoding: None to detect it: UTF-8 or UTF-16, with or without a byte-order mark, else Windows-1252.

    Raises:
        NotText: it is in none of these, or not text at all.
    """
    encoding = encoding or encoding_of(path)
    with _unpacked(path) as plain, io.TextIOWrapper(plain, encoding=encoding, newline="") as text:
        yield text


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as stored:
        is_gzip = stored.read(2) == _MAGIC
        stored.seek(0)
        yield gzip.GzipFile(fileobj=stored) if is_gzip else stored  # type: ignore[misc]


def encoding_of(path: Path) -> str:
    """The encoding of a file, by its first bytes or by reading all of them. Raises NotText."""
    with _unpacked(path) as plain:
        head = plain.read(_HEAD_BYTES)
        for magic, what in _NOT_TEXT:
            if head.startswith(magic):
                raise NotText(f"{what}, not text", "save the sheet as CSV UTF-8, or export text, uncompressed or gzip")
        marked = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
        # A NUL byte is in no text of an eight-bit encoding.
        if marked or b"\x00" in head:
            return marked or _utf_16(head)
        utf_8 = codecs.getincrementaldecoder("utf-8")()
        windows = codecs.getincrementaldecoder(WINDOWS)()
        # Both are tried in one pass: the first byte that is not UTF-8 may be the last of the file.
        found: set[str] = {"utf-8", WINDOWS}
        while head and found:
            for name, decoder in (("utf-8", utf_8), (WINDOWS, windows)):
                if name in found and not _decodes(decoder, head):
                    found.remove(name)
            head = plain.read(_PIECE_BYTES)
        if "utf-8" in found and _decodes(utf_8, b"", final=True):
            return "utf-8"
    if WINDOWS in found:
        return WINDOWS
    raise NotText(
        "neither UTF-8 nor UTF-16 nor Windows-1252", "save it as CSV UTF-8, or name the encoding with --encoding"
    )


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _utf_16(head: bytes) -> str:
    """Which UTF-16 it is, without a byte-order mark: every second byte of an ASCII letter is 0. Raises NotText."""
    pairs = max(1, len(head) // 2)
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if zeros.count(0) > _MOSTLY_ASCII * pairs:
            return name
    raise NotText("it has NUL bytes: not text", "export it as CSV UTF-8")


def _new(unfinished: Path, path: Path) -> IO[bytes]:
    try:
        return unfinished.open("wb")
    except OSError as error:
        # With the name that was given, and not that of the file on the way.
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextlib.contextmanager
def output_to(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, gzipped where its name ends in `.gz`. An error leaves no file behind."""
    # Under another name until it is complete: an audience that is cut short would look like a whole one.
    unfinished = path.with_name(path.name + ".unfinished")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        with _new(unfinished, path) as stored:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=stored, mode="wb", compresslevel=6, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield stored
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
