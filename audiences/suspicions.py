"""What looks wrong in an audience although it can be sent to, counted by SQL: words for no value, the other's tokens.

SQL finds the few values that may be such a word; `notifier.model.suspicious_values` decides on each of them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import msgspec

from audiences.database import text
from audiences.joined_users import CARRIER
from notifier.model.suspicious_values import ALWAYS, APNS_CHARS, INVISIBLE, NULL_WORDS, QUOTES, add_word, null_word

_SPACE = r"(?:[\s\x{a0}\x{2007}\x{202f}\x{3000}]|\\[tnrfb]|\\u00[0aA][0-9a-fA-F])"
"""White space as JSON text has it."""
_WORDS = "|".join(re.escape(word.replace("\\", "\\\\")) for word in sorted(NULL_WORDS | {"na"}))
_ANY_WORD = rf'(?i):\s*"(?:{_SPACE}*(?:{_WORDS}){_SPACE}*|{_SPACE}+)"'
"""Matches attributes of which one may be a word for no value. It may match too much, and must not match too little."""
_AT_ONCE = 5_000
LONGEST_WORD = max(map(len, NULL_WORDS))
"""The letters of the longest word for no value, without white space around it."""
# 4 characters of white space on either side: longer ones are nobody's export.
_LONGEST = LONGEST_WORD + 8


def is_hexadecimal(token: str) -> str:
    """SQL for whether a token is one of APNs, by its characters."""
    length = f"length({token}) BETWEEN {APNS_CHARS[0]} AND {APNS_CHARS[-1]}"
    return f"({length} AND regexp_full_match({token}, '[0-9a-fA-F]+'))"


def of_other_gateway(carrier: str, has_colon: str, is_apa91: str, is_hex: str) -> str:
    """SQL for whether a token looks like the other gateway's, by what it has and how it begins.

    As `suspicious_values.of_other_gateway`, which the tests compare it with.
    """
    is_apns = f"{carrier} = 'apns'"
    return f"CASE WHEN {has_colon} THEN {is_apns} WHEN {is_apns} THEN {is_apa91} ELSE {is_hex} END"


OF_OTHER_GATEWAY = of_other_gateway(
    CARRIER, "contains(d.token, ':')", "starts_with(d.token, 'APA91')", is_hexadecimal("d.token")
)
"""The same of the device `d`."""


def null_words(
    con: duckdb.DuckDBPyConnection, counted: Mapping[str, Sequence[tuple[str, int]]]
) -> dict[str, dict[str, int]]:
    """By attribute: users whose value is a word for no value.

    Args:
        counted: the values of known columns that have been counted already.
    """
    words: dict[str, dict[str, int]] = {}
    suspected = f"regexp_matches(attributes, {text(_ANY_WORD)})"
    found = con.execute(f"SELECT attributes, sum(users) FROM attributes_of_users WHERE {suspected} GROUP BY 1")
    while some := found.fetchmany(_AT_ONCE):
        for attributes, count in some:
            values: dict[str, Any] = msgspec.json.decode(attributes)
            for name, value in values.items():
                if isinstance(value, str) and (word := null_word(value)) is not None:
                    add_word(words, name, word, int(count))
    for column in ALWAYS:
        for value, count in counted[column] if column in counted else _short_values(con, column):
            if len(value) <= _LONGEST and (word := null_word(value)) is not None:
                add_word(words, column, word, count)
    return words


def invisible_ends(con: duckdb.DuckDBPyConnection) -> int:
    """Users whose id begins or ends oddly, as `suspicious_values.has_invisible_end` says."""
    [(found,)] = con.execute(f"SELECT count_if({ends_invisibly('user_id')}) FROM users").fetchall()
    return int(found)


def ends_invisibly(value: str) -> str:
    """SQL for the same of one text."""
    ends = re.sub(
        r"[^\x21-\x7e]|-", lambda found: found[0] if found[0] == "-" else f"\\x{{{ord(found[0]):x}}}", INVISIBLE
    )
    # The expression takes 2 µs, comparing two characters 0.05: of most ids both are letters or digits.
    plain = " AND ".join(f"({value})[{n}] BETWEEN '(' AND '~' AND ({value})[{n}] <> '`'" for n in (1, -1))
    matches = f"regexp_matches({value}, {text(f'^[{ends}{QUOTES}]|[{ends}{QUOTES}]$')})"
    return f"CASE WHEN {plain} THEN false ELSE {matches} END"


def _short_values(con: duckdb.DuckDBPyConnection, column: str) -> list[tuple[str, int]]:
    """Values of a known column that may be such a word. Ids are many, so only short ones are looked at."""
    query = f"SELECT {column}, count(*) FROM users WHERE length({column}) <= {_LONGEST} AND {may_be_word(column)}"
    return con.execute(f"{query} GROUP BY 1").fetchall()


def may_be_word(column: str) -> str:
    """SQL for whether a text may be a word for no value. It may say so of others, too."""
    spaces = r"[\s\x{a0}\x{2007}\x{202f}\x{3000}]"
    words = "|".join(re.escape(word) for word in sorted(NULL_WORDS | {"na"}))
    return f"regexp_full_match({column}, {text(f'(?i){spaces}*(?:{words})?{spaces}*')})"
