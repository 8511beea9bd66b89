"""The values of each page, and the page rendered with them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from approval.access import LinkData
from approval.arm_names import shown_names
from approval.audience import Forecast
from approval.audience_form import columns_of, fingerprint, in_words
from approval.config import Settings
from approval.file_picker import ROOTS, FilePicker, Listing
from approval.files import Files
from approval.form import TEXTS, Faults, Form, flat
from approval.form_campaign import plan_of, read_campaign_of
from approval.form_check import FormCheck
from approval.goals import power_in_words, read_base
from approval.language_reach import language_reach
from approval.mail import failure_in_words
from approval.pages import Pages
from approval.people import Person, domains, mail_recipients, named
from approval.placeholders import audience_warnings, gaps, lookalike_warnings
from approval.prepared import AudienceSeen, NotKnown
from approval.preview import Preview, campaign_for_preview, previews
from approval.request import OPEN, Request, State, needed_approvals, starts_late
from approval.request_audiences import RequestAudiences
from approval.request_service import RequestService
from approval.request_status import RequestStatus
from approval.runs import Runs
from approval.same_audience import other_runs
from approval.sign_in import LIMIT_WINDOW_S
from approval.store import ListedRequest, Store, TestDevice
from approval.web import Call, whole
from notifier.model.campaign import Campaign, Part
from notifier.model.mailbox import is_same_person
from notifier.model.recipient import masked

DONE = {
    "saved": "Saved.",
    "count": "The audience is being made and counted. This page follows it.",
    "submitted": "Sent for review. The approvers got a mail.",
    "unsent": "Sent for review, but not every approver could be mailed. Remind them, or let them know yourself.",
    "remind_unsent": "Not every approver could be mailed. Let them know yourself.",
    "approved_unsent": "Approved. It is sent now, or at its start time. The requester got no mail.",
    "reject_unsent": "Rejected, but the requester could not be mailed. Let them know yourself.",
    "take_back": "Back to a draft. Approvals given before count no more.",
    "withdraw": "Withdrawn.",
    "copy": "This is a copy. Change what should be different, then send it for review.",
    "remind": "The approvers got another mail.",
    "approved": "Approved. It is sent now, or at its start time; this page follows it.",
    "approved_one": "Your approval counts. One more approver is needed.",
    "reject": "Rejected. The requester got a mail.",
    "finish": "Handed over for sending.",
    "test": "Test pushes are on their way to your devices.",
    "pause": "Pause asked for. It takes a few seconds.",
    "resume": "Resume asked for. It takes a few seconds.",
    "cancel": "Cancel asked for. It takes a few seconds.",
    "pause_by_ledger": "Paused, though AWS Lambda has no room now. No push begins later than 5 seconds from now.",
    "resume_by_ledger": "Resumed, though AWS Lambda has no room now. It goes on, at the earliest within a minute.",
    "cancel_by_ledger": "Cancelled, though AWS Lambda has no room now. No push begins later than 5 seconds from now.",
    "schedule_saved": "Saved. It is looked at within a minute.",
    "schedule_pause": "Paused. Nothing fires until it is resumed; runs that have begun go on.",
    "schedule_resume": "Resumed, from its next time on.",
    "schedule_keep": "What is in force goes on until the change is approved.",
    "schedule_approve": "Your approval counts. What is approved by enough people fires from its next time on.",
    "schedule_decide": "Your decision counts. It takes up to a minute.",
    "schedule_now": "It fires now. Its audience is made first.",
    "schedule_ready": "Noted: that day's files are complete.",
    "hold": "On hold: no push begins later than 5 seconds from now.",
    "release": "Released: what is due starts within a minute.",
    "device": "Registered.",
    "device_removed": "Removed.",
}
"""What the page says after a step, by the query's `done`. Only these texts: an address in a mail cannot add its own."""
LEFT_OUT = {
    "suppressed": "want no pushes",
    "exclude": "on the exclude list",
    "holdout": "held out of all campaigns",
    "capped": "have had enough campaigns",
}
"""Why the final cut leaves users out, as pages say it. Any other reason is said in its own words."""
MAX_LISTED = 100
MAX_QUERY_CHARS = 100
MAX_SAMPLE_NAME_CHARS = 80
MAX_MADE_OF = 20
"""Files of an audience whose other runs are looked for."""


