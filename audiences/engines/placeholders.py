"""Finds `$name` in SQL, and nothing that looks like it within strings, quoted names and comments."""

import re
from collections.abc import Callable, Iterator

import msgspec

from audiences.engines.port import EngineName

_PARAMETER = r"(?<![A-Za-z0-9_$])\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
_LINE_COMMENT = r"--[^\n]*"
_BLOCK_COMMENT = r"/\*.*?(?:\*/|\Z)"
_DOUBLED = r"'(?:[^']|'')*(?:'|\Z)"
"""A string in which a quote is written twice, and a backslash means itself."""
_NAME = r'"(?:[^"]|"")*(?:"|\Z)'
_DOLLARS = r"\$(?P<tag>[A-Za-z_]*)\$.*?(?:\$(?P=tag)\$|\Z)"
_ESCAPED = r"(?:[^{0}\\]|\\.)*(?:{0}|\Z)"
_OTHERS = {
    "athena": (_LINE_COMMENT, _BLOCK_COMMENT, _DOUBLED, _NAME, r"`[^`]*(?:`|\Z)"),
    # E'…' and its like have escapes by a backslash.
    "duckdb": (_LINE_COMMENT, _BLOCK_COMMENT, r"\b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)", _DOUBLED, _NAME, _DOLLARS),
    "bigquery": (
        _LINE_COMMENT,
        r"\#[^\n]*",
        _BLOCK_COMMENT,
        # Strings may be raw: r'…\' has a quote that is not escaped, and still does not end it.
        r"'''(?:[^\\]|\\.)*?(?:'''|\Z)",
        r'"""(?:[^\\]|\\.)*?(?:"""|\Z)',
        "'" + _ESCAPED.format("'"),
        '"' + _ESCAPED.format('"'),
        "`" + _ESCAPED.format("`"),
    ),
}
_EXPRESSIONS = {engine: re.compile("|".join((*others, _PARAMETER)), re.DOTALL) for engine, others in _OTHERS.items()}


class Placeholder(msgspec.Struct, frozen=True):
    """One `$name`. `offset` is that of the `$`, in characters."""

    name: str
    offset: int


def placeholders(text: str, engine: EngineName) -> Iterator[Placeholder]:
    """Every `$name`, in order of appearance: one that is there twice comes twice."""
    for found in _EXPRESSIONS[engine].finditer(text):
        if found["name"] is not None:
            yield Placeholder(found["name"], found.start())


def replaced(text: str, engine: EngineName, by: Callable[[str], str]) -> str:
    """The text with something else for each `$name`."""

    def one(found: re.Match[str]) -> str:
        return found[0] if found["name"] is None else by(found["name"])

    return _EXPRESSIONS[engine].sub(one, text)


class Unterminated(ValueError):
    """A string or a comment does not end."""


def code_of(text: str, engine: EngineName) -> str:
    """The text with blanks for everything within strings, quoted names and comments; of the same length.

    Raises:
        Unterminated: one of them has no end, and would take in what is written after the text.
    """
    code = _EXPRESSIONS[engine].sub(lambda found: found[0] if found["name"] else _blank(found[0]), text + "\n\x00")
    if not code.endswith("\x00"):
        raise Unterminated
    return code[:-2]


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def question_marks(text: str, engine: EngineName) -> list[int]:
    """The offsets of `?` outside of strings, quoted names and comments."""
    return [at for at, character in enumerate(code_of(text, engine)) if character == "?"]
