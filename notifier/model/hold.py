"""A hold: the whole stack starts nothing until an operator releases it."""

from datetime import UTC, datetime

import msgspec

MAX_REASON_CHARS = 500
"""Characters kept of why it is held."""


class Hold(msgspec.Struct, frozen=True):
    """Who holds the stack, since when, and why."""

    by: str
    reason: str
    since_ms: int

    @property
    def words(self) -> str:
        """For people: on pages, in logs, as the reason of a lane that rests for it."""
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC)
        return f"held by {self.by or 'unknown'} since {since:%Y-%m-%d %H:%M} UTC: {self.reason or 'no reason given'}"
