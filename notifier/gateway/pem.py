"""Cleans private keys as people paste them into a secret; where that is not certain, says what the text is instead.

A message never holds anything of the key.
"""

import base64
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_WRITTEN_BREAK = re.compile(r"(?:\\+r)?\\+n|\\+r")
"""A line break that was written out, as JSON in JSON or a shell variable has it. No key holds a backslash."""
_QUOTES = "\"'`"
_LINE_CHARS = 64

_NO_KEYS = {
    "CERTIFICATE": "is a certificate, not a private key",
    "CERTIFICATE REQUEST": "is a request for a certificate, not a private key",
    "PUBLIC KEY": "is a public key; the private one is needed",
    "RSA PUBLIC KEY": "is a public key; the private one is needed",
    "EC PARAMETERS": "holds the parameters of a curve and no key",
    "OPENSSH PRIVATE KEY": "is a key of OpenSSH, which neither Apple nor Google hands out",
    "PGP PRIVATE KEY BLOCK": "is a key of PGP, which neither Apple nor Google hands out",
}
"""What is said of PEM blocks with other labels."""


class BadKey(ValueError):
    """A text that is not the key that is needed. The message follows the field's name: "is a certificate"."""


class Wanted(msgspec.Struct, frozen=True):
    """The kind of key that a gateway takes, and its description in messages."""

    kind: str
    name: str


RSA = Wanted("RSA", "Google's service accounts have an RSA key: the private_key of the JSON file that Google hands out")
P256 = Wanted("P-256", "APNs takes the elliptic curve key (P-256) of Apple's .p8 file")


def clean_key(text: str, wanted: Wanted) -> str:
    """The key as PEM with line breaks where they belong.

    Raises:
        BadKey: the text is not a key of the wanted kind.
    """
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - 0.1 s: no cost on import
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    label, body = _private_block(text)
    try:
        key = load_pem_private_key(_armoured(label, body).encode(), password=None)
    except Exception:  # noqa: BLE001 - cryptography raises many kinds, and their words may quote the key
        raise BadKey("is damaged: what its first and last line enclose is not a key") from None
    kind = _kind_of(key)
    if kind != wanted.kind:
        raise BadKey(f"is {_called(kind)}; {wanted.name}")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _private_block(text: str) -> tuple[str, str]:
    """The only private key in the text: its label, and what its first and last line enclose."""
    cleaned = _unquoted(text)
    blocks = _BLOCK.findall(cleaned) or _BLOCK.findall(_from_base64(cleaned).decode("latin-1"))
    if not blocks:
        raise BadKey(_without_block(cleaned))
    # `openssl ecparam` puts a block of parameters before the key, `openssl pkcs12` certificates behind it.
    private = [block for block in blocks if block[0].endswith("PRIVATE KEY") and block[0] not in _NO_KEYS]
    if not private:
        label = blocks[0][0]
        raise BadKey(_NO_KEYS.get(label, "is not a private key"))
    if len(private) > 1:
        raise BadKey(f"holds {len(private)} private keys: leave one")
    label, body = private[0]
    if "ENCRYPTED" in label or "ENCRYPTED" in body:
        raise BadKey("is encrypted with a password: openssl pkcs8 -topk8 -nocrypt -in FILE makes one without")
    return label, body


def _unquoted(text: str) -> str:
    """The text without what pasting adds around a key: white space, a byte-order mark, quotes, written-out breaks."""
    text = _WRITTEN_BREAK.sub("\n", text.strip("\ufeff \t\r\n")).replace("\\/", "/").strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        text = text[1:-1].strip()
    return text


def _from_base64(text: str) -> bytes:
    """The decoded bytes where the whole text is base64; empty where it is not."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return b""


def _armoured(label: str, body: str) -> str:
    """PEM in lines of 64 characters, whatever became of its line breaks."""
    packed = "".join(body.split())
    lines = [packed[start : start + _LINE_CHARS] for start in range(0, len(packed), _LINE_CHARS)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def _without_block(text: str) -> str:
    """What a text without any PEM block is, for the message."""
    if "-----BEGIN " in text:
        return "is cut off: its last line, such as -----END PRIVATE KEY-----, is missing"
    if text.startswith("{"):
        return "is a JSON object; only the key in it is needed"
    if text.endswith((".p8", ".pem", ".json", ".p12")) and len(text) < 500:
        return "is the name of a file; what is in the file is needed"
    if _from_base64(text).startswith(b"\x30"):  # DER's mark of a sequence: a key without its armour
        return "lacks its first and last line: -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----"
    return "is not a key in PEM, which begins with -----BEGIN PRIVATE KEY-----"


def _kind_of(key: "PrivateKeyTypes") -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415

    if isinstance(key, rsa.RSAPrivateKey):
        return "RSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        curve: Any = key.curve
        return "P-256" if isinstance(curve, ec.SECP256R1) else f"curve {curve.name}"
    return "other"


def _called(kind: str) -> str:
    if kind == "RSA":
        return "an RSA key"
    if kind == "other":
        return "neither an RSA nor an elliptic curve key"
    return f"an elliptic curve key ({kind.removeprefix('curve ')})"
