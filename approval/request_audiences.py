"""The audiences of requests and forms: chosen, made, counted, pinned; and what sending to one would mean."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from approval.audience import Forecast, forecast
from approval.audience_form import Chosen, chosen_audience, fingerprint, queries_of
from approval.config import Settings
from approval.files import Files
from approval.form import Faults, Form
from approval.form_campaign import read_campaign_of
from approval.functions import NoAnswer
from approval.left_out import LeftOutKept
from approval.people import Person
from approval.prepared import Audiences, AudienceSeen, LeftOutNow, NoCost, NotKnown, PreparedAudience
from approval.queries import OfferedQuery, Queries
from approval.request import DAY_MS, Counted, Incomplete, Refused, Request, batch_file, parts_request, require
from approval.schedules import Schedules
from approval.store import Store
from approval.taken_audiences import Taken, TakenAudiences
from approval.user_times import TimesForecast, times_forecast
from notifier.model.campaign import Audience, Campaign, Part
from notifier.model.mailbox import is_same_person

SURELY_KEPT_MS = DAY_MS
"""So long after its count no part of an audience expires: each is kept for two days, and was made before the count."""


class NotTaken(NoAnswer):
    """The schedules do not say whom the schedule of a group reaches. `field` is its own in the form."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(f"{words} Your draft is saved.")
        self.field = field


