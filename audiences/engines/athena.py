"""Athena: the query's columns are checked first, then UNLOAD writes its rows as Parquet under a prefix of the attempt.

Nothing is waited for here. A ticket says which of the two statements runs; EventBridge reports its end
(`ended_execution`), else the sweeper looks each minute. Each statement has a token made from the attempt, so that an
attempt that is taken up again finds the statement that runs already, and pays once.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from audiences.engines.placeholders import Unterminated, code_of, placeholders, replaced
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
from audiences.faults import AudienceFault
from audiences.fetch import fetch
from audiences.sources import InputFile, pinned_files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WORKGROUP_PARAMETER = "AthenaWorkGroup"
"""The stack's parameter that names the workgroup."""
PREFIX = "audiences/queried/"
"""Where rows are written: objects under audiences/ expire."""
MAX_LITERAL_CHARS = 1_024
"""Athena's limit for one of ExecutionParameters."""
MAX_QUERY_BYTES = 262_144
_PLACE = re.compile(r"\bline (\d+):(\d+): ")
_BEFORE = "UNLOAD (\n"
"""One line: so line n of Athena's messages is line n-1 of the query."""
_STOPPED_BY_BYTES = re.compile(r"[Bb]ytes scanned limit", re.ASCII)
_PAUSES = frozenset({"TooManyRequestsException", "ThrottlingException", "InternalServerException"})


class _Ticket(msgspec.Struct, frozen=True, array_like=True):
    """Which statement of which attempt."""

    phase: Literal["columns", "unload"]
    execution: str
    audience: str
    attempt: int


