"""A platform that does its worst: invocations that overlap, stall, die at any step, are doubled and dropped.

Every invocation is a greenlet that gives way wherever the real one would wait or touch a store. A scheduler draws what
happens next from seeded chance, so that one seed is one history.
"""

from collections import Counter
from typing import Any

import msgspec
from greenlet import GreenletExit, getcurrent, greenlet

from notifier.gateway.credentials import PATIENCE_S, REST_S
from notifier.lifecycle.lane_worker import Invocation
from notifier.model.outcome import Access, Readiness
from notifier.model.run import Control, Lane, LaneState
from notifier.sending.lane_writer import LeaseOver
from notifier.stores.s3_results import SETTLED_FOLDERS
from tests.twins.background import TwinBackground, TwinTask
from tests.twins.clock import START_S
from tests.twins.gateway import Act
from tests.twins.hop_factory import TwinHops, World
from tests.twins.trouble import StoreError, Trouble

SWEEP_EVERY_S = 60.0
RETRY_AFTER_S = 60.0
MAX_STEPS = 30_000


class Faults(msgspec.Struct, frozen=True):
    """How bad it gets. Counts are budgets for the whole history, shares are chances of one event."""

    kills: int = 0
    stalls: int = 0
    """Times that a worker does not move for longer than its lease."""
    commands: int = 0
    """Operators' pauses, resumes and cancels."""
    cancels: bool = False
    doubled: float = 0.0
    dropped: float = 0.0
    store: float = 0.0
    """Share of calls to ledger and results that go wrong."""
    acts: tuple[Act, ...] = ()
    """What phones may do besides accepting."""
    trouble: float = 0.0
    """Share of requests that meet one of them."""
    timeout_s: int = 900
    away: tuple[tuple[str, int, int], ...] = ()
    """Times in which an endpoint has no credentials: its name, seconds from the beginning, and how long."""
    slow: float = 0.0
    """Share of calls to the results that take longer than a lease."""
    refuses: bool = False
    """At some time the store refuses what settles batches, until the run has stopped and an operator allows it."""

    suppresses: int = 0
    """Users that are suppressed while the run is under way; some are taken back."""
    holds: int = 0
    """Times that the whole stack is held for a while."""
    old_code: float = 0.0
    """Share of invocations whose code is of the release before, which knows one lane only."""

    cuts: int = 0
    """Users whom the final cut has left out."""

    @property
    def rests(self) -> int:
        """How many rests the times without credentials may bring."""
        return sum(length_s // int(REST_S) + 2 for _, _, length_s in self.away)


SLOW_S = 40.0
SETTLING = frozenset((*SETTLED_FOLDERS, "probe"))


class Worker:
    """One invocation."""

    def __init__(self, hop_factory: TwinHops, lane: int, ends_s: float) -> None:
        self.hop_factory = hop_factory
        self.lane = lane
        self.ends_s = ends_s
        self.glet: greenlet = greenlet(lambda: None)
        self.wants_s = 0.0
        self.retries = 0
        self.stalled_until_s = 0.0


class Schedule:
    """One history of one run, from the first nudge to its end."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.world = world
        self.faults = faults
        self.chance = world.chance
        self.clock = world.clock
        self.workers: list[Worker] = []
        self.ghosts: list[TwinTask[Any]] = []
        self.events: list[tuple[float, int, int]] = []
        """When an invocation is due, how often it was tried, and for which lane."""
        self.kills = self.stalls = self.commands = self.failures = self.timeouts = self.resumes = 0
        self.suppressed = 0
        self.holds = 0
        self.ever_suppressed: set[str] = set()
        self.cancelled = False
        self.calm = False
        self.next_sweep_s = self.clock.now() + SWEEP_EVERY_S
        self.acts: Counter[Act] = Counter()
        self.statuses: set[str] = set()
        """How invocations ended."""
        self.refusing = self.has_refused = False
        self.seen_before: Counter[str] = Counter()
        """What each phone had seen when the store began to refuse."""
        self.asked_too_often: set[str] = set()
        """Phones that saw more than one push while nothing could be settled."""
        self._hub = getcurrent()
        self._moving: Worker | None = None
        world.phones.act_of = self._act_of
        world.ledger.troubles = self._trouble
        world.results.troubles = self._trouble
        world.continuation._before = self._before_nudge
        self.clock.slept = self._give_way
        world.access_of = self._access_of
        world.cut = {"capped": faults.cuts} if faults.cuts else {}

    # -- what the workers meet ----------------------------------------------------------------------------------------

    def _act_of(self, token: str, asked: int) -> Act:
        if self.calm or asked >= 5 or not self.faults.acts or self.chance.random() >= self.faults.trouble:
            return Act.ACCEPT
        act = self.chance.choice(self.faults.acts)
        self.acts[act] += 1
        return act

    def _access_of(self, endpoint: str, now_s: float) -> Access | None:
        """Fetched at first, then out of reach: as `notifier.gateway.credentials` reports it."""
        for name, from_s, length_s in () if self.calm else self.faults.away:
            without_s = now_s - START_S - from_s
            if name == endpoint and 0 <= without_s < length_s:
                is_long = without_s >= PATIENCE_S
                return Access(Readiness.UNAVAILABLE, "away", now_s + REST_S) if is_long else Access(Readiness.WAITING)
        return None

    def _trouble(self, name: str) -> Trouble:
        self._give_way(0.0)
        if self.refusing and name in SETTLING:
            return Trouble.REFUSED
        if self.calm or self.faults.store <= 0 or self.chance.random() >= self.faults.store:
            return Trouble.NONE
        self.failures += 1
        return self.chance.choice((Trouble.LOST, Trouble.UNANSWERED, Trouble.REPEATED))

    def _refuse(self) -> None:
        self.refusing = self.has_refused = True
        self.seen_before = Counter(self.world.phones.seen)

    def _allow(self) -> None:
        """An operator repairs the bucket's policy."""
        self.refusing = False
        seen = self.world.phones.seen - self.seen_before
        self.asked_too_often |= {token for token, times in seen.items() if times > 1}

    def _before_nudge(self) -> None:
        self._give_way(0.0)
        if not self.calm and self.chance.random() < self.faults.store:
            self.failures += 1
            raise StoreError("invoke")

    def _give_way(self, seconds: float) -> None:
        """Called inside a worker: let the scheduler decide what happens next."""
        if getcurrent() is not self._hub and self._moving is not None:
            self._moving.wants_s = seconds
            self._hub.switch()

    # -- what the platform does ---------------------------------------------------------------------------------------

    def _start(self, tries: int, lane: int) -> None:
        is_old = self._draws_old()
        if is_old and self._is_left_alone():
            return
        hops = TwinHops(self.world, self._give_way, self._latency_s, lambda _: self._give_way(0.0), is_old=is_old)
        worker = Worker(hops, lane, 0.0)
        worker.ends_s = self.clock.now() + self.faults.timeout_s
        worker.retries = tries
        invocation = Invocation("1", lambda: int((worker.ends_s - self.clock.now()) * 1000))
        lane_worker = worker.hop_factory.lane_worker()
        worker.glet = greenlet(lambda: lane_worker.work(self.world.run, lane, invocation))
        self.workers.append(worker)

    def _draws_old(self) -> bool:
        return self.faults.old_code > 0 and not self.calm and self.chance.random() < self.faults.old_code

    def _is_left_alone(self) -> bool:
        """Whether the release before does not touch the run: its ledger finds items of a newer version."""
        return self.world.run.run_id in self.world.ledger.too_new

    def _invoke(self, lane: int = 0) -> None:
        if self.calm or self.chance.random() >= self.faults.dropped:
            self.events.append((self.clock.now(), 0, lane))
        if not self.calm and self.chance.random() < self.faults.doubled:
            self.events.append((self.clock.now() + self.chance.choice((0.0, 1.0, 40.0)), 0, lane))

    def _latency_s(self) -> float:
        return self.chance.choice((0.01, 0.1, 0.1, 1.0))

    def _resume(self, worker: Worker) -> None:
        self._moving = worker
        try:
            answer = worker.glet.switch()
        except (StoreError, LeaseOver):
            self._end(worker)
            if worker.retries < 2:
                self.events.append((self.clock.now() + RETRY_AFTER_S, worker.retries + 1, worker.lane))
            return
        if worker.glet.dead:
            self.statuses.add(answer.status)
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        """The invocation is over; calls it had under way may still arrive, now or much later, or never."""
        if worker in self.workers:
            self.workers.remove(worker)
        for background in (worker.hop_factory.background, worker.hop_factory.ledger_background):
            self.ghosts += [task for task in background.pending if self.chance.random() < 0.5]
            background.pending.clear()

    def _kill(self, worker: Worker) -> None:
        worker.glet.throw(GreenletExit)
        self._end(worker)
        if worker.retries < 2 and self.chance.random() < 0.7:
            self.events.append((self.clock.now() + RETRY_AFTER_S, worker.retries + 1, worker.lane))

    def _sweep(self) -> None:
        self.next_sweep_s = self.clock.now() + SWEEP_EVERY_S
        now_ms = int(self.clock.now() * 1000)
        if self._draws_old() and self._is_left_alone():
            return
        for lane in list(self.world.ledger.due(now_ms)):
            # As the sweeper does it: what sends is left alone while all is held.
            is_sending = lane.state is not LaneState.DONE and lane.control is not Control.CANCEL
            if is_sending and self.world.ledger.hold is not None:
                continue
            if not self.world.ledger.put_off(lane, now_ms + 120_000):
                continue
            if lane.state is LaneState.DONE:
                TwinHops(self.world, lambda _: None).close(self.world.run, lane)
            else:
                self._invoke(lane.lane)

    def _command(self, control: Control) -> None:
        self.commands += 1
        for lane in self.world.ledger.control_run(self.world.run.run_id, control, "ann"):
            self.cancelled = self.cancelled or control is Control.CANCEL
            if lane.state is LaneState.READY:
                self._invoke(lane.lane)

    # -- the history --------------------------------------------------------------------------------------------------

    def run(self) -> Lane:
        """From the first nudge until the run is closed and no worker is left. Returns the lane."""
        self._invoke()
        lanes = max(len(self.world.spans), 1)
        for step in range(MAX_STEPS * lanes):
            self.calm = self.calm or step > 1_500 * lanes
            if self._is_over():
                if self.refusing:
                    self._allow()
                return self.world.lane
            self._step()
        raise AssertionError(f"it never ends: {self.world.lane}")

    def _is_over(self) -> bool:
        run = self.world.ledger.read_run(self.world.run.run_id)
        return run is not None and run.closed_at_ms is not None and not self.workers

    def _step(self) -> None:
        while self.world.continuation.nudges:
            self.world.continuation.nudges.pop()
            self._invoke(self.world.continuation.lanes.pop())
        if not self.calm:
            self._misfortune()
        elif self.world.ledger.hold is not None:
            self.world.ledger.release_hold("ann")
        if self.ghosts and self.chance.random() < 0.05:
            self.ghosts.pop(self.chance.randrange(len(self.ghosts))).run()
        if self.clock.now() >= self.next_sweep_s:
            self._sweep()
        due = [event for event in self.events if event[0] <= self.clock.now()]
        if due and len(self.workers) < 2 + max(len(self.world.spans), 1):
            event = self.chance.choice(due)
            self.events.remove(event)
            self._start(event[1], event[2])
        awake = [worker for worker in self.workers if worker.stalled_until_s <= self.clock.now()]
        if awake:
            self._move(self.chance.choice(awake))
        else:
            self._idle()

    def _idle(self) -> None:
        """No worker moves: time goes on to the next event; an operator resumes what has stopped."""
        lane = self.world.lane
        if not self.workers and lane.state in (LaneState.PAUSED, LaneState.STOPPED):
            for one in self.world.ledger.lanes_of(self.world.run.run_id):
                if one.state in (LaneState.PAUSED, LaneState.STOPPED):
                    assert one.control is not Control.CANCEL, "cancelled, and still waits"
                    assert (one.state, one.control) != (LaneState.PAUSED, Control.GO), "resumed, and still waits"
            self.resumes += 1
            if self.refusing:
                self._allow()
            self._command(Control.GO)
            return
        times = [at for at, _, _ in self.events] + [self.next_sweep_s]
        times += [worker.stalled_until_s for worker in self.workers]
        self.clock.time_s = max(min(times), self.clock.now() + 0.001)

    def _misfortune(self) -> None:
        faults, chance = self.faults, self.chance
        if self.workers and self.kills < faults.kills and chance.random() < 0.02:
            self.kills += 1
            self._kill(chance.choice(self.workers))
        if self.workers and self.stalls < faults.stalls and chance.random() < 0.02:
            self.stalls += 1
            chance.choice(self.workers).stalled_until_s = self.clock.now() + chance.choice((15.0, 25.0, 70.0))
        if self.commands < faults.commands and chance.random() < 0.02:
            commands = [Control.PAUSE, Control.GO] + [Control.CANCEL] * faults.cancels
            self._command(chance.choice(commands))
        if self.suppressed < faults.suppresses and chance.random() < 0.05:
            self.suppressed += 1
            self.world.suppressed ^= {f"u{chance.randrange(max(len(self.world.records), 1))}"}
            self.ever_suppressed |= self.world.suppressed
        self._hold_or_release()
        if faults.refuses and not self.has_refused and chance.random() < 0.02:
            self._refuse()

    def _hold_or_release(self) -> None:
        ledger, chance = self.world.ledger, self.chance
        # Nothing but a release lets the run go on once no worker is left.
        if ledger.hold is not None and chance.random() < (0.003 if self.workers else 0.3):
            ledger.release_hold("ann")
        elif ledger.hold is None and self.holds < self.faults.holds and chance.random() < 0.02:
            self.holds += 1
            ledger.set_hold("ann", "wrong prices")

    def _move(self, worker: Worker) -> None:
        """Let a worker go on: some of its background calls end, some time passes."""
        for background in (worker.hop_factory.background, worker.hop_factory.ledger_background):
            while (ready := self._ready(worker, background)) and self.chance.random() < 0.8:
                background.run(self.chance.choice(ready))
        self._pass_time(worker)
        if self.clock.now() >= worker.ends_s:
            self.timeouts += 1
            self._kill(worker)
        else:
            self._resume(worker)

    def _ready(self, worker: Worker, background: TwinBackground) -> list[int]:
        """Which calls may end now. Some calls to the results are slow; the ledger is not."""
        now_s = self.clock.now()
        for task in background.pending:
            if task.ready_s is None:
                is_slow = background is worker.hop_factory.background and self._draws_slow()
                task.ready_s = now_s + SLOW_S * is_slow
        return [n for n, task in enumerate(background.pending) if (task.ready_s or 0.0) <= now_s]

    def _draws_slow(self) -> bool:
        """An invocation that is shorter than a slow call could never come to anything."""
        enough = self.faults.timeout_s > 2 * SLOW_S and not self.calm
        return enough and self.chance.random() < self.faults.slow

    def _pass_time(self, worker: Worker) -> None:
        wants_s = worker.wants_s
        if not wants_s:
            return
        next_s = worker.hop_factory.transport.next_s
        backgrounds = worker.hop_factory.background, worker.hop_factory.ledger_background
        pending = [task for background in backgrounds for task in background.pending]
        slow_s = min((task.ready_s or 0.0 for task in pending), default=0.0) - self.clock.now()
        # Lanes work at the same time, and here one after the other: none must wait for a lease until it is its turn.
        most_s = 3.0 / max(len(self.world.spans), 1)
        if pending and slow_s <= 0:
            passes_s = wants_s
        elif next_s is not None:
            passes_s = min(max(next_s - self.clock.monotonic(), 0.001), most_s)
        elif pending:
            passes_s = min(slow_s, most_s)
        else:
            passes_s = self.chance.choice((wants_s, 0.3, most_s))
        self.clock.time_s += passes_s
