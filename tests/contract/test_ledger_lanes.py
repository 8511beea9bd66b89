"""A run of several lanes in the ledger: opened, controlled and closed as one, by both implementations."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from notifier.model.cursor import Cursor
from notifier.model.membership import MEMBER_MS, Member, member_name
from notifier.model.run import Control, Ending, Lane, LaneLost, LaneState, LaneTaken, Run, source_of
from notifier.model.span import Span, spans_of
from notifier.stores.ledger import DynamoLedger
from tests.contract.moto_stores import Time, client_of, make_table, new_name, server_for
from tests.twins.ledger import MemoryLedger

RUN = Run("r1", source_of("b", "batches/f.json", "v1", "e1"), 1_000)
SPANS = spans_of([0, 1_000, 2_000], 2_400, 3)
_owners = count()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """A DynamoDB client, on a moto of this module's own."""
    with server_for("dynamodb") as endpoint:
        client = client_of("dynamodb", endpoint)
        yield client
        client.close()


@pytest.fixture
def table(dynamodb: Any) -> str:
    """An empty table."""
    name = new_name("lanes")
    make_table(dynamodb, name)
    return name


@pytest.fixture
def time() -> Time:
    """The ledger's time."""
    return Time()


@pytest.fixture(params=["dynamo", "memory"])
def ledger(request: pytest.FixtureRequest, time: Time) -> Any:
    """Each implementation in turn, with RUN in it."""
    if request.param == "memory":
        made: Any = MemoryLedger(time)
    else:
        made = DynamoLedger(request.getfixturevalue("dynamodb"), request.getfixturevalue("table"), time)
    made.open_run(RUN)
    return made


def claim(ledger: Any, time: Time, number: int = 0) -> Lane:
    """A claim by a new invocation that has 15 minutes."""
    lane: Lane = ledger.claim("r1", number, "7", f"owner-{next(_owners)}", time.ms + 900_000)
    return lane


def opened(ledger: Any, time: Time) -> Lane:
    """RUN over three lanes, the first of them claimed."""
    lane: Lane = ledger.open_lanes(claim(ledger, time), SPANS)
    return lane


def test_opened(ledger: Any, time: Time) -> None:
    """Each lane begins where its span does, ready and due, in the version of the code that the run has."""
    first = opened(ledger, time)
    assert (first.state, first.span, first.cursor) == (LaneState.RUNNING, SPANS[0], Cursor())
    lanes = ledger.lanes_of("r1")
    assert [lane.span for lane in lanes] == list(SPANS)
    assert [lane.lane for lane in lanes] == [0, 1, 2]
    second = lanes[1]
    assert (second.state, second.cursor, second.epoch) == (LaneState.READY, Cursor(record=1_000, part=1), 0)
    assert second.function_version == "7"
    assert not second.has_begun
    assert {lane.lane for lane in ledger.due(time.ms + 60_000)} == {0, 1, 2}


def test_opened_again(ledger: Any, time: Time) -> None:
    """An opening that was cut short is repeated, and a lane that works already goes on undisturbed."""
    first = opened(ledger, time)
    working = claim(ledger, time, 1)
    assert ledger.open_lanes(first, SPANS).span == SPANS[0]
    assert ledger.renew(working).epoch == 1
    assert len(ledger.lanes_of("r1")) == 3


def test_opened_by_the_claim_that_has_the_lane(ledger: Any, time: Time) -> None:
    """A slow worker whose lane another one has claimed opens nothing."""
    slow = claim(ledger, time)
    time.s += 31
    claim(ledger, time)
    with pytest.raises(LaneLost):
        ledger.open_lanes(slow, SPANS)
    assert len(ledger.lanes_of("r1")) == 1


@pytest.mark.parametrize("command", [Control.PAUSE, Control.CANCEL])
def test_a_command_during_the_opening_reaches_every_lane(ledger: Any, time: Time, command: Control) -> None:
    """Given when only the first lane was there, it is passed on to those that are opened."""
    lane = claim(ledger, time)
    ledger.control_run("r1", command, "ann")
    ledger.open_lanes(lane, SPANS)
    assert {(lane.control, lane.control_by) for lane in ledger.lanes_of("r1")} == {(command, "ann")}
    assert {lane.control_at_ms for lane in ledger.lanes_of("r1")} == {time.ms}


def test_a_command_for_the_run(ledger: Any, time: Time) -> None:
    """A working lane reads it with its next write; one without a worker follows at once; a resume wakes all."""
    first = opened(ledger, time)
    assert {lane.lane for lane in ledger.control_run("r1", Control.PAUSE, "ann")} == {0, 1, 2}
    assert ledger.renew(first).control is Control.PAUSE
    assert [lane.state for lane in ledger.lanes_of("r1")] == [LaneState.RUNNING, LaneState.PAUSED, LaneState.PAUSED]
    with pytest.raises(LaneTaken):
        claim(ledger, time, 1)
    resumed = ledger.control_run("r1", Control.GO, "bob")
    assert [lane.state for lane in resumed] == [LaneState.RUNNING, LaneState.READY, LaneState.READY]
    assert ledger.control_run("r9", Control.GO, "bob") == ()


def test_a_lane_that_stops_pauses_the_others_and_no_cancel_is_lost(ledger: Any, time: Time) -> None:
    """Where an operator has cancelled meanwhile, the lane stays cancelled."""
    opened(ledger, time)
    assert ledger.set_control("r1", Control.PAUSE, "lane 0", 1, only_if_going=True).state is LaneState.PAUSED
    ledger.set_control("r1", Control.CANCEL, "ann", 2)
    assert ledger.set_control("r1", Control.PAUSE, "lane 0", 2, only_if_going=True) is None
    assert ledger.read_lane("r1", 2).control is Control.CANCEL


