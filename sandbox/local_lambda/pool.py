"""The environments of one version of a function, and what they have used."""

import itertools
import threading
from pathlib import Path
from typing import Final

import msgspec

from sandbox.local_lambda.environment import Environment, Setup
from sandbox.local_lambda.invocation import Answer, Failure, Fault, Invocation
from sandbox.local_lambda.process import Spawner

_IDLE_MAX: Final = 8  # Lambda lets idle ones live for minutes; a laptop need not keep a whole burst
_numbers = itertools.count(1)


class Figures(msgspec.Struct, frozen=True):
    """What a function has done so far. `invocations` counts attempts; `cpu_s` is of its environments' processes."""

    invocations: int = 0
    failures: int = 0
    timeouts: int = 0
    memory_kills: int = 0
    exits: int = 0
    cold_starts: int = 0
    retries: int = 0
    given_up: int = 0
    loops_stopped: int = 0
    in_flight: int = 0
    peak_rss_mb: float = 0.0
    cpu_s: float = 0.0

    def plus(self, other: "Figures") -> "Figures":
        """The sum; of the peak, the larger."""
        mine, theirs = msgspec.structs.asdict(self), msgspec.structs.asdict(other)
        total = {name: mine[name] + theirs[name] for name in mine}
        return Figures(**{**total, "peak_rss_mb": max(self.peak_rss_mb, other.peak_rss_mb)})


class Pool:
    """Takes the warm environment used last, or starts a new one: as many as there are invocations at a time."""

    def __init__(self, setup: Setup, folder: Path, log: Path, spawner: Spawner) -> None:
        self.setup = setup
        self._folder = folder
        self._log = log
        self._spawner = spawner
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        self._busy: list[Environment] = []
        self._closed = False
        self._figures = Figures()

    def run(self, invocation: Invocation, fault: Fault) -> Answer:
        """Runs one attempt to its end."""
        environment = self._take()
        if environment is None:
            return Answer(b"{}", invocation.version, Failure.STOPPED)
        killer = None
        if fault.kill_after_s is not None:
            killer = threading.Timer(fault.kill_after_s, environment.kill)
            killer.daemon = True
            killer.start()
        try:
            answer = environment.run(invocation)
        finally:
            if killer:
                killer.cancel()
        self._give_back(environment, answer)
        return answer

    def kill(self) -> int:
        """Kill -9 for every environment, busy or idle; gives how many there were."""
        with self._lock:
            every = [*self._busy, *self._idle]
        for environment in every:
            environment.kill()
        return len(every)

    def busy(self) -> list[Environment]:
        """The environments that are at work."""
        with self._lock:
            return list(self._busy)

    def close(self) -> None:
        """Ends every environment; nothing is run any more."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for environment in idle:
            self._dispose(environment)
        self.kill()

    def figures(self) -> Figures:
        """What this version has done and used, running environments included."""
        with self._lock:
            live = [*self._busy, *self._idle]
            figures = msgspec.structs.replace(self._figures, in_flight=len(self._busy))
        for environment in live:
            figures = figures.plus(_used(environment))
        return figures

    def _take(self) -> Environment | None:
        while True:
            with self._lock:
                if self._closed:
                    return None
                # The one used last: the others stay idle, and are the first to go.
                environment = self._idle.pop() if self._idle else None
                cold = environment is None
                if environment is None:
                    folder = self._folder / f"{self.setup.function}-{next(_numbers)}"
                    environment = Environment(self.setup, folder, self._log, self._spawner)
                if cold or environment.is_alive():
                    self._busy.append(environment)
                    self._add(Figures(cold_starts=int(cold)))
                    return environment
            self._dispose(environment)  # it died while it was idle: look for another

    def _give_back(self, environment: Environment, answer: Answer) -> None:
        dead = not environment.is_alive()
        failure = answer.failure
        with self._lock:
            self._busy.remove(environment)
            if not dead and not self._closed:
                self._idle.append(environment)
            surplus = self._idle.pop(0) if len(self._idle) > _IDLE_MAX else None
            self._add(
                Figures(
                    invocations=1,
                    failures=int(bool(failure)),
                    timeouts=int(failure is Failure.TIMEOUT),
                    memory_kills=int(failure is Failure.MEMORY),
                    exits=int(failure is Failure.EXIT),
                )
            )
        if dead or self._closed:
            self._dispose(environment)
        if surplus:
            self._dispose(surplus)

    def _dispose(self, environment: Environment) -> None:
        environment.dispose()
        used = _used(environment)
        with self._lock:
            self._add(used)

    def _add(self, figures: Figures) -> None:
        self._figures = self._figures.plus(figures)


def _used(environment: Environment) -> Figures:
    return Figures(peak_rss_mb=environment.peak_rss_bytes() / 2**20, cpu_s=environment.cpu_s())
