"""TLS for a client that does not say by ALPN that it speaks HTTP/2: Apple takes that, nginx does not.

A process of its own ends TLS and hands the bytes to the sink's port without it; its CPU is counted for no one.
"""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.sink import Sink


@contextlib.contextmanager
def running(to: Sink) -> Iterator[int]:
    """Start it. Gives its port on 127.0.0.1."""
    command = [sys.executable, "-m", "tests.bench.relay", to.certificate, str(to.clear_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Bytes, until there are no more."""
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 18):
            sink.write(data)
            await sink.drain()
    sink.close()


async def serve(certificate: str, port: int) -> None:
    """Until the process is ended."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, back), pass_on(beyond, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
