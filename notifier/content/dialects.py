"""Rewrites texts of other tools and word processors as Liquid, so that an error message can show what to write.

Placeholders are Liquid. Those of Braze, Pinpoint, Handlebars and Jinja look like it, and a word processor curls the
quotes. A text in such a dialect is refused, never sent as rewritten. Only texts that Liquid refuses are rewritten, and
the few that Liquid compiles to something else than their author meant (`misread`).
"""

import html
import re
from collections.abc import Callable

MAX_EXCERPT_CHARS = 300
"""A longer rewritten text is not quoted in a message."""

_SPACES = "\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NO_WIDTH = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_ODD = re.compile(f"[{_SPACES}{_NO_WIDTH}]")
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
TAG = re.compile(r"\{\{(?:\$\{[^{}]*\}|[^{}])*\}\}|\{%(?:[^%]|%(?!\}))*%\}", re.DOTALL)
"""A placeholder or a tag; Braze's `${…}` may be inside."""
_PINPOINT = re.compile(
    r"(?<![\w.'\"])(?:User\.UserAttributes|Attributes|attributes|Metrics|Demographic|Location)\.([A-Za-z_][\w-]*)"
    r"(?:\.?\[\d+\])?"
)
_PINPOINT_ID = re.compile(r"(?<![\w.'\"])User\.UserId\b")
_BRAZE = re.compile(r"(?:\b\w+\.)?\$\{\s*([^{}]*?)\s*\}")
_MOUSTACHE = re.compile(r"\{\{\{?\s*(?P<mark>[#^/!&>]?)(?P<code>[^{}]*?)\s*\}?\}\}", re.DOTALL)
_SMART = str.maketrans("‘’‚‛′´`“”„‟″«»‹›", "'''''''\"\"\"\"\"\"\"''")
_FILTERS = {
    "upper": "upcase", "uppercase": "upcase", "lower": "downcase", "lowercase": "downcase", "title": "capitalize",
    "capfirst": "capitalize", "trim": "strip", "length": "size", "count": "size", "fallback": "default",
    "default_value": "default", "otherwise": "default", "d": "default",
}  # fmt: skip


def tidied(source: str) -> str:
    """The text with plain spaces in its tags: a no-break space becomes a space, characters without width are removed.

    Texts in quotes keep theirs, because they are sent.
    """
    if source.isascii() or _ODD.search(source) is None:
        return source
    return TAG.sub(lambda tag: _outside_quotes(tag[0], _plain_spaces), source)


def _plain_spaces(code: str) -> str:
    return re.sub(f"[{_SPACES}]", " ", re.sub(f"[{_NO_WIDTH}]", "", code))


def _outside_quotes(code: str, change: Callable[[str], str]) -> str:
    out, at = [], 0
    for quoted in _QUOTED.finditer(code):
        out += [change(code[at : quoted.start()]), quoted[0]]
        at = quoted.end()
    return "".join([*out, change(code[at:])])


# ------------------------------------------------------------------------------------------------ rewriting


_MISREAD = re.compile(
    r"(?<![\w.'\"])(?:User\.UserAttributes\.|User\.UserId\b|[Aa]ttributes\.[A-Za-z_])|^\{%-?\s*else\s+\w"
)
"""Pinpoint's names of attributes; `attributes.x`, as the batch file nests them; and `{% else if x %}`."""


def misread(source: str) -> bool:
    """Whether Liquid compiles the text to something that its author cannot have meant."""
    return any(_MISREAD.search(_QUOTED.sub("''", tag[0])) for tag in TAG.finditer(source))


def in_liquid(source: str) -> tuple[str, str, int]:
    """The text in Liquid, the first thing that was rewritten, and its offset. ("", "", 0) if no rewrite applies."""
    text, problem, at = source, "", 0
    for name, rewrite in _REWRITES:
        changed = rewrite(text)
        if changed != text:
            if not problem:
                problem = name
                # The offset of the first change alone: later rewrites work on a text that has moved already.
                at = next((n for n, (a, b) in enumerate(zip(text, changed, strict=False)) if a != b), 0)
            text = changed
    return (text, problem, at) if problem else ("", "", 0)


