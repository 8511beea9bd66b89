"""The whole way of a request through the pages, without a browser: events as API Gateway makes them."""

import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from approval.app import App
from approval.mail import Mail
from approval.pages import Pages
from approval.store import Store
from notifier.model.account import Account
from notifier.model.campaign import Audience
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.run import Run, source_of
from notifier.model.span import Span
from notifier.stores.ledger import DynamoLedger
from tests.approval_site import (
    ANN,
    BOB,
    BUCKET,
    CAT,
    FORM,
    HOST,
    LEDGER,
    STAGE,
    TABLE,
    Browser,
    World,
    count,
    decision,
    moto_server,
    new_request,
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


def approve(browser: Browser, id_: str, **fields: str) -> int:
    return browser.post(f"/requests/{id_}/approve", {**decision(browser, id_), **fields}).status


def batch(world: World, id_: str) -> dict[str, object]:
    body = world.client("s3").get_object(Bucket=BUCKET, Key=f"batches/{id_}.json")["Body"].read()
    decoded: dict[str, object] = json.loads(body)
    return decoded


def test_from_request_to_batch_file(world: World) -> None:
    """Asked, reviewed by mail's link, approved: the batch file points at the pinned audience, and its run is known."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    bob = world.browser()
    assert bob.get(f"/requests/{id_}").headers["location"].endswith(f"/sign-in?next=%2Frequests%2F{id_}")
    page = bob.get(world.mailbox.link(BOB))
    answer = bob.post("/link", {"t": page.field("t")})
    assert answer.location == f"/requests/{id_}"
    review = bob.get(f"/requests/{id_}")
    assert "Hi Ann&lt;b&gt;" in review.body
    assert "450" in review.body  # expected users of the arm that gets it
    assert approve(bob, id_) == 303

    written = batch(world, id_)
    campaign = read_campaign(written["campaign"])
    audience = msgspec.convert(written["audience"], Audience)
    assert (campaign.id, str(campaign.control_percent)) == ("tinie-1", "10")
    [part] = audience.parts
    assert part.key.startswith("audiences/prepared/")
    head = world.client("s3").head_object(Bucket=BUCKET, Key=part.key)
    assert (audience.parts[0].version_id, f'"{audience.parts[0].etag}"') == (head["VersionId"], head["ETag"])
    object_ = world.client("s3").head_object(Bucket=BUCKET, Key=f"batches/{id_}.json")
    assert object_["Metadata"]["approved-by"] == BOB
    assert object_["Metadata"]["requested-by"] == ANN
    assert len(object_["Metadata"]["content-hash"]) == 64

    run_id = source_of(BUCKET, f"batches/{id_}.json", object_["VersionId"], object_["ETag"]).run_id
    account = Account(users=500, devices=600)
    account.arm("default").accepted = 537
    account.arm("default").rejected = {"UNREGISTERED": 1, "Unregistered": 4}
    account.arm("default").failed = {"Odd": 2}
    account.arm("control").held = 60
    world.lane(run_id, state="done", ending="completed", account=msgspec.json.encode(account).decode())
    report = ann.get(f"/requests/{id_}").body
    assert "completed" in report
    assert "537" in report
    # One reason under the names of both gateways is one sum, in words.
    assert "the app was removed, or pushes were turned off: 5; odd: 2" in report
    assert [mail["subject"] for mail in world.mailbox.mails if mail["to"] == ANN][-1] == "Approved: tinie-1"


def test_while_all_is_held(world: World) -> None:
    """Each page of those who are signed in says who, since when and why; nothing is approved before the release.

    In place of what approves is who may release it. What was posted all the same is refused with the reason.
    """
    id_ = new_request(world.browser(ANN), world)
    fields = decision(world.browser(BOB), id_)
    ledger = DynamoLedger(world.client("dynamodb"), LEDGER, lambda: 1_763_700_000.0)
    ledger.set_hold("cat@example.com", "wrong <prices>")
    bob = world.browser(BOB)
    for path in ("/requests", f"/requests/{id_}", "/devices"):
        page = bob.get(path).body
        assert "On hold" in page
        assert "cat@example.com" in page
        assert "wrong &lt;prices&gt;" in page
    assert "On hold" not in world.browser().get("/sign-in").body
    refused = bob.post(f"/requests/{id_}/approve", fields)
    assert refused.status == 409
    assert "Nothing is approved while everything is on hold: held by cat@example.com" in refused.body
    for page in (bob.get(f"/requests/{id_}").body, refused.body):
        assert "/approve" not in page
        assert "On hold: nothing is approved until it is released. You may" in page
        assert f'action="{STAGE}/requests/{id_}/reject"' in page
    objects = world.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"batches/{id_}")
    assert objects["KeyCount"] == 0
    ledger.release_hold("cat@example.com")
    assert "On hold" not in bob.get("/requests").body
    assert f'action="{STAGE}/requests/{id_}/approve"' in bob.get(f"/requests/{id_}").body
    assert approve(bob, id_) == 303
    assert batch(world, id_)
    assert "Sending begins in a moment." in bob.get(f"/requests/{id_}/status").body
    ledger.set_hold("cat@example.com", "wrong again")
    assert "Sending begins once the hold is released." in bob.get(f"/requests/{id_}/status").body


def test_the_approval_is_recorded_in_the_ledger(world: World) -> None:
    """Under the file's key, with the hash of the bytes that are then there: what RequireApproval looks at."""
    id_ = new_request(world.browser(ANN), world)
    approve(world.browser(BOB), id_)
    item = world.client("dynamodb").get_item(
        TableName=LEDGER, Key={"pk": {"S": f"approved#{BUCKET}/batches/{id_}.json"}, "sk": {"S": "approved"}}
    )["Item"]
    body = world.client("s3").get_object(Bucket=BUCKET, Key=f"batches/{id_}.json")["Body"].read()
    assert item["sha256"]["S"] == sha256(body).hexdigest()


def test_links_have_the_stage_and_the_host_of_the_api(world: World) -> None:
    """Not what the client's Host header says."""
    new_request(world.browser(ANN), world)
    mail = next(mail for mail in world.mailbox.mails if mail["to"] == BOB)
    assert f"https://{HOST}{STAGE}/link?t=" in mail["text"]
    assert f"https://{HOST}{STAGE}/link?t=" in mail["html"]


def test_approvers_are_mailed_but_not_about_their_own(world: World) -> None:
    """Ann may approve too, and gets no mail about her own request."""
    new_request(world.browser(ANN), world)
    asked = [mail["to"] for mail in world.mailbox.mails if mail["subject"].startswith("Please review")]
    assert sorted(asked) == [BOB, CAT]


def test_two_approvers_for_a_large_audience(world: World) -> None:
    """The first yes writes nothing. Who gave it is asked no more: not on the page, in the list, or by a reminder."""
    ann, bob, cat = (world.browser(email) for email in (ANN, BOB, CAT))
    id_ = new_request(ann, world, users=5000)
    assert "1 request waits for approval" in bob.get("/requests").body
    yes = decision(bob, id_)
    assert bob.post(f"/requests/{id_}/approve", yes).status == 303
    assert 'id="decide"' not in bob.get(f"/requests/{id_}").body
    assert 'id="decide"' in cat.get(f"/requests/{id_}").body
    assert "for approval" not in bob.get("/requests").body
    assert "1 request waits for approval" in cat.get("/requests").body
    ann.post(f"/requests/{id_}/remind")
    assert [mail["to"] for mail in world.mailbox.mails if mail["subject"].startswith("Reminder")] == [CAT]
    bob.post(f"/requests/{id_}/approve", yes)  # from a page that was open
    assert world.batch_files() == []
    assert "1 more needed" in cat.get(f"/requests/{id_}").body
    assert approve(cat, id_) == 303
    assert world.batch_files() == [f"batches/{id_}.json"]


def test_a_reminder_that_would_reach_nobody(endpoint: str) -> None:
    """It is refused, and neither noted nor counted: of a domain's approvers only those named by address are mailed."""
    world = World(endpoint, approvers=("@example.com",))
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world, form={**FORM, "approvers": BOB}, users=5000)
    assert ann.post(f"/requests/{id_}/remind").status == 303
    assert approve(bob, id_) == 303
    for _ in range(3):
        answer = ann.post(f"/requests/{id_}/remind")
        assert answer.status == 409
        assert "Everybody who can be mailed has decided: name another approver." in answer.body
    assert str(trail(ann, id_)).count("approvers reminded") == 1
    assert [mail["to"] for mail in world.mailbox.mails if mail["subject"].startswith("Reminder")] == [BOB]


