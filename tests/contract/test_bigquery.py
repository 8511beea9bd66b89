"""BigQuery as an engine, against a stand-in that speaks its REST protocol and executes with DuckDB."""

import datetime as dt
import http.client
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from audiences.engines.bigquery import BigQuery
from audiences.engines.google import Account
from audiences.engines.port import Attempt, Done, Place, Query, QueryFault, Running, Unavailable, await_rows
from audiences.faults import AudienceFault
from sandbox.bigquery import BigQuery as Service
from sandbox.http_server import Asked, HttpServer, Reply

AUDIENCE = "0123456789abcdef0123"
FOLLOWS = "SELECT user_id, platform, token FROM users WHERE brand = $brand ORDER BY user_id"


def fill(database: duckdb.DuckDBPyConnection, _text: str) -> None:
    """Thirty users, whose ids are integers beyond what a double can hold."""
    database.execute("""CREATE TABLE users AS SELECT 9007199254740993 + i AS user_id, 'ios' AS platform,
        'token-' || i AS token, ['Accessorize', 'it''s', E'a\\nb'][1 + i % 3] AS brand, DATE '2026-11-21' AS day,
        CAST(1.10 AS DECIMAL(5, 2)) AS price, i % 2 = 0 AS member,
        TIMESTAMPTZ '2026-11-21 08:00:00.123456+00' AS updated_at,
        CASE WHEN i > 0 THEN i END AS visits FROM range(30) AS t(i)""")


