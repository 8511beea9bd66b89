"""The FCM stand-in checks what Google documents: the assertion, the access token, the message."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.gateways import Gateways
from sandbox.gateways.oauth import OAuth
from tests.contract.standin_client import GRANT, SCOPE, Client, Response, access_token, ask_for_token, assertion

TOKEN = "fXk3:APA91bH-abc_def"


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways.start(tmp_path_factory.mktemp("standins")) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateways: Gateways) -> Client:
    return Client(gateways)


@pytest.fixture(scope="module")
def bearer(gateways: Gateways, client: Client) -> str:
    return access_token(client, gateways)


class Send:
    """Sends one message, given as its fields or as raw bytes."""

    def __init__(self, gateways: Gateways, client: Client, bearer: str) -> None:
        self._base = gateways.addresses.fcm
        self._client = client
        self._bearer = bearer

    def __call__(
        self, message: dict[str, Any] | bytes, *, project: str = "sandbox-project", bearer: str | None = None,
        method: str = "POST", **top: Any,
    ) -> Response:  # fmt: skip
        """The answer to one message."""
        body = message if isinstance(message, bytes) else msgspec.json.encode({"message": message, **top})
        given = self._bearer if bearer is None else bearer
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {given}"} if given else {})
        url = f"{self._base}/v1/projects/{project}/messages:send"
        return self._client.send(url, body, headers, method=method)


@pytest.fixture
def send(gateways: Gateways, client: Client, bearer: str) -> Send:
    return Send(gateways, client, bearer)


def test_a_right_assertion_earns_an_access_token(gateways: Gateways, client: Client) -> None:
    """access_token, expires_in in seconds, token_type Bearer; and both sides are counted."""
    before = gateways.counts().oauth
    answer = ask_for_token(client, gateways, assertion(gateways))
    assert answer.status == 200
    assert answer.json["token_type"] == "Bearer"
    assert 3500 < answer.json["expires_in"] <= 3600
    after = gateways.counts().oauth
    assert (after.requests, after.issued) == (before.requests + 1, before.issued + 1)


def _other_key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_wrong_assertions_are_refused(gateways: Gateways, client: Client) -> None:
    """400, with Google's error: another key, issuer, audience, scope, or time; another grant type."""
    now = int(time.time())
    wrong = {
        "invalid_grant": [
            "not.a.token",
            assertion(gateways, key=_other_key()),
            assertion(gateways, key="s" * 32, algorithm="HS256"),
            assertion(gateways, iss="someone@else.example"),
            assertion(gateways, aud="https://else.example/token"),
            assertion(gateways, iat=now - 7200, exp=now - 3600),
            assertion(gateways, iat=now + 900, exp=now + 1800),
            assertion(gateways, exp=now + 7200),
            assertion(gateways, iat=None),
            assertion(gateways, exp=None),
        ],
        "invalid_scope": [
            assertion(gateways, scope=None),
            assertion(gateways, scope="https://www.googleapis.com/auth/drive"),
        ],
    }
    for error, assertions in wrong.items():
        for signed in assertions:
            answer = ask_for_token(client, gateways, signed)
            assert (answer.status, answer.json["error"]) == (400, error)
    assert ask_for_token(client, gateways, assertion(gateways), "password").json["error"] == "unsupported_grant_type"


def test_an_access_token_expires() -> None:
    """After its life it is no longer good, whatever it was."""
    key, now = _other_key(), [1_000_000_000.0]
    account = {"private_key": key, "client_email": "a@b.example", "token_uri": "https://oauth.example/token"}
    oauth = OAuth(account, lambda: now[0], lifetime_s=3600)
    claims = {
        "iss": "a@b.example",
        "aud": "https://oauth.example/token",
        "scope": SCOPE,
        "iat": now[0],
        "exp": now[0] + 60,
    }
    form = urlencode({"grant_type": GRANT, "assertion": jwt.encode(claims, key, "RS256")}).encode()
    token = msgspec.json.decode(oauth.token("POST", form).body)["access_token"]
    assert oauth.is_good(token)
    now[0] += 3599
    assert oauth.is_good(token)
    now[0] += 1
    assert not oauth.is_good(token)


def test_a_push_without_a_good_access_token_is_refused(send: Send) -> None:
    """401 UNAUTHENTICATED without the FcmError detail: none, or unknown."""
    for bearer in ("", "ya29.unknown"):
        answer = send({"token": TOKEN}, bearer=bearer)
        assert (answer.status, answer.json["error"]["status"], answer.error_code) == (401, "UNAUTHENTICATED", "")
    assert send({"token": TOKEN}).status == 200


def test_revoked_access_tokens_are_good_no_longer(tmp_path: Path) -> None:
    """`/revoke` ends them all; a new one is good."""
    with Gateways.start(tmp_path) as gateways:
        client = Client(gateways)
        first = access_token(client, gateways)
        gateways.revoke()
        assert Send(gateways, client, first)({"token": TOKEN}).status == 401
        assert Send(gateways, client, access_token(client, gateways))({"token": TOKEN}).status == 200


def test_another_project_is_refused_and_another_path_unknown(send: Send) -> None:
    """403 PERMISSION_DENIED without the FcmError detail; a wrong URL is an HTML 404."""
    answer = send({"token": TOKEN}, project="other-project")
    assert (answer.status, answer.json["error"]["status"], answer.error_code) == (403, "PERMISSION_DENIED", "")
    lost = send({"token": TOKEN}, project="a/b")
    assert (lost.status, lost.headers["content-type"]) == (404, "text/html; charset=UTF-8")
    assert send({"token": TOKEN}, method="PUT").status == 404


