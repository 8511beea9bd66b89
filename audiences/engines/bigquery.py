"""BigQuery, by Google's REST: a dry run gives columns and cost, a job with an id of ours runs once, pages are streamed.

https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from audiences.engines.athena import check_select
from audiences.engines.placeholders import placeholders, replaced
from audiences.engines.port import (
    Attempt,
    Cost,
    Done,
    Place,
    Query,
    QueryFault,
    Running,
    Unavailable,
    Value,
    check_rows,
    column_fault,
)
from audiences.faults import limits_as_faults
from audiences.sources import InputFile

LIMIT_PARAMETER = "BigQueryMaximumBytesBilled"
"""The stack's parameter that says where a query is stopped."""
RESULT = "rows.jsonl"
ROWS_IN_PAGE = 50_000
"""BigQuery also ends a page at 10 MB."""
_PLACE = re.compile(r" at \[(\d+):(\d+)\]")
_INTEGERS = frozenset({"INTEGER", "INT64"})
_NUMBERS = frozenset({"FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC"})
_BOOLEANS = frozenset({"BOOLEAN", "BOOL"})
_RECORDS = frozenset({"RECORD", "STRUCT"})
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Ask = Callable[[str, str, bytes | None], tuple[int, bytes]]
"""Makes one request, authorised: method, path with its query, body. Gives status and body; raises OSError."""


