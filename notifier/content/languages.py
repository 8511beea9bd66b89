"""Which translation a user reads: the best match between the locale of a record and the languages of a campaign.

The rules are CLDR's (https://www.unicode.org/reports/tr35/tr35.html#LanguageMatching), by `langcodes`, as Android and
iOS use them: old codes are replaced (`iw` is `he`), the likely script and region are added (`zh-TW` is `zh-Hant-TW`),
and the nearest region wins. Two of our own make it stricter than CLDR, whose matching always finds something:

- Another script never wins: who reads traditional Chinese gets the message's own texts, not simplified Chinese.
- Another language wins only where CLDR takes both for one (`no` and `nb`, Swiss German and German) or where one is a
  part of the other (Egyptian Arabic of `ar`). Its "can also read" (a Ukrainian reads Russian) is not for a push.

Callers remember the answer for each locale: matching costs about 50 µs, and the import of langcodes 40 ms.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from msgspec import Struct

_SAME = 5
"""CLDR's distance of languages that their readers take for one; the next are Danish and Norwegian, with 8."""
_MEMBER = 10
"""CLDR's distance of a language to the macrolanguage that it belongs to."""
_OWN_CODE_CHARS = 2
"""A language with a code of two letters is established: it is a member of nothing (Indonesian is not Malay)."""
_NORWEGIAN = frozenset({"no", "nb", "nn"})
"""One macrolanguage, whose members CLDR holds 20 apart. Since CLDR 42 `no` is the parent of both others."""
_MODIFIER_SCRIPTS = {"latin": "Latn", "cyrillic": "Cyrl", "arabic": "Arab", "devanagari": "Deva"}
"""POSIX names of scripts, as in `sr_RS@latin`."""
_JAVA_SCRIPT = re.compile(r"^(?P<rest>[^#]*?)[-_]*#(?P<script>[A-Za-z]{4})")
_ANDROID_REGION = re.compile(r"^(?P<language>[a-z]{2,3})-r(?P<region>[A-Z]{2})$")


class Language(Struct, frozen=True):
    """A locale as CLDR completes it. `region` and `variants` are only what the tag itself says."""

    language: str
    script: str
    likely_region: str
    region: str | None
    variants: frozenset[str]


def tags(locale: str | None) -> Iterator[str]:
    """A locale from the narrowest to the widest, in lower case: `de_AT` gives `de-at`, `de`."""
    tag = (locale or "").partition(".")[0].replace("_", "-").lower()
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


@lru_cache(maxsize=4_000)
def language_of(locale: str) -> Language | None:
    """What a locale says, in whichever notation; None where it names no language."""
    from langcodes import Language as Tag  # noqa: PLC0415 - 40 ms, and most campaigns have one language
    from langcodes import standardize_tag  # noqa: PLC0415
    from langcodes.tag_parser import LanguageTagError  # noqa: PLC0415

    try:
        said = Tag.get(standardize_tag(_as_tag(locale), macro=True))
        full = said.maximize()
    except LanguageTagError:
        return None
    if not full.language or full.language == "und" or not said.language:
        return None
    variants = frozenset(said.variants or ())
    return Language(full.language, full.script or "", full.territory or "", said.territory, variants)


def is_known(locale: str) -> bool:
    """Whether a locale names a language that there is."""
    from langcodes import tag_is_valid  # noqa: PLC0415 - see below

    language = language_of(locale)
    return language is not None and bool(tag_is_valid(language.language))


def _as_tag(locale: str) -> str:
    """The BCP 47 tag in other notations: POSIX's, Java's, Apple's, Android's folders'; the first of several."""
    text = re.split(r"[,;\s]", locale.strip(), maxsplit=1)[0]
    text, _, modifier = text.partition("@")
    text = text.partition(".")[0]
    if text.startswith("b+"):
        text = text[2:].replace("+", "-")
    if match := _ANDROID_REGION.match(text):
        text = f"{match['language']}-{match['region']}"
    script = _MODIFIER_SCRIPTS.get(modifier.lower())
    if match := _JAVA_SCRIPT.match(text):
        text, script = match["rest"], match["script"]
    parts = [part for part in re.split(r"[-_]+", text) if part]
    # A script belongs behind the language, unless the tag has it there already.
    if script and parts and not any(len(part) == 4 and part.isalpha() for part in parts[1:]):
        parts.insert(1, script)
    return "-".join(parts)


def chain_of(locale: str | None, translations: Iterable[str]) -> tuple[str, ...]:
    """The translations that a user reads, the best first: what it leaves out is taken from the next.

    Args:
        translations: their tags as `tags` gives them, in the file's order.
    """
    known = list(translations)
    if not locale or not known:
        return ()
    written = next(tags(locale), "")
    wanted = language_of(locale)
    if wanted is None:  # no language that anybody knows: only the same word can match, or the word's beginning
        return tuple(tag for tag in tags(locale) if tag in known)
    found = [(rank, tag) for tag in known if (rank := _rank(wanted, written, tag)) is not None]
    if not found:
        return ()
    best = min(found)[1]
    # Behind the best stand the texts of its language as such, that is without a region: de-AT, then de.
    wider = [tag for rank, tag in sorted(found) if tag != best and _is_wider(tag, best)]
    return (best, *wider)


def _rank(wanted: Language, written: str, tag: str) -> tuple[bool, int, int, int] | None:
    """How near a translation is, smaller is nearer; None if it must not be read instead."""
    offered = language_of(tag)
    if offered is None or offered.script != wanted.script or not _is_one_language(wanted, offered):
        return None
    region = 0 if offered.region == wanted.region else 1 if offered.region is None else 2
    return tag != written, _distance(wanted, offered), region, len(offered.variants ^ wanted.variants)


def _is_one_language(wanted: Language, offered: Language) -> bool:
    if wanted.language == offered.language:
        return True
    if wanted.language in _NORWEGIAN and offered.language in _NORWEGIAN:
        return True
    distance = _triple_distance((wanted.language, wanted.script, ""), (offered.language, wanted.script, ""))
    return distance <= _SAME or (distance == _MEMBER and len(wanted.language) > _OWN_CODE_CHARS)


def _distance(wanted: Language, offered: Language) -> int:
    return _triple_distance(
        (wanted.language, wanted.script, wanted.likely_region),
        (offered.language, offered.script, offered.likely_region),
    )


def _triple_distance(wanted: tuple[str, str, str], offered: tuple[str, str, str]) -> int:
    from langcodes.language_distance import tuple_distance_cached  # noqa: PLC0415 - see above

    return int(tuple_distance_cached(wanted, offered))


def _is_wider(tag: str, best: str) -> bool:
    wide, narrow = language_of(tag), language_of(best)
    return (
        wide is not None
        and narrow is not None
        and wide.language == narrow.language
        and wide.region is None
        and wide.variants <= narrow.variants
        and (narrow.region is not None or len(wide.variants) < len(narrow.variants))
    )
