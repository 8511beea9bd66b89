"""Records decoded in one step mean the same as those decoded as dicts."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifier.audience.array import ArrayParser
from notifier.audience.bulk import decoded, decoded_plain
from notifier.audience.lines import LineParser
from notifier.model.recipient import PlainRecord
from notifier.model.record_reading import read_recipient, user_id_in
from notifier.model.spelling import BrokenRecord
from tests.unit.test_batch import form, user

HEX, FCM_TOKEN = "0a" * 32, "c" * 22 + ":APA91b-_" + "d" * 120
PLAIN: dict[str, Any] = {
    "user_id": "u1",
    "devices": [{"platform": "ios", "token": HEX}, {"platform": "android", "token": FCM_TOKEN}],
    "locale": "de-AT",
    "timezone": "Europe/Vienna",
    "attributes": {"name": "Ann", "credits": 1.5, "born": None},
}
_TOKENS = st.sampled_from(
    [HEX, HEX.upper(), FCM_TOKEN, "short", "", f" {HEX}", f"<{HEX}>", "a b" * 9, "ü" * 20, "null"]
)
_DEVICES = st.fixed_dictionaries(
    {"platform": st.sampled_from(["ios", "android", "web", "iOS", "tv", None])},
    optional={
        "token": _TOKENS,
        "gateway": st.sampled_from(["fcm", "apns", "APNS", None, "x"]),
        "environment": st.sampled_from(["production", "sandbox", None]),
        "Token": _TOKENS,
        "model": st.just("pixel"),
    },
)
_TEXTS = st.sampled_from(["", "de", "ü", "Europe/London", None]) | st.integers()
_RECORDS = st.fixed_dictionaries(
    {"user_id": st.sampled_from(["u1", "", "ü" * 300, "é", "x" * 512, "x" * 513, 7, 7.0, None])},
    optional={
        "devices": st.lists(_DEVICES, max_size=3) | st.none() | st.just("[]"),
        "locale": _TEXTS,
        "timezone": _TEXTS,
        "attributes": st.dictionaries(
            st.text(max_size=3), st.integers() | st.floats(allow_nan=False, allow_infinity=False, width=16)
        )
        | _TEXTS,
        "token": _TOKENS,
        "platform": st.just("ios"),
        "city": st.just("Rome"),
        "USER_ID": st.just("u2"),
    },
)


def meaning(record: object) -> object:
    """What the worker makes of it: the recipient's parts, or the reason for which it is broken, with its user."""
    try:
        found = read_recipient(record)
    except BrokenRecord as error:
        return str(error), user_id_in(record)
    devices = [(n, device.as_json()) for n, device in found.devices]
    return found.user_id, devices, found.locale, found.timezone, found.attributes, found.broken_devices


@given(st.lists(_RECORDS, min_size=1, max_size=3))
@example([PLAIN])
@example([PLAIN | {"devices": [PLAIN["devices"][0]] * 2}])
@example([PLAIN | {"attributes": {"large": 10**30, "exact": 0.1}}])
def test_the_same_as_by_dicts(records: list[dict[str, Any]]) -> None:
    """Whatever a record states: the same recipient, or broken for the same reason."""
    text = json.dumps(records).encode()
    assert [meaning(one) for one in decoded_plain(text)] == [meaning(one) for one in decoded(text)]
    lines = b"\n".join(json.dumps(record).encode() for record in records)
    by_line = [LineParser(plain=plain).feed(lines, final=True) for plain in (True, False)]
    assert [meaning(one) for one in by_line[0]] == [meaning(one) for one in by_line[1]]


def test_the_usual_form_is_taken() -> None:
    """It is decoded in one step; a record of another form beside it makes all of the text dicts."""
    plain, odd = json.dumps(PLAIN), json.dumps(PLAIN | {"city": "Rome"})
    assert [type(one) for one in decoded_plain(f"[{plain},{plain}]".encode())] == [PlainRecord, PlainRecord]
    assert [type(one) for one in decoded_plain(f"[{plain},{odd}]".encode())] == [dict, dict]
    assert [type(one) for one in LineParser(plain=True).feed(f"{plain}\n{odd}\n".encode())] == [PlainRecord, dict]
    assert read_recipient(decoded_plain(f"[{plain}]".encode())[0]).attributes["credits"] == Decimal("1.5")


@pytest.mark.parametrize("plain", [True, False])
def test_of_an_array_in_pieces(plain: bool) -> None:
    """Records come out as often as they are in the text, the last of them by ijson."""
    text = json.dumps([PLAIN | {"user_id": f"u{n}"} for n in range(400)]).encode()
    parser = ArrayParser("s3://b/k", plain=plain)
    cut = len(text) // 2
    records = parser.feed(text[:cut]) + parser.feed(text[cut:], final=True)
    assert [user_id_in(one) for one in records] == [f"u{n}" for n in range(400)]
    assert {type(one) for one in records} == ({PlainRecord, dict} if plain else {dict})


def test_in_a_batch() -> None:
    """A plain record that is broken for a missing attribute is noted with its user, and its devices are not sent."""
    good, nameless = user(0), user(1, attributes={})
    records = decoded_plain(json.dumps([good, nameless]).encode())
    assert {type(one) for one in records} == {PlainRecord}
    batch, by_dicts = form(*records), form(good, nameless)
    assert [(one.record, one.reason, one.user_id) for one in batch.invalid] == [
        (one.record, one.reason, one.user_id) for one in by_dicts.invalid
    ]
    assert [push.device.as_json() for push in batch.waiting] == [push.device.as_json() for push in by_dicts.waiting]
