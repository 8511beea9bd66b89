"""Runs that an erasure waits for: their ends are awaited, so that nobody has to remember it.

One object, under the tombstones: run ids, and names of what becomes a run or is counted of one (`privacy.runs`). The
officers' function hears of each run's end, and erases again when a run of the list has ended; and every seven hours
where the list has anything, because nobody says of the rest when it is over. Without that function
`notifier erase --again` does.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from privacy.whom import REFUSED

KEY = "summaries/_erasures/waiting.json"


def note_waiting(client: Any, bucket: str, run_ids: Iterable[str], over: Iterable[str] = ()) -> None:
    """Write down which runs are waited for, beside those that another erasure waits for.

    Args:
        over: what was over when this erasure began, so that it has erased from it: nothing waits for that.
    """
    added, over = frozenset(run_ids), frozenset(over)
    while True:
        there, etag = _read(client, bucket)
        wanted = (there - over) | added
        # Most erasures wait for nothing: the object is not made for those.
        if wanted == there:
            return
        # Only in place of what was read: another erasure may write its own runs in this moment.
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        body = msgspec.json.encode(sorted(wanted))
        try:
            client.put_object(Bucket=bucket, Key=KEY, Body=body, ContentType="application/json", **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] not in REFUSED:
                raise
        else:
            return


def waited_for(client: Any, bucket: str) -> frozenset[str]:
    """The runs that erasures wait for."""
    return _read(client, bucket)[0]


def _read(client: Any, bucket: str) -> tuple[frozenset[str], str]:
    try:
        answer = client.get_object(Bucket=bucket, Key=KEY)
    except client.exceptions.NoSuchKey:
        return frozenset(), ""
    return frozenset(msgspec.json.decode(answer["Body"].read(), type=list[str])), answer["ETag"]
