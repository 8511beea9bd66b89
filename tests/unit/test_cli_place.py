"""Where the stack is, and following a run: without AWS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.model.account import Account, ArmAccount
from notifier.model.run import Ending, Lane, LaneState, Run, source_of
from notifier.model.summary import summary_of
from notifier.sending.withheld_refusals import STOPS
from operations.cli.cloud import Cloud, choose_run, split_url
from operations.cli.deployment import Deployment, find_deployment
from operations.cli.errors import CommandError, ExitCode
from operations.cli.next_step import next_step
from operations.cli.watching import RunView, changes_of
from operations.cli.watching import follow as follow_run

NAMES = {"NOTIFIER_BUCKET": "b", "NOTIFIER_TABLE": "t", "NOTIFIER_WORKER": "w", "NOTIFIER_CONTROL": "c"}


def test_the_environment_names_the_stack() -> None:
    """Four variables are a stack."""
    assert find_deployment(None, None, NAMES) == Deployment("b", "t", "w", "c")


def test_missing_variables_are_named() -> None:
    """All that is missing is named at once, with the ways to say it."""
    with pytest.raises(CommandError, match="NOTIFIER_TABLE, NOTIFIER_CONTROL") as caught:
        find_deployment(None, None, {"NOTIFIER_BUCKET": "b", "NOTIFIER_WORKER": "w"})
    assert caught.value.code is ExitCode.USAGE
    assert "--stack" in caught.value.mend


def test_a_stack_file_wins_over_the_environment(tmp_path: Path) -> None:
    """What is said on the command line wins; the file may also be named by the environment."""
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({"bucket": "B", "table": "T", "worker": "W", "control": "C", "region": "eu-central-1"}))
    place = Deployment("B", "T", "W", "C", "eu-central-1")
    assert find_deployment(None, path, NAMES) == place
    assert find_deployment(None, None, NAMES | {"NOTIFIER_STACK_FILE": str(path)}) == place


def test_another_file_is_no_stack_file(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "stack.json"
    path.write_text("{}")
    with pytest.raises(CommandError, match=r"stack\.json"):
        find_deployment(None, path, {})


@pytest.mark.parametrize("url", ["s3://", "s3://bucket", "s3:///key"])
def test_urls_need_bucket_and_key(url: str) -> None:
    """Half a URL is refused."""
    with pytest.raises(CommandError):
        split_url(url)
    assert split_url("s3://b/a/c.json") == ("b", "a/c.json")


def of_campaign(devices: int = 0, state: LaneState = LaneState.DONE, dry: int = 0) -> Lane:
    return Lane("r" * 20, state=state, account=Account(users=devices, devices=devices, dry=dry))


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        ([], None),
        ([None], None),
        ([of_campaign()], 0),
        ([of_campaign(), of_campaign(9)], 1),
        ([of_campaign(9, dry=9), of_campaign(9)], 1),
        ([of_campaign(9, dry=9), of_campaign()], 0),
        ([of_campaign(9), of_campaign(9)], 0),
        ([of_campaign(), of_campaign(9, LaneState.PAUSED), of_campaign(9)], 1),
        ([of_campaign(9), of_campaign(0, LaneState.RUNNING)], 1),
    ],
)
def test_which_run_of_a_campaign_is_meant(lanes: list[Lane | None], expected: int | None) -> None:
    """The one that goes on; else the last that was sent; else the last: a rehearsal, or one that was refused."""
    found = choose_run([str(n) for n in range(len(lanes))], lambda run_id: lanes[int(run_id)])
    assert found == (None if expected is None else str(expected))


def looks(*lanes: Lane | None) -> Iterator[tuple[RunView, Lane]]:
    run = Run("r" * 20, source_of("b", "batches/a.json", "v", "e"), 0)
    for lane in lanes:
        if lane is None:
            yield None, None  # type: ignore[misc]
        else:
            yield RunView(summary_of(run, lane, "b"), "go", None, ""), lane


class Time:
    """A clock that moves when a caller sleeps."""

    at_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds

    def clock(self) -> float:
        return self.at_s


def lane(devices: int, state: LaneState = LaneState.RUNNING, **more: Any) -> Lane:
    account = Account(users=devices, devices=devices, arms={"default": ArmAccount(devices, devices)})
    return Lane("r" * 20, state=state, account=account, **more)


def follow(*lanes: Lane | None, until: float | None = None) -> list[tuple[int, float | None]]:
    found = looks(*lanes)
    time = Time()

    def read() -> tuple[RunView, Lane]:
        seen, one = next(found)
        if one is None:
            raise CommandError(ExitCode.NOT_FOUND, "no run yet")
        return seen, one

    return [(seen.summary.devices, rate) for seen, rate in changes_of(read, time.sleep, time.clock, until)]


def test_watching_ends_with_the_run() -> None:
    """Each change is shown with the devices settled a second; the end ends it."""
    ended = lane(300, LaneState.DONE, ending=Ending.COMPLETED)
    assert follow(lane(0), lane(100), lane(100), ended) == [(0, None), (100, 100.0), (300, 200.0)]


@pytest.mark.parametrize("state", [LaneState.PAUSED, LaneState.STOPPED])
def test_watching_ends_when_an_operator_is_needed(state: LaneState) -> None:
    """A run that waits for an operator is not watched for ever."""
    assert follow(lane(5), lane(7, state), lane(9)) == [(5, None), (7, 2.0)]


def test_watching_waits_for_the_worker() -> None:
    """A file just dropped has no run yet."""
    assert follow(None, None, lane(3, LaneState.DONE, ending=Ending.COMPLETED)) == [(3, None)]


def test_watching_gives_up_in_time() -> None:
    """With a timeout it ends, also when there never was a run."""
    assert follow(lane(1), lane(2), lane(3), lane(4), until=1.5) == [(1, None), (2, 1.0), (3, 1.0)]
    with pytest.raises(CommandError):
        follow(None, None, None, None, until=1.5)


def test_a_run_says_what_to_do_next() -> None:
    """A file that broke off must not be sent once more as it is: asked devices must be excluded."""
    unsent, broken_off = (lane(devices, LaneState.DONE, ending=Ending.FAILED) for devices in (0, 500))
    assert "drop the file again" in next_step(unsent)
    assert "drop the file again" not in next_step(broken_off)
    assert "new id and exclude" in next_step(broken_off)
    assert "resume rrr" in next_step(lane(500, LaneState.PAUSED))
    assert next_step(lane(500)) == next_step(lane(500, LaneState.DONE, ending=Ending.COMPLETED)) == ""


@pytest.mark.parametrize("word", [*STOPS.values(), "payload_refused"])
def test_a_stopped_run_says_what_helps(word: str) -> None:
    """Each reason has a mend of its own. A run keeps its message and its file: resumed, it would stop again."""
    step = next_step(msgspec.structs.replace(lane(0, LaneState.STOPPED), reason=f"{word}: 100 of 100 answers"))
    assert "notifier cancel rrr" in step
    assert "new id and exclude" in step
    assert ("notifier resume rrr" in step) is (word in ("wrong_sender", "wrong_topic"))


def test_a_run_stopped_for_something_outside_is_resumed() -> None:
    """Credentials, an account: corrected where they are, and the run goes on."""
    for reason in ("credentials_refused: x by fcm", "BadTopic: apns refuses everything until this is fixed", None):
        step = next_step(msgspec.structs.replace(lane(0, LaneState.STOPPED), reason=reason))
        assert "fix the reason, then `notifier resume " in step


def test_interrupted_watching_says_that_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends the looking, not the sending: the command for stopping the run is printed."""

    class Interrupted(Cloud):
        def read(self, run_id: str) -> tuple[Run, tuple[Lane, ...]]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow_run(Interrupted(Deployment("b", "t", "w", "c")), "r" * 20, None, as_json=True)
    assert f"notifier pause {'r' * 20}" in capsys.readouterr().err
