"""A schedule on its own page, and its audience in a request. `SCREENSHOTS=folder` keeps the pictures."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from notifier.dynamodb import item_of
from sandbox.office import Office
from sandbox.scene import ANN, BOB
from tests.browser.approval_pages import People, approve_opener, counted, see, see_in_both_themes, send, soon

NAME = "day-2"
ZONES = ("Europe/London", "Europe/Berlin", "America/New_York", "Asia/Tokyo")
DEFINITION = {
    "schedule": {
        "when": {"cron": "0 9 * * *", "timezone": "Europe/London"},
        "ends": "2027-06-30",
        "limits": {"min_users": 50, "max_users": 5_000},
    },
    "audience": {"files": ["standing/day-2.jsonl"]},
    "campaign": {
        "message": {
            "title": "Hi {{ first_name | default: 'there' }}", "body": "Three people you may know joined this week.",
            "deep_link": "app://people", "translations": {"de": {"title": "Hallo {{ first_name | default: 'du' }}"}},
        },
        "variants": [{"name": "question", "percent": 45, "message": {"body": "Who joined this week?",
                      "translations": {"de": {"title": "Wer ist dabei?", "body": "Drei sind neu."}}}},
                     {"name": "statement", "percent": 45}],
        "control_percent": 10, "quiet": {"from": "21:00", "to": "08:00", "timezone": "Europe/London"},
    },
}  # fmt: skip


def put_people(office: Office) -> None:
    """Whom it reaches."""
    people = [
        {"user_id": f"u{n}", "platform": "ios", "token": f"{n:064x}", "timezone": ZONES[n % 4 if n % 3 else 0],
         "locale": "de-DE" if n % 5 == 0 else "en-GB", "attributes": {"first_name": "Ann"} if n % 7 else {}}
        for n in range(400)
    ]  # fmt: skip
    body = "\n".join(map(json.dumps, people)).encode()
    office.trial.s3.put_object(Bucket=office.trial.sandbox.bucket, Key="standing/day-2.jsonl", Body=body)


def tick(office: Office) -> None:
    """The minute's tick: it looks at what was written and approved."""
    sandbox = office.trial.sandbox
    sandbox.lambda_.invoke(sandbox.function("ScheduleFunction").name)


KINDS: dict[str, dict[str, str | int]] = {
    "2026-03-01T0900": {"state": "empty"},
    "2026-03-02T0900": {"state": "missed", "reason": "it was due in an outage, and a later one is due, too"},
    "2026-03-03T0900": {"state": "failed", "reason": 'standing/day-2.jsonl: column "user_id" is in none of its rows'},
    "2026-03-04T0900": {"state": "rejected", "users": 7_000, "decision": "reject", "by": BOB},
    "2026-03-05T0900": {"state": "run", "users": 400, "run_id": "0123456789abcdef0123"},
    "2026-03-06T0900": {
        "state": "needs_review", "users": 7_000, "reason": "7,000 users are more than the limit of 5,000",
        "review_until_ms": 4_000_000_000_000,
    },
}  # fmt: skip
"""What may have become of a time, as the schedules' function writes it."""


@contextmanager
def times_of_each_kind(office: Office) -> Iterator[None]:
    """Times that came before."""
    sandbox = office.trial.sandbox
    client, keys = sandbox.client("dynamodb"), []
    for stamp, values in KINDS.items():
        key = item_of({"pk": f"schedule#{NAME}", "sk": f"occurrence#{stamp}"})
        more = {"version": 1, "fires_at_ms": 1_772_000_000_000, "state_at_ms": 1_772_000_000_000, **values}
        client.put_item(TableName=sandbox.table, Item=key | item_of(more))
        keys.append(key)
    try:
        yield
    finally:
        for key in keys:
            client.delete_item(TableName=sandbox.table, Key=key)


@pytest.mark.slow
def test_a_schedule_from_its_writing_to_its_approval(people: People, office: Office) -> None:
    """Counted, every text looked at on a phone, approved; then a request takes its audience, and counts the same."""
    put_people(office)
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.goto(f"{office.url}/schedules")
    address = f"{office.url}/schedules/{NAME}"
    send(ann, f"{office.url}/schedules", {"name": NAME, "text": json.dumps(DEFINITION, indent=2)})
    ann.goto(address)
    soon(lambda: (send(ann, f"{address}/preview", {}), "400 users" in ann.request.get(address).text())[1], 60)
    tick(office)
    bob = people.sign_in(BOB, bypass_csp=True, viewport={"width": 390, "height": 844}, has_touch=True)
    bob.goto(address)
    see_in_both_themes(bob, "60-schedule-to-approve")
    bob.set_viewport_size({"width": 390, "height": 844})
    bob.goto(address)
    card, bar = bob.locator("#card").bounding_box(), bob.locator("#decide").bounding_box()
    assert card is not None
    assert bar is not None
    # The decision on one screen, as of a request.
    assert (bob.evaluate("scrollY"), card["y"] + card["height"] <= bar["y"], bar["y"] + bar["height"]) == (0, True, 844)
    if folder := os.environ.get("SCREENSHOTS"):
        bob.screenshot(path=f"{folder}/60-schedule-on-one-screen.png")
    for said in ("400 users", "10 % control", "London", "1 of 4 texts seen", "Opens app://people"):
        expect(bob.locator("#card")).to_contain_text(said)
    for number in range(2, 5):
        bob.get_by_role("button", name="Next text").click()
        expect(bob.locator("#card")).to_contain_text(f"{number} of 4 texts seen")
    approve_opener(bob).click()
    expect(bob.locator("#decide")).not_to_contain_text("You have not looked at")
    bob.get_by_role("button", name="Yes, approve").click()
    expect(bob.get_by_role("status").first).to_contain_text("Your approval counts")
    tick(office)
    bob.goto(address)
    expect(bob.locator(".badge.active")).to_be_visible()
    see(bob, "61-schedule-active")
    send(ann, f"{address}/now", {"day": datetime.now(UTC).date().isoformat()})
    # Some of its users may be in quiet hours at this time of the day: it need not be over.
    sent = re.compile("accepted for [1-9]")

    def is_sent() -> bool:
        tick(office)
        return sent.search(ann.request.get(address).text()) is not None

    soon(is_sent, 90)
    with times_of_each_kind(office):
        bob.goto(address)
        expect(bob.get_by_role("heading", name="waits for a decision")).to_be_visible()
        see_in_both_themes(bob, "63-schedule-history")

    ann.goto(f"{office.url}/requests")
    ann.get_by_role("button", name="New request").click()
    ann.get_by_label("Name of the campaign").fill("once-more-for-day-2")
    ann.get_by_label("Title", exact=True).first.fill("Hi")
    ann.get_by_role("button", name="Use a named query or a schedule's audience").click()
    ann.get_by_label("Or a schedule's audience").select_option(NAME)
    expect(ann.get_by_text(re.compile("Whom version [0-9a-f]{12} of"))).to_be_visible()
    counted(ann)
    expect(ann.locator("[data-part=audience]")).to_contain_text(re.compile(f"as schedule {NAME}, version"))
    expect(ann.locator("[data-part=audience]")).to_contain_text("Users400")
    see(ann, "62-schedules-audience")
