"""`python -m sandbox schedule … --run` of a schedule in local time: windows over 26 hours, each run in seconds.

The deployed functions and the stand-ins have a clock that this player moves: to the next firing, or to the next time at
which a lane of an open run is due. Between two of them nothing is at work, and so nothing is moved under its hands.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from notifier.model.run import LaneState
from sandbox import moved_time
from sandbox.gateways.noted import arrivals
from sandbox.schedule import TICK_S, Line
from sandbox.schedule_run import WAIT_S, SendingPlayer, line_of_item
from sandbox.trial import Setting, Trial
from schedules.firing import Tick, next_of
from schedules.store import ScheduleStore
from schedules.timetable import Occurrence

HANDLERS = {
    "WorkerFunction": "sandbox.moved_functions.worker",
    "SweeperFunction": "sandbox.moved_functions.sweeper",
    "AudienceFunction": "sandbox.moved_functions.audience",
}
SWEEPS_OF_ITS_OWN_S = 3600.0
"""The player sweeps: sweeps by the machine's clock would only be invocations more."""


SETTING = Setting(behaviour="sandbox.gateways.noted:answer", schedule_every_s=SWEEPS_OF_ITS_OWN_S)
"""Stand-ins that write down when they were asked for whom."""


class MovedClock:
    """The clock of a trial's functions and stand-ins, moved by a file that they read."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clock"
        self.arrivals = folder / "arrivals"
        self._offset_s = 0.0
        self.set(time.time())

    def __call__(self) -> float:
        """Seconds since the epoch, moved."""
        return time.time() + self._offset_s

    def set(self, at_s: float) -> None:
        """It is this time now. Returns when every process can know it."""
        self._offset_s = at_s - time.time()
        # Whole or not at all: a process may be reading it.
        written = self.path.with_suffix(".new")
        written.write_text(f"{self._offset_s:.3f}", encoding="ascii")
        written.replace(self.path)
        time.sleep(2 * moved_time._LOOK_EVERY_S)

    def start(self, state_dir: Path) -> Trial:
        """A sandbox whose stand-ins and functions have this clock."""
        with self.inherited():
            trial = Trial.start(state_dir, SETTING)
        self.move(trial)
        return trial

    def move(self, trial: Trial) -> None:
        """Give the functions of a sandbox this clock: the worker, the sweeper and the audience function."""
        functions = trial.sandbox.lambda_.functions
        for logical_id, handler in HANDLERS.items():
            now = functions.get(trial.sandbox.function(logical_id).name)
            variables = {**now.setup.variables, moved_time.VARIABLE: str(self.path)}
            setup = msgspec.structs.replace(
                now.setup, handler=handler, variables=variables, kept=now.setup.kept | {str(self.path)}
            )
            functions.kill_environments(setup.function)
            functions.redeploy(setup)

    @contextmanager
    def inherited(self) -> Iterator[None]:
        """The stand-ins are a child of this process, and inherit the names of both files; later ones must not."""
        names = {moved_time.VARIABLE: str(self.path), "SANDBOX_ARRIVALS": str(self.arrivals)}
        os.environ |= names
        try:
            yield
        finally:
            for name in names:
                del os.environ[name]

    def first_asked(self) -> dict[str, float]:
        """When each token was first asked for, by the stand-ins' clock."""
        found: dict[str, float] = {}
        for at, token in arrivals(self.arrivals):
            found.setdefault(token, at)
        return found


class LocalTimePlayer(SendingPlayer):
    """Plays a schedule in local time and sends its occurrences, several at a time: their days overlap."""

    clock: MovedClock
    """Of the trial."""

    def start(self, state_dir: Path) -> Trial:
        """A sandbox with a clock of its own."""
        self.clock = MovedClock(state_dir)
        return self.clock.start(state_dir)

    def sent(self, trial: Trial, on_sent: Callable[[Line, str], object]) -> Iterator[Line]:
        """The occurrences, each when its run is over."""
        self._fill(trial)
        begin = self.schedule.timetable.after(self._begins - timedelta(days=2))
        first = next((one for one in begin if one.local.date() >= self._first), None)
        if first is None:
            return
        self.clock.set(first.utc.timestamp() - TICK_S)
        store, tick = self._tick(trial, self.clock, self.clock)
        tick.run()
        open_runs: dict[str, Line] = {}
        while True:
            following = self._following(store)
            fires_s = following.utc.timestamp() if following is not None else None
            next_due_s = due_s(trial, open_runs)
            if fires_s is None and next_due_s is None:
                return
            if next_due_s is None or (fires_s is not None and fires_s <= next_due_s):
                assert fires_s is not None
                self.clock.set(max(fires_s, self.clock()))
                line, run_id = self._fire(trial, store, tick)
                on_sent(line, run_id)
                if run_id:
                    open_runs[run_id] = line
                else:
                    yield line
            else:
                self.clock.set(max(next_due_s, self.clock()))
                sweep(trial)
            trial.sandbox.lambda_.wait_idle(WAIT_S)
            yield from [open_runs.pop(run_id) for run_id in list(open_runs) if is_closed(trial, run_id)]

    def _following(self, store: ScheduleStore) -> Occurrence | None:
        item = store.read(self.schedule.name)
        following = next_of(self.schedule, int(self.clock() * 1000)) if item is not None and item.next else None
        return following if following is not None and following.local.date() < self._end else None

    def _fire(self, trial: Trial, store: ScheduleStore, tick: Tick) -> tuple[Line, str]:
        """Tick until the occurrence that is due is a run, or over otherwise."""
        waited = time.monotonic()
        while True:
            tick.run()
            trial.sandbox.lambda_.wait_idle(WAIT_S)
            [latest] = store.history(self.schedule.name, limit=1)
            if latest.state.is_over:
                return line_of_item(self.schedule, latest), latest.run_id
            if time.monotonic() - waited > WAIT_S:
                raise TimeoutError(f"{latest.stamp} is still {latest.state.value}: {latest.reason}")
            self.clock.set(self.clock() + TICK_S)


def due_s(trial: Trial, run_ids: Iterable[str]) -> float | None:
    """When a lane of one of these runs is due; None where none rests."""
    lanes = [lane for run_id in run_ids for lane in trial.ledger.lanes_of(run_id)]
    for lane in lanes:
        if lane.state in (LaneState.PAUSED, LaneState.STOPPED):
            raise RuntimeError(f"a lane is {lane.state.value}: {lane.reason}")
    return min((lane.due_at_ms / 1000 for lane in lanes if lane.due_at_ms), default=None)


def sweep(trial: Trial) -> None:
    """Have the sweeper nudge what is due, and wait until everything that follows from it is done."""
    sweeper = trial.sandbox.function("SweeperFunction").name
    trial.sandbox.lambda_.invoke(sweeper, json.dumps({}).encode())
    trial.sandbox.lambda_.wait_idle(WAIT_S)


def is_closed(trial: Trial, run_id: str) -> bool:
    """Whether a run has ended, and its summary is there."""
    run = trial.ledger.read_run(run_id)
    return run is not None and run.closed_at_ms is not None
