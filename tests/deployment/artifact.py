"""The folders that are deployed: built by the Makefile, run with nothing beside them but what Lambda's runtime has."""

import json
import os
import queue
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from sandbox import intrinsics
from sandbox.local_lambda.invocation import Invocation
from sandbox.local_lambda.runtime_api import Error, Result, RuntimeApi

ROOT = Path(__file__).resolve().parents[2]
Target = Literal["host", "lambda"]

# What python3.14 in Lambda has in /var/runtime, by the names to import.
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
    "urllib3",
)

AARCH64 = 183
_ELF = b"\x7fELF"
_ARN = "arn:aws:lambda:eu-west-1:123456789012:function:worker:1"
_REQUEST = "00000000-0000-0000-0000-000000000001"


@dataclass(frozen=True)
class Answer:
    """What a handler returned (`payload`), or the error that the runtime client reported (`error`)."""

    payload: Any
    error: Any
    log: str


def template() -> Mapping[str, Any]:
    """template.yaml, with its intrinsic functions unresolved."""
    return intrinsics.load(ROOT / "template.yaml")


def handlers() -> dict[str, str]:
    """The handler of each function that the template deploys, by its logical id."""
    functions = {
        name: resource["Properties"]
        for name, resource in template()["Resources"].items()
        if resource["Type"] in ("AWS::Serverless::Function", "AWS::Lambda::Function")
    }
    return {name: properties["Handler"] for name, properties in functions.items()}


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


@dataclass(frozen=True)
class Artifact:
    """What one or several functions deploy: its folder, and what its build printed."""

    folder: Path
    printed: str

    def size_mb(self) -> float:
        """Bytes of all files, in millions: what Lambda counts against its 250 MB, and what a cold start reads from."""
        return sum(path.stat().st_size for path in self.files()) / 1e6

    def files(self, pattern: str = "*") -> list[Path]:
        """Its files of this pattern, in whatever folder."""
        return sorted(path for path in self.folder.rglob(pattern) if path.is_file())

    def packages(self) -> set[str]:
        """What it ships, by the name to import."""
        found = {
            path.name.split(".")[0] for path in self.folder.iterdir() if not path.name.endswith((".dist-info", ".libs"))
        }
        return found - {"__pycache__"}


class Artifacts:
    """The artifacts, each built once, below a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Artifact] = {}
        self._steps: dict[tuple[str, Target], str] = {}

    def of(self, function: str, target: Target) -> Artifact:
        """The artifact of a function of the template, built as `sam build` does it, for Lambda or for this machine.

        Functions whose recipes in the Makefile are the same share it.
        """
        if (function, target) not in self._steps:
            variables = {"BUILD_FOR": target, "ARTIFACTS_DIR": "FOLDER"}
            self._steps[function, target] = make("--dry-run", "--always-make", f"build-{function}", **variables)
        steps = self._steps[function, target]
        if steps not in self._built:
            folder = self._folder / target / function
            folder.mkdir(parents=True)
            self._built[steps] = Artifact(
                folder, make(f"build-{function}", BUILD_FOR=target, ARTIFACTS_DIR=str(folder))
            )
        return self._built[steps]

    def remove(self) -> None:
        """Delete them."""
        shutil.rmtree(self._folder)


def machine(file: Path) -> int | None:
    """The processor that an ELF file is for (`e_machine`), None where it is no ELF file."""
    with file.open("rb") as stream:
        head = stream.read(20)
    if not head.startswith(_ELF):
        return None
    (value,) = struct.unpack_from("<H", head, 18)
    return int(value)


def glibc_needed(file: Path) -> int:
    """The newest version of the C library that an ELF file asks for: 28 for GLIBC_2.28."""
    return max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", file.read_bytes())), default=0)


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


class Running:
    """A handler that has been booted: it takes one event after the other."""

    def __init__(self, api: RuntimeApi, log: IO[bytes]) -> None:
        self._api = api
        self._log = log

    def ask(self, event: Any) -> Answer:
        """Gives it an event and waits for its answer."""
        invocation = Invocation("worker", "1", _ARN, _REQUEST, json.dumps(event).encode(), "", asynchronous=False)
        self._api.hand_over(invocation, int(time.time() * 1000) + 900_000)
        while True:
            try:
                report = self._api.reports.get(timeout=60)
            except queue.Empty:
                raise AssertionError(f"no answer in 60 s\n{self.log}") from None
            match report:
                case Result(_, payload):
                    return Answer(json.loads(payload), None, self.log)
                case Error(_, b"", _):
                    raise AssertionError(f"ended without an answer\n{self.log}")
                case Error(_, payload, _):
                    return Answer(None, json.loads(payload), self.log)
                case _:
                    pass  # it is ready for the event

    @property
    def log(self) -> str:
        """What it has written."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


@contextmanager
def booted(artifact: Path, runtime: Path, handler: str, **variables: str) -> Iterator[Running]:
    """A handler (`module.function`) under AWS's own runtime client.

    `variables` are added to the function's environment, and override it.
    """
    with closing(RuntimeApi()) as api, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-S", "-P", "-m", "awslambdaric", handler],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=artifact,
            env=environment(artifact, runtime, {"AWS_LAMBDA_RUNTIME_API": api.address, **variables}),
        )
        watch = threading.Thread(target=_tell_the_end, args=(process, api))
        watch.start()
        try:
            yield Running(api, log)
        finally:
            process.kill()
            watch.join()


def invoke(artifact: Path, runtime: Path, handler: str, event: Any, **variables: str) -> Answer:
    """Boots a handler as `booted` does, for one event."""
    with booted(artifact, runtime, handler, **variables) as running:
        return running.ask(event)


def _tell_the_end(process: "subprocess.Popen[bytes]", api: RuntimeApi) -> None:
    """A process that ends by itself will not answer any more."""
    process.wait()
    api.reports.put(Error("", b"", "ended"))
