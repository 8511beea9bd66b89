"""The campaign: what is sent, to which arms, within which limits. The public file format, as types.

The JSON Schema in `docs/batch-file.schema.json` is generated from these types (`python -m operations.schema`).
"""

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from notifier.model.characters import is_blank, with_line_feeds
from notifier.model.validation import Fault, shape_faults, shown_name, text_faults

MAX_TTL_S = 2_419_200
"""Four weeks: the longest time FCM keeps a message (https://firebase.google.com/docs/cloud-messaging/concept-options#ttl)."""

MAX_BADGE = 2**31 - 1
"""FCM refuses a `notification_count` of more than 32 bits."""

CONTROL = "control"
DEFAULT_ARM = "default"
HUNDREDTHS = 10_000
"""Hundredths of a percent in the whole: the resolution of the arms."""

END = r"(?![\s\S])"
"""The end of a text, to Python and to ECMAScript alike: Python's `$` also stands before a last newline."""

MAX_VARIANTS = 40
"""The users of every arm of a batch are told in 2 KB of S3 metadata."""
SHOWN_FAULTS = 20
"""So many faults are told at once."""

Title = Annotated[str, Meta(max_length=1000)]
CampaignId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=rf"^[^\x00-\x1f\x7f]+{END}",
        description="One id is one run: a second run with the same id is refused, unless its file says `again`.",
    ),
]
ArmName = Annotated[
    str, Meta(pattern=rf"^[a-z0-9_-]{{1,32}}{END}", description="Unique in the file; `control` is reserved.")
]
Locale = Annotated[str, Meta(min_length=2, max_length=35)]
Percent = Annotated[
    Decimal,
    Meta(
        description="Of the users. At most two decimal places.",
        extra_json_schema={"minimum": 0, "maximum": 100},
    ),
]
Moment = Annotated[datetime, Meta(tz=True)]

FORBIDDEN_DATA_KEY = re.compile(
    r"(from|message_type|notification|collapse_key|gcm.*|google.*|notifier_.*)", re.IGNORECASE
)
"""Data keys FCM refuses, and our own.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages#Message.
"""


_SAYS = ("message", "variants")
"""What of a campaign reaches phones."""


