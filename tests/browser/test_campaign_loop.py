"""One campaign on the pages from its goal to its winner, the rest, the report and the proof, in the sandbox.

`SCREENSHOTS=folder` keeps the pictures of every state.
"""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from typer.testing import CliRunner

from notifier.model.arms import Arms
from operations.cli import app as notifier
from sandbox.audience import Recipe, users
from sandbox.office import Office
from sandbox.scene import ANN, BOB, OLIVE
from sandbox.up import write_stack_file
from tests.browser.approval_pages import WIDE, People, approve, asked, press_sure, run_of, see, send, soon
from tests.moved_winners import decided

USERS = 1_200
ARMS = Arms("loop", (("warm", 4000), ("short", 4000), ("control", 2000)))
RATES = {"warm": 25, "short": 60, "control": 10}
"""Of 100 users of an arm, how many convert."""
FORM = {
    "experiment": "loop", "control_percent": "20", "per_second": "40",
    "variants.0.name": "warm", "variants.0.percent": "40", "variants.0.title": "We missed you",
    "variants.1.name": "short", "variants.1.percent": "40", "variants.1.title": "Hi",
    "goal": "opened", "goal_window_h": "24", "goal_lift_percent": "50", "goal_base_percent": "10",
    "test_percent": "50", "decide_after_h": "2", "decide_by_h": "4", "otherwise": "stop",
}  # fmt: skip


def put(office: Office, key: str, body: str) -> None:
    office.trial.s3.put_object(Bucket=office.trial.sandbox.bucket, Key=key, Body=body.encode())


def converts(user_id: str) -> bool:
    """Decided by a hash: the same users each time."""
    arm = ARMS.names[ARMS.index_of(user_id.encode())]
    return int(sha256(f"does {user_id}".encode()).hexdigest()[:8], 16) % 100 < RATES[arm]


def put_goal(office: Office) -> list[str]:
    """An audience of its own, and where the conversions will be; the users' ids."""
    people = list(users(Recipe(users=USERS, seed=5)))
    put(office, "audiences/loop.json", json.dumps(people))
    declared = {"files": ["standing/opened/"], "complete": {"marker": "standing/through"}}
    put(office, "conversions/opened.json", json.dumps(declared))
    return [str(one["user_id"]) for one in people]


def put_conversions(office: Office, ids: list[str]) -> None:
    """A moment after the push some of each arm have opened the app; the source is complete for long."""
    at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    lines = [json.dumps({"user_id": one, "event": "opened", "at": at}) for one in ids if converts(one)]
    put(office, "standing/opened/1.jsonl", "\n".join(lines))
    put(office, "standing/through", (datetime.now(UTC) + timedelta(days=30)).isoformat())


def close_up(page: Page, name: str, part: str = ".result") -> None:
    """A picture of one part of the page, at both widths and in both themes, where pictures are kept."""
    if folder := os.environ.get("SCREENSHOTS"):
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for label, size in (("wide", WIDE), ("narrow", {"width": 390, "height": 844})):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                page.locator(part).first.screenshot(path=f"{folder}/{name}-{theme}-{label}.png")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def tick(office: Office) -> bool:
    """The minute of the schedules' function, which sends what was decided: this stack's own does not come."""
    sandbox = office.trial.sandbox
    sandbox.lambda_.invoke(sandbox.function("ScheduleFunction").name, b"{}", trace="")
    return True


def decide_by_hand(bob: Page, office: Office, address: str) -> None:
    """The hour of the decision is not there: an approver decides, after a question."""
    bob.goto(address)
    bob.locator("summary", has_text="Decide it yourself").click()
    bob.get_by_label("short", exact=True).check()
    see(bob, "63-decide")
    bob.get_by_role("button", name="Yes, decide it so").click()
    expect(bob.get_by_text("short goes to the others").first).to_be_visible(timeout=60_000)
    soon(lambda: tick(office) and "accepted</p>" in bob.request.get(address).text(), 90)


def command(office: Office, folder: Path, *arguments: str) -> str:
    """What `notifier` prints for this stack."""
    stack_file = write_stack_file(office.trial.sandbox, folder / "stack.json", office.url)
    result = CliRunner().invoke(notifier, [*arguments], env={"NOTIFIER_STACK_FILE": str(stack_file)})
    assert result.exit_code == 0, result.output
    return result.stdout


