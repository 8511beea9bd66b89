"""A stand-in for Athena: its JSON protocol, with statements executed by DuckDB over objects of the local bucket.

It proves the wire: requests, states, tokens, parameters as literals, what UNLOAD leaves in S3. It does not prove the
dialect: DuckDB takes SQL that Athena refuses, and the other way round.

https://docs.aws.amazon.com/athena/latest/APIReference/Welcome.html
"""

import json
import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from sandbox.http_server import Asked, HttpServer, Reply
from sandbox.warehouse import Catalogue, load_table

if TYPE_CHECKING:
    import duckdb

TARGET = "AmazonAthena."
_UNLOAD = re.compile(
    r"UNLOAD \((?P<query>.*)\) TO 's3://(?P<bucket>[^/']+)/(?P<key>[^']*)' WITH \((?P<with>.*)\)", re.DOTALL
)
_TYPES = {"VARCHAR": "varchar", "BIGINT": "bigint", "INTEGER": "integer", "BOOLEAN": "boolean", "DATE": "date"}


class WorkGroup(msgspec.Struct, frozen=True):
    """A workgroup. `cutoff_bytes` is the most that a query may scan; None for no limit."""

    cutoff_bytes: int | None = 10_000_000
    is_enabled: bool = True


class _Refusal(Exception):
    """An error of the service."""

    def __init__(self, message: str, code: str = "InvalidRequestException") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Execution(msgspec.Struct):
    """One execution. `literals` are its ExecutionParameters."""

    id: str
    statement: str
    literals: tuple[str, ...]
    workgroup: str
    output: str
    state: str = "QUEUED"
    reason: str = ""
    scanned_bytes: int = 0
    columns: tuple[tuple[str, str], ...] = ()


