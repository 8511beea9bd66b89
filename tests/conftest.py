"""How tests are shared out among processes: a file stays together, and so do files that share what is dear to make."""

import pytest

TOGETHER = {
    "tests/browser/test_approval": "the pages in Chromium",
    "tests/functional/test_artifact": "the built artifacts",
}
"""By how the files' names begin: fixtures of theirs take seconds to make."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Names each test's group for `--dist loadgroup`."""
    for item in items:
        file = item.nodeid.split("::", 1)[0]
        group = next((group for begin, group in TOGETHER.items() if file.startswith(begin)), file)
        item.add_marker(pytest.mark.xdist_group(group))
