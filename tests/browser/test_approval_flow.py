"""The approval pages in a real browser, over the real notifier: from the form to the pushes, and everything between."""

import os
import re

import pytest
from playwright.sync_api import Page, expect

from sandbox.office import Office
from sandbox.scene import ANN, BOB, CAT, PHONES
from tests.browser.approval_pages import (
    BODY,
    People,
    approve,
    approve_opener,
    ask,
    asked,
    batch_files,
    counted,
    press_approve,
    press_sure,
    review_link,
    run_of,
    see,
    soon,
)
from tests.deployment.least_privilege import Recorder


@pytest.mark.slow
def test_from_the_form_to_the_pushes(people: People, office: Office) -> None:
    """Asked for with variants and a language, tested on the sandbox's phones, approved, sent, reported."""
    ann = people.signed_out(bypass_csp=True)
    ann.goto(f"{office.url}/devices")
    expect(ann.get_by_role("heading", name="Sign in")).to_be_visible()
    see(ann, "1-sign-in")
    people.ask_for_link(ann, ANN)
    assert ann.url.endswith("/prod/devices")  # back where she wanted to go
    see(ann, "2-devices")

    def more(page: Page) -> None:
        page.get_by_label("More languages").fill("de")
        page.keyboard.press("Enter")
        expect(page.locator("#languages-0-title")).to_be_focused()
        page.locator("#languages-0-body").fill("Tinie Tempah ist jetzt live")
        page.get_by_role("button", name="Make variants").click()
        first = page.get_by_role("group", name="Variant a")
        first.get_by_label("Share in %").fill("45")
        second = page.get_by_role("group", name="Variant b")
        second.get_by_label("Share in %").fill("45")
        second.get_by_label("Title", exact=True).first.fill("{{ first_name | default: 'Hey' }}, who is live?")
        page.get_by_label("Control group in %").fill("10")
        expect(page.locator(".phone.ios .t")).to_contain_text("who is live?")  # it follows the field
        expect(page.locator(".phone.ios .t")).not_to_contain_text("{{")  # a real user's attributes
        page.locator(".switches").get_by_text("Android").click()
        expect(page.locator(".phone.android figcaption")).to_contain_text("of 4,096 bytes")
        see(page, "3-form")

    address = ask(ann, office, "tinie-live", more=more)
    see(ann, "4-in-review")

    bob = people.signed_out(bypass_csp=True)
    bob.goto(review_link(office, BOB, "tinie-live"))
    see(bob, "5-link")
    bob.get_by_role("button", name="Sign in").click()
    expect(bob.get_by_role("heading", name="tinie-live")).to_be_visible()
    assert bob.url == address
    see(bob, "6-review")
    bob.get_by_role("button", name="Send me a test").click()
    tests = bob.get_by_role("region", name="Test pushes")
    expect(tests.get_by_text("Bob's iPhone: accepted by Apple").first).to_be_visible(timeout=20_000)
    expect(tests.get_by_text(re.compile("Bob's (iPhone|Android): accepted"))).to_have_count(8, timeout=30_000)
    see(bob, "7-tested")
    phone = next(phone for phone in PHONES if phone.label == "Bob's iPhone")
    said = [push["payload"]["aps"]["alert"] for push in office.trial.gateways.pushes(phone.token)]
    assert {text["body"] for text in said} == {BODY, "Tinie Tempah ist jetzt live"}
    phones = people.signed_out()
    phones.goto(f"{office.outside.url}/phones")
    expect(phones.get_by_text("who is live?").first).to_be_visible()
    if folder := os.environ.get("SCREENSHOTS"):
        phones.screenshot(path=f"{folder}/8-phones.png", full_page=True)

    approve(bob, address)
    expect(bob.get_by_role("status").get_by_text("completed")).to_be_visible(timeout=60_000)
    table = bob.get_by_role("region", name="Outcomes by variant")
    expect(table.get_by_role("row")).to_have_count(6)  # head, a, b and why some were rejected, control
    see(bob, "9-completed")
    run = office.trial.summary(run_of(office, address))
    assert (run.status, run.users) == ("completed", 1_200)
    assert run.arms["control"]["held"] > 0
    ann.goto(address)
    expect(ann.get_by_role("status").get_by_text("completed")).to_be_visible()
    subjects = [mail["subject"] for mail in office.mails() if mail["to"] == ANN]
    assert "Approved: tinie-live" in subjects
    ann.goto(f"{office.url}/requests")
    see(ann, "10-list")
    assert people.said == []


