"""`setup`: whether a stack is ready to send. A failed check says what to do."""

from collections.abc import Iterator, Mapping
from functools import partial

import typer
from rich.table import Table
from rich.text import Text

from notifier.composition.settings import Mode
from notifier.events.concurrency import KEPT_FREE, read_concurrency
from notifier.events.triggers import SUFFIXES
from notifier.model.plurals import counted
from notifier.model.span import MAX_LANES
from operations.cli.check import Check, guarded
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import ExitCode, reports_errors
from operations.cli.function_checks import role_check
from operations.cli.gateway_checks import gateway_checks
from operations.cli.holding import hold_check
from operations.cli.mail_checks import mail_checks
from operations.cli.options import AsJson, Stack, StackFile, console, print_json

PREFIX = "batches/"


@reports_errors
def setup(stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """Check that a stack is ready: mode, notification, secrets, FCM, APNs, mail. Exit 0 only if all is fine.

    Nothing is sent to any phone.

    Example: notifier setup --stack notifier
    """
    found = tuple(checks(Cloud(find_deployment(stack, stack_file))))
    if as_json:
        print_json({"fine": all(check.fine is not False for check in found), "checks": found})
    else:
        console().print(table_of(found))
    if any(check.fine is False for check in found):
        raise typer.Exit(ExitCode.NOT_FINE)


def table_of(found: tuple[Check, ...]) -> Table:
    """The checks, one row each."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in found:
        sign, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}[check.fine]
        finding = Text(check.finding)
        if check.mend and check.fine is not True:
            finding.append(f"\n→ {check.mend}", style="dim")
        table.add_row(Text(f"{sign} {check.name}", style=style), finding)
    return table


def checks(cloud: Cloud) -> Iterator[Check]:
    """Every check, in the order of setting up a stack."""
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=cloud.deployment.worker)
    variables: Mapping[str, str] = configuration["Environment"]["Variables"]
    yield mode_check(variables.get("MODE", ""))
    yield from guarded("hold", partial(hold_check, cloud))
    yield from guarded("notification", partial(notification_check, cloud, configuration["FunctionArn"]))
    yield from guarded("concurrency", partial(concurrency_check, cloud))
    yield from guarded("worker's role", partial(role_check, cloud))
    yield from gateway_checks(cloud, variables)
    yield from guarded("mail", partial(mail_checks, cloud))


def mode_check(mode: str) -> Check:
    """Whether pushes reach phones. Both modes are fine: a first deployment rehearses."""
    if mode == Mode.LIVE:
        return Check("mode", True, "live: phones ring")
    return Check("mode", True, "rehearse: everything runs, no phone rings (sam deploy --parameter-overrides Mode=live)")


def concurrency_check(cloud: Cloud) -> Iterator[Check]:
    """Over how many lanes a run can be spread: what is reserved for the worker, and the account's limit."""
    found = read_concurrency(cloud.client("lambda"), cloud.deployment.worker)
    reserved = "nothing reserved for the worker" if found.reserved is None else f"{found.reserved} for the worker"
    finding = (
        f"{found.account:,} invocations at once in this account, {reserved} (WorkerConcurrency), "
        f"{found.unreserved:,} unreserved: up to {counted(min(found.for_lanes, MAX_LANES), 'lane')} at work"
    )
    mend = "ask AWS for more: Service Quotas, Lambda, Concurrent executions"
    # One lane is enough for most runs; an account with no room beside it is not.
    yield Check("concurrency", found.unreserved > KEPT_FREE or found.reserved is not None, finding, mend)


def notification_check(cloud: Cloud, worker_arn: str) -> Iterator[Check]:
    """Whether the worker is notified of every file under the prefix, and by one way only: S3 or EventBridge."""
    bucket, worker = cloud.deployment.bucket, _unqualified(worker_arn)
    found = cloud.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    by_s3 = _suffixes(found, worker)
    rules = _rules(cloud, worker) if "EventBridgeConfiguration" in found else []
    yield _notified(bucket, by_s3, rules, is_bridged="EventBridgeConfiguration" in found)


def _unqualified(arn: str) -> str:
    """A function's ARN without alias or version."""
    # arn:partition:lambda:region:account:function:NAME, and then perhaps the alias.
    return ":".join(arn.split(":")[:7])


def _suffixes(found: Mapping[str, list[dict[str, object]]], worker: str) -> list[str]:
    """The suffixes of names that S3 notifies the worker of, under the right prefix. An empty one means every name."""
    suffixes = []
    for one in found.get("LambdaFunctionConfigurations", ()):
        if _unqualified(str(one["LambdaFunctionArn"])) != worker:
            continue
        filters: dict[str, dict[str, list[dict[str, str]]]] = one.get("Filter", {})  # type: ignore[assignment]
        # S3 answers `Prefix` where `prefix` was put.
        rules = {rule["Name"].lower(): rule["Value"] for rule in filters.get("Key", {}).get("FilterRules", ())}
        if rules.get("prefix") == PREFIX:
            suffixes.append(rules.get("suffix", ""))
    return sorted(suffixes)


def _rules(cloud: Cloud, worker: str) -> list[str]:
    """EventBridge's enabled rules that have the worker as a target."""
    client = cloud.client("events")
    names = {
        name
        # EventBridge finds rules by the exact ARN of their target, and both forms are in use.
        for target in (worker, f"{worker}:live")
        for page in client.get_paginator("list_rule_names_by_target").paginate(TargetArn=target)
        for name in page["RuleNames"]
    }
    return sorted(name for name in names if client.describe_rule(Name=name)["State"] == "ENABLED")


def _notified(bucket: str, by_s3: list[str], rules: list[str], *, is_bridged: bool) -> Check:
    """The check's result from what was found.

    Args:
        by_s3: suffixes that S3 notifies the worker of.
        rules: EventBridge's rules for the worker.
        is_bridged: the bucket sends its events to EventBridge.
    """
    name = "notification"
    by_hand = "deploy the stack again: sam deploy (the bucket's notifications were changed by hand)"
    if by_s3 and rules:
        finding = f"S3 and EventBridge ({', '.join(rules)}) both notify the worker: every file arrives twice"
        return Check(name, False, finding, "decide for one (the parameter Trigger), and remove the other")
    if by_s3:
        missing = [] if "" in by_s3 else sorted(set(SUFFIXES) - set(by_s3))
        names = "every file" if "" in by_s3 else " and ".join(by_s3)
        finding = f"S3 notifies the worker of {names} under {PREFIX}"
        return Check(name, not missing, finding + (f", but not of {' and '.join(missing)}" if missing else ""), by_hand)
    if rules:
        return Check(name, True, f"S3 notifies EventBridge, whose rule {', '.join(rules)} invokes the worker")
    if is_bridged:
        return Check(name, False, f"{bucket} notifies EventBridge, but no rule there invokes the worker", by_hand)
    mend = by_hand + "; for a bucket that existed before the stack, the command in the output ListenToTheBucket"
    return Check(name, False, f"nothing notifies the worker of files in {bucket}", mend)
