"""The form's audience: files and named queries, counted by a button, pinned when it is sent for review."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from typing import Any

import msgspec
import pytest

from approval.app import App
from approval.files import Files
from approval.request import Step
from approval.store import AuditEntry, Store
from audiences.engines.port import Place, Query, QueryFault
from audiences.run_preparation import in_words
from notifier.model.campaign import Part
from tests.approval_site import (
    ANN,
    BOB,
    BUCKET,
    EVE,
    FORM,
    LEDGER,
    TABLE,
    Browser,
    World,
    count,
    decision,
    moto_server,
    new_request,
)  # fmt: skip


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


QUERY = {**FORM, "sources.0.query": "follows", "sources.0.parameters.brands": "Accessorize\r\nMonsoon"}


def draft(ann: Browser) -> str:
    return ann.post("/requests").location.rpartition("/")[2]


def ordered(world: World) -> list[dict[str, Any]]:
    """The requests that the audience function was given."""
    found = []
    for event in world.audiences.events:
        key = {"pk": {"S": f"run#{event['prepare']}"}, "sk": {"S": "preparation"}}
        item = world.client("dynamodb").get_item(TableName=LEDGER, Key=key)["Item"]
        found.append(msgspec.json.decode(item["request"]["S"]))
    return found


def test_a_named_query_instead_of_files(world: World) -> None:
    """Chosen, filled in, counted, reviewed with its SQL and values, approved: the file has the prepared parts."""
    world.put_query(description="Who follows a brand.", owner="crm@example.com")
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = draft(ann)
    page = ann.post(f"/requests/{id_}", {**FORM, "version": "0", "do": "add_source"}).body
    assert '<option value="follows">follows</option>' in page
    answer = ann.post(f"/requests/{id_}", {**FORM, "version": "1", "sources.0.query": "follows", "do": "choose"})
    assert answer.headers["location"].endswith("#audience")
    body = ann.get(f"/requests/{id_}").body
    assert 'name="sources.0.parameters.brands"' in body
    assert "Who follows a brand. Ask crm@example.com about it." in body
    fields = {**QUERY, "filters.0.column": "country", "filters.0.values": "DE, AT"}
    count(ann, world, id_, fields)
    [request] = ordered(world)
    assert request == {
        "query": {"name": "follows", "parameters": {"brands": ["Accessorize", "Monsoon"]}},
        "where": [{"column": "country", "is": ["DE", "AT"]}],
    }
    assert ann.post(f"/requests/{id_}", {**fields, "version": "9", "do": "submit"}).status == 303
    review = bob.get(f"/requests/{id_}").body
    assert "query follows (brands: Accessorize, Monsoon), only where country is DE, AT" in review
    assert "WHERE brand = ANY($brands) AND note &lt;&gt; &#39;&lt;b&gt;&#39;" in review
    assert "The list is fixed as counted" in review
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303
    written = world.client("s3").get_object(Bucket=BUCKET, Key=f"batches/{id_}.json")["Body"].read()
    [part] = msgspec.json.decode(written)["audience"]["parts"]
    assert (part["bucket"], part["key"].split("/")[:2]) == (BUCKET, ["audiences", "prepared"])
    assert part["version_id"]
    assert part["etag"]


def test_how_many_would_be_left_out_now(world: World) -> None:
    """Of the requester's draft once it is counted, and on the approver's page: at most so many, about so many less."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = draft(ann)
    path = f"/requests/{id_}/left-out"
    fields = {**FORM, "audience": world.put_audience(), "legal": "yes"}
    assert "The audience is not counted." in ann.get(path).body
    count(ann, world, id_, {**fields, "version": "0"}, users=5_000)
    assert f'data-later="/prod{path}"' in ann.get(f"/requests/{id_}").body
    # As it is shown again while a requester types.
    assert path in ann.post(f"/preview?request={id_}", fields).body
    now = {"users": 5_000, "left_out": {"holdout": 250, "suppressed": 1_200}, "as_of": "2026-12-01T10:00:00+00:00"}
    world.audiences.answer = now | {"looked_at": 5_000}
    shown = "At most 5,000 users; about 1,450 would be left out as of now: 250 held out of all campaigns, 1,200 want"
    assert shown in ann.get(path).body
    assert bob.get(path).status == 403
    world.audiences.events = world.audiences.events[:1]
    assert ann.post(f"/requests/{id_}", {**fields, "version": "1", "do": "submit"}).status == 303
    assert f'data-later="/prod{path}"' in bob.get(f"/requests/{id_}").body
    assert shown in bob.get(path).body
    asked = world.audiences.events[-1]
    assert asked["left_out"].startswith("audiences/prepared/")
    assert (asked["campaign"]["legal"], asked["campaign"]["id"], asked["bucket"]) == (True, FORM["name"], BUCKET)
    world.audiences.answer = now | {"left_out": {}, "looked_at": 5_000}
    assert "At most 5,000 users; nobody would be left out as of now." in bob.get(path).body
    world.audiences.answer = {"fault": "the users whom every run leaves out cannot be read: <denied>"}
    assert "is not known. the users whom every run leaves out cannot be read: &lt;denied&gt;" in bob.get(path).body
    world.audiences.refuses_with = "TooManyRequestsException"
    assert "It could not be asked for. Load this page again in a moment." in bob.get(path).body


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({}, "audience", "Choose whom to send it to."),
        ({"sources.0.query": "follows"}, "sources.0.parameters.brands", "Fill this in."),
        ({"sources.0.query": "gone"}, "sources.0.query", "gone cannot be used: there is no such query"),
        ({"sources.0.query": "broken"}, "sources.0.query", "broken cannot be used"),
        ({"sources.0.query": "day", "sources.0.parameters.day": "soon"}, "sources.0.parameters.day", "is not a date"),
        ({"files": "audiences/../rows/x"}, "files", "cannot be chosen"),
        ({"files": "audiences/prepared/x/"}, "files", "cannot be chosen"),
        ({"files": "s3://other/rows/x"}, "files", "cannot be chosen"),
        ({**QUERY, "filters.0.column": "email", "filters.0.values": "x"}, "filters.0.column", "One of country."),
        ({**QUERY, "filters.0.column": "country"}, "filters.0.values", "Values with commas"),
    ],
)
def test_what_is_wrong_with_the_choice(world: World, fields: dict[str, str], field: str, words: str) -> None:
    """At its field, before anything is asked of the audience function."""
    world.put_query()
    world.put_query("day", parameters={"day": {"type": "date"}})
    world.client("s3").put_object(Bucket=BUCKET, Key="queries/broken.json", Body=b"{")
    ann = world.browser(ANN)
    answer = ann.post(f"/requests/{draft(ann)}", {**FORM, **fields, "version": "0", "do": "count"})
    assert answer.status == 422
    shown = answer.body.split(f'data-fault="{field}">')[1].partition("<")[0]
    assert words in shown
    assert world.audiences.events == []


