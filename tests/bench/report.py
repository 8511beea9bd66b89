"""The benchmark: everything measured in one run, into tests/bench/results: bench.md, bench.svg and profile.md.

    make bench                                              (1,000,000 users; 20 minutes on a quiet machine)
    python -m tests.bench.report --users 100000 --no-peers  a short one

The page is written again after each part, and a part that cannot be measured here says so in it: what was measured is
never lost. Two things end the run: wrong accounts, and the whole job, measured first, that fails.

Everything in the table was sent to the same sink in the same run. The peers send only; the notifier does the whole job:
reads the file from S3, judges every record, finds its arm, renders, sends, judges the answers, writes a row for every
device and keeps the ledger.
"""

# ruff: noqa: E501, ISC004 - it writes prose

import argparse
import itertools
import os
import platform
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from sandbox.audience import Recipe
from tests.bench import field, money, profile, resume, sink, uv
from tests.bench.uv import worker_python
from tests.bench.whole import Bench, Figures

RESULTS = Path(__file__).parent / "results"
_SEEDS = itertools.count(40)
MEMORY_MB = (512, 1024, 1769, 3008)
HEAD = "| who | gateway | what | CPU µs/push | pushes/s | peak MB | pushes |\n|---|---|---|---|---|---|---|"


class Row:
    """One row of the table and one bar of the picture."""

    def __init__(self, who: str, gateway: str, what: str, figures: Figures | field.Measured) -> None:
        self.who, self.gateway, self.what, self.figures = who, gateway, what, figures

    @property
    def is_ours(self) -> bool:
        """Whether it is the notifier."""
        return isinstance(self.figures, Figures)

    def __str__(self) -> str:
        figures = self.figures
        if figures.why_not:
            return f"| {self.who} | {self.gateway} | {self.what} | {figures.why_not} | | | |"
        who = f"**{self.who}**" if self.is_ours else self.who
        cpu_us = figures.range_us if isinstance(figures, Figures) else f"{figures.cpu_us:,.1f}"
        cells = f"{cpu_us} | {figures.per_s:,.0f} | {figures.peak_rss_mb:.0f} | {figures.requests:,}"
        return f"| {who} | {self.gateway} | {self.what} | {cells} |"


def best(bench: Bench, recipes: Iterable[Recipe]) -> Figures:
    """The cheapest of several runs; every one of them must have exact accounts."""
    runs = []
    for recipe in recipes:
        figures = bench.measure_exact(recipe)
        say(f"{recipe.users:,} users: {figures.cpu_us:.1f} us, {figures.per_s:,.0f}/s")
        runs.append(figures)
    cheapest = min(runs, key=lambda one: one.cpu_us)
    cheapest.dearest_us = max(one.cpu_us for one in runs)
    return cheapest


def say(text: str) -> None:
    """Progress, for who waits."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


def measure(users: int, repeats: int, requests: int, *, peers: bool, late: bool) -> str:
    """Measure everything; the page, which is written after each part, with the picture and the profile beside it."""
    rows: list[Row] = []
    parts: list[list[str]] = []
    head = introduction(os.getloadavg()[0])

    def write(*more: list[str]) -> str:
        parts.extend(filter(None, more))
        table = "\n".join([HEAD, *map(str, rows)])
        flat = [line for part in parts for line in (*part, "")]
        page = "\n".join([*head, "", table, "", "![CPU per push](bench.svg)", "", *flat])
        (RESULTS / "bench.md").write_text(page)
        (RESULTS / "bench.svg").write_text(picture(rows))
        return page

    RESULTS.mkdir(exist_ok=True)
    some = min(users, 200_000)
    with Bench.start() as bench:
        linear = by_size(bench, users, repeats)
        whole = linear[-1]
        rows.append(Row("notifier", "FCM + APNs", "the whole job", whole))
        write(sizes(linear))
        write(tried("Placeholders", lambda: with_placeholders(bench, some, repeats, rows)))
        if peers:
            for one in field.measure(bench.sink, requests):
                say(f"{one.peer}: {one.why_not or f'{one.cpu_us:.1f} us'}")
                name = f"{one.peer} {one.version}".strip()
                what = "not measured" if one.why_not else f"sends only ({one.language})"
                rows.append(Row(name, one.gateway, what, one))
                write()
        write(tried("Starting and resuming", lambda: cold_start(linear, resume.measure(bench, users, users * 9 // 10))))
        write(tried("By interpreter", lambda: by_interpreter(bench, some, min(repeats, 2))))
        write(tried("Where the microseconds go", lambda: profiled(bench, min(users, 300_000))))
    if late:
        write(tried("Answers that take their time", lambda: with_latency(users)))
    return write(costs(whole.cpu_us))


def tried(title: str, part: Callable[[], list[str]]) -> list[str]:
    """The part's lines, or why there are none. Wrong accounts are no such reason: they end everything."""
    say(title)
    try:
        return part()
    except Exception as error:  # noqa: BLE001 - what was measured before must not be lost with it
        say(f"not measured: {error!r}")
        return [f"## {title}", "", f"Not measured: {error!r}"]


