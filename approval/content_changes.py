"""What has changed in a request since an approver last looked, field by field. No I/O."""

from collections.abc import Iterable, Iterator

import msgspec

from approval.form import TEXTS, Form, SourceForm, Texts, VariantForm
from approval.looks import Content
from approval.taken_audiences import SHOWN_VERSION_CHARS

_FIELDS = {
    "name": "Name",
    "experiment": "Experiment",
    "control_percent": "Control group, %",
    "timezone": "Time zone",
    "start": "Not before",
    "latest": "Not after",
    "local": "By each user's own clock",
    "within_h": "Reach them within hours",
    "if_past": "Where that hour is past",
    "quiet": "Quiet hours",
    "quiet_from": "Quiet from",
    "quiet_to": "Quiet to",
    "quiet_then": "A push in quiet hours",
    "per_second": "Users per second",
    "legal": "Sent by law",
    "essential": "No marketing",
    "caps": "Caps of its own",
    "goal": "Goal",
    "goal_window_h": "Hours that count for the goal",
    "goal_lift_percent": "Smallest difference that matters, %",
    "test_percent": "Tested first, %",
    "decide_after_h": "Decided after so many hours",
    "decide_by_h": "Waits for conversions until hour",
    "goal_base_percent": "How many convert without a push, %",
    "otherwise": "If nothing is shown",
    "approvers": "Approvers to mail",
}
"""The fields that hold one text each. A test compares this with the form: a new field must be added here."""
_TEXTS = {"title": "Title", "body": "Text", "image_url": "Image", "deep_link": "Link"}


class Change(msgspec.Struct, frozen=True):
    """One field that is different. Empty: there was, or is, nothing."""

    field: str
    before: str
    after: str


def changes(before: Content, after: Content) -> tuple[Change, ...]:
    """Every field that differs, in the order of the form."""
    # Texts are compared by language and variant, not by position: a language that was added first moves the others.
    old, new = dict(_said(before)), dict(_said(after))
    return tuple(
        Change(field, old.get(field, ""), new.get(field, ""))
        for field in dict.fromkeys((*new, *old))
        if old.get(field, "") != new.get(field, "")
    )


def _said(content: Content) -> Iterator[tuple[str, str]]:
    form = content.form
    yield from _texts(form, "")
    for language in form.languages:
        # One that has only the texts of variants is a language, too.
        if not any(getattr(language, name) for name in TEXTS):
            yield f"Language {language.locale}", "without texts for all variants"
        yield from _texts(language, f" in {language.locale}")
    for variant in form.variants:
        yield f"Share of {variant.name}, %", variant.percent or "none"
        yield from _texts(variant, f" of {variant.name}")
        for language, texts in zip(form.languages, variant.languages, strict=False):
            yield from _texts(texts, f" of {variant.name} in {language.locale}")
    yield "Audience", _listed((*form.audience, *form.files.splitlines()))
    for number, source in enumerate(form.sources, 1):
        yield from _source(source, number)
    yield "Filters", "; ".join(f"{one.column}: {one.values}" for one in form.filters)
    yield "Users", f"{content.users:,}"
    for name, words in _FIELDS.items():
        yield words, str(getattr(form, name))


def _source(source: SourceForm, number: int) -> Iterator[tuple[str, str]]:
    # By its number: two groups may be of one query, with other values.
    group = f"Group {number} of users"
    schedule = f"as schedule {source.schedule}" if source.schedule else ""
    yield group, _listed((source.query, schedule, *source.files.splitlines()))
    yield f"{group}, version", source.version[:SHOWN_VERSION_CHARS]
    yield f"{group}, combined with those above by", source.how
    for name, values in source.parameters.items():
        yield f"{group}, {name}", ", ".join(values)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(name.strip() for name in names if name.strip()))


def _texts(texts: Form | Texts | VariantForm, of: str) -> Iterator[tuple[str, str]]:
    for name in TEXTS:
        yield _TEXTS[name] + of, getattr(texts, name)
