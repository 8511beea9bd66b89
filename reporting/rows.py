"""Reads and adds up the rows of a run: for the time line, and to check the ledger's account."""

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec

READERS = 8
"""Objects fetched at once."""
_TO_THE_SECOND = 19
"""Characters of a row's time without its fraction."""
_FORMAT = "%Y-%m-%d %H:%M:%S"


_BY_EPOCH = re.compile(r"(batch=\d{8,}(?:\.r\d+)?)\.e(\d+)\.json\.gz\Z")
"""The name of an object that each claim has of its own: the batch with its round, and the claim's epoch."""


class SeenRow(msgspec.Struct, frozen=True, gc=False):
    """The members of a row that the report uses."""

    arm: str
    outcome: str
    gateway: str
    platform: str
    at: str
    attempts: int
    reason: str | None = None


_DECODER = msgspec.json.Decoder(SeenRow)


class Second(msgspec.Struct):
    """Devices whose outcome fell into one second."""

    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    held: int = 0

    @property
    def asked(self) -> int:
        """Devices for which a gateway was asked: all but the control group's."""
        return self.accepted + self.rejected + self.failed


class RowFigures(msgspec.Struct):
    """All rows of a run, added up.

    `seconds` are by epoch second; `outcomes` by arm, outcome and reason; `epochs` by batch with its round: of the claim
    whose rows they are.
    """

    rows: int = 0
    objects: int = 0
    stored_bytes: int = 0
    requests: int = 0
    platforms: dict[str, int] = {}
    gateways: dict[str, int] = {}
    seconds: dict[int, Second] = {}
    outcomes: dict[tuple[str, str, str], int] = {}
    epochs: dict[str, int] = {}

    def add(self, rows: Iterable[SeenRow]) -> None:
        """Add rows."""
        # Thousands of rows share a second: its text is parsed once, which is most of the time this takes.
        epochs: dict[str, Second] = {}
        for row in rows:
            self.rows += 1
            self.requests += row.attempts
            self.platforms[row.platform] = self.platforms.get(row.platform, 0) + 1
            self.gateways[row.gateway] = self.gateways.get(row.gateway, 0) + 1
            key = (row.arm, row.outcome, row.reason or "")
            self.outcomes[key] = self.outcomes.get(key, 0) + 1
            name = row.at[:_TO_THE_SECOND]
            second = epochs.get(name)
            if second is None:
                second = epochs[name] = self.seconds.setdefault(_epoch_of(name), Second())
            # The outcomes are the names of the members: a new outcome fails here, and is not lost.
            setattr(second, row.outcome, getattr(second, row.outcome) + 1)


def _epoch_of(at: str) -> int:
    return int(datetime.strptime(at, _FORMAT).replace(tzinfo=UTC).timestamp())


def read_rows(client: Any, bucket: str, run_id: str) -> RowFigures:
    """All rows of a run. `client` is a boto3 S3 client."""
    figures = RowFigures()
    for key, answer in _answers_under(client, bucket, f"rows/run_id={run_id}/"):
        body = answer["Body"]
        figures.objects += 1
        figures.stored_bytes += len(body)
        figures.add(_DECODER.decode_lines(gzip.decompress(body)))
        if (epoch := answer["Metadata"].get("epoch", "")).isdecimal():
            figures.epochs[_name_in(key).removesuffix(".json.gz")] = int(epoch)
    return figures


def count_dead_tokens(client: Any, bucket: str, run_id: str, epochs: Mapping[str, int]) -> tuple[int, int]:
    """The number of a run's dead tokens, and of the objects that hold them. Their lines are not decoded.

    A claim that dies between them and the rows leaves an object, and the claim that settles the batch puts another.

    Args:
        epochs: which claim settled each batch (`RowFigures`): its object counts. Without rows the last one does.
    """
    objects, counted = 0, dict[str, tuple[int, int]]()
    for key, body in objects_under(client, bucket, f"dead-tokens/run_id={run_id}/"):
        objects += 1
        lines = sum(1 for line in gzip.decompress(body).splitlines() if line)
        found = _BY_EPOCH.match(_name_in(key))
        name, epoch = (found[1], int(found[2])) if found else (key, 0)
        if epoch >= counted.get(name, (0, 0))[0] and epochs.get(name, epoch) == epoch:
            counted[name] = epoch, lines
    return sum(lines for _, lines in counted.values()), objects


def objects_under(client: Any, bucket: str, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Key and body of every object under a prefix, in order of the keys; `READERS` are fetched at once.

    A name that begins with `_` is a probe of the worker, and skipped: query engines skip such names too.
    """
    for key, answer in _answers_under(client, bucket, prefix):
        yield key, answer["Body"]


def _answers_under(client: Any, bucket: str, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same with the whole answer, its body read."""

    def answer_of(key: str) -> tuple[str, dict[str, Any]]:
        answer = client.get_object(Bucket=bucket, Key=key)
        return key, {**answer, "Body": answer["Body"].read()}

    # A page lists 1,000 keys, and its bodies are fetched before the next is listed: memory holds one page at most.
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    with ThreadPoolExecutor(READERS) as pool:
        for page in pages:
            keys = [thing["Key"] for thing in page.get("Contents", ())]
            yield from pool.map(answer_of, [key for key in keys if not _name_in(key).startswith("_")])


def _name_in(key: str) -> str:
    return key.rpartition("/")[2]
