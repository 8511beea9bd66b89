"""The entries that Lambda calls: `worker`, `sweeper`, `control`.

The worker's parts are imported here, the others by their entries, so that a worker's cold start does not pay for them.
"""

# ruff: noqa: PLC0415

import gc
import os
from typing import TYPE_CHECKING, Any

import boto3

from notifier.composition.hop_metrics import Observer
from notifier.composition.process import Process, aws_process
from notifier.composition.settings import check_time, read_settings
from notifier.entries.worker import Worker
from notifier.telemetry import JsonLog

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

BEFORE_MS = 5_000
"""Of an invocation's time, what may have passed before its timeout is checked against the settings."""

_kept: dict[str, Any] = {}
"""What is made once per environment of Lambda, by the name of its kind."""


def _process() -> tuple[Process, Observer]:
    """One per environment of Lambda, made by its first invocation. Raises BadSettings before anything is done."""
    if "process" not in _kept:
        settings = read_settings(os.environ)
        process = aws_process(settings)
        spare_the_collector()
        _kept["process"] = process, Observer(settings, process.clock, JsonLog(settings.log_level))
    kept: tuple[Process, Observer] = _kept["process"]
    return kept


def spare_the_collector() -> None:
    """Make the garbage collector look less often, and never at what is loaded by now.

    A push makes no cycles, and what is loaded stays. Measured: 4 to 6 of 75 µs a push (tests/bench/results).
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _trace_header() -> str:
    """The trace header of this invocation: Lambda sets it in the environment each time."""
    return os.environ.get("_X_AMZN_TRACE_ID", "")


def worker(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Lambda's entry for everything that makes a lane work."""
    process, observer = _process()
    if isinstance(event, dict) and "check" in event:
        from notifier.entries.secret_access import check_secrets

        with observer.invocation(_trace_header(), "worker"):
            return {"secrets": check_secrets(process.settings, boto3.client("secretsmanager"))}
    if "worker" not in _kept:
        check_time(process.settings, context.get_remaining_time_in_millis() + BEFORE_MS)
        _kept["worker"] = Worker(process, observer)
    with observer.invocation(_trace_header(), "worker"):
        answer: dict[str, Any] = _kept["worker"].handle(event, context)
    return answer


def sweeper(_event: object, _context: "LambdaContext") -> dict[str, int]:
    """Lambda's entry for the schedule."""
    from notifier.entries.expiry import Expiry
    from notifier.entries.pruning import Pruner
    from notifier.entries.sweeper import Sweeper

    process, observer = _process()
    if "sweeper" not in _kept:
        settings = process.settings
        clients = boto3.client("lambda"), boto3.client("dynamodb")
        pruner = Pruner(*clients, settings.worker_function, settings.table, process.clock.now)
        kept_days = min(settings.batch_file_days, settings.work_days, settings.result_days)
        nudge = process.continuation.nudge
        expiry = Expiry(clients[1], settings.table, process.ledger, nudge, kept_days, process.clock.now)
        _kept["sweeper"] = Sweeper(process, observer, boto3.client("sqs"), pruner, expiry)
    with observer.invocation(_trace_header(), "sweeper"):
        answer: dict[str, int] = _kept["sweeper"].sweep()
    return answer


def control(event: object, _context: "LambdaContext") -> dict[str, Any]:
    """Lambda's entry for operators."""
    from notifier.entries.control import ControlService

    process, observer = _process()
    with observer.invocation(_trace_header(), "control"):
        return ControlService(process, observer.log).handle(event)


__all__ = ["control", "sweeper", "worker"]