def _done(call: Call) -> str:
    """What the step before has done; of mails that were not sent, why, by SES's code in the address."""
    done, code = call.asked("done"), call.asked("unsent")
    if not code or done not in DONE:
        return DONE.get(done, "")
    # failure_in_words has a fixed text for each code, so an address cannot add one of its own.
    return f"{DONE.get(f'{done}_unsent', DONE[done])} The reason: {failure_in_words(code)}."


class DeviceView(msgspec.Struct, frozen=True):
    """A test device as the page shows it to its owner: the token masked."""

    id: str
    label: str
    platform: str
    environment: str
    gateway: str
    token: str


class Views:
    """Renders the pages of the app.

    Args:
        now: the time, aware.
    """

    def __init__(
        self,
        pages: Pages,
        service: RequestService,
        audiences: RequestAudiences,
        check: FormCheck,
        store: Store,
        files: Files,
        picker: FilePicker,
        runs: Runs,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._pages = pages
        self._service = service
        self._audiences = audiences
        self._check = check
        self._store = store
        self._files = files
        self._picker = picker
        self._runs = runs
        self._settings = settings
        self._request_status = RequestStatus(store, files, runs, lambda: service.now_ms)
        self._now = now

    def page(self, template: str, call: Call, **values: Any) -> str:
        """A page with what all of them show: who is signed in, what the step before has done, the hold."""
        return self._page(template, call, **values)

    def _page(self, template: str, call: Call, **values: Any) -> str:
        return self._pages.render(
            template,
            **{"notice": "", "done": _done(call) if call.method == "GET" else "", **values},
            prefix=call.prefix,
            path=call.path,
            visitor=call.visitor,
            csrf=call.visitor.csrf if call.visitor else "",
            mode=self._settings.mode,
            has_schedules=bool(self._settings.schedule_function),
            # Only for those who are signed in: a reason may name what has gone wrong.
            hold=self._runs.hold() if call.visitor else None,
        )

    # -- before sign-in -----------------------------------------------------------------------------------------------

    def sign_in(self, call: Call, next_: str, notice: str = "") -> str:
        """The form that asks for a link."""
        return self._page("sign_in.html", call, next=next_, notice=notice)

    def sent(self, call: Call, *, too_often: bool = False) -> str:
        """The page after a link was asked for: the same for known and unknown addresses."""
        return self._page("sent.html", call, too_often=too_often, minutes=LIMIT_WINDOW_S // 60)

    def link(self, call: Call, signed: str, link: LinkData, next_: str, other: str) -> str:
        """The page with the button that uses a link. `other`: the address signed in here, if it is another one."""
        return self._page("link.html", call, signed=signed, link=link, next=next_, other=other)

    def message(self, call: Call, title: str, text: str, back: str = "") -> str:
        """A page with one message. `back`: the path of the page that led here."""
        return self._page("message.html", call, title=title, text=text, back=back)

    # -- the list -----------------------------------------------------------------------------------------------------

    def requests(self, call: Call) -> str:
        """The list of requests, filtered by state, person and words."""
        now_ms = self._service.now_ms
        state, words = call.asked("state"), call.asked("q").strip().lower()[:MAX_QUERY_CHARS].split()
        mine = call.asked("mine") == "yes"
        email = call.visitor.email if call.visitor else ""
        # Filtered here: the table has no index for words, and the store lists the latest few hundred only.
        listed = [_as_now(one, now_ms) for one in self._store.listed()]
        matching = [
            one
            for one in listed
            if (not state or one.state == state)
            and (not mine or is_same_person(one.requester, email))
            and all(word in _searched(one) for word in words)
        ]
        waiting = [one for one in listed if one.state is State.IN_REVIEW and not is_same_person(one.requester, email)]
        return self._page(
            "list.html",
            call,
            requests=matching[:MAX_LISTED],
            runs={one.id: self._runs.status(one.run_id) for one in matching[:MAX_LISTED] if one.run_id},
            more=max(0, len(matching) - MAX_LISTED),
            waiting=waiting if call.visitor and call.visitor.person.is_approver else [],
            states=tuple(State),
            state=state,
            q=call.asked("q")[:MAX_QUERY_CHARS],
            mine=mine,
            any=bool(listed),
        )

    # -- one request --------------------------------------------------------------------------------------------------

    def request(self, call: Call, id_: str, notice: str = "") -> str:
        """The form, for the requester of a draft; for everybody else the request to read."""
        request = self._store.request(id_)
        is_mine = call.visitor is not None and is_same_person(call.visitor.email, request.requester)
        if (
            request.state_at(self._service.now_ms) is State.DRAFT
            and is_mine
            and call.visitor
            and call.visitor.person.is_requester
        ):
            return self.edit(call, request, request.form, notice=notice)
        return self._review(call, request, notice)

    def edit(
        self,
        call: Call,
        request: Request,
        form: Form,
        faults: Faults | None = None,
        notice: str = "",
        costs: tuple[str, ...] = (),
        focus: str = "",
        listing: Listing | None = None,
    ) -> str:
        """The form.

        Args:
            listing: of the files to choose from; by default the newest under `audiences/`.
            focus: the field to begin with, where no fault is: of a block that was just added.
            costs: what counting the audience would read: shown with a button that confirms it.
        """
        offered = self._audiences.offered()
        first_fault = next((field for field, _ in flat(form) if field in (faults or {})), "")
        return self._page(
            "edit.html",
            call,
            request=request,
            form=form,
            faults=faults or {},
            chosen_files=self._picker.there(form.audience),
            chosen_keys=form.audience,
            listing=listing or self._picker.listing(ROOTS[0]),
            notice=notice or _notice_of(faults or {}),
            # Only a draft that was never saved takes the browser's zone: a saved one says when it is sent.
            is_fresh=request.version == 0 and not request.copied_from,
            two_above=self._settings.limits.two_approvers_above,
            always_mailed=mail_recipients((), request.requester, self._settings.approvers),
            domains=domains(self._settings.approvers),
            first_fault=first_fault,
            focus=first_fault or next(iter(faults or {}), "") or focus,
            queries=tuple(sorted(offered.values(), key=lambda query: query.name)),
            goals=self._check.goals(),
            offered=offered,
            columns=columns_of(form, offered),
            costs=costs,
            confirm=fingerprint(self._audiences.chosen(form).request or {}),
            **self._preview_values(form, sample=0) | {"left_out_of": request.id},
        )

    def browsed(self, call: Call, request: Request, folder: str, words: str, number: int) -> str:
        """The form with another page of files, where there is no script."""
        listing = self._picker.listing(folder, words[:MAX_QUERY_CHARS], number)
        return self.edit(call, request, request.form, listing=listing)

    def files(self, call: Call, folder: str, words: str, page: int, chosen: tuple[str, ...]) -> str:
        """Files to choose from: the part of the form that its script replaces."""
        listing = self._picker.listing(folder, words[:MAX_QUERY_CHARS], page)
        return self._page("_files.html", call, listing=listing, chosen_keys=chosen)

    def preview(self, call: Call, form: Form, sample: int, id_: str) -> dict[str, Any]:
        """The parts of the form's page that change with what is typed."""
        _, _, faults = self._check.read(form, call.visitor.email if call.visitor else "")
        values = self._preview_values(form, sample) | {"left_out_of": id_}
        return {
            "faults": faults,
            "phones": self._page("_phones.html", call, **values),
            "audience": self._page("_audience.html", call, **values),
            "counting": values["seen"].is_counting,
        }

    def _preview_values(self, form: Form, sample: int) -> dict[str, Any]:
        campaign = campaign_for_preview(form, self._now())
        seen = self._audiences.audience_of_form(form)
        return self._preview_values_of(campaign, seen, sample, form) | {
            **self._audience_values(form, seen, campaign, is_pinned=True, plan=self._plan_of(form)),
            "says_something": any(text for field, text in flat(form) if field.rpartition(".")[2] in TEXTS),
            "is_plan": False,
        }

    def _plan_of(self, form: Form) -> tuple[datetime | None, int | None]:
        """When it would begin, and how fast, by what is in the form: the previews' campaign has neither."""
        start, per_second = plan_of(form)
        return (max(start, self._now()) if start else None), per_second

    def _audience_values(
        self,
        form: Form,
        seen: AudienceSeen,
        campaign: Campaign | None,
        *,
        is_pinned: bool,
        plan: tuple[datetime | None, int | None] = (None, None),
    ) -> dict[str, Any]:
        """The values of `_audience.html`.

        Args:
            plan: start and speed, where they are not the campaign's.
            is_pinned: whether the prepared audience itself is sent, and not the files that it was made of.
        """
        return {
            "seen": seen,
            "chosen": tuple(in_words(seen.request)) if seen.request is not None else (),
            "sql": seen.prepared.manifest.queries if seen.prepared is not None else {},
            "forecast": _as_named(
                self._audiences.forecast(seen, campaign, repeats=not is_pinned, start=plan[0], per_second=plan[1]), form
            ),
            "is_pinned": is_pinned,
            "power": self._power(campaign, form, seen),
            "gaps": gaps(form, seen.counts),
            "left_out_of": "",
            "reach": language_reach(form, seen.counts),
            "lookalikes": (*lookalike_warnings(form, seen.counts), *audience_warnings(form, seen.counts)),
        }

    def _power(self, campaign: Campaign | None, form: Form, seen: AudienceSeen) -> tuple[str, ...]:
        """How likely the audience is to show what the campaign is to bring about, once it is counted."""
        if campaign is None or campaign.goal is None:
            # Previews have a campaign without a goal: the form's, as soon as it has no faults.
            campaign, _ = read_campaign_of(form, self._now())
        if campaign is None or seen.counts is None:
            return ()
        return power_in_words(campaign, read_base(form.goal_base_percent), seen.counts.users)

    def _preview_values_of(
        self, campaign: Campaign | None, seen: AudienceSeen, sample: int, form: Form
    ) -> dict[str, Any]:
        chosen = seen.samples[sample] if sample < len(seen.samples) else None
        return {
            "previews": grouped(previews(campaign, chosen), shown_names(form)) if campaign is not None else (),
            "samples": tuple(_sample_name(n, record) for n, record in enumerate(seen.samples)),
            "sample": sample if chosen is not None else 0,
        }

    def _audience_of(self, request: Request, seen: AudienceSeen) -> dict[str, Any]:
        """The values of `_audience.html` for a request. One that was handed over keeps the figures of that moment."""
        start = datetime.fromtimestamp(request.written.at_ms / 1000, UTC) if request.written else None
        if start is not None and request.campaign is not None and request.campaign.not_before is not None:
            start = max(start, request.campaign.not_before)
        is_pinned = bool(request.manifest)
        values = self._audience_values(request.form, seen, request.campaign, is_pinned=is_pinned, plan=(start, None))
        # Of what was handed over the run's own figures say it.
        return values | {"left_out_of": request.id if is_pinned and request.written is None else ""}

    def _review(self, call: Call, request: Request, notice: str) -> str:
        seen = self._audiences.audience_of(request)
        of_audience = self._audience_of(request, seen)
        forecast = of_audience["forecast"]
        state = request.state_at(self._service.now_ms)
        sample = whole(call.asked("sample")) or 0
        person = call.visitor.person if call.visitor else None
        email = call.visitor.email if call.visitor else ""
        is_mine = is_same_person(email, request.requester)
        return self._page(
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
            starts_late=request.campaign is not None and starts_late(request.campaign, self._service.now_ms),
            may_decide=bool(person and person.is_approver) and not is_mine and state is State.IN_REVIEW,
            has_decided=any(is_same_person(approval.by, email) for approval in request.approvals),
            may_test=state in (State.IN_REVIEW, State.APPROVED) and (bool(person and person.is_approver) or is_mine),
            mailed=mail_recipients(named(request.form.approvers), request.requester, self._settings.approvers),
            devices=[_device_view(device) for device in self._store.devices(email)],
            others=other_runs(request, _made_of(seen), self._store.listed(), self._runs),
            trail=self._service.trail(request),
            **of_audience,
            **self._preview_values_of(request.campaign, seen, sample, request.form),
            **self._request_status.values(request, seen),
        )

    def left_out(self, call: Call, id_: str, person: Person) -> str:
        """How many of a request's users would be left out if it were sent now. The script puts it into other pages."""
        try:
            found, fault = self._audiences.left_out_now(id_, person), ""
        except NotKnown as error:
            found, fault = None, str(error)
        return self._page("left_out.html", call, id=id_, found=found, fault=fault, words=LEFT_OUT)

    # -- what the script refreshes ------------------------------------------------------------------------------------

    def status(self, call: Call, id_: str) -> str:
        """The run, the tests and the count of a request: the part of its page that the script replaces."""
        request = self._store.request(id_)
        seen = self._audiences.audience_of(request)
        return self._page(
            "_status.html",
            call,
            request=request,
            state=request.state_at(self._service.now_ms),
            is_plan=True,
            **self._audience_of(request, seen),
            **self._request_status.values(request, seen),
        )

    # -- devices ------------------------------------------------------------------------------------------------------

    def devices(self, call: Call, faults: Faults | None = None) -> str:
        """The page of the visitor's own test devices."""
        email = call.visitor.email if call.visitor else ""
        return self._page(
            "devices.html",
            call,
            devices=[_device_view(device) for device in self._store.devices(email)],
            faults=faults or {},
            typed={name: call.one(name) for name in ("label", "platform", "environment", "gateway")},
        )


def _notice_of(faults: Faults) -> str:
    match len(faults):
        case 0:
            return ""
        case 1:
            return "One field needs another look."
        case several:
            return f"{several} fields need another look."


def _as_named(forecast: Forecast | None, form: Form) -> Forecast | None:
    """The forecast with the variants' names as they were typed."""
    if forecast is None:
        return None
    names = shown_names(form)
    arms = tuple(msgspec.structs.replace(arm, name=names.get(arm.name, arm.name)) for arm in forecast.arms)
    return msgspec.structs.replace(forecast, arms=arms)


def grouped(
    found: tuple[Preview, ...], names: Mapping[str, str]
) -> tuple[tuple[str, tuple[tuple[str, tuple[Preview, ...]], ...]], ...]:
    """Previews by arm, under the name that it has on the pages, and in an arm by language."""
    arms: dict[str, dict[str, list[Preview]]] = {}
    for preview in found:
        arms.setdefault(names.get(preview.arm, preview.arm), {}).setdefault(preview.locale, []).append(preview)
    return tuple((arm, tuple((locale, tuple(p)) for locale, p in group.items())) for arm, group in arms.items())


def _made_of(seen: AudienceSeen) -> tuple[Part, ...]:
    """The files that a prepared audience was made of; a query's rows are none."""
    inputs = seen.prepared.manifest.inputs if seen.prepared is not None else ()
    return tuple(Part(one.key, one.bucket) for one in inputs if one.bucket)[:MAX_MADE_OF]


def _as_now(listed: ListedRequest, now_ms: int) -> ListedRequest:
    # As `Request.state_at`: the stored state of an open request does not change when it expires.
    over = listed.state in OPEN and now_ms >= listed.expires_at_ms
    return msgspec.structs.replace(listed, state=State.EXPIRED) if over else listed


def _searched(listed: ListedRequest) -> str:
    return f"{listed.title} {listed.text} {listed.requester} {' '.join(listed.audience)}".lower()


def _sample_name(n: int, record: Mapping[str, Any]) -> str:
    known = record.get("attributes") or {}
    return ", ".join(map(str, [*list(known.values())[:2], record.get("user_id", n + 1)]))[:MAX_SAMPLE_NAME_CHARS]


def _device_view(device: TestDevice) -> DeviceView:
    gateway = device.gateway or ("apns" if device.platform == "ios" else "fcm")
    return DeviceView(device.id, device.label, device.platform, device.environment, gateway, masked(device.token))