@pytest.mark.slow
def test_rejected_with_a_reason(people: People, office: Office) -> None:
    """The requester gets a mail, and copies the request to change it."""
    ann = people.sign_in(ANN)
    address = ask(ann, office, "too-loud")
    bob = people.sign_in(BOB)
    bob.goto(address)
    bob.get_by_text("Reject", exact=True).first.click()
    bob.get_by_label("Why?").fill("Too loud for a Sunday")
    bob.locator("form[action$='/reject'] button").click()
    expect(bob.locator(".notice.bad")).to_have_text(
        re.compile(r"Rejected by bob@example\.com on .+: Too loud for a Sunday")
    )
    mail = soon(lambda: next((m for m in office.mails() if m["subject"] == "Rejected: too-loud"), None))
    assert "Too loud for a Sunday" in mail["text"]
    ann.goto(address)
    ann.get_by_role("button", name="Copy into a new request").click()
    expect(ann.get_by_label("Name of the campaign")).to_have_value("too-loud copy")
    assert batch_files(office, address) == 0


@pytest.mark.slow
def test_two_approvers_for_many_and_four_eyes(people: People, office: Office) -> None:
    """The requester has no button; one approver is not enough for 8,000 users."""
    ann, bob, cat = people.sign_in(ANN), people.sign_in(BOB), people.sign_in(CAT)
    address = ask(ann, office, "for-many", audience="day-21-inactive.ndjson.gz")
    expect(approve_opener(ann)).to_have_count(0)
    approve(bob, address)
    expect(bob.get_by_text("1 more needed")).to_be_visible()
    assert batch_files(office, address) == 0
    approve(cat, address)
    expect(cat.get_by_role("status").get_by_text("completed")).to_be_visible(timeout=90_000)
    assert batch_files(office, address) == 1


@pytest.mark.slow
def test_a_named_query_instead_of_files(people: People, office: Office) -> None:
    """Chosen, filled in, counted by a button; the approver reads the SQL; its users get the push."""
    ann, bob = people.sign_in(ANN), people.sign_in(BOB)
    ann.goto(f"{office.url}/requests")
    ann.get_by_role("button", name="New request").click()
    ann.get_by_label("Name of the campaign").fill("brands")
    ann.get_by_label("Title", exact=True).first.fill("Hi {{ first_name | default: 'there' }}")
    ann.get_by_label("Text", exact=True).first.fill("New from {{ brand }}")
    ann.get_by_role("button", name="Use a named query").click()
    ann.get_by_label("Named query").select_option("follows-brands")  # its fields come without another click
    expect(ann.get_by_text("Everybody who follows one of the brands")).to_be_visible()
    ann.get_by_label("Accessorize").check()
    ann.get_by_label("Monsoon").check()
    ann.get_by_label("The earliest last visit").fill("2026-10-01")
    counted(ann)
    expect(ann.locator("#audience .figures")).to_contain_text("28")
    expect(ann.get_by_text("query follows-brands (brands: Accessorize, Monsoon; since: 2026-10-01)")).to_be_visible()
    expect(ann.get_by_label("As this user sees it")).to_have_value(re.compile("."))
    see(ann, "9-named-query")
    ann.get_by_role("button", name="Send for review").click()
    expect(ann.get_by_role("status").first).to_contain_text("Sent for review")
    address = ann.url.partition("?")[0]
    bob.goto(address)
    bob.get_by_text("queries/follows-brands.sql, as it was run").click()
    expect(bob.get_by_text("WHERE brand = ANY($brands)")).to_be_visible()
    see(bob, "10-named-query-review")
    approve(bob, address)
    expect(bob.get_by_text("33 of 33 devices done")).to_be_visible(timeout=90_000)
    assert batch_files(office, address) == 1


