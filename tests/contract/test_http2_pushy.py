"""pushy's own mock of APNs, a judge of requests that nobody here wrote: path, token, topic, JWT, payload.

Needs Java and Maven, which fetches pushy: python -m pytest -m slow tests/contract/test_http2_pushy.py
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from notifier.gateway.apns.auth import Credentials
from notifier.gateway.apns.verdict import judge
from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.transport import Http2Transport
from notifier.gateway.secrets import Secret
from notifier.model.exchange import Answer, Request
from notifier.model.outcome import Disposition
from tests.bench.keys import apns_key
from tests.contract.test_http2_servers import Server, program

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "servers"
POM = Path(__file__).parents[1] / "bench" / "peers" / "java" / "pom.xml"
COUNT = 2_000
PATIENCE_S = 300.0
"""It checks each signature, about 50 to 1,000 a second."""
TOPIC = "com.example.app"


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the harness."""
    mvn, javac, home = program("mvn"), program("javac"), tmp_path_factory.mktemp("pushy")
    shutil.copy(POM, home)
    shutil.copy(HERE / "Pushy.java", home)
    fetch = [mvn, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
    fetched = subprocess.run(fetch, cwd=home, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip(f"Maven does not reach pushy: {fetched.stdout.strip()[-200:]}")
    subprocess.run([javac, "-cp", "lib/*", "Pushy.java"], cwd=home, check=True)
    return f"{home}:{home}/lib/*"


@pytest.fixture(params=[1, 100], ids=["one stream", "100 streams"])
def server(request: pytest.FixtureRequest, classes: str, tmp_path: Path) -> Iterator[tuple[Server, Credentials]]:
    """It runs, and knows the public half of these credentials."""
    text = apns_key()
    key = serialization.load_pem_private_key(text.encode(), None)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    fields = {"key": text, "key_id": "ABC123DEFG", "team_id": "TEAM123456", "topic": TOPIC}
    credentials = Credentials(Secret("apns", fields))

    def command(one: Server, limit: int) -> list[str]:
        # Java reads PKCS #8 only.
        own = serialization.load_pem_private_key((one.home / "key.pem").read_bytes(), None)
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (one.home / "key8.pem").write_bytes(own.private_bytes(*form))
        files = [str(one.pem), str(one.home / "key8.pem"), str(tmp_path / "public.pem")]
        return [program("java"), "-cp", classes, "Pushy", str(one.port), *files, str(limit), str(one.log)]

    made = Server(tmp_path, command, request.param)
    yield made, credentials
    made.stop()


def sent(transport: Http2Transport, line: str) -> dict[int, Answer]:
    """Ask for tokens 0 to `COUNT`; answers by number."""
    answers: dict[int, Answer] = {}
    number = 0
    give_up = time.monotonic() + PATIENCE_S
    lines = (line, f"apns-topic: {TOPIC}", "apns-push-type: alert", "apns-priority: 10", "apns-expiration: 0")
    body = b'{"aps":{"alert":{"title":"Hi","body":"3 people joined"}}}'
    while len(answers) < COUNT:
        assert time.monotonic() < give_up, f"{len(answers)} of {COUNT}"
        while number < COUNT and transport.room("gw") > 0:
            path = f"/3/device/{number:064x}"
            transport.submit(Request(endpoint="gw", path=path, headers=lines, body=body, ticket=number))
            number += 1
        for answer in transport.poll(0.5):
            assert answer.ticket not in answers
            answers[answer.ticket] = answer
    return answers


def test_pushys_mock_takes_our_requests_and_we_its_answers(server: tuple[Server, Credentials]) -> None:
    """It accepts the tokens that it knows, each asked for once; our verdicts on its refusals are the tokens' own."""
    mock, credentials = server
    endpoint = Endpoint(
        name="gw", base_url=f"https://localhost:{mock.port}", max_connections=2, max_streams=100, probe_first=True,
        timeout_ms=120_000,
    )  # fmt: skip
    with closing(Http2Transport([endpoint], str(mock.home / "ca.pem"))) as transport:
        answers = sent(transport, credentials.grant(time.time()).header)
    wanted = {7: (400, Disposition.DROP_TOKEN), 9: (410, Disposition.DROP_TOKEN)}
    for number, answer in answers.items():
        found = answer.status, judge(answer).disposition
        assert found == wanted.get(number % 10, (200, Disposition.ACCEPT)), answer.body
    assert set(Counter(mock.paths()).values()) == {1}
    assert len(mock.paths()) == COUNT
