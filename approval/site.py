"""The routes: which page or step belongs to which path. The origin and CSRF token of every POST are checked first."""

import hmac
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from approval import sign_in, web
from approval.files import OtherContent
from approval.form import Malformed, first_of_new, read_form, with_one_more, without
from approval.notifications import Notifications
from approval.pages import STATIC, Pages
from approval.people import Person
from approval.request import Forbidden, Refused, Request, State
from approval.request_service import Incomplete, RequestService
from approval.runs import ControlAction
from approval.schedule_site import ScheduleSite
from approval.schedules import NotThere
from approval.sign_in import AskedTooOften, Authenticator, ConstantTime, Visitor, cookie
from approval.store import Conflict, NoSuchRequest, Store
from approval.test_push import BadDevice, TestPushes, read_device
from approval.views import Views
from approval.web import BadCall, Call, data, own_path, page, quoted, see_other, whole

Html = Response[str]
_PUBLIC = ("/sign-in", "/link", "/static/")
"""Paths for visitors who are not signed in."""
_IMMUTABLE = "public, max-age=31536000, immutable"


class _NotSignedIn(Exception):
    """A page was requested by a visitor who is not signed in."""

    def __init__(self, call: Call) -> None:
        super().__init__("not signed in")
        self.call = call


def _not_mailed(notifications: Notifications) -> str:
    """For the address of the page that follows: SES's code for the first mail that was not sent."""
    return f"&unsent={quoted(notifications.unsent[0].code)}" if notifications.unsent else ""


