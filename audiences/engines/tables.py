"""Files as the tables of a query: views over Parquet, CSV and JSON, plain, gzip or zstd, recognised by content."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import duckdb
from duckdb.sqltypes import DuckDBPyType

from audiences.database import name as _name
from audiences.database import text as _text
from audiences.engines.statement import Refused

Format = Literal["parquet", "json", "csv"]
_HEAD_BYTES = 64 * 1024
_TEXT_KINDS = frozenset(
    {"uuid", "date", "time", "timestamp", "timestamp with time zone", "timestamp_ns", "timestamp_s"}
)
"""What DuckDB takes texts in JSON for. A user id that looks like a UUID would be rewritten in lower case."""
_MADE_OF = ("list", "map", "struct")
_SAMPLE_ROWS = 100_000
"""Of JSON, from which the columns are inferred."""


_NO_FOLDERS = "hive_partitioning = false"
"""A folder such as `day=5` makes no column of a file on this machine: of the same file in S3 it makes none."""


def create_views(database: duckdb.DuckDBPyConnection, tables: Mapping[str, Sequence[Path]]) -> None:
    """A view for each table. Raises Refused for files that are not tables, or not of one format."""
    for name, files in tables.items():
        source = _source(database, name, files)
        database.execute(f"CREATE VIEW {_name(name)} AS FROM {source}")


def _source(database: duckdb.DuckDBPyConnection, table: str, files: Sequence[Path]) -> str:
    found = {_told(database, file) for file in files}
    if len(found) != 1:
        raise Refused(f"the table {table} has files of several formats", "give it files of one format and compression")
    form, compression = found.pop()
    listed = f"[{', '.join(_text(str(file)) for file in files)}]"
    if form == "parquet":
        return f"read_parquet({listed}, union_by_name = true, {_NO_FOLDERS})"
    if form == "csv":
        # As texts: 007 is a user id, and as a number it would be another one.
        options = (
            f"header = true, all_varchar = true, union_by_name = true, compression = '{compression}', {_NO_FOLDERS}"
        )
        return f"read_csv({listed}, {options})"
    options = f"union_by_name = true, compression = '{compression}', sample_size = {_SAMPLE_ROWS}, {_NO_FOLDERS}"
    seen = database.sql(f"FROM read_json({listed}, {options})")
    columns = ", ".join(
        f"{_name(column)}: {_text(_json_kind(column, kind))}"
        for column, kind in zip(seen.columns, seen.types, strict=True)
    )
    return f"read_json({listed}, columns = {{{columns}}}, compression = '{compression}', {_NO_FOLDERS})"


def _json_kind(column: str, kind: DuckDBPyType) -> str:
    """The type of a column of JSON: texts stay texts, and ids keep every digit."""
    if column.lower() in ("user_id", "token"):
        return "VARCHAR"
    return _as_texts(kind)


def _as_texts(kind: DuckDBPyType) -> str:
    # Of a type that is made of others; the stubs know more kinds of children than these have.
    inner = [(name, _as_texts(child)) for name, child in kind.children] if kind.id in _MADE_OF else []  # type: ignore[arg-type]
    match kind.id:
        case "list":
            return inner[0][1] + "[]"
        case "map":
            return f"MAP({inner[0][1]}, {inner[1][1]})"
        case "struct":
            return f"STRUCT({', '.join(f'{_name(name)} {child}' for name, child in inner)})"
        case _:
            return "VARCHAR" if kind.id in _TEXT_KINDS else str(kind)


def _told(database: duckdb.DuckDBPyConnection, file: Path) -> tuple[Format, str]:
    """The format and the compression of a file, by its first bytes."""
    with file.open("rb") as opened:
        head = opened.read(4)
    if head == b"PAR1":
        return "parquet", "none"
    compression = "gzip" if head[:2] == b"\x1f\x8b" else "zstd" if head == b"\x28\xb5\x2f\xfd" else "none"
    text = _head(database, file, compression).lstrip(b"\xef\xbb\xbf \t\r\n")
    return ("json" if text[:1] in (b"{", b"[") else "csv"), compression


def _head(database: duckdb.DuckDBPyConnection, file: Path, compression: str) -> bytes:
    if compression == "gzip":
        with gzip.open(file) as opened:
            return opened.read(_HEAD_BYTES)
    if compression == "zstd":
        # Pythons before 3.14, as laptops have, lack zstd: DuckDB reads the first line, as the one column of a CSV.
        options = (
            "columns = {line: 'VARCHAR'}, header = false, delim = '\x01', quote = '', escape = '', strict_mode = false"
        )
        query = f"SELECT line FROM read_csv({_text(str(file))}, {options}, compression = 'zstd') LIMIT 1"
        lines = database.execute(query).fetchall()
        return str(lines[0][0]).encode() if lines else b""
    with file.open("rb") as opened:
        return opened.read(_HEAD_BYTES)
