"""The winner of a test, from the hour of its decision to the run over the remainder, on a real table and bucket.

A tick is killed before and after each of its writes, doubled, and made with a clock that was set back: there is one
decision, written down with its figures, and one run over the remainder or none.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from audiences.store import PreparationStore
from notifier.decision_items import DecisionItem, DecisionState
from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.model.arms import Arms
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import read_campaign
from notifier.model.conversion_counts import ArmCounts, ConversionCounts
from notifier.model.remainder import other_part_of
from notifier.model.run import Ending, LaneState, Run, source_of, state_key
from notifier.stores.ledger import DynamoLedger
from notifier.stores.s3_results import S3Results
from schedules.tested import TestsOfStack
from schedules.winner import decided
from schedules.winner_steps import PREFIX, Undecidable, Winners
from schedules.winner_store import DecisionStore
from tests.contract.moto_stores import Time, client_of, make_table, moto_server, new_name

HOUR_S, DAY_S = 3_600, 86_400
LAST_S = datetime(2026, 11, 21, 9, 5, tzinfo=UTC).timestamp()
PLAIN: dict[str, Any] = {
    "id": "welcome", "message": {"title": "t"},
    "variants": [{"name": "a", "percent": 45, "message": {"title": "A"}}, {"name": "b", "percent": 44.99}],
    "control_percent": 10.01, "goal": {"name": "opened", "window_h": 24},
    "winner": {"test_percent": 20, "decide_after_h": 24, "decide_by_h": 48}, "again": True,
}  # fmt: skip
B_WINS = {"a": (4500, 450), "b": (4500, 700), "control": (1000, 100)}
NOTHING = {"a": (4500, 450), "b": (4500, 455), "control": (1000, 101)}


class Killed(BaseException):
    """The function is over, at any line."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


