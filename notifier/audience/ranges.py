"""Reads a pinned object by ranged GETs and repeats what stalls, resets and short bodies leave out.

botocore retries a request but never a body: a stalled body raises from `read`, a cut one ends early
(https://github.com/boto/botocore/issues/2764). Here the next request asks for the missing bytes.
"""

import logging
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from notifier.audience.pin import unquoted
from notifier.audience.s3_errors import broken_connection, code_of, fault_of
from notifier.model.audience_faults import AudienceChanged, AudienceUnreachable
from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RANGE_BYTES = 4 * 1024 * 1024
"""One request's bytes: large enough that its latency does not count, small enough to repeat."""
PIECE_BYTES = 256 * 1024
"""Bytes read from a body at once: the memory that a range needs."""
ATTEMPTS = 6
"""Requests for one range, the first included."""
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0


log = logging.getLogger(__name__)
Sleep = Callable[[float], object]


class _Short(ConnectionError):
    """The body ended before its range did."""


def read_ranges(
    client: "S3Client", pinned: PinnedObject, start: int, sleep: Sleep, *, range_bytes: int = RANGE_BYTES
) -> Iterator[bytes]:
    """The object's bytes from `start` on, in pieces of at most 256 KiB.

    Args:
        sleep: waits for the given seconds; called only between attempts.

    Raises:
        AudienceChanged: the object is no longer the pinned one.
        AudienceUnreachable: a range failed `ATTEMPTS` times, or S3 refuses.
    """
    while start < pinned.size:
        end = min(start + range_bytes, pinned.size)
        yield from _read_range(client, pinned, start, end, sleep)
        start = end


def check_unchanged(client: "S3Client", pinned: PinnedObject, sleep: Sleep) -> None:
    """Ask S3 whether the pinned bytes are still there, without fetching them (status 304).

    Raises:
        AudienceChanged: they are not.
        AudienceUnreachable: S3 did not answer.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = client.get_object(**pinned.request, IfNoneMatch=f'"{pinned.etag}"')
        except ClientError as error:
            # boto3 raises a 304: this is the answer that is hoped for.
            if code_of(error) in ("304", "NotModified"):
                return
            if not _is_transient(error):
                raise fault_of(error, pinned.name, pinned.version_id) from error
            _wait_before_next(pinned, attempt, error, sleep)
        except broken_connection() as error:
            _wait_before_next(pinned, attempt, error, sleep)
        else:
            # A 200 means another ETag, or a server that ignores the condition: the ETag decides.
            answer["Body"].close()
            if unquoted(answer["ETag"]) != pinned.etag:
                raise AudienceChanged(f"{pinned.name}: other bytes than the pinned ones")
            return


def _read_range(client: "S3Client", pinned: PinnedObject, start: int, end: int, sleep: Sleep) -> Iterator[bytes]:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            for piece in _one_body(client, pinned, start, end):
                # The next attempt begins behind what was passed on.
                start += len(piece)
                yield piece
            if start == end:
                return
            raise _Short(f"{end - start} bytes short")
        except ClientError as error:
            if not _is_transient(error):
                raise fault_of(error, pinned.name, pinned.version_id) from error
            _wait_before_next(pinned, attempt, error, sleep)
        except broken_connection() as error:
            _wait_before_next(pinned, attempt, error, sleep)


def _one_body(client: "S3Client", pinned: PinnedObject, start: int, end: int) -> Iterator[bytes]:
    """The pieces of one answer's body, never beyond `end`."""
    answer: Any = client.get_object(**pinned.request, IfMatch=f'"{pinned.etag}"', Range=f"bytes={start}-{end - 1}")
    body = answer["Body"]
    try:
        if unquoted(answer["ETag"]) != pinned.etag:
            raise AudienceChanged(f"{pinned.name}: other bytes than the pinned ones")
        # A server that ignores the range answers with the whole object, and its first bytes would pass for these.
        if answer.get("ContentRange") != f"bytes {start}-{end - 1}/{pinned.size}":
            raise AudienceChanged(f"{pinned.name}: S3 answered with another range than asked")
        while start < end and (piece := body.read(min(PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece
    finally:
        body.close()


def _is_transient(error: ClientError) -> bool:
    """Whether the same request may succeed a moment later."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or status == 429 or code_of(error) in ("SlowDown", "RequestTimeout", "RequestTimeTooSkewed")


def _wait_before_next(pinned: PinnedObject, attempt: int, error: Exception, sleep: Sleep) -> None:
    """Wait before the next attempt; raise after the last, which nothing follows that would be worth a wait."""
    if attempt == ATTEMPTS:
        problem = f"{ATTEMPTS} attempts failed, the last: {_described(error)}"
        raise AudienceUnreachable(f"{pinned.name}: {problem}") from error
    # Jitter below the cap, so that lanes that failed together do not come back together.
    delay_s = random.uniform(0.5, 1.0) * min(MAX_DELAY_S, FIRST_DELAY_S * 2**attempt)
    log.warning("audience range retried: %s, attempt %d, %s", pinned.name, attempt, _described(error))
    sleep(delay_s)


def _described(error: Exception) -> str:
    """A failed attempt, for people: never the name of an exception's class."""
    if isinstance(error, ClientError):
        return f"S3 answered {code_of(error)}"
    return str(error) if isinstance(error, _Short) else "no answer, or the connection broke"
