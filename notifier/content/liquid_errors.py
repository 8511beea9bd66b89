"""Liquid's errors as faults of a text: where, what is wrong in plain words, and what to write instead.

The parser's own words never reach a person: "expected word, found end of expression" helps nobody who did not write it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from liquid.exceptions import LiquidError

from notifier.content.template import AS_IN, BadTemplate

TAGS = frozenset({"if", "unless", "case", "for", "break", "continue", "assign", "capture", "cycle", "comment", "#"})
"""What a text may use: no tag that loads other texts."""
_WITHIN_TAGS = frozenset({"else", "elsif", "when"})
_BLOCKS = frozenset({"if", "unless", "case", "for", "capture", "comment", "raw"})
"""Tags that have an end."""
_VERBATIM = frozenset({"comment", "raw"})
"""Those in which no other tag counts."""
_INSTEAD = {
    "abort_message": "leave such users out of the audience",
    "connected_content": "put the text itself here: nothing is loaded while sending",
    "content_blocks": "put the text itself here: nothing is loaded while sending",
    "include": "put the text itself here: nothing is loaded while sending",
    "render": "put the text itself here: nothing is loaded while sending",
}
"""Tags of other tools, and what to do without them."""
_TURN_ROUND = "turn it round: {% unless first_name %}Hi{% endunless %}"
_EITHER_OR = "write {% if first_name %}Hi{% else %}Hello{% endif %}"
_ENDS = "end a placeholder with }} and a tag with %}"
_FILTER = "as in {{ first_name | default: 'there' }}"
_LOOP = "as in {% for item in items limit: 3 %}{{ item }}{% endfor %}"
_CONDITION = "as in {% if points > 100 %}gold{% endif %}"
_PROBLEMS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), problem, mend)
    for pattern, problem, mend in (
        ("unknown operator '!'|disallowed not", "a condition cannot be turned round by a word or a sign", _TURN_ROUND),
        ("unknown operator '(.+)'", "{0} is no comparison", ""),
        (
            "disallowed parentheses",
            "a condition has no parentheses",
            "leave the parentheses out, or put one {% if %} into another",
        ),
        (r"disallowed ternary|unexpected '\?'", "a placeholder has no choice between two texts", _EITHER_OR),
        (
            r"unexpected '\+'",
            "a placeholder does not add by +",
            "use a filter: {{ points | plus: 1 }}, {{ first_name | append: '!' }}",
        ),
        (r"unexpected '\*'", "a placeholder does not multiply by *", "use a filter: {{ price | times: 2 }}"),
        ("unexpected '/'", "a placeholder does not divide by /", "use a filter: {{ price | divided_by: 2 }}"),
        ("unexpected '-'", "a placeholder does not subtract by -", "use a filter: {{ points | minus: 1 }}"),
        ("unexpected [\"'](['\"])[\"']", "a text in quotes is not closed", "close it with {0}, as it begins"),
        ("unexpected [\"'](.+)[\"']$", "{0} cannot be written here", ""),
        ("expected '(?:}}|%})'|missing tag name or closing delimiter", "a placeholder or a tag is not closed", _ENDS),
        (
            "a range must be",
            "a range must be of numbers, at most 1000 of them",
            "write the numbers: {% for i in (1..3) %}",
        ),
        ("range literal length", "the range is too long", "write the numbers: {% for i in (1..3) %}"),
        (
            "expected a primitive expression, found (and|contains|cols|else|in|limit|offset|or|reversed|with)$",
            "{0} is a word of Liquid's own",
            "{0} is a word of Liquid's own: write {{{{ ['{0}'] }}}} for the attribute",
        ),
        ("expected a primitive expression, found end", "a value is missing at the end", ""),
        ("expected a primitive expression, found (.+)", "a value is missing before {0}", ""),
        ("expected word, found", "the name of a filter is missing after |", _FILTER),
        ("expected a filter|expected an argument name", "a filter is not written completely", _FILTER),
        (
            "comma separated list",
            "a comma is missing between two values of a filter",
            "as in {{{{ first_name | replace: 'a', 'b' }}}}",
        ),
        ("expected '='", "assign needs a name, = and a value", "as in {% assign name = first_name %}"),
        ("expected in, found", "the word in is missing", _LOOP),
        (r"expected '(?:\)|\.\.)'", "a range of numbers is not complete", "write the numbers: {% for i in (1..3) %}"),
        (
            "'reversed', 'offset' or 'limit'|one of \\('colon'",
            "a loop knows only limit: 3, offset: 3 and reversed",
            _LOOP,
        ),
        ("unexpected token (.+)", "{0} cannot be written here", ""),
        (r"path segment|expected '\]'", "square brackets are empty, or not closed", "as in {{{{ ['first name'] }}}}"),
        (
            "found a path|expected a name|invalid identifier",
            "the name here must be one word, without a dot",
            "as in {% assign name = first_name %}",
        ),
        ("expected an identifier", "a name is missing after the dot", ""),
        (
            "expected end of expression, found (.+)|expected an infix expression, found (.+)",
            "{0} cannot be written here",
            "",
        ),
        ("inline comment", "every line of a comment begins with #", "as in {% # a comment %}"),
        ("nesting limit", "nested too deeply", "put fewer tags into each other"),
        ("argument|positional|parameter", "a filter has the wrong number of values", _FILTER),
    )
)
"""Parts of the parser's messages, what they mean, and what to write; "" for an example of Liquid."""
_KINDS: Mapping[str, str] = {
    "word": "a word", "string": "a text in quotes", "integer": "a number", "float": "a number", "pipe": "|",
    "dpipe": "||", "dot": ".", "rparen": ")", "lparen": "(", "rbracket": "]", "lbracket": "[", "colon": ":",
    "comma": ",", "range": "..", "eq": "==", "ne": "!=", "ltgt": "<>", "lt": "<", "gt": ">", "le": "<=", "ge": ">=",
    "assign": "=", "equals": "=", "negative": "-", "end of expression": "the end",
}  # fmt: skip
"""The parser's names for what it has read, as it is written."""
_NOT_CLOSED = re.compile("comment tag was never closed|tag .*end of expression|unexpected tag 'raw'")
_EMPTY_PIECE = re.compile(r"\{\{-?\s*-?\}\}|\{%-?\s*-?%\}")
_BARE_TAG = re.compile(r"(?P<name>\w+)\s*-?%\}")
_COMPLETE = {
    "for": _LOOP,
    "assign": "as in {% assign name = first_name %}",
    "capture": "as in {% capture name %}{{ first_name }}{% endcapture %}",
    "case": "as in {% case plan %}{% when 'pro' %}Hi{% endcase %}",
    "cycle": "as in {% cycle 'a', 'b' %}",
}
"""Tags with what they need; the others need a condition."""
_SPACED_NAME = re.compile(r"\{\{-?\s*(?P<name>[A-Za-z_]\w*(?: +\w+){1,3})\s*(?:\||-?\}\})")
_LEFT_OPEN = re.compile(r"\{\{[^{}]*(?:%\}|\}(?!\})|$)|\{%[^%{}]*(?:\}|$)")
_PIECE = re.compile(r"\{\{.*?\}\}|\{%-?\s*(?P<name>\w*).*?%\}", re.DOTALL)
"""A placeholder or a tag."""


