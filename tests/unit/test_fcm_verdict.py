"""FCM's answers: every documented code has a verdict, and nothing a server can send is too odd."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.gateway.fcm.verdict import MEANINGS, STATUS_WORDS, judge
from notifier.model.exchange import Answer, NoAnswer
from notifier.model.outcome import Disposition, Suspicion, Verdict

DOCUMENTED = {
    ("UNREGISTERED", 404): Disposition.DROP_TOKEN,
    ("INVALID_ARGUMENT", 400): Disposition.REJECT,
    ("SENDER_ID_MISMATCH", 403): Disposition.DROP_TOKEN,
    ("THIRD_PARTY_AUTH_ERROR", 401): Disposition.PUT_OFF,
    ("QUOTA_EXCEEDED", 429): Disposition.RETRY,
    ("UNAVAILABLE", 503): Disposition.RETRY,
    ("INTERNAL", 500): Disposition.RETRY,
}
"""https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, without UNSPECIFIED_ERROR."""

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


def answer(status: int, body: bytes = b"", **fields: Any) -> Answer:
    return Answer(ticket=None, status=status, body=body, **fields)


def refusal(
    status: int, word: str | None, code: str | None = None, *details: Any, message: str = "", **fields: Any
) -> Verdict:
    """The verdict on an error as Google words it."""
    found = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
    error = {"code": status, "message": message, "status": word, "details": [*found, *details]}
    return judge(answer(status, msgspec.json.encode({"error": error}), **fields))


def violation(field: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": field, "description": "…"}],
    }


def test_every_documented_code_has_a_meaning() -> None:
    """The list here is our own copy of Google's."""
    assert set(MEANINGS) == {code for code, _ in DOCUMENTED}
    assert all(meaning.words for meaning in [*MEANINGS.values(), *STATUS_WORDS.values()])


@pytest.mark.parametrize(("code", "status"), DOCUMENTED)
def test_documented_codes(code: str, status: int) -> None:
    """The FcmError decides, whatever the status word beside it."""
    verdict = refusal(status, "NOT_FOUND", code)
    assert verdict.disposition is DOCUMENTED[code, status]
    assert verdict.reason == code
    assert verdict.maybe_processed is (code == "INTERNAL")


def test_accepted() -> None:
    """With the message's id, pretty-printed or not; without one if there is none to be found."""
    for body in (b'{\n  "name": "projects/p/messages/0:12%34"\n}\n', b'{"name":"projects/p/messages/0:12%34"}'):
        assert judge(answer(200, body)) == Verdict(Disposition.ACCEPT, message_id="0:12%34")
    for body in (b"", b"{}", b"<html>", b'"/messages/"', b'/messages/"', b'{"name":"/messages/' + b"x" * 500 + b'"}'):
        assert judge(answer(200, body)) == Verdict(Disposition.ACCEPT)


def test_an_invalid_token_is_dropped_and_an_invalid_message_is_not_the_tokens_fault() -> None:
    """Classified by the field, and where there is none by the text."""
    text = "The registration token is not a valid FCM registration token"
    dropped = Disposition.DROP_TOKEN
    assert refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", violation("message.token")).disposition is dropped
    assert refusal(400, "INVALID_ARGUMENT", None, violation("message.token")).disposition is dropped
    assert refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message=text).disposition is dropped
    assert refusal(400, "INVALID_ARGUMENT", None, violation("message.token")).reason == "INVALID_ARGUMENT token"
    for verdict in (
        refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", violation("message.data"), message=text),
        refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message="Android message is too big"),
        refusal(400, "INVALID_ARGUMENT"),
    ):
        assert (verdict.disposition, verdict.suspicion) == (Disposition.REJECT, Suspicion.PAYLOAD)


def test_a_404_without_a_code_is_a_wrong_project() -> None:
    """Otherwise a wrong URL would drop every token of the list."""
    assert refusal(404, "NOT_FOUND").disposition is Disposition.STOP
    assert judge(answer(404, b"<html>")).disposition is Disposition.STOP
    assert judge(answer(404)).reason == "http_404"


def test_who_refuses_us() -> None:
    """Stale OAuth is renewed; a missing permission stops; another project's token is the token's fault."""
    assert refusal(401, "UNAUTHENTICATED").disposition is Disposition.RENEW
    assert judge(answer(401)).disposition is Disposition.RENEW
    assert refusal(403, "PERMISSION_DENIED").disposition is Disposition.STOP
    assert refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH").disposition is Disposition.DROP_TOKEN


def test_what_could_be_our_own_fault() -> None:
    """Another project's secret, and tokens that are not FCM's, refuse every good token; a dead token is dead."""
    assert refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH").suspicion is Suspicion.SENDER
    assert refusal(400, "INVALID_ARGUMENT", None, violation("message.token")).suspicion is Suspicion.TOKENS
    assert refusal(404, "NOT_FOUND", "UNREGISTERED").suspicion is None
    for code, status in DOCUMENTED:
        verdict = refusal(status, None, code)
        ends = verdict.disposition in (Disposition.DROP_TOKEN, Disposition.REJECT)
        assert not ends or verdict.suspicion is not None or code == "UNREGISTERED"