class BrokenCampaign(ValueError):
    """The campaign cannot be sent as it is written. `faults` names every reason."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        super().__init__("; ".join([str(fault) for fault in faults[:SHOWN_FAULTS]] + more))
        self.faults = faults


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a translation may replace."""

    title: Title | UnsetType = UNSET
    body: str | UnsetType = UNSET
    image_url: str | UnsetType = UNSET
    deep_link: str | UnsetType = UNSET


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a push says and how it is delivered. In a variant every field given replaces the campaign's.

    Texts may hold Liquid placeholders, filled from a user's attributes: `Hi {{ first_name | default: 'there' }}`.
    """

    title: Annotated[Title | UnsetType, Meta(description="The first line.")] = UNSET
    body: Annotated[str | UnsetType, Meta(description="The text below the title.")] = UNSET
    image_url: Annotated[str | UnsetType, Meta(description="A picture that the app shows with it.")] = UNSET
    deep_link: Annotated[str | UnsetType, Meta(description="Where in the app a tap leads.")] = UNSET
    data: Annotated[
        dict[str, str] | UnsetType,
        Meta(description="For the app: texts by name. FCM's reserved names and `notifier_…` are refused."),
    ] = UNSET
    ttl_s: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_TTL_S)] | UnsetType,
        Meta(
            description="Seconds for which the gateways keep it for a phone that is off; 0 is now or never. Without it"
            " they keep it as long as they do (FCM: four weeks). We try for this long, at most a day."
        ),
    ] = UNSET
    priority: Annotated[
        Literal["high", "normal"] | UnsetType, Meta(description="Whether it may wake a sleeping phone.")
    ] = UNSET
    collapse_id: Annotated[
        Annotated[str, Meta(min_length=1)] | UnsetType,
        Meta(description="A phone shows only the last push with it. Default: made from campaign and arm."),
    ] = UNSET
    sound: Annotated[str | UnsetType, Meta(description="A sound of the app's, or `default`.")] = UNSET
    badge: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_BADGE)] | UnsetType,
        Meta(description="The number on the app's icon; 0 takes it away."),
    ] = UNSET
    background: Annotated[
        bool | UnsetType, Meta(description="Wakes the app and shows nothing: without title, body, sound and badge.")
    ] = UNSET
    translations: Annotated[
        dict[Locale, Text] | UnsetType,
        Meta(description="Texts by language (`de`, `pt-BR`), for users with such a `locale`."),
    ] = UNSET
    apns: Annotated[dict[str, Any] | UnsetType, Meta(description="More members of the APNs payload.")] = UNSET
    fcm: Annotated[dict[str, Any] | UnsetType, Meta(description="More members of FCM's `message`.")] = UNSET


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way of saying it, for a share of the users."""

    name: ArmName
    percent: Percent
    message: Annotated[Message, Meta(description="What differs from the campaign's message.")] = Message()


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One object in S3 that holds users, or user ids."""

    key: Annotated[str, Meta(min_length=1, max_length=1024, description="The object's key, not encoded.")]
    bucket: Annotated[str | None, Meta(description="Default: the batch file's own.")] = None
    version_id: Annotated[str | None, Meta(description="Default: the version there is when the run begins.")] = None
    etag: Annotated[str | None, Meta(description="Other bytes than those with this ETag are never sent.")] = None


class Audience(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the users are, when they are not in the batch file itself."""

    parts: Annotated[
        tuple[Part, ...],
        Meta(
            min_length=1,
            max_length=10_000,
            description="A JSON list, an object with `users`, or newline-delimited JSON each; plain or gzip.",
        ),
    ]


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is sent, to which arms, within which limits."""

    id: CampaignId
    message: Annotated[Message, Meta(description="What everybody is told, unless a variant says otherwise.")]
    variants: Annotated[
        tuple[Variant, ...],
        Meta(
            max_length=MAX_VARIANTS,
            description="With `control_percent` their percentages sum to exactly 100. None: one arm named `default`.",
        ),
    ] = ()
    control_percent: Annotated[
        Percent, Meta(description="Of the users: those who get nothing. At most two decimal places.")
    ] = Decimal(0)
    experiment: Annotated[
        Annotated[str, Meta(min_length=1, max_length=128)] | None,
        Meta(description="What users are drawn by, so that one stays in one arm over several campaigns. Default: id."),
    ] = None
    per_second: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None, Meta(description="At most so many devices a second.")
    ] = None
    not_before: Annotated[Moment | None, Meta(description="The run rests until then. With an offset.")] = None
    abort_after: Annotated[Moment | None, Meta(description="Nothing is sent from then on. With an offset.")] = None
    dry_run: Annotated[bool, Meta(description="FCM only validates, APNs is not asked: nothing reaches a phone.")] = (
        False
    )
    again: Annotated[bool, Meta(description="The id was sent before, and shall be sent once more.")] = False
    test: Annotated[bool, Meta(description="A test push: no ramp, and kept out of campaign figures.")] = False
    exclude: Annotated[
        Audience | None, Meta(description="Lists of user ids that are left out and belong to no arm.")
    ] = None

    @property
    def salt(self) -> str:
        """What the arms are hashed with: the experiment, or the campaign's own id."""
        return self.experiment or self.id

    @property
    def arms(self) -> tuple[tuple[str, int], ...]:
        """Name and hundredths of a percent of every arm, in file order, control last (absent at zero)."""
        control = hundredths(self.control_percent)
        variants = tuple((v.name, hundredths(v.percent)) for v in self.variants) or (
            (DEFAULT_ARM, HUNDREDTHS - control),
        )
        return variants + (((CONTROL, control),) if control else ())

    def message_of(self, arm: str) -> Message:
        """The message of an arm: the campaign's, with the variant's fields over it."""
        for variant in self.variants:
            if variant.name == arm:
                return overridden(self.message, variant.message)
        return self.message


