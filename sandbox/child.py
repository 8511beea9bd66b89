"""Starts one of the sandbox's own modules as a process: by a new interpreter, or forked where tests ask for it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from sandbox import fork_server

Child = subprocess.Popen[bytes] | fork_server.Forked
ROOT = Path(__file__).resolve().parent.parent


def start(
    module: str, arguments: Sequence[str], *, environment: Mapping[str, str], log: IO[bytes], answers: bool = False
) -> Child:
    """`python -m MODULE`, with a pipe as standard input: it ends when that is closed, or this process is killed.

    `log` gets its errors, and its output unless `answers`: then that is a pipe, too.
    """
    if fork_server.is_there():
        return _fork(module, arguments, environment, log, answers)
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if answers else log,
        stderr=log,
        start_new_session=True,
    )


def _fork(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes], answers: bool
) -> fork_server.Forked:
    stdin, to_child = os.pipe()
    from_child, stdout = os.pipe() if answers else (-1, os.dup(log.fileno()))
    order = fork_server.Order(module, "main", tuple(arguments), str(ROOT), str(ROOT), dict(environment))
    try:
        forked = fork_server.fork("standins", order, (stdin, stdout, log.fileno()))
    except OSError:
        for mine in (to_child, from_child) if answers else (to_child,):
            os.close(mine)
        raise
    finally:
        os.close(stdin)
        os.close(stdout)
    forked.stdin = os.fdopen(to_child, "wb")
    forked.stdout = os.fdopen(from_child, "rb") if answers else None
    return forked
