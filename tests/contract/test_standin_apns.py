"""The APNs stand-in checks what Apple documents: provider token, headers, payload."""

import re
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.gateways import Gateways
from sandbox.gateways.apns_token import ProviderTokens
from tests.contract.standin_client import Client, Response, provider_token

TOKEN = "0f" * 32
APNS_ID = "123e4567-e89b-12d3-a456-426614174000"
BODY = b'{"aps":{"alert":"Hi"}}'


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways.start(tmp_path_factory.mktemp("standins")) as running:
        yield running


@pytest.fixture(scope="module")
def good_token(gateways: Gateways) -> str:
    return provider_token(gateways)


class Push:
    """Sends pushes that are right but for what a test changes; a header of None is left away."""

    def __init__(self, gateways: Gateways, bearer: str) -> None:
        self._url = gateways.addresses.apns
        self._client = Client(gateways)
        self._right = {
            "authorization": f"bearer {bearer}",
            "apns-topic": "com.example.app",
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": "0",
            "apns-id": APNS_ID,
        }

    def __call__(
        self, body: bytes = BODY, path: str = f"/3/device/{TOKEN}", method: str = "POST", **changed: str | None
    ) -> Response:
        """The answer to one push."""
        headers = self._right | {name.replace("_", "-"): value for name, value in changed.items()}
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return self._client.send(self._url + path, body, lines, method=method)

    def twice(self, name: str) -> Response:
        """The answer to a push that says one header twice."""
        lines = [f"{key}: {value}" for key, value in self._right.items()]
        return self._client.send(f"{self._url}/3/device/{TOKEN}", BODY, [*lines, f"{name}: {self._right[name]}"])


@pytest.fixture
def push(gateways: Gateways, good_token: str) -> Push:
    return Push(gateways, good_token)


def test_an_accepted_push_has_an_empty_body_and_its_apns_id(push: Push) -> None:
    """200, nothing in the body, the id we gave."""
    answer = push()
    assert (answer.status, answer.body, answer.headers["apns-id"]) == (200, b"", APNS_ID)


def test_without_an_apns_id_the_answer_brings_one(push: Push) -> None:
    """A lowercase UUID is made up."""
    answer = push(apns_id=None)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["apns-id"])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"apns_topic": None}, "MissingTopic"),
        ({"apns_topic": "com.other.app"}, "TopicDisallowed"),
        ({"apns_topic": "no topic!"}, "BadTopic"),
        ({"apns_topic": "com.example.app.voip"}, "BadTopic"),
        ({"apns_push_type": "banner"}, "InvalidPushType"),
        ({"apns_push_type": "voip"}, "BadTopic"),
        ({"apns_push_type": "background"}, "BadPriority"),
        ({"apns_push_type": "background", "apns_priority": "1"}, "BadPriority"),
        ({"apns_priority": "7"}, "BadPriority"),
        ({"apns_priority": "high"}, "BadPriority"),
        ({"apns_expiration": "tomorrow"}, "BadExpirationDate"),
        ({"apns_expiration": "-1"}, "BadExpirationDate"),
        ({"apns_collapse_id": "x" * 65}, "BadCollapseId"),
        ({"apns_id": APNS_ID.upper()}, "BadMessageId"),
        ({"apns_id": "1"}, "BadMessageId"),
    ],
)
def test_a_wrong_header_is_refused_with_its_reason(push: Push, changed: dict[str, str | None], reason: str) -> None:
    """Each header has a rule and a reason of its own, all with status 400."""
    answer = push(**changed)  # type: ignore[arg-type]
    assert (answer.status, answer.reason) == (400, reason)


@pytest.mark.parametrize(
    "changed",
    [
        {"apns_push_type": "background", "apns_priority": "5"},
        {"apns_push_type": "background", "apns_priority": None},
        {"apns_push_type": "voip", "apns_topic": "com.example.app.voip"},
        {"apns_push_type": "liveactivity", "apns_topic": "com.example.app.push-type.liveactivity"},
        {"apns_push_type": None, "apns_priority": None, "apns_expiration": None},
        {"apns_priority": "1"},
        {"apns_expiration": "1999999999"},
        {"apns_collapse_id": "x" * 64},
        {"apns_collapse_id": "ä" * 32},
    ],
)
def test_headers_at_their_limits_are_accepted(push: Push, changed: dict[str, str | None]) -> None:
    """What Apple allows is not refused."""
    assert push(**changed).status == 200  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["apns-id", "apns-topic", "apns-priority", "apns-push-type", "authorization"])
