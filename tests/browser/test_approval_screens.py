"""Every page and state that the other tests do not stop at, at both widths: `SCREENSHOTS=folder` keeps the pictures."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from sandbox.aws_faults import AwsRule, Does
from sandbox.local_lambda.invocation import Delivery, Fault, Invocation, no_fault
from sandbox.office import Office
from sandbox.scene import ANN, BOB, CAT
from tests.browser.approval_pages import (
    People,
    approval_table,
    approve,
    approve_opener,
    asked,
    batch_files,
    counted,
    press_approve,
    press_sure,
    review_link,
    see,
    see_in_both_themes,
    send,
    soon,
)


@pytest.mark.slow
def test_before_signing_in(people: People, office: Office) -> None:
    """Look at your mail; and a link for another person."""
    page = people.signed_out(bypass_csp=True)
    page.goto(f"{office.url}/sign-in")
    page.get_by_label("Your work email").fill("nobody@elsewhere.org")
    page.get_by_role("button", name="Mail me a link").click()
    expect(page.get_by_role("heading", name="Look at your mail")).to_be_visible()
    see(page, "20-look-at-your-mail")
    ann = people.signed_out(bypass_csp=True)
    ann.goto(f"{office.url}/requests")
    people.ask_for_link(ann, ANN)
    asked(ann, office, "not-yours")
    ann.goto(review_link(office, BOB, "not-yours"))
    expect(ann.get_by_role("heading", name="This link is somebody else's")).to_be_visible()
    see(ann, "21-somebody-elses-link")
    ann.get_by_role("button", name="Sign out, and in as bob@example.com").click()
    expect(ann.get_by_role("heading", name="not-yours")).to_be_visible()
    assert ann.get_by_text("bob@example.com").first.is_visible()


@pytest.mark.slow
def test_nothing_there(people: People, office: Office) -> None:
    """No such request, no such page, no request at all, nothing found, no devices."""
    cat = people.sign_in(CAT, bypass_csp=True)
    cat.goto(f"{office.url}/requests/20260101-000000000000")
    expect(cat.get_by_role("heading", name="Nothing here")).to_be_visible()
    see(cat, "23-not-found")
    cat.goto(f"{office.url}/requests?q=never+asked+for")
    expect(cat.get_by_text("Nothing matches.")).to_be_visible()
    see(cat, "24-nothing-matches")
    with without(office, "list"):
        cat.goto(f"{office.url}/requests")
        expect(cat.get_by_text("Nobody has asked for a push yet.")).to_be_visible()
        see(cat, "25-empty-list")
    with without(office, f"person#{CAT}"):
        cat.goto(f"{office.url}/devices")
        cat.get_by_label("Device token").fill("short")
        cat.get_by_role("button", name="Register").click()
        expect(cat.get_by_text("That is not a device token.")).to_be_visible()
        see(cat, "26-no-devices")


@contextmanager
def without(office: Office, pk: str) -> Iterator[None]:
    """These items are taken out of the table and put back."""
    client, table = office.trial.sandbox.client("dynamodb"), approval_table(office)
    found = [item for item in client.scan(TableName=table)["Items"] if item["pk"]["S"] == pk]
    for item in found:
        client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
    try:
        yield
    finally:
        for item in found:
            client.put_item(TableName=table, Item=item)


@pytest.mark.slow
def test_not_allowed(people: People, office: Office) -> None:
    """The page as it is with the reason above; a form of a page that was open too long; a session that has ended."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    address = asked(ann, office, "not-mine-to-approve")
    page = "form => { form.action = location.href + '/approve'; form.submit() }"
    ann.goto(address)
    ann.evaluate(f"({page})(document.querySelector('form[action$=copy]'))")
    expect(ann.get_by_role("alert")).to_have_text("Only approvers can decide.")
    see(ann, "27-forbidden")
    bob.goto(address)
    bob.evaluate("() => { document.querySelectorAll('[name=csrf]').forEach((field) => { field.value = 'old'; }) }")
    press_approve(bob)
    expect(bob.get_by_role("heading", name="This did not work")).to_be_visible()
    see(bob, "28-old-form")
    bob.goto(address)
    bob.context.clear_cookies()
    press_approve(bob)
    expect(bob.get_by_role("heading", name="Your session has ended")).to_be_visible()
    see(bob, "29-session-ended", styled=False)
    assert batch_files(office, address) == 0


