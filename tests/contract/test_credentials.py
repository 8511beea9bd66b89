"""Credentials: OAuth against a real TLS endpoint with real RS256 keys, provider tokens with real ES256 keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from notifier.gateway.apns import auth as apns
from notifier.gateway.fcm import auth as fcm
from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, Secret, Secrets
from sandbox.gateways import Gateways
from sandbox.gateways.behaviour import Reply
from sandbox.gateways.oauth import TokenBehaviour
from tests.contract.connect_proxy import ConnectProxy
from tests.unit.pem_samples import pem, public_pem

NOW_S = 1_800_000_000.0
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:push-AbCdEf"


class Vault:
    """Secrets Manager's client, in memory."""

    def __init__(self, content: str | bytes | Exception) -> None:
        self.content = content

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """As boto3 answers."""
        assert SecretId == ARN
        if isinstance(self.content, Exception):
            raise self.content
        return {"SecretString" if isinstance(self.content, str) else "SecretBinary": self.content}


# -- secrets


def test_a_secret_is_read_where_it_is_kept() -> None:
    """Each time: text or bytes, with a byte-order mark, with a key that was pasted with its line breaks."""
    vault = Vault('{"key_id": "one"}')
    secrets = Secrets(vault)
    assert secrets.read("apns", ARN).text("key_id") == "one"
    vault.content = b'{"key_id": " two\n"}'
    assert secrets.reader("apns", ARN)().text("key_id") == "two"
    vault.content = '\ufeff{"key": "-----BEGIN\nx"}'
    assert secrets.read("apns", ARN).text("key") == "-----BEGIN\nx"


def test_secrets_show_nothing() -> None:
    """Neither themselves nor in what they say is wrong."""
    secret = Secret("apns", {"key": "s3cret", "key_id": ["s3cret"]})
    with pytest.raises(BadSecret) as caught:
        secret.texts("key", "key_id", "team_id")
    assert str(caught.value) == "apns secret: key_id is not a text; apns secret: team_id is missing"
    for shown in (repr(secret), str(secret), repr(Secrets(Vault("s3cret")))):
        assert "s3cret" not in shown


@pytest.mark.parametrize("content", ["", "s3cret", '["s3cret"]', b"\xff", '{"a": "s3cret'])
def test_a_secret_that_is_no_object_is_named(content: str | bytes) -> None:
    """Without what is in it."""
    with pytest.raises(BadSecret, match="apns secret push: not ") as caught:
        Secrets(Vault(content)).read("apns", ARN)
    assert "s3cret" not in str(caught.value)


def test_a_key_in_place_of_the_secret_is_named() -> None:
    """The .p8 file itself was put there."""
    with pytest.raises(BadSecret, match="apns secret push: not JSON, but a key alone: it belongs into a JSON object"):
        Secrets(Vault(pem("p256"))).read("apns", ARN)


REFUSING = {
    "AccessDeniedException": ("User: … is not authorized", "ApnsSecretArn"),
    "AccessDenied": ("Access to KMS is not allowed", "KmsKeyArns"),
    "ResourceNotFoundException": ("Secrets Manager can't find the specified secret.", "create it"),
    "InvalidRequestException": ("it was marked for deletion", "restore-secret"),
    "DecryptionFailure": ("can't decrypt", "its KMS key is disabled"),
    "ValidationException": ("Invalid name", "correct the parameter ApnsSecretArn"),
}
PASSING = ("ThrottlingException", "InternalServiceError", "ServiceUnavailable", "ExpiredTokenException", "Unheard")


@pytest.mark.parametrize("code", REFUSING)
def test_a_secret_that_aws_does_not_give_is_named_with_what_to_do(code: str) -> None:
    """And with nothing of AWS' own sentence, nor of a class's name."""
    message, expected = REFUSING[code]
    with pytest.raises(BadSecret) as caught:
        Secrets(Vault(ClientError({"Error": {"Code": code, "Message": message}}, "GetSecretValue"))).reader(
            "apns", ARN
        )()
    assert str(caught.value).startswith("apns secret push: ")
    assert expected in str(caught.value)
    assert "Exception" not in str(caught.value)


