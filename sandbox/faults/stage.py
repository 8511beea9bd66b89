"""Plays scenarios: one running sandbox for all of them, each with its own file, its own faults and its own counts."""

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import trustme

from sandbox.audience import Recipe, make
from sandbox.faults.count import Reached, WireCount, reached_stand_ins, tally, violations
from sandbox.faults.line import STEADY, Proxy
from sandbox.faults.scenario import Scenario, Scene
from sandbox.local_lambda.environment import Setup
from sandbox.local_lambda.invocation import Fault, Invocation, no_fault
from sandbox.trial import Setting, Trial
from sandbox.wire.server import WireServer

FUNCTIONS = {"WorkerFunction": "worker", "SweeperFunction": "sweeper", "ControlFunction": "control"}
SETTING = Setting(retry_scale=0.02, schedule_every_s=2.0)
LOOKS_EVERY_S = (
    0.25  # each look at the lanes costs the local AWS 10 ms of processor time, each sweep a tenth of a second
)
HURRIED = "sandbox.hurried"
_IDLE_S = 8.0


class Played(msgspec.Struct, frozen=True):
    """How a scenario went. `broken` are the promises that were not kept; `struck` counts what was injected."""

    name: str
    report: dict[str, Any]
    reached: Reached
    struck: int
    broken: tuple[str, ...]
    took_s: float

    @property
    def is_good(self) -> bool:
        """Every promise was kept."""
        return not self.broken


