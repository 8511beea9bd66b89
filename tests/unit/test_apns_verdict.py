"""APNs' answers: every documented reason has a verdict, and nothing a server can send is too odd."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.gateway.apns.verdict import MEANINGS, STATUSES, judge
from notifier.model.exchange import Answer, NoAnswer
from notifier.model.outcome import Disposition, Suspicion, Verdict

DOCUMENTED = {
    ("BadCollapseId", 400): Disposition.REJECT,
    ("BadDeviceToken", 400): Disposition.DROP_TOKEN,
    ("BadExpirationDate", 400): Disposition.REJECT,
    ("BadMessageId", 400): Disposition.REJECT,
    ("BadPriority", 400): Disposition.REJECT,
    ("BadTopic", 400): Disposition.STOP,
    ("DeviceTokenNotForTopic", 400): Disposition.DROP_TOKEN,
    ("DuplicateHeaders", 400): Disposition.REJECT,
    ("IdleTimeout", 400): Disposition.RECONNECT,
    ("InvalidPushType", 400): Disposition.REJECT,
    ("MissingDeviceToken", 400): Disposition.REJECT,
    ("MissingTopic", 400): Disposition.STOP,
    ("PayloadEmpty", 400): Disposition.REJECT,
    ("TopicDisallowed", 400): Disposition.STOP,
    ("BadCertificate", 403): Disposition.STOP,
    ("BadCertificateEnvironment", 403): Disposition.STOP,
    ("BadEnvironmentKeyIdInToken", 403): Disposition.STOP,
    ("BadEnvironmentKeyInToken", 403): Disposition.STOP,
    ("ExpiredProviderToken", 403): Disposition.RENEW,
    ("Forbidden", 403): Disposition.STOP,
    ("InvalidProviderToken", 403): Disposition.RENEW,
    ("MissingProviderToken", 403): Disposition.STOP,
    ("UnrelatedKeyIdInToken", 403): Disposition.RECONNECT,
    ("BadPath", 404): Disposition.STOP,
    ("MethodNotAllowed", 405): Disposition.STOP,
    ("ExpiredToken", 410): Disposition.DROP_TOKEN,
    ("Unregistered", 410): Disposition.DROP_TOKEN,
    ("PayloadTooLarge", 413): Disposition.REJECT,
    ("TooManyProviderTokenUpdates", 429): Disposition.RECONNECT,
    ("TooManyRequests", 429): Disposition.FAIL,
    ("InternalServerError", 500): Disposition.RETRY,
    ("ServiceUnavailable", 503): Disposition.RETRY,
    ("Shutdown", 503): Disposition.RECONNECT,
}
"""https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns"""


def answer(status: int, body: bytes = b"", **fields: Any) -> Answer:
    return Answer(ticket=None, status=status, body=body, **fields)


def refusal(status: int, reason: str, **body: Any) -> Verdict:
    return judge(answer(status, msgspec.json.encode({"reason": reason, **body})))


def test_every_documented_reason_has_a_meaning() -> None:
    """The list here is our own copy of Apple's."""
    assert set(MEANINGS) == {reason for reason, _ in DOCUMENTED}
    assert all(meaning.words for meaning in [*MEANINGS.values(), *STATUSES.values()])


@pytest.mark.parametrize(("reason", "status"), DOCUMENTED)
def test_documented_reasons(reason: str, status: int) -> None:
    """Each under Apple's own word."""
    verdict = refusal(status, reason)
    assert verdict.disposition is DOCUMENTED[reason, status]
    assert verdict.reason == reason
    assert verdict.maybe_processed is (reason == "InternalServerError")


def test_accepted() -> None:
    """Apple says no more than that."""
    assert judge(answer(200)) == Verdict(Disposition.ACCEPT)


def test_suspicions() -> None:
    """What many such answers would prove; one record's poison must not stop a run."""
    assert refusal(400, "BadDeviceToken").suspicion is Suspicion.ENVIRONMENT
    assert refusal(400, "DeviceTokenNotForTopic").suspicion is Suspicion.TOPIC
    rejections = [reason for (reason, _), disposition in DOCUMENTED.items() if disposition is Disposition.REJECT]
    assert {refusal(400, reason).suspicion for reason in rejections} == {Suspicion.PAYLOAD}
    assert refusal(410, "Unregistered").suspicion is None


def test_a_dead_token_says_since_when() -> None:
    """So that a token registered again later is kept; odd times are none."""
    assert refusal(410, "Unregistered", timestamp=1_700_000_000_000).since_ms == 1_700_000_000_000
    odd: object
    for odd in ("1700000000000", -1, 1.5, True, None, 10**30, {}):
        assert refusal(410, "ExpiredToken", timestamp=odd).since_ms is None


def test_waiting() -> None:
    """As Retry-After says, where we ask again."""
    body = msgspec.json.encode({"reason": "ServiceUnavailable"})
    assert judge(answer(503, body, retry_after_s=9)).retry_after_s == 9
    assert judge(answer(503, body)).retry_after_s is None
    assert judge(answer(429, msgspec.json.encode({"reason": "TooManyRequests"}), retry_after_s=9)).retry_after_s is None


@pytest.mark.parametrize(
    ("status", "disposition"),
    [
        (302, Disposition.STOP),
        (400, Disposition.STOP),
        (403, Disposition.STOP),
        (404, Disposition.STOP),
        (410, Disposition.STOP),
        (413, Disposition.REJECT),
        (429, Disposition.RETRY),
        (500, Disposition.RETRY),
        (502, Disposition.RETRY),
        (418, Disposition.STOP),
    ],
)
def test_answers_without_a_reason(status: int, disposition: Disposition) -> None:
    """Judged by their status, which is named."""
    for body in (b"", b"<html>", b"{}", b'{"reason": 3}', b'{"reason": "Bad'):
        verdict = judge(answer(status, body))
        assert (verdict.disposition, verdict.reason) == (disposition, f"http_{status}")


def test_reasons_nobody_knows() -> None:
    """Servers recover; refusals may be the message's fault, and name themselves."""
    assert refusal(400, "BrandNew") == Verdict(Disposition.REJECT, "http_400 BrandNew", suspicion=Suspicion.PAYLOAD)
    assert refusal(410, "BrandNew").disposition is Disposition.REJECT
    assert refusal(503, "BrandNew").disposition is Disposition.RETRY


@pytest.mark.parametrize("status", [403, 404, 405])
def test_unknown_reasons_of_a_status_that_is_about_us(status: int) -> None:
    """Credentials, path and method are the same for every device: none is refused for them, the run stops."""
    assert refusal(status, "BrandNew") == Verdict(Disposition.STOP, f"http_{status} BrandNew")


def test_an_answer_that_is_not_apples_ends_nothing() -> None:
    """A proxy's 410 kills no token, its 429 is asked again: Apple says of which token it speaks."""
    gone, busy = judge(answer(410, b"<html>Gone")), judge(answer(429, b"<html>Slow down"))
    assert gone == Verdict(Disposition.STOP, "http_410")
    assert (busy.disposition, busy.retry_after_s) == (Disposition.RETRY, 60)
    assert judge(answer(429, b"", retry_after_s=7)).retry_after_s == 7


@pytest.mark.parametrize(("status", "maybe"), [(500, True), (502, True), (503, False), (504, True), (520, True)])
def test_server_errors_that_may_come_behind_the_work(status: int, maybe: bool) -> None:
    """All but a 503: asked again in a later round, and counted."""
    for body in (b"", b"<html>", b'{"reason": "BrandNew"}'):
        verdict = judge(answer(status, body))
        assert (verdict.disposition, verdict.maybe_processed) == (Disposition.RETRY, maybe)


def test_no_answer() -> None:
    """Asked again; only what may have reached the phone is marked."""
    for reason, maybe in ((NoAnswer.REFUSED, False), (NoAnswer.UNANSWERED, True)):
        verdict = judge(answer(0, no_answer=reason))
        assert verdict == Verdict(
            Disposition.RETRY, reason.value, maybe_processed=maybe, is_of_connection=reason is NoAnswer.REFUSED
        )
    assert judge(answer(0)).maybe_processed
    assert judge(answer(0, no_answer=NoAnswer.UNANSWERED, connection_ended=True)).is_of_connection


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_errors = st.fixed_dictionaries({"reason": _json | st.sampled_from(sorted(MEANINGS)), "timestamp": _json})
_bodies = st.binary() | _json.map(msgspec.json.encode) | _errors.map(msgspec.json.encode)


@given(st.integers(-1, 1000), _bodies, st.integers(0, 40))
def test_any_status_and_any_bytes(status: int, body: bytes, cut: int) -> None:
    """Something comes out, whole or truncated; what is refused has a reason."""
    for part in (body, body[: max(len(body) - cut, 0)]):
        verdict = judge(answer(status, part))
        assert (verdict.reason is None) is (verdict.disposition is Disposition.ACCEPT)


def test_huge_and_deep_bodies() -> None:
    """Neither is worth an exception."""
    for body in (b"x" * 10_000_000, b"[" * 60_000, b'{"reason":' * 6_000, b'{"timestamp":' + b"9" * 6_000 + b"}"):
        assert judge(answer(400, body)).disposition is Disposition.STOP
        assert judge(answer(500, body)).disposition is Disposition.RETRY
