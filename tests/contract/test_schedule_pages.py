"""Schedules and the hold on the pages: the site in front of the schedules' own control and overview."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from approval.app import App
from approval.clients import (
    ASKED_BRIEFLY,
    ASKED_BRIEFLY_S,
    ASKED_LATER,
    ASKED_LATER_S,
    ASKED_NEXT,
    ASKED_NEXT_S,
    ASKED_ONCE,
    ASKED_ONCE_S,
    CallTime,
)
from approval.functions import NoAnswer
from approval.schedules import Schedules
from approval.taken_audiences import TakenAudience
from notifier.model.account import Account, ArmAccount
from notifier.stores.ledger import DynamoLedger
from sandbox.schedule_twins import Clock, FolderTexts, PlayedStore
from schedules.batch import values_of
from schedules.control import Control, Refused
from schedules.definition import BrokenSchedule, key_of, read_schedule
from schedules.documents import Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrence_steps import Occurrences
from schedules.overview import Overview
from schedules.store import ScheduleState
from tests.approval_site import (
    ANN,
    BOB,
    BUCKET,
    CAT,
    EVE,
    FORM,
    LEDGER,
    World,
    counts_of,
    decision,
    new_request,
)
from tests.contract.moto_stores import moto_server
from tests.contract.test_schedules import Around

NAME = "nudge"
OLGA = "olga@example.com"
START = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)


def words(html: str) -> str:
    """A page's text, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def text(title: str = "Hi", *, max_users: int = 1000) -> str:
    """A schedule that is due at 09:00 each day, as a person writes it."""
    rhythm = {
        "when": {"cron": "0 9 * * *", "timezone": "UTC"},
        "ends": "2027-02-01",
        "limits": {"max_users": max_users},
    }
    message = {"title": title, "body": "You are {{ user_id }}"}
    return json.dumps(
        {"schedule": rhythm, "audience": {"files": ["standing/users.jsonl"]}, "campaign": {"message": message}},
        indent=1,
    )


class ScheduleFunction:
    """The function of the schedules of a stack with RequireApproval, invoked as Lambda does."""

    def __init__(self) -> None:
        self.clock = Clock(START)
        self.store = PlayedStore(self.clock)
        self.texts = FolderTexts(Path("nowhere"), {})
        self.around = Around()
        self.questions: list[dict[str, Any]] = []
        self.documents = documents = Documents(self.texts, needs_approval=True)
        self.control = Control(self.store, documents, self.around, self.clock, two_above=1000)
        self.held = ""
        self.overview = Overview(
            self.store, documents, self.around, self.clock, 1000, lambda: ["r1"], lambda: self.held
        )

    def tick(self) -> None:
        """A minute's tick, of a new process."""
        drops = Drops(None, "")  # type: ignore[arg-type]
        occurrences = Occurrences(self.store, self.around, drops, self.clock, quiet_hours="10:30-12:00")
        documents = Documents(self.texts, needs_approval=True)
        Tick(
            self.store, documents, occurrences, self.clock, lambda *_, **__: None, needs_approval=True,
            ask=self.questions.append,
        ).run()  # fmt: skip

    def invoke(self, **request: Any) -> dict[str, Any]:
        """As `schedules.app.handler`."""
        event = json.loads(request["Payload"])
        try:
            answer = self.overview.answer(event)
            answer = self.control.carry_out(event) if answer is None else answer
        except BrokenSchedule as broken:
            answer = {"refused": str(broken), "faults": [str(fault) for fault in broken.faults]}
        except Refused as refused:
            answer = {"refused": str(refused)}
        return {"StatusCode": 200, "Payload": BytesIO(json.dumps(answer).encode())}

    def state(self) -> str:
        """Of the schedule."""
        found = self.store.read(NAME)
        assert found is not None
        return found.state.value

    def approved_by(self) -> str:
        """Who has approved what is in force."""
        found = self.store.read(NAME)
        assert found is not None
        return self.store.approved_by(NAME, found.hash)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


class Site:
    """The pages, with the schedules' function behind them."""

    def __init__(self, endpoint: str) -> None:
        self.world = World(
            endpoint,
            schedule_function="schedules",
            approvers=(BOB, CAT, EVE, "eve+a@elsewhere.org"),
            privacy_officers=(OLGA,),
        )
        self.schedules = ScheduleFunction()
        self.world.functions.add("schedules", self.schedules)
        self.ann, self.bob, self.cat = (self.world.browser(who) for who in (ANN, BOB, CAT))

    def save(self, body: str, **fields: str) -> Any:
        """Ann writes a definition, in place of the one that her page shows."""
        page = self.ann.get(f"/schedules/{NAME}")
        before = page.field("before") if page.status == 200 else ""
        answer = self.ann.post("/schedules", {"name": NAME, "text": body, "before": before, **fields})
        self.schedules.tick()
        return answer

    def approve(self, browser: Any) -> Any:
        """A person approves what their page shows."""
        shown = self.schedules.overview.answer({"action": "show", "schedule": NAME})
        assert shown is not None
        # Of one text, which the page shows: it counts as seen.
        answer = browser.post(f"/schedules/{NAME}/approve", {"hash": shown["hash"], "text": "0"})
        self.schedules.tick()
        return answer


@pytest.fixture
def site(endpoint: str) -> Site:
    """The pages."""
    return Site(endpoint)


def test_written_approved_and_fired(site: Site) -> None:
    """A requester writes it, an approver approves it, and it fires; the list, its page and the calendar show it."""
    assert site.save(text()).status == 303
    assert site.schedules.state() == "unapproved"
    assert "It waits for approval" in site.bob.get(f"/schedules/{NAME}").body
    assert site.approve(site.bob).status == 303
    assert site.schedules.state() == "active"
    listed = site.ann.get("/schedules").body
    assert "2026-12-01" in listed
    assert "09:00" in listed
    site.schedules.clock.s += 3600
    for _ in range(4):
        site.schedules.tick()
        site.schedules.clock.s += 60
    assert "run of batches/schedules/nudge" in site.ann.get(f"/schedules/{NAME}").body


def test_lifted_quiet_hours_are_shown_to_approvers(site: Site) -> None:
    """`quiet: null` and a time to live that is kept stand in red where it is decided; nothing does without them."""
    body = json.loads(text())
    assert site.save(json.dumps(body)).status == 303
    assert "quiet hours" not in site.bob.get(f"/schedules/{NAME}").body
    body["campaign"]["quiet"] = None
    assert site.save(json.dumps(body)).status == 303
    assert "It has no quiet hours: phones may ring" in site.bob.get(f"/schedules/{NAME}").body
    body["campaign"]["quiet"] = {"from": "21:00", "to": "08:00", "timezone": "UTC", "ttl": "keep"}
    assert site.save(json.dumps(body)).status == 303
    assert "Phones that were off may ring in quiet hours" in site.bob.get(f"/schedules/{NAME}").body


def test_its_author_does_not_approve_it(site: Site) -> None:
    """Four eyes: whoever wrote it is refused, under another address of the same mailbox too."""
    eve, other = site.world.browser(EVE), site.world.browser("eve+a@elsewhere.org")
    assert eve.post("/schedules", {"name": NAME, "text": text(), "before": ""}).status == 303
    site.schedules.tick()
    assert "You wrote it" in eve.get(f"/schedules/{NAME}").body
    digest = site.bob.get(f"/schedules/{NAME}").field("hash")
    for browser in (eve, other):
        answer = browser.post(f"/schedules/{NAME}/approve", {"hash": digest})
        assert answer.status == 409
        assert "You wrote it: another person approves it." in answer.body
    site.schedules.tick()
    assert site.schedules.state() == "unapproved"


