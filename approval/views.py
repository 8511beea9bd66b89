"""The pages: which view renders which of them."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from approval.access import LinkData
from approval.audience_view import AudienceView
from approval.card_view import CardView
from approval.config import Settings
from approval.device_view import device_view
from approval.edit_view import EditView
from approval.file_picker import FilePicker
from approval.form import Faults, Form
from approval.form_check import FormCheck
from approval.list_view import ListView
from approval.looks import Looks
from approval.page_frame import PageFrame
from approval.pages import Pages
from approval.remark_view import RemarkView
from approval.remarks import Remarks
from approval.request import Request, State
from approval.request_audiences import RequestAudiences
from approval.request_service import RequestService
from approval.request_status import RequestStatus
from approval.request_view import RequestView
from approval.result_view import ResultView
from approval.runs import Runs
from approval.sign_in import LIMIT_WINDOW_S
from approval.store import Store
from approval.web import Call
from notifier.model.mailbox import is_same_person


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
        status: RequestStatus,
        results: ResultView,
        picker: FilePicker,
        runs: Runs,
        looks: Looks,
        remarks: Remarks,
        remark_view: RemarkView,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._service = service
        self._store = store
        frame = PageFrame(pages, runs, settings)
        audience = AudienceView(audiences, now)
        editing = EditView(frame, audiences, check, picker, audience, status, store, remark_view, settings, now)
        reading = RequestView(
            frame,
            service,
            audiences,
            store,
            status,
            runs,
            audience,
            CardView(audiences, looks, now),
            remark_view,
            settings,
        )
        self.page = frame.page
        self.requests = ListView(frame, store, remarks, runs, results, lambda: service.now_ms).requests
        self.edit, self.browsed, self.files, self.preview = (
            editing.edit,
            editing.browsed,
            editing.files,
            editing.preview,
        )
        self._review, self.status, self.left_out = reading.review, reading.status, reading.left_out

    # -- before sign-in -----------------------------------------------------------------------------------------------

    def sign_in(self, call: Call, next_: str, notice: str = "") -> str:
        """The form that asks for a link."""
        return self.page("sign_in.html", call, next=next_, notice=notice)

    def sent(self, call: Call, *, too_often: bool = False) -> str:
        """The page after a link was asked for: the same for known and unknown addresses."""
        return self.page("sent.html", call, too_often=too_often, minutes=LIMIT_WINDOW_S // 60)

    def link(self, call: Call, signed: str, link: LinkData, next_: str, other: str) -> str:
        """The page with the button that uses a link. `other`: the address signed in here, if it is another one."""
        return self.page("link.html", call, signed=signed, link=link, next=next_, other=other)

    def message(self, call: Call, title: str, text: str, back: str = "") -> str:
        """A page with one message. `back`: the path of the page that led here."""
        return self.page("message.html", call, title=title, text=text, back=back)

    # -- one request --------------------------------------------------------------------------------------------------

    def request(self, call: Call, id_: str, notice: str = "") -> str:
        """The form, for the requester of a draft; for everybody else the request to read."""
        request = self._store.request(id_)
        if self._may_edit(call, request):
            return self.edit(call, request, request.form, notice=notice)
        return self._review(call, request, notice)

    def not_saved(self, call: Call, id_: str, form: Form, version: int | None, faults: Faults | None = None) -> str:
        """The form of a draft as it was typed, which is not saved: for its faults, or as another window was faster.

        Args:
            version: of the draft that it was typed into.
        """
        request = self._store.request(id_)
        if not self._may_edit(call, request):
            return self._review(call, request, "Nothing was changed.")
        # With the version of that page: what another window has saved since then is not written over unasked.
        shown = msgspec.structs.replace(request, version=version or 0)
        return self.edit(call, shown, form, faults, is_saved=False, over=None if faults else request)

    def _may_edit(self, call: Call, request: Request) -> bool:
        """Whether it is a draft of the visitor's own."""
        return (
            request.state_at(self._service.now_ms) is State.DRAFT
            and call.visitor is not None
            and call.visitor.person.is_requester
            and is_same_person(call.visitor.email, request.requester)
        )

    # -- devices ------------------------------------------------------------------------------------------------------

    def devices(self, call: Call, faults: Faults | None = None) -> str:
        """The page of the visitor's own test devices."""
        email = call.visitor.email if call.visitor else ""
        return self.page(
            "devices.html",
            call,
            devices=[device_view(device) for device in self._store.devices(email)],
            faults=faults or {},
            typed={name: call.one(name) for name in ("label", "platform", "environment", "gateway")},
        )
