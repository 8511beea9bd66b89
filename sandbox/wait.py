"""Waiting for what another process or thread does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class WaitedInVain(AssertionError):
    """It did not happen in time."""


def wait_until(ready: Callable[[], T | None], timeout_s: float, what: str, every_s: float = 0.05) -> T:
    """What `ready` returns, as soon as that is true.

    Raises:
        WaitedInVain: after `timeout_s`, naming `what` was waited for.
    """
    until = time.monotonic() + timeout_s
    while not (found := ready()):
        if time.monotonic() >= until:
            raise WaitedInVain(f"not within {timeout_s:g} s: {what}")
        time.sleep(every_s)
    return found