def test_its_author_stays_its_author_when_a_query_is_edited(site: Site) -> None:
    """Another text of the definition, and so another hash: the file is still theirs, and another person approves it."""
    body = json.loads(text())
    body["audience"] = {"query": {"name": "day-2"}}
    for ending in ("sql", "json"):
        site.schedules.texts.put(f"queries/day-2.{ending}", b"{}")
    eve = site.world.browser(EVE)
    assert eve.post("/schedules", {"name": NAME, "text": json.dumps(body), "before": ""}).status == 303
    site.schedules.texts.put("queries/day-2.sql", b"select 1")
    site.schedules.tick()
    page = eve.get(f"/schedules/{NAME}")
    assert "You wrote it" in page.body
    assert "You wrote it: another person approves it." in site.approve(eve).body
    assert site.schedules.state() == "unapproved"
    assert site.approve(site.bob).status == 303
    assert site.schedules.state() == "active"


def test_a_large_one_needs_two_people(site: Site) -> None:
    """By max_users: the second approval of the same person is not the second one, and they are asked no more."""
    site.save(text(max_users=1001))
    site.approve(site.bob)
    site.approve(site.bob)
    page, others = (one.get(f"/schedules/{NAME}").body for one in (site.bob, site.cat))
    assert "1 of 2 approvals" in page
    assert "You have approved this. It waits for another approver." in page
    assert f'action="/prod/schedules/{NAME}/approve"' not in page
    assert f'action="/prod/schedules/{NAME}/approve"' in others
    assert site.schedules.state() == "unapproved"
    site.approve(site.cat)
    assert site.schedules.state() == "active"
    assert site.schedules.approved_by() == f"{BOB}, {CAT}"


@pytest.mark.parametrize("max_users", [1000, 1001])
def test_the_command_line_and_the_pages_know_one_person_as_one(site: Site, max_users: int) -> None:
    """Without an address nobody approves where two people must; under one mailbox nobody is two people."""
    site.save(text(max_users=max_users))
    digest = site.bob.get(f"/schedules/{NAME}").field("hash")

    def approve(by: str) -> Any:
        return site.schedules.control.carry_out({"action": "approve", "schedule": NAME, "hash": digest, "by": by})

    for by, why in (("bob", "no mail address, which says who a person is"), (ANN.upper(), "you wrote it")):
        with pytest.raises(Refused, match=why):
            approve(by)
    site.approve(site.bob)
    assert approve(BOB.replace("@", "+cli@"))["missing"] == max_users - 1000
    assert approve(CAT)["missing"] == 0


@pytest.mark.parametrize("keep", [True, False])
def test_an_edit_asks_what_goes_on_meanwhile(site: Site, *, keep: bool) -> None:
    """What is in force goes on where its author says so; without that nothing fires until it is decided."""
    site.save(text())
    site.approve(site.bob)
    site.save(text("New"), **({"keep": "yes"} if keep else {}))
    item = site.schedules.store.read(NAME)
    assert item is not None
    assert (item.state, item.fires) == (ScheduleState.UNAPPROVED, keep)
    page = site.bob.get(f"/schedules/{NAME}").body
    assert ("goes on meanwhile" in page) is keep
    assert "Changed: schedules/nudge.json" in page


def test_a_change_of_its_time_is_approved_by_the_new_one(site: Site) -> None:
    """What is in force goes on at 09:00: the card, the next times and their warnings are of what is decided, 03:00."""
    counts = counts_of(users=500, timezones={"Europe/London": 500})
    site.schedules.around.manifest, site.schedules.around.users = site.world._prepared({"parts": []}, counts), 500
    site.world.audiences.answer = {"users": 500, "left_out": {}, "as_of": "2026-12-01T08:00:00Z"}
    site.save(text())
    site.approve(site.bob)
    site.save(text().replace("0 9 * * *", "0 3 * * *"), keep="yes")
    site.ann.post(f"/schedules/{NAME}/preview")
    page = site.bob.get(f"/schedules/{NAME}").body
    card, _, rest = words(page).partition("A change waits for approval")
    assert "Next: 1 Dec 2026, 09:00 UTC" in card  # what goes on meanwhile
    assert "03:00 London · 500, at night" in card
    assert "2 Dec 2026, 03:00 UTC" in card
    times = rest.partition("Next times")[2].partition("Occurs")[0]
    assert ("2 Dec 2026, 03:00" in times, "09:00" in times) == (True, False)
    assert "once it is approved" in times
    # Approved it is what is in force; with faults, what is in force is all that has times.
    site.approve(site.bob)
    site.schedules.texts.put(key_of(NAME), b"{}")
    times = words(site.bob.get(f"/schedules/{NAME}").body).partition("Next times")[2]
    assert "2 Dec 2026, 03:00" in times


def test_an_edit_waits_for_no_approval_where_none_is_needed(site: Site) -> None:
    """Then nothing is asked of the time until then: the page says when it counts, and it is saved without an answer."""
    site.save(text())
    site.approve(site.bob)
    label = "Keep sending what is in force until the change is approved"
    assert label in site.ann.get(f"/schedules/{NAME}").body
    site.schedules.documents.needs_approval = False
    page = site.ann.get(f"/schedules/{NAME}").body
    assert label not in page
    assert "A change is in force within a minute" in page
    assert site.save(text("New"), keep="yes").status == 409
    assert site.save(text("New")).status == 303


def test_faults_are_listed_and_nothing_is_saved(site: Site) -> None:
    """Each by its field; what was typed stays in the form."""
    answer = site.save(text().replace("0 9 * * *", "0 25 * * *").replace('"ends": "2027-02-01", ', ""))
    assert answer.status == 422
    assert "schedule.when.cron" in answer.body
    assert "0 25 * * *" in answer.body
    assert site.schedules.texts.get(key_of(NAME)) is None


def test_another_edit_meanwhile_is_not_overwritten(site: Site) -> None:
    """Whoever saves over a file that they have not seen is refused."""
    site.save(text())
    before = site.ann.get(f"/schedules/{NAME}").field("before")
    site.save(text("Another"))
    answer = site.ann.post("/schedules", {"name": NAME, "text": text("Mine"), "before": before, "keep": "yes"})
    assert answer.status == 409
    assert b"Another" in (site.schedules.texts.get(key_of(NAME)) or b"")
    # What was typed is there, with what it would change in the other's, and is saved over it knowingly.
    assert typed_in(answer) == text("Mine")
    assert "Another person has changed it since your page was made." in words(answer.body)
    assert re.search(r"<del>-.*Another.*</del>", answer.body)
    assert re.search(r"<ins>\+.*Mine.*</ins>", answer.body)
    assert (
        site.ann.post("/schedules", {"name": NAME, "text": text("Mine"), "before": answer.field("before")}).status
        == 303
    )
    assert b"Mine" in (site.schedules.texts.get(key_of(NAME)) or b"")


def typed_in(answer: Any) -> str:
    """What the form's text field holds."""
    found = re.search(r'<textarea id="text"[^>]*>\n(.*?)</textarea>', answer.body, re.DOTALL)
    assert found is not None
    return unescape(found[1])


