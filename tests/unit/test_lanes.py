"""How a run is divided into lanes, and its lanes seen as one run."""

from io import StringIO
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from notifier.lifecycle.admitted import AdmittedCampaign
from notifier.lifecycle.lane_plan import DEVICES_A_LANE, MOST_BY_RULE, LanePlan, wanted_lanes
from notifier.model.account import Account
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.cursor import Cursor
from notifier.model.outcome import Outcome
from notifier.model.preparation import DivisibleAudience, ManifestPart, Preparation, PreparationState
from notifier.model.run import Control, Ending, Lane, LaneState, Run, UnfinishedClaim, source_of
from notifier.model.span import MAX_LANES, Span, spans_of
from notifier.model.summary import summary_of
from notifier.model.whole_run import as_one, slowest
from operations.cli.watching import RunView, screen
from tests.twins.hop_factory import World, users
from tests.twins.invocation import hops_of, invocation, invoke
from tests.twins.ledger import MemoryLedger
from tests.twins.library import MemoryLibrary
from tests.twins.schedule import Faults, Schedule
from tests.twins.settlements import MemoryResults
from tests.twins.trouble import StoreError, Trouble, no_trouble

ONLY_LANE = Lane("r")
RUN = Run("r", source_of("b", "batches/f.json", "v", "e"), 1_000)


def campaign(**members: Any) -> Any:
    """A campaign with these members."""
    return read_campaign({"id": "c", "message": {"title": "t"}, **members})


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60), lanes=st.integers(1, 130))
def test_spans_are_the_audience(sizes: list[int], lanes: int) -> None:
    """Every part is in exactly one span, in order; each begins with a batch; there are not more than asked for."""
    firsts = [sum(sizes[:n]) * 500 for n in range(len(sizes))]
    end = sum(sizes) * 500 - 77
    spans = spans_of(firsts, end, lanes)
    if lanes == 1 or len(sizes) == 1:
        assert spans == ()
        return
    assert 2 <= len(spans) <= min(lanes, MAX_LANES, len(sizes))
    assert {span.lanes for span in spans} == {len(spans)}
    assert (spans[0].first, spans[-1].end) == (0, end)
    assert (spans[0].part, spans[-1].end_part) == (0, len(sizes))
    for one, other in pairwise(spans):
        assert (one.end, one.end_part) == (other.first, other.part)
    assert all(span.first == firsts[span.part] and span.first % 500 == 0 for span in spans)


@pytest.mark.parametrize("lanes", [2, 3, 8])
def test_nothing_depends_on_the_number_of_lanes(lanes: int) -> None:
    """Each device has the same record, batch, arm and outcome as on one lane. Apple's id is made of the record."""
    assert rows_on(lanes) == rows_on(1)


def rows_on(lanes: int) -> dict[tuple[int, int], tuple[object, ...]]:
    """By record and device, what came of a run over so many lanes that nothing disturbs."""
    records = [
        {"user_id": f"u{n}", "devices": [{"platform": platform, "token": f"t{n}.{k}"}]}
        for n in range(47)
        for k, platform in enumerate(("android", "ios") if n % 5 else ("ios",))
    ]
    world = World(records, size=4, lanes=lanes, control_percent=30)
    Schedule(world, Faults()).run()
    assert len(world.ledger.lanes_of(world.run.run_id)) == lanes
    return {
        (row.record, row.device): (row.user_id, number, row.arm, row.outcome)
        for (_, number, _), found in world.results.rows.items()
        for row in found.rows
    }


def test_even_parts_make_even_lanes() -> None:
    """Eight lanes of eight parts have one each; of 100 parts no lane has more than one part over its share."""
    assert [span.end_part - span.part for span in spans_of(range(0, 4_000, 500), 4_000, 8)] == [1] * 8
    spans = spans_of(range(0, 100 * 4_000, 4_000), 400_000, 8)
    assert {span.end_part - span.part for span in spans} <= {12, 13}


def test_a_part_within_a_batch_begins_no_lane() -> None:
    """Such an audience is one lane, or fewer lanes than parts."""
    assert spans_of([0, 700, 1_400], 2_100, 3) == ()
    assert spans_of([0, 700, 1_500], 2_100, 3) == (Span(0, 1_500, 0, 2, 2), Span(1_500, 2_100, 2, 3, 2))


