"""Checks a campaign's messages as both gateways would: its additions, web addresses, and sizes.

A gateway refuses such a message for every device, so the faults are reported before anything is sent.
"""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import msgspec

from notifier.content.template import has_placeholder
from notifier.gateway.apns import additions as apns
from notifier.gateway.apns import message as apns_message
from notifier.gateway.fcm import additions as fcm
from notifier.gateway.fcm import message as fcm_message
from notifier.gateway.payload import Label
from notifier.model.campaign import BrokenCampaign, Campaign, Fault, Message, Text, read_campaign
from notifier.model.validation import printable_name

_RUN_ID = "0" * 20
"""As long as a real one."""
_WEB = ("http", "https")
_FILLED = ("title", "body", "image_url", "deep_link")


def addition_faults(campaign: Campaign) -> Iterator[Fault]:
    """The faults of any message of the campaign, each with its field."""
    found = [fault for field, message in _messages(campaign) for fault in _message_faults(message, field)]
    yield from found
    if found:
        return  # the size of a broken message means nothing
    for arm, field, message in _sent(campaign):
        yield from fcm.header_faults(message, field)
        yield from _size_faults(Label(_RUN_ID, campaign.id, arm), message, field)


def read_sendable(decoded: object) -> Campaign:
    """The campaign in a decoded JSON value, if the gateways would take its messages.

    Raises:
        BrokenCampaign: with every fault found, each named by its field.
    """
    campaign = read_campaign(decoded)
    if faults := tuple(addition_faults(campaign)):
        raise BrokenCampaign(faults)
    return campaign


def _messages(campaign: Campaign) -> Iterator[tuple[str, Message]]:
    """Every message as it is written."""
    yield "campaign.message", campaign.message
    for n, variant in enumerate(campaign.variants):
        yield f"campaign.variants[{n}].message", variant.message


def _sent(campaign: Campaign) -> Iterator[tuple[str, str, Message]]:
    """Every message as it is sent: arm, field, message."""
    if not campaign.variants:
        [(arm, _), *_] = campaign.arms
        yield arm, "campaign.message", campaign.message
    for n, variant in enumerate(campaign.variants):
        yield variant.name, f"campaign.variants[{n}].message", campaign.message_of(variant.name)


def _message_faults(message: Message, field: str) -> Iterator[Fault]:
    yield from fcm.addition_faults(message, field)
    yield from apns.addition_faults(message, field)
    for part in ("fcm", "apns"):
        yield from _placeholder_faults(getattr(message, part) or {}, f"{field}.{part}")
    yield from _image_faults(message, field)
    for locale, text in (message.translations or {}).items():
        yield from _image_faults(text, f"{field}.translations.{printable_name(locale)}")


def _placeholder_faults(value: object, field: str) -> Iterator[Fault]:
    """Additions are sent as they are: users would read a placeholder in one."""
    if isinstance(value, str) and has_placeholder(value):
        yield Fault(field, "a placeholder here would be sent as it is", "placeholders work in title, body, links, data")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _placeholder_faults(inner, f"{field}.{printable_name(name)}")
    elif isinstance(value, list | tuple):
        for n, inner in enumerate(value):
            yield from _placeholder_faults(inner, f"{field}[{n}]")


def _image_faults(message: Message | Text, field: str) -> Iterator[Fault]:
    address = message.image_url
    if not address or has_placeholder(address):
        return
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.lower() not in _WEB or not parts.netloc:
        yield Fault(f"{field}.image_url", "not a web address", "write it as in https://cdn.example.com/a.png")


def addition_warnings(campaign: Campaign) -> Iterator[str]:
    """What the gateways accept, and phones may not show."""
    for field, message in _messages(campaign):
        texts = [(field, message.image_url)]
        texts += [(f"{field}.translations.{tag}", text.image_url) for tag, text in (message.translations or {}).items()]
        for where, address in texts:
            if address and address.lower().startswith("http://"):
                yield f"{where}.image_url begins with http://: most phones load pictures by https:// only"


def _size_faults(label: Label, message: Message, field: str) -> Iterator[Fault]:
    """Messages that are too large for a gateway before the first placeholder is filled in."""
    texts: list[tuple[str, Message]] = [(field, message)]
    for locale, text in (message.translations or {}).items():
        given = {name: value for name in _FILLED if (value := getattr(text, name)) is not msgspec.UNSET}
        texts.append((f"{field}.translations.{printable_name(locale)}", msgspec.structs.replace(message, **given)))
    for at, translated in texts:
        for gateway, size, limit in _constant_bytes(_without_placeholders(translated), label):
            if size > limit:
                problem = f"{size:,} bytes for {gateway}, which takes {limit:,}"
                yield Fault(at, problem, "shorten the texts or the data, or leave something out")


def _without_placeholders(message: Message) -> Message:
    """The message with texts that hold placeholders left empty: their length is known only for each user."""
    fields = {name: "" for name in _FILLED if has_placeholder(getattr(message, name) or "")}
    data = {key: "" if has_placeholder(text) else text for key, text in (message.data or {}).items()}
    return msgspec.structs.replace(message, **fields, **({"data": data} if data else {}))


def _constant_bytes(message: Message, label: Label) -> Iterator[tuple[str, int, int]]:
    """Each part that a gateway limits: its name, its bytes, and the limit."""
    for part, size in fcm_message.part_bytes(message, label):
        yield f"FCM ({part})", size, fcm_message.MAX_PAYLOAD_BYTES
    for _, size in apns_message.part_bytes(message, label):
        yield "APNs", size, apns_message.MAX_PAYLOAD_BYTES
