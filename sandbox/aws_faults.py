"""Faults of AWS, injected where moto answers: refusals, lost answers, cut bodies, and kills at exactly one call.

The plan is a list of rules, put as JSON to `/sandbox/faults` of the local AWS; GET says how often each has struck. Only
calls that come from a function count, never those of a test or a report.
"""

import enum
import io
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

FAULTS_PATH: Final = "/sandbox/faults"
KILL_PATH: Final = "/sandbox/kill/"
_SERVICE: Final = re.compile(r"/([a-z0-9-]+)/aws4_request")
_FUNCTION: Final = "exec-env/AWS_Lambda"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Kill = Callable[[str], None]


class Does(enum.StrEnum):
    """What happens to a call that a rule strikes."""

    REFUSE = "refuse"
    """Nothing is done; the answer is `status` with `code`."""
    DROP = "drop"
    """Nothing is done; the connection is closed without an answer."""
    LOSE = "lose"
    """It is done; the connection is closed without an answer."""
    DELAY = "delay"
    """It is done after `seconds`."""
    CUT = "cut"
    """It is done; the body ends after its half, and the connection with it."""
    STALL = "stall"
    """As CUT, after `seconds` of silence."""
    KILL_BEFORE = "kill-before"
    """The function `kills` is killed with -9, then nothing is done."""
    KILL_AFTER = "kill-after"
    """It is done, then the function `kills` is killed with -9, before the answer."""


class AwsRule(msgspec.Struct, frozen=True):
    """Which calls are struck, and how.

    Args:
        service: such as `s3`, `dynamodb`, `lambda`.
        operation: a pattern; DynamoDB's own name such as `UpdateItem`, elsewhere the HTTP method.
        where: a pattern, searched in the path with its query, and for DynamoDB in the body.
        skip: so many matching calls are let through first.
        times: so many are struck, spaced by `every`; 0 for no end.
        every: of the matching calls beyond `skip` every so many-th is struck.
        share: of those, this share, by chance with a fixed seed.
    """

    service: str
    does: Does
    operation: str = ""
    where: str = ""
    skip: int = 0
    times: int = 1
    every: int = 1
    share: float = 1.0
    status: int = 400
    code: str = ""
    seconds: float = 0.0
    kills: str = "WorkerFunction"


class _State:
    """A rule, and how many calls it has matched and struck."""

    def __init__(self, rule: AwsRule, seed: int) -> None:
        self.rule = rule
        self.operation = re.compile(rule.operation)
        self.where = re.compile(rule.where)
        self.seen = 0
        self.struck = 0
        self._draw = random.Random(seed)

    def strikes(self, service: str, operation: str, text: str) -> bool:
        """Counts a call that matches; whether it is to fail."""
        rule = self.rule
        if service != rule.service or not self.operation.search(operation) or not self.where.search(text):
            return False
        self.seen += 1
        beyond = self.seen - rule.skip - 1
        if beyond < 0 or beyond % rule.every or (rule.times and self.struck >= rule.times):
            return False
        if rule.share < 1 and self._draw.random() >= rule.share:
            return False
        self.struck += 1
        return True


class Injector:
    """WSGI around the local AWS. `kill` ends every environment of a function."""

    def __init__(self, application: Application, kill: Kill) -> None:
        self._application = application
        self._kill = kill
        self._states: list[_State] = []
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Let through, or strike."""
        if environ["PATH_INFO"] == FAULTS_PATH:  # the scenario's own calls, which no rule strikes
            return self._control(environ, start_response)
        if not self._states or _FUNCTION not in environ.get("HTTP_USER_AGENT", ""):
            return self._application(environ, start_response)
        rule = self._rule_for(environ)
        if rule is None:
            return self._application(environ, start_response)
        return self._strike(rule, environ, start_response)

    def _control(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PUT":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            rules = msgspec.json.decode(body, type=list[AwsRule])
            with self._lock:
                self._states = [_State(rule, seed) for seed, rule in enumerate(rules)]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps([state.struck for state in self._states]).encode()]

    def _rule_for(self, environ: Environ) -> AwsRule | None:
        # The signature names the service. DynamoDB names the operation in a header of its own.
        named = _SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
        service = named[1] if named else ""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        operation = target.rpartition(".")[2] or environ["REQUEST_METHOD"]
        text = environ["PATH_INFO"] + "?" + environ.get("QUERY_STRING", "")
        if target:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)  # a WSGI body can be read once; moto reads it after us
            text = body.decode("utf-8", "replace")
        with self._lock:
            return next((state.rule for state in self._states if state.strikes(service, operation, text)), None)

    def _strike(self, rule: AwsRule, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        match rule.does:
            case Does.REFUSE:
                return _refuse(rule, environ, start_response)
            case Does.DELAY:
                time.sleep(rule.seconds)
                return self._application(environ, start_response)
            case Does.CUT | Does.STALL:
                return _cut(b"".join(self._application(environ, start_response)), environ, rule.seconds)
            case Does.DROP:
                pass
            case Does.LOSE:
                b"".join(self._application(environ, start_response))  # done in full, and its answer thrown away
            case Does.KILL_BEFORE:
                self._kill(rule.kills)
            case Does.KILL_AFTER:
                b"".join(self._application(environ, start_response))
                self._kill(rule.kills)
        return _hang_up(environ, start_response)


def _refuse(rule: AwsRule, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if rule.service == "s3":
        start_response(f"{rule.status} Refused", [("Content-Type", "application/xml")])
        if environ["REQUEST_METHOD"] == "HEAD":
            return []  # an answer to HEAD has no body, and so says no code
        return [f"<Error><Code>{rule.code}</Code><Message>injected</Message></Error>".encode()]
    headers = [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-ErrorType", rule.code)]
    start_response(f"{rule.status} Refused", headers)
    return [json.dumps({"__type": rule.code, "message": "injected"}).encode()]


def _cut(body: bytes, environ: Environ, after_s: float) -> Iterator[bytes]:
    """The half of a body whose headers promised all of it."""
    yield body[: len(body) // 2]
    time.sleep(after_s)
    _close(environ)


def _hang_up(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Closes the connection without an answer. WSGI demands one all the same; it is written into a closed socket."""
    _close(environ)
    start_response("500 Gone", [("Content-Length", "0")])
    return []


def _close(environ: Environ) -> None:
    connection: socket.socket = environ["werkzeug.socket"]
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side was faster
        pass
