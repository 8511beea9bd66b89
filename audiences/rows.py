"""The table of clean rows: SQL passes what it can prove clean, and the worker's reader judges every other row."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from audiences.database import text
from audiences.exact_lines import Exact, exact_line
from audiences.faults import AudienceFault, limits_as_faults
from audiences.raw import Format, RawFile, opened, rewritten
from audiences.reader import Invalid, Row, judged
from audiences.relations import relation_of
from audiences.shape import DEVICE, MAX_LINE_CHARS, RAW_NUMBER, RAW_OBJECT, UPDATED_AT, Shape, name_pattern, shape_of
from audiences.sources import InputFile
from audiences.table_faults import fault_in_words
from notifier.audience.limits import MAX_VALUE_BYTES
from notifier.audience.lines import TOO_LONG, decode_or_broken
from notifier.model.record_reading import MAX_USER_ID_BYTES
from notifier.model.spelling import BrokenRecord

ROW_BITS = 44
"""A row's place over all inputs is one number: the input's number, then the row's."""
DEVICE_TYPE = "STRUCT(platform VARCHAR, token VARCHAR, gateway VARCHAR, environment VARCHAR)"
DEVICES = "coalesce(several, CASE WHEN device IS NOT NULL THEN [device] END)"
"""The devices of a row as a list. Most rows have one, and a list costs twice as much to read as its element: such a row
has `device`, any other has `several`."""
_CREATE = f"""
CREATE TABLE rows (
    place BIGINT, user_id VARCHAR, device {DEVICE_TYPE}, several {DEVICE_TYPE}[], locale VARCHAR, timezone VARCHAR,
    updated_at BIGINT, attributes VARCHAR, raw VARCHAR);
CREATE TABLE invalid (place BIGINT, device INTEGER, reason VARCHAR);
CREATE TABLE counted (
    platform VARCHAR, gateway VARCHAR, locale VARCHAR, timezone VARCHAR, attributes VARCHAR, users BIGINT);
"""
_FIELDS = {
    "user_id": "VARCHAR", "device": DEVICE_TYPE, "several": f"{DEVICE_TYPE}[]", "locale": "VARCHAR",
    "timezone": "VARCHAR", "updated_at": "BIGINT", "attributes": "VARCHAR",
}  # fmt: skip
_FROM_READER = (
    "{row: 'BIGINT', user_id: 'VARCHAR', devices: '" + DEVICE_TYPE + "[]', locale: 'VARCHAR', timezone: 'VARCHAR', "
    "updated_at: 'VARCHAR', attributes: 'VARCHAR'}"
)
_LINES_AT_ONCE = 5_000
_SAMPLE_ROWS = 1_000
_ROUNDED = r"[+-]?\d([.,]\d+)?[eE]\+\d+"
"""A long number as a spreadsheet writes it: its last digits are lost."""


class _NotLines(Exception):
    """A line is no JSON: only the worker's parser knows which records the file has."""


class Lines(msgspec.Struct, frozen=True):
    """The lines of one input, and how SQL judges them.

    Args:
        relation: of `row` and `line`.
        base: the place of the first row.
        exact: what most lines are judged by; None where no line is exact.
        is_lines: they are the file's own, and a record may span several of them.
    """

    relation: str
    base: int
    shape: Shape | None
    exact: Exact | None
    is_lines: bool


