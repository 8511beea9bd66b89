"""One campaign on the pages from its goal to its winner, the rest and the result, in the sandbox.

`SCREENSHOTS=folder` keeps the pictures of every state.
"""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from playwright.sync_api import Page, expect

from notifier.model.arms import Arms
from sandbox.audience import Recipe, users
from sandbox.office import Office
from sandbox.scene import ANN, BOB, OLIVE
from tests.browser.approval_pages import WIDE, People, approve, asked, press_sure, run_of, see, send, soon

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


@pytest.mark.slow
def test_from_the_goal_to_the_rest(people: People, office: Office) -> None:
    """Asked, approved, paused and resumed, counted, compared, decided by a person, sent to the others."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    ids = put_goal(office)
    address = asked(ann, office, "loop", audience="audiences/loop.json", **FORM)
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
    # The hour of the decision is not there: an approver decides, after a question.
    bob.goto(address)
    bob.locator("summary", has_text="Decide it yourself").click()
    bob.get_by_label("short", exact=True).check()
    see(bob, "63-decide")
    bob.get_by_role("button", name="Yes, decide it so").click()
    expect(bob.get_by_text("short goes to the others").first).to_be_visible(timeout=60_000)
    soon(lambda: tick(office) and "accepted · run" in bob.request.get(address).text(), 90)
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
    assert run_of(office, address) in bob.request.get(address).text()


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
