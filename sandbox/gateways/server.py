"""The stand-ins' process: four granian servers on one event loop, so that one process counts everything."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server

from sandbox import moved_time
from sandbox.gateways import credentials
from sandbox.gateways.apns import Apns
from sandbox.gateways.apns_token import ProviderTokens
from sandbox.gateways.behaviour import Behave, Gateway, by_prefix
from sandbox.gateways.control import Control
from sandbox.gateways.endpoint import Latency, Phones
from sandbox.gateways.fcm import Fcm
from sandbox.gateways.oauth import OAuth

HOST = "127.0.0.1"
ADDRESSES_FILE = "gateways.json"
_FCM_STREAMS = 100
_APNS_STREAMS = 1000
_CONNECTIONS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """How to start: the state folder, ports (0: a free one), behaviour, latency, and an access token's life in s."""

    state: Path
    fcm_port: int = 0
    apns_port: int = 0
    apns_sandbox_port: int = 0
    control_port: int = 0
    behave: Behave = by_prefix
    latency: Latency | None = None
    oauth_lifetime_s: int = 3600
    stop_with_stdin: bool = False


class Addresses(msgspec.Struct, frozen=True):
    """Where everything is: base URLs without a trailing slash, and paths of files. This is `gateways.json`."""

    fcm: str
    apns: str
    apns_sandbox: str
    oauth: str
    control: str
    ca_file: str
    fcm_service_account_file: str
    apns_key_file: str
    pid: int


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, or until stdin ends with `stop_with_stdin`. Raises OSError for a taken port."""
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    wanted = (settings.fcm_port, settings.apns_port, settings.apns_sandbox_port, settings.control_port)
    with contextlib.ExitStack() as reservations:
        ports = [_reserve(port, reservations) for port in wanted]
        fcm_url, apns_url, sandbox_url = (f"https://{HOST}:{port}" for port in ports[:3])
        material = credentials.prepare(settings.state, f"{fcm_url}/token")
        servers = _servers(settings, material, ports)
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        stopped = _stop_signal(settings.stop_with_stdin)
        await _until_listening(ports, tasks)
        addresses = Addresses(
            fcm=fcm_url,
            apns=apns_url,
            apns_sandbox=sandbox_url,
            oauth=fcm_url,
            control=f"http://{HOST}:{ports[3]}",
            ca_file=str(material.ca_file.resolve()),
            fcm_service_account_file=str(material.service_account_file.resolve()),
            apns_key_file=str(material.apns_key_file.resolve()),
            pid=os.getpid(),
        )
        announced = settings.state / ADDRESSES_FILE
        credentials.write_atomically(announced, msgspec.json.format(msgspec.json.encode(addresses), indent=2))
        await asyncio.wait((*tasks, stopped), return_when=asyncio.FIRST_COMPLETED)
        announced.unlink(missing_ok=True)
        for server in servers:
            server.stop()
        await asyncio.wait(tasks, timeout=0.1)
    sys.stdout.flush()
    # Requests that are never answered would keep the loop from closing.
    os._exit(0)


def _servers(settings: Settings, material: credentials.Credentials, ports: list[int]) -> list[Any]:
    account = msgspec.json.decode(material.service_account_file.read_bytes(), type=dict[str, str])
    key = msgspec.json.decode(material.apns_key_file.read_bytes(), type=dict[str, str])
    # Google's library signs with the machine's own time.
    oauth, phones = OAuth(account, moved_time.real, settings.oauth_lifetime_s), Phones()
    tokens = ProviderTokens(key, time.time)
    fcm = Fcm(account["project_id"], oauth, settings.behave, phones, settings.latency)
    production, sandbox = (
        Apns(gateway, key["topic"], tokens, settings.behave, phones, settings.latency)
        for gateway in (Gateway.APNS, Gateway.APNS_SANDBOX)
    )
    control = Control((fcm, production, sandbox), oauth, phones)
    return [
        # OAuth is asked for by HTTP/1.1 (requests knows no other), as Google's front ends allow on every port.
        _secure(fcm, ports[0], material, _FCM_STREAMS, HTTPModes.auto),
        _secure(production, ports[1], material, _APNS_STREAMS),
        _secure(sandbox, ports[2], material, _APNS_STREAMS),
        _server(control, ports[3], http=HTTPModes.auto),
    ]


def _secure(
    target: object, port: int, material: credentials.Credentials, streams: int, http: HTTPModes = HTTPModes.http2
) -> Any:
    return _server(
        target,
        port,
        http=http,
        http2_settings=HTTP2Settings(max_concurrent_streams=streams),
        ssl_cert=material.certificate_file,
        ssl_key=material.key_file,
        ssl_protocol_min="tls1.2",
    )


def _server(target: object, port: int, **options: Any) -> Any:
    return Server(
        target,
        address=HOST,
        port=port,
        interface=Interfaces.RSGI,
        backlog=_CONNECTIONS_MAX,
        backpressure=_CONNECTIONS_MAX,
        websockets=False,
        log_level=LogLevels.error,
        **options,
    )


def _reserve(port: int, reservations: contextlib.ExitStack) -> int:
    """Finds a free port, or makes sure of the wanted one, and holds it: granian binds with SO_REUSEPORT beside us.

    Without the first, exclusive bind a second stand-in on the same port would quietly share its connections.
    """
    with socket.socket() as exclusive:
        exclusive.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            exclusive.bind((HOST, port))
        except OSError as error:
            raise OSError(error.errno, f"port {port} of {HOST} is taken") from error
        found: int = exclusive.getsockname()[1]
    held = reservations.enter_context(socket.socket())
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((HOST, found))
    return found


async def _until_listening(ports: list[int], tasks: list[asyncio.Task[None]]) -> None:
    for port in ports:
        while True:
            for task in tasks:
                if task.done():
                    raise RuntimeError(f"a server of the stand-ins ended at once: {task.exception()}")
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except ConnectionError:
                await asyncio.sleep(0.005)
                continue
            writer.close()
            break


def _stop_signal(with_stdin: bool) -> asyncio.Future[None]:
    """Done at SIGTERM, SIGINT, or the end of stdin, which is how a parent's death shows, however it died."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopped.done():
            stopped.set_result(None)

    def on_stdin() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if with_stdin:
        loop.add_reader(0, on_stdin)
    return stopped