def test_what_is_written_over_a_prepared_audience_is_not_sent(world: World) -> None:
    """Other bytes than those that were counted are never sent: the batch file names the version that was counted."""
    id_ = new_request(world.browser(ANN), world)
    bob = world.browser(BOB)
    [key] = [key for key in world.keys("audiences/prepared/") if key.endswith(".jsonl")]
    counted = world.client("s3").head_object(Bucket=BUCKET, Key=key)["VersionId"]
    world.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{}\n{}")
    assert "This cannot be approved" not in bob.get(f"/requests/{id_}").body
    assert approve(bob, id_) == 303
    sent: Any = batch(world, id_)["audience"]
    assert [part["version_id"] for part in sent["parts"]] == [counted]


def test_however_many_click_there_is_one_file_and_one_run(world: World) -> None:
    """Two approvers and two tabs at the same instant."""
    id_ = new_request(world.browser(ANN), world)
    people = [world.browser(BOB), world.browser(BOB), world.browser(CAT), world.browser(CAT)]
    tokens = [(person, decision(person, id_), person.csrf()) for person in people]
    barrier, answers = threading.Barrier(len(people)), []

    def click(person: Browser, fields: dict[str, str], csrf: str) -> None:
        barrier.wait()
        answers.append(person.post(f"/requests/{id_}/approve", fields, csrf=csrf).status)

    threads = [threading.Thread(target=click, args=each) for each in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [303] * 4
    versions = world.client("s3").list_object_versions(Bucket=BUCKET, Prefix=f"batches/{id_}.json")["Versions"]
    assert len(versions) == 1
    trail = world.browser(ANN).get(f"/requests/{id_}").body
    assert len(re.findall(r"<strong>handed over for sending</strong>", trail)) == 1


class Broken:
    """An S3 client that puts nothing."""

    def __init__(self, real: object) -> None:
        self._real = real

    def __getattr__(self, name: str) -> object:
        if name == "put_object":
            raise ConnectionError("no S3")
        return getattr(self._real, name)


def cut_off(world: World, bob: Browser, id_: str, **ticks: str) -> None:
    """Approve a request, and fail before its file is written."""
    seen, csrf = decision(bob, id_) | ticks, bob.csrf()
    real = world.app

    def client(service: str) -> object:
        found = world.client(service)
        return Broken(found) if service == "s3" else found

    world.app = App(world.settings, client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send)
    with pytest.raises(ConnectionError):
        bob.post(f"/requests/{id_}/approve", seen, csrf=csrf)
    world.app = real


def test_an_approval_cut_off_in_the_middle_is_finished(world: World) -> None:
    """S3 fails after the decision was kept: the page offers to write the file, and it is written, and mailed, once."""
    id_ = new_request(world.browser(ANN), world)
    bob = world.browser(BOB)
    cut_off(world, bob, id_)
    assert "not handed over" in bob.get(f"/requests/{id_}").body
    world.mailbox.mails.clear()
    for _ in range(2):
        assert bob.post(f"/requests/{id_}/finish").status == 303
    assert world.batch_files() == [f"batches/{id_}.json"]
    assert [(mail["to"], mail["subject"]) for mail in world.mailbox.mails] == [(ANN, "Approved: tinie-1")]


def test_what_was_cut_off_is_sent_days_later_only_if_an_approver_says_so(world: World) -> None:
    """It was approved for another time: its requester cannot send it then, nor can an approver's old page."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world, form={**FORM, "start": "2026-11-21T18:00"})
    bob = world.browser(BOB)
    old = decision(bob, id_)
    cut_off(world, bob, id_)
    world.clock.forward(days=9)
    ann, bob = world.browser(ANN), world.browser(BOB)
    said = "It was approved for another time: an approver has to say that it is sent now."
    page = ann.get(f"/requests/{id_}").body
    assert (said in page, "/finish" in page) == (True, False)
    for fields in ({}, {"now": "yes"}):
        answer = ann.post(f"/requests/{id_}/finish", fields)
        assert (answer.status, said in answer.body) == (409, True)
    for step, fields in (("finish", {}), ("approve", old)):
        answer = bob.post(f"/requests/{id_}/{step}", fields)
        assert (answer.status, "Say that you want this." in answer.body) == (409, True)
    assert world.batch_files() == []
    for path in (f"/requests/{id_}", f"/requests/{id_}/status"):
        assert re.search(
            r'name="now" value="yes" required>.*?21 Nov.*? which has passed. Send it now', bob.get(path).body
        )
    assert bob.post(f"/requests/{id_}/finish", {"now": "yes"}).status == 303
    assert world.batch_files() == [f"batches/{id_}.json"]
    assert "as of now. Its start has passed: it would be sent at once." in ann.get(f"/requests/{id_}").body


def test_what_was_approved_to_be_sent_now_is_handed_over_by_its_requester(world: World) -> None:
    """Its start had passed when it was approved, and its approver said so: nobody says it a second time."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world, form={**FORM, "start": "2026-11-21T18:00"})
    world.clock.forward(days=1)
    ann, bob = world.browser(ANN), world.browser(BOB)
    assert 'name="now" value="yes" required' in bob.get(f"/requests/{id_}").body
    cut_off(world, bob, id_, now="yes")
    for browser in (ann, bob):
        page = browser.get(f"/requests/{id_}").body
        assert "/finish" in page
        for wrong in ("another time", "has to say", 'name="now"'):
            assert wrong not in page, wrong
    assert ann.post(f"/requests/{id_}/finish").status == 303
    assert world.batch_files() == [f"batches/{id_}.json"]


def test_for_an_hour_that_is_past_it_is_not_said_to_be_approved_for_another_time(world: World) -> None:
    """Its approver has said it of some users already. It may be past for more of them, which is asked without that."""
    ann = world.browser(ANN)
    form = {**FORM, "local": "yes", "start": "2026-11-22T19:00", "if_past": "now"}
    id_ = new_request(ann, world, form=form)
    world.clock.now = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
    cut_off(world, world.browser(BOB), id_, now="yes")
    ann = world.browser(ANN)
    late = "For 50 users the hour is past when it begins: they get it as soon as it begins."
    for body in (ann.get(f"/requests/{id_}").body, ann.post(f"/requests/{id_}/finish").body):
        assert f"{late} An approver has to say that it is sent now." in body
        assert "another time" not in body
    assert world.browser(BOB).post(f"/requests/{id_}/finish", {"now": "yes"}).status == 303


@pytest.mark.parametrize("why", ["hold", "latest", "audience", "hours"])
def test_what_was_cut_off_is_checked_as_at_its_approval(world: World, why: str) -> None:
    """What would refuse the approval refuses to hand it over."""
    ann = world.browser(ANN)
    form = {
        "latest": FORM | {"latest": "2026-11-21T20:00"},
        "hours": FORM | {"local": "yes", "start": "2026-11-22T18:00"},
    }.get(why, FORM)
    id_ = new_request(ann, world, form=form)
    bob = world.browser(BOB)
    cut_off(world, bob, id_)
    if why == "hold":
        DynamoLedger(world.client("dynamodb"), LEDGER, lambda: 1_763_700_000.0).set_hold(BOB, "the wrong text")
    if why == "audience":
        [part] = [key for key in world.keys("audiences/prepared/") if "part-" in key]
        for one in world.client("s3").list_object_versions(Bucket=BUCKET, Prefix=part)["Versions"]:
            world.client("s3").delete_object(Bucket=BUCKET, Key=part, VersionId=one["VersionId"])
    world.clock.forward(days=3)
    bob = world.browser(BOB)
    answer = bob.post(f"/requests/{id_}/finish", {"now": "yes"})
    words = {
        "hold": "Nothing is handed over while everything is on hold",
        "latest": "The latest time of the campaign has passed",
        "audience": "The audience is not what was asked for any more",
        "hours": "It would not be sent. For 500 users the hour is past",
    }[why]
    assert (answer.status, words in answer.body) == (409, True), answer.body
    assert world.batch_files() == []


@pytest.mark.parametrize("step", ["finish", "approve"])
@pytest.mark.parametrize("why", ["start", "latest", "hours", "hold"])
def test_what_was_cut_off_after_its_file_is_sent_already(
    world: World, monkeypatch: pytest.MonkeyPatch, why: str, step: str
) -> None:
    """Whatever would refuse to send it now: its run is entered, its requester mailed, and nothing sent twice."""
    ann = world.browser(ANN)
    form = {
        "start": FORM | {"start": "2026-11-21T18:00"},
        "latest": FORM | {"latest": "2026-11-21T20:00"},
        "hours": FORM | {"local": "yes", "start": "2026-11-22T18:00"},
    }.get(why, FORM)
    id_ = new_request(ann, world, form=form)
    bob = world.browser(BOB)
    seen, csrf = decision(bob, id_), bob.csrf()

    def ended(*_: object) -> None:
        raise ConnectionError("ended")

    with monkeypatch.context() as patch:
        patch.setattr("approval.request.written", ended)
        with pytest.raises(ConnectionError):
            bob.post(f"/requests/{id_}/approve", seen, csrf=csrf)
    assert world.batch_files() == [f"batches/{id_}.json"]
    if why == "hold":
        DynamoLedger(world.client("dynamodb"), LEDGER, lambda: 1_763_700_000.0).set_hold(BOB, "the wrong text")
    world.clock.forward(days=3)
    ann, bob = world.browser(ANN), world.browser(BOB)
    for path in (f"/requests/{id_}", f"/requests/{id_}/status"):
        page = ann.get(path).body
        assert "It was handed over for sending." in page
        assert "/finish" in page
        for wrong in ("was not handed over", "sent at once", "nothing is handed over", "another time", 'name="now"'):
            assert wrong not in page, wrong
    world.mailbox.mails.clear()
    # Nobody approves while everything is on hold: the page offers the other step.
    by, fields = (ann, {}) if step == "finish" or why == "hold" else (bob, seen)
    assert by.post(f"/requests/{id_}/{'finish' if by is ann else step}", fields).status == 303
    page = ann.get(f"/requests/{id_}").body
    assert "It is handed over. Sending begins" in page
    assert "/finish" not in page
    assert not any("as of now" in one for one in trail(ann, id_))
    versions = world.client("s3").list_object_versions(Bucket=BUCKET, Prefix=f"batches/{id_}.json")["Versions"]
    assert len(versions) == 1
    assert [(mail["to"], mail["subject"]) for mail in world.mailbox.mails] == [(ANN, "Approved: tinie-1")]


def test_rejection_tells_the_requester_why(world: World) -> None:
    """By mail, with the comment; nothing is written."""
    id_ = new_request(world.browser(ANN), world)
    assert world.browser(BOB).post(f"/requests/{id_}/reject", {"comment": "Too <loud>"}).status == 303
    mail = world.mailbox.mails[-1]
    assert (mail["to"], mail["subject"]) == (ANN, "Rejected: tinie-1")
    assert "Too <loud>" in mail["text"]
    assert "Too &lt;loud&gt;" in mail["html"]
    assert world.batch_files() == []


def test_taken_back_changed_and_asked_again(world: World) -> None:
    """Everything is locked while in review; the old page's approval is refused."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    old = decision(bob, id_)
    locked = ann.post(f"/requests/{id_}", {**FORM, "title": "Other", "version": "9", "do": "save"})
    assert locked.status == 409
    assert ann.post(f"/requests/{id_}/take_back").status == 303
    version = ann.get(f"/requests/{id_}").field("version")
    key = world.put_audience()
    fields = {**FORM, "title": "Other", "audience": key, "version": version}
    count(ann, world, id_, fields)
    assert ann.post(f"/requests/{id_}", {**fields, "do": "submit"}).status == 303
    assert bob.post(f"/requests/{id_}/approve", old).status == 409
    assert approve(bob, id_) == 303


def test_sent_for_review_a_few_times_only(world: World) -> None:
    """Each time all approvers get a mail: after three within ten minutes the next has to wait, and stays a draft."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    key, fields = world.put_audience(), {**FORM}
    for status in (303, 303, 409):
        ann.post(f"/requests/{id_}/take_back")
        fields = {**FORM, "audience": key, "version": ann.get(f"/requests/{id_}").field("version")}
        assert ann.post(f"/requests/{id_}", {**fields, "do": "submit"}).status == status
    reviews = [mail for mail in world.mailbox.mails if mail["subject"].startswith("Please review")]
    assert len(reviews) == 6
    world.clock.forward(minutes=10)
    assert ann.post(f"/requests/{id_}", {**fields, "do": "submit"}).status == 303


def test_a_start_that_has_passed_is_asked_about(world: World) -> None:
    """It would be sent at once, at another time than the one asked for: the approver says that this is wanted."""
    form = {**FORM, "timezone": "UTC", "start": "2026-11-21T15:00"}
    id_ = new_request(world.browser(ANN), world, form=form)
    bob = world.browser(BOB)
    assert 'name="now"' not in bob.get(f"/requests/{id_}").body
    world.clock.forward(hours=2)
    assert "which has passed. Send it now." in bob.get(f"/requests/{id_}").body
    assert approve(bob, id_) == 409
    assert world.batch_files() == []
    assert bob.post(f"/requests/{id_}/approve", {**decision(bob, id_), "now": "yes"}).status == 303
    assert any("sent now, after its start has passed" in step for step in trail(bob, id_))


def test_a_start_that_is_later_than_the_files_are_kept(world: World) -> None:
    """Its run would be cancelled before it begins: not sent for review."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    ann.post(f"/requests/{id_}/take_back")
    start = {"timezone": "UTC", "start": f"{world.clock.now + timedelta(days=40):%Y-%m-%dT%H:%M}"}
    fields = {
        **FORM,
        **start,
        "audience": world.put_audience(),
        "version": ann.get(f"/requests/{id_}").field("version"),
    }
    found = ann.post(f"/requests/{id_}", {**fields, "do": "submit"})
    assert "Too late: the files of a campaign are kept for 30 days." in found.body


def focused(page: str) -> list[str]:
    """The names of the fields that have the focus when the page is open."""
    return re.findall(r'name="([^"]+)"[^>]* autofocus', page)


def test_the_focus_is_where_one_goes_on(world: World) -> None:
    """At the first fault, or at the block that was added; hints and faults are read with their fields."""
    ann = world.browser(ANN)
    path = ann.post("/requests").location
    wrong = {"title": "Hi", "per_second": "fast", "control_percent": "ten", "version": "0", "do": "submit"}
    assert focused(ann.post(path, wrong).body) == ["name"]
    page = ""
    for button, field in (
        ("add_language", "languages.0.locale"),
        ("add_variant", "variants.0.name"),
        ("add_filter", "filters.0.column"),
    ):
        fields = {"name": "n", "title": "Hi", "version": ann.get(path).field("version"), "do": button}
        page = ann.post(path, fields).body
        assert focused(page) == [field]
    hints = set(re.findall(r'class="hint" id="([^"]+)"', page))
    described = set(" ".join(re.findall(r'aria-describedby="([^"]+)"', page)).split())
    assert hints
    assert hints <= described


def test_what_cannot_be_undone_is_asked(world: World) -> None:
    """Approve, Withdraw and Cancel open a question, without any script; it says what follows."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    assert "<summary>Withdraw</summary>" in ann.get(f"/requests/{id_}").body
    review = bob.get(f"/requests/{id_}").body
    assert '<summary>Approve<span class="more"> for 450 of 500 users</span></summary>' in review
    assert "It is sent at once. An approval cannot be taken back" in review
    assert approve(bob, id_) == 303
    [key] = world.batch_files()
    head = world.client("s3").head_object(Bucket=BUCKET, Key=key)
    world.lane(source_of(BUCKET, key, head["VersionId"], head["ETag"]).run_id)
    page = bob.get(f"/requests/{id_}").body
    assert "<summary>Cancel the rest</summary>" in page
    assert 'data-state><span class="badge approved">' not in page  # the run's own state


def test_the_list_says_what_became_of_the_run(world: World) -> None:
    """A cancelled run is not just approved; until the notifier knows the run, the request's own state shows."""
    id_ = new_request(world.browser(ANN), world)
    bob = world.browser(BOB)
    assert approve(bob, id_) == 303

    def badges() -> list[str]:
        return re.findall(r'<span class="badge[^"]*">([^<]+)', bob.get("/requests").body)

    assert badges() == ["approved"]
    [key] = world.batch_files()
    head = world.client("s3").head_object(Bucket=BUCKET, Key=key)
    run_id = source_of(BUCKET, key, head["VersionId"], head["ETag"]).run_id
    world.lane(run_id)
    assert badges() == ["running"]
    world.lane(run_id, state="done", ending="cancelled")
    assert badges() == ["cancelled"]


def test_a_saved_zone_is_left_alone(world: World) -> None:
    """Only a draft that was never saved takes the browser's time zone."""
    ann = world.browser(ANN)
    path = ann.post("/requests").location
    assert " data-timezone" in ann.get(path).body
    assert ann.post(path, {**FORM, "timezone": "UTC", "version": "0", "do": "save"}).status == 303
    assert " data-timezone" not in ann.get(path).body
    assert " data-timezone" not in ann.get(ann.post(f"{path}/copy").location).body


def test_link_and_image_are_printed(world: World) -> None:
    """As text, beside the preview; where a phone would not open them, the fault is at the field."""
    ann = world.browser(ANN)
    form = {**FORM, "deep_link": "app://people", "image_url": "https://cdn.example.com/a.png"}
    id_ = new_request(ann, world, form=form)
    page = world.browser(BOB).get(f"/requests/{id_}").body
    assert "Opens <code>app://people</code>" in page
    assert "Image <code>https://cdn.example.com/a.png</code>" in page
    path = ann.post("/requests").location
    bad = {**FORM, "name": "n", "deep_link": "javascript:alert(1)", "image_url": "http://x.org/a.png"}
    refused = ann.post(path, {**bad, "version": "0", "do": "submit"})
    assert refused.status == 422
    assert "Links with javascript: are never sent" in refused.body
    assert "phones load pictures by https:// only" in refused.body


def test_two_windows_do_not_overwrite_each_other(world: World) -> None:
    """The second to save reads what is different, with all that was typed; saved over the other if they say so."""
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    assert ann.post(f"/requests/{id_}", {**FORM, "version": "0", "do": "save"}).status == 303
    late = ann.post(f"/requests/{id_}", {**FORM, "title": "late", "version": "0", "do": "save"})
    assert (late.status, "another window" in late.body) == (409, True)
    assert "Different there: Title." in late.body
    # On the notice, and not on its button: the next key of who types on would overwrite the other window.
    assert re.findall(r"<(\w+)[^>]* autofocus", late.body)[0] == "div"
    assert not re.search(r"<button[^>]* autofocus", late.body)
    assert 'value="late"' in late.body
    assert "data-saved>Not saved</span>" in late.body
    # With the same page nothing is saved by itself, either; another button has the same answer.
    assert late.field("version") == "0"
    typed = {**FORM, "title": "late", "version": "0"}
    assert ann.post(f"/requests/{id_}", {**typed, "do": "submit"}).status == 409
    # What a third window has saved after the page was made is not written over, either.
    [keep] = re.findall(r'value="(keep:\d+)"', late.body)
    assert keep == "keep:1"
    ann.post(f"/requests/{id_}", {**FORM, "title": "third", "version": "1", "do": "save"})
    assert ann.post(f"/requests/{id_}", {**typed, "do": keep}).status == 409
    assert 'value="third"' in ann.get(f"/requests/{id_}").body
    assert ann.post(f"/requests/{id_}", {**typed, "do": "keep:2"}).status == 303
    assert 'value="late"' in ann.get(f"/requests/{id_}").body


def test_withdrawn_and_copied(world: World) -> None:
    """A withdrawn request cannot be approved; its copy is a draft with the same texts."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    seen = decision(bob, id_)
    assert ann.post(f"/requests/{id_}/withdraw").status == 303
    assert bob.post(f"/requests/{id_}/approve", seen).status == 409
    closed = bob.get(f"/requests/{id_}").body
    assert re.search(f"Withdrawn by {ANN} on <time[^>]*>21 Nov 2026, 14:00", closed)
    assert "Would have begun" in closed
    assert "The list is fixed as counted" not in closed
    assert "would be left out as of now" not in closed
    copy = ann.post(f"/requests/{id_}/copy").location
    assert "Tinie is live" in ann.get(copy).body


def test_it_expires(world: World) -> None:
    """After a week in review it cannot be approved any more, and the list says so."""
    id_ = new_request(world.browser(ANN), world)
    seen = decision(world.browser(BOB), id_)
    world.clock.forward(days=7, seconds=1)
    bob = world.browser(BOB)
    assert bob.post(f"/requests/{id_}/approve", seen).status == 409
    assert id_ in bob.get("/requests", state="expired").body
    assert world.batch_files() == []


def trail(browser: Browser, id_: str) -> list[str]:
    """What the page's audit trail says, as text."""
    steps = browser.get(f"/requests/{id_}").body.partition('<ol class="audit">')[2].partition("</ol>")[0]
    return [re.sub(r"<[^>]+>", "", step) for step in re.findall(r"<li>(.*?)</li>", steps)]


def test_the_trail_says_that_nobody_decided_in_time(world: World) -> None:
    """With its time, however late the page is opened; nothing tried afterwards changes it, or is added to it."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    assert "expired" not in str(trail(bob, id_))
    world.clock.forward(hours=1)
    assert ann.post(f"/requests/{id_}/remind").status == 303
    world.clock.forward(days=9)
    ann, bob = world.browser(ANN), world.browser(BOB)
    before = trail(bob, id_)
    assert before[-2:] == [
        f"21 Nov 2026, 15:00 UTC approvers reminded by {ANN}",
        "28 Nov 2026, 14:00 UTC expired: Nobody decided in time.",
    ]
    for action in ("withdraw", "take_back", "remind", "test"):
        answer = ann.post(f"/requests/{id_}/{action}")
        assert answer.status == 409, action
    assert bob.post(f"/requests/{id_}/reject", {"comment": "late"}).status == 409
    copy = ann.post(f"/requests/{id_}/copy").location.rpartition("/")[2]
    assert trail(bob, id_) == before
    assert trail(bob, copy) == [f"30 Nov 2026, 15:00 UTC copied into this request by {ANN}: from {id_}"]


def test_a_forgotten_draft_expires_too(world: World) -> None:
    """It was never submitted, so the page does not say that a decision is missing."""
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    world.clock.forward(days=31)
    ann = world.browser(ANN)
    assert trail(ann, id_)[-1] == "21 Dec 2026, 14:00 UTC expired: It was not sent for review in time."
    assert "Nobody decided" not in ann.get(f"/requests/{id_}").body
    assert ann.post(f"/requests/{id_}/withdraw").status == 409
    assert ann.post(f"/requests/{id_}", {**FORM, "version": "0", "do": "save"}).status == 409


def test_the_list_is_searched_and_filtered(world: World) -> None:
    """By words, by state, by whose they are."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    for query, found in (
        ({"q": "TINIE"}, True),
        ({"q": "tinie zebra"}, False),
        ({"state": "draft"}, False),
        ({"mine": "yes"}, True),
    ):
        assert (id_ in ann.get("/requests", **query).body) is found, query
    assert id_ not in world.browser(BOB).get("/requests", mine="yes").body.partition("<ul")[2]


