"""The composer: a whole campaign without loading the page, with its clicks counted; what it weighs; for every eye."""

import re
from base64 import b64decode

import pytest
from playwright.sync_api import Page, Request, Route, expect

from sandbox.office import Office
from sandbox.scene import ANN
from tests.browser.approval_pages import PHONE, People, counted, see

CLICKS = "addEventListener('pointerdown', () => sessionStorage.clicks = +(sessionStorage.clicks || 0) + 1, true)"
PIXEL = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPhfDwAChAI9jVQ6WQAAAABJRU5ErkJggg==")
WEIGHT = """async () => {
  await (await fetch(location.href, {cache: "no-store"})).text();
  return performance.getEntriesByName(location.href).at(-1).encodedBodySize;
}"""
"""Bytes of the page as they are sent."""
MOST_CLICKS = 5
MOST_BYTES = 60_000


def test_a_whole_campaign_in_five_clicks_and_no_reload(people: People, office: Office) -> None:
    """Two variants, control, two more languages, image, link, a start: submitted at the first try."""
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.context.add_init_script(CLICKS)
    ann.route("https://cdn.example.com/*", lambda route: route.fulfill(body=PIXEL, content_type="image/png"))
    people.said.clear()  # signing in has led to the list, where other campaigns may have an image, too
    ann.goto(f"{office.url}/requests")
    loads: list[str] = []
    sizes: dict[str, int] = {}
    ann.on("load", lambda page: loads.append(page.url))

    def weigh(asked: Request) -> None:
        sizes[asked.url] = asked.sizes()["responseBodySize"]

    ann.on("requestfinished", weigh)
    ann.get_by_role("button", name="New request").click()
    expect(ann.get_by_label("Name of the campaign")).to_be_focused()
    ann.wait_for_load_state("networkidle")
    assert sum(sizes.values()) <= MOST_BYTES, sizes
    ann.remove_listener("requestfinished", weigh)
    cold = sum(sizes.values())
    loads.clear()

    ann.keyboard.type("whole-campaign")
    ann.get_by_label(re.compile("tinie-tempah-followers")).check()
    counted(ann)
    expect(ann.locator(".chip", has_text="first_name")).to_be_visible()
    fields = write_texts(ann) + variants(ann)
    ann.locator("#start").fill("2036-12-01T09:00")
    expect(ann.get_by_text("Ready for review")).to_be_visible(timeout=20_000)
    expect(ann.locator("[data-saved]")).to_contain_text("Saved", timeout=20_000)
    assert loads == []  # nothing of all this has loaded the page
    see(ann, "40-composer")
    typed = ann.evaluate(WEIGHT)
    assert cold + typed <= MOST_BYTES  # the page with all its texts, and everything that it loads
    ann.get_by_role("button", name="Send for review").click()
    expect(ann.get_by_role("status").first).to_contain_text("Sent for review")
    clicks = int(ann.evaluate("sessionStorage.clicks"))
    print(f"{clicks} clicks, {fields + 2} fields; {cold} bytes, and {typed} when typed")  # noqa: T201
    assert clicks <= MOST_CLICKS
    assert people.said == []


@pytest.mark.slow
def test_a_choice_outlives_an_older_answer(people: People, office: Office) -> None:
    """The phone shows the variant that one is in, though the answer for the one before comes after the step into it."""
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.goto(f"{office.url}/requests")
    ann.get_by_role("button", name="New request").click()
    ann.get_by_role("button", name="Make variants").click()
    first, second = (ann.get_by_role("group", name=f"Variant {name}") for name in "ab")
    expect(second).to_be_visible()
    ann.wait_for_load_state("networkidle")
    held: list[Route] = []
    ann.route("**/preview?*", lambda route: route.continue_() if held else held.append(route))
    with ann.expect_request("**/preview?*"):
        first.get_by_label("Title", exact=True).first.fill("One")
    second.get_by_label("Title", exact=True).first.fill("Two")
    held[0].continue_()
    expect(ann.locator(".phone.ios .t")).to_have_text("Two")


@pytest.mark.slow
def test_what_is_chosen_during_a_step_stays(people: People, office: Office) -> None:
    """A time, a choice and a tick that are made while a step is under way are there after it, and are saved."""
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.goto(f"{office.url}/requests")
    open_new(ann)
    held: list[Route] = []
    ann.route(re.compile(r"/requests/[^/?]+$"), lambda route: route.continue_() if held else held.append(route))
    with ann.expect_request(re.compile(r"/requests/[^/?]+$")):
        ann.get_by_role("button", name="Make variants").click()
    ann.locator("#start").fill("2036-12-01T09:00")
    ann.locator("#quiet").select_option("none")
    ann.locator("#local").check()
    held[0].continue_()
    expect(ann.get_by_role("group", name="Variant b")).to_be_visible()
    for _ in range(2):  # after the step, and as it was saved
        expect(ann.locator("#start")).to_have_value("2036-12-01T09:00")
        expect(ann.locator("#quiet")).to_have_value("none")
        expect(ann.locator("#local")).to_be_checked()
        expect(ann.locator("[data-saved]")).to_contain_text("Saved", timeout=20_000)
        ann.reload()


