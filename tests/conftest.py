"""What holds for all tests: how they are shared out among processes, and how many examples property tests try."""

import atexit
import gc
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sandbox.fork_server import FOLDER_VARIABLE, Servers
from tests.examples import GATE
from tests.gate import is_left_out

settings.load_profile(GATE)  # `--hypothesis-profile` is read later, and wins

TOGETHER = {
    "tests/browser/": "one Chromium, and one stack with the pages",
    "tests/deployment/test_artifact": "the built artifacts",
}
"""By how the files' names begin: fixtures of theirs take seconds to make, or work in one folder."""


LONGEST = (
    "tests/browser/",
    "tests/functional/test_faults",
    "tests/deployment/test_least_privilege",
    "tests/deployment/test_artifact",
    "tests/functional/test_cli_sandbox",
    "tests/functional/test_sandbox_run",
    "tests/functional/test_preparation",
    "tests/functional/test_local_time_run",
    "tests/functional/test_approval_flow",
    "tests/contract/test_schedules",
    "tests/deployment/test_template",
    "tests/unit/test_query_escape",
    "tests/functional/test_rollout",
    "tests/functional/test_approval_security",
    "tests/functional/test_operations",
    "tests/unit/test_worker_endings",
    "tests/contract/test_caps",
    "tests/contract/test_erase",
    "tests/functional/test_same_people",
    # Of those behind it none takes more than nine seconds: it would otherwise begin last, and the others wait for it.
    "tests/contract/test_transport",
    "tests/contract/test_audiences_s3",
    "tests/contract/test_credentials",
    "tests/functional/test_local_lambda",
    "tests/functional/test_decision_card",
    "tests/contract/test_preparations",
    "tests/contract/test_final_cut",
    "tests/contract/test_audience_s3",
    "tests/unit/test_http2_against_h2",
    "tests/contract/test_warehouse_runs",
    "tests/functional/test_hostile_files",
    "tests/contract/test_audit",
    "tests/contract/test_firing_killed",
    "tests/functional/test_caps",
    "tests/functional/test_lanes",
    "tests/unit/test_worker_simulation",
    "tests/unit/test_audience_values",
    "tests/unit/test_audiences_build",
    "tests/unit/test_statistics",
    "tests/contract/test_ledger",
)
"""What takes longest comes first, so that the processes end at the same time with files of a second or less."""


_SERVERS = pytest.StashKey[tuple["tempfile.TemporaryDirectory[str]", Servers]]()


def pytest_configure(config: pytest.Config) -> None:
    """Have the processes of sandboxes forked (`sandbox.fork_server`), by servers that all of xdist's workers share."""
    if hasattr(config, "workerinput"):
        atexit.register(_leave)  # the last to run of all that are registered
    if FOLDER_VARIABLE not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="fork-")
        config.stash[_SERVERS] = folder, Servers(Path(folder.name))
        os.environ[FOLDER_VARIABLE] = folder.name


def _leave() -> None:
    """End one of xdist's workers without freeing its memory, piece by piece: all has been reported by now.

    DuckDB's binding (nanobind) would look for what was not freed, and write a page about it before pytest's summary.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, begin in enumerate(LONGEST) if item.nodeid.startswith(begin)), len(LONGEST))


@pytest.hookimpl(tryfirst=True)  # before pytest drops what is marked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file, and behind them, the order stays. Mark what the gate leaves out."""
    items.sort(key=_rank)
    cases = Counter[str]()
    for item in items:
        name = item.nodeid.split("[", 1)[0]
        if is_left_out(name, cases[name]):
            item.add_marker(pytest.mark.slow)
        cases[name] += 1


def pytest_collection_finish() -> None:
    """Leave what the collection has loaded out of every later collection of garbage: modules stay until the end.

    And look for garbage more seldom than after each 700 objects: a twentieth of the gate's processor time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Hands a file's tests, or those of several files, to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((group for begin, group in TOGETHER.items() if file.startswith(begin)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Any:
    """For `make test`, which runs in four processes."""
    return ByFile(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go what would outlive the interpreter, and be complained of then."""
    if _SERVERS in config.stash:
        folder, servers = config.stash[_SERVERS]
        servers.stop()
        folder.cleanup()
    # Frozen objects, and what hypothesis's callback reaches, are not cleared at the end: DuckDB's binding reports its
    # own among them as leaked. xdist's workers never come to that end (`_leave`), and pytest still has all garbage
    # collected several times from here on: a second for each worker.
    if not hasattr(config, "workerinput"):
        gc.unfreeze()
    gc.callbacks.clear()
    # X-Ray's SDK opens this socket when it is imported, and never closes it.
    sdk = sys.modules.get("aws_xray_sdk.core")
    if sdk is not None:
        sdk.xray_recorder.emitter._socket.close()