class Stack:
    """A stack with a test that was sent, the function that counts, and ticks."""

    def __init__(self, endpoint: str, campaign: Mapping[str, Any] = PLAIN, *, rehearse: bool = False) -> None:
        self.time = Time()
        self.time.s = LAST_S
        self.campaign = read_campaign(campaign)
        self.s3, self.bucket = client_of("s3", endpoint), new_name("bucket")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.dynamodb, self.table = client_of("dynamodb", endpoint), new_name("ledger")
        make_table(self.dynamodb, self.table)
        self.ledger = DynamoLedger(self.dynamodb, self.table, self.time)
        self.asked: list[str] = []
        self.changed = ""
        self.logged: list[tuple[str, str, bool]] = []
        self.mailed: list[dict[str, Any]] = []
        self.on_write: Callable[[], object] = lambda: None
        for client, operation in ((self.dynamodb, "dynamodb.UpdateItem"), (self.dynamodb, "dynamodb.PutItem"),
                                  (self.s3, "s3.PutObject")):  # fmt: skip
            for moment in ("before-call", "after-call"):
                client.meta.events.register(f"{moment}.{operation}", lambda **_: self.on_write())
        self.run_id = self._sent(rehearse=rehearse)

    def _sent(self, *, rehearse: bool) -> str:
        """A run that has ended."""
        source = source_of(self.bucket, "batches/welcome.json", "v1", "e1")
        run = Run(source.run_id, source, int(LAST_S * 1000))
        self.ledger.open_run(run)
        parts = (PinnedObject(self.bucket, "audiences/prepared/x/part-00000.jsonl", "v7", "e7", 9),)
        admitted = AdmittedCampaign(self.campaign, parts, False, (), rehearse)
        S3Results(self.s3, self.bucket).put_state(run.run_id, "campaign", admitted)
        assert self.campaign.winner is not None
        self.ledger.await_decision(run.run_id, self.campaign.winner.decide_after_h * HOUR_S * 1000)
        self.ledger.await_decision(run.run_id, 0)  # another claim enters nothing new
        self.end(run.run_id)
        return run.run_id

    def end(self, run_id: str, ending: Ending = Ending.COMPLETED, state: LaneState = LaneState.DONE) -> None:
        """How the test's run has ended."""
        self.dynamodb.update_item(
            TableName=self.table,
            Key={"pk": {"S": f"run#{run_id}"}, "sk": {"S": "lane#0000"}},
            UpdateExpression="SET #state = :done, ending = :ending",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":done": {"S": state.value}, ":ending": {"S": ending.value}},
        )

    def approve(self) -> None:
        """A person has approved the test's file."""
        item = {
            "pk": f"approved#{self.bucket}/batches/welcome.json",
            "sk": "approved",
            "approved_by": "ann@example.com",
            "request_id": "q1",
        }
        self.dynamodb.put_item(
            TableName=self.table, Item={name: {"S": value} for name, value in {**item, "sha256": "5" * 64}.items()}
        )

    def winners(self, held: str = "") -> Winners:
        """A new process."""
        tests = TestsOfStack(self.dynamodb, self.table, self.s3, self.bucket, self.asked.append, self.time)
        store = DecisionStore(self.dynamodb, self.table, self.time)

        def log(action: str, *, alarms: bool = False, **about: Any) -> None:
            self.logged.append((action, str(about.get("state", about.get("reason"))), alarms))

        return Winners(store, tests, self.time, log, lambda: held, self.mailed.append)

    def count(self, figures: Mapping[str, tuple[int, int]] | None, through_s: float | None = None) -> None:
        """The audience function counts what was asked for, or cannot; by another source than approved, or by that."""
        store = PreparationStore(self.dynamodb, self.table, self.time)
        for name in self.asked:
            found = store.read(name)
            assert found is not None
            if found.state.is_over:
                continue
            store.claim(found, "me")
            if figures is None:
                store.end(name, "me", reason="conversions/opened.json is missing")
                continue
            arms = tuple(ArmCounts(arm, users, n) for arm, (users, n) in figures.items())
            last_at = datetime.fromtimestamp(LAST_S, UTC).isoformat()
            through = datetime.fromtimestamp(through_s, UTC).isoformat() if through_s else None
            counts = ConversionCounts(arms, (), last_at, last_at, through, is_final=False, changed=self.changed)
            key = f"audiences/conversions/{name}.json"
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=msgspec.json.encode(counts))
            store.end(name, "me", manifest=key)

    def until(
        self, hours: float, figures: Mapping[str, tuple[int, int]] | None, through_h: float | None = None
    ) -> None:
        """Ticks, and counts, from now until so many hours after the last push."""
        end_s = LAST_S + hours * HOUR_S
        while True:
            self.winners().run()
            self.count(figures, LAST_S + through_h * HOUR_S if through_h is not None else None)
            if self.time.s >= end_s:
                break
            self.time.s = min(self.time.s + 6 * HOUR_S, end_s)
        for _ in range(4):
            self.time.s += 61
            self.winners().run()
            self.count(figures, LAST_S + through_h * HOUR_S if through_h is not None else None)

    @property
    def decision(self) -> DecisionItem:
        """As the table has it."""
        found = DecisionStore(self.dynamodb, self.table, self.time).read(self.run_id)
        assert found is not None
        return found

    def files(self) -> list[bytes]:
        """The batch files of remainders, every version."""
        listed = self.s3.list_object_versions(Bucket=self.bucket, Prefix=PREFIX).get("Versions", ())
        return [
            self.s3.get_object(Bucket=self.bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            for one in listed
        ]


@pytest.fixture
def stack(endpoint: str) -> Stack:
    """A stack of its own for each test."""
    return Stack(endpoint)


def test_the_winner_goes_to_the_remainder(stack: Stack) -> None:
    """Decided once conversions are complete through the hour; then a run of the winning arm and control alone."""
    stack.approve()
    stack.until(23, B_WINS, through_h=30)
    assert stack.decision.state is DecisionState.WAITING
    stack.until(25, B_WINS, through_h=24)
    found = stack.decision
    assert (found.state, found.arm, found.how) == (DecisionState.SENT, "b", "evidence")
    assert found.words.startswith("better than no push: between +")
    assert found.figures == B_WINS
    assert found.decided_at_ms >= found.decide_at_ms == int(LAST_S * 1000) + 24 * HOUR_S * 1000
    [body] = stack.files()
    decoded = json.loads(body)
    campaign = read_campaign(decoded["campaign"])
    assert (campaign.id, campaign.salt, campaign.remainder_of) == ("welcome-remainder", "welcome", stack.run_id)
    assert campaign.arms == (("b", 8999), ("control", 1001))
    assert not campaign.again
    assert decoded["audience"]["parts"] == [
        {"key": "audiences/prepared/x/part-00000.jsonl", "bucket": stack.bucket, "version_id": "v7", "etag": "e7"}
    ]
    approval = stack.ledger.approval(stack.bucket, f"{PREFIX}{stack.run_id}.json")
    assert approval is not None
    assert approval.by == f"ann@example.com, for the test {stack.run_id}"
    assert ("decision", "sent", False) in stack.logged
    [mailed] = stack.mailed
    assert (mailed["arm"], mailed["campaign"], mailed["request_id"]) == ("b", "welcome", "q1")
    assert "b: 700 of 4,500 converted" in mailed["figures"]


def test_the_two_runs_have_each_user_once(stack: Stack) -> None:
    """Whoever is in one run is not in the other, and control is control in both."""
    stack.until(25, B_WINS, through_h=24)
    remainder = read_campaign(json.loads(stack.files()[0])["campaign"])
    parts = [other_part_of(one) for one in (stack.campaign, remainder)]
    designs = [Arms(one.salt, one.arms) for one in (stack.campaign, remainder)]
    for user in (f"u{n}" for n in range(2_000)):
        assert sum(user not in part for part in parts if part is not None) == 1
        held = [design.names[design.index_of(user.encode())] == "control" for design in designs]
        assert held[0] == held[1]


def test_nobody_vouches_for_a_test_that_was_not_approved(stack: Stack) -> None:
    """Its remainder has no approval either: with RequireApproval the worker refuses it."""
    stack.until(25, B_WINS, through_h=24)
    assert stack.decision.state is DecisionState.SENT
    assert stack.ledger.approval(stack.bucket, f"{PREFIX}{stack.run_id}.json") is None


def test_conversions_that_are_not_complete_are_waited_for(stack: Stack) -> None:
    """Until decide_by_h; then what was declared: nothing goes to the remainder."""
    stack.until(47, B_WINS, through_h=23.9)
    assert stack.decision.state is DecisionState.WAITING
    assert stack.decision.words == "conversions are not complete through the hour of the decision"
    stack.until(48.2, B_WINS, through_h=23.9)
    found = stack.decision
    assert (found.state, found.arm, found.how) == (DecisionState.OVER, "control", "otherwise")
    assert stack.files() == []


CHANGED = "conversions/opened.json is another file than the one approved"


def test_an_edited_source_decides_nothing(stack: Stack) -> None:
    """Complete conversions of another source than was approved: it waits, and says why; in the end as declared."""
    stack.changed = CHANGED
    stack.until(47, B_WINS, through_h=48)
    assert (stack.decision.state, stack.decision.words) == (DecisionState.WAITING, CHANGED)
    stack.until(48.2, B_WINS, through_h=48)
    found = stack.decision
    assert (found.state, found.arm, found.how) == (DecisionState.OVER, "control", "otherwise")
    assert found.words == f"{CHANGED}: nothing goes to the remainder"
    assert (stack.files(), found.figures) == ([], {})
    assert [one["words"] for one in stack.mailed] == [found.words]


def test_a_source_that_is_as_approved_again(stack: Stack) -> None:
    """The edit was taken back in time: it is counted again, and decided by evidence."""
    stack.changed = CHANGED
    stack.until(40, B_WINS, through_h=48)
    stack.changed = ""
    stack.until(41, B_WINS, through_h=48)
    assert (stack.decision.state, stack.decision.arm, stack.decision.how) == (DecisionState.SENT, "b", "evidence")


def test_the_best_of_an_edited_source(endpoint: str) -> None:
    """`best` is by the last figures of the approved source: those of another one could make any arm the best."""
    stack = Stack(endpoint, PLAIN | {"winner": PLAIN["winner"] | {"otherwise": "best"}})
    stack.until(30, NOTHING | {"a": (4500, 500)}, through_h=20)
    stack.changed = CHANGED
    stack.until(49, B_WINS, through_h=48)
    found = stack.decision
    assert (found.arm, found.figures["b"]) == ("a", NOTHING["b"])
    assert found.words == f"{CHANGED}: the highest rate, chosen without evidence"


def test_a_person_decides_on_an_edited_source(stack: Stack) -> None:
    """Who knows why it was edited may: `notifier report --decide`, or the button."""
    stack.changed = CHANGED
    stack.until(26, B_WINS, through_h=48)
    stack.winners().carry_out({"run_id": stack.run_id, "arm": "b", "by": "bob"})
    stack.until(26.1, None)
    assert (stack.decision.state, stack.decision.words) == (DecisionState.SENT, "decided by bob")


@pytest.mark.parametrize(
    ("declared", "figures", "arm", "words"),
    [
        ("best", NOTHING, "b", "the highest rate, chosen without evidence"),
        (
            "best",
            {"a": (4500, 3), "b": (4500, 2), "control": (1000, 0)},
            "control",
            "and not every arm has a conversion",
        ),
        ("control", NOTHING, "control", "no variant is shown to be better than no push: nothing goes"),
        ("stop", NOTHING, "", "a person is to decide"),
        ("stop", {"a": (4500, 200), "b": (4500, 190), "control": (1000, 100)}, "control", "every variant is worse"),
        ("control", B_WINS | {"a": (3000, 300)}, "control", "out of proportion"),
    ],
)
def test_without_evidence(declared: str, figures: dict[str, tuple[int, int]], arm: str, words: str) -> None:
    """As it was declared; `best` says that nothing shows it, and arms that cannot be compared decide nothing."""
    campaign = read_campaign(PLAIN | {"winner": PLAIN["winner"] | {"otherwise": declared}})
    found = decided(campaign, figures)
    assert found.arm == arm
    assert words in found.words


def test_without_control_a_winner_beats_every_other() -> None:
    """Pairs of variants, each at its share of the errors."""
    plain = PLAIN | {"variants": [{"name": name, "percent": 50} for name in "ab"], "control_percent": 0}
    campaign: Campaign = read_campaign(plain)
    assert decided(campaign, {"a": (5000, 500), "b": (5000, 700)}).arm == "b"
    assert decided(campaign, {"a": (5000, 700), "b": (5000, 500)}).arm == "a"
    assert decided(campaign, {"a": (5000, 500), "b": (5000, 505)}).how == "otherwise"


def test_a_person_decides(stack: Stack) -> None:
    """Before the hour, or where it stopped; once, for an arm of the test, and never while the stack is held."""
    event = {"run_id": stack.run_id, "arm": "a", "by": "bob"}
    for wrong, words in (
        (event | {"arm": "x"}, "x is no arm of this test: a, b, control"),
        (event | {"run_id": "r0"}, "is no test"),
        (event | {"by": ""}, "nobody is named"),
    ):
        with pytest.raises(Undecidable, match=words):
            stack.winners().carry_out(wrong)
    with pytest.raises(Undecidable, match="an incident"):
        stack.winners("an incident").carry_out(event)
    assert stack.winners().carry_out(event)["arm"] == "a"
    with pytest.raises(Undecidable, match="decided already: a, decided by bob"):
        stack.winners().carry_out(event)
    stack.until(1, None)
    assert (stack.decision.state, stack.decision.by, len(stack.files())) == (DecisionState.SENT, "bob", 1)


def test_a_person_decides_where_it_stopped(endpoint: str) -> None:
    """`stop` alarms, and nothing goes on by itself."""
    stack = Stack(endpoint, PLAIN | {"winner": PLAIN["winner"] | {"otherwise": "stop"}})
    stack.until(50, NOTHING, through_h=24)
    assert stack.decision.state is DecisionState.STOPPED
    assert ("decision", "stopped", True) in stack.logged
    assert [one["arm"] for one in stack.mailed] == [""]
    stack.winners().carry_out({"run_id": stack.run_id, "arm": "control", "by": "bob"})
    stack.until(51, None)
    assert (stack.decision.state, stack.files()) == (DecisionState.OVER, [])


@pytest.mark.parametrize(
    ("ending", "words"), [(Ending.CANCELLED, "the test was cancelled"), (Ending.FAILED, "the test was failed")]
)
def test_a_test_that_did_not_complete(stack: Stack, ending: Ending, words: str) -> None:
    """Nothing goes to the remainder."""
    stack.end(stack.run_id, ending)
    stack.until(25, B_WINS, through_h=24)
    assert stack.decision.state is DecisionState.OVER
    assert stack.decision.words.startswith(words)


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.FAILED, Ending.ABORTED])
def test_a_person_sends_no_remainder_of_a_test_that_did_not_complete(stack: Stack, ending: Ending) -> None:
    """It is refused, with why. That nothing goes to it may be said at any time."""
    stack.end(stack.run_id, ending)
    event = {"run_id": stack.run_id, "arm": "a", "by": "bob"}
    with pytest.raises(Undecidable, match=f"the test was {ending.value}: nothing goes to the remainder"):
        stack.winners().carry_out(event)
    stack.winners().carry_out(event | {"arm": "control"})
    stack.until(1, None)
    assert (stack.decision.state, stack.decision.arm, stack.files()) == (DecisionState.OVER, "control", [])


