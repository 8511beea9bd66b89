"""SQL over a raw file: a relation of `row`, its number from 0, and `line`, the JSON text of one object."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

from audiences.database import name, text
from audiences.faults import AudienceFault
from audiences.raw import SEPARATOR, Format, RawFile
from audiences.shape import KNOWN, UPDATED_AT
from audiences.sources import InputFile
from notifier.audience.json_faults import NOT_UTF8, encoding_fault
from notifier.audience.limits import MAX_VALUE_BYTES
from notifier.model.spelling import NAMES_FIRST, VALUES, are_values

_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[;,\t]*\s*', re.IGNORECASE)
_HEADER_BYTES = 256 * 1024
_COLUMNS = frozenset((*KNOWN, UPDATED_AT))
_NUMBERS = re.compile(r"U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?|DECIMAL\(.*\)|BIGNUM|VARINT")
_NESTED = re.compile(r".*\]|(?:STRUCT|MAP|UNION)\(.*\)|VARIANT|GEOMETRY.*", re.DOTALL)
_REQUIRED = ("user_id", "token", "devices")
_BUFFER_BYTES = 16_000_000
"""Half of DuckDB's own size, and so small that memory is used again: a larger buffer is new memory each time."""
_PLAIN = "compression = 'none'"
"""What is read is unpacked already, whatever its name ends in."""
_ANY_TEXT = (
    f"header = false, quote = '', escape = '', auto_detect = false, max_line_size = {4 * MAX_VALUE_BYTES}, "
    f"buffer_size = {_BUFFER_BYTES}, {_PLAIN}"
)
_READ_BYTES = 1024 * 1024


def relation_of(con: duckdb.DuckDBPyConnection, source: InputFile, raw: RawFile) -> str:
    """The relation. Raises AudienceFault where a table has not the columns that users need."""
    path = _exactly(raw.path)
    match raw.format:
        case Format.LINES:
            # No JSON text has this character, so every line is one column.
            lines = f"read_csv({path}, columns = {{'line': 'VARCHAR'}}, delim = '{SEPARATOR}', {_ANY_TEXT})"
            # Empty lines are no records, to the worker neither.
            return f"(SELECT row_number() OVER () - 1 AS row, line FROM {lines} WHERE line <> '')"
        case Format.VALUES:
            columns = "{'row': 'BIGINT', 'line': 'VARCHAR'}"
            return f"(SELECT row, line FROM read_csv({path}, columns = {columns}, delim = '{SEPARATOR}', {_ANY_TEXT}))"
        case Format.PARQUET:
            return _parquet(con, source, path)
        case Format.TABLE:
            return _table(source, raw.path)


def _exactly(path: Path) -> str:
    """The file as SQL names it: DuckDB takes a name with `*`, `?` or `[` for a pattern."""
    return text(re.sub(r"([*?\[])", r"[\1]", str(path)))


def split_lines(path: Path, names: Sequence[str], split_at: str) -> str:
    """The rows of JSON in lines, each line in pieces. A piece that a line does not have is NULL.

    Raises InvalidInputException, while it is read, where a line has more pieces than there are names.

    Args:
        split_at: what is between two pieces.
    """
    kinds = ", ".join(f"'{one}': 'VARCHAR'" for one in names)
    # An empty piece is a text: NULL would be an end of line, which is in none.
    options = f"delim = {text(split_at)}, null_padding = true, strict_mode = true, nullstr = '\n', {_ANY_TEXT}"
    lines = f"read_csv({_exactly(path)}, columns = {{{kinds}}}, {options})"
    # Empty lines are left out where there are several columns.
    return f"(SELECT row_number() OVER () - 1 AS row, * FROM {lines})"


def _numbered(members: Sequence[str], table: str, where: str = "true") -> str:
    """Rows as JSON texts of these members; a member that is NULL is left out."""
    line = f"'{{' || concat_ws(',', {', '.join(members)}) || '}}'"
    return f"(SELECT row_number() OVER () - 1 AS row, {line} AS line FROM {table} WHERE {where})"


def _parquet(con: duckdb.DuckDBPyConnection, source: InputFile, path: str) -> str:
    # Some writers do not mark texts as such. A folder `user_id=5` above the file is no column: of a copy in S3 none is.
    table = f"read_parquet({path}, binary_as_string = true, hive_partitioning = false)"
    try:
        columns = con.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
    except duckdb.Error:
        raise AudienceFault(f"{source.name}: damaged Parquet, or encrypted", "write it again") from None
    _check_columns(source, [column[0] for column in columns])
    members = [member for column in columns if (member := _member(column[0], column[1])) is not None]
    return _numbered(members, table)


def _member(column: str, kind: str) -> str | None:
    """A column's member of the JSON text; None for one that no record can use."""
    label, value = text(_json_name(column) + ":"), name(column)
    if _NESTED.fullmatch(kind):
        # The worker's reader takes no other objects and lists either.
        return f"{label} || to_json({value})" if column.lower() in ("devices", "attributes") else None
    if kind in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN isfinite({value}) THEN {label} || CAST({value} AS VARCHAR) END"
    if kind == "BOOLEAN" or _NUMBERS.fullmatch(kind):
        # As text: JSON functions would make a double of a decimal, and 1.10 would become 1.1.
        return f"{label} || CAST({value} AS VARCHAR)"
    return f"{label} || to_json(CAST({value} AS VARCHAR))"


