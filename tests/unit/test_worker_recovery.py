"""What a worker finds and leaves when things break: crashes, slow workers, stores out of reach, lost answers."""

from typing import Any, NoReturn

import pytest

from notifier.model.cursor import Cursor
from notifier.model.log import Action
from notifier.model.run import LEASE_MS, MAX_IDLE_CLAIMS, Control, Ending, LaneState
from notifier.sending.batch_opening import MAX_OPEN_BATCHES
from notifier.sending.lane_writer import LeaseOver
from tests.twins.background import TwinTask
from tests.twins.clock import START_S
from tests.twins.gateway import Act, Phones
from tests.twins.hop_factory import World, users
from tests.twins.invocation import hops_of, invocation, invoke
from tests.twins.trouble import StoreError, Trouble


class Killed(BaseException):
    """The platform ends the process: nothing catches this."""


def kill() -> NoReturn:
    """End the process."""
    raise Killed


def crash(world: World, after_s: float) -> None:
    """An invocation that is killed, and the time until its lease is over."""
    with pytest.raises(Killed):
        invoke(world, (after_s, kill))
    world.clock.time_s += LEASE_MS / 1000 + 1


def settles_nothing(name: str) -> Trouble:
    """No batch settles, though each claim can prove that rows may be written."""
    return Trouble.NONE if name == "probe" else Trouble.LOST


def once(token: str, act: Act) -> Phones:
    """Phones that accept, but for the first request for one of them."""
    return Phones(lambda other, asked: act if other == token and not asked else Act.ACCEPT)