@pytest.mark.slow
def test_a_form_with_faults(people: People, office: Office) -> None:
    """Every kind beside its field, none of them saved away."""
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.get_by_role("button", name="New request").click()
    see(ann, "30-new-form")
    ann.get_by_label("Name of the campaign").fill("full of faults")
    ann.get_by_label("Title", exact=True).first.fill("Hi {{ first_name")
    ann.get_by_label("Text", exact=True).first.fill("{{ favourite_dj }} is live")
    ann.get_by_label(re.compile("with-repeats")).check()
    counted(ann)
    ann.get_by_role("button", name="Make variants").click()
    ann.get_by_role("group", name="Variant a").get_by_label("Share in %").fill("70")
    ann.get_by_label("Users per second").fill("fast")
    ann.get_by_label("Time zone of these times").fill("Mars/Phobos")
    ann.get_by_label("Not after").fill("2020-01-01T10:00")
    ann.get_by_role("button", name="Send for review").click()
    # 20 of the 400 have only devices that another user has: preparation leaves them out.
    expect(ann.locator("#body-fault")).to_contain_text("380 of 380 users have no favourite_dj: they would get nothing.")
    assert ann.locator(".fault:not(:empty)").count() >= 4
    see(ann, "31-faults")


@pytest.mark.slow
def test_states_in_review(people: People, office: Office) -> None:
    """A draft that is counted; half approved, for the one who has and the one who has not; the audience changed."""
    ann, bob, cat = (people.sign_in(email, bypass_csp=True) for email in (ANN, BOB, CAT))
    s3, bucket = office.trial.s3, office.trial.sandbox.bucket
    one = [{"user_id": "u1", "platform": "ios", "token": "a" * 64, "attributes": {"city": "Wien"}}]
    s3.put_object(Bucket=bucket, Key="audiences/slowly-counted.json", Body=json.dumps(one).encode())
    address = send(ann, f"{office.url}/requests", {})
    with nothing_counted(office):
        send(
            ann,
            address,
            {"name": "still-counted", "audience": "audiences/slowly-counted.json", "version": "0", "do": "count"},
        )
    ann.goto(address)
    expect(ann.get_by_text("Making and counting the audience")).to_be_visible()
    see(ann, "32-counting")
    key = "audiences/changing.json"
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(one).encode())
    address = asked(ann, office, "changed", audience=key)
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(one * 2).encode())
    bob.goto(address)
    see(bob, "33-audience-changed")
    ann.goto(address)
    see(ann, "33-audience-changed-requester")

    many = asked(ann, office, "for-two", audience="audiences/day-21-inactive.ndjson.gz", control_percent="10")
    soon(lambda: bob.goto(many) and approve_opener(bob).count())
    approve(bob, many)
    see(bob, "34-half-approved-by-me")
    cat.goto(many)
    see(cat, "35-half-approved")


@contextmanager
def nothing_counted(office: Office) -> Iterator[None]:
    """Lambda loses what the audience function is asked."""
    audiences = office.trial.sandbox.function("AudienceFunction").name

    def lost(invocation: Invocation) -> Fault:
        return Fault(Delivery.DROPPED) if invocation.function == audiences else Fault()

    office.trial.sandbox.lambda_.faults = lost
    try:
        yield
    finally:
        office.trial.sandbox.lambda_.faults = no_fault


def test_the_decision_on_one_screen(people: People, office: Office) -> None:
    """On a phone: who, when, a text and the buttons, without scrolling; the other texts come without a page load."""
    ann = people.sign_in(ANN)
    fields = {
        "variants.0.name": "Long", "variants.0.percent": "45", "variants.1.name": "Short Text",
        "variants.1.percent": "45", "variants.1.title": "Live!",
    }  # fmt: skip
    address = asked(ann, office, "one-screen", **fields, control_percent="10", deep_link="app://live")
    bob = people.sign_in(BOB, bypass_csp=True, viewport={"width": 390, "height": 844}, has_touch=True)
    bob.goto(address)
    card, bar = bob.locator("#card").bounding_box(), bob.locator("#decide").bounding_box()
    assert card is not None
    assert bar is not None
    assert card["y"] >= 0
    assert card["y"] + card["height"] <= bar["y"]
    for button in (bob.get_by_role("button", name="Test"), approve_opener(bob), bob.locator(".reject summary")):
        box = button.first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 844
        assert box["height"] >= 44
    assert bob.evaluate("scrollY") == 0
    for said in ("1,200 users", "10 % control", "When approved", "Opens app://live", "1 of 2 texts seen"):
        expect(bob.locator("#card")).to_contain_text(said)
    bob.evaluate("() => { window.isStill = true }")
    approve_opener(bob).click()
    expect(bob.locator("#decide")).to_contain_text("You have not looked at 1 of 2 texts: Short Text.")
    approve_opener(bob).click()
    bob.get_by_role("button", name="Next text").click()
    expect(bob.locator("#card")).to_contain_text("2 of 2 texts seen · Short Text")
    expect(bob.locator("#card .t")).to_have_text("Live!")
    approve_opener(bob).click()
    expect(bob.locator("#decide")).not_to_contain_text("You have not looked at")
    assert bob.evaluate("window.isStill")
    see(bob, "43-one-screen")
    bob.get_by_role("button", name="Yes, approve").click()
    expect(bob.get_by_role("status").first).to_contain_text("Approved")


