"""A fault as a value: what breaks, how, and what is expected nevertheless."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from sandbox.aws_faults import AwsRule
from sandbox.faults.line import Line
from sandbox.local_lambda.invocation import FaultPlan
from sandbox.trial import Trial
from sandbox.wire.server import Behaviour

SLOW = {"WINDOW": "100"}
"""Few pushes at a time: together with slow answers a small file takes long enough to be broken in its middle."""
SLOW_ANSWERS = "sandbox.faults.answers:slow"
"""Every answer takes 100 ms."""
_POLL_S = 0.05


class Scene(msgspec.Struct):
    """A run under way, for what a scenario does by hand. `over` is set when the run has ended."""

    trial: Trial
    run_id: str
    key: str
    path: Path
    over: threading.Event
    notes: list[str] = []
    struck: tuple[int, ...] = ()

    def allow(self) -> None:
        """From now on AWS refuses nothing. How often each rule has struck is kept."""
        self.struck = tuple(self.trial.sandbox.aws.struck())
        self.trial.sandbox.aws.break_by(())

    def wait_for_requests(self) -> None:
        """Return once the run sends, or is over."""
        while self.trial.gateways.counts().apns.requests == 0 and not self.over.wait(_POLL_S):
            pass

    def resume(self) -> None:
        """Resume the run, as an operator does."""
        order = {"action": "resume", "run_id": self.run_id, "by": "the scenario"}
        sandbox = self.trial.sandbox
        sandbox.lambda_.invoke(sandbox.function("ControlFunction").name, json.dumps(order).encode())


class Scenario(msgspec.Struct, frozen=True):
    """One fault.

    Args:
        breaks: what breaks, and how.
        expects: what happens nevertheless, in words; the members below are checked.
        aws: rules for calls to AWS. Each must strike at least once, or the scenario showed nothing.
        invocations: makes the plan for invocations: dropped, doubled, refused, killed.
        behaviour: what the stand-ins answer, as `module:function`.
        oauth: what the token endpoint answers, as `module:function`.
        wire: makes the behaviour of a server that misbehaves in HTTP/2, in both gateways' place.
        idle_close_s: that server closes a connection on which nothing is asked for so long.
        line: makes the behaviour of TCP connections to the stand-ins, by their number.
        deaf_s: for so long the gateways' ports refuse connections.
        remake: makes another batch file of the given one, in a folder.
        prepare: done before the file is dropped.
        act: done by hand in a thread of its own while the run goes on.
        finish: done when the run is over or does not move; may give it another chance, such as a resume.
        timeout_s, recurse_below_ms, memory_mb, variables: how the worker is deployed.
        users: how many are needed to show it.
        variants: of the message in the file that is made.
        status: how the run ends; `reason` is a pattern that its reason matches.
        all_accepted: every device that is not held ends as accepted.
        rejected: so many devices are rejected.
        max_hops: no more invocations than this may have worked.
        in_gate: quick enough for every test run.
        by_hand: too long to be played with all the others.
        give_up_s: so long the run may take.
    """

    name: str
    breaks: str
    expects: str
    aws: tuple[AwsRule, ...] = ()
    invocations: Callable[[], FaultPlan] | None = None
    behaviour: str = ""
    oauth: str = ""
    wire: Callable[[], Behaviour] | None = None
    idle_close_s: float | None = None
    line: Callable[[], Callable[[int], Line]] | None = None
    deaf_s: float = 0.0
    remake: Callable[[Trial, Path, Path], Path] | None = None
    prepare: Callable[[Trial], None] | None = None
    act: Callable[[Scene], None] | None = None
    finish: Callable[[Scene], None] | None = None
    timeout_s: float | None = None
    recurse_below_ms: int | None = None
    memory_mb: int | None = None
    variables: Mapping[str, str] = {}
    users: int = 1_500
    variants: int = 2
    status: str = "completed"
    reason: str = ""
    all_accepted: bool = True
    rejected: int = 0
    max_hops: int = 12
    in_gate: bool = False
    by_hand: bool = False
    give_up_s: float = 120.0


def with_short_hops(scenario: Scenario) -> Scenario:
    """The scenario with a timeout of 4 s and slow answers, so that its run is handed over several times."""
    return msgspec.structs.replace(
        scenario,
        timeout_s=4,
        recurse_below_ms=1_900,
        max_hops=20,
        variables=SLOW,
        behaviour=SLOW_ANSWERS,
        users=3_000,
    )