def test_what_cannot_be_counted(world: World) -> None:
    """The function's own words, on the page and where it is sent for review; asked again, it is counted again."""
    ann = world.browser(ANN)
    id_ = draft(ann)
    fields = {**FORM, "files": "audiences/nothing/", "version": "0"}
    early = ann.post(f"/requests/{id_}", {**fields, "do": "submit"})
    assert "Count it first." in early.body
    assert ann.post(f"/requests/{id_}", {**fields, "version": "1", "do": "count"}).status == 303
    assert "Making and counting the audience" in ann.get(f"/requests/{id_}").body
    assert "still being counted" in ann.post(f"/requests/{id_}", {**fields, "version": "1", "do": "submit"}).body
    # A second click while it is at work asks for nothing.
    assert ann.post(f"/requests/{id_}", {**fields, "version": "1", "do": "count"}).status == 303
    assert len(world.audiences.events) == 1
    world.fail_counts("audiences/nothing/: no object has <such> a key")
    assert "no object has &lt;such&gt; a key" in ann.get(f"/requests/{id_}").body
    assert "It could not be counted" in ann.post(f"/requests/{id_}", {**fields, "version": "1", "do": "submit"}).body
    assert ann.post(f"/requests/{id_}", {**fields, "version": "1", "do": "count"}).status == 303
    assert len(world.audiences.events) == 2


