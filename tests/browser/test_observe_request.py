"""From the form to the pushes in traces: one search finds form, approval, batch file and every hop."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from sandbox.observe import Observatory
from sandbox.observe.server import ObserveServer
from sandbox.office import Office
from sandbox.scene import ANN, BOB
from sandbox.trial import Setting
from sandbox.xray import Daemon, Document
from tests.browser.approval_pages import People, approve, ask


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def traced_office(chromium: str, daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Everything, with tracing on."""
    variables = {"AWS_XRAY_DAEMON_ADDRESS": daemon.address}
    with Office.start(tmp_path_factory.mktemp("office"), Setting(schedule_every_s=60, variables=variables)) as office:
        office.trial.sandbox.lambda_.around = daemon.around
        office.bridge.around = daemon.around_api
        yield office


@pytest.mark.slow
def test_one_search_finds_everything(browser: Browser, traced_office: Office, daemon: Daemon) -> None:
    """Searched for the request's id: Ann's form, Bob's approval with the batch file's write, and the run's hop."""
    people = People(browser, traced_office)
    address = ask(people.sign_in(ANN), traced_office, "Traced")
    approve(people.sign_in(BOB), address)
    request = address.rpartition("/")[2]

    def is_run(document: Document) -> bool:
        annotations = document.detail.get("annotations", {})
        return annotations.get("request") == request and "hop" in annotations

    assert daemon.wait_for(lambda found: any(map(is_run, found)), 60.0)
    people.close()

    found = [trace for trace in daemon.traces() if request in map(str, trace.annotations().values())]
    names = {document.name for trace in found for document in trace.documents}
    assert {"API Gateway", "authorizer", "approval", "worker", "FCM", "APNs", "s3", "dynamodb"} <= names
    [writing] = [trace for trace in found if any(is_write(document, request) for document in trace.documents)]
    chain = [
        document.name
        for document in above(next(d for d in writing.documents if is_write(d, request)), writing.documents)
    ]
    assert chain[0] == "approval"
    assert chain[-1] == "API Gateway"

    with ObserveServer(Observatory(daemon)) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_role("searchbox").fill(request)
        page.get_by_role("searchbox").press("Enter")
        expect(page.locator("svg [data-node='API Gateway']")).to_be_visible()
        expect(page.locator("svg [data-node$=AuthorizerFunction]").first).to_be_visible()
        expect(page.locator("svg [data-node=FCM]")).to_be_visible()
        if "SCREENSHOTS" in os.environ:
            page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / "request-map.png", full_page=True)
        page.close()


def is_write(document: Document, request: str) -> bool:
    """The batch file's write to S3."""
    aws = document.detail.get("aws", {})
    return aws.get("operation") == "PutObject" and request in str(aws.get("key", ""))


def above(document: Document, documents: list[Document]) -> Iterator[Document]:
    """The caller, and each caller above it."""
    by_id = {one.id: one for one in documents}
    parent = by_id.get(document.parent_id or "")
    while parent is not None:
        yield parent
        parent = by_id.get(parent.parent_id or "")
