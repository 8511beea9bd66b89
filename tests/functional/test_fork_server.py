"""Processes of sandboxes that are forked in tests: they are what a new interpreter would be, and end as it would."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import fork_server
from sandbox.fork_server import FOLDER_VARIABLE, Forked, Order
from sandbox.local_lambda.process import Spawner
from sandbox.wait import wait_until

PROGRAM = """
import json, os, sys, threading, time

def report():
    print(json.dumps({"pid": os.getpid(), "threads": threading.active_count(), "arguments": sys.argv[1:],
                      "environment": dict(os.environ), "folder": os.getcwd(), "path": sys.path[0],
                      "ours": sorted(name for name in sys.modules if name.startswith("notifier"))}))

def fails():
    sys.exit(3)

def hangs():
    print(os.getpid(), flush=True)
    time.sleep(600)
"""
ROOT = Path(__file__).parents[2]

Start = Callable[[str], Forked]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Forks a function of the program above, with its output in a file."""
    (tmp_path / "forked_program.py").write_text(PROGRAM)

    def fork(function: str) -> Forked:
        order = Order("forked_program", function, ("one", "two"), str(tmp_path), str(tmp_path), {"ONLY": "this"})
        with (tmp_path / "out").open("wb") as out, Path(os.devnull).open("rb") as nothing:
            return fork_server.fork("functions", order, (nothing.fileno(), out.fileno(), out.fileno()))

    return fork


def test_it_has_what_it_was_given_and_nothing_else(start: Start, tmp_path: Path) -> None:
    """Its own process, with one thread, the environment, arguments and folder asked for, and no module of ours."""
    forked = start("report")
    assert forked.wait(20) == 0
    said = json.loads((tmp_path / "out").read_text())
    assert said["pid"] == forked.pid != os.getpid()
    assert said["threads"] == 1
    assert said["arguments"] == ["one", "two"]
    assert said["environment"] == {"ONLY": "this"}
    assert Path(said["folder"]).samefile(tmp_path)
    assert said["path"] == str(tmp_path)
    assert said["ours"] == []


def test_its_exit_code_is_seen(start: Start) -> None:
    """As of any process; and its processor time."""
    forked = start("fails")
    assert forked.wait(20) == 3
    assert forked.poll() == 3
    assert forked.cpu_s > 0


def test_a_kill_ends_it(start: Start) -> None:
    """Signal 9, to it or to its group, and it is gone."""
    one, other = start("hangs"), start("hangs")
    with pytest.raises(subprocess.TimeoutExpired):
        one.wait(0)
    one.kill()
    os.killpg(other.pid, signal.SIGKILL)
    assert [one.wait(20), other.wait(20)] == [-signal.SIGKILL] * 2
    with pytest.raises(ProcessLookupError):
        os.kill(one.pid, 0)


def test_it_ends_with_who_asked_for_it(start: Start, tmp_path: Path) -> None:
    """Whoever asked for it is killed: the kernel closes the connection, and the server kills what it has forked."""
    start("report").wait(20)  # writes the program
    code = (
        "import sys, time; from sandbox import fork_server as f; out = open(sys.argv[1] + '/out', 'wb')\n"
        "o = f.Order('forked_program', 'hangs', (), sys.argv[1], sys.argv[1], {})\n"
        "forked = f.fork('functions', o, (0, out.fileno(), out.fileno())); print(forked.pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as asked:
        assert asked.stdout is not None
        pid = int(asked.stdout.readline())
        asked.kill()

    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(is_gone, 20, "the forked process is gone")


def test_a_server_with_threads_forks_nothing(tmp_path: Path) -> None:
    """A lock that another thread holds would stay held in the child: who asks gets an error."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "functions"))
    listener.listen()
    code = (
        "import sys, threading, time; from sandbox import fork_server as f\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        f"f._Server(f.socket.socket(fileno={listener.fileno()})).serve()"
    )
    command = [sys.executable, "-c", code]
    with (
        listener,
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()], stdin=subprocess.PIPE) as server,
    ):
        patch.setenv(FOLDER_VARIABLE, str(tmp_path))
        with pytest.raises(OSError, match="has refused"):
            fork_server.fork("functions", Order("time", "time", (), "/", "/", {}), (0, 1, 2))
        assert server.stdin is not None
        server.stdin.close()


def test_another_interpreter_is_started_and_not_forked(tmp_path: Path) -> None:
    """Whoever names a Python for the handlers gets that one."""
    with pytest.raises(FileNotFoundError):
        Spawner().spawn("tiny.handler", "/absent/python", tmp_path, {}, tmp_path / "log")
