"""What came of a run's goal, counted by the function: the rows and the conversions joined, the counts as one object.

It is asked for like an audience, by an item of a preparation (`notifier.preparation_items`), so that leases, attempts,
warehouses that are not waited for and the sweeper are the same.
"""

import datetime as dt
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from audiences.conversions import Ask, Declaration, join, read_declaration
from audiences.database import Limits
from audiences.destinations import Bucket
from audiences.engines.port import Limits as QueryLimits
from audiences.faults import AudienceFault
from audiences.request import Resolver, order_of
from audiences.rooms import Rooms
from audiences.sources import split
from audiences.unknown_users import log_unknown
from audiences.warehouse import Queries, Warehouses
from audiences.watch import LastProgress, Progress
from notifier.model.campaign import Campaign
from notifier.model.goal_source import what_changed
from notifier.model.preparation import Preparation
from notifier.model.remainder import other_part_of
from notifier.model.run import state_key

PREFIX = "audiences/conversions/"
QUERY_TIME_S = 300.0
"""How long one query of DuckDB may take."""
_MB_OF_ONE_VCPU = 1_769


class CountRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of which run, and only what happened before so many hours after its last push; None: all."""

    run_id: str
    after_h: int | None = None


class _Began(msgspec.Struct, frozen=True):
    campaign: Campaign


class ConversionCounter:
    """Counts the conversions of a stack's runs.

    Args:
        client: a boto3 S3 client.
        environment: what Lambda says of the function, `STORAGE_MB` and `AUDIENCE_BUCKET_ARNS`.
        now: seconds since the epoch.
        write: takes lines of the log.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        environment: Mapping[str, str],
        warehouses: Warehouses,
        now: Callable[[], float] = time.time,
        write: Callable[[str], object] = sys.stdout.write,
    ) -> None:
        self._client = client
        self._destination = Bucket(client, bucket)
        self._warehouses = warehouses
        self._now = now
        self._write = write
        self._stack = environment.get("STACK", "")
        self._memory_mb = int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"))
        self._storage_mb = int(environment.get("STORAGE_MB", "2048"))
        self._rooms = Rooms.of_arns(bucket, environment.get("AUDIENCE_BUCKET_ARNS", ""))

    def __call__(self, preparation: Preparation, work: Path, on_progress: Progress) -> str:
        """Count, and return the key of the counts. Raises AudienceFault and StillQuerying."""
        key = f"{PREFIX}{preparation.run_id}.json"
        if self._destination.read(key) is not None:
            return key
        on_progress("counting the conversions", 0)
        request = msgspec.json.decode(preparation.request, type=CountRequest)
        stored = self._destination.read(state_key(request.run_id, "campaign"))
        if stored is None:
            raise AudienceFault("what the run began with (under state/) was deleted or has expired (WorkDays)")
        campaign = msgspec.json.decode(stored, type=_Began).campaign
        goal = campaign.goal
        if goal is None:
            raise AudienceFault("the campaign has no goal", "declare campaign.goal before it is sent")
        place = f"conversions/{goal.name}.json"
        body = self._destination.read(place)
        if body is None:
            raise AudienceFault(f"s3://{self._destination.bucket}/{place} is missing", "it says where conversions are")
        # Of the bytes that are counted by: the file may be another one a moment later. What a warehouse runs was read
        # by the attempt that began it.
        now_changed = partial(what_changed, goal, lambda key: body if key == place else self._destination.read(key))
        changed = Queries.decode(preparation.queries).changed or now_changed()
        declared = read_declaration(body, place)
        self._check(declared)
        now = dt.datetime.fromtimestamp(self._now(), dt.UTC)
        after = dt.timedelta(hours=request.after_h) if request.after_h is not None else None
        ask = self._ask(preparation, work, LastProgress(on_progress), changed)
        bucket = self._destination.bucket
        limits = Limits(
            work, self._memory_mb * 6 // 10, max(1, round(self._memory_mb / _MB_OF_ONE_VCPU)), self._storage_mb // 2
        )
        found = join(
            self._client, bucket, request.run_id, goal, declared, now, limits, ask, after, other_part_of(campaign)
        )
        # A query that was edited while it was counted may be the one that has run.
        found = msgspec.structs.replace(found, changed=changed or now_changed())
        log_unknown(found, request.run_id, goal.name, self._stack, self._now(), self._write)
        # Once: of two attempts one counts, and a decision names the figures that it saw.
        self._destination.create(key, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        return key

    def _check(self, declared: Declaration) -> None:
        marker = (declared.complete.marker,) if declared.complete.marker else ()
        for name in (*declared.files, *marker):
            self._rooms.check(*split(name, self._destination.bucket))

    def _ask(self, preparation: Preparation, work: Path, reported: LastProgress, changed: str) -> Ask:
        """Runs stored queries as audiences run them: DuckDB here, a warehouse without waiting."""

        def ask(requests: Sequence[Mapping[str, Any]]) -> Sequence[Sequence[Path]]:
            queries, now_s = Queries.decode(preparation.queries), self._now()
            bucket = self._destination.bucket
            resolver = Resolver(self._client, bucket, bucket, queries.began_s or now_s, self._rooms, is_audience=False)
            resolved = resolver.resolve(requests[0] if len(requests) == 1 else {"any": list(requests)})
            queries = msgspec.structs.replace(queries, changed=changed)
            queried = self._warehouses.rows(preparation.run_id, resolved, queries, now_s, work / "inputs")
            limits = QueryLimits.of_function(self._memory_mb, self._storage_mb, QUERY_TIME_S)
            order = order_of(self._client, resolved, 1, work / "inputs", limits, queried, reported.again)
            return [
                [file.path for file, owner in zip(order.inputs, order.owners, strict=True) if owner == number]
                for number in range(len(requests))
            ]

        return ask
