"""`notifier report --holdout`: users who got no campaign against all others, over the campaigns of a time."""

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from notifier.model.campaign import Campaign, Message, Variant
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.run import Ending
from operations.cli import app
from operations.cli.errors import CommandError
from operations.cli.holdouts import holdout_lift
from reporting.holdout import HoldoutLift, holdout_screen, plain_holdout
from reporting.statistics.comparison import Basis
from reporting.statistics.verdict import Finding
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, moto_server, new_name
from tests.made_run import make_run

HOLDOUT = Holdout(2_000, "1")
DAY = datetime(2026, 11, 10, 9, tzinfo=UTC)
PEOPLE = list(users(Recipe(users=1_500, seed=1)))
CAPPED = "capped-user"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


class Place:
    """A stack, and as much of the command line's cloud as is asked."""

    def __init__(self, endpoint: str) -> None:
        self.s3, self.bucket = client_of("s3", endpoint), new_name("holdout")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self.deployment = SimpleNamespace(bucket=self.bucket)

    def client(self, _service: str) -> Any:
        return self.s3

    def sent(self, id_: str, day: int, people: Sequence[Any], holdout: Holdout = HOLDOUT, **more: Any) -> str:
        """A campaign that was sent on a day of November."""
        campaign = Campaign(id_, Message(title="t", body="b"), (Variant("a", Decimal(80)),), Decimal(20))
        run = make_run(
            self.s3, self.bucket, campaign, (people,), DAY.replace(day=day).timestamp(), holdout=holdout, **more
        )
        return run.run_id

    def converted(self, *events: tuple[str, str], through: str = "2026-11-30T00:00:00Z") -> None:
        """Conversions of the goal, complete through a time."""
        body = "user_id,event,at\n" + "".join(f"{user},opened,{at}\n" for user, at in events)
        declared = {"files": ["standing/events.csv"], "complete": {"marker": "standing/complete"}}
        for key, text in (("standing/events.csv", body), ("standing/complete", through)):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode())
        self.s3.put_object(Bucket=self.bucket, Key="conversions/opened.json", Body=json.dumps(declared).encode())


@pytest.fixture
def place(endpoint: str) -> Place:
    """A stack of the test's own."""
    return Place(endpoint)


def ids(people: Sequence[Any]) -> list[str]:
    return [str(one["user_id"]) for one in people]


def test_people_are_compared_by_users_over_all_campaigns(place: Place, tmp_path: Path) -> None:
    """Three campaigns over overlapping users: each is one person, in one group, with conversions of that time alone."""
    place.sent("first", 10, PEOPLE[:1_000])
    place.sent("second", 12, PEOPLE[500:], suppressed=["user-1-000000600"], exclude=["user-1-000001400"])
    run_id = place.sent("third", 14, PEOPLE[500:])
    # Another time, a dry share, and one that everybody gets are none of it.
    place.sent("before", 1, PEOPLE[:100])
    place.sent("essential", 13, PEOPLE, NOBODY)
    # Only who gets campaigns can be capped: without them the others would be fewer, and better.
    key = f"excluded/run_id={run_id}/cut.json.gz"
    line = json.dumps({"run_id": run_id, "user_id": CAPPED, "reason": "capped", "record": None}).encode()
    place.s3.put_object(Bucket=place.bucket, Key=key, Body=gzip.compress(line + b"\n"))
    everybody = {*ids(PEOPLE), CAPPED}
    held = {one for one in everybody if one in HOLDOUT}
    rest = sorted(everybody - held)
    converting = {*rest[::3], *sorted(held)[::6]}
    place.converted(
        *((one, "2026-11-15T10:00:00Z") for one in converting),
        *((one, "2026-11-16T10:00:00Z") for one in rest[:9:3]),
        (rest[1], "2026-11-09T23:59:59Z"),
        (rest[2], "2026-11-21T00:00:00Z"),
        ("nobody", "2026-11-15T10:00:00Z"),
    )
    found = holdout_lift(place, "opened", "2026-11-10", "2026-11-20")  # type: ignore[arg-type]
    arms = {arm.name: (arm.users, arm.conversions) for arm in found.comparison.arms}
    assert arms == {
        "all_pushes": (len(rest), len(converting - held)),
        "control": (len(held), len(converting & held)),
    }
    assert (found.runs, found.percent, found.comparison.basis) == (3, 20.0, Basis.FINAL)
    [lift] = found.comparison.lifts
    assert lift.verdict.finding is Finding.BETTER
    assert lift.verdict.in_words.startswith("better than no campaign at all: between +")
    assert found.notes == ()
    console = Console(width=120, file=io.StringIO())
    console.print(holdout_screen(found))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "opened: all pushes against none" in shown
    assert "3 runs from 2026-11-10" in shown
    assert plain_holdout(found)["comparison"]["lifts"][0]["variant"] == "all_pushes"
    # The command itself, as an operator types it.
    stack_file = tmp_path / "stack.json"
    stack = {"bucket": place.bucket, "table": "t", "worker": "w", "control": "c", "region": "eu-west-1"}
    keys = {"access_key_id": "test", "secret_access_key": "test", "endpoint_url": place.s3.meta.endpoint_url}
    stack_file.write_text(json.dumps(stack | keys), encoding="utf-8")
    days = ("--since", "2026-11-10", "--until", "2026-11-20")
    typed = CliRunner().invoke(app, ["report", "--holdout", "opened", *days, "--stack-file", str(stack_file), "--json"])
    assert typed.exit_code == 0, typed.output
    assert json.loads(typed.stdout)["comparison"] == plain_holdout(found)["comparison"]
    alone = CliRunner().invoke(app, ["report", "--holdout", "opened", "--stack-file", str(stack_file)])
    assert "--holdout is of a time" in alone.output