class TestCrashes:
    """A killed worker is continued; what it may have asked for is counted, and nothing else is asked for again."""

    def test_resumes_at_the_cursor(self) -> None:
        """Settled batches are not read again, the devices of open ones are asked for again and counted."""
        world = World(users(3000), per_second=100)
        crash(world, 12)
        before = world.lane
        assert before.cursor.record == 1000
        asked = sum(world.phones.asked.values())
        invoke(world)
        lane = world.lane
        assert (lane.ending, lane.account.settled) == (Ending.COMPLETED, 3000)
        assert sum(world.phones.asked.values()) - asked == 2000
        assert 0 < world.phones.repeats <= lane.account.possibly_repeated

    def test_before_anything_was_asked(self) -> None:
        """A worker that died in its claim, or before its first request, leaves nothing to be suspected."""
        world = World(users(1000))
        with pytest.raises(Killed):
            invoke(world, (0, kill))
        world.clock.time_s += LEASE_MS / 1000 + 1
        invoke(world)
        assert (world.lane.account.possibly_repeated, world.phones.repeats) == (0, 0)

    def test_the_skip_list(self) -> None:
        """A batch that is settled beyond the cursor is passed over, its account found in its object."""
        slow = Phones(lambda token, asked: Act.MUTE if token == "t7.0" and not asked else Act.ACCEPT)
        world = World(users(2000), phones=slow)
        crash(world, 10)
        assert world.lane.cursor == Cursor()
        assert world.results.settled_from("r", 0, 0) == {1, 2, 3}
        invoke(world)
        assert (world.lane.ending, world.lane.account.settled) == (Ending.COMPLETED, 2000)
        assert sum(world.phones.seen.values()) == 2000 + 499

    @pytest.mark.parametrize("bound", [MAX_OPEN_BATCHES, 128])
    def test_a_long_skip_list(self, bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """As many batches as may be open are settled beyond the cursor: read and passed, also where 128 may be open.

        The release before knew 128. Its claims find more than that, and go on once the first batch is answered.
        """
        slow = Phones(lambda token, asked: Act.MUTE if token == "t0.0" and not asked else Act.ACCEPT)
        world = World(users(800), size=2, phones=slow)
        crash(world, 10)
        assert world.lane.cursor == Cursor()
        assert world.results.settled_from("r", 0, 0) == set(range(1, MAX_OPEN_BATCHES))
        monkeypatch.setattr("notifier.sending.batch_opening.MAX_OPEN_BATCHES", bound)
        invoke(world)
        assert (world.lane.ending, world.lane.account.settled) == (Ending.COMPLETED, 800)
        assert sum(world.phones.seen.values()) == 800 + 1, "the other device of the first batch"

    def test_every_crash_counts(self) -> None:
        """Three workers asked the same devices: two repeats of each are reported, though no worker lived to tell."""
        world = World(users(100))
        world.results.troubles = settles_nothing
        crash(world, 1)
        crash(world, 1)
        world.results.troubles = lambda _: Trouble.NONE
        invoke(world)
        assert world.phones.repeats == world.lane.account.repeat_requests == 200
        assert world.lane.account.possibly_repeated == 100, "each device once"

    def test_suspects_outlive_a_clean_hop(self) -> None:
        """The successor hands over before it has come to all that the dead worker asked for: that stays suspected."""
        world = World(users(3000), per_second=500)
        world.results.troubles = settles_nothing
        crash(world, 3.5)
        world.results.troubles = lambda _: Trouble.NONE
        invoke(world, timeout_s=61)
        assert world.lane.state is LaneState.READY
        assert world.lane.suspects
        invoke(world)
        assert world.lane.ending is Ending.COMPLETED
        assert 0 < world.phones.repeats <= world.lane.account.possibly_repeated

    def test_the_last_batch_a_dead_worker_began(self) -> None:
        """A clean hop that leaves just one of the dead worker's batches keeps it suspected; past that, no claim is."""
        world = World(users(100), size=10, per_second=10)
        world.results.troubles = settles_nothing

        def cut() -> None:
            world.ledger.troubles = lambda _: Trouble.LOST

        with pytest.raises(Killed):
            invoke(world, (0.5, cut), (9, kill))
        world.clock.time_s += LEASE_MS / 1000 + 1
        world.results.troubles = world.ledger.troubles = lambda _: Trouble.NONE
        begun = world.lane.may_ask_below
        assert set(world.phones.asked) == {f"t{n}.0" for n in range(10 * begun)}
        invoke(world, timeout_s=60 + begun - 1.5)
        assert world.lane.cursor.record == 10 * (begun - 1)
        assert [one.below for one in world.lane.suspects] == [begun]
        invoke(world)
        assert world.lane.ending is Ending.COMPLETED
        assert world.lane.suspects == ()
        assert world.phones.repeats == world.lane.account.possibly_repeated == 10 * begun

    def test_right_after_a_round(self) -> None:
        """In a new round nothing is asked for before the ledger has come to it: a crash leaves what it reached."""
        world = World(users(10), phones=once("t3.0", Act.BROKEN))
        advances = []

        def trouble(name: str) -> Trouble:
            advances.append(name)
            return Trouble.LOST if advances.count("advance") > 1 and name == "advance" else Trouble.NONE

        world.ledger.troubles = trouble
        crash(world, 15)
        assert world.phones.asked["t3.0"] == 1
        world.ledger.troubles = lambda _: Trouble.NONE
        invoke(world)
        assert (world.phones.repeats, world.lane.account.possibly_repeated) == (1, 1)

    def test_cancelled_after_a_crash(self) -> None:
        """What the dead worker settled beyond the cursor is counted, the rest it may have asked for is unsent."""
        slow = Phones(lambda token, asked: Act.MUTE if token == "t7.0" and not asked else Act.ACCEPT)
        world = World(users(20_000), phones=slow, per_second=200)
        crash(world, 10)
        settled = sum(len(found.rows) for found in world.results.rows.values())
        assert world.results.settled_from("r", 0, 0) == {1, 2}
        world.ledger.set_control("r", Control.CANCEL, "ann")
        invoke(world)
        account = world.lane.account
        assert (world.lane.ending, account.settled) == (Ending.CANCELLED, settled)
        assert account.devices == account.settled + account.deferred
        assert world.phones.repeats == 0

    def test_cancelled_with_deferred_devices_out_of_reach(self) -> None:
        """Even a run that is cancelled waits until what a dead worker may have begun can be read."""
        world = World(users(10), phones=Phones(lambda _, asked: Act.MUTE if asked else Act.LOST))
        crash(world, 5)
        assert world.lane.cursor.round == 1
        world.ledger.set_control("r", Control.CANCEL, "ann")
        world.results.troubles = lambda name: Trouble.LOST if name == "read deferred" else Trouble.NONE
        invoke(world)
        assert world.lane.state is LaneState.READY
        world.results.troubles = lambda _: Trouble.NONE
        invoke(world)
        assert (world.lane.ending, world.lane.account.deferred) == (Ending.CANCELLED, 10)

    def test_cancelled_when_nothing_progresses(self) -> None:
        """A cancel that comes when too many claims settled nothing is carried out, and not nudged for ever."""
        world = World(users(10))
        world.results.troubles = settles_nothing
        for _ in range(MAX_IDLE_CLAIMS):
            crash(world, 3)
        world.ledger.set_control("r", Control.CANCEL, "ann")
        world.results.troubles = lambda _: Trouble.NONE
        invoke(world)
        assert (world.lane.ending, world.lane.account.deferred, world.lane.reason) == (Ending.CANCELLED, 10, None)

    def test_cancelled_and_nothing_works(self) -> None:
        """Cancelled, and no claim can settle anything any more: it ends all the same, and says why."""
        world = World(users(10))
        world.results.troubles = settles_nothing
        for _ in range(MAX_IDLE_CLAIMS):
            crash(world, 3)
        world.ledger.set_control("r", Control.CANCEL, "ann")
        for _ in range(MAX_IDLE_CLAIMS):
            crash(world, 3)
        invoke(world)
        assert world.lane.ending is Ending.CANCELLED
        assert (world.lane.reason or "").startswith("no_progress")

    def test_no_progress(self) -> None:
        """Claims in a row that settle nothing stop the run, and the log has why; resumed, it tries again."""
        world = World(users(10))
        world.results.troubles = settles_nothing
        for _ in range(MAX_IDLE_CLAIMS):
            crash(world, 3)
        invoke(world)
        assert world.lane.state is LaneState.STOPPED
        assert (world.lane.reason or "").startswith("no_progress")
        assert world.log.lines[-1] == (Action.LEFT, {"why": "stop", "state": "stopped", "reason": world.lane.reason})
        world.results.troubles = lambda _: Trouble.NONE
        world.ledger.set_control("r", Control.GO, "ann")
        invoke(world)
        assert world.lane.ending is Ending.COMPLETED


class TestTwoWorkers:
    """Only one of two workers goes on; what both asked for is counted."""

    def test_a_live_lease(self) -> None:
        """A nudge that finds the lane at work does nothing."""
        world = World(users(1000), per_second=100)
        answers: list[str] = []
        invoke(world, (3, lambda: answers.append(invoke(world).status)))
        assert answers == ["ignored"]
        assert world.phones.repeats == 0

    def test_the_lane_is_lost(self) -> None:
        """A worker that stalls beyond its lease finds the lane taken: it ends without writing, the other finishes."""
        world = World(users(2000), per_second=100)

        def stall() -> None:
            world.clock.time_s += LEASE_MS / 1000 + 1
            invoke(world)

        slow = invoke(world, (7, stall))
        assert slow.status == "lost"
        assert (world.lane.ending, world.lane.account.settled) == (Ending.COMPLETED, 2000)
        assert 0 < world.phones.repeats <= world.lane.account.possibly_repeated

    def test_the_slow_one_settles_first(self) -> None:
        """On 412 the winner's counts stand, and what the loser asked for is counted as possibly repeated."""
        world = World(users(10))
        slow = hops_of(world)
        waits = slow.transport.waits
        held: list[TwinTask[Any]] = []

        def stalls_in_its_settlement(seconds: float) -> None:
            if not held and slow.background.pending and world.phones.seen:
                held.extend(slow.background.pending)
                slow.background.pending.clear()
                world.clock.time_s += LEASE_MS / 1000 + 1
                invoke(world, (0.05, held[0].run))
            waits(seconds)

        slow.transport.waits = stalls_in_its_settlement
        assert slow.lane_worker().work(world.run, 0, invocation(world)).status == "lost"
        assert world.results.rows["r", 0, 0].epoch == 1
        assert (world.lane.account.settled, world.lane.account.possibly_repeated, world.phones.repeats) == (10, 10, 10)


class TestLedgerOutOfReach:
    """Without the ledger a worker soon stops sending, and leaves before the lane may be another's."""

    def test_a_blind_worker(self) -> None:
        """No request starts when the lease was not renewed for 20 s; after 30 s the worker gives up."""
        world = World(users(50_000), per_second=100)

        def cut() -> None:
            world.ledger.troubles = lambda _: Trouble.LOST

        with pytest.raises(LeaseOver):
            invoke(world, (10, cut))
        assert max(world.phones.began) <= START_S + 10 + 20.5
        assert world.clock.now() <= START_S + 10 + 32

    def test_queued_requests_are_held_too(self) -> None:
        """What was sent and waits for its endpoint is not asked for either."""
        world = World(users(3000))

        def cut() -> None:
            world.ledger.troubles = lambda _: Trouble.LOST

        hop_factory = hops_of(world, (1, cut))
        hop_factory.transport.streams = 5
        with pytest.raises(LeaseOver):
            hop_factory.lane_worker().work(world.run, 0, invocation(world))
        assert START_S + 15 < max(world.phones.began) <= START_S + 1 + 20.5

    def test_a_write_that_arrived_although_its_answer_did_not(self) -> None:
        """The next write finds the cursor moved by our own hand, and goes on from there."""
        world = World(users(2000), per_second=400)
        calls: list[str] = []

        def trouble(name: str) -> Trouble:
            calls.append(name)
            return Trouble.UNANSWERED if name == "advance" and calls.count("advance") % 2 else Trouble.NONE

        world.ledger.troubles = trouble
        assert invoke(world).status == "completed"
        assert (world.lane.account.settled, world.phones.repeats) == (2000, 0)

    def test_the_last_write(self) -> None:
        """A refused hand-over fails the invocation, so that Lambda tries it again; no device is asked for twice."""
        world = World(users(3000), per_second=100)
        world.ledger.troubles = lambda name: Trouble.UNANSWERED if name == "release" else Trouble.NONE
        with pytest.raises(StoreError):
            invoke(world, timeout_s=70)
        world.ledger.troubles = lambda _: Trouble.NONE
        invoke(world)
        assert (world.lane.ending, world.phones.repeats, world.lane.account.possibly_repeated) == (
            Ending.COMPLETED,
            0,
            0,
        )


class TestDeferred:
    """Devices that cannot be asked for now are asked for in a later round."""

    def test_a_later_round(self) -> None:
        """An answer lost on the way: the device's batch settles without it, a later round asks again, and counts it."""
        world = World(users(600), phones=once("t3.0", Act.BROKEN))
        invoke(world)
        rows = {place[1:]: len(found.rows) for place, found in world.results.rows.items()}
        assert rows == {(0, 0): 499, (1, 0): 100, (0, 1): 1}
        assert (world.lane.account.possibly_repeated, world.phones.repeats) == (1, 1)

    def test_a_refused_one_is_asked_at_once(self) -> None:
        """What surely was not processed is asked for again in its own batch, and is no repeat."""
        world = World(users(10), phones=once("t3.0", Act.REFUSED))
        invoke(world)
        assert (world.lane.cursor.round, world.lane.account.possibly_repeated, world.phones.asked["t3.0"]) == (0, 0, 2)

    def test_a_long_wait_is_a_rest(self) -> None:
        """A gateway that asks for five minutes gets them, and the wait is not billed."""
        world = World(users(10), phones=once("t3.0", Act.LATER))
        invoke(world)
        lane = world.lane
        assert lane.state is LaneState.RESTING
        assert world.clock.now() < START_S + 10
        world.clock.time_s = (lane.due_at_ms or 0) / 1000 + 1
        invoke(world)
        assert (world.lane.ending, world.lane.account.settled) == (Ending.COMPLETED, 10)

    def test_a_wait_that_the_hop_cannot_outlast(self) -> None:
        """A wait longer than what is left of the hop is a rest, too: hops that only wait are no lack of progress."""
        world = World(
            users(10), phones=Phones(lambda _, asked: Act.LOST if asked < 7 else Act.ACCEPT), recurse_below_ms=3_000
        )
        for _ in range(60):
            if world.lane.ending is not None:
                break
            invoke(world, timeout_s=8)
            if world.lane.state is LaneState.RESTING:
                world.clock.time_s = max((world.lane.due_at_ms or 0) / 1000, world.clock.time_s) + 1
        assert (world.lane.ending, world.lane.account.settled) == (Ending.COMPLETED, 10)

    def test_deferred_objects_that_are_gone(self) -> None:
        """What is still to be asked for was deleted: the run stops and says so, it does not search for ever."""
        world = World(users(10), phones=once("t3.0", Act.LATER))
        invoke(world)
        world.results.deferrals.clear()
        world.clock.time_s += 600
        invoke(world)
        assert (world.lane.state, (world.lane.reason or "").split(":")[0]) == (LaneState.STOPPED, "deferred_missing")
