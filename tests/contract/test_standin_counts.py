"""The stand-ins count for themselves, keep the phones' pushes, and end with the process that started them."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pycurl
import pytest

from sandbox.fork_server import FOLDER_VARIABLE
from sandbox.gateways import Gateways, StandInsDownError
from sandbox.gateways.counts import GatewayCounts, TokenTable
from sandbox.gateways.endpoint import Latency
from tests.contract.standin_client import Client, Response, access_token, provider_token

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with Gateways.start(tmp_path_factory.mktemp("standins")) as started:
        yield started


@pytest.fixture
def gateways(running: Gateways) -> Gateways:
    running.reset()
    return running


class Apns:
    """Pushes to APNs on one connection."""

    def __init__(self, gateways: Gateways) -> None:
        self._base = gateways.addresses.apns
        self._client = Client(gateways)
        self._bearer = provider_token(gateways)

    def __call__(self, token: str, timeout_ms: int = 5000, **headers: str) -> Response:
        """The answer to one push."""
        right = {"authorization": f"bearer {self._bearer}", "apns-topic": "com.example.app", "apns-push-type": "alert"}
        given = right | {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self._base}/3/device/{token}"
        return self._client.send(url, b'{"aps":{"alert":"Hi"}}', given, timeout_ms=timeout_ms)


def test_tokens_are_counted_by_how_often_they_were_asked_for(gateways: Gateways) -> None:
    """A retry makes a repeated token; only a second 200 makes one accepted again."""
    push = Apns(gateways)
    for token in ("plain-000001", "plain-000002", "plain-000002", "internal-once-1", "internal-once-1", "dead-000001"):
        push(token)
    figures = gateways.counts().apns
    assert figures.requests == 6
    assert figures.distinct_tokens == 4
    assert figures.repeated_tokens == 2
    assert figures.accepted_tokens == 3
    assert figures.accepted_again_tokens == 1
    assert figures.answers == {"200": 4, "410 Unregistered": 1, "500 InternalServerError": 1}


def test_a_push_refused_for_its_form_asks_for_no_token(gateways: Gateways) -> None:
    """Credentials, headers and payload come before the token."""
    Apns(gateways)("plain-000001", apns_priority="7")
    figures = gateways.counts().apns
    assert (figures.requests, figures.distinct_tokens) == (1, 0)
    assert figures.answers == {"400 BadPriority": 1}


def test_gateways_and_hosts_are_counted_apart(gateways: Gateways) -> None:
    """A push to production is not FCM's nor the sandbox host's."""
    Apns(gateways)("plain-000001")
    counts = gateways.counts()
    assert (counts.fcm.requests, counts.apns.requests, counts.apns_sandbox.requests) == (0, 1, 0)


def test_connections_and_requests_at_once_are_counted(gateways: Gateways) -> None:
    """Two clients are two connections; one after the other is one at a time."""
    first, second = Apns(gateways), Apns(gateways)
    for push in (first, second, first):
        push("plain-000001")
    figures = gateways.counts().apns
    assert (figures.connections, figures.max_in_flight, figures.early_requests) == (2, 1, 0)


def test_requests_before_a_connections_first_answer_are_counted(gateways: Gateways) -> None:
    """APNs wants one request alone on a new connection: of three at once two are counted as early."""
    bearer = provider_token(gateways)
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
    handles = [_slow_push(gateways, bearer, number) for number in range(3)]
    for handle in handles:
        multi.add_handle(handle)
    while multi.perform()[1]:
        multi.select(1.0)
    figures = gateways.counts().apns
    assert (figures.connections, figures.early_requests, figures.max_in_flight) == (1, 2, 3)


def _slow_push(gateways: Gateways, bearer: str, number: int) -> pycurl.Curl:
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, f"{gateways.addresses.apns}/3/device/slow-200-{number:08d}")
    handle.setopt(pycurl.CAINFO, gateways.addresses.ca_file)
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
    handle.setopt(pycurl.PIPEWAIT, 1)
    handle.setopt(pycurl.HTTPHEADER, [f"authorization: bearer {bearer}", "apns-topic: com.example.app"])
    handle.setopt(pycurl.POSTFIELDS, b'{"aps":{}}')
    return handle


def test_reset_forgets_figures_and_attempts(gateways: Gateways) -> None:
    """Afterwards `once` tokens are new again."""
    push = Apns(gateways)
    assert [push("internal-once-1").status for _ in range(2)] == [500, 200]
    gateways.reset()
    assert gateways.counts().apns.requests == 0
    assert push("internal-once-1").status == 500


def test_registered_phones_keep_their_accepted_pushes(gateways: Gateways) -> None:
    """Payload and headers are kept, oldest first, for registered tokens only, and not what was refused."""
    gateways.register("plain-000001", "dead-000001")
    push = Apns(gateways)
    for token in ("plain-000001", "plain-000002", "dead-000001"):
        push(token, apns_collapse_id="day-2")
    (shown,) = gateways.pushes("plain-000001")
    assert shown["gateway"] == "apns"
    assert shown["payload"] == {"aps": {"alert": "Hi"}}
    assert shown["headers"]["apns-collapse-id"] == "day-2"
    assert "authorization" not in shown["headers"]
    assert gateways.pushes("plain-000002") == gateways.pushes("dead-000001") == []


def test_an_android_phone_keeps_its_message(gateways: Gateways) -> None:
    """FCM's message is kept as it was sent; validate_only shows nothing on a phone."""
    gateways.register("android-000001")
    client = Client(gateways)
    bearer = access_token(client, gateways)
    url = f"{gateways.addresses.fcm}/v1/projects/sandbox-project/messages:send"
    message = {"token": "android-000001", "data": {"arm": "a"}}
    for top in ({"message": message}, {"message": message, "validate_only": True}):
        client.send(url, msgspec.json.encode(top), {"authorization": f"Bearer {bearer}"})
    (shown,) = gateways.pushes("android-000001")
    assert (shown["gateway"], shown["payload"]["message"]) == ("fcm", message)


