"""The stand-ins' prefix table, restated here: what a token's prefix makes each gateway answer."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pycurl
import pytest

from sandbox.gateways import Gateways
from sandbox.gateways.behaviour import PREFIXES, Answer, Behaviour, Gateway, by_prefix, load
from tests.contract.standin_client import Client, Response, access_token, provider_token

# prefix: (FCM's status and errorCode or status word, APNs' status and reason)
TABLE = {
    "ok": ((200, ""), (200, "")),
    "dead": ((404, "UNREGISTERED"), (410, "Unregistered")),
    "expired": ((404, "UNREGISTERED"), (410, "ExpiredToken")),
    "bad": ((400, "INVALID_ARGUMENT"), (400, "BadDeviceToken")),
    "malformed": ((400, "INVALID_ARGUMENT"), (400, "BadDeviceToken")),
    "foreign": ((403, "SENDER_ID_MISMATCH"), (400, "DeviceTokenNotForTopic")),
    "quota": ((429, "QUOTA_EXCEEDED"), (429, "TooManyRequests")),
    "updates": ((429, "QUOTA_EXCEEDED"), (429, "TooManyProviderTokenUpdates")),
    "unavailable": ((503, "UNAVAILABLE"), (503, "ServiceUnavailable")),
    "shutdown": ((503, "UNAVAILABLE"), (503, "Shutdown")),
    "internal": ((500, "INTERNAL"), (500, "InternalServerError")),
    "html": ((502, "html"), (502, "html")),
    "empty": ((500, "empty"), (500, "empty")),
    "undocumented": ((400, "SOMETHING_NEW"), (400, "SomethingNew")),
    "payload": ((400, "INVALID_ARGUMENT"), (400, "PayloadEmpty")),
    "toolarge": ((400, "INVALID_ARGUMENT"), (413, "PayloadTooLarge")),
    "credentials": ((401, ""), (403, "InvalidProviderToken")),
    "stale": ((401, ""), (403, "ExpiredProviderToken")),
    "forbidden": ((403, ""), (403, "Forbidden")),
    "thirdparty": ((401, "THIRD_PARTY_AUTH_ERROR"), (403, "BadEnvironmentKeyInToken")),
    "path": ((404, ""), (404, "BadPath")),
}


class Sender:
    """Sends one well-formed push to either gateway."""

    def __init__(self, gateways: Gateways, bearer: str = "") -> None:
        self._gateways = gateways
        project = msgspec.json.decode(gateways.fcm_service_account)["project_id"]
        self._fcm_url = f"{gateways.addresses.fcm}/v1/projects/{project}/messages:send"
        self._bearer = bearer or access_token(Client(gateways), gateways)
        self._provider_token = provider_token(gateways)
        self.client = Client(gateways)

    def fcm(self, token: str, timeout_ms: int = 5000) -> Response:
        """One message to FCM."""
        body = msgspec.json.encode({"message": {"token": token, "notification": {"title": "Hi"}}})
        return self.client.send(self._fcm_url, body, {"authorization": f"Bearer {self._bearer}"}, timeout_ms=timeout_ms)

    def apns(self, token: str, timeout_ms: int = 5000, *, sandbox: bool = False) -> Response:
        """One push to APNs, on the host asked for."""
        host = self._gateways.addresses.apns_sandbox if sandbox else self._gateways.addresses.apns
        headers = {
            "authorization": f"bearer {self._provider_token}",
            "apns-topic": "com.example.app",
            "apns-push-type": "alert",
        }
        return self.client.send(f"{host}/3/device/{token}", b'{"aps":{"alert":"Hi"}}', headers, timeout_ms=timeout_ms)


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways.start(tmp_path_factory.mktemp("standins")) as running:
        yield running


@pytest.fixture(scope="module")
def bearer(gateways: Gateways) -> str:
    return access_token(Client(gateways), gateways)


@pytest.fixture
def sender(gateways: Gateways, bearer: str) -> Sender:
    gateways.reset()
    return Sender(gateways, bearer)


def test_the_table_here_and_the_stand_ins_own_name_the_same_prefixes() -> None:
    """Every prefix has a test; `never` has its own below."""
    assert {row.name for row in PREFIXES} == {*TABLE, "never"}


@pytest.mark.parametrize(("prefix", "expected"), [(prefix, row[0]) for prefix, row in TABLE.items()])
def test_fcm_answers_as_the_prefix_says(sender: Sender, prefix: str, expected: tuple[int, str]) -> None:
    """FCM gives the documented status, with the FcmError detail exactly where FCM itself speaks."""
    answer = sender.fcm(f"{prefix}-00000001")
    assert answer.status == expected[0]
    if prefix == "html":
        assert answer.headers["content-type"].startswith("text/html")
    elif prefix == "empty":
        assert answer.body == b""
    elif prefix == "ok":
        assert answer.json["name"].startswith("projects/sandbox-project/messages/")
    else:
        assert answer.error_code == expected[1]
        assert answer.json["error"]["code"] == expected[0]


@pytest.mark.parametrize(("prefix", "expected"), [(prefix, row[1]) for prefix, row in TABLE.items()])
def test_apns_answers_as_the_prefix_says(sender: Sender, prefix: str, expected: tuple[int, str]) -> None:
    """APNs gives the documented status and reason; a 410 has the time since when, in ms."""
    answer = sender.apns(f"{prefix}-00000001")
    assert answer.status == expected[0]
    if prefix == "html":
        assert answer.body.startswith(b"<html>")
    elif prefix == "empty":
        assert answer.body == b""
    else:
        assert answer.reason == expected[1]
        assert answer.headers["apns-id"]
    if answer.status == 410:
        assert 1_600_000_000_000 < answer.json["timestamp"] < 10_000_000_000_000


def test_a_token_without_a_prefix_is_accepted(sender: Sender) -> None:
    """Real-looking tokens are accepted by FCM and by APNs' production host."""
    assert sender.fcm("fXk3:APA91bH-abc_def").status == 200
    assert sender.apns("0f" * 32).status == 200


