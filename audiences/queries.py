"""Stored queries: `queries/NAME.sql`, and `queries/NAME.json`, which says what it reads and which values it takes.

People who compose a campaign pick a name and fill in parameters: they never write SQL.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec
from msgspec import UNSET

from audiences.engines.placeholders import Unterminated, placeholders, question_marks
from audiences.engines.port import Place, Query
from audiences.faults import AudienceFault
from notifier.model.authored_json import BadJson, decode_authored
from notifier.model.plain_words import described
from notifier.model.stored_query import (
    ARTICLES,
    NAME,
    PREFIX,
    Parameter,
    ParameterKind,
    StoredQuery,
    Value,
    chosen,
    from_text,
    typed,
)
from notifier.model.validation import Fault, shape_faults, text_faults

STANDING = "standing/"
"""Objects under it never expire."""
EXPIRING = ("audiences/", "batches/", "rows/", "state/", "invalid/", "deferred/", "excluded/", "caps/")
MAX_SQL_CHARS = 200_000
"""Athena takes 262,144 bytes."""
_SHOWN_FAULTS = 20
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/(?P<key>.*)", re.DOTALL)


class NamedQuery(msgspec.Struct, frozen=True):
    """A stored query that has no faults."""

    name: str
    sql: str
    about: StoredQuery

    @property
    def file(self) -> str:
        """How messages name the SQL."""
        return sql_key(self.name)


class BrokenQuery(AudienceFault):
    """A stored query, or a value for it, cannot be used. `faults` has every reason.

    Args:
        file: the file that has them.
    """

    def __init__(self, file: str, faults: tuple[Fault, ...]) -> None:
        more = [f"and {len(faults) - _SHOWN_FAULTS} more"] if len(faults) > _SHOWN_FAULTS else []
        super().__init__(f"{file}: " + "; ".join([str(fault) for fault in faults[:_SHOWN_FAULTS]] + more))
        self.file = file
        self.faults = faults


def sql_key(name: str) -> str:
    """Where a query's SQL is."""
    return f"{PREFIX}{name}.sql"


def about_key(name: str) -> str:
    """Where the rest of it is."""
    return f"{PREFIX}{name}.json"


def check_name(name: str) -> None:
    """Raise BrokenQuery for a name that no stored query can have: it becomes a part of a key."""
    if not NAME.fullmatch(name):
        mend = "1 to 64 of a-z, 0-9, - and _, for example: follows-brands"
        raise BrokenQuery("query", (Fault("name", f"{described(name)} is not the name of a query", mend),))


def read_query(name: str, sql: bytes, about: bytes) -> NamedQuery:
    """A stored query, from its two files. Raises BrokenQuery with every fault of the first file that has one."""
    check_name(name)
    described_in = _decoded(about_key(name), about)
    faults = (*shape_faults(described_in, StoredQuery, "query"), *text_faults(described_in, "query"))
    if faults:
        raise BrokenQuery(about_key(name), tuple(dict.fromkeys(faults)))
    stored = msgspec.convert(described_in, StoredQuery)
    if faults := (*_table_faults(stored), *_parameter_faults(stored), *_show_faults(stored)):
        raise BrokenQuery(about_key(name), faults)
    text = _text(sql_key(name), sql)
    if faults := tuple(_sql_faults(text, stored, about_key(name))):
        raise BrokenQuery(sql_key(name), faults)
    return NamedQuery(name, text, stored)


def _decoded(file: str, data: bytes) -> object:
    try:
        return decode_authored(data, "query")
    except BadJson as error:
        raise BrokenQuery(file, (error.fault,)) from None


