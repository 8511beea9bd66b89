"""Schedules: invoke a function asynchronously every so often."""

import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_SECONDS: Final = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}


def period_s(expression: str) -> float:
    """Seconds between two ticks of `rate(1 minute)`. Raises ValueError for anything else, cron included."""
    match = _RATE.fullmatch(expression)
    if not match:
        raise ValueError(f"{expression}: the sandbox knows rate(…) only; give a period instead")
    return int(match.group(1)) * _SECONDS[match.group(2)]


def scheduled_event(rule_arn: str, account_id: str, region: str) -> bytes:
    """The event that EventBridge sends at a tick."""
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account_id,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [rule_arn],
        "detail": {},
    }
    return json.dumps(event).encode()


class Schedule:
    """Ticks in a thread of its own until it is stopped; the first tick comes after one period."""

    def __init__(self, every_s: float, tick: Callable[[], object]) -> None:
        self._every_s = every_s
        self._tick = tick
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="schedule", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it; a tick that is under way finishes."""
        self._stopping.set()
        self._thread.join(5)

    def _work(self) -> None:
        while not self._stopping.wait(self._every_s):
            self._tick()