def test_bad_tokens_are_told_by_the_field_or_by_the_text_only(sender: Sender) -> None:
    """FCM blames `message.token` for `bad-`; for `malformed-` only the sentence says so."""
    assert sender.fcm("bad-00000001").fields == ["message.token"]
    malformed = sender.fcm("malformed-00000001")
    assert malformed.fields == []
    assert "not a valid FCM registration token" in malformed.json["error"]["message"]


def test_a_refused_payload_is_not_blamed_on_the_token(sender: Sender) -> None:
    """FCM names the payload's field."""
    assert sender.fcm("payload-00000001").fields == ["message.data"]


def test_quota_and_unavailable_say_when_to_come_back(sender: Sender) -> None:
    """One second by default, the number given in the token otherwise, and no header for 0."""
    assert sender.fcm("quota-00000001").headers["retry-after"] == "1"
    assert sender.fcm("quota-60s-00000001").headers["retry-after"] == "60"
    assert sender.fcm("unavailable-7s-00000001").headers["retry-after"] == "7"
    assert "retry-after" not in sender.fcm("unavailable-0s-00000001").headers
    assert sender.apns("quota-once-3s-00000001").headers["retry-after"] == "3"


def test_quota_names_the_exhausted_quota(sender: Sender) -> None:
    """The body has Google's QuotaFailure detail."""
    details = sender.fcm("quota-00000001").json["error"]["details"]
    assert any(detail["@type"].endswith("QuotaFailure") and detail["violations"] for detail in details)


@pytest.mark.parametrize("name", ["quota", "unavailable", "internal", "html", "empty", "credentials"])
def test_once_holds_for_the_first_attempt_only(sender: Sender, name: str) -> None:
    """The second attempt of the same token is accepted; another token starts from the beginning."""
    for send in (sender.fcm, sender.apns):
        assert send(f"{name}-once-00000001").status != 200
        assert send(f"{name}-once-00000001").status == 200
        assert send(f"{name}-once-00000002").status != 200


