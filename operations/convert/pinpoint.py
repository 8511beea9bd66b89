"""Makes an audience from Amazon Pinpoint's endpoint files.

Pinpoint described an audience as endpoints, one for each way to reach a person, in CSV with dotted headers or in
newline-delimited JSON; its export jobs wrote the latter, gzipped. Columns and members are those of
https://docs.aws.amazon.com/pinpoint/latest/userguide/segments-importing.html (a repeated column
holds a list) and https://docs.aws.amazon.com/pinpoint/latest/apireference/apps-application-id-endpoints-endpoint-id.html.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from operations.convert.grouping import grouped
from operations.convert.table import Table, check_id

CHANNELS: dict[str, tuple[str, str | None]] = {
    "APNS": ("ios", None),
    "APNS_SANDBOX": ("ios", "sandbox"),
    "GCM": ("android", None),
}
"""The channels that are converted: platform, and APNs environment where it is not production."""

OTHER_CHANNELS = frozenset(
    {
        "ADM", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "CUSTOM", "EMAIL", "IN_APP", "PUSH", "SMS", "VOICE",
    }
)  # fmt: skip
"""The rest of Pinpoint's `ChannelType` (botocore's model of the service names them all)."""

_IDS = ("Id", "User.UserId", "Address")
_USER_ATTRIBUTES = "User.UserAttributes."
_ATTRIBUTES = "Attributes."
_PLAIN = (
    "Id", "Address", "ChannelType", "OptOut", "EndpointStatus", "User.UserId", "Demographic.Locale",
    "Demographic.Timezone",
)  # fmt: skip
_USUAL = {name.lower(): name for name in (*_PLAIN, _USER_ATTRIBUTES.removesuffix("."))}


class LeftOut(enum.StrEnum):
    """Why an endpoint is not in the audience. Other channels are counted by name as well."""

    OPTED_OUT = "opted_out"
    """`OptOut` is `ALL`."""
    INACTIVE = "inactive"
    """`EndpointStatus` is `INACTIVE`: Pinpoint had found the token dead."""
    OTHER_CHANNEL = "other_channel"
    """Email, SMS and the like."""
    UNKNOWN_CHANNEL = "unknown_channel"
    """`ChannelType` is none of Pinpoint's."""
    NO_CHANNEL = "no_channel"
    """`ChannelType` is missing: Pinpoint completed such rows from endpoints that it knew already; we cannot."""
    NO_ADDRESS = "no_address"
    """There is no token."""
    NO_ID = "no_id"
    """Neither `User.UserId` nor the endpoint's own `Id`: without a user id there is no arm."""
    NOT_READABLE = "not_readable"
    """Not an object, or not JSON."""


class NotPinpoint(ValueError):
    """The file is not one of Pinpoint's. The message names the columns that are missing."""


class EndpointCounts(msgspec.Struct):
    """What became of the endpoints of a file. `users` counts the records written, consecutive endpoints together."""

    endpoints: int = 0
    devices: int = 0
    users: int = 0
    without_user_id: int = 0
    """Endpoints without `User.UserId`: their own `Id` becomes the user id."""
    left_out: dict[str, int] = {}
    channels_left_out: dict[str, int] = {}

    def leave_out(self, why: LeftOut, channel: str = "") -> None:
        """Count one endpoint that is not in the audience."""
        self.left_out[why.value] = self.left_out.get(why.value, 0) + 1
        if channel:
            self.channels_left_out[channel] = self.channels_left_out.get(channel, 0) + 1


class _Endpoint(msgspec.Struct, frozen=True):
    """What we use of one endpoint. Attributes hold lists, as Pinpoint kept them."""

    plain: Mapping[str, str]
    attributes: Mapping[str, Sequence[str]]


def records(lines: Iterable[str], counts: EndpointCounts) -> Iterator[dict[str, Any]]:
    """The audience's records from a file's text, CSV or JSON by its content; `counts` is filled while they are read.

    Consecutive endpoints of one user that agree in all but the token become one record with several devices. Other
    endpoints of the same user become further records: the notifier sends to them all the same.

    Raises:
        NotPinpoint: it begins like neither of them.
    """
    texts = iter(lines)
    first = next((line for line in texts if line.strip()), None)
    if first is None:
        return
    # Excel and some exports begin with a byte-order mark, which is no part of the first column's name.
    first = first.removeprefix("\ufeff")
    is_json = first.lstrip().startswith(("{", "["))
    found = _from_json(first, texts) if is_json else _from_csv(first, texts)
    for record in grouped(_judged(found, counts)):
        counts.users += 1
        yield record


def _from_json(first: str, rest: Iterator[str]) -> Iterator[_Endpoint | None]:
    for line in _chain(first, rest):
        text = line.strip()
        # A list that has one endpoint a line: its brackets may stand on lines of their own, and commas after lines.
        if not text or text in ("[", "]"):
            continue
        value = _decoded(text)
        if value is None:
            value = _decoded(text.removesuffix(",").removeprefix("[").removesuffix("]"))
        for one in value if isinstance(value, list) else [value]:
            yield _endpoint_of(one) if isinstance(one, dict) else None


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


