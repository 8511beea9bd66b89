"""What a million pushes cost, from the measured CPU: AWS' list prices in us-east-1, without free tiers.

AWS' own price pages load their figures by script and could not be read here. These were looked up on 2026-11-21 in
pages that quote them: SNS at https://www.factualminds.com/blog/amazon-sns-pricing-publishes-fanout-protocols/ (June
2026), logs at https://c3x.dev/blog/cloudwatch-logs-cost-optimization (June 2026). Metrics, alarms and the dashboard
cost by the month, not by the push, and are not in here.
"""

import msgspec

from reporting.cost import (
    DYNAMODB_WRITE,
    LAMBDA_GB_SECOND,
    LAMBDA_REQUEST,
    S3_GB_MONTH,
    S3_GET,
    S3_PUT,
)

LOGS_PER_GB = 0.50
"""https://aws.amazon.com/cloudwatch/pricing/"""
XRAY_PER_TRACE = 5.0 / 1e6
"""https://aws.amazon.com/xray/pricing/"""
SNS_PER_PUBLISH = 0.50 / 1e6
SNS_PER_MOBILE_PUSH = 0.50 / 1e6
"""https://aws.amazon.com/sns/pricing/: to publish to a device is billed, and so is the delivery."""

FULL_VCPU_MB = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
GATEWAYS_PER_S = 10_000
"""FCM's own ceiling, and our default of 9,000 with APNs beside it: faster than this no vCPU helps."""
BATCH = 500
LEDGER_WRITES_PER_S = 4
LEDGER_KB = 3
"""The lane's item, and the same again in its index."""
LOG_BYTES_PER_S = 400
ROWS_BYTES_PER_PUSH = 40
"""Of the rows objects, gzipped."""
HOP_S = 840.0


class Cost(msgspec.Struct, frozen=True):
    """Dollars for a million pushes."""

    memory_mb: int
    seconds: float
    compute: float
    s3: float
    dynamodb: float
    logs: float
    xray: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.s3 + self.dynamodb + self.logs + self.xray


def of_a_million(cpu_us: float, memory_mb: int) -> Cost:
    """With so much CPU a push, on arm64. Lambda gives CPU in proportion to memory, and one thread uses one vCPU."""
    vcpu = min(1.0, memory_mb / FULL_VCPU_MB)
    seconds = max(cpu_us / vcpu, 1e6 / GATEWAYS_PER_S)
    hops = max(1.0, seconds / HOP_S)
    batches = 1e6 / BATCH
    writes = seconds * LEDGER_WRITES_PER_S * LEDGER_KB * 2
    s3 = batches * S3_PUT + batches * 0.1 * S3_GET + 1e6 * ROWS_BYTES_PER_PUSH / 1e9 * S3_GB_MONTH
    return Cost(
        memory_mb,
        seconds,
        seconds * memory_mb / 1024 * LAMBDA_GB_SECOND + hops * LAMBDA_REQUEST,
        s3,
        writes * DYNAMODB_WRITE,
        seconds * LOG_BYTES_PER_S / 1e9 * LOGS_PER_GB,
        XRAY_PER_TRACE * max(1.0, hops / 8),
    )


def sns() -> float:
    """Dollars for a million mobile pushes through SNS, one publish each: no audience, no arms, no rows."""
    return 1e6 * (SNS_PER_PUBLISH + SNS_PER_MOBILE_PUSH)
