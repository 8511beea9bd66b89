"""Keys and certificates of the stand-ins, made on the first start and kept in the state folder."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

PROJECT = "sandbox-project"
KEY_ID = "ABC123DEFG"
TEAM_ID = "TEAM123456"
TOPIC = "com.example.app"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the files are: the CA to trust, the server's certificate and key, and the two secrets as JSON files."""

    ca_file: Path
    certificate_file: Path
    key_file: Path
    service_account_file: Path
    apns_key_file: Path


def prepare(state: Path, token_uri: str) -> Credentials:
    """Makes what is missing in `state`; the service account's `token_uri` is brought up to date at every start."""
    state.mkdir(parents=True, exist_ok=True)
    there = Credentials(
        ca_file=state / "ca.pem",
        certificate_file=state / "server.pem",
        key_file=state / "server-key.pem",
        service_account_file=state / "fcm-service-account.json",
        apns_key_file=state / "apns-key.json",
    )
    tls = (there.ca_file, there.certificate_file, there.key_file)
    if not all(file.exists() for file in tls):
        _make_certificates(there)
    if not there.apns_key_file.exists():
        _write_json(there.apns_key_file, _apns_key())
    account = _read_json(there.service_account_file) if there.service_account_file.exists() else _service_account()
    _write_json(there.service_account_file, account | {"token_uri": token_uri})
    return there


def write_atomically(file: Path, content: bytes) -> None:
    """Writes a file that no reader finds half written; readable by its owner only."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.touch(mode=0o600)
    part.write_bytes(content)
    part.replace(file)


def _make_certificates(there: Credentials) -> None:
    authority = trustme.CA(organization_name="notifier sandbox")
    server = authority.issue_cert("localhost", "127.0.0.1")
    # granian takes keys in PKCS#8 only, and trustme writes the older form.
    key = serialization.load_pem_private_key(server.private_key_pem.bytes(), None)
    write_atomically(there.key_file, _pem(key))
    write_atomically(there.certificate_file, b"".join(blob.bytes() for blob in server.cert_chain_pems))
    write_atomically(there.ca_file, authority.cert_pem.bytes())


@functools.cache
def service_key() -> rsa.RSAPrivateKey:
    """The service account's key. Its making takes a tenth of a second: processes forked from one share it."""
    return rsa.generate_private_key(65537, 2048)


def _service_account() -> dict[str, str]:
    email = f"sender@{PROJECT}.iam.gserviceaccount.com"
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": os.urandom(20).hex(),
        "private_key": _pem(service_key()).decode(),
        "client_email": email,
        "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{email}",
        "universe_domain": "googleapis.com",
    }


def _apns_key() -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    return {"key": _pem(key).decode(), "key_id": KEY_ID, "team_id": TEAM_ID, "topic": TOPIC}


def _pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read_json(file: Path) -> dict[str, str]:
    return msgspec.json.decode(file.read_bytes(), type=dict[str, str])


def _write_json(file: Path, content: Mapping[str, str]) -> None:
    write_atomically(file, msgspec.json.format(msgspec.json.encode(content), indent=2))
