"""The delivery contract under everything at once: one history after another, each drawn from a seed.

Kills at any step, stalls longer than a lease, nudges doubled and dropped, stores that fail and lose answers, operators'
words, gateways that refuse, break off and never answer, credentials that are out of reach, two workers at a time, the
sweeper in between.

`SIMULATION_EXAMPLES=100000 pytest tests/unit/test_worker_simulation.py` makes it a longer run.
"""

import os
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.outcome import Outcome
from notifier.run import Ending, Lane, LaneState
from tests.twins.clock import START_S
from tests.twins.gateway import Act
from tests.twins.premises import World, broken_at
from tests.twins.schedule import Faults, Schedule

EXAMPLES = int(os.environ.get("SIMULATION_EXAMPLES", "3000"))
AMBIGUOUS = {Act.BROKEN, Act.LOST, Act.SILENT, Act.MUTE}

KINDS = st.sampled_from((0, 2, 10, 25)).flatmap(
    lambda least: st.lists(st.sampled_from(("one", "two", "none", "broken")), min_size=least, max_size=40)
)
TURNS = st.sampled_from((None, None, None, "abort", "broken"))
"""What cuts a run short besides an operator: its `abort_after`, or a file that breaks in the middle."""
FAULTS = st.builds(
    Faults,
    kills=st.integers(0, 6),
    stalls=st.integers(0, 3),
    words=st.integers(0, 4),
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
)


def records_of(kinds: list[str]) -> list[object]:
    """One record of each kind, in order."""
    return [_record_of(kind, n) for n, kind in enumerate(kinds)]


def _record_of(kind: str, n: int) -> object:
    tokens = {"one": 1, "two": 2}.get(kind, 0)
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
        self, kinds: list[str], size: int, control: int, faults: Faults, seed: int, turn: str | None = None
    ) -> None:
        self.faults = faults
        self.kinds = kinds
        self.turn = turn
        members: dict[str, Any] = {"abort_after": datetime.fromtimestamp(START_S + 5 + seed % 100, UTC).isoformat()}
        recurse_below_ms = min(60_000, faults.timeout_s * 400)
        self.world = World(
            records_of(kinds),
            size=size,
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
        self.schedule = Schedule(self.world, faults)

    def watch(self, before: Lane, after: Lane) -> None:
        """Look at every change of the lane. What is wrong is kept: raised here, it looks like a store that failed."""
        left_open = len(after.suspects) > len(before.suspects)
        self.crashes += left_open
        # A claim that leaves says so by its last write; of one that lost its lane the next claim says it.
        self.lost += left_open and after.state is LaneState.RUNNING
        try:
            self._check_change(before, after)
        except AssertionError as wrong:
            self.seen_wrong.append(wrong)

    def _check_change(self, before: Lane, after: Lane) -> None:
        """The cursor goes forward only, and over settled batches only."""
        old, new = before.cursor, after.cursor
        assert (new.round, new.record) >= (old.round, old.record)
        assert after.epoch >= before.epoch
        self._check_suspects(before, after)
        if (new.round, new.record) == (old.round, old.record):
            return
        rows = self.world.results.rows
        run_id = self.world.run.run_id
        last = new.record if new.round == old.round else len(self.kinds)
        if old.round == 0:
            for number in range(old.record // self.size, -(-last // self.size)):
                assert (run_id, number, 0) in rows, f"the cursor passed batch {number}"
        else:
            for found in self.world.results.deferred(run_id, old.round, old.record // self.size):
                passed = new.round > old.round or found.number * self.size < new.record
                assert not passed or (run_id, found.number, old.round) in rows

    def _check_suspects(self, before: Lane, after: Lane) -> None:
        """Who died is suspected until the cursor passes the last batch that he may have asked for, and no longer."""
        if after.cursor.round != before.cursor.round:
            assert not after.suspects
            return
        passed = -(-after.cursor.record // self.size) if after.cursor != before.cursor else 0
        known = {one.epoch for one in before.suspects}
        of_before = tuple(one.epoch for one in after.suspects if one.epoch in known)
        assert of_before == tuple(one.epoch for one in before.suspects if one.below > passed)

    def check(self) -> None:
        """The contract's points, at the end."""
        lane = self.schedule.run()
        for wrong in self.seen_wrong:
            raise wrong
        self._check_rows(lane)
        self._check_ending(lane)
        self._check_repeats(lane)
        self._check_lease()
        interruptions = (
            self.schedule.kills
            + self.schedule.stalls
            + self.schedule.words
            + self.schedule.failures
            + self.schedule.timeouts
            + self.schedule.resumes
            + self.faults.rests
        )
        batches = len(self.kinds) / self.size + 1
        assert lane.hop <= 12 + 4 * interruptions + batches + sum(self.schedule.acts.values())
        assert self.world.results.summaries[self.world.run.run_id].status == lane.status

    def _check_rows(self, lane: Lane) -> None:
        account = lane.account
        rows = [row for found in self.world.results.rows.values() for row in found.rows]
        keys = {(row.record, row.device) for row in rows}
        assert len(keys) == len(rows), "one row for each device"
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
        """A store that is slow, or refuses, costs nobody the lane: only kills, stalls and a ledger that fails do."""
        schedule = self.schedule
        if not schedule.kills + schedule.stalls + schedule.failures + schedule.timeouts:
            assert not self.lost
            assert "lost" not in schedule.statuses

    def _check_ending(self, lane: Lane) -> None:
        account = lane.account
        before_the_fault = len(self.kinds) // 2 // self.size * self.size
        if lane.ending is Ending.COMPLETED:
            assert account.users == len(self.kinds)
            assert account.deferred == 0
            assert account.invalid_records == sum(kind in ("none", "broken") for kind in self.kinds)
            assert account.devices == sum({"one": 1, "two": 2}.get(kind, 0) for kind in self.kinds)
            assert lane.reason is None
            assert self.turn != "broken"
        else:
            assert {
                Ending.CANCELLED: self.schedule.cancelled,
                Ending.ABORTED: self.turn == "abort",
                Ending.FAILED: self.turn == "broken" and account.users == before_the_fault,
            }[lane.ending or Ending.COMPLETED]

    def _check_repeats(self, lane: Lane) -> None:
        seen, summary = self.world.phones.seen, self.world.results.summaries[self.world.run.run_id]
        assert self.world.phones.repeats <= summary.repeat_requests, "every repeat is reported"
        assert sum(times > 1 for times in seen.values()) <= summary.possibly_repeated, "and every device that had one"
        assert summary.possibly_repeated <= summary.devices + summary.unsettled, "each device once"
        assert summary.possibly_repeated <= summary.repeat_requests
        assert not self.schedule.asked_too_often, "at most one request a phone while nothing can be settled"
        if not self.crashes and not AMBIGUOUS & self.schedule.acts.keys():
            assert self.world.phones.repeats == 0
            if not self.schedule.timeouts and self.faults.timeout_s == 900:
                assert lane.account.possibly_repeated == 0


@given(
    kinds=KINDS,
    size=st.integers(1, 5),
    control=st.sampled_from((0, 0, 30)),
    faults=FAULTS,
    seed=st.integers(0, 2**32),
    turn=TURNS,
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
def test_any_history(kinds: list[str], size: int, control: int, faults: Faults, seed: int, turn: str | None) -> None:
    """Whatever happens: one row per device, nothing lost, no unreported repeat, a true status, and an end."""
    History(kinds, size, control, faults, seed, turn).check()
