"""What can be wrong with an audience. No message here carries a value of the file: a position leads a person to it."""

from collections.abc import Sequence


class AudienceChanged(Exception):
    """The object in S3 is no longer the pinned one: other bytes, deleted, or another version than stated."""


class AudienceUnreachable(Exception):
    """S3 did not hand the bytes over, for longer than we ask; the run may be continued later."""


class AudienceDenied(AudienceUnreachable):
    """S3 keeps the bytes back until something outside the file changes. The message says what.

    Nothing begins with such an audience; a run under way waits for it, as for any that cannot be read.
    """


class BrokenFile(ValueError):
    """The file cannot be read on from here.

    Args:
        name: the object, as `s3://bucket/key`.
        reason: what is wrong, in words.
        near: bytes from where and up to where the fault lies, from 0; of the unpacked text where it was gzip.
        record: index of the record that was being read, from 0, within this file; None outside the records.
    """

    def __init__(self, name: str, reason: str, near: Sequence[int], record: int | None = None) -> None:
        where = f"byte {near[0]}" if len(set(near)) == 1 else f"between bytes {near[0]} and {near[-1]}"
        what = "" if record is None else f", in or after record {record} (counted from 0)"
        super().__init__(f"{name}: {reason}; {where}{what}")
        self.name = name
        self.reason = reason
        self.near = tuple(near)
        self.record = record
