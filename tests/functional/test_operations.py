"""docs/operations.md, played: its commands in a sandbox print what the page shows, apart from ids and figures."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from notifier.model.run import Lane, LaneState, source_of
from operations.cli import app
from sandbox.audience import Recipe, campaign, users
from sandbox.trial import Setting, Trial
from sandbox.up import write_stack_file
from sandbox.wait import wait_until
from sandbox.xray import Daemon, Document
from tests.documents import Shown, alike, shown

PATIENCE_S = 60.0


class Operator:
    """An operator at a terminal who follows the page."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        self._trial = trial
        self._folder = folder
        self._stack = write_stack_file(trial.sandbox, folder / "stack.json")
        self._page = [one for one in shown() if one.page == "operations.md" and one.command.startswith("notifier ")]
        self.done: list[Shown] = []
        self.differences: list[tuple[str, str]] = []
        self.run_id = ""
        self.apns_key = trial.gateways.apns_key

    def drop(self, name: str, count: int, per_second: int) -> None:
        """Drop a file of this campaign."""
        recipe = Recipe(users=count, seed=len(name))
        body = {"campaign": campaign(recipe) | {"id": name, "per_second": per_second}, "users": list(users(recipe))}
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps(body), encoding="utf-8")
        key, bucket = f"batches/{path.name}", self._trial.sandbox.bucket
        about = {"correlation-id": f"request-{name}"}  # as the approval app says it
        put = self._trial.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), Metadata=about)
        self.run_id = source_of(bucket, key, put["VersionId"], put["ETag"]).run_id

    def wait(self, until: Callable[[Lane], bool]) -> None:
        """Wait for the lane of the file dropped last."""
        ledger = self._trial.ledger
        wait_until(lambda: until(ledger.read_lane(self.run_id) or Lane(self.run_id)), PATIENCE_S, "the lane's state")

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
        if steady(printed) != steady(on_page.printed):
            self.differences.append((f"{section}: {command}", printed))

    def log(self) -> str:
        """All that the worker has written."""
        return "\n".join(self._trial.log_lines(5_000))

    def lines(self) -> list[dict[str, str]]:
        """The structured lines in it, metrics apart."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith('{"level"')]

    def left_out(self) -> set[str]:
        """Commands that the page shows with their output and that were not typed."""
        return {f"{one.section}: {one.command}" for one in self._page if one not in self.done}


def steady(text: str) -> str:
    """A screen but for what depends on this machine's seconds: which gateway is slower, whether a limit is reached."""
    text = re.sub(r"(?<=answers ).*?(?= waits )", lambda found: "; ".join(sorted(found[0].split("; "))), alike(text))
    # A machine that is fast enough is at the file's own limit; where one is very slow, a gateway is asked less.
    text = text.replace(": the file's own per_second of #", " (limits: per_second # FcmPerSecond # for all runs)")
    return re.sub(r"\w+ slowed .*?(?=\w+ slowed |asked again |answers )", "", text)


def test_what_is_left_out_of_a_screen() -> None:
    """Figures, the order of the gateways and which limit was met: every other word of pace and answers is compared."""
    slow, fast = " (limits: per_second 500, FcmPerSecond 9,000 for all runs)", ": the file's own per_second of 500"
    shown_ = f"pace 248 devices a second{slow} answers FCM 5 ms; APNs 9 ms waits 1 s"
    other = f"pace 499 devices a second{fast} FCM slowed to 10 answers APNs 7 ms; FCM 6 ms waits 2 s"
    assert steady(shown_) == steady(other)
    for word in ("devices", "per_second", "APNs", "ms", "waits"):
        assert steady(shown_) != steady(shown_.replace(word, "x"))


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def operator(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The page is played: it is slow; wrong audience: stop it now; got it twice; it stopped; rotate the keys."""
    folder = tmp_path_factory.mktemp("operations")
    setting = Setting(schedule_every_s=600.0, variables={"AWS_XRAY_DAEMON_ADDRESS": daemon.address})
    with Trial.start(folder / "sandbox", setting) as trial:
        operator = Operator(trial, folder)
        operator.drop("day-2", 6_000, 500)
        operator.wait(lambda lane: lane.account.settled > 500)
        operator.type("What it costs", "notifier cost")
        operator.type("It is slow", "notifier status day-2")
        operator.type("Wrong audience: stop it now", "notifier pause --all")
        operator.wait(lambda lane: lane.state is LaneState.PAUSED)
        operator.type("Wrong audience: stop it now", "notifier cancel day-2 --yes")
        operator.wait(lambda lane: lane.state is LaneState.DONE)
        operator.type("Wrong audience: stop it now", "notifier status day-2")
        operator.type("Someone got it twice", "notifier report day-2 --json | jq .summary.possibly_repeated")

        good = operator.apns_key
        operator.keep("notifier/apns", json.dumps(json.loads(good) | {"key_id": "WRONGKEY00"}))
        operator.drop("keys", 1_000, 1_000)
        operator.wait(lambda lane: lane.state is LaneState.STOPPED)
        operator.type("It stopped", "notifier status keys")
        operator.type("Rotate the keys", "notifier setup")
        operator.keep("notifier/apns", good)
        operator.type("Rotate the keys", "notifier setup")
        operator.type("It stopped", "notifier resume keys")
        operator.wait(lambda lane: lane.state is LaneState.DONE)
        assert trial.sandbox.lambda_.wait_idle(PATIENCE_S)
        yield operator


@pytest.mark.slow
def test_the_page_says_what_is_printed(operator: Operator) -> None:
    """Every command with its output on the page was typed, and prints that."""
    assert not operator.differences, "\n".join(f"{where}\n{printed}" for where, printed in operator.differences)
    assert operator.left_out() == set()


@pytest.mark.slow
def test_the_traces_lead_to_it(operator: Operator, daemon: Daemon) -> None:
    """Each hop is found by its run and by the request behind it; the one that stopped is a fault with a reason."""

    def hops(found: list[Document]) -> list[Document]:
        annotated = [document for document in found if document.detail.get("annotations", {}).get("hop")]
        return [document for document in annotated if document.detail["annotations"]["campaign"] == "keys"]

    assert daemon.wait_for(lambda found: len(hops(found)) == 2)
    first, second = sorted(hops(daemon.documents()), key=lambda document: document.began_s)
    assert {hop.detail["annotations"]["request"] for hop in (first, second)} == {"request-keys"}
    assert {hop.detail["annotations"]["run"] for hop in (first, second)} == {operator.run_id}
    assert (first.fault, second.fault) == (True, False)
    assert first.detail["annotations"]["reason"].startswith("credentials_refused: InvalidProviderToken")


@pytest.mark.slow
def test_the_log_leads_to_it(operator: Operator, daemon: Daemon) -> None:
    """One search for the run finds every line of both hops, each with its trace; no token is in logs or traces."""
    lines = [line for line in operator.lines() if line.get("correlation_id") == operator.run_id]
    actions = [line["message"] for line in lines if line["message"] in ("claimed", "opened", "left", "closed")]
    assert actions == ["claimed", "opened", "left", "claimed", "opened", "left", "closed"]
    assert {line["request"] for line in lines if line["message"] in ("opened", "left", "closed")} == {"request-keys"}
    assert all(line["xray_trace_id"] in {trace.id for trace in daemon.traces()} for line in lines)
    written = operator.log() + repr(daemon.documents())
    tokens = [user["devices"][0]["token"] for user in users(Recipe(users=1_000, seed=len("keys")))]  # type: ignore[index]
    assert len(written) > 10_000
    assert [token for token in tokens if token[:20] in written] == []
