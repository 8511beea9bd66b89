"""Recipients: what a record may look like, and why one is broken."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.recipient import (
    BrokenRecord,
    Device,
    Environment,
    Gateway,
    Platform,
    Recipient,
    masked,
    read_recipient,
)

IOS = {"platform": "ios", "token": "a" * 64}
ANDROID = {"platform": "android", "token": "b:APA91b-_"}


def user(*devices: object, **members: Any) -> dict[str, Any]:
    """A record with a list of devices."""
    return {"user_id": "u", "devices": list(devices)} | members


def test_devices_in_a_list() -> None:
    """Each device keeps its place; the gateway is stated or follows the platform."""
    record = user(IOS, ANDROID, {"platform": "web", "token": "w"}, {**IOS, "gateway": "fcm"})
    assert [(n, d.platform, d.carrier) for n, d in read_recipient(record).devices] == [
        (0, Platform.IOS, Gateway.APNS),
        (1, Platform.ANDROID, Gateway.FCM),
        (2, Platform.WEB, Gateway.FCM),
        (3, Platform.IOS, Gateway.FCM),
    ]


def test_a_flat_record() -> None:
    """One device in the record itself is device 0; other scalars are attributes, lists and objects are not."""
    flat: dict[str, Any] = {
        **IOS,
        "user_id": "u",
        "environment": "sandbox",
        "credits": 3,
        "city": None,
        "rate": Decimal("1.5"),
        "x": [],
    }
    found = read_recipient(flat)
    assert found.devices == ((0, Device(Platform.IOS, IOS["token"], None, Environment.SANDBOX)),)
    assert found.attributes == {"credits": 3, "city": None, "rate": Decimal("1.5")}


def test_nulls_of_an_export() -> None:
    """Columns that are null are columns that are not there."""
    nulls = dict.fromkeys(("platform", "token", "gateway", "environment", "locale", "timezone", "attributes"))
    assert read_recipient(user(IOS, **nulls)) == read_recipient(user(IOS))
    assert read_recipient({"user_id": "u", "devices": None, "gateway": None, **ANDROID}).devices[0][1].token


def test_attributes_win_over_columns() -> None:
    """What is said in `attributes` stands over a column of the same name."""
    assert read_recipient(user(IOS, name="column", attributes={"name": "stated"})).attributes == {"name": "stated"}


@pytest.mark.parametrize(
    ("user_id", "text"),
    [(7, "7"), (-7, "-7"), (0, "0"), (10**511, "1" + "0" * 511), ("é" * 256, "é" * 256), (" ", " ")],
)
def test_user_ids(user_id: Any, text: str) -> None:
    """An integer is its decimal text; any text of up to 512 bytes is itself."""
    assert read_recipient(user(IOS, user_id=user_id)).user_id == text


def test_locale() -> None:
    """Texts are kept, an empty one is none."""
    found = read_recipient(user(IOS, locale="de-AT", timezone=""))
    assert (found.locale, found.timezone) == ("de-AT", None)


RECORDS: dict[str, tuple[object, str]] = {
    "not an object": ([], "not an object"),
    "null": (None, "not an object"),
    "empty": ({}, "user_id: missing"),
    "null id": (user(IOS, user_id=None), "user_id: missing"),
    "empty id": (user(IOS, user_id=""), "user_id: empty"),
    "true": (user(IOS, user_id=True), "user_id: not a string or integer"),
    "fraction": (user(IOS, user_id=Decimal("1.5")), "user_id: not a string or integer"),
    "513 bytes": (user(IOS, user_id="é" * 256 + "x"), "user_id: over 512 bytes"),
    "a huge integer": (user(IOS, user_id=10**512), "user_id: too long"),
    "a huger integer": (user(IOS, user_id=-(10**6000)), "user_id: too long"),
    "surrogate": (user(IOS, user_id="\ud800"), "user_id: not encodable as UTF-8"),
    "no device": ({"user_id": "u"}, "token: missing"),
    "devices empty": (user(), "devices: empty"),
    "devices text": ({"user_id": "u", "devices": "x"}, "devices: not a list"),
    "both": (user(IOS, token="t"), "token: given both in the record and in devices"),
    "attributes list": (user(IOS, attributes=[]), "attributes: not an object"),
    "locale number": (user(IOS, locale=5), "locale: not a string"),
    "locale surrogate": (user(IOS, locale="\udc00"), "locale: not encodable as UTF-8"),
    "timezone list": (user(IOS, timezone=[]), "timezone: not a string"),
    "flat without platform": ({"user_id": "u", "token": "t"}, "platform: missing"),
    "flat with another": ({"user_id": "u", "token": "t", "platform": "IOS"}, "platform: not one of ios, android, web"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_broken_records(name: str) -> None:
    """Each is told by its field."""
    record, reason = RECORDS[name]
    with pytest.raises(BrokenRecord) as broken:
        read_recipient(record)
    assert str(broken.value) == reason


DEVICES: dict[str, tuple[object, str]] = {
    "a text": ("token", "device: not an object"),
    "null": (None, "device: not an object"),
    "no token": ({"platform": "ios"}, "token: missing"),
    "a number": ({"platform": "ios", "token": 7}, "token: not a string"),
    "empty": ({"platform": "ios", "token": ""}, "token: empty"),
    "long": ({"platform": "ios", "token": "x" * 4097}, "token: over 4096 characters"),
    "space": ({"platform": "ios", "token": "a b"}, "token: has characters no token has"),
    "line": ({"platform": "ios", "token": "a\r\nHost: x"}, "token: has characters no token has"),
    "é": ({"platform": "ios", "token": "é"}, "token: has characters no token has"),
    "surrogate": ({"platform": "ios", "token": "\ud800"}, "token: has characters no token has"),
    "no platform": ({"token": "t"}, "platform: missing"),
    "platform": ({"token": "t", "platform": "pager"}, "platform: not one of ios, android, web"),
    "platform list": ({"token": "t", "platform": ["ios"]}, "platform: not one of ios, android, web"),
    "gateway": ({**IOS, "gateway": "sms"}, "gateway: not one of fcm, apns"),
    "gateway object": ({**IOS, "gateway": {}}, "gateway: not one of fcm, apns"),
    "environment": ({**IOS, "environment": "dev"}, "environment: not one of production, sandbox"),
}


@pytest.mark.parametrize("name", DEVICES)
def test_broken_devices(name: str) -> None:
    """A broken device is told with its place, and the user's others are kept."""
    device, reason = DEVICES[name]
    found = read_recipient(user(IOS, device, ANDROID))
    assert found.broken_devices == ((1, reason),)
    assert [n for n, _ in found.devices] == [0, 2]


