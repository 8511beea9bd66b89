"""First thing in an environment's process: ties its life to the sandbox's, then becomes AWS's runtime client.

Run by path with the handler's interpreter, so it imports nothing of the sandbox: `launch.py PARENT_PID HANDLER`.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2): the signal we get when the thread that started us ends


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(1)


def main() -> None:
    """Never returns: the runtime client serves invocations until it is killed."""
    _die_with_parent(int(sys.argv[1]))
    del sys.path[0], sys.argv[1]  # this folder; the runtime client puts the function's own in front
    serve()


def serve() -> None:
    """AWS's runtime client, for the handler that the command line names."""
    from awslambdaric.__main__ import main as run  # noqa: PLC0415

    run(["awslambdaric", sys.argv[1]])


if __name__ == "__main__":
    main()
