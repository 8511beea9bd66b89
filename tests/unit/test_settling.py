"""Batches that cannot be settled: for good, for a while, or only slowly. What is sent, said, and done afterwards."""

from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError

from notifier.model.account import Account, ArmAccount
from notifier.model.log import Action
from notifier.model.run import (
    HEARTBEAT_MS,
    LEASE_MS,
    MAX_IDLE_CLAIMS,
    Asking,
    Control,
    Ending,
    Lane,
    LaneState,
    UnfinishedClaim,
)
from notifier.model.store_error import StoreRefused
from notifier.model.summary import Summary, summary_of
from notifier.sending.batch import Batch
from notifier.sending.batch_source import ChangedInput, InputUnreachable
from notifier.sending.hop_exit import WAIT_MS
from notifier.sending.possible_repeats import as_never_formed
from notifier.sending.settled_batch import SettledBatch
from notifier.sending.settling import REFUSALS, SLOW_S
from tests.twins.background import TwinTask
from tests.twins.clock import START_S
from tests.twins.gateway import Act, Phones
from tests.twins.hop_factory import BUCKET, World, broken_at, users
from tests.twins.invocation import hops_of, invocation, invoke
from tests.twins.settlements import MemoryResults
from tests.twins.trouble import Trouble
from tests.unit.test_worker_recovery import crash, once, settles_nothing


def refuse(world: World, *names: str) -> None:
    """From now on these may not be written; without names nothing that settles a batch, nor a probe."""
    world.results.troubles = lambda name: Trouble.REFUSED if not names or name in names else Trouble.NONE


def allow(world: World) -> None:
    """An operator repaired it, and resumes the run."""
    world.results.troubles = lambda _: Trouble.NONE
    world.ledger.set_control("r", Control.GO, "ann")


def summary(world: World) -> Summary:
    """The run as `status` shows it."""
    return summary_of(world.run, world.lane, BUCKET)


def _with_devices(n: int, count: int) -> dict[str, object]:
    return {"user_id": f"u{n}", "devices": [{"platform": "android", "token": f"t{n}.{k}"} for k in range(count)]}


class Unlisted(MemoryResults):
    """Results whose rows may not be listed from some time on."""

    refuses = False

    def settled_from(self, run_id: str, number: int, round_: int, below: int | None = None) -> frozenset[int]:
        """The numbers of the batches that are settled already."""
        if self.refuses:
            raise StoreRefused("AccessDenied by S3 for ListBucket under rows/")
        return super().settled_from(run_id, number, round_, below)


def said(world: World) -> list[str]:
    """Every trouble in the log."""
    return [fields["reason"] for action, fields in world.log.lines if action is Action.TROUBLE]


