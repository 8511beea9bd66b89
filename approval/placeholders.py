"""Checks the placeholders of a form against a counted audience: how many users lack each attribute."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache

import msgspec

from approval.form import TEXTS, Faults, Form, flat
from notifier.content.compile import compiled
from notifier.content.render import USER_ID
from notifier.content.template import BadTemplate
from notifier.content.text_checks import sent_as_it_is, unquoted_in
from notifier.model.audience_counts import MAX_NAME_CHARS, Counts
from notifier.model.spelling import BrokenRecord
from notifier.model.suspicious_values import warnings_in

_MAX_TRIES = 200
_SIMILARITY = 0.75
"""Of two names, for difflib: `frist_name` is near `first_name`, `last_name` is not."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_KINDS: tuple[object, ...] = ("1", 1, "2026-01-05", ["x"], {})
"""Values of each kind that an attribute may have, to find one with which a text renders."""


class Slip(msgspec.Struct, frozen=True):
    """A name that was written, that nobody in the audience has, and the one that was probably meant."""

    written: str
    name: str


class Chip(msgspec.Struct, frozen=True):
    """An attribute of the audience, to put into a text.

    Args:
        lacking: users without it.
        examples: real values, of attributes whose values may be shown.
        insert: what is put into the text: with a default where a user lacks it.
    """

    name: str
    lacking: int
    examples: tuple[str, ...]
    insert: str


class Gap(msgspec.Struct, frozen=True):
    """A placeholder that some users have no attribute for. `is_needed`: a text has no default for it."""

    name: str
    missing: int
    users: int
    is_needed: bool


def gaps(form: Form, count: Counts | None) -> tuple[Gap, ...]:
    """Every placeholder that some user has no attribute for, those without a default first."""
    found: dict[str, bool] = {}
    for _, text in _texts(form):
        names, needed = placeholders(text)
        for name in names:
            found[name] = found.get(name, False) or name in needed
    seen = [
        Gap(name, missing, count.users, is_needed)
        for name, is_needed in found.items()
        if count is not None and (missing := missing_for(name, count))
    ]
    return tuple(sorted(seen, key=lambda gap: (not gap.is_needed, -gap.missing, gap.name)))


def chips(count: Counts | None) -> tuple[Chip, ...]:
    """The audience's attributes, those that most users have first; none before it is counted."""
    if count is None:
        return ()
    found = sorted(count.attributes.items(), key=lambda one: (one[1].lacking, one[0]))
    return tuple(
        Chip(name, about.lacking, about.examples, inserted(name, about.lacking))
        for name, about in found
        # Others cannot be written as a placeholder, and nobody's attribute says nothing.
        if _NAME.fullmatch(name) and about.lacking < count.users
    )


def inserted(name: str, lacking: int) -> str:
    """A placeholder of an attribute, with a default where it is needed: `there` stands well for a name, else empty."""
    if not lacking:
        return f"{{{{ {name} }}}}"
    return f"{{{{ {name} | default: '{'there' if 'name' in name.lower() else ''}' }}}}"


def meant(name: str, count: Counts) -> Slip | None:
    """What was meant by a name that nobody has; None where at least one user has it, or nothing is like it."""
    if name == USER_ID or not count.are_all_attributes_named or name[:MAX_NAME_CHARS] in count.attributes:
        return None
    near = get_close_matches(name, count.attributes, n=1, cutoff=_SIMILARITY)
    return Slip(name, near[0]) if near else None


def slips(form: Form, count: Counts | None) -> tuple[Slip, ...]:
    """Names in the form's texts that nobody has, with those that were probably meant."""
    if count is None:
        return ()
    names = sorted(frozenset[str]().union(*(placeholders(text)[0] for _, text in _texts(form))))
    return tuple(slip for slip in (meant(name, count) for name in names) if slip is not None)


def placeholder_faults(form: Form, count: Counts | None) -> Faults:
    """Texts that could not be rendered for some user, by field."""
    faults: Faults = {}
    if count is None:
        return faults
    for place, text in _texts(form):
        if words := _unquoted(text, count):
            faults[place] = f"{words[0]} is no attribute of anybody: did you mean '{words[0]}', in quotes?"
            continue
        used, needed = placeholders(text)
        # Also with a default: whoever has slipped in the name would have everybody read the default.
        if slip := next((slip for slip in (meant(name, count) for name in sorted(used)) if slip), None):
            faults[place] = f"Nobody has {slip.written}: did you mean {slip.name}?"
            continue
        for name in sorted(needed):
            if missing := missing_for(name, count):
                faults[place] = (
                    f"{missing:,} of {count.users:,} users have no {name}: they would get nothing. "
                    f"Give it a default: {{{{ {name} | default: '…' }}}}"
                )
                break
    return faults


def lookalike_warnings(form: Form, count: Counts | None) -> tuple[str, ...]:
    """What looks like a placeholder of an attribute in the audience, but would be sent literally."""
    if count is None:
        return ()
    return tuple(dict.fromkeys(said for _, text in _texts(form) for said in sent_as_it_is(text, count.attributes)))


def _unquoted(text: str, count: Counts) -> list[str]:
    """Words that should be in quotes. Empty before the count, and with more attributes than the count keeps apart."""
    if not count.are_all_attributes_named or not count.users:
        return []
    try:
        return sorted(unquoted_in(text, count.attributes))
    except BadTemplate:
        return []


def audience_warnings(form: Form, count: Counts | None) -> tuple[str, ...]:
    """Words for no value in what the texts print, and tokens that look like the other gateway's."""
    if count is None:
        return ()
    names = frozenset[str]().union(*(placeholders(text)[0] for _, text in _texts(form)))
    return tuple(warnings_in(count.null_words, count.other_gateway, names, count.invisible_ends))


def missing_for(name: str, count: Counts) -> int:
    """Users without the attribute. 0 where the count does not know it, because the audience has too many attributes."""
    known = count.attributes.get(name[:MAX_NAME_CHARS])
    if known is not None:
        return known.lacking
    return 0 if name == USER_ID or not count.are_all_attributes_named else count.users


@lru_cache(maxsize=500)
def placeholders(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The attributes that a text uses, and those without which it cannot be rendered."""
    try:
        template = compiled(text)
    except BadTemplate:
        return frozenset(), frozenset()
    if template.names is not None:
        return template.names, template.required
    # Rendered for a user without attributes, it names the first one that it fails for; with that one given, the next.
    needed: dict[str, object] = {}
    tried: dict[str, int] = {}
    for _ in range(_MAX_TRIES):
        try:
            template.render({USER_ID: "u", **needed})
        except BrokenRecord as error:
            name = next((name for name in template.roots if f"`{name}`" in str(error)), None)
            # A value that was given and does not fit may have to be of another kind: try the next.
            if name is None or tried.get(name, 0) >= len(_KINDS):
                break
            needed[name] = _KINDS[tried.get(name, 0)]
            tried[name] = tried.get(name, 0) + 1
        else:
            break
    return template.roots, frozenset(needed)


def _texts(form: Form) -> Iterator[tuple[str, str]]:
    return ((place, text) for place, text in flat(form) if text and place.rpartition(".")[2] in TEXTS)
