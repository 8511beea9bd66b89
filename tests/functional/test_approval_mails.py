"""Who gets mails about a request, and what the pages say of its placeholders, without a browser."""

import re
from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest
from botocore.exceptions import ClientError

from approval import app
from approval.store import Store
from notifier.model.account import Account
from tests.approval_site import ANN, BOB, CAT, FORM, TABLE, World, count, decision, moto_server, new_request

DAN = "dan@leads.example.com"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


def mailed(world: World) -> list[str]:
    return [mail["to"] for mail in world.mailbox.mails if mail["subject"].startswith("Please review")]


def sent_for_review(world: World, **fields: str) -> tuple[int, str]:
    """Status and page of a request with these fields."""
    ann = world.browser(ANN)
    key = world.put_audience()
    id_ = ann.post("/requests").location.rpartition("/")[2]
    answer = ann.post(f"/requests/{id_}", {**FORM, "audience": key, "version": "0", "do": "submit", **fields})
    return answer.status, answer.body


def test_an_approver_of_a_domain_is_told_when_named(endpoint: str) -> None:
    """A named approver gets a mail with a link of their own, beside those who always do, and approves by it."""
    world = World(endpoint, approvers=(BOB, "@leads.example.com"))
    id_ = new_request(world.browser(ANN), world, form={**FORM, "approvers": f" {DAN.upper()}, {BOB}"})
    assert mailed(world) == [BOB, DAN]
    dan = world.browser()
    page = dan.get(world.mailbox.link(DAN))
    assert dan.post("/link", {"t": page.field("t")}).location == f"/requests/{id_}"
    review = dan.get(f"/requests/{id_}").body
    assert f"{BOB}, {DAN}" in review
    assert dan.post(f"/requests/{id_}/approve", decision(dan, id_)).status == 303
    assert world.batch_files() == [f"batches/{id_}.json"]


def test_the_form_says_who_is_told(endpoint: str) -> None:
    """And that a domain gets no mail."""
    world = World(endpoint, approvers=(BOB, ANN, "@leads.example.com"))
    ann = world.browser(ANN)
    form = ann.get(ann.post("/requests").location).body
    assert f"A mail goes to {BOB}." in form
    assert "Anybody at leads.example.com may approve, but gets no mail" in form
    plain = World(endpoint)
    ann = plain.browser(ANN)
    form = ann.get(ann.post("/requests").location).body
    assert f"A mail goes to {BOB}, {CAT}." in form
    assert 'name="approvers"' not in form


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ("", "No approver would get a mail. Name one at leads.example.com."),
        ("eve@elsewhere.org", "Not among the approvers: eve@elsewhere.org"),
        ("dan", "Not among the approvers: dan"),
        (f"{DAN} {DAN}\nBcc:x@y.org", "Not among the approvers: bcc:x@y.org"),
        ("ann@leads.example.com", "Nobody approves their own request: name another person."),
        (", ".join(f"d{n}@leads.example.com" for n in range(21)), "At most 20."),
    ],
)
def test_who_cannot_be_told(endpoint: str, named: str, fault: str) -> None:
    """The field says why; nothing is sent for review, and no mail is sent."""
    world = World(endpoint, approvers=("@leads.example.com",), requesters=(ANN, "ann@leads.example.com"))
    email = "ann@leads.example.com" if named.startswith("ann") else ANN
    ann = world.browser(email)
    key = world.put_audience()
    id_ = ann.post("/requests").location.rpartition("/")[2]
    fields = {**FORM, "audience": key, "version": "0", "do": "submit", "approvers": named}
    answer = ann.post(f"/requests/{id_}", fields)
    assert answer.status == 422
    assert f'data-fault="approvers">{fault}</span>' in answer.body
    assert mailed(world) == []


def test_a_placeholder_without_default_must_be_there_for_everybody(endpoint: str) -> None:
    """450 users have no time zone or one, 20 of them no first name: they would get nothing, and the field says so."""
    world = World(endpoint)
    ann = world.browser(ANN)
    key = world.put_audience()
    id_ = ann.post("/requests").location.rpartition("/")[2]
    form = {**FORM, "audience": key, "title": "Hi {{ first_name }}"}
    count(ann, world, id_, form)
    answer = ann.post(f"/requests/{id_}", {**form, "version": "1", "do": "submit"})
    assert answer.status == 422
    assert "20 of 500 users have no first_name: they would get nothing." in answer.body
    page = ann.get(f"/requests/{id_}").body
    assert "<code>first_name</code> is missing for 20 of 500 users: they get nothing." in page


