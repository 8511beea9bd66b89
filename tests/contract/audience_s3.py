"""A real S3 client against moto's server, and what the audience tests put there."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from notifier.audience import AudienceStream

BUCKET = "audience"


class Requests:
    """Counts what a client sends, by operation and by the status of the answer."""

    def __init__(self, client: Any) -> None:
        self.sent: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.ranges: list[str] = []
        client.meta.events.register("before-send.s3", self._note)
        client.meta.events.register("response-received.s3", self._note_answer)

    def _note(self, request: Any, **_: Any) -> None:
        self.sent[request.method] += 1
        if "Range" in request.headers:
            value = request.headers["Range"]
            self.ranges.append(value.decode() if isinstance(value, bytes) else value)

    def _note_answer(self, response_dict: Any, **_: Any) -> None:
        self.answered[response_dict["status_code"]] += 1


def s3_client(endpoint: str, **settings: Any) -> Any:
    """A client that trusts nothing of the machine's own configuration and retries nothing by itself."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, **settings),
    )


@contextmanager
def empty_bucket(endpoint: str) -> Iterator[Any]:
    """A client, with an empty bucket without versions, which is deleted afterwards with all versions in it."""
    client = s3_client(endpoint)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield client
    for version in client.list_object_versions(Bucket=BUCKET).get("Versions", []):
        client.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def users(count: int) -> list[dict[str, Any]]:
    """Users like those of a real file, awkward ones among them."""
    return [
        {
            "user_id": f"u{n}",
            "devices": [{"platform": "ios", "token": f"{n:064x}"}] * (1 + n % 2),
            "attributes": {"campaign": "spring", "text": 'a "]}, [{ \\ é 😀'},
        }
        for n in range(count)
    ]


def as_list(records: Sequence[object]) -> bytes:
    """A part that is one list."""
    return json.dumps(records).encode()


def as_object(records: Sequence[object]) -> bytes:
    """A part that is an object with `users`."""
    return json.dumps({"users": records}, indent=1).encode()


def as_lines(records: Sequence[object]) -> bytes:
    """A part of lines, with an empty one and Windows ends among them."""
    return b"\r\n\n".join(json.dumps(record, ensure_ascii=False).encode() for record in records)


FORMS: dict[str, Callable[[Sequence[object]], bytes]] = {
    "list": as_list,
    "object": as_object,
    "lines": as_lines,
    "one behind the other": lambda records: "".join(map(json.dumps, records)).encode(),
    "over lines": lambda records: "\n".join(json.dumps(record, indent=1) for record in records).encode(),
    "gzip in gzip": lambda records: gzip.compress(gzip.compress("".join(map(json.dumps, records)).encode())),
    "two lists": lambda records: as_list(records[:4]) + b"\n" + as_list(records[4:]),
    "gzip list": lambda records: gzip.compress(as_list(records)),
    "gzip lines": lambda records: b"".join(gzip.compress(line + b"\n") for line in as_lines(records).split(b"\n")),
}


def take_some(stream: AudienceStream, limit: int) -> list[object]:
    """The next records; none while there are none, after a wait."""
    taken = stream.take(limit)
    if not taken:
        stream.wait(10)
    return taken


def take_exactly(stream: AudienceStream, count: int) -> list[object]:
    """So many records."""
    taken: list[object] = []
    while len(taken) < count:
        taken += take_some(stream, count - len(taken))
    return taken


def take_until_it_breaks(stream: AudienceStream, taken: list[object]) -> None:
    """Records into `taken`, until an exception ends it."""
    while True:
        taken += take_some(stream, 10)


def read_all(stream: AudienceStream, limit: int = 7) -> list[object]:
    """Every record, as a caller with nothing else to do gets them."""
    records: list[object] = []
    while not stream.ended:
        taken = take_some(stream, limit)
        assert len(taken) <= limit
        records += taken
    return records
