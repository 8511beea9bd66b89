"""The routes: which page or step belongs to which path. The origin and CSRF token of every POST are checked first."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from approval import web
from approval.csrf import is_token
from approval.files import OtherContent
from approval.form import Malformed
from approval.functions import NoAnswer
from approval.officers import NoOfficers
from approval.pages import STATIC, Pages
from approval.request import Forbidden, Refused
from approval.schedules import NotThere
from approval.sign_in import Authenticator, Visitor
from approval.store import Conflict, NoSuchRequest
from approval.views import Views
from approval.web import BadCall, Call, Html, Route, own_path, page, see_other

_PUBLIC = ("/sign-in", "/link", "/static/")
"""Paths for visitors who are not signed in."""
_OFFICERS = (*_PUBLIC, "/people", "/sign-out")
"""Paths for privacy officers without another role: requests show users, schedules and the hold steer what is sent."""
_IMMUTABLE = "public, max-age=31536000, immutable"


class _NotSignedIn(Exception):
    """A page was requested by a visitor who is not signed in."""

    def __init__(self, call: Call) -> None:
        super().__init__("not signed in")
        self.call = call


class Site:
    """Answers the events of API Gateway.

    Args:
        routes: of all pages but the static files.
    """

    def __init__(
        self,
        views: Views,
        authenticator: Authenticator,
        pages: Pages,
        routes: Sequence[Route],
    ) -> None:
        self._views = views
        self._authenticator = authenticator
        self._pages = pages
        self._resolver = self._resolve(routes)

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
        # Sign-in leads to the start, which sends officers on to their page.
        is_start = call.path in ("/", web.START) and call.method != "POST"
        is_elsewhere = not is_start and not call.path.startswith(_OFFICERS)
        if is_elsewhere and call.visitor and call.visitor.person.is_officer_alone:
            raise BadCall(HTTPStatus.FORBIDDEN, "This is for those who ask for pushes or approve them.")
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

    def _resolve(self, routes: Sequence[Route]) -> APIGatewayRestResolver:
        app = APIGatewayRestResolver()

        def call() -> Call:
            return app.context["call"]  # type: ignore[no-any-return]

        def route(method: str, path: str, answer: Callable[..., Html]) -> None:
            def handle(**parts: str) -> Html:
                return self._guarded(call(), answer, parts)

            app.route(path, method=method)(handle)

        get = "GET"
        route(get, "/static/<name>", self._static)
        route(get, "/", lambda c: see_other(c, "/requests"))
        for method, path, answer in routes:
            route(method, path, answer)
        app.not_found(lambda _: self._nothing_here(call()))
        return app

    def _guarded(self, call: Call, answer: Callable[..., Html], parts: dict[str, str]) -> Html:
        """The route's answer, or the page of the exception that it raises."""
        try:
            return answer(call, **parts)
        except (NoSuchRequest, NotThere, NoOfficers):
            return self._nothing_here(call)
        except Malformed as error:
            return page(self._views.message(call, "This form could not be read", str(error)), HTTPStatus.BAD_REQUEST)
        except Refused as error:
            status = HTTPStatus.FORBIDDEN if isinstance(error, Forbidden) else HTTPStatus.CONFLICT
            # Mostly another person's step was faster: the request is shown as it is now, with the reason. Not where a
            # function has not answered: that has taken nearly all the time that a call may take.
            if "id" in parts and not call.path.startswith("/devices") and not isinstance(error, NoAnswer):
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
        headers: dict[str, str | list[str]] = {"Cache-Control": _IMMUTABLE, **web.VARY}
        return Response(200, STATIC[name], self._pages.files[name], headers=headers, compress=True)


def _redirected_to_sign_in(call: Call) -> dict[str, Any]:
    """A redirect to sign in, and from there back to the page that was asked for."""
    location = f"{call.prefix}/sign-in?next={web.quoted(own_path(call.path))}"
    return {"statusCode": 303, "multiValueHeaders": {"Location": [location]}, "body": "", "isBase64Encoded": False}


def _has_token(call: Call) -> bool:
    """Whether the form has the CSRF token of the visitor's session."""
    return is_token(call.one("csrf"), call.visitor.csrf if call.visitor else "")


def _page_of(path: str) -> str:
    """The page with the form that posts to this path."""
    parts = path.split("/")
    if parts[1] in ("templates", "people"):
        return f"/{parts[1]}"
    if parts[1] in ("requests", "schedules"):
        return "/".join(parts[:3])
    return f"/{parts[1]}" if parts[1] in ("devices", "hold") else web.START
