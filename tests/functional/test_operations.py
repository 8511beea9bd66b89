"""docs/operations.md, played: its commands in a sandbox print what stands there, ids and figures apart."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from notifier.cli import app
from notifier.run import Lane, LaneState
from sandbox.audience import Recipe, campaign, users
from sandbox.trial import Setting, Trial
from sandbox.up import write_stack_file
from tests.documents import Shown, alike, shown

PATIENCE_S = 60.0


class Operator:
    """Somebody at a terminal, with the page before him."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        self._trial = trial
        self._folder = folder
        self._stack = write_stack_file(trial.sandbox, folder / "stack.json")
        self._page = [one for one in shown() if one.page == "operations.md" and one.command.startswith("notifier ")]
        self.done: list[Shown] = []

    def drop(self, name: str, count: int, per_second: int) -> None:
        """Drop a file of this campaign."""
        recipe = Recipe(users=count, seed=len(name))
        body = {"campaign": campaign(recipe) | {"id": name, "per_second": per_second}, "users": list(users(recipe))}
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(body), encoding="utf-8")
        self._run_id = self._trial.drop(path)

    def wait(self, until: Callable[[Lane], bool]) -> None:
        """Wait for the lane of the file dropped last."""
        end = time.monotonic() + PATIENCE_S
        while not until(self._trial.ledger.read_lane(self._run_id) or Lane(self._run_id)):
            assert time.monotonic() < end
            time.sleep(0.05)

    def keep(self, secret: str, text: str) -> None:
        """Put a secret, as `aws secretsmanager put-secret-value` does."""
        self._trial.sandbox.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)

    def type(self, section: str, command: str) -> None:
        """Type a command of a section, and hold what it prints against the page."""
        on_page = next(
            (one for one in self._page if (one.section, one.command) == (section, command) and one not in self.done),
            None,
        )
        assert on_page is not None, f"{section}: no `{command}`"
        self.done.append(on_page)
        typed, _, picked = command.partition(" | jq .")
        variables = {"NOTIFIER_STACK_FILE": str(self._stack), "COLUMNS": "118", "TERM": "dumb"}
        printed = CliRunner().invoke(app, typed.split()[1:], env=variables).output
        if picked:
            value = json.loads(printed)
            for name in picked.split("."):
                value = value[name]
            printed = json.dumps(value)
        assert alike(printed) == alike(on_page.printed), printed

    def left_out(self) -> set[str]:
        """What stands on the page with its output, and was not typed."""
        return {f"{one.section}: {one.command}" for one in self._page if one not in self.done}


def test_the_page_says_what_is_printed(tmp_path: Path) -> None:
    """It is slow; wrong audience: stop it now; someone got it twice; it stopped; rotate the keys."""
    with Trial.start(tmp_path / "sandbox", Setting(schedule_every_s=600.0)) as trial:
        operator = Operator(trial, tmp_path)
        operator.drop("day-2", 20_000, 1_500)
        operator.wait(lambda lane: lane.account.settled > 500)
        operator.type("It is slow", "notifier status day-2")
        operator.type("Wrong audience: stop it now", "notifier pause --all")
        operator.wait(lambda lane: lane.state is LaneState.PAUSED)
        operator.type("Wrong audience: stop it now", "notifier cancel day-2 --yes")
        operator.wait(lambda lane: lane.state is LaneState.DONE)
        operator.type("Wrong audience: stop it now", "notifier status day-2")
        operator.type("Someone got it twice", "notifier report day-2 --json | jq .summary.possibly_repeated")

        good = trial.gateways.apns_key
        operator.keep("notifier/apns", json.dumps(json.loads(good) | {"key_id": "WRONGKEY00"}))
        operator.drop("keys", 2_000, 2_000)
        operator.wait(lambda lane: lane.state is LaneState.STOPPED)
        operator.type("It stopped", "notifier status keys")
        operator.type("Rotate the keys", "notifier setup")
        operator.keep("notifier/apns", good)
        operator.type("Rotate the keys", "notifier setup")
        operator.type("It stopped", "notifier resume keys")
        operator.wait(lambda lane: lane.state is LaneState.DONE)
        assert operator.left_out() == set()
