"""What a stack costs by the month, and what a campaign costs: from counts of the template, measured figures and prices.

Measured figures are those of this repository's own benchmarks; each says of which. Prices are AWS's list prices without
free tiers, as pages that quote them have them: AWS's own pages load theirs by script, and could not be read here.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from reporting.cost import MB_PER_GB, S3_PUT, Work, cost_of

PRICES_OF = (
    "us-east-1's list prices without free tiers: of Lambda, DynamoDB and Secrets Manager as other pages quoted them in "
    "2025 and 2026, of CloudWatch and S3 from memory; other regions by an estimated factor: check them for yours"
)
FACTOR = {"us-east-1": 1.0, "us-west-2": 1.0, "eu-west-1": 1.07, "eu-central-1": 1.17, "ap-northeast-1": 1.15}
"""How much more requests and storage cost in a region than in us-east-1. Estimated, as known in July 2025."""
HIGHEST = 1.35
"""Of a region that is not in the table: São Paulo's, the most expensive."""

ALARM, DASHBOARD, SECRET, METRIC = 0.10, 3.00, 0.40, 0.30
"""USD a month, the same in every region. https://aws.amazon.com/cloudwatch/pricing/, /secrets-manager/pricing/"""
GB_SECOND, INVOCATION, LOG_GB = 0.0000133334, 0.20 / 1e6, 0.50
"""USD, arm64. https://aws.amazon.com/lambda/pricing/, https://aws.amazon.com/cloudwatch/pricing/"""
MINUTES = 30 * 24 * 60
TICKS_A_MINUTE = 2
"""The sweeper's and the schedules'."""
TICK_S, TICK_MB, TICK_LOG_BYTES = 0.15, 512, 900
"""Of a tick with nothing to do; the seconds are assumed, not measured on Lambda: two queries and a metric."""
LISTS_A_MINUTE = 1
"""Of `schedules/`. Where there is one, those of `queries/` and `conversions/` come to it: an edit of each is found."""
IDLE_METRICS = 3
"""Sweeps, StalledLanes, LettersGivenUp: written each minute, whatever happens."""

DEVICES_PER_S = 8_200
"""Measured (8,266): `python -m tests.bench.whole --late`, answers at a median of 60 ms (README, Speed and cost)."""
ROW_BYTES = 40
"""Measured: rows objects, gzipped (tests/bench/money.py)."""
USER_BYTES = 250
"""Measured: the samples of `python -m sandbox audience`."""
HOP_S = 840
"""A worker's invocation, of 900 s."""
BATCH = 500


class Item(msgspec.Struct, frozen=True):
    """One line of a bill."""

    name: str
    usd: float


def idle(template: Path, secrets: int, region: str) -> tuple[Item, ...]:
    """A month of a stack that sends nothing, by the resources that its template makes."""
    text = template.read_text(encoding="utf-8")
    alarms, dashboards = text.count("Type: AWS::CloudWatch::Alarm"), text.count("Type: AWS::CloudWatch::Dashboard")
    ticks = MINUTES * TICKS_A_MINUTE
    lambda_usd = ticks * (TICK_S * TICK_MB / MB_PER_GB * GB_SECOND + INVOCATION)
    return (
        Item(f"dashboard ({dashboards})", dashboards * DASHBOARD),
        Item(f"alarms ({alarms})", alarms * ALARM),
        Item(f"metrics ({IDLE_METRICS})", IDLE_METRICS * METRIC),
        Item(f"secrets ({secrets})", secrets * SECRET),
        Item(f"sweeper and schedules ({ticks:,} invocations)", lambda_usd),
        Item(f"looking for schedules ({MINUTES:,} lists)", MINUTES * LISTS_A_MINUTE * S3_PUT * factor(region)),
        Item("logs", ticks * TICK_LOG_BYTES / 1e9 * LOG_GB * factor(region)),
    )


def campaign(devices: int, region: str, measured: "Measured | None" = None) -> float:
    """A campaign to so many devices: Lambda, S3 with a month of its rows, DynamoDB."""
    per_second = measured.per_second if measured else DEVICES_PER_S
    sending_s = devices / per_second
    work = Work(
        hops=max(1, round(sending_s / HOP_S) + 1),
        sending_s=sending_s,
        batches=-(-devices // BATCH),
        objects=-(-devices // BATCH),
        stored_bytes=devices * ROW_BYTES,
        audience_bytes=devices * USER_BYTES,
    )
    return cost_of(work).total_usd * factor(region)


class Measured(msgspec.Struct, frozen=True):
    """A run of one's own, instead of the benchmarks' figures."""

    devices: int
    sending_s: float

    @property
    def per_second(self) -> float:
        """Devices a second while it sent."""
        return max(self.devices / self.sending_s, 1.0) if self.sending_s else float(DEVICES_PER_S)


def factor(region: str, factors: Mapping[str, float] = FACTOR) -> float:
    """How much more a region costs than us-east-1."""
    return factors.get(region, HIGHEST)