class Athena:
    """The service.

    Args:
        s3: a client of the local bucket.
        tables: gives the catalogue: of each table the bucket and the prefix of its objects.
        before: called with an execution before it runs, in its thread: it may wait, as a queue does.
        on_end: called with an execution that has ended, where EventBridge would tell of it.
    """

    def __init__(
        self,
        s3: Any,
        tables: Callable[[], Catalogue],
        workgroups: Mapping[str, WorkGroup],
        before: Callable[[Execution], None] = lambda _execution: None,
        on_end: Callable[[Execution], None] = lambda _execution: None,
    ) -> None:
        self._s3 = s3
        self._tables = tables
        self._workgroups = workgroups
        self._before = before
        self._on_end = on_end
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[dict[str, Any], str]] = {}
        self._threads: list[threading.Thread] = []
        self.executions: dict[str, Execution] = {}
        self._actions = {
            "StartQueryExecution": self._start,
            "GetQueryExecution": self._get,
            "StopQueryExecution": self._stop,
            "GetQueryResults": self._results,
            "GetWorkGroup": self._work_group,
        }

    def answer(self, target: str, body: bytes) -> tuple[int, bytes]:
        """The status and the body of the response to a request with this `X-Amz-Target`."""
        action = self._actions.get(target.removeprefix(TARGET))
        try:
            if action is None:
                raise _Refusal(f"{target} is not known here", "UnknownOperationException")
            return 200, json.dumps(action(json.loads(body))).encode()
        except _Refusal as refusal:
            return 400, json.dumps({"__type": refusal.code, "Message": refusal.message}).encode()

    def join(self) -> None:
        """Wait until nothing runs: afterwards the bucket may go."""
        for thread in self._threads:
            thread.join()

    def _start(self, asked: dict[str, Any]) -> dict[str, Any]:
        token = asked.get("ClientRequestToken", "")
        if not 32 <= len(token) <= 128:
            raise _Refusal("ClientRequestToken must have 32 to 128 characters")
        group = self._group(asked.get("WorkGroup", "primary"))
        if not group.is_enabled:
            raise _Refusal(f"WorkGroup {asked['WorkGroup']} is disabled.")
        if any(not 1 <= len(literal) <= 1024 for literal in asked.get("ExecutionParameters", ())):
            raise _Refusal("ExecutionParameters must have 1 to 1024 characters")
        with self._lock:
            if token in self._tokens:
                before, execution = self._tokens[token]
                if before != asked:
                    raise _Refusal("Idempotent parameters do not match")
                return {"QueryExecutionId": execution}
            started = Execution(
                id=str(uuid.uuid4()),
                statement=asked["QueryString"],
                literals=tuple(asked.get("ExecutionParameters", ())),
                workgroup=asked.get("WorkGroup", "primary"),
                output=asked.get("ResultConfiguration", {}).get("OutputLocation", ""),
            )
            self._tokens[token] = (asked, started.id)
            self.executions[started.id] = started
        thread = threading.Thread(target=self._run, args=(started, group), daemon=True)
        self._threads.append(thread)
        thread.start()
        return {"QueryExecutionId": started.id}

    def _get(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = self._execution(asked)
        status = {"State": found.state} | ({"StateChangeReason": found.reason} if found.reason else {})
        return {
            "QueryExecution": {
                "QueryExecutionId": found.id,
                "Query": found.statement,
                "WorkGroup": found.workgroup,
                "Status": status,
                "Statistics": {"DataScannedInBytes": found.scanned_bytes},
                "ResultConfiguration": {"OutputLocation": found.output},
            }
        }

    def _stop(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._end(self._execution(asked), "CANCELLED", "Query cancelled by user")
        return {}

    def _results(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = self._execution(asked)
        if found.state != "SUCCEEDED":
            raise _Refusal(f"Query did not finish successfully. Final query state: {found.state}")
        columns = [{"CatalogName": "hive", "Name": name, "Label": name, "Type": kind} for name, kind in found.columns]
        return {"UpdateCount": 0, "ResultSet": {"Rows": [], "ResultSetMetadata": {"ColumnInfo": columns}}}

    def _work_group(self, asked: dict[str, Any]) -> dict[str, Any]:
        group = self._group(asked["WorkGroup"])
        settings = {"BytesScannedCutoffPerQuery": group.cutoff_bytes} if group.cutoff_bytes else {}
        state = "ENABLED" if group.is_enabled else "DISABLED"
        return {"WorkGroup": {"Name": asked["WorkGroup"], "State": state, "Configuration": settings}}

    def _group(self, name: str) -> WorkGroup:
        if name not in self._workgroups:
            raise _Refusal(f"WorkGroup {name} is not found.")
        return self._workgroups[name]

    def _execution(self, asked: dict[str, Any]) -> Execution:
        found = self.executions.get(asked["QueryExecutionId"])
        if found is None:
            raise _Refusal(f"QueryExecution {asked['QueryExecutionId']} was not found")
        return found

    def _end(self, execution: Execution, state: str, reason: str = "") -> None:
        """The first end is the end: what is cancelled does not succeed afterwards."""
        with self._lock:
            if execution.state in ("SUCCEEDED", "FAILED", "CANCELLED"):
                return
            execution.state, execution.reason = state, reason
        self._on_end(execution)

    def _run(self, execution: Execution, group: WorkGroup) -> None:
        import duckdb  # noqa: PLC0415 - not for the many sandboxes without a query

        self._before(execution)
        try:
            with tempfile.TemporaryDirectory() as folder, duckdb.connect() as database:
                self._execute(execution, group, database, Path(folder))
        except duckdb.Error as error:
            self._end(execution, "FAILED", _words(str(error)))
        except _Refusal as refusal:
            self._end(execution, "FAILED", refusal.message)
        else:
            self._end(execution, "SUCCEEDED")

    def _execute(
        self, execution: Execution, group: WorkGroup, database: "duckdb.DuckDBPyConnection", folder: Path
    ) -> None:
        for table, place in self._tables().items():
            if re.search(rf"\b{table}\b", execution.statement):
                size = load_table(self._s3, database, folder, table, place)
                execution.scanned_bytes += 0 if execution.statement.endswith("LIMIT 0") else size
        if group.cutoff_bytes and execution.scanned_bytes > group.cutoff_bytes:
            raise _Refusal("Bytes scanned limit was exceeded")
        values = [_value(database, literal) for literal in execution.literals]
        if unload := _UNLOAD.fullmatch(execution.statement):
            self._unload(unload, values, database, folder)
            return
        described = database.execute(f"DESCRIBE {execution.statement}", values).fetchall()
        execution.columns = tuple((row[0], _TYPES.get(row[1], row[1].lower())) for row in described)

    def _unload(
        self, unload: re.Match[str], values: list[object], database: "duckdb.DuckDBPyConnection", folder: Path
    ) -> None:
        bucket, key = unload["bucket"], unload["key"]
        if self._s3.list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount"):
            raise _Refusal(f"HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: s3://{bucket}/{key}")
        rows = folder / "rows.parquet"
        copied = database.execute(f"COPY ({unload['query']}) TO '{rows}' (FORMAT parquet)", values).fetchall()
        if copied[0][0]:
            # Athena's names have no extension.
            self._s3.upload_file(str(rows), bucket, f"{key}20261128_101010_00001_{uuid.uuid4().hex[:5]}_{uuid.uuid4()}")


def _value(database: "duckdb.DuckDBPyConnection", literal: str) -> object:
    """What a literal means. It is parsed as SQL: a quote that is not doubled is seen here."""
    found = database.execute(f"SELECT {literal}").fetchall()
    if len(found) != 1 or len(found[0]) != 1:
        raise _Refusal(f"{literal} is not a literal")
    return found[0][0]


def _words(message: str) -> str:
    """DuckDB's message as Athena writes one: the place first."""
    text, _, place = message.partition("\n\nLINE ")
    text = re.sub(r"^[A-Z]\w*(?: \w+)* Error: ", "", text).partition("\n")[0]
    line, _, shown = place.partition(": ")
    source, _, caret = shown.partition("\n")
    if not line.isdigit() or source.startswith("..."):
        return text
    return f"SYNTAX_ERROR: line {line}:{caret.find('^') - len(f'LINE {line}: ') + 1}: {text}"


class AthenaServer:
    """Athena by itself, at `url`; in the sandbox `sandbox.aws_server` hands its requests to the same class."""

    def __init__(self, athena: Athena) -> None:
        self._athena = athena
        self._server = HttpServer(self._answer, name="athena")
        self.url = f"http://{self._server.address}"

    def _answer(self, asked: Asked) -> Reply:
        status, body = self._athena.answer(asked.headers.get("X-Amz-Target", ""), asked.body)
        return Reply(status, body, (("Content-Type", "application/x-amz-json-1.1"),))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._athena.join()
