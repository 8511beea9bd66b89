"""`make contract`: the contract tests against servers of other make, and the artifacts under AWS's own emulator.

moto is not AWS: 24 conflicting transactions at once gave it two winners. What can be fetched and built here is, and of
what cannot be it says why. Go and Rust get their sources from proxy.golang.org and crates.io.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from sandbox.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools" / "contract"
BUILD_S = 1_800
STARTS_S = 30


class Tool(NamedTuple):
    """A program that is built from its source: by what, how, and the variable that names its server, or itself."""

    name: str
    compiler: str
    build: tuple[str, ...]
    variable: str
    tests: tuple[str, ...]


VERSITY = Tool(
    "versitygw",
    "go",
    ("install", "github.com/versity/versitygw/cmd/versitygw@v1.8.0"),
    "CONTRACT_S3",
    ("settlements", "audience_s3", "audiences_s3", "suppression", "conversions"),
)
DYNOXIDE = Tool(
    "dynoxide",
    "cargo",
    ("install", "--locked", "--version", "3.2.0", "dynoxide-rs", "--root", str(TOOLS)),
    "CONTRACT_DYNAMODB",
    ("ledger", "ledger_lanes", "approval_store", "preparations", "control_throttled"),
)
EMULATOR = Tool(
    "aws-lambda-rie",
    "go",
    (
        "install",
        "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie@v0.0.0-20261030222936-bef5c4ba774d",
    ),
    "LAMBDA_EMULATOR",
    (),
)
"""AWS's runtime interface emulator. Its releases have no versions that Go knows: named by the commit."""


def main(arguments: Sequence[str]) -> int:
    """Fetch, build, start, test. Returns 1 where a test failed; what could not be built is no failure."""
    tools = [tool for tool in (VERSITY, DYNOXIDE, EMULATOR) if not arguments or tool.name in arguments]
    failed, missing = [], []
    for tool in tools:
        why_not = build(tool)
        if why_not:
            missing.append(f"{tool.name}: {why_not}")
        elif not test(tool):
            failed.append(tool.name)
    for line in missing:
        say(f"NOT TRIED  {line}")
    for name in failed:
        say(f"FAILED     against {name}")
    say(f"==> {len(tools) - len(missing) - len(failed)} of {len(tools)} passed")
    return 1 if failed else 0


def build(tool: Tool) -> str:
    """Build it, unless it is there. Returns why it could not be; empty where it is there."""
    if path_of(tool).exists():
        return ""
    compiler = shutil.which(tool.compiler)
    if compiler is None:
        return f"there is no {tool.compiler} on this machine"
    say(f"==> Building {tool.name}: {tool.compiler} {' '.join(tool.build)}")
    TOOLS.mkdir(parents=True, exist_ok=True)
    variables = {"GOBIN": str(TOOLS / "bin"), "CARGO_TARGET_DIR": str(TOOLS / "target")}
    try:
        done = subprocess.run(
            [compiler, *tool.build],
            env=os.environ | variables,
            timeout=BUILD_S,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it was not built within {BUILD_S // 60} minutes"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["the build failed"])[-1]
    return "" if path_of(tool).exists() else "it was built, and is not where it should be"


def path_of(tool: Tool) -> Path:
    """Where it is when it is built. A variable of its name, as AWS_LAMBDA_RIE, gives one that is there already."""
    given = os.environ.get(tool.name.upper().replace("-", "_"))
    return Path(given) if given else TOOLS / "bin" / tool.name


def test(tool: Tool) -> bool:
    """Whether the tests pass against it."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        if tool is EMULATOR:
            return run_tests({tool.variable: str(path_of(tool))}, ["tests/deployment/test_emulator.py"])
        url = running.enter_context(server(tool, folder))
        say(f"==> {tool.name} at {url}")
        return run_tests({tool.variable: url}, [f"tests/contract/test_{name}.py" for name in tool.tests])


def run_tests(variables: Mapping[str, str], files: Sequence[str]) -> bool:
    """Run the files with pytest, those marked slow too."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", *files]
    return subprocess.call(command, cwd=ROOT, env=os.environ | variables) == 0


@contextmanager
def server(tool: Tool, folder: Path) -> Iterator[str]:
    """The server, on a free port, with the keys of `moto_stores.KEYS`."""
    port = free_port()
    if tool is VERSITY:
        (folder / "data").mkdir()
        (folder / "versions").mkdir()
        keys = ["--access", "test", "--secret", "test", "--region", "eu-west-1", "--port", f"127.0.0.1:{port}"]
        command = [*keys, "posix", "--versioning-dir", str(folder / "versions"), str(folder / "data")]
    else:
        command = ["serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([str(path_of(tool)), *command], stdout=subprocess.DEVNULL, cwd=folder)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int) -> None:
    """Wait until something answers on the port, whatever it says."""

    def answers() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    wait_until(answers, STARTS_S, f"an answer on port {port}", every_s=0.2)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    """To whoever ran it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