class Athena:
    """Queries of one workgroup.

    Args:
        client: boto3's of Athena.
        bucket: where rows are written.
        database: where tables are looked for that are named without one.
    """

    def __init__(self, client: Any, s3: "S3Client", workgroup: str, bucket: str, database: str = "default") -> None:
        self._client = client
        self._s3 = s3
        self._workgroup = workgroup
        self._bucket = bucket
        self._database = database

    def validate(self, query: Query) -> None:
        """One SELECT, a value for each parameter, and a workgroup that stops what reads too much."""
        check_select(query)
        literals(query)
        self._cutoff_bytes(query)

    def cost(self, query: Query) -> Cost:
        """Athena does not say what a query reads before it has: only the workgroup's limit is known."""
        cutoff = self._cutoff_bytes(query)
        return Cost(
            None,
            cutoff,
            f"Athena does not say before it runs; the workgroup {self._workgroup} stops it at {cutoff / 1e9:,.2f} GB",
        )

    def start(self, query: Query, attempt: Attempt) -> str:
        """Start with the statement that only asks for the columns: LIMIT 0 reads nothing."""
        self.validate(query)
        execution = self._execute(query, attempt, "columns")
        return _encoded(_Ticket("columns", execution, attempt.audience, attempt.number))

    def look(self, query: Query, ticket: str) -> Running | Done:
        """The state; where the columns are known, and are what an audience needs, UNLOAD is started."""
        at = _decoded(query, ticket)
        with _refusals(query):
            execution = self._client.get_query_execution(QueryExecutionId=at.execution)["QueryExecution"]
        state = execution["Status"]["State"]
        if state in ("QUEUED", "RUNNING"):
            return Running(ticket)
        if state != "SUCCEEDED":
            raise self._failed(query, state, execution["Status"].get("StateChangeReason", ""))
        if at.phase == "unload":
            return Done(ticket, execution.get("Statistics", {}).get("DataScannedInBytes"))
        if fault := column_fault(query, self._columns(query, at.execution)):
            raise fault
        started = self._execute(query, Attempt(at.audience, at.attempt), "unload")
        return Running(_encoded(msgspec.structs.replace(at, phase="unload", execution=started)))

    def fetch(self, query: Query, ticket: str, directory: Path) -> tuple[InputFile, ...]:
        """The objects that UNLOAD wrote, pinned, then fetched. Their order means nothing."""
        at = _decoded(query, ticket)
        prefix = self._prefix(Attempt(at.audience, at.attempt))
        try:
            pinned = pinned_files(self._s3, [prefix], self._bucket)
        except AudienceFault:
            # UNLOAD has ended well, and has written nothing.
            check_rows(query, 0)
            return ()
        files = fetch(self._s3, pinned, directory)
        return tuple(InputFile(file.path, f"{query.name} ({file.name})", file.pinned, ordered=False) for file in files)

    def cancel(self, ticket: str) -> None:
        """Stop the statement. One that has ended already is left as it is."""
        query = Query("", name="the query")
        at = _decoded(query, ticket)
        with _refusals(query):
            self._client.stop_query_execution(QueryExecutionId=at.execution)

    def _execute(self, query: Query, attempt: Attempt, phase: Literal["columns", "unload"]) -> str:
        positional = replaced(query.text, "athena", lambda _name: "?")
        target = f"s3://{self._bucket}/{self._prefix(attempt)}"
        statement = (
            f"SELECT * FROM (\n{positional}\n) LIMIT 0"
            if phase == "columns"
            else f"{_BEFORE}{positional}\n) TO '{target}' WITH (format = 'PARQUET', compression = 'SNAPPY')"
        )
        values = list(literals(query))
        # The same attempt makes the same token: Athena answers with the execution that it has started before.
        token = hashlib.sha256(f"{attempt.audience}/{attempt.number}/{phase}".encode()).hexdigest()
        with _refusals(query):
            started = self._client.start_query_execution(
                QueryString=statement,
                ClientRequestToken=token,
                WorkGroup=self._workgroup,
                QueryExecutionContext={"Database": self._database},
                # Where Athena puts its own metadata; a workgroup that enforces its settings ignores it.
                ResultConfiguration={"OutputLocation": target.removesuffix("rows/") + "athena/"},
                **({"ExecutionParameters": values} if values else {}),
            )
        return str(started["QueryExecutionId"])

    def _prefix(self, attempt: Attempt) -> str:
        """Fresh for each attempt: UNLOAD refuses a prefix that has objects."""
        return f"{PREFIX}{attempt.audience}/attempt={attempt.number}/rows/"

    def _cutoff_bytes(self, query: Query) -> int:
        with _refusals(query):
            group = self._client.get_work_group(WorkGroup=self._workgroup)["WorkGroup"]
        if group.get("State") == "DISABLED":
            raise QueryFault(query.name, f"Athena's workgroup {self._workgroup} is disabled", "enable it")
        cutoff = group.get("Configuration", {}).get("BytesScannedCutoffPerQuery")
        if not cutoff:
            raise QueryFault(
                query.name,
                f"Athena's workgroup {self._workgroup} has no limit of bytes for a query",
                f"set its data usage control per query, or name another by the stack's parameter {WORKGROUP_PARAMETER}",
            )
        return int(cutoff)

    def _columns(self, query: Query, execution: str) -> tuple[str, ...]:
        with _refusals(query):
            found = self._client.get_query_results(QueryExecutionId=execution, MaxResults=1)
        return tuple(column["Name"] for column in found["ResultSet"]["ResultSetMetadata"]["ColumnInfo"])

    def _failed(self, query: Query, state: str, reason: str) -> QueryFault:
        if state == "CANCELLED" and not _STOPPED_BY_BYTES.search(reason):
            return QueryFault(query.name, "was cancelled in Athena")
        if _STOPPED_BY_BYTES.search(reason):
            mend = f"read less, by partitions, or raise the limit of the workgroup {self._workgroup}"
            return QueryFault(query.name, f"Athena: {reason}", mend)
        place = place_in(query, reason)
        return QueryFault(query.name, f"Athena: {_PLACE.sub('', reason)}", "correct the SQL (Athena's dialect)", place)


def ended_execution(event: Mapping[str, Any]) -> str | None:
    """The execution that an event of EventBridge says has ended; None for any other event.

    https://docs.aws.amazon.com/athena/latest/ug/athena-events.html
    """
    detail = event.get("detail")
    if event.get("source") != "aws.athena" or not isinstance(detail, Mapping):
        return None
    ended = detail.get("currentState") in ("SUCCEEDED", "FAILED", "CANCELLED")
    return str(detail["queryExecutionId"]) if ended and "queryExecutionId" in detail else None


def execution_of(ticket: str) -> str:
    """The execution that a ticket waits for, to find the ticket by an event."""
    return msgspec.json.decode(ticket, type=_Ticket).execution


