"""The pages: Jinja2 templates, one stylesheet, one small script."""

from datetime import UTC, datetime
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from approval.audience import in_words as duration_in_words
from approval.hidden_characters import marked, marked_text
from approval.moments import day_words, occurrence_words, starting_words
from approval.parameter_words import choices, hint, label
from approval.reasons import (
    decision_in_words,
    lane_reason,
    left_out_in_words,
    reason_in_words,
    run_reason,
    without_commands,
)
from approval.request import Step
from approval.request import in_words as state_in_words
from approval.rule_words import caps_words, quiet_words
from approval.user_times import own_clock_words
from approval.without_user import without_user
from notifier.model.audience_counts import Counts
from notifier.model.campaign import CONTROL, DEFAULT_ARM
from notifier.model.caps import NO_DEFAULTS, CapDefaults, in_red
from notifier.model.mailbox import is_same_person

_FOLDER = Path(__file__).parent
STATIC = {
    "style.css": "text/css; charset=utf-8",
    "composer.css": "text/css; charset=utf-8",
    "campaign.css": "text/css; charset=utf-8",
    "decision.css": "text/css; charset=utf-8",
    "script.js": "text/javascript; charset=utf-8",
    "decision.js": "text/javascript; charset=utf-8",
    "composer.js": "text/javascript; charset=utf-8",
}


class AppShown(msgspec.Struct, frozen=True):
    """The app that the pushes come from: its name and icon, on the phones and at the top of each page."""

    name: str = ""
    icon_url: str = ""

    @property
    def shown(self) -> str:
        """Its name on a phone."""
        return self.name or "Your app"


class Pages:
    """Renders templates. Everything that is put into HTML is escaped.

    Args:
        cap_defaults: the stack's caps: approvers see what is looser.
        app: the app that the pushes come from, as its users know it.
    """

    def __init__(self, cap_defaults: CapDefaults = NO_DEFAULTS, app: AppShown = AppShown()) -> None:  # noqa: B008
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            # Mails as text must not be escaped: their templates end with .txt.
            autoescape=select_autoescape(enabled_extensions=("html",), default=False),
            undefined=StrictUndefined,  # a misspelt name fails in a test instead of showing nothing
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "time": time_tag,
            "iso_time": iso_tag,
            "occurrence": occurrence_words,
            "day": day_words,
            "starting": starting_words,
            "became": became,
            "utc": utc,
            "number": number,
            "duration": duration_in_words,
            "state": state_in_words,
            "step": step_in_words,
            "run_status": run_status,
            "arm": arm,
            "marked": marked,
            "reason": reason_in_words,
            "left_out": left_out_in_words,
            "decision": decision_in_words,
            "plain": without_commands,
            "run_reason": run_reason,
            "lane_reason": lane_reason,
            "marked_text": marked_text,
            "without_user": without_user,
            "percent": percent,
            "words": words,
            "of": of,
            "places": places,
            "choices": choices,
            "parameter_label": label,
            "parameter_hint": hint,
            "own_clock": own_clock_words,
            "in_red": partial(in_red, defaults=cap_defaults),
            "caps": partial(caps_words, defaults=cap_defaults),
            "quiet": partial(quiet_words, defaults=cap_defaults),
        }
        self._environment.globals["is_same_person"] = is_same_person
        self.files = {name: _as_sent((_FOLDER / name).read_text(encoding="utf-8")) for name in STATIC}
        self._environment.globals["app"] = app
        # A hash of the content in the address: files may be cached for ever, and a new release is loaded at once.
        self._environment.globals["version"] = {
            name: sha256(text.encode()).hexdigest()[:12] for name, text in self.files.items()
        }

    def render(self, template: str, **values: Any) -> str:
        """A template with its values."""
        return self._environment.get_template(template).render(values)


@cache
def pages_of(cap_defaults: CapDefaults, app: AppShown) -> Pages:
    """The pages of a stack, kept: for each of them Jinja2 compiles every template, a tenth of a second of work."""
    return Pages(cap_defaults, app)


def _as_sent(text: str) -> str:
    """A script or stylesheet without what only its authors need: indentation, and lines that are comments alone."""
    # A quarter of the scripts, without a build step. None of them has a text that goes over several lines.
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def utc(ms: int | None) -> str:
    """A time as text: `21 Nov 2026, 14:05 UTC`."""
    if ms is None:
        return ""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def time_tag(ms: int | None) -> Markup:
    """A time in UTC, which the script turns into the reader's own time zone."""
    if ms is None:
        return Markup()
    stamp = datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{}</time>').format(stamp, utc(ms))


def iso_tag(text: str) -> Markup:
    """A time as another function writes it, `2026-11-21T14:05:00+00:00`, for people; anything else as it is."""
    try:
        at = datetime.fromisoformat(text)
        # Rows have no offset: their times are UTC, wherever this runs.
        return time_tag(int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000))
    except ValueError:
        return escape(text)


def number(value: int | None) -> str:
    """A whole number with commas between thousands."""
    return "" if value is None else f"{value:,}"


def of(value: int, thing: str) -> str:
    """A number with its noun: `1 user`, `1,200 users`."""
    return f"{value:,} {thing}" if value == 1 else f"{value:,} {thing}s"


def places(counts: Counts, reason: str) -> str:
    """Where the first rows are that cannot be read for a reason: `row 3 of users.csv`."""
    found = [one for one in counts.invalid_first if one.reason == reason]
    return "; ".join(f"row {one.row:,} of {one.input.rpartition('/')[2]}" for one in found)


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{share * 100:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


_STEPS = {
    Step.COPIED: "copied into this request",
    Step.SUBMITTED: "sent for review",
    Step.TESTED: "tested",
    Step.WRITTEN: "handed over for sending",
    Step.PAUSE: "pause asked for",
    Step.RESUME: "resume asked for",
    Step.CANCEL: "cancel asked for",
    Step.WINNER: "winner decided",
    Step.UNARCHIVED: "taken out of the archive",
    Step.REMINDED: "approvers reminded",
    Step.UNSENT: "mails not sent",
}


def step_in_words(step: str) -> str:
    """A step of the audit trail as the page writes it."""
    return _STEPS[Step(step)] if step in _STEPS else words(step)


_BECAME = {
    "due": "begins",
    "waiting": "waits",
    "preparing": "audience is being made",
    "needs_review": "waits for a decision",
    "run": "sent",
    "empty": "nobody to send to",
    "missed": "missed",
    "skipped": "left out",
    "failed": "failed",
    "expired": "nobody decided in time",
    "rejected": "decided against",
    "on_hold": "not sent: on hold",
}


def became(state: str) -> str:
    """What has become of a schedule's time, as the pages write it."""
    return _BECAME.get(state, words(state))


def run_status(status: str) -> str:
    """A run's status as the page writes it."""
    return "waiting" if status == "resting" else words(status)


def arm(name: str) -> str:
    """An arm as the page writes it: without variants there is one, and it has no name of its own."""
    return {DEFAULT_ARM: "the push", CONTROL: "control group"}.get(name, name)


def words(name: str) -> str:
    """A name of the code without underscores."""
    return str(name).replace("_", " ")
