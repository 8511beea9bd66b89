"""HTTP in the form of API Gateway's REST proxy: the call, the answer, and the headers of every answer."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec
from aws_lambda_powertools.event_handler import Response

from approval.form import MAX_DIGITS, Fields
from approval.people import Person
from approval.sign_in import Visitor

MAX_BODY_BYTES = 200_000
MAX_DRAFT_BYTES = 1_000_000
"""Of the form of a draft, which is shown again where it is too long to be kept (`form_size`). A browser sends up to
nine bytes for a letter."""
MAX_FIELDS = 1_500
MAX_PATH_CHARS = 300
START = "/requests"
"""The page after signing in, if no other was asked for."""
_LOCAL = ("localhost", "127.0.0.1")

Html = Response[str]
Route = tuple[str, str, Callable[..., Html]]
"""Method, path and answer."""
VARY = {"Vary": "Accept-Encoding"}
"""With or without gzip, as the browser takes it: a cache between must not mix the two."""
HTML = "text/html; charset=utf-8"
JSON = "application/json"
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: https:; form-action 'self'; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


_TOO_LARGE = (
    "That is more than this form can hold, and nothing was saved. Go back to what you typed, and make the longest text "
    "shorter."
)


class BadCall(Exception):
    """The call is refused before its route is looked at."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Call(msgspec.Struct, frozen=True):
    """One request.

    `path` is the route, without the stage or a custom domain's base path; `prefix` is the part removed. `base_url` is
    the app's address in a browser. `visitor` comes from the authorizer; None on the pages before sign-in.
    """

    method: str
    path: str
    prefix: str
    base_url: str
    headers: Mapping[str, str]
    query: Fields
    fields: Fields
    source: str
    visitor: Visitor | None = None

    def one(self, name: str) -> str:
        """A posted field, or an empty string."""
        return next(iter(self.fields.get(name, ())), "")

    def asked(self, name: str) -> str:
        """A field of the query, or an empty string."""
        return next(iter(self.query.get(name, ())), "")


def read_call(event: Mapping[str, Any]) -> Call:
    """The call in a REST proxy event, without its visitor.

    Raises:
        BadCall: the body is too large, or not a form.
    """
    context = event["requestContext"]
    route, prefix = _route(event, context)
    host = str(context.get("domainName", ""))
    scheme = "http" if host.partition(":")[0] in _LOCAL else "https"
    headers = {str(k).lower(): str(v) for k, v in (event.get("headers") or {}).items()}
    query = event.get("multiValueQueryStringParameters") or {}
    return Call(
        method=event["httpMethod"],
        path=route,
        prefix=prefix,
        base_url=f"{scheme}://{host}{prefix}",
        headers=headers,
        query={name: list(values) for name, values in query.items()},
        fields=_fields(event, headers, route) if event["httpMethod"] == "POST" else {},
        source=str((context.get("identity") or {}).get("sourceIp", "")),
    )


def _route(event: Mapping[str, Any], context: Mapping[str, Any]) -> tuple[str, str]:
    """The route, and the path's part before it: the stage, or a custom domain's base path."""
    # `requestContext.path` is what the browser asked for; `path` lacks the stage, but has a base path. Neither is the
    # route alone, which is put together from the template's resource and its parameters.
    whole = str(context.get("path") or event["path"])
    given = event.get("pathParameters") or {}
    resource = str(event.get("resource") or "")
    known = "{" not in resource or given
    route = (
        re.sub(r"\{(\w+)\+?\}", lambda m: str(given.get(m[1], "")), resource) if resource and known else event["path"]
    )
    if route == "/":
        return route, whole.rstrip("/")
    return route, whole[: -len(route)] if whole.endswith(route) else ""


_DRAFT = re.compile(r"/requests/[^/]+|/preview")


def _fields(event: Mapping[str, Any], headers: Mapping[str, str], route: str) -> Fields:
    body = event.get("body") or ""
    is_base64 = bool(event.get("isBase64Encoded"))
    # API Gateway sends it as base64, four characters for three bytes (BinaryMediaTypes in template.yaml).
    most = MAX_DRAFT_BYTES if _DRAFT.fullmatch(route) else MAX_BODY_BYTES
    if (len(body) * 3 // 4 if is_base64 else len(body)) > most:
        raise BadCall(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BadCall(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only forms are understood here.")
    try:
        raw = base64.b64decode(body, validate=True) if is_base64 else body.encode()
        text = raw.decode("ascii")
        return parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except (ValueError, binascii.Error):
        raise BadCall(HTTPStatus.BAD_REQUEST, "This form could not be read.") from None


def person_of(call: Call) -> Person:
    """Who is signed in. The site has refused every other call."""
    assert call.visitor is not None
    return call.visitor.person


def check_origin(call: Call) -> None:
    """Refuse a POST from another site, as far as the browser says where it comes from.

    Raises:
        BadCall: from another site.
    """
    # A browser that sends neither header is let through: the CSRF token is checked after this.
    site = call.headers.get("sec-fetch-site", "same-origin")
    origin = call.headers.get("origin", "null")
    ours = call.base_url.removesuffix(call.prefix)
    if site not in ("same-origin", "none") or origin not in ("null", ours):
        raise BadCall(HTTPStatus.FORBIDDEN, "This form was sent from another site.")


def page(html: str, status: int = HTTPStatus.OK, *, compress: bool = False, **headers: str) -> "Response[str]":
    """An HTML answer. Names of headers with _ for -.

    Args:
        compress: only where no word of the call's address is in the page. Its length tells whoever can make a person's
            browser ask for addresses, and can watch the network, whether a word is in the page already.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(int(status), HTML, html, headers=dict[str, str | list[str]](named | VARY), compress=compress)


def data(value: object) -> "Response[str]":
    """A JSON answer, for the page's script."""
    return Response(int(HTTPStatus.OK), JSON, msgspec.json.encode(value).decode())


def see_other(call: Call, path: str, **headers: str) -> "Response[str]":
    """A redirect to another page of ours; `path` begins with a slash."""
    named = {"Location": call.prefix + path} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(int(HTTPStatus.SEE_OTHER), HTML, "", headers=dict[str, str | list[str]](named))


def own_path(text: str, prefix: str = "") -> str:
    """A path of this app that sign-in may redirect to; the list of requests for anything else."""
    # `//host`, a backslash or a control character would make a browser leave this site.
    path = text.removeprefix(prefix) if prefix and text.startswith(f"{prefix}/") else text
    plain = path.isascii() and path.isprintable() and len(path) < MAX_PATH_CHARS and not set(path) & set("\\<>\"' ")
    return path if plain and path.startswith("/") and not path.startswith("//") and ".." not in path else START


def whole(text: str) -> int | None:
    """A whole number in a field; None for anything else, and for one that no field of ours can have."""
    return int(text) if text.isdecimal() and len(text) < MAX_DIGITS else None


def quoted(text: str) -> str:
    """A text as part of a query."""
    return quote(text, safe="")
