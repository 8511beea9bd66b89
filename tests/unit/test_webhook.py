"""Posts to a webhook go to public addresses over TLS, once, in bounded time; every other way is refused by name."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import trustme

from approval import announcements
from approval.announcements import Announcement, Channel, as_json, as_slack
from approval.request import Approval, Request, State
from approval.webhook import REASONS, NotPosted, Target, Webhook, is_public, read_target

HOST, PUBLIC = "hooks.example.com", "93.184.216.34"
CA = trustme.CA()
CERTIFICATE = CA.issue_cert(HOST)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A TLS server on this machine that answers every request with the same bytes, and keeps what it was asked.

    `answer` is called with the connection once the request is read.
    """

    def __init__(self, answer: Callable[[ssl.SSLSocket], None], certificate: trustme.LeafCert) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
                with self._context.wrap_socket(plain, server_side=True) as secure:
                    self.asked.append(_request(secure))
                    self._answer(secure)
            except OSError:
                if self._listening.fileno() < 0:
                    return

    def close(self) -> None:
        """No more connections."""
        self._listening.close()


def _request(secure: ssl.SSLSocket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read:
        read += secure.recv(65_536)
    head, _, body = read.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += secure.recv(65_536)
    return head + b"\r\n\r\n" + body


class Place:
    """A server, and a webhook to which the name of the host and its address are what the test says."""

    def __init__(
        self,
        answer: bytes | Callable[[ssl.SSLSocket], None] = OK,
        addresses: Sequence[str] = (PUBLIC,),
        certificate: trustme.LeafCert | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        reply = answer if callable(answer) else lambda secure: secure.sendall(answer)
        self.server = Server(reply, certificate or CERTIFICATE)
        self.addresses = list(addresses)
        self.connected: list[tuple[str, int]] = []
        self.resolved: list[str] = []
        context = ssl.create_default_context()
        CA.configure_trust(context)
        self.webhook = Webhook(self._resolve, self._connect, context, timeout_s)

    def _resolve(self, host: str, _port: int) -> Sequence[str]:
        self.resolved.append(host)
        return self.addresses

    def _connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.connected.append((address, port))
        return socket.create_connection(("127.0.0.1", self.server.port), timeout_s)

    def post(self, url: str = f"https://{HOST}/services/T0/B0/secret?x=1") -> None:
        """One message."""
        self.webhook.post(Target(url), b'{"text":"hi"}')


@pytest.fixture
def places() -> Iterator[Callable[..., Place]]:
    """Places, closed at the end."""
    made: list[Place] = []

    def make(*args: Any, **more: Any) -> Place:
        made.append(Place(*args, **more))
        return made[-1]

    yield make
    for one in made:
        one.server.close()


def refused(place: Place, *url: str) -> str:
    """The code of what is refused; neither it nor its message has the address in it."""
    with pytest.raises(NotPosted) as caught:
        place.post(*url)
    assert "secret" not in str(caught.value)
    assert HOST not in str(caught.value)
    assert caught.value.code in REASONS
    return caught.value.code


def test_one_request_to_the_address_that_was_checked(places: Callable[..., Place]) -> None:
    """The name is resolved once; TCP goes to that address, TLS and HTTP to the name; only the message is sent."""
    place = places(addresses=[PUBLIC, "2606:2800:220:1:248:1893:25c8:1946"])
    place.post()
    assert place.resolved == [HOST]
    assert place.connected == [(PUBLIC, 443)]
    [asked] = place.server.asked
    head, _, body = asked.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /services/T0/B0/secret?x=1 HTTP/1.1\r\nHost: hooks.example.com\r\n")
    assert body == b'{"text":"hi"}'
    place.post(f"https://{HOST}:8443")
    assert place.connected[-1] == (PUBLIC, 8443)
    assert place.server.asked[-1].startswith(b"POST / HTTP/1.1\r\nHost: hooks.example.com:8443\r\n")


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/secret", f"ftp://{HOST}/secret", "https:///secret", f"//{HOST}/secret", "secret", "",
        f"https://me:secret@{HOST}/", f"https://secret@{HOST}/", f"https://{HOST}:secret/", f"https://{HOST}:99999/",
        f"https://{HOST}/sec ret", f"https://{HOST}/secret\r\nX: y", f"https://{HOST}/sécret", "https://[secret/",
        f"https://{HOST}/" + "secret" * 400, "file:///secret",
    ],
)  # fmt: skip
def test_only_https_addresses(places: Callable[..., Place], url: str) -> None:
    """Anything else is refused before a name is resolved."""
    place = places()
    assert refused(place, url) == "WebhookAddress"
    assert place.resolved == []


PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1", "0.0.0.0",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fd00:ec2::254", "ff02::1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a00:1::1",
    "::127.0.0.1", "2001:0:a00:1::", "2001:db8::1", "64:ff9b:1::1", "hooks.example.com", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_only_public_addresses(places: Callable[..., Place], address: str) -> None:
    """Private ones are refused in every notation, also where a public one comes first; nothing is connected to."""
    assert not is_public(address)
    for addresses in ([address], [PUBLIC, address]):
        place = places(addresses=addresses)
        assert refused(place) == "WebhookPrivate"
        assert place.connected == []


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_public_addresses(address: str) -> None:
    """What anybody may reach."""
    assert is_public(address)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(places: Callable[..., Place], status: int) -> None:
    """A public host may name a private one: its answer is the end."""
    answer = f"HTTP/1.1 {status} X\r\nLocation: https://169.254.169.254/secret\r\nContent-Length: 0\r\n\r\n".encode()
    place = places(answer)
    assert refused(place) == "WebhookRedirect"
    assert len(place.server.asked) == len(place.connected) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 410, 429, 500, 503])
def test_refusals(places: Callable[..., Place], status: int) -> None:
    """A webhook that was deleted, or whose server fails, is a reason; nothing of the answer's body is passed on."""
    place = places(f"HTTP/1.1 {status} X\r\nContent-Length: 6\r\n\r\nsecret".encode())
    assert refused(place) == "WebhookRefused"


def test_certificates(places: Callable[..., Place]) -> None:
    """Of another host, or of nobody who is trusted: no request is made."""
    assert refused(places(certificate=CA.issue_cert("elsewhere.example.com"))) == "WebhookTls"
    assert refused(places(certificate=trustme.CA().issue_cert(HOST))) == "WebhookTls"


def test_names_without_an_address(places: Callable[..., Place]) -> None:
    """Not known, no address at all, and a name that no resolver takes."""
    assert refused(places(addresses=[])) == "WebhookUnknownHost"
    place = places()

    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    place.webhook = Webhook(unknown, place._connect)
    assert refused(place) == "WebhookUnknownHost"


