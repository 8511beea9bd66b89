"""A text as it reads when it is filled in for nobody in particular: with its defaults, and names for what has none."""

import re
from collections.abc import Set

from approval.placeholders import placeholders
from notifier.content.compile import compiled
from notifier.content.render import USER_ID
from notifier.content.template import BadTemplate, has_placeholder
from notifier.model.characters import is_blank
from notifier.model.spelling import BrokenRecord

_PRINTED = re.compile(r"\{\{.*?(?:\}\}|\Z)", re.DOTALL)
_TAG = re.compile(r"\{%.*?(?:%\}|\Z)", re.DOTALL)
"""Also one that is cut off at the end: an earlier release kept the beginnings of texts as they were written."""
_FILTERED = re.compile(
    r"(?P<begin>(?P<assign>\{%-?\s*assign\s+[\w-]+\s*=\s*)|\{\{-?\s*)"
    r"(?P<name>[A-Za-z_][\w-]*)\s*\|(?P<filters>.*?)(?=(?(assign)-?%\}|-?\}\}))",
    re.DOTALL,
)
"""A name with filters, printed or assigned, up to the end of its placeholder."""
_WORD = re.compile(r"[A-Za-z_][\w-]*")


def without_user(text: str) -> str:
    """The text with its defaults; an attribute without one is named in brackets: `Hi [first name]`.

    Where nothing would be left of it, what is certain of it: `…` for what is printed, and what is within conditions.
    """
    if not has_placeholder(text):
        return text
    try:
        names = {USER_ID, *placeholders(text)[1]}
        shown = compiled(_without_filters(text, names)).render({name: _named(name) for name in names})
    except (BadTemplate, BrokenRecord):
        # A draft with a fault, or a text that calculates with an attribute.
        shown = ""
    return shown if not is_blank(shown) else _TAG.sub("", _PRINTED.sub("…", text))


def _without_filters(text: str, names: Set[str]) -> str:
    """The text with a name in place of what its filters would make of an attribute that has no value."""

    def named(found: re.Match[str]) -> str:
        if names.isdisjoint((found["name"], *_WORD.findall(found["filters"]))):
            return found[0]
        return f"{found['begin']}'{_named(found['name'])}'"

    return _FILTERED.sub(named, text)


def _named(name: str) -> str:
    return f"[{name.replace('_', ' ')}]"
