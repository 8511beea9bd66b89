"""The bytes of one object without the erased users.

What a run pinned keeps the number of its records, by which rows are identified: an erased one is `{"erased": true}`.
Everything else just loses them.
"""

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from notifier.model.plurals import counted as counted_words
from notifier.model.user_rows import BATCH_SIZE
from privacy.records import (
    NOT_JSON,
    PARQUET,
    Unreadable,
    is_json,
    packed,
    read_records,
    read_rows,
    unpacked,
    user_in_row,
    user_of,
    value_of,
)  # fmt: skip
from privacy.suspicion import row_suspects, suspects, value_may_have
from privacy.whom import Whom
from reporting.proof.erased import erased_id

CAPS = "caps"
"""The folder of what runs count for caps."""
_ERASED, _FOLLOWS = b'{"erased":true}', b'{"erased":true,"follows":true}'
_PUSH_IDS = ("apns_id", "message_id", "locale")


class Rewritten(msgspec.Struct, frozen=True):
    """`erased` are records or rows of erased users; with none erased the body is as it was."""

    body: bytes
    erased: int
    records: int
    unread: int = 0
    """Records without a user id that is known, in which an erased user cannot be ruled out: they stay."""

    @property
    def why_left(self) -> str | None:
        """What is left to do by hand; None if nothing is."""
        if not self.unread:
            return None
        return f"{counted_words(self.unread, 'line')} not JSON or without user_id: see if they have these users"


# -- results of a run -------------------------------------------------------------------------------------------------


def result(folder: str, body: bytes, whom: Whom) -> Rewritten:
    """One object of a run's results: gzipped lines, each of one user; or what the run counts for caps.

    Raises:
        Unreadable: it is damaged.
    """
    if folder == CAPS:
        return counted(body, whom)
    lines = unpacked(body).splitlines() if body else []
    kept: list[bytes] = []
    erased = 0
    for number, line in enumerate(lines):
        try:
            value = msgspec.json.decode(line, type=dict[str, Any])
        except NOT_JSON:
            raise Unreadable("a line that is not JSON") from None
        if value.get("user_id") not in whom:
            kept.append(line)
            continue
        erased += 1
        # A dead token has no number, and nothing counts it.
        if folder != "dead-tokens":
            kept.append(msgspec.json.encode(_without_user(folder, value, number)))
    text = b"".join(line + b"\n" for line in kept)
    return Rewritten(packed(text, body), erased, len(lines)) if erased else Rewritten(body, 0, len(lines))


def _without_user(folder: str, value: dict[str, Any], number: int) -> dict[str, Any]:
    # The final cut's list has no records: its lines are distinguished by their own number.
    name = erased_id(value["record"]) if value.get("record") is not None else f"erased:line-{number}"
    if folder == "deferred":
        # Token and texts go; what an audit counts stays.
        return {"record": value["record"], "number": value["number"], "arm": value["arm"], "user_id": name}
    return value | {"user_id": name} | {name: None for name in _PUSH_IDS if name in value}


def counted(body: bytes, whom: Whom) -> Rewritten:
    """A Parquet file by which caps are counted, one column of hashes: without those of the erased."""
    # Without a known id there is nothing to look for.
    if not whom.counted:
        return Rewritten(body, 0, 0)
    import duckdb  # noqa: PLC0415 - late, as in privacy.suspicion

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        old, new = Path(folder, "old.parquet"), Path(folder, "new.parquet")
        old.write_bytes(body)
        con.execute("CREATE TABLE erased (user UBIGINT)")
        con.executemany("INSERT INTO erased VALUES (?)", [[user] for user in whom.counted])
        try:
            con.execute("CREATE TABLE counted AS FROM read_parquet(?)", [str(old)])
            [found] = con.execute("SELECT count(*), count(*) FILTER (user IN (FROM erased)) FROM counted").fetchall()
        except duckdb.Error:
            raise Unreadable("a Parquet file that is damaged, or has no hashes of users") from None
        if not found[1]:
            return Rewritten(body, 0, found[0])
        con.sql("SELECT user FROM counted WHERE user NOT IN (FROM erased) ORDER BY user").write_parquet(str(new))
        return Rewritten(new.read_bytes(), found[1], found[0])


# -- audiences --------------------------------------------------------------------------------------------------------


class Position:
    """Where in an audience of several parts the next record is, and of whom the last one was."""

    def __init__(self) -> None:
        self.record = 0
        self.last: str | None = None