class TestRefused:
    """S3 refuses for good: the run stops, and says what it could not settle."""

    @pytest.mark.parametrize("names", [(), ("rows",)])
    def test_stops(self, names: tuple[str, ...]) -> None:
        """Each phone is asked at most once, the reason is the store's, every push without a row is reported."""
        world = World(users(20_000))
        refuse(world, *names)
        assert invoke(world).status == "stopped"
        asked = sum(world.phones.asked.values())
        assert 0 < asked < 20_000
        assert set(world.phones.asked.values()) == {1}
        assert (world.lane.reason or "").startswith("rows_refused: AccessDenied by S3 for PutObject under rows/")
        assert said(world)[0] == world.lane.reason
        figures = summary(world)
        assert (figures.possibly_repeated, figures.repeat_requests, figures.unsettled) == (asked, asked, asked)
        assert world.lane.trouble.startswith("rows_refused")

    def test_resumed_too_early(self) -> None:
        """A claim that meets pushes without a row proves first that rows can be written: it asks for no device."""
        world = World(users(3000))
        refuse(world)
        invoke(world)
        before = summary(world)
        for _ in range(3):
            world.ledger.set_control("r", Control.GO, "ann")
            assert invoke(world).status == "stopped"
        assert set(world.phones.asked.values()) == {1}
        assert (world.lane.reason or "").startswith("rows_refused: AccessDenied by S3 for PutObject under probe/")
        after = summary(world)
        assert (after.possibly_repeated, after.unsettled) == (before.possibly_repeated, before.unsettled)

    def test_resumed_after_the_repair(self) -> None:
        """It completes with one more request for each phone that had no row, each of them counted."""
        world = World(users(20_000))
        refuse(world)
        invoke(world)
        first = summary(world).unsettled
        allow(world)
        assert invoke(world).status == "completed"
        figures = summary(world)
        assert (figures.devices, figures.unsettled, world.phones.repeats) == (20_000, 0, first)
        assert first <= figures.possibly_repeated <= first + world.size
        assert figures.repeat_requests == figures.possibly_repeated

    @pytest.mark.parametrize("folder", ["deferred", "invalid", "dead-tokens"])
    def test_the_other_folders(self, folder: str) -> None:
        """What cannot be written for one batch leaves that one open; the others are settled, and not asked again."""
        acts = {"deferred": Act.LATER, "dead-tokens": Act.DEAD}
        phones = Phones(lambda token, _: acts.get(folder, Act.ACCEPT) if token == "t3.0" else Act.ACCEPT)
        records = [*users(3), {"user_id": "u3", "platform": "toaster", "token": "t"}, *users(2000, first=4)]
        world = World(records if folder == "invalid" else users(2000), phones=phones)
        refuse(world, folder)
        invoke(world)
        assert (world.lane.reason or "").startswith(f"rows_refused: AccessDenied by S3 for PutObject under {folder}/")
        settled = [number for number in range(5) if ("r", number, 0) in world.results.rows]
        # A stop defers what it has in its queues: where that cannot be written, no open batch can be settled.
        assert settled == {"invalid": [1, 2, 3, 4], "deferred": [], "dead-tokens": [1, 2, 3]}[folder]
        assert summary(world).unsettled == sum(world.phones.asked.values()) - world.rows_of(settled)
        allow(world)
        phones.act_of = lambda _, __: Act.ACCEPT
        invoke(world)
        assert world.lane.ending is Ending.COMPLETED
        assert world.phones.repeats <= summary(world).possibly_repeated <= 1000

    def test_one_odd_refusal(self) -> None:
        """A store that refuses once or twice does not stop the run, and no device is asked for twice."""
        world = World(users(2000))
        left = [Trouble.REFUSED] * (REFUSALS - 1)
        world.results.troubles = lambda name: left.pop() if left and name == "rows" else Trouble.NONE
        assert invoke(world).status == "completed"
        assert (world.phones.repeats, summary(world).possibly_repeated, world.lane.trouble) == (0, 0, "")

    def test_the_ledger_refuses(self) -> None:
        """Progress may not be written, for good: the run stops and names the table; no device is asked for twice."""
        world = World(users(5000), per_second=500)

        def refused(name: str) -> Trouble:
            if name == "advance":
                answer: Any = {"Error": {"Code": "AccessDeniedException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
                raise ClientError(answer, "UpdateItem")
            return Trouble.NONE

        world.ledger.troubles = refused
        assert invoke(world, timeout_s=90).status == "stopped"
        assert (world.lane.reason or "").startswith("ledger_refused: ")
        assert set(world.phones.asked.values()) == {1}

    def test_what_is_settled_may_not_be_read(self) -> None:
        """A claim that may not look for settled batches stops, and asks for no device."""
        world = World(users(2000))
        world.results = results = Unlisted()
        results.troubles = settles_nothing
        crash(world, 2)
        asked = sum(world.phones.asked.values())
        results.troubles = lambda _: Trouble.NONE
        results.refuses = True
        assert invoke(world, timeout_s=90).status == "stopped"
        assert (world.lane.reason or "").startswith("rows_refused: AccessDenied by S3")
        assert sum(world.phones.asked.values()) == asked

    def test_what_is_deferred_may_not_be_read(self) -> None:
        """Devices that are to be asked for again stay deferred: the run stops before it asks for them."""
        world = World(users(20), phones=once("t3.0", Act.LATER))
        invoke(world)
        assert world.lane.state is LaneState.RESTING
        world.clock.time_s += 400

        def refused(name: str) -> Trouble:
            if name == "read deferred":
                raise StoreRefused("AccessDenied by S3 for GetObject under deferred/")
            return Trouble.NONE

        world.results.troubles = refused
        assert invoke(world, timeout_s=90).status == "stopped"
        assert (world.lane.reason or "").startswith("rows_refused: AccessDenied by S3")
        assert (world.phones.asked["t3.0"], world.lane.account.deferred) == (1, 1)

    def test_cancelled(self) -> None:
        """It is never resumed: it ends at once, counts what is settled behind the gap, and names what is not."""
        slow = Phones(lambda token, _: Act.MUTE if token == "t7.0" else Act.ACCEPT)
        world = World(users(2000), phones=slow)

        def cancel() -> None:
            refuse(world)
            world.ledger.set_control("r", Control.CANCEL, "ann")

        invoke(world, (10, cancel))
        assert (world.lane.ending, world.lane.cursor.record) == (Ending.CANCELLED, 0)
        assert (world.lane.reason or "").startswith("rows_refused: AccessDenied")
        assert (world.lane.account.settled, summary(world).unsettled) == (1500, 500)

    def test_cancelled_and_resumed_while_it_is_opened(self) -> None:
        """A cancel is final, also where the worker that was to read it is still opening the run."""
        world = World(users(2000))
        refuse(world)
        invoke(world)
        world.ledger.set_control("r", Control.CANCEL, "ann")
        process = hops_of(world)
        at_once = world.clock.slept
        left = [False, True, False]

        def slept(seconds: float) -> None:
            if not left:
                at_once(seconds)
                return
            if left.pop(0):
                world.ledger.set_control("r", Control.GO, "ann")
            world.clock.time_s += HEARTBEAT_MS / 1000 + 1  # the opening takes long: the lease is renewed each time

        world.clock.slept = slept
        assert process.lane_worker().work(world.run, 0, invocation(world)).status == "cancelled"
        assert left == []
        assert (world.lane.control, set(world.phones.asked.values())) == (Control.CANCEL, {1})

    def test_cancelled_when_the_file_breaks(self) -> None:
        """The first claim that reads on meets the fault and the refusal, and ends the run: no other could do better."""
        world = World(users(5000), fault=broken_at(1100))
        world.results.troubles = settles_nothing
        crash(world, 2)
        crash(world, 2)
        refuse(world)
        world.ledger.set_control("r", Control.CANCEL, "ann")
        assert invoke(world, timeout_s=90).status == "cancelled"
        figures = summary(world)
        assert (figures.hops, (world.lane.reason or "")[:12]) == (3, "rows_refused")
        assert 0 < world.phones.repeats <= figures.repeat_requests
        assert figures.possibly_repeated <= 1000, "the devices before the fault"

    def test_cancelled_when_the_file_cannot_be_read(self) -> None:
        """The hop leaves at once and comes back in a minute; it does not turn until its time is up."""
        world = World(users(5000), fault=(1100, InputUnreachable("S3 is away")))
        world.results.troubles = settles_nothing
        crash(world, 2)
        refuse(world)
        world.ledger.set_control("r", Control.CANCEL, "ann")
        began_s = world.clock.now()
        invoke(world, timeout_s=90)
        assert (world.lane.state, world.lane.reason) == (LaneState.READY, "S3 is away")
        assert world.clock.now() - began_s < 10

    def test_a_file_that_breaks_meanwhile(self) -> None:
        """The run waits for the repair before it fails: what was sent must be accounted."""
        world = World(users(2000), fault=broken_at(1300))
        refuse(world)
        invoke(world)
        assert world.lane.state is LaneState.STOPPED
        allow(world)
        invoke(world)
        assert (world.lane.ending, world.lane.account.users) == (Ending.FAILED, 1000)

    def test_the_state(self) -> None:
        """What every hop needs cannot be stored: stopped before anything is sent; resumed it goes on."""
        world = World(users(10))
        world.state_refused = "AccessDenied by S3 for PutObject under s3://b/state/run_id=r/: allow it"
        invoke(world)
        assert (world.lane.state, world.lane.reason) == (LaneState.STOPPED, f"state_refused: {world.state_refused}")
        assert not world.phones.asked
        world.state_refused = None
        allow(world)
        assert invoke(world).status == "completed"


class TestNeverFormedAgain:
    """A run ends, and no claim forms what dead claims asked for any more: its account is an upper bound of it."""

    def _asked_in_vain(self, claims: int) -> World:
        """A world whose claims each asked the same devices, settled nothing, and were killed."""
        world = World(users(5000))
        world.results.troubles = settles_nothing
        for _ in range(claims):
            crash(world, 2)
        assert world.phones.repeats > 0
        return world

    def _check(self, world: World) -> None:
        """Neither count is below that of the phones, nor above what the batches can have had."""
        figures, seen = summary(world), world.phones.seen.values()
        twice = sum(times > 1 for times in seen)
        below, claims = max(one.below for one in world.lane.suspects), len(world.lane.suspects)
        assert 0 < twice <= figures.possibly_repeated <= below * world.size
        assert 0 < world.phones.repeats <= figures.repeat_requests <= claims * figures.possibly_repeated
        assert world.lane.most_devices == world.size

    def test_cancelled_and_killed_each_time(self) -> None:
        """No claim of a cancelled run lives to count: the one that ends it counts by the ledger alone."""
        world = self._asked_in_vain(MAX_IDLE_CLAIMS)
        world.ledger.set_control("r", Control.CANCEL, "ann")
        for _ in range(MAX_IDLE_CLAIMS):
            crash(world, 0)
        invoke(world)
        assert (world.lane.ending, (world.lane.reason or "")[:11]) == (Ending.CANCELLED, "no_progress")
        self._check(world)

    def test_the_state_is_gone(self) -> None:
        """A run that has begun and cannot be opened any more fails with its repeats in the account."""
        world = self._asked_in_vain(2)
        world.refusal = "state_gone: it was deleted"
        assert invoke(world).status == "failed"
        self._check(world)

    def test_the_audience_is_another(self) -> None:
        """What dead claims read of the pinned audience is not known any more."""
        world = self._asked_in_vain(2)
        world.fault = (0, ChangedInput("the ETag is another"))
        assert invoke(world).status == "failed"
        self._check(world)

    def test_the_audience_is_broken(self) -> None:
        """Behind the fault no batch was ever formed: only the batches before it count."""
        world = World(users(5000), fault=broken_at(700))
        world.results.troubles = settles_nothing
        crash(world, 2)
        world.results.troubles = lambda _: Trouble.NONE
        invoke(world)
        figures = summary(world)
        assert (world.lane.ending, figures.users, figures.unsettled) == (Ending.FAILED, 500, 0)
        assert 0 < world.phones.repeats <= figures.possibly_repeated <= 500
        assert figures.repeat_requests == figures.possibly_repeated

    @pytest.mark.parametrize("wide", range(2, 14))
    def test_the_ledger_knows_the_widest_batch_first(self, wide: int) -> None:
        """A batch with more devices than any before is asked for once the ledger knows it: a crash may come.

        Wherever it is: also where the ledger knows already that so many batches are begun.
        """
        world = World([_with_devices(n, 5 if n // 10 == wide else 1) for n in range(140)], size=10)
        known: dict[int, int] = {}

        def note(token: str, _: float, __: int) -> None:
            known.setdefault(int(token[1:].partition(".")[0]) // 10, world.lane.most_devices)

        world.phones.on_ask = note
        assert invoke(world).status == "completed"
        assert (known[0], known[wide]) == (10, 50)

    def test_deferred_devices(self) -> None:
        """A deferred batch has no more devices than are deferred; each claim may have asked for each of them."""
        account = Account(devices=400, deferred=30, possibly_repeated=5)
        lane = Lane("r", most_devices=500, account=account, asking=(Asking(3, 1, (4, 5)), Asking(7, 2, (5,))))
        bound = as_never_formed(lane, 0)
        assert bound.unsettled == 60
        assert bound.account.repeat_requests + bound.unsettled == account.repeat_requests + 2 * 30 + 30

    def test_claims_that_left(self) -> None:
        """Two that each asked for a part of a batch may have asked for different devices of it."""
        lane = Lane(
            "r",
            most_devices=500,
            suspects=(UnfinishedClaim(1, 9, {8: 300}, {8: "f"}), UnfinishedClaim(2, 9, {8: 100, 2: 7})),
        )
        bound = as_never_formed(lane, 3)
        assert (bound.unsettled, bound.account.repeat_requests) == (400 + 7, 0)
        crashed = msgspec.structs.replace(lane, suspects=(*lane.suspects, UnfinishedClaim(3, 10)))
        bound = as_never_formed(crashed, 8)
        assert (bound.unsettled, bound.account.repeat_requests) == (500 + 500 + 7, 400)


class TestForAWhile:
    """S3 fails and may come back: nothing new is sent meanwhile, and no hop is killed for it."""

    def test_nothing_new_is_sent(self) -> None:
        """From the first failure to the next success no request starts."""
        world = World(users(20_000), per_second=500)
        world.results.troubles = lambda name: Trouble.LOST if 5 <= world.clock.now() - START_S < 40 else Trouble.NONE
        assert invoke(world).status == "completed"
        gap = [at for at in world.phones.began if START_S + 7 <= at < START_S + 40]
        assert not gap
        assert (world.phones.repeats, summary(world).possibly_repeated) == (0, 0)

    def test_until_the_hop_ends(self) -> None:
        """It leaves with the reason, comes back by itself, asks for nothing before rows can be written, and counts."""
        world = World(users(3000))
        world.results.troubles = lambda _: Trouble.LOST
        invoke(world, timeout_s=90)
        lane = world.lane
        assert lane.state is LaneState.READY
        assert lane.trouble.startswith("rows could not be written: put ")
        assert lane.due_at_ms == pytest.approx(world.clock.now() * 1000 + WAIT_MS, abs=1)
        asked = sum(world.phones.asked.values())
        assert summary(world).unsettled == asked > 0
        invoke(world)
        assert sum(world.phones.asked.values()) == asked
        world.results.troubles = lambda _: Trouble.NONE
        invoke(world)
        assert (world.lane.ending, world.phones.repeats) == (Ending.COMPLETED, asked)
        assert asked <= summary(world).possibly_repeated <= 3000

    def test_no_progress_names_it(self) -> None:
        """S3 is away for longer than claims are made: the reason says what failed last."""
        world = World(users(10))
        world.results.troubles = lambda _: Trouble.LOST
        for _ in range(MAX_IDLE_CLAIMS + 1):
            invoke(world, timeout_s=90)
        assert world.lane.reason == (
            "no_progress: 3 claims in a row settled nothing; what failed last: rows could not be written: put probe"
        )

    def test_a_killed_hop_leaves_it_behind(self) -> None:
        """The trouble is in the ledger and in the log as it occurs, and not only at the hop's end."""
        world = World(users(10))
        world.results.troubles = settles_nothing
        for _ in range(MAX_IDLE_CLAIMS):
            crash(world, 3)
        assert set(said(world)) == {"rows could not be written: put rows"}
        invoke(world)
        assert (world.lane.reason or "").endswith("what failed last: rows could not be written: put rows")

    def test_an_invocation_that_breaks_off_leaves_it_behind(self) -> None:
        """An unforeseen error is in the ledger, too, in its own words."""
        world = World(users(10))
        hop_factory = hops_of(world)

        def broken(_: float) -> None:
            raise ValueError("the disk is full")

        hop_factory.transport.waits = broken
        with pytest.raises(ValueError, match="full"):
            hop_factory.lane_worker().work(world.run, 0, invocation(world))
        assert world.lane.trouble == "the invocation broke off: the disk is full"

    def test_it_is_forgotten_when_it_goes_on(self) -> None:
        """A run that settled something since has no trouble any more."""
        world = World(users(2000))
        left = [Trouble.LOST]
        world.results.troubles = lambda name: left.pop() if left and name == "rows" else Trouble.NONE
        invoke(world)
        assert (world.lane.ending, world.lane.trouble) == (Ending.COMPLETED, "")


class TestMemory:
    """What an open batch costs while it waits."""

    def test_settled_and_not_passed(self) -> None:
        """Behind a batch that waits for one answer, the settled ones keep nothing that is stored already."""
        kept: list[Batch] = []

        class Keeping(MemoryResults):
            def settle(self, batch: Batch, epoch: int) -> SettledBatch:
                kept.append(batch)
                return super().settle(batch, epoch)

        slow = Phones(lambda token, asked: Act.MUTE if token == "t0.0" and not asked else Act.ACCEPT)
        world = World(users(2000), phones=slow)
        world.results = Keeping()
        crash(world, 10)
        assert world.lane.cursor.record == 0
        assert [(one.number, one.rows) for one in kept] == [(1, []), (2, []), (3, [])]
        assert world.rows_of([1, 2, 3]) == 1500


class TestSlow:
    """S3 hangs for longer than a lease, and the ledger is well."""

    def test_rows_that_hang(self) -> None:
        """The lease is kept, what takes too long holds the sending, and no device is asked for twice."""
        world = World(users(20_000), per_second=200)
        hop_factory = hops_of(world)
        began_s = world.clock.now()

        def passes(seconds: float) -> None:
            hop_factory.ledger_background.run_all()
            if not 5 < world.clock.now() - began_s < 45:
                hop_factory.background.run_all()
            world.clock.time_s += max(seconds, 0.005)

        hop_factory.transport.waits = passes
        assert hop_factory.lane_worker().work(world.run, 0, invocation(world)).status == "completed"
        assert (world.lane.hop, world.phones.repeats, world.lane.account.repeat_requests) == (1, 0, 0)
        assert not [at for at in world.phones.began if began_s + 5 + 2.5 + SLOW_S < at < began_s + 45]

    def test_settled_batches_that_take_long_to_read(self) -> None:
        """A hundred are read at the same time, while the lease is renewed; then the run goes on in the same hop."""
        slow = Phones(lambda token, asked: Act.MUTE if token == "t1.0" and not asked else Act.ACCEPT)
        world = World(users(300), size=3, phones=slow)
        crash(world, 10)
        assert len(world.results.settled_from("r", 0, 0)) == 99
        hop_factory = hops_of(world)
        reading: list[list[TwinTask[Any]]] = []

        def passes(seconds: float) -> None:
            hop_factory.ledger_background.run_all()
            tasks = hop_factory.background.pending
            if tasks and tasks[0].function == world.results.settled:
                reading.append(list(tasks))
                world.clock.time_s += 1
                hop_factory.background.run(0)
            else:
                hop_factory.background.run_all()
                world.clock.time_s += max(seconds, 0.005)

        hop_factory.transport.waits = passes
        assert hop_factory.lane_worker().work(world.run, 0, invocation(world)).status == "completed"
        assert (len(reading[0]), world.lane.hop) == (99, 2)
        assert world.clock.now() - START_S > 3 * LEASE_MS / 1000
        assert "settled batches: S3 takes more than 10 s to hand them out" in said(world)


class TestCounting:
    """Devices once, requests each time, and neither more than a crash leaves suspected."""

    def test_a_device_that_is_unanswered_twice(self) -> None:
        """Over two rounds: one device, two requests."""
        phones = Phones(lambda token, asked: Act.BROKEN if token == "t3.0" and asked < 2 else Act.ACCEPT)
        world = World(users(10), phones=phones)
        invoke(world)
        figures = summary(world)
        assert (figures.possibly_repeated, figures.repeat_requests, phones.repeats) == (1, 2, 2)

    def test_a_device_that_two_claims_count(self) -> None:
        """A settled batch's repeats of another claim are added: devices up to those that can be, requests all."""
        outcomes = {"sent": ArmAccount(accepted=70, held=10)}
        account = Account(devices=100, possibly_repeated=50, repeat_requests=50, arms=outcomes)
        most = account.repeatable(100, 20)
        assert most == 70, "neither the control group's, nor those counted in an earlier round"
        for _ in range(2):
            account.add_repeats(40, 40, at_most=most)
        assert (account.possibly_repeated, account.repeat_requests) == (70, 130)

    def test_a_slow_run_leaves_little_suspected(self) -> None:
        """Of 100 pushes a second a crash makes two batches suspect, and not sixteen."""
        world = World(users(20_000), per_second=100)
        crash(world, 12)
        assert world.lane.may_ask_below * 500 - world.lane.cursor.record <= 1000
        invoke(world)
        figures = summary(world)
        assert 0 < world.phones.repeats <= figures.possibly_repeated <= 1000

    def test_an_account_of_the_release_before(self) -> None:
        """It counted requests: they are requests here, and never more devices than there are."""
        world = World(users(10))
        old = msgspec.json.decode(b'{"devices": 10, "possibly_repeated": 70}', type=Account)
        assert (old.possibly_repeated, old.repeat_requests) == (70, 70)
        figures = summary_of(world.run, msgspec.structs.replace(world.lane, account=old), BUCKET)
        assert (figures.possibly_repeated, figures.repeat_requests) == (10, 70)

    def test_claims_that_asked_for_a_batch(self) -> None:
        """A claim that stopped says for which batches it asked; of one that died it is not known."""
        died, stopped = UnfinishedClaim(1, 9), UnfinishedClaim(2, 9, {4: 500, 7: 20})
        assert [n for n in range(10) if stopped.may_have_asked(n)] == [4, 7]
        assert [n for n in range(10) if died.may_have_asked(n)] == list(range(9))
        assert (stopped.beyond(4), died.beyond(4)) == (UnfinishedClaim(2, 9, {7: 20}), died)

    def test_a_suspect_of_the_release_before(self) -> None:
        """It is read as a claim that died, and written in its form."""
        text = b'[{"epoch":1,"below":9}]'
        assert msgspec.json.decode(text, type=tuple[UnfinishedClaim, ...]) == (UnfinishedClaim(1, 9),)
        assert msgspec.json.encode((UnfinishedClaim(1, 9),)) == text
