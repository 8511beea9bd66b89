"""The APNs stand-in: `POST /3/device/{token}`, with Apple's own reasons.

Sources: https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns and
.../handling-notification-responses-from-apns.

Not checked: the length of a collapse id with letters outside ASCII, because granian shows such a header as empty.
"""

import re
import time
import uuid
from typing import Any

import msgspec
from granian.rsgi import Scope

from sandbox.gateways.apns_token import ProviderToken, ProviderTokens
from sandbox.gateways.behaviour import Answer, Behave, Behaviour, Gateway, Reply
from sandbox.gateways.endpoint import Ask, Endpoint, Latency, Phones

_STATUS = {
    400: (
        "BadCollapseId BadDeviceToken BadExpirationDate BadMessageId BadPriority BadTopic DeviceTokenNotForTopic "
        "DuplicateHeaders IdleTimeout InvalidPushType MissingDeviceToken MissingTopic PayloadEmpty TopicDisallowed "
        "SomethingNew"
    ),
    403: (
        "BadEnvironmentKeyInToken ExpiredProviderToken Forbidden InvalidProviderToken MissingProviderToken "
        "UnrelatedKeyIdInToken"
    ),
    404: "BadPath",
    405: "MethodNotAllowed",
    410: "ExpiredToken Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyProviderTokenUpdates TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable Shutdown",
}
_STATUS_OF = {reason: status for status, reasons in _STATUS.items() for reason in reasons.split()}
_WORDS = {
    Answer.UNREGISTERED: "Unregistered",
    Answer.EXPIRED: "ExpiredToken",
    Answer.BAD: "BadDeviceToken",
    Answer.MALFORMED: "BadDeviceToken",
    Answer.FOREIGN: "DeviceTokenNotForTopic",
    Answer.QUOTA: "TooManyRequests",
    Answer.UPDATES: "TooManyProviderTokenUpdates",
    Answer.UNAVAILABLE: "ServiceUnavailable",
    Answer.SHUTDOWN: "Shutdown",
    Answer.INTERNAL: "InternalServerError",
    Answer.UNDOCUMENTED: "SomethingNew",
    Answer.PAYLOAD: "PayloadEmpty",
    Answer.TOO_LARGE: "PayloadTooLarge",
    Answer.CREDENTIALS: "InvalidProviderToken",
    Answer.STALE_CREDENTIALS: "ExpiredProviderToken",
    Answer.FORBIDDEN: "Forbidden",
    Answer.THIRD_PARTY_AUTH: "BadEnvironmentKeyInToken",
    Answer.WRONG_PATH: "BadPath",
}
_SUFFIXES = {
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "liveactivity": ".push-type.liveactivity",
    "location": ".location-query",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
}
_PUSH_TYPES = frozenset(("alert", "background", "mdm", *_SUFFIXES))
_PATH_START = "/3/device/"
_TOKEN = re.compile(r"[A-Za-z0-9_:\-]{8,200}")
_APNS_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TOPIC = re.compile(r"[A-Za-z0-9.\-]{1,255}")
_COLLAPSE_ID_MAX_BYTES = 64
_PAYLOAD_MAX_BYTES = 4096
_VOIP_PAYLOAD_MAX_BYTES = 5120
_UNREGISTERED_AGO_MS = 86_400_000
"""How long ago a 410 says that the app was removed: a day."""
_TOKEN_UPDATE_MIN_S = 1200
_CONNECTIONS_MAX = 1000

_payload_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Connection(msgspec.Struct):
    """What APNs remembers of a connection."""

    authorization: str = ""
    token: ProviderToken | None = None
    spoilt: bool = False
    answered: bool = False
    open_requests: int = 0


