"""The account: what was read and what became of it, as counts. One for each batch, added up into the run's."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from notifier.model.outcome import Outcome, Row

EXCLUDE = "exclude"
"""Why a user is excluded: on the campaign's exclude list."""
SUPPRESSED = "suppressed"
"""Why a user is excluded: in the standing suppression, which every run leaves out."""
HOLDOUT = "holdout"
"""Why a user is excluded: among those who get no campaign at all."""
REMAINDER = "remainder"
"""Why a user is excluded from a test: the winner goes to them, in a run of its own."""
TEST_PART = "test_part"
"""Why a user is excluded from the remainder's run: the test had them."""
CAPPED = "capped"
"""Why a user is excluded: has had as many campaigns of a group as the caps allow."""
_ACCEPTED = Outcome.ACCEPTED


class ArmAccount(msgspec.Struct):
    """One arm's figures: `assigned` counts users, the rest devices."""

    assigned: int = 0
    accepted: int = 0
    rejected: dict[str, int] = {}
    failed: dict[str, int] = {}
    held: int = 0


class Account(msgspec.Struct):
    """What was read and what became of it.

    `users` counts records read, `devices` valid devices, `invalid_records` broken records and broken devices (never in
    `devices`), `excluded` users that are left out and belong to no arm, `excluded_by` the same by reason,
    `deferred` devices whose outcome is still open.
    `possibly_repeated` counts devices that may have got the push more than once, each once; `repeat_requests` the
    requests that may have been repeats, of which one device can have several.
    `timezone_assumed` counts users without a known time zone, for whom the campaign's was taken: only in runs that
    reach users at their own time, so that all other accounts have the text that they always had.
    """

    users: int = 0
    devices: int = 0
    invalid_records: int = 0
    excluded: int = 0
    deferred: int = 0
    possibly_repeated: int = 0
    dry: int = 0
    arms: dict[str, ArmAccount] = {}
    repeat_requests: int = 0
    excluded_by: dict[str, int] = {}
    timezone_assumed: int | UnsetType = UNSET

    def __post_init__(self) -> None:
        # An account of the release before has no reasons, and knew of the exclude list alone.
        if unexplained := self.excluded - sum(self.excluded_by.values()):
            self.excluded_by[EXCLUDE] = self.excluded_by.get(EXCLUDE, 0) + unexplained
        # Accounts that an older release wrote have `possibly_repeated` only, and it counted requests.
        self.repeat_requests = max(self.repeat_requests, self.possibly_repeated)

    def arm(self, name: str) -> ArmAccount:
        """The figures of one arm, begun at zero."""
        found = self.arms.get(name)
        if found is None:
            found = self.arms[name] = ArmAccount()
        return found

    def exclude(self, reason: str, users: int = 1) -> None:
        """Users that are left out. The reasons add up to `excluded`."""
        if users:
            self.excluded += users
            self.excluded_by[reason] = self.excluded_by.get(reason, 0) + users

    def count(self, arm: str, outcome: Outcome, reason: str | None) -> None:
        """One device's outcome."""
        figures = self.arms.get(arm) or self.arm(arm)
        if outcome is _ACCEPTED:  # nearly always: no further look for any push that was accepted
            figures.accepted += 1
            return
        match outcome:
            case Outcome.HELD:
                figures.held += 1
            case Outcome.REJECTED:
                figures.rejected[reason or "unknown"] = figures.rejected.get(reason or "unknown", 0) + 1
            case Outcome.FAILED:
                figures.failed[reason or "unknown"] = figures.failed.get(reason or "unknown", 0) + 1

    def count_rows(self, rows: Iterable[Row]) -> None:
        """The outcomes in a settled batch's rows: its object's metadata has all other counts."""
        for row in rows:
            self.count(row.arm, row.outcome, row.reason)

    def add(self, other: "Account") -> None:
        """Take another account's figures into this one."""
        self.users += other.users
        self.devices += other.devices
        self.invalid_records += other.invalid_records
        self.excluded += other.excluded
        _add_reasons(self.excluded_by, other.excluded_by)
        self.deferred += other.deferred
        self.possibly_repeated += other.possibly_repeated
        self.repeat_requests += other.repeat_requests
        self.dry += other.dry
        if other.timezone_assumed:
            self.timezone_assumed = (self.timezone_assumed or 0) + other.timezone_assumed
        for name, theirs in other.arms.items():
            ours = self.arm(name)
            ours.assigned += theirs.assigned
            ours.accepted += theirs.accepted
            ours.held += theirs.held
            _add_reasons(ours.rejected, theirs.rejected)
            _add_reasons(ours.failed, theirs.failed)

    def outcomes(self) -> "Outcomes":
        """All arms together."""
        total = Outcomes()
        for figures in self.arms.values():
            total.accepted += figures.accepted
            total.held += figures.held
            _add_reasons(total.rejected, figures.rejected)
            _add_reasons(total.failed, figures.failed)
        return total

    def add_repeats(self, devices: int, requests: int, at_most: int) -> None:
        """Add repeats that another claim made in this settled batch.

        Which devices they were is not known, some may be counted already: never more than `at_most` in all.
        """
        self.possibly_repeated = max(self.possibly_repeated, min(self.possibly_repeated + devices, at_most))
        self.repeat_requests += requests

    def repeatable(self, pushes: int, repeated: int) -> int:
        """How many devices of the batch with this account can be repeats that no account counts yet.

        The control group's devices are never asked for, and those that an earlier round counted are not counted again.

        Args:
            pushes: how many devices the batch was formed with.
            repeated: how many of them an earlier round counted in `possibly_repeated`.
        """
        return max(pushes - repeated - self.outcomes().held, 0)

    @property
    def settled(self) -> int:
        """Devices that have an outcome. When nothing is deferred it equals `devices`."""
        total = self.outcomes()
        return total.accepted + sum(total.rejected.values()) + sum(total.failed.values()) + total.held


class Outcomes(msgspec.Struct):
    """Devices by outcome and reason, all arms together."""

    accepted: int = 0
    rejected: dict[str, int] = {}
    failed: dict[str, int] = {}
    held: int = 0


def _add_reasons(into: dict[str, int], more: dict[str, int]) -> None:
    for reason, n in more.items():
        into[reason] = into.get(reason, 0) + n