def changed_part(source: str, rewritten: str) -> str:
    """The part of a rewritten text from its first changed tag to the last; "" if it is too long for a message."""
    before, after = list(TAG.finditer(source)), list(TAG.finditer(rewritten))
    kept = {tag[0] for tag in before}
    changed = [n for n, tag in enumerate(after) if tag[0] not in kept]
    part = rewritten[after[changed[0]].start() : after[changed[-1]].end()] if changed else rewritten
    return part if len(part) <= MAX_EXCERPT_CHARS else ""


def _in_tags(change: Callable[[str], str]) -> Callable[[str], str]:
    """A rewrite of the code within tags; texts in quotes stay as they are."""
    return lambda text: TAG.sub(lambda tag: _outside_quotes(tag[0], change), text)


def _braze(text: str) -> str:
    def name(match: re.Match[str]) -> str:
        return match[1] if re.fullmatch(r"[A-Za-z_][\w-]*", match[1]) else f"['{match[1]}']"

    # Braze allows placeholders within tags: {% if {{${x}}} == 1 %}.
    text = re.sub(r"(\{%[^%{}]*)\{\{\s*((?:\$\{[^{}]*\}|[^{}])*?)\s*\}\}([^%{}]*%\})", r"\1\2\3", text)
    return TAG.sub(lambda tag: _spaced(_BRAZE.sub(name, tag[0])) if "${" in tag[0] else tag[0], text)


def _pinpoint(text: str) -> str:
    def bare(tag: re.Match[str]) -> str:
        changed = _outside_quotes(tag[0], lambda code: _PINPOINT_ID.sub("user_id", _PINPOINT.sub(r"\1", code)))
        return _spaced(changed) if changed != tag[0] else changed

    return TAG.sub(bare, text)


def _spaced(tag: str) -> str:
    """A tag with spaces inside its braces, as messages quote it."""
    if tag[2:3] in "#/^!&>-":
        return tag
    return f"{tag[:2]} {tag[2:-2].strip()} {tag[-2:]}"


def _handlebars(text: str) -> str:
    """Handlebars and Mustache. A stack of open blocks, because Liquid's end tag depends on what `{{/x}}` closes."""
    if not re.search(r"\{\{\s*[#^/!&>]|\{\{\{", text):
        return text
    opened: list[str] = []

    def tag(match: re.Match[str]) -> str:
        return _liquid_of(match["mark"], match["code"].strip(), opened)

    return _MOUSTACHE.sub(tag, text)


def _liquid_of(mark: str, code: str, opened: list[str]) -> str:
    keyword, _, rest = code.partition(" ")
    if mark == "#":
        opened.append({"unless": "unless", "each": "for"}.get(keyword, "if"))
        if keyword == "each":
            return f"{{% for item in {rest.strip()} %}}"
        # {{#name}} without a keyword is Mustache's condition.
        # `with` becomes a condition: Liquid has nothing that makes names relative to an object.
        return f"{{% {opened[-1]} {rest.strip() if keyword in ('if', 'unless', 'with') else code} %}}"
    if mark == "^":
        opened.append("unless")
        return f"{{% unless {code} %}}"
    if mark == "/":
        return f"{{% end{opened.pop() if opened else 'if'} %}}"
    if mark in ("!", ">"):
        return ""
    if keyword == "else":
        return f"{{% elsif {rest.strip().removeprefix('if ')} %}}" if rest else "{% else %}"
    return f"{{{{ {re.sub(r'^(this|[.])(?=[.]|$)', 'item', code)} }}}}"