class Apns(Endpoint):
    """One of APNs' two hosts: `gateway` says which."""

    def __init__(
        self,
        gateway: Gateway,
        topic: str,
        tokens: ProviderTokens,
        behave: Behave,
        phones: Phones,
        latency: Latency | None = None,
    ) -> None:
        super().__init__(gateway, behave, phones, latency)
        self._topic = topic
        self._provider_tokens = tokens
        self._connections: dict[str, Connection] = {}

    def begin(self, scope: Scope) -> None:
        """Notes a request that did not wait for its connection's first answer."""
        connection = self._connection(scope.client)
        if connection.open_requests > 0 and not connection.answered:
            self.counts.early_requests += 1
        connection.open_requests += 1

    def end(self, scope: Scope, answered: bool) -> None:
        """Notes that the connection has had an answer."""
        connection = self._connection(scope.client)
        connection.open_requests -= 1
        connection.answered = connection.answered or answered

    def examine(self, scope: Scope, body: bytes) -> Ask | Reply:
        """Path, provider token, headers, payload."""
        pairs = scope.headers.items()
        headers = dict(pairs)
        message_id = headers.get("apns-id", "")
        if not message_id or not _APNS_ID.fullmatch(message_id):
            message_id = str(uuid.uuid4())
        path = scope.path
        # The first check that fails decides: Apple answers with one reason.
        reason = (
            self._path_fault(scope.method, path)
            or self._credentials_fault(scope.client, headers.get("authorization"))
            or ("DuplicateHeaders" if len(headers) != len(pairs) and _repeated(pairs) else None)
            or self._header_fault(headers)
            or _payload_fault(body, headers.get("apns-push-type", ""))
        )
        token = path[len(_PATH_START) :]
        if reason is None and not _TOKEN.fullmatch(token):
            reason = "BadDeviceToken"
        if reason is not None:
            return _refusal(reason, message_id)
        kept = tuple(pair for pair in pairs if pair[0].startswith("apns-"))
        return Ask(token, message_id, body, False, kept)

    def word(self, scope: Scope, ask: Ask, behaviour: Behaviour) -> Reply:
        """The answer as APNs gives it."""
        answer = behaviour.answer
        if answer is Answer.OK:
            return self._accepted(ask.message_id)
        if answer is Answer.HTML:
            return Reply(502, "html", b"<html><title>502 Bad Gateway</title></html>", (("content-type", "text/html"),))
        if answer is Answer.EMPTY:
            return Reply(500, "empty")
        if answer is Answer.UPDATES:
            self._connection(scope.client).spoilt = True
        reply = _refusal(_WORDS[answer], ask.message_id)
        if behaviour.retry_after is None:
            return reply
        return msgspec.structs.replace(reply, headers=(*reply.headers, ("retry-after", behaviour.retry_after)))

    def _accepted(self, message_id: str) -> Reply:
        if self.gateway is Gateway.APNS:
            return Reply(200, "", b"", (("apns-id", message_id),))
        return Reply(200, "", b"", (("apns-id", message_id), ("apns-unique-id", str(uuid.uuid4()))))

    def _connection(self, client: str) -> Connection:
        connection = self._connections.get(client)
        if connection is None:
            if len(self._connections) >= _CONNECTIONS_MAX:
                del self._connections[next(iter(self._connections))]
            connection = self._connections[client] = Connection()
        return connection

    @staticmethod
    def _path_fault(method: str, path: str) -> str | None:
        if not path.startswith(_PATH_START) or "/" in path[len(_PATH_START) :]:
            return "BadPath"
        if method != "POST":
            return "MethodNotAllowed"
        return None if len(path) > len(_PATH_START) else "MissingDeviceToken"

    def _credentials_fault(self, client: str, authorization: str | None) -> str | None:
        """A connection belongs to one key, and takes a new token every 20 minutes at most; if not, it is spoilt."""
        connection = self._connection(client)
        if connection.spoilt:
            return "TooManyProviderTokenUpdates"
        token = self._provider_tokens.check(authorization)
        if isinstance(token, str):
            return token
        if authorization != connection.authorization:
            before = connection.token
            if before is not None and before.key_id != token.key_id:
                return "UnrelatedKeyIdInToken"
            if before is not None and abs(token.issued_at_s - before.issued_at_s) < _TOKEN_UPDATE_MIN_S:
                connection.spoilt = True
                return "TooManyProviderTokenUpdates"
            connection.authorization, connection.token = authorization or "", token
        return None

    def _header_fault(self, headers: dict[str, str]) -> str | None:
        push_type = headers.get("apns-push-type", "alert")
        if push_type not in _PUSH_TYPES:
            return "InvalidPushType"
        topic = headers.get("apns-topic", "")
        if topic != self._topic or push_type in _SUFFIXES:
            fault = self._topic_fault(topic, push_type)
            if fault is not None:
                return fault
        priority = headers.get("apns-priority", "5" if push_type == "background" else "10")
        if priority not in ("10", "5", "1") or (push_type == "background" and priority != "5"):
            return "BadPriority"
        expiration = headers.get("apns-expiration", "0")
        if not (expiration.isascii() and expiration.isdecimal()):
            return "BadExpirationDate"
        if len(headers.get("apns-collapse-id", "").encode()) > _COLLAPSE_ID_MAX_BYTES:
            return "BadCollapseId"
        message_id = headers.get("apns-id")
        return "BadMessageId" if message_id is not None and not _APNS_ID.fullmatch(message_id) else None

    def _topic_fault(self, topic: str, push_type: str) -> str | None:
        if not topic:
            return "MissingTopic"
        if not _TOPIC.fullmatch(topic):
            return "BadTopic"
        if topic == self._topic + _SUFFIXES.get(push_type, ""):
            return None
        return "BadTopic" if topic.startswith(self._topic) else "TopicDisallowed"


def _repeated(pairs: list[tuple[str, str]]) -> bool:
    """Whether a header of APNs' own, or the credentials, came twice."""
    names = [name for name, _ in pairs if name.startswith("apns-") or name == "authorization"]
    return len(names) != len(set(names))


def _payload_fault(body: bytes, push_type: str) -> str | None:
    if len(body) > (_VOIP_PAYLOAD_MAX_BYTES if push_type == "voip" else _PAYLOAD_MAX_BYTES):
        return "PayloadTooLarge"
    try:
        return None if _payload_decoder.decode(body) else "PayloadEmpty"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "PayloadEmpty"


def _refusal(reason: str, message_id: str) -> Reply:
    status = _STATUS_OF[reason]
    answer: dict[str, Any] = {"reason": reason}
    if status == 410:
        answer["timestamp"] = int(time.time() * 1000) - _UNREGISTERED_AGO_MS
    return Reply(status, reason, msgspec.json.encode(answer), (("apns-id", message_id),))
