"""The campaign's page during and after: how far it is, what it brought about, what people may do with it."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import unescape
from io import BytesIO
from typing import Any

import msgspec
import pytest

from approval.pages import utc
from notifier.model.account import Account, ArmAccount
from notifier.model.run import source_of
from notifier.stores.ledger import DynamoLedger
from reporting.pictures import WIDE, curve_picture, interval_picture
from tests.approval_site import ANN, BOB, BUCKET, CAT, FORM, LEDGER, Browser, World, decision, moto_server, new_request

DECLARED = b'{"files": ["standing/e/"], "complete": {"marker": "standing/m"}}'
GOAL = {"goal": "opened", "goal_window_h": "24", "goal_lift_percent": "20", "goal_base_percent": "5"}
WINNER = {"test_percent": "20", "decide_after_h": "24", "decide_by_h": "48", "otherwise": "stop"}
VARIANTS = {
    "variants.0.name": "Short <b>", "variants.0.percent": "45", "variants.0.title": "a",
    "variants.1.name": "Long", "variants.1.percent": "45", "variants.1.title": "b",
}  # fmt: skip
JOINED: dict[str, Any] = {
    "arms": [
        {"arm": "short-b", "users": 4_500, "conversions": 700},
        {"arm": "long", "users": 4_500, "conversions": 450},
        {"arm": "control", "users": 1_000, "conversions": 90},
    ],
    "curve": [
        {"arm": "short-b", "hours": 2.0, "conversions": 300},
        {"arm": "short-b", "hours": 20.0, "conversions": 700},
        {"arm": "control", "hours": 20.0, "conversions": 90},
    ],
    "first_at": "2026-11-21T14:00:00Z",
    "last_at": "2026-11-21T14:10:00Z",
    "complete_through": "2026-11-22T14:00:00Z",
    "is_final": True,
    "seen": 1_300,
    "unknown": 60,
    "unreadable": 0,
}


class Schedules:
    """The function of the schedules: keeps what it was asked, and refuses where it is to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.refused = ""

    def invoke(self, **request: Any) -> dict[str, Any]:
        """One event."""
        self.events.append(json.loads(request["Payload"]))
        answer = {"refused": self.refused} if self.refused else {"run_id": "r"}
        return {"StatusCode": 200, "Payload": BytesIO(json.dumps(answer).encode())}


class Sent:
    """A campaign with a goal and a winner that was approved; its run is what `lane` says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ann, self.bob = world.browser(ANN), world.browser(BOB)
        world.client("s3").put_object(Bucket=BUCKET, Key="conversions/opened.json", Body=DECLARED)
        self.id = new_request(self.ann, world, form={**FORM, **GOAL, **WINNER, **VARIANTS})
        assert self.bob.post(f"/requests/{self.id}/approve", decision(self.bob, self.id)).status == 303
        head = world.client("s3").head_object(Bucket=BUCKET, Key=f"batches/{self.id}.json")
        self.run_id = source_of(BUCKET, f"batches/{self.id}.json", head["VersionId"], head["ETag"]).run_id

    def lane(self, state: str = "done", ending: str = "completed", **more: Any) -> None:
        """The run's one lane."""
        arm = ArmAccount(assigned=100, accepted=30, rejected={"UNREGISTERED": 6}, held=0)
        account = Account(users=200, devices=72, arms={"short-b": arm, "long": arm})
        began = int(datetime(2026, 11, 21, 14, tzinfo=UTC).timestamp() * 1000)
        values: dict[str, Any] = {
            "account": msgspec.json.encode(account).decode(), "started_at_ms": began, "sending_ms": 10_000, **more,
        }  # fmt: skip
        ended: dict[str, Any] = {"ending": ending, "ended_at_ms": began + 60_000} if state == "done" else {}
        self.world.lane(self.run_id, state=state, **values, **ended)

    def count(self, joined: Mapping[str, Any] | None = None, reason: str = "") -> None:
        """Ask for the count, and answer it as the audience function does."""
        asked = self.ann.post(f"/requests/{self.id}/conversions")
        assert asked.status == 303, asked.body
        name = self.world.audiences.events[-1]["prepare"]
        key = {"pk": {"S": f"run#{name}"}, "sk": {"S": "preparation"}}
        dynamodb = self.world.client("dynamodb")
        item = dynamodb.get_item(TableName=LEDGER, Key=key)["Item"]
        assert item["stage"]["S"] == "conversions"
        assert json.loads(item["request"]["S"]) == {"run_id": self.run_id}
        if joined is not None:
            manifest = f"audiences/conversions/{name}.json"
            self.world.client("s3").put_object(Bucket=BUCKET, Key=manifest, Body=json.dumps(joined).encode())
            item |= {"state": {"S": "prepared"}, "manifest": {"S": manifest}}
        elif reason:
            item |= {"state": {"S": "failed"}, "reason": {"S": reason}}
        dynamodb.put_item(TableName=LEDGER, Item=item)

    def decided(self, **about: str | int) -> None:
        """The item of the decision, as the schedules' function writes it."""
        key = f"decision#{self.run_id}"
        item = {"pk": {"S": key}, "sk": {"S": "decision"}, **{name: _typed(one) for name, one in about.items()}}
        self.world.client("dynamodb").put_item(TableName=LEDGER, Item=item)

    def page(self, browser: Browser | None = None) -> str:
        """The campaign's page."""
        return (browser or self.ann).get(f"/requests/{self.id}").body


