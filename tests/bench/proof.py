"""How long an audit and a look-up take, and the audit's memory (`python -m tests.bench.proof --users 1000000`).

The run is made by the worker's own code with made-up answers, in moto in another process.
"""

import argparse
import functools
import multiprocessing
import resource
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from notifier.model.campaign import Campaign, Message, Variant
from reporting.person import find, plan
from reporting.proof.audit import audit
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, moto_server
from tests.made_run import make_run

USERS_IN_PART = 250_000


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


def campaign_of_bench() -> Campaign:
    """Two variants with a placeholder, and a control group."""
    variants = (Variant("question", Decimal(45), Message(title="Who?")), Variant("statement", Decimal(45)))
    return Campaign("bench", Message(title="Hi {{ first_name }}", body="b"), variants, Decimal(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    count = parser.parse_args().users
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,))
    server.start()
    client = client_of("s3", here.recv())
    client.create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_bucket_versioning(Bucket="bench", VersioningConfiguration={"Status": "Enabled"})
    campaign = campaign_of_bench()
    parts = [Part(min(USERS_IN_PART, count - n), n + 1) for n in range(0, count, USERS_IN_PART)]
    began = time.perf_counter()
    run = make_run(client, "bench", campaign, parts, time.time())
    print(f"made in {time.perf_counter() - began:.0f} s, {peak_mb():.0f} MB")

    # In a process of its own, so that its memory is seen.
    user_id = f"user-1-{min(count, USERS_IN_PART) // 3:09d}"
    began = time.perf_counter()
    planned = plan(client, "bench", user_id)
    print(planned.in_words)
    found = find(client, "bench", user_id, planned)
    print(f"found {len(found.rows)} rows in {time.perf_counter() - began:.1f} s, without an index")
    auditor = multiprocessing.get_context("spawn").Process(
        target=timed, args=(client.meta.endpoint_url, "bench", run.run_id)
    )
    auditor.start()
    auditor.join()
    server.terminate()


def timed(endpoint: str, bucket: str, run_id: str, two: bool = True) -> None:
    before = peak_mb()
    began, cpu = time.perf_counter(), time.process_time()
    make_client = functools.partial(client_of, "s3", endpoint) if two else None
    found = audit(client_of("s3", endpoint), bucket, run_id, make_client=make_client)
    took, busy = time.perf_counter() - began, time.process_time() - cpu
    memory = f"{peak_mb():.0f} MB ({before:.0f} before)"
    print(f"{found.in_words}: {found.rows:,} rows in {took:.1f} s ({busy:.1f} s of CPU), {memory}")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
