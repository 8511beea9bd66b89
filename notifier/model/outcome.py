"""What became of a device, what a gateway's answer means, and the rows that a run writes."""

import enum
from datetime import UTC, datetime

import msgspec


class Outcome(enum.StrEnum):
    """What became of one device. Every valid device has exactly one outcome."""

    ACCEPTED = "accepted"
    """Apple or Google accepted it. Whether a phone showed it is not known."""
    REJECTED = "rejected"
    """The gateway refused it for good, or its payload was too large to be sent."""
    FAILED = "failed"
    """There was no final answer before the attempts or the message's time to live were used up."""
    HELD = "held"
    """The user is in the control group: nothing is sent."""


class Disposition(enum.StrEnum):
    """What the worker does after an answer."""

    ACCEPT = "accept"
    """Done."""
    DROP_TOKEN = "drop_token"
    """Rejected. The token is dead for this app and is written to the dead-token objects."""
    REJECT = "reject"
    """Rejected: this push to this device. The token may be fine."""
    FAIL = "fail"
    """Failed: this device only. Another request would make it worse."""
    RETRY = "retry"
    """Send again later."""
    RECONNECT = "reconnect"
    """The connection cannot be used any more: send again on a new one."""
    RENEW = "renew"
    """The credentials are stale: renew them and send again. If they are refused twice in a row, they are wrong."""
    PUT_OFF = "put_off"
    """This kind of device is refused until an operator corrects the reason: send to the others, then stop the run."""
    STOP = "stop"
    """A refusal that would concern every device: send again. Many of them stop the run (the circuit breaker)."""


class Suspicion(enum.StrEnum):
    """What many such answers together prove. One alone proves nothing."""

    PAYLOAD = "payload"
    """The message is refused for all: 50 distinct devices of one gateway and arm were refused, and none accepted."""
    ENVIRONMENT = "environment"
    """Tokens of the wrong APNs environment: decided after 100 answers."""
    TOPIC = "topic"
    """Tokens of another app: decided after 100 answers."""
    SENDER = "sender"
    """Tokens of another Firebase project than the secret's: decided after 100 answers for live tokens."""
    TOKENS = "tokens"
    """No FCM tokens, such as APNs' under the wrong platform: decided after 100 answers for live tokens."""


class Readiness(enum.Enum):
    """Whether requests can be sent to an endpoint."""

    READY = "ready"
    WAITING = "waiting"
    """Credentials are being fetched."""
    UNAVAILABLE = "unavailable"
    """Credentials cannot be fetched before a known time."""
    REFUSED = "refused"
    """Credentials are refused until an operator corrects the reason."""


class Access(msgspec.Struct, frozen=True):
    """Whether requests can be sent to an endpoint, and if not, why.

    `until_s` is in seconds since the epoch, and only for UNAVAILABLE.
    """

    readiness: Readiness
    reason: str = ""
    until_s: float = 0.0


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one answer means.

    `reason` is the gateway's own (`BadDeviceToken`, `UNREGISTERED`) or ours in lower case (`unanswered`).
    `retry_after_s` is the header Retry-After, if there was one.
    `message_id` is the gateway's id of an accepted push, if there was one.
    """

    disposition: Disposition
    reason: str | None = None
    suspicion: Suspicion | None = None
    retry_after_s: int | None = None
    message_id: str | None = None
    maybe_processed: bool = False
    """The push may have reached the phone although there is no answer: another request may repeat it."""
    is_of_connection: bool = False
    """The connection ended, or the gateway refused the stream unread: this says nothing about the device."""
    since_ms: int | None = None
    """When the token became invalid according to Apple, in milliseconds since the epoch."""


def timestamp(now_s: float) -> str:
    """UTC as `YYYY-MM-DD HH:MM:SS.mmm`, which BigQuery, Athena and DuckDB read as a timestamp."""
    # Without the offset, `+00:00`. `strftime` would take four times as long.
    return datetime.fromtimestamp(now_s, UTC).isoformat(" ", "milliseconds")[:-6]


class Row(msgspec.Struct, frozen=True, gc=False):
    """One device's outcome, as written to `rows/`. Its key is run, record and device.

    `record` and `device` count from 0. `at` is UTC, `YYYY-MM-DD HH:MM:SS.mmm`. `status` is the HTTP status, null if no
    request was sent. `apns_id` was sent to APNs, `message_id` came from FCM. `attempts` counts requests.
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
    """A broken record or device, as written to `invalid/`. `device` is absent if the whole record is broken."""

    run_id: str
    record: int
    reason: str
    device: int | None = None
    user_id: str | None = None


class Excluded(msgspec.Struct, frozen=True, gc=False):
    """A user who was left out, as written to `excluded/`; by `reason` as in the account's `excluded_by`."""

    run_id: str
    record: int
    user_id: str
    reason: str


class CutUser(msgspec.Struct, frozen=True, gc=False):
    """A user whom the final cut left out, as written to `excluded/`: `record` is null, the run has no record of it."""

    run_id: str
    user_id: str
    reason: str
    record: None = None


class DeadToken(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A token to delete from your own database, as written to `dead-tokens/`. No other output has tokens.

    `since_ms` is when it became invalid according to Apple: keep the token if the app registered it again after that.
    """

    run_id: str
    user_id: str
    platform: str
    gateway: str
    token: str
    reason: str
    since_ms: int | None = None

    def __repr__(self) -> str:
        # Without the token: a repr may get into a log.
        return f"DeadToken(user_id={self.user_id!r}, reason={self.reason!r})"
