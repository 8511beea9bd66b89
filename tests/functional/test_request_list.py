"""The list: the push in small, how far each is, what came of it; filtered and paged on the server."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from approval.form import Form
from approval.list_view import PAGE
from approval.request import Request, State
from approval.store import AuditEntry, Store, place_of
from tests.approval_site import ANN, BOB, CAT, FORM, TABLE, World, decision, moto_server, new_request
from tests.functional.test_campaign_page import JOINED, Sent

OTHER = "max@marketing.example.com"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Tables and a bucket, emptied once."""
    with moto_server() as address:
        yield World(address)


def titles(page: str) -> list[str]:
    return re.findall(r'<div class="what"><a [^>]*>(.*?)</a>', page)


def fill(world: World, count: int) -> None:
    """So many drafts of Ann's, a second apart."""
    store = Store(world.client("dynamodb"), TABLE)
    began = int(world.clock().timestamp() * 1000)
    for n in range(count):
        at_ms = began + n * 1000
        request = Request(
            id=f"r{n}", requester=ANN, state=State.DRAFT, created_at_ms=at_ms, updated_at_ms=at_ms,
            expires_at_ms=at_ms + 86_400_000, form=Form(),
        )  # fmt: skip
        store.create(request, AuditEntry("created", ANN, at_ms))


def test_what_is_in_a_line(world: World) -> None:
    """The push itself, who asked, its state; of a sent one how many got it and the verdict in a few words."""
    sent = Sent(world)
    sent.lane()
    sent.count(JOINED)
    read: list[str] = []
    events = world.client("s3").meta.events
    events.register("provide-client-params.s3.GetObject", lambda params, **_: read.append(params["Key"]), "reads")
    page = sent.bob.get("/requests").body
    line = page[page.index("<li>") : page.index("</li>")]
    for words in ("Tinie is live", ANN, "60</strong>", "completed", "Short &lt;b&gt;", " % opened against no push"):
        assert words in line, words
    assert line.count('<p class="better">') == 1
    # Counted once: the second look reads that there is no later count, and not the rows' sums again.
    [sums] = [key for key in read if key.startswith("audiences/conversions/")]
    again = sent.bob.get("/requests").body
    events.unregister("provide-client-params.s3.GetObject", unique_id="reads")
    assert read.count(sums) == 1
    assert again.count(" % to +") == page.count(" % to +")


def test_anothers_draft_is_not_read(world: World) -> None:
    """A draft is its writer's own: others see that there is one, and neither its push nor a hit for its words."""
    ann, max_ = world.browser(ANN), world.browser(OTHER)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    ann.post(f"/requests/{id_}", {**FORM, "name": "secret-plan", "body": "zebra", "version": "0", "do": "save"})
    assert "zebra" in ann.get("/requests").body
    page = max_.get("/requests").body
    assert "secret-plan" in page
    assert "zebra" not in page
    assert titles(max_.get("/requests", q="zebra").body) == []
    assert titles(ann.get("/requests", q="ZEBRA").body) == ["secret-plan"]


def test_filters(world: World) -> None:
    """By state, by whether it was sent, and by person; all of them together."""
    ann = world.browser(ANN)
    new_request(ann, world, form={**FORM, "name": "waits"})
    assert titles(ann.get("/requests", state="in_review").body) == ["waits"]
    assert titles(ann.get("/requests", state="sent").body) == ["tinie-1"]
    assert titles(ann.get("/requests", state="in_review", person=OTHER).body) == []
    assert "waits" in titles(ann.get("/requests", person=ANN, q="wait").body)
    # What is typed into the address comes back as text, and no state or place that there is none of does harm.
    odd = ann.get("/requests", state="<b>", person="<i>", before="'; DROP", q='"><script>').body
    assert "<script>" not in odd.replace("<script src", "")


def test_pages(world: World) -> None:
    """Older ones follow page by page, each request once, with the filter kept."""
    fill(world, 2 * PAGE + 3)
    ann = world.browser(ANN)
    seen: list[str] = []
    before: dict[str, str] = {}
    for _ in range(4):
        page = ann.get("/requests", state="draft", q="untitled", **before).body
        seen += re.findall(r'<div class="what"><a href="[^"]*/requests/(r\d+)"', page)
        found = re.search(r'rel="next" href="[^"]*\?q=untitled&amp;state=draft&amp;before=([^"]+)"', page)
        if found is None:
            break
        before = {"before": found[1].replace("%23", "#")}
    assert seen == [f"r{n}" for n in reversed(range(2 * PAGE + 3))]


def test_a_place_is_of_a_request(world: World) -> None:
    """The place in the list is the sort key of the item: what was listed by an earlier release has the same."""
    store = Store(world.client("dynamodb"), TABLE)
    newest, second, *_ = store.listed(3)
    assert store.listed(1, place_of(newest)) == [second]
    assert world.browser(BOB).get("/requests", before=place_of(newest)).status == 200