class TestPlan:
    """Over how many lanes a run is spread."""

    def test_wanted(self) -> None:
        """As many as the campaign says; else one, and one more for each 400,000 devices of Apple's."""
        audience = {"apns": 5 * DEVICES_A_LANE, "fcm": 10**8}
        assert wanted_lanes(campaign(lanes=3), audience) == 3
        assert wanted_lanes(campaign(), audience) == 5
        assert wanted_lanes(campaign(), {"apns": 2 * DEVICES_A_LANE - 1}) == 1
        assert wanted_lanes(campaign(), {"apns": 10**9}) == MOST_BY_RULE
        assert wanted_lanes(campaign(per_second=1_000), audience) == 1
        assert wanted_lanes(campaign(test=True), audience) == 1

    def test_no_more_than_112(self) -> None:
        """As many as a run can have; one more is a fault of the file, with the field's name."""
        assert wanted_lanes(campaign(lanes=MAX_LANES), {}) == MAX_LANES == 112
        for lanes in (0, 113):
            with pytest.raises(BrokenCampaign, match="lanes"):
                campaign(lanes=lanes)

    def planned(self, room: int = MAX_LANES, **members: Any) -> tuple[Any, MemoryResults]:
        """The plan of a run over four parts, and where it is stored."""
        parts = tuple(ManifestPart("b", f"p{n}", "e", 9, 500, "v", 500 * n) for n in range(4))
        ledger, results = MemoryLedger(lambda: 5.0), MemoryResults()
        ledger.preparations["r"] = Preparation("r", PreparationState.PREPARED, "{}", "b", manifest="m")

        # The cut's has the parts, that of the audience before it the counts.
        manifests = {"m": DivisibleAudience(parts), "before": DivisibleAudience((), {"apns": 3 * DEVICES_A_LANE})}

        pinned = tuple(part.pinned for part in parts)
        admitted = AdmittedCampaign(campaign(**{"lanes": 4, **members}), pinned, False, (), False, prepared="before")

        def plan(lane: Lane = ONLY_LANE, admitted: AdmittedCampaign = admitted, room: int = room) -> tuple[Span, ...]:
            return LanePlan(MemoryLibrary(divisible=manifests), results, ledger, lambda: room).of(RUN, lane, admitted)

        return plan, results

    def test_stored_and_the_same_for_every_claim(self) -> None:
        """Decided once: though the account has room for fewer now, a claim that begins again finds the same lanes."""
        plan, results = self.planned()
        spans = plan()
        assert len(spans) == 4
        assert plan(room=2) == spans
        assert list(results.states) == [("r", "lanes")]

    def test_no_more_than_there_is_room_for(self) -> None:
        """What the account's concurrency does not allow is not opened."""
        assert len(self.planned(room=2)[0]()) == 2
        plan, results = self.planned(room=1)
        assert (plan(), results.states) == ((), {})

    def test_by_the_devices_of_the_audience_before_the_cut(self) -> None:
        """A campaign that says nothing is spread by them."""
        assert len(self.planned(lanes=None)[0]()) == 3

    def test_one_lane(self) -> None:
        """A run that began as one lane stays one; so does one of other parts than the manifest's, or an inline one."""
        plan, results = self.planned()
        assert plan(Lane("r", cursor=Cursor(record=500))) == ()
        assert plan(Lane("r", suspects=(UnfinishedClaim(1, 2),))) == ()
        assert plan(Lane("r", span=Span(0, 1_000, 0, 2, 2))) == ()
        one = AdmittedCampaign(campaign(lanes=4), (), False, (), False)
        assert plan(admitted=one) == ()
        assert plan(admitted=msgspec.structs.replace(one, inline=True)) == ()
        assert results.states == {}


def lane(number: int, state: LaneState, **members: Any) -> Lane:
    """One of three lanes of 1,000 records each."""
    span = Span(1_000 * number, 1_000 * number + 1_000, number, number + 1, 3)
    return Lane("r", number, state=state, **{"span": span, "cursor": span.start, **members})


def account(users: int) -> Account:
    """So many users with one accepted device each."""
    made = Account(users=users, devices=users)
    for _ in range(users):
        made.count("default", Outcome.ACCEPTED, None)
    return made


