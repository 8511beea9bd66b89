"""What is decided on a test's winner: shown with its run, and decided by a person."""

from datetime import UTC, datetime

from notifier.decision_items import DecisionItem
from operations.cli.cloud import Cloud
from operations.cli.schedule_function import ask_function
from reporting.outcome import WinnerSeen
from schedules.winner_store import read_decision


def winner_of(cloud: Cloud, run_id: str) -> WinnerSeen | None:
    """The decision on a run's winner; None where the run is no test."""
    found = read_decision(cloud.client("dynamodb"), cloud.deployment.table, run_id)
    return None if found is None else _seen(found)


def decide(cloud: Cloud, run_id: str, arm: str, by: str) -> WinnerSeen | None:
    """Decide as a person. Raises CommandError."""
    event = {"action": "winner", "run_id": run_id, "arm": arm, "by": by}
    ask_function(cloud, event, f"notifier status {run_id} shows how far it is")
    return winner_of(cloud, run_id)


def _seen(one: DecisionItem) -> WinnerSeen:
    return WinnerSeen(
        state=one.state.value,
        arm=one.arm,
        how=one.how,
        words=one.words,
        figures=one.figures,
        decide_at=_moment(one.decide_at_ms),
        decide_by=_moment(one.decide_by_ms),
        decided_at=_moment(one.decided_at_ms),
        by=one.by,
        remainder=one.remainder,
    )


def _moment(ms: int) -> str | None:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}" if ms else None
