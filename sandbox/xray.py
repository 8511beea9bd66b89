"""A UDP listener in the X-Ray daemon's place: keeps the documents that functions send, and puts traces together.

X-Ray itself adds two segments for each invocation, one for the Lambda service and one for the function; `Daemon.around`
makes them (`LocalLambda.around` takes it), so that what is shown here is what the console shows.
https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html
"""

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import msgspec

from sandbox.http_server import Reply
from sandbox.local_lambda.invocation import Answer, Invocation
from sandbox.local_lambda.trace import Trace as Header

DATAGRAM_MAX_BYTES: Final = 64 * 1024
TRACE_MAX_BYTES: Final = 500_000
TRACES_MAX: Final = 500
SERVICE: Final = "AWS::Lambda"
FUNCTION: Final = "AWS::Lambda::Function"
API: Final = "AWS::ApiGateway::Stage"
_HEADER: Final = b'{"format":"json","version":1}\n'


class Document(msgspec.Struct, frozen=True):
    """One segment or subsegment, flattened: `parent_id` says under which it hangs. Times in seconds since the epoch."""

    id: str
    trace_id: str
    parent_id: str | None
    name: str
    began_s: float
    ended_s: float
    namespace: str = ""
    origin: str = ""
    fault: bool = False
    error: bool = False
    throttle: bool = False
    status: int | None = None
    detail: dict[str, Any] = {}

    @property
    def took_ms(self) -> float:
        """How long it took."""
        return (self.ended_s - self.began_s) * 1000

    @property
    def failed(self) -> bool:
        """Whether it counts as failed in any way."""
        return self.fault or self.error or self.throttle


class Trace(msgspec.Struct):
    """What was kept of one trace. `size` is what X-Ray would count against its 500 KB."""

    id: str
    documents: list[Document] = []
    size: int = 0

    @property
    def began_s(self) -> float:
        """When its first part began."""
        return min(document.began_s for document in self.documents)

    @property
    def ended_s(self) -> float:
        """When its last part ended."""
        return max(document.ended_s for document in self.documents)

    def annotations(self) -> dict[str, Any]:
        """What it can be found by."""
        found: dict[str, Any] = {}
        for document in self.documents:
            found |= {
                name: value for name, value in document.detail.get("annotations", {}).items() if name != "kept_as"
            }
        return found


class Daemon:
    """Listens on a free port of its own; `address` is what AWS_XRAY_DAEMON_ADDRESS takes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._changed = threading.Condition()
        self._traces: dict[str, Trace] = {}
        self.datagrams: list[int] = []
        """Sizes of all that arrived."""
        self.rejected: list[str] = []
        """Why something was not kept."""
        threading.Thread(target=self._listen, name="xray", daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                data = self._socket.recv(DATAGRAM_MAX_BYTES + 1)
            except OSError:
                return
            if not data:
                return
            self.take(data)

    def take(self, data: bytes) -> None:
        """One datagram: a header line and a document."""
        self.datagrams.append(len(data))
        header, _, body = data.partition(b"\n")
        if header + b"\n" != _HEADER:
            self.rejected.append(f"unknown header {header[:40]!r}")
            return
        try:
            document = json.loads(body)
            found = list(_flattened(document, document.get("trace_id", ""), document.get("parent_id")))
        except (ValueError, KeyError, TypeError) as error:
            self.rejected.append(f"{type(error).__name__}: {error}")
            return
        self.add(found, len(body))

    def add(self, documents: list[Document], size: int) -> None:
        """Keep documents of one trace. The oldest trace goes when there are too many."""
        with self._changed:
            trace = self._traces.setdefault(documents[0].trace_id, Trace(documents[0].trace_id))
            trace.size += size
            if trace.size > TRACE_MAX_BYTES:
                self.rejected.append(f"trace {trace.id} is over {TRACE_MAX_BYTES} bytes")
                return
            trace.documents.extend(documents)
            while len(self._traces) > TRACES_MAX:
                self._traces.pop(next(iter(self._traces)))
            self._changed.notify_all()

    def wait_for(self, arrived: Callable[[list[Document]], bool], timeout_s: float = 5.0) -> bool:
        """Waits until what is kept is enough; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: arrived([document for trace in self._traces.values() for document in trace.documents]),
                timeout_s,
            )

    def around(self, invocation: Invocation, run: Callable[[Invocation], Answer]) -> Answer:
        """Run one attempt under segments of its own, as Lambda does where tracing is active."""
        header = Header.of(invocation.trace, traced=True)
        if header.sampled != "1":
            return run(invocation)
        function_id = secrets.token_hex(8)
        passed = msgspec.structs.replace(header, parent=function_id).header()
        began_s = time.time()
        answer = run(msgspec.structs.replace(invocation, trace=passed))
        ended_s, failed = time.time(), bool(answer.failure)
        service = Document(
            id=secrets.token_hex(8),
            trace_id=header.root,
            parent_id=header.parent,
            name=invocation.function,
            began_s=began_s,
            ended_s=ended_s,
            origin=SERVICE,
            status=202 if invocation.asynchronous else 200,
        )
        function = msgspec.structs.replace(
            service,
            id=function_id,
            parent_id=service.id,
            origin=FUNCTION,
            status=None,
            fault=failed,
            detail={"aws": {"request_id": invocation.request_id, "attempt": invocation.attempt}},
        )
        self.add([service, function], 1_000)
        return answer

    def around_api(self, name: str, answer: Callable[[str], Reply]) -> Reply:
        """Answer one HTTP request under API Gateway's segment, where a trace begins (`Bridge.around` takes it)."""
        header = Header.of("", traced=True)
        began_s = time.time()
        reply = answer(header.header())
        segment = Document(
            id=header.parent,
            trace_id=header.root,
            parent_id=None,
            name="API Gateway",
            began_s=began_s,
            ended_s=time.time(),
            origin=API,
            fault=reply.status >= 500,
            error=400 <= reply.status < 500,
            status=reply.status,
            detail={"metadata": {"notifier": {"request": name}}},
        )
        self.add([segment], 500)
        return reply

    def traces(self) -> list[Trace]:
        """All that is kept, newest first."""
        with self._changed:
            return [Trace(one.id, list(one.documents), one.size) for one in reversed(self._traces.values())]

    def trace(self, id_: str) -> Trace | None:
        """One trace."""
        return next((trace for trace in self.traces() if trace.id == id_), None)

    def documents(self) -> list[Document]:
        """All documents of all traces."""
        return [document for trace in self.traces() for document in trace.documents]

    def stop(self) -> None:
        """Listens no more; what was kept can still be read."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _flattened(document: dict[str, Any], trace_id: str, parent_id: str | None) -> Iterator[Document]:
    """A document and those embedded in it."""
    if "end_time" not in document:
        raise ValueError(f"{document.get('name')} is still in progress")
    yield Document(
        id=document["id"],
        trace_id=trace_id,
        parent_id=parent_id,
        name=document["name"],
        began_s=document["start_time"],
        ended_s=document["end_time"],
        namespace=document.get("namespace", ""),
        origin=document.get("origin", ""),
        fault=bool(document.get("fault")),
        error=bool(document.get("error")),
        throttle=bool(document.get("throttle")),
        status=document.get("http", {}).get("response", {}).get("status"),
        detail={key: document[key] for key in ("annotations", "metadata", "aws", "http", "cause") if key in document},
    )
    for child in document.get("subsegments", ()):
        yield from _flattened(child, trace_id, document["id"])
