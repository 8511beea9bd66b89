"""The channel beside the mails: a message for each event, once; a failure is shown, and undoes nothing."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from approval.app import App
from tests.approval_site import ANN, BOB, FORM, World, decision, moto_server, new_request
from tests.functional.test_campaign_page import Sent
from tests.unit.test_webhook import HOST, OK, Place

SECRET = f"https://{HOST}/services/secret"


class Channel:
    """A world whose settings name a channel, which is a real TLS server; `answer` is what it says."""

    def __init__(self, address: str) -> None:
        self.world = World(address, webhook_secret_arn="channel")
        self.world.client("secretsmanager").create_secret(Name="channel", SecretString=SECRET)
        self.answer = OK
        self.place = Place(lambda secure: secure.sendall(self.answer))
        self.world.app = App(
            self.world.settings, self.world.client, self.world.clock, key=b"k" * 32,
            send_mail=self.world.mailbox.send, constant_time=self.world.constant_time, webhook=self.place.webhook,
        )  # fmt: skip

    @property
    def said(self) -> list[dict[str, Any]]:
        """The messages."""
        return [json.loads(asked.partition(b"\r\n\r\n")[2]) for asked in self.place.server.asked]


@pytest.fixture(scope="module")
def channel() -> Iterator[Channel]:
    """One channel."""
    with moto_server() as address:
        found = Channel(address)
        yield found
        found.place.server.close()


@pytest.fixture(autouse=True)
def quiet(channel: Channel) -> None:
    """Nothing was said, and the channel takes messages."""
    channel.answer = OK
    channel.place.server.asked.clear()


def test_from_review_to_end(channel: Channel) -> None:
    """Review, decision and end, each once, with figures and a link; of no user anything."""
    sent = Sent(channel.world)
    sent.lane()
    announced = {"run_id": sent.run_id, "summary": {"source": f"s3://campaigns/batches/{sent.id}.json"}}
    for _ in range(2):
        channel.world.app.events.run_ended(announced)
    assert [one["kind"] for one in channel.said] == ["review", "decided", "ended"]
    review, decided, ended = channel.said
    assert review["title"] == "Please review: tinie-1"
    assert review["lines"][:2] == [f"Asked by {ANN}", "500 users"]
    assert decided["lines"] == [f"By {BOB}"]
    assert ended["title"] == "Completed: tinie-1"
    assert ended["lines"] == ["60 accepted, 12 rejected, 0 failed"]
    assert all(one["url"].endswith(f"/requests/{sent.id}") for one in channel.said)
    text = json.dumps(channel.said)
    assert "u1" not in text
    assert "Ann<b>" not in text


def test_a_failure_is_shown_and_undoes_nothing(channel: Channel) -> None:
    """The request is in review and mailed; page, trail and log say why the channel got nothing, without its address."""
    channel.answer = b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"
    world = channel.world
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world, form={**FORM, "name": "silent"})
    page = ann.get(f"/requests/{id_}", done="submitted", unsent="WebhookRefused").body
    assert "Sent for review. The approvers got a mail. The channel got no message: the channel refused the mess" in page
    assert "mails not sent</strong> by ann@example.com: the channel (the channel refused the message)" in page
    assert "services/secret" not in page
    answer = bob.post(f"/requests/{id_}/reject", {"comment": "no"})
    assert answer.headers["location"].endswith("?done=reject&unsent=WebhookRefused")


def test_a_reminder_for_the_channel_alone(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody who can be mailed has decided: the channel is read by others, too."""
    world = channel.world
    of_domain = App(
        msgspec.structs.replace(world.settings, approvers=("@example.com",)),
        world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send,
        constant_time=world.constant_time, webhook=channel.place.webhook,
    )  # fmt: skip
    monkeypatch.setattr(world, "app", of_domain)
    ann, bob = world.browser(ANN), world.browser(BOB)
    id_ = new_request(ann, world, form={**FORM, "name": "two", "approvers": BOB}, users=5000)
    assert bob.post(f"/requests/{id_}/approve", decision(bob, id_)).status == 303
    assert ann.post(f"/requests/{id_}/remind").status == 303
    assert [one["title"] for one in channel.said] == ["Please review: two", "Reminder: please review: two"]
    assert not [mail for mail in world.mailbox.mails if mail["subject"].startswith("Reminder")]


def test_what_events_cause_is_tried_again(channel: Channel) -> None:
    """EventBridge asks again where it failed: the channel then, and not the people who have their mails."""
    question = {"schedule": "daily", "hash": "h1", "keeps_old": True}
    channel.answer = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
    before = len(channel.world.mailbox.mails)
    with pytest.raises(RuntimeError, match="the channel got no message: WebhookRefused"):
        channel.world.app.events.ask_approvers(question)
    mailed = len(channel.world.mailbox.mails) - before
    assert mailed > 0
    assert "What was approved before goes on meanwhile." in channel.world.mailbox.mails[-1]["text"]
    channel.answer = OK
    for _ in range(2):
        channel.world.app.events.ask_approvers(question)
    assert len(channel.world.mailbox.mails) - before == mailed
    assert [one["title"] for one in channel.said] == ["Please approve: daily"] * 2


def test_a_winner(channel: Channel) -> None:
    """What goes to the others, why, and the figures."""
    decision_ = {
        "winner": "r9", "campaign": "welcome", "arm": "b", "by": "", "request_id": "gone",
        "words": "better than no push", "figures": ["b: 700 of 4,500 converted"],
    }  # fmt: skip
    channel.world.app.events.ask_approvers(decision_)
    [said] = channel.said
    assert said["title"] == "Winner: welcome"
    assert said["lines"] == ["b goes to the others", "better than no push", "b: 700 of 4,500 converted"]


def test_no_channel_no_message(channel: Channel) -> None:
    """Without the setting nothing is posted, and no secret is read."""
    world = channel.world
    world.app = App(
        msgspec.structs.replace(world.settings, webhook_secret_arn=""),
        world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send,
        constant_time=world.constant_time, webhook=channel.place.webhook,
    )  # fmt: skip
    new_request(world.browser(ANN), world, form={**FORM, "name": "alone"})
    assert channel.said == []
