"""Keyed hashes of user ids, for lists and trails that must not have the ids themselves.

`hmac-sha256:` and the HMAC-SHA-256 of the id in hexadecimal stands for a user; `hmac-sha256-key:` and 64 hexadecimal
digits gives the key. Both are plain texts, so that a release that does not know them reads them as ids of nobody.

The key is in the stack's own bucket, beside the hashes. It keeps hashes of two stacks apart, and tables of hashes made
beforehand useless; whoever may read the bucket can still try an id that they know already.
"""

import hmac
import re

KEY = "hmac-sha256-key:"
HASH = "hmac-sha256:"
_KEY = re.compile(KEY + r"([0-9a-f]{64})\Z")


def keyed(key: bytes, user_id: str) -> str:
    """A user's entry in a list of keyed hashes."""
    # An id with a lone surrogate is in no audience, but must not fail here.
    return HASH + hmac.digest(key, user_id.encode(errors="surrogatepass"), "sha256").hex()


def key_in(entry: str) -> bytes | None:
    """The key that an entry gives; None if it gives none."""
    if not entry.startswith(KEY):
        return None
    found = _KEY.match(entry)
    return bytes.fromhex(found[1]) if found else None