def bad_template(
    source: str, error: LiquidError, filters: Iterable[str], message_of: Callable[[str], str]
) -> BadTemplate:
    """An error of Liquid's parser in plain words, with what to write instead.

    Args:
        filters: the names of all filters, to suggest one.
        message_of: the parser's message on another text; "" where it has none.
    """
    message = str(error.message)
    at = error.token.start_index if error.token is not None else -1
    at = at if 0 <= at < len(source) else -1
    if _NOT_CLOSED.search(message):
        return _not_closed(source)
    if found := re.match(r"unexpected tag '(\w+)'", message):
        return _at(source, at, *_tag(found[1], _open_tags(source[:at])))
    if found := re.match(r"unknown filter '(.+)'", message):
        near = get_close_matches(found[1], filters, 1, 0.5)
        mend = f"perhaps {near[0]}" if near else "filters are Liquid's own, such as default"
        return _at(source, at, f"there is no filter {found[1]}", mend)
    at = at if at >= 0 else _where(source, message, message_of)
    problem, mend = _empty(message, source[at:] if at >= 0 else "") or _in_words(message, source)
    return _at(source, at, problem, mend)


def _tag(name: str, open_tags: list[tuple[str, int]]) -> tuple[str, str]:
    """Of a tag that cannot be where it is: what is wrong, and what to do."""
    written = f"{{% {name} %}}"
    if name in _INSTEAD:
        return f"{written} cannot be used", _INSTEAD[name]
    if not name.startswith("end") and name not in _WITHIN_TAGS:
        return f"{written} cannot be used", f"tags are {', '.join(sorted(TAGS - {'#'}))}"
    if open_tags:
        inner = open_tags[-1][0]
        return f"{written} comes while {{% {inner} %}} is still open", f"end that first, with {{% end{inner} %}}"
    return f"{written} belongs to nothing", f"no tag is open here that {written} belongs to"