def test_faults_stand_beside_their_fields(world: World) -> None:
    """Nothing is sent for review; what was typed stays."""
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    answer = ann.post(
        f"/requests/{id_}", {"name": "x", "title": "{{ oops", "control_percent": "200", "version": "0", "do": "submit"}
    )
    assert answer.status == 422
    for name in ("title", "control_percent", "audience"):
        assert re.search(rf'data-fault="{name}">[^<]+<', answer.body), name
    assert "{{ oops" in answer.body


def test_rows_are_added_without_script(world: World) -> None:
    """One button adds a language, another the first two variants; a third removes one."""
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    page = ann.post(f"/requests/{id_}", {**FORM, "version": "0", "do": "add_variant"})
    assert 'name="variants.1.percent" type="text" value="50"' in page.body
    fields = {"variants.0.name": "a", "variants.0.percent": "90", "version": page.field("version")}
    page = ann.post(f"/requests/{id_}", {**FORM, **fields, "do": "add_language"})
    assert 'name="languages.0.locale"' in page.body
    assert 'name="variants.0.languages.0.title"' in page.body
    removed = ann.post(
        f"/requests/{id_}", {**FORM, **fields, "version": page.field("version"), "do": "remove:variants.0"}
    )
    assert removed.status == 303
    assert 'name="variants.0.name"' not in ann.get(f"/requests/{id_}").body