def test_only_broken_devices() -> None:
    """A user without a working device is still a user: his devices are told one by one."""
    found = read_recipient(user("x", {}))
    assert (found.devices, [n for n, _ in found.broken_devices]) == ((), [0, 1])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = ("user_id", "devices", "platform", "token", "gateway", "environment", "locale", "timezone", "attributes")


@given(st.dictionaries(st.sampled_from(names) | st.text(), json_values) | json_values)
def test_anything(record: object) -> None:
    """Whatever a record is made of, it is a recipient or broken with a reason that can be written."""
    try:
        found = read_recipient(record)
    except BrokenRecord as error:
        str(error).encode()
    else:
        assert isinstance(found, Recipient)
        found.user_id.encode()
        (found.locale or "").encode()


def test_reasons_hold_nothing_of_the_record() -> None:
    """A reason is written to S3 and logs: it never repeats what the record said."""
    secret = "s3cr3t"
    for record in (user(IOS, user_id=[secret]), user(IOS, locale=[secret]), {"user_id": "u", "token": f"{secret} "}):
        with pytest.raises(BrokenRecord) as broken:
            read_recipient(record)
        assert secret not in str(broken.value)
    bad = [{**IOS, "gateway": secret}, {"platform": secret, "token": "t"}, {"platform": "ios", "token": secret + " "}]
    assert secret not in json.dumps(read_recipient(user(*bad)).broken_devices)


def test_tokens_are_masked() -> None:
    """Four characters at most, and none of a short one."""
    assert masked("abcdefghijkl") == "abcd…"
    assert masked("abcdefgh") == "…"
    shown = repr(read_recipient(user(IOS)))
    assert IOS["token"] not in shown
    assert "aaaa…" in shown
