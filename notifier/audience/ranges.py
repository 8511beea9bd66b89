"""Reading a pinned object by ranged GETs that survive stalls, resets and short bodies.

botocore retries a request but never a body: a stalled one raises from `read`, a cut one ends early
(https://github.com/boto/botocore/issues/2764). Here the next request asks for what is still missing.
"""

import logging
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from notifier.audience.pin import unquoted
from notifier.audience.s3_errors import code_of, read_error
from notifier.model.audience_faults import AudienceChanged, AudienceUnreachable
from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RANGE_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 256 * 1024
"""What is read from a body at once: the memory a range costs."""
ATTEMPTS = 6
"""Requests for one range, the first included."""
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0

_CUT = (BotoCoreError, HTTPError, OSError)
"""What a body or a connection raises when it breaks; botocore's own also where credentials cannot be had just now."""

log = logging.getLogger(__name__)
Sleep = Callable[[float], object]


class _Short(Exception):
    """The body ended before its range did."""


def read_ranges(
    client: "S3Client", pinned: PinnedObject, start: int, sleep: Sleep, *, range_bytes: int = RANGE_BYTES
) -> Iterator[bytes]:
    """The object's bytes from `start` on, in pieces of at most 256 KiB.

    Args:
        sleep: waits for the given seconds; called between attempts only.

    Raises:
        AudienceChanged: the object is no longer the pinned one.
        AudienceUnreachable: a range failed six times, or S3 refuses.
    """
    while start < pinned.size:
        end = min(start + range_bytes, pinned.size)
        yield from _read_range(client, pinned, start, end, sleep)
        start = end


def check_unchanged(client: "S3Client", pinned: PinnedObject, sleep: Sleep) -> None:
    """Ask S3 whether the pinned bytes are still there, without fetching them (304).

    Raises:
        AudienceChanged: they are not.
        AudienceUnreachable: nobody answered.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = client.get_object(**pinned.request, IfNoneMatch=f'"{pinned.etag}"')
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("304", "NotModified"):
                return
            if not _is_passing(error):
                raise read_error(error, pinned.name, pinned.version_id) from error
            _rest(pinned, attempt, error, sleep)
        except _CUT as error:
            _rest(pinned, attempt, error, sleep)
        else:
            answer["Body"].close()
            if unquoted(answer["ETag"]) != pinned.etag:
                raise AudienceChanged(f"{pinned.name}: other bytes than the pinned ones")
            return


def _read_range(client: "S3Client", pinned: PinnedObject, start: int, end: int, sleep: Sleep) -> Iterator[bytes]:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            for piece in _one_body(client, pinned, start, end):
                start += len(piece)
                yield piece
            if start == end:
                return
            raise _Short(f"{end - start} bytes short")
        except ClientError as error:
            if not _is_passing(error):
                raise read_error(error, pinned.name, pinned.version_id) from error
            _rest(pinned, attempt, error, sleep)
        except (*_CUT, _Short) as error:
            _rest(pinned, attempt, error, sleep)


def _one_body(client: "S3Client", pinned: PinnedObject, start: int, end: int) -> Iterator[bytes]:
    """The pieces of one answer, never beyond `end`."""
    answer: Any = client.get_object(**pinned.request, IfMatch=f'"{pinned.etag}"', Range=f"bytes={start}-{end - 1}")
    body = answer["Body"]
    try:
        if unquoted(answer["ETag"]) != pinned.etag:
            raise AudienceChanged(f"{pinned.name}: other bytes than the pinned ones")
        if answer.get("ContentRange") != f"bytes {start}-{end - 1}/{pinned.size}":
            raise AudienceChanged(f"{pinned.name}: S3 answered with another range than asked")
        while start < end and (piece := body.read(min(PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece
    finally:
        body.close()


def _is_passing(error: ClientError) -> bool:
    """Whether S3 may answer otherwise a moment later."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code")
    return status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout", "RequestTimeTooSkewed")


def _rest(pinned: PinnedObject, attempt: int, error: Exception, sleep: Sleep) -> None:
    """Wait before the next attempt, or give up after the last."""
    if attempt == ATTEMPTS:
        raise AudienceUnreachable(f"{pinned.name}: {ATTEMPTS} attempts failed, the last: {_words(error)}") from error
    delay_s = random.uniform(0.5, 1.0) * min(MAX_DELAY_S, FIRST_DELAY_S * 2**attempt)
    log.warning("audience range retried: %s, attempt %d, %s", pinned.name, attempt, _words(error))
    sleep(delay_s)


def _words(error: Exception) -> str:
    """What a person is told of an attempt."""
    if isinstance(error, ClientError):
        return f"S3 answered {code_of(error)}"
    return str(error) if isinstance(error, _Short) else "no answer, or the connection broke"