def test_the_token_table_counts_many_tokens_exactly() -> None:
    """Growing loses nothing: 20,000 tokens, a tenth of them asked for three times and accepted twice."""
    table = TokenTable()
    for number in range(20_000):
        assert table.ask(f"token-{number}") == 1
    for attempt in (2, 3):
        for number in range(0, 20_000, 10):
            assert table.ask(f"token-{number}") == attempt
            table.accept(f"token-{number}")
    table.accept("never asked for")
    assert (table.distinct, table.repeated, table.accepted, table.accepted_again) == (20_000, 2_000, 2_000, 2_000)


def test_attempts_saturate_without_touching_other_counts() -> None:
    """The 63rd attempt is the last with a count of its own."""
    table = TokenTable()
    attempts = [table.ask("one") for _ in range(100)]
    for _ in range(100):
        table.accept("one")
    assert attempts[:63] == list(range(1, 64))
    assert set(attempts[63:]) == {63}
    assert (table.distinct, table.repeated, table.accepted, table.accepted_again) == (1, 1, 1, 1)


def test_a_reset_keeps_what_is_still_being_answered() -> None:
    """The number in flight is a fact, not a figure."""
    counts = GatewayCounts()
    counts.arrive("127.0.0.1:1")
    counts.reset()
    assert (counts.requests, counts.in_flight, counts.max_in_flight) == (0, 1, 1)


def test_latency_has_the_median_and_the_99th_percentile_asked_for() -> None:
    """20,000 draws lie where a log-normal of 60 and 250 ms should."""
    draw = Latency(60.0, 250.0).sampler(seed=1)
    drawn = sorted(draw() for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(60, rel=0.05)
    assert drawn[19_800] == pytest.approx(250, rel=0.1)


def test_latency_delays_the_answers(tmp_path: Path) -> None:
    """With a median of 300 ms a client that waits 50 ms gets nothing."""
    with Gateways.start(tmp_path, latency_ms=(300.0, 301.0)) as slow:
        push = Apns(slow)
        with pytest.raises(pycurl.error):
            push("plain-000001", timeout_ms=50)
        assert push("plain-000001").status == 200


def test_keys_survive_a_restart_and_point_at_the_new_port(tmp_path: Path) -> None:
    """The second start has the same keys and CA; the service account names the OAuth endpoint where it now is."""
    secrets = []
    for _ in range(2):
        with Gateways.start(tmp_path) as gateways:
            account = msgspec.json.decode(gateways.fcm_service_account)
            assert account["token_uri"] == f"{gateways.addresses.oauth}/token"
            assert access_token(Client(gateways), gateways)
            secrets.append((account["private_key"], gateways.apns_key, Path(gateways.addresses.ca_file).read_bytes()))
    assert secrets[0] == secrets[1]
    assert not (tmp_path / "gateways.json").exists()


def test_a_taken_port_is_said_so(running: Gateways, tmp_path: Path) -> None:
    """The error names the port; two stand-ins never share one quietly."""
    port = int(running.addresses.fcm.rsplit(":", 1)[1])
    with pytest.raises(StandInsDownError, match=rf"port {port} of 127\.0\.0\.1 is taken"):
        Gateways.start(tmp_path, ports=(port, 0, 0, 0))


def test_a_wrong_behaviour_is_said_so(tmp_path: Path) -> None:
    """The error carries the log's tail."""
    with pytest.raises(StandInsDownError, match=r"cannot load the behaviour 'no\.such:thing'"):
        Gateways.start(tmp_path, behaviour="no.such:thing")


def test_stopped_stand_ins_say_so(tmp_path: Path) -> None:
    """Asking them afterwards is an error of ours, not of urllib's; stopping twice is harmless."""
    with Gateways.start(tmp_path) as gateways:
        gateways.stop()
        with pytest.raises(StandInsDownError):
            gateways.counts()


def test_the_stand_ins_die_with_their_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed outright, the parent can stop nothing; the stand-ins, a process of its own here, end by themselves."""
    monkeypatch.delenv(FOLDER_VARIABLE)
    script = (
        "import sys, pathlib, signal; from sandbox.gateways import Gateways;"
        "print(Gateways.start(pathlib.Path(sys.argv[1])).addresses.pid, flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended, _, _ = select.select([child], [], [], 5.0)
    os.close(child)
    assert ended


def test_the_state_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken from where the caller is, and the addresses name absolute files."""
    monkeypatch.chdir(tmp_path)
    with Gateways.start(Path("state")) as gateways:
        assert gateways.addresses.ca_file == str(tmp_path / "state" / "ca.pem")