@pytest.mark.slow
def test_the_audience_changed_after_the_request(people: People, office: Office) -> None:
    """The page says so; what was counted is what is sent. Taken back, it has to be counted again."""
    ann, bob = people.sign_in(ANN), people.sign_in(BOB)
    s3, bucket = office.trial.s3, office.trial.sandbox.bucket
    s3.put_object(
        Bucket=bucket,
        Key="audiences/moving.json",
        Body=b'[{"user_id":"u1","platform":"ios","token":"' + b"a" * 64 + b'"}]',
    )
    address = ask(ann, office, "moving-target", audience="moving.json")
    s3.put_object(
        Bucket=bucket,
        Key="audiences/moving.json",
        Body=b'[{"user_id":"u2","platform":"ios","token":"' + b"b" * 64 + b'"}]',
    )
    bob.goto(address)
    expect(bob.get_by_text("audiences/moving.json changed after it was counted.")).to_be_visible()
    ann.goto(address)
    ann.get_by_role("button", name="Take back and change").click()
    ann.get_by_role("button", name="Send for review").click()
    changed = "Changed since it was counted: audiences/moving.json. Count it again."
    expect(ann.locator("#audience-fault")).to_have_text(changed)
    assert batch_files(office, address) == 0
    counted(ann)
    ann.get_by_role("button", name="Send for review").click()
    expect(ann.get_by_role("status").first).to_contain_text("Sent for review")
    soon(lambda: bob.goto(address) and approve_opener(bob).count())
    approve(bob, address)
    assert batch_files(office, address) == 1


@pytest.mark.slow
def test_double_click_and_two_at_once(people: People, office: Office) -> None:
    """Two approvers and a nervous finger: one file, one run."""
    ann, bob, cat = people.sign_in(ANN), people.sign_in(BOB), people.sign_in(CAT)
    address = ask(ann, office, "twice")
    for page in (bob, cat):
        page.goto(address)
    for page in (bob, cat):
        page.evaluate(
            "() => { const form = document.querySelector(\"form[action$='/approve']\");"
            " const send = () => fetch(form.action, {method: 'POST', body: new URLSearchParams(new FormData(form))});"
            " window.sent = Promise.all([send(), send()]); }"
        )
    for page in (bob, cat):
        assert page.evaluate("() => window.sent.then((all) => all.map((one) => one.status))") == [200, 200]
    assert batch_files(office, address) == 1
    ann.goto(address)
    expect(ann.locator(".audit strong", has_text="handed over")).to_have_count(1)


@pytest.mark.slow
def test_withdrawn(people: People, office: Office) -> None:
    """It cannot be approved any more, not even from a page that was open."""
    ann, bob = people.sign_in(ANN), people.sign_in(BOB)
    address = ask(ann, office, "never-mind")
    bob.goto(address)
    expect(approve_opener(bob)).to_be_visible()
    press_sure(ann, "Withdraw", "Yes, withdraw it")
    expect(ann.locator(".head .badge")).to_have_text("withdrawn")
    press_approve(bob)
    expect(bob.get_by_role("alert").first).to_contain_text("withdrawn")
    assert batch_files(office, address) == 0


@pytest.mark.slow
def test_pause_and_resume_from_the_page(people: People, office: Office) -> None:
    """The run pauses, with the name of who asked, and goes on to its end."""
    ann, bob = people.sign_in(ANN), people.sign_in(BOB)

    def slowly(page: Page) -> None:
        page.get_by_label("Users per second").fill("100")

    address = ask(ann, office, "slowly", more=slowly)
    approve(bob, address)
    bob.get_by_role("button", name="Pause").click(timeout=20_000)
    expect(bob.get_by_text("Pause asked by bob@example.com")).to_be_visible(timeout=20_000)
    expect(bob.locator("[data-part=run] .badge")).to_have_text("paused", timeout=30_000)
    see(people_with_axe(people, office, address), "11-paused")
    bob.get_by_role("button", name="Resume").click()
    expect(bob.locator("[data-part=run] .badge")).to_have_text("completed", timeout=90_000)
    assert office.trial.summary(run_of(office, address)).users == 1_200


def people_with_axe(people: People, office: Office, address: str) -> Page:
    """A window in which axe may be put into the page, for eyes that like it dark."""
    page = people.signed_out(bypass_csp=True, color_scheme="dark")
    page.goto(address)
    people.ask_for_link(page, CAT)
    return page


