"""The decision on a winner in a sandbox, by the deployed code and a clock that is moved to its hour."""

import json
import time

from notifier.decision_items import DecisionItem
from sandbox.trial import Trial
from sandbox.wait import wait_until
from schedules.tested import TestsOfStack
from schedules.winner_steps import Winners
from schedules.winner_store import DecisionStore


def winners_of(trial: Trial, hours: float) -> tuple[Winners, DecisionStore]:
    """The function that decides, on the sandbox's table and bucket, so many hours from now."""

    def now() -> float:
        return time.time() + hours * 3600

    def ask(count: str) -> None:
        function = trial.sandbox.function("AudienceFunction").name
        trial.sandbox.lambda_.invoke_later(function, json.dumps({"prepare": count}).encode(), "")

    dynamodb, table = trial.sandbox.client("dynamodb"), trial.sandbox.table
    store = DecisionStore(dynamodb, table, now)
    tests = TestsOfStack(dynamodb, table, trial.s3, trial.sandbox.bucket, ask, now)
    return Winners(store, tests, now), store


def decided(trial: Trial, run_id: str, timeout_s: float = 240.0) -> DecisionItem:
    """Three hours on: the conversions are counted, the winner is decided, and the run over the others is begun."""
    winners, store = winners_of(trial, 3)

    def over() -> DecisionItem | None:
        for one in list(store.due(2**53)):
            if one.run_id == run_id:
                winners.step(one)
        found = store.read(run_id)
        return found if found is not None and found.is_over else None

    return wait_until(over, timeout_s, "the decision", every_s=0.2)
