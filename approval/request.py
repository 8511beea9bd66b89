"""A request: what is to be sent, who has decided what, and which step may follow which. No I/O.

    draft --submit--> in_review --approve (once or twice)--> approved --written--> its run
      ^                |  |  |
      +---take_back----+  |  +--reject--> rejected
                          +--withdraw--> withdrawn          (an open one ends as `expired` by itself)

A step is a function from a request to the request after it. `store` writes the result only if the request has not
changed meanwhile. So of two people's steps at the same time one comes after the other, and is checked against the
request that the first one has written.
"""

import enum
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from approval.form import Faults, Form
from notifier.model.campaign import Audience, Campaign, Part
from notifier.model.mailbox import is_same_person

DAY_MS = 86_400_000
WHOLE = Decimal(100)
REPEATED_TICK_SHARE = 0.001
"""With a larger share of repeated tokens in the audience, an approver must tick that they have seen it."""
MAX_COMMENT_CHARS = 2000


class State(enum.StrEnum):
    """What has become of a request."""

    DRAFT = "draft"
    """The requester is writing it."""
    IN_REVIEW = "in_review"
    """Its content cannot be changed; approvers decide."""
    APPROVED = "approved"
    """Enough approvers agreed; its batch file is written, or about to be."""
    REJECTED = "rejected"
    """An approver has rejected it, with a reason."""
    WITHDRAWN = "withdrawn"
    """The requester has withdrawn it."""
    EXPIRED = "expired"
    """It was not sent for review, or not decided, in time."""


OPEN = (State.DRAFT, State.IN_REVIEW)
CLOSED = (State.REJECTED, State.WITHDRAWN, State.EXPIRED)
"""Nothing was sent, and nothing can be."""


class Step(enum.StrEnum):
    """The steps in the audit trail."""

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
    WINNER = "winner"
    """A person has decided the winner of a test."""
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"
    REMINDED = "reminded"
    UNSENT = "unsent"
    """Mails about it could not be sent."""
    EXPIRED = "expired"
    """Never written: it follows from the time, and is no person's step."""


class Refused(Exception):
    """The step may not be taken. The message says why, for the person who tried."""


class Forbidden(Refused):
    """Others may take this step; this person may not."""


class ChangedElsewhere(Refused):
    """The form was made from another version of the draft than the one that is there."""


class Incomplete(Refused):
    """The form has faults. `faults` has them by field."""

    def __init__(self, faults: Faults) -> None:
        super().__init__("Some fields need another look.")
        self.faults = faults


class Approval(msgspec.Struct, frozen=True):
    """One approver's approval of one exact content."""

    by: str
    at_ms: int
    content_hash: str


class Written(msgspec.Struct, frozen=True):
    """The batch file that was written for the request, and the run that it starts."""

    key: str
    etag: str
    version_id: str | None
    run_id: str
    at_ms: int


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. All times in milliseconds since the epoch; `version` counts its writes.

    `campaign` and `parts` are the content that approvers decide on: made from the form when it was submitted.
    `manifest` is the key of the prepared audience that has the parts, `manifest_version` its version. The key is empty
    where the release before has pinned the files that were chosen.
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
    manifest: str = ""
    manifest_version: str = ""

    @property
    def title(self) -> str:
        """Its name in lists and mails."""
        return self.form.name or "Untitled"

    @property
    def content_hash(self) -> str:
        """The hash of exactly what would be sent, and to whom. Empty before it was submitted."""
        return content_hash(self.campaign, self.parts) if self.campaign is not None else ""

    @property
    def batch_key(self) -> str:
        """The key of its batch file. It never changes, so that the file can be written only once."""
        return f"batches/{self.id}.json"

    def state_at(self, now_ms: int) -> State:
        """The state at this time: an open request expires."""
        # Never stored, because nothing runs at that moment that could write it.
        return State.EXPIRED if self.state in OPEN and now_ms >= self.expires_at_ms else self.state

    @property
    def why_expired(self) -> str:
        """What was not done in time, if it has expired."""
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


