"""A worker's cold start: what `import notifier.app` brings."""

import subprocess
import sys

NOT_NEEDED_BY_EVERY_RUN = {
    "aioapns",
    "aws_xray_sdk",
    "google.auth",
    "liquid",
    "notifier.entries.control",
    "notifier.entries.pruning",
    "notifier.entries.sweeper",
    "pyfcm",
    "requests",
}
"""Imported by the runs that need them, and by the other entries."""


def test_the_worker_imports_nothing_that_a_run_may_not_need() -> None:
    """In a process of its own, as Lambda starts one."""
    code = "import sys, notifier.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "notifier.sending.hop" in imported
    assert not imported & NOT_NEEDED_BY_EVERY_RUN
