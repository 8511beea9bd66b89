"""The stored queries that people may choose: `queries/NAME.json` in the bucket. The SQL itself stays where it is."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.stored_query import NAME, PREFIX, StoredQuery

MAX_OFFERED = 200
_NAMED = re.compile(r"\bqueries/([a-z0-9][a-z0-9_-]{0,63})\.(?:sql|json)\b")
"""How the audience function names a query: with its line and column behind it, before the engine's own message."""


class OfferedQuery(msgspec.Struct, frozen=True):
    """A stored query to choose. `fault` says why it cannot be."""

    name: str
    about: StoredQuery = StoredQuery()
    fault: str = ""

    @property
    def is_paid_by_bytes(self) -> bool:
        """Whether its engine is paid by what it reads."""
        return self.about.engine != "duckdb"


def whom_to_ask(fault: str, owners: Mapping[str, str]) -> str:
    """Who looks after the query that a fault names, for people who cannot correct it; "" where nothing says it.

    Args:
        owners: by the query's name.
    """
    found = _NAMED.search(fault)
    owner = owners.get(found[1], "") if found is not None else ""
    return f"{owner} looks after it." if owner else ""


class Queries:
    """Reads the stored queries.

    Args:
        client: a boto3 S3 client.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._known: dict[tuple[str, str], OfferedQuery] = {}
        """By key and ETag: a page is made often, and a query is changed seldom."""

    def offered(self) -> dict[str, OfferedQuery]:
        """The queries by name, as they are now."""
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=PREFIX)
        found = [(one["Key"], one["ETag"]) for one in answer.get("Contents", ()) if one["Key"].endswith(".json")]
        self._known = {place: self._known.get(place) or self._read(place[0]) for place in found[:MAX_OFFERED]}
        return {query.name: query for query in self._known.values() if NAME.fullmatch(query.name)}

    def _read(self, key: str) -> OfferedQuery:
        name = key.removeprefix(PREFIX).removesuffix(".json")
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            return OfferedQuery(name, msgspec.json.decode(body, type=StoredQuery))
        except (msgspec.DecodeError, UnicodeDecodeError):
            fault = "its description has a fault: ask an engineer"
            return OfferedQuery(name, fault=fault)
        except ClientError:
            return OfferedQuery(name, fault="it cannot be read")
