"""A text as it reads when it is filled in for nobody in particular: with its defaults, and names for what has none."""

import re

from approval.placeholders import placeholders
from notifier.content.compile import compiled
from notifier.content.render import USER_ID
from notifier.content.template import BadTemplate, has_placeholder
from notifier.model.spelling import BrokenRecord

_PRINTED = re.compile(r"\{\{.*?(?:\}\}|\Z)", re.DOTALL)
_TAG = re.compile(r"\{%.*?(?:%\}|\Z)", re.DOTALL)
"""Also one that is cut off at the end: an earlier release kept the beginnings of texts as they were written."""


def without_user(text: str) -> str:
    """The text with its defaults; an attribute without one is named in brackets: `Hi [first name]`."""
    if not has_placeholder(text):
        return text
    try:
        template = compiled(text)
        named = {name: f"[{name.replace('_', ' ')}]" for name in (USER_ID, *placeholders(text)[1])}
        return template.render(named)
    except (BadTemplate, BrokenRecord):
        # A draft with a fault, or a text that calculates with an attribute: what is certain of it.
        return _TAG.sub("", _PRINTED.sub("…", text))
