"""Comments, tags and the archive: beside a request's content, for its requester and for approvers."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from approval.app import App
from approval.remark_service import COMMENTS_PER_WINDOW
from approval.remarks import MAX_COMMENTS, MAX_TAGS, Comment, Remarks, TooMany
from approval.request import Request
from approval.store import Conflict, Store, place_of
from tests.approval_site import ANN, BOB, CAT, FORM, TABLE, World, decision, moto_server, new_request
from tests.functional.test_request_list import titles

OTHER = "max@marketing.example.com"
SCRIPT = "<script>alert(1)</script>{{ 7*7 }}"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


def mailed(world: World) -> list[str]:
    """Who got a mail of a comment, in turn."""
    return [mail["to"] for mail in world.mailbox.mails if mail["subject"].startswith("Comment: ")]


def comments(page: str) -> list[str]:
    return re.findall(r'<p class="said-there">(.*?)</p>', page, re.DOTALL)


def test_a_talk_about_a_request(world: World) -> None:
    """Who said what and when, as it was typed; counted in the list; who took part gets a mail, and nobody else."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    hash_ = decision(bob, id_)["content_hash"]
    said = f"Why Tinie?\r\nAnd {SCRIPT} pay\u202egnp.exe"
    assert bob.post(f"/requests/{id_}/comment", {"comment_text": said}).location == f"/requests/{id_}"
    page = ann.get(f"/requests/{id_}").body
    (shown,) = comments(page)
    assert shown.startswith("Why Tinie?\nAnd &lt;script&gt;")
    assert '<mark title="right-to-left override">U+202E</mark>' in shown
    assert SCRIPT not in page
    (mail,) = [mail for mail in world.mailbox.mails if mail["subject"] == "Comment: tinie-1"]
    assert mail["to"] == ANN
    assert "pay[U+202E]gnp.exe" in mail["text"]
    assert SCRIPT not in mail["html"]
    assert "/link?t=" not in mail["text"]  # a mail that is passed on signs nobody in
    # The other side, and once in ten minutes: Cat has said nothing, and gets nothing.
    for _ in range(2):
        ann.post(f"/requests/{id_}/comment", {"comment_text": "Because."})
    assert mailed(world) == [ANN, BOB]
    world.clock.forward(minutes=11)
    world.browser(CAT).post(f"/requests/{id_}/comment", {"comment_text": "Me too"})
    assert mailed(world)[2:] in ([ANN, BOB], [BOB, ANN])
    assert "4 comments" in ann.get("/requests").body
    assert len(comments(ann.get(f"/requests/{id_}").body)) == 4
    # Beside the content: what is approved is the same.
    assert decision(bob, id_)["content_hash"] == hash_
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303