def test_what_is_typed_while_a_draft_is_saved_is_saved_next(people: People, office: Office) -> None:
    """A slow answer to the first saving does not lose the second one, nor is it called saved before."""
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.goto(f"{office.url}/requests")
    ann.clock.install()
    open_new(ann)
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held or "do=autosave" not in (route.request.post_data or ""):
            route.continue_()
        else:
            held.append(route)

    ann.route(re.compile(r"/requests/[^/?]+$"), hold_the_first)
    title = ann.get_by_label("Title", exact=True).first
    for text in ("One", "Two"):
        title.fill(text)
        ann.clock.run_for(2_000)
        ann.wait_for_function("() => true")
    assert len(held) == 1
    with ann.expect_response(re.compile(r"/requests/[^/?]+$")):
        held[0].continue_()
    expect(ann.locator("[data-saved]")).to_have_text("")
    with ann.expect_response(re.compile(r"/requests/[^/?]+$")):
        ann.clock.run_for(2_000)
    expect(ann.locator("[data-saved]")).to_contain_text("Saved")
    ann.reload()
    expect(title).to_have_value("Two")


@pytest.mark.slow
def test_a_preview_that_failed_is_asked_for_again(people: People, office: Office) -> None:
    """Nobody has to press a key for it: the phone shows the last text once the pages answer."""
    ann = people.sign_in(ANN)
    open_new(ann)
    failed: list[Route] = []

    def fail_twice(route: Route) -> None:
        if len(failed) < 2:
            failed.append(route)
            route.fulfill(status=502, body="")
        else:
            route.continue_()

    ann.route(re.compile(r"/preview"), fail_twice)
    ann.get_by_label("Title", exact=True).first.fill("After all")
    expect(ann.locator(".phone .t")).to_have_text("After all", timeout=20_000)
    assert len(failed) == 2


@pytest.mark.slow
def test_a_preview_that_is_not_answered_keeps_no_later_one_waiting(people: People, office: Office) -> None:
    """What was typed after it is asked for once the first question takes too long, and shown."""
    ann = people.sign_in(ANN)
    open_new(ann)
    hung: list[Route] = []

    def leave_the_first(route: Route) -> None:
        if hung:
            route.continue_()
        else:
            hung.append(route)

    ann.route(re.compile(r"/preview"), leave_the_first)
    title = ann.get_by_label("Title", exact=True).first
    with ann.expect_request(re.compile(r"/preview")):
        title.fill("First")
    title.fill("Second")
    expect(ann.locator(".phone .t")).to_have_text("Second", timeout=15_000)
    assert len(hung) == 1


def open_new(page: Page) -> None:
    """A new draft, with its script at work: whoever clicks before that has the form sent by the browser."""
    with page.expect_navigation(url=re.compile(r"/requests/[^/?]+$"), wait_until="load"):
        page.get_by_role("button", name="New request").click()


def write_texts(page: Page) -> int:
    """The main texts, then two languages by their codes, the Tab key leading from one to the next. How many fields."""
    page.locator("#title").fill("Hi ")
    page.locator("#title").press("End")
    page.locator(".chip", has_text="first_name").focus()
    page.keyboard.press("Enter")  # put in at the cursor
    expect(page.locator("#title")).to_have_value(re.compile(r"^Hi \{\{ first_name"))
    page.locator("#body").fill("Tinie Tempah is live now")
    page.locator("#image_url").fill("https://cdn.example.com/tinie.png")
    page.locator("#deep_link").fill("app://live")
    page.locator("#more_languages").fill("de, pt-BR")
    page.keyboard.press("Enter")
    expect(page.locator("#languages-0-title")).to_be_focused()
    page.keyboard.type("Hallo")
    page.keyboard.press("Tab")
    page.keyboard.type("Tinie Tempah ist jetzt live")
    page.keyboard.press("Tab")  # the fold of image and link
    page.keyboard.press("Tab")  # on into the next language, which opens
    expect(page.locator("#languages-1-locale")).to_be_focused()
    page.locator("#languages-1-title").fill("Oi")
    page.locator("#languages-1-body").fill("Tinie Tempah ao vivo")
    expect(page.locator(".phone .t")).to_have_text("Oi", timeout=20_000)  # the phone follows the field
    return 9


