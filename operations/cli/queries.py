"""`audience queries`, and `audience build` of a query: stored ones by their name, or SQL in a file."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import boto3
import msgspec
import typer
from rich.text import Text

from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, Stack, StackFile, console, notes, print_json
from operations.cli.sources import s3_client

if TYPE_CHECKING:
    from audiences.build import Order
    from audiences.database import Limits
    from audiences.destinations import Destination
    from audiences.engines.port import Query
    from audiences.queries import NamedQuery
    from audiences.sources import InputFile

_SCHEME = "s3://"

QueryName = Annotated[
    str | None, typer.Option("--query", metavar="NAME", help="A stored query, queries/NAME.sql, instead of FILES.")
]
SqlFile = Annotated[Path | None, typer.Option("--sql", metavar="FILE", help="One SELECT in a file, instead of FILES.")]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="A parameter's value; a list has the option several times."),
]
TableFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--table", metavar="NAME=FILES", help="For --sql: the files of a table: a path, folder, glob or s3://…"
    ),
]
Root = Annotated[
    str,
    typer.Option(
        "--from", metavar="DIR|s3://BUCKET", help="Where queries/ is, and the files of stored queries' tables."
    ),
]
WorkGroup = Annotated[
    str | None, typer.Option("--workgroup", envvar="NOTIFIER_ATHENA_WORKGROUP", help="Athena's, for queries of Athena.")
]
MaxTime = Annotated[float, typer.Option("--query-time-s", help="How long a query may take.")]


class Asked(msgspec.Struct, frozen=True):
    """What the command line says about the query."""

    name: str | None
    sql: Path | None
    params: Sequence[str]
    tables: Sequence[str]
    root: str
    workgroup: str | None
    time_s: float
    stack: str | None
    stack_file: Path | None


@reports_errors
def list_queries(root: Root = ".", stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """List the stored queries: whom each selects, what has to be filled in, and whom to ask about it.

    Exit 0 if all of them can be used, 1 if one is broken.

    Example: notifier audience queries --from s3://push-campaigns
    """
    from audiences.faults import AudienceFault  # noqa: PLC0415 - DuckDB is loaded for these commands only

    files = QueryRoot(root, stack, stack_file)
    found: list[dict[str, Any]] = []
    for name in files.names():
        try:
            found.append(_described(files.query(name)))
        except AudienceFault as error:
            # One broken query must not hide the others.
            found.append({"name": name, "error": error.problem})
    if as_json:
        print_json({"queries": found})
    else:
        _print(found, root)
    if any("error" in one for one in found):
        raise typer.Exit(ExitCode.NOT_FINE)


def _described(query: "NamedQuery") -> dict[str, Any]:
    about: dict[str, Any] = msgspec.to_builtins(query.about)
    return {"name": query.name, "engine": query.about.engine, **about}


def _print(found: list[dict[str, Any]], root: str) -> None:
    out = console()
    if not found:
        out.print(Text(f"{root}: no stored queries (queries/NAME.sql and queries/NAME.json)"))
    for one in found:
        if "error" in one:
            out.print(Text(f"{one['name']}: cannot be used: {one['error']}", style="red"))
            continue
        owner = f" · {one['owner']}" if one.get("owner") else ""
        out.print(Text(f"{one['name']} ({one['engine']}{owner}): {one.get('description', '')}"))
        for name, parameter in one.get("parameters", {}).items():
            choices = f" of {_listed(parameter['choices'])}" if "choices" in parameter else ""
            default = f", default {_listed(parameter['default'])}" if "default" in parameter else ""
            text = f"  --param {name}=… {parameter['type']}{choices}{default}: {parameter.get('description', '')}"
            out.print(Text(text.rstrip(": ")))


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class QueryRoot:
    """Where stored queries and their tables are: a directory that looks like the bucket, or the bucket."""

    def __init__(self, root: str, stack: str | None, stack_file: Path | None) -> None:
        self._stack, self._stack_file = stack, stack_file
        self.bucket = root.removeprefix(_SCHEME).strip("/") if root.startswith(_SCHEME) else ""
        self.directory = Path(root)

    def client(self) -> Any:
        return s3_client(self._stack, self._stack_file)

    def names(self) -> Iterator[str]:
        """The names of all queries, broken ones too."""
        if not self.bucket:
            yield from sorted(path.stem for path in (self.directory / "queries").glob("*.json"))
            return
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="queries/")
        for page in pages:
            for one in page.get("Contents", ()):
                # The description names the query: SQL without one cannot be used.
                if one["Key"].endswith(".json"):
                    yield one["Key"].removeprefix("queries/").removesuffix(".json")

    def query(self, name: str) -> "NamedQuery":
        from audiences.queries import about_key, check_name, read_query, sql_key  # noqa: PLC0415

        check_name(name)
        return read_query(name, self._read(sql_key(name)), self._read(about_key(name)))

    def _read(self, key: str) -> bytes:
        mend = "notifier audience queries lists those that are there"
        if not self.bucket:
            try:
                return (self.directory / key).read_bytes()
            except FileNotFoundError:
                problem = f"{self.directory / key}: there is no such query"
                raise CommandError(ExitCode.NOT_FOUND, problem, mend) from None
        client = self.client()
        try:
            data: bytes = client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            raise CommandError(ExitCode.NOT_FOUND, f"s3://{self.bucket}/{key}: there is no such object", mend) from None
        return data

    def files(self, names: Sequence[str], directory: Path) -> "tuple[InputFile, ...]":
        """The files that a stored query's names mean."""
        from audiences.fetch import fetch  # noqa: PLC0415
        from audiences.sources import local_files, pinned_files  # noqa: PLC0415

        found: list[InputFile] = []
        for n, name in enumerate(names):
            if self.bucket or name.startswith(_SCHEME):
                client = self.client()
                found += fetch(client, pinned_files(client, [name], self.bucket), directory / f"{n}")
            else:
                found += local_files([str(self.directory / name)])
        return tuple(found)


