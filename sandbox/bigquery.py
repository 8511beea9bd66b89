"""A stand-in for BigQuery: its REST protocol, with queries executed by DuckDB over a table that a test gives.

It proves the wire: ids, dry runs, parameters, pages, texts instead of numbers. It does not prove the dialect: DuckDB
takes SQL that BigQuery refuses, and the other way round.

https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import msgspec

from sandbox.http_server import Asked, Reply

_PATH = re.compile(
    r"/bigquery/v2/projects/(?P<project>[^/]+)/(?P<kind>jobs|queries)(?:/(?P<job>[^/]+))?(?P<cancel>/cancel)?"
)
_IN_UNNEST = re.compile(r"IN UNNEST\(@(\w+)\)")
"""The one thing of GoogleSQL that the samples need, and DuckDB says in another way."""
_KINDS = {"VARCHAR": "STRING", "BIGINT": "INTEGER", "INTEGER": "INTEGER", "HUGEINT": "NUMERIC", "DOUBLE": "FLOAT",
          "BOOLEAN": "BOOLEAN", "DATE": "DATE", "TIMESTAMP": "DATETIME",
          "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "BLOB": "BYTES"}  # fmt: skip


class Job(msgspec.Struct):
    """One job. `rows` are DuckDB's values."""

    id: str
    text: str
    parameters: list[dict[str, Any]]
    fields: list[dict[str, Any]]
    rows: list[tuple[Any, ...]]
    looks_until_done: int
    is_cancelled: bool = False


class BigQuery:
    """The service.

    Args:
        fill: makes the tables of a query's text in an empty database; returns their bytes, if it knows them.
        scanned_bytes: what each query reads, if `fill` does not say.
        looks_until_done: how often a job is asked for until it has ended.
    """

    def __init__(
        self,
        fill: Callable[[duckdb.DuckDBPyConnection, str], object],
        scanned_bytes: int = 1_000_000,
        looks_until_done: int = 1,
        rows_in_page: int = 1_000,
    ) -> None:
        self._fill = fill
        self._scanned_bytes = scanned_bytes
        self._looks = looks_until_done
        self._rows_in_page = rows_in_page
        self.jobs: dict[str, Job] = {}
        self.requests: list[str] = []

    def answer(self, asked: Asked) -> Reply:
        """One response."""
        url = urlsplit(asked.path)
        found = _PATH.fullmatch(url.path)
        self.requests.append(f"{asked.method} {url.path}")
        if found is None or not asked.headers.get("Authorization", "").startswith("Bearer "):
            return _refused(401, "authError", "Request is missing required authentication credential.")
        if asked.method == "POST" and not found["job"]:
            return self._insert(json.loads(asked.body))
        job = self.jobs.get(found["job"] or "")
        if job is None:
            return _refused(404, "notFound", f"Not found: Job {found['job']}")
        if found["cancel"]:
            job.is_cancelled = True
            return _json({"job": self._described(job)})
        if found["kind"] == "queries":
            return self._page(job, {name: values[0] for name, values in parse_qs(url.query).items()})
        job.looks_until_done -= 1
        return _json(self._described(job))

    def _insert(self, asked: dict[str, Any]) -> Reply:
        configuration = asked["configuration"]
        name = asked["jobReference"].get("jobId", "")
        if name in self.jobs:
            return _refused(409, "duplicate", f"Already Exists: Job {name}")
        query = configuration["query"]
        try:
            job = self._executed(name, query)
        except duckdb.Error as error:
            return _refused(400, "invalidQuery", _words(str(error)))
        if not configuration.get("dryRun"):
            if int(query["maximumBytesBilled"]) < self._scanned_bytes:
                words = f"Query exceeded limit for bytes billed: {query['maximumBytesBilled']}."
                return _refused(400, "bytesBilledLimitExceeded", words)
            self.jobs[name] = job
        return _json(self._described(job))

    def _executed(self, name: str, query: dict[str, Any]) -> Job:
        parameters = query["queryParameters"]
        with duckdb.connect() as database:
            size = self._fill(database, query["query"])
            self._scanned_bytes = size if isinstance(size, int) else self._scanned_bytes
            # The same length, so that places are those of the query.
            text = re.sub(r"@(\w+)", r"$\1", _IN_UNNEST.sub(r"= ANY(@\1)    ", query["query"]))
            values = {one["name"]: _value(one) for one in parameters}
            rows = database.execute(text, values)
            fields = [_field(column[0], str(column[1])) for column in rows.description]
            return Job(name, query["query"], parameters, fields, rows.fetchall(), self._looks)

    def _described(self, job: Job) -> dict[str, Any]:
        is_done = job.is_cancelled or job.looks_until_done < 0
        status: dict[str, Any] = {"state": "DONE" if is_done else "RUNNING"}
        if job.is_cancelled:
            status["errorResult"] = {"reason": "stopped", "message": "Job execution was cancelled: User requested"}
        statistics = {"totalBytesProcessed": str(self._scanned_bytes), "query": {"schema": {"fields": job.fields}}}
        return {"jobReference": {"jobId": job.id}, "status": status, "statistics": statistics}

    def _page(self, job: Job, asked: Mapping[str, str]) -> Reply:
        first = int(asked.get("pageToken", "page-0").removeprefix("page-"))
        size = min(int(asked["maxResults"]), self._rows_in_page)
        rows = [{"f": [{"v": _text(value)} for value in row]} for row in job.rows[first : first + size]]
        more = {"pageToken": f"page-{first + size}"} if first + size < len(job.rows) else {}
        page = {"jobComplete": True, "schema": {"fields": job.fields}, "totalRows": str(len(job.rows))}
        return _json(page | ({"rows": rows} if rows else {}) | more)


