"""What is wrong with a link or an image's address, before any placeholder in it is filled in."""

import re
from difflib import get_close_matches
from urllib.parse import urlsplit

from notifier.model.validation import printable_name

_WEB = ("http", "https")
_NEVER = ("javascript", "data", "file", "vbscript")
"""Schemes with which a tap would run code or open what is on the phone: no app needs them in a push."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_ALIKE = 0.75
"""From which likeness on (difflib's ratio) a scheme is taken for a misspelt http or https: `htps`, `htpp`, `hhttps`."""


def link_problem(text: str) -> tuple[str, str] | None:
    """What is wrong with a link, and what to write instead; None for an address with a scheme (a web or an app's)."""
    known = _before_placeholder(text)
    scheme, colon, rest = known.partition(":")
    # The placeholder may hold the scheme itself: it is known only for each user.
    if not colon and known != text and (not known or _SCHEME.fullmatch(known)):
        return None
    if not colon or not _SCHEME.fullmatch(scheme):
        return "no scheme", "write the whole address, such as https://example.com/a or app://people"
    scheme = scheme.lower()
    if scheme in _NEVER:
        return f"links with {scheme}: are never sent", "use https:// or your app's own scheme"
    if scheme not in _WEB and (meant := get_close_matches(scheme, _WEB, 1, _ALIKE)):
        return f"`{printable_name(scheme)}:` is no scheme", f"did you mean {meant[0]}://"
    if re.search(r"\s", known):
        return "there is white space in it", "remove it, or write %20"
    if scheme in _WEB and not _has_host(known, is_whole=known == text):
        return "no web address", "write it as in https://example.com/a"
    return None if rest or known != text else ("nothing follows the scheme", "write it as in app://people")


def image_problem(text: str) -> tuple[str, str] | None:
    """What is wrong with an image's address, and what to write instead; None for one that begins with https://."""
    known = _before_placeholder(text)
    if not known and known != text:
        return None
    scheme = known.partition(":")[0].lower()
    if scheme == "http" and _has_host(known, is_whole=known == text):
        return "begins with http://: phones load pictures by https:// only", "write https://"
    if scheme == "https" and _has_host(known, is_whole=known == text) and not re.search(r"\s", known):
        return None
    return "not a web address", "write it as in https://cdn.example.com/a.png"


def _before_placeholder(text: str) -> str:
    """The beginning of the text that is the same for all users."""
    return re.split(r"\{\{|\{%", text, maxsplit=1)[0]


def _has_host(address: str, *, is_whole: bool) -> bool:
    """Whether a web address has a host, or may get one from the placeholder that follows."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return address.partition(":")[2].startswith("//") and (bool(parts.netloc) or not is_whole)
