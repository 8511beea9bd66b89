"""Previews of a campaign: its texts for one user, on both platforms, with the size of the payload."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from approval.form import Form, VariantForm
from approval.form_campaign import read_campaign_of
from notifier.content.render import Renderer, Wording
from notifier.gateway.apns.message import MAX_PAYLOAD_BYTES
from notifier.gateway.apns.message import Prepared as ApnsPrepared
from notifier.gateway.fcm.message import Prepared as FcmPrepared
from notifier.gateway.fcm.message import assembled
from notifier.gateway.payload import Label
from notifier.model.campaign import DEFAULT_ARM, Campaign, Message
from notifier.model.recipient import Recipient
from notifier.model.record_reading import read_recipient
from notifier.model.spelling import BrokenRecord

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "Preview",
    "arms_of",
    "campaign_for_preview",
    "locales_of",
    "prepared",
    "previews",
    "previews_of_text",
    "recipient_of",
]

_RUN = "0" * 20
"""In place of a run id, which has this length, so that sizes are right."""
MAX_PREVIEWS = 120
"""Previews on one page. Each text alone is shown by `previews_of_text`."""
_PREVIEW_NAME = "preview"
_MAX_NAME_CHARS = 128
"""The longest id of a campaign."""


class Preview(msgspec.Struct, frozen=True):
    """One arm in one language on one platform. `locale` is empty for the message's own texts."""

    arm: str
    locale: str
    platform: str
    title: str
    body: str
    image_url: str
    deep_link: str
    size_bytes: int
    fault: str = ""

    @property
    def is_too_large(self) -> bool:
        """Whether Apple or Google would refuse it."""
        return self.size_bytes > MAX_PAYLOAD_BYTES


def recipient_of(sample: Mapping[str, Any] | None, locale: str | None = None) -> Recipient:
    """A user of the audience with a device that is no real one; without a sample, a user without attributes."""
    # A sample's devices are masked. The reader of records wants one that looks real, or it refuses the whole record.
    record = {k: v for k, v in (sample or {}).items() if k not in ("devices", "token", "gateway", "environment")}
    try:
        recipient = read_recipient({"user_id": "sample", **record, "platform": "ios", "token": "sample"})
    except BrokenRecord:
        recipient = Recipient("sample", ())
    return msgspec.structs.replace(recipient, locale=locale if locale is not None else recipient.locale)


def previews(campaign: Campaign, sample: Mapping[str, Any] | None) -> tuple[Preview, ...]:
    """Every arm but control, in every language it has, on Android and iOS.

    Raises:
        BrokenCampaign: when a text cannot be compiled.
    """
    return tuple(islice(_previews(campaign, Renderer(campaign), sample), MAX_PREVIEWS))


def previews_of_text(
    campaign: Campaign, sample: Mapping[str, Any] | None, arm: str, locale: str
) -> tuple[Preview, ...]:
    """One text on Android and iOS: any of them, also of a campaign that has more texts than `previews` makes."""
    return tuple(_on_platforms(campaign, Renderer(campaign), sample, arm, locale))


def _previews(campaign: Campaign, renderer: Renderer, sample: Mapping[str, Any] | None) -> Iterator[Preview]:
    for arm in arms_of(campaign):
        for locale in locales_of(campaign, arm):
            yield from _on_platforms(campaign, renderer, sample, arm, locale)


def _on_platforms(
    campaign: Campaign, renderer: Renderer, sample: Mapping[str, Any] | None, arm: str, locale: str
) -> Iterator[Preview]:
    wording, texts, fault = _personalised(renderer, arm, recipient_of(sample, locale))
    message = _filled(wording, texts)
    fcm, apns = prepared(wording, Label(_RUN, campaign.id, arm))
    for platform, size_bytes in (("android", fcm.payload_bytes(texts)), ("ios", apns.payload_bytes(texts))):
        yield Preview(
            arm=arm,
            locale=locale,
            platform=platform,
            title=message.title or "",
            body=message.body or "",
            image_url=message.image_url or "",
            deep_link=message.deep_link or "",
            size_bytes=size_bytes,
            fault=fault,
        )


