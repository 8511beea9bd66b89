"""Every function of the template under AWS's runtime interface emulator, from its artifact alone (`make contract`)."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import scene
from sandbox.aws import CREDENTIALS
from sandbox.trial import Setting, Trial
from tests.approval_site import rest_event
from tests.contract.elsewhere import free_port
from tests.deployment import artifact

EMULATOR = os.environ.get("LAMBDA_EMULATOR", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EMULATOR, reason="no LAMBDA_EMULATOR: `make contract` builds it where Go is"),
]
INVOKE = "2015-03-31/functions/function/invocations"
AUTHORIZED = {"headers": {}, "methodArn": "arn:aws:execute-api:eu-central-1:1:a/prod/GET/", "httpMethod": "GET"}
EVENTS: dict[str, Any] = {
    "WorkerFunction": {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"},
    "SweeperFunction": {},
    "ControlFunction": {"action": "pause", "run_id": "0" * 20, "by": "ann"},
    "ScheduleFunction": {},
    "AuthorizerFunction": AUTHORIZED,
    "ApprovalFunction": rest_event("GET", "/sign-in"),
    "AudienceFunction": {"left_out": {}},
    "PrivacyFunction": {"action": "find"},
}
"""An event of each function that changes nothing."""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A stack with approval pages, whose local Lambda runs nothing."""
    setting = Setting(parameters=scene.parameters())
    with Trial.start(tmp_path_factory.mktemp("emulated"), setting, in_process=True) as started:
        scene.set_up(started.sandbox, started.gateways)
        yield started


@contextmanager
def emulated(trial: Trial, folder: Path, runtime: Path, logical_id: str) -> Iterator[str]:
    """The function behind the emulator; its address. There are only its artifact and what Lambda's runtime has."""
    function = trial.sandbox.function(logical_id)
    aws = {
        **CREDENTIALS,
        "AWS_DEFAULT_REGION": CREDENTIALS["AWS_REGION"],
        "AWS_ENDPOINT_URL": trial.sandbox.endpoint_url,
    }
    variables = artifact.environment(folder, runtime, aws)
    variables |= {"AWS_LAMBDA_FUNCTION_NAME": function.name, **dict(function.environment)}
    port, inner = free_port(), free_port()
    addresses = [
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{inner}",
    ]
    handler = artifact.handlers()[logical_id]
    command = [EMULATOR, *addresses, sys.executable, "-S", "-P", "-m", "awslambdaric", handler]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield f"http://127.0.0.1:{port}/{INVOKE}"
        except AssertionError as error:
            log.seek(0)
            raise AssertionError(f"{error}\n{log.read().decode(errors='replace')[-3_000:]}") from None
        finally:
            process.terminate()
            process.wait()


def ask(url: str, event: Any) -> Any:
    """The function's answer. The emulator takes a moment until it listens."""
    until = time.monotonic() + 60
    while True:
        try:
            # S310: the address is our own.
            with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=60) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.URLError:
            assert time.monotonic() < until, "nothing listens"
            time.sleep(0.1)


@pytest.mark.parametrize("logical_id", sorted(EVENTS))
def test_the_artifact_boots(trial: Trial, artifacts: artifact.Artifacts, runtime: Path, logical_id: str) -> None:
    """It boots, reads its settings and answers: no `Runtime.…` error, which is the runtime's for what is not there."""
    folder = artifacts.of(logical_id, "host").folder
    with emulated(trial, folder, runtime, logical_id) as url:
        answer = ask(url, EVENTS[logical_id])
        again = ask(url, EVENTS[logical_id])  # warm
    for one in (answer, again):
        kind = one.get("errorType", "") if isinstance(one, dict) else ""
        assert not kind.startswith(("Runtime.", "Sandbox.")), one
        # The audience function is asked for what it cannot do here: its own words are the proof that it runs.
        assert not kind or logical_id == "AudienceFunction", one


def test_every_function_is_asked() -> None:
    """A new function of the template has an event here."""
    assert EVENTS.keys() == artifact.handlers().keys()
