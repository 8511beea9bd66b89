"""What became of a device, and what a gateway's answer means for us."""

import enum
from datetime import UTC, datetime

import msgspec


class Outcome(enum.StrEnum):
    """What became of one device. Every valid device ends in exactly one."""

    ACCEPTED = "accepted"
    """Apple or Google took it. Nobody can say whether a phone showed it."""
    REJECTED = "rejected"
    """The gateway refused it for good, or it was too large to be asked for."""
    FAILED = "failed"
    """Attempts or the message's time to live were used up without a final answer."""
    HELD = "held"
    """The user is in the control group: never sent."""


class Disposition(enum.StrEnum):
    """What an answer means for us."""

    ACCEPT = "accept"
    """Done."""
    DROP_TOKEN = "drop_token"
    """Rejected; the token is dead for this app and goes to the dead-token objects."""
    REJECT = "reject"
    """Rejected; this device only, its token may be fine."""
    FAIL = "fail"
    """Failed; this device only, and asking again would make it worse."""
    RETRY = "retry"
    """Ask again later."""
    RECONNECT = "reconnect"
    """This connection is spoilt: ask again on a new one."""
    RENEW = "renew"
    """The credentials are stale: renew them and ask again; refused twice in a row they are wrong."""
    PUT_OFF = "put_off"
    """This kind of device cannot be sent to until somebody mends it: the others first, then the run stops for these."""
    STOP = "stop"
    """Refused for what would be every device's trouble: asked again; many such stop the run (the circuit breaker)."""


class Suspicion(enum.StrEnum):
    """What many such answers together would prove. One alone proves nothing."""

    PAYLOAD = "payload"
    """The message is refused for everybody: 50 distinct devices of one gateway and arm, none accepted."""
    ENVIRONMENT = "environment"
    """Tokens of the wrong APNs environment: judged after 100 answers."""
    TOPIC = "topic"
    """Tokens of another app: judged after 100 answers."""
    SENDER = "sender"
    """Tokens of another Firebase project than the secret's: judged after 100 answers of live tokens."""
    TOKENS = "tokens"
    """No FCM tokens at all, such as APNs' under the wrong platform: judged after 100 answers of live tokens."""


class Readiness(enum.Enum):
    """Whether an endpoint can be asked."""

    READY = "ready"
    WAITING = "waiting"
    """Credentials are being fetched: soon."""
    UNAVAILABLE = "unavailable"
    """Credentials cannot be fetched now: not before a stated time."""
    REFUSED = "refused"
    """Not before an operator has corrected the reason."""


class Access(msgspec.Struct, frozen=True):
    """Whether an endpoint can be asked, and if not, why. `until_s`: seconds since the epoch, of UNAVAILABLE."""

    readiness: Readiness
    reason: str = ""
    until_s: float = 0.0


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """One answer, judged.

    `reason` is the gateway's own word (`BadDeviceToken`, `UNREGISTERED`) or ours in lower case (`unanswered`).
    `retry_after_s` is the gateway's wish, if it stated one.
    `message_id` is the gateway's name for an accepted push, if it gave one.
    """

    disposition: Disposition
    reason: str | None = None
    suspicion: Suspicion | None = None
    retry_after_s: int | None = None
    message_id: str | None = None
    maybe_processed: bool = False
    """The request may have reached the phone although we got no answer: asking again may repeat it."""
    is_of_connection: bool = False
    """A connection ended, or a stream was turned away unread: it says nothing about the device."""
    since_ms: int | None = None
    """When Apple saw the token die, in milliseconds since the epoch."""


def timestamp(now_s: float) -> str:
    """UTC as rows have it, `YYYY-MM-DD HH:MM:SS.mmm`: BigQuery, Athena and DuckDB read it as a timestamp."""
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


class Row(msgspec.Struct, frozen=True, gc=False):
    """One device's outcome, as it stands in `rows/`. Its key is run, record and device.

    `record` and `device` count from 0. `at` is UTC, `YYYY-MM-DD HH:MM:SS.mmm`. `status` is the HTTP status, null if
    nothing was asked. `apns_id` is what APNs was given, `message_id` what FCM answered. `attempts` counts requests.
    """

    run_id: str
    campaign_id: str
    record: int
    device: int
    user_id: str
    arm: str
    platform: str
    gateway: str
    outcome: Outcome
    reason: str | None
    status: int | None
    apns_id: str | None
    message_id: str | None
    attempts: int
    locale: str | None
    at: str


class Invalid(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A broken record or device, as it stands in `invalid/`. `device` is absent when the whole record is broken."""

    run_id: str
    record: int
    reason: str
    device: int | None = None
    user_id: str | None = None


class DeadToken(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A token to delete from your own database, as it stands in `dead-tokens/`. The only output that holds tokens.

    `since_ms` is when Apple saw it die: keep the token if the app registered it again after that.
    """

    run_id: str
    user_id: str
    platform: str
    gateway: str
    token: str
    reason: str
    since_ms: int | None = None

    def __repr__(self) -> str:
        return f"DeadToken(user_id={self.user_id!r}, reason={self.reason!r})"
