"""How many lanes the account's concurrency allows."""

from types import SimpleNamespace
from typing import Any

import pytest

from notifier.composition.gateways import endpoints
from notifier.composition.process import Process
from notifier.composition.settings import read_settings
from notifier.events.concurrency import KEPT_FREE, Concurrency, read_concurrency
from notifier.model.lane_membership import MEMBER_MS, Member, member_name
from notifier.model.run import Run, source_of
from operations.cli.setup import concurrency_check
from tests.twins.clock import TwinClock
from tests.twins.ledger import MemoryLedger


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


class Client:
    """Lambda, as far as it is asked for limits."""

    def __init__(self, unreserved: int = 30) -> None:
        self._unreserved = unreserved

    def get_account_settings(self) -> Any:
        """The account's."""
        return {"AccountLimit": {"ConcurrentExecutions": 50, "UnreservedConcurrentExecutions": self._unreserved}}

    def get_function_concurrency(self, FunctionName: str) -> Any:  # noqa: N803 - boto3's
        """A function's."""
        return {"worker": {"ReservedConcurrentExecutions": 20}, "other": {}}[FunctionName]


def test_read() -> None:
    """Of the function without its alias: a reservation belongs to the function."""
    assert read_concurrency(Client(), "worker:live") == Concurrency(20, 50, 30)
    assert read_concurrency(Client(), "other") == Concurrency(None, 50, 30)


def process_of(unreserved: int, ledger: MemoryLedger, clock: TwinClock) -> Process:
    """A worker's process, as far as it is asked for room."""
    settings = read_settings({"BUCKET": "b", "TABLE": "t", "WORKER_FUNCTION": "other:live"})
    nothing: Any = None
    return Process(
        settings=settings, clock=clock, background=nothing, ledger_background=nothing, ledger=ledger, results=nothing,
        library=nothing, continuation=nothing, announcer=nothing, audiences=nothing, keys=nothing, s3=nothing,
        lambda_=Client(unreserved),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("others", "lapsed", "room"),
    [
        (0, 0, 22),  # 30 unreserved, 8 kept free: this run has all of it, its own first lane among them
        (5, 0, 17),
        (5, 9, 17),  # what has lapsed is no lane at work
        (21, 0, 1),
        (60, 0, 1),  # whatever others do, the lane that asks may work
    ],
)
def test_lanes_of_other_runs_take_room(others: int, lapsed: int, room: int) -> None:
    """A run that begins gets what the account allows less the lanes that work for other runs, at least one."""
    clock = TwinClock()
    ledger = MemoryLedger(clock.now)
    source = source_of("b", "batches/a.json", "v", "e")
    now_ms = int(clock.now() * 1000)
    ledger.open_run(Run("r", source, now_ms))
    ledger.claim("r", 0, "1", "this worker", now_ms + 900_000)
    ledger.join({member_name("others", n): Member(now_ms + MEMBER_MS) for n in range(others)}, now_ms)
    ledger.join({member_name("over", n): Member(now_ms) for n in range(lapsed)}, now_ms)
    assert process_of(30, ledger, clock)._room_for_lanes() == room


@pytest.mark.parametrize(
    ("worker", "unreserved", "fine", "words"),
    [
        ("worker", 30, True, ("50 invocations at once", "20 for the worker (WorkerConcurrency)", "up to 19 lanes")),
        ("other", 30, True, ("nothing reserved for the worker (WorkerConcurrency)", "30 unreserved", "up to 22 lanes")),
        ("other", 1_000, True, ("up to 112 lanes",)),  # no run has more
        ("other", 8, False, ("up to 1 lane at work",)),
    ],
)
def test_setup_shows_both(worker: str, unreserved: int, fine: bool, words: tuple[str, ...]) -> None:
    """`notifier setup` names the reservation, the account's limit, and how many lanes they allow."""
    stack: Any = SimpleNamespace(client=lambda _: Client(unreserved), deployment=SimpleNamespace(worker=worker))
    (check,) = concurrency_check(stack)
    assert check.fine is fine
    assert all(word in check.finding for word in words), check.finding
    assert "Service Quotas" in check.mend


@pytest.mark.parametrize(
    ("lanes", "each", "together"), [(1, 4, 4), (8, 4, 32), (16, 4, 64), (17, 3, 51), (64, 1, 64), (112, 1, 112)]
)
def test_connections_to_apple_are_bounded_for_the_run(lanes: int, each: int, together: int) -> None:
    """Four for a lane, 64 for a run to a host; one for each lane where there are more lanes than that."""
    hosts = {host.name: host for host in endpoints(read_settings({"BUCKET": "b", "TABLE": "t"}), lanes)}
    for name in ("apns", "apns-sandbox"):
        assert (hosts[name].max_connections, hosts[name].max_connections * lanes) == (each, together)
