"""The peers on the same sink, and our own sending: installs them into folders of their own, and starts them.

    python -m tests.bench.field [--requests 20000] [--turns 1] [--only pushy]

All only send; see tests/bench/peers/README.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec

from tests.bench import relay, sink
from tests.bench.keys import apns_key, service_account
from tests.bench.uv import environment, interpreter, worker_python

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
HOME = ROOT / ".sandbox" / "bench" / "peers"
PYTHON_PACKAGES = ("pyfcm==2.1.1", "aioapns==4.0", "firebase-admin==7.7.0")
TIMEOUT_S = 120


class Absent(Exception):
    """A peer that cannot be measured here; the message says why."""


class Peer(msgspec.Struct, frozen=True):
    """One library: how it is called in the table, and the command that runs it (which may install it first).

    `share`: of the requests, for the slow ones.
    """

    name: str
    gateway: str
    language: str
    command: Callable[[], list[str]]
    share: float = 1.0
    by_relay: bool = False
    """It does not offer ALPN: see `tests.bench.relay`."""


class Measured(msgspec.Struct, frozen=True):
    """A peer's figures, or why there are none."""

    peer: str
    gateway: str
    language: str
    version: str = ""
    requests: int = 0
    cpu_us: float = 0.0
    per_s: float = 0.0
    peak_rss_mb: float = 0.0
    why_not: str = ""


def _python(script: str) -> Callable[[], list[str]]:
    def command() -> list[str]:
        try:
            python = environment(HOME, "peers", *PYTHON_PACKAGES, python=interpreter())
        except (OSError, subprocess.CalledProcessError) as error:
            raise Absent(f"could not be installed: {error}") from None
        return [str(python), str(PEERS / f"{script}.py")]

    return command


def _ours(endpoint: str) -> Callable[[], list[str]]:
    def command() -> list[str]:
        # With the root in its path and no other folder of ours: what it imports is what the worker imports.
        python = worker_python(interpreter())
        return ["env", f"PYTHONPATH={ROOT}", str(python), str(PEERS / "notifier_send.py"), endpoint]

    return command


