"""A run of several lanes in the ledger: opened, controlled and closed as one, by both implementations."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, permutations
from typing import Any

import msgspec
import pytest

from notifier.events.announcement import DETAIL_TYPE, SOURCE, EventBridgeAnnouncer
from notifier.lifecycle.run_closing import close_run
from notifier.model.account import Account
from notifier.model.cursor import Cursor
from notifier.model.lane_membership import MEMBER_MS, Member, member_name
from notifier.model.run import Control, Ending, Lane, LaneLost, LaneState, LaneTaken, Run, source_of
from notifier.model.span import Span, spans_of
from notifier.model.summary import Summary
from notifier.stores.ledger import DynamoLedger
from reporting.chi_squared import RatioVerdict
from reporting.figures import make_report
from reporting.rows import RowFigures, SeenRow
from tests.contract.moto_stores import Time, client_of, make_table, new_name, server_for
from tests.twins.ledger import MemoryLedger
from tests.twins.settlements import MemoryResults

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


@pytest.mark.parametrize("then", [Control.GO, Control.CANCEL])
def test_a_command_that_is_passed_on_replaces_no_later_one(
    ledger: Any, time: Time, monkeypatch: pytest.MonkeyPatch, then: Control
) -> None:
    """Resumed or cancelled while the pause before is passed on, all lanes go on or are cancelled."""
    lane = claim(ledger, time)
    ledger.control_run("r1", Control.PAUSE, "ann")
    given: list[Control] = []
    pass_on = ledger._pass_on

    def interrupted(*args: Any) -> None:
        if not given:
            given.append(then)
            time.s += 0.3
            ledger.control_run("r1", then, "bob")
            time.s += 0.1
        pass_on(*args)

    monkeypatch.setattr(ledger, "_pass_on", interrupted)
    ledger.open_lanes(lane, SPANS)
    assert {(lane.control, lane.control_by) for lane in ledger.lanes_of("r1")} == {(then, "bob")}


@pytest.mark.parametrize("has_span", [True, False])
def test_a_resume_during_the_opening_reaches_every_lane(ledger: Any, time: Time, has_span: bool) -> None:
    """A lane that was entered as paused goes on, too, when the run was resumed before it was there."""
    lane = claim(ledger, time)
    ledger.control_run("r1", Control.PAUSE, "ann")
    with pytest.raises(KeyboardInterrupt), killed_before_passing_on(ledger):
        ledger.open_lanes(lane, SPANS)
    time.s += 31
    # Lane 0 alone: the command's reading of the lanes was before the opening's writes.
    ledger.set_control("r1", Control.GO, "ann")
    again = claim(ledger, time)
    ledger.pass_on_command(again) if has_span else ledger.open_lanes(again, SPANS)
    assert {lane.control for lane in ledger.lanes_of("r1")} == {Control.GO}


def test_a_slow_command_changes_no_lane_that_was_entered_after_the_next_one(ledger: Any, time: Time) -> None:
    """Paused and resumed before the lanes were there: the pause that reaches them last is refused."""
    paused_at_ms = time.ms
    lane = claim(ledger, time)
    time.s += 1
    ledger.control_run("r1", Control.GO, "bob")
    ledger.open_lanes(lane, SPANS)
    for number in (1, 2):
        assert ledger.set_control("r1", Control.PAUSE, "ann", number, at_ms=paused_at_ms) is None
    assert {lane.control for lane in ledger.lanes_of("r1")} == {Control.GO}


@pytest.mark.parametrize("command", [Control.PAUSE, Control.CANCEL])
def test_a_command_that_was_not_passed_on_is_by_the_next_claim(ledger: Any, time: Time, command: Control) -> None:
    """With the time when it was given, so that a later one stays; but a cancel counts over that, too."""
    opened(ledger, time)
    given_at_ms = time.ms
    # To the first lane alone: the others were entered behind its reading of them, by a worker that died.
    ledger.set_control("r1", command, "ann")
    time.s += 31
    ledger.set_control("r1", Control.GO, "bob", 2)
    ledger.pass_on_command(claim(ledger, time))
    lanes = ledger.lanes_of("r1")
    assert [(lane.control, lane.control_at_ms) for lane in lanes[:2]] == [(command, given_at_ms)] * 2
    left = (Control.GO, "bob") if command is Control.PAUSE else (command, "ann")
    assert [(lane.control, lane.control_by) for lane in lanes] == [(command, "ann")] * 2 + [left]


def test_lanes_that_have_their_command_are_left_alone(ledger: Any, time: Time) -> None:
    """Without a command nothing is written; nor to a lane that is done, or has the command already."""
    first = opened(ledger, time)
    ledger.pass_on_command(first)
    assert {lane.control_at_ms for lane in ledger.lanes_of("r1")} == {None}
    ledger.finish(claim(ledger, time, 1), Ending.COMPLETED, None)
    ledger.set_control("r1", Control.CANCEL, "ann")
    ledger.pass_on_command(ledger.renew(first))
    assert [lane.control for lane in ledger.lanes_of("r1")] == [Control.CANCEL, Control.GO, Control.CANCEL]


@contextmanager
def killed_before_passing_on(ledger: Any) -> Iterator[None]:
    """The worker is killed when it gives a lane the command of the first one."""
    pass_on = ledger._pass_on

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    ledger._pass_on = killed
    try:
        yield
    finally:
        ledger._pass_on = pass_on


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


def test_a_cancel_is_not_taken_back(ledger: Any, time: Time) -> None:
    """Who pauses or resumes before a worker has read it, in a hurry or on hold, sends to nobody who was cancelled."""
    opened(ledger, time)
    assert len(ledger.control_run("r1", Control.CANCEL, "ann")) == 3
    cancelled = ledger.lanes_of("r1")
    for command in (Control.PAUSE, Control.GO):
        time.s += 1
        assert ledger.control_run("r1", command, "bob") == ()
        assert ledger.lanes_of("r1") == cancelled
    # Given again it is no fault.
    assert len(ledger.control_run("r1", Control.CANCEL, "bob")) == 3


def test_a_cancel_reaches_every_lane(ledger: Any, time: Time) -> None:
    """Also one that another command, which was given a moment later, has reached before it."""
    opened(ledger, time)
    ledger.set_control("r1", Control.PAUSE, "bob", 1, at_ms=time.ms + 5)
    ledger.control_run("r1", Control.CANCEL, "ann")
    assert {lane.control for lane in ledger.lanes_of("r1")} == {Control.CANCEL}


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


class Bus:
    """EventBridge: keeps what it takes."""

    def __init__(self) -> None:
        self.entries: list[dict[str, str]] = []

    def put_events(self, Entries: list[dict[str, str]]) -> Any:  # noqa: N803 - boto3's
        """Take all."""
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}


ACCEPTED, HELD = (430, 420, 90), (45, 60, 5)
"""Of each of three lanes."""


def account_of(number: int) -> Account:
    """What a lane has done: each has another arm in which a device was refused."""
    accepted, held = ACCEPTED[number], HELD[number]
    account = Account(users=accepted + held + 1, devices=accepted + held + 1)
    push, control, refused = account.arm("a"), account.arm("control"), account.arm("b" if number else "a")
    push.assigned, push.accepted = accepted, accepted
    control.assigned, control.held = held, held
    refused.assigned += 1
    refused.rejected["UNREGISTERED"] = 1
    return account


def end(ledger: Any, order: tuple[int, ...], time: Time) -> tuple[Bus, MemoryResults, list[bool]]:
    """Ends the three lanes of a run in an order, each as its worker does: done, then closed if it was the last one."""
    bus, results, closed = Bus(), MemoryResults(), []
    lanes = {0: opened(ledger, time), 1: claim(ledger, time, 1), 2: claim(ledger, time, 2)}
    for number in order:
        after = msgspec.structs.replace(lanes[number], account=account_of(number), revision=1)
        done = ledger.finish(ledger.advance(lanes[number], after), Ending.COMPLETED, None)
        whole = close_run(ledger, results, EventBridgeAnnouncer(bus).ended, RUN, done, "b")
        closed.append(whole is not None)
    return bus, results, closed


@pytest.mark.parametrize("order", list(permutations(range(3)))[::2])
def test_one_end_is_announced(ledger: Any, time: Time, order: tuple[int, ...]) -> None:
    """Lanes end one after the other: only the last one announces, once, the figures of all; the summary is the same."""
    bus, results, closed = end(ledger, order, time)
    assert closed == [False, False, True]
    [entry] = bus.entries
    assert (entry["Source"], entry["DetailType"]) == (SOURCE, DETAIL_TYPE)
    detail = json.loads(entry["Detail"])
    assert detail["run_id"] == "r1"
    said = msgspec.convert(detail["summary"], Summary)
    assert (said.status, said.lanes, said.users, said.devices) == ("completed", 3, 1_053, 1_053)
    assert said.outcomes == {"accepted": 940, "rejected": {"UNREGISTERED": 3}, "failed": {}, "held": 110}
    assert {name: arm["assigned"] for name, arm in said.arms.items()} == {"a": 941, "b": 2, "control": 110}
    assert msgspec.to_builtins(said) == msgspec.to_builtins(results.summaries["r1"])


def test_the_report_of_several_lanes(ledger: Any, time: Time) -> None:
    """Arms and totals are those of all lanes, and the rows of all lanes agree with them; those of one do not."""
    _, results, _ = end(ledger, (1, 0, 2), time)
    summary = msgspec.convert(msgspec.to_builtins(results.summaries["r1"]), Summary)
    seen, first = RowFigures(), RowFigures()
    for number in range(3):
        last = ("b" if number else "a", "rejected", "UNREGISTERED")
        lane = (*[("a", "accepted", None)] * ACCEPTED[number], *[("control", "held", None)] * HELD[number], last)
        for figures in (seen, *([first] if number == 0 else [])):
            figures.add(
                SeenRow(arm, outcome, "fcm", "android", "2026-11-21 14:00:00.123", int(outcome != "held"), reason)
                for arm, outcome, reason in lane
            )
    made = make_report(summary, (("a", 8_950), ("b", 50), ("control", 1_000)), seen, 3)
    assert [(one.name, one.assigned, one.accepted, one.refused, one.devices) for one in made.arms] == [
        ("a", 941, 940, 1, 941), ("b", 2, 0, 2, 2), ("control", 110, 0, 0, 110),
    ]  # fmt: skip
    assert made.headline == "940 of 1,053 devices accepted by Apple and Google"
    assert (made.rows, made.rows_agree) == (1_053, True)
    assert made.ratio.verdict is RatioVerdict.IN_PROPORTION
    assert not make_report(summary, None, first, 3).rows_agree


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

    def test_the_text_of_a_member(self, dynamo: DynamoLedger, dynamodb: Any, table: str, time: Time) -> None:
        """Public: `rests` is there only where it is true, so that releases that do not know it read what they wrote."""
        dynamo.join({"r1_0000": Member(1_800_000_000_045, 7), "r1_0001": Member(1_800_000_000_045, rests=True)}, 1)
        key = {"pk": {"S": "shares"}, "sk": {"S": "lanes"}}
        item = dynamodb.get_item(TableName=table, Key=key)["Item"]
        assert {name: value["S"] for name, value in item.items() if name.startswith("m_")} == {
            "m_r1_0000": '{"until_ms":1800000000045,"sending_ms":7}',
            "m_r1_0001": '{"until_ms":1800000000045,"rests":true}',
        }
        # As the release before, which had no such member, has written it.
        assert not dynamo.membership(1).members["r1_0000"].rests

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
