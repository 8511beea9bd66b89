"""What the stand-ins answer: one function from a token to a behaviour, and the prefix table it uses by default.

A token is read from the left:

    [slow-MS-][sandbox-]NAME-[once-][Ns-]anything

- `NAME` is a row of `PREFIXES`; any other token is accepted.
- `once-`: the behaviour holds for the token's first attempt only; later attempts are accepted.
- `Ns-`, such as `quota-60s-…`: the seconds of `Retry-After` (`0s` leaves the header away).
- `slow-500-…` answers 500 ms late (`slow-…` without a number: 1,000 ms), then goes on with the rest of the token.
- `sandbox-…` is a token of APNs' development environment: only the sandbox host knows it, and it knows no other.
  FCM has one environment and does not care.

Examples: `dead-0001`, `quota-once-2s-0001`, `slow-250-internal-once-0001`, `sandbox-dead-0001`.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Gateway(StrEnum):
    """Which stand-in is asked."""

    FCM = "fcm"
    APNS = "apns"
    APNS_SANDBOX = "apns_sandbox"


class Answer(StrEnum):
    """The answers that a stand-in can give; the wording of each gateway is in `fcm.py` and `apns.py`."""

    OK = "ok"
    UNREGISTERED = "unregistered"
    EXPIRED = "expired"
    BAD = "bad"
    MALFORMED = "malformed"
    FOREIGN = "foreign"
    QUOTA = "quota"
    UPDATES = "updates"
    UNAVAILABLE = "unavailable"
    SHUTDOWN = "shutdown"
    INTERNAL = "internal"
    HTML = "html"
    EMPTY = "empty"
    UNDOCUMENTED = "undocumented"
    PAYLOAD = "payload"
    TOO_LARGE = "too_large"
    CREDENTIALS = "credentials"
    STALE_CREDENTIALS = "stale_credentials"
    FORBIDDEN = "forbidden"
    THIRD_PARTY_AUTH = "third_party_auth"
    WRONG_PATH = "wrong_path"
    NEVER = "never"


class Reply(msgspec.Struct, frozen=True):
    """One HTTP answer: status, the reason it is counted under, body and headers (names in lower case)."""

    status: int
    reason: str = ""
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Behaviour(msgspec.Struct, frozen=True):
    """What to do with one request: which answer, after how many ms, with which `Retry-After` (None: no header).

    `raw` answers with exactly this instead, for what no `Answer` names. `processed`: the phone gets the push whatever
    the answer says, as when a server fails after its work.
    """

    answer: Answer = Answer.OK
    delay_ms: float = 0.0
    retry_after: str | None = None
    raw: Reply | None = None
    processed: bool = False


Behave = Callable[[Gateway, str, int, int], Behaviour]
"""`(gateway, token, attempt, nth) -> Behaviour`: the token's attempt and the gateway's request number, both from 1.

`attempt` saturates at 63. A message to a topic has the token "".
"""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A row of the prefix table: the answer, and in words what each gateway says."""

    name: str
    answer: Answer
    fcm: str
    apns: str
    retry_after_s: int = 0


