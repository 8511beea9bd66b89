"""Checks the placeholders of a form against a counted audience: how many users lack each attribute."""

from collections.abc import Iterator
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
_KINDS: tuple[object, ...] = ("1", 1, "2026-01-05", ["x"], {})
"""Values of each kind that an attribute may have, to find one with which a text renders."""


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


def placeholder_faults(form: Form, count: Counts | None) -> Faults:
    """Texts that could not be rendered for some user, by field."""
    faults: Faults = {}
    if count is None:
        return faults
    for place, text in _texts(form):
        if words := _unquoted(text, count):
            faults[place] = f"{words[0]} is no attribute of anybody: did you mean '{words[0]}', in quotes?"
            continue
        for name in sorted(placeholders(text)[1]):
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
    return tuple(warnings_in(count.null_words, count.other_gateway, names))


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