def drip(secure: ssl.SSLSocket) -> None:
    """A byte now and then, for ever: each comes in time, the answer never does."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000:
        secure.sendall(bytes([byte]))
        threading.Event().wait(0.02)


def test_all_of_it_in_bounded_time(places: Callable[..., Place]) -> None:
    """No answer, one that drips, and a resolver that hangs: each ends at the limit."""
    assert refused(places(lambda secure: secure.recv(1), timeout_s=0.3)) == "WebhookTimeout"
    assert refused(places(drip, timeout_s=0.3)) == "WebhookTimeout"
    place, hangs = places(), threading.Event()
    place.webhook = Webhook(lambda _host, _port: [PUBLIC] if hangs.wait(5) else [], place._connect, timeout_s=0.2)
    assert refused(place) == "WebhookTimeout"
    hangs.set()


@pytest.mark.parametrize("slow", ["resolver", "connection"])
def test_nothing_is_posted_once_it_was_given_up(places: Callable[..., Place], slow: str) -> None:
    """The caller has an answer that it was not posted: a connection that comes later is closed without a request."""
    place, goes_on = places(), threading.Event()

    def resolve(_host: str, _port: int) -> Sequence[str]:
        return [PUBLIC] if slow != "resolver" or goes_on.wait(5) else []

    def connect(address: str, port: int, timeout_s: float) -> socket.socket:
        if slow == "connection":
            goes_on.wait(5)
        return place._connect(address, port, timeout_s)

    context = ssl.create_default_context()
    CA.configure_trust(context)
    place.webhook = Webhook(resolve, connect, context, timeout_s=0.2)
    assert refused(place) == "WebhookTimeout"
    goes_on.set()
    for thread in [one for one in threading.enumerate() if one.name.startswith("webhook")]:
        thread.join(1)  # those of other tests go on, and have nothing to do
    assert place.connected == [(PUBLIC, 443)]
    assert place.server.asked == []


def test_no_connection(places: Callable[..., Place]) -> None:
    """A port that nobody listens on, and a server that closes without a word."""
    place = places()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        place.server.port = gone.getsockname()[1]
    assert refused(place) == "WebhookUnreachable"
    assert refused(places(lambda secure: secure.close())) == "WebhookUnreachable"


def test_the_secret() -> None:
    """An address alone, or JSON; Slack's host takes blocks by itself; what is neither is refused without its text."""
    assert read_target(" https://hooks.slack.com/services/x\n").is_slack
    assert not read_target("https://hooks.example.com/x").is_slack
    assert read_target('{"url": "https://chat.example.com/x", "format": "slack"}').is_slack
    assert not read_target('{"url": "https://hooks.slack.com/x", "format": "json"}').is_slack
    assert "hooks" not in repr(read_target("https://hooks.slack.com/services/x"))
    for text in ("", "{", '{"format": "slack"}', '{"url": "https://secret", "format": "xml"}', '{"url": 5}'):
        with pytest.raises(NotPosted) as caught:
            read_target(text)
        assert caught.value.code == "WebhookSecret"
        assert "secret://" not in str(caught.value)


def test_slack_and_json() -> None:
    """Slack gets plain texts, in which a campaign's name calls nobody; anything else the same as JSON, versioned."""
    one = Announcement(
        "review", "Please review: <!channel> & co", ("Asked by ann", "1,200 users"), "https://x/requests/1"
    )
    slack = json.loads(as_slack(one))
    assert slack["text"] == "Please review: &lt;!channel&gt; &amp; co"
    assert [block["type"] for block in slack["blocks"]] == ["header", "section", "actions"]
    assert {block["text"]["type"] for block in slack["blocks"][:2]} == {"plain_text"}
    assert slack["blocks"][2]["elements"][0]["url"] == "https://x/requests/1"
    assert json.loads(as_json(one)) == {
        "version": 1, "kind": "review", "title": "Please review: <!channel> & co",
        "lines": ["Asked by ann", "1,200 users"], "url": "https://x/requests/1",
    }  # fmt: skip


def test_a_secret_that_cannot_be_read() -> None:
    """It is a reason like the others, and is read again for the next message."""
    answers: Iterator[KeyError | str] = iter([KeyError("SecretString"), "nothing"])

    def secret() -> str:
        found = next(answers)
        if isinstance(found, KeyError):
            raise found
        return found

    channel = Channel(secret, Webhook())
    for code in ("WebhookSecret", "WebhookAddress"):
        with pytest.raises(NotPosted) as caught:
            channel.announce(Announcement("review", "t", ()))
        assert caught.value.code == code


def test_what_is_said_of_a_decision() -> None:
    """Who approved it; of a rejection why. A name of many words stays one line, and is cut."""
    about: dict[str, Any] = {"id": "r1", "requester": "ann@example.com", "created_at_ms": 0, "expires_at_ms": 1}
    approved = Request(**about, state=State.APPROVED, approvals=(Approval("bob@example.com", 5, "h"),))
    said = announcements.decided(approved, "https://x/prod")
    assert (said.title, said.lines, said.url) == (
        "Approved: Untitled", ("By bob@example.com",), "https://x/prod/requests/r1",
    )  # fmt: skip
    rejected = Request(**about, state=State.REJECTED, decided_by="bob@example.com", comment="too\nlate")
    assert announcements.decided(rejected, "").lines == ("By bob@example.com: too\nlate",)
    assert announcements.decided(rejected, "").url == ""
