"""The campaign: what is sent, to which arms, within which limits. The public file format, as types.

The JSON Schema in `docs/batch-file.schema.json` is generated from these types (`python -m operations.schema`).
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from notifier.model.caps import MOST_CAPS, MOST_GROUPS, Cap, GroupName
from notifier.model.local_time import LocalTime
from notifier.model.quiet_hours import Quiet
from notifier.model.span import MAX_LANES

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
MAX_VARIANTS = 40
"""The counts of every arm of a batch have to fit into 2 KB of S3 metadata."""

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
    queries_sha256: Annotated[
        Annotated[str, Meta(pattern=rf"^[0-9a-f]{{64}}{END}")] | None,
        Meta(description="Of the stored queries that it names, as `sha256sum` lists them by key; absent for none."),
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
