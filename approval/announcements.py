"""Messages to a channel beside the mails: what has happened to which campaign, and where to look. No user is in them.

As mails they are sent once for each event; those that EventBridge causes are tried again, and a failure is logged,
counted and shown with its reason.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from approval.pages import number, of, run_status, utc
from approval.reasons import decision_in_words
from approval.request import Request, State
from approval.runs import RunSeen
from approval.user_times import own_clock_words
from approval.webhook import NotPosted, Target, Webhook, read_target

MAX_TITLE_CHARS = 140
"""Slack's header takes 150."""
MAX_LINES = 8
VERSION = 1


class Announcement(msgspec.Struct, frozen=True):
    """A message. `kind` is review, decided, ended, winner or schedule; `url` may be empty."""

    kind: str
    title: str
    lines: tuple[str, ...]
    url: str = ""


def as_slack(one: Announcement) -> bytes:
    """As Slack's blocks. All texts are plain: no name of a campaign may call a whole channel.

    https://api.slack.com/reference/block-kit/blocks
    """
    blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": one.title}}]
    if one.lines:
        blocks.append({"type": "section", "text": {"type": "plain_text", "text": "\n".join(one.lines)}})
    if one.url:
        button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": one.url}
        blocks.append({"type": "actions", "elements": [button]})
    # `text` is what a notification of Slack's own shows, and there it is read as markup.
    return msgspec.json.encode({"text": _escaped(one.title), "blocks": blocks})


def as_json(one: Announcement) -> bytes:
    """As plain JSON, for anything else that takes a webhook."""
    return msgspec.json.encode({"version": VERSION, **msgspec.to_builtins(one)})


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Channel:
    """Announces.

    Args:
        secret: reads the deployment's secret, once a process.
    """

    def __init__(self, secret: Callable[[], str], webhook: Webhook) -> None:
        self._secret = secret
        self._webhook = webhook
        self._target: Target | None = None

    def announce(self, one: Announcement) -> None:
        """Post a message. Raises NotPosted."""
        if self._target is None:
            try:
                self._target = read_target(self._secret())
            except (BotoCoreError, ClientError, KeyError) as error:
                # It may be missing, of another account, binary, or without the right to read it.
                raise NotPosted("WebhookSecret", f"the secret cannot be read: {error}") from None
        self._webhook.post(self._target, as_slack(one) if self._target.is_slack else as_json(one))


# -- what is said -----------------------------------------------------------------------------------------------------


def review(request: Request, users: int | None, base_url: str, *, again: bool = False) -> Announcement:
    """That a request waits for a decision. `users` are those of its audience, where that is counted."""
    whom = (of(users, "user"),) if users is not None else ()
    start = request.campaign.not_before if request.campaign is not None else None
    begins = own_clock_words(request.campaign) or "Begins when it is approved"
    if start:
        begins = f"Begins {utc(int(start.timestamp() * 1000))}"
    title = f"{'Reminder: please' if again else 'Please'} review: {request.title}"
    lines = (f"Asked by {request.requester}", *whom, begins, f"Decide until {utc(request.expires_at_ms)}")
    return _made("review", title, lines, _address(base_url, request.id))


def decided(request: Request, base_url: str) -> Announcement:
    """That it is approved, or rejected and why."""
    if request.state is State.APPROVED:
        title, lines = "Approved", (f"By {', '.join(one.by for one in request.approvals)}",)
    else:
        title, lines = "Rejected", (f"By {request.decided_by}: {request.comment}",)
    return _made("decided", f"{title}: {request.title}", lines, _address(base_url, request.id))


def ended(request: Request, run: RunSeen, base_url: str) -> Announcement:
    """The figures of a run that is over."""
    rejected = sum(sum(arm.rejected.values()) for arm in run.account.arms.values())
    failed = sum(sum(arm.failed.values()) for arm in run.account.arms.values())
    figures = f"{number(run.accepted)} accepted, {number(rejected)} rejected, {number(failed)} failed"
    dry = ("A rehearsal: nothing was sent to a phone",) if run.account.dry else ()
    title = f"{run_status(run.status).capitalize()}: {request.title}"
    return _made("ended", title, (*dry, figures), _address(base_url, request.id))


def winner(decision: Mapping[str, Any], request: Request | None, base_url: str) -> Announcement:
    """What goes to the remainder of a test, or that a person is to decide it."""
    title = f"{'Winner' if decision['arm'] else 'Decide the winner'}: {decision['campaign']}"
    chosen = (f"{decision['arm']} goes to the others",) if decision["arm"] else ()
    lines = (*chosen, decision_in_words(str(decision["words"])), *map(str, decision.get("figures", ())))
    return _made("winner", title, lines, _address(base_url, request.id) if request is not None else base_url)


def schedule(question: Mapping[str, Any], base_url: str) -> Announcement:
    """That a schedule's edit, or one of its times, waits for a decision."""
    name = str(question["schedule"])
    is_time = "occurrence" in question
    title = f"Decide until {utc(question['until_ms'])}: {name}" if is_time else f"Please approve: {name}"
    return _made("schedule", title, (), f"{base_url}/schedules/{name}" if base_url else "")


def _made(kind: str, title: str, lines: tuple[str, ...], url: str) -> Announcement:
    return Announcement(kind, " ".join(title.split())[:MAX_TITLE_CHARS], lines[:MAX_LINES], url)


def _address(base_url: str, id_: str) -> str:
    return f"{base_url}/requests/{id_}" if base_url else ""
