"""A CSV file as spreadsheets and databases write it: the separator found, rows by the numbers a spreadsheet shows."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

MAX_FIELD_CHARS = 1024 * 1024
"""Of one field. A quote that is never closed would take the rest of the file for one."""
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""Those that are looked for. Excel takes the semicolon where the comma is the decimal sign."""
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[;,\t]*\s*', re.IGNORECASE)
"""A first line that is for Excel alone."""

_SCIENTIFIC = re.compile(r"[+-]?\d(?:[.,]\d+)?[eE]\+\d+")
"""A long number as a spreadsheet shows it. An id made of hexadecimal digits has no plus."""
AS_TEXT = (
    "in the spreadsheet the id is rounded already: export it from its source again, and import the column as text "
    "(Data, From Text/CSV, then Text for this column), or do not open the file in a spreadsheet"
)


class BadTable(ValueError):
    """The table cannot be read. The message says where and why; `mend` what to do."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.mend = mend


class Table:
    """The header of a table, and its rows.

    Args:
        lines: the text's lines, with their ends.
        is_known: whether a column of this name is looked for: the separator that gives most of them is the right one.
        separator: None to find it out.
    """

    def __init__(self, lines: Iterable[str], is_known: Callable[[str], bool], separator: str | None = None) -> None:
        csv.field_size_limit(MAX_FIELD_CHARS)
        texts = iter(lines)
        first = next((line for line in texts if line.strip()), "").removeprefix("\ufeff")
        if (found := _SEPARATOR_LINE.fullmatch(first)) is not None:
            separator = separator or found[1]
            first = next((line for line in texts if line.strip()), "")
        self.separator = separator or _separator_of(first, is_known)
        # Not strict, a quote that is never closed would take the rows behind it into one field without a word.
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
            if len(cells) < len(self.columns) and any("\n" in cell for cell in cells):
                problem = f"row {number} has {len(cells)} cells, and one of them holds a line break"
                raise BadTable(problem, "look for a quote that is not closed in this row")
            if any(cell.strip() for cell in cells):
                yield number, cells

    def _read(self) -> list[str] | None:
        began = self._rows.line_num + 1
        try:
            cells: list[str] | None = next(self._rows, None)
        except csv.Error as error:
            raise BadTable(f"line {began}: {_in_words(error)}", "mend this line, or export the table again") from None
        return cells


def check_id(row: int, column: str, value: str) -> None:
    """Refuse an id that a spreadsheet took for a number and rounded: its last digits are gone. Raises BadTable."""
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
        return f"a field of over {MAX_FIELD_CHARS:,} characters begins here: is a quote missing?"
    if "end of data" in text:
        return "a quote is opened in the row that begins here, and never closed"
    if "expected after" in text:
        return "a quote within a quoted field must be written twice"
    if "NUL" in text:
        return "it has a NUL byte"
    return "it is no row of a table"
