"""`notifier report --schedule`: the runs of a schedule, each with its own control group, on a real table and bucket."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from notifier.dynamodb import item_of
from notifier.model.campaign import Campaign, Goal, Message, Variant
from notifier.model.run import Ending, Lane, LaneState, Run
from operations.cli.errors import CommandError
from operations.cli.over_days import schedule_days
from reporting.rows import objects_under
from sandbox.audience import Recipe, users
from schedules.store import ScheduleItem, ScheduleState, ScheduleStore
from tests.contract.moto_stores import Time, client_of, make_table, moto_server, new_name
from tests.made_run import MadeRun, make_run

NAME = "nudge"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


class Place:
    """A stack with a schedule, and as much of the command line's cloud as is asked."""

    def __init__(self, endpoint: str) -> None:
        self.s3, self.dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
        self.bucket, self.table = new_name("bucket"), new_name("ledger")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        make_table(self.dynamodb, self.table)
        ScheduleStore(self.dynamodb, self.table, Time()).enter(ScheduleItem(NAME, ScheduleState.ACTIVE))
        self.deployment = SimpleNamespace(table=self.table, bucket=self.bucket)
        self.runs: dict[str, MadeRun] = {}

    def client(self, service: str) -> Any:
        return {"s3": self.s3, "dynamodb": self.dynamodb}[service]

    def read(self, run_id: str) -> tuple[Run, tuple[Lane, ...]]:
        made = self.runs[run_id]
        lane = Lane(run_id, state=LaneState.DONE, ending=Ending.COMPLETED, account=made.account)
        return Run(run_id, made.source, 7), (lane,)

    def sent(self, day: int, goal: Goal | None) -> MadeRun:
        """One time of the schedule that was sent."""
        at = datetime(2026, 11, day, 9, tzinfo=UTC)
        variants = (Variant("a", Decimal(80)),)
        campaign = Campaign(
            f"{NAME}-{day}", Message(title="t", body="b"), variants, Decimal(20), experiment=NAME, goal=goal
        )
        made = make_run(self.s3, self.bucket, campaign, (list(users(Recipe(users=300, seed=day))),), at.timestamp())
        self.runs[made.run_id] = made
        item: dict[str, str | int] = {
            "pk": f"schedule#{NAME}", "sk": f"occurrence#2026-11-{day}T0900", "state": "run", "hash": "h",
            "fires_at_ms": int(at.timestamp() * 1000), "run_id": made.run_id, "version": 1,
        }  # fmt: skip
        self.dynamodb.put_item(TableName=self.table, Item=item_of(item))
        return made


def test_the_times_of_a_schedule(endpoint: str) -> None:
    """The oldest first; a time without a goal is shown with why; the figures are of each time's own users."""
    place = Place(endpoint)
    goal = Goal("opened", 24, 20.0)
    with pytest.raises(CommandError, match="no time of it was sent yet"):
        schedule_days(place, NAME)  # type: ignore[arg-type]
    first, second = place.sent(21, goal), place.sent(22, goal)
    place.sent(20, None)
    lines = []
    for made, day in ((first, 21), (second, 22)):
        for _, body in objects_under(place.s3, place.bucket, f"rows/run_id={made.run_id}/"):
            rows = [json.loads(line) for line in gzip.decompress(body).splitlines()]
            lines += [
                json.dumps({"user_id": row["user_id"], "event": "opened", "at": f"2026-11-{day}T12:00:00Z"})
                for n, row in enumerate(rows)
                if n % 3 == 0 and row["arm"] == "a"
            ]
    declared = {"files": ["standing/opened.jsonl"], "complete": {"marker": "standing/through"}}
    for key, text in (
        ("conversions/opened.json", json.dumps(declared)), ("standing/opened.jsonl", "\n".join(lines)),
        ("standing/through", "2026-11-30T00:00:00Z"),
    ):  # fmt: skip
        place.s3.put_object(Bucket=place.bucket, Key=key, Body=text.encode())
    found = schedule_days(place, NAME)  # type: ignore[arg-type]
    assert [one.stamp for one in found.times] == ["2026-11-20T0900", "2026-11-21T0900", "2026-11-22T0900"]
    assert found.times[0].note == "it had no goal"
    assert sum(one.figures["a"][1] for one in found.times if one.figures) == len(lines)
    [lift] = found.lifts
    assert (lift.variant, lift.times) == ("a", 2)
    assert lift.in_words.startswith("better than no push: ")
    with pytest.raises(CommandError, match="there is no schedule other"):
        schedule_days(place, "other")  # type: ignore[arg-type]