def _typed(value: str | int) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


@pytest.fixture(scope="module")
def sent() -> Iterator[Sent]:
    """One campaign; each test says what its run is."""
    with moto_server() as address:
        world = World(address, schedule_function="schedules")
        world.functions.add("schedules", Schedules())
        yield Sent(world)


@pytest.fixture
def schedules(sent: Sent) -> Schedules:
    """The function of the schedules, without anything asked."""
    function = Schedules()
    sent.world.functions.add("schedules", function)
    return function


def test_while_it_is_sent(sent: Sent) -> None:
    """How far it is, its pace and what is left; pause, cancel and the hold of all are in one place."""
    sent.lane("running")
    page = sent.page(sent.bob)
    for words in (
        "72 of about 120 devices done",
        "<dt>Devices a second</dt><dd>7</dd>",
        "about 7 s",
        "Short &lt;b&gt;",
        "the app was removed",
    ):
        assert words in page, words
    steer = page[page.index('data-part="steer"') : page.index('data-part="result"')]
    for words in ("/pause", "Yes, cancel the rest", "This cannot be undone", "/hold"):
        assert words in steer
    # Of one that was cancelled not all users are known: nothing says that these are all.
    assert "<dt>Users begun</dt><dd>200</dd>" in page
    sent.lane(ending="cancelled")
    assert "<dt>Users begun</dt><dd>200</dd>" in sent.page()
    sent.lane()
    assert "<dt>Users in all</dt><dd>200</dd>" in sent.page()
    sent.lane("running")
    # A person with another role in this stack, and no part in this campaign, sees the figures and no button.
    stranger = sent.world.browser("x@marketing.example.com")
    assert "/pause" not in sent.page(stranger)
    assert stranger.post(f"/requests/{sent.id}/pause").status == 403
    assert stranger.post(f"/requests/{sent.id}/conversions").status == 403


REFUSED = (
    "credentials_refused: THIRD_PARTY_AUTH_ERROR by fcm, with renewed credentials too;"
    " fcm secret app_push/fcm: is the service account of the app's Firebase project, and may it send?"
)


FOLDED = r'<details(?: class="small")?><summary>For the engineer</summary>.*?</details>'


def without_folded(page: str) -> str:
    """What a person sees who opens nothing."""
    return re.sub(FOLDED, "", page)


def test_a_lane_that_stopped_the_others(sent: Sent) -> None:
    """The others were paused by a part of the run, and by no person: its reason is said once, in words."""
    account = msgspec.json.encode(Account(devices=5)).decode()
    passed_on = f"lane 0: {REFUSED}"
    sent.lane("stopped", reason=REFUSED, account=account)
    sent.world.lane(sent.run_id, 1, state="paused", control="pause", control_by=passed_on, account=account)
    seen = without_folded(sent.page(sent.bob))
    assert "Google refuses our key" in seen
    assert "asked by" not in seen[seen.index('id="run-title"') : seen.index('data-part="steer"')]
    assert "credentials_refused" not in seen
    # Cancelled before the part that failed could write why.
    ended: dict[str, Any] = {"state": "done", "ending": "cancelled", "control": "cancel", "account": account}
    sent.world.lane(sent.run_id, **ended, control_by=f"failed: {passed_on}")
    sent.world.lane(sent.run_id, 1, **ended, control_by=f"failed: {passed_on}")
    seen = without_folded(sent.page(sent.bob))
    assert "One part of it stopped the others: Google refuses our key" in seen
    assert "credentials_refused" not in seen
    sent.world.client("dynamodb").delete_item(
        TableName=LEDGER, Key={"pk": {"S": f"run#{sent.run_id}"}, "sk": {"S": "lane#0001"}}
    )


