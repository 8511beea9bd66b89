"""Kinds of lines: those of one kind differ in the user id and in the token only.

The judgement of a line asks of these two texts what it asks of each alone. So where two lines have the same characters
before, between and after them, and both texts are plain, they are judged alike and give the same other members: it is
enough to parse one line of each kind. The kinds are learned from the first lines of a file, which SQL has proven clean.

A line is split at what stands before the name of a member. The pieces are as the file has them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from audiences.database import text
from audiences.joined_users import CARRIER
from audiences.relations import split_lines
from audiences.shape import MAX_LINE_CHARS, Shape
from audiences.suspicions import LONGEST_WORD, ends_invisibly, is_hexadecimal, may_be_word, of_other_gateway
from notifier.model.record_reading import MAX_USER_ID_BYTES

_SPLIT_AT = (',"', ', "')
"""As JSON is written: without spaces, or with one after each comma and colon."""
_HEAD_BYTES = 256 * 1024
_BOM = b"\xef\xbb\xbf"
_MAX_PIECES = 60
_SPARE_PIECES = 8
"""So many more may be in a line than in any of the first. One with more than that ends the reading by pieces."""
_LOOKED_AT = 20
_KNOWN_SHARE = 0.8
"""Of the second half of the first lines so many have to be of kinds that the first half has: else most of the file
would be read twice."""
_SAMPLED_SHARE = 0.5
"""The same of the records that were decoded to learn the file's shape: there are fewer of them."""
_MIN_TOKEN_CHARS = 16
_MAX_AROUND = 200
_TEXTS = ("user_id", "token")


class Around(msgspec.Struct, frozen=True):
    """The piece that has a text which differs from line to line, and what is before and after it in this piece."""

    piece: str
    before: str
    after: str

    def folded(self) -> str:
        """SQL for the piece with its text in small letters, and what is around it as it is."""
        around = self.before + self.after
        return f"lower({self.piece})" if around == around.lower() else self.with_text(f"lower({self.text})")

    def with_text(self, sql: str) -> str:
        """SQL for the whole piece that has this text."""
        return f"{text(self.before)} || {sql} || {text(self.after)}"

    @property
    def text(self) -> str:
        """SQL for the text in the piece."""
        return f"substr({self.piece}, {len(self.before) + 1}, length({self.piece}) - {self.chars})"

    @property
    def chars(self) -> int:
        """How many characters stand around the text."""
        return len(self.before) + len(self.after)

    def plain(self, least: int, most: int) -> str:
        """SQL for whether the text needs no escape in JSON, and has so many bytes."""
        escaped = sum(map((self.before + self.after).count, '"\\'))
        return (
            f"starts_with({self.piece}, {text(self.before)}) AND ends_with({self.piece}, {text(self.after)}) "
            f"AND strlen({self.piece}) BETWEEN {self.chars + least} AND {self.chars + most} "
            # Each quote, each backslash and each control character is longer as JSON: only those around the text are.
            f"AND strlen(to_json({self.piece})) = strlen({self.piece}) + {escaped + 2}"
        )


