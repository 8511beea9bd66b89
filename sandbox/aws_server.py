"""The local AWS as a process: moto over HTTP, with the three things that moto leaves out joined on.

Calls of the Lambda API go to the local Lambda. S3 notifications and EventBridge rules reach functions, as asynchronous
invocations, after the request that caused them is answered. What is put on EventBridge is recorded.

Started by `sandbox.aws`; prints its port on stdout and ends when its stdin is closed, which the kernel does for a
parent that was killed.
"""

import copy
import http.client
import json
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, quote_plus

import boto3
from botocore.config import Config
from moto.events import models as events_models
from moto.events.models import events_backends
from moto.s3 import notifications
from moto.ses.models import RawMessage, ses_backends

from sandbox.athena import TARGET as ATHENA
from sandbox.athena import Athena, Execution, WorkGroup
from sandbox.aws import ATHENA_CUTOFF_BYTES, ATHENA_WORKGROUP, MAILS_PATH, RECORDED_EVENTS_PATH
from sandbox.aws_faults import KILL_PATH, Injector
from sandbox.blueprint import ACCOUNT_ID, REGION
from sandbox.moto_server import Environ, Moto, StartResponse, server_of
from sandbox.warehouse import standing_tables

_LAMBDA_CALL: Final = re.compile(r"/lambda/aws4_request")
_AWS_JSON: Final = "application/x-amz-json-1.1"
ATHENA_QUEUES_S: Final = 0.3
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})
_FORWARDED: Final = ("HTTP_X_AMZ_", "HTTP_X_AMZN_")


class _Outbox(threading.local):
    """Invocations that the request of this thread has caused: function ARN, event, trace header.

    They are sent when moto is done with the request: a function that looks at once finds what was written.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[str, bytes, str]] = []
        self.trace = ""


_outbox = _Outbox()


class _Recorder:
    """What was put on EventBridge."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add(self, entries: list[dict[str, Any]]) -> None:
        """Keeps a copy."""
        with self._lock:
            self._entries.extend(copy.deepcopy(entries))

    def as_json(self) -> bytes:
        """Everything kept, oldest first."""
        with self._lock:
            return json.dumps(self._entries, default=str).encode()


class _Sequencer:
    """S3's sequencer: hexadecimal, growing with every event."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> str:
        """The next one."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns())
            return f"{self._last:018X}"


class Application:
    """moto's application with ours around it. `lambda_address` is `host:port` of the local Lambda."""

    def __init__(self, lambda_address: str) -> None:
        self._moto = Moto()
        self._lambda_address = lambda_address
        self._recorder = _Recorder()
        self._one_at_a_time = threading.Lock()
        self.athena: Athena | None = None
        _join_s3()
        _join_event_bridge(self._recorder)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        if environ["PATH_INFO"] == RECORDED_EVENTS_PATH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [self._recorder.as_json()]
        if environ["PATH_INFO"] == MAILS_PATH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [_mails()]
        if _LAMBDA_CALL.search(environ.get("HTTP_AUTHORIZATION", "")):
            return self._to_lambda(environ, start_response)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if self.athena is not None and target.startswith(ATHENA):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, answered = self.athena.answer(target, body)
            start_response(f"{status} {http.client.responses[status]}", [("Content-Type", _AWS_JSON)])
            return [answered]
        _outbox.waiting.clear()
        _outbox.trace = environ.get("HTTP_X_AMZN_TRACE_ID", "")
        # moto looks at a condition and writes in two steps: two claims in the same instant would both be granted.
        with self._one_at_a_time:
            answer: Iterable[bytes] = self._moto(environ, start_response)
        for arn, event, trace in _outbox.waiting:
            self._invoke(arn, event, trace)
        return answer

    def tell_of_query(self, execution: Execution) -> None:
        """As EventBridge reports Athena's queries: to every function whose rule's pattern fits.

        https://docs.aws.amazon.com/athena/latest/ug/athena-events.html
        """
        event: Any = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Athena Query State Change",
            "source": "aws.athena",
            "account": ACCOUNT_ID,
            "time": _iso_time(time.time()),
            "region": REGION,
            "resources": [],
            "detail": {
                "versionId": "0",
                "currentState": execution.state,
                "previousState": "RUNNING",
                "statementType": "DML",
                "queryExecutionId": execution.id,
                "workgroupName": execution.workgroup,
                "sequenceNumber": "3",
            },
        }
        _outbox.waiting.clear()
        for rule in events_backends[ACCOUNT_ID][REGION].event_buses["default"].rules.values():
            rule.send_to_targets(event)
        for arn, body, trace in _outbox.waiting:
            self._invoke(arn, body, trace)

    def kill(self, function: str) -> None:
        """Kill -9 for every environment of the function with this logical id."""
        self._call("POST", KILL_PATH + quote(function), b"", {})

    def _to_lambda(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith(_FORWARDED)}
        path = quote(environ["PATH_INFO"].encode("latin-1"), safe="/:$")
        if environ.get("QUERY_STRING"):
            path += "?" + environ["QUERY_STRING"]
        status, reason, answered, payload = self._call(environ["REQUEST_METHOD"], path, body, headers)
        kept = [(name, value) for name, value in answered if name.lower() not in _HOP_BY_HOP]
        start_response(f"{status} {reason}", kept)
        return [payload]

    def _invoke(self, arn: str, event: bytes, trace: str) -> None:
        headers = {"X-Amz-Invocation-Type": "Event"} | ({"X-Amzn-Trace-Id": trace} if trace else {})
        path = f"/2015-03-31/functions/{quote(arn, safe=':')}/invocations"
        try:
            status, reason, _, _ = self._call("POST", path, event, headers)
        except OSError as error:
            status, reason = 0, str(error)
        if status != 202:
            print(f"event for {arn} was not taken: {status} {reason}", file=sys.stderr, flush=True)

    def _call(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, str, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self._lambda_address)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.reason, response.getheaders(), response.read()
        finally:
            connection.close()


