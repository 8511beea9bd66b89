"""The local AWS: moto in a process of its own, so that it does not share an interpreter lock with the rest."""

import os
import subprocess
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import boto3
import msgspec
from botocore.config import Config

from sandbox import child
from sandbox.aws_faults import FAULTS_PATH, AwsRule
from sandbox.blueprint import REGION

CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox", "AWS_REGION": REGION}
RECORDED_EVENTS_PATH: Final = "/sandbox/events"
MAILS_PATH: Final = "/sandbox/mails"
ATHENA_WORKGROUP: Final = "sandbox"
"""The one workgroup of the sandbox's Athena."""
ATHENA_CUTOFF_BYTES: Final = 10_000_000_000
_STOP_WITHIN_S: Final = 5.0
# Each new session reads the description of every service again, 20 to 80 ms of JSON. Only one thread at a time may have
# a session make a client; the clients may be shared.
_SESSION: Final = boto3.session.Session()
_ONE_AT_A_TIME: Final = threading.Lock()


class RecordedEvent(msgspec.Struct, frozen=True, rename="pascal"):
    """An entry of PutEvents. `detail` is its JSON text."""

    source: str = ""
    detail_type: str = ""
    detail: str = ""
    event_bus_name: str = "default"


class LocalAws:
    """S3, DynamoDB, Secrets Manager, SQS, SES, EventBridge and Athena behind one address."""

    def __init__(self, process: child.Child, port: int) -> None:
        self._process = process
        self.endpoint_url = f"http://127.0.0.1:{port}"

    @classmethod
    def start(cls, state_dir: Path, lambda_address: str = "127.0.0.1:9") -> Self:
        """Starts it and waits until it answers.

        `state_dir` gets `logs/aws.log` and the spooled objects. `lambda_address` is `host:port` of the local Lambda.
        Raises RuntimeError with the end of the log if it does not come up.
        """
        log = state_dir / "logs" / "aws.log"
        spool = state_dir / "spool"
        for folder in (log.parent, spool):
            folder.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stderr:
            environment = {**os.environ, "TMPDIR": str(spool)}
            process = child.start(
                "sandbox.aws_server", [lambda_address], environment=environment, log=stderr, answers=True
            )
        assert process.stdout is not None
        first_line = process.stdout.readline()
        process.stdout.close()
        if not first_line:
            process.wait()
            raise RuntimeError(f"the local AWS did not start: {log.read_text(errors='replace')[-2000:]}")
        return cls(process, int(first_line))

    def client(self, service: str) -> Any:
        """A boto3 client of a service. Clients are safe to share between threads."""
        with _ONE_AT_A_TIME:
            return _SESSION.client(
                service,  # type: ignore[call-overload]
                endpoint_url=self.endpoint_url,
                region_name=REGION,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=Config(max_pool_connections=50, s3={"addressing_style": "path"}),
            )

    def recorded_events(self) -> tuple[RecordedEvent, ...]:
        """Everything that was put on EventBridge, oldest first."""
        with urllib.request.urlopen(self.endpoint_url + RECORDED_EVENTS_PATH) as answer:  # noqa: S310
            return tuple(msgspec.json.decode(answer.read(), type=list[RecordedEvent]))

    def break_by(self, rules: Sequence[AwsRule]) -> None:
        """Inject these faults from now on, instead of any others."""
        request = urllib.request.Request(  # noqa: S310
            self.endpoint_url + FAULTS_PATH, data=msgspec.json.encode(list(rules)), method="PUT"
        )
        urllib.request.urlopen(request).close()  # noqa: S310

    def struck(self) -> tuple[int, ...]:
        """How often each rule has struck so far."""
        with urllib.request.urlopen(self.endpoint_url + FAULTS_PATH) as answer:  # noqa: S310
            return tuple(msgspec.json.decode(answer.read(), type=list[int]))

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the process. May be called twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
