"""The rules of a request: which step may follow which, taken by whom."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from approval import request as rules
from approval.form import Form
from approval.request import Counted, Decision, Forbidden, Limits, PinnedAudience, Refused, Request, State
from notifier.model.campaign import Campaign, Message, Part
from notifier.model.campaign_reading import read_campaign

ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"
LIMITS = Limits(two_approvers_above=1000, review_days=7, draft_days=30)
PARTS = (Part(key="audiences/a.json", bucket="b", version_id="v1", etag="e1"),)
AUDIENCE = PinnedAudience(PARTS, "audiences/prepared/x/_manifest.json")
CAMPAIGN = Campaign(id="c", message=Message(title="Hi"))
DAY = rules.DAY_MS


def draft() -> Request:
    return rules.created("r1", ANN, 0, LIMITS, Form(name="c", title="Hi"))


def in_review() -> Request:
    return rules.submitted(draft(), ANN, 1, CAMPAIGN, AUDIENCE, LIMITS)


def yes(request: Request, *, users: int = 10, repeated: int = 0, tick: bool = False) -> Decision:
    return Decision(request.content_hash, Counted(users, users, repeated), tick)


def approve(request: Request, by: str, users: int = 10, now_ms: int = 2) -> Request:
    return rules.approved(request, by, now_ms, yes(request, users=users), LIMITS)


def test_one_approver_is_enough_for_few() -> None:
    """Up to the threshold one yes carries it."""
    done = approve(in_review(), BOB, users=1000)
    assert (done.state, done.decided_by, done.users) == (State.APPROVED, BOB, 1000)


def test_two_approvers_for_many() -> None:
    """Above the threshold the first approval leaves it in review, and the second, by another person, approves it."""
    first = approve(in_review(), BOB, users=1001)
    assert first.state is State.IN_REVIEW
    assert approve(first, BOB, users=1001) is first
    assert approve(first, CAT, users=1001).state is State.APPROVED


def test_nobody_approves_their_own() -> None:
    """Not even a requester who is an approver too."""
    with pytest.raises(Forbidden):
        approve(in_review(), ANN)
    with pytest.raises(Forbidden):
        rules.rejected(in_review(), ANN, 2, "no")


def test_a_second_click_changes_nothing() -> None:
    """The very same request comes back, so that nothing is written."""
    done = approve(in_review(), BOB)
    assert approve(done, BOB) is done
    assert approve(done, CAT) is done


def test_only_what_was_seen_is_approved() -> None:
    """A page with another content's hash approves nothing."""
    request = in_review()
    decision = Decision("0" * 64, Counted(1, 1, 0))
    with pytest.raises(Refused, match="changed"):
        rules.approved(request, BOB, 2, decision, LIMITS)


def test_not_before_it_is_counted() -> None:
    """Without figures the number of approvers is unknown."""
    request = in_review()
    with pytest.raises(Refused, match="counted"):
        rules.approved(request, BOB, 2, Decision(request.content_hash, None), LIMITS)


@pytest.mark.parametrize(("repeated", "needs"), [(1, False), (2, True)])
def test_repeated_tokens_need_a_tick_above_a_thousandth(repeated: int, needs: bool) -> None:
    """0.1 % exactly is still within."""
    request = in_review()
    if needs:
        with pytest.raises(Refused, match="more than once"):
            rules.approved(request, BOB, 2, yes(request, users=1000, repeated=repeated), LIMITS)
    ticked = rules.approved(request, BOB, 2, yes(request, users=1000, repeated=repeated, tick=needs), LIMITS)
    assert ticked.state is State.APPROVED


def test_everything_is_locked_in_review() -> None:
    """The form cannot be changed under the approvers' eyes."""
    with pytest.raises(Refused, match="in review"):
        rules.changed(in_review(), ANN, 2, Form(name="other"))


def test_taking_it_back_starts_the_review_anew() -> None:
    """Approvals are gone, and the old content's hash is good for nothing."""
    first = approve(in_review(), BOB, users=1001)
    back = rules.taken_back(first, ANN, 3, LIMITS)
    assert (back.state, back.approvals, back.campaign, back.parts) == (State.DRAFT, (), None, ())
    other = msgspec.structs.replace(CAMPAIGN, message=Message(title="Ho"))
    again = rules.submitted(back, ANN, 4, other, AUDIENCE, LIMITS)
    with pytest.raises(Refused, match="changed"):
        rules.approved(again, BOB, 5, yes(first), LIMITS)


