"""The sink: nginx on 127.0.0.1 in the gateways' place. TLS 1.3, HTTP/2, one worker, an answer at once or a late one.

It answers as FCM does (200 and a name), as APNs does (200, no body, the apns-id it was given) and as Google's OAuth
does, and counts the requests of each of these by its own (`stub_status`). Missing? `apt-get install nginx-light`.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import trustme

from tests.bench import latency

FCM_ANSWER = '{"name":"projects/p/messages/0:1500415314455276%31bd1c9631bd1c96"}'
TOKEN_ANSWER = '{"access_token":"' + "a" * 200 + '","expires_in":3599,"token_type":"Bearer"}'
ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
"""Debian's nginx-light brings it: answers after a pause."""

# nginx forgets no stream of a connection that is never idle: with its 32 buckets each lookup walks ever longer chains
# (340 us of CPU a request after 500,000 late ones; 29 with this index).
_CONFIGURATION = """
{modules} daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 2048; }}
http {{
  {log} keepalive_requests 1000000000; keepalive_timeout 600s; http2_max_concurrent_streams 2000;
  http2_streams_index_size 65536;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u;
  scgi_temp_path {home}/s; ssl_protocols TLSv1.3; ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem;
  default_type application/json;
  {pauses}
  server {{
    listen 127.0.0.1:{port} ssl http2; listen 127.0.0.1:{clear_port} http2;
    {slow}
    location = /token {{ return 200 '{token}'; }}
    location /3/device/ {{ {apns} }}
    location / {{ {fcm} }}
    {after_pause}
  }}
  server {{ listen 127.0.0.1:{status_port}; location / {{ stub_status; }} }}
}}
"""
_LOG = "log_format asked '$msec $request_time $uri'; access_log {home}/asked asked buffer=64k flush=1s;"
_SLOW = "location /slow {{ echo_sleep 0.06; echo '{answer}'; }}"


class Sink(msgspec.Struct, frozen=True):
    """A running sink. `url` has no slash at its end; `ca_file` is the PEM of whom to trust."""

    url: str
    ca_file: str
    status_url: str
    clear_port: int
    """HTTP/2 without TLS, for `tests.bench.relay`."""
    certificate: str
    """A PEM file of certificate and key."""
    log: Path | None = None
    """A line for each request, if it keeps a log: when it had been answered, how long it took, its path."""

    @property
    def has_pauses(self) -> bool:
        """Whether paths under /slow are answered after 60 ms."""
        return ECHO_MODULE.exists()

    def requests(self) -> int:
        """How many requests it has answered, those for this number included."""
        with urllib.request.urlopen(self.status_url) as answer:  # noqa: S310 - our own
            counted = re.search(r"\d+ +\d+ +(\d+)", answer.read().decode())
        assert counted is not None
        return int(counted[1])


def binary() -> str | None:
    """Where nginx is, or None."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def version() -> str:
    """As nginx says it."""
    nginx = binary()
    return subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr.strip() if nginx else "?"


@contextlib.contextmanager
def running(*, late: bool = False, logs: bool = False) -> Iterator[Sink]:
    """Start nginx on free ports of 127.0.0.1. `late` answers come as `tests.bench.latency` says.

    With `logs` nginx notes the time of each request by its own clock: 1 us of its CPU, and a second late.
    """
    nginx = binary()
    if nginx is None:
        raise SystemExit("the sink is nginx, which is not installed: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as home:
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(f"{home}/ca.pem")
        leaf.cert_chain_pems[0].write_to_path(f"{home}/cert.pem")
        leaf.private_key_pem.write_to_path(f"{home}/key.pem")
        leaf.private_key_and_cert_chain_pem.write_to_path(f"{home}/both.pem")
        port, clear_port, status_port = _free_port(), _free_port(), _free_port()
        Path(home, "conf").write_text(_configuration(home, port, clear_port, status_port, late=late, logs=logs))
        server = subprocess.Popen([nginx, "-p", home, "-c", f"{home}/conf"], stderr=subprocess.DEVNULL)
        try:
            _await(port)
            status_url = f"http://127.0.0.1:{status_port}/"
            log = Path(home, "asked") if logs else None
            yield Sink(f"https://localhost:{port}", f"{home}/ca.pem", status_url, clear_port, f"{home}/both.pem", log)
        finally:
            server.terminate()
            server.wait()


def _configuration(home: str, port: int, clear_port: int, status_port: int, *, late: bool, logs: bool) -> str:
    if late and not ECHO_MODULE.exists():
        raise SystemExit("nginx answers late with its echo module, which is not installed: apt-get install nginx-light")
    slow = ECHO_MODULE.exists()
    fcm, apns = f"return 200 '{FCM_ANSWER}';", "add_header apns-id $http_apns_id; return 200;"
    return _CONFIGURATION.format(
        home=home,
        port=port,
        clear_port=clear_port,
        status_port=status_port,
        fcm="echo_sleep $pause; echo_exec @fcm;" if late else fcm,
        apns="echo_sleep $pause; echo_exec @apns;" if late else apns,
        after_pause=f"location @fcm {{ {fcm} }} location @apns {{ {apns} }}" if late else "",
        pauses=latency.nginx("$pause") if late else "",
        token=TOKEN_ANSWER,
        modules=f"load_module {ECHO_MODULE};" if slow else "",
        log=_LOG.format(home=home) if logs else "access_log off;",
        slow=_SLOW.format(answer=FCM_ANSWER) if slow else "",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await(port: int) -> None:
    for _ in range(250):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise RuntimeError("nginx did not come up")