class BigQuery:
    """Queries of one project.

    Args:
        maximum_bytes: where BigQuery stops a query; it bills nothing for one that would read more.
        location: of the data, such as `EU`.
    """

    def __init__(self, ask: Ask, project: str, maximum_bytes: int, location: str) -> None:
        self._ask = ask
        self._project = quote(project, safe="")
        self._maximum_bytes = maximum_bytes
        self._location = location

    def validate(self, query: Query) -> None:
        """Its columns, by a dry run: that reads and costs nothing."""
        self._dry_run(query)

    def cost(self, query: Query) -> Cost:
        """What it will read, by a dry run."""
        size = int(self._dry_run(query)["statistics"]["totalBytesProcessed"])
        sentence = f"reads {size / 1e9:,.2f} GB; BigQuery refuses more than {self._maximum_bytes / 1e9:,.2f} GB"
        return Cost(size, self._maximum_bytes, sentence)

    def start(self, query: Query, attempt: Attempt) -> str:
        """Insert the job, under an id that is made of the attempt: a second time BigQuery says that it is there."""
        self.validate(query)
        ticket = f"notifier-{attempt.audience}-{attempt.number}"
        reference = {"jobId": ticket, "location": self._location}
        self._call(query, "POST", "jobs", {"jobReference": reference, "configuration": self._configuration(query)})
        return ticket

    def look(self, query: Query, ticket: str) -> Running | Done:
        """The job's state."""
        job = self._call(query, "GET", f"jobs/{ticket}?{urlencode({'location': self._location})}")
        if job["status"]["state"] != "DONE":
            return Running(ticket)
        if error := job["status"].get("errorResult"):
            raise self._failed(query, error)
        return Done(ticket, int(job.get("statistics", {}).get("totalBytesProcessed", 0)))

    def fetch(self, query: Query, ticket: str, directory: Path) -> tuple[InputFile, ...]:
        """Every page, written to one file as it comes: no more than a page is in memory."""
        directory.mkdir(parents=True, exist_ok=True)
        path, count = directory / RESULT, 0
        with limits_as_faults(query.name), path.open("wb") as out:
            for page in self._pages(query, ticket):
                lines = [_line(row, page["schema"]["fields"]) for row in page.get("rows", ())]
                out.writelines(lines)
                count += len(lines)
        check_rows(query, count)
        if not count:
            return ()  # an empty file is no table
        return (InputFile(path, query.name, ordered=False),)

    def cancel(self, ticket: str) -> None:
        """Ask BigQuery to stop the job."""
        self._call(Query("", name=ticket), "POST", f"jobs/{ticket}/cancel?{urlencode({'location': self._location})}")

    def _pages(self, query: Query, ticket: str) -> Iterator[dict[str, Any]]:
        # Microseconds as an integer: as a float a TIMESTAMP loses digits.
        asked = {"location": self._location, "maxResults": ROWS_IN_PAGE, "formatOptions.useInt64Timestamp": "true"}
        while True:
            page = self._call(query, "GET", f"queries/{ticket}?{urlencode(asked)}")
            yield page
            if not (token := page.get("pageToken")):
                return
            asked["pageToken"] = token

    def _dry_run(self, query: Query) -> dict[str, Any]:
        check_select(query, "bigquery")
        if self._maximum_bytes <= 0:
            mend = f"set the stack's parameter {LIMIT_PARAMETER}"
            raise QueryFault(query.name, "BigQuery has no limit of bytes for a query", mend)
        configuration = self._configuration(query) | {"dryRun": True}
        reference = {"location": self._location}
        job = self._call(query, "POST", "jobs", {"jobReference": reference, "configuration": configuration})
        fields = job["statistics"]["query"].get("schema", {}).get("fields", ())
        if fault := column_fault(query, [field["name"] for field in fields]):
            raise fault
        for field in fields:
            _check_kind(query, field)
        return job

    def _configuration(self, query: Query) -> dict[str, Any]:
        used = dict.fromkeys(one.name for one in placeholders(query.text, "bigquery"))
        if missing := next((name for name in used if name not in query.parameters), None):
            raise QueryFault(query.name, f"no value for the parameter ${missing}", "give it one")
        return {
            "query": {
                # As long as before: so places in messages are those of the query as it was written.
                "query": replaced(query.text, "bigquery", lambda name: f"@{name}"),
                "useLegacySql": False,
                "maximumBytesBilled": str(self._maximum_bytes),
                "parameterMode": "NAMED",
                "queryParameters": [parameter(name, query.parameters[name]) for name in used],
            }
        }

    def _call(self, query: Query, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        try:
            status, answered = self._ask(method, f"/bigquery/v2/projects/{self._project}/{path}", data)
        except OSError as error:
            raise Unavailable(f"{query.name}: BigQuery does not answer: {error}", "try again in a minute") from None
        try:
            answer: dict[str, Any] = json.loads(answered or b"{}")
        except ValueError:
            answer = {}
        if status == 409 and method == "POST" and path == "jobs":
            # The attempt was taken up again: its job is there.
            return answer
        if status in (429, 500, 502, 503, 504):
            raise Unavailable(f"{query.name}: BigQuery asks to wait (status {status})", "try again in a minute")
        if status >= 400:
            raise self._failed(query, _first_error(answer, status))
        return answer

    def _failed(self, query: Query, error: Mapping[str, Any]) -> QueryFault:
        words, reason = str(error.get("message", "")), error.get("reason", "")
        place = _PLACE.search(words)
        if reason == "bytesBilledLimitExceeded":
            mend = f"read less, by partitions, or raise the stack's parameter {LIMIT_PARAMETER}"
        elif reason in ("accessDenied", "authError"):
            mend = "allow it to the service account: bigquery.jobs.create, and reading the tables"
        else:
            mend = "correct the SQL (GoogleSQL)"
        at = Place(int(place[1]), int(place[2])) if place else None
        return QueryFault(query.name, f"BigQuery: {_PLACE.sub('', words)}", mend, at)


def _first_error(answer: Mapping[str, Any], status: int) -> Mapping[str, Any]:
    error = answer.get("error", {})
    listed = error.get("errors") or [{}]
    return {"message": error.get("message", f"status {status}"), "reason": listed[0].get("reason", "")}


def parameter(name: str, value: Value) -> dict[str, Any]:
    """A parameter as BigQuery takes it: bound, so that nothing in it is ever read as SQL."""
    if isinstance(value, tuple):
        values = {"arrayValues": [{"value": one} for one in value]}
        return {
            "name": name,
            "parameterType": {"type": "ARRAY", "arrayType": {"type": "STRING"}},
            "parameterValue": values,
        }
    kind, text = _scalar(value)
    return {"name": name, "parameterType": {"type": kind}, "parameterValue": {"value": text}}


def _scalar(value: Value) -> tuple[str, str]:
    match value:
        case bool():
            return "BOOL", "true" if value else "false"
        case int():
            return "INT64", str(value)
        case Decimal():
            return "NUMERIC", f"{value:f}"
        case dt.date():
            return "DATE", value.isoformat()
        case _:
            return "STRING", str(value)


def _check_kind(query: Query, field: Mapping[str, Any]) -> None:
    name, kind = field["name"], field["type"]
    is_nested = kind in _RECORDS or field.get("mode") == "REPEATED"
    if is_nested and name.lower() not in ("devices", "attributes"):
        raise QueryFault(query.name, f"the column {name} is nested", f"write TO_JSON_STRING({name}) AS {name}")
    if kind == "BYTES":
        raise QueryFault(query.name, f"the column {name} is BYTES", f"write TO_HEX({name}) AS {name}")


def _line(row: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]) -> bytes:
    return msgspec.json.encode(_record(row, fields)) + b"\n"


def _record(row: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row's values by name: BigQuery gives a list of them, in the order of the schema."""
    return {field["name"]: _cell(cell["v"], field) for field, cell in zip(fields, row["f"], strict=True)}


def _cell(value: Any, field: Mapping[str, Any]) -> Any:
    if value is None:
        return None
    if field.get("mode") == "REPEATED":
        one = {name: member for name, member in field.items() if name != "mode"}
        return [_cell(item["v"], one) for item in value]
    kind = field["type"]
    if kind in _RECORDS:
        return _record(value, field["fields"])
    if kind in _INTEGERS:
        return int(value)
    if kind in _NUMBERS:
        # With every digit that came; what is not finite is no JSON.
        number = Decimal(value)
        return msgspec.Raw(f"{number}".encode()) if number.is_finite() else None
    if kind in _BOOLEANS:
        return value == "true"
    if kind == "TIMESTAMP":
        return (_EPOCH + dt.timedelta(microseconds=int(value))).isoformat()
    return value
