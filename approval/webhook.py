"""Posts to a webhook: HTTPS only, to public addresses only, without redirects, in five seconds.

A message that was given up may have arrived all the same, where only its answer was late: who sends it again sends it
at least once.

The address is a secret of the deployment, and still nothing that is typed there may make this function ask a service in
the account's own network, or the metadata service. So its name is resolved first, every address is checked, and the
connection is made to the very address that was checked: a name that is resolved again may have another one by then.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

TIMEOUT_S = 5.0
HTTPS = 443
MAX_URL_CHARS = 2_000

REASONS = {
    "WebhookSecret": "the channel's secret cannot be read, or holds no address",
    "WebhookAddress": "the channel's address is none of https://host/path, without a name and password in it",
    "WebhookUnknownHost": "the host of the channel's address is not known",
    "WebhookPrivate": "the channel's address leads into a network that is not public",
    "WebhookTls": "the channel's certificate does not prove that it is that host",
    "WebhookTimeout": f"the channel did not answer within {TIMEOUT_S:.0f} seconds",
    "WebhookUnreachable": "no connection to the channel could be made",
    "WebhookRedirect": "the channel answered with another address, which is not followed",
    "WebhookRefused": "the channel refused the message",
}
"""Why a message was not posted, by its code. None of them has the address in it: that is the secret."""


class NotPosted(Exception):
    """The message was not posted. `code` is one of `REASONS`; the message is for the log, without the address."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or REASONS[code])
        self.code = code


class Target(msgspec.Struct, frozen=True):
    """Where messages go. `format` is `slack` or `json`."""

    url: str
    format: str = ""

    # The address is a secret: it must not reach a log or a traceback through a value that is printed.
    def __repr__(self) -> str:
        return f"Target(format={self.format!r})"

    @property
    def is_slack(self) -> bool:
        """Whether it takes Slack's blocks: where it says so, or is Slack's own host."""
        return (self.format or ("slack" if urlsplit(self.url).hostname == "hooks.slack.com" else "json")) == "slack"


def read_target(secret: str) -> Target:
    """The target in the secret: an address, or `{"url": …, "format": "slack"}`. Raises NotPosted."""
    text = secret.strip()
    try:
        target = msgspec.json.decode(text, type=Target) if text.startswith("{") else Target(text)
    except msgspec.MsgspecError:
        # Without the decoder's message, which quotes what it could not read.
        raise NotPosted("WebhookSecret") from None
    if not target.url or target.format not in ("", "slack", "json"):
        raise NotPosted("WebhookSecret")
    return target


class Resolved(msgspec.Struct, frozen=True):
    """A checked address of a host."""

    host: str
    port: int
    path: str
    address: str


Resolve = Callable[[str, int], Sequence[str]]
Connect = Callable[[str, int, float], socket.socket]


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(address: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to an address, which is no name: nothing is resolved again."""
    return socket.create_connection((address, port), timeout=timeout_s)


def is_public(address: str) -> bool:
    """Whether an address is anybody's on the internet, and not one of a private network in another notation."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    # IPv6 addresses that carry one of IPv4: gateways unpack them, and what is in them may be private.
    is_carrier = found.version == 6 and (
        found.ipv4_mapped is not None
        or found.sixtofour is not None
        or found.teredo is not None
        or any(found in network for network in _CARRIERS)
    )
    return found.is_global and not found.is_multicast and not is_carrier


_CARRIERS = (
    ipaddress.ip_network("64:ff9b::/96"),
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("::/96"),
)
"""NAT64 (RFC 6052, RFC 8215), and addresses of IPv4 as IPv6 once wrote them."""


class Webhook:
    """Posts messages.

    Args:
        resolve: the addresses of a host and port, as texts.
        connect: makes a connection to an address and port, within so many seconds.
        context: of TLS; by default one that trusts the system's authorities.
    """

    def __init__(
        self,
        resolve: Resolve = resolve,
        connect: Connect = connect,
        context: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._resolve = resolve
        self._connect = connect
        self._context = context
        self._timeout_s = timeout_s

    def post(self, target: Target, body: bytes) -> None:
        """Post a message. Raises NotPosted."""
        # In a thread: neither the resolver nor a server that answers byte by byte has a limit of its own for the whole.
        threads = ThreadPoolExecutor(1, thread_name_prefix="webhook")
        opened: list[socket.socket] = []
        given_up = threading.Event()
        try:
            threads.submit(self._exchange, target, body, opened, given_up).result(self._timeout_s)
        except NotInTime:
            raise NotPosted("WebhookTimeout") from None
        finally:
            # Before the sockets are closed: the thread may be about to open one.
            given_up.set()
            _close(opened)
            threads.shutdown(wait=False, cancel_futures=True)

    def _exchange(self, target: Target, body: bytes, opened: list[socket.socket], given_up: threading.Event) -> None:
        place = self._checked(target.url)
        try:
            plain = self._connect(place.address, place.port, self._timeout_s)
            opened.append(plain)
            # Whoever waited has gone: a message that is posted now would be posted though it was said that it was not.
            _require_wanted(given_up, opened)
            context = self._context or ssl.create_default_context()
            # By the name, not the address: the certificate is the host's.
            secure = context.wrap_socket(plain, server_hostname=place.host)
            opened.append(secure)
            _require_wanted(given_up, opened)
        except TimeoutError:
            raise NotPosted("WebhookTimeout") from None
        except ssl.SSLError as error:
            raise NotPosted("WebhookTls", f"TLS: {error.reason}") from None
        except OSError:
            raise NotPosted("WebhookUnreachable") from None
        _judge(_ask(secure, place, body))

    def _checked(self, url: str) -> Resolved:
        """The address to connect to. Raises NotPosted."""
        host, port, path = _parts(url)
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise NotPosted("WebhookUnknownHost") from None
        if not addresses:
            raise NotPosted("WebhookUnknownHost")
        # All of them: a name with one private address among public ones is no public name.
        if not all(map(is_public, addresses)):
            raise NotPosted("WebhookPrivate")
        return Resolved(host, port, path, addresses[0])


def _close(opened: list[socket.socket]) -> None:
    for one in opened:
        one.close()


def _require_wanted(given_up: threading.Event, opened: list[socket.socket]) -> None:
    """End here where nobody waits any more, with the sockets that were opened since."""
    if given_up.is_set():
        _close(opened)
        raise NotPosted("WebhookTimeout")


def _parts(url: str) -> tuple[str, int, str]:
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port or HTTPS
    except ValueError:
        raise NotPosted("WebhookAddress") from None
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL_CHARS
    if split.scheme != "https" or not host or split.username or split.password or not is_plain:
        raise NotPosted("WebhookAddress")
    return host, port, f"{split.path or '/'}{'?' + split.query if split.query else ''}"


def _ask(secure: ssl.SSLSocket, place: Resolved, body: bytes) -> int:
    """The status of the answer. Nothing else of it is read."""
    connection = http.client.HTTPSConnection(place.host, place.port)
    connection.sock = secure
    try:
        connection.request("POST", place.path, body, {"Content-Type": "application/json", "Connection": "close"})
        return connection.getresponse().status
    except TimeoutError:
        raise NotPosted("WebhookTimeout") from None
    except (OSError, http.client.HTTPException):
        raise NotPosted("WebhookUnreachable") from None
    finally:
        connection.close()


def _judge(status: int) -> None:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise NotPosted("WebhookRedirect", f"answered {status}")
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise NotPosted("WebhookRefused", f"answered {status}")
