"""What an approver decides on, in one screen: who gets it, when by their own clocks, which texts. No I/O.

The page and the mail show the same card.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from approval.arm_names import shown_names
from approval.audience import Forecast, sent_at_first
from approval.content_changes import Change
from approval.left_out import left_out_words, reached_words
from approval.local_clocks import LocalClock, local_clocks
from approval.prepared import LeftOutNow
from approval.preview import arms_of, locales_of
from approval.request import Request
from approval.user_times import TimesForecast
from notifier.model.audience_counts import Counts
from notifier.model.campaign import CONTROL, DEFAULT_ARM, HUNDREDTHS, Campaign

MAIN = "main language"


class TextShown(msgspec.Struct, frozen=True):
    """One text of a request: a variant in a language. `key` names it in what an approver has looked at."""

    number: int
    key: str
    name: str
    arm: str
    locale: str
    is_seen: bool = False


class DecisionCard(msgspec.Struct, frozen=True):
    """The facts of the card.

    Args:
        clocks: of the readers when they are reached, the most users first; empty where the audience is not counted.
        late: how many are reached too late in their own time, and what becomes of them; empty where nobody is.
        start: None where it is sent as soon as it is approved.
        if_approved_at: the moment that the clocks are of, where it begins when it is approved.
        left_out: how many are left out, with the reason; what only the final cut knows may be missing.
        left_out_as_of: when that was asked; None where nobody asked, or it is not known.
        reached: how many of them have had other campaigns this week; empty where that is not known, or nobody asked.
        control_users: who get nothing, so that the push can be measured.
        changes: since the approver last looked; None where they have looked at this content, or at none.
    """

    users: int | None
    devices: int
    left_out: tuple[tuple[int, str], ...]
    left_out_as_of: datetime | None
    control_percent: str
    control_users: int
    at_night: int
    start: datetime | None
    clocks: tuple[LocalClock, ...]
    without_zone: int
    late: str
    texts: tuple[TextShown, ...]
    changes: tuple[Change, ...] | None = None
    looked_at_ms: int = 0
    reached: str = ""
    if_approved_at: datetime | None = None

    @property
    def is_left_out_known(self) -> bool:
        """Whether the final cut was asked whom it would leave out."""
        return self.left_out_as_of is not None

    @property
    def unseen(self) -> tuple[TextShown, ...]:
        """The texts that this approver has not looked at."""
        return tuple(text for text in self.texts if not text.is_seen)

    @property
    def seen_count(self) -> int:
        """How many of the texts they have looked at."""
        return len(self.texts) - len(self.unseen)


def texts_of(request: Request, seen: frozenset[str] = frozenset(), shown: int | None = None) -> tuple[TextShown, ...]:
    """The texts of a request, in the order of its previews. `shown` is the number of the one on the page."""
    return texts_in(request.campaign, shown_names(request.form), seen, shown)


def texts_in(
    campaign: Campaign | None,
    names: Mapping[str, str],
    seen: frozenset[str] = frozenset(),
    shown: int | None = None,
) -> tuple[TextShown, ...]:
    """The texts of a campaign. `names`: those of its variants on the pages."""
    if campaign is None:
        return ()
    pairs = [(arm, locale) for arm in arms_of(campaign) for locale in locales_of(campaign, arm)]
    has_languages = any(locale for _, locale in pairs)
    return tuple(
        TextShown(
            number=n,
            key=f"{arm}|{locale}",
            name=text_name(arm, locale, names, has_languages=has_languages) or "the text",
            arm=arm,
            locale=locale,
            is_seen=n == shown or f"{arm}|{locale}" in seen,
        )
        for n, (arm, locale) in enumerate(pairs)
    )


def text_name(arm: str, locale: str, names: Mapping[str, str], *, has_languages: bool) -> str:
    """What a text is called beside the others of its campaign: its variant, its language; empty where it is alone."""
    said = [] if arm == DEFAULT_ARM else [names.get(arm, arm)]
    said += [locale or MAIN] if has_languages else []
    return " · ".join(said)


def decision_card(
    campaign: Campaign | None,
    forecast: Forecast | None,
    now: datetime,
    texts: Sequence[TextShown],
    left_out: LeftOutNow | None = None,
    changes: tuple[Change, ...] | None = None,
    looked_at_ms: int = 0,
    times: TimesForecast | None = None,
) -> DecisionCard:
    """The card of a campaign that approvers decide on.

    Args:
        forecast: None while the audience is not counted.
        left_out: whom the final cut would leave out as of now; None where nobody asked, or it is not known.
        times: when the users are reached; None where that is the same moment for all of them.
    """
    counts = forecast.count if forecast is not None else Counts()
    start = _start_of(campaign, now)
    control = _control_of(campaign)
    return DecisionCard(
        users=counts.users if forecast is not None else None,
        devices=counts.device_count,
        left_out=_left_out(counts, left_out),
        left_out_as_of=left_out.as_of if left_out is not None else None,
        control_percent=f"{control / 100:g}",
        control_users=round(counts.users * control * (sent_at_first(campaign) if campaign else 1) / HUNDREDTHS),
        at_night=forecast.at_night if forecast is not None else 0,
        start=start,
        clocks=_clocks(campaign, times, counts, start or now),
        without_zone=counts.without_timezone if forecast is not None else 0,
        late=times.late_sentence if times is not None else "",
        texts=tuple(texts),
        changes=changes,
        looked_at_ms=looked_at_ms,
        reached=reached_words(left_out) if left_out is not None else "",
        if_approved_at=now if start is None and campaign is not None and campaign.local_time is None else None,
    )


def _start_of(campaign: Campaign | None, now: datetime) -> datetime | None:
    """When it begins; None as soon as it is approved, which a start that has passed is, too."""
    if campaign is None or campaign.not_before is None or campaign.not_before <= now:
        return None
    return campaign.not_before


def _clocks(
    campaign: Campaign | None, times: TimesForecast | None, counts: Counts, begins: datetime
) -> tuple[LocalClock, ...]:
    if times is None:
        return local_clocks(counts.timezones, begins)
    at = campaign.local_time.at if campaign is not None and campaign.local_time is not None else ""
    # In each user's own time all clocks say what is written above them, but where quiet hours or lateness move some.
    return () if all(clock.at == at for clock in times.clocks) else times.clocks


def _control_of(campaign: Campaign | None) -> int:
    return dict(campaign.arms).get(CONTROL, 0) if campaign is not None else 0


def _left_out(counts: Counts, now: LeftOutNow | None) -> tuple[tuple[int, str], ...]:
    found = now.left_out if now is not None else {}
    known = [(n, left_out_words(reason)) for reason, n in found.items() if n]
    return tuple(known + ([(counts.left_out, "cannot be read")] if counts.left_out else []))
