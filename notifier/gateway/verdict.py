"""What both gateways' answers have in common: bodies that may hold anything, and no answer at all."""

import re
from typing import Any

import msgspec

from notifier.model.exchange import Answer, NoAnswer
from notifier.model.outcome import Disposition, Suspicion, Verdict

NOT_PROCESSED = frozenset({503})
"""Server errors by which a server says that it did nothing. Behind any other (500, 502, 504, a CDN's 520 to 526) the
work may have been done: RFC 9110, section 15.6."""
CLIENT_CLOSED = 499
"""nginx and Google: the client went away meanwhile. A server error in all but its number."""
_MAX_BODY_BYTES = 65_536
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class Meaning(msgspec.Struct, frozen=True):
    """A row of a gateway's table: what its word means for us, and what it says itself."""

    disposition: Disposition
    words: str
    suspicion: Suspicion | None = None
    retry_after_s: int | None = None
    """How long to wait when the answer does not say."""
    maybe_processed: bool = False
    """The phone may have the push in spite of this answer."""


def unanswered(answer: Answer) -> Verdict:
    """The verdict on a request without an answer: to be asked again; maybe the phone has it already."""
    reason = answer.no_answer or NoAnswer.UNANSWERED
    return Verdict(
        Disposition.RETRY,
        reason.value,
        maybe_processed=reason is NoAnswer.UNANSWERED,
        is_of_connection=answer.connection_ended or reason is NoAnswer.REFUSED,
    )


def undocumented(answer: Answer, word: str | None) -> Verdict:
    """The verdict on what no table knows. Servers recover; a word nobody knows may be about the message.

    A refusal without a word of the gateway's may be another's: a proxy's page, a redirect. The device is asked again.
    """
    status = answer.status
    reason = f"http_{status}" + (f" {word}" if word else "")
    if status >= 500 or status == CLIENT_CLOSED:
        maybe = status not in NOT_PROCESSED
        return Verdict(Disposition.RETRY, reason, retry_after_s=answer.retry_after_s, maybe_processed=maybe)
    if word is not None:
        return Verdict(Disposition.REJECT, reason, suspicion=Suspicion.PAYLOAD)
    return Verdict(Disposition.STOP, reason, maybe_processed=200 <= status < 300)


def verdict(meaning: Meaning, reason: str, answer: Answer, since_ms: int | None = None) -> Verdict:
    """A row of a table as the verdict on one answer."""
    again = meaning.disposition in (Disposition.RETRY, Disposition.RECONNECT, Disposition.RENEW)
    delay_s = (meaning.retry_after_s if answer.retry_after_s is None else answer.retry_after_s) if again else None
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
    """A gateway's word, if it looks like one: it goes into rows and logs."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None
