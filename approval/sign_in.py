"""Signing in: a link by mail, used once, and then a session in a cookie.

A link opens a page with a button, because mail scanners open links; the button uses it. Both link and session are a
random secret, signed with the deployment's key (so that a forged one costs no read) and kept hashed in the table (so
that a link works once, and signing out ends the session everywhere).
"""

import hmac
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import Any

import msgspec
from itsdangerous import BadSignature, Signer

from approval.access import Access, LinkData
from approval.people import Person, address_of, person

COOKIE = "__Host-session"
"""With this prefix browsers take it only with Secure, for the whole host, and from the host itself."""
LINK_S = 15 * 60
REVIEW_LINK_S = 24 * 3600
"""Approvers read their mail later than somebody who has just asked for a link."""
SESSION_S = 12 * 3600
LINKS_PER_ADDRESS = 5
LINKS_PER_SOURCE = 30
LIMIT_WINDOW_S = 15 * 60
ANSWER_S = 2.0
"""Whoever asks for a link waits for so long, known or not: longer than the mail may take."""


class Visitor(msgspec.Struct, frozen=True):
    """Who sends this request, as the authorizer found out. `csrf` must come back in every form of his pages."""

    person: Person
    csrf: str

    @property
    def email(self) -> str:
        """His address."""
        return self.person.email


class Authenticator:
    """Links and sessions.

    Args:
        key: the deployment's signing key.
        requesters: who may ask; approvers: who may decide (addresses and domains).
    """

    def __init__(self, access: Access, key: bytes, requesters: tuple[str, ...], approvers: tuple[str, ...]) -> None:
        self._access = access
        self._key = key
        self._links = Signer(key, salt="link", digest_method=sha256)
        self._sessions = Signer(key, salt="session", digest_method=sha256)
        self._requesters = requesters
        self._approvers = approvers

    def person(self, email: str) -> Person:
        """The roles of an address, now."""
        return person(email, self._requesters, self._approvers)

    # -- links --------------------------------------------------------------------------------------------------------

    def asked_for_link(self, typed: str, source: str, now_s: int) -> str | None:
        """The address to send a link to; None if it is unknown or asked too often. The visitor is not told which."""
        email = address_of(typed)
        within = self._access.is_within("source", source, LINKS_PER_SOURCE, LIMIT_WINDOW_S, now_s)
        within = (
            self._access.is_within("address", email or typed[:254], LINKS_PER_ADDRESS, LIMIT_WINDOW_S, now_s) and within
        )
        return email if email and within and self.person(email).is_known else None

    def new_link(self, email: str, next_: str, now_s: int, lifetime_s: int = LINK_S) -> str:
        """The signed secret of a new link, to be mailed and nowhere kept."""
        secret = secrets.token_urlsafe(24)
        self._access.keep_link(secret, LinkData(email, next_), now_s + lifetime_s)
        return self._links.sign(secret).decode()

    def read_link(self, signed: str, now_s: int) -> LinkData | None:
        """What a link stands for, without using it."""
        secret = _unsigned(self._links, signed)
        return self._access.link(secret, now_s) if secret else None

    def use_link(self, signed: str, now_s: int) -> LinkData | None:
        """Use a link; None when it was used before, is over, or is not ours."""
        secret = _unsigned(self._links, signed)
        return self._access.use_link(secret, now_s) if secret else None

    # -- sessions -----------------------------------------------------------------------------------------------------

    def begin_session(self, email: str, now_s: int) -> str:
        """The value of the cookie of a new session."""
        secret = secrets.token_urlsafe(32)
        self._access.keep_session(secret, email, now_s + SESSION_S)
        return self._sessions.sign(secret).decode()

    def visitor(self, headers: Mapping[str, Any], now_s: int) -> Visitor | None:
        """Who sends a request with these headers; None when nobody is signed in, or has no role any more."""
        signed = session_cookie(headers)
        secret = _unsigned(self._sessions, signed)
        email = self._access.session(secret, now_s) if secret else None
        if secret is None or email is None:
            return None
        found = self.person(email)
        return Visitor(found, self._csrf(secret)) if found.is_known else None

    def end_session(self, headers: Mapping[str, Any]) -> None:
        """Sign out."""
        if secret := _unsigned(self._sessions, session_cookie(headers)):
            self._access.end_session(secret)

    def _csrf(self, secret: str) -> str:
        return hmac.new(self._key, b"csrf:" + secret.encode(), sha256).hexdigest()[:40]


class ConstantTime:
    """Makes things take the same time, whatever was done in it.

    A mail takes longer than none, and that would tell who is known. To send it after the answer is no way out: Lambda
    freezes a process that has answered, and another invocation would show itself in how busy the function is.

    Args:
        steady_s: seconds that only grow.
        sleep: waits for so many seconds.
    """

    def __init__(self, steady_s: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._steady_s = steady_s
        self._sleep = sleep

    @contextmanager
    def multiple_of(self, period_s: float) -> Iterator[None]:
        """What is done inside ends at a whole multiple of the period after it began."""
        began_s = self._steady_s()
        try:
            yield
        finally:
            self._sleep(period_s - (self._steady_s() - began_s) % period_s)


def _unsigned(signer: Signer, signed: str) -> str | None:
    try:
        return signer.unsign(signed).decode()
    except (BadSignature, UnicodeError):
        return None


def session_cookie(headers: Mapping[str, Any]) -> str:
    """The session's cookie in an event's headers, or an empty string."""
    for name, value in headers.items():
        if name.lower() == "cookie":
            try:
                morsel = SimpleCookie(value if isinstance(value, str) else "; ".join(value)).get(COOKIE)
            except (CookieError, TypeError):
                return ""
            return morsel.value if morsel else ""
    return ""


def cookie(value: str, max_age_s: int = SESSION_S) -> str:
    """The Set-Cookie header of a session; with 0 seconds it is forgotten."""
    return f"{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; Secure; SameSite=Lax"
