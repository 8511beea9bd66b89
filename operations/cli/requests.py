"""Audiences that have to be made first, made here: what a batch file's `audience` names, by DuckDB on this machine.

The names in it mean objects of a bucket, or files of a directory that looks like the bucket.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from notifier.audience import AudienceChanged, AudienceUnreachable, BrokenFile, FileKind
from notifier.audience.local import parser_for, read_local
from notifier.model.audience_request import read_audience_source
from operations.cli.cloud import split_url
from operations.cli.errors import CommandError, ExitCode
from operations.cli.queries import QueryRoot
from operations.cli.sources import LazyCloud, s3_client

if TYPE_CHECKING:
    from audiences.build import Order
    from audiences.compose import Node
    from audiences.database import Limits
    from audiences.sources import InputFile
    from notifier.model.audience_counts import Counts

_SCHEME = "s3://"
QUERY_TIME_S = 600.0
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DIR|s3://BUCKET",
        help="Where the audience of a batch file on this machine is: a bucket, or a directory that looks like it. "
        "Default: the stack's bucket.",
    ),
]


def must_be_prepared(audience: object) -> bool:
    """Whether the audience function makes this audience before it is sent. Raises BrokenCampaign."""
    return read_audience_source(audience) is None


class RequestPlace:
    """Where the names of a request are looked up.

    Args:
        source: the batch file: a path, or s3://bucket/key.
        root: what `--from` says.
    """

    def __init__(self, source: str, root: str | None, stack: str | None, stack_file: Path | None) -> None:
        self._source = source
        self._root = root
        self._stack = stack
        self._stack_file = stack_file

    def order(self, request: Mapping[str, Any], limits: "Limits") -> "Order":
        """Everything fetched, and every query run. Raises AudienceFault and the faults of reading."""
        bucket = self._bucket()
        return self._order_of_bucket(request, bucket, limits) if bucket else self._order_here(request, limits)

    def _bucket(self) -> str:
        """The bucket of names that have none; empty for a directory."""
        if self._source.startswith(_SCHEME):
            return split_url(self._source)[0]
        if self._root is not None:
            return self._root.removeprefix(_SCHEME).strip("/") if self._root.startswith(_SCHEME) else ""
        try:
            return LazyCloud(self._stack, self._stack_file).get().deployment.bucket
        except CommandError as error:
            if error.code is not ExitCode.USAGE:
                raise
            problem = f"{self._source}: its audience is elsewhere, and no place is named"
            mend = "name the stack (--stack NAME), or a directory that looks like its bucket (--from DIR)"
            raise CommandError(ExitCode.USAGE, problem, mend) from None

    def _order_of_bucket(self, request: Mapping[str, Any], bucket: str, limits: "Limits") -> "Order":
        from audiences.engines.port import Limits as QueryLimits  # noqa: PLC0415 - DuckDB is loaded where it is needed
        from audiences.request import Resolver, order_of  # noqa: PLC0415

        client = s3_client(self._stack, self._stack_file)
        resolved = Resolver(client, bucket, bucket).resolve(request)
        own = QueryLimits(limits.memory_mb, limits.threads, limits.spill_mb, QUERY_TIME_S)
        return order_of(client, resolved, 1, limits.work / "inputs", own)

    def _order_here(self, request: Mapping[str, Any], limits: "Limits") -> "Order":
        from audiences.build import Order  # noqa: PLC0415
        from audiences.compose import columns_to_show, every_source, read_composition  # noqa: PLC0415

        root = QueryRoot(self._root or ".", None, None)
        listed = _Listed(root)
        node = read_composition(request, listed)
        inputs: list[InputFile] = []
        owners: list[int] = []
        for number, source in enumerate(sorted(every_source(node), key=lambda one: one.number)):
            found = _files_here(source.request, root, limits, limits.work / f"source-{number}")
            inputs += found
            owners += [number] * len(found)
        shown = columns_to_show(node, listed)
        composition = node if _leaves_out(node) else None
        show = None if shown is None else tuple(sorted(shown))
        return Order(request, tuple(inputs), 1, show, composition=composition, owners=tuple(owners))


class _Listed:
    """Which columns of a source may be shown and filtered by: those that a stored query lists."""

    def __init__(self, root: QueryRoot) -> None:
        self._root = root

    def __call__(self, source: Mapping[str, Any]) -> tuple[str, ...] | None:
        return self._root.query(source["query"]["name"]).about.show if "query" in source else None


def _leaves_out(node: "Node") -> bool:
    from audiences.compose import Composed  # noqa: PLC0415

    return isinstance(node, Composed) or bool(node.filters)


def _files_here(source: Mapping[str, Any], root: QueryRoot, limits: "Limits", work: Path) -> "tuple[InputFile, ...]":
    """The files of one source, below the root; a query's rows are in a file of the work directory."""
    from audiences.engines.duckdb import DuckDb  # noqa: PLC0415
    from audiences.engines.port import Limits as QueryLimits  # noqa: PLC0415
    from audiences.faults import AudienceFault  # noqa: PLC0415
    from audiences.queries import free_query, with_values  # noqa: PLC0415
    from audiences.query_input import pinned_query, run_locally  # noqa: PLC0415

    if "files" in source or "parts" in source:
        names = source.get("files") or [part["key"] for part in source["parts"]]
        return root.files(names, work)
    if "query" in source:
        stored = root.query(source["query"]["name"])
        query = with_values(stored, source["query"].get("parameters", {}))
        engine, named = str(stored.about.engine), stored.about.tables
    else:
        query = free_query(source["sql"], source.get("parameters", {}), "audience.sql")
        engine, named = source.get("engine", "duckdb"), source.get("tables", {})
    if engine != "duckdb":
        mend = "notifier audience build --query NAME asks Athena, with --workgroup"
        raise AudienceFault(f"{query.name}: {engine} is not asked from here", mend)
    tables = {name: root.files(files, work / name) for name, files in named.items()}
    own = QueryLimits(limits.memory_mb, limits.threads, limits.spill_mb, QUERY_TIME_S)
    return run_locally(DuckDb(work / "query", own), query, tables, pinned_query(query, tables, "duckdb"), work / "rows")


