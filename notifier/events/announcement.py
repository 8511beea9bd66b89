"""Announces the end of a run: one event on EventBridge, at least once."""

from typing import Any

import msgspec

SOURCE = "notifier"
DETAIL_TYPE = "Notifier Run Ended"


class NotAnnounced(Exception):
    """The run's end is not announced yet."""


class EventBridgeAnnouncer:
    """Announces on the account's default bus.

    Args:
        client: a boto3 EventBridge client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def ended(self, run_id: str, summary: object) -> None:
        """Announce a run's end. Receivers recognise a repeated event by its `run_id`.

        Raises:
            NotAnnounced: EventBridge accepted the request, but not the event in it. The run stays open, so that the
                sweeper has it closed, and announced, once more.
        """
        detail = msgspec.json.encode({"run_id": run_id, "summary": summary}).decode()
        answer = self._client.put_events(Entries=[{"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": detail}])
        if answer["FailedEntryCount"]:
            # A refused entry is no error of the call: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
            [entry] = answer["Entries"]
            raise NotAnnounced(f"EventBridge did not take the end of the run: {entry.get('ErrorCode', 'no reason')}")