def test_anothers_draft_is_not_read_when_it_is_over(world: World) -> None:
    """Nor once it has expired or was withdrawn; what was in review is read whatever became of it."""
    world.clock.forward(minutes=16)  # links are asked for a few times only
    ann, max_ = world.browser(ANN), world.browser(OTHER)
    ids = [ann.post("/requests").location.rpartition("/")[2] for _ in range(2)]
    for n, id_ in enumerate(ids):
        ann.post(f"/requests/{id_}", {**FORM, "name": f"over-{n}", "body": "giraffe", "version": "0", "do": "save"})
    ann.post(f"/requests/{ids[0]}/withdraw")
    reviewed = new_request(ann, world, form={**FORM, "name": "over-2", "body": "giraffe too"})
    ann.post(f"/requests/{reviewed}/withdraw")
    world.clock.forward(days=31)
    # Everybody's session has expired, too.
    ann, max_ = world.browser(ANN), world.browser(OTHER)
    assert "expired" in max_.get("/requests", q="over-1").body
    assert titles(max_.get("/requests", q="giraffe").body) == ["over-2"]
    assert len(titles(ann.get("/requests", q="giraffe").body)) == 3
    world.clock.forward(days=-31)


def test_items_of_an_earlier_release(world: World) -> None:
    """They do not say whether they were reviewed: their state does, also where the review has expired since."""
    world.clock.forward(minutes=16)  # links are asked for a few times only
    table = world.client("dynamodb")
    ann = world.browser(ANN)
    new_request(ann, world, form={**FORM, "name": "older-review", "body": "walrus"})
    id_ = ann.post("/requests").location.rpartition("/")[2]
    ann.post(f"/requests/{id_}", {**FORM, "name": "older-draft", "body": "walrus", "version": "0", "do": "save"})
    for item in [one for one in world.items() if one["pk"]["S"] == "list" and "walrus" in one["data"]["S"]]:
        data = json.loads(item["data"]["S"])
        data.pop("is_reviewed", None)
        table.put_item(TableName=TABLE, Item=item | {"data": {"S": json.dumps(data)}})
    max_ = world.browser(OTHER)
    assert titles(max_.get("/requests", q="walrus").body) == ["older-review"]
    world.clock.forward(days=31)
    assert titles(world.browser(OTHER).get("/requests", q="walrus", state="expired").body) == ["older-review"]
    world.clock.forward(days=-31)


def drawn(page: str) -> list[str]:
    """What the list's pictures show."""
    return re.findall(r'<p class="[tb]">(.*?)</p>', page)


def listed_item(world: World, id_: str) -> dict[str, Any]:
    """What is stored of a request for the list."""
    return next(one for one in world.items() if one["pk"]["S"] == "list" and one["sk"]["S"].endswith(f"#{id_}"))


def test_the_push_in_small_is_filled_in(world: World) -> None:
    """By its defaults; an attribute without one by its name, a draft's fault by what is certain. Never as Liquid."""
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    long = "{% if vip %}" + "Only for you. " * 12 + "{% else %}For everybody{% endif %}"
    written = (
        ("Hi {{ first_name | default: 'there' }}", "There, {{ last_name }}", ["Hi there", "There, [last name]"]),
        ("Hi {{ first_name | upcase }}", long, ["Hi [first name]", "For everybody"]),
        ("Hi {{ first_name", "{% if a %}Yes", ["Hi …", "Yes"]),
    )
    for version, (title, body, shown) in enumerate(written):
        fields = {**FORM, "name": "small", "title": title, "body": body, "version": str(version), "do": "save"}
        ann.post(f"/requests/{id_}", fields)
        assert drawn(ann.get("/requests", q="small").body) == shown
        # An earlier release kept the beginnings of the texts as they were written, and nothing else.
        item = listed_item(world, id_)
        old = {key: value for key, value in json.loads(item["data"]["S"]).items() if not key.startswith("small_")}
        world.client("dynamodb").put_item(TableName=TABLE, Item=item | {"data": {"S": json.dumps(old)}})
        read = drawn(ann.get("/requests", q="small").body)
        assert read[0] == shown[0]
        assert not re.search(r"\{\{|\{%|\}\}|%\}", "".join(read))
    assert titles(ann.get("/requests", q="small first_name").body) == ["small"]


def test_what_an_approver_has_approved_waits_for_another(world: World) -> None:
    """Also where an earlier release has listed it, without those who have approved it."""
    world.clock.forward(minutes=16)  # links are asked for a few times only
    ann, bob, cat = (world.browser(email) for email in (ANN, BOB, CAT))
    id_ = new_request(ann, world, form={**FORM, "name": "large"}, users=5000)
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303
    for _ in range(2):
        assert f'/requests/{id_}">large</a>' not in waiting(bob.get("/requests").body)
        assert f'/requests/{id_}">large</a>' in waiting(cat.get("/requests").body)
        item = listed_item(world, id_)
        old = {key: value for key, value in json.loads(item["data"]["S"]).items() if key != "approved_by"}
        world.client("dynamodb").put_item(TableName=TABLE, Item=item | {"data": {"S": json.dumps(old)}})


def waiting(page: str) -> str:
    """The line that names what the visitor is to decide on."""
    return page.partition("for approval:")[2].partition("</p>")[0]
