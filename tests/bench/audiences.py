"""Counting and preparing an audience: CPU and memory of a process that does nothing else, on one core.

    python -m tests.bench.audiences [--users 1000000] [--memory-mb 400] [--kind lines|rows|csv|parquet] [--keep FOLDER]

The figures are of the whole process, its start and imports included.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb
import msgspec

from audiences.build import Order, build, count
from audiences.database import Limits
from audiences.destinations import Directory
from audiences.sources import local_files
from audiences.watch import bytes_on_disk

KINDS = ("lines", "rows", "csv", "parquet")


class Measured(msgspec.Struct, frozen=True):
    """One process: seconds of CPU, its highest memory, the most that it had on disk besides the file, what it made.

    Args:
        start_cpu_s: of `cpu_s`, what Python's start and imports took: a warm function pays it once.
        load: of the machine, when it ended.
    """

    what: str
    kind: str
    users: int
    cpu_s: float
    start_cpu_s: float
    wall_s: float
    peak_rss_mb: int
    peak_disk_mb: int
    written_mb: int
    load: float


def audience(folder: Path, count_: int, kind: str) -> Path:
    """A file of so many users."""
    # The process that is measured has no use for it.
    from sandbox.audience import Recipe, users

    path = folder / f"{kind}-{count_}.jsonl"
    encode = msgspec.json.Encoder().encode
    if not path.exists():
        with path.open("wb") as out:
            for user in users(Recipe(users=count_)):
                out.write(encode(user if kind == "lines" else _flat(user)) + b"\n")
    if kind in ("lines", "rows"):
        return path
    table = folder / f"users-{count_}.{kind}"
    with duckdb.connect() as con:
        con.execute(f"COPY (FROM read_ndjson('{path}')) TO '{table}' (FORMAT {kind})")
    return table


def _flat(user: dict[str, object]) -> dict[str, object]:
    (device,), attributes = user.pop("devices"), user.pop("attributes")  # type: ignore[misc]
    return {**user, **device, **attributes}  # type: ignore[dict-item, has-type]


def child(what: str, path: Path, memory_mb: int) -> None:
    """The process that is measured. It prints the CPU time of its start."""
    print(time.process_time(), flush=True)
    folder = path.parent / "made"
    order = Order({"files": [path.name]}, local_files([str(path)]))
    limits = Limits(path.parent / "work", memory_mb)
    if what == "count":
        count(order, limits)
    else:
        build(order, Directory(folder), limits)


def measure(what: str, path: Path, kind: str, count_: int, memory_mb: int) -> Measured:
    """Run the process on one core, and ask the kernel what it took."""
    made = path.parent / "made"
    shutil.rmtree(made, ignore_errors=True)
    command = [sys.executable, "-m", "tests.bench.audiences", "--child", what, str(path), "--memory-mb", str(memory_mb)]
    began = time.monotonic()
    # With byte code, as an artifact has it: some machines forbid keeping it, and compile the product at each start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),  # noqa: PLW1509
    )
    disk = [0]
    ended = threading.Event()
    looking = threading.Thread(target=look_at_disk, args=(path.parent / "work", disk, ended))
    looking.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    looking.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert process.stdout is not None
    with process.stdout as printed:
        start_s = float(printed.read())
    written = sum(one.stat().st_size for one in made.rglob("*") if one.is_file()) if made.exists() else 0
    return Measured(
        what=what,
        kind=kind,
        users=count_,
        cpu_s=round(usage.ru_utime + usage.ru_stime, 2),
        start_cpu_s=round(start_s, 2),
        wall_s=round(time.monotonic() - began, 2),
        peak_rss_mb=usage.ru_maxrss // 1024,
        peak_disk_mb=max(disk) // 1_000_000,
        written_mb=written // 1_000_000,
        load=round(os.getloadavg()[0], 1),
    )


def look_at_disk(work: Path, seen: list[int], ended: threading.Event) -> None:
    """Keep the most bytes that the process had in its directory."""
    while not ended.wait(0.1):
        folders = (work, *(work / name for name in ("rows", "parts", "spilled")))
        seen[0] = max(seen[0], sum(map(bytes_on_disk, folders)))


def main() -> None:
    """Measure and print, one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--memory-mb", type=int, default=400)
    parser.add_argument("--kind", choices=KINDS, default="lines")
    parser.add_argument("--keep", type=Path, help="a folder for the audience, which is made once")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]), arguments.memory_mb)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = audience(folder, arguments.users, arguments.kind)
        for what in ("count", "build"):
            found = measure(what, path, arguments.kind, arguments.users, arguments.memory_mb)
            print(json.dumps(msgspec.to_builtins(found)))


if __name__ == "__main__":
    main()
