"""What a run cost on AWS, estimated from what it did. Google and Apple charge nothing for pushes."""

import math

import msgspec

from notifier.model.run import HEARTBEAT_MS

PRICES_OF = "list prices of us-east-1, without free tiers, as known in 2025; other regions cost up to a third more"
LAMBDA_GB_SECOND = 0.0000133334
"""USD, arm64. https://aws.amazon.com/lambda/pricing/"""
LAMBDA_REQUEST = 0.20 / 1e6
"""USD. https://aws.amazon.com/lambda/pricing/"""
S3_PUT = 0.005 / 1e3
"""USD, PUT and LIST. https://aws.amazon.com/s3/pricing/"""
S3_GET = 0.0004 / 1e3
"""USD. https://aws.amazon.com/s3/pricing/"""
S3_GB_MONTH = 0.023
"""USD. https://aws.amazon.com/s3/pricing/"""
DYNAMODB_WRITE = 0.625 / 1e6
"""USD, a write of up to 1 KB on demand. https://aws.amazon.com/dynamodb/pricing/on-demand/"""
DYNAMODB_READ = 0.125 / 1e6
"""USD, a consistent read of up to 4 KB on demand. https://aws.amazon.com/dynamodb/pricing/on-demand/"""

HOP_OVERHEAD_S = 3.0
"""Seconds of a hop beside sending: start, reading the batch file, waiting for the last answers."""
DEFAULT_MEMORY_MB = 1769
LEDGER_ITEM_KB = 2
"""A lane's item, with the account of a few arms."""
RANGE_BYTES = 8 * 1024 * 1024
"""About the size of the ranges in which the audience is fetched."""
GETS_PER_HOP = 2
LEDGER_WRITES_PER_HOP = 4
LEDGER_READS_PER_HOP = 4
LEDGER_WRITE_EVERY_S = HEARTBEAT_MS / 1000
"""A hop writes the ledger at least this often while it sends."""
MB_PER_GB = 1024
BYTES_PER_GB = 1e9


class Cost(msgspec.Struct, frozen=True):
    """An estimate in US dollars."""

    lambda_usd: float
    s3_usd: float
    dynamodb_usd: float
    gb_seconds: float
    basis: str = PRICES_OF

    @property
    def total_usd(self) -> float:
        """The sum."""
        return self.lambda_usd + self.s3_usd + self.dynamodb_usd


class Work(msgspec.Struct, frozen=True):
    """What the estimate is made of. `objects` are those the run wrote, `stored_bytes` their size for a month."""

    hops: int
    sending_s: float
    batches: int
    objects: int
    stored_bytes: int = 0
    audience_bytes: int = 0
    memory_mb: int = DEFAULT_MEMORY_MB


def cost_of(work: Work) -> Cost:
    """The estimate."""
    gb_seconds = (work.sending_s + work.hops * HOP_OVERHEAD_S) * work.memory_mb / MB_PER_GB
    gets = math.ceil(work.audience_bytes / RANGE_BYTES) + GETS_PER_HOP * work.hops
    # DynamoDB charges a write by each KB of the item, whatever part of it changes.
    writes = work.batches + work.sending_s / LEDGER_WRITE_EVERY_S + LEDGER_WRITES_PER_HOP * work.hops
    return Cost(
        lambda_usd=gb_seconds * LAMBDA_GB_SECOND + work.hops * LAMBDA_REQUEST,
        s3_usd=work.objects * S3_PUT + gets * S3_GET + work.stored_bytes / BYTES_PER_GB * S3_GB_MONTH,
        dynamodb_usd=writes * LEDGER_ITEM_KB * DYNAMODB_WRITE + LEDGER_READS_PER_HOP * work.hops * DYNAMODB_READ,
        gb_seconds=gb_seconds,
    )
