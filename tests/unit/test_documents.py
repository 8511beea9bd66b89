"""Every command that README, docs and the template's outputs tell to type is one that there is, with those options."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import typer
from botocore import xform_name
from typer.testing import CliRunner

from operations.cli import app as notifier
from operations.cli.conversions import TABLE, TableUnlessNamed
from sandbox import intrinsics
from sandbox.__main__ import app as sandbox
from tests.documents import PAGES, ROOT, alike, shown

PROGRAMS = ("notifier", "aws", "sam", "make", "python -m sandbox")
_INLINE = re.compile(rf"`((?:{'|'.join(map(re.escape, PROGRAMS))})(?: [^`]+)?)`")
CUSTOM: dict[tuple[str, str], set[str]] = {
    ("s3", "rm"): {"--recursive"},
    ("s3", "cp"): set(),
    ("s3", "ls"): {"--recursive"},
    ("s3", "sync"): set(),
    ("logs", "tail"): {"--follow", "--since", "--filter-pattern"},
}
"""Commands that the AWS command line has beyond the services' own: https://docs.aws.amazon.com/cli/latest/reference/"""
SAM_DEPLOY = {
    "--stack-name",
    "--parameter-overrides",
    "--region",
    "--no-confirm-changeset",
    "--no-fail-on-empty-changeset",
    "--no-execute-changeset",
}


def documented() -> Iterator[tuple[str, str]]:
    """Where, and the command."""
    for one in shown():
        yield one.page, one.command
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                yield page.name, re.sub(r"\s+#.*", "", line)
        prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
        for command in _INLINE.findall(prose):
            yield page.name, command
    for name, output in intrinsics.load(ROOT / "template.yaml")["Outputs"].items():
        value = output["Value"]
        text = value.get("Fn::Sub", "") if isinstance(value, dict) else value
        yield f"output {name}", str(text[0] if isinstance(text, list) else text)


def commands() -> list[tuple[str, tuple[str, ...]]]:
    """Each command by itself, without pipes, of the programs that are known here."""
    found = set()
    for where, text in documented():
        for part in re.split(r"\s(?:\||&&|\|\||;)\s", text):
            words = tuple(shlex.split(part.strip().replace("…", "X"))) if part.strip() else ()
            if words and (words[0] in PROGRAMS or words[:3] == ("python", "-m", "sandbox")):
                found.add((where, words))
    return sorted(found)


def test_the_pages_have_commands() -> None:
    """The pages are read as they are written: every program is met."""
    assert {words[0] for _, words in commands()} == {"notifier", "aws", "sam", "make", "python"}
    assert len(commands()) > 40


@pytest.mark.parametrize(
    ("where", "words"), commands(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_there_is_such_a_command(where: str, words: tuple[str, ...]) -> None:
    """The program knows the command and each of its options."""
    match words:
        case ("notifier", *rest):
            check_typer(notifier, rest)
        case ("python", "-m", "sandbox", *rest):
            check_typer(sandbox, rest)
        case ("make", *targets):
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            for target in targets:
                assert "=" in target or re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
        case ("aws", service, operation, *rest):
            check_aws(service, operation, rest)
        case ("sam", "deploy", *rest):
            check_deploy(rest)
        case ("sam", "build" | "delete" | "local" | "validate" | "logs", *_):
            pass
        case _:
            pytest.fail(f"{where}: {words}")


def test_each_picture_is_shown() -> None:
    """A picture that no page shows is not looked at when the pages change."""
    shown_ = {name for page in PAGES for name in re.findall(r"images/([\w-]+\.png)", page.read_text(encoding="utf-8"))}
    assert {path.name for path in (ROOT / "docs" / "images").iterdir()} == shown_


def test_the_help_on_the_page_is_what_is_printed() -> None:
    """What docs/cli.md shows of `notifier --help` is what it prints."""
    [on_page] = [one for one in shown() if one.command == "notifier --help"]
    printed = CliRunner().invoke(notifier, ["--help"], prog_name="notifier", env={"COLUMNS": "100", "TERM": "dumb"})
    assert alike(printed.output) == alike(on_page.printed)


def check_typer(app: typer.Typer, words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if isinstance(command, TableUnlessNamed) and words[0] not in command.commands:
            words = [TABLE, *words]
        assert words[0] in command.commands
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h"}
    assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} - options == set()


def check_aws(service: str, operation: str, words: list[str]) -> None:
    options = {word for word in words if word.startswith("--")}
    if (service, operation) in CUSTOM:
        assert options - CUSTOM[service, operation] == set()
        return
    service = {"s3api": "s3"}.get(service, service)
    model = boto3.client(service, region_name="eu-west-1").meta.service_model  # type: ignore[call-overload]
    names = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in names
    members = model.operation_model(names[operation]).input_shape.members
    known = {"--" + xform_name(name, "-") for name in members} | {"--query", "--output", "--region"}
    known |= {f"--no-{xform_name(name, '-')}" for name, shape in members.items() if shape.type_name == "boolean"}
    assert options - known == set()


def check_deploy(words: list[str]) -> None:
    assert {word for word in words if word.startswith("--")} - SAM_DEPLOY == set()
    parameters = intrinsics.load(ROOT / "template.yaml")["Parameters"]
    for word in words:
        name, sign, value = word.partition("=")
        if sign:
            assert value in ("X", *map(str, parameters[name].get("AllowedValues", [value]))), word