def overridden(base: Message, change: Message) -> Message:
    """`base` with every field that `change` sets."""
    fields = {name: value for name in Message.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
    return msgspec.structs.replace(base, **fields)


def hundredths(percent: Decimal) -> int:
    """A percentage in hundredths, exactly; -1 when it is not one (more than two places, outside 0 to 100)."""
    if not percent.is_finite() or not 0 <= percent <= 100 or percent != round(percent, 2):
        return -1
    return int(percent * 100)


def read_campaign(decoded: object) -> Campaign:
    """The campaign in a decoded JSON value.

    Raises:
        BrokenCampaign: with every fault found, each named by its field.
    """
    decoded = _with_line_feeds(decoded)
    faults = (*text_faults(decoded, "campaign"), *shape_faults(decoded, Campaign, "campaign"))
    if faults:
        raise BrokenCampaign(faults)
    campaign = msgspec.convert(decoded, Campaign)
    faults = tuple(_sense_faults(campaign))
    if faults:
        raise BrokenCampaign(faults)
    return campaign


def read_audience(decoded: object) -> Audience:
    """The audience in a decoded JSON value: where the users are.

    Raises:
        BrokenCampaign: with every fault found, each named by its field.
    """
    if faults := tuple(shape_faults(decoded, Audience, "audience")):
        raise BrokenCampaign(faults)
    return msgspec.convert(decoded, Audience)


def _with_line_feeds(decoded: object) -> object:
    """The campaign with its messages' line breaks as line feeds: a file written on Windows is not at fault."""
    if not isinstance(decoded, dict):
        return decoded
    try:
        return {key: with_line_feeds(value) if key in _SAYS else value for key, value in decoded.items()}
    except RecursionError:  # nested too deeply for anything that follows, which says so
        return decoded


def _sense_faults(campaign: Campaign) -> Iterator[Fault]:
    """What types cannot say: sums, uniqueness, messages that say nothing."""
    names = [variant.name for variant in campaign.variants]
    for n, name in enumerate(names):
        if name == CONTROL:
            yield Fault(f"campaign.variants[{n}].name", "`control` is reserved", "use control_percent")
        if name in names[:n]:
            yield Fault(f"campaign.variants[{n}].name", f"`{name}` is used twice")
    yield from _percent_faults(campaign)
    yield from _message_faults(campaign.message, "campaign.message")
    if not campaign.variants:
        yield from _whole_message_faults(campaign.message, "campaign.message")
    for n, variant in enumerate(campaign.variants):
        place = f"campaign.variants[{n}].message"
        yield from _message_faults(variant.message, place)
        yield from _whole_message_faults(overridden(campaign.message, variant.message), place)
        yield from _translation_faults(campaign.message, variant.message, place)
    if campaign.not_before and campaign.abort_after and campaign.abort_after <= campaign.not_before:
        yield Fault("campaign.abort_after", "not later than not_before: nothing would be sent")


def _percent_faults(campaign: Campaign) -> Iterator[Fault]:
    places = [("campaign.control_percent", campaign.control_percent)]
    places += [(f"campaign.variants[{n}].percent", v.percent) for n, v in enumerate(campaign.variants)]
    wrong = [(place, percent) for place, percent in places if hundredths(percent) < 0]
    for place, percent in wrong:
        yield Fault(place, f"{percent!s:.20} is not a percentage", "0 to 100 with at most two decimal places")
    if campaign.variants and not wrong:
        total = sum(percent for _, percent in places)
        if total != 100:
            yield Fault(
                "campaign.variants", f"percentages sum to {total}, not 100", "variants and control_percent together"
            )


def _whole_message_faults(message: Message, place: str) -> Iterator[Fault]:
    """What a message that is sent must have."""
    texts = [text for text in (message.title, message.body) if text]
    if message.background is True:
        if texts or message.sound or message.badge:
            yield Fault(place, "a background message shows nothing", "leave out title, body, sound and badge")
    elif all(map(is_blank, texts)):
        yield Fault(place, "neither title nor body", "add one, or set background: true")


def _message_faults(message: Message, place: str) -> Iterator[Fault]:
    """What no message may have, part of another or not."""
    for key in message.data or {}:
        if FORBIDDEN_DATA_KEY.fullmatch(key):
            yield Fault(f"{place}.data.{shown_name(key)}", "this key is reserved", "rename it")
    apns = message.apns or {}
    if "aps" in apns and not isinstance(apns["aps"], dict):
        yield Fault(f"{place}.apns.aps", "not an object")


def _translation_faults(base: Message, change: Message, place: str) -> Iterator[Fault]:
    """A variant that replaces a translated text must say what becomes of the translations."""
    if not base.translations or change.translations is not UNSET:
        return
    for name in Text.__struct_fields__:
        translated = [locale for locale, text in base.translations.items() if getattr(text, name) is not UNSET]
        if getattr(change, name) is not UNSET and translated:
            problem = f"replaces {name}, but the campaign's translations ({', '.join(translated)}) would hide it"
            yield Fault(f"{place}.translations", problem, "give the variant its own translations, or {} for none")


__all__ = [
    "CONTROL",
    "DEFAULT_ARM",
    "FORBIDDEN_DATA_KEY",
    "HUNDREDTHS",
    "MAX_TTL_S",
    "MAX_VARIANTS",
    "SHOWN_FAULTS",
    "Audience",
    "BrokenCampaign",
    "Campaign",
    "Fault",
    "Message",
    "Part",
    "Text",
    "Variant",
    "hundredths",
    "overridden",
    "read_audience",
    "read_campaign",
]
