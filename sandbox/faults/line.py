"""TCP between the notifier and a stand-in, misbehaving below TLS: so the stand-in still counts what really arrived."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec

_CHUNK = 65_536


class Line(msgspec.Struct, frozen=True):
    """What becomes of one connection.

    `garbage`: the answer to the TLS hello is nonsense. `reset_after`: a TCP reset once so many bytes of answers have
    passed: what was asked and not answered then may have been processed. None: it holds.
    """

    garbage: bool = False
    reset_after: int | None = None


STEADY = Line()


class Proxy:
    """Passes connections on. `decide(n)` says what becomes of the n-th, from 1. Deaf until `listen_after_s` is over."""

    def __init__(self, target_url: str, decide: Callable[[int], Line], listen_after_s: float = 0.0) -> None:
        target = urlsplit(target_url)
        self._target = (target.hostname or "127.0.0.1", target.port or 443)
        self._decide = decide
        self._after_s = listen_after_s
        self.connections = 0
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._socket.close()

    async def _listen(self) -> None:
        """Until then the port is bound without a listener: connecting is refused."""
        await asyncio.sleep(self._after_s)
        await asyncio.start_server(self._serve, sock=self._socket)

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=2) if tasks else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = self._decide(self.connections)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if line.garbage:
                await reader.read(_CHUNK)
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            there_reader, there_writer = await asyncio.open_connection(*self._target)
            up = asyncio.ensure_future(_pass(reader, there_writer, None))
            await _pass(there_reader, writer, line.reset_after)
            up.cancel()
            there_writer.close()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter, reset_after: int | None) -> None:
    """Bytes from here to there, until either end has gone."""
    passed = 0
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            passed += len(data)
            if reset_after is not None and passed >= reset_after:
                raw = target.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                target.transport.abort()
                return
            target.write(data)
            await target.drain()
    target.close()
