"""Says when nearly nobody who converted is a user of the run: the source of conversions may have other ids.

A line of the log that CloudWatch makes a metric of (the embedded metric format), which alarms.
"""

import json
from collections.abc import Callable

from notifier.model.conversion_counts import ConversionCounts

NAMESPACE, METRIC = "Notifier", "UnknownConversionPercent"
FEWEST_SEEN = 100
"""Of fewer converting users a share says nothing."""


def log_unknown(
    found: ConversionCounts, run_id: str, goal: str, stack: str, now_s: float, write: Callable[[str], object]
) -> None:
    """Write the share of converting users who are in no row of the run. No id of anybody."""
    if found.seen < FEWEST_SEEN:
        return
    percent = round(found.unknown_share * 100, 1)
    named = [{"Name": METRIC, "Unit": "Percent"}]
    metrics = {"Namespace": NAMESPACE, "Dimensions": [["Stack"]], "Metrics": named}
    line = {
        "level": "INFO", "message": "conversions_counted", "run_id": run_id, "goal": goal,
        "unknown": found.unknown, "seen": found.seen,
        "_aws": {"Timestamp": int(now_s * 1000), "CloudWatchMetrics": [metrics]}, "Stack": stack, METRIC: percent,
    }  # fmt: skip
    write(json.dumps(line) + "\n")
