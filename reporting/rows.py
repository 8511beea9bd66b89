"""Reads and adds up the rows of a run: for the time line, and to check the ledger's account."""

import gzip
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec

READERS = 8
"""Objects fetched at once."""
_TO_THE_SECOND = 19
"""Characters of a row's time without its fraction."""
_FORMAT = "%Y-%m-%d %H:%M:%S"


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
    """All rows of a run, added up. `seconds` are by epoch second; `outcomes` by arm, outcome and reason."""

    rows: int = 0
    objects: int = 0
    stored_bytes: int = 0
    requests: int = 0
    platforms: dict[str, int] = {}
    gateways: dict[str, int] = {}
    seconds: dict[int, Second] = {}
    outcomes: dict[tuple[str, str, str], int] = {}

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
    for _, body in objects_under(client, bucket, f"rows/run_id={run_id}/"):
        figures.objects += 1
        figures.stored_bytes += len(body)
        figures.add(_DECODER.decode_lines(gzip.decompress(body)))
    return figures


def count_lines(client: Any, bucket: str, prefix: str) -> tuple[int, int]:
    """The number of lines and of objects under a prefix. The lines are not decoded."""
    lines = objects = 0
    for _, body in objects_under(client, bucket, prefix):
        objects += 1
        lines += sum(1 for line in gzip.decompress(body).splitlines() if line)
    return lines, objects


def objects_under(client: Any, bucket: str, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Key and body of every object under a prefix, in order of the keys; `READERS` are fetched at once.

    A name that begins with `_` is a probe of the worker, and skipped: query engines skip such names too.
    """

    def body_of(key: str) -> tuple[str, bytes]:
        return key, client.get_object(Bucket=bucket, Key=key)["Body"].read()

    # A page lists 1,000 keys, and its bodies are fetched before the next is listed: memory holds one page at most.
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    with ThreadPoolExecutor(READERS) as pool:
        for page in pages:
            keys = [thing["Key"] for thing in page.get("Contents", ())]
            yield from pool.map(body_of, [key for key in keys if not key.rpartition("/")[2].startswith("_")])
