"""`make bench`: the whole table, and the limits that must hold wherever it runs: exact accounts, and memory."""

import os

import pytest

from tests.bench import report, sink


@pytest.mark.bench
@pytest.mark.filterwarnings("default")
def test_bench() -> None:
    """Everything is measured and written down. `BENCH_USERS` and `BENCH_REPEATS` make it shorter."""
    if sink.binary() is None:
        pytest.fail("the sink is nginx, which is not installed: apt-get install nginx-light")
    users, repeats = os.environ.get("BENCH_USERS", "1000000"), os.environ.get("BENCH_REPEATS", "3")
    report.main(["--users", users, "--repeats", repeats])
    assert (report.RESULTS / "bench.md").stat().st_size > 0
