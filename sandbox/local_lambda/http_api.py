"""The part of the Lambda API that programs call, over HTTP: Invoke, GetFunction, and what pruning versions needs."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.local_lambda.invocation import Refusal
from sandbox.local_lambda.service import LATEST, LocalLambda

_PREFIX: Final = "/2015-03-31/functions/"
_KILL: Final = "/sandbox/kill/"


class LambdaApi:
    """Serves one local Lambda on a free port of 127.0.0.1."""

    def __init__(self, service: LocalLambda) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.service = service
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="lambda-api", daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    service: LocalLambda

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the caller has gone away."""


def _lambda_time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def name_and_qualifier(text: str) -> tuple[str, str]:
    """Reads `name`, `name:qualifier`, `account:function:name` and the ARN with or without a qualifier."""
    parts = text.split(":")
    if "function" in parts:
        parts = parts[parts.index("function") + 1 :]
    return parts[0], parts[1] if len(parts) > 1 else ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        """Invoke; or, for scenarios, kill every environment of the functions with this logical id."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith(_KILL):
            self._kill(self.path.removeprefix(_KILL))
            return
        self._guarded(lambda: self._invoke(body))

    def do_GET(self) -> None:
        """GetFunction, GetFunctionConfiguration, ListVersionsByFunction, ListAliases."""
        path = urlsplit(self.path).path
        lists = {"/versions": self._list_versions, "/aliases": self._list_aliases}
        self._guarded(next((act for ending, act in lists.items() if path.endswith(ending)), self._describe))

    def do_DELETE(self) -> None:
        """DeleteFunction, of one version only."""
        self._guarded(self._delete_version)

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except Refusal as refusal:
            text = json.dumps({"Type": "User", "Message": refusal.message, "message": refusal.message})
            self._answer(refusal.status, text.encode(), {"x-amzn-ErrorType": refusal.code})

    def _target(self, ending: str) -> tuple[str, str]:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if not path.startswith(_PREFIX) or not path.endswith(ending):
            raise Refusal(404, "UnknownOperationException", f"not known to the sandbox: {self.command} {path}")
        name, qualifier = name_and_qualifier(path[len(_PREFIX) : len(path) - len(ending)])
        return name, parse_qs(url.query).get("Qualifier", [qualifier])[0]

    def _kill(self, logical_id: str) -> None:
        service = self.server.service
        for name in service.names():
            if logical_id in name:
                service.kill_environments(name)
        self._answer(204)

    def _invoke(self, body: bytes) -> None:
        name, qualifier = self._target("/invocations")
        service = self.server.service
        trace = self.headers.get("X-Amzn-Trace-Id", "")
        match self.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
            case "Event":
                service.invoke_later(name, body, qualifier, trace)
                self._answer(202)
            case "DryRun":
                service.function(name)
                self._answer(204)
            case _:
                answer = service.invoke(name, body, qualifier, trace)
                headers = {"X-Amz-Executed-Version": answer.version}
                if answer.failure:
                    headers["X-Amz-Function-Error"] = answer.error_header
                self._answer(200, answer.payload, headers)

    def _describe(self) -> None:
        whole = not self.path.endswith("/configuration")
        name, qualifier = self._target("" if whole else "/configuration")
        function = self.server.service.function(name)
        setup = function.setup
        configuration = {
            "FunctionName": name,
            "FunctionArn": f"{setup.arn}:{qualifier}" if qualifier else setup.arn,
            "Handler": setup.handler,
            "Timeout": int(setup.timeout_s),
            "MemorySize": setup.memory_mb,
            "Version": function.aliases.get(qualifier, qualifier or LATEST),
            "Environment": {"Variables": dict(setup.variables)},
            "State": "Active",
        }
        answer = {"Configuration": configuration} if whole else configuration
        self._answer(200, json.dumps(answer).encode())

    def _list_versions(self) -> None:
        name, _ = self._target("/versions")
        function = self.server.service.function(name)
        versions = [
            {"FunctionName": name, "Version": version, "LastModified": _lambda_time(function.published_at[version])}
            for version in function.pools
            if version in function.published_at
        ]
        self._answer(200, json.dumps({"Versions": versions}).encode())

    def _list_aliases(self) -> None:
        name, _ = self._target("/aliases")
        aliases = self.server.service.function(name).aliases.items()
        listed = [{"Name": alias, "FunctionVersion": version} for alias, version in aliases]
        self._answer(200, json.dumps({"Aliases": listed}).encode())

    def _delete_version(self) -> None:
        name, version = self._target("")
        self.server.service.delete_version(name, version)
        self._answer(204)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: invocations are in the function's log."""