@pytest.mark.parametrize("code", PASSING)
def test_aws_in_trouble_is_waited_for(code: str) -> None:
    """Throttled, broken, unheard of."""
    answer = ClientError({"Error": {"Code": code, "Message": "…"}}, "GetSecretValue")
    with pytest.raises(CredentialsUnavailable, match=r"^apns secret push: Secrets Manager answers \w+$") as caught:
        Secrets(Vault(answer)).reader("apns", ARN)()
    assert "Exception" not in str(caught.value)


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="x"), ReadTimeoutError(endpoint_url="x")])
def test_aws_out_of_reach_is_waited_for(error: Exception) -> None:
    """Without an address in the message."""
    with pytest.raises(CredentialsUnavailable) as caught:
        Secrets(Vault(error)).reader("apns", ARN)()
    assert str(caught.value) == "apns secret push: Secrets Manager cannot be reached"


def test_a_gateway_without_a_secret_is_named_with_its_parameter() -> None:
    """A stack without an iOS app has no APNs secret."""
    with pytest.raises(
        BadSecret, match=r"^apns secret: there is none; give its ARN in the parameter ApnsSecretArn, deploy$"
    ):
        Secrets(Vault("")).reader("apns", "")()


# -- FCM


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways.start(tmp_path_factory.mktemp("gateways")) as running:
        yield running


@pytest.fixture(autouse=True)
def as_usual(request: pytest.FixtureRequest) -> Iterator[None]:
    """The stand-in behaves again after each test."""
    yield
    if "gateways" in request.fixturenames:
        request.getfixturevalue("gateways").behave("")


def fcm_credentials(gateways: Gateways, **changes: Any) -> fcm.Credentials:
    secret = Secret("fcm", {**json.loads(gateways.fcm_service_account), **changes}, "notifier/fcm")
    return fcm.Credentials(secret, ca_file=gateways.addresses.ca_file)


def test_google_is_asked_through_the_proxy(gateways: Gateways) -> None:
    """A proxy with a password: the tunnel leads to the token endpoint, whose certificate is checked as without one."""
    secret = Secret("fcm", json.loads(gateways.fcm_service_account), "notifier/fcm")
    with ConnectProxy("user:hush-hush") as proxy:
        address = f"http://user:hush-hush@{proxy.address}"
        grant = fcm.Credentials(secret, ca_file=gateways.addresses.ca_file, proxy=address).grant(NOW_S)
        assert grant.header.startswith("authorization: Bearer ya29.")
        [asked] = proxy.asked
        assert asked.startswith(f"CONNECT {urlsplit(gateways.addresses.oauth).netloc} ")
        kind, text = fails(fcm.Credentials(secret, proxy=address))  # nobody trusts the stand-in's authority
    assert (kind, "its certificate is not trusted" in text) == (CredentialsUnavailable, True)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"], ids=["407", "502"])
def test_a_proxy_that_refuses_the_way_to_google(gateways: Gateways, answer: bytes) -> None:
    """Asked again later; the text holds no password."""
    secret = Secret("fcm", json.loads(gateways.fcm_service_account), "notifier/fcm")
    with ConnectProxy("user:other", answer=answer) as proxy:
        kind, text = fails(fcm.Credentials(secret, proxy=f"http://user:hush-hush@{proxy.address}"))
    assert kind is CredentialsUnavailable
    assert "hush" not in text


def fails(credentials: fcm.Credentials) -> tuple[type[Exception], str]:
    with pytest.raises((CredentialsRefused, CredentialsUnavailable)) as caught:
        credentials.grant(0.0)
    return caught.type, str(caught.value)


