"""The ledger's contract, held by the one in DynamoDB and by its twin in memory."""

import importlib
import importlib.util
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import msgspec
import pytest
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from notifier.model.account import Account
from notifier.model.cursor import Cursor
from notifier.model.outcome import Outcome
from notifier.model.run import (
    HAND_OVER_MS,
    LEASE_MS,
    Asking,
    Control,
    Ending,
    Lane,
    LaneHeld,
    LaneLost,
    LaneState,
    LaneTaken,
    LedgerTooNew,
    RateWait,
    Run,
    UnfinishedClaim,
    source_of,
)
from notifier.model.speed import EndpointSpeed, Speed
from notifier.stores.ledger import DynamoLedger
from notifier.stores.ledger.holds import HOLD_EVERY_S
from notifier.stores.ledger.runs import MAX_NAMED_OBJECTS
from tests.contract.moto_stores import Time, client_of, lost_answer, make_table, new_name, server_for

TWIN = "tests.twins.ledger"
KINDS = ("dynamo", "memory") if importlib.util.find_spec(TWIN) else ("dynamo",)
RUN = Run("r1", source_of("drop", "batches/a.json", "v1", "e1"), 7, "AWS:ann")
WAITING = (LaneState.RESTING, LaneState.PAUSED, LaneState.STOPPED)


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """A DynamoDB client."""
    with server_for("dynamodb") as endpoint:
        client = client_of("dynamodb", endpoint)
        yield client
        client.close()


@pytest.fixture
def table(dynamodb: Any) -> str:
    """A table of the test's own."""
    name = new_name("ledger")
    make_table(dynamodb, name)
    return name


@pytest.fixture
def time() -> Time:
    """The ledger's time."""
    return Time()


@pytest.fixture
def dynamo(dynamodb: Any, table: str, time: Time) -> DynamoLedger:
    """The one in DynamoDB, with RUN in it."""
    made = DynamoLedger(dynamodb, table, time)
    made.open_run(RUN)
    return made


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, time: Time) -> Any:
    """Each implementation in turn, with RUN in it."""
    if request.param == "dynamo":
        return request.getfixturevalue("dynamo")
    made = importlib.import_module(TWIN).MemoryLedger(time)
    made.open_run(RUN)
    return made


_holders = count()


def claim(ledger: Any, time: Time, version: str = "7", run_id: str = "r1") -> Lane:
    """A claim by a new invocation that has 15 minutes."""
    lane: Lane = ledger.claim(run_id, 0, version, f"holder-{next(_holders)}", time.ms + 900_000)
    return lane


