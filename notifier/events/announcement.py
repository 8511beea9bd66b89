"""Tells the rest of the account that a run has ended: one EventBridge event, at least once."""

from typing import Any

import msgspec

SOURCE = "notifier"
DETAIL_TYPE = "Notifier Run Ended"


class NotAnnounced(Exception):
    """The run's end is not announced yet."""


class EventBridgeAnnouncer:
    """Puts events on the account's default bus.

    Args:
        client: a boto3 EventBridge client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def ended(self, run_id: str, summary: object) -> None:
        """Announce a run's end. Receivers tell repeats by `run_id`.

        Raises:
            NotAnnounced: EventBridge took the request and not the event in it; the run stays open, and is closed again.
        """
        detail = msgspec.json.encode({"run_id": run_id, "summary": summary}).decode()
        answer = self._client.put_events(Entries=[{"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": detail}])
        if answer["FailedEntryCount"]:
            # A refused entry is no error of the call: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
            [entry] = answer["Entries"]
            raise NotAnnounced(f"EventBridge did not take the end of the run: {entry.get('ErrorCode', 'no reason')}")