def check_select(query: Query, engine: Literal["athena", "bigquery"] = "athena") -> None:
    """Raise QueryFault for what is not one SELECT that stays within the brackets that are written around it."""
    try:
        code = code_of(query.text, engine)
    except Unterminated:
        raise QueryFault(query.name, "a string or a comment has no end", "close it") from None
    if at := code.rstrip().rstrip(";").find(";") + 1:
        raise QueryFault(query.name, "two statements", "write one SELECT", Place.at(query.text, at - 1))
    if ";" in code:
        raise QueryFault(query.name, "ends with ;", "remove the ;: the query is written into another statement")
    if not re.match(r"[\s(]*(?:SELECT|WITH)\b", code, re.IGNORECASE):
        raise QueryFault(query.name, "is not a SELECT", "write one SELECT (it may begin with WITH)")
    depth = 0
    for at, character in enumerate(code):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            raise QueryFault(query.name, "a ) without its (", "remove it", Place.at(query.text, at))
    if depth:
        raise QueryFault(query.name, f"{depth} ( without )", "close them")
    if at := code.find("?") + 1:
        raise QueryFault(query.name, "a parameter without a name", "write $name", Place.at(query.text, at - 1))


def literals(query: Query) -> Iterator[str]:
    """The values of the query's `$name`s in order of appearance, each as often as it is there, as SQL literals."""
    for one in placeholders(query.text, "athena"):
        if one.name not in query.parameters:
            at = Place.at(query.text, one.offset)
            raise QueryFault(query.name, f"no value for the parameter ${one.name}", "give it one", at)
        text = literal(query.parameters[one.name])
        if len(text) > MAX_LITERAL_CHARS:
            raise QueryFault(
                query.name,
                f"the value of ${one.name} has {len(text):,} characters as SQL",
                f"{MAX_LITERAL_CHARS:,} at most: put a long list into a table, and join it",
            )
        yield text


def literal(value: Value) -> str:
    """A value as Athena's SQL writes it. In a string only a quote means anything, and is doubled."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case Decimal():
            return f"DECIMAL '{value:f}'"
        case dt.date():
            return f"DATE '{value.isoformat()}'"
        case tuple():
            return f"ARRAY[{', '.join(map(literal, value))}]"
        case _:
            return "'" + value.replace("'", "''") + "'"


def place_in(query: Query, reason: str) -> Place | None:
    """The place in the query that Athena's message names: it counts the line before, and a `?` for each `$name`."""
    found = _PLACE.search(reason)
    if not found or int(found[1]) < 2:
        return None
    line, column = int(found[1]) - 1, int(found[2])
    lines = query.text.split("\n")
    if line > len(lines):
        return None
    begin = sum(len(one) + 1 for one in lines[: line - 1])
    for one in placeholders(query.text, "athena"):
        # Those before it in its line were one character each.
        if begin <= one.offset < begin + column - 1:
            column += len(one.name)
    return Place(line, column)


def _encoded(ticket: _Ticket) -> str:
    return msgspec.json.encode(ticket).decode()


def _decoded(query: Query, ticket: str) -> _Ticket:
    try:
        return msgspec.json.decode(ticket, type=_Ticket)
    except msgspec.DecodeError:
        raise QueryFault(query.name, "its ticket is not one of Athena's", "start it again") from None


@contextmanager
def _refusals(query: Query) -> Iterator[None]:
    """Athena's refusals, with its own words and without its names of classes."""
    try:
        yield
    except ClientError as error:
        code, words = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in _PAUSES:
            raise Unavailable(f"{query.name}: Athena asks to wait: {words}", "try again in a minute") from None
        if "AccessDenied" in code:
            mend = f"allow it in the role's policy, or check the stack's parameter {WORKGROUP_PARAMETER}"
            raise QueryFault(query.name, f"Athena does not allow it: {words}", mend) from None
        raise QueryFault(
            query.name, f"Athena: {_PLACE.sub('', words)}", "correct the SQL or the workgroup", place_in(query, words)
        ) from None
    except BotoCoreError as error:
        raise Unavailable(f"{query.name}: Athena does not answer: {error}", "try again in a minute") from None