def moved(lane: Lane, record: int, **changes: Any) -> Lane:
    """The lane with everything before `record` settled."""
    account = Account(users=record)
    for _ in range(record):
        account.count("default", Outcome.ACCEPTED, None)
    changes = {"may_ask_below": record // 500 + 8, "idle_claims": 0, "revision": record} | changes
    return msgspec.structs.replace(lane, cursor=Cursor(record=record), account=account, **changes)


def bring_to(ledger: Any, time: Time, state: LaneState) -> Lane:
    """RUN's lane in a state; resting and ready ones are due in an hour."""
    lane = claim(ledger, time)
    match state:
        case LaneState.RUNNING:
            return lane
        case LaneState.DONE:
            return ledger.finish(lane, Ending.COMPLETED, None)  # type: ignore[no-any-return]
        case LaneState.READY | LaneState.RESTING:
            return ledger.release(lane, state, time.ms + 3_600_000)  # type: ignore[no-any-return]
        case LaneState.PAUSED:
            ledger.set_control("r1", Control.PAUSE, "ann")
            return ledger.release(lane, state, None)  # type: ignore[no-any-return]
        case _:
            return ledger.release(lane, state, None, "why")  # type: ignore[no-any-return]


class AllAtOnce:
    """A client whose callers all read before any of them writes. Writes wait for each other, as moto's do not."""

    def __init__(self, client: Any, callers: int) -> None:
        self._client = client
        self._all_have_read = threading.Barrier(callers, timeout=30)
        self._has_read = threading.local()
        self._writing = threading.Lock()

    def get_item(self, **asked: Any) -> Any:
        """Read; the first time, wait for the others."""
        answer = self._client.get_item(**asked)
        if not hasattr(self._has_read, "once"):
            self._has_read.once = True
            self._all_have_read.wait()
        return answer

    def update_item(self, **asked: Any) -> Any:
        """Write, one after another."""
        with self._writing:
            return self._client.update_item(**asked)


class TestHold:
    """One item holds everything: it is read with a worker's writes, at most once a second, and before each claim."""

    def test_no_lane_is_claimed(self, ledger: Any, time: Time) -> None:
        """The lane stays as it is, and says who holds the stack, since when and why; released, it can be claimed."""
        assert ledger.read_hold() is None
        hold = ledger.set_hold("ann", "wrong prices")
        assert (hold.by, hold.reason, hold.since_ms) == ("ann", "wrong prices", time.ms)
        before = ledger.read_lane("r1")
        with pytest.raises(LaneHeld, match=r"held by ann since .* UTC: wrong prices"):
            claim(ledger, time)
        assert ledger.read_lane("r1") == before
        assert ledger.release_hold("bob")
        assert ledger.read_hold() is None
        assert claim(ledger, time).epoch == 1

    def test_a_worker_reads_it_with_its_next_write(self, ledger: Any, time: Time) -> None:
        """A renewal and an advance return it; after the release they do not; the stored lane has nothing of it."""
        lane = ledger.renew(claim(ledger, time))
        assert lane.held == ""
        ledger.set_hold("ann", "wrong prices")
        lane = ledger.renew(lane)
        assert "wrong prices" in lane.held
        assert ledger.read_lane("r1").held == ""
        lane = ledger.advance(lane, moved(lane, 500))
        assert "wrong prices" in lane.held
        ledger.release_hold("ann")
        assert ledger.renew(lane).held == ""

    def test_another_function_holds(self, dynamodb: Any, dynamo: DynamoLedger, table: str, time: Time) -> None:
        """A worker learns of it a second after its last look, however often it writes; also with its clock set back."""
        lane = dynamo.renew(claim(dynamo, time))
        control = DynamoLedger(dynamodb, table, time)
        control.set_hold("ann", "wrong prices")
        assert dynamo.renew(lane).held == ""
        time.s += HOLD_EVERY_S
        assert "wrong prices" in dynamo.renew(lane).held
        control.release_hold("ann")
        time.s -= 0.1
        assert dynamo.renew(lane).held == ""

    def test_a_cancelled_lane_is_claimed(self, ledger: Any, time: Time) -> None:
        """It sends nothing, and its run can be closed."""
        ledger.set_hold("ann", "")
        ledger.set_control("r1", Control.CANCEL, "ann")
        assert claim(ledger, time).epoch == 1

    def test_held_twice(self, ledger: Any, time: Time) -> None:
        """Since when it is held stays; who and why are of the latest. A second release says that nothing is held."""
        since_ms = ledger.set_hold("ann", "wrong prices").since_ms
        time.s += 60
        again = ledger.set_hold("bob", "and wrong names")
        assert (again.by, again.reason, again.since_ms) == ("bob", "and wrong names", since_ms)
        assert ledger.release_hold("ann")
        assert not ledger.release_hold("ann")
        assert ledger.read_hold() is None
        assert ledger.set_hold("ann", "once more").since_ms == time.ms

    def test_the_item(self, dynamodb: Any, dynamo: DynamoLedger, table: str, time: Time) -> None:
        """Published: its key and attributes. It does not expire: a hold nobody looks at must not end by itself."""
        dynamo.set_hold("ann", "wrong prices")
        [item] = [one for one in dynamodb.scan(TableName=table)["Items"] if one["pk"]["S"] == "hold"]
        assert item == {
            "pk": {"S": "hold"},
            "sk": {"S": "hold"},
            "version": {"N": "1"},
            "held_by": {"S": "ann"},
            "hold_reason": {"S": "wrong prices"},
            "since_ms": {"N": str(time.ms)},
        }


class TestRuns:
    """A run is entered once, however many events name it."""

    def test_the_first_nudge_enters_the_run(self, ledger: Any) -> None:
        """A run that was opened can be read back, with a lane that anybody may claim."""
        assert ledger.read_run("r1") == RUN
        lane = ledger.read_lane("r1")
        assert (lane.state, lane.epoch, lane.cursor, lane.account) == (LaneState.READY, 0, Cursor(), Account())

    def test_a_second_nudge_changes_nothing(self, ledger: Any, time: Time) -> None:
        """An event that comes twice finds the run as it is, its lane at work."""
        claimed = claim(ledger, time)
        later = msgspec.structs.replace(RUN, created_at_ms=99, put_by="somebody else")
        assert ledger.open_run(later) == RUN
        assert ledger.read_lane("r1") == claimed

    def test_an_unknown_run(self, ledger: Any, time: Time) -> None:
        """What was never opened is None, and cannot be claimed."""
        assert ledger.read_run("r9") is None
        assert ledger.read_lane("r9") is None
        with pytest.raises(LaneTaken, match="unknown run") as taken:
            claim(ledger, time, run_id="r9")
        assert taken.value.lane is None

    def test_nobody_claimed_it(self, ledger: Any, time: Time) -> None:
        """A run whose first worker never came is due after the time of a hand-over."""
        assert not list(ledger.due(time.ms))
        assert [lane.run_id for lane in ledger.due(time.ms + HAND_OVER_MS)] == ["r1"]

    def test_closing(self, ledger: Any, time: Time) -> None:
        """A run that is done stays due until it is closed; closing again keeps the first time."""
        bring_to(ledger, time, LaneState.DONE)
        assert [lane.state for lane in ledger.due(time.ms + LEASE_MS)] == [LaneState.DONE]
        ledger.close_run("r1")
        time.s += 100
        ledger.close_run("r1")
        assert ledger.read_run("r1").closed_at_ms == time.ms - 100_000
        assert not list(ledger.due(time.ms + 10**9))


class TestCampaigns:
    """One campaign id is one run, unless its file says otherwise."""

    def test_the_first_run_owns_it(self, ledger: Any) -> None:
        """A second run of the same id is refused, the first one never."""
        assert ledger.take_campaign("spring", "r1", again=False)
        assert not ledger.take_campaign("spring", "r2", again=False)
        assert ledger.take_campaign("spring", "r1", again=False)
        assert ledger.take_campaign("summer", "r2", again=False)

    def test_again(self, ledger: Any) -> None:
        """A run that says `again` may; the next one that does not is refused as ever."""
        assert ledger.take_campaign("spring", "r1", again=False)
        assert ledger.take_campaign("spring", "r2", again=True)
        assert ledger.take_campaign("spring", "r2", again=True)
        assert not ledger.take_campaign("spring", "r3", again=False)

    def test_a_first_run_that_says_again(self, ledger: Any) -> None:
        """It owns the id all the same: a second run that says nothing is refused."""
        assert ledger.take_campaign("spring", "r1", again=True)
        assert not ledger.take_campaign("spring", "r2", again=False)

    @pytest.mark.parametrize("campaign_id", ["Woche 47 · früh", "a#b", "run#r1", "🎉" * 128])
    def test_odd_ids(self, ledger: Any, campaign_id: str) -> None:
        """Ids are texts, not keys: any legal one is kept apart from every other and from runs."""
        assert ledger.take_campaign(campaign_id, "r1", again=False)
        assert not ledger.take_campaign(campaign_id, "r2", again=False)
        assert ledger.read_run("r1") == RUN

    def test_a_run_knows_its_campaign(self, ledger: Any) -> None:
        """The run records which campaign it sends, even one that it may not send."""
        ledger.name_campaign("r1", "spring")
        assert ledger.read_run("r1") == msgspec.structs.replace(RUN, campaign_id="spring")

    def test_who_owns_it(self, dynamo: DynamoLedger) -> None:
        """The run that took the id, whichever runs are listed under it."""
        assert dynamo.owner_of("spring") is None
        dynamo.name_campaign("r1", "spring")
        assert dynamo.owner_of("spring") is None
        dynamo.take_campaign("spring", "r1", again=False)
        assert dynamo.owner_of("spring") == "r1"

    def test_its_runs(self, dynamo: DynamoLedger, time: Time) -> None:
        """All runs that were named under an id are found by it, the latest first: those that may not send it too."""
        assert dynamo.runs_of("spring") == ()
        for run_id in ("r1", "r2", "r3"):
            time.s += 1
            dynamo.open_run(msgspec.structs.replace(RUN, run_id=run_id))
            dynamo.name_campaign(run_id, "spring")
            dynamo.take_campaign("spring", run_id, again=False)
        assert dynamo.runs_of("spring") == ("r3", "r2", "r1")
        assert dynamo.runs_of("summer") == ()


class TestAudiences:
    """A run is found by the objects that hold its users."""

    def found(self, dynamo: DynamoLedger, dynamodb: Any, table: str, key: str) -> list[tuple[str, str, str]]:
        items = dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"audience#exports/{key}"}},
        )["Items"]
        return [(item["run_id"]["S"], item["campaign_id"]["S"], item["at_ms"]["N"]) for item in items]

    def test_its_runs(self, dynamo: DynamoLedger, dynamodb: Any, table: str) -> None:
        """In the order in which they began; entered again, as after a crash, each is listed once."""
        later = msgspec.structs.replace(RUN, run_id="r2", created_at_ms=RUN.created_at_ms + 1)
        for run in (later, RUN, RUN):
            dynamo.name_audience(run, "spring", [("exports", "a.json"), ("exports", "a.json")])
        first = ("r1", "spring", str(RUN.created_at_ms))
        second = ("r2", "spring", str(RUN.created_at_ms + 1))
        assert self.found(dynamo, dynamodb, table, "a.json") == [first, second]
        assert self.found(dynamo, dynamodb, table, "b.json") == []
        assert dynamo.read_run("r1") == RUN

    def test_of_very_many_objects_only_the_first(self, dynamo: DynamoLedger, dynamodb: Any, table: str) -> None:
        """An audience of ten thousand objects does not cost the run's beginning ten thousand writes."""
        dynamo.name_audience(RUN, "spring", (("exports", f"{n}.json") for n in range(MAX_NAMED_OBJECTS + 1)))
        assert self.found(dynamo, dynamodb, table, f"{MAX_NAMED_OBJECTS - 1}.json") != []
        assert self.found(dynamo, dynamodb, table, f"{MAX_NAMED_OBJECTS}.json") == []


