"""Over the records that were read before, without decoding them: where a cold worker resumes far into a list.

msgspec only counts them, and is faster still than where it builds records (`notifier.audience.bulk`).
"""

import msgspec

from notifier.audience.bulk import PATIENCE_BYTES, whole_records

_count = msgspec.json.Decoder(list[msgspec.Raw]).decode


class RecordSkipper:
    """Skips whole records of an array whose text begins with its opening bracket.

    It may stop short of `left` records, never beyond: `rest` is then an array that begins with the next record.
    """

    def __init__(self, left: int) -> None:
        self.left = left
        self.rest: bytes | None = None
        self.skipped_bytes = 0
        self._text = b""

    def feed(self, text: bytes) -> int:
        """Take more text; the number of records it skipped."""
        self._text += text
        skipped = self._over_records()
        self.left -= skipped
        if not skipped and (self.left == 0 or len(self._text) > PATIENCE_BYTES):
            self.stop()
        return skipped

    def stop(self) -> None:
        """Skip no more."""
        if self.rest is None:
            self.rest = self._text

    def _over_records(self) -> int:
        found = whole_records(self._text, _count)
        if found is None:
            return 0
        records, left = found
        if len(records) > self.left:
            self.stop()
            return 0
        self.skipped_bytes += len(self._text) - len(left)
        self._text = left
        return len(records)
