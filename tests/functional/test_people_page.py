"""The pages of privacy officers: for them alone, the cost first, erasing asked twice, no user id in an address."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.approval_site import ANN, BOB, Answer, Lambda, World, moto_server, new_request

OLGA = "olga@example.com"
SCRIPT = "<script>alert(1)</script>"
FOUND = {
    "user_id": f"u1{SCRIPT}",
    "rows": [
        {
            "campaign_id": f"c{SCRIPT}", "run_id": "r1", "arm": "default", "platform": "ios", "gateway": "apns",
            "outcome": "rejected", "at": "2026-11-20T10:00:00Z", "reason": "Unregistered",
        }
    ],
    "excluded": [
        {"run_id": "r2", "reason": "suppressed", "campaign_id": "spring"}, {"run_id": "r3", "reason": "capped"},
    ],
}  # fmt: skip


class Privacy:
    """The officers' function: keeps what it was asked, and answers as it does."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.job = {"id": "j0123456789", "what": "find", "by": OLGA, "at_ms": 0, "state": "done", "words": "1 row"}

    def invoke(self, **request: Any) -> dict[str, Any]:
        """One event."""
        event = json.loads(request["Payload"])
        self.events.append(event)
        look = {"at": "2026-11-21T10:00:00Z", "by": OLGA, "what": "find", "user_hmac_sha256": "ab" * 16}
        answers: dict[str, dict[str, Any]] = {
            "plan": {"words": "It reads 3 objects, about 0.01 USD"},
            "find": {"job": "j0123456789"}, "erase": {"job": "j0123456789"},
            "job": {"job": self.job, **({"found": FOUND} if self.job["state"] == "done" else {})},
            "export": {"json": json.dumps(FOUND)}, "trail": {"lookups": [look]},
        }  # fmt: skip
        return {"StatusCode": 200, "Payload": BytesIO(json.dumps(answers[event["action"]]).encode())}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A stack with one officer, who has no other role."""
    with moto_server() as address:
        yield World(address, privacy_officers=(OLGA,), privacy_function="privacy", schedule_function="schedules")


@pytest.fixture
def privacy(world: World) -> Privacy:
    """Their function, without anything asked."""
    function = Privacy()
    world.functions.add("privacy", function)
    return function


def actions(privacy: Privacy) -> list[str]:
    return [event["action"] for event in privacy.events if event["action"] != "trail"]


def is_clean(answer: Answer) -> bool:
    return SCRIPT not in answer.body and "u1" not in answer.headers.get("location", "")


def test_from_the_cost_to_the_export(world: World, privacy: Privacy) -> None:
    """The cost is said before anything is read; what was found is shown and exported; addresses have no user id."""
    olga = world.browser(OLGA)
    page = olga.get("/people")
    assert "ab" * 16 in page.body
    assert '<time datetime="2026-11-21T10:00:00Z">21 Nov 2026, 10:00 UTC</time>' in page.body
    assert 'href="/prod/people" aria-current="page"' in page.body
    cost = olga.post("/people/cost", {"user_id": f"u1{SCRIPT}", "since": "2026-11-01"})
    assert "It reads 3 objects" in cost.body
    assert "Look it up" in cost.body
    assert is_clean(cost)
    assert actions(privacy) == ["plan"]
    found = olga.post("/people/find", {"user_id": "u1", "since": "2026-11-01"})
    assert found.location == "/people/j0123456789"
    assert privacy.events[-1] == {"action": "find", "by": OLGA, "user_id": "u1", "since": "2026-11-01"}
    shown = olga.get(found.location)
    assert is_clean(shown)
    for words in (
        "20 Nov 2026, 10:00 UTC",
        "<td>iPhone or iPad</td><td>refused by Apple: the app was removed",
        "<li>spring: wanted no pushes</li>",
        "<li><code>r3</code>: had had enough campaigns</li>",
        "Export as JSON",
        "Erase this person",
    ):
        assert words in shown.body, words
    export = olga.post(f"{found.location}/export")
    assert json.loads(export.body) == FOUND
    assert export.headers["content-disposition"] == 'attachment; filename="person-j0123456.json"'
    assert export.headers["cache-control"] == "no-store"


def test_while_it_is_read(world: World, privacy: Privacy) -> None:
    """The page follows a job that is running."""
    privacy.job |= {"state": "running", "step": "reading rows", "done": 3, "total": 10}
    page = world.browser(OLGA).get("/people/j0123456789").body
    assert "reading rows: 3 of 10" in page
    assert "data-live" in page
    assert 'data-poll="/prod/people/j0123456789/status"' in page
    assert "data-live" in world.browser(OLGA).get("/people/j0123456789/status").body


def test_erasing_asks_twice(world: World, privacy: Privacy) -> None:
    """The first click shows whom, and what it means; only the id itself, or for several their number, erases."""
    olga = world.browser(OLGA)
    first = olga.post("/people/erase", {"user_ids": f"u1{SCRIPT}"})
    assert "Nobody can undo it" in first.body
    assert is_clean(first)
    assert "nothing was erased" in olga.post("/people/erase", {"user_ids": "u1", "again": "u2"}).body
    assert "2 people" in olga.post("/people/erase", {"user_ids": "u1\nu2\nu1", "again": "3"}).body
    assert actions(privacy) == []
    assert olga.post("/people/erase", {"user_ids": "u1\nu2\nu1", "again": "2"}).location == "/people/j0123456789"
    assert privacy.events[-1] == {"action": "erase", "by": OLGA, "user_ids": ["u1", "u2"]}
    for wrong in ("", "\n", "\n".join(map(str, range(1_001))), "x" * 501):
        assert olga.post("/people/erase", {"user_ids": wrong, "again": "1"}).status == 409
    for fields in ({"user_id": ""}, {"user_id": "x" * 501}, {"user_id": "u", "since": "soon"}):
        assert olga.post("/people/cost", fields).status == 409


@pytest.mark.parametrize("email", [ANN, BOB])
def test_for_officers_alone(world: World, privacy: Privacy, email: str) -> None:
    """Requesters and approvers are refused, see no link, and the function is not asked."""
    browser = world.browser(email)
    assert "/people" not in browser.get("/requests").body
    for path in ("/people", "/people/j1", "/people/j1/status"):
        assert browser.get(path).status == 403, path
    posts: dict[str, dict[str, str]] = {
        "/people/cost": {"user_id": "u1"}, "/people/find": {"user_id": "u1"},
        "/people/erase": {"user_ids": "u1", "again": "u1"}, "/people/j1/export": {},
    }  # fmt: skip
    for path, fields in posts.items():
        assert browser.post(path, fields).status == 403, path
    assert privacy.events == []


def test_an_officer_alone_does_nothing_else(world: World) -> None:
    """Who has no other role neither asks for pushes nor decides, and sees only the page for it."""
    id_ = new_request(world.browser(ANN), world)
    olga = world.browser(OLGA)
    for path in ("/requests", "/requests?state=archived"):
        assert olga.get(path).location == "/people", path
    home = olga.get("/")
    for _ in range(2):
        home = olga.get(home.location) if home.status == 303 else home
    assert (home.status, "<h1" in home.body) == (200, True)
    body = olga.get("/people").body
    assert 'href="/requests"' not in body.partition("<nav")[2].partition("</nav>")[0]
    for path in (f"/requests/{id_}", f"/requests/{id_}/status", "/schedules", "/hold", "/devices", "/files"):
        assert olga.get(path).status == 403, path
    for path in ("/requests", "/preview", "/devices", f"/requests/{id_}/comment", "/templates/x/start"):
        assert olga.post(path).status == 403, path
    assert olga.post("/hold", {"reason": "x"}).status == 403


def test_an_officer_has_no_audience_made(world: World) -> None:
    """Whom a schedule or a request would reach, and examples of its users, are for those who ask and decide."""
    world.clock.forward(minutes=16)  # she has asked for as many links as one may
    schedules = Lambda()
    world.functions.add("schedules", schedules)
    id_ = new_request(world.browser(ANN), world)
    olga, asked = world.browser(OLGA), len(world.audiences.events)
    assert olga.get(f"/requests/{id_}/left-out").status == 403
    assert len(world.audiences.events) == asked
    assert olga.post("/schedules/nudge/preview").status == 403
    assert [one for one in schedules.events if one["action"] == "preview"] == []


TOO_LATE = ReadTimeoutError(endpoint_url="https://lambda.eu-west-1.amazonaws.com")
NO_ROOM = ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}}, "Invoke")


@pytest.mark.parametrize(
    ("failure", "words"), [(TOO_LATE, "It may be done all the same"), (NO_ROOM, "Try again in a minute")]
)
def test_a_function_that_does_not_answer(world: World, failure: Exception, words: str) -> None:
    """It is asked once, for each time would be a look-up in the trail; and a person reads what to do."""
    world.clock.forward(minutes=16)
    asked: list[str] = []

    class Silent:
        def invoke(self, **request: Any) -> Any:
            asked.append(json.loads(request["Payload"])["action"])
            raise failure

    for name in ("privacy", "schedules"):
        world.functions.add(name, Silent())
    answer = world.browser(OLGA).post("/people/find", {"user_id": "u1"})
    assert (answer.status, words in answer.body) == (409, True)
    # A mere question has changed nothing: it is asked again, whatever has become of it.
    schedule = world.browser(BOB).get("/schedules/nudge")
    assert (schedule.status, "Try again in a minute" in schedule.body) == (409, True)
    assert "It may be done" not in schedule.body
    assert asked == ["find", "show"]


def test_what_an_engineer_brings_to_its_end(world: World, privacy: Privacy) -> None:
    """The sentence has no command in it: that folds away."""
    world.clock.forward(minutes=16)
    words = "It takes longer than this function may. An engineer brings it to its end (notifier erase --again)."
    privacy.job |= {"what": "erase", "state": "unfinished", "words": words}
    page = world.browser(OLGA).get("/people/j0123456789").body
    assert "An engineer brings it to its end.</span>" in page
    assert "notifier erase --again" in page.partition("<summary>For the engineer</summary>")[2]
