"""The mails: sign-in links, reviews to approvers, decisions to requesters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from approval.announcements import Announcement
from approval.arm_names import shown_names
from approval.audience import Forecast
from approval.decision_card import DecisionCard
from approval.mail import Mail, MailFailure, SendMail, failure_of
from approval.pages import Pages, run_status, utc
from approval.people import addresses, mail_recipients, named
from approval.preview import previews
from approval.remarks import Comment
from approval.request import Limits, Request, State, needed_approvals
from approval.request_status import arms_of
from approval.runs import RunSeen
from approval.sign_in import LINK_S, REVIEW_LINK_S, Authenticator
from approval.web import START, quoted
from approval.webhook import NotPosted
from notifier.model.mailbox import is_same_person, mailbox_of

CHANNEL = "the channel"
"""In place of a mail's domain, where a message was not posted."""
MAX_PREVIEWS = 6
"""Texts in a mail."""


def not_mailed(notifications: "Notifications") -> str:
    """For the address of the page that follows: the code of the first mail or message that was not sent."""
    failures = (*notifications.unsent, *notifications.unannounced)
    return f"&unsent={quoted(failures[0].code)}" if failures else ""


class Notifications:
    """The mails of one call. `unsent` collects the mails that SES did not take.

    Args:
        send_link: sends the mails with sign-in links.
        base_url: where the app is.
        on_failure: takes each mail that SES did not take, for the log and the metric.
        post: posts to the channel, where the deployment has one; `unannounced` collects what it did not take.
        forecast: the forecast of a request's audience, or None while it is counted.
        card: what is decided on, by that forecast.
    """

    def __init__(
        self,
        send: SendMail,
        send_link: SendMail,
        pages: Pages,
        authenticator: Authenticator,
        base_url: str,
        now_s: int,
        approvers: tuple[str, ...],
        limits: Limits,
        forecast: Callable[[Request], Forecast | None],
        card: Callable[[Request, Forecast | None], DecisionCard],
        on_failure: Callable[[MailFailure], object],
        post: Callable[[Announcement], None] | None = None,
    ) -> None:
        self._send_mail = send
        self._send_link = send_link
        self._pages = pages
        self._authenticator = authenticator
        self._base_url = base_url
        self._now_s = now_s
        self._approvers = approvers
        self._limits = limits
        self._figures = forecast
        self._card = card
        self._on_failure = on_failure
        self._post = post
        self.unsent: list[MailFailure] = []
        self.unannounced: list[MailFailure] = []
        self.sent: list[str] = []

    @property
    def base_url(self) -> str:
        """Where the app is."""
        return self._base_url

    @property
    def has_channel(self) -> bool:
        """Whether messages are posted to a channel, too."""
        return self._post is not None

    def announce(self, announcement: Announcement) -> None:
        """Post a message to the channel, where there is one. As of a mail, its failure does not undo a step."""
        if self._post is None:
            return
        try:
            self._post(announcement)
        except NotPosted as error:
            failure = MailFailure(CHANNEL, error.code, str(error))
            self.unannounced.append(failure)
            self._on_failure(failure)

    def link(self, email: str, next_: str) -> None:
        """Send the link that a person has asked for."""
        url = self._link(email, next_)
        self._send(email, "Sign in to push approval", "link", self._send_link, url=url, minutes=LINK_S // 60)

    def send(self, mails: Sequence[Mail]) -> None:
        """Send mails that were made before."""
        for mail in mails:
            self._try(mail)

    def reviews(self, request: Request, *, again: bool = False) -> list[Mail]:
        """The mails that ask for a review, not sent yet: what cannot be written must be known before the step."""
        if request.campaign is None:
            return []  # taken back meanwhile: nothing to review
        # Without a user: a mail is passed on and kept, and no user's name belongs in one. Each text is there once: the
        # words are the same on both platforms.
        shown = tuple(one for one in previews(request.campaign, None) if one.platform == "ios")
        forecast = self._figures(request)
        needed = needed_approvals(forecast.count.users, self._limits) if forecast else 1
        card = self._card(request, forecast)
        word = "Reminder: " if again else ""
        return [
            self._mail(
                email,
                f"{word}Please review: {request.title}",
                "review",
                url=self._link(email, f"/requests/{request.id}", REVIEW_LINK_S),
                page_url=f"{self._base_url}/requests/{request.id}",
                request=request,
                previews=shown[:MAX_PREVIEWS],
                card=card,
                more=max(0, len(card.texts) - MAX_PREVIEWS),
                forecast=forecast,
                needed=needed,
            )
            for email in self.asked(request)
        ]

    def asked(self, request: Request) -> tuple[str, ...]:
        """Whom a review is asked of by mail: a reminder is for those who have not decided yet."""
        asked = mail_recipients(named(request.form.approvers), request.requester, self._approvers)
        decided = [given.by for given in request.approvals]
        return tuple(email for email in asked if not any(is_same_person(email, by) for by in decided))

    def schedule(self, question: Mapping[str, Any]) -> None:
        """Ask the approvers for a decision on a schedule: on an edit of it, or on a time outside of its limits."""
        name, is_time = str(question["schedule"]), "occurrence" in question
        subject = f"Decide until {utc(question['until_ms'])}: {name}" if is_time else f"Please approve: {name}"
        for email in addresses(self._approvers):
            path = f"/schedules/{name}"
            url = self._link(email, path, REVIEW_LINK_S) if self._base_url else ""
            page_url = f"{self._base_url}{path}" if self._base_url else ""
            self._send(email, subject, "schedule", question=question, name=name, url=url, page_url=page_url)

    def winner(self, decision: Mapping[str, Any], request: Request | None) -> None:
        """Tell the approvers, and who asked for it, what goes to the remainder of a test's audience, and why."""
        subject = f"{'Winner' if decision['arm'] else 'Decide the winner'}: {decision['campaign']}"
        path = f"/requests/{request.id}" if request is not None else START
        page_url = f"{self._base_url}{path}" if self._base_url else ""
        people = {*addresses(self._approvers), *([request.requester] if request is not None else [])}
        for email in sorted(people):
            self._send(email, subject, "winner", decision=decision, page_url=page_url, on_page=request is not None)

    def ended(self, request: Request, run: RunSeen) -> None:
        """Send the figures of a run that is over to its requester, and to those who approved it."""
        arms = arms_of(run, shown_names(request.form))
        url = f"{self._base_url}/requests/{request.id}" if self._base_url else ""
        # By mailbox: one person gets one mail.
        people = {mailbox_of(one): one for one in (*(given.by for given in request.approvals), request.requester)}
        subject = f"{run_status(run.status).capitalize()}: {request.title}"
        for email in people.values():
            self._send(email, subject, "ended", request=request, run=run, arms=arms, url=url)

    def commented(self, request: Request, comment: Comment, people: Sequence[str]) -> None:
        """Send a comment to the others who have taken part. Their mails lead to the page, and sign nobody in."""
        url = f"{self._base_url}/requests/{request.id}#comments"
        for email in people:
            subject = f"Comment: {request.title}"
            self._send(email, subject, "comment", request=request, comment=comment, url=url)

    def decided(self, request: Request) -> None:
        """Send the requester the decision: approved or rejected."""
        word = "Approved" if request.state is State.APPROVED else "Rejected"
        url = f"{self._base_url}/requests/{request.id}"
        self._send(
            request.requester, f"{word}: {request.title}", "decided", request=request, url=url, word=word.lower()
        )

    def _link(self, email: str, next_: str, lifetime_s: int | None = None) -> str:
        lifetime = {} if lifetime_s is None else {"lifetime_s": lifetime_s}
        url = f"{self._base_url}/link?t={quoted(self._authenticator.new_link(email, next_, self._now_s, **lifetime))}"
        # An expired link is gone from the table, and with it the page that it led to: the address names it, too.
        return url if next_ == START else f"{url}&next={quoted(next_)}"

    def _send(self, to: str, subject: str, template: str, send: SendMail | None = None, **values: Any) -> None:
        self._try(self._mail(to, subject, template, **values), send)

    def _mail(self, to: str, subject: str, template: str, **values: Any) -> Mail:
        text = self._pages.render(f"mail/{template}.txt", **values)
        html = self._pages.render(f"mail/{template}.html", subject=subject, **values)
        return Mail(to, subject, text, html)

    def _try(self, mail: Mail, send: SendMail | None = None) -> None:
        try:
            (send or self._send_mail)(mail)
        except (ClientError, BotoCoreError) as error:
            # The step itself is done and written: one address that SES refuses must not undo it.
            failure = failure_of(mail.to, error)
            self.unsent.append(failure)
            self._on_failure(failure)
        else:
            self.sent.append(mail.to)
