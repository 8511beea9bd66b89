"""`schedules/NAME.json`: a campaign that comes back, as types, and every fault of one.

The JSON Schema in `docs/schedule.schema.json` is generated from these types (`python -m operations.schedule_schema`).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from notifier.model.audience_request import AudienceSource, queries_in, read_audience_source
from notifier.model.authored_json import BadJson, decode_authored
from notifier.model.campaign import END, Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.plain_words import described
from notifier.model.time_zones import zone_hint, zone_named, zone_names
from notifier.model.validation import Fault, shape_faults, text_faults
from schedules.timetable import BadCron, Timetable, check_cron

PREFIX = "schedules/"
SHOWN_FAULTS = 20
MAX_DAYS = 366
"""With RequireApproval: for so long one approval may be good."""
EXPIRING = ("audiences/", "batches/", "rows/", "state/", "invalid/", "deferred/", "excluded/", "caps/")
"""Prefixes whose objects expire: a schedule of next month would not find them."""
BOUND = ("$day", "$now", "$previous")
"""Values of parameters that each occurrence fills in."""
_OWN = ("id", "again", "test", "not_before", "abort_after", "remainder_of")
"""Members of a campaign that a schedule cannot give: each occurrence has its own, or they make no sense in one."""
MAX_BYTES = 200_000
"""Of a schedule's file that is written on the pages. One with sixteen variants in twenty languages has 100,000."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_AS_ON_UNIX = 'as on Unix, and not as in EventBridge: * in place of ?, no year, no cron(…); for example "0 9 * * *"'
_DAY = re.compile(r"\$day\b")

LocalMinute = Annotated[
    str,
    Meta(
        pattern=rf"^\d{{4}}-\d\d-\d\dT\d\d:\d\d{END}",
        description="A local minute of `timezone`, as `2026-12-01T09:00`.",
    ),
]
Day = Annotated[date, Meta(description="A date in `timezone`.")]
Seconds = Annotated[int, Meta(ge=0, le=7 * 86_400)]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When it occurs: `cron` again and again, or `at` once."""

    timezone: Annotated[str, Meta(description="IANA name, such as `Europe/London`. Daylight saving follows it.")]
    cron: Annotated[
        str | UnsetType,
        Meta(
            description="Minute, hour, day of the month, month, day of the week, as on Unix. A minute that does not "
            "exist fires at the first one after the gap; one that comes twice fires once."
        ),
    ] = UNSET
    at: LocalMinute | UnsetType = UNSET


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many users an occurrence may have. Outside of them an approver decides."""

    min_users: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Fewer than this: an approver decides.")
    ] = None
    max_users: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="More than this: an approver decides.")
    ] = None
    max_change: Annotated[
        Annotated[float, Meta(gt=1)] | None,
        Meta(
            description="More than so many times the median of the last 7 prepared occurrences, or less than one over "
            "it: an approver decides. With fewer than 3 of them it is not judged. null turns it off."
        ),
    ] = 3.0
    decide_within_s: Annotated[
        Seconds, Meta(description="After that an occurrence to be reviewed expires, but never in quiet hours.")
    ] = 7200


class Rhythm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When it occurs, from when until when, and what happens where something is in the way."""

    when: When
    starts: Annotated[Day | None, Meta(description="The first date.")] = None
    ends: Annotated[Day | None, Meta(description="The last date.")] = None
    catch_up_s: Annotated[
        Seconds,
        Meta(description="After an outage the latest missed occurrence still fires if it is not older than this."),
    ] = 3600
    overlap: Annotated[
        Literal["wait", "skip"],
        Meta(description="While the run before is still making first requests: begin after it, or not at all."),
    ] = "wait"
    limits: Limits = Limits()


class DatedDrops(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Files that another system writes for each day."""

    prefix: Annotated[str, Meta(min_length=1, description="Of their keys, with `$day` in it: `audiences/day-2/$day/`.")]
    ready: Annotated[
        str | UnsetType,
        Meta(
            description="The object under the prefix that says that the others are complete: a marker such as "
            "`_SUCCESS`, or a manifest (JSON with `files`: a list of `key` and `rows`). Without it an operator says so:"
            " `notifier schedules ready NAME --day D`."
        ),
    ] = UNSET
    ready_by: Annotated[
        Annotated[str, Meta(pattern=rf"^\d\d:\d\d{END}")] | UnsetType,
        Meta(description="Local time until which it is waited for. Default: `catch_up_s` after the occurrence."),
    ] = UNSET


class ScheduleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A campaign that comes back: when, to whom, and what. UTF-8 JSON at `schedules/NAME.json`."""

    schedule: Rhythm
    audience: Annotated[
        Any,
        Meta(
            description="As in a batch file, under `standing/`; a stored query whose parameters may be `$day` (the "
            "scheduled date), `$now` and `$previous` (when the last one that completed was); or dated drops."
        ),
    ]
    campaign: Annotated[
        dict[str, Any],
        Meta(description="As in a batch file, without `id`: that is made of the schedule's name and the local minute."),
    ]


class Schedule(msgspec.Struct, frozen=True):
    """A schedule without faults.

    Attributes:
        audience: the request, with `$day`, `$now` and `$previous` not filled in; None with `drops`.
        campaign: the members that a batch file gets, but for `id` and `experiment`.
    """

    name: str
    rhythm: Rhythm
    timetable: Timetable
    campaign: Mapping[str, Any]
    audience: Mapping[str, Any] | None = None
    drops: DatedDrops | None = None

    @property
    def queries(self) -> tuple[str, ...]:
        """The names of the stored queries that it asks, sorted: their texts are part of what is approved."""
        return tuple(sorted(queries_in(self.audience)))


class BrokenSchedule(ValueError):
    """A schedule cannot be used. `faults` has every reason, the message the first ones.

    Args:
        file: the key, or the path, of the file that has them.
    """

    def __init__(self, file: str, faults: tuple[Fault, ...]) -> None:
        more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        super().__init__(f"{file}: " + "; ".join([str(fault) for fault in faults[:SHOWN_FAULTS]] + more))
        self.file = file
        self.faults = faults


def key_of(name: str) -> str:
    """Where a schedule is."""
    return f"{PREFIX}{name}.json"


def name_of(key: str) -> str | None:
    """The name of the schedule at a key; None for a key that is no schedule's (those of approved copies are deeper)."""
    found = key.removeprefix(PREFIX).removesuffix(".json")
    return found if key == key_of(found) and "/" not in found else None


def read_schedule(name: str, data: bytes, *, needs_approval: bool = False) -> Schedule:
    """The schedule in a file.

    Args:
        name: the key's stem.
        needs_approval: whether `max_users` and `ends` are required, because one approval is good for all occurrences.

    Raises:
        BrokenSchedule: with every fault that was found, each with its field.
    """
    file = key_of(name)
    if not _NAME.fullmatch(name):
        mend = "1 to 64 of a-z, 0-9, - and _, for example: day-2-engagement"
        raise BrokenSchedule(file, (Fault("name", f"{described(name)} is not the name of a schedule", mend),))
    decoded = _decoded(file, data)
    if faults := (*shape_faults(decoded, ScheduleFile, "file"), *text_faults(decoded, "file")):
        raise BrokenSchedule(file, _from_the_top(faults))
    found = msgspec.convert(decoded, ScheduleFile)
    campaign, audience = found.campaign, found.audience
    faults = (
        *_rhythm_faults(
            found.schedule, once_a_day=campaign.get("local_time") is not None, needs_approval=needs_approval
        ),
        *_audience_faults(audience),
        *_campaign_faults(campaign, name),
    )
    if faults:
        raise BrokenSchedule(file, faults)
    drops = msgspec.convert(audience, DatedDrops) if "prefix" in audience else None
    timetable = _timetable(found.schedule, campaign)
    return Schedule(name, found.schedule, timetable, campaign, None if drops else audience, drops)