def with_placeholders(bench: Bench, users: int, repeats: int, rows: list[Row]) -> list[str]:
    """The whole job with texts that are rendered for each user: a row of the table, and no part of its own."""
    filled = best(bench, (Recipe(users=users, seed=20 + n, placeholders=True) for n in range(repeats)))
    rows.append(Row("notifier", "FCM + APNs", "the whole job, placeholders in title and body", filled))
    return []


def profiled(bench: Bench, users: int) -> list[str]:
    """The profile, in a file of its own."""
    (RESULTS / "profile.md").write_text(profile.measure(bench, users))
    return ["## Where the microseconds go", "", "By function and by line: [profile.md](profile.md)."]


def by_size(bench: Bench, users: int, repeats: int) -> list[Figures]:
    """The whole job for a few sizes."""
    linear = []
    for size in sorted({min(10_000, users), min(100_000, users), users}):
        times = repeats if size < 1_000_000 else min(2, repeats)
        linear.append(best(bench, (Recipe(users=size, seed=seed) for seed in range(1, times + 1))))
    return linear


def sizes(linear: list[Figures]) -> list[str]:
    """The same as a table."""
    lines = ["## The whole job, by size", "", "| users | CPU µs/push | pushes/s | peak MB |", "|---|---|---|---|"]
    return lines + [f"| {f.users:,} | {f.range_us} | {f.per_s:,.0f} | {f.peak_rss_mb:.0f} |" for f in linear]


def by_interpreter(bench: Bench, users: int, repeats: int) -> list[str]:
    """The same job on each interpreter that is here: how it was built matters as much as what it runs."""
    lines = [
        "## By interpreter",
        "",
        f"{users:,} users. Lambda's runtime is Python 3.14; how AWS builds it could not be found out. Debian builds its own with",
        "profile-guided optimisation; pyenv does not, unless it is told to.",
        "",
        "| interpreter | CPU µs/push | imports ms |",
        "|---|---|---|",
    ]
    own = bench.interpreter
    try:
        for python in dict.fromkeys([uv.interpreter(), sys._base_executable, *map(str, _of_pyenv())]):  # type: ignore[attr-defined]
            bench.interpreter = worker_python(python)
            figures = best(bench, (Recipe(users=users, seed=next(_SEEDS)) for _ in range(repeats)))
            lines.append(
                f"| {uv.version(python)}, `{python.replace(str(Path.home()), '~')}` | {figures.range_us} | {figures.imports_cpu_s * 1000:.0f} |"
            )
    finally:
        # Also where one of them fails: what is measured after this part is the worker's own.
        bench.interpreter = own
    return lines


def _of_pyenv() -> list[Path]:
    """Lambda's version, where pyenv has it."""
    return sorted(Path.home().glob(".pyenv/versions/3.14*/bin/python3"))[-1:]


def with_latency(users: int) -> list[str]:
    """Against a sink that answers as late as gateways do."""
    with Bench.start(late=True) as bench:
        figures = bench.measure_exact(Recipe(users=users, seed=31))
    say(f"with latency: {figures.cpu_us:.1f} us, {figures.per_s:,.0f}/s")
    return [
        "## Answers that take their time",
        "",
        "Log-normal, median 60 ms, 99th percentile 400 ms, 0.1 % at 5 s (nginx, a pause drawn for each request), the default",
        "window of 2,000 open pushes. The run's last answers, up to 5 s, are in the wall clock.",
        "",
        f"{figures.users:,} users: **{figures.cpu_us:.1f} µs** a push, **{figures.per_s:,.0f} pushes/s**,"
        f" {figures.peak_rss_mb:.0f} MB, rows exact.",
    ]


