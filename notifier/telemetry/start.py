"""Starts the tracing of a process, which records only where Lambda runs the X-Ray daemon."""

from notifier.telemetry.trace import Tracing


def start_tracing(daemon_address: str, sample_percent: float) -> Tracing:
    """Tracing through the X-Ray daemon; without a daemon, or where nothing is sampled, it records nothing.

    Args:
        daemon_address: host and port, as Lambda's AWS_XRAY_DAEMON_ADDRESS has it; empty without one.
        sample_percent: the share of the traces sampled by Lambda that get the notifier's own detail.
    """
    if not daemon_address or sample_percent <= 0:
        return Tracing()
    # Imported late because it costs 40 ms of every cold start, and only a function that is traced needs it.
    from notifier.telemetry.xray import XRay  # noqa: PLC0415

    xray = XRay(daemon_address, sample_percent)
    return Tracing(xray.begin, xray.close)
