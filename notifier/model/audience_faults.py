"""What can be wrong with an audience. No message has a value of the file: it names the position instead."""

from collections.abc import Sequence

FIX_THE_FILE = "fix the file at this position, or export it again"
_BEGINNINGS = (0, 3)
"""Where a format is recognised: at the first byte, or behind a byte-order mark."""


class AudienceChanged(Exception):
    """The object in S3 is not the pinned one: it has other bytes or another version than stated, or was deleted."""


class AudienceUnreachable(Exception):
    """S3 did not return the bytes, after all attempts. The run can continue later."""


class AudienceDenied(AudienceUnreachable):
    """S3 refuses to return the bytes until an operator changes something. The message says what.

    A run does not begin with such an audience. A run that has begun waits, as for every AudienceUnreachable.
    """


class BrokenFile(ValueError):
    """The file cannot be read beyond a position.

    Args:
        name: the object, as `s3://bucket/key`.
        reason: what is wrong, for people.
        near: the first and the last byte between which the fault is, from 0; one byte if it is known exactly. They
            count the unpacked text of a gzip.
        record: the index in this file of the record that was being read, from 0; None outside the records.
    """

    def __init__(self, name: str, reason: str, near: Sequence[int], record: int | None = None) -> None:
        where = f"byte {near[0]}" if len(set(near)) == 1 else f"between bytes {near[0]} and {near[-1]}"
        what = "" if record is None else f", in or after record {record} (counted from 0)"
        super().__init__(f"{name}: {reason}; {where}{what}")
        self.name = name
        self.reason = reason
        self.near = tuple(near)
        self.record = record

    @property
    def mend(self) -> str:
        """What to do; empty where the reason says so itself: that of a file of another format."""
        is_format = self.record is None and self.near[0] in _BEGINNINGS
        has_mend = ": " in self.reason.removeprefix("not JSON: ")
        return "" if is_format and has_mend else FIX_THE_FILE
