"""Log lines, metrics and traces. Only this package knows the services that store them: CloudWatch and X-Ray."""

from notifier.telemetry.log import JsonLog
from notifier.telemetry.metrics import Dimension, Metric, Metrics, Reading
from notifier.telemetry.sending import GatewayFigures, Sending
from notifier.telemetry.start import start_tracing
from notifier.telemetry.trace import NO_TRACE, BatchSpan, CallKind, GatewayCall, Trace, Tracing, span, traced

__all__ = [
    "NO_TRACE",
    "BatchSpan",
    "CallKind",
    "Dimension",
    "GatewayCall",
    "GatewayFigures",
    "JsonLog",
    "Metric",
    "Metrics",
    "Reading",
    "Sending",
    "Trace",
    "Tracing",
    "span",
    "start_tracing",
    "traced",
]
