"""What the verdicts of both gateways share: bodies that may hold anything, undocumented answers, and no answer."""

import re
from typing import Any

import msgspec

from notifier.model.exchange import Answer, NoAnswer
from notifier.model.outcome import Disposition, Suspicion, Verdict

NOT_PROCESSED = frozenset({503})
"""Server errors that state that nothing was done. Behind any other (500, 502, 504, a CDN's 520 to 526) the work may
have been done: RFC 9110, section 15.6."""
CLIENT_CLOSED = 499
"""nginx and Google: the client closed the request. The work may have been done, as behind a server error."""
_MAX_BODY_BYTES = 65_536
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class Meaning(msgspec.Struct, frozen=True):
    """A row of a gateway's table: what one of its error codes means for us."""

    disposition: Disposition
    words: str
    """The provider's own description, shortened."""
    suspicion: Suspicion | None = None
    retry_after_s: int | None = None
    """How long to wait when the answer has no `Retry-After`."""
    maybe_processed: bool = False
    """The phone may have received the push in spite of this answer."""


def unanswered(answer: Answer) -> Verdict:
    """The verdict on a request without an answer: ask again; the phone may have received the push."""
    reason = answer.no_answer or NoAnswer.UNANSWERED
    return Verdict(
        Disposition.RETRY,
        reason.value,
        maybe_processed=reason is NoAnswer.UNANSWERED,
        is_of_connection=answer.connection_ended or reason is NoAnswer.REFUSED,
    )


def undocumented(answer: Answer, word: str | None) -> Verdict:
    """The verdict on an answer that no table has. Never stops a run or drops a token by itself.

    Args:
        word: the gateway's error code in the answer, if there is one.
    """
    status = answer.status
    reason = f"http_{status}" + (f" {word}" if word else "")
    # Server errors pass: ask again.
    if status >= 500 or status == CLIENT_CLOSED:
        maybe = status not in NOT_PROCESSED
        return Verdict(Disposition.RETRY, reason, retry_after_s=answer.retry_after_s, maybe_processed=maybe)
    # An unknown code is the gateway's, and may be about the message: many such refusals stop the run.
    if word is not None:
        return Verdict(Disposition.REJECT, reason, suspicion=Suspicion.PAYLOAD)
    # Without a code the answer may be another server's (a proxy's page, a redirect): the circuit breaker decides. A 2xx
    # that is no documented success may still have reached the phone.
    return Verdict(Disposition.STOP, reason, maybe_processed=200 <= status < 300)


def verdict(meaning: Meaning, reason: str, answer: Answer, since_ms: int | None = None) -> Verdict:
    """The verdict on one answer, from its row of a table. `since_ms` is when Apple saw the token die."""
    is_retried = meaning.disposition in (Disposition.RETRY, Disposition.RECONNECT, Disposition.RENEW)
    delay_s = (meaning.retry_after_s if answer.retry_after_s is None else answer.retry_after_s) if is_retried else None
    return Verdict(
        meaning.disposition,
        reason,
        meaning.suspicion,
        delay_s,
        since_ms=since_ms,
        maybe_processed=meaning.maybe_processed,
    )


def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; empty for anything else."""
    if not body or len(body) > _MAX_BODY_BYTES:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def word_in(value: object) -> str | None:
    """A gateway's error code, if it has the form of one. It goes into rows and logs, so nothing else may pass."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None
