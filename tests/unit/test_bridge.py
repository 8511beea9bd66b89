"""API Gateway on localhost: events as a REST API makes them, the authorizer in front, answers of its own."""

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import template
from sandbox.blueprint import Function
from sandbox.bridge import Bridge
from sandbox.local_lambda.invocation import Answer, Failure
from sandbox.scene import parameters
from tests.deployment.transformed_template import TEMPLATE


class Functions:
    """Stands in for the local Lambda: answers by function, and keeps the events."""

    def __init__(self, pages: str, authorizer: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.page: Callable[[dict[str, Any]], Any] = lambda _: {"statusCode": 200, "body": "hello"}
        self.allow: Callable[[dict[str, Any]], Any] = _allow
        self._pages = pages
        self._authorizer = authorizer

    def invoke(self, name: str, payload: bytes, _trace: str) -> Answer:
        event = json.loads(payload)
        kept, answer = (self.asked, self.allow) if name == self._authorizer else (self.events, self.page)
        kept.append(event)
        try:
            return Answer(payload=json.dumps(answer(event)).encode(), version="$LATEST")
        except Exception as error:  # noqa: BLE001 - as Lambda does
            failure = {"errorMessage": str(error), "errorType": type(error).__name__}
            return Answer(payload=json.dumps(failure).encode(), version="$LATEST", failure=Failure.HANDLER)


def _allow(event: dict[str, Any]) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": event["methodArn"]}
    return {"principalId": "ann", "policyDocument": {"Statement": [statement]}, "context": {"email": "ann@example.com"}}


@pytest.fixture(scope="module")
def stack() -> tuple[Function, Function]:
    read = template.read(TEMPLATE, parameters=dict(parameters()))
    return read.function("ApprovalFunction"), read.function("AuthorizerFunction")


@pytest.fixture
def served(stack: tuple[Function, Function]) -> Iterator[tuple[Bridge, Functions]]:
    functions = Functions(stack[0].name, stack[1].name)
    bridge = Bridge(functions.invoke, *stack, TEMPLATE)
    yield bridge, functions
    bridge.stop()


def ask(
    bridge: Bridge, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(bridge.host, timeout=5)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def test_an_event_is_what_a_rest_api_makes(served: tuple[Bridge, Functions]) -> None:
    """Stage in the context's path only, greedy parameter, every value of header and query, the API's own host."""
    bridge, functions = served
    assert ask(bridge, "POST", "/prod/requests/1/approve?a=1&a=2", b"x=1", Cookie="c=d", Host="evil.com")[0] == 200
    (event,) = functions.events
    assert (event["path"], event["resource"]) == ("/requests/1/approve", "/{proxy+}")
    assert event["pathParameters"] == {"proxy": "requests/1/approve"}
    assert event["requestContext"]["path"] == "/prod/requests/1/approve"
    assert event["requestContext"]["domainName"] == bridge.host
    assert event["requestContext"]["authorizer"]["email"] == "ann@example.com"
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["queryStringParameters"] == {"a": "2"}
    # As its BinaryMediaTypes say: any body is base64.
    assert (event["body"], event["isBase64Encoded"]) == (base64.b64encode(b"x=1").decode(), True)
    assert event["headers"]["Cookie"] == "c=d"


def test_sign_in_and_static_files_need_no_session(served: tuple[Bridge, Functions]) -> None:
    """The template says so, route by route."""
    bridge, functions = served
    for path in ("/prod/sign-in", "/prod/link?t=x", "/prod/static/style.css"):
        assert ask(bridge, "GET", path)[0] == 200
    assert functions.asked == []
    assert ask(bridge, "GET", "/prod/")[0] == 200
    assert len(functions.asked) == 1


def test_unauthorized_is_a_page(served: tuple[Bridge, Functions]) -> None:
    """With a way to sign in, and never JSON; the function is not asked."""
    bridge, functions = served

    def refuse(_: dict[str, Any]) -> None:
        raise PermissionError("Unauthorized")

    functions.allow = refuse
    status, headers, body = ask(bridge, "POST", "/prod/requests", b"x=1")
    assert (status, headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert b"Sign in again" in body
    assert functions.events == []


def test_an_authorizer_allows_only_what_it_names(served: tuple[Bridge, Functions]) -> None:
    """Another method's ARN is no permission."""
    bridge, functions = served
    functions.allow = lambda event: _allow({**event, "methodArn": event["methodArn"].replace("POST", "GET")})
    assert ask(bridge, "POST", "/prod/requests", b"x=1")[0] == 403
    assert functions.events == []


def test_a_function_that_fails_is_a_page_too(served: tuple[Bridge, Functions]) -> None:
    """502, without a word of what went wrong inside."""
    bridge, functions = served

    def fail(_: dict[str, Any]) -> None:
        raise ValueError("secret")

    functions.page = fail
    status, headers, body = ask(bridge, "GET", "/prod/requests")
    assert (status, headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert b"secret" not in body


def test_answers_come_back_whole(served: tuple[Bridge, Functions]) -> None:
    """Several headers of one name, base64, and a body that is no text on the way in."""
    bridge, functions = served
    functions.page = lambda event: {
        "statusCode": 303,
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "Location": ["/prod/x"]},
        "body": base64.b64encode(b"\xff").decode(),
        "isBase64Encoded": True,
    }
    status, headers, body = ask(bridge, "POST", "/prod/requests", b"\xff\xfe")
    assert (status, headers["location"], body) == (303, "/prod/x", b"\xff")
    assert functions.events[0]["isBase64Encoded"] is True


def test_base64_only_where_the_api_says_so(stack: tuple[Function, Function], tmp_path: Path) -> None:
    """Without BinaryMediaTypes API Gateway passes an answer's base64 on as the text that it is, and bodies as text."""
    other = tmp_path / "template.yaml"
    other.write_text(TEMPLATE.read_text(encoding="utf-8").replace("BinaryMediaTypes:", "# BinaryMediaTypes:"))
    functions = Functions(stack[0].name, stack[1].name)
    functions.page = lambda _: {"statusCode": 200, "body": "/w==", "isBase64Encoded": True}
    bridge = Bridge(functions.invoke, *stack, other)
    assert ask(bridge, "POST", "/prod/requests", b"x=1")[2] == b"/w=="
    assert (functions.events[0]["body"], functions.events[0]["isBase64Encoded"]) == ("x=1", False)
    bridge.stop()


def test_what_is_no_route(served: tuple[Bridge, Functions]) -> None:
    """Another stage, or a method that the route does not have, is API Gateway's own refusal."""
    bridge, functions = served
    assert ask(bridge, "GET", "/dev/requests")[0] == 403
    assert functions.events == []
