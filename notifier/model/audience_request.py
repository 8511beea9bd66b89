"""What a batch file may say instead of `users`: where the audience is, or what it is to be made of.

Objects that hold only users, in a form that the worker reads, are sent as they are. Everything else is prepared first,
by the audience function (`audiences/`), which also knows what queries and combinations mean: here only their form.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from notifier.model.campaign import END, Audience, Part
from notifier.model.campaign_reading import BrokenCampaign
from notifier.model.validation import Fault, shape_faults

SOURCES = ("parts", "files", "query", "sql", "all", "any")
"""An audience is exactly one of these."""
_PREPARED_ENDINGS = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".parquet", ".zst")
"""Endings of keys of objects that the worker does not read: they are prepared."""
MAX_REQUEST_BYTES = 200_000
"""Of a request as JSON: it is kept in one item of the ledger's table, which holds 400 KB."""
_MAX_DEPTH = 8


class NamedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stored query, `queries/NAME.sql`, and the values of its parameters."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    parameters: dict[str, Any] = {}
    copy: Annotated[
        str,
        Meta(
            pattern=rf"^(schedules/approved/[a-z0-9_-]+/[0-9a-f]{{64}}/)?{END}",
            description="Of an occurrence of a schedule: where the approved copy of the query's texts is.",
        ),
    ] = ""


class ColumnFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"values": "is"}):
    """Only users who have one of these values in a column that the query lists."""

    column: Annotated[str, Meta(min_length=1)]
    values: Annotated[tuple[str | bool | int | float, ...], Meta(min_length=1)]


_MAX_NAMES = 10_000
_Parts = Annotated[tuple[Part, ...], Meta(min_length=1, max_length=_MAX_NAMES)]
_Names = Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1, max_length=_MAX_NAMES)]
_Sources = Annotated[tuple[Any, ...], Meta(min_length=1)]
"""Audiences again: each is looked into on its own, so that a fault has the path of its place."""


class AudienceSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the users are, when they are not in the batch file itself.

    It has exactly one of parts, files, query, sql, all, any. Parts of JSON are sent as they are; all else is prepared
    first: one record per user, one push per token.
    """

    parts: Annotated[
        _Parts | UnsetType,
        Meta(description="Pinned objects: a JSON list, an object with `users`, JSON lines, CSV or Parquet."),
    ] = UNSET
    files: Annotated[
        _Names | UnsetType,
        Meta(
            description="Keys, prefixes that end in `/`, and globs, under `audiences/` and `standing/`, or with "
            "`s3://bucket/` before them."
        ),
    ] = UNSET
    query: Annotated[NamedQuery | UnsetType, Meta(description="A stored query.")] = UNSET
    sql: Annotated[
        Annotated[str, Meta(min_length=1)] | UnsetType,
        Meta(description="One SELECT. With RequireApproval only stored queries are run."),
    ] = UNSET
    engine: Annotated[str | UnsetType, Meta(description="Of `sql`: what runs it.")] = UNSET
    tables: Annotated[
        dict[str, tuple[str, ...]] | UnsetType, Meta(description="Of `sql`: the files of each table, by its name.")
    ] = UNSET
    parameters: Annotated[dict[str, Any] | UnsetType, Meta(description="Of `sql`: values for its `$name`.")] = UNSET
    all: Annotated[_Sources | UnsetType, Meta(description="Users who are in each of them.")] = UNSET
    any: Annotated[_Sources | UnsetType, Meta(description="Users who are in one of them.")] = UNSET
    without: Annotated[_Sources | UnsetType, Meta(description="Of `all`: users who are in none of them.")] = UNSET
    where: Annotated[
        tuple[ColumnFilter, ...] | UnsetType, Meta(description="Only users with these values in listed columns.")
    ] = UNSET


def read_audience_source(raw: object) -> Audience | None:
    """The objects that hold the users; None for an audience that has to be prepared first.

    Raises:
        BrokenCampaign: it is no audience; with every fault, each with its field.
    """
    if faults := tuple(_faults(raw, "audience", 0)):
        raise BrokenCampaign(faults)
    source = msgspec.convert(raw, AudienceSource)
    if source.parts is UNSET or source.where is not UNSET:
        return None
    if any(part.key.lower().endswith(_PREPARED_ENDINGS) for part in source.parts):
        return None
    return Audience(source.parts)


def has_free_sql(raw: object) -> bool:
    """Whether SQL is in the request itself, at any depth, instead of the name of a stored query."""
    if isinstance(raw, Mapping):
        return "sql" in raw or any(has_free_sql(one) for name in ("all", "any", "without") for one in raw.get(name, ()))
    return False


def queries_in(raw: object) -> tuple[str, ...]:
    """The names of the stored queries in a request, at any depth, each once."""
    return tuple(dict.fromkeys(_queries_in(raw)))


def _queries_in(raw: object) -> Iterator[str]:
    if isinstance(raw, Mapping):
        if "query" in raw:
            yield str(raw["query"]["name"])
        for kind in ("all", "any", "without"):
            for one in raw.get(kind, ()):
                yield from _queries_in(one)


def filled_in(request: Any, values: Mapping[str, str]) -> Any:
    """A request with its parameters' `$day`, `$now` and `$previous` replaced, at any depth.

    Only whole values of parameters are replaced: they are bound by the engine, and never pasted into SQL.
    """
    if not isinstance(request, Mapping):
        return request
    filled = dict(request)
    if "query" in filled:
        filled["query"] = {**filled["query"], "parameters": _replaced(filled["query"].get("parameters", {}), values)}
    if "parameters" in filled:
        filled["parameters"] = _replaced(filled["parameters"], values)
    for kind in ("all", "any", "without"):
        if kind in filled:
            filled[kind] = [filled_in(one, values) for one in filled[kind]]
    return filled


def _replaced(parameters: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    return {name: values.get(value, value) if isinstance(value, str) else value for name, value in parameters.items()}


def _faults(raw: object, path: str, depth: int) -> Iterator[Fault]:
    found = tuple(shape_faults(raw, AudienceSource, path))
    yield from found
    if found or not isinstance(raw, Mapping):
        return
    kinds = [name for name in SOURCES if name in raw]
    if len(kinds) != 1:
        had = " and ".join(kinds) if kinds else "none of them"
        yield Fault(path, f"has {had}", f"write exactly one of {', '.join(SOURCES)}")
        return
    if depth >= _MAX_DEPTH:
        yield Fault(path, f"nested more than {_MAX_DEPTH} deep", "prepare the inner audience, and name its parts")
        return
    for name in ("all", "any", "without"):
        for n, one in enumerate(raw.get(name, ())):
            yield from _faults(one, f"{path}.{name}[{n}]", depth + 1)
    if depth == 0 and len(msgspec.json.encode(raw)) > MAX_REQUEST_BYTES:
        yield Fault(path, f"over {MAX_REQUEST_BYTES:,} bytes", "name a prefix or a glob in place of the files")