def test_a_new_one_by_the_name_of_another(site: Site) -> None:
    """It is refused at its name, and everything that was typed stays."""
    site.save(text())
    answer = site.ann.post("/schedules", {"name": NAME, "text": text("Mine"), "before": ""})
    assert answer.status == 422
    fault = answer.body.partition('data-fault="name">')[2].partition("<")[0]
    assert fault == "is another schedule&#39;s already (choose another, or edit that one)"
    assert (typed_in(answer), f'id="name" name="name" value="{NAME}"' in answer.body) == (text("Mine"), True)
    assert '<details class="card" open>' in answer.body
    answer = site.ann.post("/schedules", {"name": "No Name", "text": text("Mine"), "before": ""})
    assert "is not the name of a schedule" in answer.body.partition('data-fault="name">')[2].partition("<")[0]
    assert (typed_in(answer), 'value="No Name"' in answer.body) == (text("Mine"), True)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_field_called_name_in_the_text(site: Site, *, is_new: bool) -> None:
    """It is a fault of the text, and read there: only a new one has a field for its own name."""
    before = ""
    if not is_new:
        site.save(text())
        before = site.ann.get(f"/schedules/{NAME}").field("before")
    odd = json.dumps(json.loads(text()) | {"name": "nudge"})
    answer = site.ann.post("/schedules", {"name": NAME, "text": odd, "before": before})
    assert answer.status == 422
    said = words(answer.body.partition('id="text-fault"')[2].partition("</ul>")[0])
    assert "name: unknown field (known: schedule, audience, campaign)" in said
    assert answer.body.partition('data-fault="name">')[2].partition("<")[0] == ""
    opened = '<details class="card" open>' if is_new else f"<details open><summary>Edit schedules/{NAME}.json"
    assert opened in answer.body
    assert typed_in(answer) == odd


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("why", ["silent", "refused", "gone"])
def test_whatever_a_save_is_refused_for_nobody_types_it_again(site: Site, why: str, *, is_new: bool) -> None:
    """What was typed stays in the form with the reason at its field, also where nothing else can be shown."""
    before = ""
    if not is_new:
        site.save(text())
        site.approve(site.bob)
        before = site.ann.get(f"/schedules/{NAME}").field("before")
    mine = text("Mine")
    if why == "silent":
        site.world.functions.add("schedules", Silent())
    if why == "refused":
        site.schedules.control.carry_out = refuse_all  # type: ignore[method-assign, assignment]
    if why == "gone" and not is_new:
        del site.schedules.texts._objects[key_of(NAME)]
    if why == "gone" and is_new:
        before = "0" * 64
    fields = {"name": NAME, "text": mine, "before": before, "keep": "yes"}
    answer = site.ann.post("/schedules", fields)
    assert answer.status == 409
    assert typed_in(answer) == mine
    assert f'name="name" value="{NAME}"' in answer.body
    fault = words(answer.body.partition('data-fault="text"')[2].partition("</ul>")[0])
    says = {
        "silent": "The schedules do not answer. It may be done all",
        "refused": "It cannot be done (by anybody) now.", "gone": "look at it again.",
    }  # fmt: skip
    assert says[why] in fault
    assert "--" not in fault
    assert "notifier" not in fault
    if not is_new and why != "gone":
        assert '<input type="checkbox" id="keep" name="keep" value="yes" checked>' in answer.body


def refuse_all(_event: Mapping[str, Any]) -> dict[str, Any]:
    """As the schedules' function does for the command line."""
    raise Refused("it cannot be done (by anybody) now (notifier schedules pause nudge, then without --keep)")


def wait_for_a_decision(site: Site) -> None:
    """An approved schedule has a time with more users than its limit."""
    site.save(text())
    site.approve(site.bob)
    site.schedules.around.users = 5000
    site.schedules.clock.s += 3600
    for _ in range(4):
        site.schedules.tick()
        site.schedules.clock.s += 60


def test_a_time_outside_of_its_limits_is_decided_on_its_page(site: Site) -> None:
    """Approvers are mailed once, with the counts; requesters cannot decide; after the decision it is sent."""
    wait_for_a_decision(site)
    question = next(one for one in site.schedules.questions if "occurrence" in one)
    site.world.mailbox.mails.clear()
    for _ in range(2):
        site.world.app.events.ask_approvers(question)
    mails = site.world.mailbox.mails
    assert sorted(mail["to"] for mail in mails) == sorted([BOB, CAT, EVE, "eve+a@elsewhere.org"])
    assert all("5,000 users" in mail["text"] and f"/schedules/{NAME}" in mail["text"] for mail in mails)
    # Two hours from 09:01 would end in the stack's quiet hours.
    assert all("Decide until: 1 Dec 2026, 12:31 UTC" in mail["text"] for mail in mails)
    assert "12:31" in site.bob.get(f"/schedules/{NAME}").body
    decision = {"occurrence": "2026-12-01T0900", "decision": "approve"}
    assert site.ann.post(f"/schedules/{NAME}/decide", decision).status == 403
    assert "5,000 users" in site.bob.get(f"/schedules/{NAME}").body
    assert site.bob.post(f"/schedules/{NAME}/decide", decision).status == 303
    site.schedules.tick()
    assert site.schedules.around.files


def test_the_winner_of_a_test_is_mailed(site: Site) -> None:
    """Once, to the approvers: what goes to the remainder, why, and the figures."""
    decision = {
        "winner": "r1", "campaign": "welcome", "arm": "b", "by": "", "request_id": "gone",
        "words": "better than no push: between +4 % and +21 %", "figures": ["b: 700 of 4,500 converted"],
    }  # fmt: skip
    site.world.mailbox.mails.clear()
    for _ in range(2):
        site.world.app.events.ask_approvers(decision)
    mails = site.world.mailbox.mails
    assert sorted(mail["to"] for mail in mails) == sorted([BOB, CAT, EVE, "eve+a@elsewhere.org"])
    assert all(words in mail["text"] for mail in mails for words in ("b goes to the others", "+21 %", "700 of 4,500"))
    site.world.app.events.ask_approvers(decision | {"arm": "", "words": "a person is to decide"})
    assert "notifier report r1 --decide ARM" in site.world.mailbox.mails[-1]["text"]


def test_whom_the_next_time_would_reach(site: Site) -> None:
    """Counted as of now, with users' own texts; a device's token is on no page."""
    site.save(text())
    left_out = {"capped": 2, "too_late": 7}
    site.world.audiences.answer = {"users": 100, "left_out": left_out, "as_of": "2026-12-01T08:00:00+00:00"}
    page = site.ann.post(f"/schedules/{NAME}/preview").body
    assert re.search("<strong>100 users</strong> as of <time [^>]*>[^<]*</time>, for Tue 1 Dec 2026, 09:00", page)
    # With the campaign as its batch file would have it: of that its date says who would be late.
    asked = site.world.audiences.events[-1]
    assert (asked["left_out"], asked["campaign"]["id"]) == ("m", f"{NAME}-2026-12-01T0900")
    assert "Left out: 2 have had enough campaigns, 7 too late by their clock, as of <time" in page
    assert "You are u0" in page
    assert '<option value="1">u1</option>' in page
    assert "secret-token" not in page
    site.world.audiences.answer = {"fault": "suppression cannot be read"}
    assert "is not known. suppression cannot be read" in site.ann.post(f"/schedules/{NAME}/preview").body


def test_what_an_engine_says_of_a_query(site: Site) -> None:
    """Its own message, whole, with the place and what to do: in the preview with who looks after it, and of a time."""
    texts = site.schedules.texts
    texts.put("queries/follows.sql", b"SELECT x FROM users")
    texts.put(
        "queries/follows.json",
        b'{"engine": "duckdb", "owner": "crm@example.com", "tables": {"users": ["standing/u.csv"]}}',
    )
    decoded = json.loads(text())
    decoded["audience"] = {"query": {"name": "follows"}}
    site.save(json.dumps(decoded))
    said = 'queries/follows.sql, line 1, column 8: Referenced column "x" not found <in> FROM (correct the name)'
    site.schedules.around.fault = said
    page = unescape(site.ann.post(f"/schedules/{NAME}/preview").body)
    assert f"{said}. crm@example.com looks after it." in page
    site.approve(site.bob)
    site.schedules.clock.s += 3600
    for _ in range(90):
        site.schedules.tick()
        site.schedules.clock.s += 60
    assert said in unescape(site.ann.get(f"/schedules/{NAME}").body)
    assert "<in>" not in site.ann.get(f"/schedules/{NAME}").body


def test_a_preview_of_a_file_with_faults(site: Site) -> None:
    """The page says what is wrong with it, and that nothing was counted."""
    site.save(text())
    site.schedules.texts.put(key_of(NAME), text().replace("0 9 * * *", "0 25 * * *").encode())
    answer = site.ann.post(f"/schedules/{NAME}/preview")
    assert answer.status == 409
    assert "It cannot be counted, for its file has faults: schedule.when.cron" in words(answer.body)
    assert not site.schedules.around.asked