def test_a_push_that_is_too_large_for_somebody(endpoint: str) -> None:
    """By the longest value of the audience, at the field of the arm and language; it is not sent for review."""
    world = World(endpoint)
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    form = {
        **FORM, "audience": world.put_audience(), "body": "x" * 3000,
        "languages.0.locale": "de", "languages.0.title": "Hallo", "languages.0.body": "{{ first_name | default: '' }}",
    }  # fmt: skip
    count(ann, world, id_, form, longest={"first_name": 1200})
    refused = ann.post(f"/requests/{id_}", {**form, "version": "1", "do": "submit"})
    assert refused.status == 422
    faults = dict(re.findall(r'data-fault="([^"]+)">(For the user[^<]+)', refused.body))
    assert list(faults) == ["body"]
    assert "bytes for Android phones, which take 4,096" in faults["body"]
    shorter = {**form, "title": "Hi {{ first_name | default: 'there' | truncate: 20 }}", "version": "1"}
    assert ann.post(f"/requests/{id_}", {**shorter, "do": "submit"}).status == 303


def test_the_mail_has_what_is_decided_on(endpoint: str) -> None:
    """Start, end, link, image and control share; texts with their defaults, and no name of a real user."""
    world = World(endpoint)
    form = {
        **FORM, "timezone": "UTC", "start": "2026-11-22T10:00", "latest": "2026-11-22T20:00",
        "deep_link": "app://people", "image_url": "https://cdn.example.com/a.png",
    }  # fmt: skip
    new_request(world.browser(ANN), world, form=form)
    mail = next(mail for mail in world.mailbox.mails if mail["to"] == BOB and "Please review" in mail["subject"])
    for part in (mail["text"], mail["html"]):
        assert "22 Nov 2026, 10:00 UTC" in part
        assert "22 Nov 2026, 20:00 UTC" in part
        assert "10 % get nothing" in part
        assert "Opens app://people" in part
        assert "Image https://cdn.example.com/a.png" in part
        assert "Hi there" in part
        assert "Ann&lt;b" not in part
        assert "Ann<b>" not in part
        assert "until 28 Nov 2026, 14:00 UTC" in part


def test_a_mail_names_what_everybody_has(endpoint: str) -> None:
    """A text whose attribute needs no default: the mail has no user to fill it in for, and shows no Liquid."""
    world = World(endpoint)
    form = {**FORM, "title": "Hi {{ first_name }}", "body": "Level {{ level | default: 1 }}"}
    new_request(world.browser(ANN), world, form=form, attributes={"first_name": 500})
    mail = next(mail for mail in world.mailbox.mails if mail["to"] == BOB and "Please review" in mail["subject"])
    for part in (mail["text"], mail["html"]):
        assert "Hi [first name]" in part
        assert "Level 1" in part
        assert "{{" not in part


def test_the_mail_is_the_decision_card(endpoint: str) -> None:
    """The same facts in both parts, readable in a dark mail program; its buttons only open the signed-in page."""
    world = World(endpoint)
    form = {
        **FORM, "timezone": "UTC", "start": "2026-11-22T10:00",
        "languages.0.locale": "de", "languages.0.title": "Hallo",
    }  # fmt: skip
    id_ = new_request(world.browser(ANN), world, form=form, invalid={"token: missing": 7})
    mail = next(mail for mail in world.mailbox.mails if mail["to"] == BOB and "Please review" in mail["subject"])
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", mail["html"].partition("</style>")[2]))
    for part in (said, re.sub(r"\s+", " ", mail["text"])):
        for fact in (
            "500 users",
            "600 devices",
            "10 % get nothing, 50 users",
            "7 cannot be read",
            "19:00",
            "Tokyo",
            "Hallo",
        ):
            assert fact in part, fact
    links = {url.partition("?")[0] for url in re.findall(r'href="([^"]+)"', mail["html"])}
    assert {url.rpartition("/prod")[2] for url in links} == {"/link", f"/requests/{id_}"}
    assert 'name="color-scheme" content="light dark"' in mail["html"]
    assert "<img" not in mail["html"]
    assert "<script" not in mail["html"]
    before = world.items()
    assert world.browser().get(world.mailbox.link(BOB)).status == 200
    assert world.items() == before


def test_the_approver_sees_who_reads_the_default(endpoint: str) -> None:
    """With a default nothing is at fault, and the page says how many users get the default."""
    world = World(endpoint)
    id_ = new_request(world.browser(ANN), world)
    line = "<code>first_name</code> is missing for 20 of 500 users: they read the default."
    assert line in world.browser(BOB).get(f"/requests/{id_}").body
    assert line in world.browser(BOB).get(f"/requests/{id_}/status").body