def _field(name: str, kind: str) -> dict[str, Any]:
    if kind.startswith("STRUCT(") and kind.endswith("[]"):
        members = re.findall(r"(\w+) (VARCHAR|BIGINT)", kind)
        return {"name": name, "type": "RECORD", "mode": "REPEATED", "fields": [_field(*member) for member in members]}
    return {
        "name": name,
        "type": "NUMERIC" if kind.startswith("DECIMAL") else _KINDS.get(kind, kind),
        "mode": "NULLABLE",
    }


def _value(parameter: dict[str, Any]) -> object:
    kind, value = parameter["parameterType"]["type"], parameter["parameterValue"]
    if kind == "ARRAY":
        return [one["value"] for one in value["arrayValues"]]
    text = value["value"]
    kinds: dict[str, Callable[[str], object]] = {"INT64": int, "DATE": dt.date.fromisoformat}
    return text == "true" if kind == "BOOL" else kinds.get(kind, str)(text)


def _text(value: Any) -> Any:
    """A value as BigQuery's JSON has it: every scalar is a text."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case dt.datetime() if value.tzinfo is None:
            return value.isoformat()
        case dt.datetime():
            return str(round(value.timestamp() * 1_000_000))
        case list():
            return [{"v": _text(one)} for one in value]
        case dict():
            return {"f": [{"v": _text(one)} for one in value.values()]}
        case _:
            return str(value)


def _words(message: str) -> str:
    """DuckDB's message as BigQuery writes one: the place last."""
    text, _, place = message.partition("\n\nLINE ")
    text = re.sub(r"^[A-Z]\w*(?: \w+)* Error: ", "", text).partition("\n")[0]
    line, _, shown = place.partition(": ")
    if not line.isdigit():
        return text
    return f"{text} at [{line}:{shown.partition(chr(10))[2].find('^') - len(f'LINE {line}: ') + 1}]"


def _json(value: Mapping[str, Any], status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), (("Content-Type", "application/json"),))


def _refused(status: int, reason: str, message: str) -> Reply:
    return _json(
        {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}, status
    )
