"""What every page looks like: the app's own name and icon, dark or light."""

import base64
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

import approval.pages
from approval.config import BadSettings, read_settings
from tests.approval_site import ANN, BOB, FORM, World, count, moto_server, new_request, rest_event

LOCALES = [f"{a}{b}" for a in "abcde" for b in "abcdefg"]
PAGES = Path(approval.pages.__file__).parent
ICON = "https://cdn.example.com/icon.png"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


def fields_of(languages: int, variants: int) -> dict[str, str]:
    """A draft with a title and a text in every place."""
    found = {**FORM, "image_url": "https://cdn.example.com/images/2026-12/tinie-tempah.png", "deep_link": "app://live"}
    for n in range(languages):
        found |= {f"languages.{n}.locale": LOCALES[n], **said(f"languages.{n}.")}
    for v in range(variants):
        found |= {f"variants.{v}.name": "abcdefgh"[v], f"variants.{v}.percent": "10", **said(f"variants.{v}.")}
        for n in range(languages):
            found |= said(f"variants.{v}.languages.{n}.")
    return found


def said(place: str) -> dict[str, str]:
    """A title and a text of their own: what is alike everywhere would weigh nothing when it is compressed."""
    words = sha256(place.encode()).hexdigest()
    return {f"{place}title": f"Tinie {words[:16]}", f"{place}body": f"Hallo {{{{ first_name }}}}, {words[16:]}"}


@pytest.mark.parametrize(("languages", "variants"), [(3, 2), (6, 3), (30, 8)])
def test_no_draft_is_heavy(endpoint: str, languages: int, variants: int) -> None:
    """With everything that it loads, nothing cached: at most 60 kB as sent, whatever is written into it."""
    world = World(endpoint)
    ann, key = world.browser(ANN), world.put_audience()
    path, fields = ann.post("/requests").location, fields_of(languages, variants)
    count(ann, world, path.rpartition("/")[2], {**fields, "audience": key, "version": "0"})
    page = ann.get(path).body
    assert page.count("Tinie ") > languages * variants
    files = [f"/static/{name}" for name in re.findall(r"/static/([\w.]+)\?", page)]
    assert len(files) == 4
    sent = {at: weight(world, at, ann.cookie) for at in (path, *files)}
    print(f"{languages} languages, {variants} variants: {sum(sent.values())} bytes, {len(page)} unpacked")  # noqa: T201
    assert sum(sent.values()) <= 60_000, sent


def test_red_is_what_cannot_be_undone() -> None:
    """Each red button says so before it, or asks once more; a question before any other is not red."""
    red = [
        form
        for page in PAGES.glob("*.html")
        for form in re.findall(r"<form.*?</form>", page.read_text(encoding="utf-8"), re.DOTALL)
        if 'class="danger"' in form
    ]
    assert len(red) > 10
    for form in red:
        assert re.search(r"cannot be undone|for good|/people/erase", form), form
    style = (PAGES / "style.css").read_text(encoding="utf-8")
    assert "button.danger,.sure:has(.danger)>summary{color:var(--bad)" in style


def test_what_scrolls_says_so() -> None:
    """Every table and every code is in a box that keys can scroll, with a name, and a shadow where there is more."""
    for page in PAGES.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        boxes = re.findall(r'<div class="scroll"([^>]*)><table|<pre([^>]*)>', text)
        assert len(boxes) == text.count("<table") + text.count("<pre"), page.name
        for of_table, of_code in boxes:
            for said in ('role="region"', 'tabindex="0"', 'aria-label="'):
                assert said in of_table + of_code, f"{page.name}: {said}"
    style = (PAGES / "style.css").read_text(encoding="utf-8")
    [box] = re.findall(r"^\.scroll,\.tabs,pre[^{]*\{([^}]*)\}", style, re.MULTILINE)
    assert "overflow-x:auto" in box
    # Two that scroll along cover two that lie still, but where there is more.
    assert box.count("linear-gradient(") == 4
    assert box.count(" local,") == 2


def rules(name: str) -> dict[str, str]:
    """The declarations of a stylesheet by their selectors, with those of later rules appended."""
    found: dict[str, str] = {}
    text = re.sub(
        r"/\*.*?\*/|@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\}",
        "",
        (PAGES / name).read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    for selectors, declared in re.findall(r"([^{}]+)\{([^{}]*)\}", text):
        found[selectors.strip()] = f"{found.get(selectors.strip(), '')};{declared}"
    return found


def test_small_things_that_were_seen_in_pictures() -> None:
    """No border of the browser's around fields; one line below two groups of tabs; numbers one below another."""
    style, composer, campaign = rules("style.css"), rules("composer.css"), rules("campaign.css")
    assert "border:0" in style["fieldset"]
    assert "border-bottom:1px solid var(--line)" in composer[".switches"]
    assert "border:0" in composer[".switches .tabs"]
    assert "text-align:right" in campaign[".campaigns .sent"]
    assert "display:block" in campaign[".sent strong"]
    assert "tabular-nums" in style["body"]


def weight(world: World, path: str, cookie: str) -> int:
    """Bytes of an answer, as a browser gets it."""
    event = rest_event("GET", path, headers={"Accept-Encoding": "gzip"}, cookie=cookie)
    allowed = world.app.authorize({**event, "methodArn": "arn:aws:execute-api:eu-west-1:1:api/prod/GET/x"})
    event["requestContext"]["authorizer"] = allowed["context"]
    return len(base64.b64decode(world.app.answer(event)["body"], validate=True))


def test_the_apps_own_name_and_icon(endpoint: str) -> None:
    """At the top of the pages and on the phones; without settings the pages say what they are."""
    world = World(endpoint, app_name="Finch & Co", app_icon_url=ICON)
    id_ = new_request(world.browser(ANN), world)
    page = world.browser(BOB).get(f"/requests/{id_}").body
    assert f'<img class="logo" src="{ICON}" alt="" referrerpolicy="no-referrer">Finch &amp; Co</a>' in page
    assert f'<img class="icon" src="{ICON}"' in page
    assert "Finch &amp; Co · now" in page
    plain = World(endpoint).browser(BOB).get("/requests").body
    assert "Push approval</a>" in plain


def test_an_icon_is_loaded_by_https_only() -> None:
    """Another address is a fault of the deployment, by the variable's name."""
    with pytest.raises(BadSettings, match="APP_ICON_URL: an https address"):
        read_settings({"APP_ICON_URL": "http://cdn.example.com/icon.png"})


def test_the_theme_that_a_person_has_chosen(endpoint: str) -> None:
    """From the first byte of the page; anything but the two themes is none."""
    browser = World(endpoint).browser()
    for cookie, root in (
        ("theme=dark", '<html lang="en" data-theme="dark">'),
        ("theme=light", '<html lang="en" data-theme="light">'),
        ('theme="><script>', '<html lang="en">'),
        ("", '<html lang="en">'),
    ):
        browser.cookie = cookie
        assert root in browser.get("/sign-in").body, cookie