class RowTable:
    """Rows of all inputs, in the tables `rows` and `invalid` of a database.

    The table `counted` is empty but for `CountedRows`.

    Args:
        work: a directory for files on the way.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, work: Path) -> None:
        self.read_by_reader = 0
        """Rows that SQL could not prove clean."""
        self._con = con
        self._work = work
        con.execute(_CREATE)

    def add(self, number: int, source: InputFile) -> int:
        """Read one input. Returns how many rows it has, invalid ones included.

        Raises:
            BrokenFile, AudienceFault: it cannot be read. The message names it, the place and what to do.
        """
        self._work.mkdir(parents=True, exist_ok=True)
        with limits_as_faults(source.name):
            raw = opened(source, self._work)
            if raw.format is Format.LINES:
                try:
                    return self._add(number, source, raw)
                except (_NotLines, duckdb.InvalidInputException, duckdb.NotImplementedException):
                    # Half of the file may be in the table: it is read again from its first byte, by the other way.
                    self.forget(number << ROW_BITS)
                    raw = msgspec.structs.replace(raw, format=Format.VALUES)
            if raw.format is Format.VALUES:
                raw = rewritten(source, raw.path, self._work)
            try:
                return self._add(number, source, raw)
            except duckdb.InvalidInputException as error:
                raise _table_fault(source, str(error)) from None

    def _add(self, number: int, source: InputFile, raw: RawFile) -> int:
        base = number << ROW_BITS
        relation = relation_of(self._con, source, raw)
        sample = self._sample(relation, raw)
        shape = shape_of(sample)
        exact = exact_line(shape, sample) if shape and raw.is_shortest else None
        rows = self.fill(raw, Lines(relation, base, shape, exact, raw.format is Format.LINES))
        if raw.format is Format.TABLE:
            self._check_ids(source, base)
        if raw.broken:
            values = ((Invalid(row, reason)) for row, reason in raw.broken)
            self._take(base, values)
        return rows + len(raw.broken)

    def fill(self, raw: RawFile, lines: Lines) -> int:
        """Judge the lines. Returns how many there are. Raises InvalidInputException where one is not text.

        Args:
            raw: their file.
        """
        self.insert(lines)
        # Before the rest is judged: rows that the reader refuses leave the table, and still count as read.
        [(rows,)] = self._con.execute("SELECT count(*) FROM rows WHERE place >= ?", [lines.base]).fetchall()
        self.read_rest(lines)
        return int(rows)

    def forget(self, base: int) -> None:
        """Delete what was inserted of the input whose first row has this place."""
        self._con.execute("DELETE FROM rows WHERE place >> ? = ?", [ROW_BITS, base >> ROW_BITS])

    def _sample(self, relation: str, raw: RawFile) -> Sequence[dict[str, Any]]:
        if raw.format in (Format.LINES, Format.VALUES):
            return raw.sample
        lines = self._con.execute(f"SELECT line FROM {relation} LIMIT {_SAMPLE_ROWS}").fetchall()
        return [msgspec.json.decode(line) for (line,) in lines]

    def insert(self, lines: Lines, only: str = "") -> None:
        """Put lines into the table.

        Args:
            only: which of them: what follows their relation in SQL.
        """
        relation = f"(FROM {lines.relation} AS lines {only})" if only else lines.relation
        if lines.exact is not None:
            with suppress(duckdb.InvalidInputException):
                self._con.execute(f"INSERT INTO rows {_select(lines.shape, relation, lines.base, lines.exact)}")
                return
            # A line is no JSON, and cannot be parsed before it is judged. None of these is in the table.
        self._con.execute(f"INSERT INTO rows {_select(lines.shape, relation, lines.base)}")

    def _check_ids(self, source: InputFile, base: int) -> None:
        query = f"SELECT (place - {base}) FROM rows WHERE place >= {base} AND regexp_full_match(user_id, '{_ROUNDED}')"
        if found := self._con.execute(query + " LIMIT 1").fetchone():
            raise AudienceFault(
                f"{source.name}: row {found[0]}, column user_id: a rounded number, not an id",
                "a spreadsheet rounded the id: export it from its source again, and import the column as text",
            )

    def read_rest(self, lines: Lines) -> None:
        """Let the worker's reader judge the rows that SQL could not prove clean."""
        query = "SELECT place - ?, raw FROM rows WHERE place >= ? AND raw IS NOT NULL ORDER BY place"
        found = self._con.execute(query, [lines.base, lines.base])
        first = found.fetchmany(_LINES_AT_ONCE)
        if not first:
            return
        self._take(lines.base, self._judged(_all(found, first), is_lines=lines.is_lines), and_drop_raw=True)

    def _judged(self, lines: Iterable[tuple[int, str]], *, is_lines: bool) -> Iterator[Row | Invalid]:
        for number, line in lines:
            data = line.encode()
            # As to the worker: a record that it would not read in the file, nor in a part made of it.
            record = decode_or_broken(data) if len(data) <= MAX_VALUE_BYTES else BrokenRecord(TOO_LONG)
            if is_lines and isinstance(record, BrokenRecord):
                # A record may span several lines: read line by line, the file would have records that do not exist.
                raise _NotLines
            self.read_by_reader += 1
            yield from judged(number, record)

    def _take(self, base: int, results: Iterable[Row | Invalid], *, and_drop_raw: bool = False) -> None:
        """Put the reader's results into the tables, by way of files: thousands at a time would be slow one by one."""
        clean, invalid = self._work / f"{base}.clean", self._work / f"{base}.invalid"
        encode = msgspec.json.Encoder().encode
        with clean.open("wb") as rows, invalid.open("wb") as others:
            for one in results:
                (rows if isinstance(one, Row) else others).write(encode(one) + b"\n")
        if and_drop_raw:
            # Before the reader's rows come in, which have the same places.
            self._con.execute("DELETE FROM rows WHERE place >= ? AND raw IS NOT NULL", [base])
        self._con.execute(
            f"INSERT INTO rows SELECT row + {base}, user_id, NULL, devices, locale, timezone, "
            f"{_instant('updated_at')}, attributes, NULL "
            f"FROM read_ndjson({text(str(clean))}, columns = {_FROM_READER}, maximum_object_size = 33554432)"
        )
        kinds = "{row: 'BIGINT', device: 'INTEGER', reason: 'VARCHAR'}"
        self._con.execute(
            f"INSERT INTO invalid SELECT row + {base}, device, reason "
            f"FROM read_ndjson({text(str(invalid))}, columns = {kinds})"
        )
        clean.unlink()
        invalid.unlink()


