"""The same source makes the same artifact, wherever it is built: a deployment without a change changes nothing."""

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.deployment.artifact import ROOT, Artifacts, make


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 and mode of every file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): f"{sha256(path.read_bytes()).hexdigest()} {path.stat().st_mode:o}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_folder_it_is_built_in_leaves_no_trace(artifacts: Artifacts, tmp_path: Path) -> None:
    """Built a second time into another folder it is the same, byte code too, and no file names this checkout."""
    first = artifacts.of("WorkerFunction", "host")
    second = tmp_path / "somewhere" / "else"
    second.mkdir(parents=True)
    make("build-WorkerFunction", BUILD_FOR="host", ARTIFACTS_DIR=str(second))
    assert digests(second) == digests(first.folder)
    compiled = first.files("*.pyc")
    assert len(compiled) > 500
    assert [path for path in compiled if str(ROOT).encode() in path.read_bytes()] == []


@pytest.mark.slow
@pytest.mark.parametrize("function", ["WorkerFunction", "ApprovalFunction", "AudienceFunction", "ScheduleFunction"])
def test_two_checkouts(function: str, tmp_path: Path) -> None:
    """Dependencies are installed and compiled in each of them: for Lambda the same hash, file by file."""
    found = []
    for name in ("one", "another-checkout"):
        checkout, artifact = tmp_path / name, tmp_path / f"{name}-artifact"
        artifact.mkdir()
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for path in filter(None, listed.split("\0")):
            (checkout / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, checkout / path)
        for needed in (".venv", ".tools"):
            (checkout / needed).symlink_to(ROOT / needed)
        command = ["make", "-o", ".venv/.installed-sandbox", f"build-{function}", f"ARTIFACTS_DIR={artifact}"]
        result = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        found.append(digests(artifact))
    assert found[0] == found[1]
    assert len(found[0]) > 100
