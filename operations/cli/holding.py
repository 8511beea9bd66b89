"""`hold`, `release`: nothing of the stack starts, fires, prepares or is decided until it is released."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from botocore.exceptions import ClientError

from notifier.model.hold import Hold
from notifier.model.run import HAND_OVER_MS
from operations.cli.check import THROTTLED, Check
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, By, Stack, StackFile, Yes, console, notes, print_json, sure, who
from schedules.store import ScheduleStore


class WouldStart(msgspec.Struct, frozen=True):
    """What starts within a minute of the release."""

    kind: str
    name: str


@reports_errors
def hold(
    reason: Annotated[str, typer.Option(help="Why, for everybody who looks at a run, a schedule or a page.")],
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Hold the whole stack: no push begins later than 5 seconds from now, nothing fires, prepares or is approved.

    New files are noted and wait. `notifier release` ends it.

    Example: notifier hold --reason "wrong prices in the app"
    """
    if not reason.strip():
        raise CommandError(ExitCode.USAGE, "no reason is given", 'say why: --reason "wrong prices in the app"')
    cloud = Cloud(find_deployment(stack, stack_file))
    if (before := cloud.ledger.read_hold()) is not None:
        notes().print(f"it was {before.words}; one release ends both", markup=False)
    found = _held(cloud, reason, who(by))
    if as_json:
        print_json({"status": "held", "by": found.by, "reason": found.reason, "since_ms": found.since_ms})
    else:
        console().print(f"{found.words}\nno push begins later than 5 seconds from now", markup=False)


def _held(cloud: Cloud, reason: str, by: str) -> Hold:
    """Hold the stack by the control function; where Lambda throttles that, by the ledger itself."""
    try:
        answer = cloud.control({"action": "hold", "reason": reason, "by": by})
    except ClientError as error:
        # The very runs that are to be stopped may have taken all of the account's concurrency.
        if error.response["Error"]["Code"] not in THROTTLED:
            raise
        return cloud.ledger.set_hold(by, reason)
    return Hold(str(answer["by"]), str(answer["reason"]), int(answer["since_ms"]))


@reports_errors
def release(
    yes: Yes = False, by: By = None, stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False
) -> None:
    """Release the stack, after a list of what starts then.

    Example: notifier release
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    found = cloud.ledger.read_hold()
    if found is None:
        raise CommandError(ExitCode.NOT_FINE, "nothing is held", "notifier status RUN says what a run waits for")
    starting = list(_starting(cloud))
    if not as_json:
        console().print(found.words, markup=False)
        for one in starting:
            console().print(f"would start: {one.kind} {one.name}", markup=False)
    sure(f"Release it? {len(starting):,} would start." if starting else "Release it? Nothing would start.", yes=yes)
    answer = cloud.control({"action": "release", "by": who(by)})
    if as_json:
        print_json({**answer, "starts": starting})
    elif answer["status"] == "released":
        console().print("released: what is due starts within a minute", markup=False)
    if answer["status"] != "released":
        raise CommandError(ExitCode.NOT_FINE, str(answer.get("reason", "it was not released")), "notifier setup")


def _starting(cloud: Cloud) -> Iterator[WouldStart]:
    """The runs, schedules and their times that are due. Each of them is taken up by the next sweep or tick."""
    now_ms = int(cloud.now() * 1000)
    # A file that has come meanwhile is due a little later, as a lane is that was handed over.
    for run_id in sorted(cloud.ledger.due_runs(now_ms + HAND_OVER_MS)):
        run = cloud.ledger.read_run(run_id)
        about = "" if run is None else f" ({run.campaign_id or run.source.key})"
        yield WouldStart("run", f"{run_id}{about}")
    store = ScheduleStore(cloud.client("dynamodb"), cloud.deployment.table, cloud.now)
    for schedule in store.due_schedules(now_ms):
        yield WouldStart("schedule", f"{schedule.name} {schedule.next}")
    for occurrence in store.due_occurrences(now_ms):
        yield WouldStart("schedule", f"{occurrence.name} {occurrence.stamp}")


def hold_check(cloud: Cloud) -> Iterator[Check]:
    """Whether the stack is held; nothing where it is not."""
    if (found := cloud.ledger.read_hold()) is not None:
        yield Check("hold", False, found.words, "notifier release, once the reason is gone")