def _filter_calls(text: str) -> str:
    """`default("x")` and `upper`, as Jinja and Django write them; a filter without its colon or its bar."""

    def changed(tag: re.Match[str]) -> str:
        code = tag[0]
        code = re.sub(
            r"\|\s*(\w+)\s*\(([^()]*)\)", lambda m: f"| {m[1]}: {m[2]}" if m[2].strip() else f"| {m[1]}", code
        )
        code = re.sub(r"\|\s*(\w+)(?=\s*[:|}\-])", lambda m: f"| {_FILTERS.get(m[1], m[1])}", code)
        code = re.sub(r"\|\s*(\w+)\s*(?:=\s*)?(?=['\"\d])", r"| \1: ", code)
        if code.startswith("{{"):
            code = re.sub(r"(\w)\s*,?\s+default\s*[:=]\s*", r"\1 | default: ", code)
            code = re.sub(r"^(\{\{-?\s*[\w.]+)\s*(?:\|\||\?\?|\bor\b)\s*(?=['\"\w])", r"\1 | default: ", code)
        return code

    return TAG.sub(changed, text)


def _elsif(code: str) -> str:
    return re.sub(r"^(\{%-?\s*)(?:else\s*if|elif)\b", r"\1elsif", code)


def _endings(code: str) -> str:
    return re.sub(r"^(\{%-?\s*)end[\s_]+(if|for|unless|case|capture|comment)\b", r"\1end\2", code)


def _conditions(text: str) -> str:
    """One `=` in a condition."""

    def changed(tag: re.Match[str]) -> str:
        # On the whole tag: the pieces between its quotes do not all begin with the keyword.
        if not re.match(r"\{%-?\s*(?:if|elsif|unless)\b", tag[0]):
            return tag[0]
        return _outside_quotes(tag[0], lambda code: re.sub(r"(?<![=!<>])=(?![=<>])", "==", code))

    return TAG.sub(changed, text)


def _operators(code: str) -> str:
    for foreign, liquid in (("&&", "and"), ("||", "or"), ("!==", "!="), ("===", "=="), ("=>", ">="), ("=<", "<=")):
        if foreign in code:
            code = re.sub(rf"\s*{re.escape(foreign)}\s*", f" {liquid} ", code)
    return code


def _set(code: str) -> str:
    return re.sub(r"^(\{%-?\s*)(?:set|let|var)\b", r"\1assign", code)


def _straight(text: str) -> str:
    """Curly quotes as straight ones if they enclose a text. A curly one within straight ones is a part of the text."""
    return TAG.sub(lambda tag: _outside_quotes(tag[0], lambda code: code.translate(_SMART)), text)


def _straight_all(text: str) -> str:
    """The same for a tag that mixes straight and curly quotes: 'there’."""

    def changed(tag: re.Match[str]) -> str:
        loose = _QUOTED.sub("", tag[0])
        return tag[0].translate(_SMART) if "'" in loose or '"' in loose else tag[0]

    return TAG.sub(changed, text)


def _entities(text: str) -> str:
    return TAG.sub(lambda tag: html.unescape(tag[0]).replace("\u00a0", " "), text)


_REWRITES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("a placeholder has HTML entities such as &quot;", _entities),
    ("quotes here must be straight ones, ' or \"", _straight_all),
    ("quotes here must be straight ones, ' or \"", _straight),
    ("this is how Braze writes it", _braze),
    ("an attribute is written by its bare name here, unlike in Pinpoint", _pinpoint),
    ("this is Handlebars, not Liquid", _handlebars),
    ("did you mean elsif?", _in_tags(_elsif)),
    ("an end is one word", _in_tags(_endings)),
    ("a variable is made by assign", _in_tags(_set)),
    ("did you mean == instead of =?", _conditions),
    ("comparisons are ==, !=, >= and <=, joined by the words and, or", _in_tags(_operators)),
    ("Liquid writes filters in another way", _filter_calls),
)
"""What the message says, and the rewrite. In this order: quotes first, because the other rewrites skip quoted texts."""
