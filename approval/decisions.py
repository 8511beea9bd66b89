"""What approvers decide: approval, which writes the batch file, and rejection.

Who may decide, and when, is checked in `request` (`approved`, `rejected`), without I/O: nobody approves their own.
"""

from approval import announcements
from approval import request as rules
from approval.config import Settings
from approval.decision_card import TextShown, texts_of
from approval.files import Files
from approval.looks import Looks
from approval.notifications import Notifications
from approval.people import Person
from approval.request import (
    Decision,
    Refused,
    Request,
    State,
    Step,
    batch_file,
    became_late,
    is_too_late,
    require,
)
from approval.request_audiences import RequestAudiences
from approval.runs import Runs
from approval.step_writer import MAX_NOTE_CHARS, StepWriter
from approval.store import KEEP_S, Store
from notifier.gateway.additions import addition_faults
from notifier.model.mailbox import is_same_person

MAX_METADATA_CHARS = 1000
"""Characters of the approvers' addresses in the batch file's metadata, all of which S3 limits to 2 KB."""
_COPY = "Copy it into a new request, to have it changed."


class Decisions:
    """Takes the approvers' steps."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        files: Files,
        runs: Runs,
        audiences: RequestAudiences,
        steps: StepWriter,
        looks: Looks,
    ) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._store = store
        self._files = files
        self._runs = runs
        self._audiences = audiences
        self._steps = steps
        self._looks = looks

    def look(self, id_: str, person: Person, content_hash: str, number: int | None) -> None:
        """Note that an approver has looked at one of a request's texts."""
        require(person.is_approver, "Only approvers decide.")
        request = self._store.request(id_)
        texts = texts_of(request)
        if content_hash != request.content_hash or number is None or number >= len(texts):
            raise Refused("The request was changed after your page was made. Look at it again, then decide.")
        self._looks.look(id_, person.email, content_hash, [texts[number].key], self._steps.now_ms)

    def _unseen(self, request: Request, person: Person, shown: int | None) -> tuple[TextShown, ...]:
        """The texts that an approver has not looked at, on any device. `shown`: the one on the page."""
        looked = {one.content_hash: one.texts for one in self._looks.of(request.id, person.email)}
        texts = texts_of(request, looked.get(request.content_hash, frozenset()), shown)
        return tuple(text for text in texts if not text.is_seen)

    def _require_not_held(self, what: str) -> None:
        if (hold := self._runs.hold()) is not None:
            raise Refused(f"Nothing is {what} while everything is on hold: {hold.words}")

    def _require_unchanged(self, request: Request) -> None:
        if changed := self._audiences.changed_parts(request):
            names = ", ".join(changed)
            raise Refused(f"The audience is not what was asked for any more. Gone or changed since then: {names}")

    def _late(self, request: Request, way_out: str) -> str:
        """For how many the hour is past by their own clocks. Raises Refused where the run would be refused for it."""
        times = self._audiences.times(self._audiences.audience_of(request), request.campaign)
        if times is not None and times.is_refused:
            raise Refused(f"It would not be sent. {times.late_sentence} {way_out}")
        return times.late_sentence if times is not None else ""

    def _require_sendable(self, request: Request, person: Person, *, now_ticked: bool) -> None:
        """Raise Refused unless a request that was approved earlier may still be carried out, as of now.

        Between its last approval and its file a call was cut off. It may be carried out days later: what was checked
        at the approval is checked once more, and another time than the one that was approved needs an approver. Where
        its file is there the call was cut off after it: it is sent, and only its run is to be entered.
        """
        if self._files.is_written(request.batch_key, request.content_hash):
            return
        self._require_not_held("handed over")
        self._require_unchanged(request)
        if request.campaign is None:
            return
        if refused := next(addition_faults(request.campaign), None):
            raise Refused(f"It would not be sent: {refused.problem} ({refused.mend}). {_COPY}")
        if is_too_late(request.campaign, self._steps.now_ms):
            raise Refused(f"The latest time of the campaign has passed: nothing would be sent. {_COPY}")
        late = self._late(request, _COPY)
        asks = "An approver has to say that it is sent now."
        if became_late(request, self._steps.now_ms):
            asks = "It was approved for another time: an approver has to say that it is sent now."
            late = "Its start has passed: it would be sent at once."
        if not late:
            return
        if not person.is_approver or is_same_person(person.email, request.requester):
            raise Refused(f"{late} {asks}")
        if not now_ticked:
            raise Refused(f"{late} Say that you want this.")
        self._store.note(request.id, self._steps.entry(Step.APPROVED, person, f"as of now. {late}"))

    def approve(
        self,
        id_: str,
        person: Person,
        content_hash: str,
        *,
        repeats_ticked: bool,
        notifications: Notifications,
        now_ticked: bool = False,
        shown: int | None = None,
        unseen_ticked: bool = False,
    ) -> Request:
        """Approve; the last approval that is needed writes the batch file. Safe to repeat, and by two people at once.

        Args:
            content_hash: of the content on the approver's page.
            shown: the number of the text on it.
            unseen_ticked: that they approve the texts, too, that they have not looked at; the page has named them.
        """
        require(person.is_approver, "Only approvers can decide.")
        self._require_not_held("approved")
        seen = self._store.request(id_)
        is_mine = is_same_person(seen.requester, person.email)
        if seen.state is State.IN_REVIEW and not is_mine:
            self._require_unchanged(seen)
        unseen = () if is_mine else self._unseen(seen, person, shown)
        is_on_page = seen.state is State.IN_REVIEW and content_hash == seen.content_hash
        if is_on_page and unseen and not unseen_ticked:
            names = ", ".join(text.name for text in unseen)
            raise Refused(f"You have not looked at: {names}. Look at them, or say that you approve them unseen.")
        # Sent for review to an earlier release, which checked less: the notifier would refuse the file.
        if seen.campaign is not None and (refused := next(addition_faults(seen.campaign), None)):
            raise Refused(f"It would not be sent: {refused.problem} ({refused.mend}). Reject it, to have it changed.")
        # The count is read before the step, which has no I/O. It belongs to pinned objects, so that it cannot change.
        late = self._late(seen, "Reject it, to have it changed.") if is_on_page and not is_mine else ""
        decision = Decision(content_hash, self._audiences.counted(seen), repeats_ticked, now_ticked, late)

        def step(request: Request) -> Request:
            return rules.approved(request, person.email, self._steps.now_ms, decision, self._limits)

        ticks = (
            (repeats_ticked, "repeated tokens seen"),
            (now_ticked, late or "sent now, after its start has passed"),
            (unseen, f"without looking at {', '.join(text.name for text in unseen)}"),
        )
        ticked = ", ".join(words for is_ticked, words in ticks if is_ticked)[:MAX_NOTE_CHARS]
        before, after = self._store.change(id_, step, self._steps.entry(Step.APPROVED, person, ticked))
        if after is not before:
            self._steps.log(Step.APPROVED, request_id=id_, by=person.email, content_hash=content_hash)
        if after.state is State.APPROVED:
            # Also where this click changed nothing: the call that approved it may have ended before it wrote the file.
            if after is before and after.written is None:
                self._require_sendable(after, person, now_ticked=now_ticked)
            after = self.write(after, person, notifications)
        return after

    def write(self, request: Request, person: Person, notifications: Notifications) -> Request:
        """Write the batch file of an approved request, once, store its run in the request, and mail who asked."""
        if request.written is not None or request.campaign is None or request.state is not State.APPROVED:
            return request
        # Three writes, and a crash may come after each: the approval, the file, the request. Each can be repeated
        # without effect, and the request has `written` only after the file is there. So the next click, or `finish`,
        # completes what is missing.
        body = batch_file(request.campaign, request.parts)
        approvers = [approval.by for approval in request.approvals]
        self._runs.record_approval(
            self._settings.bucket, request.batch_key, body, request.id, approvers, self._steps.now_ms // 1000 + KEEP_S
        )
        metadata = {
            "content-hash": request.content_hash,
            "approved-by": ", ".join(approvers)[:MAX_METADATA_CHARS],
            "requested-by": request.requester,
            "request-id": request.id,
            "correlation-id": request.id,
        }
        result = self._files.write_once(request.batch_key, body, metadata, self._steps.now_ms)
        before, after = self._store.change(
            request.id,
            lambda r: rules.written(r, self._steps.now_ms, result),
            self._steps.entry(Step.WRITTEN, person, f"s3://{self._settings.bucket}/{result.key}, run {result.run_id}"),
        )
        if after is not before:
            self._steps.log(Step.WRITTEN, request_id=request.id, run_id=result.run_id)
            # Of two calls that write it one stores it, and says so; a call that was cut off before has said nothing.
            self._say_decided(after, person, notifications)
        return after

    def _say_decided(self, request: Request, person: Person, notifications: Notifications) -> None:
        notifications.decided(request)
        notifications.announce(announcements.decided(request, notifications.base_url))
        self._steps.note_unsent(request.id, person, notifications)

    def finish(self, id_: str, person: Person, notifications: Notifications, *, now_ticked: bool = False) -> Request:
        """Write the batch file of an approved request whose last approval ended before it was written.

        Args:
            now_ticked: that it is sent at another time than the one that was approved.
        """
        request = self._store.request(id_)
        require(
            person.is_approver or is_same_person(person.email, request.requester),
            "Only the requester and approvers can do that.",
        )
        if request.written is None and request.state is State.APPROVED:
            self._require_sendable(request, person, now_ticked=now_ticked)
        return self.write(request, person, notifications)

    def reject(self, id_: str, person: Person, comment: str, notifications: Notifications) -> Request:
        """Reject with a reason, and mail it to the requester."""
        require(person.is_approver, "Only approvers can decide.")
        after = self._steps.take(
            id_, person, Step.REJECTED, lambda r: rules.rejected(r, person.email, self._steps.now_ms, comment), comment
        )
        self._say_decided(after, person, notifications)
        return after