def _node(script: str) -> Callable[[], list[str]]:
    def command() -> list[str]:
        node, npm = _tool("node"), _tool("npm")
        home = _copied("node")
        if not (home / "node_modules").exists():
            _install([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"], home)
        return [node, str(home / f"{script}.js")]

    return command


def _go() -> list[str]:
    home = _copied("go")
    if not (home / "peer").exists() or (home / "peer").stat().st_mtime < (PEERS / "go" / "main.go").stat().st_mtime:
        _install([_tool("go"), "build", "-o", "peer", "."], home)
    return [str(home / "peer")]


def _java() -> list[str]:
    java, home = _tool("java"), _copied("java")
    if not (home / "Peer.class").exists():
        _install([_tool("mvn"), "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"], home)
        _install([_tool("javac"), "-cp", "lib/*", "Peer.java"], home)
    return [java, "-cp", f"{home}:{home}/lib/*", "Peer"]


def _gorush() -> list[str]:
    raise Absent("sends to Apple's and Google's own hosts only; its APNs side is sideshow/apns2")


PEERS_IN_ORDER = (
    Peer("notifier, its sending alone", "FCM", "Python", _ours("fcm"), 5.0),
    Peer("notifier, its sending alone", "APNs", "Python", _ours("apns"), 5.0),
    Peer("pyfcm `notify`", "FCM", "Python", _python("pyfcm_notify"), 0.2),
    Peer("pyfcm `async_notify_multiple_devices`", "FCM", "Python", _python("pyfcm_async"), 0.2),
    Peer("firebase-admin `send_each`", "FCM", "Python", _python("firebase_admin_each"), 0.2),
    Peer("firebase-admin `sendEach`", "FCM", "Node", _node("fcm")),
    Peer("aioapns `send_notification`", "APNs", "Python", _python("aioapns_send"), 0.5),
    Peer("@parse/node-apn `send`", "APNs", "Node", _node("apn")),
    Peer("sideshow/apns2 `Push`", "APNs", "Go", _go),
    Peer("pushy `sendNotification`", "APNs", "Java", _java, 10.0, by_relay=True),
    Peer("gorush", "both", "Go", _gorush),
)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Absent(f"{name} is not installed here")
    return found


def _copied(name: str) -> Path:
    home = HOME / name
    shutil.copytree(PEERS / name, home, dirs_exist_ok=True)
    return home


def _install(command: list[str], folder: Path | None = None) -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder or HOME, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Absent(f"could not be installed: {(done.stderr or done.stdout).strip().splitlines()[-1][:200]}")


def run(to: sink.Sink, peer: Peer, requests: int) -> Measured:
    """One peer's figures; the sink must have answered what it says it sent."""
    try:
        command = peer.command()
    except Absent as absent:
        return Measured(peer.name, peer.gateway, peer.language, why_not=str(absent))
    count = max(1_000, int(requests * peer.share) // 500 * 500)
    with tempfile.TemporaryDirectory() as keys, relay.running(to) if peer.by_relay else nullcontext(0) as port:
        Path(keys, "fcm.json").write_text(json.dumps(service_account(f"{to.url}/token")))
        Path(keys, "apns.p8").write_text(apns_key())
        variables = os.environ | {
            "REQUESTS": str(count),
            "SINK_HOST": "localhost",
            "SINK_PORT": str(port or to.url.rpartition(":")[2]),
            "SINK_CA": to.ca_file,
            "FCM_KEY": f"{keys}/fcm.json",
            "APNS_KEY": f"{keys}/apns.p8",
            "SSL_CERT_FILE": to.ca_file,
            "REQUESTS_CA_BUNDLE": to.ca_file,
            "NODE_EXTRA_CA_CERTS": to.ca_file,
        }
        before = to.requests()
        try:
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return Measured(peer.name, peer.gateway, peer.language, why_not=f"not done after {TIMEOUT_S} s")
        answered = to.requests() - before - 1
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
        return Measured(peer.name, peer.gateway, peer.language, why_not=f"failed: {why}")
    printed = json.loads(done.stdout.strip().splitlines()[-1])
    if answered < count:
        return Measured(peer.name, peer.gateway, peer.language, why_not=f"sent {answered} of {count}")
    return Measured(
        peer.name,
        peer.gateway,
        peer.language,
        version=printed["version"].removeprefix("v"),
        requests=printed["requests"],
        cpu_us=printed["cpu_s"] / printed["requests"] * 1e6,
        per_s=printed["requests"] / printed["wall_s"],
        peak_rss_mb=printed["peak_rss_mb"],
    )


def measure(to: sink.Sink, requests: int, only: str = "") -> Iterator[Measured]:
    """All peers, one after the other; or those whose names contain one of some words, and our own sending."""
    words = only.split(",")
    for peer in PEERS_IN_ORDER:
        if any(word in peer.name for word in ("notifier", *words)):
            try:
                yield run(to, peer, requests)
            except Exception as error:  # noqa: BLE001 - the peers after it are measured all the same
                yield Measured(peer.name, peer.gateway, peer.language, why_not=f"failed: {error!r}"[:200])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=1, help="so often in turn: the machine's speed changes")
    parser.add_argument("--only", default="", metavar="WORD,WORD", help="of the peers")
    arguments = parser.parse_args()
    with sink.running() as to:
        for one in (one for _ in range(arguments.turns) for one in measure(to, arguments.requests, arguments.only)):
            figures = f"{one.cpu_us:7.1f} us/push  {one.per_s:7,.0f}/s  {one.peak_rss_mb:4.0f} MB  {one.version}"
            print(f"{one.gateway:5} {one.peer:40} {one.why_not or figures}", flush=True)


if __name__ == "__main__":
    main()
