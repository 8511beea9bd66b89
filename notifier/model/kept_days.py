"""For how many days a run's files are kept, and so how late a campaign may begin."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from notifier.model.campaign import Campaign
from notifier.model.local_time import first_cut_s
from notifier.model.plurals import counted
from notifier.model.validation import Fault

SPARE = timedelta(days=2)
"""A run is cancelled the day before its files are deleted, and one more day is left to send in."""
LEAST = timedelta(hours=12)
"""So late a campaign may begin however short its files are kept."""


class KeptDays(msgspec.Struct, frozen=True):
    """Days for which a stack keeps what a run goes on from: batch file and audience, working files, rows."""

    batch_files: int = 30
    work: int = 30
    results: int = 180

    @property
    def least(self) -> int:
        """The fewest days for which any of them is kept."""
        return min(self.batch_files, self.work, self.results)

    @property
    def parameters(self) -> str:
        """The template's parameters that say so little: what has to be raised, all of them."""
        named = {"BatchFileDays": self.batch_files, "WorkDays": self.work, "ResultDays": self.results}
        return " and ".join(name for name, days in named.items() if days == self.least)

    def latest_start(self, made: datetime) -> datetime:
        """When a campaign may begin at the latest whose files are made at this time."""
        # No further than a calendar goes: S3 takes any number of days.
        return made + max(timedelta(days=min(self.least, 100 * 365)) - SPARE, LEAST)


KEPT_BY_DEFAULT = KeptDays()
"""As the template has it."""


def read_kept_days(environment: Mapping[str, str]) -> KeptDays:
    """What the stack's parameters say, of a function's environment; the defaults where they say nothing."""
    names = {"batch_files": "BATCH_FILE_DAYS", "work": "WORK_DAYS", "results": "RESULT_DAYS"}
    texts = {member: environment.get(name, "") for member, name in names.items()}
    return KeptDays(**{member: int(text) for member, text in texts.items() if text.isdecimal()})


def says_when(campaign: Campaign) -> bool:
    """Whether the campaign itself says on which day it begins."""
    return campaign.not_before is not None or (campaign.local_time is not None and campaign.local_time.date is not None)


def start_fault(campaign: Campaign, kept: KeptDays, made_s: float) -> Fault | None:
    """The fault of a campaign that begins later than its files are kept: it would be cancelled before. None otherwise.

    Args:
        made_s: when its files were made, in seconds since the epoch.
    """
    latest = kept.latest_start(datetime.fromtimestamp(made_s, UTC))
    if campaign.not_before is not None and campaign.not_before > latest:
        field = "campaign.not_before"
    elif (
        campaign.local_time is not None
        and campaign.local_time.date is not None
        and first_cut_s(campaign.local_time, campaign.local_time.date) > latest.timestamp()
    ):
        field = "campaign.local_time.date"
    else:
        return None
    days = counted(kept.least, "day")
    return Fault(
        field,
        f"later than the files of a run are kept ({kept.parameters}: {days}): it would be cancelled before it begins",
        f"begin by {latest:%Y-%m-%d %H:%M} UTC, or raise {kept.parameters}",
    )
