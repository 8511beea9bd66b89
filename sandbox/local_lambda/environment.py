"""An execution environment: one process of AWS's runtime client, serving one invocation at a time."""

import json
import math
import os
import queue
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from sandbox.local_lambda.invocation import SYNCHRONOUS_LIMIT_BYTES, Answer, Failure, Invocation
from sandbox.local_lambda.process import Process, Spawner
from sandbox.local_lambda.runtime_api import Error, Ready, Report, Result, RuntimeApi

INIT_LIMIT_S: Final = 10.0  # Lambda's own; what the import takes beyond it comes off the function's timeout
_WATCH_EVERY_S: Final = 0.02


class Setup(msgspec.Struct, frozen=True):
    """What an environment of one version of a function is made from.

    `kept` are values of variables that stay as they are though they begin with /tmp: files of the sandbox's owner.
    """

    function: str
    arn: str
    version: str
    handler: str
    code: Path
    timeout_s: float
    memory_mb: int
    region: str
    variables: Mapping[str, str]
    kept: frozenset[str] = frozenset()
    interpreter: str = sys.executable


class Environment:
    """Starts cold with its first invocation and stays warm until it is killed, or dies.

    Its `/tmp` is a folder of its own: TMPDIR names it, and variables of the function that begin with /tmp are moved
    there. (A mount of its own would need root, and would hide what the sandbox itself keeps under /tmp.)
    """

    def __init__(self, setup: Setup, folder: Path, log: Path, spawner: Spawner) -> None:
        self._setup = setup
        self._folder = folder
        self._log = log
        self._spawner = spawner
        self._api = RuntimeApi()
        self._process: Process | None = None
        self._init_s = 0.0
        self._init_reported = False
        self._killed = False
        self._error: Error | None = None

    def is_alive(self) -> bool:
        """Whether it can take an invocation."""
        return not self._killed and self._process is not None and self._process.exit_code() is None

    def peak_rss_bytes(self) -> int:
        """The most memory that its process has had."""
        return self._process.peak_rss_bytes() if self._process else 0

    def cpu_s(self) -> float:
        """Processor time of its process."""
        return self._process.cpu_s() if self._process else 0.0

    def kill(self) -> None:
        """Kill -9, as a crash of the machine would. May be called at any time, by any thread."""
        self._killed = True
        if self._process:
            self._process.kill()

    def dispose(self) -> None:
        """Kills it and removes its folder."""
        self.kill()
        self._api.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, invocation: Invocation) -> Answer:
        """Runs one invocation to its end. After a failure other than the handler's, the environment is dead."""
        self._write_log(f"START RequestId: {invocation.request_id} Version: {invocation.version}")
        extra_s, failure = (0.0, Failure.NONE) if self._process else self._start()
        started = time.monotonic()
        answer: Answer | None = None
        if failure is Failure.NONE:
            timeout_s = self._setup.timeout_s - extra_s
            self._api.hand_over(invocation, int((time.time() + timeout_s) * 1000))
            report = self._wait(started + timeout_s)
            answer = self._judge(report, invocation) if isinstance(report, Result | Error) else None
            failure = report if isinstance(report, Failure) else Failure.NONE
        duration_s = time.monotonic() - started
        if answer is None:
            answer = self._broken(failure, invocation)
            self.kill()
        self._report(invocation, duration_s, answer)
        return answer

    def _start(self) -> tuple[float, Failure]:
        """Starts the process; gives the seconds beyond Lambda's limit that it took, and whether it failed."""
        began = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        setup = self._setup
        try:
            self._process = self._spawner.spawn(
                setup.handler, setup.interpreter, setup.code, self._variables(), self._log
            )
        except OSError as error:  # no such interpreter, no such folder, too many processes
            self._write_log(f"not started: {error}")
            return 0.0, Failure.EXIT
        if self._killed:  # while it was being started
            self._process.kill()
        report = self._wait(began + INIT_LIMIT_S + self._setup.timeout_s)
        self._init_s = time.monotonic() - began
        if isinstance(report, Ready):
            return max(0.0, self._init_s - INIT_LIMIT_S), Failure.NONE
        if isinstance(report, Error):
            self._error = report
            return 0.0, Failure.INIT
        return 0.0, report if isinstance(report, Failure) else Failure.EXIT

    def _wait(self, deadline: float) -> Report | Failure:
        """The next report, or why there is none. Only the first Ready, that of the start, counts."""
        assert self._process is not None
        limit_bytes = self._setup.memory_mb * 1024 * 1024
        while True:
            try:
                report = self._api.reports.get(timeout=_WATCH_EVERY_S)
            except queue.Empty:
                report = None
            # Before the report: Lambda kills a handler that takes too much, whatever it would have answered.
            if self._process.peak_rss_bytes() > limit_bytes:
                return Failure.MEMORY
            if report is not None and (not isinstance(report, Ready) or not self._init_s):
                return report
            # Asked last, and the queue once more: a process may report and exit between the two looks.
            if report is None and self._process.exit_code() is not None and self._api.reports.empty():
                return Failure.EXIT
            if time.monotonic() >= deadline:
                return Failure.TIMEOUT

    def _judge(self, report: Result | Error, invocation: Invocation) -> Answer:
        if isinstance(report, Error):
            return Answer(report.payload, invocation.version, Failure.HANDLER, report.error_type)
        if len(report.payload) > SYNCHRONOUS_LIMIT_BYTES:
            text = f"Response payload size exceeded maximum allowed payload size ({SYNCHRONOUS_LIMIT_BYTES} bytes)."
            return self._failed(invocation, Failure.HANDLER, "Function.ResponseSizeTooLarge", text)
        return Answer(report.payload, invocation.version)

    def _broken(self, failure: Failure, invocation: Invocation) -> Answer:
        """Lambda's answer to an invocation whose handler gave none."""
        if failure is Failure.INIT and self._error is not None:
            return Answer(self._error.payload, invocation.version, failure, self._error.error_type)
        prefix = f"RequestId: {invocation.request_id} Error: "
        if failure is Failure.TIMEOUT:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
            text = f"{now} {invocation.request_id} Task timed out after {self._setup.timeout_s:.2f} seconds"
            return self._failed(invocation, failure, "Sandbox.Timedout", text)
        if failure is Failure.MEMORY:
            return self._failed(invocation, failure, "Runtime.OutOfMemory", prefix + "signal: killed")
        code = self._process.exit_code() if self._process else None
        cause = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        return self._failed(invocation, failure, "Runtime.ExitError", f"{prefix}Runtime exited: {cause}")

    def _failed(self, invocation: Invocation, failure: Failure, error_type: str, text: str) -> Answer:
        self._write_log(text)
        body = json.dumps({"errorType": error_type, "errorMessage": text}).encode()
        return Answer(body, invocation.version, failure, error_type)

    def _report(self, invocation: Invocation, duration_s: float, answer: Answer) -> None:
        init_ms = 0.0 if self._init_reported else self._init_s * 1000
        self._init_reported = True
        parts = [
            f"REPORT RequestId: {invocation.request_id}",
            f"Duration: {duration_s * 1000:.2f} ms",
            f"Billed Duration: {math.ceil(duration_s * 1000 + init_ms)} ms",
            f"Memory Size: {self._setup.memory_mb} MB",
            f"Max Memory Used: {self.peak_rss_bytes() // 2**20} MB",
            *([f"Init Duration: {init_ms:.2f} ms"] if init_ms else []),
            *([f"Status: {answer.failure}"] if answer.failure else []),
        ]
        self._write_log(f"END RequestId: {invocation.request_id}\n" + "\t".join(parts))

    def _write_log(self, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(text + "\n")

    def _variables(self) -> dict[str, str]:
        """What a function's process finds in its environment on Lambda, as far as it makes sense here."""
        setup = self._setup
        own = {name: self._moved(value) for name, value in setup.variables.items()}
        return {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "TMPDIR": str(self._folder),
            "PYTHONPATH": str(setup.code),
            "LAMBDA_TASK_ROOT": str(setup.code),
            "_HANDLER": setup.handler,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_LAMBDA_FUNCTION_NAME": setup.function,
            "AWS_LAMBDA_FUNCTION_VERSION": setup.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(setup.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{setup.function}",
            "AWS_LAMBDA_LOG_STREAM_NAME": self._folder.name,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_REGION": setup.region,
            "AWS_DEFAULT_REGION": setup.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **own,
        }

    def _moved(self, value: str) -> str:
        if value == "/tmp" or (value.startswith("/tmp/") and value not in self._setup.kept):
            return str(self._folder) + value.removeprefix("/tmp")
        return value
