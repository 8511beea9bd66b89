"""The Runtime API that an environment's runtime client polls: one small server for each environment.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
from typing import Final

import msgspec

from sandbox.http_server import Asked, HttpServer, Reply
from sandbox.local_lambda.invocation import Invocation

_BASE: Final = "/2018-06-01/runtime"


class Ready(msgspec.Struct, frozen=True):
    """The runtime client asks for its next invocation."""


class Result(msgspec.Struct, frozen=True):
    """The handler has answered."""

    request_id: str
    payload: bytes


class Error(msgspec.Struct, frozen=True):
    """The handler, or the import of its module when `request_id` is empty, has raised."""

    request_id: str
    payload: bytes
    error_type: str


Report = Ready | Result | Error


class RuntimeApi:
    """Hands invocations to one runtime client and gives back what it reports."""

    def __init__(self) -> None:
        self._next: queue.SimpleQueue[tuple[Invocation, int] | None] = queue.SimpleQueue()
        self.reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._server = HttpServer(self._answer, name="runtime-api")
        self.address = self._server.address

    def hand_over(self, invocation: Invocation, deadline_ms: int) -> None:
        """Gives the next invocation to the runtime client. `deadline_ms` is epoch time."""
        self._next.put((invocation, deadline_ms))

    def wait_for_next(self) -> tuple[Invocation, int] | None:
        """Blocks until there is an invocation; None when the environment is closed."""
        return self._next.get()

    def close(self) -> None:
        """Ends the server."""
        self._next.put(None)
        self._server.stop()

    def _answer(self, asked: Asked) -> Reply | None:
        match asked.method, *asked.path.removeprefix(_BASE).strip("/").split("/"):
            case "GET", "invocation", "next":
                self.reports.put(Ready())
                return self._next_invocation()
            case "POST", "invocation", request_id, "response":
                self.reports.put(Result(request_id, asked.body))
            case "POST", "invocation", request_id, "error":
                self.reports.put(Error(request_id, asked.body, _error_type(asked)))
            case "POST", "init", "error":
                self.reports.put(Error("", asked.body, _error_type(asked)))
            case _:
                return Reply(404)
        return Reply(202, b'{"status":"OK"}')

    def _next_invocation(self) -> Reply | None:
        work = self.wait_for_next()
        if work is None:
            return None
        invocation, deadline_ms = work
        headers = (
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", invocation.arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace),
        )
        return Reply(200, invocation.payload, headers)


def _error_type(asked: Asked) -> str:
    try:
        return str(json.loads(asked.body).get("errorType", ""))
    except (ValueError, AttributeError):
        return str(asked.headers.get("Lambda-Runtime-Function-Error-Type", ""))
