"""What can go wrong, in words that say what to do, and the exit codes."""

import enum
import functools
import json
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")


class ExitCode(enum.IntEnum):
    """The exit codes of every command. They are documented in `notifier --help`."""

    FINE = 0
    """Done, and the answer is yes."""
    NOT_FINE = 1
    """Done, and the answer is no: the file would be refused, the run did not complete, a test push was refused."""
    USAGE = 2
    """The command line is wrong."""
    NOT_FOUND = 3
    """The file, the run, the object or the stack is not there."""
    UNREACHABLE = 4
    """AWS (or the sandbox) could not be reached, or did not allow it."""
    INTERRUPTED = 130
    """Ctrl-C."""


class Trouble(Exception):
    """The command cannot be done. `problem` names the file or thing, `mend` says what to do."""

    def __init__(self, code: ExitCode, problem: str, mend: str = "") -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem
        self.mend = mend


def tells_trouble(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what goes wrong in a command into a message and an exit code; with `--json` the message is JSON."""

    @functools.wraps(command)
    def telling(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (Trouble, ClientError, BotoCoreError, OSError) as error:
            trouble = _as_trouble(error)
            _tell(trouble, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(trouble.code) from None

    return telling


def _as_trouble(error: Exception) -> Trouble:
    if isinstance(error, Trouble):
        return error
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        what = f"AWS refused {error.operation_name}: {code}: {error.response['Error'].get('Message', '')}"
        if code in ("404", "NoSuchKey", "NoSuchBucket", "ResourceNotFoundException"):
            return Trouble(
                ExitCode.NOT_FOUND, what, "check the name, the region and the account (aws sts get-caller-identity)"
            )
        return Trouble(
            ExitCode.UNREACHABLE, what, "check the credentials and their permissions (aws sts get-caller-identity)"
        )
    if isinstance(error, BotoCoreError):
        return Trouble(ExitCode.UNREACHABLE, f"AWS: {error}", "check AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL")
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return Trouble(ExitCode.NOT_FOUND, f"{error.filename}: {error.strerror}", "check the path")
    return Trouble(ExitCode.UNREACHABLE, str(error))


def _tell(trouble: Trouble, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"error": trouble.problem, "mend": trouble.mend, "exit_code": int(trouble.code)}
        sys.stderr.write(json.dumps(told, ensure_ascii=False) + "\n")
        return
    console = Console(stderr=True, highlight=False)
    console.print("[bold red]error:[/]", end=" ")
    console.print(trouble.problem, markup=False)
    if trouble.mend:
        console.print("[bold]what to do:[/]", end=" ")
        console.print(trouble.mend, markup=False)