STEPS: dict[str, Callable[[Request], Request]] = {
    "change": lambda r: rules.changed(r, ANN, 9, Form(name="x")),
    "submit": lambda r: rules.submitted(r, ANN, 9, CAMPAIGN, AUDIENCE, LIMITS),
    "take_back": lambda r: rules.taken_back(r, ANN, 9, LIMITS),
    "reject": lambda r: rules.rejected(r, BOB, 9, "no"),
    "withdraw": lambda r: rules.withdrawn(r, ANN, 9),
}
ALLOWED = {
    State.DRAFT: {"change", "submit", "withdraw"},
    State.IN_REVIEW: {"take_back", "reject", "withdraw"},
    State.APPROVED: set[str](),
    State.REJECTED: set[str](),
    State.WITHDRAWN: set[str](),
}


@pytest.mark.parametrize("state", ALLOWED)
@pytest.mark.parametrize("step", STEPS)
def test_every_step_in_every_state(state: State, step: str) -> None:
    """A step is refused in every state but its own."""
    base = draft() if state is State.DRAFT else in_review()
    request = msgspec.structs.replace(base, state=state)
    if step in ALLOWED[state]:
        assert STEPS[step](request).version == request.version + 1
    else:
        with pytest.raises(Refused):
            STEPS[step](request)


def test_an_open_request_ends_by_itself() -> None:
    """After the review's days it is expired, whatever anybody tries."""
    request = in_review()
    late = 1 + 7 * DAY
    assert request.state_at(late - 1) is State.IN_REVIEW
    assert request.state_at(late) is State.EXPIRED
    with pytest.raises(Refused, match="expired"):
        approve(request, BOB, now_ms=late)
    with pytest.raises(Refused, match="expired"):
        rules.withdrawn(request, ANN, late)
    half = approve(request, BOB, users=LIMITS.two_approvers_above + 1)
    with pytest.raises(Refused, match="expired"):  # the second click of one whose yes is too old by now
        approve(half, BOB, now_ms=late)
    assert approve(request, BOB).state_at(late) is State.APPROVED


def test_what_nobody_did_in_time() -> None:
    """Said as it was: a draft was not sent, a request had no answer, or too few."""
    half = approve(in_review(), BOB, users=LIMITS.two_approvers_above + 1)
    assert "not sent for review" in draft().why_expired
    assert in_review().why_expired == "Nobody decided in time."
    assert half.why_expired == "Not enough approvers decided in time."


def test_only_the_requester_steers_it() -> None:
    """Others may neither change nor withdraw it."""
    with pytest.raises(Forbidden):
        rules.changed(draft(), BOB, 2, Form())
    with pytest.raises(Forbidden):
        rules.withdrawn(in_review(), BOB, 2)


def test_a_rejection_says_why() -> None:
    """A rejection needs a comment."""
    with pytest.raises(Refused, match="why"):
        rules.rejected(in_review(), BOB, 2, "  ")


def test_nothing_is_sent_after_its_latest_time() -> None:
    """Neither submitted nor approved once `abort_after` has passed."""
    over = msgspec.structs.replace(CAMPAIGN, abort_after=datetime.fromtimestamp(5, UTC))
    with pytest.raises(Refused, match="passed"):
        rules.submitted(draft(), ANN, 5000, over, AUDIENCE, LIMITS)
    request = rules.submitted(draft(), ANN, 4999, over, AUDIENCE, LIMITS)
    with pytest.raises(Refused, match="passed"):
        approve(request, BOB, now_ms=5000)


def test_the_hash_is_of_content_and_audience() -> None:
    """Another word, or other bytes in the audience, is another hash; the order of writing is not."""
    base = rules.content_hash(CAMPAIGN, PARTS)
    assert rules.content_hash(Campaign(message=Message(title="Hi"), id="c"), PARTS) == base
    assert rules.content_hash(msgspec.structs.replace(CAMPAIGN, id="d"), PARTS) != base
    assert rules.content_hash(CAMPAIGN, (msgspec.structs.replace(PARTS[0], etag="e2"),)) != base


def test_a_request_survives_its_json() -> None:
    """What is stored comes back, percentages to the last digit."""
    campaign = read_campaign(
        {
            "id": "c",
            "message": {"title": "Hi"},
            "variants": [{"name": "a", "percent": Decimal("33.33")}],
            "control_percent": Decimal("66.67"),
        }
    )
    request = rules.submitted(draft(), ANN, 1, campaign, AUDIENCE, LIMITS)
    stored = msgspec.json.Encoder(decimal_format="number").encode(request)
    back = msgspec.json.decode(stored, type=Request)
    assert back == request
    assert back.content_hash == request.content_hash
