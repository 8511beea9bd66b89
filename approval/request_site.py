"""Requests: their list, their pages, and the steps of requesters and approvers."""

from collections.abc import Callable
from http import HTTPStatus

from approval.composer import label_of, read_shown
from approval.decisions import Decisions
from approval.form import Form, Malformed, first_of_new, read_form, read_place, with_one_more, without
from approval.form_size import length_faults
from approval.notifications import Notifications, not_mailed
from approval.people import Person
from approval.request import ChangedElsewhere, Forbidden, Incomplete, Refused, Request, State
from approval.request_audiences import NotTaken, RequestAudiences
from approval.request_service import RequestService
from approval.store import NoSuchRequest
from approval.test_push import TestPushes
from approval.views import Views
from approval.web import START, Call, Html, Route, data, page, person_of, see_other, whole


def _compressed(html: str, status: int = HTTPStatus.OK) -> Html:
    """The page of a request, compressed, as nothing of the address is in it. A draft with all its texts is large."""
    return page(html, status, compress=True)


class RequestSite:
    """Pages and steps of requests.

    Args:
        notifications: makes what sends the mails of one call.
    """

    def __init__(
        self,
        service: RequestService,
        decisions: Decisions,
        audiences: RequestAudiences,
        tests: TestPushes,
        views: Views,
        notifications: Callable[[Call], Notifications],
    ) -> None:
        self._service = service
        self._decisions = decisions
        self._audiences = audiences
        self._tests = tests
        self._views = views
        self._notifications = notifications

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each page and step."""
        get, post = "GET", "POST"
        return (
            (get, START, self._list),
            (post, "/requests", lambda c: see_other(c, f"/requests/{self._service.create(person_of(c)).id}")),
            (get, "/requests/<id>", self._request),
            (post, "/requests/<id>", self._edit),
            (get, "/requests/<id>/status", lambda c, **at: page(self._views.status(c, at["id"]))),
            (get, "/requests/<id>/left-out", lambda c, **at: page(self._views.left_out(c, at["id"], person_of(c)))),
            (get, "/requests/<id>/<action>", lambda c, **at: see_other(c, f"/requests/{at['id']}")),
            (post, "/requests/<id>/seen", self._look),
            (post, "/requests/<id>/<action>", self._act),
            (post, "/preview", self._preview),
            (get, "/files", self._files),
        )

    def _list(self, call: Call) -> Html:
        if person_of(call).is_officer_alone:
            return see_other(call, "/people")
        return page(self._views.requests(call))

    def _request(self, call: Call, id: str) -> Html:  # noqa: A002 - the name in the path
        return _compressed(self._views.request(call, id))

    def _edit(self, call: Call, id: str) -> Html:  # noqa: A002
        """Save the draft, then do what the button says, such as `submit`, `add_language` or `remove:variants.1`."""
        button, _, block = call.one("do").partition(":")
        if button == "autosave":
            return self._autosave(call, id)
        if button in ("remove", "take"):
            block = read_place(call.fields, block)
        form = without(read_form(call.fields), block) if button == "remove" else read_form(call.fields)
        version = whole(call.one("version"))
        if faults := length_faults(form):
            shown = self._views.not_saved(call, id, form, version, faults)
            return _compressed(shown, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if button == "keep":  # over the version that the page has named
            button, version = "save", whole(block)
        try:
            saved = self._service.save(id, person_of(call), form, version)
        except ChangedElsewhere:
            return _compressed(self._views.not_saved(call, id, form, version), HTTPStatus.CONFLICT)
        try:
            form, faults = self._audiences.take(form, block if button == "take" else "")
        except NotTaken as error:
            shown = self._views.edit(call, saved, form, {error.field: str(error)}, has_names=False)
            return _compressed(shown, HTTPStatus.CONFLICT)
        if faults:
            return _compressed(self._views.edit(call, saved, form, faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        # A step of its own, which the trail need not have twice.
        saved = self._service.save(id, person_of(call), form, saved.version, by_itself=True)
        return self._do(call, saved, form, button, block)

    def _do(self, call: Call, saved: Request, form: Form, button: str, block: str) -> Html:
        """What the button says, of a form that is saved."""
        if button == "submit":
            return self._submit(call, saved)
        if button == "count":
            return self._count(call, saved, block)
        if button == "show":
            return _compressed(self._views.edit(call, saved, form, shown=read_shown(call.fields)))
        if button == "test":
            return self._test(call, saved)
        if button == "browse":
            folder, _, number = block.partition("|")
            return _compressed(self._views.browsed(call, saved, folder, call.one("picker_words"), whole(number) or 0))
        if button in ("add_language", "add_variant", "add_source", "add_filter"):
            # Shown and not saved: an empty block is dropped when the form is read.
            more = with_one_more(form, button, block or call.one("more_languages"))
            return _compressed(self._views.edit(call, saved, more, focus=first_of_new(form, more)))
        group = {"sources": "audience", "filters": "audience"}.get(block.partition(".")[0], block.partition(".")[0])
        anchor = f"#{group}" if button == "remove" else "#audience" if button in ("choose", "take") else ""
        return see_other(call, f"/requests/{saved.id}?done=saved{anchor}")

    def _files(self, call: Call) -> Html:
        """Files to choose from, for the page's script."""
        if not person_of(call).is_requester:
            raise Forbidden("Only requesters choose files.")
        number = whole(call.asked("page")) or 0
        chosen = tuple(call.query.get("chosen", ()))
        return page(self._views.files(call, call.asked("folder"), call.asked("q"), number, chosen))

    def _autosave(self, call: Call, id_: str) -> Html:
        """Save what is being typed, for the page's script: the draft's new version, or why it is not saved."""
        try:
            form, version = read_form(call.fields), whole(call.one("version"))
            for field, fault in length_faults(form).items():
                return data({"refused": f"Not saved. {label_of(field, form)}: {fault}"})
            saved = self._service.save(id_, person_of(call), form, version, by_itself=True)
        except (Refused, Malformed) as error:
            return data({"refused": str(error)})
        return data({"version": saved.version})

    def _count(self, call: Call, saved: Request, confirmed: str) -> Html:
        """Have the audience of a draft made and counted, or show first what that costs."""
        try:
            if costs := self._audiences.count(saved.id, person_of(call), confirmed):
                return _compressed(self._views.edit(call, saved, saved.form, costs=costs))
        except Incomplete as error:
            return _compressed(self._views.edit(call, saved, saved.form, error.faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        return see_other(call, f"/requests/{saved.id}?done=count#audience")

    def _test(self, call: Call, saved: Request) -> Html:
        """Send the draft to the writer's own devices."""
        try:
            self._tests.send_draft(saved, person_of(call), read_shown(call.fields).user)
        except Incomplete as error:
            return _compressed(self._views.edit(call, saved, saved.form, error.faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        return see_other(call, f"/requests/{saved.id}?done=test")

    def _submit(self, call: Call, saved: Request) -> Html:
        notifications = self._notifications(call)
        try:
            self._service.submit(saved.id, person_of(call), notifications)
        except Incomplete as error:
            return _compressed(self._views.edit(call, saved, saved.form, error.faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        done = "unsent" if notifications.unsent or not notifications.sent else "submitted"
        return see_other(call, f"/requests/{saved.id}?done={done}{not_mailed(notifications)}")

    def _look(self, call: Call, id: str) -> Html:  # noqa: A002
        """Note that an approver has looked at the text on their page, and show the next one."""
        number = whole(call.one("text"))
        self._decisions.look(id, person_of(call), call.one("content_hash"), number)
        return see_other(call, f"/requests/{id}?text={(number or 0) + 1}")

    def _act(self, call: Call, id: str, action: str) -> Html:  # noqa: A002
        person, service, decisions = person_of(call), self._service, self._decisions
        notifications = self._notifications(call)
        done, shown_id = action, id
        match action:
            case "take_back":
                service.take_back(id, person)
            case "withdraw":
                service.withdraw(id, person)
            case "copy":
                shown_id = service.copy(id, person).id
            case "remind":
                service.remind(id, person, notifications)
            case "approve":
                after = decisions.approve(
                    id,
                    person,
                    call.one("content_hash"),
                    repeats_ticked=call.one("repeats") == "yes",
                    notifications=notifications,
                    now_ticked=call.one("now") == "yes",
                    shown=whole(call.one("text")),
                    unseen_ticked=call.one("unseen") == "yes",
                )
                done = "approved" if after.state is State.APPROVED else "approved_one"
            case "reject":
                decisions.reject(id, person, call.one("comment"), notifications)
            case "finish":
                decisions.finish(id, person, notifications, now_ticked=call.one("now") == "yes")
            case "count" | "newer":
                steps: dict[str, Callable[[str, Person], object]] = {
                    "count": self._audiences.count,
                    "newer": self._audiences.count_newer,
                }
                steps[action](id, person)
            case "test":
                self._tests.send(id, person, whole(call.one("sample")))
            case _:
                raise NoSuchRequest(action)
        anchor = "#tests" if action == "test" else ""
        return see_other(call, f"/requests/{shown_id}?done={done}{not_mailed(notifications)}{anchor}")

    def _preview(self, call: Call) -> Html:
        """The previews, faults and audience of a form that is being typed, as JSON. Nothing is saved."""
        person = person_of(call)
        if not person.is_requester:
            raise Forbidden("Only requesters can make a request.")
        # Nothing is counted here: that costs, and a person is typing.
        form = read_form(call.fields)
        return data(self._views.preview(call, form, read_shown(call.fields), call.asked("request")))
