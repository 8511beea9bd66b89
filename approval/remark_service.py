"""Comments, tags and the archive: who may write what, and who gets a mail of it."""

from collections.abc import Callable

import msgspec

from approval.access import Access
from approval.hidden_characters import marked_text
from approval.notifications import Notifications
from approval.people import Person
from approval.remarks import MAX_COMMENTS, MAX_TAGS, Comment, Remarks, TooMany
from approval.request import DAY_MS, MAX_COMMENT_CHARS, Refused, Request, State, Step, require
from approval.results import Results
from approval.runs import Runs, RunSeen
from approval.step_writer import StepWriter
from approval.store import Store
from notifier.decision_items import DecisionItem
from notifier.model.mailbox import is_same_person, mailbox_of

MAX_TAG_CHARS = 30
COMMENTS_PER_WINDOW = 20
"""Of one person, on all requests."""
WINDOW_S = 600
"""In such a window one person gets one mail about the comments on one request. It may be nearly over: for up to ten
minutes no other follows."""
RUN_KNOWN_MS = 30 * DAY_MS
"""A run of which the ledger has nothing so long after it was handed over is over."""
_MAILED = "comment-mail"
_OVER = (State.REJECTED, State.WITHDRAWN, State.EXPIRED)
_TOOK_PART = (Step.SUBMITTED, Step.APPROVED, Step.REJECTED)


class SentRuns(msgspec.Struct, frozen=True):
    """What has become of what was approved: its run, and of a test its decision and the run to the others."""

    run: RunSeen | None = None
    decision: DecisionItem | None = None
    remainder: RunSeen | None = None


