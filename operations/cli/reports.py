"""`report`: what a run did."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from notifier.model.campaign import Campaign
from notifier.model.summary import summary_of
from operations.cli.options import AsJson, RunName, Stack, StackFile, console, notes, print_json
from operations.cli.place import Cloud, find_place
from operations.cli.trouble import tells_trouble
from reporting import sql as sql_text
from reporting.figures import Report, make_report, plain_of
from reporting.page import page
from reporting.rows import count_lines, read_rows
from reporting.table import table


class _Opened(msgspec.Struct):
    """What the report uses of `state/run_id=R/campaign.json`."""

    campaign: Campaign
    parts: list[dict[str, Any]] = []


@tells_trouble
def report(
    run: RunName,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as one HTML page that needs nothing else.")
    ] = None,
    sql: Annotated[
        sql_text.Dialect | None, typer.Option(help="Print SQL that joins the rows with your app's own conversions.")
    ] = None,
    conversions: Annotated[
        str, typer.Option(help="The table of your conversions: user_id, at. For --sql.")
    ] = "conversions",
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run did: arms side by side, the check of their sizes, time line, reasons, dead tokens, cost.

    The arms are compared by assigned users: see `--sql` for your own conversions.

    Example: notifier report day-2-engagement-2026-11-21 --html report.html
    """
    cloud = Cloud(find_place(stack, stack_file))
    run_id = cloud.run_id_of(run)
    if sql is not None:
        typer.echo(sql_text.script(sql, run_id, cloud.place.bucket, conversions))
        return
    made = make(cloud, run_id)
    if html is not None:
        html.write_text(page(made, cloud.place.bucket), encoding="utf-8")
        notes().print(f"written: {html}", markup=False)
    if as_json:
        print_json(plain_of(made))
    elif html is None:
        console().print(table(made))


def make(cloud: Cloud, run_id: str) -> Report:
    """The report of a run, from its ledger, its campaign and its rows. Raises Trouble."""
    run, lane = cloud.read(run_id)
    s3, bucket = cloud.client("s3"), cloud.place.bucket
    opened = _opened(s3, bucket, run_id)
    rows = read_rows(s3, bucket, run_id)
    dead, dead_objects = count_lines(s3, bucket, f"dead-tokens/run_id={run_id}/")
    return make_report(
        summary_of(run, lane, bucket),
        opened.campaign.arms if opened else None,
        rows,
        dead,
        objects=dead_objects,
        audience_bytes=sum(int(part.get("size", 0)) for part in opened.parts) if opened else 0,
    )


def _opened(s3: Any, bucket: str, run_id: str) -> _Opened | None:
    """The campaign, as long as it is kept."""
    try:
        body = s3.get_object(Bucket=bucket, Key=f"state/run_id={run_id}/campaign.json")["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return msgspec.json.decode(body, type=_Opened)
