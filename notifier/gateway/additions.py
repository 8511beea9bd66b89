"""Checks a campaign's messages as both gateways would: its additions, addresses, languages and sizes.

A gateway refuses such a message for every device, so the faults are reported before anything is sent.
"""

from collections.abc import Iterator, Mapping

import msgspec

from notifier.content.languages import is_known
from notifier.content.template import has_placeholder
from notifier.content.web_addresses import image_problem, link_problem
from notifier.gateway.apns import additions as apns
from notifier.gateway.apns import message as apns_message
from notifier.gateway.fcm import additions as fcm
from notifier.gateway.fcm import message as fcm_message
from notifier.gateway.payload import Label
from notifier.model.campaign import Campaign, Message, Text
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.validation import Fault, printable_name

_RUN_ID = "0" * 20
"""As long as a real one."""
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
    yield from _address_faults(message, field)
    for locale, text in (message.translations or {}).items():
        path = f"{field}.translations.{printable_name(locale)}"
        # No user's locale would ever match it, and its readers would silently get the main text.
        if not is_known(locale):
            yield Fault(path, "no language", "write its BCP 47 tag, such as de, pt-BR or zh-Hant")
        yield from _address_faults(text, path)


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


def _address_faults(message: Message | Text, field: str) -> Iterator[Fault]:
    if message.image_url and (problem := image_problem(message.image_url)):
        yield Fault(f"{field}.image_url", *problem)
    if message.deep_link and (problem := link_problem(message.deep_link)):
        yield Fault(f"{field}.deep_link", *problem)


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
