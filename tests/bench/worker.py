"""The worker in a process of its own, called as Lambda calls it, until its run is over; its figures as JSON.

    python -m tests.bench.worker '{"bucket": "…", "key": "…"}' [ANOTHER EVENT …]

The environment is the function's (see `tests.bench.whole`). CPU is user and system time of this process with all its
threads; `imports` is what `import notifier.app` took. Several events are worked on in turn, the later ones by a
warm process. `first_push_cpu_s` and `first_push_s` (wall clock) are from the event to the first request that is given
to the transport; a hop without requests has neither.
"""

import atexit
import json
import os
import resource
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

TIMEOUT_S = 900.0
SAMPLE_EVERY_S = 0.002


class Context:
    """Lambda's context."""

    function_version = "$LATEST"

    def __init__(self, timeout_s: float) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._ends_s = time.monotonic() + timeout_s

    def get_remaining_time_in_millis(self) -> int:
        """As Lambda's."""
        return int((self._ends_s - time.monotonic()) * 1000)


def main() -> None:
    """Work, and print the figures."""
    timeout_s = float(os.environ.get("BENCH_TIMEOUT_S", TIMEOUT_S))
    began_cpu_s, began_s = time.process_time(), time.monotonic()
    from notifier.app import worker
    from notifier.gateway.http2.transport import Http2Transport
    from notifier.model.exchange import Request

    imports_cpu_s, imports_s = time.process_time() - began_cpu_s, time.monotonic() - began_s
    imports_rss_mb = _rss_mb()
    hops: list[dict[str, Any]] = []
    first: list[tuple[float, float]] = []
    submit = Http2Transport.submit

    def watched(self: Http2Transport, request: Request) -> None:
        first.append((time.process_time(), time.monotonic()))
        Http2Transport.submit = submit  # type: ignore[method-assign]
        submit(self, request)

    if profile := os.environ.get("BENCH_PROFILE"):
        _sample(profile)
    for argument in sys.argv[1:]:
        event: dict[str, Any] = json.loads(argument)
        while True:
            first.clear()
            Http2Transport.submit = watched  # type: ignore[method-assign]
            cpu_s, wall_s = time.process_time(), time.monotonic()
            context: Any = Context(timeout_s)
            answer = worker(event, context)
            took = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.monotonic() - wall_s}
            if first:
                took |= {"first_push_cpu_s": first[0][0] - cpu_s, "first_push_s": first[0][1] - wall_s}
            hops.append(took | answer)
            if answer["status"] != "running":
                break
            event = {"notifier": "continue", "run_id": answer["run_id"], "lane": 0}
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "imports_cpu_s": imports_cpu_s,
        "imports_s": imports_s,
        "imports_rss_mb": imports_rss_mb,
        "user_s": used.ru_utime,
        "system_s": used.ru_stime,
        "peak_rss_mb": _peak_rss_mb(),
        "cpu_s": sum(hop["cpu_s"] for hop in hops),
        "wall_s": sum(hop["wall_s"] for hop in hops),
        "threads_cpu_s": _threads_cpu_s(),
        "hops": hops,
    }
    print("FIGURES " + json.dumps(figures), flush=True)


def _threads_cpu_s() -> dict[str, float]:
    """CPU by thread, those of one pool together; what has ended already is missing."""
    used: Counter[str] = Counter()
    for thread in threading.enumerate():
        nanoseconds = int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
        used[thread.name.rstrip("0123456789").rstrip("_")] += nanoseconds
    return {name: nanoseconds / 1e9 for name, nanoseconds in used.most_common()}


def _sample(path: str) -> None:
    """Write where the main thread's CPU goes to `path`: a stack a line with its microseconds, as flame graphs take it.

    A timer of the process's CPU fires while another thread works, too: each sample weighs what this thread used since
    the last one.
    """
    stacks: Counter[tuple[tuple[CodeType, int], ...]] = Counter()
    last_ns = time.thread_time_ns()

    def take(_number: int, frame: FrameType | None) -> None:
        nonlocal last_ns
        stack = []
        while frame is not None:
            stack.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        now_ns = time.thread_time_ns()
        stacks[tuple(reversed(stack))] += now_ns - last_ns
        last_ns = time.thread_time_ns()

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(path).write_text("".join(f"{';'.join(map(_named, stack))} {ns // 1000}\n" for stack, ns in stacks.items()))

    atexit.register(write)
    signal.signal(signal.SIGPROF, take)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_EVERY_S, SAMPLE_EVERY_S)


def _named(place: tuple[CodeType, int]) -> str:
    code, line = place
    return f"{code.co_qualname}:{Path(code.co_filename).name}:{line}"


def _peak_rss_mb() -> float:
    """Of this program: `ru_maxrss` would count what its parent held when it was forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
