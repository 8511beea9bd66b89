"""Reads the audience: objects of S3 become decoded records, and the reader never waits for the network.

The modules in the order of the data's way:

- `pin`: which bytes exactly: bucket, key, version and ETag, by one HEAD.
- `s3_errors`: what an error of S3 means for an audience, and what an operator has to change.
- `ranges`: ranged GETs, each repeated when the connection breaks.
- `cache`: whole objects kept in a directory between invocations.
- `download`: the pipe from the thread that fetches to the loop that parses.
- `fetch`: that thread; it is one part ahead of the loop.
- `unpack`: gzip, recognised by its first bytes.
- `part_parser`: recognises the format of a part and passes the text to one of the next four.
- `document`: a JSON object with `users`; `batch_file_parser` for the one with `campaign` as well.
- `array`: a JSON list, decoded by `bulk` and skipped by `skip` as long as nothing about it is unusual, else by ijson.
- `lines`: newline-delimited JSON.
- `values`: JSON values one after the other, with or without white space.
- `scan`: where one JSON value ends.
- `limits`: how large one value may be.
- `foreign_formats`, `json_faults`: what a file is that cannot be read, and the command that converts it.
- `stream`: the records of all parts in order, from a cursor on.
- `guarded`: the same stream with its reader's exceptions.
- `head`: the keys of a batch file other than `users`.
- `ids`: lists of user ids to leave out.
- `suppression`: the user ids that every run leaves out.
- `unused`: parts of prepared audiences are tagged until a run takes them.
- `local`: the same parsers over files on this machine.
"""

from notifier.audience.cache import FileCache
from notifier.audience.guarded import GuardedStream
from notifier.audience.head import read_head
from notifier.audience.ids import IdSet, read_ids
from notifier.audience.pin import pin, pin_parts
from notifier.audience.stream import AudienceStream, FileKind
from notifier.audience.suppression import Suppression
from notifier.model.audience_faults import AudienceChanged, AudienceDenied, AudienceUnreachable, BrokenFile
from notifier.model.batch_file import BatchFileHead, PinnedObject

__all__ = [
    "AudienceChanged",
    "AudienceDenied",
    "AudienceStream",
    "AudienceUnreachable",
    "BatchFileHead",
    "BrokenFile",
    "FileCache",
    "FileKind",
    "GuardedStream",
    "IdSet",
    "PinnedObject",
    "Suppression",
    "pin",
    "pin_parts",
    "read_head",
    "read_ids",
]