def test_the_preview_answers_while_somebody_types(world: World) -> None:
    """Phones with a real user's attributes, faults by field; nothing is saved, and nothing is counted."""
    ann = world.browser(ANN)
    key = world.put_audience()
    before = world.items()
    fields = {**FORM, "control_percent": "x", "audience": key}
    first = json.loads(ann.post("/preview", fields).body)
    assert (first["live"], list(first["faults"])) == (False, ["control_percent"])
    assert "Hi there" in first["parts"]["panel"]
    assert "Not counted yet." in first["parts"]["audience"]
    assert (world.items(), world.audiences.events) == (before, [])
    id_ = ann.post("/requests").location.rpartition("/")[2]
    assert ann.post(f"/requests/{id_}", {**fields, "version": "0", "do": "count"}).status == 303
    assert json.loads(ann.post("/preview", fields).body)["live"] is True
    world.finish_counts()
    second = json.loads(ann.post("/preview", fields).body)
    assert second["live"] is False
    assert "Hi Ann&lt;b&gt;" in second["parts"]["panel"]
    assert "of 4,096 bytes" in second["parts"]["panel"]
    assert "500" in second["parts"]["audience"]
    assert len(world.audiences.events) == 1


def test_send_me_a_test(world: World) -> None:
    """A file per arm and language to one's own devices, forced into the arm, and what the gateways said."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    form = {
        **FORM, "languages.0.locale": "de", "languages.0.body": "Jetzt live",
        "variants.0.name": "a", "variants.0.percent": "45", "variants.1.name": "b", "variants.1.percent": "45",
    }  # fmt: skip
    id_ = new_request(ann, world, form=form)
    assert bob.post(f"/requests/{id_}/test").status == 409  # no device yet
    token = "accept-" + "0" * 57
    assert (
        bob.post(
            "/devices",
            {"label": "Bob's phone", "platform": "ios", "environment": "sandbox", "gateway": "", "token": token},
        ).status
        == 303
    )
    shown = bob.get("/devices").body
    assert "Bob&#39;s phone" in shown
    assert token not in shown
    assert bob.post(f"/requests/{id_}/test", {"sample": "0"}).status == 303

    s3 = world.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="batches/test/")["Contents"]]
    assert keys == [f"batches/test/{id_}-{n}.json" for n in (1, 2, 3, 4)]
    decoded = json.loads(s3.get_object(Bucket=BUCKET, Key=keys[1])["Body"].read())
    campaign = read_campaign(decoded["campaign"])
    assert campaign.test
    assert campaign.arms == (("a", 10_000),)
    assert campaign.id != "tinie-1"
    assert campaign.message.collapse_id == campaign.id
    (user,) = decoded["users"]
    assert user["devices"] == [{"platform": "ios", "token": token, "environment": "sandbox"}]
    assert (user["locale"], user["attributes"], user["user_id"]) == ("de", {"first_name": "Ann<b>"}, f"test:{BOB}")

    head = s3.head_object(Bucket=BUCKET, Key=keys[0])
    run_id = source_of(BUCKET, keys[0], head["VersionId"], head["ETag"]).run_id
    row = {
        "device": 0,
        "platform": "ios",
        "gateway": "apns",
        "outcome": "rejected",
        "reason": "BadDeviceToken",
        "status": 400,
    }
    s3.put_object(
        Bucket=BUCKET, Key=f"rows/run_id={run_id}/batch=00000000.json.gz", Body=gzip.compress(json.dumps(row).encode())
    )
    status = bob.get(f"/requests/{id_}/status").body
    assert "rejected by Apple (no device token of this app)" in status
    assert token not in status
    assert world.batch_files() == []


def test_pause_and_resume_from_the_page(world: World) -> None:
    """Through the notifier's control entry, with the name of who asked."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    assert ann.post(f"/requests/{id_}/pause").status == 409  # no run yet
    approve(bob, id_)
    head = world.client("s3").head_object(Bucket=BUCKET, Key=f"batches/{id_}.json")
    run_id = source_of(BUCKET, f"batches/{id_}.json", head["VersionId"], head["ETag"]).run_id
    world.lane(run_id)
    assert ann.post(f"/requests/{id_}/pause").status == 303
    assert world.control.events[-1] == {"action": "pause", "run_id": run_id, "by": ANN}
    asked: dict[str, Any] = {"state": "paused", "control": "pause", "control_by": ANN, "control_at_ms": 1}
    for number, record in enumerate((900, 1_100)):
        span = msgspec.json.encode(Span(1_000 * number, 1_000 * number + 1_000, number, number + 1, 2)).decode()
        cursor = Cursor(record=record, part=number).encode()
        world.lane(run_id, number, span=span, cursor=cursor, started_at_ms=1, **asked)
    page = bob.get(f"/requests/{id_}").body
    assert "2 lanes, the slowest is lane 1" in page
    assert "Pause asked by ann@example.com" in page
    assert f"/requests/{id_}/resume" in page
    assert bob.post(f"/requests/{id_}/resume").status == 303
    for number in range(2):
        world.lane(run_id, number, state="done", ending="completed")
    assert bob.post(f"/requests/{id_}/cancel").status == 409


