"""The entry point of `notifier`. Loading the command line takes a second: Ctrl-C ends it quietly then, too."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Load the command line, and run it."""
    try:
        from operations.cli import main as run  # noqa: PLC0415 - within the `try`

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
