"""What a goal's conversions are found by: the declaration, and the stored queries that it names.

Another source could make a campaign look better. So its texts are a part of what is approved: the campaign carries
their hashes, and whoever counts, decides or reports compares the texts as they are now.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256

import msgspec

from notifier.model.campaign import Goal
from notifier.model.stored_query import NAME as QUERY_NAME
from notifier.model.stored_query import PREFIX as QUERIES

PREFIX = "conversions/"


class MissingText(Exception):
    """A text is not there."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Complete(msgspec.Struct, frozen=True):
    query: _Named | None = None


class _Declared(msgspec.Struct, frozen=True):
    """A declaration, as far as it is needed here. `audiences.conversions` has all of it."""

    query: _Named | None = None
    complete: _Complete | None = None


def declaration_key(goal: str) -> str:
    """Where a goal's declaration is."""
    return f"{PREFIX}{goal}.json"


def hash_of(texts: Mapping[str, bytes]) -> str:
    """The hash of several texts, by key: of the lines that `sha256sum` prints for them."""
    lines = "".join(f"{sha256(texts[key]).hexdigest()}  {key}\n" for key in sorted(texts))
    return sha256(lines.encode()).hexdigest()


def read_texts(goal: str, read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """The goal's declaration and every query that it names, by key.

    Args:
        read: gives an object's bytes, None where there is none.

    Raises:
        MissingText: one of them is not there.
    """
    texts: dict[str, bytes] = {}

    def add(key: str) -> bytes:
        text = read(key)
        if text is None:
            raise MissingText(key)
        texts[key] = text
        return text

    for query in _queries(add(declaration_key(goal))):
        add(f"{QUERIES}{query}.sql")
        add(f"{QUERIES}{query}.json")
    return texts


def hashes_of(goal: str, texts: Mapping[str, bytes]) -> dict[str, str]:
    """The members of `Goal` that pin these texts, of which there may be others. Empty without the declaration."""
    declaration = texts.get(declaration_key(goal))
    if declaration is None:
        return {}
    hashes = {"conversions_sha256": sha256(declaration).hexdigest()}
    names = [f"{QUERIES}{query}{ending}" for query in _queries(declaration) for ending in (".sql", ".json")]
    # A member of its own: campaigns that were approved before it was there keep what they have.
    return hashes | ({"queries_sha256": hash_of({key: texts[key] for key in names})} if names else {})


def pinned(goal: Goal, texts: Mapping[str, bytes]) -> Goal:
    """The goal with the hashes of its texts, and no others."""
    plain = msgspec.structs.replace(goal, conversions_sha256=None, queries_sha256=None)
    return msgspec.structs.replace(plain, **hashes_of(goal.name, texts))


def what_changed(goal: Goal, read: Callable[[str], bytes | None]) -> str:
    """Why the source is not the one that was approved; "" where it is, or where none was."""
    if goal.conversions_sha256 is None:
        return ""
    try:
        now = pinned(goal, read_texts(goal.name, read))
    except MissingText as missing:
        return f"{missing.key}, by which conversions are found, is missing"
    key = declaration_key(goal.name)
    if now.conversions_sha256 != goal.conversions_sha256:
        return f"{key} is another file than the one approved"
    if goal.queries_sha256 is not None and now.queries_sha256 != goal.queries_sha256:
        return f"a query that {key} names is another than the one approved"
    return ""


def _queries(declaration: bytes) -> tuple[str, ...]:
    """The names of the queries that a declaration names, sorted. What has faults names none: it cannot be counted."""
    try:
        found = msgspec.json.decode(declaration, type=_Declared)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    named = (found.query, found.complete.query if found.complete else None)
    # A name that is none has no text: who counts says that it is none.
    return tuple(sorted({one.name for one in named if one is not None and QUERY_NAME.fullmatch(one.name)}))