def test_what_a_paid_query_costs_is_shown_first(world: World) -> None:
    """Nothing runs until the button beside the cost is pressed, for the very choice that it was shown for."""
    world.put_query("lake", engine="athena", parameters={"n": {"type": "integer"}})
    ann = world.browser(ANN)
    id_ = draft(ann)
    fields = {**FORM, "sources.0.query": "lake", "sources.0.parameters.n": "1", "version": "0"}
    world.audiences.answer = {"costs": ["queries/lake.sql: at most <10> GB"]}
    shown = ann.post(f"/requests/{id_}", {**fields, "do": "count"})
    assert shown.status == 200
    assert "queries/lake.sql: at most &lt;10&gt; GB" in shown.body
    [asked] = world.audiences.events
    assert asked == {"cost": {"query": {"name": "lake", "parameters": {"n": 1}}}, "bucket": BUCKET}
    button = shown.body.partition('value="count:')[2].partition('"')[0]
    other = {**fields, "sources.0.parameters.n": "2", "version": "1"}
    assert "This is what it reads" in ann.post(f"/requests/{id_}", {**other, "do": f"count:{button}"}).body
    assert not any("prepare" in event for event in world.audiences.events)
    assert ann.post(f"/requests/{id_}", {**fields, "version": "2", "do": f"count:{button}"}).status == 303
    assert "prepare" in world.audiences.events[-1]
    world.audiences.answer = {"fault": "Athena's workgroup <x> has no limit of bytes for a query"}
    refused = ann.post(f"/requests/{id_}", {**other, "version": "3", "do": "count"})
    assert refused.status == 422
    assert "has no limit of bytes" in refused.body


def test_files_that_change(world: World) -> None:
    """Before it is sent for review: it has to be counted again. Afterwards what was counted is sent."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = draft(ann)
    fields = {**FORM, "audience": world.put_audience(), "version": "0"}
    count(ann, world, id_, fields)
    world.put_audience(body=b'[{"user_id":"u2"}]')
    answer = ann.post(f"/requests/{id_}", {**fields, "do": "submit"})
    assert "Changed since it was counted: audiences/tinie.json. Count it again." in answer.body
    count(ann, world, id_, fields, users=7)
    assert ann.post(f"/requests/{id_}", {**fields, "do": "submit"}).status == 303
    world.put_audience(body=b'[{"user_id":"u3"}]')
    review = bob.get(f"/requests/{id_}").body
    assert "audiences/tinie.json changed after it was counted." in review
    assert "the version that you reviewed" in review
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303


def of_the_release_before(world: World, id_: str) -> None:
    """Make a request what the release before has stored: files pinned as they were, no prepared audience."""
    head = world.client("s3").head_object(Bucket=BUCKET, Key="audiences/tinie.json")
    part = Part("audiences/tinie.json", BUCKET, head["VersionId"], head["ETag"].strip('"'))
    store = Store(world.client("dynamodb"), TABLE)
    store.change(
        id_,
        lambda request: msgspec.structs.replace(request, parts=(part,), manifest="", version=request.version + 1),
        AuditEntry(Step.CHANGED, ANN, 1, ""),
    )


def test_a_request_of_the_release_before(world: World) -> None:
    """It opens; an approver has it counted, ticks repeated tokens, which are sent to, and approves the pinned files."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    of_the_release_before(world, id_)
    review = bob.get(f"/requests/{id_}").body
    assert "its figures are not kept" in review
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 409
    assert bob.post(f"/requests/{id_}/count").status == 303
    assert "still being counted" in bob.get(f"/requests/{id_}").body
    world.finish_counts(repeated_tokens=10)
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 409
    assert bob.post(f"/requests/{id_}/approve", {**decision(bob, id_), "repeats": "yes"}).status == 303
    written = world.client("s3").get_object(Bucket=BUCKET, Key=f"batches/{id_}.json")["Body"].read()
    [part] = msgspec.json.decode(written)["audience"]["parts"]
    assert part["key"] == "audiences/tinie.json"
    assert "repeated tokens seen" in bob.get(f"/requests/{id_}").body


