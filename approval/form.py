"""The request form as it was typed: read from posted fields, extended and reduced by buttons.

Fields are named by paths: `title`, `languages.0.title`, `variants.1.languages.0.body`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

MAX_LANGUAGES = 30
MAX_VARIANTS = 8
MAX_SOURCES = 10
MAX_FILTERS = 5
MAX_READ_CHARS = 20_000
"""Of a field. What is shown again must not outgrow an answer of Lambda: the main text is in the fields of each variant,
too. `form_size` says how much is kept."""
MAX_DIGITS = 10
HOWS = ("and", "or", "without")
TEXTS = ("title", "body", "image_url", "deep_link")


class Texts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The four texts of a message in one language. In a variant, an empty one means the text of the message above."""

    locale: str = ""
    title: str = ""
    body: str = ""
    image_url: str = ""
    deep_link: str = ""


class VariantForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """One variant. `languages` are in the order of the form's languages."""

    name: str = ""
    percent: str = ""
    title: str = ""
    body: str = ""
    image_url: str = ""
    deep_link: str = ""
    languages: tuple[Texts, ...] = ()


class SourceForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """One more group of users: those of a named query, of files, or of a schedule.

    Args:
        how: how it is combined with those above: `and`, `or`, `without`.
        files: keys, folders and patterns, one in a line.
        parameters: what was typed for the query's parameters, by name.
        version: of the schedule whose audience was taken (`approval.taken_audiences`).
    """

    how: str = "and"
    query: str = ""
    files: str = ""
    parameters: dict[str, tuple[str, ...]] = {}
    schedule: str = ""
    version: str = ""


class FilterForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """Only users who have one of these values in a column. `values` has commas between them."""

    column: str = ""
    values: str = ""


