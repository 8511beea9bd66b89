"""Runs that an erasure waits for: their ends are awaited, so that nobody has to remember it.

One object, under the tombstones: run ids alone. The officers' function hears of each run's end, and erases again when a
run of the list has ended; without that function `notifier erase --again` does.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

KEY = "summaries/_erasures/waiting.json"


def note_waiting(client: Any, bucket: str, run_ids: Iterable[str]) -> None:
    """Write down which runs are waited for, in place of what was there."""
    found = sorted(set(run_ids))
    # Most erasures wait for nothing: the object is not made for those.
    if found or waited_for(client, bucket):
        body = msgspec.json.encode(found)
        client.put_object(Bucket=bucket, Key=KEY, Body=body, ContentType="application/json")


def waited_for(client: Any, bucket: str) -> frozenset[str]:
    """The runs that the last erasure waits for."""
    try:
        body = client.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    except client.exceptions.NoSuchKey:
        return frozenset()
    return frozenset(msgspec.json.decode(body, type=list[str]))
