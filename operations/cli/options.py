"""Options that several commands share, and how they print."""

import getpass
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Stack = Annotated[
    str | None,
    typer.Option("--stack", help="The CloudFormation stack's name (or NOTIFIER_STACK).", rich_help_panel="Which stack"),
]
StackFile = Annotated[
    Path | None,
    typer.Option(
        "--stack-file",
        help="A JSON file that says where the stack is, as the sandbox writes it (or NOTIFIER_STACK_FILE).",
        rich_help_panel="Which stack",
    ),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id, the batch file's s3://bucket/key, or a campaign id.")
]
By = Annotated[str | None, typer.Option("--by", help="Who asks, for the record. Default: your user name.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def console() -> Console:
    """Where people read."""
    return Console(highlight=False)


def notes() -> Console:
    """For what is not the answer: standard error."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document, indented."""
    plain = msgspec.to_builtins(value)
    sys.stdout.write(json.dumps(plain, ensure_ascii=False, indent=2) + "\n")


def print_line(value: Any) -> None:
    """One JSON document on one line."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def who(by: str | None) -> str:
    """Who asks."""
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def sure(question: str, *, yes: bool) -> None:
    """Ask; without a terminal nobody can answer, and `--yes` is needed. Raises typer.Exit."""
    if yes:
        return
    if not sys.stdin.isatty():
        notes().print(f"{question} Say --yes to mean it.", markup=False)
        raise typer.Exit(2)
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
