"""What a list of user ids to leave out costs in the worker: `python -m tests.bench.ids [MILLIONS]`.

What is allocated counts, at the end and at the peak of reading. The resident set is larger: between the tables that
grew side by side are holes that later allocations fill.
"""

import sys
import time
import tracemalloc

from notifier.audience import IdSet


def main(millions: int) -> None:
    """Read the ids, look some up, print what both took."""
    count = millions * 1_000_000
    began_s = time.process_time()
    ids = IdSet(f"user-{n:012d}" for n in range(count))
    read_s = time.process_time() - began_s
    began_s = time.process_time()
    found = sum(f"user-{n:012d}" in ids for n in range(count // 2, count // 2 + 1_000_000))
    look_us = time.process_time() - began_s
    del ids
    # Apart from the timing, which it would falsify.
    tracemalloc.start()
    ids = IdSet(f"user-{n:012d}" for n in range(count))
    held, peak = tracemalloc.get_traced_memory()
    print(f"{len(ids):,} ids: {held / count:.2f} bytes each, {peak / count:.2f} at the peak")
    print(f"read in {read_s:.2f} s of CPU, looked up in {look_us:.2f} µs each; {found:,} of 1,000,000 found")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