def test_never_leaves_the_client_waiting(sender: Sender) -> None:
    """No answer comes until the client gives up; the stand-in counts it as unanswered."""
    for send in (sender.fcm, sender.apns):
        with pytest.raises(pycurl.error) as caught:
            send("never-00000001", timeout_ms=50)
        assert caught.value.args[0] == pycurl.E_OPERATION_TIMEDOUT


def test_slow_answers_after_the_given_time(sender: Sender) -> None:
    """`slow-300-` is later than a client that waits 100 ms, and in time for one that waits longer; the rest counts."""
    with pytest.raises(pycurl.error):
        sender.apns("slow-300-00000001", timeout_ms=100)
    assert sender.apns("slow-20-00000001").status == 200
    assert sender.fcm("slow-20-dead-00000001").status == 404


def test_each_apns_host_knows_its_own_tokens_only(sender: Sender) -> None:
    """A token of the other environment is a BadDeviceToken; what follows `sandbox-` is read as ever."""
    assert sender.apns("sandbox-00000001").reason == "BadDeviceToken"
    assert sender.apns("0f" * 32, sandbox=True).reason == "BadDeviceToken"
    assert sender.apns("dead-00000001", sandbox=True).reason == "BadDeviceToken"
    good = sender.apns("sandbox-00000001", sandbox=True)
    assert good.status == 200
    assert good.headers["apns-unique-id"]
    assert sender.apns("sandbox-dead-00000001", sandbox=True).reason == "Unregistered"
    assert sender.fcm("sandbox-00000001").status == 200


def test_a_connection_with_too_many_token_updates_stays_unusable(sender: Sender, gateways: Gateways) -> None:
    """After TooManyProviderTokenUpdates every request on that connection is refused; a new connection is fine."""
    assert sender.apns("updates-00000001").reason == "TooManyProviderTokenUpdates"
    assert sender.apns("0f" * 32).reason == "TooManyProviderTokenUpdates"
    assert Sender(gateways).apns("0f" * 32).status == 200


def test_prefixes_are_read_alike_without_a_server() -> None:
    """Modifiers combine in the documented order; a number that is no modifier is part of the token's rest."""
    assert by_prefix(Gateway.FCM, "slow-20-quota-once-5s-x", 1, 1) == Behaviour(Answer.QUOTA, 20.0, "5")
    assert by_prefix(Gateway.FCM, "slow-20-quota-once-5s-x", 2, 1) == Behaviour(delay_ms=20.0)
    assert by_prefix(Gateway.FCM, "quota-000123", 1, 1) == Behaviour(Answer.QUOTA, 0.0, "1")
    assert by_prefix(Gateway.FCM, "slow-000123", 1, 1) == Behaviour(delay_ms=1000.0)
    assert by_prefix(Gateway.APNS, "deadbeef" * 8, 1, 1) == Behaviour()


@pytest.mark.parametrize(
    "path", ["nothing", "sandbox.gateways.behaviour:missing", "sandbox.gateways.behaviour:PREFIXES"]
)
def test_a_wrong_behaviour_path_is_named(path: str) -> None:
    """Loading says which path is wrong."""
    with pytest.raises((ValueError, TypeError), match=path):
        load(path)


def every_third_is_lost(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:
    """A behaviour for the test below: each gateway's third request is answered 500."""
    return Behaviour(Answer.INTERNAL if nth % 3 == 0 else Answer.OK)


def test_another_behaviour_can_be_given_by_its_path(tmp_path: Path) -> None:
    """`--behaviour package.module:function` decides instead of the prefixes."""
    with Gateways.start(tmp_path, behaviour=f"{__name__}:every_third_is_lost") as other:
        sender = Sender(other)
        assert [sender.apns("dead-00000001").status for _ in range(3)] == [200, 200, 500]
        assert [sender.fcm("dead-00000001").status for _ in range(3)] == [200, 200, 500]
