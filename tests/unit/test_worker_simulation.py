"""The delivery contract under everything at once: one history after another, each drawn from a seed.

Kills at any step, stalls longer than a lease, nudges doubled and dropped, stores that fail and lose answers, operators'
commands, gateways that refuse, break off and never answer, credentials that are out of reach, two workers at a time,
the sweeper in between.

The gate draws few of them and `make deep` thousands. `SIMULATION_EXAMPLES=100000 pytest
tests/unit/test_worker_simulation.py` draws as many as one likes.
"""

import os
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from notifier.model.outcome import Outcome, Row
from notifier.model.run import Ending, Lane, LaneState
from tests.examples import examples
from tests.twins.clock import START_S
from tests.twins.gateway import Act
from tests.twins.hop_factory import World, broken_at
from tests.twins.schedule import Faults, Schedule

EXAMPLES = int(os.environ.get("SIMULATION_EXAMPLES") or examples(150))
DEVICES = {"one": 1, "two": 2, "none": 0, "broken": 0}
"""How many valid devices a record has, by its kind."""
AMBIGUOUS = {Act.BROKEN, Act.LOST, Act.SILENT, Act.MUTE}

KINDS = st.sampled_from((0, 2, 10, 25)).flatmap(
    lambda least: st.lists(st.sampled_from(("one", "two", "none", "broken")), min_size=least, max_size=40)
)
MOST_LATE_S = 200.0
"""A hop that hands over takes in nothing new in its last minute; a rest is over at the next sweep but one."""
HEARD_S = 4.0 + 3 * 3.0
"""A heartbeat, and three of the longest steps of time: the one before it, its write, and the turn after it."""
BLIND_S = 20.0 + 3 * 3.0
"""The same for a worker that stalls, or cannot reach the ledger: it starts nothing after `BLIND_MS`."""
A_KILL_S = 400.0
"""A lease, Lambda's retries and the sweeps after it."""
TURNS = st.sampled_from((None, None, None, "abort", "broken"))
"""What cuts a run short besides an operator: its `abort_after`, or a file that breaks in the middle."""
FAULTS = st.builds(
    Faults,
    kills=st.integers(0, 6),
    stalls=st.integers(0, 3),
    commands=st.integers(0, 4),
    cancels=st.booleans(),
    doubled=st.sampled_from((0.0, 0.3)),
    dropped=st.sampled_from((0.0, 0.3)),
    store=st.sampled_from((0.0, 0.02, 0.15)),
    acts=st.lists(st.sampled_from(sorted(Act, key=lambda act: act.value)), max_size=4, unique=True).map(tuple),
    trouble=st.sampled_from((0.0, 0.1, 0.5)),
    timeout_s=st.sampled_from((900, 90, 25)),
    away=st.lists(
        st.tuples(st.sampled_from(("fcm", "apns")), st.sampled_from((0, 1, 20)), st.sampled_from((5, 45, 400))),
        max_size=2,
    ).map(tuple),
    slow=st.sampled_from((0.0, 0.0, 0.05, 0.3)),
    refuses=st.booleans(),
    suppresses=st.sampled_from((0, 0, 3, 12)),
    holds=st.sampled_from((0, 0, 1, 3)),
    old_code=st.sampled_from((0.0, 0.0, 0.2)),
    cuts=st.sampled_from((0, 0, 7)),
)


def records_of(kinds: list[str]) -> list[object]:
    """One record of each kind, in order."""
    return [_record_of(kind, n) for n, kind in enumerate(kinds)]


def _record_of(kind: str, n: int) -> object:
    tokens = DEVICES[kind]
    if kind == "broken":
        return {"user_id": f"u{n}", "devices": [{"platform": "toaster", "token": "t"}]}
    platforms = ("android", "ios")
    return {
        "user_id": f"u{n}",
        "devices": [{"platform": platforms[(n + k) % 2], "token": f"t{n}.{k}"} for k in range(tokens)],
    }


