"""Once a day: ends runs whose files are about to be deleted.

A run goes on from objects that expire: its batch file and audience (BatchFileDays), its campaign and deferred devices
(WorkDays), its rows (ResultDays). One that is paused, stopped or resting for so long could only fail when an operator
resumes it. So it is cancelled while everything is still there: its account is closed and its end announced.
"""

from collections.abc import Callable, Iterator
from typing import Any

from notifier.entries.daily import take_today
from notifier.model.ledger import Ledger
from notifier.model.run import EXPIRY, Control, LaneState, LedgerTooNew

DAY_MS = 86_400_000


class Expiry:
    """Cancels what is too old.

    Args:
        items: a boto3 DynamoDB client.
        nudge: makes a lane work: run, lane, version of the code.
        kept_days: the fewest days for which any object is kept that a run goes on from.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        items: Any,
        table: str,
        ledger: Ledger,
        nudge: Callable[[str, int, str], object],
        kept_days: int,
        now: Callable[[], float],
    ) -> None:
        self._items = items
        self._table = table
        self._ledger = ledger
        self._nudge = nudge
        self._kept_days = kept_days
        self._now = now

    def expire_daily(self) -> tuple[str, ...]:
        """Cancel what is too old, unless that was done today. Returns the runs."""
        return self.expire() if take_today(self._items, self._table, "expired", self._now()) else ()

    def expire(self) -> tuple[str, ...]:
        """Cancel every run that is not done and whose first object is deleted before this is done again.

        S3 deletes at the midnight (UTC) after an object's last day; this is done at the midnight before.
        """
        oldest_ms = int(self._now() * 1000) - (self._kept_days - 1) * DAY_MS
        expired = []
        for run_id, number in self._unfinished():
            try:
                run = self._ledger.read_run(run_id)
            except LedgerTooNew:
                continue  # the newer release's sweeper does it
            if run is None or run.created_at_ms > oldest_ms:
                continue
            lane = self._ledger.set_control(run_id, Control.CANCEL, EXPIRY, number)
            if lane is not None and lane.state is LaneState.READY:
                self._nudge(run_id, number, lane.function_version)
            expired.append(run_id)
        return tuple(dict.fromkeys(expired))

    def _unfinished(self) -> Iterator[tuple[str, int]]:
        pages = self._items.get_paginator("scan").paginate(
            TableName=self._table,
            FilterExpression="begins_with(sk, :lane) AND #state <> :done",
            ProjectionExpression="pk, sk",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":lane": {"S": "lane#"}, ":done": {"S": LaneState.DONE.value}},
        )
        for page in pages:
            for item in page["Items"]:
                yield item["pk"]["S"].removeprefix("run#"), int(item["sk"]["S"].removeprefix("lane#"))
