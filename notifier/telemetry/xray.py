"""Records traces with AWS X-Ray's SDK, which only this module imports (`trace.Trace` is the interface).

The SDK keeps open subsegments in a thread-local stack. So only work that one thread does step by step is opened as a
span. The requests of a batch run concurrently: their document is made when the batch has ended. Segment documents:
https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
"""

import secrets
import threading
import time
from typing import Any
from zlib import crc32

import wrapt
from aws_xray_sdk.core import patch, xray_recorder
from aws_xray_sdk.core.emitters.udp_emitter import PROTOCOL_DELIMITER, PROTOCOL_HEADER, UDPEmitter
from aws_xray_sdk.core.lambda_launcher import LambdaContext
from aws_xray_sdk.core.models.dummy_entities import DummySegment
from aws_xray_sdk.core.models.facade_segment import FacadeSegment
from aws_xray_sdk.core.models.subsegment import Subsegment
from aws_xray_sdk.core.models.trace_header import TraceHeader
from aws_xray_sdk.core.sampling.local.sampler import LocalSampler
from aws_xray_sdk.core.utils import stacktrace

from notifier.telemetry.budget import Budget
from notifier.telemetry.trace import NO_TRACE, BatchSpan, CallKind, GatewayCall, Trace, Tracing

DATAGRAM_MAX_BYTES = 60_000
"""The daemon drops datagrams over 64 KB silently; the rest is room for the protocol's header."""
CALL_DOCUMENTS, CALL_BYTES = 60, 20_000
BATCH_DOCUMENTS, BATCH_BYTES = 40, 28_000
"""What one hop may write about calls to AWS and about batches. Eight hops share a trace, which holds 500 KB."""
MAX_REASON_CHARS = 200
STEPS_PER_PERCENT = 100
"""Traces are sampled in hundredths of a percent."""
HEADER = "X-Amzn-Trace-Id"
EXPECTED = frozenset(
    {
        ("dynamodb", "ConditionalCheckFailedException"),  # a claim that another worker has: how claims work
        ("s3", 304),  # the audience is still what the cache holds
        ("s3", 404),  # the first claim looks whether an earlier one has opened the run
        ("s3", 412),  # another claim has settled this batch
    }
)
"""Refusals that the notifier expects: they must not mark a trace as failed."""


class _Context(LambdaContext):  # type: ignore[misc] # the SDK is not typed
    """The open subsegments of one invocation, thread by thread.

    A new one for each invocation: the SDK keeps its own as long as the trace id stays the same, and a function that
    invokes itself keeps the id, so that a warm environment would put its work under the segment of an earlier hop.
    What threads do goes under `anchor`, the span that covers the whole invocation.
    """

    def __init__(self, header: TraceHeader | None) -> None:
        super().__init__()
        self._header = header
        self.anchor: str | None = None

    def _refresh_context(self) -> None:
        # The SDK calls this before each subsegment. Its own compares the segment with the header in the environment;
        # this context belongs to one invocation already, so that a thread only needs its own stack.
        if getattr(self._local, "segment", None) is None:
            self._local.segment = self._facade()
            self._local.entities = []

    def put_subsegment(self, subsegment: Any) -> None:
        """Ignore a subsegment that is begun while nothing is recorded; the SDK would log a warning for each."""
        if self._header is not None:
            super().put_subsegment(subsegment)

    def _facade(self) -> Any:
        """The parent of this thread's first subsegment, in place of Lambda's segment, which only Lambda may send."""
        header = self._header
        if header is None:
            return DummySegment()
        segment = FacadeSegment("facade", self.anchor or header.parent, header.root, True)
        segment.save_origin_trace_header(header)
        return segment


class _Emitter(UDPEmitter):  # type: ignore[misc] # the SDK is not typed
    """Sends documents to the daemon as far as the invocation's budgets allow."""

    def __init__(self, daemon_address: str) -> None:
        super().__init__(daemon_address)
        self.begin(frozenset())

    def begin(self, structure: frozenset[str]) -> None:
        """Begin an invocation. `structure` has the ids of spans that have children: those are always sent."""
        self.calls = Budget(CALL_DOCUMENTS, CALL_BYTES)
        self.batches = Budget(BATCH_DOCUMENTS, BATCH_BYTES)
        self.structure = set(structure)

    def send_entity(self, entity: Any) -> None:
        """Send what the SDK has finished: every span, and calls to AWS as far as the budget allows."""
        forgive(entity)
        text = _serialized(entity)
        took_s = entity.end_time - entity.start_time
        # Without a span its children have no parent, and X-Ray does not draw them.
        if entity.id in self.structure:
            self.calls.note(len(text))
        elif not self.calls.take(entity.name, len(text), took_s, faulty=getattr(entity, "fault", False)):
            return
        self._send(text)

    def send_batch(self, entity: Any) -> bool:
        """Send a batch's document, if the budget has room for it."""
        text = _serialized(entity)
        if not self.batches.fit(len(text)):
            return False
        self._send(text)
        return True

    def _send(self, text: str) -> None:
        try:
            self._send_data(f"{PROTOCOL_HEADER}{PROTOCOL_DELIMITER}{text}")
        except OSError:  # the daemon is slow or gone: a lost trace must not cost a push
            return


