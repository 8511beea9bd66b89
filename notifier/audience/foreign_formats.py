"""Recognises files that are not JSON with users, by their first bytes or their structure.

Every message names the format and the command that makes an audience of the file.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from notifier.audience.json_faults import encoding_fault, foreign_word

HEAD_BYTES = 512
"""So much of a file is enough to recognise its format: a tar archive has its magic at byte 257."""
SMALL_HEAD_BYTES = 5
"""Enough for a text that begins with a bracket or an id: it can only be UTF-16 or UTF-32 instead of UTF-8."""

_DUCKDB = "duckdb -c \"COPY (FROM {source}) TO 'audience.jsonl' (FORMAT json)\""
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "gzip, compressed more than twice", "gunzip it until it is JSON"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (xls)",
     "save the sheet as CSV, then notifier convert FILE -o audience.jsonl"),
    (b"PAR1", "Parquet", _DUCKDB.format(source="read_parquet('FILE')")),
    (b"PARE", "Parquet, encrypted", "write it without encryption; " + _DUCKDB.format(source="read_parquet('FILE')")),
    (b"Obj\x01", "Avro", ("duckdb -c \"INSTALL avro; LOAD avro; COPY (FROM read_avro('FILE')) TO 'audience.jsonl' "
     '(FORMAT json)"')),
    (b"ORC", "ORC", ("python -c \"from pyarrow import orc; orc.read_table('FILE').to_pandas()"
     ".to_json('audience.jsonl', orient='records', lines=True)\"")),
    (b"ARROW1", "Arrow (Feather)", ("python -c \"import pandas; pandas.read_feather('FILE')"
     ".to_json('audience.jsonl', orient='records', lines=True)\"")),
    (b"SQLite format 3\x00", "an SQLite database", "sqlite3 -json FILE 'SELECT … FROM …' > audience.json"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "zstd -d FILE"),
    (b"BZh", "compressed with bzip2", "bunzip2 FILE"),
    (b"\xfd7zXZ\x00", "compressed with xz", "xz -d FILE"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "lz4 -d FILE"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with snappy", "snzip -d -k FILE"),
    (b"\x1f\x9d", "compressed with compress", "uncompress FILE"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x FILE"),
    (b"Rar!\x1a\x07", "a rar archive", "unrar x FILE"),
    (b"%PDF-", "a PDF document", "export the data as JSON or CSV instead"),
    (b"{\\rtf", "a rich-text document (RTF)", "save it as plain text"),
    (b"bplist0", "a binary property list", "plutil -convert json FILE"),
    (b"\x89PNG", "a picture (PNG)", "it is the wrong file"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "it is the wrong file"),
)  # fmt: skip
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OFFICE = re.compile(rb"\[Content_Types\]\.xml|_rels/|docProps/|xl/")
_ZIP_NAME_AT = 30
_TAR_AT = 257
_HADOOP_HEAD_BYTES = 13
"""Two lengths of four bytes and a variable-length number of at most five."""
_HTML = re.compile(rb"<!doctype html|<html|<head|<body", re.IGNORECASE)
_SEPARATORS = (b",", b";", b"\t", b"|")
_USER_COLUMNS = frozenset({"user_id", "token", "devices"})
_PINPOINT_COLUMNS = frozenset({"channeltype", "address"})
_WRAPPERS = ("after", "payload", "_source", "user", "record", "value", "fullDocument", "doc", "data", "fields")
"""Members in which databases, logs and search engines put a record; the first that has one. `after` is beside `before`.
"""
_TYPES = frozenset({"string", "int", "long", "float", "double", "stringValue", "integerValue", "doubleValue"})
_JSON_IN_TEXT = re.compile(rb'"\s*\{\s*\\*"')
_LINE_AFTER_KEY = re.compile(rb'[^\t{"]*\t\{\s*"')
_YAML = re.compile(rb"---|[a-zA-Z_]+:[ \t]*[\r\n]+[ \t]*[-a-zA-Z_]")
_LINES_BEFORE = 20
"""So many lines of a log or a comment may stand before a table or JSON."""
_WORD = re.compile(rb"\w+")
BARE_IDS = "not JSON: of a file with one id a line jq -R . FILE > ids.jsonl; of a table keep the column of ids alone"
TABLE = "a table (CSV), not JSON: notifier convert FILE -o audience.jsonl"


def foreign_format(head: bytes) -> str | None:
    """The format of a file that begins with `head`, and the command that converts it; None if it may be JSON.

    Args:
        head: the file's first `HEAD_BYTES`, or all of it.
    """
    for magic, name, command in _MAGIC:
        if head.startswith(magic):
            return f"{name}, not JSON: {command}"
    if head.startswith(_ZIPS):
        return _zip(head)
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "a tar archive, not JSON: tar -xf FILE, and give the files in it one by one"
    if _is_hadoop_snappy(head):
        return "compressed with snappy in Hadoop's blocks, not JSON: snzip -d -k -t hadoop-snappy FILE"
    return encoding_fault(head)


def look_of(text: bytes) -> str | None:
    """The format of a text that does not begin with a bracket: a web page, XML, a table. None if unknown."""
    if _HTML.match(text):
        return "a web page (HTML), not JSON: it may be the page of an error or of a sign-in; download the file again"
    if text.startswith(b"<"):
        return "XML, not JSON: export it as JSON"
    if comment := foreign_word(text[:2], 0):
        return comment
    if _JSON_IN_TEXT.match(text):
        return "each line is JSON within a text in quotes: jq -c fromjson FILE > audience.jsonl"
    return _look_of_line(text)


def _look_of_line(text: bytes) -> str | None:
    """The format by the first line."""
    end = b"\n" if b"\n" in text else b"\r"
    header, _, rest = text.partition(end)
    header, is_whole = header[:HEAD_BYTES], len(header) < HEAD_BYTES
    if not header.strip():
        return None
    if b"\x01" in header:
        return (
            "a text of Hive's or Athena's, its columns separated by \\x01, not JSON: "
            "write it in the format PARQUET or JSON"
        )
    if _YAML.match(text):
        return "YAML, not JSON: yq -o json FILE > audience.json"
    if _LINE_AFTER_KEY.match(header):
        return "JSON with a key before it in each line: cut -f2- FILE > audience.jsonl"
    # A longer line is a header only if it begins with names that are known.
    if is_whole or _columns_of(header) & _USER_COLUMNS:
        return _look_of_table(header, rest.split(end)[:_LINES_BEFORE])
    return None


def _look_of_table(header: bytes, lines: Sequence[bytes]) -> str | None:
    """The format of a text by its first line, and by the next ones."""
    columns = _columns_of(header)
    if len(columns) > 1 and _is_text(header):
        if columns >= _PINPOINT_COLUMNS:
            return "Amazon Pinpoint's endpoints as a table, not JSON: notifier convert pinpoint FILE -o audience.jsonl"
        return TABLE
    if set(_WORD.findall(header.lower())) >= {b"user_id", b"token"}:
        return (
            "a table with another separator than comma, semicolon, tab or bar, not JSON: "
            "notifier convert FILE --separator CHARACTER -o audience.jsonl"
        )
    if any(_columns_of(line) & _USER_COLUMNS for line in lines):
        return f"{TABLE}; leave out the lines before the names of its columns"
    if any(line.startswith((b"[", b"{")) for line in lines):
        return "other lines stand before the JSON: leave them out"
    return None


def shape_fault(value: Mapping[str, object]) -> str | None:
    """Why a file with this first object has no users where they are expected; None if it may have them."""
    columns = {name.lower() for name in value}
    members = list(value.values())
    if fault := _typed_fault(value) or _by_columns_fault(value, columns):
        return fault
    if _USER_COLUMNS & columns:
        return None
    if "users" in value:
        return users_fault(value["users"])
    if columns >= _PINPOINT_COLUMNS:
        return "Amazon Pinpoint's endpoints, not users: notifier convert pinpoint FILE -o audience.jsonl"
    if list(value) == ["Item"] and isinstance(members[0], dict):
        return (
            "DynamoDB's export, each record under `Item` with its types: "
            "duckdb -c \"COPY (SELECT Item.user_id.S AS user_id, … FROM read_json('FILE')) TO 'audience.jsonl'\""
        )
    if list(value) == ["entries"] and isinstance(members[0], list):
        return "a manifest, which lists files and has no users: name the files that it lists"
    return _deeper_fault(value)


def _typed_fault(value: Mapping[str, object]) -> str | None:
    """The fault of a record whose values have their types beside them, as two databases write them."""
    found = next((inner for name, inner in value.items() if name.lower() == "user_id"), None)
    names = list(found) if isinstance(found, dict) else []
    if names in (["S"], ["N"]):
        return (
            "DynamoDB's values with their types: "
            "duckdb -c \"COPY (SELECT user_id.S AS user_id, … FROM read_json('FILE')) TO 'audience.jsonl'\""
        )
    if len(names) == 1 and names[0] in _TYPES:
        return "values with their types beside them, as Avro's JSON and Firestore have them: write the plain values"
    if len(names) == 1 and str(names[0]).startswith("$"):
        return "MongoDB's values with their types: mongoexport writes plain ones of fields that are text: $toString"
    return None


def _by_columns_fault(value: Mapping[str, object], columns: Collection[str]) -> str | None:
    """The fault of a table that is written column by column, as pandas and R do."""
    members = list(value.values())
    is_split = isinstance(value.get("columns"), list) and isinstance(value.get("data"), list)
    is_by_name = "user_id" in columns and any(all(isinstance(one, kind) for one in members) for kind in (dict, list))
    if is_split or is_by_name:
        return (
            "a table column by column, not user by user: "
            "DataFrame.to_json('audience.jsonl', orient='records', lines=True)"
        )
    return None


def _deeper_fault(value: Mapping[str, object]) -> str | None:
    """The fault of an object whose users are within one of its members."""
    users = [name for name, member in value.items() if _is_user(member)]
    wrapper = next((name for name in _WRAPPERS if name in users), None)
    if wrapper is not None:
        return f"each record is within `{wrapper}`: jq -c .{wrapper} FILE > audience.jsonl"
    if users:
        return KEYED if len(users) == len(value) else "each record is within another object: write it without that"
    for member in value.values():
        if isinstance(member, list) and member and _is_user(member[0]):
            names = {str(name).lower() for name in member[0]}
            if "user_id" not in names and len(value) > 1:
                return "a record's devices are in a list that is not called `devices`, and no column is called user_id"
            fault = _typed_fault(member[0])
            return fault or "the users are in a list that is not called `users`: rename it, or save the list alone"
        if isinstance(member, dict) and isinstance(member.get("users"), list):
            return "`users` is within another object: save that object alone"
    return None


KEYED = (
    "the users are an object keyed by id, not a list: "
    "jq '[to_entries[] | {user_id: .key} + .value]' FILE > audience.json"
)
KEYED_USERS = (
    "`users` is an object keyed by id, not a list: "
    "jq '.users |= [to_entries[] | {user_id: .key} + .value]' FILE > audience.json"
)


def users_fault(users: object) -> str | None:
    """Why this value of `users` is not a list; None if it is one."""
    if isinstance(users, list):
        return None
    if isinstance(users, dict):
        return KEYED_USERS
    return "`users` is null, not a list" if users is None else "`users` is not a list"


def _is_user(value: object) -> bool:
    return isinstance(value, dict) and bool(_USER_COLUMNS & {str(name).lower() for name in value})


def _zip(head: bytes) -> str:
    if _OFFICE.match(head, _ZIP_NAME_AT):
        return (
            "an Excel workbook (xlsx), not JSON: duckdb -c \"INSTALL excel; LOAD excel; COPY (FROM read_xlsx('FILE', "
            "all_varchar = true)) TO 'audience.jsonl' (FORMAT json)\""
        )
    return "a zip archive, not JSON: unzip FILE, and give the files in it one by one (gzip is read as it is)"


def _is_hadoop_snappy(head: bytes) -> bool:
    """Whether it begins with the length of a block, in four bytes and again as the variable-length number of snappy."""
    # A block has at most 16 MiB, so the first byte of each of the two lengths is 0.
    if len(head) < _HADOOP_HEAD_BYTES or head[0] or head[4]:
        return False
    length = shift = 0
    for byte in head[8:_HADOOP_HEAD_BYTES]:
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return length == int.from_bytes(head[:4]) > 0


def _columns_of(header: bytes) -> set[str]:
    """The names in a line, in lower case, as the separator that is most frequent yields them."""
    separator = max(_SEPARATORS, key=header.count)
    return {name.strip(b'" \r').decode(errors="replace").lower() for name in header.split(separator)}


def _is_text(line: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r" for byte in line)
