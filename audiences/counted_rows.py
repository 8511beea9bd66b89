"""The table of rows for a count: of most rows no more is kept than their kind and two hashes.

Rows are stored as ever where more has to be known of them: the first, of which samples are taken; those of no kind that
is known from these; those whose user or token may be there again. All others are users with one device, and counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from audiences.joined_users import all_devices
from audiences.line_kinds import LineKinds, are_of_few_kinds, learned
from audiences.raw import Format, RawFile
from audiences.reader import encoded
from audiences.rows import Lines, RowTable
from audiences.samples import LOOKED_AT

_LEAST_HEADS = 3
"""A file of fewer rows than so many times the first is read as soon by storing all."""


class CountedRows(RowTable):
    """Rows of one input. Counts over the tables `rows` and `counted` are those over all rows.

    Args:
        looked_at: of so many of the first users samples are taken.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, work: Path, looked_at: int = LOOKED_AT) -> None:
        super().__init__(con, work)
        self._looked_at = looked_at
        # Some of the first rows are of one user, have tokens that others have, or are broken.
        self._head = looked_at + looked_at // 4

    def fill(self, raw: RawFile, lines: Lines) -> int:
        """As for all rows."""
        rows = self._count(raw, lines) if self._is_worth_it(raw) else None
        if rows is not None:
            return rows
        self._con.execute("DELETE FROM invalid")
        self.forget(lines.base)
        return super().fill(raw, lines)

    def forget(self, base: int) -> None:
        """As for all rows."""
        self._con.execute("DELETE FROM counted")
        super().forget(base)

    def _is_worth_it(self, raw: RawFile) -> bool:
        """Whether there are many more rows than the first, and most of them are likely to be of a known kind."""
        if raw.format is not Format.LINES or not raw.sample:
            return False
        line_bytes = sum(len(encoded(record)) for record in raw.sample) / len(raw.sample)
        is_long = raw.path.stat().st_size > _LEAST_HEADS * self._head * line_bytes
        return is_long and are_of_few_kinds(raw.sample)

    def _count(self, raw: RawFile, lines: Lines) -> int | None:
        """Judge the lines. Returns how many there are; None where all rows have to be stored."""
        self.insert(lines, f"LIMIT {self._head}")
        first = self._number("SELECT count(*) FROM rows")
        if first < self._head:
            self.read_rest(lines)
            return first
        if lines.shape is None or not self._has_samples(lines):
            return None
        try:
            kinds = learned(self._con, raw.path, lines.base, self._head, lines.shape)
            if kinds is None:
                return None
            self._read(kinds, lines)
        except duckdb.InvalidInputException:
            # A line of too many pieces; or one that is no text, which the other way finds as well.
            return None
        others = self._number(f"SELECT count(*) FROM places WHERE place >= {lines.base + self._head}")
        self._store_some(kinds, lines)
        self._con.execute(
            "INSERT INTO counted SELECT platform, gateway, locale, timezone, attributes, count(*) "
            "FROM places JOIN line_kinds USING (kind) GROUP BY ALL"
        )
        self._con.execute("DROP TABLE places; DROP TABLE line_kinds")
        return first + others if self._has_samples(lines) else None

    def _read(self, kinds: LineKinds, lines: Lines) -> None:
        """Make the table `places` of all rows: those after the first have a kind, or have to be stored."""
        with self._second_table_hashed():
            self._con.execute(
                f"CREATE OR REPLACE TEMP TABLE places AS SELECT row + {lines.base} AS place, kind, user_hash, "
                f"token_hash FROM ({kinds.rows(self._head)})"
            )
        self._con.execute(
            f"INSERT INTO places SELECT place, NULL, {kinds.hash_of_user('user_id')}, {kinds.hash_of_token()} "
            "FROM (SELECT place, user_id, device AS d FROM rows) WHERE d IS NOT NULL"
        )

    def _store_some(self, kinds: LineKinds, lines: Lines) -> None:
        """Store the rows of which more has to be known than their kind."""
        unknown = "SELECT place FROM places WHERE user_hash IS NULL"
        some = self._store(lines, unknown, *filter(None, map(self._repeated, ("user_hash", "token_hash"))))
        self.read_rest(lines)
        # Rows of no known kind, and all devices of those with several, are compared with the others only now.
        if some or self._number("SELECT count(*) FROM rows WHERE device IS NULL"):
            known = "SELECT place FROM places WHERE kind IS NOT NULL AND"
            users = f"SELECT {kinds.hash_of_user('user_id')} FROM rows"
            tokens = f"SELECT {kinds.hash_of_token()} FROM {all_devices('rows')}"
            self._store(lines, f"{known} user_hash IN ({users})", f"{known} token_hash IN ({tokens})")

    def _repeated(self, column: str) -> str | None:
        """SQL for the places of rows whose hash another row has; None where there are none."""
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE repeated_{column} AS "
            f"SELECT {column} FROM places GROUP BY 1 HAVING count(*) > 1 AND {column} IS NOT NULL"
        )
        if not self._number(f"SELECT count(*) FROM repeated_{column}"):
            return None
        return f"SELECT place FROM places WHERE kind IS NOT NULL AND {column} IN (FROM repeated_{column})"

    def _store(self, lines: Lines, *chosen: str) -> bool:
        """Store rows whose places are chosen, reading the file again. Returns whether there are any."""
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS {' UNION '.join(chosen)}")
        if not self._number("SELECT count(*) FROM wanted"):
            return False
        with self._second_table_hashed():
            self.insert(lines, f"WHERE row + {lines.base} IN (FROM wanted)")
        self._con.execute("DELETE FROM places WHERE place IN (FROM wanted)")
        return True

    def _has_samples(self, lines: Lines) -> bool:
        """Whether samples are taken of the first rows alone, whatever the others are."""
        tokens = f"SELECT lower(d.token) AS token FROM {all_devices('rows')}"
        usable = self._number(
            f"SELECT count(*) FROM rows WHERE place < {lines.base + self._head} AND device IS NOT NULL "
            "AND user_id NOT IN (SELECT user_id FROM rows WHERE user_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1) "
            f"AND lower(device.token) NOT IN (SELECT token FROM ({tokens}) GROUP BY 1 HAVING count(*) > 1)"
        )
        return usable >= self._looked_at

    @contextmanager
    def _second_table_hashed(self) -> Iterator[None]:
        """DuckDB takes a file for a few rows, and would keep all of its text to look up the table's rows in it."""
        self._con.execute("SET disabled_optimizers = 'build_side_probe_side'")
        try:
            yield
        finally:
            self._con.execute("RESET disabled_optimizers")

    def _number(self, query: str) -> int:
        [(number,)] = self._con.execute(query).fetchall()
        return int(number)