def test_a_person_sends_no_remainder_of_a_dry_run(endpoint: str) -> None:
    """Nobody got the test."""
    stack = Stack(endpoint, rehearse=True)
    with pytest.raises(Undecidable, match="it was a dry run, and nobody got the test: nothing goes"):
        stack.winners().carry_out({"run_id": stack.run_id, "arm": "a", "by": "bob"})


def test_a_test_that_is_cancelled_after_the_decision(stack: Stack) -> None:
    """Its retries went on: cancelled before the remainder's file is written, nothing goes, and that alarms."""
    stack.winners().carry_out({"run_id": stack.run_id, "arm": "a", "by": "bob"})
    stack.end(stack.run_id, Ending.CANCELLED)
    stack.until(1, None)
    found = stack.decision
    assert (found.state, found.arm, found.remainder, stack.files()) == (DecisionState.OVER, "control", "", [])
    assert found.words == "a (decided by bob), but the test was cancelled: nothing went to the remainder"
    assert ("decision", "over", True) in stack.logged
    assert [(one["arm"], one["words"]) for one in stack.mailed] == [("control", found.words)]


def until_then(hours: float) -> dict[str, Any]:
    """A campaign of which nothing is sent later than so many hours after the test's last push."""
    return PLAIN | {"abort_after": datetime.fromtimestamp(LAST_S + hours * HOUR_S, UTC).isoformat()}


