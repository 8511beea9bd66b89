"""A request: what marketing asks for, who said what about it, and which step may follow which. No I/O.

    draft --submit--> in_review --approve (once or twice)--> approved --written--> its run
      ^                |  |  |
      +---take_back----+  |  +--reject--> rejected
                          +--withdraw--> withdrawn          (an open one ends as `expired` by itself)

A step is a function from a request to the request after it; `store` writes the result only if the request is still the
one it was made from. So two people at once are two steps in a row, and the second is judged by what the first has left.
"""

import enum
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from approval.form import Form
from notifier.campaign import Audience, Campaign, Part

DAY_MS = 86_400_000
WHOLE = Decimal(100)
REPEATED_TICK_SHARE = 0.001
"""Above this share of tokens that the audience holds twice, approvers must say that they have seen it."""


class State(enum.StrEnum):
    """Where a request stands."""

    DRAFT = "draft"
    """The requester is writing it."""
    IN_REVIEW = "in_review"
    """Locked; approvers decide."""
    APPROVED = "approved"
    """Enough approvers agreed; its batch file is written, or about to be."""
    REJECTED = "rejected"
    """An approver said no."""
    WITHDRAWN = "withdrawn"
    """The requester took it away."""
    EXPIRED = "expired"
    """Nobody decided, or sent it for review, in time."""


OPEN = (State.DRAFT, State.IN_REVIEW)


class Step(enum.StrEnum):
    """What is written in the audit trail."""

    CREATED = "created"
    COPIED = "copied"
    CHANGED = "changed"
    SUBMITTED = "submitted"
    TAKEN_BACK = "taken_back"
    TESTED = "tested"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    WRITTEN = "written"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    REMINDED = "reminded"
    EXPIRED = "expired"
    """Nobody takes it, and it is never written: it follows from the time."""


class Refused(Exception):
    """The step may not be taken. The message says why, for the person who tried."""


class Forbidden(Refused):
    """Somebody else may take this step; this person may not."""


class Approval(msgspec.Struct, frozen=True):
    """One approver's yes, to one exact content."""

    by: str
    at_ms: int
    content_hash: str


