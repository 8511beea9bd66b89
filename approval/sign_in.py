"""Signing in: a link by mail that works once, and then a session in a cookie.

A link opens a page with a button, because mail scanners open links; the button uses it. Link and session are random
secrets. Each is signed with the deployment's key, so that a forged one costs no read of the table, and its hash is kept
in the table, so that a link works once and signing out ends the session everywhere.
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
from approval.people import MAX_ADDRESS_CHARS, Person, address_of, addresses, may_sign_in, person
from notifier.model.mailbox import mailbox_of

COOKIE = "__Host-session"
"""With this prefix browsers accept it only with Secure, for the whole host, and from the host itself."""
LINK_S = 15 * 60
REVIEW_LINK_S = 24 * 3600
"""Approvers read their mail later than a person who has just asked for a link."""
SESSION_S = 12 * 3600
LINKS_PER_ADDRESS = 5
LINKS_PER_SOURCE = 30
LIMIT_WINDOW_S = 15 * 60
ANSWER_S = 2.0
"""How long an answer to a request for a link takes, to a known address or not: longer than a mail may take."""
SECRET_BYTES = 24
SESSION_BYTES = 32
CSRF_CHARS = 40


class AskedTooOften(Exception):
    """More links were asked for than are sent, for this address or from this source. Says nothing of the address."""


class Visitor(msgspec.Struct, frozen=True):
    """The person who sends a request, as the authorizer established. `csrf` must come back in each of their forms."""

    person: Person
    csrf: str

    @property
    def email(self) -> str:
        """Their address."""
        return self.person.email


class Authenticator:
    """Issues and checks links and sessions.

    Args:
        key: the deployment's signing key.
        requesters: who may ask; approvers: who may decide (addresses and domains).
        officers: who may find and erase people (addresses).
    """

    def __init__(
        self,
        access: Access,
        key: bytes,
        requesters: tuple[str, ...],
        approvers: tuple[str, ...],
        officers: tuple[str, ...] = (),
    ) -> None:
        self._access = access
        self._key = key
        self._links = Signer(key, salt="link", digest_method=sha256)
        self._sessions = Signer(key, salt="session", digest_method=sha256)
        self._requesters = requesters
        self._approvers = approvers
        self._officers = addresses(officers)

    def person(self, email: str) -> Person:
        """The roles of an address, now."""
        return person(email, self._requesters, self._approvers, self._officers)

    def may_sign_in(self, email: str) -> bool:
        """Whether a new session may begin for the address: one admitted by its domain must have no `+tag`.

        Stricter than `person`, so that a session from before this rule goes on until it ends by itself.
        """
        return may_sign_in(email, (*self._requesters, *self._approvers, *self._officers))

    # -- links --------------------------------------------------------------------------------------------------------

    def asked_for_link(self, typed: str, source: str, now_s: int) -> str | None:
        """The address to send a link to; None if it is unknown, of which the visitor sees no difference.

        Raises:
            AskedTooOften: for a known address as for an unknown one.
        """
        email = address_of(typed)
        within = self._access.is_within("source", source, LINKS_PER_SOURCE, LIMIT_WINDOW_S, now_s)
        # Both limits are counted at every request, whatever the first one says: for an unknown address the same writes
        # are made as for a known one.
        within = (
            self._access.is_within(
                "address", mailbox_of(email or typed[:MAX_ADDRESS_CHARS]), LINKS_PER_ADDRESS, LIMIT_WINDOW_S, now_s
            )
            and within
        )
        if not within:
            raise AskedTooOften
        return email if email and self.may_sign_in(email) else None

    def new_link(self, email: str, next_: str, now_s: int, lifetime_s: int = LINK_S) -> str:
        """The signed secret of a new link. It is mailed; only its hash is kept."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._access.keep_link(secret, LinkData(email, next_), now_s + lifetime_s)
        return self._links.sign(secret).decode()

    def read_link(self, signed: str, now_s: int) -> LinkData | None:
        """What a link is for, without using it."""
        secret = _unsigned(self._links, signed)
        return self._access.link(secret, now_s) if secret else None

    def use_link(self, signed: str, now_s: int) -> LinkData | None:
        """Use a link; None when it was used before, has expired, or was not signed by us."""
        secret = _unsigned(self._links, signed)
        return self._access.use_link(secret, now_s) if secret else None

    # -- sessions -----------------------------------------------------------------------------------------------------

    def begin_session(self, email: str, now_s: int) -> str:
        """Begin a session; returns the value of its cookie."""
        secret = secrets.token_urlsafe(SESSION_BYTES)
        self._access.keep_session(secret, email, now_s + SESSION_S)
        return self._sessions.sign(secret).decode()

    def visitor(self, headers: Mapping[str, Any], now_s: int) -> Visitor | None:
        """Who sends a request with these headers; None without a session, or with no role any more."""
        signed = session_cookie(headers)
        secret = _unsigned(self._sessions, signed)
        email = self._access.session(secret, now_s) if secret else None
        if secret is None or email is None:
            return None
        # Roles are read at each request: a person removed from the lists loses access with the next deployment, not
        # when the session ends.
        found = self.person(email)
        return Visitor(found, self._csrf(secret)) if found.is_known else None

    def end_session(self, headers: Mapping[str, Any]) -> None:
        """Sign out."""
        if secret := _unsigned(self._sessions, session_cookie(headers)):
            self._access.end_session(secret)

    def _csrf(self, secret: str) -> str:
        # Derived from the session's secret: nothing to store, and useless with any other session. The prefix keeps it
        # apart from the signatures that are made with the same key.
        return hmac.new(self._key, b"csrf:" + secret.encode(), sha256).hexdigest()[:CSRF_CHARS]


class ConstantTime:
    """Makes an answer take the same time, whatever was done for it.

    Sending a mail takes longer than sending none, which would show whether an address is known. The mail cannot be sent
    after the answer: Lambda freezes a process that has answered, and a second invocation for it would be measurable as
    load on the function.

    Args:
        steady_s: a monotonic clock, in seconds.
        sleep: waits for so many seconds.
    """

    def __init__(self, steady_s: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._steady_s = steady_s
        self._sleep = sleep

    @contextmanager
    def multiple_of(self, period_s: float) -> Iterator[None]:
        """End what is done inside at a whole multiple of the period after it began."""
        began_s = self._steady_s()
        try:
            yield
        finally:
            # Also after an exception. A multiple, because work longer than one period must not show how much longer.
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
                # API Gateway gives one header as a text, and several of one name as a list.
                morsel = SimpleCookie(value if isinstance(value, str) else "; ".join(value)).get(COOKIE)
            except (CookieError, TypeError):
                return ""
            return morsel.value if morsel else ""
    return ""


def cookie(value: str, max_age_s: int = SESSION_S) -> str:
    """The Set-Cookie header of a session; with 0 seconds it is forgotten."""
    return f"{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; Secure; SameSite=Lax"
