"""Starts the sandbox's processes by forking one that has imported their libraries: a second's work done once.

Asked for by the tests only, through `SANDBOX_FORK_SERVERS`. Everywhere else a process begins as it does on Lambda, with
an interpreter and its imports; memory and cold starts are measured there.

What is forked is a process like any other: its own memory, session, environment and files, and `kill -9` ends it. Only
libraries come ready, and botocore's service descriptions parsed; the project's own modules, which may read the
environment or be given other times (`sandbox.hurried`), and AWS's runtime client are loaded after the fork. A server
with more than one thread refuses to fork: locks that another thread holds would stay held in the child.
"""

import contextlib
import functools
import gc
import importlib
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

FOLDER_VARIABLE: Final = "SANDBOX_FORK_SERVERS"
_ORDER_BYTES: Final = 1 << 20

_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {
    # What the functions import at once or with their first push. Not X-Ray's SDK, which opens a socket and reads the
    # environment when it is imported, and not the runtime client, which reads the Runtime API's address.
    "functions": (
        "aioapns", "aws_lambda_powertools.event_handler", "aws_lambda_powertools.logging", "dateutil.parser",
        "concurrent.futures.thread", "google.oauth2.service_account", "hpack", "ijson", "itsdangerous", "jinja2",
        "langcodes", "liquid", "msgspec", "pyfcm", "sandbox.local_lambda.launch", "simplejson", "zoneinfo",
    ),
    "standins": ("sandbox.aws_server", "sandbox.gateways.__main__"),
}  # fmt: skip
_SERVICES: Final = ("s3", "dynamodb", "lambda", "events", "secretsmanager", "sqs")
_BACKENDS: Final = ("s3", "dynamodb", "events", "secretsmanager", "sqs", "ses")


class Order(msgspec.Struct, frozen=True):
    """What to run: a module's function. `path` comes first in `sys.path`. Standard streams are sent beside it."""

    module: str
    function: str
    arguments: tuple[str, ...]
    folder: str
    path: str
    environment: dict[str, str]


class Ended(msgspec.Struct, frozen=True):
    """How it ended: minus the signal's number if one ended it, and the processor time that it took."""

    code: int
    cpu_s: float


# ------------------------------------------------------------------------------------------- asking for a process


class Forked:
    """A process that the server has forked: what the sandbox needs of `subprocess.Popen`.

    The server kills it when this side of the connection closes, as the kernel does when the sandbox is killed.
    """

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.pid = pid
        self.returncode: int | None = None
        self.cpu_s = 0.0
        self.stdin: Any = None
        self.stdout: Any = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with self._lock:
            if self.returncode is None:
                self._read()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            with contextlib.suppress(ValueError, OSError):  # closed meanwhile, by another thread that has read it
                select.select([self._connection], [], [], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def kill(self) -> None:
        """Kill -9."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> None:
        try:
            text = self._connection.recv(_ORDER_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        # Without a word the server is gone, and has taken its children with it.
        ended = msgspec.json.decode(text, type=Ended) if text else Ended(-signal.SIGKILL, 0.0)
        self.returncode, self.cpu_s = ended.code, ended.cpu_s
        self._connection.close()


def is_there() -> bool:
    """Whether processes are to be forked."""
    return FOLDER_VARIABLE in os.environ


def fork(kind: str, order: Order, streams: tuple[int, int, int]) -> Forked:
    """Has the server of this kind run the order, with these as standard streams. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(Path(os.environ[FOLDER_VARIABLE]) / kind))
        socket.send_fds(connection, [msgspec.json.encode(order)], list(streams))
        pid = connection.recv(32)
        if not pid:
            raise OSError(f"the fork server for {kind} has refused")
    except BaseException:
        connection.close()
        raise
    return Forked(connection, int(pid))


# ------------------------------------------------------------------------------------------- the server


class Servers:
    """Listens for every kind of server, and starts each with the first process that is asked of it.

    `folder` is where the sockets are; its path must be short, as that of a Unix socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listeners = {kind: _listen(folder / kind) for kind in _LIBRARIES}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._end, end = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, args=(end,), name="fork-servers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the servers, and what they have forked."""
        self._end.close()
        self._thread.join()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        for kind, listener in self._listeners.items():
            listener.close()
            (self.folder / kind).unlink()

    def _watch(self, end: socket.socket) -> None:
        with end, selectors.DefaultSelector() as selector:
            selector.register(end, selectors.EVENT_READ)
            for kind, listener in self._listeners.items():
                selector.register(listener, selectors.EVENT_READ, kind)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    selector.unregister(key.fileobj)
                    self._start(key.data, key.fd)

    def _start(self, kind: str, listener: int) -> None:
        command = [sys.executable, "-m", "sandbox.fork_server", kind, str(listener)]
        # Of the caller's environment only what an interpreter needs: each process brings its own.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._processes.append(
            subprocess.Popen(
                command,
                cwd=Path(__file__).parent.parent,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener],
                start_new_session=True,  # Ctrl-C at a terminal is for those who asked
            )
        )


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(64)
    return listener


