"""Makes the objects of the approval app, and puts them together: from what reaches AWS to the routes of the pages.

Each function makes one group, of the groups before it. `app` has the handlers, and what Lambda and tests do otherwise.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approval.access import Access
from approval.announcements import Channel
from approval.audience import Forecast
from approval.composer import users_of
from approval.config import Settings
from approval.decision_card import DecisionCard, decision_card, texts_of
from approval.decisions import Decisions
from approval.device_site import DeviceSite
from approval.file_picker import FilePicker
from approval.files import Files
from approval.form_check import FormCheck
from approval.goals import Goals
from approval.left_out import LeftOutKept
from approval.looks import Looks
from approval.mail import MailFailure, SendMail
from approval.notifications import Notifications
from approval.officers import Officers
from approval.pages import AppShown, Pages, pages_of
from approval.people_site import PeopleSite
from approval.prepared import Audiences, LeftOutNow
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
from approval.views import Views
from approval.web import Call
from approval.webhook import Webhook


@dataclass(frozen=True)
class Platform:
    """What the app runs on.

    Args:
        client: the boto3 client of the service that is named.
        control: a Lambda client that gives up soon.
        asking: a Lambda client that waits long, and asks once.
        asking_briefly: a Lambda client that asks once, and does not wait long.
        asking_next: a Lambda client that asks once, where a call has several questions. None of the three waits longer
            than the call has time.
        now: the time, aware.
        log: writes one line: an action, and its fields.
        mail_failed: takes a mail that was not sent, for the log and the metric.
    """

    settings: Settings
    client: Callable[[str], Any]
    control: Any
    asking: Any
    asking_briefly: Any
    asking_next: Any
    now: Callable[[], datetime]
    log: Callable[..., None]
    mail_failed: Callable[[MailFailure], object]

    def now_s(self) -> int:
        """The time in seconds since the epoch."""
        return int(self.now().timestamp())

    def secret(self, arn: str) -> str:
        """A secret's text, read now."""
        return str(self.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])


@dataclass(frozen=True)
class Stores:
    """What the app keeps in its own table, and reads and writes in the stack's bucket."""

    requests: Store
    access: Access
    looks: Looks
    remarks: Remarks
    left_out: LeftOutKept
    taken: TakenAudiences
    previews: SchedulePreviews
    files: Files
    picker: FilePicker
    queries: Queries
    goals: Goals


@dataclass(frozen=True)
class Functions:
    """The stack's other functions, with the items of the ledger by which they are asked and answer."""

    runs: Runs
    audiences: Audiences
    results: Results
    schedules: Schedules
    officers: Officers


@dataclass(frozen=True)
class Services:
    """What people do: requests with their audiences and checks, remarks, decisions, test pushes, runs, templates."""

    audiences: RequestAudiences
    check: FormCheck
    requests: RequestService
    remarks: RemarkService
    decisions: Decisions
    tests: TestPushes
    runs: RunService
    templates: Templates


def stores_of(platform: Platform) -> Stores:
    """The app's table and the stack's bucket."""
    settings = platform.settings
    table, s3 = platform.client("dynamodb"), platform.client("s3")
    return Stores(
        requests=Store(table, settings.approval_table),
        access=Access(table, settings.approval_table),
        looks=Looks(table, settings.approval_table),
        remarks=Remarks(table, settings.approval_table),
        left_out=LeftOutKept(table, settings.approval_table),
        taken=TakenAudiences(table, settings.approval_table),
        previews=SchedulePreviews(table, settings.approval_table),
        files=Files(s3, settings.bucket),
        picker=FilePicker(s3, settings.bucket),
        queries=Queries(s3, settings.bucket),
        goals=Goals(s3, settings.bucket),
    )


def functions_of(platform: Platform, files: Files) -> Functions:
    """The other functions. Each is asked by the client that is as patient as its question."""
    settings = platform.settings
    table, usual = platform.client("dynamodb"), platform.client("lambda")
    ledger, audience_function, bucket = settings.ledger_table, settings.audience_function, settings.bucket
    return Functions(
        runs=Runs(table, ledger, platform.control, settings.control_function),
        audiences=Audiences(table, ledger, usual, platform.asking, audience_function, files, bucket),
        results=Results(table, ledger, usual, audience_function, files, bucket),
        schedules=Schedules(platform.asking, settings.schedule_function, platform.asking_briefly, platform.asking_next),
        officers=Officers(platform.asking, settings.privacy_function),
    )


def authenticator_of(platform: Platform, access: Access, key: bytes | None) -> Authenticator:
    """Who may sign in. Links and sessions are signed by the key, which is read where none is given."""
    settings = platform.settings
    secret = key or platform.secret(settings.signing_secret_arn).encode()
    return Authenticator(access, secret, settings.requesters, settings.approvers, settings.privacy_officers)


