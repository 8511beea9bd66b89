"""How many invocations of the worker may run at once: reserved for it, or of what the account has unreserved."""

from typing import Any

import msgspec

from notifier.events.continuation import unqualified

KEPT_FREE = 8
"""Of what the account has unreserved, never used by lanes: control, sweeper, pages and audiences must get through."""


class Concurrency(msgspec.Struct, frozen=True):
    """Numbers of invocations at once.

    Args:
        reserved: for the worker alone; None where nothing is (WorkerConcurrency).
        account: the account's limit in the region.
        unreserved: what is left of it for functions that have nothing reserved.
    """

    reserved: int | None
    account: int
    unreserved: int

    @property
    def for_lanes(self) -> int:
        """How many lanes may be at work. One at least: without it nothing is sent at all."""
        # One invocation hands over while its next one begins.
        most = self.reserved - 1 if self.reserved is not None else self.unreserved - KEPT_FREE
        return max(most, 1)


def read_concurrency(client: Any, function: str) -> Concurrency:
    """Ask Lambda.

    Args:
        client: a boto3 Lambda client.
        function: the worker's name or ARN.
    """
    limits = client.get_account_settings()["AccountLimit"]
    reserved = client.get_function_concurrency(FunctionName=unqualified(function)).get("ReservedConcurrentExecutions")
    return Concurrency(reserved, limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"])
