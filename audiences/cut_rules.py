"""Who is left out when a run begins, and why: a list of rules, of which the first that applies gives the reason.

Precedence: broken, exclude list, suppressed, holdout, the experiment's other part, capped, too late or quiet, arm. What
is broken is not in a prepared audience any more, or is judged by the worker, which alone renders; the arm is the
worker's, too.
"""

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import UTC, date, datetime

import msgspec

from notifier.audience import IdSet
from notifier.audience.ids import hash_of
from notifier.model.account import CAPPED, EXCLUDE, HOLDOUT, SUPPRESSED
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.local_time import UserTimes
from notifier.model.remainder import OtherPart
from notifier.model.time_zones import zone_named


def hash_of_user(user_id: str) -> int:
    """The first 8 bytes of the user id's SHA-256, big-endian."""
    return int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big")


class PreparedUser(msgspec.Struct, frozen=True, gc=False):
    """What a rule may look at: one record of a prepared part."""

    user_id: str
    devices: tuple[msgspec.Raw, ...]
    timezone: str | None = None

    @property
    def hash(self) -> int:
        """The first 8 bytes of the user id's SHA-256, by which users are ordered, and which caps are kept by."""
        return hash_of_user(self.user_id)


Rule = Callable[[PreparedUser], str | None]
"""Why a user is left out; None if the rule does not apply."""


def rules_of(
    exclude: IdSet, suppressed: IdSet, holdout: Holdout = NOBODY, other_part: OtherPart | None = None
) -> tuple[Rule, ...]:
    """The rules in their order. A list without an entry is no rule: it would be looked up in vain for each user."""
    lists = ((exclude, EXCLUDE), (suppressed, SUPPRESSED))
    found = tuple(Listed(ids, reason) for ids, reason in lists if len(ids))
    hashed: tuple[Rule, ...] = (HeldOut(holdout),) if holdout.hundredths else ()
    # Before the caps: whom the other run of the experiment has is not capped in this one.
    tested: tuple[Rule, ...] = (Parted(other_part),) if other_part is not None else ()
    return (*found, *hashed, *tested)


class Listed(msgspec.Struct, frozen=True):
    """The rule that those on a list are left out."""

    ids: IdSet
    reason: str

    def __call__(self, user: PreparedUser) -> str | None:
        return self.reason if user.user_id in self.ids else None


class HeldOut(msgspec.Struct, frozen=True):
    """The rule that the holdout gets no campaign."""

    holdout: Holdout

    def __call__(self, user: PreparedUser) -> str | None:
        return HOLDOUT if user.user_id in self.holdout else None


class Parted(msgspec.Struct, frozen=True):
    """The rule that of an experiment with a winner each run has its own part of the users."""

    other_part: OtherPart

    def __call__(self, user: PreparedUser) -> str | None:
        return self.other_part.reason if user.user_id in self.other_part else None


class Capped(msgspec.Struct, frozen=True):
    """The rule that whoever has had as many campaigns as the caps allow gets no other one.

    Args:
        is_capped: of a user's hash, and the day of the campaign.
        day_of: the local day of a user's planned instant.
    """

    is_capped: Callable[[int, date], bool]
    day_of: Callable[[PreparedUser], date]

    def __call__(self, user: PreparedUser) -> str | None:
        return CAPPED if self.is_capped(user.hash, self.day_of(user)) else None


class PlannedDay:
    """The local day of a user's planned instant, by the user's own calendar.

    Args:
        instant_of: when the user is to be asked first, in seconds since the epoch.
        timezone: of users who have none, or one that nobody knows.
    """

    def __init__(self, instant_of: Callable[[PreparedUser], float], timezone: str) -> None:
        self._instant_of = instant_of
        self._fallback = zone_named(timezone) or UTC
        self._known: dict[tuple[str | None, float], date] = {}

    def __call__(self, user: PreparedUser) -> date:
        key = user.timezone, self._instant_of(user)
        found = self._known.get(key)
        if found is None:
            zone = (zone_named(user.timezone) if user.timezone else None) or self._fallback
            found = self._known[key] = datetime.fromtimestamp(key[1], zone).date()
        return found


class Timed(msgspec.Struct, frozen=True):
    """The rule that nobody is asked whose hour is past, or who would be asked in quiet hours.

    The last of all rules: whoever is left out for another reason is not late, and every arm has the same users.
    """

    times: UserTimes

    def __call__(self, user: PreparedUser) -> str | None:
        return self.times.of(user.timezone).reason


def reason_by_id(rules: Sequence[Rule]) -> Callable[[bytes], str | None] | None:
    """The same as `reason_of`, of a user id in UTF-8; None where a rule looks at more of a user than the id.

    For speed: a list's million users are neither decoded nor hashed for each list.
    """
    lists = [rule for rule in rules if isinstance(rule, Listed)]
    drawn = [rule for rule in rules if isinstance(rule, HeldOut | Parted)]
    # Lists are looked up first: that is their precedence, too.
    if [*lists, *drawn] != [*rules]:
        return None
    listed = [(rule.ids, rule.ids.has_hash, rule.reason) for rule in lists]
    hashed = [_users_of(rule) for rule in drawn]

    def reason(user_id: bytes) -> str | None:
        number = hash_of(user_id)
        for ids, has_hash, found in listed:
            # Where entries are keyed hashes the list has to be asked for the id itself.
            if has_hash(number) or (ids.is_keyed and user_id.decode() in ids):
                return found
        if hashed:
            text = user_id.decode()
            return next((found for users, found in hashed if text in users), None)
        return None

    return reason


def _users_of(rule: HeldOut | Parted) -> tuple[Container[str], str]:
    """Those whom a rule leaves out by a hash of the id, and its reason."""
    return (rule.holdout, HOLDOUT) if isinstance(rule, HeldOut) else (rule.other_part, rule.other_part.reason)


def reason_of(user: PreparedUser, rules: Iterable[Rule]) -> str | None:
    """Why a user is left out: the first rule's reason that has one."""
    for rule in rules:
        if (reason := rule(user)) is not None:
            return reason
    return None