class TestAsOne:
    """The lanes of a run as one lane."""

    def test_the_only_lane_is_itself(self) -> None:
        """Nothing of it is changed."""
        one = Lane("r", account=account(3))
        assert as_one([one]) is one
        assert slowest([one]) is None

    def test_added_up(self) -> None:
        """Counts are summed, times are the first and the last, and numbers of batches never meet."""
        done = {"ending": Ending.COMPLETED, "hop": 2, "sending_ms": 500}
        lanes = [
            lane(n, LaneState.DONE, account=account(n + 1), started_at_ms=10 - n, ended_at_ms=20 + n, **done)
            for n in range(3)
        ]
        whole = as_one(lanes)
        assert (whole.status, whole.account.users, whole.account.settled) == ("completed", 6, 6)
        assert (whole.started_at_ms, whole.ended_at_ms, whole.hop, whole.sending_ms) == (8, 22, 6, 1_500)
        summary = summary_of(RUN, lanes, "b")
        assert (summary.users, summary.lanes, summary.slowest_lane, summary.hops) == (6, 3, None, 6)
        assert [one.account.users for one in lanes] == [1, 2, 3]

    def test_unsettled_of_all(self) -> None:
        """What was asked for and could not be settled is that of all lanes."""
        lanes = [
            lane(n, LaneState.DONE, ending=Ending.CANCELLED, suspects=(UnfinishedClaim(1, 9, {2 * n: 5}),))
            for n in range(3)
        ]
        assert summary_of(RUN, lanes, "b").unsettled == 15

    def test_the_run_works_while_one_lane_does(self) -> None:
        """Then it is stopped, with the reason of the lane that is; then paused; then resting; then done."""
        stopped = lane(0, LaneState.STOPPED, reason="payload_refused: x")
        paused, resting = lane(1, LaneState.PAUSED), lane(2, LaneState.RESTING, due_at_ms=77)
        done = lane(1, LaneState.DONE, ending=Ending.COMPLETED)
        assert as_one([stopped, lane(1, LaneState.READY), resting]).status == "running"
        whole = as_one([stopped, paused, resting])
        assert (whole.status, whole.reason) == ("stopped", "payload_refused: x")
        assert as_one([done, paused, resting]).status == "paused"
        assert (as_one([done, resting]).status, as_one([done, resting]).due_at_ms) == ("resting", 77)

    def test_completed_only_if_all_are(self) -> None:
        """One lane's failure is the run's, with its reason; the others were cancelled for it."""
        failed = lane(1, LaneState.DONE, ending=Ending.FAILED, reason="broken at byte 7")
        cancelled = lane(0, LaneState.DONE, ending=Ending.CANCELLED)
        completed = lane(2, LaneState.DONE, ending=Ending.COMPLETED)
        whole = as_one([cancelled, failed, completed])
        assert (whole.status, whole.reason) == ("failed", "broken at byte 7")
        assert as_one([cancelled, completed]).status == "cancelled"

    def test_any_pause_is_shown(self) -> None:
        """A command that has reached some lanes is the run's."""
        assert as_one([lane(0, LaneState.RUNNING), lane(1, LaneState.RUNNING, control=Control.PAUSE)]).control is (
            Control.PAUSE
        )

    def test_the_slowest_lane(self) -> None:
        """The one that has the least of its own records behind it, of those that are not done."""
        lanes = [
            lane(0, LaneState.RUNNING, cursor=Cursor(record=900)),
            lane(1, LaneState.RUNNING, cursor=Cursor(record=1_100)),
            lane(2, LaneState.DONE, ending=Ending.COMPLETED),
        ]
        behind = slowest(lanes)
        assert behind is not None
        assert (behind.lane, summary_of(RUN, lanes, "b").slowest_lane) == (1, 1)
        lanes[1] = lane(1, LaneState.RUNNING, cursor=Cursor(round=1))
        assert slowest(lanes) is lanes[0]

    def test_status_names_it(self) -> None:
        """Beside the number of hops, as long as a lane is under way."""
        lanes = [
            lane(0, LaneState.RUNNING, cursor=Cursor(record=900), started_at_ms=1, hop=2),
            lane(1, LaneState.RUNNING, cursor=Cursor(record=1_100), started_at_ms=1, hop=1),
        ]
        assert "3 hops of 2 lanes (the slowest is lane 1)" in shown(lanes)
        ended = [lane(n, LaneState.DONE, ending=Ending.COMPLETED, started_at_ms=1, hop=1) for n in range(2)]
        assert "2 hops of 2 lanes" in shown(ended)
        assert "slowest" not in shown(ended)


def shown(lanes: list[Lane]) -> str:
    """What `notifier status` prints."""
    console = Console(width=200, record=True, file=StringIO())
    console.print(screen(RunView(summary_of(RUN, lanes, "b"), "go", None, ""), None))
    return console.export_text()


@pytest.mark.parametrize("command", [Control.PAUSE, Control.CANCEL])
def test_a_command_outlives_the_worker_that_opens_the_lanes(command: Control) -> None:
    """Given while the lanes are entered, by a worker that dies before it passes it on: nobody is asked for by any."""
    world = World(users(12), size=4, lanes=3)

    def troubles(name: str) -> Trouble:
        if name == "open lane":
            world.ledger.set_control("r", command, "ann")
        return Trouble.LOST if name == "pass on" else Trouble.NONE

    world.ledger.troubles = troubles
    with pytest.raises(StoreError):
        invoke(world)
    world.ledger.troubles = no_trouble
    assert {lane.control for lane in world.ledger.lanes_of("r")} == {command, Control.GO}
    world.clock.time_s += 60
    for number in range(3):
        hops_of(world).lane_worker().work(world.run, number, invocation(world))
    assert {(lane.control, lane.control_by) for lane in world.ledger.lanes_of("r")} == {(command, "ann")}
    assert not world.phones.seen