def test_waiting() -> None:
    """As Retry-After says; a used-up quota waits a minute where it says nothing, and names itself."""
    project = {"violations": [{"subject": "project:123456789", "description": "…"}]}
    verdict = refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", project)
    assert (verdict.reason, verdict.retry_after_s) == ("QUOTA_EXCEEDED project", 60)
    assert refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after_s=7).retry_after_s == 7
    assert refusal(503, "UNAVAILABLE", "UNAVAILABLE", retry_after_s=0).retry_after_s == 0
    assert refusal(503, "UNAVAILABLE", "UNAVAILABLE").retry_after_s is None
    assert judge(answer(502, b"<html>Bad Gateway</html>", retry_after_s=3)) == Verdict(
        Disposition.RETRY, "http_502", retry_after_s=3, maybe_processed=True
    )


@pytest.mark.parametrize("status", [499, 500, 502, 504, 520, 522, 524, 529])
def test_server_errors_that_may_come_behind_the_work(status: int) -> None:
    """The phone may have the push: asked again in a later round, and counted. By the number, whatever the body."""
    for body in (b"", b"<html>", b'{"error": {"status": "WHAT"}}'):
        verdict = judge(answer(status, body))
        assert (verdict.disposition, verdict.maybe_processed) == (Disposition.RETRY, True)


@pytest.mark.parametrize(
    ("status", "word", "maybe"),
    [
        (500, "INTERNAL", True),
        (500, "UNKNOWN", True),
        (500, "DATA_LOSS", True),
        (504, "DEADLINE_EXCEEDED", True),
        (499, "CANCELLED", True),
        (503, "UNAVAILABLE", False),
        (409, "ABORTED", False),
        (429, "RESOURCE_EXHAUSTED", False),
    ],
)
def test_which_status_words_may_come_behind_the_work(status: int, word: str, maybe: bool) -> None:
    """UNAVAILABLE did nothing; INTERNAL and DEADLINE_EXCEEDED may have."""
    verdict = refusal(status, word)
    assert (verdict.disposition, verdict.maybe_processed) == (Disposition.RETRY, maybe)


def test_a_503_was_not_processed() -> None:
    """With FCM's code, with another server's page, without a body."""
    for verdict in (refusal(503, "UNAVAILABLE", "UNAVAILABLE"), judge(answer(503, b"<html>")), judge(answer(503))):
        assert (verdict.disposition, verdict.maybe_processed) == (Disposition.RETRY, False)


@pytest.mark.parametrize("status", [302, 400, 402, 407, 409, 421])
def test_refusals_that_are_not_googles(status: int) -> None:
    """A proxy's page or an empty body blames neither the message nor the token: the device is asked again."""
    for body in (b"", b"<html>", b"[]", b'{"message": "forbidden"}'):
        assert judge(answer(status, body)) == Verdict(Disposition.STOP, f"http_{status}")


def test_a_success_that_is_not_googles_may_be_one() -> None:
    """Another server's 204 is no acceptance, and perhaps one."""
    assert judge(answer(204)) == Verdict(Disposition.STOP, "http_204", maybe_processed=True)


def test_codes_nobody_knows() -> None:
    """Servers recover; refusals may be the message's fault, and name themselves."""
    assert refusal(400, "INVALID_ARGUMENT", "BRAND_NEW") == Verdict(
        Disposition.REJECT, "http_400 BRAND_NEW", suspicion=Suspicion.PAYLOAD
    )
    assert refusal(500, "WHAT", "BRAND_NEW").disposition is Disposition.RETRY
    assert refusal(503, "UNAVAILABLE", "UNSPECIFIED_ERROR").reason == "UNAVAILABLE"
    assert judge(answer(418)) == Verdict(Disposition.STOP, "http_418")


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
_details = st.lists(
    _json | st.fixed_dictionaries({"@type": _json | st.just(FCM_ERROR), "errorCode": _json, "fieldViolations": _json})
)
_errors = st.fixed_dictionaries(
    {"error": _json | st.fixed_dictionaries({"status": _json, "message": _json, "details": _json | _details})}
)
_bodies = st.binary() | _json.map(msgspec.json.encode) | _errors.map(msgspec.json.encode)


@given(st.integers(-1, 1000), _bodies, st.integers(0, 40))
def test_any_status_and_any_bytes(status: int, body: bytes, cut: int) -> None:
    """Something comes out, whole or truncated; what is refused has a reason."""
    for part in (body, body[: max(len(body) - cut, 0)]):
        verdict = judge(answer(status, part))
        assert (verdict.reason is None) is (verdict.disposition is Disposition.ACCEPT)


def test_huge_and_deep_bodies() -> None:
    """Neither is worth an exception."""
    for body in (b"x" * 10_000_000, b"[" * 60_000, b'{"error":' * 7_000, b'{"error":{"code":' + b"9" * 6_000 + b"}}"):
        assert judge(answer(400, body)).disposition is Disposition.STOP
        assert judge(answer(500, body)).disposition is Disposition.RETRY
