"""Deferred devices: each is asked when it is due, whatever the others wait for, and none is lost by a crash."""

from collections.abc import Callable

import msgspec
import pytest

from notifier.model.account import Account
from notifier.model.cursor import Cursor
from notifier.model.outcome import Outcome
from notifier.model.run import LEASE_MS, Asking, Control, Ending, Lane, LaneState, UnfinishedClaim
from tests.twins.clock import START_S
from tests.twins.gateway import Act, Phones
from tests.twins.hop_factory import World, users
from tests.twins.invocation import invoke
from tests.unit.test_worker_recovery import crash


def world_of(count: int, script: dict[str, Act], **members: object) -> tuple[World, dict[str, list[float]]]:
    """A world in which some phones are first answered as the script says, and when each phone was asked."""
    phones = Phones(lambda token, asked: script.get(token, Act.ACCEPT) if not asked else Act.ACCEPT)
    asked_s: dict[str, list[float]] = {}
    phones.on_ask = lambda token, now_s, _: asked_s.setdefault(token, []).append(now_s - START_S)
    return World(users(count), phones=phones, **members), asked_s  # type: ignore[arg-type]


def to_the_end(world: World, hops: int = 40) -> None:
    """Nudge the lane whenever it is due."""
    for _ in range(hops):
        if world.lane.ending is not None:
            return
        assert world.lane.state not in (LaneState.PAUSED, LaneState.STOPPED), world.lane.reason
        if world.lane.state is LaneState.RESTING:
            world.clock.time_s = max(world.clock.now(), (world.lane.due_at_ms or 0) / 1000)
        invoke(world)


class TestDueTimes:
    """No device waits for another."""

    def test_each_at_its_own_time(self) -> None:
        """Three devices of one batch wait a minute, five minutes, an hour: they are asked after that, and no later."""
        world, asked_s = world_of(10, {"t1.0": Act.HOUR, "t2.0": Act.LATER, "t3.0": Act.MINUTE})
        to_the_end(world)
        assert world.lane.ending is Ending.COMPLETED
        waits = {token: times[1] - times[0] for token, times in asked_s.items() if len(times) > 1}
        assert waits == {
            "t1.0": pytest.approx(3_600 * 1.09, rel=0.09),
            "t2.0": pytest.approx(300 * 1.12, rel=0.13),
            "t3.0": pytest.approx(60 * 1.12, rel=0.13),
        }
        assert max(round_ for _, _, round_ in world.results.rows) == 3
        assert all(times == times[:1] for token, times in asked_s.items() if token not in waits)

    def test_while_the_reading_goes_on(self) -> None:
        """A run at a low rate reads for over an hour; a device that is due in a minute is asked for in a minute."""
        script = {"t1.0": Act.MINUTE, "t50.0": Act.LATER, "t51.0": Act.HOUR}
        world, asked_s = world_of(500, script)
        world.per_second = 0.1
        to_the_end(world)
        assert max(times[0] for times in asked_s.values()) > 4_900
        waits = [asked_s[token][1] - asked_s[token][0] for token in script]
        assert 60 <= waits[0] < 100
        assert 300 <= waits[1] < 400
        assert 3_600 <= waits[2] < 3_600 * 1.2
        assert world.phones.repeats == 0
        assert world.lane.account.outcomes().accepted == 500

    def test_the_rate_limit_is_of_first_requests(self) -> None:
        """A device that is asked for again takes no other's turn."""
        world, asked_s = world_of(100, {f"t{n}.0": Act.MINUTE for n in range(50)}, size=50, per_second=1)
        to_the_end(world)
        first = sorted(times[0] for times in asked_s.values())
        assert first[-1] == pytest.approx(100, abs=2)
        assert max(times[1] for times in asked_s.values() if len(times) > 1) < 160

    def test_put_off_to_the_end(self) -> None:
        """A kind of device that cannot be sent to waits for the end of the reading, not for a time."""
        world, asked_s = world_of(100, {"t1.0": Act.OFF}, size=10, per_second=1)
        to_the_end(world)
        assert asked_s["t1.0"][1] > 99

    def test_a_rest_lasts_until_the_first_is_due(self) -> None:
        """The wait is not billed, and the lane is due when the first device is."""
        world, _ = world_of(10, {"t1.0": Act.HOUR, "t2.0": Act.LATER})
        invoke(world)
        assert world.lane.state is LaneState.RESTING
        assert (world.lane.due_at_ms or 0) / 1000 - START_S < 400
        assert world.clock.now() - START_S < 10


