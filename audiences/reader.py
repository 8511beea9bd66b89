"""Rows that SQL cannot prove clean, read by the worker's own reader: the one source of reasons."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from audiences.shape import UPDATED_AT
from notifier.audience.lines import decode_or_broken
from notifier.model.recipient import Recipient
from notifier.model.record_reading import REPEATED, read_recipient
from notifier.model.spelling import BrokenRecord

DUPLICATE = "duplicate"
"""The reason of a device whose token another row has, or another device of the row."""
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Row(msgspec.Struct, frozen=True):
    """A clean row. `attributes` is the JSON text of an object; numbers in it are as the file has them."""

    row: int
    user_id: str
    devices: list[dict[str, str]]
    locale: str | None = None
    timezone: str | None = None
    updated_at: str | None = None
    attributes: str | None = None


class Invalid(msgspec.Struct, frozen=True):
    """A row, or one device of it, that is left out."""

    row: int
    reason: str
    device: int | None = None


def judged_lines(lines: Iterable[tuple[int, str]]) -> Iterator[Row | Invalid]:
    """What becomes of each line. A line may give several results: a row, and some of its devices that are broken."""
    for number, line in lines:
        yield from judged(number, decode_or_broken(line.encode()))


def judged(number: int, record: object) -> Iterator[Row | Invalid]:
    """What becomes of one decoded record."""
    try:
        if isinstance(record, BrokenRecord):
            raise record
        record, updated_at = _without_updated_at(record)
        recipient = read_recipient(record)
    except BrokenRecord as error:
        yield Invalid(number, str(error))
        return
    for device, reason in recipient.broken_devices:
        # The same reason as for a token that another row has: both are counted as repeated.
        yield Invalid(number, DUPLICATE if reason == REPEATED else reason, device)
    if recipient.devices:
        yield _row(number, recipient, updated_at)


def _row(number: int, recipient: Recipient, updated_at: str | None) -> Row:
    devices = [device.as_json() for _, device in recipient.devices]
    attributes = encoded(recipient.attributes).decode() if recipient.attributes else None
    return Row(number, recipient.user_id, devices, recipient.locale, recipient.timezone, updated_at, attributes)


def _without_updated_at(record: object) -> tuple[object, str | None]:
    """The record without the column that only preparation knows, and that column's value as text."""
    if not isinstance(record, dict):
        return record, None
    # Known columns are known in any case.
    names = [name for name in record if name.lower() == UPDATED_AT]
    if not names:
        return record, None
    values = [record[name] for name in names if record[name] is not None]
    if len(values) > 1:
        raise BrokenRecord(f"{UPDATED_AT}: given twice, in names that differ only in case")
    value = values[0] if values else None
    # A list, an object or true is no time: the row counts as one without it, and is no worse for that.
    is_text = isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)
    return {name: inner for name, inner in record.items() if name not in names}, str(value) if is_text else None


def encoded(value: object) -> bytes:
    """The JSON text of a decoded value. Numbers keep their digits."""
    return _encode(value)


def merged(texts: Iterable[str | None]) -> str | None:
    """Attributes of several rows of one user as one object: the later row wins, but for a null."""
    found: dict[str, msgspec.Raw] = {}
    for text in texts:
        values: Mapping[str, Any] = _members(text) if text else {}
        for name, value in values.items():
            if name not in found or bytes(value) != b"null":
                found[name] = value
    return _encode(found).decode() if found else None


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
