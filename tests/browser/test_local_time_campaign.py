"""A campaign by each user's own clock, from the form to the phones: the pages, the deployed functions, the stand-ins.

The clock of the worker, the sweeper, the audience function and the stand-ins is moved from window to window. What each
user's clock showed is computed here with zoneinfo and the package's data alone.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from operations.cli import app as notifier
from sandbox.gateways.noted import arrivals
from sandbox.local_time_run import SETTING, MovedClock, due_s, is_closed, sweep
from sandbox.office import Office
from sandbox.scene import ANN, BOB
from sandbox.up import write_stack_file
from tests.browser.approval_pages import People, approve, counted, run_of
from tests.zone_people import ALL_ZONES, FALLBACK, clock_of, zone_of

USERS = 1_200
WAKE, QUIET_ENDS, WITHIN_H = "07:30", "08:00", 3
"""Half an hour before the end of quiet hours: nobody gets it at the time of the form."""
NAME = "good-morning"


def token_of(n: int) -> str:
    """User n's."""
    return f"ok-{n:08d}"


@pytest.fixture
def clock(tmp_path: Path) -> MovedClock:
    """Of the functions and the stand-ins, not of the pages."""
    return MovedClock(tmp_path)


@pytest.fixture
def office(chromium: str, tmp_path: Path, clock: MovedClock) -> Iterator[Office]:
    """A stack of its own, which sends only what was approved."""
    (tmp_path / "state").mkdir()
    with clock.inherited():
        started = Office.start(
            tmp_path / "state", msgspec.structs.replace(SETTING, parameters={"RequireApproval": "true"})
        )
    with started:
        clock.move(started.trial)
        yield started


def put_people(office: Office) -> None:
    """Users over every zone of the tz database; one of a hundred has none."""
    found = [
        {"user_id": f"u{n}", "platform": ("android", "ios")[n % 2], "token": token_of(n)}
        | ({"timezone": zone} if (zone := zone_of(n)) else {})
        for n in range(USERS)
    ]
    body = "\n".join(map(json.dumps, found)).encode()
    office.trial.s3.put_object(Bucket=office.trial.sandbox.bucket, Key="audiences/everywhere.jsonl", Body=body)


def asked_for(page: Page, office: Office, day: date) -> str:
    """The form filled in and sent for review, as a person does it; the request's address."""
    page.goto(f"{office.url}/requests")
    page.get_by_role("button", name="New request").click()
    page.get_by_label("Name of the campaign").fill(NAME)
    page.get_by_label("Title", exact=True).first.fill("Good morning")
    page.get_by_label("everywhere.jsonl").check()
    page.get_by_label("Control group in %").fill("10")
    page.get_by_label("Not before").fill(f"{day}T{WAKE}")
    page.get_by_label("Time zone of these times").fill(FALLBACK)
    page.get_by_label("By each user's own clock").check()
    page.get_by_label("Reach them within hours").fill(str(WITHIN_H))
    page.get_by_label("Quiet hours", exact=True).select_option("own")
    page.get_by_label("From", exact=True).fill("21:00")
    page.get_by_label("To", exact=True).fill(QUIET_ENDS)
    counted(page)
    # Everybody waits for the end of quiet hours: the form says so before anybody approves it.
    expect(page.locator("[data-part=times]")).to_contain_text(
        f"{USERS:,} users: it waits for the end of quiet hours ({QUIET_ENDS})"
    )
    page.get_by_role("button", name="Send for review").click()
    expect(page.get_by_role("status").first).to_contain_text("Sent for review")
    return page.url.partition("?")[0]


def play(office: Office, clock: MovedClock, run_id: str) -> int:
    """Move the clock from window to window until the run is over; how many times it was moved."""
    moved = 0
    office.trial.sandbox.lambda_.wait_idle(120)
    while not is_closed(office.trial, run_id):
        following = due_s(office.trial, [run_id])
        assert following is not None, "nothing is due, and the run is not over"
        clock.set(max(following, clock()))
        sweep(office.trial)
        moved += 1
    return moved


def check_arrivals(path: Path, day: date, rows: list[dict[str, object]]) -> Counter[str]:
    """One request for each user who is no control user, when their own clock is past quiet hours, and not too late."""
    held = {str(row["user_id"]) for row in rows if row["outcome"] == "held"}
    asked: dict[str, list[float]] = {}
    for at_s, token in arrivals(path):
        asked.setdefault(token, []).append(at_s)
    assert set(asked) == {token_of(n) for n in range(USERS) if f"u{n}" not in held}
    shown: Counter[str] = Counter()
    for n in range(USERS):
        if f"u{n}" in held:
            continue
        (at_s,) = asked[token_of(n)]
        local = datetime.fromtimestamp(at_s, clock_of(zone_of(n) or FALLBACK)).replace(tzinfo=None)
        opens = datetime.combine(day, datetime.strptime(QUIET_ENDS, "%H:%M").time())  # noqa: DTZ007 - local
        assert opens <= local < opens + timedelta(hours=WITHIN_H), (zone_of(n), local)
        shown[f"{local:%H:%M}"] += 1
    return shown


@pytest.mark.slow
def test_a_campaign_by_each_users_own_clock(
    browser: Browser, office: Office, clock: MovedClock, tmp_path: Path
) -> None:
    """Composed, counted, approved; every phone gets it in its own morning, after quiet hours; rows and audit exact."""
    put_people(office)
    people = People(browser, office)
    ann, bob = people.sign_in(ANN), people.sign_in(BOB, viewport={"width": 390, "height": 844})
    day = (datetime.now(UTC) + timedelta(days=2)).date()
    address = asked_for(ann, office, day)
    bob.goto(address)
    expect(bob.locator("#card")).to_contain_text(f"At {WAKE} by each user's own clock")
    expect(bob.locator("#card")).to_contain_text(QUIET_ENDS)
    approve(bob, address)
    run_id = run_of(office, address)
    moved = play(office, clock, run_id)

    summary, rows = office.trial.summary(run_id), list(office.trial.rows(run_id))
    assert (summary.status, summary.excluded_by, summary.timezone_assumed) == ("completed", {}, USERS // 100)
    assert sorted(str(row["user_id"]) for row in rows) == sorted(f"u{n}" for n in range(USERS))
    outcomes = Counter(str(row["outcome"]) for row in rows)
    assert outcomes["accepted"] + outcomes["held"] == USERS
    assert 0.05 < outcomes["held"] / USERS < 0.15
    shown = check_arrivals(clock.arrivals, day, rows)
    bob.goto(address)
    expect(bob.locator("[data-part=run] .badge")).to_have_text("completed")
    expect(bob.locator("[data-part=run]")).to_contain_text(f"{outcomes['accepted']:,}")
    if folder := os.environ.get("SCREENSHOTS"):
        bob.screenshot(path=f"{folder}/63-local-time-sent.png", full_page=True)
    stack_file = write_stack_file(office.trial.sandbox, tmp_path / "stack.json", office.url)
    proof = CliRunner().invoke(notifier, ["audit", NAME, "--json"], env={"NOTIFIER_STACK_FILE": str(stack_file)})
    assert (proof.exit_code, json.loads(proof.stdout)["in_words"]) == (0, "proved"), proof.output
    write = sys.stderr.write  # with `-s` people see the figures
    write(f"{USERS} users in {len(ALL_ZONES)} zones: {dict(outcomes)}, {summary.lanes} lanes, moved {moved} times, ")
    write(f"from {min(shown)} to {max(shown)} by the users' clocks\n")
