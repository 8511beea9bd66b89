"""The stand-ins as a child process: start, query, stop."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import msgspec

from sandbox import child
from sandbox.gateways.counts import Figures
from sandbox.gateways.server import ADDRESSES_FILE, Addresses
from sandbox.wait import WaitedInVain, wait_until

_LOG_FILE = "gateways.log"
_LOG_TAIL_BYTES = 2000
_POLL_S = 0.02


class StandInsDownError(RuntimeError):
    """The stand-ins did not start, or are gone; the text ends with the tail of their log."""


class Gateways:
    """The running stand-ins. They die with this process, however it ends; `stop()` or `with` ends them sooner."""

    def __init__(self, addresses: Addresses, process: child.Child, state: Path) -> None:
        self.addresses = addresses
        self._process = process
        self._state = state

    @classmethod
    def start(
        cls,
        state: Path,
        *,
        behaviour: str | None = None,
        latency_ms: tuple[float, float] | None = None,
        oauth_lifetime_s: int = 3600,
        ports: Sequence[int] = (0, 0, 0, 0),
        timeout_s: float = 30.0,
    ) -> Self:
        """Starts all stand-ins and returns when they listen.

        `state`: folder for keys, log and `gateways.json`; `behaviour`: `package.module:function`; `latency_ms`: median
        and 99th percentile; `ports`: FCM, APNs, APNs sandbox, control. Raises StandInsDownError.
        """
        state = state.resolve()
        state.mkdir(parents=True, exist_ok=True)
        (state / ADDRESSES_FILE).unlink(missing_ok=True)
        names = ("--fcm-port", "--apns-port", "--apns-sandbox-port", "--control-port")
        options = [text for name, port in zip(names, ports, strict=True) for text in (name, str(port))]
        options += ["--oauth-lifetime-s", str(oauth_lifetime_s)]
        if behaviour:
            options += ["--behaviour", behaviour]
        if latency_ms:
            options += ["--latency-ms", f"{latency_ms[0]}:{latency_ms[1]}"]
        with (state / _LOG_FILE).open("wb") as log:
            process = _spawn(state, options, log)
        try:
            return cls(_await_addresses(state, process, timeout_s), process, state)
        except BaseException:
            _end(process)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def fcm_service_account(self) -> str:
        """The FCM secret: a service account's JSON."""
        return Path(self.addresses.fcm_service_account_file).read_text()

    @property
    def apns_key(self) -> str:
        """The APNs secret: JSON with `key`, `key_id`, `team_id`, `topic`."""
        return Path(self.addresses.apns_key_file).read_text()

    def counts(self) -> Figures:
        """What the stand-ins have counted so far."""
        return msgspec.json.decode(self._control("GET", "/counts"), type=Figures)

    def arrivals(self) -> dict[str, dict[int, int]]:
        """By gateway, how many requests arrived in each 20 ms: by seconds since the epoch × `ARRIVALS_PER_S`."""
        return msgspec.json.decode(self._control("GET", "/arrivals"), type=dict[str, dict[int, int]], strict=False)

    def reset(self) -> None:
        """Forgets figures, attempts and pushes."""
        self._control("POST", "/reset")

    def revoke(self) -> None:
        """Makes every OAuth access token issued so far worthless."""
        self._control("POST", "/revoke")

    def behave(self, behaviour: str, oauth: str = "") -> None:
        """Answer by `package.module:function` from now on; "" for the prefixes, and for access tokens as usual."""
        self._control("POST", "/behave", msgspec.json.encode({"behaviour": behaviour, "oauth": oauth}))

    def register(self, *tokens: str) -> None:
        """Keeps the pushes of these tokens from now on."""
        self._control("POST", "/register", msgspec.json.encode({"tokens": tokens}))

    def pushes(self, token: str) -> list[dict[str, Any]]:
        """The last accepted pushes of a registered token, oldest first: `at, gateway, id, headers, payload`."""
        answer = msgspec.json.decode(self._control("GET", f"/pushes?token={quote(token)}"))
        pushes: list[dict[str, Any]] = answer["pushes"]
        return pushes

    def stop(self) -> None:
        """Ends the process; waits until it is gone. Harmless a second time."""
        _end(self._process)

    def _control(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = Request(self.addresses.control + path, data=body, method=method)  # noqa: S310 (our own http:// URL)
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except URLError as error:
            raise StandInsDownError(
                f"the stand-ins do not answer ({error.reason})\n{_log_tail(self._state)}"
            ) from error


def _spawn(state: Path, options: Sequence[str], log: IO[bytes]) -> child.Child:
    arguments = ["--state", str(state), "--stop-with-stdin", *options]
    return child.start("sandbox.gateways.__main__", arguments, environment=os.environ, log=log)


def _end(process: child.Child) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_addresses(state: Path, process: child.Child, timeout_s: float) -> Addresses:
    announced = state / ADDRESSES_FILE

    def is_ready() -> bool:
        if process.poll() is not None:
            raise StandInsDownError(f"the stand-ins ended with status {process.returncode}\n{_log_tail(state)}")
        return announced.exists()

    try:
        wait_until(is_ready, timeout_s, "the stand-ins are ready", _POLL_S)
    except WaitedInVain as error:
        raise StandInsDownError(f"{error}\n{_log_tail(state)}") from None
    return msgspec.json.decode(announced.read_bytes(), type=Addresses)


def _log_tail(state: Path) -> str:
    return (state / _LOG_FILE).read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