def test_a_header_given_twice_is_refused(push: Push, name: str) -> None:
    """400 DuplicateHeaders."""
    answer = push.twice(name)
    assert answer.status in (400, 403)
    assert answer.reason == "DuplicateHeaders"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "PayloadEmpty"),
        (b"{}", 400, "PayloadEmpty"),
        (b"[1]", 400, "PayloadEmpty"),
        (b'{"aps":', 400, "PayloadEmpty"),
        (b'{"aps":"' + b"x" * 4086 + b'"}', 200, ""),
        (b'{"aps":"' + b"x" * 4087 + b'"}', 413, "PayloadTooLarge"),
    ],
)
def test_the_payload_is_a_json_object_of_4096_bytes_at_most(push: Push, body: bytes, status: int, reason: str) -> None:
    """4,096 bytes pass, one more does not."""
    answer = push(body)
    assert (answer.status, answer.reason) == (status, reason)


def test_a_voip_payload_may_be_larger(push: Push) -> None:
    """5,120 bytes."""
    voip = {"apns_push_type": "voip", "apns_topic": "com.example.app.voip"}
    assert push(b'{"aps":"' + b"x" * 5110 + b'"}', **voip).status == 200
    assert push(b'{"aps":"' + b"x" * 5111 + b'"}', **voip).status == 413


@pytest.mark.parametrize(
    ("path", "method", "status", "reason"),
    [
        ("/3/device/", "POST", 400, "MissingDeviceToken"),
        ("/3/device/short", "POST", 400, "BadDeviceToken"),
        ("/3/device/" + "x" * 201, "POST", 400, "BadDeviceToken"),
        ("/3/device/%20%20%20%20%20%20%20%20", "POST", 400, "BadDeviceToken"),
        ("/3/device/a/b", "POST", 404, "BadPath"),
        ("/2/device/" + TOKEN, "POST", 404, "BadPath"),
        ("/3/device/" + TOKEN, "PUT", 405, "MethodNotAllowed"),
    ],
)
def test_path_and_method(push: Push, path: str, method: str, status: int, reason: str) -> None:
    """Only POST /3/device/{token} is there, and the token must look like one."""
    answer = push(path=path, method=method)
    assert (answer.status, answer.reason) == (status, reason)


def _other_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_wrong_provider_tokens_are_refused(gateways: Gateways, push: Push) -> None:
    """403, with the reason Apple gives: missing, unreadable, another key, kid, team, algorithm, or too old."""
    wrong: dict[str, list[str | None]] = {
        "MissingProviderToken": [None],
        "InvalidProviderToken": [
            "bearer not.a.token",
            f"basic {provider_token(gateways)}",
            f"bearer {provider_token(gateways, key=_other_key())}",
            f"bearer {provider_token(gateways, key_id='ZZZ9999999')}",
            f"bearer {provider_token(gateways, team_id='OTHERTEAM1')}",
            f"bearer {provider_token(gateways, key='s' * 32, algorithm='HS256')}",
            f"bearer {provider_token(gateways, age_s=-600)}",
        ],
        "ExpiredProviderToken": [f"bearer {provider_token(gateways, age_s=3660)}"],
    }
    for reason, tokens in wrong.items():
        for token in tokens:
            answer = push(authorization=token)
            assert (answer.status, answer.reason) == (403, reason)


def test_a_token_grows_too_old_though_its_signature_was_checked_before(gateways: Gateways) -> None:
    """The remembered check does not outlive the hour."""
    now = [2_000_000_000.0]
    secret = {"key": _other_key(), "key_id": "ABC123DEFG", "team_id": "TEAM123456"}
    tokens = ProviderTokens(secret, lambda: now[0])
    claims = {"iss": secret["team_id"], "iat": int(now[0])}
    header = "bearer " + jwt.encode(claims, secret["key"], "ES256", {"kid": secret["key_id"]})
    assert not isinstance(tokens.check(header), str)
    now[0] += 3600
    assert not isinstance(tokens.check(header), str)
    now[0] += 1
    assert tokens.check(header) == "ExpiredProviderToken"


def test_one_token_may_be_used_on_many_connections(gateways: Gateways, good_token: str) -> None:
    """Apple allows it, and so does the stand-in."""
    assert [Push(gateways, good_token)().status for _ in range(3)] == [200, 200, 200]


def test_a_connection_takes_a_new_token_only_after_twenty_minutes(gateways: Gateways) -> None:
    """A token issued less than 20 minutes after the last one spoils the connection; an hour's rhythm does not."""
    old, recent, new = (provider_token(gateways, age_s=age_s) for age_s in (3000, 600, 0))
    push = Push(gateways, old)
    assert push().status == 200
    assert push(authorization=f"bearer {recent}").status == 200
    assert push(authorization=f"bearer {new}").reason == "TooManyProviderTokenUpdates"
    assert push(authorization=f"bearer {recent}").reason == "TooManyProviderTokenUpdates"
