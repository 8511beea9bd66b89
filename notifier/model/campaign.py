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

from notifier.model.caps import MOST_CAPS, MOST_GROUPS, Cap, GroupName, cap_faults
from notifier.model.characters import is_blank, with_line_feeds
from notifier.model.local_time import LocalTime
from notifier.model.plain_words import described
from notifier.model.quiet_hours import LEAST_AWAKE_M, Quiet, awake_minutes
from notifier.model.span import MAX_LANES
from notifier.model.time_zones import zone_named
from notifier.model.validation import Fault, printable_name, shape_faults, text_faults

MAX_TTL_S = 2_419_200
"""Four weeks: the longest that FCM keeps a message (https://firebase.google.com/docs/cloud-messaging/concept-options#ttl)."""

MAX_BADGE = 2**31 - 1
"""FCM refuses a `notification_count` of more than 32 bits."""

CONTROL = "control"
DEFAULT_ARM = "default"
HUNDREDTHS = 10_000
"""Of a percent, in 100 %: the resolution of the arms."""

END = r"(?![\s\S])"
"""The end of a text in the regular expressions of Python and ECMAScript. Python's `$` also matches before a newline."""

MAX_DECIDE_H = 336
"""Two weeks: what the remainder is sent from is kept for longer (BatchFileDays, WorkDays)."""
_MAX_ID_OF_TEST = 118
"""The remainder's id is ten characters longer."""
MAX_VARIANTS = 40
"""The counts of every arm of a batch have to fit into 2 KB of S3 metadata."""
SHOWN_FAULTS = 20
"""The faults that one message lists at most."""

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
"""Keys of `data` that FCM refuses, and our own.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages#Message.
"""


_WITH_TEXTS = ("message", "variants")
"""The members of a campaign whose texts reach phones."""


class BrokenCampaign(ValueError):
    """The campaign cannot be sent as it is written. `faults` has every reason, the message the first ones."""

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
    image_url: Annotated[
        str | UnsetType, Meta(description="The https address of a picture that the app shows with it.")
    ] = UNSET
    deep_link: Annotated[
        str | UnsetType, Meta(description="Where a tap leads: an address with a scheme, https or the app's own.")
    ] = UNSET
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