def test_before_it_is_complete_only_a_look_is_shown(place: Place) -> None:
    """Conversions that are still coming are no final figures; other ids are said."""
    place.sent("first", 10, PEOPLE[:600])
    place.converted(*((f"other-{n}", "2026-11-15T10:00:00Z") for n in range(9)), through="2026-11-12T00:00:00Z")
    found = holdout_lift(place, "opened", "2026-11-10", "2026-11-20")  # type: ignore[arg-type]
    assert found.comparison.basis is Basis.LOOK
    assert found.notes[0].startswith("100% of those who converted were to get none of these campaigns")


def test_conversions_without_a_readable_time(place: Place) -> None:
    """They are said, and counted in neither group nor among unknown users."""
    place.sent("first", 10, PEOPLE[:600])
    everybody = ids(PEOPLE[:600])
    place.converted(
        (everybody[0], "2026-11-15T10:00:00Z"),
        *((one, "2026-11-15T25:00:00Z") for one in everybody[1:]),
        *((f"other-{n}", "2026-13-15T10:00:00Z") for n in range(9)),
    )
    found = holdout_lift(place, "opened", "2026-11-10", "2026-11-20")  # type: ignore[arg-type]
    assert sum(arm.conversions for arm in found.comparison.arms) == 1
    assert found.notes == ("608 conversions have a time that cannot be read, and are left out.",)


def test_runs_that_ended_early(place: Place) -> None:
    """After a final cut, which lists all who are held out, they are left out; without one both groups end alike."""
    place.sent("first", 10, PEOPLE[:500])
    place.sent("early", 11, PEOPLE[500:1_000], ending=Ending.CANCELLED)
    run_id = place.sent("cut", 12, PEOPLE[1_000:], ending=Ending.ABORTED)
    place.converted()

    def look(since: str = "2026-11-10") -> HoldoutLift:
        return holdout_lift(place, "opened", since, "2026-11-20")  # type: ignore[arg-type]

    assert (look().runs, look().notes) == (3, ())
    key = f"excluded/run_id={run_id}/cut.json.gz"
    place.s3.put_object(Bucket=place.bucket, Key=key, Body=gzip.compress(b""))
    found = look()
    assert found.runs == 2
    assert found.notes == ("Left out: 1 run ended before all users were reached: cut (aborted).",)
    assert sum(arm.users for arm in found.comparison.arms) <= 1_000
    with pytest.raises(CommandError, match="nothing to compare: 1 run ended before all users were reached"):
        look("2026-11-12")


def test_what_cannot_be_compared(place: Place) -> None:
    """No holdout in that time, a holdout that was changed in it, a goal that nobody declared, days that are none."""

    def why(since: str = "2026-11-10", until: str = "2026-11-20", goal: str = "opened") -> str:
        with pytest.raises(CommandError) as raised:
            holdout_lift(place, goal, since, until)  # type: ignore[arg-type]
        return raised.value.problem

    place.sent("everybody", 11, PEOPLE[:500], NOBODY)
    assert why() == "no campaign of that time left a holdout out"
    place.sent("first", 11, PEOPLE[:500])
    assert why().endswith("conversions/opened.json is missing")
    place.sent("second", 12, PEOPLE[:500], Holdout(500, "2"))
    assert why() == "the holdout was changed in that time: version 1 with 20 %, version 2 with 5 %"
    assert why(since="today") == "--since today: not a day"
    assert "no time that has been" in why(since="2026-11-21")