class TestClaim:
    """Who may claim a lane, clause by clause."""

    def test_handed_over(self, ledger: Any, time: Time) -> None:
        """A ready lane is anybody's, before its appointment too."""
        before = bring_to(ledger, time, LaneState.READY)
        lane = claim(ledger, time)
        assert (lane.state, lane.epoch, lane.hop) == (LaneState.RUNNING, before.epoch + 1, before.hop + 1)
        assert lane.lease_until_ms == time.ms + LEASE_MS == lane.due_at_ms
        assert lane.ends_at_ms == time.ms + 900_000
        assert not lane.crashed

    def test_held(self, ledger: Any, time: Time) -> None:
        """A lane with a lease is refused to the last millisecond."""
        claim(ledger, time)
        time.s += LEASE_MS / 1000
        with pytest.raises(LaneTaken, match="running"):
            claim(ledger, time)

    def test_holder_is_gone(self, ledger: Any, time: Time) -> None:
        """After the lease anybody may, and knows that he takes over from a worker that never handed over."""
        claim(ledger, time)
        time.s += LEASE_MS / 1000 + 0.001
        lane = claim(ledger, time)
        assert (lane.epoch, lane.crashed) == (2, True)

    def test_resting(self, ledger: Any, time: Time) -> None:
        """A lane that rests is refused before its appointment and claimed from then on."""
        bring_to(ledger, time, LaneState.RESTING)
        time.s += 3599.9
        with pytest.raises(LaneTaken, match="resting"):
            claim(ledger, time)
        time.s += 0.1
        assert claim(ledger, time).state is LaneState.RUNNING

    @pytest.mark.parametrize("state", [LaneState.PAUSED, LaneState.STOPPED, LaneState.DONE])
    def test_not_by_itself(self, ledger: Any, time: Time, state: LaneState) -> None:
        """Lanes that wait for a person, and finished ones, are refused however late it is."""
        bring_to(ledger, time, state)
        time.s += 10**6
        with pytest.raises(LaneTaken, match=state.value) as taken:
            claim(ledger, time)
        assert taken.value.lane is not None
        assert taken.value.lane.state is state

    @pytest.mark.parametrize("state", WAITING)
    def test_cancelled_while_waiting(self, ledger: Any, time: Time, state: LaneState) -> None:
        """A waiting lane that is cancelled is claimed, so that its run can be ended."""
        bring_to(ledger, time, state)
        ledger.set_control("r1", Control.CANCEL, "ann")
        assert claim(ledger, time).control is Control.CANCEL

    def test_two_at_once(self, dynamodb: Any, dynamo: DynamoLedger, table: str, time: Time) -> None:
        """Of claims that all saw the same lane, exactly one succeeds."""
        ledger = DynamoLedger(AllAtOnce(dynamodb, 6), table, time)

        def try_it(_: int) -> Lane | None:
            try:
                return claim(ledger, time)
            except LaneTaken:
                return None

        with ThreadPoolExecutor(6) as pool:
            won = [lane for lane in pool.map(try_it, range(6)) if lane]
        assert [lane.epoch for lane in won] == [1]
        assert dynamo.read_lane("r1") == won[0]

    def test_what_a_claim_keeps(self, ledger: Any, time: Time) -> None:
        """Cursor, counts, the first start and the first version of the code outlive every claim."""
        first = claim(ledger, time, version="7")
        ledger.advance(first, moved(first, 500, sending_ms=1200))
        time.s += 60
        lane = claim(ledger, time, version="8")
        assert lane.cursor == Cursor(record=500)
        assert lane.account == moved(first, 500).account
        assert (lane.function_version, lane.started_at_ms) == ("7", first.started_at_ms)
        assert lane.sending_ms == 1200

    def test_idle_claims(self, ledger: Any, time: Time) -> None:
        """Claims that settle nothing are counted; progress resets the count, and so does a rest."""
        for n in (1, 2):
            lane = claim(ledger, time)
            assert lane.idle_claims == n
            ledger.release(lane, LaneState.READY, time.ms)
        lane = claim(ledger, time)
        lane = ledger.advance(lane, moved(lane, 500))
        ledger.release(lane, LaneState.READY, time.ms)
        lane = claim(ledger, time)
        assert lane.idle_claims == 1
        assert ledger.release(lane, LaneState.RESTING, time.ms).idle_claims == 0