@pytest.mark.slow
def test_decided(people: People, office: Office) -> None:
    """Rejected, with comments and tags, and withdrawn; and the list with some of everything."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    rejected = asked(ann, office, "rejected-one")
    bob.goto(rejected)
    send(bob, f"{rejected}/comment", {"comment_text": "Is this the same Tinie as last week?\nThen nobody needs it."})
    send(bob, f"{rejected}/tag", {"tags": "summer 2027, music"})
    send(ann, f"{rejected}/comment", {"comment_text": "Another one."})
    send(bob, f"{rejected}/reject", {"comment": "Too loud for a Sunday.\nAnd who is Tinie?"})
    bob.goto(rejected)
    expect(bob.get_by_text("Too loud for a Sunday.").first).to_be_visible()
    see(bob, "36-rejected")
    withdrawn = asked(ann, office, "withdrawn-one")
    send(ann, f"{withdrawn}/withdraw", {})
    ann.goto(withdrawn)
    expect(ann.locator("summary", has_text="Withdraw")).to_have_count(0)
    expect(ann.get_by_role("button", name="Copy into a new request")).to_be_visible()
    see(ann, "37-withdrawn")
    bob.goto(f"{office.url}/requests")
    for name in ("rejected-one", "withdrawn-one"):
        expect(bob.get_by_role("link", name=name)).to_be_visible()
    see(bob, "38-list-of-an-approver")


@pytest.mark.slow
def test_cut_off_in_the_middle(people: People, office: Office) -> None:
    """S3 refuses the batch file: the gateway's page leads back, the request's page offers to write it, and it runs."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    address = asked(ann, office, "cut-off")
    bob.goto(address)
    with no_batch_files(office):
        press_approve(bob)
        expect(bob.get_by_role("heading", name="This did not work")).to_be_visible()
        see(bob, "39-our-fault", styled=False)
    bob.get_by_role("link", name="Look at the page").click()
    expect(bob.get_by_text("not handed over for sending yet")).to_be_visible()
    see(bob, "40-not-written")
    bob.get_by_role("button", name="Hand it over").click()
    expect(bob.get_by_role("status").get_by_text("completed")).to_be_visible(timeout=60_000)
    assert batch_files(office, address) == 1


@pytest.mark.slow
def test_everything_on_hold(people: People, office: Office) -> None:
    """The question, the hold with what waits, and what every other page says of it; who may only read it."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    address = asked(ann, office, "during-a-hold")
    bob.goto(f"{office.url}/hold")
    expect(bob.get_by_role("heading", name="Stop everything")).to_be_visible()
    see_in_both_themes(bob, "44-hold")
    try:
        bob.get_by_label("Why?").fill("The prices in the texts are wrong")
        bob.get_by_role("button", name="Hold everything").click()
        bob.goto(f"{office.url}/hold")
        bob.locator("summary", has_text="Release").click()
        see_in_both_themes(bob, "45-held")
        bob.goto(address)
        see(bob, "46-request-on-hold")
        ann.goto(f"{office.url}/hold")
        see(ann, "47-held-to-read")
    finally:
        bob.goto(f"{office.url}/hold")
        press_sure(bob, "Release", "Yes, release everything")
    expect(bob.get_by_text("On hold")).to_have_count(0)


@pytest.mark.slow
def test_who_would_be_left_out(people: People, office: Office) -> None:
    """The page for whom no script puts the answer into another one."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    address = asked(ann, office, "left-out-now")
    bob.goto(f"{address}/left-out")
    expect(bob.get_by_text("as of now")).to_be_visible()
    see_in_both_themes(bob, "48-left-out")


@contextmanager
def no_batch_files(office: Office) -> Iterator[None]:
    """S3 refuses the write."""
    refused = AwsRule("s3", Does.REFUSE, "PUT", where="/batches/", times=0, status=403, code="AccessDenied")
    office.trial.sandbox.aws.break_by((refused,))
    try:
        yield
    finally:
        office.trial.sandbox.aws.break_by(())


@pytest.mark.slow
def test_a_run_that_stopped(people: People, office: Office) -> None:
    """Google refuses our key: the page says so, and what to do."""
    ann, bob = people.sign_in(ANN, bypass_csp=True), people.sign_in(BOB, bypass_csp=True)
    users = [{"user_id": f"u{n}", "platform": "android", "token": f"credentials-{n}"} for n in range(150)]
    s3, bucket = office.trial.s3, office.trial.sandbox.bucket
    s3.put_object(Bucket=bucket, Key="audiences/refused.json", Body=json.dumps(users).encode())
    address = asked(ann, office, "stopped-one", audience="audiences/refused.json", title="Hi")
    soon(lambda: bob.goto(address) and approve_opener(bob).count())
    approve(bob, address)
    expect(bob.locator("[data-part=run] .badge")).to_have_text("stopped", timeout=60_000)
    expect(bob.locator("[data-state]")).to_have_text("stopped", timeout=10_000)
    see(bob, "41-stopped")
    press_sure(bob, "Cancel the rest", "Yes, cancel the rest")
    expect(bob.locator("[data-part=run] .badge")).to_have_text("cancelled", timeout=30_000)
    see(bob, "42-cancelled")