def test_a_run_that_is_being_cancelled_is_not_paused(world: World) -> None:
    """A cancel is final: the page offers nothing else, and an open page's pause is refused with the true reason."""
    ann = world.browser(ANN)
    id_, run_id = sending(world, ann)
    said = "It is cancelled, and ends in a moment."

    def offered() -> list[str]:
        page = ann.get(f"/requests/{id_}").body
        return [step for step in ("pause", "resume", "cancel", said) if f"/{step}" in page or step == said in page]

    # Cancelled after it has stopped by itself: nobody is asked to resume it.
    world.lane(run_id, state="stopped", control="go", version=1)
    assert (offered(), "It stopped by itself" in ann.get(f"/requests/{id_}").body) == (["resume", "cancel"], True)
    world.lane(run_id, state="stopped", control="cancel", control_by=BOB, control_at_ms=1, version=1)
    assert (offered(), "It stopped by itself" in ann.get(f"/requests/{id_}").body) == ([said], False)
    given = len(world.control.events)
    for step in ("pause", "resume", "cancel"):
        answer = ann.post(f"/requests/{id_}/{step}")
        assert (answer.status, said in answer.body) == (409, True), step
    assert len(world.control.events) == given
    # A second lane that the cancel has not reached, of three: it may be cancelled once more, and not paused.
    world.lane(run_id, 1, state="running", control="go", version=1)
    world.lane(run_id, 2, state="done", ending="completed", control="go", version=1)
    assert offered() == ["cancel"]
    assert (ann.post(f"/requests/{id_}/pause").status, ann.post(f"/requests/{id_}/cancel").status) == (409, 303)
    world.lane(run_id, 1, state="running", control="cancel", version=1)
    assert offered() == [said]