def test_an_oauth_token_is_good_for_an_hour_and_renewed_five_minutes_before(gateways: Gateways) -> None:
    """Fetched with the account's real key; Google says how long it is good."""
    gateways.reset()
    grant = fcm_credentials(gateways).grant(NOW_S)
    assert grant.header.startswith("authorization: Bearer ya29.")
    assert grant.good_until_s == pytest.approx(NOW_S + 3_599, abs=5)
    assert (grant.made_at_s, grant.keep_until_s) == (NOW_S, 0.0)
    assert grant.renew_at_s == pytest.approx(grant.good_until_s - 300)
    assert gateways.counts().oauth.issued == 1


def test_a_key_with_its_breaks_written_out_is_taken(gateways: Gateways) -> None:
    """As a shell variable has it: Google takes what is signed with it."""
    written = json.loads(gateways.fcm_service_account)["private_key"].replace("\n", "\\n")
    assert fcm_credentials(gateways, private_key=written).grant(NOW_S).header.startswith("authorization: Bearer ")


def test_a_short_lived_token_is_renewed_at_half_its_time(gateways: Gateways) -> None:
    """Five minutes before its end would be at once."""
    gateways.behave("", "tests.contract.test_credentials:short_lived")
    grant = fcm_credentials(gateways).grant(NOW_S)
    assert grant.renew_at_s == pytest.approx(NOW_S + 50, abs=2)


def short_lived(nth: int, since_s: float) -> TokenBehaviour:
    """What the stand-in does: a token for 101 s."""
    return TokenBehaviour(lifetime_s=101)


def test_a_key_google_does_not_take_is_refused(gateways: Gateways) -> None:
    """With OAuth's word, the secret's name and what to do; with nothing of the secret."""
    kind, text = fails(fcm_credentials(gateways, private_key=pem("rsa")))
    assert kind is CredentialsRefused
    assert text.startswith("fcm secret notifier/fcm: Google does not know this key: it was deleted, or is another")
    assert "(invalid_grant); make a new key" in text
    kind, text = fails(fcm_credentials(gateways, client_email="nobody@example.com"))
    assert (kind, "nobody" in text) == (CredentialsRefused, False)
    assert "Google has no such service account" in text


ANSWERS = {
    "unavailable": "answers 503",
    "page": "answers 502",
    "throttled": "answers 429",
    "portal": "answers 200 without a token",
    "odd": "answers 200 without a token",
    "proxy": "answers 403",
}
"""A behaviour of the token endpoint below, and what is said of it."""


# Google's library waits three seconds for two of these: the gate has one of them.
@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one == "throttled" else one for one in ANSWERS]
)
def test_a_token_endpoint_in_trouble_is_waited_for(gateways: Gateways, name: str) -> None:
    """Google's own answers, and those of what answers in its place."""
    gateways.behave("", f"tests.contract.test_credentials:{name}")
    kind, text = fails(fcm_credentials(gateways))
    assert (kind, text) == (
        CredentialsUnavailable,
        f"fcm secret notifier/fcm: Google's token endpoint {ANSWERS[name]}",
    )


def unavailable(nth: int, since_s: float) -> TokenBehaviour:
    """503, with OAuth's word."""
    return TokenBehaviour(raw=Reply(503, "", b'{"error": "temporarily_unavailable"}'))


def page(nth: int, since_s: float) -> TokenBehaviour:
    """502, a page."""
    return TokenBehaviour(raw=Reply(502, "html", b"<!DOCTYPE html>", (("content-type", "text/html"),)))


def throttled(nth: int, since_s: float) -> TokenBehaviour:
    """429 with a wish."""
    return TokenBehaviour(raw=Reply(429, "", b"{}", (("retry-after", "3"),)))


def portal(nth: int, since_s: float) -> TokenBehaviour:
    """200, a page."""
    return TokenBehaviour(raw=Reply(200, "html", b"<html>Welcome to our hotel</html>"))


def odd(nth: int, since_s: float) -> TokenBehaviour:
    """200, JSON without a token's end."""
    return TokenBehaviour(raw=Reply(200, "", b'{"access_token": "x", "expires_in": 0}'))


def proxy(nth: int, since_s: float) -> TokenBehaviour:
    """403, a page of a company's proxy."""
    return TokenBehaviour(raw=Reply(403, "html", b"<html>Blocked</html>"))


