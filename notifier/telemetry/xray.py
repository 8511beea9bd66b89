"""Traces for AWS X-Ray, with its own SDK, and around what is wrong with the SDK for a function like this one.

The SDK keeps what is open in a thread-local stack. Here only parts of the work that one thread does one after the
other are ever opened; what happens side by side, the requests of a batch, is written down when it is over and made
into a document by hand. Segment documents: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
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
from notifier.telemetry.trace import Call, Kind, Piece, Trace, Tracing

DATAGRAM_MAX_BYTES = 60_000
"""The daemon drops what is over 64 KB without a word."""
CALL_DOCUMENTS, CALL_BYTES = 60, 20_000
PIECE_DOCUMENTS, PIECE_BYTES = 40, 28_000
"""What one hop may write about calls to AWS and about batches. Eight hops share a trace, which holds 500 KB."""
HEADER = "X-Amzn-Trace-Id"
EXPECTED = frozenset(
    {
        ("dynamodb", "ConditionalCheckFailedException"),  # a claim that another worker has: how claims work
        ("s3", 304),  # the audience is still what the cache holds
        ("s3", 404),  # the first claim looks whether somebody opened the run before
        ("s3", 412),  # another claim has settled this batch
    }
)
"""Refusals that are answers: they must not paint a trace red."""


class _Context(LambdaContext):  # type: ignore[misc] # the SDK is not typed
    """The open parts of one invocation, thread by thread.

    Made anew for each invocation: the SDK's own is kept as long as the trace id stays, and a function that invokes
    itself keeps it, so that a warm environment would hang its work under the segment of a former hop. Threads hang what
    they do under `anchor`, the part that stands for the whole invocation.
    """

    def __init__(self, header: TraceHeader | None) -> None:
        super().__init__()
        self._header = header
        self.anchor: str | None = None

    def _refresh_context(self) -> None:
        if getattr(self._local, "segment", None) is None:
            self._local.segment = self._facade()
            self._local.entities = []

    def put_subsegment(self, subsegment: Any) -> None:
        """What is begun while nothing is recorded is dropped without a word; the SDK would warn of each."""
        if self._header is not None:
            super().put_subsegment(subsegment)

    def _facade(self) -> Any:
        header = self._header
        if header is None:
            return DummySegment()
        segment = FacadeSegment("facade", self.anchor or header.parent, header.root, True)
        segment.save_origin_trace_header(header)
        return segment


class _Emitter(UDPEmitter):  # type: ignore[misc] # the SDK is not typed
    """Sends documents while there is room for them."""

    def __init__(self, daemon_address: str) -> None:
        super().__init__(daemon_address)
        self.begin(frozenset())

    def begin(self, structure: frozenset[str]) -> None:
        """A new invocation. `structure` are ids of parts that others hang under: they are always sent."""
        self.calls = Budget(CALL_DOCUMENTS, CALL_BYTES)
        self.pieces = Budget(PIECE_DOCUMENTS, PIECE_BYTES)
        self.structure = set(structure)

    def send_entity(self, entity: Any) -> None:
        """What the recorder has finished: calls to AWS, and the parts that they hang under."""
        forgive(entity)
        text = _serialized(entity)
        took_s = entity.end_time - entity.start_time
        if entity.id in self.structure:
            self.calls.note(len(text))
        elif not self.calls.take(entity.name, len(text), took_s, faulty=getattr(entity, "fault", False)):
            return
        self._send(text)

    def send_piece(self, entity: Any) -> bool:
        """A document made by hand, if there is room for it."""
        text = _serialized(entity)
        if not self.pieces.fit(len(text)):
            return False
        self._send(text)
        return True

    def _send(self, text: str) -> None:
        try:
            self._send_data(f"{PROTOCOL_HEADER}{PROTOCOL_DELIMITER}{text}")
        except OSError:  # the daemon is slow or gone: a trace is never worth a push
            return


def _serialized(entity: Any) -> str:
    """The document, without what is long about it when it would not fit into a datagram."""
    text: str = entity.serialize()
    if len(text) > DATAGRAM_MAX_BYTES:
        entity.metadata, entity.cause, entity.subsegments = {}, {}, []
        text = entity.serialize()
    return text


def forgive(entity: Any) -> None:
    """Take the marks of failure off a call whose refusal is expected."""
    if entity.namespace != "aws" or not entity.cause or not isinstance(entity.cause, dict):
        return
    status = entity.http.get("response", {}).get("status")
    kinds = {exception.type for exception in entity.cause.get("exceptions", ())}
    if (entity.name, status) in EXPECTED or any((entity.name, kind) in EXPECTED for kind in kinds):
        entity.cause = {}
        entity.fault = entity.error = False


class XRayTrace:
    """One invocation's trace: a part that covers it, and everything else hung under that.

    Lambda's own segment of the function takes no annotations and says 200 whatever happens, hence a part of our own.
    """

    active = True

    def __init__(self, emitter: _Emitter, context: _Context, header: TraceHeader, name: str) -> None:
        self._emitter = emitter
        self._header = header
        self.root = xray_recorder.begin_subsegment(name)
        context.anchor = self.root.id
        emitter.begin(frozenset({self.root.id}))
        self._under: list[str] = [self.root.id]
        self._next_root = ""
        self._main = threading.get_ident()

    def annotate(self, **values: str | float | bool) -> None:
        """Indexed by X-Ray: `annotation.run = "…"` finds it."""
        for name, value in values.items():
            self.root.put_annotation(name, value)

    def note(self, name: str, value: object) -> None:
        """Metadata: shown with the part, not indexed."""
        self.root.put_metadata(name, value, "notifier")

    def fault(self, reason: str) -> None:
        """`service() { fault }` finds it."""
        self.root.add_fault_flag()
        self.root.put_annotation("reason", reason[:200])

    def open(self, name: str) -> object:
        """A part, under the one that this thread has open."""
        part = xray_recorder.begin_subsegment(name)
        self._emitter.structure.add(part.id)
        if threading.get_ident() == self._main:
            self._under.append(part.id)
        return part

    def close(self, part: object, error: BaseException | None = None) -> None:
        """End the part; an exception that leaves it marks it."""
        if isinstance(error, Exception):
            part.add_exception(error, stacktrace.get_stacktrace(limit=10))  # type: ignore[attr-defined]
        if threading.get_ident() == self._main and len(self._under) > 1:
            self._under.pop()
        xray_recorder.end_subsegment()

    def piece(self, piece: Piece) -> bool:
        """One document for a batch, its calls inside it. Nothing of it was ever open."""
        facade = FacadeSegment("facade", self._under[-1], self._header.root, True)
        document = Subsegment(piece.name, "local", facade)
        document.parent_id = self._under[-1]
        document.start_time = piece.began_s
        document.put_annotation("kept_as", piece.why)
        document.put_metadata("figures", piece.figures, "notifier")
        for call in piece.calls:
            document.add_subsegment(_remote(call, facade))
        if piece.faulty:
            document.add_fault_flag()
        document.close(piece.ended_s)
        return self._emitter.send_piece(document)

    def part_ways(self) -> None:
        """A trace holds 500 KB: before it is full the chain goes on in another one, which this one names."""
        self._next_root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        self.root.put_annotation("continued_in", self._next_root)

    def redirect(self, headers: Any) -> None:
        """Give an outgoing invocation the new trace's id. What else the header carries, Lambda's lineage, stays."""
        before = headers.get(HEADER)
        if not self._next_root or not before:
            return
        text = before.decode() if isinstance(before, bytes) else before
        kept = [field for field in text.split(";") if not field.startswith(("Root=", "Parent="))]
        del headers[HEADER]
        headers[HEADER] = ";".join([f"Root={self._next_root}", f"Parent={secrets.token_hex(8)}", *kept])


def _remote(call: Call, facade: Any) -> Any:
    """A request to a gateway: a node of its own on the map."""
    remote = Subsegment(call.node, "remote", facade)
    remote.start_time = call.began_s
    remote.http = {"request": {"method": "POST", "url": call.url}}
    if call.status:
        remote.http["response"] = {"status": call.status}
    if call.kind is Kind.THROTTLED:
        remote.add_throttle_flag()
    if call.kind in (Kind.ERROR, Kind.THROTTLED):
        remote.add_error_flag()
    if call.kind is Kind.FAULT:
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
        sample_percent: of the traces that Lambda samples, how many get our detail. A trace has it whole or not at all.
    """

    def __init__(self, daemon_address: str, sample_percent: float) -> None:
        self._emitter = _Emitter(daemon_address)
        self._sample = sample_percent
        xray_recorder.emitter._socket.close()
        xray_recorder.configure(
            context=_Context(None),
            emitter=self._emitter,
            streaming_threshold=0,
            max_trace_back=10,
            sampler=LocalSampler(),
        )
        _patch()

    def begin(self, header: str, name: str) -> Trace | None:
        """Begin an invocation, if its trace is sampled."""
        parsed = TraceHeader.from_header_str(header)
        if not parsed.root or not parsed.parent or parsed.sampled != 1 or not self._is_chosen(parsed.root):
            return None
        context = _Context(parsed)
        xray_recorder.configure(context=context)
        return XRayTrace(self._emitter, context, parsed, name)

    def end(self, trace: Trace, error: BaseException | None) -> None:
        """End the invocation and send what covers it."""
        assert isinstance(trace, XRayTrace)
        calls, pieces = self._emitter.calls, self._emitter.pieces
        left_out = calls.refused + pieces.refused
        sent, sent_bytes = calls.documents + pieces.documents, calls.bytes + pieces.bytes
        trace.note("documents", {"sent": sent, "left_out": left_out, "bytes": sent_bytes})
        trace.close(trace.root, error)
        xray_recorder.configure(context=_Context(None))

    def close(self) -> None:
        """Send nothing more. Only tests come here: a process of Lambda's is ended without a word."""
        self._emitter._socket.close()

    def _is_chosen(self, root: str) -> bool:
        """By the trace's id: all hops of a chain are chosen, or none."""
        return self._sample >= 100 or crc32(root.encode()) % 10_000 < self._sample * 100


_patched: list[bool] = []


def _patch() -> None:
    """Once per process: boto3's calls are recorded, and tell the trace to whom they call."""
    if _patched:
        return
    _patched.append(True)
    patch(("botocore",))
    wrapt.wrap_function_wrapper("botocore.endpoint", "Endpoint.prepare_request", _redirected)


def _redirected(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Around what the SDK has put around botocore: the header is there when the request is prepared."""
    prepared = wrapped(*args, **kwargs)
    trace = Tracing.current
    if isinstance(trace, XRayTrace) and "/invocations" in prepared.url:
        trace.redirect(prepared.headers)
    return prepared
