"""Queries that a warehouse runs for a preparation: started, left, looked at again, fetched once all have ended.

attempt ── start ── the tickets are kept, the function ends: nobody pays for waiting
EventBridge, or the sweeper's minute ── look ── one still runs: left again
                                          └── all have ended ── rows fetched, the preparation goes on
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from audiences.engines.athena import WORKGROUP_PARAMETER, execution_of
from audiences.engines.port import Attempt, EngineName, Query, RemoteEngine, Running, Unavailable
from audiences.faults import AudienceFault
from audiences.request import ResolvedRequest, ResolvedSource
from audiences.sources import InputFile

TIME_S = 60 * 60.0
"""A query that has not ended after an hour is stopped: Athena itself stops one after 30 minutes."""
SECRET_PARAMETER = "BigQuerySecretArn"
"""The stack's parameter that names the secret with the service account for BigQuery."""
_NAMES: Mapping[EngineName, str] = {"duckdb": "DuckDB", "athena": "Athena", "bigquery": "BigQuery"}
_NEEDS: Mapping[EngineName, str] = {"duckdb": "", "athena": WORKGROUP_PARAMETER, "bigquery": SECRET_PARAMETER}


class Asked(msgspec.Struct, frozen=True):
    """A query that was started.

    Args:
        query: its name, for messages.
        cost: what it reads at most, in words.
    """

    engine: EngineName
    ticket: str
    query: str
    cost: str

    @property
    def words(self) -> str:
        """What is going on, for people."""
        return f"{_NAMES[self.engine]} runs {self.query} ({self.cost})"


class Queries(msgspec.Struct, frozen=True):
    """What warehouses run for one preparation, as its item keeps it.

    Args:
        began_s: when the first was asked for, in seconds since the epoch; 0 before.
        asked: by the source's number in the request.
        changed: of conversions: why what was asked is not what was approved; "" where it is.
    """

    began_s: float = 0.0
    asked: Mapping[str, Asked] = {}
    changed: str = ""

    @classmethod
    def decode(cls, text: str) -> "Queries":
        """From the item's text; of an empty one, none."""
        return msgspec.json.decode(text, type=cls) if text else cls()

    def encode(self) -> str:
        """As the item's text."""
        return msgspec.json.encode(self).decode()

    @property
    def executions(self) -> tuple[str, ...]:
        """The ids by which EventBridge reports an end: Athena's. BigQuery reports none."""
        return tuple(execution_of(one.ticket) for one in self.asked.values() if one.engine == "athena")


class StillQuerying(Exception):
    """A query has not ended. The attempt is over without having failed; a later one looks again.

    Args:
        queries: what to look at then.
        words: what is waited for, for people.
    """

    def __init__(self, queries: Queries, words: str) -> None:
        super().__init__(words)
        self.queries = queries
        self.words = words


