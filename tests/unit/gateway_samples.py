"""A message with everything in it, and whose push it is."""

from typing import Any

from notifier.gateway.payload import Label
from notifier.model.campaign import Message
from notifier.model.campaign_reading import read_campaign

LABEL = Label("run1", "day-2", "question")
EVERYTHING: dict[str, Any] = {
    "title": "Who joined?",
    "body": "3 people",
    "image_url": "https://cdn.example.com/a.png",
    "deep_link": "app://people",
    "data": {"screen": "people"},
    "ttl_s": 86400,
    "priority": "high",
    "collapse_id": "day-2",
    "sound": "default",
    "badge": 1,
}


def message(**fields: Any) -> Message:
    """A message of the given fields."""
    return read_campaign({"id": "day-2", "message": fields}).message
