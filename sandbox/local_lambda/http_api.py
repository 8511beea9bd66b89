"""The part of the Lambda API that programs call, over HTTP: Invoke, GetFunction, and what pruning versions needs."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.http_server import Asked, HttpServer, Reply
from sandbox.local_lambda.functions import LATEST
from sandbox.local_lambda.invocation import Refusal
from sandbox.local_lambda.service import LocalLambda

_PREFIX: Final = "/2015-03-31/functions/"
_KILL: Final = "/sandbox/kill/"
_ACCOUNT_SETTINGS: Final = "/2016-08-19/account-settings"
_CONCURRENCY_PREFIX: Final = "/2019-09-30/functions/"
ACCOUNT_CONCURRENCY: Final = 1_000
"""Lambda's default for an account and region that is not new."""
_JSON: Final = (("Content-Type", "application/json"),)


class LambdaApi:
    """Serves one local Lambda on a free port of 127.0.0.1."""

    def __init__(self, service: LocalLambda) -> None:
        self._service = service
        self._server = HttpServer(self._answer, name="lambda-api", backlog=128)
        self.address = self._server.address

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def _answer(self, asked: Asked) -> Reply:
        """Invoke; describe; list; delete a version; or, for scenarios, kill a function's environments."""
        path = urlsplit(asked.path).path
        try:
            match asked.method:
                case "POST" if path.startswith(_KILL):
                    return self._kill(path.removeprefix(_KILL))
                case "POST":
                    return self._invoke(asked)
                case "DELETE":
                    return self._delete_version(asked)
                case _ if path.startswith(_ACCOUNT_SETTINGS):
                    return self._account_settings()
                case _ if path.endswith("/concurrency"):
                    return self._concurrency(path)
                case _ if path.endswith("/versions"):
                    return self._list_versions(asked)
                case _ if path.endswith("/aliases"):
                    return self._list_aliases(asked)
                case _:
                    return self._describe(asked)
        except Refusal as refusal:
            body = {"Type": "User", "Message": refusal.message, "message": refusal.message}
            return _json(body, refusal.status, {"x-amzn-ErrorType": refusal.code})

    def _kill(self, logical_id: str) -> Reply:
        for name in self._service.functions.names():
            if logical_id in name:
                self._service.functions.kill_environments(name)
        return Reply(204)

    def _invoke(self, asked: Asked) -> Reply:
        name, qualifier = _target(asked, "/invocations")
        trace = asked.headers.get("X-Amzn-Trace-Id", "")
        match asked.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
            case "Event":
                self._service.invoke_later(name, asked.body, qualifier, trace)
                return Reply(202)
            case "DryRun":
                self._service.functions.get(name)
                return Reply(204)
            case _:
                answer = self._service.invoke(name, asked.body, qualifier, trace)
                headers = [*_JSON, ("X-Amz-Executed-Version", answer.version)]
                if answer.failure:
                    headers.append(("X-Amz-Function-Error", answer.error_header))
                return Reply(200, answer.payload, headers)

    def _describe(self, asked: Asked) -> Reply:
        whole = not asked.path.endswith("/configuration")
        name, qualifier = _target(asked, "" if whole else "/configuration")
        function = self._service.functions.get(name)
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
        return _json({"Configuration": configuration} if whole else configuration)

    def _account_settings(self) -> Reply:
        functions = self._service.functions
        reserved = sum(functions.get(name).concurrency or 0 for name in functions.names())
        left = ACCOUNT_CONCURRENCY - reserved
        limits = {"ConcurrentExecutions": ACCOUNT_CONCURRENCY, "UnreservedConcurrentExecutions": left}
        return _json({"AccountLimit": limits, "AccountUsage": {"FunctionCount": len(functions.names())}})

    def _concurrency(self, path: str) -> Reply:
        name = unquote(path).removeprefix(_CONCURRENCY_PREFIX).removesuffix("/concurrency")
        reserved = self._service.functions.get(name_and_qualifier(name)[0]).concurrency
        return _json({} if reserved is None else {"ReservedConcurrentExecutions": reserved})

    def _list_versions(self, asked: Asked) -> Reply:
        name, _ = _target(asked, "/versions")
        function = self._service.functions.get(name)
        versions = [
            {"FunctionName": name, "Version": version, "LastModified": _lambda_time(function.published_at[version])}
            for version in function.pools
            if version in function.published_at
        ]
        return _json({"Versions": versions})

    def _list_aliases(self, asked: Asked) -> Reply:
        name, _ = _target(asked, "/aliases")
        aliases = self._service.functions.get(name).aliases.items()
        return _json({"Aliases": [{"Name": alias, "FunctionVersion": version} for alias, version in aliases]})

    def _delete_version(self, asked: Asked) -> Reply:
        name, version = _target(asked, "")
        self._service.functions.delete_version(name, version)
        return Reply(204)


def _target(asked: Asked, ending: str) -> tuple[str, str]:
    """The function and the qualifier that a request names."""
    url = urlsplit(asked.path)
    path = unquote(url.path)
    if not path.startswith(_PREFIX) or not path.endswith(ending):
        raise Refusal(404, "UnknownOperationException", f"not known to the sandbox: {asked.method} {path}")
    name, qualifier = name_and_qualifier(path[len(_PREFIX) : len(path) - len(ending)])
    return name, parse_qs(url.query).get("Qualifier", [qualifier])[0]


def _json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(value).encode(), [*_JSON, *(headers or {}).items()])


def _lambda_time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def name_and_qualifier(text: str) -> tuple[str, str]:
    """Reads `name`, `name:qualifier`, `account:function:name` and the ARN with or without a qualifier."""
    parts = text.split(":")
    if "function" in parts:
        parts = parts[parts.index("function") + 1 :]
    return parts[0], parts[1] if len(parts) > 1 else ""
