"""The steps of requesters. Checks each person's role."""

import secrets
from datetime import UTC, datetime

import msgspec

from approval import announcements
from approval import request as rules
from approval.access import Access
from approval.arm_names import name_of_copy
from approval.config import Settings
from approval.form import Form
from approval.form_check import FormCheck
from approval.looks import Content, Looks
from approval.notifications import Notifications
from approval.people import Person
from approval.prepared import AudienceSeen
from approval.request import ChangedElsewhere, Incomplete, PinnedAudience, Refused, Request, State, Step, require
from approval.request_audiences import RequestAudiences
from approval.step_writer import StepWriter
from approval.store import AuditEntry, Store
from notifier.model.mailbox import is_same_person

REMINDERS_PER_WINDOW = 2
REVIEWS_PER_WINDOW = 3
"""How often one request may be sent for review: each time all approvers get a mail."""
WINDOW_S = 600
"""The time in which so many reminders may be sent."""
_NOT_SAVED = "Not saved: it was changed in another window. Press Save draft to choose which one stays."
_ELSEWHERE = "This request was changed in another window. Load it again before you go on."


class RequestService:
    """Takes the requesters' steps."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        access: Access,
        audiences: RequestAudiences,
        check: FormCheck,
        steps: StepWriter,
        looks: Looks,
    ) -> None:
        self._limits = settings.limits
        self._store = store
        self._access = access
        self._audiences = audiences
        self._check = check
        self._steps = steps
        self._looks = looks

    @property
    def now_ms(self) -> int:
        """The time in milliseconds since the epoch."""
        return self._steps.now_ms

    # -- the requester ------------------------------------------------------------------------------------------------

    def create(self, person: Person) -> Request:
        """A new, empty draft."""
        require(person.is_requester, "Only requesters can make a request.")
        request = rules.created(new_id(), person.email, self._steps.now_ms, self._limits)
        self._store.create(request, self._steps.entry(Step.CREATED, person))
        self._steps.log(Step.CREATED, request_id=request.id, by=person.email)
        return request

    def copy(self, id_: str, person: Person) -> Request:
        """A new draft with another request's form."""
        require(person.is_requester, "Only requesters can make a request.")
        old = self._store.request(id_)
        # What was never sent for review is its writer's own.
        is_mine = is_same_person(person.email, old.requester)
        require(is_mine or old.campaign is not None, "Only its requester can copy a draft.")
        form = msgspec.structs.replace(old.form, name=name_of_copy(old.form.name), start="", latest="")
        request = rules.created(new_id(), person.email, self._steps.now_ms, self._limits, form, copied_from=old.id)
        self._store.create(request, self._steps.entry(Step.COPIED, person, f"from {old.id}"))
        self._steps.log(Step.COPIED, request_id=request.id, by=person.email)
        return request

    def save(self, id_: str, person: Person, form: Form, version: int | None, *, by_itself: bool = False) -> Request:
        """Save the form in the draft.

        Args:
            by_itself: nobody has asked for it: it is no step of the audit trail, which would be full of it.
            version: of the request that the form was made from; None where the page did not say.
        """
        require(person.is_requester, "Only requesters can change a request.")

        def step(request: Request) -> Request:
            after = rules.changed(request, person.email, self._steps.now_ms, form)
            # An equal form is no change, even from an old page: a second click on Save must not be refused.
            if request.form == form:
                return request
            # The form was made from another version: saving it would undo what the other window has saved.
            if request.version != version:
                raise ChangedElsewhere(_NOT_SAVED)
            return after

        _, after = self._store.change(id_, step, None if by_itself else self._steps.entry(Step.CHANGED, person))
        return after

    def submit(self, id_: str, person: Person, notifications: Notifications) -> Request:
        """Check the draft, pin its content and send it to the approvers for review.

        Raises:
            Incomplete: with the form's faults.
        """
        require(person.is_requester, "Only requesters can submit a request.")
        draft = self._store.request(id_)
        campaign, audience, faults = self._check.read(draft.form, person.email)
        if fault := self._audiences.not_counted(audience, is_pinning=True):
            faults.setdefault("audience", fault)
        if faults or campaign is None or audience.prepared is None:
            raise Incomplete(faults)
        if not self._access.is_within("review", id_, REVIEWS_PER_WINDOW, WINDOW_S, self._steps.now_ms // 1000):
            raise Refused("This was sent for review several times just now. Wait ten minutes, then send it again.")
        pinned = PinnedAudience(audience.prepared.parts, audience.prepared.key, audience.prepared.version_id)

        def step(request: Request) -> Request:
            # The campaign was read from this version of the form: another one was not checked.
            if request.version != draft.version:
                raise Refused(_ELSEWHERE)
            return rules.submitted(request, person.email, self._steps.now_ms, campaign, pinned, self._limits)

        # The mails are made before the step is written: what cannot be shown to approvers is not in review.
        after = step(draft)
        mails = notifications.reviews(after)
        counts = audience.prepared.manifest.counts
        self._looks.keep(id_, after.content_hash, Content(draft.form, counts.users, self._steps.now_ms))
        # Before it is in review: what nobody would take expires after two days, and a review goes on for longer.
        self._audiences.keep(audience.prepared)
        _, after = self._store.change(id_, step, self._steps.entry(Step.SUBMITTED, person))
        self._steps.log(Step.SUBMITTED, request_id=id_, by=person.email, content_hash=after.content_hash)
        notifications.send(mails)
        notifications.announce(announcements.review(after, _users(audience), notifications.base_url))
        self._steps.note_unsent(id_, person, notifications)
        return after

    def take_back(self, id_: str, person: Person) -> Request:
        """Take a request out of review, to change it."""
        require(person.is_requester, "Only requesters can change a request.")
        return self._steps.take(
            id_, person, Step.TAKEN_BACK, lambda r: rules.taken_back(r, person.email, self._steps.now_ms, self._limits)
        )

    def withdraw(self, id_: str, person: Person) -> Request:
        """Withdraw an open request."""
        require(person.is_requester, "Only the requester can withdraw it.")
        return self._steps.take(
            id_, person, Step.WITHDRAWN, lambda r: rules.withdrawn(r, person.email, self._steps.now_ms)
        )

    def remind(self, id_: str, person: Person, notifications: Notifications) -> None:
        """Mail the approvers again."""
        request = self._store.request(id_)
        require(is_same_person(person.email, request.requester), "Only the requester can remind the approvers.")
        if request.state_at(self._steps.now_ms) is not State.IN_REVIEW:
            raise Refused("The request is not in review.")
        # Before it is counted, and noted in the trail: nobody would be reminded.
        if not notifications.asked(request) and not notifications.has_channel:
            raise Refused("Everybody who can be mailed has decided: name another approver.")
        if not self._access.is_within("remind", id_, REMINDERS_PER_WINDOW, WINDOW_S, self._steps.now_ms // 1000):
            raise Refused("The approvers were reminded a moment ago.")
        mails = notifications.reviews(request, again=True)
        self._store.note(id_, self._steps.entry(Step.REMINDED, person))
        self._steps.log(Step.REMINDED, request_id=id_, by=person.email)
        notifications.send(mails)
        users = _users(self._audiences.audience_of(request))
        notifications.announce(announcements.review(request, users, notifications.base_url, again=True))
        self._steps.note_unsent(id_, person, notifications)

    # -- the audit trail ----------------------------------------------------------------------------------------------

    def trail(self, request: Request) -> list[AuditEntry]:
        """Every step of a request, oldest first, and its expiry, which is not stored."""
        steps = self._store.audit(request.id)
        if request.state_at(self._steps.now_ms) is State.EXPIRED:
            steps.append(AuditEntry(Step.EXPIRED, "", request.expires_at_ms, request.why_expired))
        return sorted(steps, key=lambda entry: entry.at_ms)


def _users(audience: AudienceSeen) -> int | None:
    return audience.counts.users if audience.counts is not None else None


def new_id() -> str:
    """A new id: the day, for people, and a part that cannot be guessed."""
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(6)}"