def test_a_comment_that_could_not_be_mailed_is_there(world: World) -> None:
    """And the page says that not everybody got a mail: one may have failed of several."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)

    def refuse() -> None:
        raise ConnectTimeoutError(endpoint_url="https://email")

    world.mailbox.before = refuse
    answer = bob.post(f"/requests/{id_}/comment", {"comment_text": "Hm"})
    assert answer.status == 303
    assert "unsent=NoAnswer" in answer.headers["location"]
    assert comments(bob.get(f"/requests/{id_}").body) == ["Hm"]
    assert "not everybody could be mailed" in bob.get(f"/requests/{id_}", done="comment", unsent="NoAnswer").body
    # Nothing has reached her: the next comment is mailed, and the one after that is not.
    world.mailbox.before = lambda: None
    for _ in range(2):
        assert bob.post(f"/requests/{id_}/comment", {"comment_text": "Hm?"}).status == 303
    assert mailed(world) == [ANN]


def test_a_comment_is_mailed_to_who_may_read_its_page(endpoint: str) -> None:
    """Who took part as an approver and is a privacy officer alone by now cannot: nothing of it is mailed to them."""
    world = World(endpoint)
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    bob.post(f"/requests/{id_}/comment", {"comment_text": "Why?"})
    world.mailbox.mails.clear()
    officer = msgspec.structs.replace(world.settings, approvers=(CAT, ANN), privacy_officers=(BOB,))
    world.app = App(officer, world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send)
    world.clock.forward(minutes=11)
    assert world.browser(CAT).post(f"/requests/{id_}/comment", {"comment_text": "For us"}).status == 303
    assert mailed(world) == [ANN]


def test_the_limits_of_comments(endpoint: str) -> None:
    """Nothing, too long, too many in ten minutes, too many at all: refused, and what was typed is still there."""
    world = World(endpoint, approvers=(BOB, "bob+2@example.com"))
    ann, bob, other = (world.browser(email) for email in (ANN, BOB, "bob+2@example.com"))
    id_ = new_request(ann, world)
    nothing = bob.post(f"/requests/{id_}/comment", {"comment_text": "  \r\n "})
    assert (nothing.status, "Write something first" in nothing.body) == (409, True)
    long = bob.post(f"/requests/{id_}/comment", {"comment_text": "x" * 2001})
    assert (long.status, "at most 2,000 characters" in long.body, "x" * 2001 in long.body) == (409, True, True)
    for n in range(COMMENTS_PER_WINDOW):
        assert bob.post(f"/requests/{id_}/comment", {"comment_text": f"{n}"}).status == 303
    # A person is a mailbox, whatever address of it they have signed in with.
    for browser in (bob, other):
        refused = browser.post(f"/requests/{id_}/comment", {"comment_text": "more"})
        assert (refused.status, "Wait up to ten minutes" in refused.body) == (409, True)
    remarks = Remarks(world.client("dynamodb"), TABLE)
    request = Store(world.client("dynamodb"), TABLE).request(id_)
    key = {"pk": {"S": "beside"}, "sk": {"S": place_of(request)}}
    world.client("dynamodb").update_item(
        TableName=TABLE,
        Key=key,
        UpdateExpression="SET comments = :n",
        ExpressionAttributeValues={":n": {"N": str(MAX_COMMENTS - 1)}},
    )
    remarks.add_comment(request, Comment(BOB, 998, "the last one"))
    with pytest.raises(TooMany):
        remarks.add_comment(request, Comment(BOB, 999, "x"))
    assert remarks.of(request).comments == MAX_COMMENTS
    assert len(remarks.comments(id_)) == COMMENTS_PER_WINDOW + 1  # neither the comment nor its number


def test_the_comments_of_a_draft_are_its_writers(world: World) -> None:
    """What was said in review is there while it is changed, for its writer alone; nobody comments on a draft."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    bob.post(f"/requests/{id_}/comment", {"comment_text": "Another title, please"})
    ann.post(f"/requests/{id_}/take_back")
    assert comments(ann.get(f"/requests/{id_}").body) == ["Another title, please"]
    assert "Another title" not in bob.get(f"/requests/{id_}").body
    before = world.items()
    for browser in (ann, bob):
        assert browser.post(f"/requests/{id_}/comment", {"comment_text": "x"}).status == 403
    assert world.items() == before