class TestHolder:
    """What the lease's owner writes, and that no one else can."""

    def test_renewing(self, ledger: Any, time: Time) -> None:
        """A renewal extends the lease, says how far a crash would reach, and brings the operator's word."""
        lane = claim(ledger, time)
        ledger.set_control("r1", Control.PAUSE, "ann")
        time.s += 20
        renewed = ledger.renew(msgspec.structs.replace(lane, may_ask_below=8))
        assert (renewed.lease_until_ms, renewed.due_at_ms) == (time.ms + LEASE_MS, time.ms + LEASE_MS)
        assert (renewed.may_ask_below, renewed.control, renewed.cursor) == (8, Control.PAUSE, lane.cursor)

    def test_the_widest_batch(self, ledger: Any, time: Time) -> None:
        """It outlives the claim, and an older write that arrives late does not take it back."""
        lane = ledger.renew(msgspec.structs.replace(claim(ledger, time), may_ask_below=2, most_devices=700))
        assert lane.most_devices == 700
        assert ledger.renew(msgspec.structs.replace(lane, most_devices=500)).most_devices == 700
        lane = ledger.advance(lane, moved(lane, 500, most_devices=900))
        ledger.release(lane, LaneState.READY, time.ms)
        assert (claim(ledger, time).most_devices, ledger.read_lane("r1").may_ask_below) == (900, 0)

    def test_advancing(self, ledger: Any, time: Time) -> None:
        """Cursor and counts move in one write, which extends the lease as well."""
        lane = claim(ledger, time)
        time.s += 20
        after = ledger.advance(lane, moved(lane, 1000, sending_ms=900))
        assert (after.cursor, after.may_ask_below, after.sending_ms, after.idle_claims) == (
            Cursor(record=1000),
            10,
            900,
            0,
        )
        assert after.account == moved(lane, 1000).account
        assert after.lease_until_ms == time.ms + LEASE_MS
        assert ledger.read_lane("r1") == after

    @pytest.mark.parametrize("write", ["renew", "advance", "release", "finish"])
    def test_an_earlier_epoch(self, ledger: Any, time: Time, write: str) -> None:
        """A worker that was only slow finds its lane lost at every write, and changes nothing."""
        slow = claim(ledger, time)
        time.s += 60
        now = claim(ledger, time)
        calls: dict[str, Callable[[], Lane]] = {
            "renew": lambda: ledger.renew(slow),
            "advance": lambda: ledger.advance(slow, moved(slow, 500)),
            "release": lambda: ledger.release(slow, LaneState.READY, time.ms),
            "finish": lambda: ledger.finish(slow, Ending.COMPLETED, None),
        }
        with pytest.raises(LaneLost, match="epoch 2"):
            calls[write]()
        assert ledger.read_lane("r1") == msgspec.structs.replace(now, crashed=False)

    def test_after_letting_go(self, ledger: Any, time: Time) -> None:
        """A claim that left a lane cannot write it any more, even while no other claim has it."""
        lane = claim(ledger, time)
        ledger.release(lane, LaneState.READY, time.ms)
        with pytest.raises(LaneLost, match="ready"):
            ledger.renew(lane)
        with pytest.raises(LaneLost, match="ready"):
            ledger.advance(lane, moved(lane, 500))

    def test_trouble(self, ledger: Any, time: Time) -> None:
        """It is noted by every write, outlives the claim, and goes when the next write says that it is over."""
        lane = ledger.renew(msgspec.structs.replace(claim(ledger, time), trouble="S3 is away"))
        assert lane.trouble == "S3 is away"
        ledger.release(lane, LaneState.READY, time.ms)
        lane = claim(ledger, time)
        assert lane.trouble == "S3 is away"
        assert ledger.advance(lane, moved(lane, 500, trouble="")).trouble == ""

    def test_what_a_claim_leaves_open(self, ledger: Any, time: Time) -> None:
        """A claim that ends with batches unsettled says so by its last write; a claim finds it, and keeps it."""
        open_ = (UnfinishedClaim(1, 9), UnfinishedClaim(2, 4, {1: 500, 3: 2}, {3: "5"}))
        lane = ledger.release(
            msgspec.structs.replace(claim(ledger, time), suspects=open_), LaneState.STOPPED, None, "rows_refused"
        )
        assert (lane.suspects, lane.unsettled) == (open_, 502)
        ledger.set_control("r1", Control.GO, "ann")
        assert claim(ledger, time).suspects == open_

    def test_finishing_with_batches_open(self, ledger: Any, time: Time) -> None:
        """The write that ends a run may bring a last account, and what stays open."""
        last = msgspec.structs.replace(
            moved(claim(ledger, time), 500), cursor=Cursor(), suspects=(UnfinishedClaim(1, 4, {3: 2}),)
        )
        lane = ledger.finish(last, Ending.CANCELLED, "rows_refused")
        assert (lane.account, lane.unsettled, lane.cursor) == (last.account, 2, Cursor())

    def test_a_reason_is_of_its_time(self, ledger: Any, time: Time) -> None:
        """A stop says why; when the run goes on and is handed over, it says so no longer."""
        stopped = bring_to(ledger, time, LaneState.STOPPED)
        assert (stopped.reason, stopped.status, stopped.due_at_ms) == ("why", "stopped", None)
        ledger.set_control("r1", Control.GO, "ann")
        assert ledger.release(claim(ledger, time), LaneState.READY, time.ms).reason is None

    def test_a_very_long_reason(self, ledger: Any, time: Time) -> None:
        """A reason is cut, so that it never makes the last write impossible."""
        assert len(ledger.finish(claim(ledger, time), Ending.FAILED, "é" * 500_000).reason) <= 2_000

    @pytest.mark.parametrize("ending", list(Ending))
    def test_finishing(self, ledger: Any, time: Time, ending: Ending) -> None:
        """A finished lane says how and when it ended, and stays due until its run is closed."""
        lane = ledger.finish(claim(ledger, time), ending, "why")
        assert (lane.state, lane.ending, lane.status, lane.reason) == (LaneState.DONE, ending, ending.value, "why")
        assert (lane.ended_at_ms, lane.due_at_ms) == (time.ms, time.ms + LEASE_MS)


