"""`report`: the figures of a run, as a table, as JSON, as a page, or as SQL."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from notifier.model.campaign import Campaign
from notifier.model.summary import Summary, summary_of
from operations.cli import winners
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.goals import goal_of
from operations.cli.holdouts import holdout_lift
from operations.cli.options import AsJson, By, Stack, StackFile, Yes, console, notes, print_json, sure, who
from operations.cli.over_days import schedule_days
from reporting import sql as sql_text
from reporting.experiment import outcome_screen, plain_outcome
from reporting.figures import Report, make_report, plain_of
from reporting.holdout import holdout_screen, plain_holdout
from reporting.outcome import Outcome, WinnerSeen
from reporting.over_days import days_screen
from reporting.page import page
from reporting.rows import count_dead_tokens, read_rows
from reporting.table import screen


class _Opened(msgspec.Struct):
    """What the report uses of `state/run_id=R/campaign.json`."""

    campaign: Campaign
    parts: list[dict[str, Any]] = []


@reports_errors
def report(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run id, the batch file's s3://bucket/key, or a campaign id."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Instead of a run: a schedule's experiment, over its whole history."),
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option(metavar="GOAL", help="Instead of a run: what all pushes since a day brought, by the holdout."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="With --holdout: the first day (UTC), as 2026-11-01.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="With --holdout: the last day (UTC); without it up to now.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report to this file, as one HTML page that needs nothing else.")
    ] = None,
    sql: Annotated[
        sql_text.Dialect | None, typer.Option(help="Print SQL that joins the rows with your app's own conversions.")
    ] = None,
    conversions: Annotated[
        str, typer.Option(help="With --sql: your table of conversions, with the columns user_id and at.")
    ] = "conversions",
    decide: Annotated[
        str | None,
        typer.Option(metavar="ARM", help="Of a test with a winner: send this arm to the remainder; control: nothing."),
    ] = None,
    by: By = None,
    yes: Yes = False,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Report a run: arms side by side, the check of their sizes, time line, reasons, dead tokens, cost.

    With --schedule: a campaign that comes back, over all of its times; the evidence of its days multiplies.

    With --holdout: users who got no campaign against all others, by a goal, over the campaigns since a day.

    Where the campaign has a goal: who converted, by arm, the lift with its interval, and a verdict in words.

    Compare the arms by their assigned users; `--sql` prints the query that joins them with your own conversions.

    Example: notifier report day-2-engagement-2026-11-21 --html report.html
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    if run is None or schedule is not None or holdout is not None:
        if holdout is None:
            _report_schedule(cloud, run, schedule, as_json=as_json)
        else:
            _report_holdout(cloud, run or schedule, holdout, since, until, as_json=as_json)
        return
    run_id = cloud.run_id_of(run)
    if sql is not None:
        typer.echo(sql_text.script(sql, run_id, cloud.deployment.bucket, conversions))
        return
    if decide is not None:
        sure(f"Decide the winner of {run_id}: {decide}?", yes=yes)
        winner = winners.decide(cloud, run_id, decide, who(by))
    else:
        winner = winners.winner_of(cloud, run_id)
    made = make(cloud, run_id)
    goal = _goal(cloud, made.summary)
    # The page and JSON may both be asked for; the table is printed where neither is.
    if html is not None:
        html.write_text(page(made, cloud.deployment.bucket, goal, winner), encoding="utf-8")
        notes().print(f"written: {html}", markup=False)
    if as_json:
        print_json(plain_of(made) | ({"goal": plain_outcome(goal)} if goal else {}) | _plain_winner(winner))
    elif html is None:
        console().print(screen(made))
        if goal is not None:
            console().print(outcome_screen(goal))
        if winner is not None:
            console().print(Text(winner.in_words, style="bold"))


def _report_schedule(cloud: Cloud, run: str | None, schedule: str | None, *, as_json: bool) -> None:
    if schedule is None or run is not None:
        raise CommandError(ExitCode.USAGE, "name a run, or a schedule with --schedule", "notifier report RUN")
    found = schedule_days(cloud, schedule)
    if as_json:
        print_json(found)
    else:
        console().print(days_screen(found))


def _report_holdout(
    cloud: Cloud, other: str | None, goal: str, since: str | None, until: str | None, *, as_json: bool
) -> None:
    if other is not None or since is None:
        raise CommandError(ExitCode.USAGE, "--holdout is of a time", "notifier report --holdout GOAL --since DATE")
    found = holdout_lift(cloud, goal, since, until)
    if as_json:
        print_json(plain_holdout(found))
    else:
        console().print(holdout_screen(found))


def _plain_winner(winner: WinnerSeen | None) -> dict[str, Any]:
    return {"winner": {**msgspec.to_builtins(winner), "in_words": winner.in_words}} if winner is not None else {}


def _goal(cloud: Cloud, summary: Summary) -> Outcome | None:
    """What came of the campaign's goal. Where that cannot be known a note says why, and the rest is reported."""
    s3, bucket = cloud.client("s3"), cloud.deployment.bucket
    opened = _opened(s3, bucket, summary.run_id)
    if opened is None or opened.campaign.goal is None:
        return None
    try:
        return goal_of(cloud, summary, opened.campaign, opened.campaign.goal)
    except CommandError as error:
        notes().print(f"goal {opened.campaign.goal.name}: {error.problem}; {error.mend}", markup=False)
        return None


def make(cloud: Cloud, run_id: str) -> Report:
    """The report of a run, from its ledger, its campaign and its rows. Raises CommandError."""
    run, lanes = cloud.read(run_id)
    s3, bucket = cloud.client("s3"), cloud.deployment.bucket
    opened = _opened(s3, bucket, run_id)
    rows = read_rows(s3, bucket, run_id)
    dead, dead_objects = count_dead_tokens(s3, bucket, run_id, rows.epochs)
    return make_report(
        summary_of(run, lanes, bucket, cloud.approved_by(run)),
        # Without the campaign the arms' shares are unknown; the counts are in the ledger, and stay.
        opened.campaign.arms if opened else None,
        rows,
        dead,
        objects=dead_objects,
        audience_bytes=sum(int(part.get("size", 0)) for part in opened.parts) if opened else 0,
    )


def _opened(s3: Any, bucket: str, run_id: str) -> _Opened | None:
    """The campaign; None once its object has expired."""
    try:
        body = s3.get_object(Bucket=bucket, Key=f"state/run_id={run_id}/campaign.json")["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return msgspec.json.decode(body, type=_Opened)