def _table(source: InputFile, path: Path) -> str:
    """CSV as spreadsheets and databases write it: the separator is found by the columns that it yields."""
    with path.open("rb") as stored:
        head = stored.read(_HEADER_BYTES)
    if fault := encoding_fault(head):
        raise AudienceFault(f"{source.name}: {fault}")
    separator, columns, skip = _header(source, head)
    _check_columns(source, columns)
    _check_quotes(source, path, separator)
    cells = [f"c{n}" for n in range(len(columns))]
    kinds = ", ".join(f"'{cell}': 'VARCHAR'" for cell in cells)
    table = (
        f"read_csv({_exactly(path)}, columns = {{{kinds}}}, delim = {text(separator)}, quote = '\"', escape = '\"', "
        f"header = false, skip = {skip}, auto_detect = false, null_padding = true, strict_mode = true, "
        f"parallel = false, max_line_size = {4 * MAX_VALUE_BYTES}, {_PLAIN})"
    )
    members = [_cell(column, cell) for column, cell in zip(columns, cells, strict=True) if column]
    return _numbered(members, table, f"trim(concat_ws('', {', '.join(cells)})) <> ''")


def _check_quotes(source: InputFile, path: Path, separator: str) -> None:
    """Raise AudienceFault for a quote that is never closed: DuckDB drops its cell and all rows after it silently.

    Only an odd number of quotes is looked into: that takes 2 s for a million rows, and counting 0.1 s.
    """
    quotes = 0
    with path.open("rb") as stored:
        while piece := stored.read(_READ_BYTES):
            quotes += piece.count(b'"')
            if b"\0" in piece:
                raise AudienceFault(f"{source.name}: it has NUL bytes, which no text has", "export it as CSV UTF-8")
    if quotes % 2 == 0:
        return
    csv.field_size_limit(MAX_VALUE_BYTES)
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        rows = csv.reader(lines, delimiter=separator, strict=True)
        began = 1
        try:
            for _ in rows:
                began = rows.line_num + 1
        except csv.Error:
            problem = f"{source.name}: line {began}: a quote is opened in the row that begins here, and never closed"
            raise AudienceFault(problem, "fix this line, or export it again") from None


def _header(source: InputFile, head: bytes) -> tuple[str, list[str], int]:
    """The separator, the columns, and how many lines to skip."""
    try:
        beginning = head.decode("utf-8-sig", errors="ignore" if len(head) == _HEADER_BYTES else "strict")
    except UnicodeDecodeError:
        raise AudienceFault(f"{source.name}: {NOT_UTF8}") from None
    return header_of(beginning)


def header_of(text: str) -> tuple[str, list[str], int]:
    """The separator of a table, its columns by their known names, and how many lines are before its first row."""
    # A carriage return alone ends a line only in files that have no other ends, as Excel for Mac can write them.
    lines = text.split("\n" if "\n" in text else "\r")
    at = next((n for n, line in enumerate(lines) if line.strip() and not _is_comment(line)), len(lines))
    separator = None
    if at < len(lines) and (found := _SEPARATOR_LINE.fullmatch(lines[at])):
        separator = found[1]
        at = next((n for n, line in enumerate(lines) if n > at and line.strip()), len(lines))
    header = lines[at].rstrip("\r") if at < len(lines) else ""

    def columns(candidate: str) -> list[str]:
        try:
            return [column_of(cell) for cell in next(csv.reader([header], delimiter=candidate), [])]
        except csv.Error:
            return []

    separator = separator or max(_SEPARATORS, key=lambda one: sum(column in _COLUMNS for column in columns(one)))
    return separator, columns(separator), at + 1


def _is_comment(line: str) -> bool:
    """Whether it is a line as tools write it before a header: when, and by whom, the table was made."""
    return line.startswith("#") and "user" not in line.lower()


def column_of(title: str) -> str:
    """The known column that a title means, in any case and spelling (`User ID`); any other is an attribute's."""
    plain = re.sub(r"[\s-]+", "_", title.strip()).lower()
    return plain if plain in _COLUMNS else title.strip()


def _cell(column: str, cell: str) -> str:
    """A cell's member of the JSON text. An empty cell is no value."""
    value = f"nullif(trim({cell}, ' \t\r\n'), '')" if column in _COLUMNS else f"nullif({cell}, '')"
    if column == "user_id":
        # As a spreadsheet or pandas writes an integer.
        whole = rf"CASE WHEN regexp_full_match({value}, '[0-9]{{1,15}}\.0+') THEN split_part({value}, '.', 1)"
        value = f"{whole} ELSE {value} END"
    return f"{text(_json_name(column) + ':')} || to_json({value})"


def _check_columns(source: InputFile, columns: Sequence[str]) -> None:
    found = [column.lower() for column in columns]
    if "user_id" not in found or not {"token", "devices"} & set(found):
        if are_values(columns):
            raise AudienceFault(f"{source.name}: {VALUES}", NAMES_FIRST)
        shown = ", ".join(columns[:12]) or "none"
        raise AudienceFault(
            f"{source.name}: a user needs the columns user_id, platform and token; it has {shown}",
            "name the columns so, in any case; locale, timezone, gateway, environment and updated_at are known, too",
        )
    for column in columns:
        if column and columns.count(column) > 1:
            raise AudienceFault(f"{source.name}: the column {column} is there twice", "rename one, or leave it out")


def _json_name(column: str) -> str:
    escaped = column.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