class TestSpeed:
    """How fast a lane sends is for people who look: every write takes it along."""

    def test_it_is_kept_by_each_write(self, ledger: Any, time: Time) -> None:
        """A renewal, an advance, a release and the end write it; a lane that has not measured writes none."""
        lane = claim(ledger, time)
        assert ledger.renew(lane).speed is None
        writes: list[Callable[[Lane], Lane]] = [
            ledger.renew,
            lambda lane: ledger.advance(lane, moved(lane, 500)),
            lambda lane: ledger.release(lane, LaneState.READY, time.ms),
        ]
        for number, write in enumerate(writes, 1):
            speed = Speed(number, endpoints={"fcm": EndpointSpeed(limit=70.0, retries={"UNAVAILABLE": number})})
            lane = write(msgspec.structs.replace(lane, speed=speed))
            assert (lane.speed, ledger.read_lane("r1").speed) == (speed, speed)


class TestAsking:
    """Deferred batches that may be asked for, and accounts that move while the cursor does not."""

    def test_it_outlives_its_claim(self, ledger: Any, time: Time) -> None:
        """What a worker that died may have asked for is there for the next one, however often a claim dies."""
        lane = claim(ledger, time)
        asking = (Asking(3, 1, (1,)), Asking(7, 2, (1,), devices=4))
        ledger.advance(lane, msgspec.structs.replace(lane, asking=asking, revision=1))
        for _ in range(2):
            time.s += LEASE_MS / 1000 + 1
            lane = claim(ledger, time)
        assert lane.asking == asking
        assert (lane.suspects, lane.unsettled) == ((), 4)

    def test_an_older_write_comes_late(self, ledger: Any, time: Time) -> None:
        """A write that hung in the network must not undo a newer one, though the cursor is the same in both."""
        lane = claim(ledger, time)
        older = msgspec.structs.replace(lane, account=Account(users=1), asking=(Asking(3, 1, (1,)),), revision=1)
        newer = msgspec.structs.replace(lane, account=Account(users=2), asking=(), revision=2)
        ledger.advance(lane, newer)
        with pytest.raises(LaneLost):
            ledger.advance(lane, older)
        found = ledger.read_lane("r1")
        assert (found.account.users, found.asking, found.revision) == (2, (), 2)

    def test_a_write_that_was_not_answered(self, ledger: Any, time: Time) -> None:
        """What was to be said then is said again with more in it."""
        lane = claim(ledger, time)
        ledger.advance(lane, msgspec.structs.replace(lane, asking=(Asking(3, 1, (1,)),), revision=1))
        more = msgspec.structs.replace(lane, account=Account(users=2), asking=(), revision=2)
        assert ledger.advance(lane, more).account.users == 2

    def test_devices_that_are_not_counted_yet(self, ledger: Any, time: Time) -> None:
        """How many devices of a batch can still be counted as repeats is kept from claim to claim, until it is over."""
        lane = claim(ledger, time)
        lane = ledger.advance(lane, msgspec.structs.replace(lane, repeats_left={3: 2, 7: 0}, revision=1))
        time.s += LEASE_MS / 1000 + 1
        lane = claim(ledger, time)
        assert lane.repeats_left == {3: 2, 7: 0}
        lane = ledger.advance(lane, msgspec.structs.replace(lane, repeats_left={}, revision=2))
        assert (lane.repeats_left, ledger.read_lane("r1").repeats_left) == ({}, {})

    def test_pace(self, ledger: Any, time: Time) -> None:
        """For how long a lane has waited for its next request is for the next claim, and for none after it."""
        lane = claim(ledger, time)
        waits_from_ms = int(time.s * 1000)
        lane = ledger.release(
            msgspec.structs.replace(lane, rate_wait=RateWait(lane.epoch, waits_from_ms)), LaneState.READY, waits_from_ms
        )
        assert lane.waits_for_rate
        time.s += 80
        now_ms = int(time.s * 1000)
        lane = claim(ledger, time)
        assert (lane.waits_for_rate, lane.waited_ms(now_ms)) == (False, 80_000)
        time.s += LEASE_MS / 1000 + 1
        assert claim(ledger, time).waited_ms(now_ms) == 0

    def test_their_text(self, dynamodb: Any, dynamo: DynamoLedger, table: str, time: Time) -> None:
        """Public: a release that comes later reads the same."""
        lane = claim(dynamo, time)
        lane = dynamo.advance(lane, msgspec.structs.replace(lane, repeats_left={3: 2, 7: 0}, revision=1))
        dynamo.release(msgspec.structs.replace(lane, rate_wait=RateWait(1, 1_800_000_000_045)), LaneState.READY, 1)
        [item] = [one for one in dynamodb.scan(TableName=table)["Items"] if one["sk"]["S"] == "lane#0000"]
        assert (item["repeats_left"]["S"], item["rate_wait"]["S"]) == ('{"3":2,"7":0}', "[1,1800000000045]")

    def test_an_item_without_such_devices(self, dynamodb: Any, dynamo: DynamoLedger, table: str, time: Time) -> None:
        """A lane that never had any, nor so low a rate, is stored as it always was."""
        lane = claim(dynamo, time)
        lane = dynamo.advance(lane, msgspec.structs.replace(lane, revision=1))
        dynamo.release(lane, LaneState.READY, 1)
        assert not any({"repeats_left", "rate_wait"} & item.keys() for item in dynamodb.scan(TableName=table)["Items"])

    def test_a_lane_of_the_release_before(self, dynamo: DynamoLedger, time: Time) -> None:
        """It has no such list, and is not given one by a claim."""
        assert claim(dynamo, time).asking is None


