"""`cost`: what a stack and its campaigns cost, from measured figures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from notifier.model.summary import summary_of
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, Stack, StackFile, console, print_json
from reporting.monthly import FACTOR, PRICES_OF, Measured, campaign, idle

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
GATEWAYS, PAGES = 2, 1
"""Secrets: two of the gateways, and one with which the pages sign."""


@reports_errors
def cost(
    devices: Annotated[int, typer.Option(min=1, help="Devices of a campaign.")] = 1_000_000,
    campaigns: Annotated[int, typer.Option(min=0, help="Campaigns of that size a month.")] = 10,
    region: Annotated[str, typer.Option(help=f"{', '.join(FACTOR)}; any other counts as the dearest.")] = "us-east-1",
    pages: Annotated[bool, typer.Option(help="With the approval pages.")] = True,
    run: Annotated[str | None, typer.Option(help="At the speed of this run, and not of our benchmarks.")] = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what a stack costs a month: idle, for each campaign, and together. Without free tiers.

    Example: notifier cost --devices 250000 --campaigns 30 --region eu-central-1
    """
    if not TEMPLATE.exists():
        raise CommandError(ExitCode.NOT_FOUND, f"{TEMPLATE} is not there", "run it from a clone")
    measured = _measured(Cloud(find_deployment(stack, stack_file)), run) if run else None
    items = idle(TEMPLATE, GATEWAYS + (PAGES if pages else 0), region)
    idle_usd, each_usd = sum(item.usd for item in items), campaign(devices, region, measured)
    month_usd = idle_usd + campaigns * each_usd
    if as_json:
        figures = {"idle_usd": idle_usd, "campaign_usd": each_usd, "month_usd": month_usd}
        print_json({"region": region, "items": items, **figures, "basis": PRICES_OF})
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for item in items:
        table.add_row(item.name, f"${item.usd:.2f}")
    table.add_row("idle, a month", f"${idle_usd:.2f}", style="bold")
    table.add_row(f"a campaign of {devices:,} devices", f"${each_usd:.4f}")
    table.add_row(f"a month with {campaigns} of them", f"${month_usd:.2f}", style="bold")
    console().print(table)
    console().print(f"{region}; {PRICES_OF}", style="dim", markup=False)


def _measured(cloud: Cloud, name: str) -> Measured:
    run, lanes = cloud.read(cloud.run_id_of(name))
    summary = summary_of(run, lanes, cloud.deployment.bucket)
    if not summary.devices or not summary.sending_s:
        raise CommandError(ExitCode.NOT_FINE, f"{name} has sent nothing to measure", "name a run that completed")
    return Measured(summary.devices - summary.unsent, summary.sending_s)
