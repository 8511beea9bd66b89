"""What holds for all tests: how they are shared out among processes, and how many examples property tests try."""

import sys
from typing import Any

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.examples import GATE

settings.load_profile(GATE)  # `--hypothesis-profile` is read later, and wins

TOGETHER = {
    "tests/browser/test_approval": "the pages in Chromium",
    "tests/deployment/test_artifact": "the built artifacts",
}
"""By how the files' names begin: fixtures of theirs take seconds to make, or work in one folder."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Hands a file's tests, or those of several files, to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((group for begin, group in TOGETHER.items() if file.startswith(begin)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Any:
    """For `make test`, which runs in two processes."""
    return ByFile(config, log)


def pytest_unconfigure() -> None:
    """Close the socket that X-Ray's SDK opens when it is imported, and never closes."""
    sdk = sys.modules.get("aws_xray_sdk.core")
    if sdk is not None:
        sdk.xray_recorder.emitter._socket.close()
