"""The campaign that a form means, or what is wrong with the form, by field.

The worker's own checks of campaigns are used, so that a request which passes here is not refused by the worker. Their
faults name places in the campaign (`campaign.variants[0].message.title`), which are turned into the form's fields.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from approval.arm_names import arm_name
from approval.form import MAX_DIGITS, TEXTS, Faults, Form, Texts, VariantForm, flat
from approval.form_times import TIME_FIELDS, decoded_times, moment
from approval.goals import read_base
from notifier.content.compile import compiled
from notifier.content.template import AS_IN, BadTemplate
from notifier.content.template_faults import template_faults
from notifier.gateway.additions import addition_faults
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import (
    ENDS_BEFORE_THE_WINNER,
    BrokenCampaign,
    ends_before_the_winner,
    read_campaign,
)
from notifier.model.caps import read_default_caps
from notifier.model.kept_days import KeptDays, start_fault
from notifier.model.plurals import counted
from notifier.model.validation import Fault

_NAMES = {"title": "title", "body": "text", "image_url": "image", "deep_link": "link"}


def read_campaign_of(form: Form, now: datetime) -> tuple[Campaign | None, Faults]:
    """The campaign that the form means; or None, and what is wrong by field (`""` for the form as a whole)."""
    faults: Faults = dict(_text_faults(form))
    campaign = None
    decoded = _decoded(form, faults)
    try:
        campaign = read_campaign(decoded)
        found = template_faults(campaign)
    except BrokenCampaign as error:
        found = error.faults
    # setdefault: a fault of the form itself is in the requester's words, and says more than the campaign's own.
    for fault in found:
        faults.setdefault(field_of(fault.field, form), _in_words(fault))
    _time_faults(campaign, now, faults)
    return (None if faults else campaign), faults


def plan_of(form: Form) -> tuple[datetime | None, int | None]:
    """The start and the speed that were typed, as far as they can be read: for figures while the form is incomplete."""
    start = None if form.local else moment(form.start, form.timezone, "start", {})
    has_speed = form.per_second.isdecimal() and len(form.per_second) < MAX_DIGITS
    return start, (int(form.per_second) or None) if has_speed else None


def gateway_faults(form: Form, campaign: Campaign) -> Faults:
    """What Apple or Google would refuse for every device, by field: such as too large a payload."""
    faults: Faults = {}
    for fault in addition_faults(campaign):
        faults.setdefault(field_of(fault.field, form), _in_words(fault))
    return faults


def kept_faults(campaign: Campaign, kept: KeptDays, now: datetime) -> Faults:
    """A start that is later than the files of its run are kept, by field: the run would be cancelled before it."""
    if start_fault(campaign, kept, now.timestamp()) is None:
        return {}
    days, latest = counted(kept.least, "day"), kept.latest_start(now.astimezone(UTC))
    return {
        "start": f"Too late: the files of a campaign are kept for {days}. Begin by {latest:%d %B %Y, %H:%M} UTC, or "
        f"have {kept.parameters} raised by whoever runs this stack."
    }


def _text_faults(form: Form) -> Iterator[tuple[str, str]]:
    """Texts whose template does not compile, by field. Checked apart, so that all faults are reported together."""
    for field, text in flat(form):
        if field.rpartition(".")[2] in TEXTS:
            try:
                compiled(text)
            except BadTemplate as error:
                yield field, _template_fault(error)


def _template_fault(error: BadTemplate) -> str:
    """What to write first, where it is more than an example; then where, and what is wrong."""
    first, then = (error.mend, error) if error.mend != AS_IN else (error, error.mend)
    return f"Cannot be filled in: {first} ({then})."


def _decoded(form: Form, faults: Faults) -> dict[str, Any]:
    """The form as the `campaign` member of a batch file. Adds what is wrong with the form itself to `faults`."""
    message: dict[str, Any] = _given(form)
    if translations := _translations(form, faults):
        message["translations"] = translations
    decoded: dict[str, Any] = {"id": form.name, "message": message} | _whom(form, faults)
    if form.experiment:
        decoded["experiment"] = form.experiment
    if form.variants:
        decoded["variants"] = [_decoded_variant(form, n, faults) for n in range(len(form.variants))]
    if form.control_percent:
        decoded["control_percent"] = _percent(form.control_percent, "control_percent", faults)
    if form.per_second:
        if form.per_second.isdecimal() and len(form.per_second) < MAX_DIGITS:
            decoded["per_second"] = int(form.per_second)
        else:
            faults["per_second"] = "A whole number of users per second."
    decoded |= decoded_times(form, faults) | _experiment(form, faults)
    if not form.name:
        faults["name"] = "Give the campaign a name."
    return decoded


def _whom(form: Form, faults: Faults) -> dict[str, Any]:
    """What lets more users, or fewer, get it than other campaigns."""
    ticked = {name: True for name in ("legal", "essential") if getattr(form, name)}
    return ticked | ({"caps": _caps(form.caps, faults)} if form.caps else {})


def _caps(text: str, faults: Faults) -> list[dict[str, Any]]:
    try:
        found = read_default_caps("".join(text.split()))
    except ValueError:
        faults["caps"] = "Write each as marketing:3/7: at most 3 of the group marketing in 7 days. Days are 30 at most."
        return []
    return [msgspec.to_builtins(cap) for cap in found]


def _experiment(form: Form, faults: Faults) -> dict[str, Any]:
    """The goal, and the test whose winner goes to the remainder."""
    decoded: dict[str, Any] = {}
    if form.goal:
        goal: dict[str, Any] = {"name": form.goal, "window_h": _whole(form.goal_window_h, "goal_window_h", faults)}
        if form.goal_lift_percent:
            goal["smallest_lift_percent"] = float(_percent(form.goal_lift_percent, "goal_lift_percent", faults))
        decoded["goal"] = goal
    if form.goal_base_percent and read_base(form.goal_base_percent) is None:
        faults["goal_base_percent"] = "A percentage, such as 5 or 1.25."
    if form.test_percent:
        decoded["winner"] = {
            "test_percent": _percent(form.test_percent, "test_percent", faults),
            "decide_after_h": _whole(form.decide_after_h, "decide_after_h", faults),
            "decide_by_h": _whole(form.decide_by_h or form.decide_after_h, "decide_by_h", faults),
            "otherwise": form.otherwise or "control",
        }
    return decoded


def _whole(text: str, field: str, faults: Faults) -> int:
    if text.isdecimal() and len(text) < MAX_DIGITS:
        return int(text)
    faults[field] = "A whole number of hours."
    return 1


def _translations(form: Form, faults: Faults) -> dict[str, dict[str, str]]:
    for n, texts in enumerate(form.languages):
        if not texts.locale:
            faults[f"languages.{n}.locale"] = "Which language is it? For example de, or pt-BR."
        elif texts.locale.lower() in [other.locale.lower() for other in form.languages[:n]]:
            faults[f"languages.{n}.locale"] = "This language is given twice."
    return {texts.locale: _given(texts) for texts in form.languages if texts.locale}


def _given(texts: Form | VariantForm | Texts) -> dict[str, str]:
    return {field: text for field in TEXTS if (text := getattr(texts, field))}


def _decoded_variant(form: Form, n: int, faults: Faults) -> dict[str, Any]:
    """A variant with its own texts. One that replaces a text must do so in every language that has that text."""
    variant = form.variants[n]
    message: dict[str, Any] = _given(variant)
    translations: dict[str, dict[str, str]] = {}
    for m, texts in enumerate(form.languages):
        own = variant.languages[m] if m < len(variant.languages) else Texts()
        # A variant's translations replace all of the campaign's: texts that it does not change are repeated here.
        translations[texts.locale] = {**_given(texts), **_given(own)}
        for field in TEXTS:
            # Else readers of this language would get the main message's text in this arm, and the comparison of the
            # arms would be wrong.
            if getattr(variant, field) and getattr(texts, field) and not getattr(own, field):
                faults[f"variants.{n}.languages.{m}.{field}"] = (
                    f"The variant has its own {_NAMES[field]}: say it in {texts.locale} too."
                )
    if translations and (message or any(_given(own) for own in variant.languages)):
        message["translations"] = translations
    percent = _percent(variant.percent, f"variants.{n}.percent", faults)
    return {"name": arm_name(variant.name, n), "percent": percent, **({"message": message} if message else {})}


def _percent(text: str, field: str, faults: Faults) -> Decimal:
    try:
        percent = Decimal(text.rstrip("% ").replace(",", "."))  # not float: 33.3 must stay 33.3 in the batch file
    except InvalidOperation:
        faults[field] = "A percentage, such as 45 or 12.5."
        return Decimal(0)
    return percent


def _time_faults(campaign: Campaign | None, now: datetime, faults: Faults) -> None:
    if campaign is not None and campaign.not_before is not None and campaign.not_before <= now:
        faults.setdefault("start", "This time has passed. Leave it empty to send as soon as it is approved.")
    if campaign is not None and campaign.abort_after is not None and campaign.abort_after <= now:
        faults.setdefault("latest", "This time has passed.")
    elif campaign is not None and ends_before_the_winner(campaign, campaign.not_before or now):
        faults.setdefault("latest", _PLAINER[ENDS_BEFORE_THE_WINNER])


# ------------------------------------------------------------------------------------------------ faults by field


def field_of(path: str, form: Form) -> str:
    """The form's field for a path in the campaign (`campaign.variants[0].message.title`)."""
    path = path.removeprefix("campaign.")
    path = re.sub(r"^variants\[(\d+)\]", r"variants.\1", path)
    direct = {
        "id": "name",
        "not_before": "start",
        "abort_after": "latest",
        "message": "title",
        "variants": "control_percent",
        "goal": "goal",
        "goal.name": "goal",
        "goal.window_h": "goal_window_h",
        "goal.smallest_lift_percent": "goal_lift_percent",
        "winner": "test_percent",
        "winner.test_percent": "test_percent",
        "winner.decide_after_h": "decide_after_h",
        "winner.decide_by_h": "decide_by_h",
        "winner.otherwise": "otherwise",
    }
    if path.startswith("caps"):
        return "caps"
    if path in TIME_FIELDS:
        return TIME_FIELDS[path]
    if path in direct:
        return direct[path]
    # The rest are texts, in a variant or not, in a translation or not: the form's paths have the same order of names.
    prefix = ""
    if match := re.match(r"variants\.\d+\.", path):
        prefix, path = match[0], path[match.end() :]
    if path == "message":
        return f"{prefix}title"
    path = path.removeprefix("message.")
    if path.startswith("translations."):
        return prefix + _translated(path.removeprefix("translations."), form)
    return prefix + path


