"""Keys as people paste them: taken where it is certain what is meant, else named for what they are."""

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from notifier.gateway.pem import P256, RSA, BadKey, Wanted, clean_key
from tests.unit.pem_samples import encrypted_pem, pem, public_pem

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n"
PASTED: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "breaks written out": lambda key: key.replace("\n", "\\n"),
    "breaks written out twice": lambda key: key.replace("\n", "\\\\n"),
    "Windows' breaks": lambda key: key.replace("\n", "\r\n"),
    "Windows' breaks written out": lambda key: key.replace("\n", "\\r\\n"),
    "old Macs' breaks": lambda key: key.replace("\n", "\r"),
    "without the last break": lambda key: key.rstrip("\n"),
    "in quotes": lambda key: f'"{key}"',
    "in single quotes, breaks written out": lambda key: "'" + key.replace("\n", "\\n") + "'",
    "white space around": lambda key: f"\n  {key}  \n",
    "byte-order mark": lambda key: "\ufeff" + key,
    "indented": lambda key: key.replace("\n", "\n    "),
    "breaks made spaces": lambda key: key.replace("\n", " "),
    "breaks lost": lambda key: key.replace("\n", ""),
    "slashes escaped": lambda key: key.replace("/", "\\/"),
    "all of it in base64": lambda key: base64.b64encode(key.encode()).decode(),
    "all of it in base64, in lines": lambda key: base64.encodebytes(key.encode()).decode(),
    "a certificate behind it": lambda key: key + CERTIFICATE,
    "a curve's parameters before it": lambda key: (
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + key
    ),
}
"""What copying and pasting does to a key that is still certain to be that key."""


@pytest.mark.parametrize("pasted", PASTED)
@pytest.mark.parametrize(("kind", "wanted"), [("rsa", RSA), ("p256", P256)])
def test_a_key_is_taken_however_it_was_pasted(kind: str, wanted: Wanted, pasted: str) -> None:
    """The very same key comes out."""
    assert clean_key(PASTED[pasted](pem(kind)), wanted) == pem(kind)


@pytest.mark.parametrize(("kind", "wanted"), [("rsa", RSA), ("p256", P256)])
def test_openssls_older_form_is_taken_too(kind: str, wanted: Wanted) -> None:
    """`BEGIN RSA PRIVATE KEY`, `BEGIN EC PRIVATE KEY`."""
    assert clean_key(pem(kind, PrivateFormat.TraditionalOpenSSL), wanted) == pem(kind)


def without_armour(key: str) -> str:
    return "\n".join(key.splitlines()[1:-1])


@pytest.mark.parametrize(
    ("text", "wanted", "message"),
    [
        (CERTIFICATE, P256, "is a certificate, not a private key"),
        (public_pem("p256"), P256, "is a public key; the private one is needed"),
        (encrypted_pem("p256"), P256, "is encrypted with a password: openssl pkcs8 -topk8 -nocrypt"),
        (pem("rsa"), P256, "is an RSA key; APNs takes the elliptic curve key (P-256) of Apple's .p8 file"),
        (pem("p384"), P256, "is an elliptic curve key (secp384r1); APNs takes"),
        (pem("p256"), RSA, "is an elliptic curve key (P-256); Google's service accounts have an RSA key"),
        (pem("ed25519"), P256, "is neither an RSA nor an elliptic curve key"),
        (pem("p256")[:150], P256, "is cut off: its last line"),
        (pem("p256") + pem("rsa"), P256, "holds 2 private keys: leave one"),
        (without_armour(pem("p256")), P256, "lacks its first and last line"),
        (pem("p256").replace("M", "N", 2), P256, "is damaged"),
        ("AuthKey_ABC123DEFG.p8", P256, "is the name of a file"),
        ('{"type": "service_account"}', RSA, "is a JSON object; only the key in it is needed"),
        ("s3cret", P256, "is not a key in PEM"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----", P256, "of OpenSSH"),
        ("-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----", P256, "holds the parameters of a curve"),
    ],
)
def test_what_is_no_such_key_is_named(text: str, wanted: Wanted, message: str) -> None:
    """For what it is, with what to do, and with nothing of it."""
    with pytest.raises(BadKey) as caught:
        clean_key(text, wanted)
    assert message in str(caught.value)
    longest_line = max(text.splitlines(), key=len)
    assert longest_line in ("AuthKey_ABC123DEFG.p8", "s3cret") or longest_line not in str(caught.value)
    assert "Error" not in str(caught.value)


@given(st.text(max_size=80) | st.text(max_size=40).map(lambda text: f"-----BEGIN {text}-----END {text}-----"))
def test_any_text_is_answered(text: str) -> None:
    """By a key or by what is wrong with it; nothing else is raised."""
    with pytest.raises(BadKey):
        clean_key(text, P256)