def test_a_token_endpoint_that_is_not_there_is_waited_for(gateways: Gateways) -> None:
    """No connection, no such name, no certificate that we trust: each in words, without an address."""
    cases = {
        "https://127.0.0.1:9/token": "cannot be reached: no connection",
        "https://nowhere.invalid/token": "has a name that does not resolve (DNS)",
    }
    for uri, expected in cases.items():
        assert fails(fcm_credentials(gateways, token_uri=uri)) == (
            CredentialsUnavailable,
            f"fcm secret notifier/fcm: Google's token endpoint {expected}",
        )
    stranger = fcm.Credentials(Secret("fcm", json.loads(gateways.fcm_service_account)))
    kind, said = fails(stranger)
    assert (kind, said.rpartition("endpoint ")[2]) == (
        CredentialsUnavailable,
        "cannot be reached: TLS failed, or its certificate is not trusted",
    )


def test_fcm_faults_are_named(gateways: Gateways) -> None:
    """By field, all at once, without values."""
    with pytest.raises(BadSecret, match=r"project_id is missing; fcm secret: token_uri is missing"):
        fcm.Credentials(Secret("fcm", {"private_key": "s3cret", "client_email": "x"}))
    with pytest.raises(BadSecret, match=r"^fcm secret notifier/fcm: private_key is not a key in PEM") as caught:
        fcm_credentials(gateways, private_key="s3cret")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(BadSecret, match="token_uri is not an https:// address"):
        fcm_credentials(gateways, token_uri="oauth2.googleapis.com/token")
    assert repr(fcm_credentials(gateways)) == "Credentials(fcm, project_id='sandbox-project')"


# -- APNs


def apns_secret(kind: str = "p256", **changes: str) -> Secret:
    fields = {"key": pem(kind), "key_id": "ABC123DEFG", "team_id": "TEAM123456", "topic": "com.example.app"}
    return Secret("apns", fields | changes, "notifier/apns")


def test_a_provider_token_is_signed_by_the_teams_key() -> None:
    """ES256, with the key's id and the team, as Apple asks; renewed after 50 minutes, kept for 20."""
    credentials = apns.Credentials(apns_secret(key=pem("p256").replace("\n", "\\n"), key_id=" ABC123DEFG\n"))
    grant = credentials.grant(NOW_S)
    token = grant.header.removeprefix("authorization: bearer ")
    assert jwt.decode(token, public_pem("p256"), ["ES256"], options={"verify_iat": False})["iss"] == "TEAM123456"
    assert jwt.get_unverified_header(token)["kid"] == "ABC123DEFG"
    assert credentials.topic == "com.example.app"
    assert (grant.renew_at_s, grant.keep_until_s) == (NOW_S + 3_000, NOW_S + 1_200)
    assert NOW_S + 3_000 < grant.good_until_s < NOW_S + 3_600


def test_apns_faults_are_named() -> None:
    """By secret and field, without values: missing ones, keys of another kind, what no header can carry."""
    with pytest.raises(BadSecret, match=r"^apns secret: key is missing; .*topic is missing$"):
        apns.Credentials(Secret("apns", {}))
    with pytest.raises(BadSecret, match=r"^apns secret notifier/apns: key is not a key in PEM") as caught:
        apns.Credentials(apns_secret(key="s3cret"))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(BadSecret, match=r"^apns secret notifier/apns: key is an RSA key; APNs takes"):
        apns.Credentials(apns_secret("rsa"))
    with pytest.raises(BadSecret, match="topic has characters"):
        apns.Credentials(apns_secret(topic="com.example\r\nx: y"))


def test_the_stand_in_takes_both(gateways: Gateways, tmp_path: Path) -> None:
    """The APNs secret of the sandbox opens as it is."""
    credentials = apns.Credentials(Secret("apns", json.loads(gateways.apns_key)))
    assert credentials.grant(0.0).header.startswith("authorization: bearer ey")
