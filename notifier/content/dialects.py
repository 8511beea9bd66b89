"""What people paste into a text that other tools or word processors wrote, and how it is written here.

Placeholders are Liquid. Braze, Pinpoint, Handlebars and Jinja look like it; a word processor bends its quotes. Such a
text is not sent: whoever wrote it gets the same in Liquid. Nothing here decides what is Liquid: only texts that Liquid
refuses are rewritten, and the few in `misread`, which it would take for something else than was meant.
"""

import html
import re
from collections.abc import Callable, Collection, Iterator

MAX_SHOWN_CHARS = 300

_SPACES = "\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NO_WIDTH = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_ODD = re.compile(f"[{_SPACES}{_NO_WIDTH}]")
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_TAG = re.compile(r"\{\{(?:\$\{[^{}]*\}|[^{}])*\}\}|\{%(?:[^%]|%(?!\}))*%\}", re.DOTALL)
"""A placeholder or a tag, with Braze's `${…}` in it."""
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
    """The text with plain spaces in its tags: a no-break space there is a space, one without width is nothing.

    Texts in quotes are left as they are: they are what is sent.
    """
    if source.isascii() or _ODD.search(source) is None:
        return source
    return _TAG.sub(lambda tag: _outside_quotes(tag[0], _plain_spaces), source)


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
"""Pinpoint's names of attributes, `attributes.x` of who knows the batch file, and `{% else if x %}`."""


def misread(source: str) -> bool:
    """Whether Liquid takes a text that it compiles for something that nobody means."""
    return any(_MISREAD.search(_QUOTED.sub("''", tag[0])) for tag in _TAG.finditer(source))


def in_liquid(source: str) -> tuple[str, str, int]:
    """The text as it would be written here; what it was; and where that begins. ("", "", 0): nothing is known of it."""
    text, what, at = source, "", 0
    for name, rewrite in _REWRITES:
        changed = rewrite(text)
        if changed != text:
            if not what:
                what, at = name, next((n for n, (a, b) in enumerate(zip(text, changed, strict=False)) if a != b), 0)
            text = changed
    return (text, what, at) if what else ("", "", 0)


def shown_part(source: str, rewritten: str) -> str:
    """Of a rewritten text the tags that differ, and what is between them."""
    theirs, ours = list(_TAG.finditer(source)), list(_TAG.finditer(rewritten))
    kept = {tag[0] for tag in theirs}
    changed = [n for n, tag in enumerate(ours) if tag[0] not in kept]
    part = rewritten[ours[changed[0]].start() : ours[changed[-1]].end()] if changed else rewritten
    return part if len(part) <= MAX_SHOWN_CHARS else ""


def _in_tags(change: Callable[[str], str]) -> Callable[[str], str]:
    """Changes code within tags, but for texts in quotes."""
    return lambda text: _TAG.sub(lambda tag: _outside_quotes(tag[0], change), text)


def _braze(text: str) -> str:
    def name(match: re.Match[str]) -> str:
        return match[1] if re.fullmatch(r"[A-Za-z_][\w-]*", match[1]) else f"['{match[1]}']"

    # {% if {{${x}}} == 1 %}: Braze has placeholders within tags
    text = re.sub(r"(\{%[^%{}]*)\{\{\s*((?:\$\{[^{}]*\}|[^{}])*?)\s*\}\}([^%{}]*%\})", r"\1\2\3", text)
    return _TAG.sub(lambda tag: _spaced(_BRAZE.sub(name, tag[0])) if "${" in tag[0] else tag[0], text)


def _pinpoint(text: str) -> str:
    def bare(tag: re.Match[str]) -> str:
        changed = _outside_quotes(tag[0], lambda code: _PINPOINT_ID.sub("user_id", _PINPOINT.sub(r"\1", code)))
        return _spaced(changed) if changed != tag[0] else changed

    return _TAG.sub(bare, text)


def _spaced(tag: str) -> str:
    """A tag with spaces inside its braces, as it is shown."""
    if tag[2:3] in "#/^!&>-":
        return tag
    return f"{tag[:2]} {tag[2:-2].strip()} {tag[-2:]}"


def _handlebars(text: str) -> str:
    """Blocks by a stack: what `{{/x}}` closes depends on what was opened."""
    if not re.search(r"\{\{\s*[#^/!&>]|\{\{\{", text):
        return text
    opened: list[str] = []

    def tag(match: re.Match[str]) -> str:
        return _liquid_of(match["mark"], match["code"].strip(), opened)

    return _MOUSTACHE.sub(tag, text)


def _liquid_of(mark: str, code: str, opened: list[str]) -> str:
    word, _, rest = code.partition(" ")
    if mark == "#":
        opened.append({"unless": "unless", "each": "for"}.get(word, "if"))
        if word == "each":
            return f"{{% for item in {rest.strip()} %}}"
        return f"{{% {opened[-1]} {rest.strip() if word in ('if', 'unless', 'with') else code} %}}"
    if mark == "^":
        opened.append("unless")
        return f"{{% unless {code} %}}"
    if mark == "/":
        return f"{{% end{opened.pop() if opened else 'if'} %}}"
    if mark in ("!", ">"):
        return ""
    if word == "else":
        return f"{{% elsif {rest.strip().removeprefix('if ')} %}}" if rest else "{% else %}"
    return f"{{{{ {re.sub(r'^(this|[.])(?=[.]|$)', 'item', code)} }}}}"


