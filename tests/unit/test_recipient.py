"""Recipients: what a record may look like, and why one is broken."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.recipient import Device, Environment, Gateway, Platform, Recipient, masked
from notifier.model.record_reading import REPEATED, read_recipient
from notifier.model.spelling import DESCRIBED, BrokenRecord

IOS = {"platform": "ios", "token": "a" * 64}
OTHER_IOS = {"platform": "ios", "token": "b" * 64}
ANDROID = {"platform": "android", "token": "b:APA91b-_"}


def user(*devices: object, **members: Any) -> dict[str, Any]:
    """A record with a list of devices."""
    return {"user_id": "u", "devices": list(devices)} | members


def test_devices_in_a_list() -> None:
    """Each device keeps its place; the gateway is stated or follows the platform."""
    record = user(IOS, ANDROID, {"platform": "web", "token": "w"}, {**OTHER_IOS, "gateway": "fcm"})
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
    """A member of `attributes` wins over a column of the same name."""
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
    "fraction": (user(IOS, user_id=Decimal("1.5")), "user_id: a number with a fraction: write it as text"),
    "513 bytes": (user(IOS, user_id="é" * 256 + "x"), "user_id: over 512 bytes"),
    "a huge integer": (user(IOS, user_id=10**512), "user_id: too long"),
    "a huger integer": (user(IOS, user_id=-(10**6000)), "user_id: too long"),
    "surrogate": (user(IOS, user_id="\ud800"), "user_id: not encodable as UTF-8"),
    "no device": ({"user_id": "u"}, "token: missing"),
    "devices empty": (user(), "devices: empty"),
    "devices text": ({"user_id": "u", "devices": "x"}, "devices: text that is not a JSON list"),
    "devices object": ({"user_id": "u", "devices": {}}, "devices: not a list"),
    "both": (user(IOS, token="t"), "token: given both in the record and in devices"),
    "attributes list": (user(IOS, attributes=[]), "attributes: not an object"),
    "locale number": (user(IOS, locale=5), "locale: not a string"),
    "locale surrogate": (user(IOS, locale="\udc00"), "locale: not encodable as UTF-8"),
    "timezone list": (user(IOS, timezone=[]), "timezone: not a string"),
    "flat without platform": ({"user_id": "u", "token": "t"}, "platform: missing"),
    "flat with another": ({"user_id": "u", "token": "t", "platform": "IOS4"}, "platform: not one of ios, android, web"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_broken_records(name: str) -> None:
    """Each is reported with its field."""
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
    "space": ({"platform": "ios", "token": "x y"}, "token: has characters no token has"),
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
    """A broken device is reported with its index, and the user's others are kept."""
    device, reason = DEVICES[name]
    found = read_recipient(user(IOS, device, ANDROID))
    assert found.broken_devices == ((1, reason),)
    assert [n for n, _ in found.devices] == [0, 2]


def test_only_broken_devices() -> None:
    """A user without a valid device is still a user: each of the devices is reported."""
    found = read_recipient(user("x", {}))
    assert (found.devices, [n for n, _ in found.broken_devices]) == ((), [0, 1])


def test_columns_and_words_in_any_case() -> None:
    """GA4 writes `iOS`, Snowflake `USER_ID`: they are the known ones, in the record and in its devices."""
    flat = {"USER_ID": "u", "Platform": " iOS", "TOKEN": "a" * 64, "Environment": "SANDBOX", "Locale": "de"}
    found = read_recipient(flat)
    assert found.devices == ((0, Device(Platform.IOS, "a" * 64, None, Environment.SANDBOX)),)
    assert (found.user_id, found.locale, found.attributes) == ("u", "de", {})
    listed = {"User_Id": 7, "DEVICES": [{"PLATFORM": "Web", "Token": "w", "GATEWAY": "FCM"}, {"token": "t"}]}
    found = read_recipient(listed)
    assert found.devices == ((0, Device(Platform.WEB, "w", Gateway.FCM)),)
    assert found.broken_devices == ((1, "platform: missing"),)


def test_attributes_keep_their_case() -> None:
    """Only known columns are found in any case: a placeholder names an attribute as the file does."""
    found = read_recipient({"USER_ID": "u", **ANDROID, "First_Name": "A", "ATTRIBUTES": {"City": "B", "TOKEN": "C"}})
    assert found.attributes == {"First_Name": "A", "City": "B", "TOKEN": "C"}


@pytest.mark.parametrize("first", ["user_id", "USER_ID"])
def test_a_column_twice_in_two_cases_is_broken(first: str) -> None:
    """It is not known which one is meant; if one of them is null, it is the other."""
    second = "User_ID"
    with pytest.raises(BrokenRecord, match=r"^user_id: given twice, in names that differ only in case$"):
        read_recipient({first: "u", **IOS, second: "v"})
    assert read_recipient({first: None, **IOS, second: "v"}).user_id == "v"
    assert read_recipient({first: "u", **IOS, second: None}).user_id == "u"
    found = read_recipient(user({**IOS, "TOKEN": "b" * 64}, ANDROID))
    assert found.broken_devices == ((0, "token: given twice, in names that differ only in case"),)