def pinned(body: bytes, whom: Whom, at: Position) -> Rewritten:
    """A part of the audience of a run, or a batch file with its users in it."""
    text = unpacked(body)
    if not is_json(text):
        # A run has refused it, and sent nothing of it. It is a file like any other.
        return Rewritten(body, 0, 0)
    found = read_records(text)
    out: list[bytes] = []
    erased = 0
    for record in found.records:
        user_id = user_of(record)
        if user_id in whom:
            erased += 1
            # Rows of one user that stand next to each other are one user, within a batch.
            out.append(_FOLLOWS if user_id == at.last and at.record % BATCH_SIZE else _ERASED)
        else:
            out.append(record)
        at.last = user_id
        at.record += 1
    if not erased:
        return Rewritten(body, 0, len(out))
    return Rewritten(packed(_joined(found.head, out), body), erased, len(out))


def listed(body: bytes, whom: Whom, *, looks: bool = False) -> Rewritten:
    """A file that no run has pinned, or a list of ids: without the records of the erased.

    Args:
        looks: whether what has no user id is looked through. That changes nothing of what is rewritten.
    """
    text = unpacked(body)
    if text.startswith(PARQUET):
        raise Unreadable("a Parquet file")
    if not is_json(text):
        return _table(body, text, whom, looks=looks)
    found = read_records(text)
    users = [user_of(record) for record in found.records]
    kept = [record for record, user in zip(found.records, users, strict=True) if user not in whom]
    nobodys = (record for record, user in zip(found.records, users, strict=True) if user is None)
    unread = suspects(nobodys, whom) + _head_may_have(found.head, whom) if looks else 0
    erased = len(found.records) - len(kept)
    if not erased:
        return Rewritten(body, 0, len(kept), unread)
    return Rewritten(packed(_joined(found.head, kept), body), erased, len(found.records), unread)


def _head_may_have(head: dict[str, msgspec.Raw] | None, whom: Whom) -> bool:
    """Whether a list of users has one of the erased beside it. A campaign's own words name nobody."""
    others = {name: one for name, one in (head or {}).items() if name not in ("users", "campaign")}
    return value_may_have(value_of(msgspec.json.encode(others)), whom, only_named=True)


def _joined(head: dict[str, msgspec.Raw] | None, records: list[bytes]) -> bytes:
    if head is None:
        return b"".join(record + b"\n" for record in records)
    members = [msgspec.json.encode(name) + b": " + bytes(value) for name, value in head.items() if name != "users"]
    return b"{" + b", ".join([*members, b'"users": [' + b",\n".join(records) + b"]"]) + b"}\n"


def _table(body: bytes, text: bytes, whom: Whom, *, looks: bool) -> Rewritten:
    table = read_rows(text)
    users = [user_in_row(row, table.at) for row in table.rows]
    kept = [row for row, user in zip(table.rows, users, strict=True) if user not in whom]
    nobodys = (row for row, user in zip(table.rows, users, strict=True) if not user)
    unread = row_suspects(table.columns, nobodys, whom) if looks else 0
    erased = len(table.rows) - len(kept)
    if not erased:
        return Rewritten(body, 0, len(kept), unread)
    out = io.StringIO(newline="")
    out.write(table.head + "\n")
    csv.writer(out, delimiter=table.separator, lineterminator="\n").writerows(kept)
    return Rewritten(packed(out.getvalue().encode(), body), erased, len(table.rows), unread)


# -- documents --------------------------------------------------------------------------------------------------------


def document(body: bytes, whom: Whom) -> Rewritten:
    """A JSON document of ours: whatever has the id of an erased user, such as a manifest's sample, is left out."""
    try:
        value = msgspec.json.decode(unpacked(body))
    except (*NOT_JSON, Unreadable):
        return Rewritten(body, 0, 0)
    found: list[Any] = []
    kept = _scrubbed(value, whom, found)
    return Rewritten(packed(msgspec.json.encode(kept), body), len(found), 0) if found else Rewritten(body, 0, 0)


def _scrubbed(value: Any, whom: Whom, found: list[Any]) -> Any:
    if isinstance(value, dict):
        return {name: _scrubbed(one, whom, found) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    kept = []
    for one in value:
        if isinstance(one, dict) and one.get("user_id") in whom:
            found.append(one)
        else:
            kept.append(_scrubbed(one, whom, found))
    return kept
