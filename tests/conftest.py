"""How tests are shared out among processes: a file stays together, and so do files that share what is dear to make."""

from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

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
