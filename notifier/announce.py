"""Tells the rest of the account that a run has ended: one EventBridge event, at least once."""

from typing import Any

import msgspec

SOURCE = "notifier"
DETAIL_TYPE = "Notifier Run Ended"


class EventBridgeAnnouncer:
    """Puts events on the account's default bus.

    Args:
        client: a boto3 EventBridge client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def ended(self, run_id: str, summary: object) -> None:
        """Announce a run's end. Receivers tell repeats by `run_id`."""
        detail = msgspec.json.encode({"run_id": run_id, "summary": summary}).decode()
        self._client.put_events(Entries=[{"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": detail}])
