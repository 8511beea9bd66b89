"""Makes an audience from a table of users: one row per device, unknown columns as attributes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from notifier.model.plain_words import quoted
from notifier.model.plurals import counted
from notifier.model.recipient import UserRecord
from notifier.model.record_reading import read_recipient
from notifier.model.spelling import NAMES_FIRST, VALUES, BrokenRecord, are_values
from operations.broken_groups import BrokenGroup, RecordPlace, add_broken
from operations.convert.grouping import grouped
from operations.convert.table import BadTable, Table, check_id

KNOWN = frozenset(UserRecord.__struct_fields__)
REQUIRED = ("user_id", "platform", "token")
_DEVICE = ("platform", "token", "gateway", "environment")
_IDS = ("user_id", "token")
_DECIMAL = re.compile(r"(\d{1,16})\.0+")
_MAX_WHOLE = 2**53
"""From here on a floating-point number is not exact: two ids may have become one."""


class RowCounts(msgspec.Struct):
    """What became of the rows. `users` counts the records written, `left_out` the rows that are not, by reason."""

    rows: int = 0
    devices: int = 0
    users: int = 0
    left_out: list[BrokenGroup] = []


def records(
    lines: Iterable[str], counts: RowCounts, separator: str | None = None
) -> tuple[Table, Iterator[dict[str, Any]]]:
    """The table, and the audience's records; `counts` is filled while they are read.

    Raises:
        BadTable: a required column is missing; or, while the records are read, a row does not fit the columns.
    """
    table = Table(lines, lambda name: column_of(name) in KNOWN, separator)
    columns = [column_of(name) for name in table.columns]
    _check(table, columns)
    return table, _counted(grouped(_judged(table, columns, counts)), counts)


def column_of(name: str) -> str:
    """The known column that a name means, in any case and spelling (`User ID`); any other name is an attribute's."""
    plain = re.sub(r"[\s-]+", "_", name.strip()).lower()
    return plain if plain in KNOWN else name.strip()


def _check(table: Table, columns: Sequence[str]) -> None:
    names = ", ".join(quoted(name) for name in table.columns[:12]) or "none"
    if table.columns and table.columns[0].startswith(("{", "[")):
        raise BadTable("JSON already, not a table", "notifier validate FILE --users-only")
    if not table.columns:
        raise BadTable("the file is empty", "export the table again")
    if are_values(table.columns):
        raise BadTable(VALUES, f"{NAMES_FIRST}; another separator: --separator")
    # Before the check for missing columns, whose advice would be to rename dozens of them.
    if {"channeltype", "address"} <= {name.lower() for name in columns}:
        raise BadTable("a table of Amazon Pinpoint's endpoints", "notifier convert pinpoint FILE -o OUT")
    for name in REQUIRED:
        if name not in columns and not (name != "user_id" and "devices" in columns):
            problem = f"no column {name} in row 1; its columns, separated by {table.separator_name}, are {names}"
            mend = "name the columns user_id, platform, token (and locale, timezone; others become attributes)"
            raise BadTable(problem, f"{mend}; another separator: --separator")
    for name in columns:
        if name and columns.count(name) > 1:
            raise BadTable(f"row 1: the column {quoted(name)} is there twice", "rename one of them, or leave it out")


def _judged(table: Table, columns: Sequence[str], counts: RowCounts) -> Iterator[dict[str, Any]]:
    """One record for each row that can be sent to."""
    for number, cells in table:
        counts.rows += 1
        record = _record(number, cells, columns)
        try:
            recipient = read_recipient(record)
        except BrokenRecord as error:
            add_broken(counts.left_out, str(error), RecordPlace(number))
            continue
        for n, reason in recipient.broken_devices:
            add_broken(counts.left_out, reason, RecordPlace(number, device=n))
        counts.devices += len(recipient.devices)
        if recipient.devices:
            # Consecutive rows become one record, so the flat device is written as a list of one.
            own = {name: value for name, value in record.items() if name not in (*_DEVICE, "devices", "user_id")}
            devices = [device.as_json() for _, device in recipient.devices]
            yield {"user_id": recipient.user_id, "devices": devices, **own}


def _record(number: int, cells: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """A row's values by column; an empty cell is no value. Raises BadTable for cells beyond the header."""
    if any(cell.strip() for cell in cells[len(columns) :]):
        problem = f"row {number} has {counted(len(cells), 'cell')}, and row 1 has {counted(len(columns), 'column')}"
        raise BadTable(problem, "put a text that contains the separator into quotes")
    record: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=False):
        # A space around a token makes it another token; around an attribute it may be meant.
        value = cell.strip() if name in KNOWN else cell
        if name and value:
            record[name] = _id_of(number, name, value) if name in _IDS else value
    return record


def _id_of(number: int, column: str, value: str) -> str:
    """An id as it was before a spreadsheet made it a number: `1000.0` is 1000. Raises BadTable for a rounded one."""
    check_id(number, column, value)
    # Only a user id: the gateways' tokens are no numbers.
    whole = _DECIMAL.fullmatch(value)
    return whole[1] if whole and int(whole[1]) < _MAX_WHOLE and column == "user_id" else value


def _counted(found: Iterable[dict[str, Any]], counts: RowCounts) -> Iterator[dict[str, Any]]:
    for record in found:
        counts.users += 1
        yield record
