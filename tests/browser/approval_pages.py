"""What the browser tests of the approval pages share: everybody's browsers, and the ways through the pages."""

import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from notifier.model.run import source_of
from sandbox.office import Office
from sandbox.wait import wait_until

AXE = files("axe_playwright_python") / "axe.min.js"
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}
PHONE = {"width": 390, "height": 844}
BODY = "Tinie Tempah is live now"
Sessions = dict[str, list[Any]]
"""Cookies by address."""


class People:
    """Everybody's browsers. Who signs in for the first time does it by mail; `sessions` are gone on with.

    `said` are the errors in the browsers' consoles.
    """

    def __init__(self, browser: Browser, office: Office, sessions: Sessions | None = None) -> None:
        self._browser = browser
        self._office = office
        self._contexts: list[BrowserContext] = []
        self._sessions: Sessions = sessions if sessions is not None else {}
        self.said: list[str] = []

    def signed_out(self, **options: Any) -> Page:
        """A browser of its own, signed out."""
        context = self._browser.new_context(
            **{"viewport": WIDE, "locale": "en-GB", "timezone_id": "Europe/London", **options}
        )
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)  # only a page that fails waits so long; a busy machine needs more than ten
        page.on("pageerror", lambda error: pytest.fail(f"the script failed: {error}"))
        page.on("console", lambda said: self.said.append(said.text) if said.type == "error" else None)
        return page

    def sign_in(self, email: str, **options: Any) -> Page:
        """A browser with a session: the first time by the form, the mail and the button."""
        page = self.signed_out(**options)
        if email in self._sessions:
            page.context.add_cookies(self._sessions[email])
            page.goto(f"{self._office.url}/requests")
            return page
        page.goto(f"{self._office.url}/sign-in")
        self.ask_for_link(page, email)
        self._sessions[email] = list(page.context.cookies())
        return page

    def ask_for_link(self, page: Page, email: str) -> None:
        """On the sign-in page."""
        page.goto(self.link_by_mail(page, email))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(re.compile(r"/prod/(requests|devices|people)"))

    def link_by_mail(self, page: Page, email: str) -> str:
        """Asked for on the sign-in page."""
        before = len(self._office.mails())
        page.get_by_label("Your work email").fill(email)
        page.get_by_role("button", name="Mail me a link").click()
        expect(page.get_by_role("heading", name="Look at your mail")).to_be_visible()

        def newest() -> dict[str, Any] | None:
            # Mails of runs that end in this moment have no link to sign in by.
            mails = self._office.mails()[before:]
            return next((mail for mail in mails if mail["to"] == email and "/link?t=" in mail["text"]), None)

        return link_in(soon(newest)["text"])

    def close(self) -> None:
        """All windows."""
        for context in self._contexts:
            context.close()


def forget_limits(office: Office) -> None:
    """Each test begins without any link asked for."""
    client = office.trial.sandbox.client("dynamodb")
    table = approval_table(office)
    for item in client.scan(TableName=table)["Items"]:
        if item["pk"]["S"].startswith("limit#"):
            client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})


def approval_table(office: Office) -> str:
    return dict(office.trial.sandbox.function("ApprovalFunction").environment)["APPROVAL_TABLE"]


