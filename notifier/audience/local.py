"""Files on this machine, read by the same parsers as those in S3: the command line checks them before an upload."""

from collections.abc import Iterator
from pathlib import Path

from notifier.audience.batch_file_parser import BatchFileParser
from notifier.audience.part_parser import PartParser
from notifier.audience.stream import FileKind
from notifier.audience.unpack import Unpacker
from notifier.model.batch_file import BatchFileHead

READ_BYTES = 1024 * 1024


def read_local(path: Path, parser: BatchFileParser | PartParser) -> Iterator[list[object]]:
    """The records of a file, in lists as they are parsed.

    Raises:
        BrokenFile: after every record before the fault has been yielded.
        OSError: the file cannot be read.
    """
    unpacker = Unpacker(str(path))
    with path.open("rb") as stored:
        while True:
            text = unpacker.pull()
            if text is None:
                unpacker.push(stored.read(READ_BYTES))
                continue
            try:
                # The unpacker gives an empty text at the end of the file.
                records = parser.feed(text, final=not text)
            except Exception:
                if rest := parser.salvage():
                    yield rest
                raise
            if records or not text:
                yield records
            if not text:
                return


def parser_for(path: Path, kind: FileKind, skip: int = 0) -> BatchFileParser | PartParser:
    """The parser for a kind of file. So many of its first records need not be decoded."""
    name = str(path)
    if kind is FileKind.BATCH_FILE:
        return BatchFileParser(name, skip=skip)
    return PartParser(name, skip=skip, ids=kind is FileKind.IDS)


def read_local_head(path: Path) -> BatchFileHead:
    """The keys of a batch file other than `users`; reads no more than that needs. Raises as `read_local`."""
    parser = BatchFileParser(str(path))
    for _ in read_local(path, parser):
        if "campaign" in parser.values and parser.in_users:
            break
    return BatchFileHead(parser.values["campaign"], parser.values.get("audience"), parser.has_users)
