"""What has an end: links, sessions, requests. Each ends with a page that says what to do, and nothing is changed."""

import re

import pytest
from playwright.sync_api import Page, expect

from sandbox.office import Office
from sandbox.scene import ANN, BOB
from tests.browser.approval_pages import (
    People,
    approval_table,
    approve_opener,
    asked,
    batch_files,
    press_approve,
    review_link,
    see,
    send,
)

OVER = "This link was used already, or its time is over."


def signed_in(office: Office) -> int:
    """How many sessions there are."""
    items = office.trial.sandbox.client("dynamodb").scan(TableName=approval_table(office))["Items"]
    return sum(item["pk"]["S"].startswith("session#") for item in items)


def asks_for_another(page: Page) -> None:
    expect(page.get_by_role("alert")).to_contain_text(OVER)
    expect(page.get_by_label("Your work email")).to_be_visible()


@pytest.mark.slow
def test_a_sign_in_link_is_over_after_a_quarter_of_an_hour(people: People, office: Office) -> None:
    """Opened too late, or opened in time and pressed too late: no session begins, and a new link is asked for."""
    page = people.signed_out(bypass_csp=True)
    page.goto(f"{office.url}/devices")
    link = people.link_by_mail(page, ANN)
    before = signed_in(office)
    page.goto(link)
    office.put_forward(minutes=16)
    page.get_by_role("button", name="Sign in").click()
    asks_for_another(page)
    page.goto(link)
    asks_for_another(page)
    see(page, "22-link-over")
    assert page.context.cookies() == []
    assert signed_in(office) == before
    people.ask_for_link(page, ANN)
    assert page.url.endswith("/prod/devices")  # where the old one led


@pytest.mark.slow
def test_an_approvers_link_is_over_after_a_day(people: People, office: Office) -> None:
    """The mail was read on the next evening: the new link leads to the very request."""
    address = asked(people.sign_in(ANN), office, "read-late")
    link = review_link(office, BOB, "read-late")
    office.put_forward(hours=25)
    bob = people.signed_out()
    bob.goto(link)
    asks_for_another(bob)
    assert bob.context.cookies() == []
    people.ask_for_link(bob, BOB)
    assert bob.url == address
    expect(approve_opener(bob)).to_be_visible()
    assert batch_files(office, address) == 0


@pytest.mark.slow
def test_a_link_is_used_once(people: People, office: Office) -> None:
    """The second browser is not let in; the first is simply led on, so that a mail opened twice is no dead end."""
    address = asked(people.sign_in(ANN), office, "opened-twice")
    link = review_link(office, BOB, "opened-twice")
    bob = people.signed_out()
    bob.goto(link)
    bob.get_by_role("button", name="Sign in").click()
    bob.wait_for_url(address)
    bob.goto(link)
    assert bob.url == address
    other = people.signed_out()
    other.goto(link)
    asks_for_another(other)
    assert other.context.cookies() == []
    other.goto(f"{office.url}/link?t=forged.forged")
    asks_for_another(other)


@pytest.mark.slow
def test_a_request_expires(people: People, office: Office) -> None:
    """After a week it cannot be approved, not even from a page that was open; the requester copies it."""
    address = asked(people.sign_in(ANN), office, "too-late")
    bob = people.sign_in(BOB)
    bob.goto(address)
    office.put_forward(days=8)
    press_approve(bob)
    expect(bob.get_by_role("heading", name="Your session has ended")).to_be_visible()
    bob.get_by_role("link", name="Sign in again").click()
    people.ask_for_link(bob, BOB)
    assert bob.url == address
    expect(bob.locator(".head .badge")).to_have_text("expired")
    expect(bob.get_by_role("button", name=re.compile("^(Approve|Reject)"))).to_have_count(0)
    content_hash = {"content_hash": "0" * 64}
    assert send(bob, f"{address}/approve", content_hash).endswith("/approve")  # refused: led nowhere
    ann = people.signed_out(bypass_csp=True)
    ann.goto(address)
    people.ask_for_link(ann, ANN)
    expect(ann.locator("p.notice")).to_contain_text("Nobody decided in time.")
    expect(ann.locator(".audit li").last).to_contain_text("expired: Nobody decided in time.")
    see(ann, "19-expired")
    ann.get_by_role("button", name="Copy into a new request").click()
    expect(ann.get_by_label("Name of the campaign")).to_have_value("too-late copy")
    assert batch_files(office, address) == 0


@pytest.mark.slow
def test_the_session_ends_while_somebody_types(people: People, office: Office) -> None:
    """Nothing is saved; after signing in the form is there again, with what was typed."""
    ann = people.sign_in(ANN)
    ann.get_by_role("button", name="New request").click()
    address = ann.url.partition("?")[0]
    ann.get_by_label("Name of the campaign").fill("interrupted")
    ann.get_by_label(re.compile("tinie-tempah")).check()
    office.put_forward(hours=13)
    ann.get_by_role("button", name="Save draft").click()
    expect(ann.get_by_role("heading", name="Your session has ended")).to_be_visible()
    ann.get_by_role("link", name="Sign in again").click()
    people.ask_for_link(ann, ANN)
    assert ann.url == address
    expect(ann.get_by_text("What you had typed is back.")).to_be_visible()
    expect(ann.get_by_label("Name of the campaign")).to_have_value("interrupted")
    expect(ann.get_by_label(re.compile("tinie-tempah"))).to_be_checked()
    expect(ann.get_by_role("heading", name="New request")).to_be_visible()  # not saved
    ann.get_by_role("button", name="Save draft").click()
    expect(ann.get_by_role("heading", name="interrupted")).to_be_visible()
    expect(ann.get_by_text("What you had typed")).to_be_hidden()


@pytest.mark.slow
def test_the_session_ends_while_somebody_decides(people: People, office: Office) -> None:
    """The approval does not count; after signing in the same request waits for it."""
    address = asked(people.sign_in(ANN), office, "thought-long")
    bob = people.sign_in(BOB)
    bob.goto(address)
    office.put_forward(hours=13)
    press_approve(bob)
    expect(bob.get_by_role("heading", name="Your session has ended")).to_be_visible()
    assert batch_files(office, address) == 0
    bob.get_by_role("link", name="Sign in again").click()
    people.ask_for_link(bob, BOB)
    assert bob.url == address
    expect(bob.locator(".head .badge")).to_have_text("in review")
    press_approve(bob)
    expect(bob.get_by_role("status").first).to_contain_text("Approved")
    assert batch_files(office, address) == 1
