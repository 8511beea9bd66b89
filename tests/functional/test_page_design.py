"""What every page looks like: the app's own name and icon, dark or light."""

import base64
import re
from collections.abc import Iterator
from hashlib import sha256

import pytest

from approval.config import BadSettings, read_settings
from tests.approval_site import ANN, BOB, FORM, World, count, moto_server, new_request, rest_event

LOCALES = [f"{a}{b}" for a in "abcde" for b in "abcdefg"]
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
