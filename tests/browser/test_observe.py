"""The sandbox's service map and waterfall, as the X-Ray articles show them: the culprits are found on the page."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sandbox.audience import Recipe, campaign, users
from sandbox.observe import Observatory
from sandbox.observe.server import ObserveServer
from sandbox.trial import Setting, Trial
from sandbox.xray import Daemon, Document

# The sandbox's own pages; test_observe_request opens them in the gate.
pytestmark = pytest.mark.slow

USERS = 1_200


def is_hop(document: Document) -> bool:
    """Whether this covers a hop that is over: its document counts every request."""
    return "FCM" in document.detail.get("metadata", {}).get("notifier", {})


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A run of which FCM failed half and APNs was slow: where the pages are, and the run's id."""
    folder = tmp_path_factory.mktemp("observed")
    with Daemon() as daemon:
        setting = Setting(
            behaviour="tests.browser.culprits:behave",
            variables={"AWS_XRAY_DAEMON_ADDRESS": daemon.address},
            schedule_every_s=60.0,
            function_timeout_s=16.0,
            recurse_below_ms=8_000,
        )
        with Trial.start(folder / "sandbox", setting) as trial:
            trial.sandbox.lambda_.around = daemon.around
            recipe = Recipe(users=USERS)
            path = folder / "culprits.json"
            path.write_text(json.dumps({"campaign": campaign(recipe), "users": list(users(recipe))}), encoding="utf-8")
            run_id = trial.drop(path)
            assert daemon.wait_for(lambda found: any(is_hop(document) for document in found), 60.0)
        with ObserveServer(Observatory(daemon)) as server:
            yield server.url, run_id


def keep(page: Page, name: str) -> None:
    """A picture for people, where SCREENSHOTS names a folder."""
    if "SCREENSHOTS" in os.environ:
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png", full_page=True)


def test_the_two_culprits_are_found(page: Page, observed: tuple[str, str], tmp_path: Path) -> None:
    """The gateway that fails half of the time is marked, and so is the one that is slow; the other is neither.

    On a busy machine the local AWS may really be slow, or not answer in time, and is marked then too.
    """
    hosts: list[str] = []
    page.on("request", lambda request: hosts.append(request.url))
    page.goto(observed[0])
    all_failing, all_slow = page.locator("[data-finding=failing]"), page.locator("[data-finding=slow]")
    slow = all_slow.filter(has_text="APNs")
    failing = all_failing.filter(has_text="FCM")
    expect(failing).to_have_count(1)
    expect(all_failing.filter(has_text="APNs")).to_have_count(0)
    expect(slow).to_have_count(1)
    expect(all_slow.filter(has_text="FCM")).to_have_count(0)
    share = re.search(r"(\d+)%", failing.inner_text())
    assert share is not None
    assert 40 <= int(share[1]) <= 60
    expect(slow).to_contain_text(re.compile(r"1,[5-9]\d\d ms a call"))
    keep(page, "service-map")
    assert {url for url in hosts if not url.startswith("http://127.0.0.1:")} == set()


def test_the_map_shows_everyone(page: Page, observed: tuple[str, str]) -> None:
    """Functions, the Lambda service, S3, DynamoDB and the gateways, each with calls and latency."""
    page.goto(observed[0])
    nodes = page.locator("svg [data-node]")
    names = [nodes.nth(number).get_attribute("data-node") for number in range(nodes.count())]
    assert {"S3", "DynamoDB", "Secrets Manager", "FCM", "APNs"} <= set(names)
    assert any(name and name.startswith("notifier-WorkerFunction") for name in names)
    assert any(name and name.startswith("Lambda: ") for name in names)
    expect(page.locator("svg [data-node=FCM]")).to_contain_text(re.compile(r"\d+ calls, \d+% failing"))
    expect(page.locator("svg [data-node=APNs]")).to_contain_text(re.compile(r"1\.[5-9] s"))
    assert page.locator("svg .edge").count() >= 6


def test_a_run_is_found_and_its_waterfall_shown(page: Page, observed: tuple[str, str]) -> None:
    """One search for the run's id finds its trace; the waterfall shows the slow and the failing requests in it."""
    url, run_id = observed
    page.goto(url)
    page.get_by_role("searchbox").fill(run_id)
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_text("1 trace,")).to_be_visible()
    page.locator("table a").first.click()
    expect(page.get_by_role("heading", name="Waterfall")).to_be_visible()
    rows: Any = page.locator("tr", has=page.locator(".bar"))
    expect(rows.filter(has_text=re.compile(r"batch \d+ first"))).to_have_count(1)
    expect(rows.filter(has_text="FCM").filter(has_text="500 fault").first).to_be_visible()
    expect(page.get_by_text("DynamoDB UpdateItem").first).to_be_visible()
    expect(page.locator("th", has_text="campaign")).to_be_visible()
    keep(page, "waterfall")


def test_what_is_not_there_says_so(page: Page, observed: tuple[str, str]) -> None:
    """An unknown trace, and one whose id is markup."""
    for trace_id in ("1-00000000-0", "<script>alert(1)</script>"):
        answer = page.goto(observed[0] + "trace/" + trace_id)
        assert answer is not None
        assert answer.status == 404
    page.goto(observed[0] + "?q=%3Cscript%3Ealert(1)%3C/script%3E")
    expect(page.get_by_text("0 traces,")).to_be_visible()
    expect(page.get_by_text("Nothing has been traced yet")).to_be_visible()