@pytest.mark.parametrize(
    "trouble", ["TooManyRequestsException", pytest.param("the function fails", marks=pytest.mark.slow)]
)
def test_the_page_stops_a_run_that_lambda_has_no_room_to_stop(world: World, trouble: str) -> None:
    """The run is paused in the ledger all the same, with who and when; the page says so. Resumed it is due at once."""
    ann = world.browser(ANN)
    id_, run_id = sending(world, ann)
    world.lane(run_id, state="ready", control="go", version=1, due="lane", due_at=1)
    if trouble == "the function fails":
        world.control.fails = True
    else:
        world.control.refuses_with = trouble
    page = ann.get(ann.post(f"/requests/{id_}/pause").headers["location"].removeprefix(STAGE)).body
    assert "Paused, though AWS Lambda has no room now. No push begins later than 5 seconds" in page
    lane = ledger_item(world, run_id)
    assert (lane["state"], lane["control"], lane["control_by"]) == ({"S": "paused"}, {"S": "pause"}, {"S": ANN})
    assert lane["control_at_ms"] == {"N": str(int(world.clock().timestamp() * 1000))}
    assert "due" not in lane
    assert (
        "Resumed, though" in ann.get(ann.post(f"/requests/{id_}/resume").headers["location"].removeprefix(STAGE)).body
    )
    lane = ledger_item(world, run_id)
    assert (lane["state"], lane["control"], lane["due"]) == ({"S": "ready"}, {"S": "go"}, {"S": "lane"})