def cold_start(linear: list[Figures], resumed: resume.Resumed) -> list[str]:
    """Imports, and resuming."""
    imports = sorted(figures.imports_cpu_s * 1000 for figures in linear)
    return [
        "## Starting and resuming",
        "",
        f"- Imports: {imports[0]:.0f} to {imports[-1]:.0f} ms of CPU with byte code, {linear[0].imports_rss_mb:.0f} MB",
        f"- Resumed at user {resumed.at:,} of {resumed.users:,}: first push after {resumed.cold_s:.2f} s of CPU in a cold"
        f" container (the file comes anew from S3), {resumed.warm_s:.2f} s in a warm one",
    ]


def costs(cpu_us: float) -> list[str]:
    """Money by memory size."""
    lines = [
        "## Money",
        "",
        "Dollars for a million pushes at the CPU measured above, as if Lambda's arm64 vCPU were this machine's; list prices",
        "of us-east-1 with their sources in `tests/bench/money.py`. Below 1,769 MB the function gets a part of a vCPU; above,",
        "its one thread cannot use more. No faster than 10,000/s, which is FCM's own ceiling.",
        "",
        "| memory MB | seconds | Lambda | S3 | DynamoDB | logs | X-Ray | total |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for memory_mb in MEMORY_MB:
        cost = money.of_a_million(cpu_us, memory_mb)
        parts = (cost.compute, cost.s3, cost.dynamodb, cost.logs, cost.xray)
        cells = " | ".join(f"${part:.4f}" for part in parts)
        lines.append(f"| {memory_mb:,} | {cost.seconds:.0f} | {cells} | **${cost.total:.3f}** |")
    lines.append(
        f"| SNS mobile push | | | | | | | ${money.sns():.2f} (publish and delivery; neither audience nor arms nor rows) |"
    )
    return lines


def introduction(load: float) -> list[str]:
    """What was measured, where and how."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?: ?")
    return [
        "# Benchmark",
        "",
        "**The peers only send. The notifier does the whole job**: reads the file from S3, judges every record, finds its arm,",
        "renders, sends, judges the answers, writes a row for every device, keeps the ledger; two variants and 10 % control,",
        "half iOS, half Android, no ramp. After each of its runs the rows were counted, record by record, and the requests",
        "that the sink answered.",
        "",
        "- CPU is user and system time of the sending process alone, from the event to its answer; of the repeated runs the",
        "  cheapest, and to the dearest: the machine is a virtual one and its speed changes from minute to minute. Pushes per",
        "  second are wall clock with sink, moto and client on the same two cores: the figure that travels is CPU",
        "- The sink is nginx (TLS 1.3, HTTP/2, one worker, an answer at once). S3 and DynamoDB are moto, which answers more",
        "  slowly than AWS",
        f"- {model.split(':')[-1].strip()}, {os.cpu_count()} cores, load when it began {load:.1f}; {platform.platform()}",
        f"- {uv.named(uv.interpreter())}, {ssl.OPENSSL_VERSION}, {sink.version()}",
        f"- {time.strftime('%Y-%m-%d %H:%M')}, `make bench`",
    ]


def picture(rows: list[Row]) -> str:
    """CPU per push as bars, on a logarithmic scale: the slowest is a hundred times the fastest."""
    from math import log10

    shown = sorted((row for row in rows if not row.figures.why_not), key=lambda row: row.figures.cpu_us)
    left, width, step = 330, 420, 26
    height = 60 + step * len(shown)
    top = log10(max(row.figures.cpu_us for row in shown)) if shown else 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {height}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{left + width + 90}" height="{height}" fill="white"/>',
        '<text x="10" y="22" font-weight="bold">CPU per push, microseconds (logarithmic). Blue: the whole job;'
        " grey: sending only</text>",
    ]
    for n, row in enumerate(shown):
        y, us = 40 + n * step, row.figures.cpu_us
        length = max(4.0, width * log10(max(us, 1.1)) / top)
        colour = "#1f6feb" if row.is_ours else "#9aa4ae"
        name = f"{row.who}: {row.what}" if row.is_ours else row.who.replace("`", "")
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="20" fill="{colour}"/>')
        parts.append(f'<text x="{left + length + 6:.0f}" y="{y + 15}">{us:,.0f}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(words: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20_000, help="of a peer")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-latency", action="store_true")
    arguments = parser.parse_args(words)
    page = measure(
        arguments.users,
        arguments.repeats,
        arguments.requests,
        peers=not arguments.no_peers,
        late=not arguments.no_latency,
    )
    print(page)


if __name__ == "__main__":
    main()