def test_tags(world: World) -> None:
    """By requester and approvers, any time; shown in the list, which they filter; no step of a form that is open."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    draft = ann.post("/requests").location
    page = ann.get(draft)
    assert ann.post(f"{draft}/tag", {"tags": " Summer  2027, sale,, "}).status == 303
    assert bob.post(f"/requests/{id_}/tag", {"tags": "summer 2027"}).status == 303
    # The form that is open meanwhile is not out of date.
    fields = {**FORM, "name": "tagged-draft", "version": page.field("version"), "do": "save"}
    assert ann.post(draft, fields).status == 303
    assert sorted(titles(ann.get("/requests", tag="summer 2027").body)) == ["tagged-draft", "tinie-1"]
    assert titles(ann.get("/requests", tag="sale").body) == ["tagged-draft"]
    assert titles(ann.get("/requests", q="sale").body) == ["tagged-draft"]
    assert titles(ann.get("/requests", tag="none").body) == []
    assert bob.post(f"/requests/{id_}/untag", {"tag": "summer 2027"}).status == 303
    assert bob.post(f"/requests/{id_}/untag", {"tag": ""}).status == 303
    assert titles(bob.get("/requests", tag="summer 2027").body) == ["tagged-draft"]
    assert "/untag" in ann.get(draft).body
    bob.post(f"/requests/{id_}/tag", {"tags": "summer 2027"})
    assert "?tag=summer%202027" in ann.get(f"/requests/{id_}").body


@pytest.mark.parametrize("tags", ["", " , ", "x" * 31, "pay\u202egnp", "a\u200bb", ",".join("abcdefghi")])
def test_what_is_no_tag(world: World, tags: str) -> None:
    """Nothing, too long, with a character that nobody sees, too many; and at most eight in all."""
    ann = world.browser(ANN)
    id_ = new_request(ann, world)
    before = world.items()
    assert ann.post(f"/requests/{id_}/tag", {"tags": tags}).status == 409
    assert world.items() == before
    assert ann.post(f"/requests/{id_}/tag", {"tags": ",".join("abcdefgh"[:MAX_TAGS])}).status == 303
    assert "at most 8 tags" in ann.post(f"/requests/{id_}/tag", {"tags": "i"}).body
    assert SCRIPT not in ann.post(f"/requests/{id_}/tag", {"tags": SCRIPT}).body


def test_the_archive(world: World) -> None:
    """What is over, and nothing else; out of the list and under a state of its own, until it is taken out again."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_, waits = new_request(ann, world), new_request(ann, world, form={**FORM, "name": "waits"})
    assert bob.post(f"/requests/{waits}/archive").status == 409
    assert 'action="/prod/requests/' + f'{waits}/archive"' not in ann.get(f"/requests/{waits}").body
    bob.post(f"/requests/{id_}/reject", {"comment": "no"})
    assert f'{id_}/archive"' in ann.get(f"/requests/{id_}").body
    assert ann.post(f"/requests/{id_}/archive").status == 303
    assert titles(bob.get("/requests").body) == ["waits"]
    assert titles(bob.get("/requests", state="archived").body) == ["tinie-1"]
    assert titles(bob.get("/requests", state="rejected").body) == []
    page = bob.get(f"/requests/{id_}").body
    assert "archived</strong> by ann@example.com" in page
    # A button of a page from before changes nothing, and the trail has nothing of it.
    before = world.items()
    assert ann.post(f"/requests/{id_}/archive").status == 303
    assert world.items() == before
    assert bob.post(f"/requests/{id_}/unarchive").status == 303
    before = world.items()
    assert bob.post(f"/requests/{id_}/unarchive").status == 303
    assert world.items() == before
    assert sorted(titles(ann.get("/requests").body)) == ["tinie-1", "waits"]


class Contended:
    """A DynamoDB client at a moment at which a comment is being written to the same item."""

    def update_item(self, **_request: Any) -> Any:
        """As DynamoDB answers then."""
        raise ClientError({"Error": {"Code": "TransactionConflictException", "Message": "ongoing"}}, "UpdateItem")


def test_beside_a_comment_that_is_being_written() -> None:
    """A tag, and the archive, are refused as any other step beside another person's: try again."""
    remarks, request = Remarks(Contended(), TABLE), Request("20261121-0123456789ab", ANN, 0, 0)
    steps: tuple[Callable[[], object], ...] = (
        lambda: remarks.add_tags(request, frozenset("a"), 0),
        lambda: remarks.remove_tag(request, "a", 0),
        lambda: remarks.archive(request, 0),
        lambda: remarks.unarchive(request, 0),
    )
    for step in steps:
        with pytest.raises(Conflict):
            step()


def test_a_campaign_is_archived_when_its_run_is_over(world: World) -> None:
    """Not while it is sent; and a run that the ledger forgot long ago is over."""
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world)
    bob.post(f"/requests/{id_}/approve", decision(bob, id_))
    run_id = Store(world.client("dynamodb"), TABLE).request(id_).written.run_id  # type: ignore[union-attr]
    assert ann.post(f"/requests/{id_}/archive").status == 409
    world.lane(run_id)
    assert ann.post(f"/requests/{id_}/archive").status == 409
    world.lane(run_id, state="done", ending="completed")
    assert ann.post(f"/requests/{id_}/archive").status == 303


def test_only_who_takes_part_writes(world: World) -> None:
    """Another requester reads; and neither comments nor tags nor archives."""
    ann, bob, other = (world.browser(email) for email in (ANN, BOB, OTHER))
    id_ = new_request(ann, world)
    bob.post(f"/requests/{id_}/comment", {"comment_text": "Good"})
    bob.post(f"/requests/{id_}/tag", {"tags": "a"})
    bob.post(f"/requests/{id_}/reject", {"comment": "no"})
    page = other.get(f"/requests/{id_}").body
    assert comments(page) == ["Good"]
    for step in ("comment", "tag", "untag", "archive", "unarchive"):
        assert f'{id_}/{step}"' not in page
        fields = {"comment_text": "x", "tags": "b", "tag": "a"}
        before = world.items()
        assert other.post(f"/requests/{id_}/{step}", fields).status == 403, step
        assert world.items() == before
