"""Errors of commands: what went wrong, what to do about it, and the exit code."""

import enum
import functools
import json
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from rich.console import Console

_NO_ADDRESS = "Invalid endpoint"
_INTERRUPTED_QUERY = "Query interrupted"
_MENDS: dict[type[BotoCoreError], str] = {
    NoCredentialsError: "sign in (aws configure, or aws sso login), and name the profile: AWS_PROFILE",
    NoRegionError: "name the stack's region, as AWS_REGION=eu-central-1",
    ProfileNotFound: "check AWS_PROFILE (aws configure list-profiles)",
    EndpointConnectionError: "check AWS_REGION, AWS_ENDPOINT_URL and this machine's network",
}
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


class CommandError(Exception):
    """A command cannot be carried out. `problem` names the file or thing, `mend` says what to do."""

    def __init__(self, code: ExitCode, problem: str, mend: str = "") -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem
        self.mend = mend


KNOWN_ERRORS = (CommandError, ClientError, BotoCoreError, ResponseParserError, OSError)
"""What `as_command_error` has words for."""


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorates a command: an error becomes a message on standard error and an exit code; with `--json`, JSON."""

    @functools.wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _refuse_pipes(value for name, value in kwargs.items() if name not in _WRITTEN)
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except RuntimeError as error:
            # DuckDB takes Ctrl-C for itself while a query runs, and raises this.
            if str(error) != _INTERRUPTED_QUERY:
                raise
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (*KNOWN_ERRORS, ValueError) as error:
            # botocore raises no error of its own for an address that is none; any other ValueError is ours to mend.
            if isinstance(error, ValueError) and not str(error).startswith(_NO_ADDRESS):
                raise
            failed = as_command_error(error)
            _print(failed, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(failed.code) from None

    return reporting


_WRITTEN = ("out", "html")
"""Options of files that a command writes."""


def _refuse_pipes(values: Iterable[object]) -> None:
    """Raise CommandError for a pipe among the files that a command reads: most are read more than once."""
    for value in values:
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, str | Path) and _is_pipe(Path(one)):
                mend = "save it as a file first, and name that"
                raise CommandError(ExitCode.USAGE, f"{one}: a pipe, which can be read only once", mend)


def _is_pipe(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def as_command_error(error: Exception) -> CommandError:
    """What went wrong in words: of AWS's own answer, of none, and of a file."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ValueError) and str(error).startswith(_NO_ADDRESS):
        mend = "correct AWS_ENDPOINT_URL: it begins with https:// or http://; without it boto3 asks AWS"
        return CommandError(ExitCode.USAGE, f"AWS: {str(error)[:1].lower()}{str(error)[1:]}", mend)
    # First: a ClientError is AWS's own answer, a BotoCoreError means that there was none.
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        what = f"AWS refused {error.operation_name}: {code}: {error.response['Error'].get('Message', '')}"
        # HEAD has no body, hence no code: boto3 gives the status in its place.
        if code in ("404", "NoSuchKey", "NoSuchBucket", "ResourceNotFoundException"):
            return CommandError(
                ExitCode.NOT_FOUND, what, "check the name, the region and the account (aws sts get-caller-identity)"
            )
        return CommandError(
            ExitCode.UNREACHABLE, what, "check the credentials and their permissions (aws sts get-caller-identity)"
        )
    if isinstance(error, BotoCoreError):
        kinds = ((kind, mend) for kind, mend in _MENDS.items() if isinstance(error, kind))
        _, mend = next(kinds, (None, "check AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL"))
        return CommandError(ExitCode.UNREACHABLE, f"AWS: {error}", mend)
    if isinstance(error, ResponseParserError):
        # botocore's own error, and none of its BotoCoreError: the answer was a page, most likely a proxy's.
        mend = "is there a proxy between here and AWS that answers by itself? check AWS_ENDPOINT_URL and HTTPS_PROXY"
        return CommandError(ExitCode.UNREACHABLE, "AWS: the answer is not one of AWS's", mend)
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) and error.filename:
        return CommandError(ExitCode.NOT_FOUND, f"{error.filename}: {error.strerror}", "check the path")
    if isinstance(error, OSError) and error.strerror:
        # Without Python's number: `[Errno 28]` says nothing to people.
        where = f"{error.filename}: " if error.filename else ""
        mend = "check who may read and write it" if isinstance(error, PermissionError) else ""
        return CommandError(ExitCode.UNREACHABLE, f"{where}{error.strerror}", mend)
    return CommandError(ExitCode.UNREACHABLE, str(error))


def _print(error: CommandError, *, as_json: bool) -> None:
    if as_json:
        plain: dict[str, Any] = {"error": error.problem, "mend": error.mend, "exit_code": int(error.code)}
        sys.stderr.write(json.dumps(plain, ensure_ascii=False) + "\n")
        return
    console = Console(stderr=True, highlight=False, emoji=False)
    console.print("[bold red]error:[/]", end=" ")
    console.print(error.problem, markup=False)
    if error.mend:
        console.print("[bold]what to do:[/]", end=" ")
        console.print(error.mend, markup=False)