def test_who_may_have_it_counted(world: World) -> None:
    """The requester of a draft, and approvers of what is in review; nobody without the page's token."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    other = world.browser("pat@marketing.example.com")
    id_ = draft(ann)
    fields = {**FORM, "audience": world.put_audience(), "version": "0", "do": "count"}
    assert ann.post(f"/requests/{id_}", fields, csrf="x").status == 403
    assert other.post(f"/requests/{id_}", fields).status == 403
    assert bob.post(f"/requests/{id_}/count").status == 403
    assert other.post(f"/requests/{id_}/count").status == 403
    assert world.browser().post(f"/requests/{id_}/count").status == 401
    assert world.audiences.events == []
    with pytest.raises(StopIteration):
        world.browser(EVE)
    assert ann.post(f"/requests/{id_}", fields).status == 303


class TestPicker:
    """Files to choose from."""

    def test_the_newest_first_folder_by_folder(self, endpoint: str) -> None:
        """Folders are looked into, the last by name first; files by age; what the stack makes is not offered."""
        world = World(endpoint)
        for name in ("old.json", "2026-11-27/a.json", "2026-11-28/b.json", "prepared/x/part-00000.jsonl", "new.json"):
            world.put_audience(name)
        world.client("s3").put_object(Bucket=BUCKET, Key="standing/all.jsonl", Body=b"{}")
        ann = world.browser(ANN)
        top = ann.get("/files", folder="audiences/").body
        assert re.findall(r'name="audience" value="([^"]+)"', top) in (
            ["audiences/new.json", "audiences/old.json"],
            ["audiences/old.json", "audiences/new.json"],  # S3 knows seconds only
        )
        assert re.findall(r'value="browse:([^"|]+)"', top)[-2:] == ["audiences/2026-11-28/", "audiences/2026-11-27/"]
        assert "audiences/2026-11-28/b.json" in ann.get("/files", folder="audiences/2026-11-28/").body
        assert "standing/all.jsonl" in ann.get("/files", folder="standing/").body
        assert "part-00000" not in ann.get("/files", folder="audiences/prepared/x/").body

    def test_searched_on_the_server(self, endpoint: str) -> None:
        """In any depth, by all words; and fifty on a page."""
        world = World(endpoint)
        for n in range(53):
            world.put_audience(f"day/{n:03}-people.json")
        ann = world.browser(ANN)
        found = ann.get("/files", folder="audiences/", q="PEOPLE 007").body
        assert re.findall(r'name="audience" value="([^"]+)"', found) == ["audiences/day/007-people.json"]
        first = ann.get("/files", folder="audiences/day/").body
        second = ann.get("/files", folder="audiences/day/", page="1").body
        assert (first.count('name="audience"'), second.count('name="audience"')) == (50, 3)
        assert "browse:audiences/day/|1" in first

    def test_a_chosen_file_is_shown_wherever_it_is(self, endpoint: str) -> None:
        """Not only while it is among the listed ones; one that was deleted says so."""
        world = World(endpoint)
        ann = world.browser(ANN)
        key = world.put_audience("deep/in/a/folder.json")
        id_ = ann.post("/requests").location.rpartition("/")[2]
        chosen = {**FORM, "audience": [key, "audiences/deleted.json"], "version": "0", "do": "browse:audiences/deep/"}
        page = ann.post(f"/requests/{id_}", chosen).body
        assert re.search(rf'value="{key}" checked', page)
        assert page.count("not there any more") == 1
        assert "browse:audiences/deep/in/" in page

    def test_for_requesters_only(self, endpoint: str) -> None:
        """As the form itself."""
        world = World(endpoint)
        assert world.browser(BOB).get("/files").status == 403
        assert world.browser().get("/files").status == 303


def test_what_an_engine_says_of_a_query(world: World) -> None:
    """Its own message, whole, with the place in the SQL and what to do; and who looks after the query."""
    world.put_query(owner="crm@example.com")
    query = Query("SELECT x FROM users", name="queries/follows.sql")
    fault = QueryFault(query.name, 'Referenced column "x" not found <in> FROM', "correct the name", Place(1, 8))
    ann = world.browser(ANN)
    id_ = draft(ann)
    ann.post(f"/requests/{id_}", {**QUERY, "version": "0", "do": "count"})
    world.fail_counts(in_words(fault))
    page = unescape(ann.get(f"/requests/{id_}").body)
    said = 'queries/follows.sql, line 1, column 8: Referenced column "x" not found <in> FROM (correct the name)'
    assert f"It could not be counted: {said}. crm@example.com looks after it." in page
    assert "<in>" not in ann.get(f"/requests/{id_}").body


def part_of(world: World) -> str:
    """The one part of what was prepared."""
    [part] = [key for key in world.keys("audiences/prepared/") if "part-" in key]
    return part


@pytest.mark.parametrize("expired", ["its parts", "all of it"])
def test_a_request_is_approved_after_its_audience_has_expired(world: World, expired: str) -> None:
    """S3 puts delete markers on the keys; the pinned versions are there, and are what is shown, and sent."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    for key in [part_of(world)] if expired == "its parts" else world.keys("audiences/prepared/"):
        world.client("s3").delete_object(Bucket=BUCKET, Key=key)
    world.clock.forward(days=3)
    # Another process, which has read nothing yet.
    world.app = App(world.settings, world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send)
    bob = world.browser(BOB)
    assert "This cannot be approved" not in bob.get(f"/requests/{id_}").body
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303
    assert world.batch_files() == [f"batches/{id_}.json"]


