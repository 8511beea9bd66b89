"""The X-Ray trace header, and in it the lineage by which Lambda counts a chain of invocations.

`Root=1-…;Parent=…;Sampled=0;Lineage=1a2b3c4d:3`. The runtime client exports it as `_X_AMZN_TRACE_ID`, and botocore
sends it, percent-encoded, with every call from inside a function; so a function that invokes itself is recognised.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""

import secrets
import time
import zlib
from typing import Final, Self
from urllib.parse import unquote

import msgspec

LOOP_LIMIT: Final = 16
_COUNT_MAX: Final = 255


class Trace(msgspec.Struct, frozen=True):
    """A trace header. `lineage` pairs hashed functions with how often the chain has been through them."""

    root: str
    parent: str
    sampled: str
    lineage: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, header: str, traced: bool) -> Self:
        """The trace that a caller sent, or a new one. What cannot be read counts as not sent."""
        fields = dict(part.strip().split("=", 1) for part in unquote(header).split(";") if "=" in part)
        pairs = (part.split(":") for part in fields.get("Lineage", "").split("|") if part)
        return cls(
            root=fields.get("Root") or f"1-{int(time.time()):08x}-{secrets.token_hex(12)}",
            parent=fields.get("Parent") or secrets.token_hex(8),
            sampled=fields.get("Sampled") or ("1" if traced else "0"),
            lineage=tuple((pair[-2], int(pair[-1])) for pair in pairs if len(pair) > 1 and pair[-1].isdigit()),
        )

    def through(self, function_arn: str) -> tuple[Self, int]:
        """The trace as the function gets it, and how often the chain has entered that function, this time included."""
        mark = f"{zlib.crc32(function_arn.encode()):08x}"
        count = dict(self.lineage).get(mark, 0) + 1
        lineage = {**dict(self.lineage), mark: min(count, _COUNT_MAX)}
        return msgspec.structs.replace(self, lineage=tuple(lineage.items())), count

    def header(self) -> str:
        """As `Lambda-Runtime-Trace-Id` has it."""
        lineage = "|".join(f"{mark}:{count}" for mark, count in self.lineage)
        return f"Root={self.root};Parent={self.parent};Sampled={self.sampled}" + (
            f";Lineage={lineage}" if lineage else ""
        )
