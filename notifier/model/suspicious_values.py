"""Values that look wrong although they can be sent to: words for no value, tokens of the other gateway."""

import re
from collections.abc import Container, Iterator, Mapping

from notifier.model.plurals import counted
from notifier.model.recipient import Device, Gateway, Platform, Recipient

BLANK = ""
"""Among the null words: any value of white space only."""
_MAX_WORDS = 20
_MAX_ATTRIBUTES = 100
_OTHER_WORDS = "others"
NULL_WORDS = frozenset(
    {
        "null", "nil", "none", "nan", "undefined", "n/a", "#n/a", "<na>", "<null>", "(null)", "[null]", "#null!", "nat",
        "\\n", "-", "--", "?",
    }
)  # fmt: skip
"""As databases, spreadsheets and languages write that there is no value, in lower case. `\\N` is MySQL's and Hive's."""
_NULL_AS_WRITTEN = frozenset({"NA"})
"""R's word. Only in capitals: `Na` may be a name."""
_FIRST_CHARS = frozenset(word[0] for word in NULL_WORDS) | frozenset("NU \t\n\r\v\f\xa0\u3000\u2007\u202f")
_LONGEST = max(map(len, NULL_WORDS))
APNS_CHARS = range(64, 201)
"""Hexadecimal digits of a token of Apple's: 64 today, and Apple asks not to count on it."""
_HEX = frozenset("0123456789abcdefABCDEF")
INVISIBLE = "\x00-\x20\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
"""White space, control characters and marks that nobody sees, as ranges of a regular expression."""
QUOTES = "\"'`"
"""Left over from another tool: a spreadsheet's `="007"`, a text in quotes within quotes."""
_ODD_END = re.compile(f"[{INVISIBLE}{QUOTES}]")
ALWAYS = ("user_id", "locale", "timezone")
"""Members of a record that are used whatever the texts say."""


def null_word(value: str) -> str | None:
    """The word for no value, as it is written; `BLANK` for white space. None for anything else.

    An empty text is no such word: a message's default is used in its place.
    """
    if value[:1] not in _FIRST_CHARS:  # almost every value, and this runs for each of them
        return None
    word = value.strip()
    if not word:
        return BLANK if value else None
    if len(word) <= _LONGEST and (word.lower() in NULL_WORDS or word in _NULL_AS_WRITTEN):
        return word
    return None


def add_null_words(words: dict[str, dict[str, int]], recipient: Recipient) -> None:
    """Count the null words among the user's values, by attribute."""
    for name, value in recipient.attributes.items():
        if type(value) is str and (word := null_word(value)) is not None:
            add_word(words, name, word)
    for name in ALWAYS:
        value = getattr(recipient, name)
        if value and (word := null_word(value)) is not None:
            add_word(words, name, word)


def has_invisible_end(user_id: str) -> bool:
    """Whether the id begins or ends with white space, a quote, a control character or a mark that nobody sees.

    Such an id is another user than the one that other systems mean: no list leaves it out, no conversion is its own.
    """
    first, last = user_id[:1], user_id[-1:]
    if "(" <= first <= "~" and "(" <= last <= "~" and "`" not in (first, last):  # almost every id
        return False
    return _ODD_END.match(first) is not None or _ODD_END.match(last) is not None


def add_word(words: dict[str, dict[str, int]], name: str, word: str, users: int = 1) -> None:
    """Count users whose attribute of this name has this word. Attributes beyond 100 are left out."""
    # Names come from the file, too, and are shown on one line.
    name = name[:40]
    if name not in words and len(words) >= _MAX_ATTRIBUTES:
        return
    counts = words.setdefault(name, {})
    word = word if word in counts or len(counts) < _MAX_WORDS else _OTHER_WORDS
    counts[word] = counts.get(word, 0) + users


def of_other_gateway(device: Device) -> str | None:
    """`ios apns` and the like, as the device is marked, where its token looks like the other gateway's; else None."""
    token = device.token
    if device.carrier is Gateway.APNS:
        # FCM's registration tokens have a colon; its older ones begin so.
        looks_wrong = ":" in token or token.startswith("APA91")
    else:
        # Only hexadecimal digits, which no token of FCM's consists of at this length.
        looks_wrong = len(token) in APNS_CHARS and _HEX.issuperset(token)
    return f"{device.platform.value} {device.carrier.value}" if looks_wrong else None


def warnings_in(
    null_words: Mapping[str, Mapping[str, int]],
    other_gateway: Mapping[str, int],
    names: Container[str] | None,
    invisible_ends: int = 0,
) -> Iterator[str]:
    """A warning for each mark and attribute that looks wrong.

    Args:
        names: the attributes that the texts use; None where no text is known, so that any may be used.
        invisible_ends: users whose id begins or ends with a quote, or with what nobody sees.
    """
    if invisible_ends:
        is_one = invisible_ends == 1
        begin, are = ("begins or ends", "it is") if is_one else ("begin or end", "they are")
        yield (
            f"{counted(invisible_ends, 'user id')} {begin} with white space, a quote or a character that nobody sees: "
            f"{are} not what lists of users to leave out, and conversions, have; export ids without it"
        )
    for marked, count in other_gateway.items():
        platform, gateway = marked.split(" ")
        tokens = f"{counted(count, 'token')} look{'s' if count == 1 else ''} like"
        are = f"and {'is' if count == 1 else 'are'} marked {platform} (gateway {gateway})"
        if gateway == Gateway.APNS:
            yield f"{tokens} FCM's, {are}: set gateway: fcm"
        else:
            fix = "set gateway: apns, or leave gateway out" if platform == Platform.IOS else "set platform: ios"
            yield f"{tokens} APNs', {are}: {fix}"
    for name, words in null_words.items():
        if names is None or name in names or name in ALWAYS:
            yield f"{name} is {_counted(words)}; export such a value as null (without quotes), or leave it out"


def _counted(words: Mapping[str, int]) -> str:
    """`the word null for 1 user, blank for 3 users`."""
    parts = []
    for word, count in sorted(words.items(), key=lambda item: -item[1]):
        value = "blank" if word == BLANK else f"the word {word}"
        parts.append(f"{value} for {counted(count, 'user')}")
    return ", ".join(parts)
