"""The first records of an audience, validated before anything is sent."""

from collections.abc import Sequence
from itertools import islice

from notifier.content.render import Renderer
from notifier.model.record_reading import read_recipient
from notifier.model.spelling import BrokenRecord


class FirstRecords:
    """How many of the first records are broken, why, and whether any has a device that can be asked for."""

    def __init__(self, records: Sequence[object], renderer: Renderer) -> None:
        self.broken = 0
        self.has_devices = False
        self._first: dict[str, int] = {}
        """By reason, the index of the first record that is broken for it."""
        for number, value in enumerate(records):
            try:
                if isinstance(value, BrokenRecord):
                    raise value
                recipient = read_recipient(value)
                renderer.check(recipient)
                if not recipient.devices:
                    raise BrokenRecord(recipient.broken_devices[0][1])
                self.has_devices = True
            except BrokenRecord as error:
                self.broken += 1
                self._first.setdefault(str(error), number)

    def why(self, limit: int = 3) -> str:
        """The first reasons, each with its first record, counted from 0: `token: missing (record 3)`."""
        named = [f"{reason} (record {number})" for reason, number in islice(self._first.items(), limit)]
        rest = len(self._first) - len(named)
        return "; ".join(named) + (f"; and {rest} more reasons" if rest else "")
