"""The Lambda handlers of the approval app, which make its objects."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
from aws_lambda_powertools import Logger

from approval.access import Access
from approval.announcements import Channel
from approval.audience import Forecast
from approval.clients import ASKED_ONCE, COMMANDS, LINK_MAILS, USUAL
from approval.composer import users_of
from approval.config import Settings, read_settings
from approval.decision_card import DecisionCard, decision_card, texts_of
from approval.decisions import Decisions
from approval.device_site import DeviceSite
from approval.events import Events
from approval.file_picker import FilePicker
from approval.files import Files
from approval.form_check import FormCheck
from approval.goals import Goals
from approval.left_out import LeftOutKept
from approval.looks import Looks
from approval.mail import MailFailure, SendMail, Ses, count_failure
from approval.notifications import Notifications
from approval.officers import Officers
from approval.pages import AppShown, pages_of
from approval.people_site import PeopleSite
from approval.prepared import Audiences
from approval.queries import Queries
from approval.remark_service import RemarkService
from approval.remark_site import RemarkSite
from approval.remark_view import RemarkView
from approval.remarks import Remarks
from approval.request import Request
from approval.request_audiences import RequestAudiences
from approval.request_service import RequestService, new_id
from approval.request_site import RequestSite
from approval.request_status import RequestStatus
from approval.result_view import ResultView
from approval.results import Results
from approval.run_service import RunService
from approval.run_site import RunSite
from approval.runs import Runs
from approval.schedule_previews import SchedulePreviews
from approval.schedule_site import ScheduleSite
from approval.schedule_view import ScheduleView
from approval.schedules import Schedules
from approval.sign_in import Authenticator, ConstantTime
from approval.sign_in_site import SignInSite
from approval.site import Site
from approval.step_writer import StepWriter
from approval.store import Store
from approval.taken_audiences import TakenAudiences
from approval.template_site import TemplateSite
from approval.templates import Templates
from approval.test_push import TestPushes
from approval.tracing import annotate_step, traced_event
from approval.views import Views
from approval.web import Call
from approval.webhook import Webhook

_logger = Logger(service="approval")


class App:
    """The app with all its objects.

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
        webhook: Webhook | None = None,
    ) -> None:
        table = client("dynamodb")
        asking = ask_client or client("lambda")
        self._settings = settings
        self._now = now
        store = Store(table, settings.approval_table)
        access = Access(table, settings.approval_table)
        files = Files(client("s3"), settings.bucket)
        picker = FilePicker(client("s3"), settings.bucket)
        runs = Runs(table, settings.ledger_table, control_client or client("lambda"), settings.control_function)
        self._send_mail = send_mail or Ses(client("ses"), settings.mail_from).send
        self._send_link = send_link or self._send_mail

        def channel_secret() -> str:
            found = client("secretsmanager").get_secret_value(SecretId=settings.webhook_secret_arn)
            return str(found["SecretString"])

        # Read when it is used: most calls announce nothing.
        is_there = bool(settings.webhook_secret_arn)
        self._post = Channel(channel_secret, webhook or Webhook()).announce if is_there else None
        secret = (
            key
            or client("secretsmanager").get_secret_value(SecretId=settings.signing_secret_arn)["SecretString"].encode()
        )
        self.authenticator = Authenticator(
            access, secret, settings.requesters, settings.approvers, settings.privacy_officers
        )
        self._pages = pages_of(settings.cap_defaults, AppShown(settings.app_name, settings.app_icon_url))
        audiences = Audiences(
            table, settings.ledger_table, client("lambda"), asking, settings.audience_function, files, settings.bucket
        )
        queries, goals = Queries(client("s3"), settings.bucket), Goals(client("s3"), settings.bucket)
        steps = StepWriter(store, now, _log)
        schedules = Schedules(asking, settings.schedule_function)
        self._audiences = RequestAudiences(
            settings,
            store,
            files,
            audiences,
            queries,
            LeftOutKept(table, settings.approval_table),
            schedules,
            TakenAudiences(table, settings.approval_table),
            now,
            _log,
        )
        check = FormCheck(settings, runs, goals, self._audiences, now)
        looks = Looks(table, settings.approval_table)
        self._service = RequestService(settings, store, access, self._audiences, check, steps, looks)
        results = Results(
            table, settings.ledger_table, client("lambda"), settings.audience_function, files, settings.bucket
        )
        run_service = RunService(store, access, runs, results, schedules, steps)
        decisions = Decisions(settings, store, files, runs, self._audiences, steps, looks)
        tests = TestPushes(
            settings.bucket,
            store,
            access,
            files,
            runs,
            lambda request: users_of(self._audiences.audience_of(request).counts),
            lambda: self._service.now_ms,
            _log,
        )
        result_view = ResultView(results, goals, store, runs)
        status = RequestStatus(store, files, runs, result_view, lambda: self._service.now_ms)
        remarks = Remarks(table, settings.approval_table)
        remark_service = RemarkService(store, remarks, access, runs, steps, self.authenticator.person)
        views = Views(
            self._pages,
            self._service,
            self._audiences,
            check,
            store,
            status,
            result_view,
            picker,
            runs,
            looks,
            remarks,
            RemarkView(remarks, remark_service),
            settings,
            now,
        )

        templates = Templates(table, settings.approval_table, store, steps, settings.limits, new_id)

        def notifications(call: Call) -> Notifications:
            return self._notifications(call.base_url)

        schedule_previews = SchedulePreviews(table, settings.approval_table)
        constant_time = constant_time or ConstantTime(time.monotonic, time.sleep)
        sites = (
            SignInSite(views, self.authenticator, store, notifications, self._now_s, _log, constant_time),
            TemplateSite(templates, views),
            RunSite(run_service),  # before the steps of any name
            RemarkSite(remark_service, notifications),
            RequestSite(self._service, decisions, self._audiences, tests, views, notifications),
            ScheduleSite(
                schedules,
                runs,
                store,
                views,
                now,
                _log,
                lambda manifest, campaign: audiences.left_out_now(
                    manifest, campaign, legal=bool(campaign.get("legal"))
                ),
                ScheduleView(audiences, self._audiences, schedule_previews, looks, runs, now),
                schedule_previews,
            ),
            PeopleSite(Officers(asking, settings.privacy_function), views, now),
            DeviceSite(tests, views),
        )
        self.events = Events(store, runs, self._notifications, self._now_s)
        routes = [route for site in sites for route in site.routes()]
        self._site = Site(views, self.authenticator, self._pages, routes)

    def answer(self, event: dict[str, Any], context: Any = None) -> dict[str, Any]:
        """Answer one REST proxy event."""
        return self._site.answer(event, context)

    def heed(self, detail: dict[str, Any]) -> None:
        """Mail and post what an event of EventBridge is about. Raises RuntimeError where nobody could be mailed."""
        # A run's end is announced by the worker, for everybody who listens.
        (self.events.run_ended if "summary" in detail else self.events.ask_approvers)(detail)

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

    def _now_s(self) -> int:
        return int(self._now().timestamp())

    def _notifications(self, base_url: str) -> Notifications:
        def forecast(request: Request) -> Forecast | None:
            return self._audiences.forecast(self._audiences.audience_of(request), request.campaign)

        def card(request: Request, found: Forecast | None) -> DecisionCard:
            left_out = self._audiences.left_out_last(request)
            times = self._audiences.times(self._audiences.audience_of(request), request.campaign)
            return decision_card(request.campaign, found, self._now(), texts_of(request), left_out, times=times)

        return Notifications(
            self._send_mail,
            self._send_link,
            self._pages,
            self.authenticator,
            base_url,
            self._now_s(),
            self._settings.approvers,
            self._settings.limits,
            forecast,
            card,
            self._mail_failed,
            self._post,
        )

    def _mail_failed(self, failure: MailFailure) -> None:
        """Log why a mail was not sent, and count it: an alarm is on the metric."""
        _logger.error(
            "mail_failed",
            extra={"action": "mail_failed", "to": failure.domain, "code": failure.code, "reason": failure.message},
        )
        count_failure(self._settings.stack)


def _allowed(method_arn: str, principal: str, context: dict[str, str]) -> dict[str, Any]:
    """The policy that allows this one method and path."""
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": method_arn}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": principal, "policyDocument": policy, "context": context}


def _log(action: str, **fields: Any) -> None:
    annotate_step(fields)
    _logger.info(str(action), extra={"action": str(action), **fields})


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
        _app = App(settings, client, clock, send_link=links.send, control_client=control, ask_client=asking)
    return _app


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry of ApprovalFunction: a REST proxy event; or a question to approvers, from EventBridge."""
    if "detail-type" in event:
        _get().heed(event["detail"])
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