def services_of(platform: Platform, stores: Stores, functions: Functions, authenticator: Authenticator) -> Services:
    """What people do, without a page of it."""
    settings, now, store, access = platform.settings, platform.now, stores.requests, stores.access
    runs, files, looks, schedules = functions.runs, stores.files, stores.looks, functions.schedules
    table = platform.client("dynamodb")
    steps = StepWriter(store, now, platform.log)
    audiences = RequestAudiences(
        settings, store, files, functions.audiences, stores.queries, stores.left_out, schedules, stores.taken, now,
        platform.log,
    )  # fmt: skip
    check = FormCheck(settings, runs, stores.goals, audiences, now)

    def users(request: Request) -> Mapping[str, Mapping[str, Any]]:
        return users_of(audiences.audience_of(request).counts)

    tests = TestPushes(settings.bucket, store, access, files, runs, users, lambda: steps.now_ms, platform.log)
    return Services(
        audiences=audiences,
        check=check,
        requests=RequestService(settings, store, access, audiences, check, steps, looks),
        remarks=RemarkService(store, stores.remarks, access, runs, functions.results, steps, authenticator.person),
        decisions=Decisions(settings, store, files, runs, audiences, steps, looks),
        tests=tests,
        runs=RunService(store, access, runs, functions.results, schedules, steps),
        templates=Templates(table, settings.approval_table, store, steps, settings.limits, new_id),
    )


def pages_for(settings: Settings) -> Pages:
    """The pages' templates, with what this deployment shows on them."""
    return pages_of(settings.cap_defaults, AppShown(settings.app_name, settings.app_icon_url))


def notifications_of(
    platform: Platform,
    audiences: RequestAudiences,
    authenticator: Authenticator,
    pages: Pages,
    send: SendMail,
    send_link: SendMail,
    webhook: Webhook,
) -> Callable[[str], Notifications]:
    """Makes what sends mails and messages, with the address at which a call has found the pages."""
    settings = platform.settings
    # The secret is read when it is used: most calls announce nothing.
    arn = settings.webhook_secret_arn
    post = Channel(lambda: platform.secret(arn), webhook).announce if arn else None

    def forecast(request: Request) -> Forecast | None:
        return audiences.forecast(audiences.audience_of(request), request.campaign)

    def card(request: Request, found: Forecast | None) -> DecisionCard:
        left_out = audiences.left_out_last(request)
        times = audiences.times(audiences.audience_of(request), request.campaign)
        return decision_card(request.campaign, found, platform.now(), texts_of(request), left_out, times=times)

    def made(base_url: str) -> Notifications:
        return Notifications(
            send, send_link, pages, authenticator, base_url, platform.now_s(), settings.approvers, settings.limits,
            forecast, card, platform.mail_failed, post,
        )  # fmt: skip

    return made


def views_of(platform: Platform, stores: Stores, functions: Functions, services: Services, pages: Pages) -> Views:
    """What renders the pages."""
    store, runs, requests = stores.requests, functions.runs, services.requests
    result_view = ResultView(functions.results, stores.goals, store, runs)
    status = RequestStatus(store, stores.files, runs, result_view, lambda: requests.now_ms)
    remark_view = RemarkView(stores.remarks, services.remarks)
    return Views(
        pages, requests, services.audiences, services.check, store, status, result_view, stores.picker, runs,
        stores.looks, stores.remarks, remark_view, platform.settings, platform.now,
    )  # fmt: skip


def site_of(
    platform: Platform,
    stores: Stores,
    functions: Functions,
    services: Services,
    pages: Pages,
    authenticator: Authenticator,
    notifications: Callable[[str], Notifications],
    constant_time: ConstantTime | None,
) -> Site:
    """All paths, and who answers each."""
    views = views_of(platform, stores, functions, services, pages)
    slow = constant_time or ConstantTime(time.monotonic, time.sleep)

    def notifying(call: Call) -> Notifications:
        return notifications(call.base_url)

    sites = (
        SignInSite(views, authenticator, stores.requests, notifying, platform.now_s, platform.log, slow),
        TemplateSite(services.templates, views),
        RunSite(services.runs),  # before the steps of any name
        RemarkSite(services.remarks, notifying),
        RequestSite(services.requests, services.decisions, services.audiences, services.tests, views, notifying),
        _schedule_site(platform, stores, functions, services, views),
        PeopleSite(functions.officers, views, platform.now),
        DeviceSite(services.tests, views),
    )
    return Site(views, authenticator, pages, [route for site in sites for route in site.routes()])


def _schedule_site(
    platform: Platform, stores: Stores, functions: Functions, services: Services, views: Views
) -> ScheduleSite:
    runs, audiences, previews, now = functions.runs, functions.audiences, stores.previews, platform.now

    def left_out(manifest: str, campaign: Mapping[str, Any]) -> LeftOutNow:
        legal, asking = bool(campaign.get("legal")), platform.asking_next
        return audiences.left_out_now(manifest, campaign, legal=legal, asking=asking)

    view = ScheduleView(audiences, services.audiences, previews, stores.looks, runs, now)
    return ScheduleSite(functions.schedules, runs, stores.requests, views, now, platform.log, left_out, view, previews)