def test_nothing_is_sent_after_the_campaign_is_over(endpoint: str) -> None:
    """No run that would be aborted at once: it is said that the winner came too late, and a person is refused."""
    stack = Stack(endpoint, until_then(20))
    stack.until(25, B_WINS, through_h=24)
    found = stack.decision
    assert (found.state, found.arm, stack.files()) == (DecisionState.OVER, "control", [])
    assert found.words.startswith("b (better than no push")
    assert "abort_after (2026-11-22T05:05:00+00:00) has passed: nothing went to the remainder" in found.words
    assert ("decision", "over", True) in stack.logged
    late = Stack(endpoint, until_then(20))
    late.time.s = LAST_S + 20 * HOUR_S
    with pytest.raises(Undecidable, match="has passed: nothing goes"):
        late.winners().carry_out({"run_id": late.run_id, "arm": "a", "by": "bob"})


def test_the_remainder_is_over_when_the_campaign_is(endpoint: str) -> None:
    """A time that is still to come holds for the remainder, too."""
    stack = Stack(endpoint, until_then(60))
    stack.until(25, B_WINS, through_h=24)
    assert stack.decision.state is DecisionState.SENT
    assert read_campaign(json.loads(stack.files()[0])["campaign"]).abort_after == stack.campaign.abort_after


