"""The Lambda handlers of the approval app. `wiring` makes what they call."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from approval.clients import (
    ASKED_BRIEFLY,
    ASKED_BRIEFLY_S,
    ASKED_LATER,
    ASKED_LATER_S,
    ASKED_NEXT,
    ASKED_NEXT_S,
    ASKED_ONCE,
    ASKED_ONCE_S,
    COMMANDS,
    LINK_MAILS,
    USUAL,
    CallTime,
    InTime,
)
from approval.config import Settings, read_settings
from approval.events import Events
from approval.mail import MailFailure, SendMail, Ses, count_failure
from approval.sign_in import ConstantTime
from approval.tracing import annotate_step, traced_event
from approval.webhook import Webhook
from approval.wiring import (
    Platform,
    authenticator_of,
    functions_of,
    notifications_of,
    pages_for,
    services_of,
    site_of,
    stores_of,
)

_logger = Logger(service="approval")


class App:
    """What the handlers call.

    Args:
        client: makes a boto3 client of the service that is named.
        now: the time, aware.
        key: signs links and sessions; by default it is read from Secrets Manager.
        send_mail: by default SES.
        send_link: sends the mails with links, which must be quick; by default `send_mail`.
        constant_time: makes the answers at sign-in take the same time.
        webhook: posts to the channel, where the settings name its secret; by default over the internet.
        control_client: a Lambda client that gives up soon; by default `client("lambda")`.
        ask_client: a Lambda client that waits long, and asks once; by default `client("lambda")`.
        brief_client: a Lambda client that asks once, and does not wait long; by default `client("lambda")`.
        next_client: one that asks once, where a call has several questions; by default `client("lambda")`.
        later_client: one that asks once, where a call has used some of its time; by default `client("lambda")`.
        call_time: the deadline of all questions of a call.
    """

    def __init__(
        self,
        settings: Settings,
        client: Callable[[str], Any],
        now: Callable[[], datetime],
        key: bytes | None = None,
        send_mail: SendMail | None = None,
        send_link: SendMail | None = None,
        constant_time: ConstantTime | None = None,
        control_client: Any = None,
        ask_client: Any = None,
        brief_client: Any = None,
        next_client: Any = None,
        later_client: Any = None,
        webhook: Webhook | None = None,
        call_time: CallTime | None = None,
    ) -> None:
        self._call_time = call_time or CallTime()
        platform = Platform(
            settings,
            # One client of each service: making one takes longer than most answers.
            client=(shared := cache(client)),
            control=control_client or shared("lambda"),
            # Each gives way to a less patient one where the questions before it took their time.
            asking=InTime(
                self._call_time,
                (
                    (ASKED_ONCE_S, ask_client or shared("lambda")),
                    (ASKED_LATER_S, later_client or shared("lambda")),
                    (ASKED_NEXT_S, next_client or shared("lambda")),
                    (ASKED_BRIEFLY_S, brief_client or shared("lambda")),
                ),
            ),
            asking_briefly=InTime(self._call_time, ((ASKED_BRIEFLY_S, brief_client or shared("lambda")),)),
            asking_next=InTime(
                self._call_time,
                ((ASKED_NEXT_S, next_client or shared("lambda")), (ASKED_BRIEFLY_S, brief_client or shared("lambda"))),
            ),
            now=now,
            log=_log,
            mail_failed=partial(_mail_failed, settings.stack),
        )
        send = send_mail or Ses(shared("ses"), settings.mail_from).send
        stores = stores_of(platform)
        functions = functions_of(platform, stores.files)
        pages = pages_for(settings)
        self._now_s = platform.now_s
        self.authenticator = authenticator_of(platform, stores.access, key)
        services = services_of(platform, stores, functions, self.authenticator)
        notifications = notifications_of(
            platform,
            services.audiences,
            self.authenticator,
            pages,
            send,
            send_link or send,
            webhook or Webhook(),
        )
        self.events = Events(stores.requests, functions.runs, notifications, self._now_s)
        self._site = site_of(
            platform, stores, functions, services, pages, self.authenticator, notifications, constant_time
        )

    def answer(self, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        """Answer one REST proxy event."""
        self._begin(context)
        return self._site.answer(event, context)

    def _begin(self, context: Any) -> None:
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        self._call_time.begin(remaining() if remaining is not None else None)

    def heed(self, detail: dict[str, Any], request_id: str = "") -> None:
        """Mail and post what an event of EventBridge is about. Raises RuntimeError where nobody could be mailed.

        Args:
            request_id: of the invocation, which is the same when Lambda tries it again.
        """
        self._begin(None)
        # A run's end is announced by the worker, for everybody who listens.
        (self.events.run_ended if "summary" in detail else self.events.ask_approvers)(detail, request_id)

    def authorize(self, event: dict[str, Any]) -> dict[str, Any]:
        """Answer one REQUEST authorizer event. Raises Exception("Unauthorized"), which API Gateway answers with 401.

        A visitor without a session may GET the path, without a name: the app then redirects them to sign in, and from
        there back to the path. API Gateway's own answer could not, because its paths depend on stage and domain.
        """
        visitor = self.authenticator.visitor(event.get("headers") or {}, self._now_s())
        if visitor is not None:
            return _allowed(event["methodArn"], visitor.email, {"email": visitor.email, "csrf": visitor.csrf})
        if event.get("httpMethod") in ("GET", "HEAD"):
            return _allowed(event["methodArn"], "nobody", {})
        raise Exception("Unauthorized")  # noqa: TRY002 - this very text means 401 to API Gateway


def _allowed(method_arn: str, principal: str, context: dict[str, str]) -> dict[str, Any]:
    """The policy that allows this one method and path."""
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": method_arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": principal, "policyDocument": policy, "context": context}


def _log(action: str, **fields: Any) -> None:
    annotate_step(fields)
    _logger.info(str(action), extra={"action": str(action), **fields})


def _mail_failed(stack: str, failure: MailFailure) -> None:
    """Log why a mail was not sent, and count it: an alarm is on the metric."""
    _logger.error(
        "mail_failed",
        extra={"action": "mail_failed", "to": failure.domain, "code": failure.code, "reason": failure.message},
    )
    count_failure(stack)


def clock() -> datetime:
    """The time. A function of its own, so that the sandbox can replace it."""
    return datetime.now(UTC)


_app: App | None = None


def _get() -> App:
    global _app  # noqa: PLW0603 - one for each warm container
    if _app is None:
        session = boto3.session.Session()

        def client(service: str) -> Any:
            return session.client(service, config=USUAL)  # type: ignore[call-overload]

        settings = read_settings(os.environ)
        links = Ses(session.client("ses", config=LINK_MAILS), settings.mail_from)
        control = session.client("lambda", config=COMMANDS)
        asking = session.client("lambda", config=ASKED_ONCE)
        briefly = session.client("lambda", config=ASKED_BRIEFLY)
        _app = App(
            settings, client, clock, send_link=links.send, control_client=control, ask_client=asking,
            brief_client=briefly, next_client=session.client("lambda", config=ASKED_NEXT),
            later_client=session.client("lambda", config=ASKED_LATER),
        )  # fmt: skip
    return _app


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry of ApprovalFunction: a REST proxy event; or a question to approvers, from EventBridge."""
    if "detail-type" in event:
        _get().heed(event["detail"], getattr(context, "aws_request_id", ""))
        return {}
    request_id = event["requestContext"].get("requestId", "")
    _logger.set_correlation_id(request_id)
    try:
        with traced_event("approval", event) as trace:
            answer = _get().answer(event, context)
            if answer["statusCode"] >= 500:
                # The resolver turns an exception into this answer: the trace would not see it otherwise.
                trace.fault(f"answered {answer['statusCode']}")
            return answer
    finally:
        _logger.set_correlation_id(None)  # a warm environment serves others next


def authorizer(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Lambda's entry of AuthorizerFunction: a REQUEST authorizer event."""
    refusal: Exception
    with traced_event("authorizer", event):
        try:
            return _get().authorize(event)
        except Exception as error:
            if str(error) != "Unauthorized":
                raise
            refusal = error  # an answer: raised outside the trace, which it must not mark as failed
    raise refusal