def test_a_command_of_an_earlier_time_changes_nothing(ledger: Any, time: Time) -> None:
    """A lane's stop that reaches another late, when an operator has resumed the run, does not pause it again."""
    opened(ledger, time)
    stopped_at_ms = time.ms
    time.s += 1
    ledger.control_run("r1", Control.GO, "ann")
    assert ledger.set_control("r1", Control.PAUSE, "lane 0", 1, only_if_going=True, at_ms=stopped_at_ms) is None
    assert ledger.read_lane("r1", 1).control is Control.GO
    assert ledger.set_control("r1", Control.PAUSE, "lane 0", 1, only_if_going=True, at_ms=time.ms) is not None


def test_lanes_work_side_by_side(ledger: Any, time: Time) -> None:
    """Each lane has its own epoch, cursor and lease."""
    first, second = opened(ledger, time), claim(ledger, time, 1)
    after = msgspec.structs.replace(second, cursor=Cursor(record=1_500, part=1, in_part=500), revision=1)
    assert ledger.advance(second, after).cursor.record == 1_500
    assert ledger.renew(first).cursor == Cursor()
    time.s += 31
    assert claim(ledger, time, 1).epoch == 2
    assert ledger.read_lane("r1").epoch == 1


def test_closed_once_all_are_done(ledger: Any, time: Time) -> None:
    """A lane that is done before others is due no more; closed, no lane is due."""
    first, second, third = opened(ledger, time), claim(ledger, time, 1), claim(ledger, time, 2)
    ledger.await_others(ledger.finish(second, Ending.COMPLETED, None))
    far = time.ms + 10**9
    assert {lane.lane for lane in ledger.due(far)} == {0, 2}
    ledger.finish(first, Ending.COMPLETED, None)
    ledger.finish(third, Ending.COMPLETED, None)
    ledger.close_run("r1", [0, 1, 2])
    assert list(ledger.due(far)) == []
    assert ledger.read_run("r1").closed_at_ms == time.ms


def test_a_lane_that_works_is_not_taken_from_what_is_due(ledger: Any, time: Time) -> None:
    """Only of one that is done another lane may say so."""
    working = opened(ledger, time)
    with pytest.raises(Exception, match=r"."):
        ledger.await_others(working)
    assert {lane.lane for lane in ledger.due(time.ms + 10**9)} == {0, 1, 2}


class TestItems:
    """The items in the table."""

    @pytest.fixture
    def dynamo(self, dynamodb: Any, table: str, time: Time) -> DynamoLedger:
        """The ledger in DynamoDB."""
        made = DynamoLedger(dynamodb, table, time)
        made.open_run(RUN)
        return made

    def test_the_only_lane_has_the_text_that_it_had(
        self, dynamo: DynamoLedger, dynamodb: Any, table: str, time: Time
    ) -> None:
        """Nothing of spans is in it, and it is due where releases before this look."""
        lane = claim(dynamo, time)
        dynamo.advance(lane, msgspec.structs.replace(lane, cursor=Cursor(record=500), revision=1))
        item = dynamodb.get_item(TableName=table, Key={"pk": {"S": "run#r1"}, "sk": {"S": "lane#0000"}})["Item"]
        assert item["cursor"]["S"] == '{"record":500,"part":0,"in_part":0,"byte":null,"round":0,"version":1}'
        assert (item["due"]["S"], item["version"]["N"]) == ("lane", "1")
        assert "span" not in item

    def test_several_lanes_are_left_alone_by_releases_that_know_one(
        self, dynamo: DynamoLedger, dynamodb: Any, table: str, time: Time
    ) -> None:
        """By their version, and by partitions of the index in which those do not look; spread over several."""
        opened(dynamo, time)
        items = dynamodb.scan(TableName=table)["Items"]
        lanes = {item["sk"]["S"]: item for item in items if item["sk"]["S"].startswith("lane#")}
        assert {item["version"]["N"] for item in lanes.values()} == {"2"}
        partitions = [lanes[name]["due"]["S"] for name in sorted(lanes)]
        assert len(set(partitions)) == 3
        assert all(name.startswith("lane#") for name in partitions)
        assert lanes["lane#0001"]["span"]["S"] == '{"first":1000,"end":2000,"part":1,"end_part":2,"lanes":3}'


def test_the_span_of_a_lane_is_its_own() -> None:
    """Together the spans are the audience."""
    assert (Span(0, 1_000, 0, 1, 3), Span(1_000, 2_000, 1, 2, 3), Span(2_000, 2_400, 2, 3, 3)) == SPANS


def test_members_who_share(ledger: Any, time: Time) -> None:
    """Lanes enter themselves, many at once too; all see the same; one that leaves or lapses is none any more."""
    many = {member_name("r1", n): Member(time.ms + MEMBER_MS, n) for n in range(90)}
    assert ledger.membership(time.ms).members == {}
    assert ledger.join(many, time.ms).members == many
    assert ledger.join({member_name("r2", 0): Member(time.ms + 1, 7)}, time.ms).fcm_users(time.ms) == 91
    assert ledger.membership(time.ms + 1).fcm_users(time.ms + 1) == 90
    ledger.leave(member_name("r1", 3), time.ms + 1)
    assert ledger.alive(time.ms + 1) == 89
    assert ledger.alive(time.ms + MEMBER_MS) == 0


def test_lanes_of_other_runs_are_counted_once(ledger: Any, time: Time) -> None:
    """A run's only lane by its lease, as releases before do; lanes of several as members."""
    claim(ledger, time)
    assert ledger.membership(time.ms).alone == 1
    ledger.join({"r2_0000": Member(time.ms + MEMBER_MS)}, time.ms)
    assert ledger.alive(time.ms) == 2
