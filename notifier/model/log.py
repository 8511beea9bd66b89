"""The actions that are logged, and the port that log lines are written to."""

import enum
from typing import Any, Protocol


class Action(enum.StrEnum):
    """The field `action` of a log line."""

    NUDGED = "nudged"
    """An event arrived."""
    IGNORED = "ignored"
    """An event had nothing to do: another worker has the lane's lease, or the lane waits or is done."""
    CLAIMED = "claimed"
    """A hop begins."""
    OPENED = "opened"
    """The batch file is read, validated and pinned."""
    LANES_OPENED = "lanes_opened"
    """The run is spread over several lanes; they are nudged."""
    REFUSED = "refused"
    """The file cannot be sent. Nothing was sent."""
    PROGRESS = "progress"
    """The counts of the hop, about once a second."""
    TROUBLE = "trouble"
    """Something failed, and will be tried again."""
    LEFT = "left"
    """A hop ended, and why."""
    CONTINUED = "continued"
    """The next hop was invoked."""
    VERSION_GONE = "version_gone"
    """The version of the code that a run began with was deleted: it goes on with the current one."""
    LOST = "lost"
    """Another worker has the lane's lease: this one ends without writing."""
    CLOSED = "closed"
    """The summary is written and the end of the run is announced."""
    SWEPT = "swept"
    """The sweeper invoked the worker for stalled lanes, or replayed dead letters."""
    GIVEN_UP = "given_up"
    """The sweeper moved dead letters aside: it had replayed them three times, or they are no events."""
    CONTROLLED = "controlled"
    """An operator paused, resumed or cancelled."""
    HELD = "held"
    """An operator holds the whole stack: nothing starts, fires, prepares or is decided."""
    RELEASED = "released"
    """An operator released it."""
    BATCH = "batch"
    """The counts of one batch. At DEBUG only: a million users are two thousand of them."""
    EXPIRED = "expired"
    """The sweeper cancelled a run whose files are about to be deleted."""
    PRUNED = "pruned"
    """The sweeper deleted published versions of the worker that no run uses."""


class Log(Protocol):
    """Writes log lines (`notifier.telemetry.log.JsonLog` is the real one). No field has a token or a secret."""

    def info(self, action: Action, **fields: Any) -> None:
        """Log an expected action."""
        ...

    def warning(self, action: Action, **fields: Any) -> None:
        """Log a trouble that was handled."""
        ...

    def error(self, action: Action, **fields: Any) -> None:
        """Log what an operator has to look at."""
        ...
