"""What a request names becomes the inputs of its preparation: files and queries, alone or combined.

resolve: names ── pinned objects, the id: nothing is read yet, and what is prepared already is found
fetch:   pinned objects ── files of this attempt ── queries are run over theirs
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from audiences.build import Order
from audiences.compose import Composed, Node, columns_to_show, every_source, read_composition
from audiences.engines.duckdb import DuckDb
from audiences.engines.port import EngineName, Limits, Query
from audiences.faults import AudienceFault
from audiences.fetch import fetch
from audiences.manifest_format import audience_id
from audiences.queries import NamedQuery, about_key, check_name, free_query, read_query, sql_key, with_values
from audiences.query_input import pinned_query, run_locally
from audiences.rooms import Rooms
from audiences.sources import InputFile, pinned_files, split
from notifier.audience.pin import pin_parts
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Part
from notifier.model.plain_words import described

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOWHERE = Path()
"""Of a table's file that is not fetched yet."""


class ResolvedSource(msgspec.Struct, frozen=True):
    """A source of a request with everything pinned: objects of users, or a query and the objects of its tables.

    Args:
        engine: what runs the query.
        asked_s: of a warehouse's query: when it was first asked for, in seconds since the epoch.
    """

    objects: tuple[PinnedObject, ...] = ()
    query: Query | None = None
    tables: Mapping[str, tuple[PinnedObject, ...]] = {}
    engine: EngineName = "duckdb"
    asked_s: float | None = None

    @property
    def pinned(self) -> tuple[PinnedObject, ...]:
        """Represents the source's rows in the audience's id."""
        if self.query is None:
            return self.objects
        files = {name: tuple(_unfetched(one) for one in objects) for name, objects in self.tables.items()}
        return (pinned_query(self.query, files, self.engine, self.asked_s),)


class ResolvedRequest(msgspec.Struct, frozen=True):
    """A request with its sources, by their numbers in the composition."""

    request: Mapping[str, Any]
    node: Node
    sources: tuple[ResolvedSource, ...]
    show: tuple[str, ...] | None = ()
    """Columns whose values may be shown; None for all."""

    @property
    def pinned(self) -> tuple[PinnedObject, ...]:
        """Everything that the audience is made of, in the order of reading."""
        return tuple(one for source in self.sources for one in source.pinned)

    @property
    def id(self) -> str:
        """The audience's id."""
        return audience_id(self.request, self.pinned)


class RequestOrder(Order, frozen=True):
    """An order of a request. Its id is that of what was pinned, before anything was fetched."""

    made_of: tuple[PinnedObject, ...] = ()

    @property
    def id(self) -> str:
        """The audience's id."""
        return audience_id(self.request, self.made_of)