def arms_of(campaign: Campaign) -> tuple[str, ...]:
    """The arms that get a push."""
    return tuple(variant.name for variant in campaign.variants) or (DEFAULT_ARM,)


def locales_of(campaign: Campaign, arm: str) -> tuple[str, ...]:
    """The languages of an arm: the message's own (empty), then its translations."""
    return ("", *(campaign.message_of(arm).translations or {}))


def prepared(wording: Wording, label: Label) -> tuple[FcmPrepared, ApnsPrepared]:
    """Payloads with the very bytes that the notifier sends, made without the libraries that only sending needs."""
    return (
        FcmPrepared(wording.message, wording.slots, label, assemble=assembled),
        ApnsPrepared(wording.message, wording.slots, label, topic="app"),
    )


def _personalised(renderer: Renderer, arm: str, recipient: Recipient) -> tuple[Wording, tuple[str, ...], str]:
    """The user's wording and texts; where they lack an attribute, the wording as it was written, and the reason."""
    try:
        renderer.check(recipient)  # as the worker does before it sends to this user
        words = renderer.render(arm, recipient)
    except BrokenRecord as error:
        wording = renderer.wording_for(arm, recipient)
        return msgspec.structs.replace(wording, slots=()), (), f"This user: {getattr(error, 'shown', error)}."
    return renderer.wording(words.key), words.texts, ""


def _filled(wording: Wording, texts: tuple[str, ...]) -> Message:
    """The message with the texts in its slots."""
    said = dict(zip(wording.slots, texts, strict=True))
    data = {key: said.get(f"data.{key}", text) for key, text in (wording.message.data or {}).items()}
    fields = {slot: text for slot, text in said.items() if not slot.startswith("data.")}
    return msgspec.structs.replace(wording.message, **fields, **({"data": data} if data else {}))


def campaign_for_preview(form: Form, now: datetime) -> Campaign | None:
    """The form's campaign with valid values wherever no preview shows them; None if its texts have faults.

    So the previews appear while the rest of the form is still incomplete.
    """
    kept = [n for n, texts in enumerate(form.languages) if texts.locale]
    count = len(form.variants)
    variants = tuple(_completed(variant, n, count, kept) for n, variant in enumerate(form.variants))
    completed = msgspec.structs.replace(
        form,
        name=form.name[:_MAX_NAME_CHARS] or _PREVIEW_NAME,
        experiment="",
        control_percent="",
        start="",
        latest="",
        local="",
        quiet="",
        per_second="",
        goal="",
        goal_base_percent="",
        test_percent="",
        languages=tuple(form.languages[n] for n in kept),
        variants=variants,
    )
    campaign, faults = read_campaign_of(completed, now)
    timed = _timed(form, now)
    # Texts of a variant that are missing in one language: show the variants without languages rather than nothing.
    if campaign is None and variants and all(".languages." in field for field in faults):
        bare = tuple(msgspec.structs.replace(variant, languages=()) for variant in variants)
        campaign, _ = read_campaign_of(msgspec.structs.replace(completed, variants=bare, languages=()), now)
    if campaign is None or timed is None:
        return campaign
    return msgspec.structs.replace(campaign, local_time=timed.local_time, quiet=timed.quiet)


def _timed(form: Form, now: datetime) -> Campaign | None:
    """A campaign with the form's times alone; None while they have faults."""
    names = ("start", "timezone", "local", "within_h", "if_past", "quiet", "quiet_from", "quiet_to", "quiet_then")
    times = {name: getattr(form, name) for name in names}
    return read_campaign_of(Form(name=_PREVIEW_NAME, title=_PREVIEW_NAME, **times), now)[0]


def _completed(variant: VariantForm, n: int, count: int, kept: list[int]) -> VariantForm:
    """The variant with an equal share and a valid name. The first one takes the remainder, so that the sum is 100."""
    share = 100 // count + (100 % count if n == 0 else 0)
    languages = tuple(variant.languages[m] for m in kept if m < len(variant.languages))
    name = variant.name if variant.name and variant.name != "control" else f"variant-{n + 1}"
    return msgspec.structs.replace(variant, percent=str(share), languages=languages, name=name)
