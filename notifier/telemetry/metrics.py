"""Writes metrics as JSON lines in CloudWatch's embedded metric format. CloudWatch reads them from Lambda's log.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import enum
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

NAMESPACE = "Notifier"
VALUES_MAX = 100
"""The most values of a metric that CloudWatch takes in one line."""


class Dimension(enum.StrEnum):
    """What metrics are grouped by. Every metric has the stack."""

    STACK = "Stack"
    GATEWAY = "Gateway"
    """FCM, APNs or APNs sandbox."""
    REASON = "Reason"
    """The gateway's word for a rejection."""


class Metric(enum.StrEnum):
    """All metrics, by their name in CloudWatch; `UNITS` has their units."""

    ACCEPTED = "Accepted"
    """Devices that Apple or Google accepted."""
    REJECTED = "Rejected"
    """Devices refused for good; also by reason."""
    FAILED = "Failed"
    """Devices without a final answer."""
    HELD = "Held"
    """Devices of the control group."""
    PUSHES_PER_SECOND = "PushesPerSecond"
    """Devices with an outcome, per second of sending."""
    BATCH_LATENCY = "BatchLatency"
    """From a batch's first request to its last answer, in milliseconds."""
    ANSWER_LATENCY = "AnswerLatency"
    """Mean latency of a gateway's answers over a minute, in milliseconds; by gateway."""
    HOPS = "Hops"
    """Invocations that worked on a lane."""
    LAG = "Lag"
    """From when a hop was due (the first one: when S3 had the file) to when it began, in milliseconds."""
    COLD_STARTS = "ColdStarts"
    """Invocations that began in a new environment."""
    RUNS_COMPLETED = "RunsCompleted"
    """Runs that completed."""
    RUNS_FAILED = "RunsFailed"
    """Runs that ended as failed: their file is broken or was refused."""
    RUNS_STOPPED = "RunsStopped"
    """Runs that wait until an operator has corrected something; also counted below where the reason is known."""
    CREDENTIALS_REFUSED = "CredentialsRefused"
    """Runs stopped because a gateway refused our credentials."""
    NO_PROGRESS = "NoProgress"
    """Runs stopped because several claims in a row settled nothing."""
    SUPPRESSION_UNREADABLE = "SuppressionUnreadable"
    """Claims that sent nothing because the standing suppression could not be read."""
    IGNORED_FILES = "IgnoredFiles"
    """Files or messages that reached the worker and are no batch file; the log names each."""
    SWEEPS = "Sweeps"
    """Sweeps that were finished. Fewer than one a minute mean that the sweeper does not run."""
    STALLED_LANES = "StalledLanes"
    """Lanes that the sweeper found without a worker although one was due."""
    LETTERS_GIVEN_UP = "LettersGivenUp"
    """Dead letters that the sweeper replayed in vain, or could not read, and has moved aside."""


UNITS = {
    Metric.PUSHES_PER_SECOND: "Count/Second",
    Metric.BATCH_LATENCY: "Milliseconds",
    Metric.ANSWER_LATENCY: "Milliseconds",
    Metric.LAG: "Milliseconds",
}
"""Units of metrics that are not counts."""

Value: TypeAlias = int | float | Sequence[int | float]


class Reading(msgspec.Struct, frozen=True):
    """Values under one set of dimensions. `where` holds the dimensions beyond the stack."""

    values: Mapping[Metric, Value]
    where: Mapping[Dimension, str] = {}


class Metrics:
    """Writes readings as lines in the embedded metric format.

    Args:
        stack: the stack's name.
        now: seconds since the epoch.
        write: takes a line; standard output by default, which is Lambda's log.
    """

    def __init__(self, stack: str, now: Callable[[], float], write: Callable[[str], object] | None = None) -> None:
        self._stack = stack
        self._now = now
        self._write = write or sys.stdout.write

    def emit(self, *readings: Reading, **properties: object) -> None:
        """Write one line for each reading that has values. `properties` are logged with them, but are no metrics."""
        for reading in readings:
            if reading.values:
                self._write(msgspec.json.encode(self._line(reading, properties)).decode() + "\n")

    def _line(self, reading: Reading, properties: Mapping[str, object]) -> dict[str, object]:
        dimensions = {Dimension.STACK: self._stack, **reading.where}
        values = {metric: _thinned(value) for metric, value in reading.values.items()}
        about = [{"Name": metric.value, "Unit": UNITS.get(metric, "Count")} for metric in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": [[name.value for name in dimensions]], "Metrics": about}
        return {
            "_aws": {"Timestamp": int(self._now() * 1000), "CloudWatchMetrics": [directive]},
            **properties,
            **{name.value: value for name, value in dimensions.items()},
            **{metric.value: value for metric, value in values.items()},
        }


def _thinned(value: Value) -> Value:
    """At most `VALUES_MAX` of the values, evenly spaced: the percentiles stay about the same."""
    if isinstance(value, int | float) or len(value) <= VALUES_MAX:
        return value
    step = len(value) / VALUES_MAX
    return [value[int(n * step)] for n in range(VALUES_MAX)]