class _Server:
    """One process that forks. `serve` returns in each child, with what it has to run."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connections: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._signals, wakeup = socket.socketpair()
        for end in (self._signals, wakeup):
            end.setblocking(False)
        self._wakeup = wakeup
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._signals, selectors.EVENT_READ, self._reap)
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._end)

    def serve(self) -> Callable[[], object]:
        """Until standard input ends: then every child is killed."""
        while True:
            for key, _ in self._selector.select():
                if (run := key.data()) is not None:
                    return run  # type: ignore[no-any-return]

    def _accept(self) -> Callable[[], object] | None:
        connection, _ = self._listener.accept()
        message, streams, _, _ = socket.recv_fds(connection, _ORDER_BYTES, 3)
        if not message or _threads() > 1:
            connection.close()
            return None
        order = msgspec.json.decode(message, type=Order)
        pid = os.fork()
        # By both sides, so that it is done before either goes on: who asked may kill the group at once.
        os.setpgid(pid, pid)
        if not pid:
            connection.close()
            self._leave()
            _become(order, streams)
            run: Callable[[], object] = getattr(importlib.import_module(order.module), order.function)
            return run
        for stream in streams:
            os.close(stream)
        connection.send(str(pid).encode())
        self._connections[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._forget(pid))
        return None

    def _leave(self) -> None:
        """In the child: nothing of the server stays open."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for one in (self._listener, self._signals, self._wakeup, *self._connections.values()):
            one.close()

    def _reap(self) -> None:
        self._signals.recv(4096)
        for pid in list(self._connections):
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                report = Ended(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)
                with contextlib.suppress(OSError):  # who asked is gone
                    self._connections[pid].send(msgspec.json.encode(report))
                self._close(pid)

    def _forget(self, pid: int) -> None:
        """Who asked has closed the connection, or was killed: what they asked for ends with them."""
        if pid in self._connections:
            _kill(pid)
            os.wait4(pid, 0)
            self._close(pid)

    def _close(self, pid: int) -> None:
        connection = self._connections.pop(pid)
        self._selector.unregister(connection)
        connection.close()

    def _end(self) -> None:
        for pid in self._connections:
            _kill(pid)
        for pid in self._connections:
            os.wait4(pid, 0)
        # Without the interpreter's own end, in which DuckDB's binding complains of what `gc.freeze` has kept.
        os._exit(0)


def _threads() -> int:
    tasks = Path("/proc/self/task")  # libraries' own threads are no Python threads; elsewhere only those are known
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _become(order: Order, streams: Sequence[int]) -> None:
    """In the child: the folder, streams, environment and paths of a process that was started for the order."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    time.tzset()
    sys.argv = [order.module, *order.arguments]
    sys.path[0] = order.path  # it was the server's folder
    importlib.invalidate_caches()


def _load(kind: str) -> None:
    for name in _LIBRARIES[kind]:
        with contextlib.suppress(ModuleNotFoundError):  # not every version of Python and of a library has all of them
            importlib.import_module(name)
    _read_descriptions_once()
    if kind == "standins":
        from moto import backends  # noqa: PLC0415

        from sandbox.gateways.credentials import service_key  # noqa: PLC0415

        service_key()
        for name in _BACKENDS:
            backends.get_backend(name)


def _read_descriptions_once() -> None:
    """botocore looks for and parses descriptions of services in each session: kept, and done here for those in use."""
    import boto3  # noqa: PLC0415
    from botocore import loaders  # noqa: PLC0415

    file_loader: Any = loaders.JSONFileLoader
    loader: Any = loaders.Loader
    load, services = file_loader.load_file, loader.list_available_services
    kept = functools.cache(lambda path: load(file_loader(), path))
    listed = functools.cache(lambda type_name: services(loader(), type_name))
    file_loader.load_file = lambda _, path: kept(path)
    loader.list_available_services = lambda _, type_name: listed(type_name)
    session = boto3.Session("none", "none", region_name="eu-central-1")
    for name in _SERVICES:
        session.client(name)


def main() -> None:
    """Serves: `python -m sandbox.fork_server KIND LISTENER`, the listener being a file descriptor."""
    _load(sys.argv[1])
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page
    _Server(socket.socket(fileno=int(sys.argv[2]))).serve()()


if __name__ == "__main__":
    main()