class RequestAudiences:
    """Finds, orders and reads the audiences of requests.

    Args:
        audiences: those that the audience function has made.
        now: the time, aware.
        log: logs a step with fields.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        files: Files,
        audiences: Audiences,
        queries: Queries,
        left_out: LeftOutKept,
        schedules: Schedules,
        taken: TakenAudiences,
        now: Callable[[], datetime],
        log: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._files = files
        self._audiences = audiences
        self._queries = queries
        self._left_out = left_out
        self._schedules = schedules
        self._taken = taken
        self._now = now
        self._log = log

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
        self._audiences.order(wanted, int(self._now().timestamp()))
        self._log("counted", request_id=id_, by=person.email)
        return ()

    def _is_paid(self, form: Form) -> bool:
        """Whether a chosen query runs where reading is paid for."""
        offered, taken = self.offered(), self.taken_by(form)
        names = (name for one in form.sources for name in queries_of(one, taken))
        return any(offered[name].is_paid_by_bytes for name in names if name in offered)

    def chosen(self, form: Form) -> Chosen:
        """Whom the form means."""
        return chosen_audience(form, self.offered(), self.taken_by(form), self._now())

    def taken_by(self, form: Form) -> Taken:
        """The audiences of schedules that a form has taken."""
        keys = {(one.schedule, one.version) for one in form.sources if one.schedule and one.version}
        return {key: one for key in keys if (one := self._taken.of(*key)) is not None}

    def take(self, form: Form, again: str = "") -> tuple[Form, Faults]:
        """The form with the audience of each schedule that it names taken, and why some could not be.

        Args:
            again: a group, such as `sources.1`, whose schedule's audience is taken as it is now.
        """
        taken = self.taken_by(form)
        faults: Faults = {}
        sources = list(form.sources)
        for n, one in enumerate(sources):
            has_it = (one.schedule, one.version) in taken
            if not one.schedule or (has_it and again != f"sources.{n}"):
                continue
            try:
                found = self._schedules.audience(one.schedule)
            except NoAnswer as error:
                # Asked for the next group as well, or for the names, it would be asked longer than a call may take.
                raise NotTaken(f"sources.{n}.schedule", str(error)) from None
            except Refused as error:
                faults[f"sources.{n}.schedule"] = str(error)
                continue
            self._taken.keep(found)
            sources[n] = msgspec.structs.replace(one, version=found.version)
        return msgspec.structs.replace(form, sources=tuple(sources)), faults

    def schedule_names(self) -> tuple[str, ...]:
        """The schedules whose audiences may be taken."""
        return self._schedules.names()

    def offered(self) -> dict[str, OfferedQuery]:
        """The stored queries that may be chosen."""
        return self._queries.offered()

    def audience_of_form(self, form: Form) -> AudienceSeen:
        """The audience of a form, with its latest count."""
        return self.seen(self.chosen(form))

    def seen(self, chosen: Chosen) -> AudienceSeen:
        """The audience of a choice, with its latest count."""
        return self._audiences.seen(chosen.request)

    def audience_of(self, request: Request) -> AudienceSeen:
        """The audience of a request: the one that was pinned when it was submitted."""
        if request.campaign is None:
            return self.audience_of_form(request.form)
        if request.manifest:
            prepared = self._pinned(request)
            return AudienceSeen(prepared.manifest.request if prepared else None, None, prepared)
        # Submitted to the release before, which pinned the files themselves and counted them in another way. They can
        # be counted again, and are sent as they were pinned.
        return self._audiences.seen(parts_request(request))

    def _pinned(self, request: Request) -> PreparedAudience | None:
        """The prepared audience that a request has pinned; once its key has expired, by its version."""
        if not request.manifest:
            return None
        return self._audiences.prepared(request.manifest, version_id=request.manifest_version)

    def left_out_now(self, id_: str, person: Person) -> LeftOutNow:
        """How many of a request's counted audience would be left out if it were sent now.

        Raises:
            NotKnown: the message says why.
        """
        # It has the audience function work, and says what is in an audience: no business of a privacy officer's.
        require(person.is_requester or person.is_approver, "Only requesters and approvers may ask for that.")
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
            campaign = with_exclude(campaign, self.chosen(request.form).exclude)
        given, manifest = _as_given(campaign), audience.prepared.key
        found = self._audiences.left_out_now(manifest, given, legal=bool(request.form.legal))
        # A draft with faults has no rules yet: its answer is not that of a campaign which has none.
        if given is not None:
            self._left_out.keep(manifest, given, found, int(self._now().timestamp()))
        return found

    def left_out_last(self, request: Request) -> LeftOutNow | None:
        """What `left_out_now` has answered last for the same audience and rules; None where that is not known."""
        return self._left_out.last(request.manifest, _as_given(request.campaign), int(self._now().timestamp()))

    def count_newer(self, id_: str, person: Person) -> None:
        """Have the audience made and counted once more, of the files as they are now. What was reviewed stays pinned.

        Raises:
            Refused: the message says why.
        """
        request = self._store.request(id_)
        is_mine = is_same_person(person.email, request.requester)
        require(is_mine or person.is_approver, "Only the requester and approvers can have it counted.")
        prepared = self._pinned(request)
        if prepared is None or not self._audiences.changed_since(prepared):
            raise Refused("Its files have not changed since it was counted.")
        if self._is_paid(request.form):
            raise Refused("One of its queries is paid for by what it reads. Its requester may count it again.")
        self._audiences.order(prepared.manifest.request, int(self._now().timestamp()))
        self._log("counted", request_id=id_, by=person.email)

    def newer_audience(self, request: Request) -> AudienceSeen | None:
        """The audience as it is now, where that was counted after the one that was pinned, or is being counted."""
        pinned = self._pinned(request)
        if pinned is None:
            return None
        seen = self._audiences.seen(pinned.manifest.request)
        is_newer = seen.prepared is not None and seen.prepared.key != request.manifest
        return seen if is_newer or seen.is_counting or seen.fault else None

    def changed_parts(self, request: Request) -> tuple[str, ...]:
        """Audience files whose version that the request has pinned is gone."""
        return self._files.changed_parts(request.parts)

    def newer_files(self, request: Request) -> tuple[str, ...]:
        """Files that have changed since the audience was made of them. What is sent is what was counted."""
        prepared = self._pinned(request)
        return self._audiences.changed_since(prepared) if prepared is not None else ()

    def counted(self, request: Request) -> Counted | None:
        """What approvers decide on, of a counted audience; None while it is not counted."""
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
        now, planned = self._now(), start or (campaign.not_before if campaign else None)
        start = max(now, planned) if planned is not None and start is None else start or now
        speed = min(self._settings.fcm_per_second, per_second or self._settings.fcm_per_second)
        found = forecast(audience.counts, start, campaign, speed, self._settings.ramp_s, repeats=repeats)
        has_hour = campaign is not None and campaign.local_time is not None
        found = msgspec.structs.replace(found, is_of_now=start <= now and not has_hour)
        times = self.times(audience, campaign, start)
        # By each user's own clock, or beside quiet hours, they are not all reached at the start.
        return found if times is None else msgspec.structs.replace(found, at_night=times.at_night)

    def times(
        self, audience: AudienceSeen, campaign: Campaign | None, start: datetime | None = None
    ) -> TimesForecast | None:
        """When the users of a counted audience would be reached; None where that is the same moment for all of them."""
        if audience.counts is None or campaign is None:
            return None
        return times_forecast(campaign, audience.counts, self._settings.cap_defaults, start or self._now())

    def not_counted(self, audience: AudienceSeen, *, is_pinning: bool = False) -> str:
        """Why this audience cannot be pinned: what approvers decide on is the audience that was counted.

        Args:
            is_pinning: whether it is pinned now. A page is made far more often, and asks S3 only where its parts may
                have expired.
        """
        if audience.request is None:
            return ""  # the choice itself has faults
        if audience.is_counting:
            return "It is still being counted. Send it for review when the figures are there."
        if audience.prepared is None:
            return f"It could not be counted: {audience.fault}" if audience.fault else "Count it first."
        if changed := self._audiences.changed_since(audience.prepared):
            return f"Changed since it was counted: {', '.join(changed)}. Count it again."
        age_ms = self._now().timestamp() * 1000 - audience.prepared.made_at_ms
        if (is_pinning or age_ms >= SURELY_KEPT_MS) and self._audiences.expired_parts(audience.prepared):
            return "It was counted more than two days ago, and what was counted is not kept so long. Count it again."
        return ""

    def keep(self, audience: PreparedAudience) -> None:
        """Let an audience that goes into review be kept until it is sent."""
        self._audiences.keep(audience)


def with_exclude(campaign: Campaign | None, exclude: tuple[Part, ...]) -> Campaign | None:
    """The campaign with the lists of user ids that it leaves out."""
    if campaign is None or not exclude:
        return campaign
    return msgspec.structs.replace(campaign, exclude=Audience(exclude))


def _as_given(campaign: Campaign | None) -> Mapping[str, Any] | None:
    """The campaign as its batch file has it."""
    return None if campaign is None else msgspec.json.decode(batch_file(campaign, ()))["campaign"]