class Warehouses:
    """The warehouses of a stack.

    Args:
        engines: by name, made when they are first asked; one that the stack has no parameter for is missing.
        last_scan: the bytes that a query read when it ran last, by its digest; None if that is not known.
        note_scan: keeps them.
    """

    def __init__(
        self,
        engines: Mapping[EngineName, Callable[[], RemoteEngine]],
        last_scan: Callable[[str], int | None] = lambda _digest: None,
        note_scan: Callable[[str, int], object] = lambda _digest, _size: None,
    ) -> None:
        self._makers = engines
        self._last_scan = last_scan
        self._note_scan = note_scan
        self._made: dict[EngineName, RemoteEngine] = {}

    def rows(
        self, run_id: str, resolved: ResolvedRequest, queries: Queries, now_s: float, work: Path
    ) -> dict[int, tuple[InputFile, ...]]:
        """The rows of each of the request's queries that a warehouse runs, by the source's number.

        Raises:
            StillQuerying: not all have ended.
            QueryFault: one has failed; the others were stopped.
        """
        asked = dict(queries.asked)
        wanted = {
            number: source for number, source in enumerate(resolved.sources)
            if source.query is not None and source.engine != "duckdb"
        }  # fmt: skip
        running: list[str] = []
        for number, source in wanted.items():
            assert source.query is not None
            try:
                if (before := asked.get(str(number))) is None:
                    asked[str(number)] = self._start(source.engine, source.query, f"{run_id}-{number}")
                    running.append(asked[str(number)].words)
                else:
                    asked[str(number)], is_running = self._look(source.query, before)
                    running += [before.words] if is_running else []
            except Unavailable as error:
                # What was started is kept; what was not is started by the next attempt, with the same token.
                if not asked:
                    raise
                running.append(error.problem)
            except AudienceFault as error:
                self._fail(asked, error)
        if running:
            began_s = queries.began_s or now_s
            self._leave(msgspec.structs.replace(queries, began_s=began_s, asked=asked), running, now_s)
        return {
            number: self._fetched(source, asked[str(number)], work / f"queried-{number}")
            for number, source in wanted.items()
        }

    def cost(self, engine: EngineName, query: Query) -> str:
        """What a query would read, in words, before it runs. Raises AudienceFault."""
        return f"{query.name}: {self._engine(engine, query.name).cost(query).sentence}"

    def stop(self, queries: Queries) -> None:
        """Stop what still runs: nothing is to be read, and paid, for an audience that nobody wants any more."""
        for one in queries.asked.values():
            try:
                self._engine(one.engine, one.query).cancel(one.ticket)
            except Unavailable:
                raise
            except AudienceFault:
                # It has ended by itself, or is not known any more: there is nothing left to stop.
                continue

    def _engine(self, name: EngineName, query: str) -> RemoteEngine:
        if name not in self._makers:
            mend = f"set the stack's parameter {_NEEDS[name]}"
            raise AudienceFault(f"{query}: this stack does not ask {_NAMES[name]}", mend)
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def _start(self, name: EngineName, query: Query, audience: str) -> Asked:
        engine = self._engine(name, query.name)
        cost = engine.cost(query)
        words = cost.sentence
        # Athena does not say before it runs: what the same SQL has read before is the next best.
        if cost.scanned_bytes is None and (before := self._last_scan(_digest(name, query))) is not None:
            words += f"; it scanned {before / 1e9:,.2f} GB when it ran last"
        # Of the run, and not of the audience: after a query that failed, the next run starts another one. Always the
        # first attempt: one that was killed after this is continued, with what it has started.
        return Asked(name, engine.start(query, Attempt(audience, 1)), query.name, words)

    def _look(self, query: Query, before: Asked) -> tuple[Asked, bool]:
        state = self._engine(before.engine, query.name).look(query, before.ticket)
        if not isinstance(state, Running) and state.scanned_bytes is not None:
            self._note_scan(_digest(before.engine, query), state.scanned_bytes)
        return msgspec.structs.replace(before, ticket=state.ticket), isinstance(state, Running)

    def _leave(self, queries: Queries, running: list[str], now_s: float) -> NoReturn:
        if now_s - queries.began_s > TIME_S:
            self.stop(queries)
            mend = "read less, by partitions; or run it by itself, and name the files that it writes"
            raise AudienceFault(f"{running[0]}: has not ended after {TIME_S / 60:.0f} minutes, and was stopped", mend)
        raise StillQuerying(queries, "; ".join(running))

    def _fail(self, asked: Mapping[str, Asked], error: AudienceFault) -> NoReturn:
        """Fail, and stop the others. One of them that cannot be stopped hides nothing of what has failed."""
        with suppress(AudienceFault):
            self.stop(Queries(asked=asked))
        raise error

    def _fetched(self, source: ResolvedSource, asked: Asked, directory: Path) -> tuple[InputFile, ...]:
        assert source.query is not None
        files = self._engine(asked.engine, asked.query).fetch(source.query, asked.ticket, directory)
        # BigQuery's rows were never an object: they are pinned by what they were made of.
        return tuple(msgspec.structs.replace(file, pinned=file.pinned or source.pinned[0]) for file in files)


def _digest(engine: EngineName, query: Query) -> str:
    """Names a query by its text, whatever its parameters are."""
    return hashlib.sha256(f"{engine}\n{query.text}".encode()).hexdigest()[:32]
