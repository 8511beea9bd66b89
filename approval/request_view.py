"""A request to read and to decide on: its page, its status for the script, whom it would leave out now."""

from typing import Any

from approval.audience_view import AudienceView
from approval.card_view import CardView
from approval.config import Settings
from approval.device_view import device_view
from approval.left_out import WORDS, reached_words
from approval.page_frame import PageFrame
from approval.people import Person, mail_recipients, named
from approval.prepared import AudienceSeen, NotKnown
from approval.remark_service import SentRuns
from approval.remark_view import RemarkView
from approval.request import DAY_MS, OPEN, Request, State, became_late, needed_approvals, starts_late
from approval.request_audiences import RequestAudiences
from approval.request_service import RequestService
from approval.request_status import RequestStatus
from approval.runs import Runs
from approval.same_audience import other_runs
from approval.store import Store
from approval.web import Call, whole
from notifier.model.campaign import Part
from notifier.model.mailbox import is_same_person

MAX_MADE_OF = 20
"""Files of an audience whose other runs are looked for."""


class RequestView:
    """Renders a request that is not a draft of the visitor."""

    def __init__(
        self,
        frame: PageFrame,
        service: RequestService,
        audiences: RequestAudiences,
        store: Store,
        status: RequestStatus,
        runs: Runs,
        audience: AudienceView,
        card: CardView,
        remarks: RemarkView,
        settings: Settings,
    ) -> None:
        self._frame = frame
        self._service = service
        self._audiences = audiences
        self._store = store
        self._runs = runs
        self._audience = audience
        self._card = card
        self._remarks = remarks
        self._settings = settings
        self._request_status = status

    def review(self, call: Call, request: Request, notice: str) -> str:
        seen = self._audiences.audience_of(request)
        of_audience = self._audience.of_request(request, seen)
        forecast = of_audience["forecast"]
        state = request.state_at(self._service.now_ms)
        sample = whole(call.asked("sample")) or 0
        person = call.visitor.person if call.visitor else None
        email = call.visitor.email if call.visitor else ""
        is_mine = is_same_person(email, request.requester)
        of_previews = self._audience.previews_of(request.campaign, seen, sample, request.form)
        user = seen.samples[sample] if sample < len(seen.samples) else None
        others = other_runs(request, _made_of(seen), self._store.listed(), self._runs)
        status = self._status_values(call, request, seen)
        week_began_ms = self._service.now_ms - 7 * DAY_MS
        return self._frame.page(
            "request.html",
            call,
            request=request,
            notice=notice,
            state=state,
            content_hash=request.content_hash,
            changed=self._audiences.changed_parts(request) if state is State.IN_REVIEW else (),
            newer=self._audiences.newer_files(request) if state is State.IN_REVIEW else (),
            is_plan=True,
            needed=needed_approvals(forecast.count.users, self._settings.limits) if forecast else 1,
            is_mine=is_mine,
            is_open=state in OPEN,
            may_decide=bool(person and person.is_approver) and not is_mine and state is State.IN_REVIEW,
            has_decided=any(is_same_person(approval.by, email) for approval in request.approvals),
            may_test=state in (State.IN_REVIEW, State.APPROVED) and (bool(person and person.is_approver) or is_mine),
            mailed=mail_recipients(named(request.form.approvers), request.requester, self._settings.approvers),
            devices=[device_view(device) for device in self._store.devices(email)],
            others=others,
            look="open" if call.asked("look") == "open" else "lock",
            # Without a zone nobody's campaigns are counted: then only those to the same files are known.
            counts_campaigns=bool(self._settings.cap_defaults.timezone),
            week=tuple(one for one in others if one.at_ms >= week_began_ms),
            trail=self._service.trail(request),
            **of_audience,
            **of_previews,
            **self._card.values(call, request, forecast, of_audience["times"], user),
            **status,
            **self._remarks.values(call, request, SentRuns(status["run"], status["decision"], status["remainder"])),
        )

    def left_out(self, call: Call, id_: str, person: Person) -> str:
        """How many of a request's users would be left out if it were sent now. The script puts it into other pages."""
        try:
            found, fault = self._audiences.left_out_now(id_, person), ""
        except NotKnown as error:
            found, fault = None, str(error)
        reached = reached_words(found) if found is not None else ""
        return self._frame.page("left_out.html", call, id=id_, found=found, fault=fault, words=WORDS, reached=reached)

    def status(self, call: Call, id_: str) -> str:
        """The run, the tests and the count of a request: the part of its page that the script replaces."""
        request = self._store.request(id_)
        seen = self._audiences.audience_of(request)
        return self._frame.page(
            "_status.html",
            call,
            request=request,
            state=request.state_at(self._service.now_ms),
            is_plan=True,
            **self._audience.of_request(request, seen),
            **self._status_values(call, request, seen),
        )

    def _status_values(self, call: Call, request: Request, seen: AudienceSeen) -> dict[str, Any]:
        is_mine = call.visitor is not None and is_same_person(call.visitor.email, request.requester)
        now_ms = self._service.now_ms
        is_late = request.campaign is not None and starts_late(request.campaign, now_ms)
        if request.state is State.APPROVED:
            is_late = became_late(request, now_ms)
        values = self._request_status.values(request, seen)
        values |= {
            "starts_late": is_late,
            "may_say_now": call.visitor is not None and call.visitor.person.is_approver and not is_mine,
            "unwritten_late": "" if values["is_unlinked"] else self._unwritten_late(request, seen),
        }
        if request.campaign is not None or is_mine:
            return values
        # A draft is its writer's own, and so are its tests: they name its variants, and the writer's phones.
        return values | {"tests": [], "live": False}

    def _unwritten_late(self, request: Request, seen: AudienceSeen) -> str:
        """Of an approved request that was not handed over: for how many the hour is past by their own clocks."""
        if request.state is not State.APPROVED or request.written is not None:
            return ""
        times = self._audiences.times(seen, request.campaign)
        return times.late_sentence if times is not None else ""


def _made_of(seen: AudienceSeen) -> tuple[Part, ...]:
    """The files that a prepared audience was made of; a query's rows are none."""
    inputs = seen.prepared.manifest.inputs if seen.prepared is not None else ()
    return tuple(Part(one.key, one.bucket) for one in inputs if one.bucket)[:MAX_MADE_OF]