def test_a_test_that_is_still_sent(stack: Stack) -> None:
    """The hours count from its last push."""
    stack.end(stack.run_id, state=LaneState.PAUSED)
    stack.until(30, B_WINS, through_h=30)
    assert (stack.decision.state, stack.decision.words) == (DecisionState.WAITING, "the test is being sent")
    stack.end(stack.run_id)
    stack.until(30.5, B_WINS, through_h=30)
    assert stack.decision.state is DecisionState.SENT


def test_conversions_that_cannot_be_counted(stack: Stack) -> None:
    """Asked for again; in the end as declared, and the words say what was wrong."""
    stack.until(50, None)
    assert stack.decision.state is DecisionState.WAITING
    stack.until(85, None)
    assert stack.decision.words.startswith("conversions/opened.json is missing: nothing goes")
    assert len(stack.asked) > 3


def test_hold(stack: Stack) -> None:
    """Nothing is decided while everything is on hold."""
    stack.time.s = LAST_S + 25 * HOUR_S
    assert stack.winners("an incident").run() == {"decisions": 0, "undecided": 0}
    assert stack.asked == []


def killed_at(dies_at: int, stack: Stack, then: Callable[[], object] = lambda: None) -> int:
    """Ticks until the decision is over, one killed at a moment of its writes, and what happens before the next.

    Returns how many were killed.
    """
    stack.approve()
    stack.time.s = LAST_S + 24 * HOUR_S
    left = dies_at

    def on_write() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    died = 0
    for _ in range(12):
        stack.on_write = on_write
        try:
            stack.winners().run()
        except Killed:
            died += 1
            then()
        stack.on_write = lambda: None
        stack.count(B_WINS, LAST_S + 24 * HOUR_S)
        stack.time.s += 61
    return died