def order_of(asked: Asked, limits: "Limits", destination: "Destination", show: Sequence[str], attempt: int) -> "Order":
    """Run the query, unless its audience is prepared already, and order an audience of its rows.

    Raises:
        AudienceFault: the query cannot be run, or found nobody.
    """
    from audiences.build import found_manifest, is_whole  # noqa: PLC0415
    from audiences.query_input import QueryOrder, pinned_query  # noqa: PLC0415

    root = QueryRoot(asked.root, asked.stack, asked.stack_file)
    engine, query, request, tables, may_show = _resolved(asked, root, limits)
    pinned = pinned_query(query, tables, engine, None if engine == "duckdb" else time.time())
    order = QueryOrder(request, (), attempt, tuple(show) or may_show, made_of=pinned)
    found = found_manifest(destination, order.id)
    if found is not None and is_whole(destination, found):
        return order
    if engine == "bigquery":
        mend = "export its rows to a bucket (EXPORT DATA), and give the files: notifier audience build s3://…"
        raise CommandError(ExitCode.USAGE, f"{query.name}: the command line does not ask BigQuery", mend)
    run = _run_here if engine == "duckdb" else _run_in_athena
    inputs = run(asked, query, tables, pinned, limits, order)
    return msgspec.structs.replace(order, inputs=inputs)


def _resolved(
    asked: Asked, root: QueryRoot, limits: "Limits"
) -> "tuple[str, Query, dict[str, Any], dict[str, tuple[InputFile, ...]], tuple[str, ...]]":
    """Engine, query, request, tables, and columns that may be shown, of what was asked for."""
    from audiences.queries import free_query, from_texts, with_values  # noqa: PLC0415
    from audiences.query_input import plain  # noqa: PLC0415

    given = _pairs(asked.params, "--param", "day=2026-11-21")
    if asked.name is not None:
        stored = root.query(asked.name)
        known = stored.about.parameters
        values = {
            name: from_texts(known[name], texts, f"parameters.{name}") if name in known else texts[0]
            for name, texts in given.items()
        }
        query = with_values(stored, values)
        tables = {name: root.files(files, limits.work / f"table-{name}") for name, files in stored.about.tables.items()}
        request: dict[str, Any] = {"query": {"name": stored.name, "parameters": plain(query.parameters)}}
        return stored.about.engine, query, request, tables, stored.about.show
    assert asked.sql is not None
    text = asked.sql.read_text(encoding="utf-8-sig")
    # Without a file that gives types: texts, which SQL casts, and lists where the option is there several times.
    values = {name: texts if len(texts) > 1 else texts[0] for name, texts in given.items()}
    query = free_query(text, values, str(asked.sql))
    named = _pairs(asked.tables, "--table", "users=exports/*.parquet")
    here = QueryRoot("", asked.stack, asked.stack_file)
    tables = {name: here.files(files, limits.work / f"table-{name}") for name, files in named.items()}
    request = {"sql": text, "engine": "duckdb", "tables": named, "parameters": plain(query.parameters)}
    return "duckdb", query, request, tables, ()


def _run_here(
    asked: Asked, query: "Query", tables: Mapping[str, Any], pinned: Any, limits: "Limits", _order: "Order"
) -> "tuple[InputFile, ...]":
    from audiences.engines.duckdb import DuckDb  # noqa: PLC0415
    from audiences.engines.port import Limits as QueryLimits  # noqa: PLC0415
    from audiences.query_input import run_locally  # noqa: PLC0415

    own = QueryLimits(limits.memory_mb, limits.threads, limits.spill_mb, asked.time_s)
    engine = DuckDb(limits.work / "query", own)
    notes().print(Text(f"{query.name}: {engine.cost(query, tables).sentence}"))
    return run_locally(engine, query, tables, pinned, limits.work / "queried")


def _run_in_athena(
    asked: Asked, query: "Query", _tables: Mapping[str, Any], _pinned: Any, limits: "Limits", order: "Order"
) -> "tuple[InputFile, ...]":
    from audiences.engines.athena import Athena  # noqa: PLC0415
    from audiences.engines.port import Attempt, await_rows  # noqa: PLC0415

    root = QueryRoot(asked.root, asked.stack, asked.stack_file)
    if not asked.workgroup or not root.bucket:
        mend = "name them: --workgroup NAME --from s3://BUCKET; the workgroup needs a limit of bytes for a query"
        raise CommandError(ExitCode.USAGE, f"{query.name}: Athena needs a workgroup and a bucket to write to", mend)
    athena = Athena(boto3.client("athena"), root.client(), asked.workgroup, root.bucket)
    notes().print(Text(f"{query.name}: {athena.cost(query).sentence}"))
    # Ctrl-C and the same command again: Athena recognises the attempt, and is not paid twice.
    attempt = Attempt(order.id, order.attempt)
    return await_rows(athena, query, attempt, limits.work / "queried", time_s=asked.time_s)


def _pairs(given: Sequence[str], option: str, example: str) -> dict[str, tuple[str, ...]]:
    """`name=value`s by name, in the order of the command line."""
    found: dict[str, tuple[str, ...]] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise CommandError(ExitCode.USAGE, f"{option} {one}: has no name", f"write {option} {example}")
        found[name] = (*found.get(name, ()), value)
    return found
