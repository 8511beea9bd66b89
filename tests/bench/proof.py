"""How long find, audit and erase take in a stack of ten campaigns, the first of a million users.

    python -m tests.bench.proof --users 1000000 --campaigns 10

The runs are made by the worker's own code with made-up answers, in moto in another process; each of the three is done
in a process of its own, so that its memory is seen: of the audit, which takes two, that of the first. moto answers a
request in some milliseconds of its own CPU, which on two cores is a part of what is measured: the CPU of the process
itself is printed beside the time.
"""

import argparse
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from notifier.model.campaign import Campaign, Message, Variant
from privacy.erase import erase, in_words
from privacy.stack import Stack, read_versions
from privacy.whom import suppress
from reporting.person import find, plan
from reporting.proof.audit import audit
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, make_table, moto_server
from tests.made_run import make_run

USERS_IN_PART = 250_000
OTHERS = 20_000
"""Users of each campaign but the first."""


class Part:
    """A part's users, made each time they are read."""

    def __init__(self, count: int, seed: int) -> None:
        self._recipe = Recipe(users=count, broken=count // 1000, seed=seed)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return users(self._recipe)


def serve(address: Any) -> None:
    with moto_server() as endpoint:
        address.send(endpoint)
        address.recv()


def campaign_of_bench(id_: str = "bench") -> Campaign:
    """Two variants with a placeholder, and a control group."""
    variants = (Variant("question", Decimal(45), Message(title="Who?")), Variant("statement", Decimal(45)))
    return Campaign(id_, Message(title="Hi {{ first_name }}", body="b"), variants, Decimal(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--campaigns", type=int, default=10)
    given = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,))
    server.start()
    endpoint = here.recv()
    client = client_of("s3", endpoint)
    client.create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_bucket_versioning(Bucket="bench", VersioningConfiguration={"Status": "Enabled"})
    make_table(client_of("dynamodb", endpoint), "bench")
    began = time.perf_counter()
    sizes = [min(USERS_IN_PART, given.users - n) for n in range(0, given.users, USERS_IN_PART)]
    parts = [Part(size, n) for n, size in enumerate(sizes, 1)]
    run = make_run(client, "bench", campaign_of_bench(), parts, time.time())
    for n in range(1, given.campaigns):
        some = [Part(min(OTHERS, given.users), 1)]
        make_run(client, "bench", campaign_of_bench(f"bench-{n}"), some, time.time())
    print(f"made in {time.perf_counter() - began:.0f} s; load {os.getloadavg()[0]:.1f}", flush=True)
    user_id = f"user-1-{min(sizes[0], OTHERS) // 3:09d}"
    steps: tuple[tuple[str, Callable[..., str], tuple[Any, ...]], ...] = (
        ("find", found, (endpoint, user_id)),
        ("audit by two processes", audited, (endpoint, run.run_id)),
        ("erase", erased, (endpoint, user_id)),
        ("audit after it", audited, (endpoint, run.run_id)),
    )
    for name, step, arguments in steps:
        alone = multiprocessing.get_context("spawn").Process(target=timed, args=(name, step, arguments))
        alone.start()
        alone.join()
    server.terminate()


def timed(name: str, step: Callable[..., str], arguments: tuple[Any, ...]) -> None:
    before, began, cpu = peak_mb(), time.perf_counter(), cpu_s()
    words = step(*arguments)
    took = (
        f"{time.perf_counter() - began:.1f} s ({cpu_s() - cpu:.1f} s of CPU), {peak_mb():.0f} MB ({before:.0f} before)"
    )
    print(f"{name}: {took}; {words}; load {os.getloadavg()[0]:.1f}", flush=True)


def found(endpoint: str, user_id: str) -> str:
    client = client_of("s3", endpoint)
    planned = plan(client, "bench", user_id)
    return f"{len(find(client, 'bench', user_id, planned).rows)} rows. {planned.in_words}"


def audited(endpoint: str, run_id: str) -> str:
    make_client = functools.partial(client_of, "s3", endpoint)
    proof = audit(make_client(), "bench", run_id, make_client=make_client)
    return f"{proof.in_words}, {proof.rows:,} rows"


def erased(endpoint: str, user_id: str) -> str:
    s3, now = client_of("s3", endpoint), datetime.now(UTC)
    stack = Stack(s3, client_of("dynamodb", endpoint), "bench", "bench", "suppression/")
    words = in_words(read_versions(stack))
    done = erase(stack, suppress(s3, "bench", "suppression/", [user_id], now), "bench", now)
    return f"of {len(done.runs)} runs, done: {done.is_done}. {words}"


def peak_mb() -> float:
    # Not getrusage's: a new process begins there with the peak of the one that it was started by.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def cpu_s() -> float:
    """Of this process, and of those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    main()