class TestControl:
    """Pause, resume and cancel, from every state."""

    @pytest.mark.parametrize(
        ("state", "control", "then"),
        [
            (LaneState.READY, Control.PAUSE, LaneState.PAUSED),
            (LaneState.RESTING, Control.PAUSE, LaneState.PAUSED),
            (LaneState.RUNNING, Control.PAUSE, LaneState.RUNNING),
            (LaneState.PAUSED, Control.PAUSE, LaneState.PAUSED),
            (LaneState.STOPPED, Control.PAUSE, LaneState.STOPPED),
            (LaneState.READY, Control.GO, LaneState.READY),
            (LaneState.RESTING, Control.GO, LaneState.RESTING),
            (LaneState.RUNNING, Control.GO, LaneState.RUNNING),
            (LaneState.PAUSED, Control.GO, LaneState.READY),
            (LaneState.STOPPED, Control.GO, LaneState.READY),
            (LaneState.READY, Control.CANCEL, LaneState.READY),
            (LaneState.RESTING, Control.CANCEL, LaneState.READY),
            (LaneState.RUNNING, Control.CANCEL, LaneState.RUNNING),
            (LaneState.PAUSED, Control.CANCEL, LaneState.READY),
            (LaneState.STOPPED, Control.CANCEL, LaneState.READY),
        ],
    )
    def test_from_every_state(
        self, ledger: Any, time: Time, state: LaneState, control: Control, then: LaneState
    ) -> None:
        """Waiting lanes obey at once; one at work gets the command with its next write."""
        before = bring_to(ledger, time, state)
        lane = ledger.set_control("r1", control, "ann")
        assert (lane.state, lane.control) == (then, control)
        assert lane == ledger.read_lane("r1")
        assert lane.cursor == before.cursor
        if then is LaneState.PAUSED:
            assert lane.due_at_ms is None
            assert not list(ledger.due(time.ms + 10**9))
        if then is LaneState.READY and state is not LaneState.READY:
            assert [due.run_id for due in ledger.due(time.ms)] == ["r1"]

    @pytest.mark.parametrize("control", list(Control))
    def test_nothing_to_control(self, ledger: Any, time: Time, control: Control) -> None:
        """A run that is done, or was never there, gets no command."""
        done = bring_to(ledger, time, LaneState.DONE)
        assert ledger.set_control("r1", control, "ann") is None
        assert ledger.set_control("r9", control, "ann") is None
        assert ledger.read_lane("r1") == done
        assert ledger.read_lane("r9") is None

    def test_resuming_forgives(self, ledger: Any, time: Time) -> None:
        """A run that stopped for making no progress has all its claims again after it is resumed."""
        for _ in range(4):
            lane = claim(ledger, time)
            ledger.release(lane, LaneState.READY, time.ms)
        ledger.release(claim(ledger, time), LaneState.STOPPED, None, "no_progress")
        assert ledger.set_control("r1", Control.GO, "ann").idle_claims == 0

    @pytest.mark.parametrize(
        ("word", "state", "then"),
        [
            (Control.GO, LaneState.PAUSED, LaneState.READY),
            (Control.PAUSE, LaneState.PAUSED, LaneState.PAUSED),
            (Control.CANCEL, LaneState.PAUSED, LaneState.READY),
            (Control.CANCEL, LaneState.STOPPED, LaneState.READY),
            (Control.CANCEL, LaneState.RESTING, LaneState.READY),
            (Control.PAUSE, LaneState.STOPPED, LaneState.STOPPED),
        ],
    )
    def test_a_word_while_draining(
        self, ledger: Any, time: Time, word: Control, state: LaneState, then: LaneState
    ) -> None:
        """Who resumes or cancels while the worker lets go is heard: the lane does not wait, it is ready and due."""
        lane = claim(ledger, time)
        ledger.set_control("r1", word, "ann")
        left = ledger.release(lane, state, None, "why")
        assert left.state is then
        assert [due.run_id for due in ledger.due(time.ms)] == (["r1"] if then is LaneState.READY else [])

    def test_the_last_word_counts(self, ledger: Any, time: Time) -> None:
        """A pause taken back before the worker saw it never was."""
        lane = claim(ledger, time)
        ledger.set_control("r1", Control.PAUSE, "ann")
        ledger.set_control("r1", Control.GO, "ann")
        assert ledger.renew(lane).control is Control.GO


