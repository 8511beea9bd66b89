"""How many lanes the account's concurrency allows."""

from typing import Any

import pytest

from notifier.events.concurrency import KEPT_FREE, Concurrency, read_concurrency


@pytest.mark.parametrize(
    ("reserved", "unreserved", "lanes"),
    [
        (None, 1_000, 992),
        (None, 10, 2),  # a new account
        (None, 3, 1),
        (20, 5, 19),  # what is reserved is the worker's alone, however little is left
        (1, 1_000, 1),
    ],
)
def test_what_is_kept_free(reserved: int | None, unreserved: int, lanes: int) -> None:
    """Lanes never take the last invocations of an account; one lane always may work."""
    assert Concurrency(reserved, 1_000, unreserved).for_lanes == lanes
    assert KEPT_FREE == 8


def test_read() -> None:
    """Of the function without its alias: a reservation belongs to the function."""

    class Client:
        def get_account_settings(self) -> Any:
            return {"AccountLimit": {"ConcurrentExecutions": 50, "UnreservedConcurrentExecutions": 30}}

        def get_function_concurrency(self, FunctionName: str) -> Any:  # noqa: N803 - boto3's
            return {"worker": {"ReservedConcurrentExecutions": 20}, "other": {}}[FunctionName]

    assert read_concurrency(Client(), "worker:live") == Concurrency(20, 50, 30)
    assert read_concurrency(Client(), "other") == Concurrency(None, 50, 30)