TWO = {
    "variants": [{"name": "long", "percent": 45}, {"name": "short", "percent": 45, "message": {"title": "Yo"}}],
    "control_percent": 10, "goal": {"name": "opened", "window_h": 24},
    "caps": [{"group": "marketing", "most": 2, "days": 7}],
    "quiet": {"from": "21:00", "to": "08:00", "timezone": "UTC"},
}  # fmt: skip


def campaign_with(site: Site, **campaign: Any) -> str:
    """A schedule whose campaign has more, with what its goal is found by."""
    site.schedules.texts.put("conversions/opened.json", b'{"files": ["standing/opened/"]}')
    body = json.loads(text())
    body["campaign"] |= campaign
    return json.dumps(body, indent=1)


def test_a_preview_is_of_the_texts_that_it_was_made_by(site: Site) -> None:
    """Whatever the file says by the time it is kept: the page says that it is of another version."""
    site.save(text())
    asked = site.schedules.overview.answer

    def edited_meanwhile(event: Mapping[str, Any]) -> dict[str, Any] | None:
        answer = asked(event)
        if event["action"] == "preview":
            site.schedules.texts.put(key_of(NAME), text("New").encode())
        return answer

    site.schedules.overview.answer = edited_meanwhile  # type: ignore[method-assign]
    site.ann.post(f"/schedules/{NAME}/preview")
    assert "for Tue 1 Dec 2026, 09:00, of another version" in words(site.ann.get(f"/schedules/{NAME}").body)


def test_the_last_preview_stays_on_the_page(site: Site) -> None:
    """Who, by their own clocks, left out and reached this week, as of then; users to look at for who has a role."""
    site.save(campaign_with(site, **TWO))
    samples = tuple({"user_id": f"u{n}", "platform": "ios", "token": "masked…"} for n in range(2))
    zones = {"Europe/London": 300, "Asia/Tokyo": 100}
    counts = counts_of(users=500, samples=samples, timezones=zones)
    site.schedules.around.manifest, site.schedules.around.users = site.world._prepared({"parts": []}, counts), 500
    left_out = {"users": 500, "left_out": {"capped": 2}, "as_of": "2026-11-21T13:00:00Z", "reached": {"1": 30}}
    site.world.audiences.answer = left_out
    site.ann.post(f"/schedules/{NAME}/preview")
    said = words(site.bob.get(f"/schedules/{NAME}").body)
    for fact in (
        "500 users", "10 % control : 50 get nothing", "Left out: 2 have had enough campaigns, as of 21 Nov 2026, 13:00",
        "1 Dec 2026, 09:00 UTC", "09:00 London · 300", "18:00 Tokyo · 100", "at most 1,000 users without a review",
        "About 30 of 500 users have had a campaign in the last 7 days: 30 one.", "1 of 2 texts seen · long",
        "Occurs every day at 09:00, by the clock of UTC The rule as it is written 0 9 * * *",
        "Days to 1 Feb 2027", "21:00 to 08:00 by each user's own clock",
        "at most 2 of marketing in 7 days", "opened, within 24 hours",
    ):  # fmt: skip
        assert fact in said.replace("&#39;", "'"), fact
    assert "You are u1" in site.bob.get(f"/schedules/{NAME}", sample="1").body
    # Not for a privacy officer: neither the figures nor a user.
    refused = site.world.browser(OLGA).get(f"/schedules/{NAME}", sample="1")
    assert refused.status == 403
    assert not [shown for shown in ("500 users", "You are u", ">u1<") if shown in refused.body]
    for odd in ("9" * 5_000, "-1", "x"):
        assert site.bob.get(f"/schedules/{NAME}", sample=odd, text=odd, time=odd).status == 200
    site.world.clock.forward(days=31)
    assert "Not counted yet, or more than 30 days ago." in site.world.browser(BOB).get(f"/schedules/{NAME}").body


