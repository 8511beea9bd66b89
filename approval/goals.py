"""What a campaign is to bring about: where its conversions are, and how likely this audience is to show it.

A goal's conversions are where `conversions/NAME.json` says. Its bytes, and those of the queries that it names, are a
part of what is approved: see `notifier.model.goal_source`.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.campaign import CONTROL, HUNDREDTHS, Campaign, hundredths
from notifier.model.goal_source import PREFIX, pinned, read_texts, what_changed
from notifier.model.plurals import counted
from reporting.page_words import share_in_words
from reporting.statistics.fixed_horizon import bonferroni_level
from reporting.statistics.power import control_users_needed, power_of, smallest_lift
from reporting.statistics.verdict import percent

MAX_OFFERED = 200


class Goals:
    """Reads the declarations of conversions.

    Args:
        client: a boto3 S3 client.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def offered(self) -> tuple[str, ...]:
        """The names of the goals that have a declaration."""
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=PREFIX, MaxKeys=MAX_OFFERED)
        keys = [one["Key"] for one in answer.get("Contents", ())]
        return tuple(key.removeprefix(PREFIX).removesuffix(".json") for key in keys if key.endswith(".json"))

    def pinned(self, campaign: Campaign) -> Campaign:
        """The campaign with the hashes of its goal's declaration and queries. Raises MissingText."""
        if campaign.goal is None:
            return campaign
        goal = pinned(campaign.goal, read_texts(campaign.goal.name, self._read))
        return msgspec.structs.replace(campaign, goal=goal)

    def changed(self, campaign: Campaign) -> str:
        """Why the goal's source is another one than when the campaign was approved; "" where it is not."""
        return what_changed(campaign.goal, self._read) if campaign.goal is not None else ""

    def _read(self, key: str) -> bytes | None:
        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                raise
            return None
        return body


def read_base(text: str) -> float | None:
    """A typed rate in percent, as a share; None for what is none, and for 0 and 100, with which nothing is compared."""
    try:
        percent = Decimal(text.rstrip("% ").replace(",", "."))
    except InvalidOperation:
        return None
    return float(percent) / 100 if percent.is_finite() and 0 < percent < 100 else None


def power_in_words(campaign: Campaign, base: float | None, users: int) -> tuple[str, ...]:
    """How many users the goal needs, and how likely this audience is to show it. Nothing without a comparison.

    Args:
        base: the share that converts without a push; None where nobody said.
        users: of the audience.
    """
    goal, arms = campaign.goal, campaign.arms
    if goal is None or len(arms) < 2:
        return ()
    if base is None:
        return ("How many users this needs can be said once you estimate how many convert without a push.",)
    share = (hundredths(campaign.winner.test_percent) or 0) / HUNDREDTHS if campaign.winner else 1.0
    tested = users * share
    weakest, against, level = _weakest(arms)
    lift = goal.smallest_lift_percent / 100
    rate = base * (1 + lift)
    if rate >= 1:
        return (f"{share_in_words(base)} cannot rise by {_rise(lift)}: declare a smaller difference.",)
    needed = control_users_needed(base, rate, weakest / against, level=level) / (against / HUNDREDTHS)
    chance = power_of(tested * against / HUNDREDTHS, tested * weakest / HUNDREDTHS, base, rate, level) if tested else 0
    smallest = smallest_lift(
        int(tested * against / HUNDREDTHS), int(tested * weakest / HUNDREDTHS), base, level=level
    ) if tested * min(against, weakest) >= HUNDREDTHS else None  # fmt: skip
    whom = "the test part" if campaign.winner else "this audience"
    where = "in the test part" if campaign.winner else "in all"
    rises = f"{share_in_words(base)} to {share_in_words(rate)}"
    said = [
        f"To show a rise of {_rise(lift)}, from {rises}, {counted(round(needed), 'user')} are needed {where}.",
        f"With {counted(round(tested), 'user')}, {whom} shows such a rise {round(chance * 100)} times in 100.",
    ]
    if smallest is not None:
        said.append(f"The smallest rise that it shows 4 times of 5 is {_rise(smallest)}.")
    return tuple(said)


def _rise(lift: float) -> str:
    return percent(lift).lstrip("+")


def _weakest(arms: Sequence[tuple[str, int]]) -> tuple[int, int, float]:
    """The comparison that shows least: shares of the variant and of what it is compared with, and its level."""
    shares = dict(arms)
    if (control := shares.pop(CONTROL, None)) is not None:
        return min(shares.values()), control, bonferroni_level(len(shares))
    two = sorted(shares.values())[:2]
    return two[0], two[1], bonferroni_level(len(shares) * (len(shares) - 1) // 2)