def _filter_calls(text: str) -> str:
    """`default("x")` and `upper`, as Jinja and Django have them; a filter without its colon or its bar."""

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

    return _TAG.sub(changed, text)


def _elsif(code: str) -> str:
    return re.sub(r"^(\{%-?\s*)(?:else\s*if|elif)\b", r"\1elsif", code)


def _endings(code: str) -> str:
    return re.sub(r"^(\{%-?\s*)end[\s_]+(if|for|unless|case|capture|comment)\b", r"\1end\2", code)


def _conditions(text: str) -> str:
    """One `=` in a condition. The tag is looked at as a whole, because what stands in quotes splits it."""

    def changed(tag: re.Match[str]) -> str:
        if not re.match(r"\{%-?\s*(?:if|elsif|unless)\b", tag[0]):
            return tag[0]
        return _outside_quotes(tag[0], lambda code: re.sub(r"(?<![=!<>])=(?![=<>])", "==", code))

    return _TAG.sub(changed, text)


def _operators(code: str) -> str:
    for theirs, ours in (("&&", " and "), ("||", " or "), ("!==", "!="), ("===", "=="), ("=>", ">="), ("=<", "<=")):
        if theirs in code:
            code = re.sub(rf"\s*{re.escape(theirs)}\s*", f" {ours.strip()} ", code)
    return code


def _set(code: str) -> str:
    return re.sub(r"^(\{%-?\s*)(?:set|let|var)\b", r"\1assign", code)


def _straight(text: str) -> str:
    """Bent quotes as straight ones, where they enclose; a bent one within straight ones is a part of the text."""
    return _TAG.sub(lambda tag: _outside_quotes(tag[0], lambda code: code.translate(_SMART)), text)


def _straight_all(text: str) -> str:
    """The same for a tag in which straight and bent quotes are mixed: 'there’."""

    def changed(tag: re.Match[str]) -> str:
        loose = _QUOTED.sub("", tag[0])
        return tag[0].translate(_SMART) if "'" in loose or '"' in loose else tag[0]

    return _TAG.sub(changed, text)


def _entities(text: str) -> str:
    return _TAG.sub(lambda tag: html.unescape(tag[0]).replace("\u00a0", " "), text)


_REWRITES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("HTML's signs such as &quot; stand in a placeholder", _entities),
    ("quotes here must be straight ones, ' or \"", _straight_all),
    ("quotes here must be straight ones, ' or \"", _straight),
    ("this is how Braze writes it", _braze),
    ("an attribute stands by its bare name here, unlike in Pinpoint", _pinpoint),
    ("this is Handlebars, not Liquid", _handlebars),
    ("did you mean elsif?", _in_tags(_elsif)),
    ("an end is one word", _in_tags(_endings)),
    ("a variable is made by assign", _in_tags(_set)),
    ("did you mean == instead of =?", _conditions),
    ("comparisons are ==, !=, >= and <=, joined by the words and, or", _in_tags(_operators)),
    ("filters are written otherwise here", _filter_calls),
)


# ------------------------------------------------------------------------------------------------ sent as it is

_LOOKALIKES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![{$#%\w])\{[ \u00a0]*(?P<name>[\w .-]{1,40}?)[ \u00a0]*\}(?!\})",  # {first_name}
        r"[$#@]\{\s*(?P<name>[\w .-]{1,40}?)\s*\}",  # ${first_name} #{first_name}
        r"%\{?\(?(?P<name>[A-Za-z_][\w .-]{0,39}?)\)?\}?(?:%|s\b)",  # %first_name% %(first_name)s
        r"\*\|(?P<name>[\w .:-]{1,40}?)\|\*",  # *|FNAME|*
        r"\[[\[%]?\s*(?P<name>[\w .-]{1,40}?)\s*[\]%]?\]",  # [first_name] [[first_name]] [%first_name%]
        r"<%=?\s*(?P<name>[\w .-]{1,40}?)\s*%>|<(?P<tag>[A-Za-z][\w .-]{0,39})>",  # <%= first_name %> <first_name>
        # { {first_name} }, with anything in between that is hardly seen, and with Chinese braces
        "[{\uff5b][\\s\u200b-\u200f\u2060\ufeff]*[{\uff5b]\\s*(?P<name>[\\w .-]{1,40}?)\\s*[}\uff5d]",
        r"\$(?P<name>[A-Za-z_]\w{0,39})\b",  # $first_name
    )
)


def lookalikes(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """What looks like a placeholder of one of these attributes and is none: as it is written, and the attribute."""
    known = {_bare(name): name for name in names}
    plain = _TAG.sub(" ", text)
    seen = set()
    for pattern in _LOOKALIKES:
        for match in pattern.finditer(plain):
            name = known.get(_bare(next(filter(None, match.groupdict().values()), "")))
            if name is not None and name not in seen:
                seen.add(name)
                yield match[0].strip(), name


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
