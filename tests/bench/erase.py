"""How long an erasure takes, and its memory (`python -m tests.bench.erase --users 200000 --erased 20`).

The run is made by the worker's own code with made-up answers, in moto in another process.
"""

import argparse
import multiprocessing
import time
from datetime import UTC, datetime

from privacy.erase import erase, in_words
from privacy.stack import Stack, read_versions
from privacy.whom import suppress
from reporting.proof.audit import audit
from tests.bench.proof import USERS_IN_PART, Part, campaign_of_bench, peak_mb, serve
from tests.contract.moto_stores import client_of, make_table
from tests.made_run import make_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--erased", type=int, default=20)
    given = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,))
    server.start()
    endpoint = here.recv()
    s3, dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
    s3.create_bucket(Bucket="bench", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="bench", VersioningConfiguration={"Status": "Enabled"})
    make_table(dynamodb, "bench")
    stack = Stack(s3, dynamodb, "bench", "bench", "suppression/")
    sizes = [min(USERS_IN_PART, given.users - n) for n in range(0, given.users, USERS_IN_PART)]
    run = make_run(s3, "bench", campaign_of_bench(), [Part(size, n + 1) for n, size in enumerate(sizes)], time.time())
    print(f"made, {peak_mb():.0f} MB; {in_words(read_versions(stack))}", flush=True)
    user_ids = [f"user-1-{n * (sizes[0] // (given.erased + 1)):09d}" for n in range(1, given.erased + 1)]
    began, cpu, now = time.perf_counter(), time.process_time(), datetime.now(UTC)
    found = erase(stack, suppress(s3, "bench", "suppression/", user_ids, now), "bench", now)
    took = f"{time.perf_counter() - began:.1f} s ({time.process_time() - cpu:.1f} s of CPU), {peak_mb():.0f} MB"
    print(f"erased {found.runs} in {found.objects} objects, done: {found.is_done}, in {took}", flush=True)
    print(audit(s3, "bench", run.run_id).in_words)
    here.send(None)
    server.join()


if __name__ == "__main__":
    main()
