"""Conversions joined with a run's rows: each user once, inside their own window, whatever the source looks like."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from audiences.conversions import join, read_declaration
from audiences.database import Limits
from audiences.faults import AudienceFault
from notifier.model.campaign import Campaign, Goal, Message, Variant
from notifier.model.conversion_counts import ConversionCounts
from notifier.model.remainder import OtherPart
from reporting.rows import objects_under
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, new_name, server_for
from tests.made_run import MadeRun, make_run

START = datetime(2026, 11, 21, 9, tzinfo=UTC)
GOAL = Goal("opened_people", 72)
CAMPAIGN = Campaign("goal", Message(title="t", body="b"), (Variant("a", Decimal(80)),), Decimal(20), goal=GOAL)
LATER = START + timedelta(days=30)


@pytest.fixture(scope="module")
def run() -> Iterator[MadeRun]:
    with server_for("s3") as endpoint:
        client = client_of("s3", endpoint)
        bucket = new_name("goal")
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield make_run(client, bucket, CAMPAIGN, (list(users(Recipe(users=400))),), START.timestamp())
        client.close()


def arms_of(run: MadeRun) -> dict[str, list[str]]:
    """User ids by arm."""
    found: dict[str, list[str]] = {}
    for _, body in objects_under(run.client, run.bucket, f"rows/run_id={run.run_id}/"):
        for line in gzip.decompress(body).splitlines():
            row = json.loads(line)
            found.setdefault(row["arm"], []).append(row["user_id"])
    return found


def joined(
    run: MadeRun, tmp_path: Path, body: str, *, now: datetime = LATER, through: str | None = None, **declared: Any
) -> ConversionCounts:
    """The conversions of one file."""
    folder = f"standing/{new_name('events')}"
    run.client.put_object(Bucket=run.bucket, Key=f"{folder}/events", Body=body.encode())
    marker = f"{folder}/_complete"
    if through is not None:
        run.client.put_object(Bucket=run.bucket, Key=marker, Body=through.encode())
    plain = {"files": [f"{folder}/events"], "complete": {"marker": marker}, **declared}
    declaration = read_declaration(json.dumps(plain).encode(), "conversions/opened_people.json")
    return join(run.client, run.bucket, run.run_id, GOAL, declaration, now, Limits(tmp_path / new_name("work")))


def csv(*events: tuple[str, str], name: str = "opened_people") -> str:
    return "user_id,event,at\n" + "".join(f"{user},{name},{at}\n" for user, at in events)


def test_each_user_once_in_their_own_window(run: MadeRun, tmp_path: Path) -> None:
    """Twice is once; before the push, after the window, and of another event is not at all."""
    arms = arms_of(run)
    first, second, third, fourth, *_ = arms["a"]
    held = arms["control"][0]
    body = (
        csv(
            (first, "2026-11-21T10:00:00Z"),
            (first, "2026-11-21T11:00:00Z"),
            (second, "2026-11-21T08:59:00Z"),
            (third, "2026-11-24T09:05:00Z"),
            (held, "2026-11-24T08:59:00Z"),
            ("somebody", "2026-11-22T09:00:00Z"),
        )
        + f"{fourth},other,2026-11-21T10:00:00Z\n"
    )
    found = joined(run, tmp_path, body, through="2026-11-30T00:00:00Z")
    assert [(arm.arm, arm.users, arm.conversions) for arm in found.arms] == [
        ("a", len(arms["a"]), 1), ("control", len(arms["control"]), 1),
    ]  # fmt: skip
    assert (found.seen, found.unknown) == (3, 1)
    assert found.is_final
    assert [(point.arm, point.conversions) for point in found.curve] == [("a", 1), ("control", 1)]
    assert found.curve[0].hours == 1.5  # within the second hour and a half after the push


@pytest.mark.parametrize(
    ("at", "declared"),
    [
        ("2026-11-21T11:00:00+02:00", {}),
        ("2026-11-21 10:00:00", {"timezone": "Europe/Berlin"}),
        ("2026-11-21 09:00:01", {"timezone": "UTC"}),
        (str(int(START.timestamp()) + 1), {"timezone": "UTC"}),
    ],
)
def test_times(run: MadeRun, tmp_path: Path, at: str, declared: dict[str, Any]) -> None:
    """Offsets, times of a declared zone, and seconds since the epoch in JSON mean the same moment."""
    user = arms_of(run)["a"][399 // 2]
    number = at.isdigit()
    body = json.dumps({"user_id": user, "event": "opened_people", "at": int(at) if number else at}) + "\n"
    # The run began at 09:00:00 UTC: a conversion at that very second is in the window of its first users only.
    early = joined(
        run, tmp_path, body.replace("11:00:00+02", "11:00:01+02").replace("10:00:00", "10:00:01"), **declared
    )
    assert sum(arm.conversions for arm in early.arms) == 1


def test_a_time_without_a_zone_needs_one(run: MadeRun, tmp_path: Path) -> None:
    """It is not guessed: the fault names the column, a value, and what to declare."""
    with pytest.raises(AudienceFault, match=r"timezone is missing: at has times without one \(2026-11-21 10:00:00\)"):
        joined(run, tmp_path, csv(("u", "2026-11-21 10:00:00")))


def test_a_look_before_the_end(run: MadeRun, tmp_path: Path) -> None:
    """It is final only when every window is over, late ones have arrived, and the source says that it is complete."""
    body = csv((arms_of(run)["a"][0], "2026-11-21T10:00:00Z"))
    ends = START + timedelta(hours=72, minutes=1)
    for now, through, late, is_final in (
        (LATER, "2026-11-30T00:00:00Z", 0, True),
        (LATER, "2026-11-24T08:00:00Z", 0, False),
        (LATER, None, 0, False),
        (ends, "2026-11-30T00:00:00Z", 0, True),
        (ends, "2026-11-30T00:00:00Z", 6, False),
    ):
        found = joined(run, tmp_path, body, now=now, through=through, lateness_h=late)
        assert found.is_final == is_final


def test_other_ids_are_seen(run: MadeRun, tmp_path: Path) -> None:
    """A source with other ids converts nobody, and its share of unknown users says why."""
    found = joined(run, tmp_path, csv(*((f"x{n}", "2026-11-21T10:00:00Z") for n in range(20))))
    assert found.unknown_share == 1.0
    assert sum(arm.conversions for arm in found.arms) == 0


def test_users_of_the_other_run_are_not_unknown(run: MadeRun, tmp_path: Path) -> None:
    """Of a test with a winner, or its remainder: whoever is in the other run is in no row of this one, and known."""
    other = OtherPart("goal", 5_000, is_remainder=True)
    strangers = [f"x{n}" for n in range(40)]
    body = csv(*((user, "2026-11-21T10:00:00Z") for user in strangers))
    run.client.put_object(Bucket=run.bucket, Key="standing/others", Body=body.encode())
    declared = read_declaration(b'{"files": ["standing/others"], "complete": {"marker": "standing/m"}}', "c")
    work = Limits(tmp_path / new_name("work"))
    found = join(run.client, run.bucket, run.run_id, GOAL, declared, LATER, work, other_part=other)
    assert found.unknown == found.seen == sum(user not in other for user in strangers) > 0


def test_dated_files(run: MadeRun, tmp_path: Path) -> None:
    """`{date}` is each day of the window; days without a file are days without conversions."""
    one, other, *_ = arms_of(run)["a"]
    for user, day in ((one, 21), (other, 23)):
        key = f"standing/days/date=2026-11-{day}/part.jsonl"
        event = {"user_id": user, "at": f"2026-11-{day}T12:00:00Z"}
        run.client.put_object(Bucket=run.bucket, Key=key, Body=json.dumps(event).encode())
    found = joined(run, tmp_path, "", files=["standing/days/date={date}/"], event=None)
    assert next(arm.conversions for arm in found.arms if arm.arm == "a") == 2


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"timezone": "Mars/Base"}, "Mars/Base is no time zone"),
        ({"at": "when"}, "no column when; there are user_id, event, at"),
        ({"files": ["standing/none/"]}, "no object has such a key: standing/none/"),
        ({"more": 1}, "more"),
    ],
)
def test_what_goes_wrong(run: MadeRun, tmp_path: Path, declared: dict[str, Any], words: str) -> None:
    """Each fault names the file or the field, and what there is instead."""
    with pytest.raises(AudienceFault, match=words):
        joined(run, tmp_path, csv(("u", "2026-11-21T10:00:00Z")), **declared)


def test_a_marker_that_is_no_time(run: MadeRun, tmp_path: Path) -> None:
    """A time without an offset would be guessed."""
    with pytest.raises(AudienceFault, match="not a time with an offset: yesterday"):
        joined(run, tmp_path, csv(("u", "2026-11-21T10:00:00Z")), through="yesterday")
