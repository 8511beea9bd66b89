"""The folder that is deployed: built by the Makefile, and run with nothing beside it but what Lambda's runtime has."""

import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HOST_ARTIFACT = ROOT / ".aws-sam" / "host" / "worker"

# What python3.13 in Lambda has in /var/runtime, by the names to import. Not urllib3: requests needs ours.
RUNTIME_MODULES = (
    "awslambdaric",
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "runtime_client",
    "s3transfer",
    "simplejson",
    "six",
    "snapshot_restore_py",
)

AARCH64 = 183
_ELF = b"\x7fELF"
_NEXT = "/2018-06-01/runtime/invocation/next"


@dataclass(frozen=True)
class Answer:
    """What a handler returned (`payload`), or the error that the runtime client reported (`error`)."""

    payload: Any
    error: Any
    log: str


def make(*targets: str, **variables: str) -> str:
    """Runs make and returns what it printed. The environment that runs the tests is left as it is."""
    command = [
        "make",
        "-o",
        ".venv/.installed-sandbox",
        *targets,
        *(f"{name}={value}" for name, value in variables.items()),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


def build_for_host() -> Path:
    """The worker's artifact for this machine. Takes seconds once for each change of uv.lock, then less than one."""
    make("build-host")
    return HOST_ARTIFACT


def build_for_lambda(folder: Path) -> str:
    """Builds the worker's artifact into `folder` as `sam build` does, and returns what was printed."""
    return make("build-WorkerFunction", ARTIFACTS_DIR=str(folder))


def size_mb(folder: Path) -> float:
    """Bytes of all files, in millions: what Lambda counts against its 250 MB, and what a cold start reads from."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def machine(file: Path) -> int | None:
    """The processor that an ELF file is for (`e_machine`), None where it is no ELF file."""
    with file.open("rb") as stream:
        head = stream.read(20)
    if not head.startswith(_ELF):
        return None
    (value,) = struct.unpack_from("<H", head, 18)
    return int(value)


def lambda_runtime(folder: Path) -> Path:
    """Fills a folder with links to what Lambda's runtime brings, so that nothing else of this environment is seen."""
    import awslambdaric  # its neighbours are the environment's packages

    packages = Path(awslambdaric.__file__).parent.parent
    folder.mkdir()
    names = [*RUNTIME_MODULES, *(path.stem for path in packages.glob("runtime_client*.so"))]
    for path in packages.iterdir():
        if path.name.split(".")[0] in names and not path.name.endswith(".dist-info"):
            (folder / path.name).symlink_to(path)
    return folder


def environment(artifact: Path, runtime: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a Lambda environment that has only these two folders."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{artifact}{os.pathsep}{runtime}",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_LAMBDA_FUNCTION_NAME": "worker",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "LAMBDA_TASK_ROOT": str(artifact),
        **more,
    }


def python(artifact: Path, runtime: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with these two folders as its only packages."""
    return subprocess.run(
        [sys.executable, "-S", "-P", *arguments],
        capture_output=True,
        text=True,
        cwd=artifact,
        env=environment(artifact, runtime, {}),
        check=False,
    )


def invoke(artifact: Path, runtime: Path, handler: str, event: Any, **variables: str) -> Answer:
    """Boots a handler (`module.function`) under AWS's own runtime client, gives it one event and waits for its answer.

    `variables` are added to the function's environment, and override it.
    """
    with _runtime_api(event) as api:
        process = subprocess.Popen(
            [sys.executable, "-S", "-P", "-m", "awslambdaric", handler],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=artifact,
            env=environment(artifact, runtime, {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}", **variables}),
        )
        threading.Thread(target=_tell_the_end, args=(process, api.answered), daemon=True).start()
        in_time = api.answered.wait(60)
        process.kill()
        log = process.communicate()[0]
    assert in_time, f"no answer in 60 s\n{log}"
    assert api.replied, f"ended without an answer\n{log}"
    return Answer(payload=api.payload, error=api.error, log=log)


def _tell_the_end(process: "subprocess.Popen[str]", answered: threading.Event) -> None:
    """A process that ends by itself will not answer any more."""
    process.wait()
    answered.set()


class _Api(ThreadingHTTPServer):
    """Lambda's Runtime API for one invocation."""

    def __init__(self, event: Any) -> None:
        super().__init__(("127.0.0.1", 0), _ApiHandler)
        self.event = json.dumps(event).encode()
        self.asked = False
        self.answered = threading.Event()
        self.replied = False
        self.payload: Any = None
        self.error: Any = None


class _ApiHandler(BaseHTTPRequestHandler):
    server: _Api
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The one event; who asks again waits until the process is ended."""
        if self.path != _NEXT or self.server.asked:
            self.server.answered.wait(60)
            self.close_connection = True
            return
        self.server.asked = True
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "00000000-0000-0000-0000-000000000001",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 900_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:worker:1",
        }
        self._reply(200, self.server.event, headers)

    def do_POST(self) -> None:
        """The handler's answer, or what became of it instead."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        if self.path.endswith("/response"):
            self.server.payload = body
        else:
            self.server.error = body
        self._reply(202, b"{}", {})
        self.server.replied = True
        self.server.answered.set()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keeps the test's output quiet."""

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _runtime_api(event: Any) -> Iterator[_Api]:
    api = _Api(event)
    thread = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.shutdown()
        api.server_close()
        thread.join()
