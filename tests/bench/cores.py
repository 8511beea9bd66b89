"""Who used the processor while a sandbox was at work: by kind of process, in cores."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sandbox.trial import Trial

_TICKS = os.sysconf("SC_CLK_TCK")
EVERY_S = 0.5


class Sample(msgspec.Struct, frozen=True):
    """CPU seconds since the start, by kind. `busy` is all that the machine's cores did."""

    at_s: float
    used_s: dict[str, float]


class Cores:
    """Notes each half second what the workers, the local AWS, the sink and the rest of the sandbox have used."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._samples = [self._sample()]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Note nothing more."""
        self._ended.set()
        self._thread.join()

    def between(self, begin_s: float, end_s: float) -> dict[str, float]:
        """Cores used by each kind between two times, seconds since the epoch; nothing where they are too near."""
        within = [one for one in self._samples if begin_s <= one.at_s <= end_s]
        if len(within) < 2:
            return {}
        first, last = within[0], within[-1]
        seconds = last.at_s - first.at_s
        found = {kind: (last.used_s[kind] - first.used_s.get(kind, 0.0)) / seconds for kind in last.used_s}
        ours = sum(cores for kind, cores in found.items() if kind != "machine")
        found["others"] = max(found.pop("machine") - ours, 0.0)
        return {kind: round(cores, 3) for kind, cores in found.items()}

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._samples.append(self._sample())

    def _sample(self) -> Sample:
        lambda_, functions = self._trial.sandbox.lambda_, self._trial.sandbox.stack.functions
        worker = self._trial.sandbox.function("WorkerFunction").name
        cpu = {one.name: lambda_.figures(one.name).cpu_s for one in functions}
        used = {
            "workers": cpu.pop(worker),
            "other functions": sum(cpu.values()),
            "sandbox": time.process_time(),
            "machine": _machine_s(),
            **_children(),
        }
        return Sample(time.time(), used)


def _children() -> Mapping[str, float]:
    """The local AWS, and the gateways: processes below this one, by their command lines."""
    found = {"aws": 0.0, "gateways": 0.0}
    # nginx works in a child of its own.
    ours = {os.getpid()}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda one: int(one.name)):
        try:
            command = (folder / "cmdline").read_bytes()
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) not in ours:
            continue
        kind = (
            "aws" if b"aws_server" in command else "gateways" if b"nginx" in command or b"gateways" in command else ""
        )
        if kind:
            ours.add(int(folder.name))
            found[kind] += (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def _machine_s() -> float:
    """What all cores have done since the machine began: neither idle nor waiting for a disk."""
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS
