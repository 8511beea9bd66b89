"""What ships is not held back by the tools that it is developed with, and resolves without them."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.deployment.artifact import ROOT

SHIPPED = ("worker", "approval", "audiences", "schedules")
"""Extras of pyproject.toml, one for each artifact."""


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def needed(requirements: Mapping[str, list[str]]) -> set[str]:
    """The names of everything that the artifacts' extras need, directly or not."""
    about = project()
    waiting = [*about["dependencies"], *(one for extra in SHIPPED for one in about["optional-dependencies"][extra])]
    found: set[str] = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and name in requirements:
            found.add(name)
            extras = requirement.extras | {""}
            waiting += [one for one in requirements[name] if applies(Requirement(one), extras)]
    return found


def applies(requirement: Requirement, extras: set[str]) -> bool:
    """Whether a requirement holds here, with one of these extras of the package that has it."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def is_held(specifier: Specifier, installed: Version) -> bool:
    """Whether a specifier keeps newer releases away. A next major release, which may be another thing, may be."""
    if specifier.operator not in ("<", "<=", "==", "===", "~="):
        return False
    ceiling = Version(specifier.version.removesuffix(".*"))
    return not (specifier.operator == "<" and ceiling.major > installed.major and not any(ceiling.release[1:]))


def holding(requirements: Mapping[str, list[str]]) -> Iterator[str]:
    """Requirements of development tools that hold a shipped library back."""
    shipped = needed(requirements)
    for name, theirs in requirements.items():
        if name in shipped or name == "notifier":
            continue
        for requirement in filter(lambda one: applies(one, {""}), map(Requirement, theirs)):
            of = canonicalize_name(requirement.name)
            if of in shipped and any(is_held(one, Version(version(of))) for one in requirement.specifier):
                yield f"{name} -> {requirement}"


def installed() -> dict[str, list[str]]:
    return {canonicalize_name(one.metadata["Name"]): list(one.requires or ()) for one in distributions()}


def test_no_tool_holds_back_what_ships() -> None:
    """A tool that pins one of our libraries has an environment of its own, as SAM has."""
    assert list(holding(installed())) == []


def test_a_tool_that_pins_would_be_found() -> None:
    """aws-sam-cli 1.170 wants exactly these: with it pyOpenSSL stayed at a version with two advisories."""
    sam = {"aws-sam-cli": ["pyopenssl==25.3.0", "requests==2.32.5", "jmespath<2.0,>=1.0.1"]}
    assert list(holding(installed() | sam)) == ["aws-sam-cli -> pyopenssl==25.3.0", "aws-sam-cli -> requests==2.32.5"]


def test_sam_is_not_in_the_lock() -> None:
    """It is installed by the Makefile, into a folder of its own, in a version that is named there."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    assert "aws-sam-cli" not in {package["name"] for package in lock["package"]}
    assert re.search(r"^SAM_VERSION := \d+\.\d+\.\d+$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("extra", SHIPPED)
def test_each_artifact_resolves_alone(extra: str, tmp_path: Path) -> None:
    """By PyPI, for Lambda's Python: the lock's versions without whatever only developing needs, and nothing besides."""
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    exported = output(
        uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--extra", extra
    )
    constraints = tmp_path / "lock.txt"
    constraints.write_text(exported, encoding="utf-8")
    options = ("--quiet", "--no-header", "--no-annotate", "--python-version", "3.14", "--extra", extra)
    alone = output(uv, "pip", "compile", *options, "--constraint", str(constraints), "pyproject.toml")
    assert len(pins(alone)) > 10
    assert pins(alone) <= pins(exported)


def pins(text: str) -> set[str]:
    """Names with their versions, without markers."""
    return set(re.findall(r"^([a-z0-9-]+==\S+)", text, re.MULTILINE))


def output(*command: str) -> str:
    """What a command prints."""
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