def variants(page: Page) -> int:
    """Two of them and a control group; the second has its own title in each language."""
    page.get_by_role("button", name="Make variants").click()
    expect(page.locator("#variants-0-name")).to_be_focused()
    page.locator("#variants-0-percent").fill("45")
    page.locator("#variants-1-percent").fill("45")
    page.locator("#variants-1-title").fill("Who is live?")
    expect(page.locator("[data-part=checks]")).to_contain_text(
        "b in de: Title", timeout=20_000
    )  # what is missing is listed
    page.get_by_role("tab", name="Main text").focus()
    for n, title in enumerate(("Wer ist live?", "Quem?")):
        page.keyboard.press("ArrowRight")
        page.locator(f"#variants-1-languages-{n}-title").fill(title)
        page.get_by_role("tab", selected=True).first.focus()
    page.locator("#control_percent").fill("10")
    return 6


@pytest.mark.slow
def test_what_is_too_long_is_never_lost(people: People, office: Office) -> None:
    """The page says which text it is, and keeps it; also where it is more than the server reads, after the way back."""
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.goto(f"{office.url}/requests")
    open_new(ann)
    ann.locator("#name").fill("too-long")
    text = "x" * 5_001
    ann.locator("#body").fill(text)
    expect(ann.locator("[data-saved]")).to_contain_text("Not saved. Text: 5,001 characters", timeout=20_000)
    expect(ann.locator("#body-fault")).to_contain_text("at most 5,000 are kept")
    ann.get_by_role("button", name="Make variants").click()
    expect(ann.get_by_role("alert")).to_have_text("One field needs another look.")
    expect(ann.locator("#body")).to_have_value(text)
    ann.goto(f"{office.url}/requests")  # away, and back
    ann.go_back()
    expect(ann.locator("#body")).to_have_value(text)
    endless = "y" * 1_000_001
    ann.locator("#body").fill(endless)
    expect(ann.locator("[data-saved]")).to_have_text("Not saved: the texts are too long.", timeout=20_000)
    ann.get_by_role("button", name="Send for review").click()
    expect(ann.get_by_role("heading", name="This did not work")).to_be_visible()
    ann.get_by_role("link", name="Back to the page").click()
    expect(ann.locator("#body")).to_have_value(endless)
    ann.locator("#body").fill("Short")
    expect(ann.locator("[data-saved]")).to_contain_text(re.compile("^Saved"), timeout=20_000)
    people.said.clear()  # the browser notes each 413


@pytest.mark.slow
def test_two_windows(people: People, office: Office) -> None:
    """What was typed in the second is there when a step of it is refused, with the choice which of the two stays."""
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.goto(f"{office.url}/requests")
    open_new(ann)
    second = ann.context.new_page()
    second.goto(ann.url)
    ann.locator("#title").fill("First")
    expect(ann.locator("[data-saved]")).to_contain_text(re.compile("^Saved"), timeout=20_000)
    second.locator("#body").fill("Second")
    expect(second.locator("[data-saved]")).to_contain_text("changed in another window", timeout=20_000)
    second.get_by_role("button", name="Make variants").click()
    expect(second.get_by_role("alert")).to_contain_text("Different there: Title, Text.")
    see(second, "40-two-windows")
    keep = second.get_by_role("button", name="Save what is here over it")
    expect(second.get_by_role("alert")).to_be_focused()
    expect(second.locator("#body")).to_have_value("Second")
    # Of who types on, and has not seen that the page has changed.
    second.keyboard.press("Space")
    second.keyboard.press("Enter")
    expect(second.get_by_role("alert")).to_be_focused()
    there = ann.request.get(ann.url).text()
    assert ('value="First"' in there, "Second" in there) == (True, False)
    keep.click()
    expect(second.get_by_role("alert")).to_have_count(0)
    expect(second.locator("#body")).to_have_value("Second")
    ann.reload()
    expect(ann.locator("#body")).to_have_value("Second")
    people.said.clear()  # the browser notes each 409


@pytest.mark.slow
def test_what_is_left_to_do_on_a_phone(people: People, office: Office) -> None:
    """The list is on the screen as a whole, and nothing lies over it."""
    ann = people.sign_in(ANN, bypass_csp=True, viewport=PHONE, has_touch=True)
    ann.goto(f"{office.url}/requests")
    open_new(ann)
    ann.locator("#control_percent").fill("x")
    expect(ann.locator("[data-saved]")).to_contain_text(re.compile(r"^Saved \d"), timeout=20_000)
    ann.locator(".left summary").click()
    expect(ann.locator(".left ul")).to_contain_text("A percentage, such as 45")
    seen = ann.locator(".left ul").evaluate(
        "(list) => { const box = list.getBoundingClientRect(); return [[box.left, box.top], [box.right, box.bottom]]"
        ".map(([x, y], n) => list.contains(document.elementFromPoint(x + (n ? -8 : 8), y + (n ? -8 : 8)))); }"
    )
    assert seen == [True, True]
