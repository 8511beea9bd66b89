"""Chromium for the tests of the pages: the machine's own, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sandbox import scene
from sandbox.office import Office
from sandbox.trial import Setting
from tests.browser.approval_pages import People, Sessions, forget_limits
from tests.deployment.least_privilege import Call, Recorder, refused, roles_of

# The shell comes first: a context of whole Chromium costs two processes and three times the processor's time.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_ARGUMENTS = ("--renderer-process-limit=1", "--disable-site-isolation-trials")
"""One renderer for all pages, which come from one host: a process for each of a hundred takes a third more time."""
_HOW_TO = (
    "no Chromium on this machine: `apt-get install chromium-headless-shell` (Debian), `apt-get install chromium`"
    " (Ubuntu) or `brew install --cask chromium`"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is marked `browser`, so that `-m 'not browser'` leaves it out."""
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def chromium() -> str:
    """Path of Chromium. Without one the tests are skipped, and fail where CI=true: the gate tests the pages."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(_HOW_TO)
    if found is None:
        pytest.skip(_HOW_TO)
    return found


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for this folder; it ends there, because Playwright keeps an event loop in the main thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own for each test, signed out."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="package")
def recorder() -> Iterator[Recorder]:
    """What the functions behind the pages ask of AWS."""
    with Recorder() as recorder:
        yield recorder


def not_allowed(office: Office, recorder: Recorder) -> list[Call]:
    """What authorizer, app, control and worker have asked of AWS, and their roles would refuse."""
    stack = office.trial.sandbox.stack
    worker = dict(stack.function("WorkerFunction").environment)
    secrets = {"FcmSecretArn": worker["FCM_SECRET_ARN"], "ApnsSecretArn": worker["APNS_SECRET_ARN"]}
    return refused(recorder.calls, roles_of(stack, {**scene.parameters(), **secrets}))


@pytest.fixture(scope="package")
def office(chromium: str, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One stack for the approval pages, which sends only what was approved; every test makes its own requests."""
    variables = {"AWS_ENDPOINT_URL": recorder.url}
    # Starts are typed as days that read the same in every order, years ahead: the files are kept until then.
    kept = dict.fromkeys(("BatchFileDays", "WorkDays", "ResultDays"), "9000")
    setting = Setting(schedule_every_s=4, variables=variables, parameters={"RequireApproval": "true", **kept})
    with Office.start(tmp_path_factory.mktemp("office"), setting) as started:
        recorder.before(started.trial.sandbox.endpoint_url)
        started.put_forward()
        yield started
        # Whatever the tests have had asked for.
        assert recorder.unknown == set()
        assert not_allowed(started, recorder) == []


@pytest.fixture(scope="package")
def sessions() -> Sessions:
    """Who has signed in once stays signed in."""
    return {}


@pytest.fixture
def people(browser: Browser, office: Office, sessions: Sessions) -> Iterator[People]:
    """Everybody's browsers, at the time that it is."""
    forget_limits(office)
    found = People(browser, office, sessions)
    yield found
    found.close()
    office.put_forward()