# Of six writes, each with a moment before it and one after it: the moments after three of them. `make deep` tries all.
@pytest.mark.parametrize(
    "dies_at", [n if n in (2, 6, 10) else pytest.param(n, marks=pytest.mark.slow) for n in range(1, 13)]
)
def test_killed_at_any_write(endpoint: str, dies_at: int) -> None:
    """Killed before or after each write of a whole decision, the next ticks do the rest: one decision, one file."""
    stack = Stack(endpoint)
    assert killed_at(dies_at, stack) == 1, "a whole decision has so many writes"
    assert (stack.decision.state, stack.decision.arm) == (DecisionState.SENT, "b")
    [body] = stack.files()
    approval = stack.ledger.approval(stack.bucket, f"{PREFIX}{stack.run_id}.json")
    assert approval is not None
    assert read_campaign(json.loads(body)["campaign"]).id == "welcome-remainder"


# Its file is written at the tenth moment: what nobody has noted is sent all the same.
@pytest.mark.parametrize("what", ["abort_after", "cancelled", "gone"])
@pytest.mark.parametrize(
    "dies_at", [n if n in (9, 10) else pytest.param(n, marks=pytest.mark.slow) for n in range(1, 13)]
)
def test_killed_before_nothing_goes_any_more(endpoint: str, dies_at: int, what: str) -> None:
    """The decision says that it was sent where the file is there, and that nothing was where it is not."""
    stack = Stack(endpoint, until_then(30))

    def then() -> None:
        if what == "abort_after":
            stack.time.s = LAST_S + 30 * HOUR_S
        elif what == "cancelled":
            stack.end(stack.run_id, Ending.CANCELLED)
        else:
            stack.s3.delete_object(Bucket=stack.bucket, Key=state_key(stack.run_id, "campaign"))

    assert killed_at(dies_at, stack, then) == 1
    found, is_sent = stack.decision, dies_at >= 10
    assert len(stack.files()) == is_sent
    if not is_sent:
        assert (found.state, found.arm, found.remainder) == (DecisionState.OVER, found.arm and "control", "")
        return
    key = f"{PREFIX}{stack.run_id}.json"
    file = stack.s3.head_object(Bucket=stack.bucket, Key=key)
    run_id = source_of(stack.bucket, key, file["VersionId"], file["ETag"]).run_id
    assert (found.state, found.arm, found.remainder) == (DecisionState.SENT, "b", run_id)
    assert found.words.startswith("better than no push")
    assert {one["arm"] for one in stack.mailed} == {"b"}
    assert not any(alarms for *_, alarms in stack.logged)


def test_doubled_and_set_back(stack: Stack) -> None:
    """Two ticks with what they read before: one decision. A clock that is set back decides nothing twice."""
    stack.time.s = LAST_S + 24 * HOUR_S
    store = DecisionStore(stack.dynamodb, stack.table, stack.time)
    for _ in range(8):
        due = list(store.due(int(stack.time.s * 1000)))
        for one in (*due, *due):
            stack.winners().step(one)
        stack.count(B_WINS, LAST_S + 24 * HOUR_S)
        stack.time.s += 61
    assert stack.decision.state is DecisionState.SENT
    before = stack.decision
    stack.time.s = LAST_S
    stack.winners().run()
    assert (stack.decision, len(stack.files())) == (before, 1)