@pytest.mark.parametrize("by", ["the function", "the ledger"])
def test_a_command_that_was_refused_is_not_said_to_be_done(world: World, by: str) -> None:
    """No lane takes it any more: the page says why, and the trail has no step."""
    ann = world.browser(ANN)
    id_, run_id = sending(world, ann)
    world.lane(run_id, control="go", version=1)
    if by == "the function":
        world.control.answer = {"status": "refused", "run_id": run_id, "reason": "no such run, or it is done"}
    else:
        # It ends between the page's look at it and the command.
        world.control.refuses_with, invoke = "TooManyRequestsException", world.control.invoke

        def invoke_late(**request: Any) -> dict[str, Any]:
            world.lane(run_id, state="done", ending="completed", version=1)
            return invoke(**request)

        world.control.invoke = invoke_late  # type: ignore[method-assign]
    answer = ann.post(f"/requests/{id_}/pause")
    assert (answer.status, "the run is over or cancelled, or it is not known any more" in answer.body) == (409, True)
    assert "pause" not in [entry.step for entry in Store(world.client("dynamodb"), TABLE).audit(id_)]


def test_another_refusal_of_lambda_pauses_nothing(world: World) -> None:
    """A role that may not invoke the control function is a fault of the deployment, which has to be seen."""
    ann = world.browser(ANN)
    id_, run_id = sending(world, ann)
    world.lane(run_id, state="ready", control="go", version=1)
    world.control.refuses_with = "AccessDeniedException"
    with pytest.raises(ClientError):
        ann.post(f"/requests/{id_}/pause")
    assert ledger_item(world, run_id)["control"] == {"S": "go"}


def sending(world: World, ann: Browser) -> tuple[str, str]:
    """A request that was approved and handed over, and its run."""
    id_ = new_request(ann, world)
    approve(world.browser(BOB), id_)
    head = world.client("s3").head_object(Bucket=BUCKET, Key=f"batches/{id_}.json")
    return id_, source_of(BUCKET, f"batches/{id_}.json", head["VersionId"], head["ETag"]).run_id


def ledger_item(world: World, run_id: str) -> dict[str, Any]:
    key = {"pk": {"S": f"run#{run_id}"}, "sk": {"S": "lane#0000"}}
    found: dict[str, Any] = world.client("dynamodb").get_item(TableName=LEDGER, Key=key)["Item"]
    return found


def test_a_campaign_name_is_used_once(world: World) -> None:
    """The notifier would refuse the second run: said while it can still be changed."""
    world.client("dynamodb").put_item(TableName=LEDGER, Item={"pk": {"S": "campaign#tinie-1"}, "sk": {"S": "campaign"}})
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    answer = ann.post(f"/requests/{id_}", {**FORM, "audience": world.put_audience(), "version": "0", "do": "submit"})
    assert (answer.status, "was sent already" in answer.body) == (422, True)