def test_a_new_column_in_every_record() -> None:
    """Names are remembered up to a bound, and beyond it known columns are still found in any case."""
    for n in range(11_000):
        assert read_recipient({"user_id": "u", **ANDROID, f"new{n}": n}).attributes == {f"new{n}": n}
    assert read_recipient({"User_id": "u", **ANDROID, "new": 1}).attributes == {"new": 1}


LARGE = "user_id: a decimal of 2^53 or more, which may have lost digits: write it as text"
FRACTION = "user_id: a number with a fraction: write it as text"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("1000.0", "1000"),
        ("1e3", "1000"),
        ("-7.00", "-7"),
        ("-0.0", "0"),
        ("9007199254740991.0", "9007199254740991"),
        ("9007199254740992.0", LARGE),
        ("-9007199254740992.0", LARGE),
        ("1.23E+15", "1230000000000000"),
        ("1e400", LARGE),
        ("1000.5", FRACTION),
        ("1e-400", FRACTION),
    ],
)
def test_ids_as_decimals(written: str, found: str) -> None:
    """pandas writes 1000.0 for 1000: it is that integer's text, where a double says every integer exactly."""
    record = msgspec.json.Decoder(float_hook=Decimal).decode(
        f'{{"user_id": {written}, "platform": "web", "token": "t"}}'
    )
    try:
        assert read_recipient(record).user_id == found
    except BrokenRecord as error:
        assert str(error) == found  # noqa: PT017


@pytest.mark.parametrize(
    ("platform", "written", "found"),
    [
        ("ios", "<" + " ".join(["abcd1234"] * 8) + ">", "abcd1234" * 8),
        ("iOS", "<" + "ab" * 32 + ">", "ab" * 32),
        ("ios", " " + "AB" * 32 + "\n", "AB" * 32),
        ("ios", "abcd 1234", "abcd1234"),
        ("android", " cX:APA91b-x_yz0123 \r\n", "cX:APA91b-x_yz0123"),
        ("ios", "{length = 32, bytes = 0x4fa7b1c2 9911aabb ... 00ff13c7 }", DESCRIBED),
        ("ios", "{length=32,bytes=0x4fa7b1c2}", DESCRIBED),
        ("ios", "32 bytes", DESCRIBED),
        ("ios", "<null>", "token: has characters no token has"),
        ("android", "<abcd>", "token: has characters no token has"),
        ("android", "a b", "token: has characters no token has"),
        ("ios", "  ", "token: empty"),
        ("ios", "NULL", "token: a word that means no token (null, None, NaN…)"),
    ],
)
def test_tokens_with_something_around_them(platform: str, written: str, found: str) -> None:
    """White space and the brackets of NSData's description go; where the token is not in it, that is said."""
    recipient = read_recipient(user({"platform": platform, "token": written}))
    assert [device.token for _, device in recipient.devices] + [why for _, why in recipient.broken_devices] == [found]


def test_columns_of_json_as_text() -> None:
    """Warehouses keep an object as text: it is that object, and a list of devices that list."""
    stated = read_recipient(user(IOS, ANDROID, attributes={"a": {"b": [1, Decimal("1.50")]}}))
    text = {"user_id": "u", "devices": json.dumps([IOS, ANDROID]), "attributes": ' {"a": {"b": [1, 1.50]}}'}
    assert read_recipient(text) == stated
    assert read_recipient(user(json.dumps(IOS), ANDROID, attributes=text["attributes"])) == stated
    for nothing in ("", "  ", "null"):
        assert read_recipient({"user_id": "u", **IOS, "devices": nothing, "attributes": nothing}).attributes == {}


@pytest.mark.parametrize("text", ["{'a': 1}", "[]", "1", "Ann", '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "[" * 5000])
def test_text_that_is_no_object(text: str) -> None:
    """It is a broken record with its reason, whatever the text is."""
    with pytest.raises(BrokenRecord, match=r"^attributes: text that is not a JSON object$"):
        read_recipient(user(IOS, attributes=text))
    assert read_recipient(user(IOS, "{" + text)).broken_devices == ((1, "device: text that is not a JSON object"),)


def test_a_token_twice_for_one_user() -> None:
    """It is one phone: asked for once, by its first place, and the second is a broken device."""
    upper = {"platform": "ios", "token": "A" * 64}
    found = read_recipient(user(IOS, ANDROID, IOS, upper, {**ANDROID, "token": ANDROID["token"].lower()}))
    assert [n for n, _ in found.devices] == [0, 1, 4]
    assert found.broken_devices == ((2, REPEATED), (3, REPEATED))
    assert read_recipient(user(IOS, "x", IOS)).broken_devices == ((1, "device: not an object"), (2, REPEATED))


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
