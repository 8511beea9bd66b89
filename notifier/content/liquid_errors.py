"""Liquid's errors as faults of a text: line, column, and what to write instead."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from liquid.exceptions import LiquidError

from notifier.content.template import AS_IN, BadTemplate

TAGS = frozenset({"if", "unless", "case", "for", "break", "continue", "assign", "capture", "cycle", "comment", "#"})
"""What a text may use: no tag that loads other texts."""
_WITHIN_TAGS = frozenset({"else", "elsif", "when"})
_FAULT = re.compile(r"(?P<kind>unknown filter|unexpected tag|expected tag) (?P<quote>'?)(?P<name>\w+)(?P=quote)")
_INSTEAD = {
    "abort_message": "leave such users out of the audience",
    "connected_content": "put the text itself here: nothing is loaded while sending",
    "content_blocks": "put the text itself here: nothing is loaded while sending",
    "include": "put the text itself here: nothing is loaded while sending",
    "render": "put the text itself here: nothing is loaded while sending",
}
"""Tags of other tools, and what to do without them."""
_FIX_BY_ERROR = {
    "disallowed not operator": "turn it round: {% unless first_name %}Hi{% endunless %}",
    "unknown operator '!'": "turn it round: {% unless first_name %}Hi{% endunless %}",
    "disallowed parentheses": "leave the parentheses out, or put one {% if %} into another",
    "disallowed ternary": "write {% if first_name %}Hi{% else %}Hello{% endif %}",
    "unexpected '?'": "write {% if first_name %}Hi{% else %}Hello{% endif %}",
    "unexpected '+'": "use a filter: {{ points | plus: 1 }}, {{ first_name | append: '!' }}",
    "unexpected '*'": "use a filter: {{ price | times: 2 }}",
    "unexpected '/'": "use a filter: {{ price | divided_by: 2 }}",
    "expected '}}'": "end a placeholder with }} and a tag with %}",
    "expected '%}'": "end a placeholder with }} and a tag with %}",
    "a range must be": "write the numbers: {% for i in (1..3) %}",
}
"""Parts of the parser's messages, and what to write."""
_RESERVED = re.compile(
    r"expected a primitive expression, found (and|contains|cols|else|in|limit|offset|or|reversed|with)$"
)
_SPACED_NAME = re.compile(r"\{\{-?\s*(?P<name>[A-Za-z_]\w*(?: +\w+){1,3})\s*(?:\||-?\}\})")
_LEFT_OPEN = re.compile(r"\{\{[^{}]*(?:%\}|\}(?!\})|$)|\{%[^%{}]*(?:\}|$)")


def bad_template(error: LiquidError, filters: Iterable[str]) -> BadTemplate:
    """An error of Liquid's parser with what to write instead.

    Args:
        filters: the names of all filters, to suggest one.
    """
    problem = _with_position(error)
    found = _FAULT.search(problem)
    kind, name = (found["kind"], found["name"]) if found else ("", "")
    match kind:
        case "unknown filter":
            near = get_close_matches(name, filters, 1, 0.5)
            return BadTemplate(problem, f"perhaps {near[0]}" if near else "filters are Liquid's own, such as default")
        case "unexpected tag" if name in _INSTEAD:
            return BadTemplate(problem, _INSTEAD[name])
        case "unexpected tag" if name.startswith("end") or name in _WITHIN_TAGS:
            return BadTemplate(problem, f"no tag is open here that {{% {name} %}} belongs to")
        case "unexpected tag":
            return BadTemplate(problem, f"tags are {', '.join(sorted(TAGS - {'#'}))}")
        case "expected tag":
            return BadTemplate(problem, f"end it with {{% {name} %}}")
        case _:
            return BadTemplate(problem, _fix_for(problem, error))


def _fix_for(problem: str, error: LiquidError) -> str:
    """What to write if it is one of the usual mistakes; else an example of Liquid."""
    for message, fix in _FIX_BY_ERROR.items():
        if message in problem:
            return fix
    if (found := _RESERVED.search(problem)) is not None:
        return f"{found[1]} is a word of Liquid's own: write {{{{ ['{found[1]}'] }}}} for the attribute"
    source = error.token.source if error.token else ""
    if spaced := _SPACED_NAME.search(source):
        name = spaced["name"]
        return (
            f"write {{{{ {re.sub(r' +', '_', name)} }}}}, or {{{{ ['{name}'] }}}} if the attribute's name has a space"
        )
    if _LEFT_OPEN.search(source):
        return "end a placeholder with }} and a tag with %}"
    return AS_IN


def _with_position(error: LiquidError) -> str:
    try:
        position = error.context()
    except ValueError:  # raised for an error at the very end of the text
        position = None
    return f"line {position[0]}, column {position[1] + 1}: {error.message}" if position else str(error.message)