def test_a_run_that_googles_key_stopped(sent: Sent) -> None:
    """Who refuses the key, the secret by its own name, and what to do; it can be resumed or cancelled, and is not over.

    The browser's test of the same (`test_a_run_that_stopped`) sends to Google's stand-in, and is slow.
    """
    sent.lane("stopped", reason=REFUSED)
    page = sent.page(sent.bob)
    run = unescape(page[page.index('id="run-title"') : page.index('data-part="steer"')])
    for words in (
        '<span class="badge stopped">stopped</span>',
        "72 of about 120 devices done · Google refuses our key, also after it was read again</span>",
        "It stopped by itself, and nothing is lost. Ask an engineer to correct the cause: then resume, or cancel",
    ):
        assert words in run, words
    # Codes, the secret's name and ids are for the engineer: folded away, and whole.
    seen, folded = without_folded(page), unescape("".join(re.findall(FOLDED, page)))
    for code in ("THIRD_PARTY_AUTH_ERROR", "credentials_refused", "app_push/fcm", sent.run_id):
        assert code not in seen, code
    assert REFUSED in folded
    assert f"Run <code>{sent.run_id}</code>" in folded
    steer = page[page.index('data-part="steer"') : page.index('data-part="result"')]
    assert f"/requests/{sent.id}/resume" in steer
    assert f"/requests/{sent.id}/pause" not in steer
    assert "Yes, cancel the rest" in steer
    assert f'href="/prod/requests/{sent.id}"' in sent.bob.get("/requests").body
    assert "stopped" in sent.bob.get("/requests").body
    sent.lane("running")
    assert "It stopped by itself" not in sent.page(sent.bob)


def test_what_it_brought_about(sent: Sent) -> None:
    """Verdicts in words, and the report's own pictures and figures, by the names that people gave the variants."""
    sent.lane()
    sent.count(JOINED)
    page = sent.page()
    verdicts = re.findall(
        r'<li class="(\w+)"><strong>(.*?)</strong> (.*?)<br><span class="small">(.*?)</span></li>', page
    )
    assert [one[:2] for one in verdicts] == [("better", "Short &lt;b&gt;"), ("not_shown", "Long")]
    assert verdicts[0][2].startswith("better than no push: between +")
    often = "less than 1 of 1,000,000 campaigns"
    assert verdicts[0][3] == f"Probably not chance: such a difference would be seen in {often} without any effect."
    assert verdicts[1][3].startswith("It may be chance: such a difference ")
    pictures = re.findall(r"<svg .*?</svg>", page)
    assert len(pictures) == 4  # two, each for a large screen and for a phone
    for picture in pictures:
        assert re.search(
            r'aria-labelledby="([\w-]+)-title \1-desc".*<title id="\1-title">.*<desc id="\1-desc">', picture
        )
        assert "Short <b>" not in picture
        assert "style=" not in picture
    assert "700" in page
    result = page[page.index('id="result-title"') : page.index('data-part="live"')]
    assert "<td>15.6 %</td>" in result
    assert "Conversions are complete through <time" in result
    # No flag of the command line, and no figure as a program writes it.
    text = re.sub(r"<[^>]+>", " ", result)
    assert not re.search(r"--\w|\d%|\bp\b|\d{4}-\d\d-\d\d|χ", text), text
    # Names of ids are the only ones of the page.
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_winner_to_be_decided_is_mailed_with_its_page(sent: Sent) -> None:
    """Who reads the mail decides on the page: no command and no flag is in it, and no term of the test's."""
    decision = {
        "winner": sent.run_id, "campaign": "welcome", "arm": "", "by": "", "request_id": sent.id, "figures": [],
        "words": "a is better: between +4 % and +21 % (at any look, smallest lift +20 %): a person is to decide",
    }  # fmt: skip
    sent.world.mailbox.mails.clear()
    sent.world.app.events.ask_approvers(decision)
    [text] = {mail["text"] for mail in sent.world.mailbox.mails}
    assert "an approver does it on its page." in text
    assert f"/requests/{sent.id}" in text
    assert "between +4 % and +21 %: a person" in text
    assert "--" not in text


