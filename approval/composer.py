"""What the composer shows beside the form: texts by language and variant, one phone, what is left to do. No I/O."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from approval.form import Faults, Fields, Form, Texts, VariantForm
from approval.language_reach import LanguageReach, language_reach
from approval.payload_sizes import longest_users
from approval.placeholders import chips, slips
from approval.preview import Preview, arms_of, locales_of, previews, previews_of_text
from approval.user_times import times_forecast
from notifier.model.audience_counts import Counts
from notifier.model.campaign import Campaign
from notifier.model.caps import CapDefaults

MAIN = "main"
"""The key of the main text beside the numbers of the languages."""
MAX_SAMPLE_NAME_CHARS = 80
LONGEST, NOBODY = "longest", "none"
"""Users for the phone who are none of the audience: with the longest values, and without any."""
_TEXT_NAMES = {"title": "Title", "body": "Text", "image_url": "Image", "deep_link": "Link"}
_NAMES = {
    "name": "Name of the campaign",
    "audience": "To whom",
    "files": "Files",
    "caps": "Caps of its own",
    "control_percent": "Control group",
    "experiment": "Experiment",
    "start": "Not before",
    "latest": "Not after",
    "timezone": "Time zone",
    "within_h": "Reach them within hours",
    "if_past": "Where that hour is past",
    "quiet": "Quiet hours",
    "quiet_from": "Quiet hours from",
    "quiet_to": "Quiet hours to",
    "quiet_then": "A push in quiet hours",
    "per_second": "Users per second",
    "goal": "Goal",
    "goal_window_h": "Hours that count for the goal",
    "goal_lift_percent": "Smallest difference",
    "goal_base_percent": "How many convert without a push",
    "test_percent": "Tested",
    "decide_after_h": "Decide after so many hours",
    "decide_by_h": "Wait for conversions until hour",
    "otherwise": "If nothing is shown",
    "approvers": "Approvers",
}
_ORDER = ("name", "audience", "files", "sources", "filters", "caps", *_TEXT_NAMES, "languages", "variants", *_NAMES)
"""The groups of fields in the order of the page."""


class Shown(msgspec.Struct, frozen=True):
    """What the phone shows: a variant and a language by their numbers in the form, as `user` sees them."""

    platform: str = "ios"
    state: str = "lock"
    variant: str = "0"
    language: str = MAIN
    user: str = ""


def read_shown(fields: Fields) -> Shown:
    """What was chosen beside the form. Anything else than a choice of ours is the first one."""

    def one(name: str, allowed: tuple[str, ...] = ()) -> str:
        value = next(iter(fields.get(name, ())), "")
        is_number = value.isdecimal() and len(value) < 4
        return value if value in allowed or (not name.endswith(("platform", "state")) and is_number) else ""

    return Shown(
        platform=one("show_platform", ("ios", "android")) or "ios",
        state=one("show_state", ("lock", "open")) or "lock",
        variant=one("show_variant") or "0",
        language=one("show_language", (MAIN,)) or MAIN,
        user=one("sample", (LONGEST, NOBODY)),
    )


class Column(msgspec.Struct, frozen=True):
    """A variant's texts in one language. `above` are the texts that its empty fields take over."""

    n: int
    name: str
    variant: VariantForm
    place: str
    texts_place: str
    texts: Texts
    above: Texts


class TextPanel(msgspec.Struct, frozen=True):
    """The texts of one language: those for all, then each variant's. `language` is None for the main text."""

    key: str
    place: str
    language: Texts | None
    above: Texts
    columns: tuple[Column, ...]


def panels_of(form: Form) -> tuple[TextPanel, ...]:
    """The form's texts, by language and variant."""
    main = _texts_of(form)
    found = [TextPanel(MAIN, "", None, Texts(), tuple(_main_columns(form, main)))]
    for m, language in enumerate(form.languages):
        columns = tuple(_columns(form, m, _over(language, main)))
        found.append(TextPanel(str(m), f"languages.{m}.", language, main, columns))
    return tuple(found)


def _main_columns(form: Form, above: Texts) -> Iterator[Column]:
    for n, variant in enumerate(form.variants):
        place = f"variants.{n}."
        yield Column(n, variant.name, variant, place, place, _texts_of(variant), above)


def _columns(form: Form, m: int, above: Texts) -> Iterator[Column]:
    for n, variant in enumerate(form.variants):
        own = variant.languages[m] if m < len(variant.languages) else Texts()
        yield Column(n, variant.name, variant, f"variants.{n}.", f"variants.{n}.languages.{m}.", own, above)


def _texts_of(texts: Form | VariantForm) -> Texts:
    return Texts("", texts.title, texts.body, texts.image_url, texts.deep_link)


def _over(own: Texts, above: Texts) -> Texts:
    """The texts that are read: one's own, else those above."""
    return Texts(own.locale, *(getattr(own, name) or getattr(above, name) for name in _TEXT_NAMES))


def reads_of(form: Form, reach: LanguageReach | None) -> Mapping[str, str]:
    """How many users read each tab's text, by its key; empty texts before the audience is counted."""
    if reach is None:
        return {MAIN: ""}
    by_locale = dict(reach.languages)
    numbers = {str(m): by_locale.get(one.locale.strip()) for m, one in enumerate(form.languages)}
    return {MAIN: f"{reach.main:,}"} | {key: f"{n:,}" for key, n in numbers.items() if n is not None}


# -------------------------------------------------------------------------------------------------------- the phone