@contextmanager
def prepared_records(
    request: Mapping[str, Any], place: RequestPlace, on_progress: Callable[[str, int], object]
) -> "Iterator[tuple[Counts, Iterator[list[object]]]]":
    """What the prepared audience holds, and its records as the worker would read them."""
    with workplace(None) as limits, faults():
        from audiences.build import build  # noqa: PLC0415
        from audiences.destinations import Directory  # noqa: PLC0415

        # The database's directory is deleted when it is closed: what is fetched and written lies beside it.
        own = msgspec.structs.replace(limits, work=limits.work / "database")
        manifest = build(place.order(request, limits), Directory(limits.work / "out"), own, on_progress)
        paths = [limits.work / "out" / part.key for part in manifest.parts]
        yield manifest.counts, chain.from_iterable(read_local(path, parser_for(path, FileKind.USERS)) for path in paths)


@contextmanager
def workplace(work: Path | None, memory_mb: int = 400) -> "Iterator[Limits]":
    """A directory that is deleted at the end, and how much of this machine may be used."""
    needs_duckdb()
    from audiences.database import Limits  # noqa: PLC0415

    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="audience-", dir=work) as directory:
        yield Limits(Path(directory), memory_mb, threads=os.cpu_count() or 1)


def needs_duckdb() -> None:
    """Raise CommandError where DuckDB is not installed, which makes audiences."""
    try:
        import duckdb  # noqa: F401, PLC0415
    except ImportError:
        mend = "install it: pip install 'notifier[audiences]' (or: pip install duckdb)"
        raise CommandError(ExitCode.USAGE, "this needs DuckDB, which is not installed here", mend) from None


@contextmanager
def faults() -> Iterator[None]:
    """Turns what is wrong with an audience into a command's error."""
    from audiences.faults import AudienceFault, NothingThere  # noqa: PLC0415

    try:
        yield
    except AudienceFault as error:
        code = ExitCode.NOT_FOUND if isinstance(error, NothingThere) else ExitCode.NOT_FINE
        raise CommandError(code, error.problem, error.mend) from None
    except BrokenFile as error:
        raise CommandError(ExitCode.NOT_FINE, str(error), error.mend) from None
    except AudienceChanged as error:
        raise CommandError(ExitCode.NOT_FOUND, str(error), "begin again: the files were replaced meanwhile") from None
    except AudienceUnreachable as error:
        raise CommandError(ExitCode.UNREACHABLE, str(error), "check the credentials and their permissions") from None
