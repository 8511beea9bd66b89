"""What a run cost on AWS, estimated from what it did. Google and Apple charge nothing for pushes."""

import math

import msgspec

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
"""Of a hop, beside sending: start, opening, draining."""
DEFAULT_MEMORY_MB = 1769
LEDGER_ITEM_KB = 2
"""A lane's item, with the account of a few arms."""
RANGE_BYTES = 8 * 1024 * 1024
"""The audience is fetched in ranges of this order."""


class Cost(msgspec.Struct, frozen=True):
    """US dollars."""

    lambda_usd: float
    s3_usd: float
    dynamodb_usd: float
    gb_seconds: float
    basis: str = PRICES_OF

    @property
    def total_usd(self) -> float:
        """All together."""
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
    gb_seconds = (work.sending_s + work.hops * HOP_OVERHEAD_S) * work.memory_mb / 1024
    gets = math.ceil(work.audience_bytes / RANGE_BYTES) + 2 * work.hops
    writes = (work.batches + work.sending_s / 4 + 4 * work.hops) * LEDGER_ITEM_KB
    return Cost(
        lambda_usd=gb_seconds * LAMBDA_GB_SECOND + work.hops * LAMBDA_REQUEST,
        s3_usd=work.objects * S3_PUT + gets * S3_GET + work.stored_bytes / 1e9 * S3_GB_MONTH,
        dynamodb_usd=writes * DYNAMODB_WRITE + 4 * work.hops * DYNAMODB_READ,
        gb_seconds=gb_seconds,
    )
