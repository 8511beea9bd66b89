"""The trail of who looked a person up or erased them, and when: one object for each, which names nobody.

The user is there as a keyed hash only, with the stack's key (`notifier.model.keyed_id`): the key is in the suppression
prefix, not beside the trail. Whoever has an id and the key can find out whether it was looked up.
"""

import secrets
from datetime import datetime
from typing import Any

import msgspec

from notifier.model.keyed_id import HASH, keyed

PREFIX = "summaries/_lookups/"
"""Kept as long as the summaries (SummaryDays). Readers and query engines skip names that begin with `_`."""
HASH_CHARS = 32
MAX_READ = 200


class LookUp(msgspec.Struct, frozen=True):
    """One look-up. `what` is find, export or erase; `runs` and `rows` are 0 where they are not known yet."""

    at: str
    by: str
    what: str
    user_hmac_sha256: str
    runs: int
    rows: int


def hashed(user_id: str, key: bytes) -> str:
    """A user id as it is in the trail."""
    return keyed(key, user_id)[len(HASH) :][:HASH_CHARS]


def note(client: Any, bucket: str, entry: LookUp, now: datetime) -> str:
    """Write the entry. Returns its key, under which the trail is in the order of time."""
    key = f"{PREFIX}{now:%Y-%m/%dT%H%M%S-%f}-{secrets.token_hex(4)}.json"
    client.put_object(Bucket=bucket, Key=key, Body=msgspec.json.encode(entry), ContentType="application/json")
    return key


def read_trail(client: Any, bucket: str, month: str) -> list[LookUp]:
    """The entries of a month (as `2026-11`), the latest first; the last 200 of them."""
    keys: list[str] = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{PREFIX}{month}/"):
        keys += [one["Key"] for one in page.get("Contents", ())]
    latest = sorted(keys)[: -MAX_READ - 1 : -1]
    bodies = (client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in latest)
    return [msgspec.json.decode(body, type=LookUp) for body in bodies]
