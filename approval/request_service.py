"""The steps of requests with their effects on table, bucket, notifier and mail. Checks each person's role."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from approval import request as rules
from approval.access import Access
from approval.arm_names import name_of_copy
from approval.audience import Forecast, forecast
from approval.audience_form import Chosen, chosen_audience, fingerprint
from approval.config import Settings
from approval.files import Files
from approval.form import Faults, Form
from approval.form_campaign import gateway_faults, read_campaign_of
from approval.goals import Goals
from approval.mail import failure_in_words
from approval.notifications import Notifications
from approval.payload_sizes import size_faults
from approval.people import Person, address_of, domains, mail_recipients, may_sign_in, named
from approval.placeholders import placeholder_faults
from approval.prepared import Audiences, AudienceSeen, LeftOutNow, NoCost, NotKnown
from approval.queries import OfferedQuery, Queries
from approval.request import (
    Counted,
    Decision,
    PinnedAudience,
    Refused,
    Request,
    State,
    Step,
    batch_file,
    parts_request,
    require,
)
from approval.runs import ControlAction, Runs
from approval.store import KEEP_S, AuditEntry, Store
from notifier.gateway.additions import addition_faults
from notifier.model.campaign import Campaign
from notifier.model.mailbox import is_same_person

MAX_NAMED = 20
"""Approvers that a requester may name."""
MAX_SHOWN_STRANGERS = 5
MAX_NOTE_CHARS = 500
MAX_METADATA_CHARS = 1000
"""Characters of the approvers' addresses in the batch file's metadata, all of which S3 limits to 2 KB."""
REMINDERS_PER_WINDOW = 2
REVIEWS_PER_WINDOW = 3
"""How often one request may be sent for review: each time all approvers get a mail."""
WINDOW_S = 600
"""The time in which so many reminders may be sent."""
_ELSEWHERE = "This request was changed in another window. Load it again before you go on."


class Incomplete(Refused):
    """The form has faults. `faults` has them by field."""

    def __init__(self, faults: Faults) -> None:
        super().__init__("Some fields need another look.")
        self.faults = faults


class RequestService:
    """Takes the steps.

    Args:
        now: the time, aware.
        log: logs a step with fields. None of them holds a token or a secret.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        access: Access,
        files: Files,
        runs: Runs,
        audiences: Audiences,
        queries: Queries,
        goals: Goals,
        now: Callable[[], datetime],
        log: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._store = store
        self._access = access
        self._files = files
        self._runs = runs
        self._audiences = audiences
        self._queries = queries
        self._goals = goals
        self._now = now
        self._log = log

    @property
    def now_ms(self) -> int:
        """The time in milliseconds since the epoch."""
        return int(self._now().timestamp() * 1000)

    # -- the requester ------------------------------------------------------------------------------------------------

    def create(self, person: Person) -> Request:
        """A new, empty draft."""
        require(person.is_requester, "Only requesters can make a request.")
        request = rules.created(_new_id(), person.email, self.now_ms, self._limits)
        self._store.create(request, self._entry(Step.CREATED, person))
        self._log(Step.CREATED, request_id=request.id, by=person.email)
        return request

    def copy(self, id_: str, person: Person) -> Request:
        """A new draft with another request's form."""
        require(person.is_requester, "Only requesters can make a request.")
        old = self._store.request(id_)
        # What was never sent for review is its writer's own.
        is_mine = is_same_person(person.email, old.requester)
        require(is_mine or old.campaign is not None, "Only its requester can copy a draft.")
        form = msgspec.structs.replace(old.form, name=name_of_copy(old.form.name), start="", latest="")
        request = rules.created(_new_id(), person.email, self.now_ms, self._limits, form, copied_from=old.id)
        self._store.create(request, self._entry(Step.COPIED, person, f"from {old.id}"))
        self._log(Step.COPIED, request_id=request.id, by=person.email)
        return request

    def save(self, id_: str, person: Person, form: Form, version: int | None, *, by_itself: bool = False) -> Request:
        """Save the form in the draft.

        Args:
            by_itself: nobody has asked for it: it is no step of the audit trail, which would be full of it.
            version: of the request that the form was made from; None where the page did not say.
        """
        require(person.is_requester, "Only requesters can change a request.")

        def step(request: Request) -> Request:
            after = rules.changed(request, person.email, self.now_ms, form)
            # An equal form is no change, even from an old page: a second click on Save must not be refused.
            if request.form == form:
                return request
            # The form was made from another version: saving it would undo what the other window has saved.
            if request.version != version:
                raise Refused(_ELSEWHERE)
            return after

        _, after = self._store.change(id_, step, None if by_itself else self._entry(Step.CHANGED, person))
        return after

    def count(self, id_: str, person: Person, confirmed: str = "") -> tuple[str, ...]:
        """Have the audience of a request made and counted: of a draft, or of one that the release before has counted.

        Args:
            confirmed: the fingerprint of the choice whose cost the person has seen.

        Returns:
            What it would read, where that is paid for and was not confirmed: nothing was begun then.

        Raises:
            Incomplete: with what is wrong with the choice.
        """
        request = self._store.request(id_)
        is_mine = is_same_person(person.email, request.requester)
        require(is_mine or person.is_approver, "Only the requester and approvers can have it counted.")
        if request.campaign is not None:
            wanted = parts_request(request)
        else:
            require(is_mine, "Only the requester can change a request.")
            chosen = self.chosen(request.form)
            if chosen.request is None:
                raise Incomplete(chosen.faults)
            wanted = chosen.request
            if self._is_paid(request.form) and confirmed != fingerprint(wanted):
                try:
                    return self._audiences.costs(wanted)
                except NoCost as error:
                    raise Incomplete({"audience": str(error)}) from None
        self._audiences.order(wanted, self.now_ms // 1000)
        self._log("counted", request_id=id_, by=person.email)
        return ()

    def _is_paid(self, form: Form) -> bool:
        """Whether a chosen query runs where reading is paid for."""
        offered = self.offered()
        return any(offered[one.query].is_paid_by_bytes for one in form.sources if one.query in offered)

    def chosen(self, form: Form) -> Chosen:
        """Whom the form means."""
        return chosen_audience(form, self.offered())

    def offered(self) -> dict[str, OfferedQuery]:
        """The stored queries that may be chosen."""
        return self._queries.offered()

    def audience_of_form(self, form: Form) -> AudienceSeen:
        """The audience of a form, with its latest count."""
        return self._audiences.seen(self.chosen(form).request)

    def audience_of(self, request: Request) -> AudienceSeen:
        """The audience of a request: the one that was pinned when it was submitted."""
        if request.campaign is None:
            return self.audience_of_form(request.form)
        if request.manifest:
            prepared = self._audiences.prepared(request.manifest)
            return AudienceSeen(prepared.manifest.request if prepared else None, None, prepared)
        # Submitted to the release before, which pinned the files themselves and counted them in another way. They can
        # be counted again, and are sent as they were pinned.
        return self._audiences.seen(parts_request(request))

    def left_out_now(self, id_: str, person: Person) -> LeftOutNow:
        """How many of a request's counted audience would be left out if it were sent now.

        Raises:
            NotKnown: the message says why.
        """
        request = self._store.request(id_)
        is_mine = is_same_person(person.email, request.requester)
        # A draft is its writer's own.
        require(is_mine or request.campaign is not None, "Only its requester can see a draft.")
        audience = self.audience_of(request)
        if audience.prepared is None:
            raise NotKnown("The audience is not counted.")
        campaign = request.campaign
        if campaign is None:
            campaign, _ = read_campaign_of(request.form, self._now())
        given = None if campaign is None else msgspec.json.decode(batch_file(campaign, ()))["campaign"]
        return self._audiences.left_out_now(audience.prepared.key, given, legal=bool(request.form.legal))

    def read(self, form: Form, requester: str) -> tuple[Campaign | None, AudienceSeen, Faults]:
        """The form's campaign and audience, and its faults by field. No campaign without a valid form."""
        campaign, faults = read_campaign_of(form, self._now())
        if campaign is not None:
            faults |= gateway_faults(form, campaign)
            pinned = self._goals.pinned(campaign)
            if pinned is None:
                faults["goal"] = f"No conversions/{form.goal}.json says where its conversions are."
            campaign = pinned or campaign
        chosen = self.chosen(form)
        faults |= chosen.faults
        audience = self._audiences.seen(chosen.request)
        if campaign is not None and self._runs.knows_campaign(campaign.id):
            faults["name"] = "A campaign of this name was sent already. Give this one another name."
        for field, fault in placeholder_faults(form, audience.counts).items():
            faults.setdefault(field, fault)
        if campaign is not None:
            for field, fault in size_faults(form, campaign, audience.counts).items():
                faults.setdefault(field, fault)
        if fault := self._approvers_fault(named(form.approvers), requester):
            faults["approvers"] = fault
        return campaign, audience, faults

    def goals(self) -> tuple[str, ...]:
        """The goals that may be chosen."""
        return self._goals.offered()

    def _approvers_fault(self, chosen: tuple[str, ...], requester: str) -> str:
        """What is wrong with the approvers whom the requester has named, or that no approver would get a mail."""
        approvers = self._settings.approvers
        if strangers := [email for email in chosen if not address_of(email) or not may_sign_in(email, approvers)]:
            return f"Not among the approvers: {', '.join(strangers[:MAX_SHOWN_STRANGERS])}"
        if any(is_same_person(requester, email) for email in chosen):
            return "Nobody approves their own request: name another person."
        if len(chosen) > MAX_NAMED:
            return f"At most {MAX_NAMED}."
        if not mail_recipients(chosen, requester, approvers):
            where = " or ".join(domains(approvers))
            return f"No approver would get a mail. Name one at {where}." if where else "Only you may approve it."
        return ""

    def submit(self, id_: str, person: Person, notifications: Notifications) -> Request:
        """Check the draft, pin its content and send it to the approvers for review.

        Raises:
            Incomplete: with the form's faults.
        """
        require(person.is_requester, "Only requesters can submit a request.")
        draft = self._store.request(id_)
        campaign, audience, faults = self.read(draft.form, person.email)
        if fault := self._not_counted(audience):
            faults.setdefault("audience", fault)
        if faults or campaign is None or audience.prepared is None:
            raise Incomplete(faults)
        if not self._access.is_within("review", id_, REVIEWS_PER_WINDOW, WINDOW_S, self.now_ms // 1000):
            raise Refused("This was sent for review several times just now. Wait ten minutes, then send it again.")
        pinned = PinnedAudience(audience.prepared.parts, audience.prepared.key)

        def step(request: Request) -> Request:
            # The campaign was read from this version of the form: another one was not checked.
            if request.version != draft.version:
                raise Refused(_ELSEWHERE)
            return rules.submitted(request, person.email, self.now_ms, campaign, pinned, self._limits)

        # The mails are made before the step is written: what cannot be shown to approvers is not in review.
        mails = notifications.reviews(step(draft))
        _, after = self._store.change(id_, step, self._entry(Step.SUBMITTED, person))
        self._log(Step.SUBMITTED, request_id=id_, by=person.email, content_hash=after.content_hash)
        notifications.send(mails)
        self._note_unsent(id_, person, notifications)
        return after

    def _note_unsent(self, id_: str, person: Person, notifications: Notifications) -> None:
        """Put the mails that could not be sent into the request's trail, with the reasons: for whoever looks later."""
        if notifications.unsent:
            reasons = dict.fromkeys(f"{one.domain} ({failure_in_words(one.code)})" for one in notifications.unsent)
            self._store.note(id_, self._entry(Step.UNSENT, person, "; ".join(reasons)[:MAX_NOTE_CHARS]))

    def _not_counted(self, audience: AudienceSeen) -> str:
        """Why this audience cannot be pinned: what approvers decide on is the audience that was counted."""
        if audience.request is None:
            return ""  # the choice itself has faults
        if audience.is_counting:
            return "It is still being counted. Send it for review when the figures are there."
        if audience.prepared is None:
            return f"It could not be counted: {audience.fault}" if audience.fault else "Count it first."
        if changed := self._audiences.changed_since(audience.prepared):
            return f"Changed since it was counted: {', '.join(changed)}. Count it again."
        return ""

    def take_back(self, id_: str, person: Person) -> Request:
        """Take a request out of review, to change it."""
        require(person.is_requester, "Only requesters can change a request.")
        return self._take(
            id_, person, Step.TAKEN_BACK, lambda r: rules.taken_back(r, person.email, self.now_ms, self._limits)
        )

    def withdraw(self, id_: str, person: Person) -> Request:
        """Withdraw an open request."""
        require(person.is_requester, "Only the requester can withdraw it.")
        return self._take(id_, person, Step.WITHDRAWN, lambda r: rules.withdrawn(r, person.email, self.now_ms))

    def remind(self, id_: str, person: Person, notifications: Notifications) -> None:
        """Mail the approvers again."""
        request = self._store.request(id_)
        require(is_same_person(person.email, request.requester), "Only the requester can remind the approvers.")
        if request.state_at(self.now_ms) is not State.IN_REVIEW:
            raise Refused("The request is not in review.")
        if not self._access.is_within("remind", id_, REMINDERS_PER_WINDOW, WINDOW_S, self.now_ms // 1000):
            raise Refused("The approvers were reminded a moment ago.")
        self._store.note(id_, self._entry(Step.REMINDED, person))
        self._log(Step.REMINDED, request_id=id_, by=person.email)
        notifications.review(request, again=True)
        self._note_unsent(id_, person, notifications)

    # -- the approver -------------------------------------------------------------------------------------------------

    def approve(
        self,
        id_: str,
        person: Person,
        content_hash: str,
        *,
        repeats_ticked: bool,
        notifications: Notifications,
        now_ticked: bool = False,
    ) -> Request:
        """Approve; the last approval that is needed writes the batch file. Safe to repeat, and by two people at once.

        Args:
            content_hash: of the content on the approver's page.
        """
        require(person.is_approver, "Only approvers can decide.")
        if (hold := self._runs.hold()) is not None:
            raise Refused(f"Nothing is approved while everything is on hold: {hold.words}")
        seen = self._store.request(id_)
        is_mine = is_same_person(seen.requester, person.email)
        if seen.state is State.IN_REVIEW and not is_mine and (changed := self.changed_parts(seen)):
            names = ", ".join(changed)
            raise Refused(f"The audience is not what was asked for any more. Changed since then: {names}")
        # Sent for review to an earlier release, which checked less: the notifier would refuse the file.
        if seen.campaign is not None and (refused := next(addition_faults(seen.campaign), None)):
            raise Refused(f"It would not be sent: {refused.problem} ({refused.mend}). Reject it, to have it changed.")
        # The count is read before the step, which has no I/O. It belongs to pinned objects, so that it cannot change.
        decision = Decision(content_hash, self._counted(seen), repeats_ticked, now_ticked)

        def step(request: Request) -> Request:
            return rules.approved(request, person.email, self.now_ms, decision, self._limits)

        ticks = ((repeats_ticked, "repeated tokens seen"), (now_ticked, "sent now, after its start has passed"))
        ticked = ", ".join(words for is_ticked, words in ticks if is_ticked)
        before, after = self._store.change(id_, step, self._entry(Step.APPROVED, person, ticked))
        if after is not before:
            self._log(Step.APPROVED, request_id=id_, by=person.email, content_hash=content_hash)
        if after.state is State.APPROVED:
            # Also where this click changed nothing: the call that approved it may have ended before it wrote the file.
            after = self.write(after, person)
            if before.state is State.IN_REVIEW:
                notifications.decided(after)
                self._note_unsent(id_, person, notifications)
        return after

    def write(self, request: Request, person: Person) -> Request:
        """Write the batch file of an approved request, once, and store its run in the request."""
        if request.written is not None or request.campaign is None or request.state is not State.APPROVED:
            return request
        # Three writes, and a crash may come after each: the approval, the file, the request. Each can be repeated
        # without effect, and the request has `written` only after the file is there. So the next click, or `finish`,
        # completes what is missing.
        body = batch_file(request.campaign, request.parts)
        approvers = [approval.by for approval in request.approvals]
        self._runs.record_approval(
            self._settings.bucket, request.batch_key, body, request.id, approvers, self.now_ms // 1000 + KEEP_S
        )
        metadata = {
            "content-hash": request.content_hash,
            "approved-by": ", ".join(approvers)[:MAX_METADATA_CHARS],
            "requested-by": request.requester,
            "request-id": request.id,
            "correlation-id": request.id,
        }
        result = self._files.write_once(request.batch_key, body, metadata, self.now_ms)
        before, after = self._store.change(
            request.id,
            lambda r: rules.written(r, self.now_ms, result),
            self._entry(Step.WRITTEN, person, f"s3://{self._settings.bucket}/{result.key}, run {result.run_id}"),
        )
        if after is not before:
            self._log(Step.WRITTEN, request_id=request.id, run_id=result.run_id)
        return after

    def finish(self, id_: str, person: Person) -> Request:
        """Write the batch file of an approved request whose last approval ended before it was written."""
        request = self._store.request(id_)
        require(
            person.is_approver or is_same_person(person.email, request.requester),
            "Only the requester and approvers can do that.",
        )
        return self.write(request, person)

    def reject(self, id_: str, person: Person, comment: str, notifications: Notifications) -> Request:
        """Reject with a reason, and mail it to the requester."""
        require(person.is_approver, "Only approvers can decide.")
        after = self._take(
            id_, person, Step.REJECTED, lambda r: rules.rejected(r, person.email, self.now_ms, comment), comment
        )
        notifications.decided(after)
        self._note_unsent(id_, person, notifications)
        return after

    def changed_parts(self, request: Request) -> tuple[str, ...]:
        """Audience files that have changed since the request was submitted."""
        return self._files.changed_parts(request.parts)

    def newer_files(self, request: Request) -> tuple[str, ...]:
        """Files that have changed since the audience was made of them. What is sent is what was counted."""
        prepared = self._audiences.prepared(request.manifest) if request.manifest else None
        return self._audiences.changed_since(prepared) if prepared is not None else ()

    def _counted(self, request: Request) -> Counted | None:
        counts = self.audience_of(request).counts
        if counts is None:
            return None
        # Of a prepared audience nothing that is repeated is sent to.
        return Counted(counts.users, counts.device_count, 0 if request.manifest else counts.repeated_tokens)

    def forecast(
        self,
        audience: AudienceSeen,
        campaign: Campaign | None,
        *,
        repeats: bool = False,
        start: datetime | None = None,
        per_second: int | None = None,
    ) -> Forecast | None:
        """What sending to a counted audience would mean; None while it is not counted.

        Args:
            repeats: whether repeated tokens are sent to: see `approval.audience.forecast`.
            start: when it begins; by default as soon as the campaign may.
            per_second: devices a second, where the campaign does not say.
        """
        if audience.counts is None:
            return None
        if start is None:
            start = max(self._now(), campaign.not_before) if campaign and campaign.not_before else self._now()
        speed = min(self._settings.fcm_per_second, per_second or self._settings.fcm_per_second)
        return forecast(audience.counts, start, campaign, speed, self._settings.ramp_s, repeats=repeats)

    # -- the run ------------------------------------------------------------------------------------------------------

    def control(self, id_: str, person: Person, action: ControlAction) -> bool:
        """Pause, resume or cancel the run of a request. Returns False where Lambda had no room: see `Runs.control`."""
        request = self._store.request(id_)
        require(
            person.is_approver or is_same_person(person.email, request.requester),
            "Only the requester and approvers can do that.",
        )
        if request.written is None:
            raise Refused("Nothing is being sent yet.")
        run = self._runs.run(request.written.run_id)
        if run is None or run.is_over:
            raise Refused("It is over already." if run else "Sending has not begun yet. Try again in a moment.")
        by_function = self._runs.control(request.written.run_id, action, person.email, self.now_ms)
        self._store.note(id_, self._entry(Step(action.value), person))
        about = {} if by_function else {"by_ledger": True}
        self._log(Step(action.value), request_id=id_, run_id=request.written.run_id, by=person.email, **about)
        return by_function

    # -- the audit trail ----------------------------------------------------------------------------------------------

    def trail(self, request: Request) -> list[AuditEntry]:
        """Every step of a request, oldest first, and its expiry, which is not stored."""
        steps = self._store.audit(request.id)
        if request.state_at(self.now_ms) is State.EXPIRED:
            steps.append(AuditEntry(Step.EXPIRED, "", request.expires_at_ms, request.why_expired))
        return sorted(steps, key=lambda entry: entry.at_ms)

    # -- common to the steps ------------------------------------------------------------------------------------------

    def _take(
        self, id_: str, person: Person, step: Step, change: Callable[[Request], Request], note: str = ""
    ) -> Request:
        """Take a step that has no effect but on the request."""
        _, after = self._store.change(id_, change, self._entry(step, person, note[:MAX_NOTE_CHARS]))
        self._log(step, request_id=id_, by=person.email)
        return after

    def _entry(self, step: Step, person: Person, note: str = "") -> AuditEntry:
        return AuditEntry(step, person.email, self.now_ms, note)


def _new_id() -> str:
    """A new id: the day, for people, and a part that cannot be guessed."""
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(6)}"