class Resolver:
    """Resolves requests against S3.

    Args:
        stack: the bucket that has `queries/` and `standing/`.
        bucket: of names without one: the batch file's.
        now_s: what a warehouse's query is pinned by, whose tables are not.
        rooms: what a request may name; None for all that the reader's own rights reach, as on a laptop.
        is_audience: the rows of its queries are users with devices.
    """

    def __init__(
        self,
        client: "S3Client",
        stack: str,
        bucket: str,
        now_s: float | None = None,
        rooms: Rooms | None = None,
        *,
        is_audience: bool = True,
    ) -> None:
        self._client = client
        self._stack = stack
        self._bucket = bucket
        self._now_s = time.time() if now_s is None else now_s
        self._rooms = rooms
        self._is_audience = is_audience
        self._stored: dict[tuple[str, str], NamedQuery] = {}

    def resolve(self, request: Mapping[str, Any]) -> ResolvedRequest:
        """Pin everything that a request names.

        Raises:
            AudienceFault, AudienceChanged, AudienceUnreachable: something is wrong with it, or cannot be read.
        """
        node = read_composition(request, self._listed)
        sources = sorted(every_source(node), key=lambda source: source.number)
        resolved = tuple(self._source(source.request) for source in sources)
        show = columns_to_show(node, self._listed)
        return ResolvedRequest(request, node, resolved, None if show is None else tuple(sorted(show)))

    def _listed(self, source: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The columns of a source that may be filtered by, and shown; None for any."""
        return self._query(source["query"]).about.show if "query" in source else None

    def _source(self, source: Mapping[str, Any]) -> ResolvedSource:
        if "parts" in source:
            parts = msgspec.convert(source["parts"], tuple[Part, ...])
            self._check((part.bucket or self._bucket, part.key) for part in parts)
            return ResolvedSource(pin_parts(self._client, parts, self._bucket))
        if "files" in source:
            return ResolvedSource(self._pinned(source["files"], self._bucket))
        if "query" in source:
            stored = self._query(source["query"])
            query = with_values(stored, source["query"].get("parameters", {}))
            query = msgspec.structs.replace(query, is_audience=self._is_audience)
            return self._queried(query, stored.about.engine, stored.about.tables, self._stack)
        query = free_query(source["sql"], source.get("parameters", {}), "audience.sql")
        return self._queried(query, _engine(source.get("engine", "duckdb")), source.get("tables", {}), self._bucket)

    def _queried(self, query: Query, engine: EngineName, tables: Mapping[str, Any], bucket: str) -> ResolvedSource:
        if engine == "duckdb":
            return ResolvedSource((), query, self._tables(tables, bucket))
        if tables:
            raise AudienceFault(f"{query.name}: {engine} has tables of its own", "leave tables out")
        return ResolvedSource((), query, engine=engine, asked_s=self._now_s)

    def _tables(self, tables: Mapping[str, Any], bucket: str) -> dict[str, tuple[PinnedObject, ...]]:
        return {name: self._pinned(tuple(files), bucket) for name, files in tables.items()}

    def _pinned(self, names: Sequence[str], bucket: str) -> tuple[PinnedObject, ...]:
        self._check(split(name, bucket) for name in names)
        return pinned_files(self._client, names, bucket)

    def _check(self, named: Iterable[tuple[str, str]]) -> None:
        """Before S3 is asked for anything: its refusal would say less, and the role may read more than users."""
        if self._rooms is not None:
            for bucket, key in named:
                self._rooms.check(bucket, key)

    def _query(self, source: Mapping[str, Any]) -> NamedQuery:
        """A stored query: as it is now, or for an occurrence of a schedule as it was approved."""
        name, copy = source["name"], source.get("copy", "")
        check_name(name)
        # Read once for a request: between two reads the query may change, and its id would name neither.
        if (copy, name) not in self._stored:
            sql, about = self._read(copy + sql_key(name)), self._read(copy + about_key(name))
            self._stored[copy, name] = read_query(name, sql, about)
        return self._stored[copy, name]

    def _read(self, key: str) -> bytes:
        try:
            data: bytes = self._client.get_object(Bucket=self._stack, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            mend = "notifier audience queries lists those that are there"
            raise AudienceFault(f"s3://{self._stack}/{key}: there is no such query", mend) from None
        return data


def order_of(
    client: "S3Client",
    resolved: ResolvedRequest,
    attempt: int,
    work: Path,
    limits: Limits,
    queried: Mapping[int, tuple[InputFile, ...]] = {},
    check: Callable[[], object] = lambda: None,
) -> RequestOrder:
    """The order of a request: its objects fetched, its queries run.

    Args:
        work: a directory of this attempt.
        limits: of each query that is run here.
        queried: the rows of those that a warehouse has run, by the source's number.
        check: called while a query runs; where it raises, the query is stopped.

    Raises:
        AudienceFault, AudienceChanged, AudienceUnreachable: as of fetching, and of the queries.
    """
    inputs: list[InputFile] = []
    owners: list[int] = []
    for number, source in enumerate(resolved.sources):
        is_queried = number in queried
        found = queried[number] if is_queried else _files_of(client, source, work / f"source-{number}", limits, check)
        inputs += found
        owners += [number] * len(found)
    # Without choices all users of all inputs belong: a composition would only cost its joins.
    composition = resolved.node if _has_choices(resolved.node) else None
    return RequestOrder(
        resolved.request,
        tuple(inputs),
        attempt,
        resolved.show,
        composition=composition,
        owners=tuple(owners),
        made_of=resolved.pinned,
        queries={source.query.name: source.query.text for source in resolved.sources if source.query is not None},
    )


def _files_of(
    client: "S3Client", source: ResolvedSource, work: Path, limits: Limits, check: Callable[[], object]
) -> tuple[InputFile, ...]:
    check()
    if source.query is None:
        return fetch(client, source.objects, work)
    # One folder for all tables: it is what the query may read.
    tables = {name: fetch(client, objects, work / "tables" / name) for name, objects in source.tables.items()}
    engine = DuckDb(work / "query", limits, check)
    return run_locally(engine, source.query, tables, source.pinned[0], work / "rows")


def _has_choices(node: Node) -> bool:
    """Whether anything of the sources is left out; of a plain source all is taken."""
    return isinstance(node, Composed) or bool(node.filters)


def _engine(name: str) -> EngineName:
    """The engine that a request names for its SQL."""
    try:
        found: EngineName = msgspec.convert(name, EngineName)
    except msgspec.ValidationError:
        raise AudienceFault(
            f"audience.engine: {described(name)} is no engine", "write duckdb, athena or bigquery"
        ) from None
    return found


def _unfetched(one: PinnedObject) -> InputFile:
    return InputFile(_NOWHERE, one.name, one)