def test_a_push_is_accepted_with_a_name(send: Send) -> None:
    """Every message has a name of its own, under the project."""
    names = {send({"token": TOKEN, "notification": {"title": "Hi"}}).json["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("projects/sandbox-project/messages/") for name in names)


def test_validate_only_names_no_message(send: Send, gateways: Gateways) -> None:
    """Google answers with a fake id; the stand-in counts no token asked for."""
    gateways.reset()
    assert send({"token": TOKEN}, validate_only=True).json["name"].endswith("/fake_message_id")
    figures = gateways.counts().fcm
    assert (figures.validate_only, figures.distinct_tokens, figures.requests) == (1, 0, 1)


def android(**fields: Any) -> dict[str, Any]:
    return {"token": TOKEN, "android": fields}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "message"),
        ({"data": {}}, "message"),
        ({"token": TOKEN, "topic": "news"}, "message"),
        ({"token": "no token!"}, "message.token"),
        ({"token": TOKEN, "data": {"n": 1}}, "message.data"),
        ({"token": TOKEN, "data": {"from": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"gcm": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"gcm.notification.title": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"google.sent": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"googleish": "x"}}, "message.data"),
        ({"token": TOKEN, "data": {"message_type": "x"}}, "message.data"),
        ({"token": TOKEN, "colour": "red"}, "message"),
        ({"token": TOKEN, "notification": {"subtitle": "x"}}, "message.notification"),
        ({"token": TOKEN, "notification": {"title": 1}}, "message.notification.title"),
        (android(ttl="86400"), "message.android.ttl"),
        (android(ttl="-1s"), "message.android.ttl"),
        (android(ttl="2419201s"), "message.android.ttl"),
        (android(ttl=86400), "message.android.ttl"),
        (android(priority="urgent"), "message.android.priority"),
        (android(notification={"channel": "x"}), "message.android.notification"),
        (android(data={"from": "x"}), "message.android.data"),
        (android(notification={"color": "red"}), "message.android.notification.color"),
        (android(notification={"notification_priority": "HIGH"}), "message.android.notification.notification_priority"),
        (android(notification={"visibility": "public"}), "message.android.notification.visibility"),
        (android(notification={"notification_count": 2**31}), "message.android.notification.notification_count"),
        (android(notification={"vibrate_timings": ["100"]}), "message.android.notification.vibrate_timings[0]"),
        (android(notification={"light_settings": {}}), "message.android.notification.light_settings"),
        ({"token": TOKEN, "apns": {"payload": {"own": 1}}}, "message.apns.payload"),
        ({"token": TOKEN, "apns": {"payload": {"aps": {}}}}, "message.apns.payload"),
        ({"token": TOKEN, "apns": {"payload": {"aps": {"badge": "7"}}}}, "message.apns.payload"),
        ({"token": TOKEN, "apns": {"headers": {"apns-priority": "7"}}}, "message.apns.headers"),
        ({"token": TOKEN, "apns": {"headers": {"apns-collapse-id": "x" * 65}}}, "message.apns.headers"),
        ({"token": TOKEN, "apns": {"live_activity_token": "ab"}}, "message.apns.live_activity_token"),
        (
            {"token": TOKEN, "webpush": {"fcm_options": {"link": "http://a.example"}}},
            "message.webpush.fcm_options.link",
        ),
        ({"token": TOKEN, "webpush": {"fcm_options": {"image": "x"}}}, "message.webpush.fcm_options"),
        ({"token": TOKEN, "fcm_options": {"analytics_label": "a b"}}, "message.fcm_options.analytics_label"),
        ({"token": TOKEN, "fcm_options": {"analytics_label": "x" * 51}}, "message.fcm_options.analytics_label"),
        ({"token": TOKEN, "data": {"a": "x" * 4096}}, "message"),
        ({"token": TOKEN, "apns": {"payload": {"a": "x" * 4096}}}, "message.apns.payload"),
    ],
)
def test_a_wrong_message_is_refused_with_its_field(send: Send, message: dict[str, Any], field: str) -> None:
    """400 INVALID_ARGUMENT with the FcmError detail and the field violation."""
    answer = send(message)
    assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer.error_code == "INVALID_ARGUMENT"
    assert answer.fields == [field]


def test_what_is_not_json_is_refused(send: Send) -> None:
    """INVALID_ARGUMENT, and so is an unknown field beside the message."""
    assert send(b"{").status == 400
    assert send(b"").status == 400
    assert send({"token": TOKEN}, dry_run=True).error_code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "message",
    [
        {"topic": "news"},
        {"token": TOKEN, "data": {"a": "x" * 4095}},
        {"token": TOKEN, "data": {"fromage": "x", "from_whom": "y"}},
        android(ttl="0s"),
        android(ttl="2419200s"),
        android(ttl="3.5s", priority="high"),
        android(priority="NORMAL", notification={"tag": "day-2", "channel_id": "social"}),
        {"token": TOKEN, "android": {"collapseKey": "a", "notification": {"channelId": "social"}}},
        {"token": TOKEN, "webpush": {"headers": {"TTL": "60"}, "notification": {"anyThing": [1]}}},
        {"token": TOKEN, "apns": {"headers": {"apns-priority": "5"}, "payload": {"aps": {"mutable-content": 1}}}},
        {"token": TOKEN, "fcm_options": {"analytics_label": "day-2_arm.a~1%"}},
    ],
)
def test_messages_at_their_limits_are_accepted(send: Send, message: dict[str, Any]) -> None:
    """What Google allows is not refused, in either spelling of the names."""
    answer = send(message)
    assert answer.status == 200, answer.body
