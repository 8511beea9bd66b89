"""API Gateway's REST API on localhost: HTTP requests become proxy events, with the Lambda authorizer in front.

Routes, authorizer and gateway responses are read from the template, so that what answers here is what deploys. As at
API Gateway, the stage is the first part of the path, and `requestContext.domainName` is the host of this server.
"""

import base64
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from sandbox import intrinsics
from sandbox.blueprint import ACCOUNT_ID, REGION, Function, Route
from sandbox.http_server import Asked, Headers, HttpServer, Reply

Invoke = Callable[[str, bytes, str], Any]
"""Invokes a function by name, with a trace header, and returns an answer with `payload` and `failure`."""
Around = Callable[[str, Callable[[str], Reply]], Reply]
"""Wraps one request, given its name and the function that answers it with the trace header for the functions."""

_MAX_BODY_BYTES = 10 * 1024 * 1024
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length")


class _Request(NamedTuple):
    """One HTTP request. `path` is without the stage."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes


class Bridge:
    """One REST API on a free port of localhost.

    Args:
        function: whose routes are served.
        authorizer: asked for every route that names one.
        template: where the gateway responses are.
        api: the logical id of the API there.
    """

    def __init__(
        self,
        invoke: Invoke,
        function: Function,
        authorizer: Function,
        template: Path,
        api: str = "ApprovalApi",
        port: int = 0,
    ) -> None:
        properties = intrinsics.load(template)["Resources"][api]["Properties"]
        self.stage = str(properties["StageName"])
        self._invoke = invoke
        self.around: Around | None = None
        self._function = function.name
        self._authorizer = authorizer.name
        self._routes = sorted(function.routes, key=lambda route: ("{" in route.path, -len(route.path)))
        self._default_authorizer = (properties.get("Auth") or {}).get("DefaultAuthorizer", "NONE")
        # Without it an answer's base64 stays as it is, and bodies arrive as text. Ours names any type, or none.
        self._is_binary = "*~1*" in properties.get("BinaryMediaTypes", ())
        self._responses: Mapping[str, Any] = properties.get("GatewayResponses") or {}
        self._server = HttpServer(self._serve, port, name="bridge")
        self.host = f"localhost:{self._server.port}"
        self.url = f"http://{self.host}/{self.stage}"

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def _serve(self, asked: Asked) -> Reply:
        reply = self.answer(asked.method, asked.path, asked.headers.items(), asked.body)
        kept = [(name, value) for name, value in reply.headers if name.lower() not in _HOP_BY_HOP]
        return Reply(reply.status, reply.body, kept)

    def answer(self, method: str, target: str, headers: Headers, body: bytes) -> Reply:
        """One request, answered as API Gateway would."""
        if self.around is None:
            return self._answer(method, target, headers, body, "")
        name = f"{method} {urlsplit(target).path}"
        return self.around(name, lambda trace: self._answer(method, target, headers, body, trace))

    def _answer(self, method: str, target: str, headers: Headers, body: bytes, trace: str) -> Reply:
        path, _, query = target.partition("?")
        path = unquote(urlsplit(path).path) if "%" in path else path
        stage, _, rest = path.removeprefix("/").partition("/")
        if stage != self.stage:
            return Reply(403, b'{"message":"Forbidden"}', [("Content-Type", "application/json")])
        if len(body) > _MAX_BODY_BYTES:
            return self._gateway_response("REQUEST_TOO_LARGE", 413)
        request = _Request(method, f"/{rest}", query, headers, body)
        found = self._route(method, request.path)
        if found is None:
            # What API Gateway calls a path or method that it does not know.
            return self._gateway_response("MISSING_AUTHENTICATION_TOKEN", 403)
        route, parameters = found
        event = self._event(request, route, parameters)
        if (route.authorizer or self._default_authorizer) != "NONE":
            refused = self._authorize(event, trace)
            if refused is not None:
                return refused
        return self._proxy(event, trace)

    def _route(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        for route in self._routes:
            # `{proxy+}` takes the rest of the path; the other form, `{name}`, is in no template of ours.
            pattern = re.sub(r"\\\{(\w+)\\\+\\\}", r"(?P<\1>.+)", re.escape(route.path))
            match = re.fullmatch(pattern, path)
            if match and route.method in ("ANY", method):
                return route, match.groupdict()
        return None

    def _event(self, request: _Request, route: Route, parameters: dict[str, str]) -> dict[str, Any]:
        """The proxy event, in the format of a REST API: every header and query value, and the last of each alone."""
        headers = _grouped([*request.headers, ("X-Forwarded-Proto", "https")])
        query = _grouped(parse_qsl(request.query, keep_blank_values=True))
        is_base64 = self._is_binary and bool(request.body)
        text = base64.b64encode(request.body).decode() if is_base64 else request.body.decode(errors="replace")
        return {
            "resource": route.path,
            "path": request.path,
            "httpMethod": request.method,
            "headers": {name: values[-1] for name, values in headers.items()},
            "multiValueHeaders": headers,
            # API Gateway sends null for what there is none of, and not an empty object.
            "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": parameters or None,
            "stageVariables": None,
            "requestContext": self._context(request, route, headers.get("User-Agent", [""])[-1]),
            "body": text or None,
            "isBase64Encoded": is_base64,
        }

    def _context(self, request: _Request, route: Route, user_agent: str) -> dict[str, Any]:
        return {
            "resourcePath": route.path,
            "httpMethod": request.method,
            # With the stage, which the event's own path does not have.
            "path": f"/{self.stage}{request.path}",
            "stage": self.stage,
            "domainName": self.host,
            "accountId": ACCOUNT_ID,
            "apiId": "sandbox",
            "requestId": str(uuid.uuid4()),
            "identity": {"sourceIp": "127.0.0.1", "userAgent": user_agent},
        }

    def _authorize(self, event: dict[str, Any], trace: str) -> Reply | None:
        """Invokes the authorizer. None lets the event through, with the authorizer's context in it."""
        arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:sandbox/{self.stage}/{event['httpMethod']}{event['path']}"
        asked = {**event, "type": "REQUEST", "methodArn": arn}
        del asked["body"]
        answer = self._invoke(self._authorizer, json.dumps(asked).encode(), trace)
        decision = json.loads(answer.payload)
        if answer.failure:
            # An authorizer can answer 401 in one way only: it fails with exactly this message.
            if decision.get("errorMessage") == "Unauthorized":
                return self._gateway_response("UNAUTHORIZED", 401)
            return self._gateway_response("AUTHORIZER_FAILURE", 500)
        statements = decision["policyDocument"]["Statement"]
        if not any(s["Effect"] == "Allow" and s["Resource"] == arn for s in statements):
            return self._gateway_response("ACCESS_DENIED", 403)
        event["requestContext"]["authorizer"] = {"principalId": decision["principalId"], **decision.get("context", {})}
        return None

    def _proxy(self, event: dict[str, Any], trace: str) -> Reply:
        answer = self._invoke(self._function, json.dumps(event).encode(), trace)
        if answer.failure:
            return self._gateway_response("INTEGRATION_FAILURE", 502)
        result = json.loads(answer.payload)
        # Of a header that is in both, the values of multiValueHeaders count.
        single = {name: [value] for name, value in (result.get("headers") or {}).items()}
        headers = single | (result.get("multiValueHeaders") or {})
        content = result.get("body") or ""
        is_base64 = self._is_binary and result.get("isBase64Encoded")
        body = base64.b64decode(content) if is_base64 else content.encode()
        pairs = [(name, value) for name, values in headers.items() for value in values]
        return Reply(int(result["statusCode"]), body, pairs)

    def _gateway_response(self, kind: str, status: int) -> Reply:
        """The template's response of this kind, else of its family, else API Gateway's own default."""
        family = "DEFAULT_5XX" if status >= 500 else "DEFAULT_4XX"
        own = self._responses.get(kind) or self._responses.get(family)
        if own is None:
            return Reply(status, b'{"message":"Missing Authentication Token"}', [("Content-Type", "application/json")])
        headers = [(name, str(value).strip("'")) for name, value in own["ResponseParameters"]["Headers"].items()]
        template = next(iter(own["ResponseTemplates"].values()))
        return Reply(int(own.get("StatusCode", status)), str(template).encode(), headers)


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    return many
