"""Finds what looks like a placeholder in another notation, and would be sent to users as it is."""

import re
from collections.abc import Collection, Iterator

from notifier.content.dialects import TAG

_LOOKALIKES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![{$#%\w])\{[ \u00a0]*(?P<name>[\w .-]{1,40}?)[ \u00a0]*\}(?!\})",  # {first_name}
        r"[$#@]\{\s*(?P<name>[\w .-]{1,40}?)\s*\}",  # ${first_name} #{first_name}
        r"%\{?\(?(?P<name>[A-Za-z_][\w .-]{0,39}?)\)?\}?(?:%|s\b)",  # %first_name% %(first_name)s
        r"\*\|(?P<name>[\w .:-]{1,40}?)\|\*",  # *|FNAME|*
        r"\[[\[%]?\s*(?P<name>[\w .-]{1,40}?)\s*[\]%]?\]",  # [first_name] [[first_name]] [%first_name%]
        r"<%=?\s*(?P<name>[\w .-]{1,40}?)\s*%>|<(?P<tag>[A-Za-z][\w .-]{0,39})>",  # <%= first_name %> <first_name>
        # { {first_name} } with characters between the braces that are hardly visible, and with full-width braces
        "[{\uff5b][\\s\u200b-\u200f\u2060\ufeff]*[{\uff5b]\\s*(?P<name>[\\w .-]{1,40}?)\\s*[}\uff5d]",
        r"\$(?P<name>[A-Za-z_]\w{0,39})\b",  # $first_name
    )
)

_NEVER_MEANT = re.compile(r"\*\|[\w .:-]{1,40}?\|\*|<%=[\w .-]{1,40}?%>|\[%[\w .-]{1,40}?%\]")


def lookalikes(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each placeholder of another notation for one of these attributes: as it is written, and the attribute's name.

    Only for known attributes, because `[sale]` or `$20` in a text are mostly meant.
    """
    known = {_bare(name): name for name in names}
    plain = TAG.sub(" ", text)
    seen = set()
    for pattern in _LOOKALIKES:
        for match in pattern.finditer(plain):
            name = known.get(_bare(next(filter(None, match.groupdict().values()), "")))
            if name is not None and name not in seen:
                seen.add(name)
                yield match[0].strip(), name


def never_meant(text: str) -> list[str]:
    """Placeholders of other notations that nobody writes for their own sake, whatever attributes there are."""
    return _NEVER_MEANT.findall(TAG.sub(" ", text))


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
