"""A query becomes an input of preparation: its tables are fetched, it is run, and its rows are a file.

The input is pinned by what it was made of, the SQL, the values and the tables' objects, and not by the file that it
happens to be in: so the same query over the same objects gives the same audience, which is prepared once. It is run,
and killed when its time is over, by `engines.duckdb`; a warehouse's by `warehouse`.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from audiences.build import Order, pinned_of
from audiences.engines.duckdb import DuckDb
from audiences.engines.port import Query, Value
from audiences.manifest_format import audience_id
from audiences.sources import InputFile
from notifier.model.batch_file import PinnedObject

Tables = Mapping[str, Sequence[InputFile]]
REUSED_FOR_S = 15 * 60
"""A warehouse does not say whether its tables have changed: its answer is used again for this long."""


def plain(parameters: Mapping[str, Value]) -> dict[str, Any]:
    """Values as a request has them: a date is a text."""
    return {name: _plain(value) for name, value in parameters.items()}


def _plain(value: Value) -> Any:
    match value:
        case dt.date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case _:
            return value


def pinned_query(query: Query, tables: Tables, engine: str, now_s: float | None = None) -> PinnedObject:
    """Represents the query's rows in the audience's id.

    Args:
        now_s: for engines with tables of their own: their answer counts as the same for 15 minutes.
    """
    objects = {name: [msgspec.to_builtins(pinned_of(file)) for file in files] for name, files in tables.items()}
    made_of = {
        "engine": engine,
        "sql": query.text,
        "parameters": {name: str(value) for name, value in query.parameters.items()},
        "tables": objects,
        "slot": None if now_s is None else int(now_s // REUSED_FOR_S),
    }
    digest = hashlib.sha256(msgspec.json.encode(made_of, order="sorted")).hexdigest()
    size = sum(pinned_of(file).size for files in tables.values() for file in files)
    return PinnedObject("", query.name, None, digest[:32], size)


class QueryOrder(Order, frozen=True):
    """An order of a query's rows. Its id is known before the query has run: what is prepared already is not run again.

    Args:
        made_of: represents the rows in the id.
    """

    made_of: PinnedObject = PinnedObject("", "", None, "", 0)

    @property
    def id(self) -> str:
        """The audience's id."""
        return audience_id(self.request, (self.made_of,))


def run_locally(
    engine: DuckDb, query: Query, tables: Tables, pinned: PinnedObject, directory: Path
) -> tuple[InputFile, ...]:
    """The rows, as an input that is pinned by what it was made of. Raises QueryFault."""
    files = engine.run(query, tables, directory)
    return tuple(InputFile(file.path, query.name, pinned, ordered=False) for file in files)