def see_report(page: Page, path: Path) -> None:
    """The report's page at the width of a desk, and of two phones: nothing sticks out."""
    page.goto(path.as_uri())
    for width in (1280, 390, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/70-report-{width}.png", full_page=True)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["a person", "evidence"])
def test_from_the_goal_to_the_proof(people: People, office: Office, tmp_path: Path, by: str) -> None:
    """Asked, approved, paused, resumed, counted, compared, decided, sent to the others, reported; both runs proved."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    ids = put_goal(office)
    address = asked(ann, office, f"loop by {by}", audience="audiences/loop.json", **FORM)
    approve(bob, address)
    # While it is sent: the page follows by itself, and an open question stays open.
    expect(bob.get_by_text("devices done")).to_be_visible(timeout=60_000)
    see(bob, "60-sending")
    bob.get_by_role("button", name="Pause").click()
    expect(bob.get_by_text("paused").first).to_be_visible(timeout=30_000)
    see(bob, "61-paused")
    bob.get_by_role("button", name="Resume").click()
    expect(bob.locator(".badge.completed").first).to_be_visible(timeout=90_000)
    put_conversions(office, ids)
    ann.goto(address)
    ann.get_by_role("button", name="Count the conversions").click()
    expect(ann.locator(".verdicts .better", has_text="short").first).to_be_visible(timeout=90_000)
    expect(ann.get_by_role("img", name=re.compile("^Lift of each variant")).first).to_be_visible()
    see(ann, "62-result")
    run_id = run_of(office, address)
    if by == "a person":
        decide_by_hand(bob, office, address)
    else:
        decided(office.trial, run_id)
    bob.goto(address)
    # The page follows the others' run, too.
    expect(bob.locator(".result .badge.completed")).to_be_visible(timeout=90_000)
    see(bob, "64-the-others")
    close_up(bob, "64-close")
    # The list has the verdict; a template is made of it, and deleting one asks.
    bob.goto(f"{office.url}/requests?q=loop")
    expect(bob.locator(".came .better", has_text="short").first).to_be_visible()
    see(bob, "65-list")
    close_up(bob, "65-close", "main")
    send(ann, f"{address}/template", {"name": "Test first"})
    ann.goto(f"{office.url}/templates")
    see(ann, "66-templates")
    press_sure(ann, "Delete", "Yes, delete it")
    expect(ann.get_by_text("There is no template yet.")).to_be_visible()
    assert run_id in bob.request.get(address).text()
    # The same campaign by the command line: what it brought about, and the proof of both runs.
    html = tmp_path / "report.html"
    report = json.loads(command(office, tmp_path, "report", run_id, "--json", "--html", str(html)))
    why = "decided by bob@example.com" if by == "a person" else "better than no push"
    assert f"short goes to the remainder, {why}" in report["winner"]["in_words"]
    assert [one["variant"] for one in report["goal"]["comparison"]["lifts"] if one["verdict"]["finding"] == "better"]
    see_report(bob, html)
    for name in (run_id, report["winner"]["remainder"]):
        proof = json.loads(command(office, tmp_path, "audit", name, "--json"))
        assert proof["conclusion"] == "proved", proof


@pytest.mark.slow
def test_an_officers_pages(people: People, office: Office) -> None:
    """The cost, the look-up as it goes on, what was found, and the question before erasing."""
    olive = people.sign_in(OLIVE, bypass_csp=True)
    olive.goto(f"{office.url}/people")
    olive.get_by_label("User id", exact=True).fill("u5")
    olive.get_by_role("button", name="What would it read?").click()
    expect(olive.get_by_role("button", name="Look it up")).to_be_visible()
    see(olive, "67-people")
    olive.get_by_role("button", name="Look it up").click()
    expect(olive.get_by_role("heading", name="u5")).to_be_visible(timeout=60_000)
    see(olive, "68-person")
    olive.get_by_role("button", name="Erase this person").click()
    expect(olive.get_by_text("Nobody can undo it.")).to_be_visible()
    see(olive, "69-erase")