class Form(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole form, as typed.

    Args:
        local: with it `start` is by each user's own clock, and `timezone` is of users without one.
        quiet: empty for the stack's quiet hours, `own` for those of the form, `none` to lift them.
    """

    name: str = ""
    experiment: str = ""
    title: str = ""
    body: str = ""
    image_url: str = ""
    deep_link: str = ""
    languages: tuple[Texts, ...] = ()
    variants: tuple[VariantForm, ...] = ()
    control_percent: str = ""
    audience: tuple[str, ...] = ()
    files: str = ""
    sources: tuple[SourceForm, ...] = ()
    filters: tuple[FilterForm, ...] = ()
    timezone: str = "UTC"
    start: str = ""
    latest: str = ""
    per_second: str = ""
    approvers: str = ""
    legal: str = ""
    essential: str = ""
    caps: str = ""
    goal: str = ""
    goal_window_h: str = ""
    goal_lift_percent: str = ""
    goal_base_percent: str = ""
    test_percent: str = ""
    decide_after_h: str = ""
    decide_by_h: str = ""
    otherwise: str = ""
    local: str = ""
    within_h: str = ""
    if_past: str = ""
    quiet: str = ""
    quiet_from: str = ""
    quiet_to: str = ""
    quiet_then: str = ""


def names_in(form: Form) -> tuple[str, ...]:
    """What the form's audience is made of, as it was chosen: keys, folders, patterns, names of queries, schedules."""
    typed = [line.strip() for text in (form.files, *(one.files for one in form.sources)) for line in text.splitlines()]
    named = [name for one in form.sources for name in (one.query, one.schedule and f"schedules/{one.schedule}.json")]
    return tuple(dict.fromkeys(name for name in (*form.audience, *typed, *named) if name))


Fields = Mapping[str, list[str]]
Faults = dict[str, str]


class Malformed(ValueError):
    """The posted fields are not those of this form."""


def read_form(fields: Fields) -> Form:
    """The form in posted fields. Unknown fields are ignored; empty languages and variants are dropped.

    Raises:
        Malformed: more languages or variants than the form can have, or an overlong field.
    """
    for name, values in fields.items():
        if any(len(value) > MAX_READ_CHARS for value in values):
            raise Malformed(f"{name[:40]}: over {MAX_READ_CHARS:,} characters")
    # Numbers in the field names keep their meaning while empty languages are dropped: a variant's text n belongs to the
    # language n as posted, not to the n-th that is left.
    languages = _languages(fields)
    plain = {name: _one(fields, name) for name in _PLAIN}
    return Form(
        **plain,
        languages=tuple(texts for _, texts in languages),
        variants=tuple(variant for _, variant in _variants(fields, languages)),
        audience=tuple(dict.fromkeys(key for key in fields.get("audience", ()) if key)),
        sources=tuple(source for _, source in _sources(fields)),
        filters=tuple(one for _, one in _filters(fields)),
    )


def read_place(fields: Fields, place: str) -> str:
    """A block that a button names, such as `sources.1`, by its number in the form: empty blocks above it are dropped.

    "" for one that is dropped itself, or was never posted.
    """
    group, _, number = place.partition(".")
    read: Mapping[str, Callable[[], list[tuple[int, Any]]]] = {
        "languages": lambda: _languages(fields),
        "variants": lambda: _variants(fields, _languages(fields)),
        "sources": lambda: _sources(fields),
        "filters": lambda: _filters(fields),
    }
    posted = [str(n) for n, _ in read[group]()] if group in read else []
    return f"{group}.{posted.index(number)}" if number in posted else ""


_PLAIN = (
    "name",
    "experiment",
    *TEXTS,
    "control_percent",
    "files",
    "timezone",
    "start",
    "latest",
    "per_second",
    "approvers",
    "legal",
    "essential",
    "caps",
    "goal",
    "goal_window_h",
    "goal_lift_percent",
    "goal_base_percent",
    "test_percent",
    "decide_after_h",
    "decide_by_h",
    "otherwise",
    "local",
    "within_h",
    "if_past",
    "quiet",
    "quiet_from",
    "quiet_to",
    "quiet_then",
)


def _languages(fields: Fields) -> list[tuple[int, Texts]]:
    """Those that are not empty, by their numbers as posted. So are the other groups of blocks."""
    indexes = _indexes(fields, "languages", MAX_LANGUAGES)
    read = [(n, _texts(fields, f"languages.{n}.", _one(fields, f"languages.{n}.locale"))) for n in indexes]
    return [(n, texts) for n, texts in read if texts != Texts()]


def _variants(fields: Fields, languages: list[tuple[int, Texts]]) -> list[tuple[int, VariantForm]]:
    read = [(n, _variant(fields, n, languages)) for n in _indexes(fields, "variants", MAX_VARIANTS)]
    return [(n, variant) for n, variant in read if _is_filled_in(variant)]


def _is_filled_in(variant: VariantForm) -> bool:
    return any(getattr(variant, field) for field in ("name", "percent", *TEXTS))


def _variant(fields: Fields, n: int, languages: list[tuple[int, Texts]]) -> VariantForm:
    prefix = f"variants.{n}."
    return VariantForm(
        name=_one(fields, f"{prefix}name"),
        percent=_one(fields, f"{prefix}percent"),
        **{field: _one(fields, prefix + field) for field in TEXTS},
        languages=tuple(_texts(fields, f"{prefix}languages.{m}.", texts.locale) for m, texts in languages),
    )


def _sources(fields: Fields) -> list[tuple[int, SourceForm]]:
    read = [(n, _source(fields, f"sources.{n}.")) for n in _indexes(fields, "sources", MAX_SOURCES)]
    return [(n, one) for n, one in read if one.query or one.files or one.schedule]


def _source(fields: Fields, place: str) -> SourceForm:
    query = _one(fields, f"{place}query")
    how = _one(fields, f"{place}how")
    given = f"{place}parameters."
    # Of another query chosen before: its values mean nothing for this one.
    same = _one(fields, f"{place}shown") in ("", query)
    parameters = {
        name.removeprefix(given): tuple(value.replace("\r\n", "\n").strip() for value in values)
        for name, values in fields.items()
        if same and query and name.startswith(given)
    }
    schedule = _one(fields, f"{place}schedule")
    return SourceForm(
        how=how if how in HOWS else "and",
        query=query,
        files=_one(fields, f"{place}files"),
        parameters=parameters,
        schedule=schedule,
        # Of no schedule, a version says nothing.
        version=_one(fields, f"{place}version") if schedule else "",
    )


def _filters(fields: Fields) -> list[tuple[int, FilterForm]]:
    indexes = _indexes(fields, "filters", MAX_FILTERS)
    read = [(n, FilterForm(_one(fields, f"filters.{n}.column"), _one(fields, f"filters.{n}.values"))) for n in indexes]
    return [(n, one) for n, one in read if one != FilterForm()]


def _texts(fields: Fields, prefix: str, locale: str) -> Texts:
    return Texts(locale=locale, **{field: _one(fields, prefix + field) for field in TEXTS})


def _one(fields: Fields, name: str) -> str:
    # Browsers post a line break of a text area as CR and LF; a push has LF alone.
    return next(iter(fields.get(name, ())), "").replace("\r\n", "\n").strip()


def _indexes(fields: Fields, group: str, most: int) -> list[int]:
    # Numbers need not be in a row: the script removes a block from the middle and leaves the others as they are.
    pattern = re.compile(rf"{group}\.(\d{{1,3}})\.")
    found = sorted({int(match[1]) for name in fields if (match := pattern.match(name))})
    if len(found) > most:
        raise Malformed(f"{group}: over {most}")
    return found


def flat(form: Form) -> Iterator[tuple[str, str]]:
    """Every field of the form by its path, as `read_form` reads it."""
    for name in _PLAIN:
        yield name, getattr(form, name)
    yield from _flat_audience(form)
    for n, texts in enumerate(form.languages):
        for name in ("locale", *TEXTS):
            yield f"languages.{n}.{name}", getattr(texts, name)
    for n, variant in enumerate(form.variants):
        for name in ("name", "percent", *TEXTS):
            yield f"variants.{n}.{name}", getattr(variant, name)
        for m, texts in enumerate(variant.languages):
            for name in TEXTS:
                yield f"variants.{n}.languages.{m}.{name}", getattr(texts, name)


def _flat_audience(form: Form) -> Iterator[tuple[str, str]]:
    for key in form.audience:
        yield "audience", key
    for n, source in enumerate(form.sources):
        for name in ("how", "query", "files", "schedule", "version"):
            yield f"sources.{n}.{name}", getattr(source, name)
        for name, values in source.parameters.items():
            for value in values:
                yield f"sources.{n}.parameters.{name}", value
    for n, one in enumerate(form.filters):
        yield f"filters.{n}.column", one.column
        yield f"filters.{n}.values", one.values


def with_one_more(form: Form, wish: str, codes: str = "") -> Form:
    """The form with a language (`add_language`), an empty group of users, a filter or a variant added.

    The first time two variants are added, half and half: one alone compares with nothing.

    Args:
        codes: languages to add, with commas; without any an empty one is added.
    """
    if wish == "add_language":
        return _with_languages(form, codes)
    if wish == "add_source":
        return msgspec.structs.replace(form, sources=(*form.sources, SourceForm()))
    if wish == "add_filter":
        return msgspec.structs.replace(form, filters=(*form.filters, FilterForm()))
    blank = tuple(Texts(locale=texts.locale) for texts in form.languages)
    names = [name for name in "abcdefghijkl" if name not in {variant.name for variant in form.variants}]
    if form.variants:
        added: tuple[VariantForm, ...] = (VariantForm(name=names[0], languages=blank),)
    else:
        added = (VariantForm("a", "50", languages=blank), VariantForm("b", "50", languages=blank))
    return msgspec.structs.replace(form, variants=(*form.variants, *added))


def _with_languages(form: Form, codes: str) -> Form:
    typed = dict.fromkeys(code.strip().replace("_", "-") for code in codes.split(",") if code.strip())
    there = {one.locale.lower() for one in form.languages}
    wanted = [code for code in typed if code.lower() not in there] if typed else [""]
    added = tuple(Texts(locale=code) for code in wanted[: MAX_LANGUAGES - len(form.languages)])
    # Variants have the form's languages, in the same order.
    more = tuple(msgspec.structs.replace(v, languages=(*v.languages, *(Texts() for _ in added))) for v in form.variants)
    return msgspec.structs.replace(form, languages=(*form.languages, *added), variants=more)


def first_of_new(before: Form, after: Form) -> str:
    """The first field of the block that was added: where the person goes on."""
    fields = (("languages", "locale"), ("variants", "name"), ("sources", "query"), ("filters", "column"))
    for group, field in fields:
        n = len(getattr(before, group))
        if len(getattr(after, group)) > n:
            # A language that was added by its code needs only its texts.
            is_named = group == "languages" and after.languages[n].locale
            return f"{group}.{n}.{'title' if is_named else field}"
    return ""


def without(form: Form, what: str) -> Form:
    """The form without one language (`languages.0`), variant (`variants.1`), group of users or filter.

    Unchanged where there is no such one.
    """
    group, _, number = what.partition(".")
    if not number.isdecimal() or len(number) >= MAX_DIGITS:
        return form
    n = int(number)
    if group == "languages":
        kept = tuple(
            msgspec.structs.replace(v, languages=(*v.languages[:n], *v.languages[n + 1 :])) for v in form.variants
        )
        return msgspec.structs.replace(form, languages=(*form.languages[:n], *form.languages[n + 1 :]), variants=kept)
    if group == "sources":
        return msgspec.structs.replace(form, sources=(*form.sources[:n], *form.sources[n + 1 :]))
    if group == "filters":
        return msgspec.structs.replace(form, filters=(*form.filters[:n], *form.filters[n + 1 :]))
    if group == "variants":
        return msgspec.structs.replace(form, variants=(*form.variants[:n], *form.variants[n + 1 :]))
    return form
