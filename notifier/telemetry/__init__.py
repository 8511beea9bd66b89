"""What is told while it runs: log lines, metrics, traces. Whoever is told lives behind this package."""

from notifier.telemetry.log import Action, Log
from notifier.telemetry.metrics import Dimension, Metric, Metrics, Reading
from notifier.telemetry.sending import GatewayFigures, Sending
from notifier.telemetry.trace import NO_TRACE, Call, Kind, Piece, Trace, Tracing, part, traced

__all__ = [
    "NO_TRACE",
    "Action",
    "Call",
    "Dimension",
    "GatewayFigures",
    "Kind",
    "Log",
    "Metric",
    "Metrics",
    "Piece",
    "Reading",
    "Sending",
    "Trace",
    "Tracing",
    "part",
    "traced",
]
