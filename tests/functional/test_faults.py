"""The fault catalogue: what breaks, and the promises that are kept all the same.

Those marked for the gate are played by every test run, one after the other in one sandbox; the rest are `slow`
(`python -m sandbox faults --all`). The failing test says in words which promise was not kept.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandbox.__main__ import app
from sandbox.faults.catalogue import scenario, scenarios
from sandbox.faults.count import Reached, Tally, violations
from sandbox.faults.scenario import Scenario
from sandbox.faults.stage import Stage

EVERY = [
    pytest.param(one, id=one.name, marks=() if one.in_gate else (pytest.mark.slow,))
    for one in scenarios().values()
    if not one.by_hand
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One sandbox for all."""
    folder: Path = tmp_path_factory.mktemp("faults")
    with Stage.open(folder) as opened:
        yield opened


@pytest.mark.parametrize("fault", EVERY)
def test_every_promise_is_kept(stage: Stage, fault: Scenario) -> None:
    """Devices = outcomes, rows = devices without removing anything, repeats ≤ reported, status true, hops bounded."""
    played = stage.play(fault)
    assert not played.broken, "\n".join(("not so:", *played.broken))


def test_the_gate_plays_some() -> None:
    """Enough to notice a broken promise, and few enough for every test run."""
    assert 12 <= sum(one.in_gate for one in scenarios().values()) <= 20


def test_an_unknown_fault_is_answered_by_those_that_there_are() -> None:
    """A misspelt name is refused with the list of names."""
    with pytest.raises(LookupError, match="killed-mid-batch"):
        scenario("killed-mid-batsh")
    answer = CliRunner().invoke(app, ["faults", "--name", "killed-mid-batsh"], env={"COLUMNS": "2000"})
    assert answer.exit_code == 2
    assert "no fault 'killed-mid-batsh'" in answer.output


def test_the_checks_notice_what_they_are_there_for() -> None:
    """A lost device, a doubled row, an unreported repeat, a wrong status and too many hops are all noticed."""
    account = {"accepted": 8, "rejected": {}, "failed": {}, "held": 1}
    report = {
        "devices": 10, "outcomes": account, "unsent": 0, "unsettled": 0, "status": "failed", "hops": 99,
        "possibly_repeated": 1, "repeat_requests": 1,
    }  # fmt: skip
    rows = Tally(rows=10, distinct=9, outcomes={"accepted": 9, "held": 1}, asked_again=0)
    broken = violations(
        scenario("html-body"), report, rows, Reached(accepted=7, accepted_again=2, asked_again=2, requests=9)
    )
    assert len(broken) == 8
    report |= {"possibly_repeated": 12, "repeat_requests": 11, "unsettled": 1}
    reached = Reached(accepted=9, accepted_again=2, asked_again=2, requests=99, accepted_more=12)
    broken = violations(scenario("html-body"), report, rows, reached)
    assert {text for text in broken if "repeat" in text} == {
        "accepted again 12 times ≤ repeat requests 11",
        "possibly repeated 12 ≤ devices 10 + unsettled 1",
        "possibly repeated 12 ≤ repeat requests 11",
    }
