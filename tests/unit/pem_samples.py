"""Private keys of every kind, made once."""

from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


@cache
def key_of(kind: str) -> Any:
    """The key itself: `rsa`, `p256`, `p384` or `ed25519`."""
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def pem(kind: str, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """The key as PEM."""
    return str(key_of(kind).private_bytes(Encoding.PEM, form, NoEncryption()).decode())


def encrypted_pem(kind: str) -> str:
    """The key as PEM, with a password."""
    encryption = BestAvailableEncryption(b"secret")
    return str(key_of(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode())


def public_pem(kind: str) -> str:
    """The public part."""
    return str(key_of(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
