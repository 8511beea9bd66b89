"""Stored queries whose rows are conversions, run for a report: DuckDB on this machine, Athena in its workgroup."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from operations.cli.cloud import Cloud
from operations.cli.options import notes
from operations.cli.requests import QUERY_TIME_S

if TYPE_CHECKING:
    from audiences.conversions import Ask
    from audiences.database import Limits
    from audiences.warehouse import Warehouses

LOOK_EVERY_S = 2.0


def ask_here(
    client: Any,
    bucket: str,
    warehouses: "Warehouses",
    limits: "Limits",
    wait: Callable[[float], object] = time.sleep,
) -> "Ask":
    """Runs the queries that a declaration names, all at once, and waits for a warehouse's."""
    from audiences.engines.port import Limits as QueryLimits  # noqa: PLC0415 - DuckDB is loaded where it is needed
    from audiences.request import Resolver, order_of  # noqa: PLC0415
    from audiences.warehouse import Queries, StillQuerying  # noqa: PLC0415

    def ask(requests: Sequence[Mapping[str, Any]]) -> Sequence[Sequence[Path]]:
        # A name of its own: asked again, a warehouse must not answer with what it found the last time.
        name, queries = f"report-{uuid4().hex}", Queries()
        resolver = Resolver(client, bucket, bucket, is_audience=False)
        resolved = resolver.resolve(requests[0] if len(requests) == 1 else {"any": list(requests)})
        said = ""
        queried = None
        while queried is None:
            try:
                queried = warehouses.rows(name, resolved, queries, time.time(), limits.work / "inputs")
            except StillQuerying as waiting:
                if waiting.words != said:
                    notes().print(said := waiting.words, markup=False)
                queries = waiting.queries
                wait(LOOK_EVERY_S)
        own = QueryLimits(limits.memory_mb, limits.threads, limits.spill_mb, QUERY_TIME_S)
        order = order_of(client, resolved, 1, limits.work / "inputs", own, queried)
        return [
            [file.path for file, owner in zip(order.inputs, order.owners, strict=True) if owner == number]
            for number in range(len(requests))
        ]

    return ask


def warehouses_of(cloud: Cloud) -> "Warehouses":
    """Athena with the stack's own workgroup and database, which its audience function names; made when it is asked."""
    from audiences.engines.athena import Athena  # noqa: PLC0415
    from audiences.warehouse import Warehouses  # noqa: PLC0415

    deployment = cloud.deployment
    variables: dict[str, str] = {}
    # Who may not read it can still have conversions of files, and queries of DuckDB.
    with suppress(ClientError):
        worker = _variables(cloud, deployment.worker)
        variables = _variables(cloud, worker["AUDIENCE_FUNCTION"]) if "AUDIENCE_FUNCTION" in worker else {}
    group, database = variables.get("ATHENA_WORKGROUP", ""), variables.get("ATHENA_DATABASE") or "default"
    if not group:
        return Warehouses({})
    return Warehouses(
        {"athena": lambda: Athena(cloud.client("athena"), cloud.client("s3"), group, deployment.bucket, database)}
    )


def _variables(cloud: Cloud, function: str) -> dict[str, str]:
    found = cloud.client("lambda").get_function_configuration(FunctionName=function)
    return dict(found.get("Environment", {}).get("Variables", {}))
