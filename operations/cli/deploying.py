"""`deploy`: from a clone to a stack that sends."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import boto3
import msgspec
import typer
from botocore.exceptions import BotoCoreError, ClientError

from notifier.model.plurals import counted
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import StackFile, Yes, console, notes, sure
from operations.cli.setup import checks, table_of
from operations.cli.test_pushes import send_test_pushes
from operations.deploying.account import Account, look_at
from operations.deploying.answers import Answers, Ask, check, command_of, completed
from operations.deploying.steps import Actions, Deployment, Step

ROOT = Path(__file__).resolve().parents[2]
"""The clone's folder, where `make build` works."""
STEPS = ("secrets", "build", "deploy", "setup", "test")


@reports_errors
def deploy(
    stack: Annotated[str, typer.Option(help="The stack's name.")] = "notifier",
    region: Annotated[str, typer.Option(help="The AWS region. Default: your profile's.")] = "",
    fcm_file: Annotated[Path | None, typer.Option(help="Google's service-account JSON file.")] = None,
    p8_file: Annotated[Path | None, typer.Option(help="Apple's .p8 file.")] = None,
    key_id: Annotated[str, typer.Option(help="The .p8 file's key id. Default: from the name AuthKey_….p8.")] = "",
    team_id: Annotated[str, typer.Option(help="Apple's team id.")] = "",
    topic: Annotated[str, typer.Option(help="The app's bundle id.")] = "",
    mail_from: Annotated[str, typer.Option(help="Sender of the approval pages' mails. Default: no pages.")] = "",
    requesters: Annotated[str, typer.Option(help="Who may ask for pushes: addresses, @domains.")] = "",
    approvers: Annotated[str, typer.Option(help="Who may approve them.")] = "",
    mode: Annotated[str, typer.Option(help="rehearse (a new stack's default) or live.")] = "",
    parameter: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for any other parameter; repeat it.")] = None,
    token: Annotated[str, typer.Option(help="A test device's token, as for `notifier test`.")] = "",
    environment: Annotated[
        str, typer.Option(help="APNs environment of the token: production, or sandbox.")
    ] = "production",
    only: Annotated[list[str] | None, typer.Option(help=f"Only these steps ({', '.join(STEPS)}); repeat it.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and do nothing.")] = False,
    yes: Yes = False,
    stack_file: StackFile = None,
) -> None:
    """Deploy from this clone: secrets, build, stack, checks, a test push. Asks for what is not given; can be repeated.

    What was done stays when it is interrupted; a repeat goes on. Keys are never printed, and only AWS gets them.

    Example: notifier deploy --plan
    """
    answers = Answers(
        stack, region, fcm_file, p8_file, key_id, team_id, topic, mail_from, requesters, approvers, mode,
        tuple(parameter or ()), token, environment,
    )  # fmt: skip
    check(answers)
    wanted = _wanted(only)
    ask = _ask if sys.stdin.isatty() else None
    answers = msgspec.structs.replace(answers, region=_region(answers.region, ask))
    client = _clients(answers.region, stack_file)
    account = _account(client, answers, by_file=stack_file is not None, is_plan=plan)
    answers = completed(answers, account, ask)
    actions = _actions(answers, stack_file, ask)
    steps = [step for step in Deployment(answers, account, ROOT, client, actions).steps() if step.name in wanted]
    _show(answers, account, steps)
    more = ["--stack-file", str(stack_file)] if stack_file else []
    again = command_of(answers, *more, *(word for name in only or () for word in ("--only", name)))
    if plan:
        console().print(f"\nNothing was done. To do it:\n  {again}", markup=False, soft_wrap=True)
        return
    sure(f"Do {counted(len(steps), 'step')}?", yes=yes)
    _carry_out(steps, again)


def _wanted(only: list[str] | None) -> tuple[str, ...]:
    if unknown := sorted(set(only or ()) - set(STEPS)):
        raise CommandError(ExitCode.USAGE, f"--only {unknown[0]}: no such step", f"one of {', '.join(STEPS)}")
    return tuple(only) if only else STEPS


def _ask(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default), err=True)).strip()


def _region(given: str, ask: Ask | None) -> str:
    known = given or boto3.session.Session().region_name or ""
    # A profile's region is asked about all the same: it may be that of another project.
    if not given and ask is not None:
        known = ask("AWS region", known)
    if not known:
        raise CommandError(ExitCode.USAGE, "which region?", "--region eu-central-1, or a profile that has one")
    return known


def _clients(region: str, stack_file: Path | None) -> Callable[[str], Any]:
    if stack_file is not None:
        return Cloud(find_deployment(None, stack_file)).client
    client: Any = boto3.session.Session(region_name=region).client
    return client  # type: ignore[no-any-return]


def _account(client: Callable[[str], Any], answers: Answers, *, by_file: bool, is_plan: bool) -> Account:
    """What is in the account. A plan can be made without one."""
    try:
        return look_at(client, answers.stack, by_file=by_file)
    except (ClientError, BotoCoreError) as error:
        if not is_plan:
            raise
        notes().print(f"AWS could not be asked what is there already: {error}", markup=False)
        return Account("(unknown)")


def _show(answers: Answers, account: Account, steps: Sequence[Step]) -> None:
    out = console()
    there = "a new stack" if account.parameters is None else "is there already"
    about = f"account {account.id}, region {answers.region}, stack {answers.stack} ({there})"
    out.print(about, markup=False)
    for number, step in enumerate(steps, 1):
        out.print(f"{number}. {step.name}", markup=False)
        for line in step.would:
            out.print(f"   {line}", markup=False, soft_wrap=True)


def _carry_out(steps: Sequence[Step], again: str) -> None:
    """Do the steps. Whatever ends it: what was done stays, and the command to go on is printed."""
    done: list[str] = []
    try:
        for number, step in enumerate(steps, 1):
            notes().print(f"==> {number}/{len(steps)} {step.name}", markup=False)
            notes().print(f"✓ {step.name}: {step.do()}", markup=False)
            done.append(step.name)
    except BaseException:
        left = steps[len(done)]
        finished = f"done, and it stays: {', '.join(done)}" if done else "nothing was done before it"
        notes().print(f"\nended in the step {left.name}; {finished}", markup=False)
        if left.name == "deploy":
            notes().print("what CloudFormation has begun it ends by itself; a repeat waits for it", markup=False)
        notes().print(f"to go on, repeat it: {again}", markup=False, soft_wrap=True)
        raise
    notes().print("Done. The same command again changes only what is different.", markup=False)


def _actions(answers: Answers, stack_file: Path | None, ask: Ask | None) -> Actions:
    def run(words: Sequence[str]) -> int:
        return subprocess.call(words, cwd=ROOT)  # noqa: S603 - make and SAM, with the answers as arguments

    def check_setup() -> bool:
        found = tuple(checks(Cloud(_deployed(answers, stack_file))))
        console().print(table_of(found))
        return all(one.fine is not False for one in found)

    def ask_token() -> str:
        return ask("A test device's token (Enter: no test push)", "") if ask is not None else ""

    def test(path: Path, token: str) -> bool:
        name = None if stack_file else answers.stack
        try:
            send_test_pushes(str(path), [token], answers.environment, stack=name, stack_file=stack_file)
        except typer.Exit as end:
            return end.exit_code == 0
        return True

    return Actions(run, check_setup, ask_token, test)


def _deployed(answers: Answers, stack_file: Path | None) -> Any:
    if stack_file is not None:
        return find_deployment(None, stack_file)
    return find_deployment(answers.stack, None, {"AWS_REGION": answers.region})