class LineKinds(msgspec.Struct, frozen=True):
    """The kinds in the table `line_kinds`, and how a line's is found.

    Args:
        split: a relation of the file's rows, split.
        keys: the pieces that all lines of a kind have in common.
        beyond: the first piece that no line of a known kind has.
    """

    split: str
    user_id: Around
    token: Around
    keys: tuple[str, ...]
    beyond: str

    def rows(self, first: int) -> str:
        """SQL for `row`, `kind`, `user_hash` and `token_hash` of all rows from this one on.

        They are NULL where the row is of no known kind, or has to be looked at itself: what looks wrong in an audience
        is shown with the text.
        """
        id_, token = self.user_id.piece, self.token.piece
        of_kind = " AND ".join(f"lines.{key} IS NOT DISTINCT FROM line_kinds.{key}" for key in self.keys)
        # What can be asked before the kind is known: it takes longer of rows that are joined.
        has_colon = f"{token} LIKE {text(self.token.before + '%:%')}"
        alone = f"coalesce({self._is_plain()} AND NOT {self._looks_odd()}, false) AS plain, {has_colon} AS has_colon"
        lines = f"SELECT *, {alone} FROM {self.split} WHERE row >= {first}"
        members = f"row, {id_}, {token}, plain, has_colon, kind, carrier"
        found = f"SELECT {members} FROM ({lines}) AS lines LEFT JOIN line_kinds ON {of_kind}"
        apa91 = f"starts_with({token}, {text(self.token.before + 'APA91')})"
        other = of_other_gateway("carrier", "has_colon", apa91, is_hexadecimal(self.token.text))
        counted = f"coalesce(plain AND kind IS NOT NULL AND NOT {other}, false) AS counted"
        folded = f"CASE WHEN carrier = 'apns' THEN {self.token.folded()} ELSE {token} END"
        columns = {"kind": "kind", "user_hash": f"hash({id_})", "token_hash": f"hash({folded})"}
        each = ", ".join(f"CASE WHEN counted THEN {sql} END AS {name}" for name, sql in columns.items())
        return f"SELECT row, {each} FROM (SELECT *, {counted} FROM ({found}))"

    def hash_of_user(self, user_id: str) -> str:
        """SQL for the hash that a row with this user id would have."""
        return f"hash({self.user_id.with_text(user_id)})"

    def hash_of_token(self) -> str:
        """SQL for the hash that a row with the token of the device `d` would have."""
        folded = f"CASE WHEN {CARRIER} = 'apns' THEN lower(d.token) ELSE d.token END"
        return f"hash({self.token.with_text(folded)})"

    def _is_plain(self) -> str:
        """Whether both texts are such that the kind decides. The same is asked of them in `exact_lines` and `shape`."""
        token = self.token
        first = [f"NOT starts_with({token.piece}, {text(token.before + one)})" for one in "<{"]
        # Printable ASCII without a blank: of the characters around it none is another, but a blank may be there.
        blanks = (token.before + token.after).count(" ")
        no_blank = (
            f"strlen(replace({token.piece}, ' ', '')) = strlen({token.piece}) - {blanks}"
            if blanks
            else f"NOT contains({token.piece}, ' ')"
        )
        return " AND ".join(
            (
                self.user_id.plain(1, MAX_USER_ID_BYTES),
                token.plain(_MIN_TOKEN_CHARS, MAX_LINE_CHARS // 4),
                f"length({token.piece}) = strlen({token.piece}) AND NOT contains({token.piece}, chr(127))",
                no_blank,
                *first,
                f"{self.beyond} IS NULL",
            )
        )

    def _looks_odd(self) -> str:
        """Whether the user id may be a word for no value, or begins or ends with what nobody sees."""
        piece = self.user_id.piece
        word = may_be_word(self.user_id.text)
        # A word has few letters, and white space before and after it. That is a blank, or no ASCII, as an end that is
        # not seen: control characters are not plain.
        seen = f"NOT contains({piece}, ' ') AND NOT contains({piece}, chr(127)) AND length({piece}) = strlen({piece})"
        short = f"CASE WHEN strlen({piece}) > {self.user_id.chars + LONGEST_WORD} THEN false ELSE {word} END"
        return f"CASE WHEN {seen} THEN {short} ELSE {word} OR {ends_invisibly(self.user_id.text)} END"


def learned(con: duckdb.DuckDBPyConnection, path: Path, base: int, head: int, shape: Shape) -> LineKinds | None:
    """The kinds of a file's lines, in a new table `line_kinds`; None where most lines would be of none.

    Args:
        base: the place of the file's first row. Its first rows are in the table `rows`, as far as they are clean.
        head: how many.
    """
    found = _pieces_of_first_lines(path)
    if found is None:
        return None
    split_at, count = found
    names = [f"c{n}" for n in range(count + 1 + _SPARE_PIECES)]
    split = split_lines(path, names, split_at)
    clean = "FROM (FROM {0} LIMIT {1}) AS lines JOIN rows ON rows.place = lines.row + {2} WHERE device IS NOT NULL"
    some = con.execute(
        f"SELECT user_id, device.token, {', '.join(names[:count])} {clean.format(split, _LOOKED_AT, base)} ORDER BY row"
    ).fetchall()
    around = next((two for one in some if (two := _both_around(names, shape, one)) is not None), None)
    if around is None:
        return None
    user_id, token = around
    keys = tuple(name for name in names[:count] if name not in (user_id.piece, token.piece))
    kinds = LineKinds(split, user_id, token, keys, names[count])
    return kinds if _made(con, kinds, clean.format(split, head, base), head) else None


def are_of_few_kinds(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it is likely that most lines of a file are of kinds that are among these first records."""
    kinds = [_without_texts(record) for record in records]
    half = len(kinds) // 2
    first = set(kinds[:half])
    return sum(kind in first for kind in kinds[half:]) > (len(kinds) - half) * _SAMPLED_SHARE


def _without_texts(record: Mapping[str, Any]) -> str:
    """The record as text, without the values of members that are called like a user id or a token."""
    rest = {name: value for name, value in record.items() if name.lower() not in _TEXTS}
    for name, value in rest.items():
        if isinstance(value, list):
            rest[name] = [_without_texts(one) if isinstance(one, dict) else one for one in value]
    return str(rest)


def _made(con: duckdb.DuckDBPyConnection, kinds: LineKinds, clean: str, head: int) -> bool:
    """Make the table. Returns whether most lines are of these kinds."""
    keys = ", ".join(kinds.keys)
    same = (
        f"{kinds.user_id.piece} = {kinds.user_id.with_text('user_id')} "
        f"AND {kinds.token.piece} = {kinds.token.with_text('device.token')} AND {kinds.beyond} IS NULL"
    )
    members = {
        "platform": "device.platform", "gateway": "device.gateway", "locale": "locale", "timezone": "timezone",
        "attributes": "attributes", "carrier": CARRIER.replace("d.", "device."),
    }  # fmt: skip
    columns = ", ".join(f"any_value({sql}) AS {name}" for name, sql in members.items())
    # No other member has the name of one of the two, in any case: no other text was taken for it.
    has_name = "coalesce(starts_with(lower({0}), '{1}\"') OR contains(lower({0}), '\"{1}\"'), false)"
    others = [f"NOT {has_name.format(key, member)}" for key in kinds.keys for member in _TEXTS]
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE line_kinds AS
        SELECT CAST(row_number() OVER () AS INTEGER) AS kind, * FROM (
            SELECT {keys}, {columns}, min(row) AS first_row, count_if(row >= {head // 2}) AS later
            {clean} AND {same}
            GROUP BY {keys})""")
    # Afterwards: in the same statement it would be asked of each row.
    con.execute(
        f"DELETE FROM line_kinds WHERE strlen(concat({keys})) > {MAX_LINE_CHARS // 4} OR NOT ({' AND '.join(others)})"
    )
    [(known,)] = con.execute(f"SELECT coalesce(sum(later), 0) FROM line_kinds WHERE first_row < {head // 2}").fetchall()
    return int(known) >= (head - head // 2) * _KNOWN_SHARE


def _pieces_of_first_lines(path: Path) -> tuple[str, int] | None:
    """Where the file's lines are split, and into how many pieces the first of them at most.

    None for too many; and where lines may end in another way than by a line feed: DuckDB does not refuse a file with
    both ends wherever it is split. A line before the other end is of no known kind, and is read as a line then.
    """
    with path.open("rb") as stored:
        lines = stored.read(_HEAD_BYTES).removeprefix(_BOM).split(b"\n")
    if not lines[0] or any(b"\r" in line for line in lines):
        return None
    counts = {one: [line.count(one.encode()) for line in lines] for one in _SPLIT_AT}
    split_at = max(_SPLIT_AT, key=lambda one: sum(counts[one]))
    pieces = max(counts[split_at]) + 1
    return (split_at, pieces) if 1 < pieces <= _MAX_PIECES else None


def _both_around(names: Sequence[str], shape: Shape, line: Sequence[str]) -> tuple[Around, Around] | None:
    """Where the user id and the token are in this line."""
    user_id, token, *pieces = line
    found = (
        _around(names, pieces, shape.columns["user_id"], user_id),
        _around(names, pieces, shape.columns.get("token", "token"), token),
    )
    return (found[0], found[1]) if found[0] and found[1] and found[0].piece != found[1].piece else None


def _around(names: Sequence[str], pieces: Sequence[str | None], member: str, value: str) -> Around | None:
    """Where this member's text is; None where that is not certain."""
    found: list[Around] = []
    for name, piece in zip(names, pieces, strict=False):
        for colon in ('":"', '": "'):
            before, quoted, after = (piece or "").partition(f'{member}{colon}{value}"')
            # Its own name, and not the end of another's. The name's quote is where the line was split, if not here.
            if quoted and (not before or before.endswith('"')):
                found.append(Around(name, before + member + colon, '"' + after))
    return found[0] if len(found) == 1 and _is_simple(found[0]) else None


def _is_simple(found: Around) -> bool:
    """Whether what is around the text is counted in bytes, and may be part of a pattern as it is."""
    around = found.before + found.after
    is_short = len(around) <= _MAX_AROUND
    return (
        is_short
        and around.isascii()
        and around.isprintable()
        and not {"%", "\\"} & {*around}
        and ":" not in found.after
    )
