"""What every page looks like: the app's own name and icon, dark or light."""

from collections.abc import Iterator

import pytest

from approval.config import BadSettings, read_settings
from tests.approval_site import ANN, BOB, World, moto_server, new_request

ICON = "https://cdn.example.com/icon.png"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


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
