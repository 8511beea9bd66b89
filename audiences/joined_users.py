"""Clean rows become users: one push per token over everything, and one record per user wherever the rows stood.

Which of two rows is the later is decided in one way everywhere: by `updated_at` where both have it, else by their
place. That alone is no order: of three rows the first may be later than the last by its time, and earlier than the
second by its place. So rows are taken by place, and each replaces the one before unless both have a time and its own is
earlier.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from audiences.compose import Node, keep
from audiences.database import text
from audiences.faults import AudienceFault, limits_as_faults
from audiences.reader import DUPLICATE, merged
from audiences.rows import DEVICE_TYPE, DEVICES, ROW_BITS, RowTable
from audiences.shape import KNOWN
from audiences.sources import InputFile
from notifier.model.plurals import counted

HASH = "CAST('0x' || left(sha256(user_id), 16) AS UBIGINT)"
"""The first 8 bytes of a user id's SHA-256, as an unsigned number: what prepared users are ordered by."""
CARRIER = "coalesce(d.gateway, CASE d.platform WHEN 'ios' THEN 'apns' ELSE 'fcm' END)"
_TOKEN = f"CASE WHEN {CARRIER} = 'apns' THEN lower(d.token) ELSE d.token END"
"""A token as it is compared: hexadecimal digits are the same in either case."""
_HAS_DEVICES = "(device IS NOT NULL OR len(several) > 0)"
_USERS_AT_ONCE = 5_000


def _ranked(rows: str, same: str, *, ordered: bool, last: str = "place DESC") -> str:
    """The rows with their `rank` among those that have the same token or user: the latest has 1.

    Args:
        rows: a relation with the columns of `rows`.
        same: what they have in common.
        ordered: whether places mean anything; if not, the smaller hash and user id is the later.
        last: decides between devices of one row.
    """
    if not ordered:
        order = f"updated_at DESC NULLS LAST, {HASH}, user_id, attributes, locale, timezone, {last}"
        return f"(SELECT *, row_number() OVER (PARTITION BY {same} ORDER BY {order}) AS rank FROM {rows})"
    # A row without a time replaces all before it; after the last such row times decide.
    untimed = f"max(CASE WHEN updated_at IS NULL THEN place END) OVER (PARTITION BY {same})"
    order = f"place >= untimed DESC, updated_at DESC NULLS LAST, place DESC, {last}"
    return f"""(SELECT *, row_number() OVER (PARTITION BY {same} ORDER BY {order}) AS rank
                FROM (SELECT *, coalesce({untimed}, -1) AS untimed FROM {rows}))"""


def all_devices(table: str) -> str:
    """A relation of every device `d` of a table that has them as `rows` has."""
    return (
        f"(SELECT device AS d FROM {table} WHERE device IS NOT NULL "
        f"UNION ALL SELECT unnest(several) FROM {table} WHERE several IS NOT NULL)"
    )


def _mend_of(reason: str) -> str:
    """What to do about the most frequent reason. Of a fault of JSON the reason says so itself."""
    if reason.startswith("platform: not one of"):
        return "write ios, android or web: APNS and iPhone are ios, FCM and GCM are android"
    if reason == "not an object":
        return 'write each user as an object: {"user_id": …, "platform": …, "token": …}'
    if reason == "device: not an object":
        return 'write each device as an object: {"platform": …, "token": …}'
    if reason.endswith(": missing") and reason.partition(":")[0] in KNOWN:
        return "each row needs user_id, platform and token (or a list devices): rename columns that have other names"
    return "correct it, or export it again"