def soon(ready: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """What `ready()` gives, as soon as it is something: for what happens outside the browser."""
    return wait_until(ready, timeout_s, "what happens outside the browser", every_s=0.1)


def link_in(text: str) -> str:
    match = re.search(r"http://localhost\S+/link\?t=\S+", text)
    assert match is not None
    return match[0]


def review_link(office: Office, to: str, name: str) -> str:
    """The approver's own link, from the mail to them."""
    subject = f"Please review: {name}"
    mail = soon(lambda: next((m for m in office.mails() if m["to"] == to and m["subject"] == subject), None))
    return link_in(mail["text"])


def ask(
    page: Page,
    office: Office,
    name: str,
    *,
    audience: str = "tinie-tempah-followers.json",
    more: Callable[[Page], None] | None = None,
) -> str:
    """Fill in the form and send it for review. Returns the request's address."""
    page.goto(f"{office.url}/requests")
    page.get_by_role("button", name="New request").click()
    page.get_by_label("Name of the campaign").fill(name)
    page.get_by_label("Title", exact=True).first.fill("Hi {{ first_name | default: 'there' }}")
    page.get_by_label("Text", exact=True).first.fill(BODY)
    page.get_by_label(re.compile(re.escape(audience))).check()
    counted(page)
    if more:
        more(page)
    page.get_by_role("button", name="Send for review").click()
    expect(page.get_by_role("status").first).to_contain_text("Sent for review")
    return page.url.partition("?")[0]


def counted(page: Page) -> None:
    """Press the button that has the audience counted, and wait for the figures."""
    page.get_by_role("button", name=re.compile("^Count")).click()
    # The figures of an earlier count are there until the answer of this step takes their place.
    expect(page.locator("#request-form[aria-busy]")).to_have_count(0, timeout=60_000)
    expect(page.get_by_text("Making and counting")).to_have_count(0, timeout=60_000)
    expect(page.get_by_text("Without a time zone", exact=True)).to_be_visible(timeout=60_000)


def asked(page: Page, office: Office, name: str, **fields: str) -> str:
    """Ask by the same forms without looking at them. Returns the request's address."""
    form = {"name": name, "title": "Hi {{ first_name | default: 'there' }}", "body": BODY, "timezone": "Europe/London"}
    form |= {"audience": "audiences/tinie-tempah-followers.json", "version": "0", **fields}
    address = send(page, f"{office.url}/requests", {})
    send(page, address, {**form, "do": "count"})
    soon(lambda: "The list is fixed as counted" in page.request.get(address).text(), 60)
    form["do"] = "submit"
    return send(page, address, form).partition("?")[0]


def send(page: Page, address: str, fields: dict[str, str]) -> str:
    """Post a form with the token of the page that is open; the address that it leads to."""
    arrived: str = page.evaluate(
        "([address, fields]) => fetch(address, {method: 'POST', body: new URLSearchParams({...fields,"
        " csrf: document.querySelector('[name=csrf]').value})}).then((answer) => answer.url)",
        [address, fields],
    )
    return arrived


def approve_opener(page: Page) -> Locator:
    """What opens the question before an approval; there is none where nothing can be approved."""
    return page.locator("details.approve > summary")


def press_approve(page: Page) -> None:
    """Approve, and say yes: it cannot be undone."""
    approve_opener(page).click()
    page.get_by_role("button", name="Yes, approve").click()


def press_sure(page: Page, what: str, answer: str) -> None:
    """Press what cannot be undone, and say yes."""
    page.locator("summary", has_text=what).click()
    page.get_by_role("button", name=answer).click()


def approve(page: Page, address: str) -> None:
    page.goto(address)
    press_approve(page)
    expect(page.get_by_role("status").first).to_contain_text(re.compile("Approved|Your approval counts"))


def run_of(office: Office, address: str) -> str:
    """The id of the request's run, from the batch file that was written."""
    id_ = address.rpartition("/")[2]
    bucket = office.trial.sandbox.bucket
    head = office.trial.s3.head_object(Bucket=bucket, Key=f"batches/{id_}.json")
    return source_of(bucket, f"batches/{id_}.json", head["VersionId"], head["ETag"]).run_id


def batch_files(office: Office, address: str) -> int:
    id_ = address.rpartition("/")[2]
    bucket = office.trial.sandbox.bucket
    found = office.trial.s3.list_object_versions(Bucket=bucket, Prefix=f"batches/{id_}")
    return len(found.get("Versions", ()))


SMALL_TARGETS = """() => [...document.querySelectorAll('button, select, input:not([type=hidden]), summary, nav a')]
    .filter((e) => e.offsetParent && !e.closest('.hidden') && !e.classList.contains('hidden'))
    .map((e) => [e, (['checkbox', 'radio'].includes(e.type) ? e.closest('.check') : e).getBoundingClientRect()])
    .filter(([e, box]) => box.height < 43.5)
    .map(([e, box]) => `${e.outerHTML.slice(0, 80)} ${Math.round(box.height)}`)"""


UNMARKED = """() => [...document.querySelectorAll('.scroll, pre')]
    .filter((e) => e.scrollWidth > e.clientWidth + 1)
    .filter((e) => !getComputedStyle(e).backgroundImage.includes('gradient') || e.tabIndex !== 0
        || !e.getAttribute('aria-label') || e.getAttribute('role') !== 'region')
    .map((e) => e.outerHTML.slice(0, 80))"""
"""What is wider than its box, and neither says so nor can be scrolled by keys."""


def look_with_axe(page: Page, name: str) -> None:
    """Axe finds nothing on the page as it is shown now."""
    found = page.evaluate(
        "async (source) => { if (!window.axe) (0, eval)(source); return (await axe.run()).violations"
        ".map(v => [v.impact, v.id, v.nodes.map(n => n.html).slice(0, 3)]) }",
        AXE.read_text(encoding="utf-8"),
    )
    assert found == [], f"{name}: {found}"


def see_in_both_themes(page: Page, name: str) -> None:
    """As `see`, and axe at 1280 and 390 pixels, light and dark."""
    see(page, name)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for label, size in (("wide", WIDE), ("phone", {"width": 390, "height": 844})):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            look_with_axe(page, f"{name}, {theme}, {label}")
            if folder := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=f"{folder}/{name}-{theme}-{label}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def see(page: Page, name: str, *, styled: bool = True) -> None:
    """What a page must keep: nothing sticks out at either width; axe finds nothing, fingers can hit everything.

    Pictures are kept where SCREENSHOTS says, at both widths, light and dark. With `styled`
    false it is a page of the gateway's own.
    """
    for label, size in (("wide", WIDE), ("narrow", NARROW)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.wait_for_timeout(50)
        page.evaluate("scrollTo(0, 0)")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} is {overflow} pixels too wide at {size['width']}"
        unmarked = page.evaluate(UNMARKED)
        assert unmarked == [], f"{name}: goes on beyond its edge without a sign at {size['width']}"
        if styled and label == "narrow":
            look_with_axe(page, name)
            small = page.evaluate(SMALL_TARGETS)
            assert small == [], f"{name}: too small for a finger"
    if folder := os.environ.get("SCREENSHOTS"):
        picture(page, Path(folder), name)
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def picture(page: Page, folder: Path, name: str) -> None:
    """The whole page as a person sees it on a desk and on a phone, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for size in (WIDE, PHONE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=str(folder / f"{name}-{size['width']}-{scheme}.png"), full_page=True)
    page.emulate_media(color_scheme="light")
