"""The walk of docs/composer.md, key by key: a whole campaign without a mouse."""

import json

import pytest
from playwright.sync_api import Page, expect

from sandbox.office import Office
from sandbox.scene import ANN
from tests.browser.approval_pages import People

MOST_TABS = 80
LOCALES = ("en-GB", "de", "pt-BR")
HAS_FOCUS = """(selector) => { const at = document.activeElement;
  return at.matches(selector) || [...at.labels || []].some((one) => one.innerText.startsWith(selector)); }"""
WHERE = "() => document.activeElement.outerHTML.slice(0, 120)"


class Keys:
    """A keyboard, and nothing else. `pressed` counts its keys."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pressed = 0

    def press(self, key: str) -> None:
        """One key."""
        self.page.keyboard.press(key)
        self.pressed += 1

    def type(self, text: str) -> None:
        """Letters."""
        self.page.keyboard.type(text)
        self.pressed += len(text)

    def to(self, selector: str, key: str = "Tab") -> None:
        """Tab on until this has the focus: what a selector names, or what a label begins with."""
        passed = []
        for _ in range(MOST_TABS):
            self.press(key)
            if self.page.evaluate(HAS_FOCUS, selector):
                return
            passed.append(self.page.evaluate(WHERE))
        pytest.fail(f"{key} does not lead to {selector}: {passed}")

    def fill(self, selector: str, text: str) -> None:
        """Tab to a field, and write into it."""
        self.to(selector)
        self.type(text)

    def is_at(self, selector: str) -> None:
        """Where the focus is, soon."""
        expect(self.page.locator(f"{selector}:focus")).to_have_count(1, timeout=20_000)


@pytest.mark.slow
def test_a_whole_campaign_by_keyboard_alone(people: People, office: Office) -> None:
    """Two variants, a control group, two more languages, an image, a link and a start; the focus is never lost."""
    users = [{"user_id": f"k{n}", "platform": "ios", "token": f"{n:064x}", "locale": LOCALES[n % 3]} for n in range(30)]
    named = [user | ({"attributes": {"first_name": "Ann"}} if n % 5 else {}) for n, user in enumerate(users)]
    bucket = office.trial.sandbox.bucket
    office.trial.s3.put_object(Bucket=bucket, Key="audiences/some-without-a-name.json", Body=json.dumps(named).encode())
    ann = people.sign_in(ANN, bypass_csp=True)
    ann.route("https://cdn.example.com/*", lambda route: route.abort())
    ann.goto(f"{office.url}/requests")
    keys = Keys(ann)
    keys.to("form[action$='/requests'] button.main")
    keys.press("Enter")
    keys.is_at("#name")
    ann.wait_for_load_state("networkidle")  # nobody types before a page is there
    keys.type("by-keyboard")
    choose_and_count(ann, keys)
    main_text(ann, keys)
    languages(ann, keys)
    variants(ann, keys)
    keys.to("#control_percent", "Tab")
    keys.type("10")
    keys.to("#start")
    keys.type("12122036")  # the same where the month comes first
    keys.press("ArrowRight")  # a year may have six digits
    keys.type("0900A")  # and where the hours end at twelve
    expect(ann.get_by_text("Ready for review")).to_be_visible(timeout=20_000)
    expect(ann.locator("#start")).to_have_value("2036-12-12T09:00")
    keys.to("button[value=submit]")
    keys.press("Enter")
    expect(ann.get_by_role("status").first).to_contain_text("Sent for review")
    print(f"{keys.pressed} keys")  # noqa: T201
    expect(ann.locator("body")).to_contain_text("10 % control")


def choose_and_count(page: Page, keys: Keys) -> None:
    """The file moves up to the chosen ones, and keeps the focus; the figures come, and the focus stays."""
    keys.to("some-without-a-name")
    keys.press("Space")
    expect(page.locator(".chosen input:checked")).to_have_count(1)
    keys.is_at(".chosen input")
    keys.to("button[value=count]")
    keys.press("Enter")
    expect(page.locator("#request-form[aria-busy]")).to_have_count(0, timeout=60_000)
    expect(page.get_by_text("Without a time zone", exact=True)).to_be_visible(timeout=60_000)
    keys.is_at("button[value=count]")


def main_text(page: Page, keys: Keys) -> None:
    """A chip puts its attribute in at the cursor, its default selected: the next key replaces it."""
    keys.to("#title")
    keys.type("Hi ")
    expect(page.locator(".chip", has_text="first_name")).to_be_visible(timeout=20_000)
    keys.to(".chip[data-insert*=first_name]", "Shift+Tab")
    keys.press("Enter")
    keys.is_at("#title")
    keys.type("you")
    expect(page.locator("#title")).to_have_value("Hi {{ first_name | default: 'you' }}")
    keys.fill("#body", "Tinie Tempah is live now")
    keys.fill("#image_url", "https://cdn.example.com/tinie.png")
    keys.fill("#deep_link", "app://live")


def languages(page: Page, keys: Keys) -> None:
    """Two by their codes; the Tab key goes past the fold into the next one, which opens by itself."""
    keys.fill("#more_languages", "de, pt-BR")
    keys.press("Enter")
    keys.is_at("#languages-0-title")
    keys.type("Hallo")
    keys.press("Tab")
    keys.type("Tinie Tempah ist jetzt live")
    keys.press("Tab")
    keys.press("Tab")
    keys.is_at("#languages-1-locale")
    keys.fill("#languages-1-title", "Oi")
    keys.fill("#languages-1-body", "Tinie Tempah ao vivo")


def variants(page: Page, keys: Keys) -> None:
    """The focus is in the first one's name; its texts in other languages by the arrows on the tabs."""
    keys.to("button[value=add_variant]")
    keys.press("Enter")
    keys.is_at("#variants-0-name")
    keys.fill("#variants-0-percent", "45")
    keys.fill("#variants-1-percent", "45")
    keys.fill("#variants-1-title", "Who is live?")
    for n, title in enumerate(("Wer ist live?", "Quem?")):
        keys.to("[data-tabs=language] [role=tab]", "Shift+Tab")
        # Shift and Tab lead back through the languages before, as Tab has led on through them.
        for _ in range(n + 1):
            keys.press("ArrowRight")
        chosen = f"[data-tabs=language] [data-tab='{n}'][aria-selected=true]"
        expect(page.locator(chosen)).to_be_visible()
        keys.fill(f"#variants-1-languages-{n}-title", title)
