"""Which translation a user reads: the best match between the locale of a record and the languages of a campaign.

The rules are CLDR's (https://www.unicode.org/reports/tr35/tr35.html#LanguageMatching), implemented by `langcodes`, as
Android and iOS use them: old codes are replaced (`iw` by `he`), the likely script and region are added (`zh-TW` becomes
`zh-Hant-TW`), and the nearest region wins. CLDR's matching always finds something, so two rules of our own restrict it:

- A translation in another script never wins: a reader of traditional Chinese gets the message's own texts, not those in
  simplified Chinese.
- A translation in another language wins only if CLDR takes both for one language (`no` and `nb`, Swiss German and
  German), or one for a part of the other (Egyptian Arabic of `ar`). CLDR also lists languages that most speakers can
  read (Russian for Ukrainian): not in a push.

Callers cache the result for each locale: matching costs about 50 µs, and the import of langcodes 40 ms.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from msgspec import Struct

_SAME = 5
"""The largest distance in CLDR of what its readers take for one language. The next is 8: Danish and Norwegian."""
_MEMBER = 10
"""CLDR's distance between a language and the macrolanguage that it belongs to."""
_OWN_CODE_CHARS = 2
"""A language with a code of two letters is a language of its own, not part of another (Indonesian is not Malay)."""
_NORWEGIAN = frozenset({"no", "nb", "nn"})
"""One macrolanguage, whose members have a distance of 20 in CLDR. Since CLDR 42 `no` is the parent of both others."""
_MODIFIER_SCRIPTS = {"latin": "Latn", "cyrillic": "Cyrl", "arabic": "Arab", "devanagari": "Deva"}
"""POSIX names of scripts, as in `sr_RS@latin`."""
_JAVA_SCRIPT = re.compile(r"^(?P<rest>[^#]*?)[-_]*#(?P<script>[A-Za-z]{4})")
_ANDROID_REGION = re.compile(r"^(?P<language>[a-z]{2,3})-r(?P<region>[A-Z]{2})$")


class Language(Struct, frozen=True):
    """A locale as CLDR completes it. `region` and `variants` are those of the tag itself, without likely ones."""

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
    """The language of a locale in any notation; None if it names no language."""
    from langcodes import Language as Tag  # noqa: PLC0415 - 40 ms, and most campaigns have one language
    from langcodes import standardize_tag  # noqa: PLC0415
    from langcodes.tag_parser import LanguageTagError  # noqa: PLC0415

    try:
        stated = Tag.get(standardize_tag(_as_tag(locale), macro=True))
        full = stated.maximize()
    except LanguageTagError:
        return None
    # `maximize` takes a tag without a language for English: what the tag itself states decides.
    if not full.language or full.language == "und" or not stated.language:
        return None
    variants = frozenset(stated.variants or ())
    return Language(full.language, full.script or "", full.territory or "", stated.territory, variants)


def is_known(locale: str) -> bool:
    """Whether a locale names a language that exists."""
    from langcodes import tag_is_valid  # noqa: PLC0415 - see `language_of`

    language = language_of(locale)
    return language is not None and bool(tag_is_valid(language.language))


def _as_tag(locale: str) -> str:
    """The BCP 47 tag of a locale in the notation of POSIX, Java, Apple or Android's folders; the first of several."""
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
    # A script follows the language, unless the tag has one already.
    if script and parts and not any(len(part) == 4 and part.isalpha() for part in parts[1:]):
        parts.insert(1, script)
    return "-".join(parts)


def chain_of(locale: str | None, translations: Iterable[str]) -> tuple[str, ...]:
    """The translations that a user reads, best first. A field that one leaves out is taken from the next.

    Args:
        translations: their tags as `tags` returns them, in the file's order.
    """
    known = list(translations)
    if not locale or not known:
        return ()
    written = next(tags(locale), "")
    wanted = language_of(locale)
    if wanted is None:  # not a known language: only the same tag can match, or its beginning
        return tuple(tag for tag in tags(locale) if tag in known)
    found = [(rank, tag) for tag in known if (rank := _rank(wanted, written, tag)) is not None]
    if not found:
        return ()
    best = min(found)[1]
    # After the best come the texts of its language without a region: de-AT, then de.
    wider = [tag for rank, tag in sorted(found) if tag != best and _is_wider(tag, best)]
    return (best, *wider)


def _rank(wanted: Language, written: str, tag: str) -> tuple[bool, int, int, int] | None:
    """How close a translation is to the wanted language, smaller is closer; None if it must not be used."""
    offered = language_of(tag)
    if offered is None or offered.script != wanted.script or not _is_one_language(wanted, offered):
        return None
    # The same region, then a translation for every region, then another region.
    region = 0 if offered.region == wanted.region else 1 if offered.region is None else 2
    # First of all the very tag that the record states, whatever CLDR makes of it.
    return tag != written, _distance(wanted, offered), region, len(offered.variants ^ wanted.variants)


def _is_one_language(wanted: Language, offered: Language) -> bool:
    if wanted.language == offered.language:
        return True
    # Bokmål and Nynorsk have a distance of 20 in CLDR, and their readers read both.
    if wanted.language in _NORWEGIAN and offered.language in _NORWEGIAN:
        return True
    # Without region: that is for the choice among translations, not for the decision whether one may be used.
    distance = _triple_distance((wanted.language, wanted.script, ""), (offered.language, wanted.script, ""))
    return distance <= _SAME or (distance == _MEMBER and len(wanted.language) > _OWN_CODE_CHARS)


def _distance(wanted: Language, offered: Language) -> int:
    return _triple_distance(
        (wanted.language, wanted.script, wanted.likely_region),
        (offered.language, offered.script, offered.likely_region),
    )


def _triple_distance(wanted: tuple[str, str, str], offered: tuple[str, str, str]) -> int:
    from langcodes.language_distance import tuple_distance_cached  # noqa: PLC0415 - see `language_of`

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