def _mails() -> bytes:
    """What SES took, as it was given, oldest first."""
    taken = [mail for account in ses_backends.values() for region in account.values() for mail in region.sent_messages]
    return json.dumps([mail.raw_data for mail in taken if isinstance(mail, RawMessage)]).encode()


def _join_s3() -> None:
    """Gives moto's S3 events their real shape, and sends those for functions."""
    sequencer = _Sequencer()

    def event_of(event_name: str, bucket: Any, key: Any, notification_id: str) -> dict[str, Any]:
        record = _s3_record(event_name, bucket, key, notification_id, sequencer.next())
        return {"Records": [record]}

    def invoke(_account_id: str, event: Any, arn: str, _region: str) -> None:
        _outbox.waiting.append((arn, json.dumps(event).encode(), _outbox.trace))

    # moto has no way to add to it: two functions of its module are replaced.
    module: Any = notifications
    module._get_s3_event = event_of
    module._invoke_awslambda = invoke


def _s3_record(event_name: str, bucket: Any, key: Any, notification_id: str, sequencer: str) -> dict[str, Any]:
    """One record of an S3 event.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    described: dict[str, Any] = {"key": quote_plus(key.name, safe="/*"), "sequencer": sequencer}
    if "ObjectCreated" in event_name:  # a deletion has neither
        described |= {"size": key.size, "eTag": key.etag.replace('"', "")}
    if bucket.is_versioned:
        described["versionId"] = key.version_id
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket.region_name,
        "eventTime": _iso_time(time.time()),
        "eventName": str(getattr(event_name, "value", event_name)).removeprefix("s3:"),
        "userIdentity": {"principalId": "AWS:AIDASANDBOX"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "SANDBOX", "x-amz-id-2": "SANDBOX"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": notification_id,
            "bucket": {"name": bucket.name, "ownerIdentity": {"principalId": "SANDBOX"}, "arn": bucket.arn},
            "object": described,
        },
    }


def _join_event_bridge(recorder: _Recorder) -> None:
    """Lets rules reach functions, and records what is put."""
    rules: Any = events_models.Rule
    backends: Any = events_models.EventsBackend
    send_elsewhere, put_events = rules.send_to_targets, backends.put_events

    def send(rule: Any, event: dict[str, Any], transform_input: bool = True) -> None:
        functions = [target for target in rule.targets if ":lambda:" in target["Arn"]]
        if functions and rule.state == "ENABLED" and rule.event_pattern.matches_event(event):
            shaped = {key: value for key, value in event.items() if key != "ingestion-time"}
            if isinstance(shaped.get("time"), int | float):
                shaped["time"] = _iso_time(shaped["time"])
            for target in functions:
                body = target.get("Input") or json.dumps(shaped, default=str)
                _outbox.waiting.append((target["Arn"], body.encode(), _outbox.trace))
        others = copy.copy(rule)
        others.targets = [target for target in rule.targets if target not in functions]
        if others.targets:
            send_elsewhere(others, event, transform_input)

    def put(backend: Any, events: list[dict[str, Any]]) -> Any:
        recorder.add(events)
        return put_events(backend, events)

    rules.send_to_targets = send
    backends.put_events = put


def _iso_time(epoch_s: float) -> str:
    text = datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _athena(application: Application, port: int) -> Athena:
    """Athena over the objects of this very server."""
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="athena",
        aws_secret_access_key="athena",
        config=Config(s3={"addressing_style": "path"}),
    )
    groups = {ATHENA_WORKGROUP: WorkGroup(cutoff_bytes=ATHENA_CUTOFF_BYTES)}
    # Every query of Athena's waits for its turn: nobody hears of its end before its start was answered.
    return Athena(
        s3, lambda: standing_tables(s3), groups, lambda _: time.sleep(ATHENA_QUEUES_S), application.tell_of_query
    )


def main() -> None:
    """Serves until stdin is closed. The one argument is the address of the local Lambda."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    application = Application(sys.argv[1])
    guarded = Injector(application, application.kill)
    server = server_of(guarded)
    application.athena = _athena(application, server.server_port)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
