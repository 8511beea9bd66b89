"""Where a push's CPU goes: the main thread by function and by line, and the threads, as a page of Markdown.

    python -m tests.bench.profile [--users 300000] [--late]

The worker samples its own main thread (`BENCH_PROFILE`, see `tests.bench.worker`); that costs 2 µs a push.
"""

# ruff: noqa: E501 - it writes prose

import argparse
import os
import time
from collections import Counter

from sandbox.audience import Recipe
from tests.bench import uv
from tests.bench.whole import Bench, Figures

SHOWN = 40


def measure(bench: Bench, users: int) -> str:
    """Run the whole job once with samples; the page. Wrong accounts end the program."""
    samples = bench.folder / "samples"
    load = os.getloadavg()[0]
    figures = bench.measure_exact(Recipe(users=users, seed=61), {"BENCH_PROFILE": str(samples)})
    command = f"python -m tests.bench.profile --users {users}{' --late' if bench.late else ''}"
    return page(figures, samples.read_text(), load, command, uv.named(bench.interpreter))


def page(figures: Figures, samples: str, load: float, command: str, interpreter: str) -> str:
    """The page of these samples: a line has a stack, outermost first, and its microseconds.

    Args:
        command: what makes the same page.
        interpreter: what the worker ran on.
    """
    own, within, lines = Counter[str](), Counter[str](), Counter[str]()
    for sample in samples.splitlines():
        stack, _, spent_us = sample.rpartition(" ")
        places = stack.split(";")
        functions = [place.rpartition(":")[0] for place in places]
        us = int(spent_us)
        own[functions[-1]] += us
        lines[places[-1]] += us
        # Once for each sample: a function that calls itself is not counted twice.
        for function in set(functions):
            within[function] += us
    pushes = figures.requests
    threads = sorted(figures.threads_us.items(), key=lambda item: -item[1])
    return "\n".join(
        [
            "# Where the microseconds go",
            "",
            f"{figures.users:,} users, {figures.requests:,} pushes, {figures.cpu_us:.1f} µs of CPU each with sampling, load {load:.1f}",
            f"when it began, {interpreter}, {time.strftime('%Y-%m-%d %H:%M')}, `{command}`.",
            "What helped and what did not is in [http2.md](http2.md), and of 0.1.0, over libcurl, in [libcurl.md](libcurl.md).",
            "",
            "By thread, imports included: " + ", ".join(f"{name} {us:.1f}" for name, us in threads) + ".",
            "",
            "## The main thread by function",
            "",
            "| own µs | with all it calls | function |",
            "|---|---|---|",
            *(f"| {us / pushes:.2f} | {within[name] / pushes:.2f} | `{name}` |" for name, us in own.most_common(SHOWN)),
            "",
            "## With all that they call",
            "",
            "| µs | function |",
            "|---|---|",
            *(f"| {us / pushes:.2f} | `{name}` |" for name, us in within.most_common(SHOWN)),
            "",
            "## By line",
            "",
            "| µs | line |",
            "|---|---|",
            *(f"| {us / pushes:.2f} | `{name}` |" for name, us in lines.most_common(SHOWN)),
            "",
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=300_000)
    parser.add_argument("--late", action="store_true", help="answers take as long as gateways take")
    arguments = parser.parse_args()
    with Bench.start(late=arguments.late) as bench:
        print(measure(bench, arguments.users))


if __name__ == "__main__":
    main()