def test_the_end_of_a_run_is_mailed_once(endpoint: str) -> None:
    """To who asked for it and who approved it, with figures by variant and reasons in words; of no other run."""
    world = World(endpoint)
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    bob = world.browser(BOB)
    bob.post(f"/requests/{id_}/approve", decision(bob, id_))
    run_id = Store(world.client("dynamodb"), TABLE).request(id_).written.run_id  # type: ignore[union-attr]
    account = Account(devices=3, users=2)
    arm = account.arm("default")
    arm.assigned, arm.accepted = 2, 2
    arm.rejected["UNREGISTERED"] = 1
    world.lane(run_id, state="done", ending="completed", account=msgspec.json.encode(account).decode())
    world.mailbox.mails.clear()
    ours, others = f"s3://campaigns/batches/{id_}.json", "s3://campaigns/batches/dropped/by-hand.json"
    for ended, source in ((run_id, ours), (run_id, ours), ("of another stack", ours), ("another", others)):
        world.app.events.run_ended({"run_id": ended, "summary": {"source": source}})
    assert sorted(mail["to"] for mail in world.mailbox.mails) == [ANN, BOB]
    text = world.mailbox.mails[0]["text"]
    assert "2 devices accepted, 1 rejected" in text
    assert "the app was removed, or pushes were turned off: 1" in text
    assert f"/requests/{id_}" in text


def test_the_end_of_a_run_is_mailed_later_where_nobody_could_be(endpoint: str) -> None:
    """EventBridge is to try it again: the mails are not noted as sent."""
    world = World(endpoint)
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    bob.post(f"/requests/{id_}/approve", decision(bob, id_))
    run_id = Store(world.client("dynamodb"), TABLE).request(id_).written.run_id  # type: ignore[union-attr]
    world.lane(run_id, state="done", ending="completed")
    world.mailbox.mails.clear()
    announced = {"run_id": run_id, "summary": {"source": f"s3://campaigns/batches/{id_}.json"}}

    def refuse() -> None:
        raise ClientError({"Error": {"Code": "Throttling", "Message": "slow down"}}, "SendRawEmail")

    world.mailbox.before = refuse
    with pytest.raises(RuntimeError, match="Throttling"):
        world.app.events.run_ended(announced)
    world.mailbox.before = lambda: None
    world.app.events.run_ended(announced)
    assert sorted(mail["to"] for mail in world.mailbox.mails) == [ANN, BOB]


@pytest.mark.parametrize("again", ["by the same call", "a minute later"])
def test_a_mail_whose_call_was_killed_is_sent_by_the_next_one(
    endpoint: str, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out or a lack of memory raises nothing in the function: what was begun, and not done, was not said."""
    world = World(endpoint)
    world.browser(ANN)
    world.mailbox.mails.clear()
    question = {"schedule": "daily", "hash": "h1", "keeps_old": True}

    monkeypatch.setattr(app, "_app", world.app)

    def call(id_: str) -> None:
        event = {"detail-type": "Decision wanted", "detail": question}
        app.handler(event, SimpleNamespace(aws_request_id=id_))

    def kill() -> None:
        raise KeyboardInterrupt

    world.mailbox.before = kill
    with pytest.raises(KeyboardInterrupt):
        call("call-1")
    world.mailbox.before = lambda: None
    # The same event by another call, while the first may still be at it.
    call("call-2")
    assert world.mailbox.mails == []
    if again == "a minute later":
        world.clock.forward(seconds=60)
    for id_ in ("call-1" if again == "by the same call" else "call-3", "call-1", "call-4"):
        call(id_)
        world.clock.forward(days=1)
    assert sorted(mail["to"] for mail in world.mailbox.mails) == sorted([BOB, CAT, ANN])


def test_what_the_release_before_has_mailed_is_not_mailed_again(endpoint: str) -> None:
    """Its entries say nothing of when they were begun: they were entered for what was done."""
    world = World(endpoint)
    world.browser(ANN)
    world.mailbox.mails.clear()
    entry = {"pk": {"S": "question#daily"}, "sk": {"S": "h1"}, "expires_at": {"N": "9999999999"}}
    world.client("dynamodb").put_item(TableName=TABLE, Item=entry)
    world.clock.forward(days=1)
    world.app.heed({"schedule": "daily", "hash": "h1", "keeps_old": True}, "call-1")
    assert world.mailbox.mails == []


def test_a_draft_saves_itself(endpoint: str) -> None:
    """What is being typed is kept without a button; it is no step of the audit trail, and no older page undoes it."""
    world = World(endpoint)
    ann = world.browser(ANN)
    id_ = ann.post("/requests").location.rpartition("/")[2]
    typed = {**FORM, "title": "Half a tit", "do": "autosave"}
    saved = msgspec.json.decode(ann.post(f"/requests/{id_}", {**typed, "version": "0"}).body)
    assert saved == {"version": 1}
    page = ann.get(f"/requests/{id_}").body
    assert 'value="Half a tit"' in page
    store = Store(world.client("dynamodb"), TABLE)
    assert [entry.step for entry in store.audit(id_)] == ["created"]
    older = msgspec.json.decode(ann.post(f"/requests/{id_}", {**typed, "title": "Another", "version": "0"}).body)
    assert "another window" in older["refused"] or "elsewhere" in older["refused"]
    assert ann.post(f"/requests/{id_}", {**typed, "version": "1"}, csrf="x").status == 403