def _serialized(entity: Any) -> str:
    """The document as text; without its long members where it would be larger than a datagram."""
    text: str = entity.serialize()
    if len(text) > DATAGRAM_MAX_BYTES:
        entity.metadata, entity.cause, entity.subsegments = {}, {}, []
        text = entity.serialize()
    return text


def forgive(entity: Any) -> None:
    """Remove the marks of failure from a call to AWS whose refusal is one of the `EXPECTED`."""
    # `cause` is an id, not a dict, where the SDK refers to an exception that an inner document describes already.
    if entity.namespace != "aws" or not entity.cause or not isinstance(entity.cause, dict):
        return
    status = entity.http.get("response", {}).get("status")
    kinds = {exception.type for exception in entity.cause.get("exceptions", ())}
    if (entity.name, status) in EXPECTED or any((entity.name, kind) in EXPECTED for kind in kinds):
        entity.cause = {}
        entity.fault = entity.error = False


class XRayTrace(Trace):
    """One invocation's trace: one span covers it, and is the parent of all others.

    Lambda's own segment of the function takes no annotations and says 200 whatever happens, hence a span of our own.
    """

    active = True

    def __init__(self, emitter: _Emitter, context: _Context, header: TraceHeader, name: str) -> None:
        self._emitter = emitter
        self._header = header
        self.root = xray_recorder.begin_subsegment(name)
        context.anchor = self.root.id
        emitter.begin(frozenset({self.root.id}))
        self._under: list[str] = [self.root.id]
        """Ids of the spans that the main thread has open, outermost first: batches go under the last."""
        self._next_root = ""
        self._main = threading.get_ident()

    def annotate(self, **values: str | float | bool) -> None:
        """Attach values that X-Ray indexes: `annotation.run = "…"` finds the trace."""
        for name, value in values.items():
            self.root.put_annotation(name, value)

    def note(self, name: str, value: object) -> None:
        """Attach metadata: shown with the span, and not indexed."""
        self.root.put_metadata(name, value, "notifier")

    def fault(self, reason: str) -> None:
        """Mark the trace as failed: `service() { fault }` finds it."""
        self.root.add_fault_flag()
        self.root.put_annotation("reason", reason[:MAX_REASON_CHARS])

    def open(self, name: str) -> object:
        """Begin a span as the child of the one that this thread has open."""
        span = xray_recorder.begin_subsegment(name)
        self._emitter.structure.add(span.id)
        # A span of another thread must not become the parent of batches, which the main thread records.
        if threading.get_ident() == self._main:
            self._under.append(span.id)
        return span

    def close(self, span: object, error: BaseException | None = None) -> None:
        """End the span. An exception that has left it marks it as failed."""
        # KeyboardInterrupt and SystemExit are no failures of the work inside.
        if isinstance(error, Exception):
            span.add_exception(error, stacktrace.get_stacktrace(limit=10))  # type: ignore[attr-defined]
        # The root's id stays, even when the root is closed: what is recorded last needs a parent, too.
        if threading.get_ident() == self._main and len(self._under) > 1:
            self._under.pop()
        xray_recorder.end_subsegment()

    def batch(self, batch: BatchSpan) -> bool:
        """Send one document for a batch, with its calls inside. None of them is opened in the SDK."""
        # The SDK makes a subsegment only of a segment; this one lends the trace's id and is never sent.
        facade = FacadeSegment("facade", self._under[-1], self._header.root, True)
        document = Subsegment(batch.name, "local", facade)
        document.parent_id = self._under[-1]
        document.start_time = batch.began_s
        document.put_annotation("kept_as", batch.why)
        document.put_metadata("figures", batch.figures, "notifier")
        for call in batch.calls:
            document.add_subsegment(_remote(call, facade))
        if batch.faulty:
            document.add_fault_flag()
        document.close(batch.ended_s)
        return self._emitter.send_batch(document)

    def start_new_trace(self) -> None:
        """Give the next invocations a trace of their own, which this one names: a trace holds only 500 KB."""
        self._next_root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        self.root.put_annotation("continued_in", self._next_root)

    def end(self, error: BaseException | None) -> None:
        """End the invocation and send the span that covers it."""
        calls, batches = self._emitter.calls, self._emitter.batches
        left_out = calls.refused + batches.refused
        sent, sent_bytes = calls.documents + batches.documents, calls.bytes + batches.bytes
        self.note("documents", {"sent": sent, "left_out": left_out, "bytes": sent_bytes})
        self.close(self.root, error)
        # Until the next `begin` nothing is recorded: a call to AWS made in between belongs to no trace.
        xray_recorder.configure(context=_Context(None))

    def redirect(self, headers: Any) -> None:
        """Put the new trace's id into an invocation's headers. Its other fields stay: Lambda finds loops by them."""
        before = headers.get(HEADER)
        if not self._next_root or not before:
            return
        # botocore holds headers as text, and as bytes once the request is signed.
        text = before.decode() if isinstance(before, bytes) else before
        kept = [field for field in text.split(";") if not field.startswith(("Root=", "Parent="))]
        del headers[HEADER]  # a header may occur twice: setting it without this would add a second one
        headers[HEADER] = ";".join([f"Root={self._next_root}", f"Parent={secrets.token_hex(8)}", *kept])