def parts_request(request: Request) -> dict[str, Any]:
    """The pinned files of a request as the audience function's request: to count what is sent as it is."""
    named: dict[str, Any] = msgspec.to_builtins(Audience(request.parts))
    return named


def file_of_test(campaign: Campaign, users: list[dict[str, Any]]) -> bytes:
    """A batch file that holds its users."""
    return _plain({"campaign": campaign, "users": users})


def needed_approvals(users: int, limits: Limits) -> int:
    """How many approvers must agree to a push to this number of users."""
    return 2 if users > limits.two_approvers_above else 1


def needs_tick(repeated_tokens: int, devices: int) -> bool:
    """Whether the audience has so many repeated tokens that an approver must tick that they have seen it."""
    return devices > 0 and repeated_tokens / devices > REPEATED_TICK_SHARE


class PinnedAudience(msgspec.Struct, frozen=True):
    """A prepared audience: its objects, and the key and version of the manifest that says what they are."""

    parts: tuple[Part, ...]
    manifest: str
    manifest_version: str = ""


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
    """The draft with a changed form."""
    _require_requester(request, by)
    _require_state(request, now_ms, State.DRAFT)
    return _next(request, now_ms, form=form)


def submitted(
    request: Request, by: str, now_ms: int, campaign: Campaign, audience: PinnedAudience, limits: Limits
) -> Request:
    """In review: from now on its content does not change."""
    _require_requester(request, by)
    _require_state(request, now_ms, State.DRAFT)
    if not audience.parts:
        raise Refused("The request has no audience.")
    # The form was checked before; by the time of this write its latest time may have passed.
    if is_too_late(campaign, now_ms):
        raise Refused("The latest time has passed.")
    return _next(
        request,
        now_ms,
        state=State.IN_REVIEW,
        campaign=campaign,
        parts=audience.parts,
        manifest=audience.manifest,
        manifest_version=audience.manifest_version,
        approvals=(),  # of an earlier review of this request: they were for other content
        submitted_at_ms=now_ms,
        expires_at_ms=now_ms + limits.review_days * DAY_MS,
    )


def taken_back(request: Request, by: str, now_ms: int, limits: Limits) -> Request:
    """Back to a draft. Approvals given so far are void, because the content may change now."""
    _require_requester(request, by)
    _require_state(request, now_ms, State.IN_REVIEW)
    return _next(
        request,
        now_ms,
        state=State.DRAFT,
        campaign=None,
        parts=(),
        manifest="",
        manifest_version="",
        approvals=(),
        submitted_at_ms=None,
        expires_at_ms=now_ms + limits.draft_days * DAY_MS,
    )


class Counted(msgspec.Struct, frozen=True):
    """The figures of the audience that an approval depends on."""

    users: int
    devices: int
    repeated_tokens: int


class Decision(msgspec.Struct, frozen=True):
    """What an approver has seen and ticked: the hash of the content on their page, and the audience's count.

    `now_ticked`: that it is sent at once, because the start that was asked for has passed; or, where `late` says so,
    that the hour is past for some users by their own clocks.
    """

    content_hash: str
    counted: Counted | None
    repeats_ticked: bool = False
    now_ticked: bool = False
    late: str = ""


