"""The form of a draft, and the parts of it that change while it is typed."""

from typing import Any

from approval.audience_form import columns_of, fingerprint
from approval.audience_view import AudienceView
from approval.config import Settings
from approval.file_picker import ROOTS, FilePicker, Listing
from approval.form import Faults, Form, flat
from approval.form_check import FormCheck
from approval.page_frame import PageFrame
from approval.people import domains, mail_recipients
from approval.request import Request
from approval.request_audiences import RequestAudiences
from approval.web import Call

MAX_QUERY_CHARS = 100


class EditView:
    """Renders the form."""

    def __init__(
        self,
        frame: PageFrame,
        audiences: RequestAudiences,
        check: FormCheck,
        picker: FilePicker,
        audience: AudienceView,
        settings: Settings,
    ) -> None:
        self._frame = frame
        self._audiences = audiences
        self._check = check
        self._picker = picker
        self._audience = audience
        self._settings = settings

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
        return self._frame.page(
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
            **self._audience.of_form(form, sample=0) | {"left_out_of": request.id},
        )

    def browsed(self, call: Call, request: Request, folder: str, words: str, number: int) -> str:
        """The form with another page of files, where there is no script."""
        listing = self._picker.listing(folder, words[:MAX_QUERY_CHARS], number)
        return self.edit(call, request, request.form, listing=listing)

    def files(self, call: Call, folder: str, words: str, page: int, chosen: tuple[str, ...]) -> str:
        """Files to choose from: the part of the form that its script replaces."""
        listing = self._picker.listing(folder, words[:MAX_QUERY_CHARS], page)
        return self._frame.page("_files.html", call, listing=listing, chosen_keys=chosen)

    def preview(self, call: Call, form: Form, sample: int, id_: str) -> dict[str, Any]:
        """The parts of the form's page that change with what is typed."""
        _, _, faults = self._check.read(form, call.visitor.email if call.visitor else "")
        values = self._audience.of_form(form, sample) | {"left_out_of": id_}
        return {
            "faults": faults,
            "phones": self._frame.page("_phones.html", call, **values),
            "audience": self._frame.page("_audience.html", call, **values),
            "counting": values["seen"].is_counting,
        }


def _notice_of(faults: Faults) -> str:
    match len(faults):
        case 0:
            return ""
        case 1:
            return "One field needs another look."
        case several:
            return f"{several} fields need another look."