class Goal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the campaign is to bring about, declared before sending. `conversions/NAME.json` says where to see it."""

    name: Annotated[
        str, Meta(pattern=rf"^[a-z0-9_-]{{1,64}}{END}", description="Of the file that says where conversions are.")
    ]
    window_h: Annotated[
        int, Meta(ge=1, le=2160, description="Hours after a user's own push in which a conversion counts.")
    ]
    smallest_lift_percent: Annotated[
        float, Meta(gt=0, le=10_000, description="The smallest lift that matters. An early look is made for it.")
    ] = 10.0
    conversions_sha256: Annotated[
        Annotated[str, Meta(pattern=rf"^[0-9a-f]{{64}}{END}")] | None,
        Meta(description="Of that file when the campaign was approved: a report says if it is another by now."),
    ] = None


class Winner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A test first, and the winning arm to the remainder of the audience. Hours count from the test's last push."""

    test_percent: Annotated[Percent, Meta(description="Of the users: the test part. At most two decimal places.")]
    decide_after_h: Annotated[
        int, Meta(ge=1, le=MAX_DECIDE_H, description="When the winner is decided, by the conversions up to then.")
    ]
    decide_by_h: Annotated[
        int,
        Meta(ge=1, le=MAX_DECIDE_H, description="Until when it waits for those conversions to be complete."),
    ]
    otherwise: Annotated[
        Literal["control", "best", "stop"],
        Meta(
            description="Without evidence: `control`, the remainder gets nothing; `best`, the arm with the highest "
            "rate, if each arm has a conversion; `stop`, a person decides."
        ),
    ] = "control"


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is sent, to which arms, within which limits."""

    id: CampaignId
    message: Annotated[Message, Meta(description="What users get, unless a variant says otherwise.")]
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
        Meta(description="The arms' salt: a user stays in one arm over all campaigns with the same one. Default: id."),
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
    lanes: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_LANES)] | None,
        Meta(
            description="Over how many functions at once the run is spread, at most. The audience is prepared first. "
            "Default: 1, and more where there are many devices of Apple's."
        ),
    ] = None
    legal: Annotated[
        bool,
        Meta(
            description="A message that the law obliges you to send: users in the standing suppression get it too. "
            "Approvers see this in red."
        ),
    ] = False
    essential: Annotated[
        bool,
        Meta(
            description="No marketing: an account notice, a delivery. The stack's holdout (users who get no campaign, "
            "so that the lift of all can be measured) gets it too."
        ),
    ] = False
    goal: Annotated[Goal | None, Meta(description="What it is to bring about, for the report's verdict.")] = None
    winner: Annotated[
        Winner | None, Meta(description="A part of the users is tested, the others get what has won. Needs a goal.")
    ] = None
    remainder_of: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        Meta(description="The test's run. Written by the notifier: this run leaves the test part out."),
    ] = None
    groups: Annotated[
        tuple[GroupName, ...],
        Meta(
            max_length=MOST_GROUPS,
            description="The groups of campaigns that it counts in. Default: `marketing`, or none if it is essential.",
        ),
    ] = ()
    caps: Annotated[
        tuple[Cap, ...],
        Meta(
            max_length=MOST_CAPS,
            description="Users who have had as many campaigns of a group are left out, control users too. Of a group "
            "that is named here they replace DefaultCaps; looser ones need an approval.",
        ),
    ] = ()
    local_time: Annotated[
        LocalTime | None,
        Meta(description="Reach each user at a time of day by their own clock. The audience is prepared first."),
    ] = None
    quiet: Annotated[
        Quiet | UnsetType | None,
        Meta(
            description="Hours in which no push starts, by each user's own clock. The audience is prepared first. "
            "Default: the stack's. null: none at all, which approvers see in red."
        ),
    ] = UNSET

    @property
    def is_timed(self) -> bool:
        """Whether users are reached at different times: their audience is prepared, and divided into windows."""
        # Not of a test push, for which a person waits.
        return not self.test and (self.local_time is not None or isinstance(self.quiet, Quiet))

    @property
    def salt(self) -> str:
        """The salt of the arms: the experiment, or the campaign's own id."""
        return self.experiment or self.id

    @property
    def arms(self) -> tuple[tuple[str, int], ...]:
        """Name and hundredths of a percent of every arm, in file order, control last (absent at zero)."""
        # `read_campaign` refuses what is not a percentage.
        control = hundredths(self.control_percent) or 0
        variants = tuple((v.name, hundredths(v.percent) or 0) for v in self.variants) or (
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


def hundredths(percent: Decimal) -> int | None:
    """A percentage in hundredths, exactly; None if it has more than two decimal places or is not within 0 to 100."""
    # Never through a float: 0.29 * 100 is 28.999….
    if not percent.is_finite() or not 0 <= percent <= 100 or percent != round(percent, 2):
        return None
    return int(percent * 100)


def read_campaign(decoded: object) -> Campaign:
    """The campaign in a decoded JSON value.

    Raises:
        BrokenCampaign: it has every fault that was found, each with its field.
    """
    decoded = _with_line_feeds(decoded)
    # Types first: the other checks need a campaign of the right types.
    faults = (*text_faults(decoded, "campaign"), *shape_faults(decoded, Campaign, "campaign"))
    if faults:
        raise BrokenCampaign(faults)
    campaign = msgspec.convert(decoded, Campaign)
    faults = tuple(_content_faults(campaign))
    if faults:
        raise BrokenCampaign(faults)
    return campaign


def read_audience(decoded: object) -> Audience:
    """The audience in a decoded JSON value: where the users are.

    Raises:
        BrokenCampaign: it has every fault that was found, each with its field.
    """
    if faults := tuple(shape_faults(decoded, Audience, "audience")):
        raise BrokenCampaign(faults)
    return msgspec.convert(decoded, Audience)


def _with_line_feeds(decoded: object) -> object:
    """The campaign with line feeds for the line breaks of its texts, because a file may be written on Windows."""
    if not isinstance(decoded, dict):
        return decoded
    try:
        return {key: with_line_feeds(value) if key in _WITH_TEXTS else value for key, value in decoded.items()}
    except RecursionError:  # nested too deeply: `shape_faults` reports it
        return decoded


def _content_faults(campaign: Campaign) -> Iterator[Fault]:
    """Faults that types cannot express: sums, names given twice, messages that show nothing."""
    names = [variant.name for variant in campaign.variants]
    for n, name in enumerate(names):
        if name == CONTROL:
            yield Fault(f"campaign.variants[{n}].name", "`control` is reserved", "use control_percent")
        # At the second one, which is where the author has to change something.
        if name in names[:n]:
            yield Fault(f"campaign.variants[{n}].name", f"`{name}` is used twice")
    yield from _percent_faults(campaign)
    yield from _message_faults(campaign.message, "campaign.message")
    # With variants the campaign's own message may be a part only: each variant's whole message is checked below.
    if not campaign.variants:
        yield from _whole_message_faults(campaign.message, "campaign.message")
    for n, variant in enumerate(campaign.variants):
        path = f"campaign.variants[{n}].message"
        yield from _message_faults(variant.message, path)
        yield from _whole_message_faults(overridden(campaign.message, variant.message), path)
        yield from _translation_faults(campaign.message, variant.message, path)
    yield from _winner_faults(campaign)
    if campaign.not_before and campaign.abort_after and campaign.abort_after <= campaign.not_before:
        yield Fault("campaign.abort_after", "not later than not_before: nothing would be sent")
    yield from cap_faults(campaign)
    yield from _time_faults(campaign)


def _time_faults(campaign: Campaign) -> Iterator[Fault]:
    """Faults of the users' time and of quiet hours."""
    if campaign.local_time is not None:
        if campaign.not_before is not None:
            mend = "leave it out: local_time.date and local_time.at say when"
            yield Fault("campaign.not_before", "beside local_time", mend)
        if campaign.winner is not None:
            mend = "leave one of them out: the remainder's run begins days after the users' date"
            yield Fault("campaign.winner", "beside local_time", mend)
        yield from _zone_faults(campaign.local_time.fallback_timezone, "campaign.local_time.fallback_timezone")
    if not isinstance(campaign.quiet, Quiet):
        return
    if campaign.quiet.timezone is not None:
        yield from _zone_faults(campaign.quiet.timezone, "campaign.quiet.timezone")
    awake = awake_minutes(campaign.quiet.begins, campaign.quiet.ends)
    if not awake:
        yield Fault("campaign.quiet.to", "the same as from", "null in place of quiet for no quiet hours")
    elif awake < LEAST_AWAKE_M:
        yield Fault("campaign.quiet", f"leaves {awake} minutes of the day to send in", f"{LEAST_AWAKE_M} at least")


def _zone_faults(name: str, path: str) -> Iterator[Fault]:
    if zone_named(name) is None:
        mend = "for example Europe/London, or UTC+05:30"
        yield Fault(path, f"{described(name)} is not a time zone", mend)


def _winner_faults(campaign: Campaign) -> Iterator[Fault]:
    """Faults of an experiment whose winner goes to the remainder."""
    winner = campaign.winner
    if winner is None:
        if campaign.remainder_of is not None:
            yield Fault("campaign.remainder_of", "there is no winner, which says who was tested")
        return
    if campaign.goal is None:
        yield Fault("campaign.winner", "without a goal nothing says what wins", "add campaign.goal")
    if len(campaign.arms) < 2:
        yield Fault("campaign.winner", "one arm: there is nothing to decide", "add a variant, or control_percent")
    if not hundredths(winner.test_percent) or winner.test_percent == 100:
        problem = f"{winner.test_percent!s:.20} leaves no test, or no remainder"
        yield Fault("campaign.winner.test_percent", problem, "more than 0 and less than 100, at most two places")
    if winner.decide_by_h < winner.decide_after_h:
        yield Fault("campaign.winner.decide_by_h", "earlier than decide_after_h")
    if campaign.test:
        yield Fault("campaign.winner", "a test push has no winner", "leave it out")
    if campaign.remainder_of is None and len(campaign.id) > _MAX_ID_OF_TEST:
        yield Fault("campaign.id", f"longer than {_MAX_ID_OF_TEST} characters: the remainder's id is longer still")


def _percent_faults(campaign: Campaign) -> Iterator[Fault]:
    percents = [("campaign.control_percent", campaign.control_percent)]
    percents += [(f"campaign.variants[{n}].percent", v.percent) for n, v in enumerate(campaign.variants)]
    wrong = [(path, percent) for path, percent in percents if hundredths(percent) is None]
    for path, percent in wrong:
        yield Fault(path, f"{percent!s:.20} is not a percentage", "0 to 100 with at most two decimal places")
    # Without variants one arm takes what control leaves. With a wrong percentage the sum says nothing.
    if campaign.variants and not wrong:
        total = sum(percent for _, percent in percents)
        if total != 100:
            yield Fault(
                "campaign.variants", f"percentages sum to {total}, not 100", "variants and control_percent together"
            )


def _whole_message_faults(message: Message, path: str) -> Iterator[Fault]:
    """Faults of a message as it is sent, with a variant's fields over the campaign's."""
    texts = [text for text in (message.title, message.body) if text]
    if message.background is True:
        # Apple's background pushes have none of these.
        if texts or message.sound or message.badge:
            yield Fault(path, "a background message shows nothing", "leave out title, body, sound and badge")
    elif all(map(is_blank, texts)):
        yield Fault(path, "neither title nor body", "add one, or set background: true")


def _message_faults(message: Message, path: str) -> Iterator[Fault]:
    """Faults of a message as it is written, which may be only a part of the one that is sent."""
    for key in message.data or {}:
        # FCM answers 400 for the whole request, so one key would cost every push of the arm.
        if FORBIDDEN_DATA_KEY.fullmatch(key):
            yield Fault(f"{path}.data.{printable_name(key)}", "this key is reserved", "rename it")
    apns = message.apns or {}
    if "aps" in apns and not isinstance(apns["aps"], dict):
        yield Fault(f"{path}.apns.aps", "not an object")


def _translation_faults(base: Message, change: Message, path: str) -> Iterator[Fault]:
    """A fault for each translated text that a variant replaces without translations of its own.

    Otherwise a translation of the campaign's text would win over the variant's text, and the arms would not differ.
    """
    if not base.translations or change.translations is not UNSET:
        return
    for name in Text.__struct_fields__:
        translated = [locale for locale, text in base.translations.items() if getattr(text, name) is not UNSET]
        if getattr(change, name) is not UNSET and translated:
            problem = f"replaces {name}, but the campaign's translations ({', '.join(translated)}) would hide it"
            yield Fault(f"{path}.translations", problem, "give the variant its own translations, or {} for none")


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
    "Winner",
    "hundredths",
    "overridden",
    "read_audience",
    "read_campaign",
]
