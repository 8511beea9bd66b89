"""The FCM stand-in: HTTP v1's `messages:send`, with the OAuth endpoint beside it."""

import itertools
import os
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from granian.rsgi import Scope

from sandbox.gateways import fcm_message
from sandbox.gateways.behaviour import Answer, Behave, Behaviour, Gateway, Reply
from sandbox.gateways.endpoint import Ask, Endpoint, Exchange, Latency, Phones
from sandbox.gateways.oauth import OAuth

_JSON = (("content-type", "application/json; charset=UTF-8"),)
_HTML = (("content-type", "text/html; charset=UTF-8"),)
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
_PATH = re.compile(r"/v1/projects/([^/]+)/messages:send")
_TOKEN = re.compile(r"[A-Za-z0-9_:\-]{8,500}")
_INVALID_REGISTRATION = "The registration token is not a valid FCM registration token"
_UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential."
)


def _error(
    status: int, code: str, message: str, error_code: str | None = None, more: Sequence[dict[str, Any]] = ()
) -> Reply:
    """An error as Google words it; with `error_code` it is FCM's own and has the FcmError detail."""
    details: list[dict[str, Any]] = [{"@type": _FCM_ERROR, "errorCode": error_code}] if error_code else []
    details.extend(more)
    error: dict[str, Any] = {"code": status, "message": message, "status": code}
    if details:
        error["details"] = details
    return Reply(status, error_code or code, msgspec.json.encode({"error": error}), _JSON)


def _invalid(field: str, description: str) -> Reply:
    violation = {"@type": _BAD_REQUEST, "fieldViolations": [{"field": field, "description": description}]}
    return _error(400, "INVALID_ARGUMENT", description, "INVALID_ARGUMENT", (violation,))


def _quota() -> Reply:
    violations = [{"subject": "project:sandbox", "description": "Message rate quota exceeded for the project."}]
    detail = {"@type": _QUOTA_FAILURE, "violations": violations}
    return _error(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric.", "QUOTA_EXCEEDED", (detail,))


_NOT_FOUND_PAGE = Reply(404, "page", b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", _HTML)
_NO_CREDENTIALS = _error(401, "UNAUTHENTICATED", _UNAUTHENTICATED)
_OTHER_PROJECT = _error(403, "PERMISSION_DENIED", "Permission 'cloudmessaging.messages.create' denied on resource.")
_UNREGISTERED = _error(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED")
_UNAVAILABLE = _error(503, "UNAVAILABLE", "The service is currently unavailable.", "UNAVAILABLE")

_WORDS = {
    Answer.UNREGISTERED: _UNREGISTERED,
    Answer.EXPIRED: _UNREGISTERED,
    Answer.BAD: _invalid("message.token", _INVALID_REGISTRATION),
    Answer.MALFORMED: _error(400, "INVALID_ARGUMENT", _INVALID_REGISTRATION, "INVALID_ARGUMENT"),
    Answer.FOREIGN: _error(403, "PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH"),
    Answer.QUOTA: _quota(),
    Answer.UPDATES: _quota(),
    Answer.UNAVAILABLE: _UNAVAILABLE,
    Answer.SHUTDOWN: _UNAVAILABLE,
    Answer.INTERNAL: _error(500, "INTERNAL", "Internal error encountered.", "INTERNAL"),
    Answer.HTML: Reply(502, "html", b"<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>", _HTML),
    Answer.EMPTY: Reply(500, "empty"),
    Answer.UNDOCUMENTED: _error(400, "FAILED_PRECONDITION", "Something new.", "SOMETHING_NEW"),
    Answer.PAYLOAD: _invalid("message.data", "Invalid value at 'message.data'"),
    Answer.TOO_LARGE: _invalid("message", "Android message is too big"),
    Answer.CREDENTIALS: _NO_CREDENTIALS,
    Answer.STALE_CREDENTIALS: _NO_CREDENTIALS,
    Answer.FORBIDDEN: _OTHER_PROJECT,
    Answer.THIRD_PARTY_AUTH: _error(
        401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service", "THIRD_PARTY_AUTH_ERROR"
    ),
    Answer.WRONG_PATH: _error(404, "NOT_FOUND", "Requested entity was not found."),
}  # fmt: skip


class Fcm(Endpoint):
    """`POST /v1/projects/{project}/messages:send` and `POST /token`, on one host."""

    def __init__(
        self, project: str, oauth: OAuth, behave: Behave, phones: Phones, latency: Latency | None = None
    ) -> None:
        super().__init__(Gateway.FCM, behave, phones, latency)
        self._project = project
        self._oauth = oauth
        self._path = f"/v1/projects/{project}/messages:send"
        self._run = f"{int.from_bytes(os.urandom(4)):010d}"
        self._number = itertools.count(1)

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Takes one request; those for a token are not FCM's and not counted as such."""
        if scope.path == "/token":
            await self._oauth.__rsgi__(scope, exchange)
            return
        await super().__rsgi__(scope, exchange)

    def examine(self, scope: Scope, body: bytes) -> Ask | Reply:
        """Path, credentials, project, message: in this order, as at Google."""
        match = None if scope.path == self._path else _PATH.fullmatch(scope.path)
        if scope.method != "POST" or (match is None and scope.path != self._path):
            return _NOT_FOUND_PAGE
        scheme, _, access_token = (scope.headers.get("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not self._oauth.is_good(access_token):
            return _NO_CREDENTIALS
        if match is not None:
            return _OTHER_PROJECT
        try:
            request = fcm_message.decode(body)
        except fcm_message.RefusedError as refusal:
            return _invalid(refusal.field, refusal.description)
        token = request.message.token
        if token and not _TOKEN.fullmatch(token):
            return _WORDS[Answer.BAD]
        return Ask(token, self._message_id(request.validate_only), body, request.validate_only)

    def word(self, scope: Scope, ask: Ask, behaviour: Behaviour) -> Reply:
        """The answer as FCM gives it."""
        if behaviour.answer is Answer.OK:
            name = f'{{\n  "name": "projects/{self._project}/messages/{ask.message_id}"\n}}\n'
            return Reply(200, "", name.encode(), _JSON)
        reply = _WORDS[behaviour.answer]
        if behaviour.retry_after is None:
            return reply
        return msgspec.structs.replace(reply, headers=(*reply.headers, ("retry-after", behaviour.retry_after)))

    def _message_id(self, validate_only: bool) -> str:
        return "fake_message_id" if validate_only else f"0:{self._run}%{next(self._number):016x}"
