"""Options and output that several commands share."""

import getpass
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from operations.cli.errors import ExitCode

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Stack = Annotated[
    str | None,
    typer.Option("--stack", help="The CloudFormation stack's name (or NOTIFIER_STACK).", rich_help_panel="Which stack"),
]
StackFile = Annotated[
    Path | None,
    typer.Option(
        "--stack-file",
        help="A JSON file with the stack's names, as the sandbox writes it (or NOTIFIER_STACK_FILE).",
        rich_help_panel="Which stack",
    ),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id, the batch file's s3://bucket/key, or a campaign id.")
]
By = Annotated[
    str | None, typer.Option("--by", help="Your name, for the record. Default: your user name on this machine.")
]
ApprovesBy = Annotated[
    str | None,
    typer.Option(
        "--by",
        help="Your mail address. Default: the one with which you are signed in at AWS, else your user name on this "
        "machine.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def console() -> Console:
    """Standard output: the answer."""
    # Without emoji: in `arn:aws:secretsmanager:…:secret:…` one word would become a picture.
    return Console(highlight=False, emoji=False)


def notes() -> Console:
    """Standard error: progress and notes, so that the output can be piped."""
    return Console(stderr=True, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """Print one JSON document, indented."""
    plain = msgspec.to_builtins(value)
    sys.stdout.write(json.dumps(plain, ensure_ascii=False, indent=2) + "\n")


def print_line(value: Any) -> None:
    """Print one JSON document on one line."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def who(by: str | None) -> str:
    """The name for the record of who gave a command."""
    if by:
        return by
    try:
        return getpass.getuser()
    # Neither a variable nor an entry in the password file, as in some containers.
    except (KeyError, OSError):
        return "unknown"


def sure(question: str, *, yes: bool) -> None:
    """Ask for confirmation. Raises typer.Exit where the answer is no, or where no terminal can give one."""
    if yes:
        return
    if not sys.stdin.isatty():
        notes().print(f"{question} Add --yes to confirm.", markup=False)
        raise typer.Exit(ExitCode.USAGE)
    if not typer.confirm(question, err=True):
        raise typer.Exit(ExitCode.NOT_FINE)