class Preparation:
    """The users of some inputs, in a database.

    Args:
        work: a directory for files on the way.
        composition: who belongs to the audience; None for everybody in the inputs.
        owners: with a composition, of each input the number of its source.
        table: for the rows; one that stores all of them if it is None.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        inputs: Sequence[InputFile],
        work: Path,
        composition: Node | None = None,
        owners: Sequence[int] = (),
        table: RowTable | None = None,
    ) -> None:
        self.inputs = inputs
        self.rows: tuple[int, ...] = ()
        """How many rows each input has."""
        self.joined_rows = 0
        """Rows beyond the first of each user."""
        self._con = con
        self._work = work
        self._composition = composition
        self._owners = owners
        self._table = RowTable(con, work) if table is None else table
        self._ordered = all(one.ordered for one in inputs)

    def run(self) -> None:
        """Read the inputs, remove repeated tokens, join the rows of each user.

        Raises:
            BrokenFile, AudienceFault: an input cannot be read, or nobody can be sent to.
        """
        self.rows = tuple(self._table.add(number, source) for number, source in enumerate(self.inputs))
        if self._composition is not None:
            # Before tokens are compared: who does not belong to the audience takes no token from anybody who does.
            with limits_as_faults("combining audiences"):
                keep(self._con, self._composition, self._owners, partial(_ranked, ordered=self._ordered))
        with limits_as_faults("removing repeated tokens"):
            self._drop_repeated_tokens()
        with limits_as_faults("joining the rows of users"):
            self._join_rows()
        self._check_not_empty()

    def _drop_repeated_tokens(self) -> None:
        """Leave each token to the latest row that has it. Within a row the first device keeps it."""
        run = self._con.execute
        # Hashes first: few tokens are repeated, as a rule, and only those have to be compared as texts.
        hashes = f"SELECT hash({_TOKEN}) AS h FROM {all_devices('rows')}"
        run(f"CREATE TABLE repeated AS SELECT h FROM ({hashes}) GROUP BY h HAVING count(*) > 1")
        if not self._any("repeated"):
            return
        devices = f"""(SELECT *, {_TOKEN} AS token FROM (
            SELECT * EXCLUDE (devices), unnest(devices) AS d, generate_subscripts(devices, 1) AS n FROM (
                SELECT * EXCLUDE (device, several, raw), {DEVICES} AS devices FROM rows))
            WHERE hash(token) IN (SELECT h FROM repeated))"""
        ranked = _ranked(devices, "token", ordered=self._ordered, last="n")
        run(f"CREATE TABLE losing AS SELECT place, n FROM {ranked} WHERE rank > 1")
        run(f"""CREATE TABLE kept AS
            SELECT place, list(d ORDER BY n) FILTER (WHERE NOT loses) AS devices FROM (
                SELECT one.place, one.d, one.n, losing.n IS NOT NULL AS loses FROM (
                    SELECT place, unnest({DEVICES}) AS d, generate_subscripts({DEVICES}, 1) AS n FROM rows
                    WHERE place IN (SELECT place FROM losing)) AS one
                LEFT JOIN losing ON losing.place = one.place AND losing.n = one.n)
            GROUP BY place""")
        left = "device = NULL, several = coalesce(kept.devices, [])"
        run(f"UPDATE rows SET {left} FROM kept WHERE rows.place = kept.place")
        run("INSERT INTO invalid SELECT place, NULL, ? FROM losing", [DUPLICATE])
        run("DROP TABLE kept; DROP TABLE losing")

    def _join_rows(self) -> None:
        """Make the view `users` of the rows: those of one user become one record, its devices in the rows' order."""
        run = self._con.execute
        columns = "user_id, device, several, locale, timezone, attributes"
        run("CREATE TABLE with_rows AS SELECT hash(user_id) AS h FROM rows GROUP BY h HAVING count(*) > 1")
        if not self._any("with_rows"):
            run(f"CREATE VIEW users AS SELECT {columns} FROM rows WHERE {_HAS_DEVICES}")
            return
        rows = f"(SELECT *, {DEVICES} AS devices FROM rows WHERE hash(user_id) IN (SELECT h FROM with_rows))"
        run(f"""CREATE TABLE joined AS
            SELECT user_id, CAST(NULL AS {DEVICE_TYPE}) AS device,
                   flatten(list(devices ORDER BY rank DESC)) AS several,
                   arg_min(locale, rank) AS locale, arg_min(timezone, rank) AS timezone,
                   count(*) AS rows, CASE WHEN count(DISTINCT attributes) < 2 THEN max(attributes) END AS attributes,
                   CASE WHEN count(DISTINCT attributes) > 1 THEN list(attributes ORDER BY rank DESC) END AS differing
            FROM {_ranked(rows, "user_id", ordered=self._ordered)}
            GROUP BY user_id""")
        self._merge_attributes()
        [(self.joined_rows,)] = run("SELECT sum(rows - 1) FROM joined").fetchall()
        run(f"""CREATE VIEW users AS
            SELECT {columns} FROM rows WHERE {_HAS_DEVICES} AND hash(user_id) NOT IN (SELECT h FROM with_rows)
            UNION ALL SELECT {columns} FROM joined WHERE {_HAS_DEVICES}""")

    def _merge_attributes(self) -> None:
        """Users whose rows have different attributes: of each attribute the latest row's value that is not null."""
        found = self._con.execute("SELECT user_id, differing FROM joined WHERE differing IS NOT NULL")
        path = self._work / "merged"
        encode = msgspec.json.Encoder().encode
        with path.open("wb") as out:
            for user_id, texts in _rows_of(found):
                out.write(encode({"user_id": user_id, "attributes": merged(texts)}) + b"\n")
        if path.stat().st_size:
            kinds = "{user_id: 'VARCHAR', attributes: 'VARCHAR'}"
            changed = f"read_ndjson({text(str(path))}, columns = {kinds}) AS m"
            self._con.execute(
                f"UPDATE joined SET attributes = m.attributes FROM {changed} WHERE joined.user_id = m.user_id"
            )
        path.unlink()

    def _any(self, table: str) -> bool:
        return self._con.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None

    def _check_not_empty(self) -> None:
        if self._any("users") or self._any("counted"):
            return
        name = f"{self.inputs[0].name}: " if len(self.inputs) == 1 else ""
        if not sum(self.rows):
            raise AudienceFault(f"{name}the audience is empty: there is nobody to send to", "check the files")
        reasons = self._con.execute(
            "SELECT reason, count(*) FROM invalid GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 3"
        ).fetchall()
        listed = "; ".join(f"{count:,} × {reason}" for reason, count in reasons)
        problem = f"{name}of {counted(sum(self.rows), 'row')} none can be sent to: {listed}"
        raise AudienceFault(problem, _mend_of(reasons[0][0] if reasons else ""))

    def lines(self) -> Iterator[list[tuple[int, int, bytes]]]:
        """The users in their order, as hash, number of devices, and the record's JSON text; several at once."""
        assert not self._any("counted")
        with limits_as_faults("ordering the users"):
            # Lines first: one text is sorted sooner than lists of devices. As bytes: Python would decode, and encode.
            lines = (
                f"SELECT {HASH} AS h, user_id, coalesce(len(several), 1) AS devices, encode({_LINE}) AS line FROM users"
            )
            found = self._con.execute(f"SELECT h, devices, line FROM ({lines}) ORDER BY h, user_id")
            while some := found.fetchmany(_USERS_AT_ONCE):
                yield some

    def user_ids(self) -> Iterator[str]:
        """The users' ids, in no order."""
        assert not self._any("counted")
        for (user_id,) in _rows_of(self._con.execute("SELECT user_id FROM users")):
            yield user_id

    def invalid_lines(self) -> Iterator[list[tuple[str]]]:
        """Every row and device that is left out, as JSON text, in the order of the inputs."""
        names = "[" + ", ".join(text(msgspec.json.encode(one.name).decode()) for one in self.inputs) + "]"
        found = self._con.execute(f"""
            SELECT '{{"input":' || {names}[(place >> {ROW_BITS}) + 1] || ',"row":' || (place & {(1 << ROW_BITS) - 1})
                   || coalesce(',"device":' || device, '') || ',"reason":' || to_json(reason) || '}}'
            FROM invalid ORDER BY place, device NULLS FIRST, reason""")
        while some := found.fetchmany(_USERS_AT_ONCE):
            yield some