class Written(msgspec.Struct, frozen=True):
    """The batch file that carried the request out, and the run it began."""

    key: str
    etag: str
    version_id: str | None
    run_id: str
    at_ms: int


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. All times in milliseconds since the epoch; `version` counts its writes.

    `campaign` and `parts` are what the form said when it was submitted: the content that approvers decide on.
    """

    id: str
    requester: str
    created_at_ms: int
    expires_at_ms: int
    version: int = 0
    state: State = State.DRAFT
    updated_at_ms: int = 0
    form: Form = Form()
    campaign: Campaign | None = None
    parts: tuple[Part, ...] = ()
    approvals: tuple[Approval, ...] = ()
    submitted_at_ms: int | None = None
    comment: str = ""
    decided_by: str = ""
    written: Written | None = None
    copied_from: str = ""
    users: int | None = None

    @property
    def title(self) -> str:
        """What it is called in lists and mails."""
        return self.form.name or "Untitled"

    @property
    def content_hash(self) -> str:
        """Of exactly what would be sent, and to whom. Empty before it was submitted."""
        return content_hash(self.campaign, self.parts) if self.campaign is not None else ""

    @property
    def batch_key(self) -> str:
        """Where its batch file is written: one key for ever, so that it can be written once only."""
        return f"batches/{self.id}.json"

    def state_at(self, now_ms: int) -> State:
        """The state as it is now: an open request ends by itself."""
        return State.EXPIRED if self.state in OPEN and now_ms >= self.expires_at_ms else self.state

    @property
    def why_expired(self) -> str:
        """What nobody did in time, if it is expired."""
        if self.state is State.DRAFT:
            return "It was not sent for review in time."
        return "Not enough approvers decided in time." if self.approvals else "Nobody decided in time."


class Limits(msgspec.Struct, frozen=True):
    """The rules that a deployment may set."""

    two_approvers_above: int = 100_000
    review_days: int = 7
    draft_days: int = 30


_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_plain = msgspec.json.Encoder(decimal_format="number").encode


def content_hash(campaign: Campaign, parts: tuple[Part, ...]) -> str:
    """SHA-256 of the canonical JSON of the campaign and of the parts with their ETags."""
    return sha256(_canonical({"campaign": campaign, "parts": parts})).hexdigest()


def batch_file(campaign: Campaign, parts: tuple[Part, ...]) -> bytes:
    """The batch file of a campaign whose users are in `parts`. Equal input gives equal bytes."""
    return _plain({"campaign": campaign, "audience": Audience(parts)})


def file_of_test(campaign: Campaign, users: list[dict[str, Any]]) -> bytes:
    """A batch file that holds its users."""
    return _plain({"campaign": campaign, "users": users})


def needed_approvals(users: int, limits: Limits) -> int:
    """How many approvers must agree before so many users get a push."""
    return 2 if users > limits.two_approvers_above else 1


def needs_tick(repeated_tokens: int, devices: int) -> bool:
    """Whether so many tokens are in the audience twice that an approver must say that it is meant so."""
    return devices > 0 and repeated_tokens / devices > REPEATED_TICK_SHARE


def created(id_: str, by: str, now_ms: int, limits: Limits, form: Form = Form(), copied_from: str = "") -> Request:  # noqa: B008
    """A new draft."""
    return Request(
        id=id_,
        requester=by,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        expires_at_ms=now_ms + limits.draft_days * DAY_MS,
        form=form,
        copied_from=copied_from,
    )


def changed(request: Request, by: str, now_ms: int, form: Form) -> Request:
    """The draft with another form."""
    _own(request, by)
    _in(request, now_ms, State.DRAFT)
    return _next(request, now_ms, form=form)


def submitted(
    request: Request, by: str, now_ms: int, campaign: Campaign, parts: tuple[Part, ...], limits: Limits
) -> Request:
    """Handed to the approvers: from now on nothing of it changes."""
    _own(request, by)
    _in(request, now_ms, State.DRAFT)
    if not parts:
        raise Refused("The request has no audience.")
    if campaign.abort_after is not None and campaign.abort_after.timestamp() * 1000 <= now_ms:
        raise Refused("The latest time has passed.")
    return _next(
        request,
        now_ms,
        state=State.IN_REVIEW,
        campaign=campaign,
        parts=parts,
        approvals=(),
        submitted_at_ms=now_ms,
        expires_at_ms=now_ms + limits.review_days * DAY_MS,
    )


def taken_back(request: Request, by: str, now_ms: int, limits: Limits) -> Request:
    """Back to a draft: whoever approved it must look again."""
    _own(request, by)
    _in(request, now_ms, State.IN_REVIEW)
    return _next(
        request,
        now_ms,
        state=State.DRAFT,
        campaign=None,
        parts=(),
        approvals=(),
        submitted_at_ms=None,
        expires_at_ms=now_ms + limits.draft_days * DAY_MS,
    )


class Counted(msgspec.Struct, frozen=True):
    """What an approval must know of the audience."""

    users: int
    devices: int
    repeated_tokens: int


class Decision(msgspec.Struct, frozen=True):
    """What an approver has seen and ticked: the hash of the content on his page, and the audience as it was counted."""

    content_hash: str
    counted: Counted | None
    repeats_ticked: bool = False


def approved(request: Request, by: str, now_ms: int, decision: Decision, limits: Limits) -> Request:
    """One more yes. The same person's second click changes nothing; the last yes that is needed makes it `approved`."""
    if request.requester == by:
        raise Forbidden("Nobody approves their own request.")
    if decision.content_hash != request.content_hash or not decision.content_hash:
        raise Refused("The request was changed after your page was made. Look at it again, then decide.")
    if request.state is State.APPROVED:
        return request
    _in(request, now_ms, State.IN_REVIEW)
    if any(approval.by == by for approval in request.approvals):
        return request
    if request.campaign and request.campaign.abort_after and request.campaign.abort_after.timestamp() * 1000 <= now_ms:
        raise Refused("The latest time of the campaign has passed: nothing would be sent.")
    counted = decision.counted
    if counted is None:
        raise Refused("The audience is still being counted. Approve when the figures are there.")
    if needs_tick(counted.repeated_tokens, counted.devices) and not decision.repeats_ticked:
        raise Refused("More than 0.1 % of the devices are listed more than once. Tick that you have seen it.")
    approvals = (*request.approvals, Approval(by, now_ms, request.content_hash))
    enough = len(approvals) >= needed_approvals(counted.users, limits)
    return _next(
        request,
        now_ms,
        approvals=approvals,
        users=counted.users,
        state=State.APPROVED if enough else State.IN_REVIEW,
        decided_by=by if enough else "",
    )


def rejected(request: Request, by: str, now_ms: int, comment: str) -> Request:
    """A no, with the reason."""
    if request.requester == by:
        raise Forbidden("Nobody decides on their own request. Withdraw it instead.")
    _in(request, now_ms, State.IN_REVIEW)
    if not comment.strip():
        raise Refused("Say why, so that the requester can mend it.")
    return _next(request, now_ms, state=State.REJECTED, comment=comment.strip()[:2000], decided_by=by)


def withdrawn(request: Request, by: str, now_ms: int) -> Request:
    """Taken away by the one who asked."""
    _own(request, by)
    _in(request, now_ms, *OPEN)
    return _next(request, now_ms, state=State.WITHDRAWN)


def written(request: Request, now_ms: int, result: Written) -> Request:
    """Its batch file is there."""
    if request.state is not State.APPROVED:
        raise Refused("Only an approved request is carried out.")
    return request if request.written is not None else _next(request, now_ms, written=result)


def require(allowed: bool, why: str) -> None:
    """Raises Forbidden unless allowed."""
    if not allowed:
        raise Forbidden(why)


def _own(request: Request, by: str) -> None:
    require(request.requester == by, "Only the requester may do that.")


def _in(request: Request, now_ms: int, *states: State) -> None:
    state = request.state_at(now_ms)
    if state not in states:
        raise Refused(f"The request is {in_words(state)}.")


def in_words(state: State) -> str:
    """A state as people say it."""
    return state.value.replace("_", " ")


def _next(request: Request, now_ms: int, **fields: Any) -> Request:
    return msgspec.structs.replace(request, version=request.version + 1, updated_at_ms=now_ms, **fields)
