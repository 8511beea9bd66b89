"""Skips records already processed, without decoding them: a worker without a cache resumes far into a list.

msgspec only counts the records, which is faster than building them as `notifier.audience.bulk` does.
"""

import msgspec

from notifier.audience.bulk import PATIENCE_BYTES, whole_records

_count = msgspec.json.Decoder(list[msgspec.Raw]).decode


class RecordSkipper:
    """Skips whole records of an array, from its opening bracket on.

    It skips at most `left` records, and may stop before. When it stops, `rest` is the text of an array that begins with
    the next record.
    """

    def __init__(self, left: int) -> None:
        self.left = left
        self.rest: bytes | None = None
        self.skipped_bytes = 0
        self._text = b""

    def feed(self, text: bytes) -> int:
        """Take more text. Returns the number of records that were skipped."""
        self._text += text
        skipped = self._skip_records()
        self.left -= skipped
        if not skipped and (self.left == 0 or len(self._text) > PATIENCE_BYTES):
            self.stop()
        return skipped

    def stop(self) -> None:
        """Stop skipping: `rest` is set."""
        if self.rest is None:
            self.rest = self._text

    def _skip_records(self) -> int:
        found = whole_records(self._text, _count)
        if found is None:
            return 0
        records, left = found
        # The text reaches beyond the last record to skip. The caller decodes it, and drops what is left to skip.
        if len(records) > self.left:
            self.stop()
            return 0
        self.skipped_bytes += len(self._text) - len(left)
        self._text = left
        return len(records)
