"""The rows of a run as they must be on any number of lanes: byte for byte, but for times, attempts and the run's id."""

import gzip
import json
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from notifier.gateway.carrier import push_id
from sandbox.trial import Trial

OF_ITS_TIME = ("run_id", "at", "attempts", "message_id")
"""Columns that differ: another run, other times, and FCM's own numbers. `apns_id` is computed from the run's id."""


class Rows(msgspec.Struct, frozen=True):
    """What came of a run, by its rows.

    Args:
        rows, distinct: how many, and how many devices have one.
        outcomes: so many rows that are not of the control group: these were asked for.
        digests: by the number of the batch, of its rows without `OF_ITS_TIME`.
        times: of each row, its record and its time in seconds since the epoch.
        wrong_ids: rows whose `apns_id` is not the one that their run, record and device have.
    """

    rows: int
    distinct: int
    asked: int
    digests: dict[int, str]
    times: list[tuple[int, float]]
    wrong_ids: int


def read_rows(trial: Trial, run_id: str) -> Rows:
    """All rows of a run."""
    batches: dict[int, list[bytes]] = {}
    times: list[tuple[int, float]] = []
    devices: set[tuple[int, int]] = set()
    wrong_ids = asked = 0
    for number, line in _lines(trial, run_id):
        row: dict[str, Any] = json.loads(line)
        devices.add((row["record"], row["device"]))
        times.append((row["record"], datetime.fromisoformat(row["at"]).timestamp()))
        asked += row["outcome"] != "held"
        apns_id = row["apns_id"]
        wrong_ids += apns_id not in (None, push_id(f"{run_id}:{row['record']}:{row['device']}"))
        row["apns_id"] = apns_id is not None
        for name in OF_ITS_TIME:
            del row[name]
        batches.setdefault(number, []).append(json.dumps(row).encode())
    digests = {number: sha256(b"\n".join(sorted(rows))).hexdigest() for number, rows in batches.items()}
    return Rows(len(times), len(devices), asked, digests, times, wrong_ids)


def _lines(trial: Trial, run_id: str) -> Iterator[tuple[int, bytes]]:
    """Each row with the number of its batch; a batch's rows may be in several objects, one for each round."""
    bucket, prefix = trial.sandbox.bucket, f"rows/run_id={run_id}/batch="
    pages = trial.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for found in page.get("Contents", ()):
            number = int(found["Key"].removeprefix(prefix).partition(".")[0])
            body = trial.s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
            for line in gzip.decompress(body).splitlines():
                yield number, line