class RemarkService:
    """Takes the steps. Checks each person's role.

    Args:
        person_of: the roles that an address has now.
    """

    def __init__(
        self,
        store: Store,
        remarks: Remarks,
        access: Access,
        runs: Runs,
        results: Results,
        steps: StepWriter,
        person_of: Callable[[str], Person],
    ) -> None:
        self._store = store
        self._remarks = remarks
        self._access = access
        self._runs = runs
        self._results = results
        self._steps = steps
        self._person_of = person_of

    # -- comments -----------------------------------------------------------------------------------------------------

    def comment(self, id_: str, person: Person, typed: str, notifications: Notifications) -> None:
        """Say something about a request, and mail it to the others who have taken part in it."""
        request = self._request(id_, person)
        # A draft is its writer's own: there is nobody to talk to about it.
        require(request.campaign is not None, "Comments are for what was sent for review.")
        text = typed.replace("\r\n", "\n").strip()
        if not text:
            raise Refused("Write something first.")
        if len(text) > MAX_COMMENT_CHARS:
            raise Refused(f"A comment has at most {MAX_COMMENT_CHARS:,} characters; this one has {len(text):,}.")
        now_s = self._steps.now_ms // 1000
        if not self._access.is_within("comment", mailbox_of(person.email), COMMENTS_PER_WINDOW, WINDOW_S, now_s):
            raise Refused("You have written many comments just now. Wait up to ten minutes.")
        comment = Comment(person.email, self._steps.now_ms, text)
        try:
            self._remarks.add_comment(request, comment)
        except TooMany:
            raise Refused(f"There are {MAX_COMMENTS} comments here, and no room for more.") from None
        self._steps.log("commented", request_id=id_, by=person.email)
        people = self._mailed(request, person, now_s)
        notifications.commented(request, comment, people)
        for email in people:
            if email not in notifications.sent:
                # Nothing reached this person: the next comment is mailed, and not passed over for this one.
                self._access.begin_again(_MAILED, _about(id_, email), WINDOW_S, now_s)

    def _mailed(self, request: Request, author: Person, now_s: int) -> list[str]:
        """Who gets a mail of a comment: who asked, decided or said something here, but not who has just got one."""
        took_part = [request.requester]
        took_part += [entry.by for entry in self._store.audit(request.id) if entry.step in _TOOK_PART]
        took_part += [comment.by for comment in self._remarks.comments(request.id)]
        # By mailbox: one person gets one mail.
        people = {mailbox_of(email): email for email in took_part}
        people.pop(mailbox_of(author.email), None)
        return [email for email in people.values() if self._is_due(request.id, email, now_s)]

    def _is_due(self, id_: str, email: str, now_s: int) -> bool:
        # Who may not read the page any more must not read it in a mail: without a role, or a privacy officer alone.
        person = self._person_of(email)
        may_read = person.is_requester or person.is_approver
        return may_read and self._access.is_within(_MAILED, _about(id_, email), 1, WINDOW_S, now_s)

    # -- tags ---------------------------------------------------------------------------------------------------------

    def tag(self, id_: str, person: Person, typed: str) -> None:
        """Give a request one or several tags, with commas between them."""
        request = self._request(id_, person)
        tags = read_tags(typed)
        try:
            self._remarks.add_tags(request, tags, self._steps.now_ms // 1000)
        except TooMany:
            raise Refused(f"A request has at most {MAX_TAGS} tags. Remove one first.") from None
        self._steps.log("tagged", request_id=id_, by=person.email)

    def untag(self, id_: str, person: Person, tag: str) -> None:
        """Remove a tag."""
        request = self._request(id_, person)
        # DynamoDB takes no empty text in a set.
        if tag:
            self._remarks.remove_tag(request, tag, self._steps.now_ms // 1000)
            self._steps.log("untagged", request_id=id_, by=person.email)

    # -- the archive --------------------------------------------------------------------------------------------------

    def archive(self, id_: str, person: Person) -> None:
        """Keep a request that is over out of the list."""
        request = self._request(id_, person)
        if not self.is_over(request, self._sent(request)):
            raise Refused("It is not over yet. What still waits or is being sent stays in the list.")
        if self._remarks.archive(request, self._steps.now_ms // 1000):
            self._note(id_, Step.ARCHIVED, person)

    def unarchive(self, id_: str, person: Person) -> None:
        """Have a request in the list again."""
        request = self._request(id_, person)
        if self._remarks.unarchive(request, self._steps.now_ms // 1000):
            self._note(id_, Step.UNARCHIVED, person)

    def _note(self, id_: str, step: Step, person: Person) -> None:
        self._store.note(id_, self._steps.entry(step, person))
        self._steps.log(step, request_id=id_, by=person.email)

    def is_over(self, request: Request, sent: SentRuns) -> bool:
        """Whether nothing more becomes of a request: then it may be archived. None of these states is ever left."""
        if request.state_at(self._steps.now_ms) in _OVER:
            return True
        if request.written is None or not self._has_ended(sent.run, request.written.at_ms):
            return False
        # Of a test the run ends first: its winner, and the run to the others, are still to come. A test that was
        # refused before anybody was asked has no decision, and never will.
        decision = sent.decision
        if decision is None or not decision.is_over:
            return decision is None
        return not decision.remainder or self._has_ended(sent.remainder, decision.decided_at_ms)

    def _has_ended(self, run: RunSeen | None, since_ms: int) -> bool:
        """Whether a run is over; where the ledger has nothing of it, by when its file was written."""
        return run.is_over if run is not None else self._steps.now_ms - since_ms > RUN_KNOWN_MS

    def _sent(self, request: Request) -> SentRuns:
        if request.written is None or request.campaign is None:
            return SentRuns()
        run_id, is_test = request.written.run_id, request.campaign.winner is not None
        decision = self._results.decision(run_id) if is_test else None
        remainder = self._runs.run(decision.remainder) if decision is not None and decision.remainder else None
        return SentRuns(self._runs.run(run_id), decision, remainder)

    def _request(self, id_: str, person: Person) -> Request:
        request = self._store.request(id_)
        is_mine = is_same_person(person.email, request.requester)
        require(is_mine or person.is_approver, "Only the requester and approvers can do that.")
        return request


def _about(id_: str, email: str) -> str:
    return f"{id_} {mailbox_of(email)}"


def read_tags(typed: str) -> frozenset[str]:
    """Tags as they are kept: in lower case, single spaces. Raises Refused."""
    tags = frozenset(" ".join(tag.split()).lower() for tag in typed.split(",") if tag.strip())
    if not tags:
        raise Refused("Write a tag first.")
    if any(len(tag) > MAX_TAG_CHARS for tag in tags):
        raise Refused(f"A tag has at most {MAX_TAG_CHARS} characters.")
    # Two tags that look the same would be two.
    if any(marked_text(tag) != tag or not tag.isprintable() for tag in tags):
        raise Refused("A tag has a character that nobody sees.")
    if len(tags) > MAX_TAGS:
        raise Refused(f"A request has at most {MAX_TAGS} tags.")
    return tags