def phone_of(form: Form, campaign: Campaign | None, users: Mapping[str, Any], shown: Shown) -> dict[str, Any]:
    """The one phone, and what may be chosen for it.

    Args:
        users: records by the keys of `Shown.user`.
    """
    names = {
        key: "The longest values of all" if key == LONGEST else sample_name(key, one) for key, one in users.items()
    }
    names |= {NOBODY: "A user without a name"} if users else {"": "Nobody yet: count the audience"}
    if shown.user not in names:
        shown = msgspec.structs.replace(shown, user=next(iter(names)))
    return {
        "user": shown.user,
        "preview": _preview(form, campaign, users, shown) if campaign is not None else None,
        "variants": tuple((str(n), one.name or f"variant {n + 1}") for n, one in enumerate(form.variants)),
        "languages": ((MAIN, "Main text"), *((str(m), one.locale or "New") for m, one in enumerate(form.languages))),
        "users": tuple(names.items()),
    }


def sample_name(key: str, record: Mapping[str, Any]) -> str:
    """A sample user as a choice: some attributes and the id."""
    known = list((record.get("attributes") or {}).values())[:2]
    return ", ".join(map(str, [*known, record.get("user_id", key)]))[:MAX_SAMPLE_NAME_CHARS]


def users_of(counts: Counts | None) -> dict[str, Any]:
    """Records by the keys of `Shown.user`: the audience's samples, and the longest values."""
    if counts is None:
        return {}
    found: dict[str, Any] = {str(n): sample for n, sample in enumerate(counts.samples)}
    return found | ({LONGEST: next(longest_users(counts))} if counts.longest else {})


def _preview(form: Form, campaign: Campaign, users: Mapping[str, Any], shown: Shown) -> Preview | None:
    arms = arms_of(campaign)
    arm = arms[min(int(shown.variant), len(arms) - 1)]
    number = int(shown.language) if shown.language != MAIN else None
    typed = form.languages[number].locale if number is not None and number < len(form.languages) else ""
    locale = typed if typed in locales_of(campaign, arm) else ""
    found = previews_of_text(campaign, users.get(shown.user), arm, locale)
    return next((one for one in found if one.platform == shown.platform), None)


def largest(campaign: Campaign | None, counts: Counts | None) -> Preview | None:
    """The largest payload that any user gets; None where no text can be filled in yet."""
    if campaign is None:
        return None
    users = tuple(longest_users(counts)) if counts is not None else (None,)
    # With a fault the texts are those that were written, with placeholders: their size says nothing.
    found = [one for user in users for one in previews(campaign, user) if not one.fault]
    return max(found, key=lambda one: one.size_bytes, default=None)


# ------------------------------------------------------------------------------------------------- what is left to do


class Left(msgspec.Struct, frozen=True):
    """A fault as the bar lists it. `id` is of the element to go to."""

    id: str
    label: str
    fault: str


def left_to_do(form: Form, faults: Faults) -> tuple[Left, ...]:
    """The form's faults, in the order of the page."""
    ranked = sorted(faults.items(), key=lambda one: (_rank(one[0]), one[0]))
    return tuple(Left(_id_of(field), label_of(field, form), fault) for field, fault in ranked)


def _rank(field: str) -> int:
    group = field.partition(".")[0]
    return _ORDER.index(group) if group in _ORDER else len(_ORDER)


def _id_of(field: str) -> str:
    return {"": "main", "audience": "audience-fault"}.get(field, field.replace(".", "-"))


def label_of(field: str, form: Form) -> str:
    """A field as people call it: `Title`, `de: Title`, `b in de: Title`."""
    group, _, rest = field.partition(".")
    number, _, name = rest.partition(".")
    if group in ("languages", "variants") and number.isdecimal():
        n = int(number)
        if group == "languages":
            where = form.languages[n].locale if n < len(form.languages) else ""
            return f"{where or 'New language'}: {_TEXT_NAMES.get(name, 'Language')}"
        where = form.variants[n].name if n < len(form.variants) else ""
        if name.startswith("languages."):
            m, _, name = name.removeprefix("languages.").partition(".")
            locale = form.languages[int(m)].locale if int(m) < len(form.languages) else ""
            where = f"{where} in {locale}"
        return f"{where}: {({'percent': 'Share', 'name': 'Short name'} | _TEXT_NAMES).get(name, name)}"
    if group in ("sources", "filters"):
        return "Another group of users" if group == "sources" else "Filter"
    return (_NAMES | _TEXT_NAMES).get(field, "The form")


def values_of(
    form: Form,
    campaign: Campaign | None,
    counts: Counts | None,
    faults: Faults,
    shown: Shown,
    defaults: CapDefaults,
    start: datetime,
) -> dict[str, Any]:
    """The values of the composer's templates, but for the audience's.

    Args:
        campaign: as previews have it; None while its texts have faults.
        faults: all of the form's, whether or not they were typed already.
        start: when it begins at the earliest.
    """
    times = None
    if campaign is not None and counts is not None:
        times = times_forecast(campaign, counts, defaults, start)
    return {
        "panels": panels_of(form),
        "reads": reads_of(form, language_reach(form, counts)),
        "chips": chips(counts),
        "slips": slips(form, counts),
        "left": left_to_do(form, faults),
        "largest": largest(campaign, counts),
        "shown": shown,
        "panel": phone_of(form, campaign, users_of(counts), shown),
        "times": times,
        "lifts_quiet": form.quiet == "none",
        "stack_quiet": f"{defaults.quiet.begins} to {defaults.quiet.ends}" if defaults.quiet else "",
    }
