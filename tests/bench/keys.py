"""Credentials of the right form for a sink that takes all."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

_FORM = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def apns_key() -> str:
    """A key as Apple hands it out: PKCS #8 in PEM, on P-256."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*_FORM).decode()


def service_account(token_uri: str) -> dict[str, str]:
    """A service account's key, as Google hands it out."""
    return {
        "type": "service_account",
        "project_id": "bench",
        "private_key_id": "1",
        "private_key": rsa.generate_private_key(65537, 2048).private_bytes(*_FORM).decode(),
        "client_email": "bench@bench.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
