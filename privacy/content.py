"""The bytes of one object without the erased users.

What a run pinned keeps the number of its records, by which rows are identified: an erased one is `{"erased": true}`.
Everything else just loses them.
"""

import csv
import gzip
import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from notifier.model.record_reading import id_of, user_id_in
from notifier.model.spelling import BrokenRecord
from notifier.model.user_rows import BATCH_SIZE
from privacy.whom import Whom
from reporting.proof.erased import erased_id

CAPS = "caps"
"""The folder of what runs count for caps."""
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_SEVERAL = re.compile(rb"\}\s*\{")
_ERASED, _FOLLOWS = b'{"erased":true}', b'{"erased":true,"follows":true}'
_PUSH_IDS = ("apns_id", "message_id", "locale")


class Unreadable(Exception):
    """An object in a form that cannot be rewritten here. The message says which."""


class Rewritten(msgspec.Struct, frozen=True):
    """`erased` are records or rows of erased users; with 0 the body is as it was."""

    body: bytes
    erased: int
    records: int


def unpacked(body: bytes) -> bytes:
    """The text of an object that may be gzipped, which its content says and not its name."""
    return gzip.decompress(body) if body.startswith(_GZIP) else body


def _packed(text: bytes, like: bytes) -> bytes:
    return gzip.compress(text, compresslevel=1, mtime=0) if like.startswith(_GZIP) else text


# -- results of a run -------------------------------------------------------------------------------------------------


def result(folder: str, body: bytes, whom: Whom) -> Rewritten:
    """One object of a run's results: gzipped lines, each of one user; or what the run counts for caps."""
    if folder == CAPS:
        return counted(body, whom)
    lines = unpacked(body).splitlines() if body else []
    kept: list[bytes] = []
    erased = 0
    for number, line in enumerate(lines):
        value = msgspec.json.decode(line)
        if value.get("user_id") not in whom:
            kept.append(line)
            continue
        erased += 1
        # A dead token has no number, and nothing counts it.
        if folder != "dead-tokens":
            kept.append(msgspec.json.encode(_without_user(folder, value, number)))
    text = b"".join(line + b"\n" for line in kept)
    return Rewritten(_packed(text, body), erased, len(lines)) if erased else Rewritten(body, 0, len(lines))


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
    import duckdb  # noqa: PLC0415 - late, as in has_user

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        old, new = Path(folder, "old.parquet"), Path(folder, "new.parquet")
        old.write_bytes(body)
        con.execute("CREATE TABLE erased (user UBIGINT)")
        con.executemany("INSERT INTO erased VALUES (?)", [[user] for user in whom.counted])
        con.execute("CREATE TABLE counted AS FROM read_parquet(?)", [str(old)])
        [found] = con.execute("SELECT count(*), count(*) FILTER (user IN (FROM erased)) FROM counted").fetchall()
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
    head, records = _records(text)
    out: list[bytes] = []
    erased = 0
    for record in records:
        user_id = user_of(record)
        if user_id in whom:
            erased += 1
            # Rows of one user that stand next to each other are one user, within a batch.
            out.append(_FOLLOWS if user_id == at.last and at.record % BATCH_SIZE else _ERASED)
        else:
            out.append(bytes(record))
        at.last = user_id
        at.record += 1
    if not erased:
        return Rewritten(body, 0, len(out))
    return Rewritten(_packed(_joined(head, out), body), erased, len(out))


def listed(body: bytes, whom: Whom) -> Rewritten:
    """A file that no run has pinned, or a list of ids: without the records of the erased."""
    text = unpacked(body)
    if text.startswith(_PARQUET):
        raise Unreadable("a Parquet file")
    if text.lstrip()[:1] not in (b"{", b"[", b'"', b""):
        return _csv(body, text, whom)
    head, records = _records(text)
    all_, kept = 0, []
    for record in records:
        all_ += 1
        if user_of(record) not in whom:
            kept.append(bytes(record))
    if len(kept) == all_:
        return Rewritten(body, 0, all_)
    return Rewritten(_packed(_joined(head, kept), body), all_ - len(kept), all_)