def _all(found: duckdb.DuckDBPyConnection, first: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    lines = first
    while lines:
        yield from lines
        lines = found.fetchmany(_LINES_AT_ONCE)


def _table_fault(source: InputFile, message: str) -> AudienceFault:
    """DuckDB's message about a table or about Parquet in plain words."""
    problem, mend = fault_in_words(message) or ("it cannot be read", "fix it, or export it again")
    return AudienceFault(f"{source.name}: {problem}", mend)


def _instant(value: str) -> str:
    """Microseconds of a time: ISO 8601, or seconds, milliseconds or microseconds since 1970. NULL if it is none."""
    number = f"try_cast({value} AS DOUBLE)"
    size = f"abs({number})"
    # By size: 1e11 s is the year 5138, and 1e11 ms is 1973. Any date between the two is read right in every unit.
    unit = f"CASE WHEN {size} < 1e11 THEN 1e6 WHEN {size} < 1e14 THEN 1e3 WHEN {size} < 1e17 THEN 1 ELSE 1e-3 END"
    return f"coalesce(try_cast({number} * {unit} AS BIGINT), epoch_us(try_cast({value} AS TIMESTAMPTZ)))"


def _select(shape: Shape | None, relation: str, base: int, exact: Exact | None = None) -> str:
    """Rows for the table `rows`. Those that are not proven clean have `raw`, and whatever else they have is dropped.

    Args:
        exact: what most lines are judged by, once they are parsed; None where one may be no JSON.
    """
    if shape is None:
        nothing = ", ".join(["NULL"] * len(_FIELDS))
        return f"SELECT row + {base}, {nothing}, line FROM {relation}"
    fits = f"strlen(line) <= {MAX_LINE_CHARS} AND regexp_full_match(line, {text(shape.pattern)})"
    fitting = f"SELECT *, false AS exact, {fits} AS fits FROM {relation}"
    choice = ""
    if exact is not None:
        # Of a CASE only the rows that need it are compared with the expression, and parsed for it.
        fitting = f"SELECT *, CASE WHEN exact THEN true ELSE {fits} END AS fits FROM {exact.over(relation)}"
        choice = f"WHEN exact THEN {_Fields(shape, 't', exact).packed()} "
    of = _Fields(shape, "fitted")
    clean = " AND ".join(("fits", *of.conditions()))
    return f"""
WITH fitting AS ({fitting}),
judged AS (SELECT *, CASE WHEN fits AND NOT exact THEN json_transform(line, {text(shape.structure)}) END AS fitted
           FROM fitting),
chosen AS (SELECT row, line, fits, CASE {choice}WHEN fits THEN {of.packed()} END AS f FROM judged),
fields AS (SELECT row, line, fits, {", ".join(f"f.{name}" for name in _FIELDS)} FROM chosen),
proven AS (SELECT *, coalesce({clean}, false) AS clean FROM fields)
SELECT row + {base}, {", ".join(_FIELDS)}, CASE WHEN NOT clean THEN line END FROM proven"""


class _Fields:
    """SQL for each field of a row whose line has the shape.

    Args:
        parsed: the column that has the parsed line.
        exact: how it was parsed, if it is exact.
    """

    def __init__(self, shape: Shape, parsed: str, exact: Exact | None = None) -> None:
        self._shape = shape
        self._parsed = parsed
        self._exact = exact

    def packed(self) -> str:
        """All of them as one struct."""
        device, several = self._devices()
        fields = {
            "user_id": self._of("user_id"), "device": device, "several": several,
            "locale": self._member("locale"), "timezone": self._member("timezone"),
            "updated_at": self._updated_at(), "attributes": self._attributes(),
        }  # fmt: skip
        assert tuple(fields) == tuple(_FIELDS)
        members = (f"{name} := CAST({sql} AS {_FIELDS[name]})" for name, sql in fields.items())
        return f"struct_pack({', '.join(members)})"

    def conditions(self) -> Iterator[str]:
        """What the shape does not prove."""
        yield f"strlen(user_id) <= {MAX_USER_ID_BYTES}"
        yield "(device IS NOT NULL OR several IS NOT NULL)"
        # An empty text marks attributes that could not be taken as they are.
        yield "attributes IS DISTINCT FROM ''"
        if self._shape.has_gateways:
            cannot_reach = "coalesce({0}.gateway, '') = 'apns' AND {0}.platform <> 'ios'"
            yield f"NOT coalesce({cannot_reach.format('device')}, false)"
            yield f"coalesce(len(list_filter(several, lambda d: {cannot_reach.format('d')})), 0) = 0"

    def _member(self, column: str) -> str:
        """A text that may be missing; an empty one is."""
        return f"nullif({self._of(column)}, '')"

    def _updated_at(self) -> str:
        return _instant(self._of(UPDATED_AT)) if UPDATED_AT in self._shape.columns else "NULL"

    def _devices(self) -> tuple[str, str]:
        """The only device, and a list of any other number; both NULL where there is neither, or both."""
        if self._exact is not None and self._exact.single:
            return self._device(self._of("devices")), "NULL"
        listed, token, platform = self._of("devices"), self._of("token"), self._of("platform")
        members = ", ".join(f"{one} := {self._word(one, self._of(one))}" for one in DEVICE)
        # A row without a token, or without a platform, is broken: the reader knows the reason.
        own = f"CASE WHEN {token} IS NOT NULL AND {platform} IS NOT NULL THEN struct_pack({members}) END"
        if "devices" not in self._shape.columns:
            return own, "NULL"
        only = f"CASE WHEN len({listed}) = 1 THEN {self._device(f'{listed}[1]')} END"
        several = f"list_transform({listed}, lambda d: {self._device('d')})" if self._shape.has_capitals else listed
        several = f"CASE WHEN len({listed}) <> 1 THEN {several} END"
        if "token" not in self._shape.columns:
            return only, several
        return f"CASE WHEN {listed} IS NULL THEN {own} WHEN {token} IS NULL THEN {only} END", (
            f"CASE WHEN {token} IS NULL THEN {several} END"
        )

    def _device(self, device: str) -> str:
        """A device of a list, its words in lower case."""
        if not self._shape.has_capitals:
            return device
        members = (f"{one} := {self._word(one, f'{device}.{one}')}" for one in DEVICE)
        return f"struct_pack({', '.join(members)})"

    def _attributes(self) -> str:
        """JSON text of an object; NULL where there are none; '' where the line's own text could not be found."""
        given = "attributes" in self._shape.columns
        listed = f"CAST({self._of('attributes')} AS VARCHAR)"
        # JSON functions write 1.10 as 1.1, so objects and values with a fraction are taken from the line's own text.
        own = _raw(self._shape.columns["attributes"], RAW_OBJECT) if given else "NULL"
        whole = listed
        if self._has_fractions:
            whole = f"CASE WHEN regexp_matches({listed}, '[0-9][.eE]') THEN {own} ELSE {listed} END"
        whole = f"nullif({whole}, '{{}}')"
        if not self._shape.attributes:
            return whole if given else "NULL"
        members = ", ".join(map(self._attribute, self._shape.attributes))
        flat = f"'{{' || concat_ws(',', {members}) || '}}'"
        # Both together: the reader knows which of them wins.
        return (
            f"CASE WHEN {listed} IS NULL THEN {flat} WHEN {flat} = '{{}}' THEN {whole} ELSE '' END" if given else flat
        )

    def _attribute(self, name: str) -> str:
        value = f"CAST(struct_extract({self._parsed}, {text(name)}) AS VARCHAR)"
        own = _raw(name, RAW_NUMBER)
        if self._has_fractions:
            digits = f"regexp_matches({value}, '^-?[0-9]+[.eE]')"
            value = f"CASE WHEN {digits} THEN {own} ELSE {value} END"
        return f"{text(msgspec.json.encode(name).decode() + ':')} || {value}"

    @property
    def _has_fractions(self) -> bool:
        # Those of an exact line are written as the line has them.
        return self._shape.has_fractions and self._exact is None

    def _word(self, member: str, value: str) -> str:
        return f"lower({value})" if self._shape.has_capitals and member != "token" else value

    def _of(self, column: str) -> str:
        name = self._shape.columns.get(column)
        return "CAST(NULL AS VARCHAR)" if name is None else f"struct_extract({self._parsed}, {text(name)})"


def _raw(name: str, value: str) -> str:
    """The text of a member's value in the line. Within a string no such text can be: its quotes would be escaped."""
    return f"regexp_extract(line, {text(f'{name_pattern(name)}: ?{value}')}, 1)"
