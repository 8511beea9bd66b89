"""Reads CSV as spreadsheets and databases write it: detects the separator, numbers rows as a spreadsheet does."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from notifier.model.plurals import counted

MAX_FIELD_CHARS = 1024 * 1024
"""Of one cell. After a quote that is never closed, the rest of the file would be read as one cell."""
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""The separators that are detected. Excel writes semicolons where the comma is the decimal sign."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[;,\t]*\s*', re.IGNORECASE)
"""A first line such as `sep=;`, which names the separator for Excel."""

_SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,]\d+)?[eE]\+\d+")
"""A long number as a spreadsheet writes it, such as 1.23E+15. An id of hexadecimal digits has no plus."""
AS_TEXT = (
    "in the spreadsheet the id is rounded already: export it from its source again, and import the column as text "
    "(Data, From Text/CSV, then Text for this column), or do not open the file in a spreadsheet"
)


class BadTable(ValueError):
    """The table cannot be read. The message says where and why, `mend` what to do."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.mend = mend


class Table:
    """The header of a table, and its rows.

    Args:
        lines: the text's lines, with their ends.
        is_known: whether a column has a meaning here. The separator that yields most of them is taken.
        separator: None to detect it.
    """

    def __init__(self, lines: Iterable[str], is_known: Callable[[str], bool], separator: str | None = None) -> None:
        csv.field_size_limit(MAX_FIELD_CHARS)
        texts = iter(lines)
        first = next((line for line in texts if line.strip()), "").removeprefix("\ufeff")
        if (found := _SEPARATOR_LINE.fullmatch(first)) is not None:
            separator = separator or found[1]
            first = next((line for line in texts if line.strip()), "")
        self.separator = separator or _separator_of(first, is_known)
        # Without `strict` a quote that is never closed would silently swallow the rows after it into one cell.
        self._rows: Any = csv.reader(chain([first], texts), delimiter=self.separator, strict=True)
        self.columns = tuple(name.strip() for name in self._read() or ())

    @property
    def separator_name(self) -> str:
        """The separator in words."""
        return SEPARATORS.get(self.separator, repr(self.separator))

    def __iter__(self) -> Iterator[tuple[int, Sequence[str]]]:
        """The rows that are not empty, each with its number: the header is row 1."""
        number = 1
        while (cells := self._read()) is not None:
            number += 1
            # A row may be short, and a cell may hold a line break; both together are an open quote, as a rule.
            if len(cells) < len(self.columns) and any("\n" in cell for cell in cells):
                problem = f"row {number} has {counted(len(cells), 'cell')}, and one of them holds a line break"
                raise BadTable(problem, "look for a quote that is not closed in this row")
            if any(cell.strip() for cell in cells):
                yield number, cells

    def _read(self) -> list[str] | None:
        began = self._rows.line_num + 1
        try:
            cells: list[str] | None = next(self._rows, None)
        except csv.Error as error:
            raise BadTable(f"line {began}: {_in_words(error)}", "fix this line, or export the table again") from None
        return cells


def check_id(row: int, column: str, value: str) -> None:
    """Raises BadTable for an id that a spreadsheet rounded as a number: its last digits are lost."""
    if _SCIENTIFIC.fullmatch(value):
        raise BadTable(f"row {row}, column {column}: {value} is a rounded number, not an id", AS_TEXT)


def _separator_of(header: str, is_known: Callable[[str], bool]) -> str:
    def known(separator: str) -> int:
        try:
            cells = next(csv.reader([header], delimiter=separator), [])
        except csv.Error:
            return 0
        return sum(is_known(cell.strip()) for cell in cells)

    return max(SEPARATORS, key=known)


def _in_words(error: csv.Error) -> str:
    text = str(error)
    if "field larger" in text:
        return f"a cell of over {MAX_FIELD_CHARS:,} characters begins here: is a quote missing?"
    if "end of data" in text:
        return "a quote is opened in the row that begins here, and never closed"
    if "expected after" in text:
        return "a quote within a quoted field must be written twice"
    if "NUL" in text:
        return "it has a NUL byte"
    return "it is not a row of a table"
