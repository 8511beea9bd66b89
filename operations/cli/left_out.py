"""Whom the final cut would leave out as of now, of an audience that is made on this machine: by the lists of the stack.

Without a stack nobody's lists are known, and nothing is said. Caps need the stack's own database: the approval pages
count them.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from notifier.audience import AudienceChanged, AudienceUnreachable, BrokenFile, IdSet, Suppression
from notifier.model.account import CAPPED, EXCLUDE, HOLDOUT, REMAINDER, SUPPRESSED, TEST_PART
from notifier.model.campaign import Campaign
from notifier.model.holdout import NOBODY, Holdout, read_hundredths, read_version
from notifier.model.local_time import QUIET, TOO_LATE
from notifier.model.outcome import timestamp
from notifier.model.plurals import counted
from operations.cli.cloud import Cloud
from operations.cli.errors import CommandError, ExitCode
from operations.cli.sources import LazyCloud

if TYPE_CHECKING:
    from collections.abc import Container

WORDS = {
    SUPPRESSED: "want no pushes",
    EXCLUDE: "on the exclude list",
    HOLDOUT: "held out of all campaigns",
    CAPPED: "have had enough campaigns",
    TOO_LATE: "too late by their clock",
    REMAINDER: "not in the test; its winner is for them",
    TEST_PART: "in the test, which was sent already",
    QUIET: "in quiet hours",
}


class LeftOutNow(msgspec.Struct, frozen=True):
    """At most `users` get the push; so many of them, by reason, would be left out as of that time."""

    users: int
    left_out: Mapping[str, int]
    as_of: str


def in_words(users: int, left_out: Mapping[str, int]) -> str:
    """For people."""
    total = sum(left_out.values())
    if not total:
        return f"at most {counted(users, 'user')}; nobody would be left out as of now"
    reasons = ", ".join(f"{n:,} {WORDS.get(reason, reason)}" for reason, n in left_out.items())
    return f"at most {counted(users, 'user')}; about {total:,} would be left out as of now: {reasons}"


class Lists(msgspec.Struct, frozen=True):
    """Who is left out, by reason, in the order of the reasons' precedence."""

    rules: "tuple[tuple[Container[str], str], ...]"

    def reason_of(self, user_id: str) -> str | None:
        """Why a user is left out; the first reason counts."""
        return next((reason for users, reason in self.rules if user_id in users), None)

    def of_users(self, users: Iterable[str]) -> LeftOutNow:
        """Count them."""
        found = dict.fromkeys((reason for _, reason in self.rules), 0)
        total = 0
        for user_id in users:
            total += 1
            if (reason := self.reason_of(user_id)) is not None:
                found[reason] += 1
        return self.counted(total, found)

    def counted(self, users: int, found: Mapping[str, int], now: Callable[[], float] = time.time) -> LeftOutNow:
        """Of so many users, those who were counted."""
        return LeftOutNow(users, {reason: n for reason, n in sorted(found.items()) if n}, timestamp(now()))


def lists_of(
    cloud: LazyCloud, campaign: Campaign | None, exclude: IdSet | None, warn: Callable[[str], object]
) -> Lists | None:
    """The lists as they are now; None where no stack is named, or they cannot be read: the rest is found without them.

    Args:
        warn: called with the reason why they cannot be read.
    """
    try:
        return _lists_of(cloud.get(), campaign, exclude)
    except CommandError as error:
        if error.code is not ExitCode.USAGE:
            warn(f"who would be left out as of now is not known: {error.problem}")
        return None
    except (BrokenFile, AudienceChanged, AudienceUnreachable) as error:
        warn(f"who would be left out as of now is not known: {error}")
        return None
    except (BotoCoreError, ClientError):
        warn("who would be left out as of now is not known: the worker's settings or the suppression cannot be read")
        return None


def _lists_of(cloud: Cloud, campaign: Campaign | None, exclude: IdSet | None) -> Lists:
    worker = cloud.client("lambda").get_function_configuration(FunctionName=cloud.deployment.worker)
    variables = worker.get("Environment", {}).get("Variables", {})
    prefix = variables.get("SUPPRESSION_PREFIX", "suppression/")
    suppressed = Suppression(cloud.client("s3"), cloud.deployment.bucket, prefix).read()
    percent, version = variables.get("HOLDOUT_PERCENT", "0"), variables.get("HOLDOUT_VERSION", "1")
    holdout = Holdout(read_hundredths(percent), read_version(version))
    # As the worker decides when a run begins.
    if campaign is not None and campaign.legal:
        suppressed = IdSet()
    if campaign is not None and (campaign.test or campaign.essential):
        holdout = NOBODY
    return Lists(((exclude or IdSet(), EXCLUDE), (suppressed, SUPPRESSED), (holdout, HOLDOUT)))