class Stack:
    """The service, and the engine that asks it over HTTP."""

    def __init__(self, service: Service, server: HttpServer) -> None:
        self.service, self._server = service, server

    def ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """One request, with a token."""
        connection = http.client.HTTPConnection(self._server.address)
        try:
            connection.request(method, path, body, {"Authorization": "Bearer t"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def engine(self, maximum_bytes: int = 10_000_000) -> BigQuery:
        """The engine, with a limit."""
        return BigQuery(self.ask, "project", maximum_bytes, "EU")


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A service whose pages are small."""
    service = Service(fill, rows_in_page=4)
    with HttpServer(service.answer, name="bigquery") as server:
        yield Stack(service, server)


def rows(stack: Stack, directory: Path, query: Query) -> list[dict[str, object]]:
    """A query's rows."""
    [file] = await_rows(stack.engine(), query, Attempt(AUDIENCE, 1), directory, time_s=30, sleep=lambda _s: None)
    assert not file.ordered
    return [json.loads(line, parse_float=Decimal) for line in file.path.read_text(encoding="utf-8").splitlines()]


def test_pages_become_lines(stack: Stack, tmp_path: Path) -> None:
    """Every page is streamed; texts become what the schema says, with every digit."""
    query = Query("SELECT * FROM users WHERE brand = ANY($brands) AND day = $day AND price < $price ORDER BY user_id",
                  {"brands": ("it's", "a\nb"), "day": dt.date(2026, 11, 21), "price": Decimal("1.5")})  # fmt: skip
    found = rows(stack, tmp_path, query)
    assert [row["user_id"] for row in found] == [9007199254740993 + n for n in range(30) if n % 3]
    assert found[0] == {
        "user_id": 9007199254740994, "platform": "ios", "token": "token-1", "brand": "it's", "day": "2026-11-21",
        "price": Decimal("1.10"), "member": False, "updated_at": "2026-11-21T08:00:00.123456+00:00", "visits": 1,
    }  # fmt: skip
    assert str(found[0]["price"]) == "1.10"
    assert sum(request.startswith("GET") and "/queries/" in request for request in stack.service.requests) == 5


def test_devices_as_a_list(stack: Stack, tmp_path: Path) -> None:
    """A repeated record is a list of devices; an empty value stays empty."""
    devices = "[{'platform': platform, 'token': token}] AS devices"
    found = rows(stack, tmp_path, Query(f"SELECT user_id, {devices}, visits FROM users ORDER BY user_id LIMIT 1"))  # noqa: S608
    assert found == [
        {"user_id": 9007199254740993, "devices": [{"platform": "ios", "token": "token-0"}], "visits": None}
    ]


def test_the_same_attempt_is_one_job(stack: Stack) -> None:
    """The id is ours: started again after a crash, the job that is there is found."""
    query = Query(FOLLOWS, {"brand": "it's"})
    ticket = stack.engine().start(query, Attempt(AUDIENCE, 1))
    assert ticket == f"notifier-{AUDIENCE}-1"
    assert stack.engine().start(query, Attempt(AUDIENCE, 1)) == ticket
    assert list(stack.service.jobs) == [ticket]
    assert stack.engine().look(query, ticket) == Running(ticket)
    assert stack.engine().look(query, ticket) == Done(ticket, 1_000_000)
    assert "$" not in stack.service.jobs[ticket].text


def test_cancel_stops_the_job(stack: Stack) -> None:
    """A cancelled job says so."""
    query = Query(FOLLOWS, {"brand": "it's"})
    ticket = stack.engine().start(query, Attempt(AUDIENCE, 1))
    stack.engine().cancel(ticket)
    with pytest.raises(QueryFault, match="cancelled"):
        stack.engine().look(query, ticket)


def test_the_cost_is_known_before(stack: Stack) -> None:
    """A dry run says what would be read, and leaves no job."""
    cost = stack.engine().cost(Query(FOLLOWS, {"brand": "it's"}))
    assert (cost.scanned_bytes, cost.at_most_bytes) == (1_000_000, 10_000_000)
    assert not stack.service.jobs


FAULTS: dict[str, tuple[Query, int, str, Place | None]] = {
    "no limit": (Query(FOLLOWS, {"brand": "a"}), 0, "has no limit of bytes", None),
    "too many bytes": (Query(FOLLOWS, {"brand": "a"}), 10, "exceeded limit for bytes billed: 10", None),
    "no value": (Query(FOLLOWS), 10**7, "no value for the parameter $brand", None),
    "a column": (Query("SELECT user_id FROM users"), 10**7, "no column platform and no column token", None),
    "a name": (Query("SELECT user_id,\n  nope FROM users"), 10**7, 'Referenced column "nope" not found', Place(2, 3)),
    "a nested column": (
        Query("SELECT user_id, platform, token, [{'a': brand}] AS x FROM users"), 10**7, "the column x is nested", None,
    ),
    "bytes": (Query("SELECT user_id, platform, token, encode(token) AS x FROM users"), 10**7, "x is BYTES", None),
    "two statements": (Query("SELECT 1; SELECT 2"), 10**7, "two statements", Place(1, 9)),
    "nobody": (Query(FOLLOWS, {"brand": "' OR 1=1 --"}), 10**7, "found nobody", None),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_faults(stack: Stack, tmp_path: Path, case: str) -> None:
    """BigQuery's own message, the place in the query as it was written, and what to do."""
    query, limit, says, place = FAULTS[case]
    with pytest.raises(QueryFault) as fault:
        await_rows(stack.engine(limit), query, Attempt(AUDIENCE, 1), tmp_path, time_s=30, sleep=lambda _s: None)
    assert says in fault.value.problem
    assert fault.value.mend
    assert fault.value.place == place


ESCAPES = {
    "a quote": "it's", "an injection": "x' OR '1'='1", "a comment": "' --", "a line break": "a\nb",
    "a backslash": "\\' OR TRUE --",
    "a semicolon": "'; DROP TABLE users; --", "a parameter": "@brand $brand", "nothing": "",
}  # fmt: skip


@pytest.mark.parametrize("case", ESCAPES)
def test_parameters_are_values(stack: Stack, tmp_path: Path, case: str) -> None:
    """Whatever a value has in it, it is one: it travels beside the SQL, which has only its name."""
    query = Query(
        "SELECT user_id, platform, token, $brand AS said FROM users WHERE brand <> $brand", {"brand": ESCAPES[case]}
    )
    found = rows(stack, tmp_path, query)
    assert {row["said"] for row in found} == {ESCAPES[case]}
    [job] = stack.service.jobs.values()
    assert job.text == query.text.replace("$", "@")


REFUSED = {
    "SELECT 1; DROP TABLE users": "two statements",
    "DROP TABLE users": "is not a SELECT",
    "EXPORT DATA OPTIONS (uri = 'gs://x/*') AS SELECT 1": "is not a SELECT",
    "CALL crm.wipe()": "is not a SELECT",
    "EXECUTE IMMEDIATE 'DROP TABLE users'": "is not a SELECT",
    "BEGIN SELECT 1; END": "two statements",
    "SELECT 1 # ; \n; DELETE FROM users WHERE TRUE": "two statements",
    "SELECT '''a''; DROP TABLE users": "has no end",
    "SELECT 1 /* ": "has no end",
    "SELECT 1) --": "a ) without its (",
}


@pytest.mark.parametrize("text", REFUSED)
def test_escapes_are_refused(stack: Stack, text: str) -> None:
    """Nothing but one SELECT reaches BigQuery, not even for a dry run."""
    with pytest.raises(QueryFault, match=re.escape(REFUSED[text])):
        stack.engine().start(Query(text), Attempt(AUDIENCE, 1))
    assert not stack.service.requests


KEY = rsa.generate_private_key(65537, 2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def account_of(token_uri: str) -> Account:
    """A service account whose tokens come from there."""
    fields = {"project_id": "p", "client_email": "a@example.com", "private_key": KEY.decode(), "token_uri": token_uri}
    return Account(json.dumps(fields), "the secret notifier/bigquery")


def test_requests_are_authorised(stack: Stack) -> None:
    """A token is fetched once, and goes with every request."""
    fetched: list[str] = []

    def answer(asked: Asked) -> Reply:
        if asked.path != "/token":
            return stack.service.answer(asked)
        fetched.append(asked.path)
        body = json.dumps({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}).encode()
        return Reply(200, body, (("Content-Type", "application/json"),))

    with HttpServer(answer, name="google") as server:
        url = f"http://{server.address}"
        engine = BigQuery(account_of(f"{url}/token").ask(url), "p", 10_000_000, "EU")
        for _ in range(3):
            assert engine.cost(Query(FOLLOWS, {"brand": "a"})).scanned_bytes == 1_000_000
    assert fetched == ["/token"]


def test_a_key_that_google_does_not_take(stack: Stack) -> None:
    """The reason says so, with Google's words and without the key; a server that is down is asked again."""
    refusal = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
    with HttpServer(lambda _: Reply(400, refusal, (("Content-Type", "application/json"),)), name="google") as server:
        ask = account_of(f"http://{server.address}/token").ask("http://127.0.0.1:9")
        with pytest.raises(AudienceFault, match="Google does not take the key: Invalid JWT Signature") as fault:
            BigQuery(ask, "p", 1, "EU").cost(Query(FOLLOWS, {"brand": "a"}))
    assert not isinstance(fault.value, Unavailable)
    ask = account_of("http://127.0.0.1:9/token").ask("http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="BigQuery does not answer"):
        BigQuery(ask, "p", 1, "EU").cost(Query(FOLLOWS, {"brand": "a"}))


@pytest.mark.parametrize("text", ["", "{}", "swordfish", '{"project_id": "p", "private_key": "swordfish"}', "[]"])
def test_a_secret_that_is_no_key(text: str) -> None:
    """It is named, and nothing of it is shown."""
    with pytest.raises(AudienceFault, match="the secret x: is not the key of a service account") as fault:
        Account(text, "the secret x")
    assert "swordfish" not in f"{fault.value} {fault.value.mend}"
    assert "BEGIN" not in repr(account_of("https://localhost/token"))


def test_no_answer_is_no_fault_of_the_query(stack: Stack) -> None:
    """A network that fails, or a server that asks to wait, is another error: the same call may be made again."""

    def refused(_method: str, _path: str, _body: bytes | None) -> tuple[int, bytes]:
        raise ConnectionRefusedError("refused")

    for ask, says in ((refused, "does not answer"), (lambda *_: (503, b"<html>"), "asks to wait")):
        with pytest.raises(AudienceFault, match=says) as fault:
            BigQuery(ask, "p", 1, "EU").cost(Query(FOLLOWS, {"brand": "a"}))
        assert not isinstance(fault.value, QueryFault)
