"""What a stack costs: counts of the template, measured figures, prices."""

import json

import pytest
from typer.testing import CliRunner

from operations.cli import app
from operations.cli.costing import TEMPLATE
from reporting.monthly import DEVICES_PER_S, Measured, campaign, factor, idle


def test_idle_is_mostly_dashboard_alarms_and_secrets() -> None:
    """About seven dollars; each alarm and the dashboard of the template is counted."""
    items = {item.name.split(" (")[0]: item.usd for item in idle(TEMPLATE, 3, "us-east-1")}
    alarms = TEMPLATE.read_text("utf-8").count("Type: AWS::CloudWatch::Alarm")
    assert items["alarms"] == pytest.approx(alarms * 0.10)
    assert items["dashboard"] == 3.0
    assert items["secrets"] == pytest.approx(1.2)
    assert 5.5 < sum(items.values()) < 8


def test_a_campaign_costs_cents() -> None:
    """A million devices one to five cents; ten times the devices ten times as much, within the hops' own cost."""
    million = campaign(1_000_000, "us-east-1")
    assert 0.005 < million < 0.05
    assert campaign(10_000_000, "us-east-1") == pytest.approx(10 * million, rel=0.1)
    assert campaign(1_000_000, "eu-central-1") > million


def test_a_slow_run_of_ones_own_costs_more() -> None:
    """Lambda is billed by the second: at a tenth of the pace most of it is ten times as much."""
    slow = Measured(DEVICES_PER_S, 10)
    assert slow.per_second == DEVICES_PER_S / 10
    assert campaign(1_000_000, "us-east-1", slow) > 2 * campaign(1_000_000, "us-east-1")


def test_an_unknown_region_is_the_dearest() -> None:
    """So that nobody plans with too little."""
    assert factor("sa-east-1") == max(factor(name) for name in ("us-east-1", "eu-central-1", "sa-east-1"))


def test_the_command() -> None:
    """The same figures as JSON, with the prices' date and source."""
    done = CliRunner().invoke(app, ["cost", "--devices", "1000", "--campaigns", "2", "--json"])
    found = json.loads(done.output)
    assert found["month_usd"] == pytest.approx(found["idle_usd"] + 2 * found["campaign_usd"])
    assert "2025" in found["basis"]


def test_the_documents_screen() -> None:
    """docs/operations.md shows what the command prints, line by line."""
    page = (TEMPLATE.parent / "docs" / "operations.md").read_text("utf-8")
    printed = CliRunner().invoke(app, ["cost"], env={"COLUMNS": "120"}).output
    amounts = [line.rstrip() for line in printed.splitlines() if "$" in line]
    assert len(amounts) == 10
    for line in amounts:
        assert line in page, line
