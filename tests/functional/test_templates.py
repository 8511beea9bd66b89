"""Templates: a request saved as one, listed with who made it, started from, deleted after a question."""

import re
from collections.abc import Iterator

import pytest

from tests.approval_site import ANN, BOB, FORM, World, moto_server, new_request

OTHER = "max@marketing.example.com"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Tables and a bucket, emptied once."""
    with moto_server() as address:
        yield World(address)


def ids(page: str) -> list[str]:
    return re.findall(r'action="[^"]*/templates/(\w+)/start"', page)


def test_from_a_request_to_a_draft(world: World) -> None:
    """It has everything but the name and the start; who made it is said; a start from it is in the trail."""
    ann, max_ = world.browser(ANN), world.browser(OTHER)
    id_ = new_request(ann, world, form={**FORM, "start": "2026-12-01T09:00", "name": "dated"})
    assert ann.post(f"/requests/{id_}/template", {"name": f"Weekly {SCRIPT}"}).location == "/templates"
    page = max_.get("/templates").body
    assert f"Made by {ANN}" in page
    assert '<p class="t">Hi there</p>' in page
    assert SCRIPT not in page
    [template] = ids(page)
    draft = max_.post(f"/templates/{template}/start").location
    form = max_.get(draft).body
    assert "Tinie is live" in form
    assert "audiences/tinie.json" in form
    assert "2026-12-01" not in form
    assert 'value="dated"' not in form
    assert max_.post(draft, {**FORM, "version": "0", "do": "save"}).status == 303


def test_whose_it_is(world: World) -> None:
    """A draft of another is no template; others' templates are not deleted; approvers make none, and may delete."""
    ann, bob, max_ = world.browser(ANN), world.browser(BOB), world.browser(OTHER)
    draft = ann.post("/requests").location
    assert max_.post(f"{draft}/template", {"name": "x"}).status == 403
    assert ann.post(f"{draft}/template", {"name": ""}).status == 303
    page = ann.get("/templates").body
    assert "<strong>Untitled</strong>" in page
    assert "Yes, delete it" in page
    template = ids(page)[0]
    assert bob.post(f"{draft}/template", {"name": "x"}).status == 403
    assert bob.post(f"/templates/{template}/start").status == 403
    assert max_.post(f"/templates/{template}/remove").status == 403
    before = len(ids(ann.get("/templates").body))
    assert bob.post(f"/templates/{template}/remove").location == "/templates"
    assert len(ids(ann.get("/templates").body)) == before - 1
    for step in ("start", "remove"):
        assert ann.post(f"/templates/{template}/{step}").status == 404
