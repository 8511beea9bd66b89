"""Whom a form means: a request to the audience function, or what is wrong with the form's fields. No I/O.

The fields are read from the top: the files that are ticked or typed, then each further group of users, which is
combined with everything above it. So `A and B without C` is (A and B) without C.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import UNSET

from approval.file_picker import MADE_HERE
from approval.form import Faults, Form, SourceForm
from approval.queries import OfferedQuery
from approval.taken_audiences import SHOWN_VERSION_CHARS, Taken, TakenAudience
from notifier.model.audience_request import has_free_sql, queries_in
from notifier.model.campaign import Part
from notifier.model.stored_query import Parameter, Value, chosen, from_text
from notifier.model.validation import Fault

MAX_NAMES = 200
MAX_FILTER_VALUES = 1_000
_GLOB = re.compile(r"[*?\[]")
_NAME = re.compile(r"(?:s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/audiences/|audiences/|standing/)\S(?:.*\S)?|standing/")
_MEND = "Write a key, a folder ending in / or a pattern with *, under audiences/ or standing/."
_NOBODY_ABOVE = "Nobody is above it to leave these out of: choose users first."
Offered = Mapping[str, OfferedQuery]
"""The stored queries by name."""


class Chosen(msgspec.Struct, frozen=True):
    """What a form says about its audience.

    Args:
        request: for the audience function, in its words; None where nothing is chosen, or something is wrong.
        exclude: lists of user ids that the campaigns of the chosen schedules leave out.
    """

    request: dict[str, Any] | None
    faults: Faults
    exclude: tuple[Part, ...] = ()


def chosen_audience(form: Form, offered: Offered, taken: Taken, now: datetime) -> Chosen:
    """The request of a form. Values are checked as the audience function checks them; files it finds itself.

    Args:
        taken: the audiences of schedules that its groups name.
        now: says which day it is where a schedule's audience is of a day.
    """
    faults: Faults = {}
    found: dict[str, Any] | None = _files(form, faults)
    exclude: tuple[Part, ...] = ()
    for n, source in enumerate(form.sources):
        place, one = f"sources.{n}", taken.get((source.schedule, source.version))
        if source.schedule:
            group = _scheduled(source, one, place, offered, faults, now)
            exclude += one.exclude if one is not None and source.how != "without" else ()
        else:
            group = _group(source, place, offered, faults)
        if group is None:
            continue
        if found is not None:
            found = _combined(found, source.how, group)
        elif source.how != "without":
            found = group
        elif not faults:
            # Whom it was taken out of is removed: they would get what they were not to get. Not where the group above
            # has a fault of its own, which is what is to be corrected.
            faults[f"{place}.how"] = _NOBODY_ABOVE
    if found is not None and (where := _filters(form, offered, taken, faults)):
        # Filters are on everything above: on a group that has none of its own, or on the combination.
        found = {"all": [found], "where": where} if "where" in found else {**found, "where": where}
    if found is None and not faults:
        faults["audience"] = "Choose whom to send it to."
    return Chosen(None if faults else found, faults, tuple(dict.fromkeys(exclude)))


def canonical(request: Mapping[str, Any]) -> bytes:
    """A request as JSON: equal requests give equal bytes."""
    return msgspec.json.encode(request, order="sorted")


def fingerprint(request: Mapping[str, Any]) -> str:
    """Stands for a choice in the button that confirms its cost: what was changed meanwhile is not confirmed."""
    return sha256(canonical(request)).hexdigest()[:16]


def queries_of(source: SourceForm, taken: Taken) -> tuple[str, ...]:
    """The stored queries that a group is made of: its own, or those of its schedule."""
    one = taken.get((source.schedule, source.version))
    return (*((source.query,) if source.query else ()), *(queries_in(one.audience) if one is not None else ()))


def columns_of(form: Form, offered: Offered, taken: Taken) -> tuple[str, ...]:
    """Columns that people may filter by: those that every chosen query lists."""
    names = (name for one in form.sources if one.how != "without" for name in queries_of(one, taken))
    listed = [set(query.about.show) for name in names if (query := offered.get(name)) is not None]
    return tuple(sorted(set.intersection(*listed))) if listed else ()


def _files(form: Form, faults: Faults) -> dict[str, Any] | None:
    names = _names(form.files, "files", faults)
    if not form.audience and not names:
        return None
    # A ticked key is that key, whatever characters it has: as a name some of them would make it a pattern.
    ticked = {"parts": [{"key": key} for key in form.audience]}
    if any(_GLOB.search(key) for key in form.audience):
        return {"any": [ticked, {"files": names}]} if names else ticked
    return {"files": [*form.audience, *names]}


def _names(typed: str, field: str, faults: Faults) -> list[str]:
    names = [line.strip() for line in typed.splitlines() if line.strip()]
    for name in names:
        in_bucket = name.partition("://")[2].partition("/")[2] if "://" in name else name
        leads_out = any(part in (".", "..") for part in in_bucket.split("/"))
        if not _NAME.fullmatch(name) or leads_out or in_bucket.startswith(MADE_HERE):
            faults[field] = f"{name[:80]} cannot be chosen. {_MEND}"
    if len(names) > MAX_NAMES:
        faults[field] = f"At most {MAX_NAMES} lines: name a folder or a pattern."
    return list(dict.fromkeys(names))


def as_schedules(form: Form) -> tuple[str, ...]:
    """Which schedules' audiences a form has taken, in words."""
    return tuple(
        f"as schedule {one.schedule}, version {one.version[:SHOWN_VERSION_CHARS]}"
        for one in form.sources
        if one.schedule and one.version
    )