def _not_closed(source: str) -> BadTemplate:
    """The fault of a tag without its end; the innermost one is to be ended first."""
    open_tags = _open_tags(source)
    name, at = open_tags[-1] if open_tags else ("if", -1)
    return _at(source, at, f"{{% {name} %}} is not closed", f"end it with {{% end{name} %}}")


def _in_words(message: str, source: str) -> tuple[str, str]:
    """What is wrong, and what to write if it is one of the usual mistakes; else an example of Liquid."""
    for pattern, problem, mend in _PROBLEMS:
        if (found := pattern.search(message)) is None:
            continue
        what = next((part for part in found.groups() if part), "")
        # The parser quotes and escapes what it has read, but for a quote alone.
        what = what.strip("'\"").replace(r"\\", "\\") if len(what) > 1 else what
        what = _KINDS.get(what, what)
        return problem.format(what), mend.format(what) if "{0}" in mend or "{{{{" in mend else mend or _by_text(source)
    return "something here is not Liquid", _by_text(source)


def _empty(message: str, rest: str) -> tuple[str, str] | None:
    """Of a placeholder or tag without what it needs, at the beginning of `rest`: what is wrong, and what to write."""
    if _EMPTY_PIECE.match(rest):
        return "there is nothing between the braces", AS_IN
    if message == "missing expression" and (bare := _BARE_TAG.match(rest)):
        return f"{{% {bare['name']} %}} is not complete", _COMPLETE.get(bare["name"], _CONDITION)
    return None


def _by_text(source: str) -> str:
    """What to write where the message does not say it, by what the text looks like."""
    if spaced := _SPACED_NAME.search(source):
        name = spaced["name"]
        return (
            f"write {{{{ {re.sub(r' +', '_', name)} }}}}, or {{{{ ['{name}'] }}}} if the attribute's name has a space"
        )
    return _ENDS if _LEFT_OPEN.search(source) else AS_IN


def _open_tags(source: str) -> list[tuple[str, int]]:
    """The tags that are open at the end of a text, and where each begins; the innermost is the last."""
    found: list[tuple[str, int]] = []
    for piece in _PIECE.finditer(source):
        name, inner = piece["name"], found[-1][0] if found else ""
        if inner and name == f"end{inner}":
            found.pop()
        elif name in _BLOCKS and inner not in _VERBATIM:
            found.append((name, piece.start()))
    return found


def _where(source: str, message: str, message_of: Callable[[str], str]) -> int:
    """Where the placeholder or tag begins that has an error for which the parser gives no place; -1 if none has it."""
    for piece in _PIECE.finditer(source):
        name = piece["name"]
        # Each alone, but with what belongs to it.
        if name in _BLOCKS:
            alone = f"{piece[0]}{{% end{name} %}}"
        elif name in _WITHIN_TAGS:
            alone = (
                f"{{% case x %}}{piece[0]}{{% endcase %}}" if name == "when" else f"{{% if x %}}{piece[0]}{{% endif %}}"
            )
        else:
            alone = piece[0]
        if message_of(alone) == message:
            return piece.start()
    return -1


def _at(source: str, at: int, problem: str, mend: str) -> BadTemplate:
    if at < 0:
        return BadTemplate(problem, mend)
    line, column = source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)
    return BadTemplate(f"line {line}, column {column}: {problem}", mend)