def test_texts_that_were_not_seen_are_named_before_a_schedule_is_approved(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a request: refused until an approver has looked at them, or says that they approve them unseen."""
    site.save(campaign_with(site, **TWO))
    page = site.bob.get(f"/schedules/{NAME}")
    assert "You have not looked at 1 of 2 texts: short." in page.body
    asked = {"hash": page.field("hash"), "text": page.field("text")}
    refused = site.bob.post(f"/schedules/{NAME}/approve", asked)
    assert (refused.status, "You have not looked at: short." in refused.body) == (409, True)
    assert site.schedules.state() == "unapproved"
    look = {"content_hash": asked["hash"], "text": "1"}
    assert site.ann.post(f"/schedules/{NAME}/seen", look).status == 403
    assert site.bob.post(f"/schedules/{NAME}/seen", look | {"content_hash": "old"}).status == 409
    assert site.bob.post(f"/schedules/{NAME}/seen", look | {"text": "9"}).status == 409
    assert site.bob.post(f"/schedules/{NAME}/seen", look).status == 303
    # On another device of theirs, too; of another content nothing was seen.
    assert "2 of 2 texts seen" in words(site.world.browser(BOB).get(f"/schedules/{NAME}").body)
    assert site.bob.post(f"/schedules/{NAME}/approve", asked).status == 303
    site.save(campaign_with(site, **{**TWO, "control_percent": 20, "variants": [{"name": "a", "percent": 80}]}))
    site.save(campaign_with(site, **TWO, experiment="e"))
    page = site.cat.get(f"/schedules/{NAME}")
    assert "1 of 2 texts seen" in words(page.body)
    unseen = {"hash": page.field("hash"), "text": page.field("text"), "unseen": "yes"}
    caplog.clear()
    assert site.cat.post(f"/schedules/{NAME}/approve", unseen).status == 303
    assert [getattr(one, "unseen", "") for one in caplog.records if one.msg == "schedule_approve"] == ["short"]
    # With the approval, too, for as long as it counts: before it is in force, and after.
    digest = unseen["hash"]
    assert site.schedules.store.unseen_by(NAME, digest) == {CAT: "short"}
    assert f"1 of 1 approvals: {CAT}, without looking at short." in words(site.ann.get(f"/schedules/{NAME}").body)
    site.schedules.tick()
    assert f"{digest[:12]} , in force approved by {CAT}, without looking at short" in words(
        site.ann.get(f"/schedules/{NAME}").body
    )


def test_a_file_with_a_byte_order_mark_is_shown_and_looked_at(site: Site) -> None:
    """Editors on Windows write one: its texts, its red lines and what was not looked at are as of any other file."""
    marked = "\ufeff" + campaign_with(site, **TWO)
    marked = marked.replace('"to": "08:00",', '"to": "08:00", "ttl": "keep",')
    site.schedules.texts.put(key_of(NAME), marked.encode())
    site.schedules.tick()
    page = site.bob.get(f"/schedules/{NAME}")
    assert "1 of 2 texts seen" in words(page.body)
    assert "Phones that were off may ring in quiet hours" in page.body
    asked = {"hash": page.field("hash"), "text": page.field("text")}
    refused = site.bob.post(f"/schedules/{NAME}/approve", asked)
    assert (refused.status, "You have not looked at: short." in refused.body) == (409, True)


def test_what_the_page_cannot_show_is_not_approved_on_it(site: Site) -> None:
    """Neither by its button nor with every text ticked as approved unseen: nobody can have looked at it."""
    site.save(text())
    digest = site.bob.get(f"/schedules/{NAME}").field("hash")
    asked = site.schedules.overview.answer

    def unreadable(event: Mapping[str, Any]) -> dict[str, Any] | None:
        answer = asked(event)
        return answer | {"text": "{}"} if answer is not None and "text" in answer else answer

    site.schedules.overview.answer = unreadable  # type: ignore[method-assign]
    page = site.bob.get(f"/schedules/{NAME}").body
    assert "Its texts cannot be shown here" in page
    assert "/approve" not in page
    answer = site.bob.post(f"/schedules/{NAME}/approve", {"hash": digest, "text": "0", "unseen": "yes"})
    assert (answer.status, "nobody has looked at them" in answer.body) == (409, True)
    site.schedules.tick()
    assert site.schedules.state() == "unapproved"


def test_what_an_edit_changes_is_shown_line_by_line(site: Site) -> None:
    """Beside what is in force; nothing where nothing is."""
    site.save(text())
    assert "What is different from what is in force" not in site.bob.get(f"/schedules/{NAME}").body
    site.approve(site.bob)
    site.save(text("<b>New</b>"))
    page = site.bob.get(f"/schedules/{NAME}").body
    assert "<del>-   &#34;title&#34;: &#34;Hi&#34;,</del>" in page
    assert "<ins>+   &#34;title&#34;: &#34;&lt;b&gt;New&lt;/b&gt;&#34;,</ins>" in page
    assert "<b>New</b>" not in page


def test_what_became_of_its_times(site: Site) -> None:
    """Each with its run's state and how many accepted it; the arms of the one that is asked for."""
    site.save(text())
    site.approve(site.bob)
    site.schedules.clock.s += 3600
    for _ in range(4):
        site.schedules.tick()
        site.schedules.clock.s += 60
    (one,) = site.schedules.store.history(NAME)
    account = Account(
        arms={"default": ArmAccount(assigned=90, accepted=80), "control": ArmAccount(assigned=10, held=10)}
    )
    site.world.lane(
        one.run_id, state="done", ending="completed", account=msgspec.json.encode(account).decode(), ended_at_ms=1
    )
    page = site.ann.get(f"/schedules/{NAME}").body
    assert f'<a href="?time={one.stamp}#run">completed</a></td><td>80</td>' in page
    said = words(page)
    assert "accepted for 80 devices" in said
    assert "control group 10 0 0 0 10" in said


def test_clocks_of_an_ended_one_are_of_no_approval(site: Site) -> None:
    """It has no next time: to approve it sends nothing now."""
    counts = counts_of(users=500, timezones={"Asia/Tokyo": 500})
    site.schedules.around.manifest, site.schedules.around.users = site.world._prepared({"parts": []}, counts), 500
    site.save(text().replace("2027-02-01", "2026-12-02"))
    site.ann.post(f"/schedules/{NAME}/preview")
    site.schedules.clock.s += 5 * 86_400
    site.world.clock.now = datetime.fromtimestamp(site.schedules.clock.s, UTC)
    said = words(site.world.browser(BOB).get(f"/schedules/{NAME}").body)
    assert "500 users" in said
    assert "If approved now" not in said


@pytest.mark.parametrize("file", [b"{}", None])
def test_its_times_stay_on_the_page_of_a_broken_or_deleted_one(site: Site, file: bytes | None) -> None:
    """There is no rule and no zone to name then; what was typed of an edit that is refused is there, too."""
    site.save(text())
    site.approve(site.bob)
    site.schedules.clock.s += 3600
    site.schedules.tick()
    key = f"schedules/{NAME}.json"
    site.schedules.texts.put(key, file) if file is not None else site.schedules.texts.delete(key)
    answer = site.ann.get(f"/schedules/{NAME}")
    assert (answer.status, "What became of its times" in answer.body) == (200, True)
    refused = site.ann.post("/schedules", {"name": NAME, "text": text("Typed"), "before": "0" * 64})
    assert (refused.status, "Typed" in refused.body) == (409, True)


@pytest.mark.parametrize(
    ("day", "occurrence", "now"),
    [
        ("", "2026-12-01T0900", "2026-12-01T09:00:00+00:00"),
        ("2026-12-24", "2026-12-24T0900", "2026-12-24T09:00:00+00:00"),
        ("2026-11-24", "2026-11-24T0900", "2026-11-24T09:00:00+00:00"),
        ("2027-02-24", "2027-02-24T0800", "2026-12-01T08:00:00+00:00"),  # after it ends: as `now --day` would
    ],
)
def test_a_preview_of_a_day(site: Site, day: str, occurrence: str, now: str) -> None:
    """The command line may ask for any date; the campaign is the one that its batch file would have."""
    site.save(text())
    found = site.schedules.overview.answer({"action": "preview", "schedule": NAME, "day": day})
    assert found is not None
    assert (found["occurrence"], found["values"]["$now"]) == (occurrence, now)
    assert found["values"]["$day"] == occurrence[:10]
    assert (found["campaign"]["id"], found["campaign"]["experiment"]) == (f"{NAME}-{occurrence}", NAME)
    assert found["manifest"]


def test_no_preview_is_made_while_everything_is_on_hold(site: Site) -> None:
    """Nothing is prepared in a hold: the page says who holds it, and no query runs."""
    site.save(text())
    site.schedules.held = "on hold since 08:00 by bob: wrong prices"
    answer = site.ann.post(f"/schedules/{NAME}/preview")
    assert answer.status == 409
    assert "wrong prices" in answer.body
    assert not site.schedules.around.asked


def test_what_is_wrong_with_a_file_is_said_once(site: Site) -> None:
    """The tick's reason and what the file says now are the same fault."""
    site.save(text())
    site.schedules.texts.put(f"schedules/{NAME}.json", b'{"schedule": {')
    site.schedules.tick()
    assert site.schedules.state() == "broken"
    for browser in (site.ann, site.bob):
        assert words(browser.get(f"/schedules/{NAME}").body).count("is not JSON") == 1


def test_a_new_one_is_not_called_broken(site: Site) -> None:
    """Until the next tick has looked at it its page and the list say that it is new, and offer no step yet."""
    path = f"/schedules/{NAME}"
    assert site.ann.post("/schedules", {"name": NAME, "text": text(), "before": ""}).status == 303
    for page in (site.bob.get(path).body, site.bob.get("/schedules").body):
        assert '<span class="badge new">new</span>' in page
        assert "not looked at yet: within a minute" in page
        assert "broken" not in page
    assert f"{path}/pause" not in site.bob.get(path).body
    site.schedules.tick()
    assert '<span class="badge unapproved">' in site.bob.get(path).body
    assert f"{path}/pause" in site.bob.get(path).body


REFUSED_IN_A_HOLD = ("approve", "decide", "keep", "now", "preview")


def test_what_a_hold_refuses_is_not_offered(site: Site) -> None:
    """No step of a schedule that is refused during a hold has a button then; the page says who may release it."""
    wait_for_a_decision(site)
    site.save(text("Hello"))
    path = f"/schedules/{NAME}"
    ledger = DynamoLedger(site.world.client("dynamodb"), LEDGER, lambda: 1_763_700_000.0)

    def offered() -> set[str]:
        return set(re.findall(rf'{path}/(\w+)"', site.bob.get(path).body))

    assert offered() >= set(REFUSED_IN_A_HOLD)
    ledger.set_hold(CAT, "wrong prices")
    try:
        page = words(site.bob.get(path).body)
        for nothing in ("approved", "decided", "counted"):
            assert f"On hold: nothing is {nothing} until it is released. You may release it" in page
        assert not offered() & set(REFUSED_IN_A_HOLD)
        assert offered() >= {"pause", "ready"}
        assert "An approver may release it." in words(site.ann.get(path).body)
    finally:
        ledger.release_hold(CAT)
    assert offered() >= set(REFUSED_IN_A_HOLD)


def test_approved_requests_are_in_the_calendar(site: Site) -> None:
    """Those that begin at a time in the next 30 days, beside the times of schedules."""
    start = "2026-12-03T10:00"
    id_ = new_request(site.ann, site.world, form={**FORM, "start": start, "timezone": "UTC"})
    assert f"/requests/{id_}" not in site.ann.get("/schedules").body
    assert site.bob.post(f"/requests/{id_}/approve", decision(site.bob, id_)).status == 303
    page = site.ann.get("/schedules").body
    assert "2026-12-03" in page
    assert f'/requests/{id_}">' in page
    assert "once, 10:00 UTC" in page


def test_pause_and_resume(site: Site) -> None:
    """By anybody who works here, with a reason that everybody reads."""
    site.save(text())
    site.approve(site.bob)
    assert site.ann.post(f"/schedules/{NAME}/pause", {"reason": "wrong prices"}).status == 303
    assert f"paused by {ANN}: wrong prices" in site.bob.get(f"/schedules/{NAME}").body
    assert site.ann.post(f"/schedules/{NAME}/resume").status == 303
    assert site.schedules.state() == "active"


def test_script_in_every_field(site: Site) -> None:
    """Whatever a file, a reason or a name holds is shown as text."""
    evil = "<script>alert(1)</script>"
    site.save(text(evil))
    site.approve(site.bob)
    site.ann.post(f"/schedules/{NAME}/pause", {"reason": evil})
    for path in ("/schedules", f"/schedules/{NAME}"):
        assert evil not in site.bob.get(path).body
    answer = site.ann.post("/schedules", {"name": evil, "text": evil, "before": ""})
    assert answer.status == 422
    assert evil not in answer.body


def test_no_session_no_token_no_page(site: Site) -> None:
    """Every page and step of schedules and of the hold wants a visitor who is signed in, and the form's token."""
    nobody = site.world.browser()
    for path in ("/schedules", f"/schedules/{NAME}", "/hold"):
        assert nobody.get(path).status == 303
    for path in ("/schedules", f"/schedules/{NAME}/pause", "/hold", "/release"):
        assert nobody.post(path, csrf="x").status == 401
        assert site.ann.post(path, csrf="x").status == 403


def test_an_unknown_schedule_is_a_page_that_says_so(site: Site) -> None:
    """As of every other address."""
    assert site.ann.get("/schedules/nothing").status == 404
    assert site.ann.post(f"/schedules/{NAME}/explode").status == 404


class Silent:
    """A function of the schedules that does not answer in time."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> Any:
        """Asked, and no answer."""
        self.events.append(json.loads(request["Payload"]))
        raise ReadTimeoutError(endpoint_url="https://lambda.eu-west-1.amazonaws.com")


def test_a_function_that_does_not_answer_is_asked_once(site: Site) -> None:
    """It takes nearly all the time that a call may take: the page that says so does not ask it again."""
    site.save(text())
    id_ = site.ann.post("/requests").location.rpartition("/")[2]
    silent = Silent()
    site.world.functions.add("schedules", silent)
    draft = {**FORM, "sources.0.schedule": NAME, "sources.1.schedule": "other", "version": "0"}
    again, body = "Try again in a minute", ""
    for n, (browser, path, fields, then) in enumerate(
        [
            (site.ann, f"/schedules/{NAME}/pause", {"reason": "x"}, "It may be done all the same"),
            (site.ann, f"/schedules/{NAME}/preview", {}, again),
            # What is asked first is what it says now: nothing has been approved.
            (site.bob, f"/schedules/{NAME}/approve", {"hash": "h", "text": "0"}, again),
            (site.ann, f"/requests/{id_}", {**draft, "do": "choose"}, again),
        ],
        1,
    ):
        answer = browser.post(path, fields)
        assert (answer.status, len(silent.events)) == (409, n), path
        assert f"The schedules do not answer. {then}" in answer.body
        body = answer.body
    # The form is there with the reason at the group's field, and says that what was typed is saved.
    fault = body.partition('data-fault="sources.0.schedule">')[2].partition("</span>")[0]
    assert fault.startswith("The schedules do not answer.")
    assert fault.endswith("Your draft is saved.")
    assert FORM["name"] in site.ann.get(f"/requests/{id_}").body


def test_names_are_not_waited_for_long() -> None:
    """They are asked for with the client that gives up soon."""
    patient, brief = Silent(), Silent()
    assert Schedules(patient, "schedules", brief, patient).names() == ()
    assert (patient.events, brief.events) == ([], [{"action": "names"}])
    assert Schedules(patient, "", brief, patient).names() == ()
    assert len(brief.events) == 1
    # Nor is what would start at a release, whose page has its button all the same.
    with pytest.raises(NoAnswer):
        Schedules(patient, "schedules", brief, patient).starting()
    assert (patient.events, brief.events[1:]) == ([], [{"action": "starting"}])


class CutOff(BaseException):
    """The call has taken all its time: Lambda ends the function where it is."""


def test_a_count_is_kept_before_anything_more_is_asked(site: Site) -> None:
    """It has been paid for: whatever takes too long after it, the page has it."""

    class Endless:
        def invoke(self, **_: Any) -> Any:
            raise CutOff

    world = site.world
    site.save(text())
    world.functions.add("audiences", Endless())
    with pytest.raises(CutOff):
        site.ann.post(f"/schedules/{NAME}/preview")
    assert "<strong>100 users</strong> as of" in site.bob.get(f"/schedules/{NAME}").body


class Slow:
    """A Lambda client of this patience. Functions take as long as `takes` says, by the action that they are asked."""

    def __init__(self, world: World, waits_s: float, takes: dict[str, float], passed: list[float]) -> None:
        self.world, self.waits_s, self.takes, self.passed = world, waits_s, takes, passed

    def invoke(self, **request: Any) -> Any:
        asked = json.loads(request["Payload"])
        takes_s = self.takes[asked.get("action", "left_out")]
        if takes_s > self.waits_s:
            self.passed.append(self.waits_s)
            raise ReadTimeoutError(endpoint_url="lambda")
        self.passed.append(takes_s)
        return self.world.functions.invoke(**request)


@pytest.mark.parametrize(
    ("takes", "status", "there", "says"),
    [
        # Quick ones leave the last one all the time that it may need.
        ({"show": 1, "preview": 1, "left_out": 11}, 200, True, "Left out: 2 have had enough campaigns"),
        ({"show": 1, "preview": 1, "left_out": 99}, 200, True, "How many would be left out as of now is not known."),
        # What the first two took is not there for the third one, which is not even asked.
        ({"show": 11, "preview": 11, "left_out": 1}, 200, True, "How many would be left out as of now is not known."),
        ({"show": 11, "preview": 3, "left_out": 6}, 200, True, "Left out: 2 have had enough campaigns"),
        ({"show": 11, "preview": 99, "left_out": 1}, 409, True, "The schedules do not answer."),
        ({"show": 99, "preview": 1, "left_out": 1}, 409, False, "The schedules do not answer."),
    ],
)
def test_a_preview_has_one_deadline(
    site: Site, takes: dict[str, float], status: int, says: str, *, there: bool
) -> None:
    """Its three questions together end before the call must: what is not known is said, and the page still comes."""
    world, passed = site.world, list[float]()
    site.save(text())
    world.audiences.answer = {"users": 100, "left_out": {"capped": 2}, "as_of": "2026-12-01T08:00:00+00:00"}
    patient, middle, brief = (Slow(world, waits_s, takes, passed) for waits_s in (26.0, 12.0, 7.0))
    world.app = App(
        world.settings, world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send, ask_client=patient,
        next_client=middle, brief_client=brief, call_time=CallTime(lambda: sum(passed)),
    )  # fmt: skip
    world.context = type("Context", (), {"get_remaining_time_in_millis": lambda _self: 27_900})()
    answer = site.ann.post(f"/schedules/{NAME}/preview")
    assert sum(passed) < 27
    assert (answer.status, says in words(answer.body)) == (status, True), words(answer.body)
    # Whatever happened, it is the schedule's own page, and says how many would get it where that is known.
    assert ("Whom the next time would reach" in answer.body) is there
    counted = takes["preview"] < 12 and there
    assert ("<strong>100 users</strong> as of" in answer.body) is counted


@pytest.mark.parametrize(
    ("show_s", "approve_s", "status"),
    [(0, 25, 303), (2, 17, 303), (8, 17, 303), (2, 19, 409), (10, 11, 303), (10, 13, 409), (17, 6, 303), (21, 1, 409)],
)
def test_what_changes_something_has_most_of_what_is_left(
    site: Site, show_s: float, approve_s: float, status: int
) -> None:
    """The question before it may take its time: an approval waits longer than the two questions of a page."""
    world, passed = site.world, list[float]()
    site.save(text())
    seen = site.schedules.overview.answer({"action": "show", "schedule": NAME})
    assert seen is not None
    takes = {"show": show_s, "approve": approve_s}
    patient, later, middle, brief = (Slow(world, waits_s, takes, passed) for waits_s in (26.0, 18.0, 12.0, 7.0))
    world.app = App(
        world.settings, world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send, ask_client=patient,
        later_client=later, next_client=middle, brief_client=brief, call_time=CallTime(lambda: sum(passed)),
    )  # fmt: skip
    world.context = type("Context", (), {"get_remaining_time_in_millis": lambda _self: 27_900})()
    answer = site.bob.post(f"/schedules/{NAME}/approve", {"hash": seen["hash"], "text": "0"})
    assert (answer.status, sum(passed) < 27) == (status, True)
    site.schedules.tick()
    assert (site.schedules.state() == "active") is (status == 303)


def test_how_long_the_clients_wait() -> None:
    """What the deadline reckons with is what they wait: to connect, and for the answer."""
    known = {
        ASKED_ONCE: ASKED_ONCE_S, ASKED_LATER: ASKED_LATER_S, ASKED_NEXT: ASKED_NEXT_S, ASKED_BRIEFLY: ASKED_BRIEFLY_S,
    }  # fmt: skip
    for config, waits_s in known.items():
        options: Any = config
        assert options.connect_timeout + options.read_timeout == waits_s
        assert options.retries["total_max_attempts"] == 1


def test_a_refusal_is_read_where_there_is_no_time_for_the_page(site: Site) -> None:
    """It took nearly the whole call: why it was refused is said all the same."""
    world, passed = site.world, list[float]()
    site.save(text())
    slow = Slow(world, 26.0, {"resume": 25, "show": 1}, passed)
    world.app = App(
        world.settings, world.client, world.clock, key=b"k" * 32, send_mail=world.mailbox.send, ask_client=slow,
        next_client=slow, brief_client=slow, call_time=CallTime(lambda: sum(passed)),
    )  # fmt: skip
    world.context = type("Context", (), {"get_remaining_time_in_millis": lambda _self: 27_900})()
    answer = site.ann.post(f"/schedules/{NAME}/resume")
    assert (answer.status, "nudge is not paused" in words(answer.body).lower()) == (409, True), words(answer.body)
    assert passed == [25]


class TestHold:
    """The button that stops everything."""

    def test_approvers_hold_and_release(self, site: Site) -> None:
        """With a reason; a release lists before what starts then."""
        assert site.ann.post("/hold", {"reason": "x"}).status == 403
        assert site.bob.post("/hold", {"reason": " "}).status == 422
        assert site.bob.post("/hold", {"reason": "wrong prices"}).status == 303
        assert site.world.control.events[-1] == {"action": "hold", "reason": "wrong prices", "by": BOB}
        item: dict[str, Any] = {"pk": {"S": "hold"}, "sk": {"S": "hold"}, "since_ms": {"N": "1"}, "held_by": {"S": BOB}}
        site.world.client("dynamodb").put_item(TableName=LEDGER, Item=item)
        page = site.bob.get("/hold").body
        assert "<li>run r1</li>" in page
        assert site.ann.post("/release").status == 403
        assert site.bob.post("/release").status == 303
        assert site.world.control.events[-1] == {"action": "release", "by": BOB}

    def test_released_where_the_schedules_do_not_answer(self, site: Site) -> None:
        """The page has its button, and says that it is not known what starts."""
        item: dict[str, Any] = {"pk": {"S": "hold"}, "sk": {"S": "hold"}, "since_ms": {"N": "1"}, "held_by": {"S": BOB}}
        site.world.client("dynamodb").put_item(TableName=LEDGER, Item=item)
        site.world.functions.add("schedules", Silent())
        page = site.bob.get("/hold").body
        assert "What would start is not known. The schedules do not answer." in page
        assert "Nothing waits to start" not in page
        assert "What is due by then starts, and what is sent cannot be undone." in page
        assert 'action="/prod/release"' in page

    def test_by_the_ledger_where_lambda_has_no_room(self, site: Site) -> None:
        """What is to be stopped may be what takes all the room: the hold counts all the same, and its release."""
        site.world.control.refuses_with = "TooManyRequestsException"
        assert site.bob.post("/hold", {"reason": "wrong prices"}).status == 303
        assert "holds it since" in site.ann.get("/schedules").body
        assert "wrong prices" in site.ann.get("/hold").body
        assert site.bob.post("/release").status == 303
        assert "On hold" not in site.ann.get("/hold").body
        site.bob.post("/hold", {"reason": "again"})
        assert "again" in site.ann.get("/hold").body


def ordered(site: Site) -> list[Any]:
    """The requests that the audience function was given."""
    found = []
    for event in site.world.audiences.events:
        key = {"pk": {"S": f"run#{event['prepare']}"}, "sk": {"S": "preparation"}}
        item = site.world.client("dynamodb").get_item(TableName=LEDGER, Key=key)["Item"]
        found.append(json.loads(item["request"]["S"]))
    return found


def dated(ready: str) -> str:
    """A schedule whose files are written for each day, with a marker."""
    return json.dumps(json.loads(text()) | {"audience": {"prefix": "audiences/$day/", "ready": ready}})


def of_a_day(site: Site, title: str = "Hi", **campaign: Any) -> str:
    """A schedule whose audience is a query of the day; the query is stored."""
    site.world.put_query("day-2", parameters={"day": {"type": "date"}})
    for ending in ("sql", "json"):
        site.schedules.texts.put(f"queries/day-2.{ending}", b"{}")
    body = json.loads(text(title))
    body["audience"] = {"query": {"name": "day-2", "parameters": {"day": "$day"}}}
    body["campaign"] |= campaign
    return json.dumps(body)


SCHEDULED = {**FORM, "sources.0.schedule": NAME}


def test_a_schedules_audience_in_a_request(site: Site) -> None:
    """Taken with its version, counted as of today, left out whom it leaves out; approvers read where it is from."""
    exclude = {"parts": [{"key": "standing/staff.csv"}]}
    site.save(of_a_day(site, exclude=exclude))
    site.approve(site.bob)
    version = site.schedules.store.read(NAME).hash  # type: ignore[union-attr]
    # Neither is an edit that nobody has approved, nor a pause.
    site.save(of_a_day(site, "New", exclude={"parts": [{"key": "standing/other.csv"}]}))
    site.bob.post(f"/schedules/{NAME}/pause", {"reason": "x"})
    id_ = site.ann.post("/requests").location.rpartition("/")[2]
    opened = site.ann.post(f"/requests/{id_}", {**FORM, "version": "0", "do": "add_source"}).body
    assert f'<option value="{NAME}">{NAME}</option>' in opened
    assert site.ann.post(f"/requests/{id_}", {**SCHEDULED, "version": "1", "do": "choose"}).status == 303
    page = site.ann.get(f"/requests/{id_}")
    assert f'name="sources.0.version" value="{version}"' in page.body
    assert "as of today in UTC" in page.body
    fields = {**SCHEDULED, "sources.0.version": version, "version": page.field("version")}
    assert site.ann.post(f"/requests/{id_}", {**fields, "do": "count"}).status == 303
    copy = f"schedules/approved/{NAME}/{version}/"
    assert ordered(site) == [{"query": {"name": "day-2", "parameters": {"day": "2026-11-21"}, "copy": copy}}]
    site.world.finish_counts()
    version_now = site.ann.get(f"/requests/{id_}").field("version")
    assert site.ann.post(f"/requests/{id_}", {**fields, "version": version_now, "do": "submit"}).status == 303
    review = site.cat.get(f"/requests/{id_}").body
    assert f"as schedule {NAME}, version {version[:12]}" in review
    assert "query day-2 (day: 2026-11-21)" in review
    assert "who is listed in <code>standing/staff.csv</code> when it begins" in review
    site.world.audiences.answer = {"users": 500, "left_out": {"exclude": 2}, "as_of": "2026-12-01T08:00:00+00:00"}
    assert "2 on the exclude list" in site.cat.get(f"/requests/{id_}/left-out").body
    assert site.world.audiences.events[-1]["exclude"] == [{"key": "standing/staff.csv"}]
    assert site.cat.post(f"/requests/{id_}/approve", decision(site.cat, id_)).status == 303
    written = site.world.client("s3").get_object(Bucket=BUCKET, Key=f"batches/{id_}.json")["Body"].read()
    assert json.loads(written)["campaign"]["exclude"] == exclude


def test_a_schedules_audience_is_taken_again(site: Site) -> None:
    """With the version that is in force by then; counted before, it is to be counted again."""
    site.save(text())
    site.approve(site.bob)
    id_ = site.ann.post("/requests").location.rpartition("/")[2]
    site.ann.post(f"/requests/{id_}", {**SCHEDULED, "version": "0", "do": "choose"})
    first = site.ann.get(f"/requests/{id_}").field("sources.0.version")
    site.save(text("New"))
    site.approve(site.bob)
    fields = {**SCHEDULED, "sources.0.version": first}
    page = site.ann.get(f"/requests/{id_}")
    site.ann.post(f"/requests/{id_}", {**fields, "version": page.field("version"), "do": "save"})
    assert site.ann.get(f"/requests/{id_}").field("sources.0.version") == first
    page = site.ann.get(f"/requests/{id_}")
    # Below a group that was emptied: by the numbers of the page.
    moved = {name.replace("sources.0", "sources.1"): value for name, value in fields.items()}
    again = {**moved, "sources.0.files": "", "version": page.field("version"), "do": "take:sources.1"}
    assert site.ann.post(f"/requests/{id_}", again).status == 303
    assert site.ann.get(f"/requests/{id_}").field("sources.0.version") == site.schedules.store.read(NAME).hash  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("cron", "zone", "at"),
    [
        ("0 8,20 * * *", "America/New_York", ""),
        ("0 * * * *", "UTC", ""),
        ("30 2 * * *", "America/New_York", ""),  # on 14 March there is no such minute
        ("0 9 * * 1-7", "Pacific/Kiritimati", ""),
        ("0 0 * * *", "America/New_York", "09:00"),  # each user's own: it begins on the day before
        ("0 0 * * *", "Asia/Tokyo", "23:30"),
    ],
)
def test_the_days_of_a_schedules_audience(cron: str, zone: str, at: str) -> None:
    """What `$day`, `$now` and `$previous` are of a date is what they are of its first time on that date."""
    function = ScheduleFunction()
    body = json.loads(text())
    body["schedule"] |= {"when": {"cron": cron, "timezone": zone}, "ends": "2027-11-30"}
    asked = {"day": "$day", "now": "$now", "previous": "$previous"}
    body["audience"] = {"query": {"name": "q", "parameters": asked}}
    body["campaign"] |= {"local_time": {"at": at, "fallback_timezone": "UTC"}} if at else {}
    for key, stored in {key_of(NAME): json.dumps(body).encode(), "queries/q.sql": b"", "queries/q.json": b"{}"}.items():
        function.texts.put(key, stored)
    answer = function.overview.answer({"action": "audience", "schedule": NAME})
    taken = msgspec.convert(answer, TakenAudience)
    schedule = read_schedule(NAME, json.dumps(body).encode())
    for day in (date(2026, 12, 2), date(2027, 3, 14), date(2027, 7, 1)):
        noon = datetime.combine(day, time(12), ZoneInfo(zone))
        around = schedule.timetable.between(noon - timedelta(days=3), noon + timedelta(days=3))
        expected = values_of(schedule, next(one for one in around if one.local.date() == day), None)
        assert taken.request(noon)["query"]["parameters"] == {name[1:]: value for name, value in expected.items()}


def test_a_version_has_its_own_queries(site: Site) -> None:
    """What is counted as a version of a schedule is asked by the queries that were approved with it, edited or not."""
    site.save(of_a_day(site))
    site.approve(site.bob)
    version = site.schedules.store.read(NAME).hash  # type: ignore[union-attr]
    site.schedules.texts.put("queries/day-2.sql", b"SELECT everybody")
    id_ = site.ann.post("/requests").location.rpartition("/")[2]
    site.ann.post(f"/requests/{id_}", {**SCHEDULED, "version": "0", "do": "count"})
    (asked,) = ordered(site)
    copy = asked["query"]["copy"]
    assert copy == f"schedules/approved/{NAME}/{version}/"
    assert site.schedules.texts.get(copy + "queries/day-2.sql") == b"{}"


def test_a_version_that_is_not_in_force_has_a_copy_of_its_queries(site: Site) -> None:
    """Before its first approval: what its file says now, and the queries as they are now, and not as they will be."""
    site.save(of_a_day(site))
    answer = site.schedules.overview.answer({"action": "audience", "schedule": NAME})
    assert answer is not None
    copy = answer["audience"]["query"]["copy"]
    assert copy == f"schedules/approved/{NAME}/{answer['version']}/"
    assert site.schedules.texts.get(copy + "queries/day-2.json") == b"{}"


@pytest.mark.parametrize("version", ["x", "A" * 64, "a" * 5000])
def test_a_version_that_is_none_is_taken_again(site: Site, version: str) -> None:
    """Nothing of what is posted keeps a draft from being opened."""
    site.save(text())
    site.approve(site.bob)
    id_ = site.ann.post("/requests").location.rpartition("/")[2]
    fields = {**SCHEDULED, "sources.0.version": version, "version": "0", "do": "save"}
    assert site.ann.post("/preview", fields).status == 200
    assert site.ann.post(f"/requests/{id_}", fields | {"do": "autosave"}).status == 200
    page = site.ann.get(f"/requests/{id_}")
    assert page.status == 200
    assert site.ann.post(f"/requests/{id_}", fields | {"version": page.field("version")}).status == 303
    assert site.ann.get(f"/requests/{id_}").field("sources.0.version") == site.schedules.store.read(NAME).hash  # type: ignore[union-attr]
    long = fields | {"sources.0.schedule": "n" * 3000, "version": site.ann.get(f"/requests/{id_}").field("version")}
    answer = site.ann.post(f"/requests/{id_}", long)
    assert (answer.status, "There is no such schedule." in answer.body) == (422, True)


@pytest.mark.parametrize(
    ("body", "name", "words"),
    [
        ("", "nothing", "There is no schedule &#39;nothing&#39;."),
        ("no JSON", NAME, "Nothing of it is in force, and its file has faults: line 1, column 1: is not JSON"),
        (dated("done.json"), NAME, "Among its files is done.json, which has no users"),
    ],
)
def test_a_schedule_that_cannot_be_taken(site: Site, body: str, name: str, words: str) -> None:
    """At its field, on the page with what was typed, and nothing is counted."""
    if body:
        site.schedules.texts.put(key_of(name), body.encode())
    id_ = site.ann.post("/requests").location.rpartition("/")[2]
    fields = {**FORM, "sources.0.schedule": name, "version": "0", "do": "count"}
    answer = site.ann.post(f"/requests/{id_}", fields)
    assert answer.status == 422
    assert words in answer.body.split('data-fault="sources.0.schedule">')[1].partition("</span>")[0]
    assert not site.world.audiences.events
    # Kept, and said again: it is not taken.
    preview = json.loads(site.ann.post("/preview", {**FORM, "sources.0.schedule": name}).body)
    assert "is not taken into this draft" in preview["faults"]["sources.0.schedule"]