def _joined(head: dict[str, msgspec.Raw] | None, records: list[bytes]) -> bytes:
    if head is None:
        return b"".join(record + b"\n" for record in records)
    members = [msgspec.json.encode(name) + b": " + bytes(value) for name, value in head.items() if name != "users"]
    return b"{" + b", ".join([*members, b'"users": [' + b",\n".join(records) + b"]"]) + b"}\n"


def _records(text: bytes) -> tuple[dict[str, msgspec.Raw] | None, Iterator[Any]]:
    """The records as they stand, and of a batch file the other members. A line that is not JSON is a record too."""
    stripped = text.lstrip()
    try:
        if stripped.startswith(b"["):
            return None, iter(msgspec.json.decode(text, type=list[msgspec.Raw]))
        if stripped.startswith(b"{"):
            head = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            # A file with one record is a line.
            if "users" in head:
                return head, iter(msgspec.json.decode(head["users"], type=list[msgspec.Raw]))
    except msgspec.DecodeError:
        if stripped.startswith(b"["):
            raise Unreadable("a list that is not JSON") from None
    if _SEVERAL.search(text) and any(_SEVERAL.search(line) and user_of(line) is None for line in text.splitlines()):
        raise Unreadable("several JSON values on a line")
    return None, (line for line in text.splitlines() if line.strip())


def user_of(record: Any) -> str | None:
    """The user of a record as bytes, or the id that it is; None where it has none."""
    try:
        value = msgspec.json.decode(record)
    except msgspec.DecodeError:
        return None
    try:
        return user_id_in(value) if isinstance(value, dict) else id_of(value)
    except BrokenRecord:
        return None


def _csv(body: bytes, text: bytes, whom: Whom) -> Rewritten:
    rows = list(csv.reader(io.StringIO(text.decode("utf-8-sig", "surrogateescape"), newline="")))
    names = [name.strip().lower() for name in rows[0]] if rows else []
    if "user_id" not in names:
        raise Unreadable("neither JSON nor CSV with a column user_id")
    at = names.index("user_id")
    kept = [row for row in rows[1:] if len(row) <= at or row[at].strip() not in whom]
    if len(kept) == len(rows) - 1:
        return Rewritten(body, 0, len(kept))
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([rows[0], *kept])
    return Rewritten(
        _packed(out.getvalue().encode(errors="surrogateescape"), body), len(rows) - 1 - len(kept), len(rows) - 1
    )


# -- documents --------------------------------------------------------------------------------------------------------


def document(body: bytes, whom: Whom) -> Rewritten:
    """A JSON document of ours: whatever has the id of an erased user, such as a manifest's sample, is left out."""
    try:
        value = msgspec.json.decode(unpacked(body))
    except (msgspec.DecodeError, OSError, EOFError):
        return Rewritten(body, 0, 0)
    found: list[Any] = []
    kept = _scrubbed(value, whom, found)
    return Rewritten(_packed(msgspec.json.encode(kept), body), len(found), 0) if found else Rewritten(body, 0, 0)


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


def has_user(body: bytes, whom: Whom) -> bool:
    """Whether an object in a form that is not rewritten here has an erased user."""
    if not body.startswith(_PARQUET):
        return any(user_of(line) in whom for line in unpacked(body).splitlines())
    # Late: few objects are Parquet files, and the function of the officers is invoked at each run's end.
    import duckdb  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(body)
        file.flush()
        rows = duckdb.read_parquet(file.name)
        names = [name for name in rows.columns if name.lower() == "user_id"]
        ids = rows.project(f'CAST("{names[0]}" AS VARCHAR)').fetchall() if names else []
        return any(user_id in whom for (user_id,) in ids)