def _scheduled(
    source: SourceForm, one: TakenAudience | None, place: str, offered: Offered, faults: Faults, now: datetime
) -> dict[str, Any] | None:
    """The audience of a schedule, as of today."""
    field = f"{place}.schedule"
    if source.query or source.files:
        faults[field] = "A schedule's audience, a named query, or files: one of them in one group."
    elif one is None:
        faults[field] = f"The audience of {source.schedule[:64]} is not taken into this draft. Press Choose."
    elif has_free_sql(one.audience):
        # What people choose here is run before anybody approves it: only queries that are stored are.
        faults[field] = "Its audience is SQL of its own. Have it stored as a query, and name that."
    elif gone := [name for name in queries_in(one.audience) if name not in offered or offered[name].fault]:
        reason = offered[gone[0]].fault if gone[0] in offered else "there is no such query"
        faults[field] = f"Its query {gone[0]} cannot be used: {reason}."
    else:
        return one.request(now)
    return None


def _group(source: SourceForm, place: str, offered: Offered, faults: Faults) -> dict[str, Any] | None:
    if not source.query:
        names = _names(source.files, f"{place}.files", faults)
        return {"files": names} if names else None
    if source.files:
        faults[f"{place}.files"] = "A named query, or files: not both in one group."
        return None
    query = offered.get(source.query)
    if query is None or query.fault:
        reason = query.fault if query is not None else "there is no such query"
        faults[f"{place}.query"] = f"{source.query[:64]} cannot be used: {reason}"
        return None
    values = _values(source, query, place, faults)
    return {"query": {"name": query.name} | ({"parameters": values} if values else {})}


def _values(source: SourceForm, query: OfferedQuery, place: str, faults: Faults) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parameter in query.about.parameters.items():
        field = f"{place}.parameters.{name}"
        given = _typed(parameter, source.parameters.get(name, ()))
        if given is None:
            # Left empty: the query's own default, which people see beside the field.
            if parameter.default is UNSET:
                faults[field] = "Fill this in."
            continue
        found = chosen(parameter, given, name)
        if isinstance(found, Fault):
            faults[field] = f"{found.problem[:1].upper()}{found.problem[1:]}: {found.mend}."
        else:
            values[name] = _plain(found)
    return values


def _typed(parameter: Parameter, texts: tuple[str, ...]) -> object | None:
    """What was typed, as JSON would have it; None for nothing."""
    if parameter.type == "texts":
        # Ticked choices come one by one, typed ones in lines.
        lines = tuple(line.strip() for text in texts for line in text.splitlines() if line.strip())
        return lines or None
    return from_text(parameter.type, texts[0]) if texts and texts[0] else None


def _plain(value: Value) -> Any:
    """A value as a request has it, which is JSON."""
    match value:
        case tuple():
            return list(value)
        case bool() | int() | str():
            return value
        case _ if hasattr(value, "isoformat"):
            return value.isoformat()
        case _:
            return float(value)


def _combined(above: dict[str, Any], how: str, group: dict[str, Any]) -> dict[str, Any]:
    if how == "without":
        # Several in a row are one: nobody who is in one of them.
        if "without" in above:
            return {**above, "without": [*above["without"], group]}
        return {"all": [above], "without": [group]}
    kind = "any" if how == "or" else "all"
    # Of a schedule it may have filters of its own, which are on it alone.
    if kind in above and "without" not in above and "where" not in above:
        return {kind: [*above[kind], group]}
    return {kind: [above, group]}


def _filters(form: Form, offered: Offered, taken: Taken, faults: Faults) -> list[dict[str, Any]]:
    has_query = any(queries_of(one, taken) for one in form.sources if one.how != "without")
    allowed = columns_of(form, offered, taken)
    found = []
    for n, one in enumerate(form.filters):
        values = list(dict.fromkeys(text.strip() for text in one.values.split(",") if text.strip()))
        if not one.column:
            faults[f"filters.{n}.column"] = "Which column?"
        elif has_query and one.column not in allowed:
            may = f"One of {', '.join(allowed)}." if allowed else "This query lists no columns to filter by."
            faults[f"filters.{n}.column"] = may
        if not values or len(values) > MAX_FILTER_VALUES:
            faults[f"filters.{n}.values"] = "Values with commas between them, for example DE, AT."
        found.append({"column": one.column, "is": values})
    return found


def in_words(request: Mapping[str, Any]) -> Iterator[str]:
    """A request in lines for people who decide on it."""
    yield from _words(request, "")


def _words(request: Mapping[str, Any], before: str) -> Iterator[str]:
    if "query" in request:
        values = request["query"].get("parameters", {})
        given = "; ".join(f"{name}: {_listed(value)}" for name, value in values.items())
        yield f"{before}query {request['query']['name']}" + (f" ({given})" if given else "")
    elif "files" in request or "parts" in request:
        names = request.get("files") or [part["key"] for part in request["parts"]]
        yield f"{before}{_listed(names[:20])}" + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    elif "sql" in request:
        yield f"{before}SQL"
    for name, joint in (("all", "and "), ("any", "or ")):
        for n, one in enumerate(request.get(name, ())):
            yield from _words(one, before if n == 0 else joint)
    for one in request.get("without", ()):
        yield from _words(one, "without ")
    for one in request.get("where", ()):
        yield f"only where {one['column']} is {_listed(one['is'])}"


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