class Site:
    """Answers the events of API Gateway.

    Args:
        notifications: makes what sends the mails of one call.
        now_s: the time in seconds since the epoch.
        log: logs a step with fields. None of them holds a token or a secret.
    """

    def __init__(
        self,
        service: RequestService,
        tests: TestPushes,
        views: Views,
        authenticator: Authenticator,
        pages: Pages,
        notifications: Callable[[Call], Notifications],
        now_s: Callable[[], int],
        log: Callable[..., None],
        constant_time: ConstantTime,
        schedules: ScheduleSite,
        store: Store,
    ) -> None:
        self._service = service
        self._tests = tests
        self._views = views
        self._authenticator = authenticator
        self._pages = pages
        self._notifications = notifications
        self._now_s = now_s
        self._log = log
        self._constant_time = constant_time
        self._schedules = schedules
        self._store = store
        self._resolver = self._routes()

    def answer(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Answer one REST proxy event."""
        call: Call | None = None
        try:
            call = self._read(event)
            method = "GET" if call.method == "HEAD" else call.method  # the resolver has no routes for HEAD
            self._resolver.append_context(call=call)  # type: ignore[no-untyped-call]
            answer: dict[str, Any] = self._resolver.resolve({**event, "path": call.path, "httpMethod": method}, context)
        except _NotSignedIn as error:
            answer = _redirected_to_sign_in(error.call)
        except BadCall as error:
            answer = self._as_answer(error.status, str(error), call or self._bare(event))
        headers = answer.setdefault("multiValueHeaders", {})
        # Last, so that every answer has them, whatever made it.
        for name, value in web.HEADERS.items():
            headers.setdefault(name, [value])
        return answer

    def _read(self, event: Mapping[str, Any]) -> Call:
        """The call, after the checks that every route needs: method, sign-in, origin, CSRF token."""
        call = self._known(web.read_call(event), event)
        if call.method not in ("GET", "HEAD", "POST"):
            raise BadCall(HTTPStatus.METHOD_NOT_ALLOWED, "This cannot be done here.")
        is_public = call.path.startswith(_PUBLIC)
        if not is_public and (call.visitor is None or not call.visitor.person.is_known):
            # A page can be shown after signing in. A posted form cannot: its fields would be lost on the way.
            if call.method != "POST":
                raise _NotSignedIn(call)
            raise BadCall(HTTPStatus.UNAUTHORIZED, "You are not signed in.")
        if call.method == "POST":
            web.check_origin(call)
            if not is_public and not _has_token(call):
                text = "Nothing was changed: this page is from before you signed in. Load it again, then decide."
                raise BadCall(HTTPStatus.FORBIDDEN, text)
        return call

    def _known(self, call: Call, event: Mapping[str, Any]) -> Call:
        """The call with its visitor, where the authorizer names one."""
        known = event["requestContext"].get("authorizer") or {}
        if not (email := known.get("email")):
            return call
        visitor = Visitor(self._authenticator.person(email), str(known.get("csrf", "")))
        return msgspec.structs.replace(call, visitor=visitor)

    def _bare(self, event: Mapping[str, Any]) -> Call:
        """The call without its body, which was refused: enough for a page that says so."""
        return self._known(web.read_call({**event, "httpMethod": "GET"}), event)

    def _as_answer(self, status: int, text: str, call: Call) -> dict[str, Any]:
        html = self._views.message(call, "This did not work", text, _page_of(call.path) if call.visitor else "")
        return {
            "statusCode": int(status),
            "multiValueHeaders": {"Content-Type": [web.HTML]},
            "body": html,
            "isBase64Encoded": False,
        }

    # -- routes -------------------------------------------------------------------------------------------------------

    def _routes(self) -> APIGatewayRestResolver:
        app = APIGatewayRestResolver()

        def call() -> Call:
            return app.context["call"]  # type: ignore[no-any-return]

        def route(method: str, path: str, answer: Callable[..., Html]) -> None:
            def handle(**parts: str) -> Html:
                return self._guarded(call(), answer, parts)

            app.route(path, method=method)(handle)

        get, post = "GET", "POST"
        route(get, "/static/<name>", self._static)
        route(get, "/sign-in", lambda c: page(self._views.sign_in(c, own_path(c.asked("next"), c.prefix))))
        route(post, "/sign-in", self._ask_for_link)
        route(get, "/link", self._show_link)
        route(post, "/link", self._use_link)
        route(post, "/sign-out", self._sign_out)
        route(get, "/", lambda c: see_other(c, "/requests"))
        route(get, "/requests", lambda c: page(self._views.requests(c)))
        route(post, "/requests", lambda c: see_other(c, f"/requests/{self._service.create(_person(c)).id}"))
        route(get, "/requests/<id>", self._request)
        route(post, "/requests/<id>", self._edit)
        route(get, "/requests/<id>/status", lambda c, **at: page(self._views.status(c, at["id"])))
        route(get, "/requests/<id>/left-out", lambda c, **at: page(self._views.left_out(c, at["id"], _person(c))))
        route(get, "/requests/<id>/<action>", lambda c, **at: see_other(c, f"/requests/{at['id']}"))
        route(post, "/requests/<id>/<action>", self._act)
        route(post, "/preview", self._preview)
        route(get, "/files", self._files)
        for method, path, answer in self._schedules.routes():
            route(method, path, answer)
        route(get, "/devices", lambda c: page(self._views.devices(c)))
        route(post, "/devices", self._add_device)
        route(post, "/devices/<id>/remove", self._remove_device)
        app.not_found(lambda _: self._nothing_here(call()))
        return app

    def _guarded(self, call: Call, answer: Callable[..., Html], parts: dict[str, str]) -> Html:
        """The route's answer, or the page of the exception that it raises."""
        try:
            return answer(call, **parts)
        except (NoSuchRequest, NotThere):
            return self._nothing_here(call)
        except Malformed as error:
            return page(self._views.message(call, "This form could not be read", str(error)), HTTPStatus.BAD_REQUEST)
        except Refused as error:
            status = HTTPStatus.FORBIDDEN if isinstance(error, Forbidden) else HTTPStatus.CONFLICT
            # Mostly another person's step was faster: the request is shown as it is now, with the reason.
            if "id" in parts and not call.path.startswith("/devices"):
                return page(self._views.request(call, parts["id"], notice=str(error)), status)
            return page(self._views.message(call, "This did not work", str(error)), status)
        except Conflict:
            text = "Another person was changing this at the same moment. Try again."
            return page(self._views.message(call, "This did not work", text), HTTPStatus.CONFLICT)
        except OtherContent:
            text = "Another file has the name of this request's file. Nothing was overwritten. Ask an engineer to look."
            return page(self._views.message(call, "This did not work", text), HTTPStatus.CONFLICT)

    def _nothing_here(self, call: Call) -> Html:
        return page(
            self._views.message(call, "Nothing here", "There is no such page, or it is gone."), HTTPStatus.NOT_FOUND
        )

    def _static(self, call: Call, name: str) -> Html:
        if name not in STATIC:
            return self._nothing_here(call)
        return Response(200, STATIC[name], self._pages.files[name], headers={"Cache-Control": _IMMUTABLE})

    # -- signing in ---------------------------------------------------------------------------------------------------

    def _ask_for_link(self, call: Call) -> Html:
        """Send a link to a known address. The answer, and the time it takes, are the same for an unknown one."""
        with self._constant_time.multiple_of(sign_in.ANSWER_S):
            next_ = own_path(call.one("next"), call.prefix)
            try:
                email = self._authenticator.asked_for_link(call.one("email"), call.source, self._now_s())
            except AskedTooOften:
                return page(self._views.sent(call, too_often=True), HTTPStatus.TOO_MANY_REQUESTS)
            if email is not None:
                notifications = self._notifications(call)
                notifications.link(email, next_)
                if notifications.unsent:
                    self._log("link_unsent", code=notifications.unsent[0].code)
            return page(self._views.sent(call))

    def _show_link(self, call: Call) -> Html:
        """A page with a button that uses the link: the link alone must not, because mail scanners open links."""
        signed = call.asked("t")
        next_ = own_path(call.asked("next"), call.prefix)
        link = self._authenticator.read_link(signed, self._now_s())
        here = self._authenticator.visitor(call.headers, self._now_s())
        if link is None:
            # A second click on a link that has signed this browser in leads on to the page.
            return see_other(call, next_) if here else self._used_up(call, next_)
        other = here.email if here is not None and here.email != link.email else ""
        return page(self._views.link(call, signed, link, next_, other), Referrer_Policy="no-referrer")

    def _use_link(self, call: Call) -> Html:
        signed = call.one("t")
        link = self._authenticator.read_link(signed, self._now_s())
        here = self._authenticator.visitor(call.headers, self._now_s())
        next_ = own_path(call.one("next"), call.prefix)
        # Signed in as another person: a forwarded link must not change who acts on the pages without a question.
        if link is not None and here is not None and here.email != link.email:
            if call.one("instead") != "yes":
                return page(self._views.link(call, signed, link, next_, here.email), HTTPStatus.FORBIDDEN)
            self._authenticator.end_session(call.headers)
        used = self._authenticator.use_link(signed, self._now_s())
        # The person was known when the link was mailed, but may have been taken off the lists since.
        if used is None or not self._authenticator.may_sign_in(used.email):
            return self._used_up(call, next_)
        self._log("signed_in", by=used.email)
        # Mails of schedules are sent without a call: they need to know where these pages are.
        self._store.keep_base_url(call.base_url)
        value = self._authenticator.begin_session(used.email, self._now_s())
        return see_other(call, own_path(used.next), Set_Cookie=cookie(value))

    def _used_up(self, call: Call, next_: str) -> Html:
        text = "This link was used already, or its time is over. Ask for a new one here: it leads to the same page."
        return page(self._views.sign_in(call, next_, notice=text), HTTPStatus.GONE)

    def _sign_out(self, call: Call) -> Html:
        self._authenticator.end_session(call.headers)
        return see_other(call, "/sign-in", Set_Cookie=cookie("", 0))

    # -- requests -----------------------------------------------------------------------------------------------------

    def _request(self, call: Call, id: str) -> Html:  # noqa: A002 - the name in the path
        return page(self._views.request(call, id))

    def _edit(self, call: Call, id: str) -> Html:  # noqa: A002
        """Save the draft, then do what the button says, such as `submit`, `add_language` or `remove:variants.1`."""
        button, _, block = call.one("do").partition(":")
        if button == "autosave":
            return self._autosave(call, id)
        form = without(read_form(call.fields), block) if button == "remove" else read_form(call.fields)
        saved = self._service.save(id, _person(call), form, whole(call.one("version")))
        if button == "submit":
            return self._submit(call, saved)
        if button == "count":
            return self._count(call, saved, block)
        if button == "browse":
            folder, _, number = block.partition("|")
            return page(self._views.browsed(call, saved, folder, call.one("picker_words"), whole(number) or 0))
        if button in ("add_language", "add_variant", "add_source", "add_filter"):
            # Shown and not saved: an empty block is dropped when the form is read.
            more = with_one_more(form, button)
            return page(self._views.edit(call, saved, more, focus=first_of_new(form, more)))
        group = {"sources": "audience", "filters": "audience"}.get(block.partition(".")[0], block.partition(".")[0])
        anchor = f"#{group}" if button == "remove" else "#audience" if button == "choose" else ""
        return see_other(call, f"/requests/{id}?done=saved{anchor}")

    def _files(self, call: Call) -> Html:
        """Files to choose from, for the page's script."""
        if not _person(call).is_requester:
            raise Forbidden("Only requesters choose files.")
        number = whole(call.asked("page")) or 0
        chosen = tuple(call.query.get("chosen", ()))
        return page(self._views.files(call, call.asked("folder"), call.asked("q"), number, chosen))

    def _autosave(self, call: Call, id_: str) -> Html:
        """Save what is being typed, for the page's script: the draft's new version, or why it is not saved."""
        try:
            form, version = read_form(call.fields), whole(call.one("version"))
            saved = self._service.save(id_, _person(call), form, version, by_itself=True)
        except (Refused, Malformed) as error:
            return data({"refused": str(error)})
        return data({"version": saved.version})

    def _count(self, call: Call, saved: Request, confirmed: str) -> Html:
        """Have the audience of a draft made and counted, or show first what that costs."""
        try:
            if costs := self._service.count(saved.id, _person(call), confirmed):
                return page(self._views.edit(call, saved, saved.form, costs=costs))
        except Incomplete as error:
            return page(self._views.edit(call, saved, saved.form, error.faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        return see_other(call, f"/requests/{saved.id}?done=count#audience")

    def _submit(self, call: Call, saved: Request) -> Html:
        notifications = self._notifications(call)
        try:
            self._service.submit(saved.id, _person(call), notifications)
        except Incomplete as error:
            return page(self._views.edit(call, saved, saved.form, error.faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        done = "unsent" if notifications.unsent or not notifications.sent else "submitted"
        return see_other(call, f"/requests/{saved.id}?done={done}{_not_mailed(notifications)}")

    def _act(self, call: Call, id: str, action: str) -> Html:  # noqa: A002
        person, service = _person(call), self._service
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
                after = service.approve(
                    id,
                    person,
                    call.one("content_hash"),
                    repeats_ticked=call.one("repeats") == "yes",
                    notifications=notifications,
                    now_ticked=call.one("now") == "yes",
                )
                done = "approved" if after.state is State.APPROVED else "approved_one"
            case "reject":
                service.reject(id, person, call.one("comment"), notifications)
            case "finish" | "count":
                (service.finish if action == "finish" else service.count)(id, person)
            case "test":
                self._tests.send(id, person, whole(call.one("sample")))
            case "pause" | "resume" | "cancel":
                by_function = service.control(id, person, ControlAction(action))
                done = action if by_function else f"{action}_by_ledger"
            case _:
                return self._nothing_here(call)
        anchor = "#tests" if action == "test" else ""
        return see_other(call, f"/requests/{shown_id}?done={done}{_not_mailed(notifications)}{anchor}")

    def _preview(self, call: Call) -> Html:
        """The previews, faults and audience of a form that is being typed, as JSON. Nothing is saved."""
        person = _person(call)
        if not person.is_requester:
            raise Forbidden("Only requesters can make a request.")
        # Nothing is counted here: that costs, and a person is typing.
        form = read_form(call.fields)
        return data(self._views.preview(call, form, whole(call.one("sample")) or 0, call.asked("request")))

    # -- test devices -------------------------------------------------------------------------------------------------

    def _add_device(self, call: Call) -> Html:
        try:
            device = read_device(*map(call.one, ("label", "platform", "token", "environment", "gateway")))
        except BadDevice as error:
            return page(self._views.devices(call, error.faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        self._tests.add_device(_person(call), device)
        return see_other(call, "/devices?done=device")

    def _remove_device(self, call: Call, id: str) -> Html:  # noqa: A002
        self._tests.remove_device(_person(call), id)
        return see_other(call, "/devices?done=device_removed")


def _redirected_to_sign_in(call: Call) -> dict[str, Any]:
    """A redirect to sign in, and from there back to the page that was asked for."""
    location = f"{call.prefix}/sign-in?next={web.quoted(own_path(call.path))}"
    return {"statusCode": 303, "multiValueHeaders": {"Location": [location]}, "body": "", "isBase64Encoded": False}


def _has_token(call: Call) -> bool:
    """Whether the form has the CSRF token of the visitor's session."""
    expected = call.visitor.csrf if call.visitor else ""
    # Without the first condition an empty field would match a call without a visitor.
    return bool(expected) and hmac.compare_digest(expected.encode(), call.one("csrf").encode())


def _person(call: Call) -> Person:
    assert call.visitor is not None  # `_read` has refused every other call
    return call.visitor.person


def _page_of(path: str) -> str:
    """The page with the form that posts to this path."""
    parts = path.split("/")
    if parts[1] in ("requests", "schedules"):
        return "/".join(parts[:3])
    return f"/{parts[1]}" if parts[1] in ("devices", "hold") else web.START
