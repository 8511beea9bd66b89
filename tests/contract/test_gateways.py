"""Messages, credentials and verdicts together, over the real transport, against the stand-ins of FCM and APNs."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from notifier.gateway.apns import auth as apns_auth
from notifier.gateway.apns import message as apns_message
from notifier.gateway.apns import verdict as apns_verdict
from notifier.gateway.endpoint import Endpoint
from notifier.gateway.fcm import auth as fcm_auth
from notifier.gateway.fcm import message as fcm_message
from notifier.gateway.fcm import verdict as fcm_verdict
from notifier.gateway.http2.transport import Http2Transport
from notifier.gateway.payload import Label
from notifier.gateway.secrets import Secret
from notifier.model.campaign import Message
from notifier.model.campaign_reading import read_campaign
from notifier.model.exchange import Answer, Request
from notifier.model.outcome import Disposition, Verdict
from sandbox.gateways import Gateways

LABEL = Label("run1", "größe und mehr", "default")
MESSAGES = {
    "everything": {
        "title": 'Who "joined"?\n',
        "body": "…",
        "image_url": "https://cdn.example.com/a.png",
        "deep_link": "https://example.com/people",
        "data": {"screen": "people"},
        "ttl_s": 86400,
        "sound": "default",
        "badge": 1,
        "apns": {"thread-id": "t"},
        "fcm": {"android": {"notification": {"channel_id": "social"}}},
    },
    "least": {"title": "x"},
    "background": {"background": True},
    "now or never": {"body": "x", "ttl_s": 0, "priority": "normal", "collapse_id": "größe\r\nx: y"},
}
FCM = {
    "ok": Disposition.ACCEPT,
    "dead": Disposition.DROP_TOKEN,
    "bad": Disposition.DROP_TOKEN,
    "malformed": Disposition.DROP_TOKEN,
    "foreign": Disposition.DROP_TOKEN,
    "quota": Disposition.RETRY,
    "unavailable": Disposition.RETRY,
    "internal": Disposition.RETRY,
    "html": Disposition.RETRY,
    "empty": Disposition.RETRY,
    "undocumented": Disposition.REJECT,
    "payload": Disposition.REJECT,
    "toolarge": Disposition.REJECT,
    "credentials": Disposition.RENEW,
    "forbidden": Disposition.STOP,
    "thirdparty": Disposition.PUT_OFF,
    "path": Disposition.STOP,
}
APNS = {
    "ok": Disposition.ACCEPT,
    "dead": Disposition.DROP_TOKEN,
    "expired": Disposition.DROP_TOKEN,
    "bad": Disposition.DROP_TOKEN,
    "foreign": Disposition.DROP_TOKEN,
    "quota": Disposition.FAIL,
    "unavailable": Disposition.RETRY,
    "shutdown": Disposition.RECONNECT,
    "internal": Disposition.RETRY,
    "html": Disposition.RETRY,
    "empty": Disposition.RETRY,
    "undocumented": Disposition.REJECT,
    "payload": Disposition.REJECT,
    "toolarge": Disposition.REJECT,
    "credentials": Disposition.RENEW,
    "stale": Disposition.RENEW,
    "forbidden": Disposition.STOP,
    "thirdparty": Disposition.STOP,
    "path": Disposition.STOP,
}


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways.start(tmp_path_factory.mktemp("gateways")) as running:
        yield running


class Sender:
    """Both gateways, as one function from gateway, message and token to a verdict."""

    def __init__(self, gateways: Gateways, transport: Http2Transport) -> None:
        service_account, key = json.loads(gateways.fcm_service_account), json.loads(gateways.apns_key)
        self._transport = transport
        self._fcm = fcm_auth.Credentials(Secret("fcm", service_account), ca_file=gateways.addresses.ca_file)
        self._apns = apns_auth.Credentials(Secret("apns", key))
        self._headers = {
            name: one.grant(time.time()).header for name, one in (("fcm", self._fcm), ("apns", self._apns))
        }

    def send(self, gateway: str, message: Message, token: str) -> tuple[Answer, Verdict]:
        """One push, waited for."""
        now_s = time.time()
        prepared: Any
        if gateway == "fcm":
            prepared = fcm_message.Prepared(message, (), LABEL)
            path, authorization = fcm_message.path(self._fcm.project_id), self._headers["fcm"]
        else:
            prepared = apns_message.Prepared(message, (), LABEL, topic=self._apns.topic)
            path, authorization = apns_message.path(token), self._headers["apns"]
        headers = prepared.headers(str(uuid.uuid4()), authorization, now_s)
        body = prepared.body(token, (), now_s)
        self._transport.submit(Request(endpoint=gateway, path=path, headers=headers, body=body, ticket=token))
        while not (answers := self._transport.poll(1.0)):
            pass
        return answers[0], (fcm_verdict if gateway == "fcm" else apns_verdict).judge(answers[0])


@pytest.fixture(scope="module")
def sender(gateways: Gateways) -> Iterator[Sender]:
    endpoints = [
        Endpoint(name=name, base_url=url, max_connections=2, max_streams=100, probe_first=name == "apns")
        for name, url in (("fcm", gateways.addresses.fcm), ("apns", gateways.addresses.apns))
    ]
    with closing(Http2Transport(endpoints, gateways.addresses.ca_file)) as transport:
        yield Sender(gateways, transport)


def message_of(name: str) -> Message:
    return read_campaign({"id": "c", "message": MESSAGES[name]}).message


@pytest.mark.parametrize("gateway", ["fcm", "apns"])
@pytest.mark.parametrize("name", MESSAGES)
def test_every_kind_of_message_is_taken(sender: Sender, gateway: str, name: str) -> None:
    """By stand-ins as strict as the gateways, with odd campaign names in headers and labels."""
    answer, verdict = sender.send(gateway, message_of(name), "ok-00000001")
    assert (answer.status, answer.body if answer.status != 200 else b"") == (200, b"")
    assert verdict.disposition is Disposition.ACCEPT
    assert (verdict.message_id is not None) is (gateway == "fcm")


@pytest.mark.parametrize(
    (("gateway", "prefix", "disposition")),
    [("fcm", *row) for row in FCM.items()] + [("apns", *row) for row in APNS.items()],
)
def test_every_answer_is_judged(sender: Sender, gateway: str, prefix: str, disposition: Disposition) -> None:
    """As each gateway words it."""
    answer, verdict = sender.send(gateway, message_of("least"), f"{prefix}-00000001")
    assert verdict.disposition is disposition, answer.body
    if prefix == "dead" and gateway == "apns":
        assert verdict.since_ms is not None
