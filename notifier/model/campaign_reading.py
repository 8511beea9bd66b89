"""Reads a campaign and an audience from decoded JSON, and finds every fault, each with its field."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET

from notifier.model.campaign import (
    CONTROL,
    FORBIDDEN_DATA_KEY,
    Audience,
    Campaign,
    Message,
    Text,
    hundredths,
    overridden,
)
from notifier.model.caps import cap_faults
from notifier.model.characters import is_blank, with_line_feeds
from notifier.model.plain_words import described
from notifier.model.quiet_hours import LEAST_AWAKE_M, Quiet, awake_minutes
from notifier.model.time_zones import zone_hint, zone_named
from notifier.model.validation import Fault, printable_name, shape_faults, text_faults

_MAX_ID_OF_TEST = 118
"""The remainder's id is ten characters longer."""
SHOWN_FAULTS = 20
"""The faults that one message lists at most."""
ENDS_BEFORE_THE_WINNER = "over before the winner is decided: nothing would go to the remainder"
_WITH_TEXTS = ("message", "variants")
"""The members of a campaign whose texts reach phones."""


class BrokenCampaign(ValueError):
    """The campaign cannot be sent as it is written. `faults` has every reason, the message the first ones."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        super().__init__("; ".join([str(fault) for fault in faults[:SHOWN_FAULTS]] + more))
        self.faults = faults


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
        hint = zone_hint(name)
        mend = f"{hint}, or UTC+05:30" if hint.startswith("for example") else hint
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


def ends_before_the_winner(campaign: Campaign, begins: datetime) -> bool:
    """Whether a test can be sent, but nothing to its remainder: its `abort_after` is over when the winner is decided.

    No fault of the campaign: the release before took it, and its runs are still read. The form refuses it, and
    `validate` warns of it.

    Args:
        begins: before which nothing of the test is sent.
    """
    if campaign.winner is None or campaign.abort_after is None or campaign.abort_after <= begins:
        return False
    # As a difference: a date as late as a calendar has it has none behind it.
    return campaign.abort_after - begins <= timedelta(hours=campaign.winner.decide_after_h)


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