def _device_line(device: str) -> str:
    """A device's JSON text. Only its token may have characters that need an escape."""
    optional = "".join(
        f""" || CASE WHEN {device}.{one} IS NULL THEN '' ELSE ',"{one}":"' || {device}.{one} || '"' END"""
        for one in ("gateway", "environment")
    )
    return f"""'{{"platform":"' || {device}.platform || '","token":' || to_json({device}.token){optional} || '}}'"""


def _device_lines() -> str:
    several = f"array_to_string(list_transform(several, lambda d: {_device_line('d')}), ',')"
    return f"CASE WHEN device IS NOT NULL THEN {_device_line('device')} ELSE {several} END"


def _member_line(column: str, value: str) -> str:
    return f"""CASE WHEN {column} IS NULL THEN '' ELSE ',"{column}":' || {value} END"""


_LINE = " || ".join(
    (
        """'{"user_id":' || to_json(user_id) || ',"devices":['""",
        _device_lines(),
        "']'",
        _member_line("locale", "to_json(locale)"),
        _member_line("timezone", "to_json(timezone)"),
        _member_line("attributes", "attributes"),
        "'}'",
    )
)


def _rows_of(found: duckdb.DuckDBPyConnection) -> Iterator[Any]:
    while some := found.fetchmany(_USERS_AT_ONCE):
        yield from some
