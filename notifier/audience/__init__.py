"""The audience: pinned objects of S3, streamed as records.

The way of a byte: `ranges` fetches it in the thread of `fetch`, `download` (with `cache`) hands it to the loop,
`unpack` inflates it, `form` tells what it belongs to, `document`, `array` or `lines` makes records of it, and `stream`
puts the parts one behind the other.
"""

from notifier.audience.cache import FileCache
from notifier.audience.guarded import GuardedStream
from notifier.audience.head import read_head
from notifier.audience.ids import IdSet, read_ids
from notifier.audience.pin import pin, pin_parts
from notifier.audience.stream import AudienceStream, FileKind
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
    "pin",
    "pin_parts",
    "read_head",
    "read_ids",
]
