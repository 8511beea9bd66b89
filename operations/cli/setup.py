"""`setup`: is a stack ready to send? Each check says what it found, and a failing one what mends it."""

from collections.abc import Iterator, Mapping
from functools import partial

import typer
from rich.table import Table
from rich.text import Text

from notifier.composition.settings import Mode
from notifier.events.triggers import SUFFIXES
from operations.cli.check import Check, guarded
from operations.cli.gateway_checks import gateway_checks
from operations.cli.mail_checks import mail_checks
from operations.cli.options import AsJson, Stack, StackFile, console, print_json
from operations.cli.place import Cloud, find_place
from operations.cli.trouble import ExitCode, tells_trouble

PREFIX = "batches/"


@tells_trouble
def setup(stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """Check that a stack is ready: mode, notification, secrets, FCM, APNs, mail. Exit 0 only if all is fine.

    Nothing is sent to any phone.

    Example: notifier setup --stack notifier
    """
    found = tuple(checks(Cloud(find_place(stack, stack_file))))
    if as_json:
        print_json({"fine": all(check.fine is not False for check in found), "checks": found})
    else:
        console().print(shown(found))
    if any(check.fine is False for check in found):
        raise typer.Exit(ExitCode.NOT_FINE)


def shown(found: tuple[Check, ...]) -> Table:
    """For people."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in found:
        sign, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}[check.fine]
        told = Text(check.told)
        if check.mend and check.fine is not True:
            told.append(f"\n→ {check.mend}", style="dim")
        table.add_row(Text(f"{sign} {check.name}", style=style), told)
    return table


def checks(cloud: Cloud) -> Iterator[Check]:
    """Every check, in the order in which things are put in place."""
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=cloud.place.worker)
    variables: Mapping[str, str] = configuration["Environment"]["Variables"]
    yield mode_check(variables.get("MODE", ""))
    yield from guarded("notification", partial(notification_check, cloud, configuration["FunctionArn"]))
    yield from gateway_checks(cloud, variables)
    yield from guarded("mail", partial(mail_checks, cloud))


def mode_check(mode: str) -> Check:
    """Whether phones ring."""
    if mode == Mode.LIVE:
        return Check("mode", True, "live: phones ring")
    return Check("mode", True, "rehearse: everything runs, no phone rings (sam deploy --parameter-overrides Mode=live)")


def notification_check(cloud: Cloud, worker_arn: str) -> Iterator[Check]:
    """Whether somebody tells the worker of dropped files, whatever they are called, and only one does."""
    bucket, worker = cloud.place.bucket, _unqualified(worker_arn)
    found = cloud.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    by_s3 = _suffixes(found, worker)
    rules = _rules(cloud, worker) if "EventBridgeConfiguration" in found else []
    yield _notified(bucket, by_s3, rules, is_bridged="EventBridgeConfiguration" in found)


def _unqualified(arn: str) -> str:
    """A function's ARN without alias or version."""
    return ":".join(arn.split(":")[:7])


def _suffixes(found: Mapping[str, list[dict[str, object]]], worker: str) -> list[str]:
    """The ends of names that S3 tells the worker of, under the right prefix. An empty one is every name."""
    suffixes = []
    for one in found.get("LambdaFunctionConfigurations", ()):
        if _unqualified(str(one["LambdaFunctionArn"])) != worker:
            continue
        filters: dict[str, dict[str, list[dict[str, str]]]] = one.get("Filter", {})  # type: ignore[assignment]
        rules = {rule["Name"].lower(): rule["Value"] for rule in filters.get("Key", {}).get("FilterRules", ())}
        if rules.get("prefix") == PREFIX:
            suffixes.append(rules.get("suffix", ""))
    return sorted(suffixes)


def _rules(cloud: Cloud, worker: str) -> list[str]:
    """EventBridge's rules that are on and lead to the worker."""
    client = cloud.client("events")
    names = {
        name
        for target in (worker, f"{worker}:live")
        for page in client.get_paginator("list_rule_names_by_target").paginate(TargetArn=target)
        for name in page["RuleNames"]
    }
    return sorted(name for name in names if client.describe_rule(Name=name)["State"] == "ENABLED")


def _notified(bucket: str, by_s3: list[str], rules: list[str], *, is_bridged: bool) -> Check:
    name, by_hand = (
        "notification",
        "deploy the stack again: sam deploy (somebody changed the bucket's notifications by hand)",
    )
    if by_s3 and rules:
        told = f"S3 and EventBridge ({', '.join(rules)}) both tell the worker: every file is looked at twice"
        return Check(name, False, told, "decide for one (the parameter Trigger), and remove the other")
    if by_s3:
        missing = [] if "" in by_s3 else sorted(set(SUFFIXES) - set(by_s3))
        names = "every file" if "" in by_s3 else " and ".join(by_s3)
        told = f"S3 tells the worker of {names} under {PREFIX}"
        return Check(name, not missing, told + (f", but not of {' and '.join(missing)}" if missing else ""), by_hand)
    if rules:
        return Check(name, True, f"S3 tells EventBridge, whose rule {', '.join(rules)} tells the worker")
    if is_bridged:
        return Check(name, False, f"{bucket} tells EventBridge, but no rule there tells the worker", by_hand)
    mend = by_hand + "; for a bucket that was there before the stack, the command in the output ListenToTheBucket"
    return Check(name, False, f"nobody tells the worker of files in {bucket}", mend)