def _endpoint_of(value: dict[str, Any]) -> _Endpoint:
    """From JSON. Export jobs wrote nested members, import files may have dotted names."""
    flat: dict[str, Any] = {}
    for name, member in value.items():
        if isinstance(member, dict) and name.lower() in ("user", "demographic", "attributes"):
            for inner, content in member.items():
                flat[_usual(f"{name}.{inner}")] = content
        else:
            flat[_usual(name)] = member
    nested = flat.pop("User.UserAttributes", None)
    if isinstance(nested, dict):
        flat |= {_USER_ATTRIBUTES + name: content for name, content in nested.items()}
    plain = {name: str(flat[name]).strip() for name in _PLAIN if isinstance(flat.get(name), str | int)}
    return _Endpoint(plain, _attributes((name, _as_list(content)) for name, content in flat.items()))


def _usual(name: str) -> str:
    """A member's name as Pinpoint writes it: Athena and Redshift write all names in small letters."""
    lower = name.lower()
    if lower in _USUAL:
        return _USUAL[lower]
    for prefix in (_USER_ATTRIBUTES, _ATTRIBUTES):
        if lower.startswith(prefix.lower()):
            return prefix + name[len(prefix) :]
    return name


def _as_list(content: object) -> list[str]:
    if isinstance(content, list):
        return [str(item) for item in content if item is not None]
    return [] if content is None else [str(content)]


def _from_csv(first: str, rest: Iterator[str]) -> Iterator[_Endpoint | None]:
    table = Table(_chain(first, rest), lambda name: name.lower() in _USUAL)
    header = [_usual(name) for name in table.columns]
    if "Address" not in header or "ChannelType" not in header:
        raise NotPinpoint("neither JSON nor a CSV with the columns ChannelType and Address: is this an endpoint file?")
    plain_at = {name: header.index(name) for name in _PLAIN if name in header}
    attributes_at = [(n, name) for n, name in enumerate(header) if name.startswith((_ATTRIBUTES, _USER_ATTRIBUTES))]
    for number, row in table:
        plain = {name: row[at].strip() for name, at in plain_at.items() if at < len(row)}
        for name in _IDS:
            check_id(number, name, plain.get(name, ""))
        yield _Endpoint(plain, _attributes((name, [row[n]]) for n, name in attributes_at if n < len(row) and row[n]))


def _attributes(columns: Iterable[tuple[str, list[str]]]) -> dict[str, list[str]]:
    """By the last part of their names. Where both have one, the user's attribute wins over the endpoint's."""
    endpoints: dict[str, list[str]] = {}
    users: dict[str, list[str]] = {}
    for name, values in columns:
        if name.startswith(_USER_ATTRIBUTES):
            users.setdefault(name.removeprefix(_USER_ATTRIBUTES), []).extend(values)
        elif name.startswith(_ATTRIBUTES):
            endpoints.setdefault(name.removeprefix(_ATTRIBUTES), []).extend(values)
    return {name: values for name, values in (endpoints | users).items() if values}


def _judged(found: Iterable[_Endpoint | None], counts: EndpointCounts) -> Iterator[dict[str, Any]]:
    """One record for each endpoint that can be sent to."""
    for endpoint in found:
        counts.endpoints += 1
        if endpoint is None:
            counts.leave_out(LeftOut.NOT_READABLE)
            continue
        plain = endpoint.plain
        channel = plain.get("ChannelType", "").upper()  # files made by hand have it in any case
        why = _why_not(plain, channel)
        if why is not None:
            counts.leave_out(why, channel if why is LeftOut.OTHER_CHANNEL else "")
            continue
        counts.devices += 1
        counts.without_user_id += not plain.get("User.UserId")
        yield _record(endpoint, channel)


def _why_not(plain: Mapping[str, str], channel: str) -> LeftOut | None:
    checks = (
        (LeftOut.NO_CHANNEL, not channel),
        (LeftOut.OTHER_CHANNEL, channel in OTHER_CHANNELS),
        (LeftOut.UNKNOWN_CHANNEL, channel not in CHANNELS),
        (LeftOut.OPTED_OUT, plain.get("OptOut", "").upper() == "ALL"),
        (LeftOut.INACTIVE, plain.get("EndpointStatus", "").upper() == "INACTIVE"),
        (LeftOut.NO_ADDRESS, not plain.get("Address")),
        (LeftOut.NO_ID, not (plain.get("User.UserId") or plain.get("Id"))),
    )
    return next((why for why, applies in checks if applies), None)


def _record(endpoint: _Endpoint, channel: str) -> dict[str, Any]:
    plain = endpoint.plain
    platform, environment = CHANNELS[channel]
    device = {"platform": platform, "token": plain["Address"]}
    if environment is not None:
        device["environment"] = environment
    record: dict[str, Any] = {"user_id": plain.get("User.UserId") or plain["Id"], "devices": [device]}
    if plain.get("Demographic.Locale"):
        record["locale"] = plain["Demographic.Locale"].replace("_", "-")  # de_AT on iOS, de-AT everywhere else
    if plain.get("Demographic.Timezone"):
        record["timezone"] = plain["Demographic.Timezone"]
    if endpoint.attributes:
        record["attributes"] = {
            name: values[0] if len(values) == 1 else list(values) for name, values in endpoint.attributes.items()
        }
    return record


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