class History:
    """A history that has ended, and what must be true of it."""

    def __init__(
        self,
        kinds: list[str],
        size: int,
        control: int,
        faults: Faults,
        seed: int,
        turn: str | None = None,
        lanes: int = 1,
    ) -> None:
        self.faults = faults
        self.kinds = kinds
        self.turn = turn
        members: dict[str, Any] = {"abort_after": datetime.fromtimestamp(START_S + 5 + seed % 100, UTC).isoformat()}
        recurse_below_ms = min(60_000, faults.timeout_s * 400)
        self.world = World(
            records_of(kinds),
            size=size,
            lanes=lanes,
            seed=seed,
            recurse_below_ms=recurse_below_ms,
            window=20,
            control_percent=control,
            fault=broken_at(len(kinds) // 2) if turn == "broken" else None,
            **(members if turn == "abort" else {}),
        )
        self.size = size
        self.crashes = self.lost = 0
        self.seen_wrong: list[AssertionError] = []
        self.world.ledger._watch = self.watch
        self.world.phones.on_ask = self.check_due
        is_undisturbed = not (faults.stalls or faults.store or faults.slow or faults.refuses)
        self.held_within_s = HEARD_S if is_undisturbed else BLIND_S
        self.latest_s = 0.0
        """The longest that a device was asked after its due time."""
        self.schedule = Schedule(self.world, faults)

    def watch(self, before: Lane, after: Lane) -> None:
        """Look at every change of the lane. What is wrong is kept: raised here, it looks like a store that failed."""
        left_open = len(after.suspects) > len(before.suspects)
        left_deferred_open = after.epoch > before.epoch and bool(before.asking)
        self.crashes += left_open or left_deferred_open
        # A claim that leaves says so by its last write; of one that lost its lane the next claim says it.
        self.lost += left_open and after.state is LaneState.RUNNING
        self.lost += left_deferred_open and before.state is LaneState.RUNNING
        try:
            self._check_change(before, after)
        except AssertionError as wrong:
            self.seen_wrong.append(wrong)

    def _check_change(self, before: Lane, after: Lane) -> None:
        """The cursor goes forward only, and over settled batches only."""
        old, new = before.cursor, after.cursor
        assert (new.round, new.record) >= (old.round, old.record)
        assert after.epoch >= before.epoch
        assert after.most_devices >= before.most_devices
        self._check_suspects(before, after)
        if (new.round, new.record) == (old.round, old.record):
            return
        rows = self.world.results.rows
        run_id = self.world.run.run_id
        assert old.round == 0, "there is one reading, and after it deferred devices only"
        end = after.span.end if after.span else len(self.kinds)
        last = new.record if new.round == old.round else end
        for number in range(old.record // self.size, -(-last // self.size)):
            assert (run_id, number, 0) in rows, f"the cursor passed batch {number}"

    def _check_suspects(self, before: Lane, after: Lane) -> None:
        """A dead claim is suspected until the cursor passes the last batch it may have asked for, and no longer."""
        if after.cursor.round != before.cursor.round:
            assert not after.suspects
            return
        passed = -(-after.cursor.record // self.size) if after.cursor != before.cursor else 0
        known = {one.epoch for one in before.suspects}
        of_before = tuple(one.epoch for one in after.suspects if one.epoch in known)
        assert of_before == tuple(one.epoch for one in before.suspects if one.below > passed)

    def check_due(self, token: str, now_s: float, round_: int) -> None:
        """No device is asked for before the time that the last settled round set for it.

        Except by a worker that was asking for that round itself, when a slower one, whose claim is over, settled it.
        """
        number = int(token[1:].partition(".")[0]) // self.size
        hold = self.world.ledger.hold
        if hold is not None and now_s - hold.since_ms / 1000 > self.held_within_s:
            self.seen_wrong.append(AssertionError(f"{token} was asked {now_s - hold.since_ms / 1000} s after the hold"))
        # Suppressed users' devices are not among those that the batch may have asked for.
        ever = self.schedule.ever_suppressed
        records = range(number * self.size, min((number + 1) * self.size, len(self.kinds)))
        devices = sum(DEVICES[self.kinds[record]] for record in records if f"u{record}" not in ever)
        if devices > self._lane_of(number).most_devices:
            self.seen_wrong.append(AssertionError(f"batch {number} is asked for and the ledger knows of no such"))
        due_at, due_round = self.world.results.due.get(token, (0.0, 0))
        if round_ < due_round:
            return
        self.world.results.due.pop(token, None)
        if now_s < due_at:
            self.seen_wrong.append(AssertionError(f"{token} was asked {due_at - now_s} s early"))
        elif due_at:
            self.latest_s = max(self.latest_s, now_s - due_at)

    def _lane_of(self, number: int) -> Lane:
        """The lane that sends a batch."""
        lanes = self.lanes
        for lane in lanes:
            first, below = lane.batches(self.size) or (0, 0)
            if first <= number < below:
                return lane
        # What its first lane sends is noted last: another lane may have begun by then.
        assert len(lanes) == 1, f"no lane sends batch {number}"
        return lanes[0]

    def check(self) -> None:
        """The contract's points, at the end."""
        lane = self.schedule.run()
        for wrong in self.seen_wrong:
            raise wrong
        self._check_rows()
        self._check_ending(lane)
        self._check_repeats(lane)
        self._check_suppression(lane)
        self._check_lease()
        interruptions = (
            self.schedule.kills
            + self.schedule.stalls
            + self.schedule.commands
            + self.schedule.failures
            + self.schedule.timeouts
            + self.schedule.resumes
            + self.schedule.holds
            + self.faults.rests
        )
        batches = len(self.kinds) / self.size + 1
        lanes = self.lanes
        assert lane.hop <= len(lanes) * (12 + 4 * interruptions) + batches + sum(self.schedule.acts.values())
        assert all(one.due_at_ms is None for one in lanes), "closed, and still due"
        assert self.world.results.summaries[self.world.run.run_id].status == lane.status

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The run's lanes, as the ledger has them."""
        return self.world.ledger.lanes_of(self.world.run.run_id)

    def _check_rows(self) -> None:
        rows = [row for found in self.world.results.rows.values() for row in found.rows]
        keys = {(row.record, row.device) for row in rows}
        assert len(keys) == len(rows), "one row for each device"
        for lane in self.lanes:
            first, end = (lane.span.first, lane.span.end) if lane.span else (0, len(self.kinds))
            self._check_rows_of(lane, [row for row in rows if first <= row.record < end])

    def _check_rows_of(self, lane: Lane, rows: list[Row]) -> None:
        """By the reason of each lane: the run has that of the lane which decided how it ended."""
        account = lane.account
        assert account.devices == account.settled + account.deferred
        if (lane.reason or "").startswith(("rows_refused", "no_progress")):
            # Cancelled while nothing could be settled. What dead claims' writes brought in behind that is not counted.
            assert lane.ending is Ending.CANCELLED
            assert account.settled <= len(rows)
            return
        assert account.settled == len(rows)
        outcomes = account.outcomes()
        assert outcomes.accepted == sum(row.outcome is Outcome.ACCEPTED for row in rows)
        assert outcomes.held == sum(row.outcome is Outcome.HELD for row in rows)

    def _check_lease(self) -> None:
        """A store that is slow, or refuses, costs no worker its lane: only kills, stalls and a ledger that fails do."""
        schedule = self.schedule
        if not schedule.kills + schedule.stalls + schedule.failures + schedule.timeouts:
            assert not self.lost
            assert "lost" not in schedule.statuses

    def _check_ending(self, lane: Lane) -> None:
        account = lane.account
        before_the_fault = len(self.kinds) // 2 // self.size * self.size
        if lane.ending is Ending.COMPLETED:
            assert account.users == len(self.kinds) + self.faults.cuts
            assert account.deferred == 0
            assert account.invalid_records == sum(kind in ("none", "broken") for kind in self.kinds)
            devices = [DEVICES[kind] for kind in self.kinds]
            suppressed = sum(n for record, n in enumerate(devices) if f"u{record}" in self.schedule.ever_suppressed)
            assert sum(devices) - suppressed <= account.devices <= sum(devices)
            assert lane.reason is None
            assert self.turn != "broken"
        else:
            assert {
                Ending.CANCELLED: self.schedule.cancelled,
                Ending.ABORTED: self.turn == "abort",
                Ending.FAILED: self.turn == "broken"
                and (account.users == before_the_fault + self.faults.cuts or len(self.world.spans) > 1),
            }[lane.ending or Ending.COMPLETED]

    def _check_suppression(self, lane: Lane) -> None:
        """Nobody is asked for whom the claim knew as suppressed; those left out are counted, and no others."""
        assert not self.world.phones.suppressed
        account, ever, cuts = lane.account, self.schedule.ever_suppressed, self.faults.cuts
        assert account.excluded == sum(account.excluded_by.values()) <= len(ever) + cuts
        # Once, however often the run was begun. One that is ended without progress is not opened for that.
        no_progress = (self.lanes[0].reason or "").startswith("no_progress")
        assert account.excluded_by.get("capped", 0) in ((0, cuts) if no_progress else (cuts,))
        rows = (row for found in self.world.results.rows.values() for row in found.rows)
        assert {row.user_id for row in rows if row.reason == "suppressed"} <= ever

    def _check_repeats(self, lane: Lane) -> None:
        seen, summary = self.world.phones.seen, self.world.results.summaries[self.world.run.run_id]
        assert self.world.phones.repeats <= summary.repeat_requests, "every repeat is reported"
        assert sum(times > 1 for times in seen.values()) <= summary.possibly_repeated, "and every device that had one"
        devices = sum(map(DEVICES.__getitem__, self.kinds)) if summary.excluded else summary.devices
        assert summary.possibly_repeated <= devices + summary.unsettled, "each device once"
        assert summary.possibly_repeated <= summary.repeat_requests
        if not any(
            (one.reason or "").startswith("no_progress") for one in self.lanes
        ):  # then it is an upper bound, by batches not read again
            assert summary.unsettled <= sum(DEVICES[kind] for kind in self.kinds)
        assert not self.schedule.asked_too_often, "at most one request a phone while nothing can be settled"
        if not self.crashes and not AMBIGUOUS & self.schedule.acts.keys():
            assert self.world.phones.repeats == 0
            if not self.schedule.timeouts and self.faults.timeout_s == 900:
                assert lane.account.possibly_repeated == 0


WAITS = st.lists(
    st.sampled_from((Act.BUSY, Act.MINUTE, Act.LATER, Act.HOUR, Act.LOST, Act.REFUSED)), min_size=1, unique=True
)
"""Gateways that ask for waits of very different length."""


@given(
    kinds=st.lists(st.sampled_from(("one", "two")), min_size=2, max_size=30),
    size=st.integers(1, 5),
    waits=WAITS,
    trouble=st.sampled_from((0.1, 0.5)),
    kills=st.sampled_from((0, 0, 3)),
    per_second=st.sampled_from((None, None, 0.1, 0.02)),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=max(EXAMPLES // 8, 10), suppress_health_check=list(HealthCheck), print_blob=True)
def test_due_times(
    kinds: list[str], size: int, waits: list[Act], trouble: float, kills: int, per_second: float | None, seed: int
) -> None:
    """Each device is asked when it is due: no sooner, and little later, whatever others wait for.

    A reading at a low rate may go on for half an hour. No device is late by more than a sweep and a hop; for
    each worker that dies, by a lease and the sweeps that find it. Only a request that may have reached the phone is
    repeated after its batch is settled, and so after the last first request of that batch at the run's rate.
    """
    history = History(kinds, size, 0, Faults(kills=kills, acts=tuple(waits), trouble=trouble), seed)
    history.world.per_second = per_second
    history.check()
    own_batch_s = 2 * size / per_second if per_second and Act.LOST in waits else 0.0
    assert history.latest_s <= MOST_LATE_S + own_batch_s + history.schedule.kills * A_KILL_S
    rounds = [round_ for _, _, round_ in history.world.results.rows]
    assert max(rounds) <= 5 * 2 * size * (1 + kills), "at most one round for each attempt of each device"


@given(
    kinds=st.lists(st.sampled_from(("one", "two")), min_size=10, max_size=40),
    size=st.integers(1, 5),
    per_second=st.sampled_from((0.3, 1.0, 3.0)),
    store=st.sampled_from((0.0, 0.02)),
    kills=st.sampled_from((0, 0, 2)),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=max(EXAMPLES // 8, 10), suppress_health_check=list(HealthCheck), print_blob=True)
def test_holds(kinds: list[str], size: int, per_second: float, store: float, kills: int, seed: int) -> None:
    """Soon after a hold no device is asked for, by any worker, for as long as it lasts; released, the run goes on."""
    history = History(kinds, size, 0, Faults(holds=3, store=store, kills=kills), seed)
    history.world.per_second = per_second
    history.check()


UNREPORTED = Faults(
    kills=3,
    stalls=1,
    commands=1,
    cancels=True,
    dropped=0.3,
    store=0.15,
    acts=(Act.ACCEPT,),
    timeout_s=25,
    refuses=True,
)
"""Of 40,000 histories one: killed, refused, cancelled while the file breaks. Four repeats were seen, none reported."""


REFUSED = Faults(
    kills=3,
    doubled=0.3,
    dropped=0.3,
    store=0.15,
    acts=(Act.ACCEPT,),
    trouble=0.5,
    timeout_s=25,
    refuses=True,
    suppresses=3,
    holds=1,
)
"""Of 20,000 histories one: a lane reads a broken part; another, cancelled by it, may not settle what it has put."""


READ_ON = Faults(kills=2, stalls=1, commands=2, cancels=True, acts=(Act.ACCEPT,))
"""Of 20,000 histories one: cancelled, a claim defers a wider batch than any that was sent; resumed, it is asked for."""


SETTLED_LATE = Faults(kills=2, stalls=2, acts=(Act.ACCEPT,), away=(("fcm", 0, 400),), suppresses=3, holds=1)
"""Of 15,000 histories one: a batch is asked by three claims and settled by the second, whose deferred devices are asked
again. The third may have asked each device of it, and so it is counted: 14 of 12 devices before."""


SETTLED_FIRST = Faults(
    stalls=1,
    commands=1,
    doubled=0.3,
    store=0.15,
    acts=(Act.SILENT, Act.ACCEPT),
    trouble=0.5,
    timeout_s=25,
    suppresses=3,
)
"""The same over more claims: what an earlier one settles and defers is asked again, and a later one's is added."""


SUPPRESSED_FOR_ONE = Faults(
    kills=4,
    stalls=1,
    commands=2,
    doubled=0.3,
    dropped=0.3,
    acts=(Act.ACCEPT,),
    slow=0.05,
    refuses=True,
    suppresses=12,
    old_code=0.2,
)
"""A slow claim for which all users were suppressed settles a batch that a later claim has asked for, once more."""


NOBODY_LEFT = Faults(slow=0.3, cuts=7)
"""The final cut leaves everybody out, and S3 takes longer than a heartbeat to list the rows: 0 users were counted."""


@example(kinds=[], size=2, control=0, faults=NOBODY_LEFT, seed=2, turn=None, lanes=1)
@example(kinds=[], size=2, control=0, faults=NOBODY_LEFT, seed=2, turn="abort", lanes=1)
@example(kinds=["one", "two"], size=2, control=0, faults=SUPPRESSED_FOR_ONE, seed=5625, turn=None, lanes=1)
@example(kinds=["one"] * 12, size=4, control=0, faults=SETTLED_LATE, seed=3911, turn=None, lanes=1)
@example(
    kinds=["one", "two", "two", "none"] + ["one"] * 11 + ["none"] + ["one"] * 9 + ["two", "none", "none"] + ["one"] * 3,
    size=4,
    control=0,
    faults=SETTLED_FIRST,
    seed=1226,
    turn=None,
    lanes=1,
)
@example(
    kinds=["one"] * 10 + ["none"] * 6 + ["one", "one", "one", "two"],
    size=4,
    control=0,
    faults=READ_ON,
    seed=0,
    turn=None,
    lanes=1,
)
@example(
    kinds=["two", "one", "one", "one", "one", "two"],
    size=1,
    control=0,
    faults=REFUSED,
    seed=3_628_799,
    turn="broken",
    lanes=8,
)
@example(
    kinds=["one"] * 5 + ["none"] + ["one"] * 8, size=3, control=0, faults=UNREPORTED, seed=840, turn="broken", lanes=1
)
@given(
    kinds=KINDS,
    size=st.integers(1, 5),
    control=st.sampled_from((0, 0, 30)),
    faults=FAULTS,
    seed=st.integers(0, 2**32),
    turn=TURNS,
    lanes=st.sampled_from((1, 1, 2, 3, 8)),
)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), print_blob=True)
def test_any_history(
    kinds: list[str], size: int, control: int, faults: Faults, seed: int, turn: str | None, lanes: int
) -> None:
    """Whatever happens: one row per device, nothing lost, no unreported repeat, a true status, and an end."""
    History(kinds, size, control, faults, seed, turn, lanes).check()