def _remote(call: GatewayCall, facade: Any) -> Any:
    """A request to a gateway as a remote subsegment, which X-Ray's map shows as a node of its own."""
    remote = Subsegment(call.node, "remote", facade)
    remote.start_time = call.began_s
    remote.http = {"request": {"method": "POST", "url": call.url}}
    if call.status:
        remote.http["response"] = {"status": call.status}
    if call.kind is CallKind.THROTTLED:
        remote.add_throttle_flag()
    # A throttled call is an error too: X-Ray's convention, as for calls to AWS.
    if call.kind in (CallKind.ERROR, CallKind.THROTTLED):
        remote.add_error_flag()
    if call.kind is CallKind.FAULT:
        remote.add_fault_flag()
    remote.put_annotation("kept_as", call.why)
    if call.reason:
        remote.put_metadata("reason", call.reason, "notifier")
    remote.close(call.ended_s)
    return remote


class XRay:
    """Records the invocations of one process.

    Args:
        daemon_address: host and port, as Lambda's AWS_XRAY_DAEMON_ADDRESS has it.
        sample_percent: the share of the traces sampled by Lambda that get our detail, each with all its hops.
    """

    def __init__(self, daemon_address: str, sample_percent: float) -> None:
        self._emitter = _Emitter(daemon_address)
        self._sample = sample_percent
        # The SDK opened this socket when it was imported. Its emitter is replaced below, and nothing else closes it.
        xray_recorder.emitter._socket.close()
        xray_recorder.configure(
            context=_Context(None),
            emitter=self._emitter,
            streaming_threshold=0,  # send each subsegment when it ends: Lambda's segment never ends in this process
            max_trace_back=10,
            sampler=LocalSampler(),  # the default one asks AWS for rules from a thread; Lambda has sampled already
        )
        _patch()

    def begin(self, header: str, name: str) -> Trace:
        """Begin an invocation's trace; `NO_TRACE` where it is not sampled."""
        parsed = TraceHeader.from_header_str(header)
        if not parsed.root or not parsed.parent or parsed.sampled != 1 or not self._is_chosen(parsed.root):
            return NO_TRACE
        context = _Context(parsed)
        xray_recorder.configure(context=context)
        return XRayTrace(self._emitter, context, parsed, name)

    def close(self) -> None:
        """Send nothing more. Only tests call it: Lambda ends a process without warning."""
        self._emitter._socket.close()

    def _is_chosen(self, root: str) -> bool:
        """Whether this trace gets our detail. Decided by its id, so that all hops of a run decide the same."""
        step = crc32(root.encode()) % (100 * STEPS_PER_PERCENT)
        return step < self._sample * STEPS_PER_PERCENT


_patched: list[bool] = []


def _patch() -> None:
    """Make botocore record its calls and pass the trace on. Once for each process: a patch cannot be undone."""
    if _patched:
        return
    _patched.append(True)
    patch(("botocore",))
    wrapt.wrap_function_wrapper("botocore.endpoint", "Endpoint.prepare_request", _redirected)


def _redirected(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """`Endpoint.prepare_request`, after which the SDK's header is replaced where a new trace begins.

    Here, because the SDK's own patch runs earlier, and sets the header that is to be replaced.
    """
    prepared = wrapped(*args, **kwargs)
    trace = Tracing.current
    # Only Lambda's Invoke begins an invocation. Other calls stay in the trace in which they are made.
    if isinstance(trace, XRayTrace) and "/invocations" in prepared.url:
        trace.redirect(prepared.headers)
    return prepared
