"""The token of a session in the forms of pages, masked: each page has another text for the same token.

Pages are sent compressed, and the length of what is compressed says whether two of its texts are alike (the BREACH
attack): a token that never changes could be guessed letter by letter. Of a masked one no letter is the same twice.
"""

import hmac
import secrets


def masked(token: str) -> str:
    """The token for one page: a random mask, then the token under it, in hexadecimal. Empty for an empty one."""
    plain = token.encode()
    mask = secrets.token_bytes(len(plain))
    return (mask + _under(mask, plain)).hex()


def is_token(given: str, expected: str) -> bool:
    """Whether a posted text is the token, masked or plain. Nothing is, where there is no session."""
    # Without the first condition an empty field would match a call without a visitor.
    return bool(expected) and hmac.compare_digest(_plain(given, len(expected.encode())), expected.encode())


def _plain(given: str, length: int) -> bytes:
    try:
        both = bytes.fromhex(given)
    except ValueError:
        return given.encode()
    # A plain token may be hexadecimal itself, of another length: the parts that a page loads later have it so.
    return _under(both[:length], both[length:]) if len(both) == 2 * length else given.encode()


def _under(mask: bytes, text: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(mask, text, strict=True))