def test_the_pictures_are_the_reports(sent: Sent) -> None:
    """The page draws with the report's functions, from equal figures: of a campaign without odd names byte for byte."""
    from approval.result_view import _as_named
    from approval.results import Counted, outcome
    from notifier.model.campaign import Goal
    from notifier.model.campaign_reading import read_campaign
    from notifier.model.conversion_counts import ConversionCounts
    from reporting.outcome import outcome_of

    campaign = read_campaign(
        {"id": "c", "message": {"title": "t"}, "control_percent": 10, "goal": {"name": "opened", "window_h": 24}}
    )
    curve = [one | {"arm": one["arm"].replace("short-b", "default")} for one in JOINED["curve"]]
    found = msgspec.convert(
        {**JOINED, "arms": [JOINED["arms"][0] | {"arm": "default"}, JOINED["arms"][2]], "curve": curve},
        ConversionCounts,
    )
    sent.lane()
    run = sent.world.app.events._runs.run(sent.run_id)
    assert run is not None
    named, counted = _as_named(campaign, Counted(0, found=found), {})
    mine = outcome(named, run, counted, other_source="")
    theirs = outcome_of(
        named,
        {"the push": (4_500, 700), "control": (1_000, 90)},
        [("the push", 2.0, 300), ("the push", 20.0, 700), ("control", 20.0, 90)],
        is_final=True,
        days=0,
        complete_through=None,
        unknown_share=0.0,
    )
    assert isinstance(campaign.goal, Goal)
    assert mine is not None
    assert interval_picture(mine.comparison, WIDE) == interval_picture(theirs.comparison, WIDE)
    assert curve_picture(mine) == curve_picture(theirs)
    assert "the push 15.6 % after 20 hours; control 9.0 % after 20 hours" in curve_picture(mine)


def test_a_count_that_failed_or_is_not_over(sent: Sent) -> None:
    """While it is counted the page follows it; a reason is said in the function's words, and it can be asked again."""
    sent.world.clock.forward(hours=1)
    sent.lane()
    sent.count()
    page = sent.page()
    assert "The conversions are being counted" in page
    assert "data-live" in page
    sent.count(reason="s3://campaigns/standing/e/ is empty")
    page = sent.page()
    assert "They could not be counted: s3://campaigns/standing/e/ is empty" in page
    assert "Count again" in page


def test_counts_are_bounded(sent: Sent) -> None:
    """Each count reads all rows of the run: so many in ten minutes, then it is refused with a reason."""
    sent.world.clock.forward(hours=1)
    sent.lane()
    answers = [sent.ann.post(f"/requests/{sent.id}/conversions").status for _ in range(5)]
    assert answers == [303] * 4 + [409]


def test_a_rehearsal_has_nothing_to_compare(sent: Sent) -> None:
    """Of a rehearsal no conversions are counted."""
    sent.world.clock.forward(hours=1)
    sent.lane(account=msgspec.json.encode(Account(users=10, devices=10, dry=10)).decode())
    assert "nobody got a push" in sent.ann.post(f"/requests/{sent.id}/conversions").body
    assert "Count the conversions" not in sent.page()


def test_the_winner_by_a_person(sent: Sent, schedules: Schedules) -> None:
    """Why it is not decided; an approver decides after a question; the function is asked once, by name."""
    sent.lane()
    sent.decided(state="stopped", words="no variant is shown to be better than no push", figures='{"long": [9, 1]}')
    page = sent.page(sent.bob)
    assert "A person is to decide: no variant is shown to be better than no push" in page
    assert "Until a person decides, the others get nothing." in page
    assert "Long: 1 of 9" in page
    assert "This cannot be undone" in page
    assert "Yes, decide it so" not in sent.page(sent.world.browser("x@marketing.example.com"))
    path = f"/requests/{sent.id}/decide_winner"
    assert sent.bob.post(path, {"arm": "nobody"}).status == 409
    assert schedules.events == []
    assert sent.bob.post(path, {"arm": "long"}).status == 303
    assert schedules.events == [{"action": "winner", "run_id": sent.run_id, "arm": "long", "by": BOB}]
    assert "<strong>winner decided</strong> by bob@example.com: long goes to the others" in sent.page()


