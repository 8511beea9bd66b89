"""Signing in and out: a link by mail, used once, begins a session."""

from collections.abc import Callable
from http import HTTPStatus

from approval import sign_in
from approval.notifications import Notifications
from approval.sign_in import AskedTooOften, Authenticator, ConstantTime, cookie
from approval.store import Store
from approval.views import Views
from approval.web import Call, Html, Route, own_path, page, see_other


class SignInSite:
    """Pages and steps of signing in.

    Args:
        notifications: makes what sends the mails of one call.
        now_s: the time in seconds since the epoch.
        log: logs a step with fields. None of them holds a token or a secret.
    """

    def __init__(
        self,
        views: Views,
        authenticator: Authenticator,
        store: Store,
        notifications: Callable[[Call], Notifications],
        now_s: Callable[[], int],
        log: Callable[..., None],
        constant_time: ConstantTime,
    ) -> None:
        self._views = views
        self._authenticator = authenticator
        self._store = store
        self._notifications = notifications
        self._now_s = now_s
        self._log = log
        self._constant_time = constant_time

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each page and step."""
        return (
            ("GET", "/sign-in", lambda c: page(self._views.sign_in(c, own_path(c.asked("next"), c.prefix)))),
            ("POST", "/sign-in", self._ask_for_link),
            ("GET", "/link", self._show_link),
            ("POST", "/link", self._use_link),
            ("POST", "/sign-out", self._sign_out),
        )

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