def _translated(path: str, form: Form) -> str:
    """The form's field for a path within `translations`: `de.title`."""
    for n, texts in enumerate(form.languages):
        # Compared as a whole: what was typed as a locale may hold the dot that separates it from the field.
        for field in ("", *(f".{name}" for name in TEXTS)):
            if path == texts.locale + field:
                return f"languages.{n}{field or '.locale'}"
    return "languages.0.locale"


_PLAINER = {
    "neither title nor body": "Say something: a title, a text, or both.",
    ENDS_BEFORE_THE_WINNER: "This is over before the winner is decided: the others would get nothing.",
    "not later than not_before: nothing would be sent": "This must be later than the time in “Not before”.",
    "not a name that an arm can have": "Give the variant a short name.",
    "`control` is reserved": "The control group has this name: choose another one.",
    "without a goal nothing says what wins": "Choose a goal: without one nothing says what wins.",
    "one arm: there is nothing to decide": "There is nothing to decide: add variants, or a control group.",
    "earlier than decide_after_h": "Not earlier than the hour of the decision.",
    "beside local_time": "Not together with each user's own time: leave one of the two out.",
    "the same as from": "The same as the beginning: choose another time, or no quiet hours.",
    "no language": "Choose a language by its code, such as de, pt-BR or zh-Hant.",
}
"""The form's own words for faults whose words are made for authors of batch files."""


def _in_words(fault: Fault) -> str:
    """A fault as a sentence for requesters."""
    if fault.problem in _PLAINER:
        return _PLAINER[fault.problem]
    text, mend = (words.replace("control_percent", "control group") for words in (fault.problem, fault.mend))
    sentence = text[:1].upper() + text[1:] + (f" ({mend})" if mend else "")
    return sentence if text.endswith(".") else f"{sentence}."