class Stage:
    """A sandbox in which scenarios are played one after the other.

    Args:
        hurried: the lease's times are a tenth of the real ones, so that recovery takes seconds.
    """

    def __init__(self, trial: Trial, folder: Path, *, hurried: bool) -> None:
        self.trial = trial
        self._folder = folder
        self._hurried = hurried
        self._hit: tuple[int, ...] = ()
        self._numbers = itertools.count(int(time.time()) % 100_000)
        lambda_ = trial.sandbox.lambda_
        self._names = {logical: trial.sandbox.function(logical).name for logical in FUNCTIONS}
        self._setups = {logical: lambda_.functions.get(name).setup for logical, name in self._names.items()}
        self._authority = trustme.CA()
        self._trusted = str(folder / "authorities.pem")
        both = Path(trial.gateways.addresses.ca_file).read_bytes() + self._authority.cert_pem.bytes()
        Path(self._trusted).write_bytes(both)

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, *, hurried: bool = True) -> Iterator[Self]:
        """Start the sandbox; end it afterwards."""
        with Trial.start(folder, SETTING) as trial:
            yield cls(trial, folder, hurried=hurried)

    def play(self, scenario: Scenario, path: Path | None = None, users: int | None = None) -> Played:
        """One run under the scenario's faults, and what came of it. Without a file one of the right size is made."""
        began = time.monotonic()
        number = next(self._numbers)
        if path is None:
            recipe = Recipe(
                users=users or scenario.users,
                seed=number,
                campaign_id=f"{scenario.name}-{number}",
                variants=scenario.variants,
            )
            path = make(recipe, self._folder / f"{scenario.name}-{number}.json")
        if scenario.remake is not None:
            path = scenario.remake(self.trial, path, self._folder)
        struck = [0]
        with contextlib.ExitStack() as props:
            wire = self._gateways_of(scenario, props)
            report, rows, over = self._run(scenario, path, number, struck)
            reached = wire.reached() if wire else reached_stand_ins(self.trial.gateways.counts())
            if wire:
                report["gateways"] |= wire.gateways()
        broken = list(violations(scenario, report, rows, reached)) + over
        if not re.search(scenario.reason, report["reason"] or ""):
            broken.append(f"the reason {report['reason']!r} says {scenario.reason!r}")
        hit = self._hit
        broken += [f"rule {n} ({rule.does}) has struck" for n, rule in enumerate(scenario.aws) if not hit[n]]
        self._restore()
        return Played(
            scenario.name, report, reached, sum(hit) + struck[0], tuple(broken), round(time.monotonic() - began, 1)
        )

    def _run(
        self, scenario: Scenario, path: Path, number: int, struck: list[int]
    ) -> tuple[dict[str, Any], Any, list[str]]:
        trial = self.trial
        self._inject(scenario, struck)
        if scenario.prepare is not None:
            scenario.prepare(trial)
        began = time.monotonic()
        key = f"batches/{scenario.name}-{number}.json"
        run_id = trial.drop(path, key)
        scene = Scene(trial, run_id, key, path, threading.Event())
        actor = threading.Thread(target=scenario.act or (lambda _: None), args=(scene,), daemon=True)
        actor.start()
        over: list[str] = []
        try:
            self._follow(scenario, scene)
        except TimeoutError as late:
            over.append(f"{late}; the worker's log ends: {' | '.join(trial.log_lines(6))}")
        finally:
            scene.over.set()
            actor.join(10)
        trial.sandbox.lambda_.wait_idle(_IDLE_S)
        self._hit = scene.struck or tuple(trial.sandbox.aws.struck())
        try:
            report = trial.report(run_id, began)
        except LookupError:
            raise RuntimeError("\n".join(["no run came of it", *trial.log_lines()])) from None
        return report, tally(trial.rows(run_id)), over + scene.notes

    def _inject(self, scenario: Scenario, struck: list[int]) -> None:
        """Faults of gateways, AWS and invocations from now on; `struck` counts the invocations that were struck."""
        trial = self.trial
        trial.gateways.reset()
        trial.gateways.behave(scenario.behaviour, scenario.oauth)
        trial.sandbox.aws.break_by(scenario.aws)
        plan = scenario.invocations() if scenario.invocations else no_fault
        worker = self._names["WorkerFunction"]

        def faults(invocation: Invocation) -> Fault:
            if invocation.function != worker:  # plans are about the worker; sweeper and control go undisturbed
                return Fault()
            fault = plan(invocation)
            if fault != Fault():
                struck[0] += 1
            return fault

        trial.sandbox.lambda_.faults = faults

    def _follow(self, scenario: Scenario, scene: Scene) -> None:
        for _ in self.trial.follow(scene.run_id, scenario.give_up_s, every_s=LOOKS_EVERY_S):
            pass
        if scenario.finish is not None:
            scenario.finish(scene)
            for _ in self.trial.follow(scene.run_id, scenario.give_up_s, every_s=LOOKS_EVERY_S):
                pass

    # -- putting up and taking down ---------------------------------------------------------------------------------

    def _gateways_of(self, scenario: Scenario, props: contextlib.ExitStack) -> WireCount | None:
        """Deploy the functions for this scenario; what is between them and the stand-ins is started first."""
        addresses = self.trial.gateways.addresses
        variables = {"GATEWAY_CA_FILE": self._trusted, **scenario.variables}
        count = None
        if scenario.wire is not None:
            count = WireCount(scenario.wire())
            server = props.enter_context(
                WireServer(
                    count,
                    max_concurrent_streams=100,
                    authority=self._authority,
                    idle_close_s=scenario.idle_close_s,
                )
            )
            variables |= {"FCM_BASE_URL": server.url, "APNS_BASE_URL": server.url}
        elif scenario.line is not None or scenario.deaf_s:
            for name, url in (("FCM_BASE_URL", addresses.fcm), ("APNS_BASE_URL", addresses.apns)):
                decide = scenario.line() if scenario.line else lambda _: STEADY
                variables[name] = props.enter_context(Proxy(url, decide, scenario.deaf_s)).url
        if "SANDBOX_BALLAST_ONCE" in variables:
            variables["SANDBOX_BALLAST_ONCE"] = str(self._folder / f"ballast-{next(self._numbers)}")
        self._deploy(scenario, variables)
        return count

    def _deploy(self, scenario: Scenario, variables: Mapping[str, str]) -> None:
        """Redeploy the functions whose setup is another one than now.

        A scenario is about the worker. Sweeper and control keep their processes from one scenario to the next: a new
        one takes half a second of processor time, and the sweeper is invoked every other second.
        """
        if scenario.recurse_below_ms is not None:
            variables = {**variables, "RECURSE_BELOW_MS": str(scenario.recurse_below_ms)}
        functions = self.trial.sandbox.lambda_.functions
        for logical, name in self._names.items():
            first: Setup = self._setups[logical]
            changed = msgspec.structs.replace(
                first, handler=f"{HURRIED}.{FUNCTIONS[logical]}" if self._hurried else first.handler
            )
            if logical == "WorkerFunction":
                changed = msgspec.structs.replace(
                    changed,
                    timeout_s=scenario.timeout_s or first.timeout_s,
                    memory_mb=scenario.memory_mb or first.memory_mb,
                    variables={**first.variables, **variables},
                    kept=first.kept | frozenset(variables.values()),
                )
            if changed != msgspec.structs.replace(functions.get(name).setup, version=""):
                functions.kill_environments(name)
                functions.redeploy(changed)

    def _restore(self) -> None:
        """No fault is injected any more."""
        self.trial.sandbox.lambda_.faults = no_fault
        self.trial.sandbox.aws.break_by(())
        self.trial.gateways.behave("")
