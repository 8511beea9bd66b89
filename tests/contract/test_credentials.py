"""Credentials: OAuth against a real TLS endpoint with real RS256 keys, provider tokens with real ES256 keys."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from notifier.gateway.apns import auth as apns
from notifier.gateway.fcm import auth as fcm
from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, ReadSecret, Secret, Secrets
from sandbox.gateways import Gateways

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:push"


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


class Vault:
    """Secrets Manager's client, in memory."""

    def __init__(self, content: str | bytes) -> None:
        self.content = content
        self.reads = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """As boto3 answers."""
        assert SecretId == ARN
        self.reads += 1
        return {"SecretString" if isinstance(self.content, str) else "SecretBinary": self.content}


class Clock:
    """Seconds that only move when told."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def always(name: str, values: Mapping[str, Any]) -> ReadSecret:
    def read(*, fresh: bool) -> Secret:
        return Secret(name, values)

    return read


# -- secrets


def test_a_secret_is_read_once_until_a_fresh_one_is_asked_for() -> None:
    """One call a process; after a replacement the new one stays."""
    vault = Vault('{"key_id": "one"}')
    secrets = Secrets(vault)
    read = secrets.reader("apns", ARN)
    assert [read(fresh=False).text("key_id"), read(fresh=False).text("key_id"), vault.reads] == ["one", "one", 1]
    vault.content = b'{"key_id": "two"}'
    assert read(fresh=False).text("key_id") == "one"
    assert [read(fresh=True).text("key_id"), read(fresh=False).text("key_id"), vault.reads] == ["two", "two", 2]


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
    with pytest.raises(BadSecret, match="apns secret: not ") as caught:
        Secrets(Vault(content)).read("apns", ARN)
    assert "s3cret" not in str(caught.value)


# -- FCM


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways.start(tmp_path_factory.mktemp("gateways")) as running:
        yield running


def account(gateways: Gateways, **changes: Any) -> dict[str, Any]:
    return {**json.loads(gateways.fcm_service_account), **changes}


def fcm_credentials(gateways: Gateways, clock: Clock, **changes: Any) -> fcm.Credentials:
    return fcm.Credentials(always("fcm", account(gateways, **changes)), clock, ca_file=gateways.addresses.ca_file)


def test_an_oauth_token_is_fetched_and_kept_until_five_minutes_before_its_end(gateways: Gateways) -> None:
    """One fetch an hour, with the account's real key."""
    gateways.reset()
    clock = Clock()
    credentials = fcm_credentials(gateways, clock)
    first = credentials.header(clock.now_s)
    assert first.startswith("authorization: Bearer ya29.")
    assert credentials.header(clock.now_s + 3290) == first
    assert gateways.counts().oauth.issued == 1
    assert credentials.header(clock.now_s + 3310) != first
    assert gateways.counts().oauth.issued == 2


def test_renewing_reads_the_secret_anew(gateways: Gateways) -> None:
    """A withdrawn token is replaced at once, by the key that is in the secret now."""
    clock, asked = Clock(), []

    def read(*, fresh: bool) -> Secret:
        asked.append(fresh)
        return Secret("fcm", account(gateways))

    credentials = fcm.Credentials(read, clock, ca_file=gateways.addresses.ca_file)
    first = credentials.header(clock.now_s)
    credentials.renew()
    assert credentials.header(clock.now_s) != first
    assert (asked, credentials.generation) == ([False, True], 1)


def test_a_key_google_does_not_take_is_refused(gateways: Gateways) -> None:
    """With OAuth's word, and nothing of the secret."""
    stranger = pem(rsa.generate_private_key(65537, 2048))
    for changes in ({"private_key": stranger}, {"client_email": "somebody@else.example"}):
        credentials = fcm_credentials(gateways, Clock(), **changes)
        with pytest.raises(CredentialsRefused) as caught:
            credentials.header(0.0)
        assert str(caught.value) == "fcm: no access token: invalid_grant"


def test_a_google_that_cannot_be_asked_is_waited_for_while_the_token_is_good(gateways: Gateways) -> None:
    """The token of before serves until its end; the next attempt comes half a minute later."""
    clock = Clock()
    secret = account(gateways)
    credentials = fcm.Credentials(lambda *, fresh: Secret("fcm", secret), clock, ca_file=gateways.addresses.ca_file)
    first = credentials.header(clock.now_s)
    credentials._credentials._token_uri = "https://127.0.0.1:9/token"
    assert credentials.header(clock.now_s + 3400) == first
    with pytest.raises(CredentialsUnavailable) as caught:
        credentials.header(clock.now_s + 3600)
    assert str(caught.value) == "fcm: no access token: TransportError"


def test_an_unknown_authority_is_not_trusted(gateways: Gateways) -> None:
    """The extra CA is what lets the stand-in in."""
    with pytest.raises(CredentialsUnavailable):
        fcm.Credentials(always("fcm", account(gateways)), Clock()).header(0.0)


def test_fcm_faults_are_named(gateways: Gateways) -> None:
    """By field, all at once, without values."""
    with pytest.raises(BadSecret, match="project_id is missing; fcm secret: token_uri is missing"):
        fcm.Credentials(always("fcm", {"private_key": "s3cret", "client_email": "x"}))
    with pytest.raises(BadSecret, match="private_key is not an RSA key") as caught:
        fcm_credentials(gateways, Clock(), private_key="s3cret")
    assert "s3cret" not in str(caught.value)
    assert repr(fcm_credentials(gateways, Clock())) == "Credentials(fcm, project_id='sandbox-project')"


# -- APNs


def apns_secret(signing_key: Any, **changes: str) -> dict[str, str]:
    return {
        "key": pem(signing_key),
        "key_id": "ABC123DEFG",
        "team_id": "TEAM123456",
        "topic": "com.example.app",
        **changes,
    }


def test_a_provider_token_is_signed_by_the_teams_key() -> None:
    """ES256, with the key's id and the team, as Apple asks."""
    key, clock = ec.generate_private_key(ec.SECP256R1()), Clock()
    credentials = apns.Credentials(always("apns", apns_secret(key)), clock)
    token = credentials.header(clock.now_s).removeprefix("authorization: bearer ")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert jwt.decode(token, public, ["ES256"], options={"verify_iat": False})["iss"] == "TEAM123456"
    assert jwt.get_unverified_header(token)["kid"] == "ABC123DEFG"
    assert credentials.topic == "com.example.app"


def test_a_provider_token_lives_fifty_minutes() -> None:
    """Not a minute longer than Apple takes it, also when the clock was put back."""
    clock = Clock()
    credentials = apns.Credentials(always("apns", apns_secret(ec.generate_private_key(ec.SECP256R1()))), clock)
    first = credentials.header(clock.now_s)
    assert credentials.header(clock.now_s + 2999) == first
    second = credentials.header(clock.now_s + 3000)
    assert second != first
    assert credentials.header(clock.now_s + 5999) == second
    assert credentials.header(clock.now_s - 60) != second


def test_a_renewal_within_twenty_minutes_keeps_the_token_unless_the_key_was_replaced() -> None:
    """Apple answers TooManyProviderTokenUpdates to more; another key is another matter."""
    clock = Clock()
    vault = Vault(json.dumps(apns_secret(ec.generate_private_key(ec.SECP256R1()))))
    credentials = apns.Credentials(Secrets(vault).reader("apns", ARN), clock)
    first = credentials.header(clock.now_s)
    clock.now_s += 1199
    credentials.renew()
    assert (credentials.header(clock.now_s), credentials.generation) == (first, 1)
    clock.now_s += 1
    credentials.renew()
    second = credentials.header(clock.now_s)
    assert second != first
    vault.content = json.dumps(apns_secret(ec.generate_private_key(ec.SECP256R1()), topic="com.example.other"))
    credentials.renew()
    assert credentials.header(clock.now_s) != second
    assert (credentials.topic, credentials.generation, vault.reads) == ("com.example.other", 3, 4)


def test_apns_faults_are_named() -> None:
    """By field, without values: missing ones, keys of another kind, what no header can carry."""
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(BadSecret, match=r"^apns secret: key is missing; .*topic is missing$"):
        apns.Credentials(always("apns", {}))
    for bad in ("s3cret", pem(rsa.generate_private_key(65537, 2048))):
        with pytest.raises(BadSecret, match=r"^apns secret: key is not an elliptic curve key") as caught:
            apns.Credentials(always("apns", apns_secret(key, key=bad)))
        assert "s3cret" not in str(caught.value)
    with pytest.raises(BadSecret, match="topic has characters"):
        apns.Credentials(always("apns", apns_secret(key, topic="com.example\r\nx: y")))


def test_the_stand_in_takes_both(gateways: Gateways, tmp_path: Path) -> None:
    """The APNs secret of the sandbox opens as it is."""
    credentials = apns.Credentials(always("apns", json.loads(gateways.apns_key)))
    assert credentials.header(0.0).startswith("authorization: bearer ey")