def _from_the_top(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """Faults with the paths that the file's author sees: `schedule.when`, and not `file.schedule.when`."""
    return tuple(msgspec.structs.replace(fault, field=fault.field.removeprefix("file.")) for fault in faults)


def _decoded(file: str, data: bytes) -> object:
    try:
        return decode_authored(data, "file")
    except BadJson as error:
        raise BrokenSchedule(file, _from_the_top((error.fault,))) from None


# ------------------------------------------------------------------------------------------------------------- when


def _rhythm_faults(rhythm: Rhythm, *, once_a_day: bool, needs_approval: bool) -> Iterator[Fault]:
    when = rhythm.when
    if when.timezone not in zone_names():
        problem = f"{described(when.timezone)} is not a time zone"
        yield Fault("schedule.when.timezone", problem, zone_hint(when.timezone))
    if (when.cron is UNSET) == (when.at is UNSET):
        yield Fault("schedule.when", "has not exactly one of cron and at", "cron comes back, at occurs once")
    if when.cron is not UNSET:
        try:
            check_cron(when.cron, once_a_day=once_a_day)
        except BadCron as error:
            is_aws = "?" in when.cron or "(" in when.cron
            mend = _AS_ON_UNIX if is_aws else 'for example "0 9 * * *": 09:00'
            yield Fault("schedule.when.cron", f"{described(when.cron)} {error}", mend)
    if when.at is not UNSET and _minute(when.at) is None:
        yield Fault("schedule.when.at", f"{described(when.at)} is not a date and a time", 'as "2026-12-01T09:00"')
    if rhythm.starts and rhythm.ends and rhythm.ends < rhythm.starts:
        yield Fault("schedule.ends", "before starts: it would never occur")
    limits = rhythm.limits
    if limits.min_users is not None and limits.max_users is not None and limits.max_users < limits.min_users:
        yield Fault("schedule.limits.max_users", "less than min_users: every occurrence would be reviewed")
    if needs_approval:
        yield from _approval_faults(rhythm)


def _approval_faults(rhythm: Rhythm) -> Iterator[Fault]:
    """Faults of a schedule whose one approval is good for every occurrence."""
    if rhythm.limits.max_users is None:
        mend = "the most users that one occurrence may have without another look"
        yield Fault("schedule.limits.max_users", "missing, and this stack has RequireApproval", mend)
    if rhythm.when.at is not UNSET:
        return
    if rhythm.ends is None:
        yield Fault("schedule.ends", "missing, and this stack has RequireApproval", "the last date, at most a year on")
    elif rhythm.starts is not None and (rhythm.ends - rhythm.starts).days > MAX_DAYS:
        yield Fault("schedule.ends", "more than twelve months after starts", "approve it again next year")


def _minute(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M")  # noqa: DTZ007 - a local minute is naive
    except ValueError:
        return None


def _timetable(rhythm: Rhythm, campaign: Mapping[str, Any]) -> Timetable:
    when, local = rhythm.when, campaign.get("local_time")
    return Timetable(
        # By our own data, as for users: the machine's may be of another year, and know another law.
        zone=zone_named(when.timezone) or UTC,
        cron=when.cron or "",
        at=_minute(when.at) if when.at else None,
        starts=rhythm.starts,
        ends=rhythm.ends,
        users_time=time.fromisoformat(local["at"]) if isinstance(local, Mapping) else None,
    )


# ------------------------------------------------------------------------------------------------------- whom and what


def _audience_faults(audience: object) -> Iterator[Fault]:
    if not isinstance(audience, Mapping):
        yield Fault("audience", f"is {described(audience)}", "an object, as in a batch file")
        return
    if "prefix" in audience:
        yield from _drops_faults(audience)
        return
    try:
        read_audience_source(audience)
    except BrokenCampaign as error:
        yield from error.faults
        return
    yield from _expiring(audience, "audience")


def _drops_faults(audience: Mapping[str, Any]) -> Iterator[Fault]:
    found = tuple(shape_faults(audience, DatedDrops, "audience"))
    yield from found
    if found:
        return
    drops = msgspec.convert(audience, DatedDrops)
    if not _DAY.search(drops.prefix):
        yield Fault("audience.prefix", "has no $day: every occurrence would read the same files", "put $day in it")
    if not drops.prefix.endswith("/"):
        yield Fault("audience.prefix", "does not end in /", 'a folder for each day, as "audiences/day-2/$day/"')
    if not drops.prefix.startswith(("audiences/", "standing/", "s3://")) or "/../" in drops.prefix:
        yield Fault("audience.prefix", "is under no prefix for audiences", "audiences/, standing/ or s3://BUCKET/")
    if drops.ready_by and _minute(f"2000-01-01T{drops.ready_by}") is None:
        yield Fault("audience.ready_by", f"{described(drops.ready_by)} is not a time of day", 'as "10:00"')


def _expiring(audience: Mapping[str, Any], path: str) -> Iterator[Fault]:
    """A fault for each name whose object will be gone by a later occurrence, in any depth of the request."""
    for n, name in enumerate(audience.get("files", ())):
        if name.startswith(EXPIRING):
            yield _expires(f"{path}.files[{n}]", name)
    for n, part in enumerate(audience.get("parts", ())):
        if part["key"].startswith(EXPIRING) and not part.get("bucket"):
            yield _expires(f"{path}.parts[{n}].key", part["key"])
    for table, files in audience.get("tables", {}).items():
        for n, name in enumerate(files):
            if name.startswith(EXPIRING):
                yield _expires(f"{path}.tables.{table}[{n}]", name)
    for kind in ("all", "any", "without"):
        for n, one in enumerate(audience.get(kind, ())):
            yield from _expiring(one, f"{path}.{kind}[{n}]")


def _expires(path: str, name: str) -> Fault:
    return Fault(path, f"{described(name)} is under a prefix whose objects expire", "put it under standing/")


def _campaign_faults(campaign: Mapping[str, Any], name: str) -> Iterator[Fault]:
    for member in _OWN:
        if member in campaign:
            yield Fault(f"campaign.{member}", "not for a schedule: each occurrence has its own", "remove it")
    if any(member in campaign for member in _OWN):
        return
    local_time = campaign.get("local_time")
    if isinstance(local_time, Mapping) and "date" in local_time:
        yield Fault("campaign.local_time.date", "not for a schedule: each occurrence has its own", "remove it")
    try:
        read_campaign({"id": f"{name}-2000-01-01T0000", **campaign})
    except BrokenCampaign as error:
        yield from error.faults


__all__ = [
    "AudienceSource",
    "BrokenSchedule",
    "Campaign",
    "DatedDrops",
    "Limits",
    "Rhythm",
    "Schedule",
    "ScheduleFile",
    "When",
    "key_of",
    "name_of",
    "read_schedule",
]