def test_a_draft_that_is_left_saves_itself(people: People, office: Office) -> None:
    """Typed, on to another page at once, and back: all is there, and the page says when it was saved."""
    ann = people.sign_in(ANN)
    ann.goto(f"{office.url}/requests")
    ann.get_by_role("button", name="New request").click()
    ann.get_by_label("Title", exact=True).first.fill("Half a")
    expect(ann.locator("[data-saved]")).to_contain_text("Saved", timeout=20_000)  # by a function that may start first
    ann.get_by_label("Title", exact=True).first.fill("Half a title")
    ann.get_by_role("link", name="My devices").click()
    expect(ann.get_by_role("heading", name="My devices")).to_be_visible()
    ann.go_back()
    expect(ann.get_by_label("Title", exact=True).first).to_have_value("Half a title")


def test_without_script(people: People, office: Office, recorder: Recorder) -> None:
    """Everything but preview and polling works: ask, look, approve. What the pages ask of AWS for it is recorded."""
    ann = people.sign_in(ANN, java_script_enabled=False)
    ann.get_by_role("button", name="New request").click()
    # What only a script can do has no button.
    expect(ann.locator("[data-theme-switch]")).to_have_count(1)
    expect(ann.locator("[hidden]:visible")).to_have_count(0)
    ann.get_by_label("Name of the campaign").fill("no-script")
    ann.get_by_label("Title", exact=True).first.fill("Plain")
    ann.get_by_label(re.compile("tinie-tempah")).check()
    ann.get_by_role("button", name="Add a language").click()
    ann.get_by_label("Language", exact=True).fill("fr")
    ann.locator("#text-0").get_by_label("Title", exact=True).fill("Simple")
    with ann.expect_navigation(url=re.compile("done=count")):
        ann.get_by_role("button", name=re.compile("^Count")).click()
    # Nothing looks again by itself: the page is loaded once it is counted.
    soon(lambda: "The list is fixed as counted" in ann.request.get(ann.url).text(), 60)
    ann.reload()
    ann.get_by_role("button", name="Send for review").click()
    expect(ann.get_by_role("status").first).to_contain_text("Sent for review")
    address = ann.url.partition("?")[0]
    bob = people.sign_in(BOB, java_script_enabled=False)
    soon(lambda: bob.goto(address) and approve_opener(bob).count())
    approve(bob, address)
    # All of it is held against the roles when the office closes (`conftest.not_allowed`).
    app = office.trial.sandbox.function("ApprovalFunction").name
    actions = {call.action for call in recorder.calls if call.who == app}
    assert {"ses:SendRawEmail", "s3:PutObject", "lambda:InvokeFunction", "dynamodb:PutItem"} <= actions


def test_by_keyboard(people: People, office: Office) -> None:
    """The first stop leads to the content; focus is seen; a button is pressed with Enter."""
    ann = people.sign_in(ANN)
    ann.keyboard.press("Tab")
    expect(ann.get_by_role("link", name="To the content")).to_be_focused()
    ann.keyboard.press("Enter")
    ann.keyboard.press("Tab")
    expect(ann.get_by_role("link", name="Start from a template")).to_be_focused()
    ann.keyboard.press("Tab")
    expect(ann.get_by_role("button", name="New request")).to_be_focused()
    assert ann.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    ann.keyboard.press("Enter")
    expect(ann.get_by_label("Name of the campaign")).to_be_visible()


@pytest.mark.slow
def test_what_a_page_weighs(people: People, office: Office) -> None:
    """At most 60 kB with everything it loads, and nothing from another host."""
    ann = people.sign_in(ANN)
    address = asked(ann, office, "weighty")
    for path in (address, f"{office.url}/requests", f"{office.url}/devices", f"{office.url}/sign-in"):
        page = people.signed_out()
        page.context.add_cookies(ann.context.cookies())  # type: ignore[arg-type]
        sizes: dict[str, int] = {}
        page.on("response", lambda answer: sizes.__setitem__(answer.url, len(answer.body())))  # noqa: B023
        page.goto(path, wait_until="networkidle")
        assert all(url.startswith(office.url) for url in sizes)
        assert sum(sizes.values()) <= 60_000, sizes
        print(f"{path.rpartition('/')[2]}: {sum(sizes.values())} bytes")  # noqa: T201
