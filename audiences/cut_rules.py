"""Who is left out when a run begins, and why: a list of rules, of which the first that applies gives the reason.

Precedence: broken, exclude list, suppressed, holdout, capped or too late, arm. What is broken is not in a prepared
audience any more, or is judged by the worker, which alone renders; the arm is the worker's, too.
"""

import hashlib
from collections.abc import Callable, Container, Iterable

import msgspec

from notifier.audience import IdSet
from notifier.model.account import EXCLUDE, SUPPRESSED


class PreparedUser(msgspec.Struct, frozen=True, gc=False):
    """What a rule may look at: one record of a prepared part."""

    user_id: str
    devices: tuple[msgspec.Raw, ...]
    timezone: str | None = None

    @property
    def hash(self) -> int:
        """The first 8 bytes of the user id's SHA-256, by which users are ordered, and which caps are kept by."""
        return int.from_bytes(hashlib.sha256(self.user_id.encode()).digest()[:8], "big")


Rule = Callable[[PreparedUser], str | None]
"""Why a user is left out; None if the rule does not apply."""


def rules_of(exclude: IdSet, suppressed: IdSet) -> tuple[Rule, ...]:
    """The rules in their order. A list without an entry is no rule: it would be looked up in vain for each user."""
    lists = ((exclude, EXCLUDE), (suppressed, SUPPRESSED))
    return tuple(_listed(ids, reason) for ids, reason in lists if len(ids))


def _listed(ids: Container[str], reason: str) -> Rule:
    return lambda user: reason if user.user_id in ids else None


def reason_of(user: PreparedUser, rules: Iterable[Rule]) -> str | None:
    """Why a user is left out: the first rule's reason that has one."""
    for rule in rules:
        if (reason := rule(user)) is not None:
            return reason
    return None