def test_no_winner_is_decided_on_the_page_during_a_hold(sent: Sent) -> None:
    """In its place the approver reads who may release everything; after the release it is there again."""
    sent.lane()
    sent.decided(state="stopped", words="no variant is shown to be better than no push")
    ledger = DynamoLedger(sent.world.client("dynamodb"), LEDGER, lambda: 1_763_700_000.0)
    ledger.set_hold(CAT, "wrong prices")
    try:
        page = sent.page(sent.bob)
        assert "On hold: nothing is decided until it is released. You may" in page
        assert "/decide_winner" not in page
        sent.count()
        assert "The conversions are counted once the hold is released." in sent.page()
    finally:
        ledger.release_hold(CAT)
    assert "/decide_winner" in sent.page(sent.bob)


def test_a_winner_that_is_not_decided(sent: Sent) -> None:
    """Since when the test goes, and when it is decided, also before its last push is known."""
    began_ms = int(sent.world.clock().timestamp() * 1000)
    sent.lane("running", started_at_ms=began_ms)
    sent.decided(state="waiting", words="the test is being sent")
    began = utc(began_ms)
    seen = re.sub(r"<[^>]+>", "", sent.page())
    assert f"Not decided yet: the test is being sent. The test began {began}." in seen
    assert "The winner is decided 24 hours after the last push of the test, at the latest 48 hours after it." in seen
    later = {f"decide_{name}_ms": began_ms + n * 3_600_000 for name, n in (("at", 24), ("by", 48))}
    sent.lane(started_at_ms=began_ms)
    ended = utc(int(datetime(2026, 11, 21, 14, 1, tzinfo=UTC).timestamp() * 1000))
    sent.decided(state="waiting", words="conversions are counted", **later)
    seen = re.sub(r"<[^>]+>", "", sent.page())
    assert f"The test began {began} and was sent by {ended}." in seen
    assert f"decided {utc(began_ms + 24 * 3_600_000)}, at the latest {utc(began_ms + 48 * 3_600_000)}." in seen


def test_a_test_is_archived_when_its_winner_is_sent(sent: Sent) -> None:
    """Not when its run is over: the winner, and the run to the others, are still to come. One that has none is over."""
    sent.lane()
    archive = f"/requests/{sent.id}/archive"

    def may_be_archived() -> bool:
        has_button = f'{archive}"' in sent.page()
        assert (sent.ann.post(archive).status == 303) is has_button
        sent.ann.post(f"/requests/{sent.id}/unarchive")
        return has_button

    for state in ("waiting", "stopped", "decided"):
        sent.decided(state=state)
        assert not may_be_archived(), state
    sent.decided(state="over")
    assert may_be_archived()
    # Its run takes a minute to begin, and is over some time after that.
    sent.decided(state="sent", remainder="r2", decided_at_ms=int(sent.world.clock().timestamp() * 1000))
    assert not may_be_archived()
    sent.world.lane("r2", state="running")
    assert not may_be_archived()
    sent.world.lane("r2", state="done", ending="completed")
    assert may_be_archived()


def test_the_winner_is_for_approvers(sent: Sent, schedules: Schedules) -> None:
    """A requester who is no approver may not decide; what the function refuses is said in its words."""
    stranger = sent.world.browser("x@marketing.example.com")
    assert stranger.post(f"/requests/{sent.id}/decide_winner", {"arm": "long"}).status == 403
    schedules.refused = "it is decided already: long, decided by cat"
    answer = sent.world.browser(CAT).post(f"/requests/{sent.id}/decide_winner", {"arm": "control"})
    assert answer.status == 409
    assert "It is decided already: long, decided by cat." in answer.body


def test_the_remainder_is_shown(sent: Sent) -> None:
    """What went to the others, when and by whom it was decided, and how their run goes."""
    sent.lane()
    sent.world.lane(
        "feedbeef",
        state="running",
        account=msgspec.json.encode(Account(arms={"long": ArmAccount(accepted=7)})).decode(),
    )
    sent.decided(state="sent", arm="long", words="decided by bob", decided_by=BOB, remainder="feedbeef")
    page = sent.page()
    assert "<strong>Long goes to the others</strong>." in page
    assert "7 devices accepted</p>" in page
    assert "feedbeef" not in without_folded(page)
    assert "Run <code>feedbeef</code>" in page
    assert "Decide it yourself" not in page
