"""What several test files of this folder share, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import artifact


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[artifact.Artifacts]:
    """The folders that are deployed, each built when it is first asked for."""
    found = artifact.Artifacts(tmp_path_factory.mktemp("artifacts"))
    yield found
    found.remove()


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Lambda's runtime brings, and nothing else of this environment."""
    return artifact.lambda_runtime(tmp_path_factory.mktemp("var") / "runtime")
