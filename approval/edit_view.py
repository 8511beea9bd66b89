"""The form of a draft, and the parts of it that change while it is typed."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from approval.audience_form import columns_of, fingerprint
from approval.audience_view import AudienceView
from approval.composer import Shown, label_of, values_of
from approval.config import Settings
from approval.file_picker import ROOTS, FilePicker, Listing
from approval.form import Faults, Form, flat
from approval.form_campaign import plan_of
from approval.form_check import FormCheck
from approval.form_size import length_faults
from approval.page_frame import PageFrame
from approval.people import domains, mail_recipients
from approval.preview import campaign_for_preview
from approval.remark_service import SentRuns
from approval.remark_view import RemarkView
from approval.request import Request
from approval.request_audiences import RequestAudiences
from approval.request_status import RequestStatus
from approval.store import NoSuchRequest, Store
from approval.web import Call
from notifier.model.mailbox import is_same_person

MAX_QUERY_CHARS = 100


class EditView:
    """Renders the form.

    Args:
        now: the time, aware.
    """

    def __init__(
        self,
        frame: PageFrame,
        audiences: RequestAudiences,
        check: FormCheck,
        picker: FilePicker,
        audience: AudienceView,
        status: RequestStatus,
        store: Store,
        remarks: RemarkView,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._frame = frame
        self._audiences = audiences
        self._check = check
        self._picker = picker
        self._audience = audience
        self._status = status
        self._store = store
        self._remarks = remarks
        self._settings = settings
        self._now = now

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
        shown: Shown = Shown(),  # noqa: B008 - frozen
        *,
        has_names: bool = True,
        is_saved: bool = True,
        over: Request | None = None,
    ) -> str:
        """The form.

        Args:
            listing: of the files to choose from; by default the newest under `audiences/`.
            focus: the field to begin with, where no fault is: of a block that was just added.
            costs: what counting the audience would read: shown with a button that confirms it.
            is_saved: whether the draft is what the form says.
            over: the draft as another window has saved it meanwhile.
            has_names: whether the schedules are asked for their names; not where they have just not answered.
        """
        offered, taken = self._audiences.offered(), self._audiences.taken_by(form)
        first_fault = next((field for field, _ in flat(form) if field in (faults or {})), "")
        return self._frame.page(
            "edit.html",
            call,
            request=request,
            form=form,
            is_saved=is_saved,
            over=over,
            elsewhere=_differing(form, over.form) if over is not None else (),
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
            focus=first_fault or next(iter(faults or {}), "") or focus or ("name" if not form.name else ""),
            queries=tuple(sorted(offered.values(), key=lambda query: query.name)),
            goals=self._check.goals(),
            offered=offered,
            columns=columns_of(form, offered, taken),
            taken=taken,
            schedule_names=self._schedule_names(form) if has_names else (),
            costs=costs,
            confirm=fingerprint(self._audiences.chosen(form).request or {}),
            **self._composed(call, request, form, shown)[0],
            **self._remarks.values(call, request, SentRuns()),
        )

    def _schedule_names(self, form: Form) -> tuple[str, ...]:
        """The schedules to choose from. They are asked for where a group may still become one of them."""
        is_open = any(not one.query and not one.files for one in form.sources)
        return self._audiences.schedule_names() if is_open else ()

    def _composed(self, call: Call, request: Request | None, form: Form, shown: Shown) -> tuple[dict[str, Any], Faults]:
        """The values of the parts that change while it is typed, and the form's faults."""
        campaign = campaign_for_preview(form, self._now())
        _, seen, faults = self._check.read(form, call.visitor.email if call.visitor else "")
        not_counted = self._audiences.not_counted(seen)
        faults |= length_faults(form)
        left = faults | ({"audience": not_counted} if not_counted and "audience" not in faults else {})
        start = max(plan_of(form)[0] or self._now(), self._now())
        status = self._status.values(request, seen) if request is not None else {"tests": (), "live": False}
        values = {
            **self._audience.of_form(form, seen, campaign),
            **values_of(form, campaign, seen.counts, left, shown, self._settings.cap_defaults, start),
            "tests": status["tests"],
            "live": status["live"] or seen.is_counting,
            "left_out_of": request.id if request is not None else "",
        }
        return values, faults

    def browsed(self, call: Call, request: Request, folder: str, words: str, number: int) -> str:
        """The form with another page of files, where there is no script."""
        listing = self._picker.listing(folder, words[:MAX_QUERY_CHARS], number)
        return self.edit(call, request, request.form, listing=listing)

    def files(self, call: Call, folder: str, words: str, page: int, chosen: tuple[str, ...]) -> str:
        """Files to choose from: the part of the form that its script replaces."""
        listing = self._picker.listing(folder, words[:MAX_QUERY_CHARS], page)
        return self._frame.page("_files.html", call, listing=listing, chosen_keys=chosen)

    def preview(self, call: Call, form: Form, shown: Shown, id_: str) -> dict[str, Any]:
        """The parts of the form's page that change with what is typed, by their names in it."""
        values, faults = self._composed(call, self._own_draft(call, id_), form, shown)
        # Asked for only where something may wait for its release.
        values["hold"] = self._frame.hold() if values["live"] else None
        templates = {name: f"_{name}.html" for name in ("audience", "chips", "times", "checks", "panel")}
        templates["tests"] = "_draft_tests.html"
        parts = {name: self._frame.part(template, call, **values) for name, template in templates.items()}
        read_by = {f"reach-{key}": words for key, words in values["reads"].items()}
        return {"faults": faults, "parts": parts | read_by, "live": values["live"]}

    def _own_draft(self, call: Call, id_: str) -> Request | None:
        """The visitor's own request; None for another person's, whose tests are not theirs to see, and for none."""
        try:
            request = self._store.request(id_) if id_ else None
        except NoSuchRequest:
            return None
        is_mine = request is not None and call.visitor and is_same_person(call.visitor.email, request.requester)
        return request if is_mine else None


def _notice_of(faults: Faults) -> str:
    match len(faults):
        case 0:
            return ""
        case 1:
            return "One field needs another look."
        case several:
            return f"{several} fields need another look."


def _differing(form: Form, other: Form) -> tuple[str, ...]:
    """The fields that are different in two forms, as people call them."""
    here, there = dict.fromkeys(flat(form)), dict.fromkeys(flat(other))
    names = [(one[0], form) for one in here if one not in there] + [(one[0], other) for one in there if one not in here]
    return tuple(dict.fromkeys(label_of(name, of) for name, of in names))
