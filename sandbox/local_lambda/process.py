"""A process that the sandbox started: its end, its memory, its processor time.

On Linux these come from /proc. Elsewhere memory reads as 0, so the memory limit is not enforced there.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from sandbox import fork_server

_CLOCK_TICKS: Final[int] = os.sysconf("SC_CLK_TCK")
_LAUNCHER: Final = Path(__file__).with_name("launch.py")


class Spawner:
    """Starts processes from one thread that lives as long as the sandbox.

    The kernel sends the parent-death signal when the *thread* that forked ends, so the threads that serve
    invocations, which come and go, must not start processes themselves.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="spawner", daemon=True).start()

    def spawn(self, handler: str, interpreter: str, cwd: Path, environment: Mapping[str, str], log: Path) -> "Process":
        """Starts the runtime client in a process group of its own, with its output in the log. Raises OSError."""
        if fork_server.is_there() and interpreter == sys.executable:
            return _fork(handler, cwd, environment, log)
        command = (interpreter, str(_LAUNCHER), str(os.getpid()), handler)
        started: Future[Process] = Future()

        def order() -> None:
            try:
                started.set_result(_start(command, cwd, environment, log))
            except BaseException as error:  # noqa: BLE001  (handed to the caller)
                started.set_exception(error)

        self._orders.put(order)
        return started.result()

    def stop(self) -> None:
        """Ends the thread, and with it every process that still lives."""
        self._orders.put(None)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()


def _start(command: tuple[str, ...], cwd: Path, environment: Mapping[str, str], log: Path) -> "Process":
    with log.open("ab") as output:
        return Process(
            subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        )


def _fork(handler: str, cwd: Path, environment: Mapping[str, str], log: Path) -> "Process":
    order = fork_server.Order("sandbox.local_lambda.launch", "serve", (handler,), str(cwd), str(cwd), dict(environment))
    with log.open("ab") as output, open(os.devnull, "rb") as nothing:  # noqa: PTH123  (no path of anyone's)
        streams = nothing.fileno(), output.fileno(), output.fileno()
        return Process(fork_server.fork("functions", order, streams))


class Process:
    """A running or ended process, the leader of its group."""

    def __init__(self, popen: "subprocess.Popen[bytes] | fork_server.Forked") -> None:
        self._popen = popen
        self._lock = threading.Lock()
        self._cpu_s = 0.0
        self._peak_rss_bytes = 0
        self.pid = popen.pid

    def exit_code(self) -> int | None:
        """The exit code, minus the signal's number if one ended it, or None while it runs."""
        with self._lock:
            return self._reap(os.WNOHANG)

    def kill(self) -> None:
        """Kill -9 for it and what it started; waits for its end. May be called twice."""
        self.peak_rss_bytes()
        with self._lock:
            if self._popen.returncode is None:
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                self._reap(0)

    def peak_rss_bytes(self) -> int:
        """The most resident memory it has ever had: the kernel's high-water mark, so that no peak is missed."""
        if self._popen.returncode is None:
            try:
                status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
            except OSError:
                return self._peak_rss_bytes
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self._peak_rss_bytes = max(self._peak_rss_bytes, int(line.split()[1]) * 1024)
        return self._peak_rss_bytes

    def cpu_s(self) -> float:
        """Seconds of processor time used so far, in user and system mode."""
        if self._popen.returncode is None:
            try:
                stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
            except OSError:
                return self._cpu_s
            fields = stat.rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
        return self._cpu_s

    def _reap(self, options: int) -> int | None:
        if isinstance(self._popen, fork_server.Forked):
            code = self._popen.poll() if options else self._popen.wait()
            self._cpu_s = self._popen.cpu_s
            return code
        if self._popen.returncode is None:
            pid, status, usage = os.wait4(self.pid, options)
            if pid:
                self._cpu_s = usage.ru_utime + usage.ru_stime
                self._popen.returncode = os.waitstatus_to_exitcode(status)
        return self._popen.returncode