class TestSweeping:
    """What is due, and that one sweeper alone sees to it."""

    def test_what_is_due(self, ledger: Any, time: Time) -> None:
        """Rests that are over, leases that ended and hand-overs that no worker took; nothing before its time."""
        for n, state in enumerate((LaneState.RUNNING, LaneState.READY, LaneState.RESTING, LaneState.PAUSED)):
            run_id = f"d{n}"
            ledger.open_run(msgspec.structs.replace(RUN, run_id=run_id))
            lane = claim(ledger, time, run_id=run_id)
            if state is LaneState.PAUSED:
                ledger.set_control(run_id, Control.PAUSE, "ann")
            if state is not LaneState.RUNNING:
                ledger.release(lane, state, None if state is LaneState.PAUSED else time.ms + n * 60_000)

        def due(ms: int) -> list[str]:
            return sorted(lane.run_id for lane in ledger.due(time.ms + ms) if lane.run_id != "r1")

        assert due(LEASE_MS - 1) == []
        assert due(LEASE_MS) == ["d0"]
        assert due(60_000) == ["d0", "d1"]
        assert due(120_000) == ["d0", "d1", "d2"]

    @pytest.mark.parametrize("state", [LaneState.READY, LaneState.RESTING, LaneState.RUNNING])
    def test_nudged_and_claimed(self, ledger: Any, time: Time, state: LaneState) -> None:
        """A due lane that one sweeper put off is not another's, and the nudged worker can claim it."""
        bring_to(ledger, time, state)
        time.s += 3_600.001
        (lane,) = ledger.due(time.ms)
        assert ledger.put_off(lane, time.ms + 120_000)
        assert not ledger.put_off(lane, time.ms + 120_000)
        assert not list(ledger.due(time.ms))
        assert claim(ledger, time).epoch == lane.epoch + 1

    def test_a_nudge_that_was_lost(self, ledger: Any, time: Time) -> None:
        """A lane that no worker claimed is due again."""
        bring_to(ledger, time, LaneState.RESTING)
        time.s += 3_600
        (lane,) = ledger.due(time.ms)
        ledger.put_off(lane, time.ms + 120_000)
        assert len(list(ledger.due(time.ms + 120_000))) == 1

    def test_claimed_before_the_sweeper(self, ledger: Any, time: Time) -> None:
        """A lane that was claimed since it was found due is left alone, as is one paused since."""
        time.s += 3_600
        (lane,) = ledger.due(time.ms)
        claim(ledger, time)
        assert not ledger.put_off(lane, time.ms)
        assert ledger.read_lane("r1").state is LaneState.RUNNING

    def test_alive(self, ledger: Any, time: Time) -> None:
        """Lanes with a lease are alive; those that rest or whose lease has ended are not."""
        for run_id in ("a1", "a2", "a3"):
            ledger.open_run(msgspec.structs.replace(RUN, run_id=run_id))
            claim(ledger, time, run_id=run_id)
        ledger.release(ledger.read_lane("a3"), LaneState.RESTING, time.ms + 20_000)
        assert ledger.alive(time.ms) == 2
        assert ledger.alive(time.ms + LEASE_MS + 1) == 0


class TestLostAnswers:
    """DynamoDB did it and its answer was lost: botocore asks again, and the refusal is of our own success."""

    def test_claim(self, dynamo: DynamoLedger, dynamodb: Any, time: Time) -> None:
        """The claim counts, once."""
        with lost_answer(dynamodb, "dynamodb.UpdateItem") as lost:
            lane = claim(dynamo, time)
        assert (lost(), lane.epoch, lane.hop, lane.state) == (1, 1, 1, LaneState.RUNNING)

    def test_claim_of_another(self, dynamo: DynamoLedger, time: Time) -> None:
        """A holder of another name is not taken for us, though he has the epoch that ours would have had."""
        dynamo.claim("r1", 0, "7", "a", time.ms)
        with pytest.raises(LaneTaken):
            dynamo.claim("r1", 0, "7", "b", time.ms)

    def test_advance(self, dynamo: DynamoLedger, dynamodb: Any, time: Time) -> None:
        """The cursor has moved, and moves on from there."""
        lane = claim(dynamo, time)
        with lost_answer(dynamodb, "dynamodb.UpdateItem") as lost:
            lane = dynamo.advance(lane, moved(lane, 500))
        assert (lost(), lane.cursor.record) == (1, 500)
        assert dynamo.advance(lane, moved(lane, 1000)).cursor.record == 1000

    def test_advance_told_too_late(self, dynamo: DynamoLedger, time: Time) -> None:
        """A worker that never learnt of its own write may write on from the cursor it knew."""
        lane = claim(dynamo, time)
        dynamo.advance(lane, moved(lane, 500))
        assert dynamo.advance(lane, moved(lane, 1000)).cursor.record == 1000
        assert dynamo.read_lane("r1").account.users == 1000  # type: ignore[union-attr]

    @pytest.mark.parametrize("state", [LaneState.READY, LaneState.RESTING, LaneState.PAUSED, LaneState.STOPPED])
    def test_release(self, dynamo: DynamoLedger, dynamodb: Any, time: Time, state: LaneState) -> None:
        """The lane is left."""
        lane = claim(dynamo, time)
        if state is LaneState.PAUSED:
            dynamo.set_control("r1", Control.PAUSE, "ann")
        with lost_answer(dynamodb, "dynamodb.UpdateItem") as lost:
            lane = dynamo.release(lane, state, None, "why")
        assert (lost(), lane.state, lane.reason) == (1, state, "why")

    def test_finish(self, dynamo: DynamoLedger, dynamodb: Any, time: Time) -> None:
        """The lane is done."""
        lane = claim(dynamo, time)
        with lost_answer(dynamodb, "dynamodb.UpdateItem") as lost:
            lane = dynamo.finish(lane, Ending.COMPLETED, None)
        assert (lost(), lane.ending) == (1, Ending.COMPLETED)

    def test_opening_and_taking(self, dynamo: DynamoLedger, dynamodb: Any) -> None:
        """A run opened, and a campaign taken, is ours although the answer said otherwise."""
        other = msgspec.structs.replace(RUN, run_id="r2")
        with lost_answer(dynamodb, "dynamodb.PutItem") as lost:
            assert dynamo.open_run(other) == other
            assert lost() == 1
        with lost_answer(dynamodb, "dynamodb.PutItem") as lost:
            assert dynamo.take_campaign("spring", "r2", again=False)
            assert lost() == 1


class TestNewerReleases:
    """Items of a form that this release does not know are left alone."""

    def test_left_alone(self, dynamo: DynamoLedger, dynamodb: Any, table: str, time: Time) -> None:
        """They are not read, claimed, controlled or swept."""
        for sk in ("run", "lane#0000"):
            dynamodb.update_item(
                TableName=table,
                Key={"pk": {"S": "run#r1"}, "sk": {"S": sk}},
                UpdateExpression="SET version = :three",
                ExpressionAttributeValues={":three": {"N": "3"}},
            )
        before = dynamodb.scan(TableName=table)["Items"]
        for call in (
            lambda: dynamo.read_run("r1"),
            lambda: dynamo.read_lane("r1"),
            lambda: claim(dynamo, time),
            lambda: dynamo.open_run(RUN),
        ):
            with pytest.raises(LedgerTooNew, match="version 3"):
                call()
        assert dynamo.set_control("r1", Control.CANCEL, "ann") is None
        assert not list(dynamo.due(time.ms + 10**9))
        assert dynamodb.scan(TableName=table)["Items"] == before