PREFIXES = (
    Prefix("ok", Answer.OK, "200", "200"),
    Prefix("dead", Answer.UNREGISTERED, "404 UNREGISTERED", "410 Unregistered, with a timestamp"),
    Prefix("expired", Answer.EXPIRED, "404 UNREGISTERED", "410 ExpiredToken, with a timestamp"),
    Prefix("bad", Answer.BAD, "400 INVALID_ARGUMENT, violation on message.token", "400 BadDeviceToken"),
    Prefix("malformed", Answer.MALFORMED, "400 INVALID_ARGUMENT, recognisable by its text only", "400 BadDeviceToken"),
    Prefix("foreign", Answer.FOREIGN, "403 SENDER_ID_MISMATCH", "400 DeviceTokenNotForTopic"),
    Prefix("quota", Answer.QUOTA, "429 QUOTA_EXCEEDED, Retry-After 1", "429 TooManyRequests, Retry-After 1", 1),
    Prefix("updates", Answer.UPDATES, "429 QUOTA_EXCEEDED",
           "429 TooManyProviderTokenUpdates, on that connection from then on"),
    Prefix("unavailable", Answer.UNAVAILABLE, "503 UNAVAILABLE, Retry-After 1",
           "503 ServiceUnavailable, Retry-After 1", 1),
    Prefix("shutdown", Answer.SHUTDOWN, "503 UNAVAILABLE", "503 Shutdown"),
    Prefix("internal", Answer.INTERNAL, "500 INTERNAL", "500 InternalServerError"),
    Prefix("html", Answer.HTML, "502, an HTML page", "502, an HTML page"),
    Prefix("empty", Answer.EMPTY, "500, no body", "500, no body"),
    Prefix("undocumented", Answer.UNDOCUMENTED, "400, undocumented errorCode", "400, undocumented reason"),
    Prefix("payload", Answer.PAYLOAD, "400 INVALID_ARGUMENT, violation on message.data", "400 PayloadEmpty"),
    Prefix("toolarge", Answer.TOO_LARGE, "400 INVALID_ARGUMENT, message too big", "413 PayloadTooLarge"),
    Prefix("credentials", Answer.CREDENTIALS, "401 UNAUTHENTICATED", "403 InvalidProviderToken"),
    Prefix("stale", Answer.STALE_CREDENTIALS, "401 UNAUTHENTICATED", "403 ExpiredProviderToken"),
    Prefix("forbidden", Answer.FORBIDDEN, "403 PERMISSION_DENIED, no FcmError", "403 Forbidden"),
    Prefix("thirdparty", Answer.THIRD_PARTY_AUTH, "401 THIRD_PARTY_AUTH_ERROR", "403 BadEnvironmentKeyInToken"),
    Prefix("path", Answer.WRONG_PATH, "404 NOT_FOUND, no FcmError", "404 BadPath"),
    Prefix("never", Answer.NEVER, "no answer until the client gives up", "no answer until the client gives up"),
)  # fmt: skip

_BY_NAME = {row.name: row for row in PREFIXES}
_KNOWN = frozenset((*_BY_NAME, "slow", "sandbox"))
_MODIFIERS = re.compile(r"(once-)?(?:(\d{1,6})s-)?")
_ACCEPT = Behaviour()
_BAD = Behaviour(Answer.BAD)


def by_prefix(gateway: Gateway, token: str, attempt: int, nth: int) -> Behaviour:  # noqa: ARG001 (the shape of Behave)
    """The behaviour the token's prefix asks for: see the module's docstring."""
    if token.partition("-")[0] not in _KNOWN:
        return _BAD if gateway is Gateway.APNS_SANDBOX else _ACCEPT
    delay_ms, sandbox, rest = _outer(token)
    if gateway is not Gateway.FCM and sandbox is not (gateway is Gateway.APNS_SANDBOX):
        return Behaviour(Answer.BAD, delay_ms)
    name, _, tail = rest.partition("-")
    row = _BY_NAME.get(name)
    if row is None:
        return Behaviour(delay_ms=delay_ms)
    once, seconds = _modifiers(tail)
    if once and attempt > 1:
        return Behaviour(delay_ms=delay_ms)
    retry_after_s = row.retry_after_s if seconds is None else seconds
    return Behaviour(row.answer, delay_ms, str(retry_after_s) if retry_after_s else None)


def _outer(token: str) -> tuple[float, bool, str]:
    """Takes `slow-…` and `sandbox-…` off: (delay in ms, sandbox environment, rest)."""
    delay_ms, sandbox, rest = 0.0, False, token
    while True:
        name, _, tail = rest.partition("-")
        if name == "sandbox":
            sandbox, rest = True, tail
        elif name == "slow":
            amount, dash, after = tail.partition("-")
            numbered = bool(dash) and amount.isdecimal()
            delay_ms += float(amount) if numbered else 1000.0
            rest = after if numbered else tail
        else:
            return delay_ms, sandbox, rest


def _modifiers(tail: str) -> tuple[bool, int | None]:
    match = _MODIFIERS.match(tail)
    if match is None:
        return False, None
    once, seconds = match.groups()
    return once is not None, None if seconds is None else int(seconds)


def load(path: str) -> Behave:
    """The behaviour function at `package.module:function`. Raises ValueError or TypeError, saying what is wrong."""
    module_name, colon, name = path.partition(":")
    if not colon:
        raise ValueError(f"a behaviour is given as package.module:function, not {path!r}")
    try:
        behave = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot load the behaviour {path!r}: {error}") from error
    if not callable(behave):
        raise TypeError(f"the behaviour {path!r} is not a function")
    function: Behave = behave
    return function