def _text(file: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenQuery(file, (Fault(f"byte {error.start}", "is not UTF-8", "save it as UTF-8"),)) from None
    if not text.strip():
        raise BrokenQuery(file, (Fault("line 1", "the file is empty", "write one SELECT"),))
    if len(text) > MAX_SQL_CHARS:
        raise BrokenQuery(file, (Fault("line 1", f"has {len(text):,} characters", f"{MAX_SQL_CHARS:,} at most"),))
    return text


def _table_faults(query: StoredQuery) -> Iterator[Fault]:
    if query.tables and query.engine != "duckdb":
        yield Fault(
            "query.tables", f"{query.engine} has tables of its own", "leave tables out, and name them in the SQL"
        )
        return
    for name, files in query.tables.items():
        path = f"query.tables.{_shown(name)}"
        if not _IDENTIFIER.fullmatch(name):
            yield Fault(path, "not a name for a table", "a letter, then letters, digits and _, for example: users")
        for n, file in enumerate(files):
            if fault := file_fault(f"{path}[{n}]", file, keeps=True):
                yield fault


def file_fault(path: str, file: str, *, keeps: bool) -> Fault | None:
    """What is wrong with the name of a table's files, if anything.

    Args:
        keeps: whether they must be there on any later day, as for a stored query.
    """
    in_bucket = _BUCKET.fullmatch(file)
    key = in_bucket["key"] if in_bucket else file
    mend = f'a key under {STANDING}, for example "{STANDING}users/*.parquet", or s3://bucket/key'
    if not key or ("://" in file and not in_bucket):
        return Fault(path, f"{described(file)} is not the name of files", mend)
    if key.startswith("/") or any(part in ("..", ".") for part in key.split("/")):
        return Fault(path, f"{described(file)} leads out of its prefix", "write the whole key, without . and ..")
    if keeps and not in_bucket and key.startswith(EXPIRING):
        return Fault(path, f"{described(file)} is under a prefix whose objects expire", f"put them under {STANDING}")
    if not in_bucket and not key.startswith((STANDING, *(() if keeps else ("audiences/",)))):
        return Fault(path, f"{described(file)} is under no prefix for tables", mend)
    return None


def _parameter_faults(query: StoredQuery) -> Iterator[Fault]:
    for name, parameter in query.parameters.items():
        path = f"query.parameters.{_shown(name)}"
        if not _IDENTIFIER.fullmatch(name):
            yield Fault(path, "not a name for a parameter", "a letter, then letters, digits and _, for example: day")
        choices = parameter.choices or ()
        for n, choice in enumerate(choices):
            # Of a list each text is one of the choices.
            kind: ParameterKind = "text" if parameter.type == "texts" else parameter.type
            if isinstance(found := typed(choice, kind, f"{path}.choices[{n}]"), Fault):
                yield found
        if parameter.default is not UNSET and isinstance(
            found := chosen(parameter, parameter.default, f"{path}.default"), Fault
        ):
            yield found


def _show_faults(query: StoredQuery) -> Iterator[Fault]:
    for n, column in enumerate(query.show):
        if column.lower() in ("token", "user_id", "devices"):
            yield Fault(f"query.show[{n}]", f"{column} may not be shown", "name columns such as country")


def _sql_faults(text: str, query: StoredQuery, file: str) -> Iterator[Fault]:
    used = list(placeholders(text, query.engine))
    for one in used:
        if one.name not in query.parameters:
            known = f"known there: {', '.join(query.parameters)}" if query.parameters else "there are none there"
            yield Fault(_at(text, one.offset), f"${one.name} is not a parameter of {file}", known)
    names = {one.name for one in used}
    for name in query.parameters:
        if name not in names:
            yield Fault(f"${name}", f"is a parameter of {file}, and not in the SQL", "use it, or remove it there")
    try:
        marks = question_marks(text, query.engine) if query.engine == "athena" else []
    except Unterminated:
        yield Fault(_at(text, len(text)), "a string or a comment has no end", "close it")
        return
    for at in marks[:1]:
        yield Fault(_at(text, at), "a parameter without a name", "write $name instead of ?")


def _at(text: str, offset: int) -> str:
    place = Place.at(text, offset)
    return f"line {place.line}, column {place.column}"


def with_values(query: NamedQuery, given: Mapping[str, object]) -> Query:
    """The query, ready to run. Raises BrokenQuery for values that are missing, unknown, or not what they should be."""
    values: dict[str, Value] = {}
    faults = [
        Fault(f"parameters.{_shown(name)}", "unknown", _known(query)) for name in given
        if name not in query.about.parameters
    ]  # fmt: skip
    for name, parameter in query.about.parameters.items():
        value = given.get(name, parameter.default)
        if value is UNSET:
            faults.append(Fault(f"parameters.{name}", "missing", f"give it {ARTICLES[parameter.type]}"))
        elif isinstance(found := chosen(parameter, value, f"parameters.{name}"), Fault):
            faults.append(found)
        else:
            values[name] = found
    if faults:
        raise BrokenQuery(f"the query {query.name}", tuple(faults))
    return Query(query.sql, values, query.file)


def _known(query: NamedQuery) -> str:
    return f"known: {', '.join(query.about.parameters)}" if query.about.parameters else "it has no parameters"


def free_query(sql: str, given: Mapping[str, object], name: str) -> Query:
    """SQL that is stored nowhere, with values whose types are those of JSON. Raises BrokenQuery."""
    values: dict[str, Value] = {}
    faults = []
    for parameter, value in given.items():
        path = f"parameters.{_shown(parameter)}"
        if not _IDENTIFIER.fullmatch(parameter):
            faults.append(Fault(path, "not a name for a parameter", "a letter, then letters, digits and _"))
            continue
        found = typed(value, _kind_of(value), path)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            values[parameter] = found
    if faults:
        raise BrokenQuery(name, tuple(faults))
    return Query(sql, values, name)


def _kind_of(value: object) -> ParameterKind:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float() | Decimal():
            return "number"
        case list() | tuple():
            return "texts"
        case _:
            return "text"


def from_texts(parameter: Parameter, texts: tuple[str, ...], path: str) -> object:
    """What a command line gives for a parameter, as JSON would have it. A fault of it is found by `with_values`."""
    if parameter.type == "texts":
        return texts
    if len(texts) > 1:
        raise BrokenQuery("--param", (Fault(path, "given twice", "give it once: only a list has several"),))
    return from_text(parameter.type, texts[0])


def _shown(name: object) -> str:
    """A member's name for a message: short, and without what would break its line."""
    return "".join(character if character.isprintable() else "\ufffd" for character in str(name)[:60])
