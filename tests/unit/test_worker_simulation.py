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
from notifier.run import Ending, Lane
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
        self.crashes = 0
        self.seen_wrong: list[AssertionError] = []
        self.world.ledger._watch = self.watch
        self.schedule = Schedule(self.world, faults)

    def watch(self, before: Lane, after: Lane) -> None:
        """Look at every change of the lane. What is wrong is kept: raised here, it looks like a store that failed."""
        self.crashes += len(after.suspects) > len(before.suspects)
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
        of_before = tuple(one for one in after.suspects if one in before.suspects)
        assert of_before == tuple(one for one in before.suspects if one.below > passed)

    def check(self) -> None:
        """The contract's points, at the end."""
        lane = self.schedule.run()
        for wrong in self.seen_wrong:
            raise wrong
        account, world = lane.account, self.world
        rows = [row for found in world.results.rows.values() for row in found.rows]
        keys = {(row.record, row.device) for row in rows}
        assert len(keys) == len(rows), "one row for each device"
        assert account.settled == len(rows)
        assert account.devices == len(rows) + account.deferred
        outcomes = account.outcomes()
        assert outcomes.accepted == sum(row.outcome is Outcome.ACCEPTED for row in rows)
        assert outcomes.held == sum(row.outcome is Outcome.HELD for row in rows)
        self._check_ending(lane)
        self._check_repeats(lane)
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
        assert world.results.summaries[world.run.run_id].status == lane.status

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
        assert self.world.phones.repeats <= lane.account.possibly_repeated, "every repeat is reported"
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