def test_other_runs_over_the_same_audience_are_shown(world: World) -> None:
    """So that two pushes to the same users are a decision."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    first = new_request(ann, world)
    approve(bob, first)
    second = new_request(ann, world, form={**FORM, "name": "tinie-2"})
    assert f"/requests/{first}" in bob.get(f"/requests/{second}").body


def test_runs_begun_without_the_pages_are_shown_too(world: World) -> None:
    """A file that a cron job dropped over the same audience: its campaign, what became of it, and no link."""
    ledger = DynamoLedger(world.client("dynamodb"), LEDGER, lambda: world.clock().timestamp())
    account = Account(devices=600)
    account.arm("default").accepted = 540
    for run_id, name, figures in (("r1", "cron-1", account), ("r2", "dry-1", Account(devices=9, dry=9))):
        source = source_of(BUCKET, f"batches/{name}.json", "v1", "e1")
        ledger.name_audience(Run(run_id, source, 1_000), name, [(BUCKET, "audiences/tinie.json"), (BUCKET, "a/b.json")])
        world.lane(run_id, state="done", ending="completed", account=msgspec.json.encode(figures).decode())
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    section = bob.get(f"/requests/{id_}").body.partition("Other pushes to this audience")[2].partition("</section>")[0]
    shown = [re.sub(r"<[^>]+>", "", line) for line in re.findall(r"<li>(.*?)</li>", section)]
    assert sorted(shown) == [
        "cron-1 1 Jan 1970, 00:00 UTC · sent to 540 devices · not asked for on these pages",
        "dry-1 1 Jan 1970, 00:00 UTC · rehearsal, nothing was sent · not asked for on these pages",
    ]
    assert "<a " not in section

    approve(bob, id_)
    written = world.client("s3").head_object(Bucket=BUCKET, Key=f"batches/{id_}.json")
    source = source_of(BUCKET, f"batches/{id_}.json", written["VersionId"], written["ETag"])
    ledger.name_audience(Run(source.run_id, source, 2_000), "tinie-1", [(BUCKET, "audiences/tinie.json")])
    own = bob.get(f"/requests/{id_}").body.partition("Other pushes to this audience")[2].partition("</section>")[0]
    assert "tinie-1" not in own  # its own run is no other
    other = new_request(ann, world, form={**FORM, "name": "tinie-2"})
    listed = bob.get(f"/requests/{other}").body.partition("Other pushes to this audience")[2].partition("</section>")[0]
    assert listed.count("tinie-1") == 1  # known from both sides, shown once, with its page
    assert f"/requests/{id_}" in listed


def test_a_mail_that_cannot_be_sent_is_said(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The request is in review all the same; page, log and metric say why, the log without the address."""
    from botocore.exceptions import ClientError

    def refuse(mail: Mail) -> None:
        why = f"Email address is not verified. The following identities failed the check: {mail.to}"
        raise ClientError({"Error": {"Code": "MessageRejected", "Message": why}}, "SendRawEmail")

    ann = world.browser(ANN)
    world.app = App(world.settings, world.client, world.clock, key=b"k" * 32, send_mail=refuse)
    id_ = new_request(ann, world)
    assert "in review" in ann.get(f"/requests/{id_}").body
    page = ann.get(f"/requests/{id_}", done="unsent", unsent="MessageRejected").body
    assert "not every approver could be mailed" in page
    assert "In SES&#39;s sandbox every address must be verified." in page
    assert "Call 555" not in ann.get(f"/requests/{id_}", done="unsent", unsent="Call 555").body
    lines = [record for record in caplog.records if record.message == "mail_failed"]
    assert {(vars(line)["code"], vars(line)["to"]) for line in lines} == {("MessageRejected", "example.com")}
    assert all("not verified" in vars(line)["reason"] and BOB not in vars(line)["reason"] for line in lines)
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "MailsFailed" in line]
    assert len(counted) == len(lines) >= 1
    trail_ = " ".join(trail(ann, id_))
    assert "mails not sent by ann@example.com: example.com (the mail service does not accept the sender" in trail_
    sent_again = ann.post(f"/requests/{id_}/remind").headers["location"]
    assert sent_again.endswith("done=remind&unsent=MessageRejected")


def test_what_cannot_be_mailed_is_not_in_review(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing: where the mails cannot even be written, the request stays a draft."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    ann.post(f"/requests/{id_}/take_back")
    fields = {**FORM, "audience": world.put_audience(), "version": ann.get(f"/requests/{id_}").field("version")}
    with monkeypatch.context() as change:
        change.setattr(Pages, "render", _renders_no_mail(Pages.render))
        with pytest.raises(ValueError, match="too long"):
            ann.post(f"/requests/{id_}", {**fields, "do": "submit"})
    assert '<span class="badge draft">' in ann.get(f"/requests/{id_}").body


def _renders_no_mail(render: Callable[..., str]) -> Callable[..., str]:
    def refuse(self: Pages, template: str, **values: object) -> str:
        if template.startswith("mail/"):
            raise ValueError("a text that takes too long")
        return render(self, template, **values)

    return refuse


def test_figures_are_those_of_the_form(world: World) -> None:
    """At night and duration follow start and speed while they are typed; of a finished run they stay as they were."""
    ann = world.browser(ANN)
    key = world.put_audience()
    path = ann.post("/requests").location
    form = {**FORM, "audience": key, "timezone": "UTC", "per_second": "1", "start": "2026-11-22T02:00"}
    count(ann, world, path.rpartition("/")[2], form)

    def figures(browser: Browser) -> tuple[str, str]:
        found = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)", browser.get(path).body))
        return found["At night (22:00–08:00, their time)"], found["Takes about"]

    # 02:00 in London, where 400 are, and 11:00 in Tokyo; 600 devices at one a second.
    assert figures(ann) == ("400", "10 min")
    answer = ann.post("/preview", {**form, "start": "2026-11-22T15:00", "per_second": ""})
    assert ">50</dd>" in answer.body.replace("\\", "")
    now = {**form, "start": "", "per_second": "", "version": ann.get(path).field("version")}
    assert ann.post(path, {**now, "do": "submit"}).status == 303
    assert approve(world.browser(BOB), path.rpartition("/")[2]) == 303
    shown = figures(ann)
    world.clock.forward(hours=11)
    assert figures(world.browser(ANN)) == shown
