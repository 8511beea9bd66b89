"""Traces of the approval app: one span for each event, annotated with the id of its request, as its run is.

API Gateway begins the trace, which covers the authorizer, the app and their calls to AWS. S3 passes a trace on to the
function that it notifies; EventBridge does not, and a long run has several traces. The annotation `request` is in all
of them, because the batch file's metadata carry it to the worker.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from notifier.telemetry.start import start_tracing
from notifier.telemetry.trace import Trace, Tracing

_REQUEST = re.compile(r"/requests/([0-9A-Za-z_-]+)")
_kept: list[Tracing] = []


def _tracing() -> Tracing:
    if not _kept:
        daemon, sample = os.environ.get("AWS_XRAY_DAEMON_ADDRESS", ""), os.environ.get("TRACE_SAMPLE") or "100"
        _kept.append(start_tracing(daemon, float(sample)))
    return _kept[0]


@contextmanager
def traced_event(name: str, event: dict[str, Any]) -> Iterator[Trace]:
    """Trace one event of API Gateway. Costs next to nothing where nothing is traced."""
    with _tracing().invocation(os.environ.get("_X_AMZN_TRACE_ID", ""), name) as trace:
        found = _REQUEST.match(event.get("path") or "")
        trace.annotate(route=f"{event.get('httpMethod', '')} {event.get('resource', '')}"[:200])
        if found:
            trace.annotate(request=found[1])
        yield trace


def annotate_step(fields: dict[str, Any]) -> None:
    """Annotate the trace with the request and run of a logged step, so that it can be found by them."""
    known = {name: fields[key] for name, key in (("request", "request_id"), ("run", "run_id")) if fields.get(key)}
    Tracing.current.annotate(**known)
