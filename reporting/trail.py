"""The trail of who looked a person up, when and why: one object for each look-up, which names nobody.

The user is there as a hash only. Whoever has an id can find out whether it was looked up; nobody can read ids from it.
"""

import secrets
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

PREFIX = "summaries/_lookups/"
"""Kept as long as the summaries (SummaryDays). Readers and query engines skip names that begin with `_`."""
HASH_CHARS = 32


class LookUp(msgspec.Struct, frozen=True):
    """One look-up. `what` is find or export."""

    at: str
    by: str
    what: str
    user_sha256: str
    runs: int
    rows: int


def hashed(user_id: str) -> str:
    """A user id as it stands in the trail."""
    return sha256(user_id.encode()).hexdigest()[:HASH_CHARS]


def note(client: Any, bucket: str, entry: LookUp, now: datetime) -> str:
    """Write the entry. Returns its key, under which the trail is in the order of time."""
    key = f"{PREFIX}{now:%Y-%m/%dT%H%M%S}-{secrets.token_hex(4)}.json"
    client.put_object(Bucket=bucket, Key=key, Body=msgspec.json.encode(entry), ContentType="application/json")
    return key
