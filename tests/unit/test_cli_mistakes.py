"""What goes wrong around a command: pipes, addresses, full disks, Ctrl-C. In words, without a traceback."""

import builtins
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from operations import command
from operations.cli import app as notifier
from operations.cli.errors import ExitCode
from sandbox.__main__ import app as sandbox

HEADER = "user_id,platform,token\n"
TABLE = f"{HEADER}u,ios,{'ab' * 32}\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(notifier, list(map(str, arguments)), env={"COLUMNS": "200"})


@pytest.mark.parametrize("words", [["validate"], ["count"], ["convert"], ["schedules", "put"]])
def test_a_pipe_is_no_empty_file(words: list[str], tmp_path: Path) -> None:
    """Files are read more than once: at the second time a pipe would be empty, and the command wrong in silence."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    more = ["-o", tmp_path / "a.jsonl"] if words == ["convert"] else []
    result = run(*words, pipe, *more)
    assert result.exit_code == ExitCode.USAGE, result.output
    assert f"{pipe}: a pipe, which can be read only once" in result.output.replace("\n", "")


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore raises a ValueError for it, which is none of its own errors."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:4566")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    result = run("status", "x", "--stack", "notifier")
    assert result.exit_code == ExitCode.USAGE
    assert "invalid endpoint: localhost:4566" in result.output
    assert "correct AWS_ENDPOINT_URL" in result.output


def test_nobody_is_signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says how to sign in; without a region it asks for one."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert "name the stack's region" in run("status", "x", "--stack", "notifier").output
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    result = run("status", "x", "--stack", "notifier")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "aws sso login" in result.output
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert "check AWS_PROFILE" in run("status", "x", "--stack", "notifier").output


def test_a_file_that_is_not_there_has_its_exit_code(tmp_path: Path) -> None:
    """As the documentation says: 3."""
    for name in ("none.jsonl", "*.jsonl"):
        result = run("count", tmp_path / name)
        assert result.exit_code == ExitCode.NOT_FOUND
        assert "there is no such file" in result.output
    assert run("lift", "--sums", tmp_path / "none.csv").exit_code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("words", [["convert"], ["convert", "pinpoint"]])
def test_what_is_read_is_not_replaced(words: list[str], tmp_path: Path) -> None:
    """Also under another name of the same file; a directory is named as it was given."""
    table = tmp_path / "users.csv"
    table.write_text(TABLE if words == ["convert"] else "Id,ChannelType,Address\ne,APNS,t\n")
    before = table.read_bytes()
    (tmp_path / "link.csv").symlink_to(table)
    for out in (table, tmp_path / "link.csv", tmp_path / "." / "users.csv"):
        result = run(*words, table, "-o", out)
        assert result.exit_code == ExitCode.USAGE, result.output
        assert "is also what is read" in result.output.replace("\n", "")
        assert table.read_bytes() == before
    for out, words_of_it in (
        (tmp_path, f"{tmp_path}: Is a directory"),
        (tmp_path / "no" / "a.jsonl", "a.jsonl: No such"),
    ):
        result = run(*words, table, "-o", out)
        assert result.exit_code == ExitCode.NOT_FOUND
        assert words_of_it in result.output.replace("\n", "")


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    """Its checksum is wrong, or what is packed in it."""
    import gzip

    whole = bytearray(gzip.compress(TABLE.encode() * 50))
    for at in (-6, 30):
        damaged = whole.copy()
        damaged[at] ^= 0xFF
        path = tmp_path / "users.csv.gz"
        path.write_bytes(damaged)
        result = run("convert", path, "-o", tmp_path / "a.jsonl")
        assert result.exit_code == ExitCode.NOT_FINE, result.output
        assert "users.csv.gz" in result.output.replace("\n", "")
        assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_full_disk_has_no_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`[Errno 28]` says nothing to people."""
    path = tmp_path / "a.json"
    path.write_text("{}")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("operations.cli.validation.read_local_head", full, raising=False)
    monkeypatch.setattr("operations.cli.sources.read_local_head", full)
    result = run("validate", path)
    assert "No space left on device" in result.output
    assert "Errno" not in result.output


def test_ctrl_c_while_modules_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes a second, in which people do press it: exit 130, and not a word."""
    real = builtins.__import__

    def pressed(name: str, *rest: Any, **more: Any) -> Any:
        if name == "operations.cli":
            raise KeyboardInterrupt
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", pressed)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == command.INTERRUPTED == ExitCode.INTERRUPTED


LONG_QUERY = """
import os, signal, sys, threading
from pathlib import Path
from audiences.database import Limits, connect
from operations.cli.errors import reports_errors

# Whose parent runs in the background of a shell ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)

@reports_errors
def command():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    # With more threads DuckDB may look for signals only when the statement is done, which takes seconds at most there.
    with connect(Limits(Path(sys.argv[1]))) as con:
        con.execute("SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 3")

try:
    command()
except BaseException as ended:
    print(getattr(ended, "exit_code", repr(ended)))
"""


def test_ctrl_c_while_the_database_works(tmp_path: Path) -> None:
    """DuckDB takes the signal for itself while a query runs, and raises an error of its own: exit 130 all the same."""
    # A process of its own: Python handles signals in the main thread only, where a test may not be.
    command = [sys.executable, "-c", LONG_QUERY, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == str(int(ExitCode.INTERRUPTED)), ended.stdout + ended.stderr


def test_the_entry_point_is_quick_to_load() -> None:
    """It loads nothing of the command line before Ctrl-C is looked after."""
    program = "import sys, operations.command; print([m for m in sys.modules if m.startswith(('typer', 'boto'))])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_sandbox_does_not_wait_for_a_run_that_cannot_begin(tmp_path: Path) -> None:
    """A file of another name starts none; and what cannot be written is named."""
    table = tmp_path / "users.csv"
    table.write_text(TABLE)
    result = CliRunner().invoke(sandbox, ["run", str(table)], env={"COLUMNS": "200"})
    assert result.exit_code == ExitCode.USAGE
    assert "only *.json and *.json.gz start a run" in result.output
    for out in (tmp_path, tmp_path / "no" / "x.json"):
        result = CliRunner().invoke(sandbox, ["audience", "--users", "1", "-o", str(out)], env={"COLUMNS": "300"})
        assert result.exit_code == ExitCode.USAGE
        assert isinstance(result.exception, SystemExit)
    assert CliRunner().invoke(sandbox, ["audience", "--users", "-5"]).exit_code == ExitCode.USAGE


def test_a_list_on_one_line_is_no_user(tmp_path: Path) -> None:
    """An id that no audience can have is refused before anything is suppressed for it: whoever is in it would stay."""
    ids = tmp_path / "ids.json"
    for taken in ('["' + '", "'.join(f"user-{n}" for n in range(99)) + '"]', "ü" * 257):
        ids.write_text(taken)
        result = run("erase", "--file", ids, "--yes")
        assert result.exit_code == ExitCode.USAGE
        assert "a user id has over 512 bytes, which no audience can have" in result.output
        assert "write one user id a line" in result.output
