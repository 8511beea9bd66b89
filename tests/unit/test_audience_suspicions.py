"""What the counts say of values that look wrong, and the users that they show."""

import json
from pathlib import Path
from typing import Any

from audiences.build import Order, count
from audiences.database import Limits
from audiences.sources import local_files
from notifier.model.audience_counts import Counts
from notifier.model.record_reading import read_recipient
from notifier.model.suspicious_values import NULL_WORDS, add_null_words, has_invisible_end, of_other_gateway

APNS, FCM = "0123456789abcdef" * 4, "c00000000000000000001:APA91b" + "x" * 60
VALUES = [
    *sorted(NULL_WORDS), "NA", "Na", "na", "NULL", " null ", "\tNone\n", "\u00a0", "\u3000nil", "\u2007", "  ", "",
    "Nat", "nullable", "a null", 'quote " null', "\\", "-1", "N/A.", "Ann", "null, nil", "\u202fnan\u202f",
]  # fmt: skip
TOKENS = [APNS, APNS.upper(), FCM, "APA91" + "x" * 30, "f" * 63, "f" * 200, "f" * 201, "g" * 64, "w" * 30, "e" * 64]


def counted(tmp_path: Path, records: list[dict[str, Any]], show: tuple[str, ...] | None = None) -> Counts:
    file = tmp_path / "users.jsonl"
    file.write_text("\n".join(json.dumps(one, ensure_ascii=n % 2 == 0) for n, one in enumerate(records)))
    return count(Order({}, local_files([str(file)]), show=show), Limits(tmp_path / "work"))


def records() -> list[dict[str, Any]]:
    """Each value as an attribute, as a language, a time zone and an id; each token for each gateway."""
    kinds = [("ios", None), ("android", None), ("web", None), ("ios", "fcm")]
    devices = [
        {"platform": platform, "token": f"{token[:-2]}{n:02x}", **({"gateway": gateway} if gateway else {})}
        for n, (platform, gateway) in enumerate(kinds)
        for token in TOKENS
    ]
    users: list[dict[str, Any]] = [{"user_id": f"d{n}", "devices": [one]} for n, one in enumerate(devices)]
    for n, value in enumerate(VALUES):
        base = {"platform": "web", "token": f"web-token-number-{n:04d}"}
        users.append({"user_id": f"v{n}", **base, "attributes": {"name": value, "other name": f"x{value}"}})
        base = {"platform": "web", "token": f"more-token-number-{n:04d}"}
        users.append({"user_id": f"w{n}", **base, "locale": value, "timezone": value})
        if value:
            users.append({"user_id": value, "platform": "web", "token": f"last-token-number-{n:04d}"})
    return users


def test_sql_suspects_what_the_reader_suspects(tmp_path: Path) -> None:
    """Words for no value and tokens of the other gateway: the same counts as one record after the other gives."""
    given = records()
    found = counted(tmp_path, given)
    words: dict[str, dict[str, int]] = {}
    marks: dict[str, int] = {}
    ends = 0
    for record in given:
        recipient = read_recipient(record)
        add_null_words(words, recipient)
        ends += has_invisible_end(recipient.user_id)
        for _, device in recipient.devices:
            if marked := of_other_gateway(device):
                marks[marked] = marks.get(marked, 0) + 1
    assert found.null_words == words
    assert found.invisible_ends == ends > 0
    assert found.other_gateway == marks
    assert {"name", "locale", "timezone", "user_id"} <= words.keys()
    assert len(marks) == 4


def test_ids_with_invisible_ends(tmp_path: Path) -> None:
    """By SQL as by the reader, for every character: at either end, not within, and not those of other scripts."""
    ranges = (range(1, 0x300), range(0x1600, 0x1900), range(0x2000, 0x2100), (0x3000, 0x3042, 0xFEFF))
    characters = [chr(n) for one in ranges for n in one]
    ids = [form.format(one) for one in characters for form in ("{}u", "u{}", "u{}v", "{}")]
    given = [{"user_id": one, "platform": "web", "token": f"web-token-number-{n:05d}"} for n, one in enumerate(ids)]
    distinct = set(ids)
    assert counted(tmp_path, given).invisible_ends == sum(map(has_invisible_end, distinct))
    for odd in ('="u1"', "'u1'", '"u', "`u`"):
        assert has_invisible_end(odd)
    for odd in ("u\n", " u", "\u200fu", "u\u200b", "\ufeffu", "u\x00", "u\xa0", "\t", "u\u202c"):
        assert has_invisible_end(odd)
    for plain in ("u", "Jürgen", "名前", "a b", "u\nv", "-", "👋", "é", "O'Neil", "#1", "=u", "{u}", "a`b"):
        assert not has_invisible_end(plain)


def test_samples_differ_and_have_no_tokens(tmp_path: Path) -> None:
    """One user of each kind, at most twenty; no token is whole."""
    given = [
        {"user_id": f"u{n}", "locale": ("en", "de", "fr")[n % 3], "platform": ("ios", "web")[n % 2],
         "token": f"{n:064x}", "attributes": {"first_name": "Ann" * 100, "salary": n}}
        for n in range(300)
    ]  # fmt: skip
    samples = counted(tmp_path, given).samples
    assert len({(one["locale"], one["devices"][0]["platform"]) for one in samples}) == 6
    assert len(samples) <= 5 + 6
    assert all(f"{int(one['user_id'][1:]):064x}" not in str(one) for one in samples)
    assert {len(one["attributes"]["first_name"]) for one in samples} == {100}


def test_samples_have_the_attributes_that_may_be_shown(tmp_path: Path) -> None:
    """Of a query only those that it lists."""
    given = [{"user_id": "u", "platform": "web", "token": "t" * 20, "country": "DE", "salary": 1}]
    [sample] = counted(tmp_path, given, ("country",)).samples
    assert sample["attributes"] == {"country": "DE"}
    [sample] = counted(tmp_path, given, ()).samples
    assert "attributes" not in sample