def approved(request: Request, by: str, now_ms: int, decision: Decision, limits: Limits) -> Request:
    """One more approval; the last one that is needed makes the request `approved`. A second click changes nothing."""
    if is_same_person(request.requester, by):
        raise Forbidden("Nobody approves their own request.")
    # The page may show content that was taken back, changed and submitted again since. Checked before the state, so
    # that an approver of old content never hears that it is approved.
    if decision.content_hash != request.content_hash or not decision.content_hash:
        raise Refused("The request was changed after your page was made. Look at it again, then decide.")
    # A second click, or an approver after the last one that was needed. The same object: nothing is written.
    if request.state is State.APPROVED:
        return request
    _require_state(request, now_ms, State.IN_REVIEW)
    # Two approvals must be two people, and not two addresses of one.
    if any(is_same_person(approval.by, by) for approval in request.approvals):
        return request
    if request.campaign is not None and is_too_late(request.campaign, now_ms):
        raise Refused("The latest time of the campaign has passed: nothing would be sent.")
    if request.campaign is not None and starts_late(request.campaign, now_ms) and not decision.now_ticked:
        raise Refused("Its start has passed: it would be sent at once. Say that you want this, or reject it.")
    if decision.late and not decision.now_ticked:
        raise Refused(f"{decision.late} Say that you want this, or reject it.")
    counted = decision.counted
    # Without the count it is not known how many approvers are needed.
    if counted is None:
        raise Refused("The audience is not counted. Approve when the figures are there.")
    if needs_tick(counted.repeated_tokens, counted.devices) and not decision.repeats_ticked:
        raise Refused("More than 0.1 % of the devices are listed more than once. Tick that you have seen it.")
    approvals = (*request.approvals, Approval(by, now_ms, request.content_hash))
    enough = len(approvals) >= needed_approvals(counted.users, limits)
    return _next(
        request,
        now_ms,
        approvals=approvals,
        users=counted.users,  # for the list, which shows it without reading the count again
        state=State.APPROVED if enough else State.IN_REVIEW,
        decided_by=by if enough else "",
    )


def rejected(request: Request, by: str, now_ms: int, comment: str) -> Request:
    """Rejected, with the reason."""
    if is_same_person(request.requester, by):
        raise Forbidden("Nobody decides on their own request. Withdraw it instead.")
    _require_state(request, now_ms, State.IN_REVIEW)
    if not comment.strip():
        raise Refused("Say why, so that the requester can correct it.")
    return _next(request, now_ms, state=State.REJECTED, comment=comment.strip()[:MAX_COMMENT_CHARS], decided_by=by)


def withdrawn(request: Request, by: str, now_ms: int) -> Request:
    """Withdrawn by the requester."""
    _require_requester(request, by)
    _require_state(request, now_ms, *OPEN)
    return _next(request, now_ms, state=State.WITHDRAWN)


def written(request: Request, now_ms: int, result: Written) -> Request:
    """Its batch file is written. A request that has one already stays as it is."""
    if request.state is not State.APPROVED:
        raise Refused("Only an approved request is carried out.")
    return request if request.written is not None else _next(request, now_ms, written=result)


def require(allowed: bool, why: str) -> None:
    """Raise Forbidden unless allowed."""
    if not allowed:
        raise Forbidden(why)


def starts_late(campaign: Campaign, now_ms: int) -> bool:
    """Whether the campaign's start has passed, so that it would be sent at another time than the one asked for."""
    return campaign.not_before is not None and campaign.not_before.timestamp() * 1000 <= now_ms


def became_late(request: Request, now_ms: int) -> bool:
    """Whether the start of an approved request has passed since its last approval.

    Where it had passed before, that approver has said that it is sent at once.
    """
    if request.campaign is None or not starts_late(request.campaign, now_ms):
        return False
    return not request.approvals or not starts_late(request.campaign, request.approvals[-1].at_ms)


def is_too_late(campaign: Campaign, now_ms: int) -> bool:
    """Whether the campaign's latest time has passed, so that the notifier would end the run without sending."""
    return campaign.abort_after is not None and campaign.abort_after.timestamp() * 1000 <= now_ms


def _require_requester(request: Request, by: str) -> None:
    require(is_same_person(request.requester, by), "Only the requester may do that.")


def _require_state(request: Request, now_ms: int, *states: State) -> None:
    state = request.state_at(now_ms)
    if state not in states:
        raise Refused(f"The request is {in_words(state)}.")


def in_words(state: State) -> str:
    """A state as the pages write it."""
    return state.value.replace("_", " ")


def _next(request: Request, now_ms: int, **fields: Any) -> Request:
    """The request with changed fields, as its next version."""
    return msgspec.structs.replace(request, version=request.version + 1, updated_at_ms=now_ms, **fields)
