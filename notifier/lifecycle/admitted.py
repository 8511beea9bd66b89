"""What a run's first claim stores for every later hop, what it is made of, and why a run cannot begin, or not yet.

`admission` makes it. Apart, because hops, lanes and the final cut read it and need no step of its making.
"""

from collections.abc import Mapping
from datetime import date
from typing import Protocol

import msgspec

from notifier.model.batch_file import BatchFileHead, PinnedObject
from notifier.model.campaign import Audience, Campaign
from notifier.model.caps import NO_CAPS, RunCaps
from notifier.model.cut import CutParts
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.preparation import DivisibleAudience
from notifier.model.quiet_hours import Quiet, QuietHours
from notifier.model.run import COUNTED_BY_CUT, COUNTED_BY_ROWS, Source
from notifier.sending.batch_source import Stream

STATE = "campaign"
"""The name of the stored campaign under `state/`."""
STATE_GONE = (
    "state_gone: what the run began with (its campaign and the versions of its audience, under state/) was deleted or "
    "has expired (WorkDays). It is not read again: the audience may be another by now. What is settled stays accounted"
)


class NotAdmitted(Exception):
    """The run cannot begin. The message says what to change."""


class StillPreparing(Exception):
    """The run's audience is being made, or its final cut. The message says how far that is.

    Args:
        due_at_ms: nothing is to be asked for before this time, at which the lane goes on by itself.
    """

    def __init__(self, words: str, due_at_ms: int | None = None) -> None:
        super().__init__(words)
        self.due_at_ms = due_at_ms


class AdmittedCampaign(msgspec.Struct, frozen=True):
    """What every hop of a run needs to know, as it is stored in `state/run_id=R/campaign.json`.

    `parts` are the pinned objects that hold the users; with `inline` the batch file itself.
    `prepared` is the key of a prepared audience's manifest: the run begins with its final cut, which replaces `parts`,
    and whose `excluded_by` says how many users it left out.
    `holdout` is who gets no campaign, as it was set when the run began; nobody in a run of an earlier release.
    `caps` is how many campaigns a user may get, as it was set when the run began; none in a run of an earlier release.
    `day` is the users' date of a campaign with `local_time`. `quiet` are the quiet hours that are in force, the
    campaign's own or the stack's, with the zone of users without one filled in.
    """

    campaign: Campaign
    parts: tuple[PinnedObject, ...]
    inline: bool
    exclude: tuple[PinnedObject, ...]
    rehearse: bool
    version: int = 1
    prepared: str = ""
    excluded_by: Mapping[str, int] = {}
    holdout: Holdout = NOBODY
    caps: RunCaps = NO_CAPS
    day: date | None = None
    quiet: Quiet | None = None
    timezone_assumed: int = 0

    @property
    def quiet_hours(self) -> QuietHours | None:
        """The quiet hours in force; None for none."""
        return QuietHours(self.quiet, self.quiet.timezone or "UTC") if self.quiet else None


class Library(Protocol):
    """The batch file and the objects that it names, in S3. Each call may block."""

    def head(self, source: Source) -> BatchFileHead:
        """What the batch file holds besides its users. Raises NotAdmitted."""
        ...

    def pin_source(self, source: Source) -> PinnedObject:
        """The very version of the batch file that the run sends. Raises NotAdmitted."""
        ...

    def pin_parts(self, audience: Audience, bucket: str, field: str) -> tuple[PinnedObject, ...]:
        """The objects that a reference names, checked against the ETags that it states. Raises NotAdmitted.

        Args:
            bucket: of references that name none.
            field: the reference's name in the file, for messages.
        """
        ...

    def prepared_parts(self, manifest: str) -> tuple[PinnedObject, ...]:
        """The parts of a prepared audience. Raises NotAdmitted.

        Args:
            manifest: its key in the stack's bucket.
        """
        ...

    def divisible_audience(self, manifest: str) -> DivisibleAudience:
        """How a prepared audience, or its final cut, can be divided among lanes. Raises NotAdmitted."""
        ...

    def cut_parts(self, manifest: str) -> CutParts:
        """What the final cut left of a prepared audience. Raises NotAdmitted."""
        ...

    def stream_from_start(self, admitted: AdmittedCampaign) -> Stream:
        """The users, from the first on."""
        ...


def counted_by(admitted: AdmittedCampaign) -> str:
    """What counts the run's users for caps: its final cut, its rows, or nothing."""
    if not admitted.caps.groups:
        return ""
    return COUNTED_BY_CUT if admitted.prepared else COUNTED_BY_ROWS