def test_a_request_is_not_approved_without_its_versions(world: World) -> None:
    """What would be sent is gone: the page and the answer say so."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    part = part_of(world)
    [version] = world.client("s3").list_object_versions(Bucket=BUCKET, Prefix=part)["Versions"]
    bob = world.browser(BOB)
    seen = decision(bob, id_)
    world.client("s3").delete_object(Bucket=BUCKET, Key=part, VersionId=version["VersionId"])
    assert "This cannot be approved" in bob.get(f"/requests/{id_}").body
    answer = bob.post(f"/requests/{id_}/approve", seen)
    assert (answer.status, "The audience is not what was asked for any more" in answer.body) == (409, True)


def test_what_is_sent_for_review_does_not_expire_as_unused(world: World) -> None:
    """The audience function has tagged its parts; by the tag they would be gone after two days."""
    s3, ann = world.client("s3"), world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    fields = {**FORM, "audience": world.put_audience(), "version": "0"}
    count(ann, world, id_, fields)
    part = part_of(world)
    unused = {"TagSet": [{"Key": "unused", "Value": "true"}]}
    s3.put_object_tagging(Bucket=BUCKET, Key=part, Tagging=unused)
    assert ann.post(f"/requests/{id_}", {**fields, "do": "submit"}).status == 303
    assert s3.get_object_tagging(Bucket=BUCKET, Key=part)["TagSet"] == []


def test_a_preview_asks_for_parts_only_where_they_may_have_expired(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the day of the count it asks for the files alone; later for the parts too, and says that they are gone."""
    world.clock.now = datetime.now(UTC)  # S3 says by its own clock when it was counted
    ann = world.browser(ANN)
    id_ = draft(ann)
    fields = {**FORM, "audience": world.put_audience(), "version": "0"}
    count(ann, world, id_, fields)
    fields["version"] = ann.get(f"/requests/{id_}").field("version")
    part, head = part_of(world), Files._head
    asked: list[str] = []

    def counted_head(self: Files, key: str, version_id: str | None) -> Any:
        asked.append(key)
        return head(self, key, version_id)

    monkeypatch.setattr(Files, "_head", counted_head)
    world.client("s3").delete_object(Bucket=BUCKET, Key=part)
    gone = "It was counted more than two days ago"
    for days, is_asked in ((0, False), (0.9, False), (2, True)):
        world.clock.forward(days=days)
        ann = world.browser(ANN)
        asked.clear()
        answer = ann.post("/preview", {**fields, "id": id_})
        assert (answer.status, part in asked, gone in answer.body) == (200, is_asked, is_asked), days
        assert fields["audience"] in asked


def test_a_draft_whose_parts_have_expired_is_counted_again(world: World) -> None:
    """Said before review, where it can still be changed; the new count is the one that counts, in this process, too."""
    s3, ann = world.client("s3"), world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    fields = {**FORM, "audience": world.put_audience(), "version": "0"}
    count(ann, world, id_, fields)
    old = part_of(world)
    s3.delete_object(Bucket=BUCKET, Key=old)
    world.clock.forward(days=3)
    ann = world.browser(ANN)
    answer = ann.post(f"/requests/{id_}", {**fields, "do": "submit"})
    assert (answer.status, "It was counted more than two days ago" in answer.body) == (422, True)
    # As `audiences.build`: the same audience has the same manifest, which another attempt replaces, with its own parts.
    version = ann.get(f"/requests/{id_}").field("version")
    count(ann, world, id_, {**fields, "version": version})
    [manifest] = [key for key in world.keys("audiences/prepared/") if key.endswith("_manifest.json")]
    found = json.loads(s3.get_object(Bucket=BUCKET, Key=manifest)["Body"].read())
    key = old.replace("attempt=1", "attempt=2")
    put = s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    s3.delete_object(Bucket=BUCKET, Key=old)
    found["parts"] = [{**found["parts"][0], "key": key, "version_id": put["VersionId"]}]
    s3.put_object(Bucket=BUCKET, Key=manifest, Body=json.dumps(found).encode())
    version = ann.get(f"/requests/{id_}").field("version")
    assert ann.post(f"/requests/{id_}", {**fields, "version": version, "do": "submit"}).status == 303
    pinned = Store(world.client("dynamodb"), TABLE).request(id_).parts
    assert [part.key for part in pinned] == [key]