class TestOlderReleases:
    """Items of the release before are read, and written on."""

    def test_without_the_widest_batch(self, dynamo: DynamoLedger, dynamodb: Any, table: str, time: Time) -> None:
        """Where it was not noted, a batch is taken to have one device a user; more are noted from now on."""
        where = {"pk": {"S": "run#r1"}, "sk": {"S": "lane#0000"}}
        dynamodb.update_item(TableName=table, Key=where, UpdateExpression="REMOVE widest")
        lane = claim(dynamo, time)
        assert lane.most_devices == 500
        assert dynamo.renew(msgspec.structs.replace(lane, may_ask_below=1, most_devices=700)).most_devices == 700


class TestTable:
    """The items in the table, as others read them."""

    def test_keys_and_expiry(self, dynamo: DynamoLedger, dynamodb: Any, table: str, time: Time) -> None:
        """Keys are as documented, and every item expires, later with every write of a worker."""
        dynamo.name_campaign("r1", "spring")
        dynamo.take_campaign("spring", "r1", again=False)
        time.s += 10
        dynamo.renew(claim(dynamo, time))
        items = {(i["pk"]["S"], i["sk"]["S"]): i for i in dynamodb.scan(TableName=table)["Items"]}
        campaign = {("campaign#spring", "campaign"), ("campaign#spring", "run#r1")}
        assert set(items) == {("run#r1", "run"), ("run#r1", "lane#0000")} | campaign
        assert {int(i["version"]["N"]) for i in items.values()} == {1}
        assert int(items["run#r1", "lane#0000"]["expires_at"]["N"]) == int(time.s) + 400 * 86_400
        assert "expires_at" in items["run#r1", "run"]

    def test_words_that_dynamodb_reserves(self, dynamodb: Any, dynamo: DynamoLedger, time: Time) -> None:
        """No expression uses one bare: DynamoDB would refuse it, moto only sometimes does."""
        expressions: list[str] = []

        def note(params: dict[str, Any], **_: Any) -> None:
            expressions.extend(
                str(params[name])
                for name in ("UpdateExpression", "ConditionExpression", "KeyConditionExpression", "FilterExpression")
                if name in params
            )

        dynamodb.meta.events.register("before-parameter-build.dynamodb", note)
        try:
            lane = claim(dynamo, time)
            lane = dynamo.advance(dynamo.renew(lane), moved(lane, 500))
            dynamo.set_control("r1", Control.PAUSE, "ann")
            dynamo.alive(time.ms)
            dynamo.release(lane, LaneState.RESTING, time.ms, "why")
            (due,) = dynamo.due(time.ms)
            dynamo.put_off(due, time.ms + 1)
            dynamo.set_control("r1", Control.PAUSE, "ann")
            dynamo.set_control("r1", Control.GO, "ann")
            dynamo.finish(claim(dynamo, time), Ending.COMPLETED, "why")
            dynamo.name_campaign("r1", "spring")
            dynamo.take_campaign("spring", "r1", again=False)
            dynamo.runs_of("spring")
            dynamo.close_run("r1")
        finally:
            dynamodb.meta.events.unregister("before-parameter-build.dynamodb", note)
        assert len(expressions) > 20
        words = {word.upper() for expression in expressions for word in _names(expression)}
        assert words & reserved() == set()


GRAMMAR = {"SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "IN", "BETWEEN"}


def _names(expression: str) -> Iterator[str]:
    """The attribute names that stand bare in an expression."""
    for word in re.findall(r"(?<![:#\w])[a-z_]\w*", expression, re.IGNORECASE):
        if word not in GRAMMAR:
            yield word


def reserved() -> set[str]:
    """DynamoDB's reserved words, as moto lists them."""
    return {word.upper() for word in ReservedKeywords.get_reserved_keywords()}


class TestOpened:
    """When a run's campaign was stored."""

    def test_noted_once(self, ledger: Any, time: Time) -> None:
        """The first note stays; a run without one was not opened, or by a release that noted nothing."""
        assert ledger.read_run("r1").opened_at_ms is None
        ledger.note_opened("r1")
        first = time.ms
        time.s += 60
        ledger.note_opened("r1")
        assert ledger.read_run("r1").opened_at_ms == first
        assert ledger.open_run(RUN).opened_at_ms == first


class TestVersionGone:
    """The version of the code that a lane began with was deleted."""

    def test_the_lane_goes_on_with_the_claims_own(self, ledger: Any, time: Time) -> None:
        """It names both from then on; later claims keep the new one."""
        claim(ledger, time, "7")
        time.s += LEASE_MS / 1000 + 1
        lane = ledger.claim("r1", 0, "9", "another", time.ms + 900_000, "7")
        assert (lane.function_version, lane.gone_version, lane.epoch) == ("9", "7", 2)
        time.s += LEASE_MS / 1000 + 1
        later = claim(ledger, time, "11")
        assert (later.function_version, later.gone_version) == ("9", "7")


class TestUnreadable:
    """Something among the lanes that are due is no lane."""

    def test_the_others_are_found(self, dynamo: DynamoLedger, dynamodb: Any, table: str, time: Time) -> None:
        """Its key and its fault go to the callback; without a callback it is an error."""
        time.s += HAND_OVER_MS / 1000 + 1
        broken = {"pk": {"S": "run#broken"}, "sk": {"S": "lane#0000"}, "version": {"N": "1"}}
        dynamodb.put_item(TableName=table, Item=broken | {"due": {"S": "lane"}, "due_at": {"N": "1"}})
        reported: list[str] = []
        assert [lane.run_id for lane in dynamo.due(time.ms, lambda key, _: reported.append(key))] == ["r1"]
        assert reported == ["run#broken"]
        with pytest.raises(KeyError):
            list(dynamo.due(time.ms))
