"""The functions with a tenth of the lease's times, so that a run recovers from a crash in seconds, not in a minute.

The proportions stay: a lease of 3 s for 30, a heartbeat every 0.4 s for 4. Two more things can be ordered by variables:

- `SANDBOX_CLOCK_AHEAD_MS`: the context says so much more time than there is: the timeout comes without warning.
- `SANDBOX_BALLAST_ONCE`: a path; the first invocation that finds no file there takes memory until it is killed.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

import notifier.model.run

HURRY = 10
for _name in ("LEASE_MS", "HEARTBEAT_MS", "BLIND_MS", "HAND_OVER_MS"):
    setattr(notifier.model.run, _name, getattr(notifier.model.run, _name) // HURRY)

import notifier.sending.settling  # noqa: E402

notifier.sending.settling.RETRY_S /= HURRY
notifier.sending.settling.SLOW_S /= HURRY

import notifier.sending.hop_exit  # noqa: E402  (after the times are set: it copies them)

notifier.sending.hop_exit.WAIT_MS //= HURRY

from notifier import app  # noqa: E402
from notifier.entries.sweeper import Sweeper  # noqa: E402

Sweeper.MOVE_ON_MS //= HURRY

_BALLAST_AFTER_S = 0.5
_BALLAST_BYTES = 64 * 1024 * 1024
_BALLAST_EVERY_S = 0.01


class _Context:
    """Lambda's context, with a clock that is wrong."""

    def __init__(self, context: Any, ahead_ms: int) -> None:
        self._context = context
        self._ahead_ms = ahead_ms

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def get_remaining_time_in_millis(self) -> int:
        left_ms: int = self._context.get_remaining_time_in_millis()
        return left_ms + self._ahead_ms


def _take_memory() -> None:
    time.sleep(_BALLAST_AFTER_S)
    ballast = []
    while True:
        # Random bytes, because pages of zeros need no memory until they are written to.
        ballast.append(bytearray(os.urandom(1024) * (_BALLAST_BYTES // 1024)))
        time.sleep(_BALLAST_EVERY_S)


def worker(event: object, context: Any) -> Any:
    """The worker."""
    marker = os.environ.get("SANDBOX_BALLAST_ONCE")
    if marker and not Path(marker).exists():
        Path(marker).touch()
        threading.Thread(target=_take_memory, daemon=True).start()
    ahead_ms = int(os.environ.get("SANDBOX_CLOCK_AHEAD_MS", "0"))
    if ahead_ms:
        context = _Context(context, ahead_ms)
    return app.worker(event, context)


sweeper = app.sweeper
control = app.control