class TestCrashes:
    """The ledger knows of a deferred batch before it is asked for."""

    def test_what_a_dead_worker_asked_for_is_counted(self) -> None:
        """It died while it asked for a deferred device in the midst of the reading: one possible repeat, no more."""
        script = {"t1.0": (Act.MINUTE, Act.MUTE), "t2.0": (Act.HOUR,)}
        phones = Phones(lambda token, asked: dict(enumerate(script.get(token, ()))).get(asked, Act.ACCEPT))
        world = World(users(200), phones=phones, size=10, per_second=1)
        crash(world, 75)
        assert world.phones.asked["t1.0"] == 2
        assert world.lane.asking == (Asking(0, 1, (1,)),)
        to_the_end(world)
        account = world.lane.account
        assert (account.outcomes().accepted, account.repeat_requests) == (200, account.possibly_repeated)
        # Besides it only what was asked for of the reading: at most the batches that the ledger knew to be begun.
        assert 1 <= account.possibly_repeated <= 1 + 20
        assert world.phones.asked["t2.0"] == 2

    @pytest.mark.parametrize("is_written", [True, False])
    def test_settled_and_not_counted(self, is_written: bool) -> None:
        """The rows of a deferred batch are there; the worker died before, or after, its account was taken in."""
        world, _ = world_of(20, {"t1.0": Act.LATER, "t2.0": Act.HOUR}, size=10)
        invoke(world)
        before = world.lane
        world.clock.time_s = (before.due_at_ms or 0) / 1000
        invoke(world)
        after = world.lane
        assert after.account.outcomes().accepted == 19
        if not is_written:
            changes = {"account": before.account, "asking": (Asking(0, 1, (before.epoch + 1,)),)}
            world.ledger._lanes["r", 0] = msgspec.structs.replace(after, **changes)
        to_the_end(world)
        account = world.lane.account
        assert (account.outcomes().accepted, account.deferred, account.possibly_repeated) == (20, 0, 0)

    def test_cancelled_after_it(self) -> None:
        """What it settled is counted, and what it may have asked for besides is unsent."""
        world, _ = world_of(20, {"t1.0": Act.LATER, "t2.0": Act.HOUR, "t12.0": Act.LATER}, size=10)
        invoke(world)
        before = world.lane
        world.clock.time_s = (before.due_at_ms or 0) / 1000 + 200
        invoke(world)
        changes = {"account": before.account, "asking": (Asking(0, 1, (2,)), Asking(1, 1, (2,)))}
        world.ledger._lanes["r", 0] = msgspec.structs.replace(world.lane, **changes)
        world.results.rows.pop(("r", 1, 1))
        world.ledger.set_control("r", Control.CANCEL, "ann")
        invoke(world)
        account = world.lane.account
        assert world.lane.ending is Ending.CANCELLED
        assert account.settled == sum(len(found.rows) for found in world.results.rows.values()) == 18
        assert account.deferred == 2
        assert world.lane.asking == ()


class TestTheReleaseBefore:
    """It asked for deferred devices in the order of their batches, one round after the other."""

    def begun(self, change: Callable[[World, Lane], Lane]) -> World:
        """A run that it began: four batches, of each a device deferred. It came to round 1."""
        world, _ = world_of(40, {f"t{n}.0": Act.LATER for n in (1, 11, 21, 31)}, size=10)
        invoke(world)
        lane = msgspec.structs.replace(world.lane, asking=None, revision=0, state=LaneState.READY)
        world.clock.time_s += 600
        world.ledger._lanes["r", 0] = change(world, lane)
        return world

    def settle(self, world: World, number: int, epoch: int) -> Account:
        """Round 1 of a batch, settled as the release before did it."""
        (key,) = (key for key in world.results.deferrals if key[1] == number)
        (item,) = world.results.deferrals[key][1]
        first = next(iter(world.results.rows.values()))
        row = msgspec.structs.replace(first.rows[0], record=item.record, device=item.number, outcome=Outcome.ACCEPTED)
        account = Account(deferred=-1)
        account.count(item.arm, Outcome.ACCEPTED, None)
        world.results.rows["r", number, 1] = first._replace(rows=(row,), account=account, epoch=epoch, pushes=1)
        world.phones.asked[item.device.token] += 1
        world.phones.seen[item.device.token] += 1
        return account

    def test_at_the_beginning_of_a_round(self) -> None:
        """All its deferred devices are asked."""
        world = self.begun(lambda _, lane: lane)
        assert world.lane.cursor.round == 1
        to_the_end(world)
        assert (world.lane.ending, world.lane.account.outcomes().accepted) == (Ending.COMPLETED, 40)
        assert world.lane.account.possibly_repeated == 0

    def test_in_the_midst_of_a_round(self) -> None:
        """One batch is counted, one is settled ahead of the cursor; of the others a worker that died may have asked."""

        def change(world: World, lane: Lane) -> Lane:
            lane.account.add(self.settle(world, 0, 1))
            self.settle(world, 2, 2)
            suspects = (UnfinishedClaim(2, 4),)
            return msgspec.structs.replace(lane, cursor=Cursor(record=10, round=1), suspects=suspects, epoch=2)

        world = self.begun(change)
        to_the_end(world)
        account = world.lane.account
        assert (world.lane.ending, account.outcomes().accepted, account.deferred) == (Ending.COMPLETED, 40, 0)
        assert account.possibly_repeated == 2
        assert all(world.phones.asked[f"t{n}.0"] == 2 for n in (1, 11, 21, 31))
        assert world.lane.cursor == Cursor(round=2)

    def test_cancelled_in_the_midst_of_a_round(self) -> None:
        """What is settled ahead of the cursor is counted, the rest unsent."""

        def change(world: World, lane: Lane) -> Lane:
            self.settle(world, 2, 2)
            return msgspec.structs.replace(lane, suspects=(UnfinishedClaim(2, 4),), epoch=2)

        world = self.begun(change)
        world.ledger.set_control("r", Control.CANCEL, "ann")
        invoke(world)
        account = world.lane.account
        assert (world.lane.ending, account.outcomes().accepted, account.deferred) == (Ending.CANCELLED, 37, 3)

    def test_it_died_while_it_went_on(self) -> None:
        """A claim of this release that dies before its first write changes nothing."""
        world = self.begun(lambda _, lane: lane)
        crash(world, 0.001)
        world.clock.time_s += LEASE_MS / 1000 + 1
        to_the_end(world)
        assert world.lane.account.outcomes().accepted == 40
