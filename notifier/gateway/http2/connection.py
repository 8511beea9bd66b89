"""The state of one HTTP/2 connection, without a socket and without a clock (RFC 9113).

    connection.submit(stream)                       a request's frames wait to be sent
    socket.send(connection.data_to_send(limit))     what was handed over counts as sent
    for stream in connection.receive(data): …       streams that have ended, each once, with an outcome

Every submitted stream comes back exactly once: by `receive`, or by `lost` when the socket has ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from notifier.gateway.http2 import frames
from notifier.gateway.http2.answer_head import BLOCK_LIMIT, HeaderBlock, MalformedHead, retry_after_of, status_of
from notifier.gateway.http2.frames import ErrorCode, FrameReader, ProtocolError, code_name
from notifier.gateway.http2.headers import HeaderEncoder
from notifier.gateway.http2.outbox import RECORD_BYTES, Outbox
from notifier.gateway.http2.stream import Outcome, Stream

ANSWER_LIMIT = 16_384
"""Bytes kept of an answer's body, and the window of each stream, which is never extended: no answer takes more."""
CONNECTION_WINDOW = 16 * 1024 * 1024
CREDIT_BYTES = CONNECTION_WINDOW // 2
"""One WINDOW_UPDATE for the connection after so many bytes of answers."""

_OUR_SETTINGS = (
    (frames.HEADER_TABLE_SIZE, 0),
    (frames.ENABLE_PUSH, 0),
    (frames.INITIAL_WINDOW_SIZE, ANSWER_LIMIT),
    (frames.MAX_HEADER_LIST_SIZE, BLOCK_LIMIT),
)
_ANSWERED = Outcome.ANSWERED
_LAST_USABLE_ID = frames.LAST_STREAM_ID - 2
"""No stream is opened after one with this id: ids have 31 bits, and a client's are odd. The last odd one stays
unused."""
_REASON = re.compile(rb'"reason"\s*:\s*"([A-Za-z]{1,64})"')


class Connection:
    """One connection to `authority`; with `path_is_shared` its requests have one path, without a secret."""

    def __init__(self, authority: str, *, path_is_shared: bool = False) -> None:
        self.ready = False
        """The server's SETTINGS have come. No stream is opened before: servers differ in what they take until then."""
        self.limit = 0
        """Streams that may be open at once."""
        self.draining = False
        """No stream may be opened any more; the open ones are still answered."""
        self.ended = ""
        """Why the connection has ended; empty while it lives."""
        self._streams: dict[int, Stream] = {}
        self._next_id = 1
        self._reader = FrameReader()
        self._encoder = HeaderEncoder(authority, path_is_shared=path_is_shared)
        self._outbox = Outbox()
        self._ended_streams: list[Stream] = []
        self._uncredited = 0
        self._block: HeaderBlock | None = None
        self._strict = True
        """The order of frames is looked at: before the first SETTINGS, and within a header block."""
        increment = CONNECTION_WINDOW - frames.DEFAULT_WINDOW
        self._outbox.control(frames.PREFACE + frames.settings(_OUR_SETTINGS) + frames.window_update(0, increment))
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # -- what the caller does ------------------------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Streams without an outcome."""
        return len(self._streams)

    @property
    def room(self) -> int:
        """How many more streams may be opened now."""
        if self.draining or self.ended:
            return 0
        return max(0, self.limit - len(self._streams))

    @property
    def has_data(self) -> bool:
        """Whether something waits to be sent (bodies held back by flow control do not count)."""
        return bool(self._outbox)

    def submit(self, stream: Stream) -> bool:
        """Open a stream for a request; False where there is no room."""
        # As `room`, without its calls: this runs for every request.
        if len(self._streams) >= self.limit or self.draining or self.ended:
            return False
        stream.id = stream_id = self._next_id
        self._next_id += 2
        if stream_id >= _LAST_USABLE_ID:
            self.draining = True  # identifiers are used up (section 5.1.1)
        request = stream.request
        self._outbox.request(stream, self._encoder.encode(request.path, request.headers))
        self._streams[stream_id] = stream
        return True

    def cancel(self, stream: Stream, detail: str) -> None:
        """Give an open stream up: RST_STREAM, and an outcome. Its frames may be on their way already."""
        if self._streams.pop(stream.id, None) is None:
            return
        # What waits in the outbox is still sent, as it holds entries of the header table: only a body that was held
        # back has certainly not arrived.
        self._settle(stream, Outcome.UNANSWERED if stream.ends_at else Outcome.REFUSED, detail)
        self._outbox.control(frames.reset(stream.id, ErrorCode.CANCEL))

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._outbox.control(frames.ping(b"notifier"))

    def data_to_send(self, limit: int = RECORD_BYTES) -> bytes:
        """Take at most `limit` bytes that the caller sends now."""
        return self._outbox.take(limit)

    def receive(self, data: bytes) -> list[Stream]:
        """Take bytes from the server; return the streams that ended by them. Nothing is raised."""
        if not self.ended:
            try:
                handlers = self._handlers
                for kind, flags, stream_id, payload in self._reader.feed(data):
                    if self._strict:
                        self._check_order(kind, flags, stream_id)
                    handler = handlers.get(kind)
                    if handler is not None:  # unknown types are ignored (section 5.5)
                        handler(flags, stream_id, payload)
                self._outbox.pump()
            except ProtocolError as error:
                self._end(f"the server broke HTTP/2: {error}", error.code)
        ended, self._ended_streams = self._ended_streams, []
        return ended

    def lost(self, reason: str) -> list[Stream]:
        """The socket has ended, or is given up; return all streams that were open."""
        if not self.ended:
            self._end(reason, None)
        ended, self._ended_streams = self._ended_streams, []
        return ended

    def say_goodbye(self) -> None:
        """Queue GOAWAY before an orderly close (section 6.8)."""
        self._outbox.control(frames.goaway(ErrorCode.NO_ERROR))

    # -- how streams end -----------------------------------------------------------------------------------------------

    def _settle(self, stream: Stream, outcome: Outcome, detail: str, *, of_connection: bool = False) -> None:
        """Give a stream its outcome. A status that has come counts, whatever happened behind it."""
        if stream.status:
            stream.outcome = _ANSWERED
            return
        stream.outcome, stream.detail, stream.of_connection = outcome, detail, of_connection

    def _finish(self, stream: Stream, outcome: Outcome, detail: str = "", code: ErrorCode | None = None) -> None:
        """End an open stream because of a frame; `code` is for our RST_STREAM where it is needed."""
        del self._streams[stream.id]
        self._settle(stream, outcome, detail)
        self._ended_streams.append(stream)
        if code is not None:
            self._outbox.control(frames.reset(stream.id, code))

    def _finish_answered(self, stream: Stream) -> None:
        # Answered before the body was sent (8.1): the rest is not wanted, and the stream must not stay half open.
        if not stream.ends_at:
            self._finish(stream, _ANSWERED, code=ErrorCode.CANCEL)
            return
        # As `_finish`, without its calls: this is how nearly every stream ends.
        stream.outcome = _ANSWERED
        del self._streams[stream.id]
        self._ended_streams.append(stream)

    def _finish_malformed(self, stream: Stream, text: str) -> None:
        self._finish(stream, Outcome.UNANSWERED, f"a malformed answer: {text}", ErrorCode.PROTOCOL_ERROR)

    def _end(self, reason: str, code: ErrorCode | None) -> None:
        """End the connection, and with it every stream; `code` is for our GOAWAY, if the server can still hear it."""
        self.ended = reason
        handed = self._outbox.handed
        for stream in self._streams.values():
            self._settle(stream, _outcome_when_lost(stream, handed), reason, of_connection=True)
            self._ended_streams.append(stream)
        self._streams.clear()
        self._outbox.discard()
        self._block = None
        if code is not None:
            self._outbox.control(frames.goaway(code))

    # -- frames --------------------------------------------------------------------------------------------------------

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        if self._block is not None:
            if kind != frames.CONTINUATION or stream_id != self._block.stream_id:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        elif not self.ready and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    def _stream_of(self, stream_id: int) -> Stream | None:
        """The open stream, None for one that has ended; raises for one that was never opened (section 5.1)."""
        stream = self._streams.get(stream_id)
        if stream is None and (stream_id % 2 == 0 or stream_id >= self._next_id):
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a frame for a stream that was never opened")
        return stream

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            payload = frames.unpadded(flags, payload)
        if flags & frames.END_HEADERS:
            self._on_block(stream_id, flags, payload)
        else:
            self._stream_of(stream_id)
            self._block = HeaderBlock(stream_id, flags, payload)
            self._strict = True

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block")
        block.add(payload)
        if flags & frames.END_HEADERS:
            self._block, self._strict = None, False
            self._on_block(stream_id, block.flags, bytes(block.kept))

    def _on_block(self, stream_id: int, flags: int, block: bytes) -> None:
        """A complete header block: an informational answer, the answer's head, or its trailers (section 8.1)."""
        stream = self._streams.get(stream_id) or self._stream_of(stream_id)
        if stream is None:
            return  # it was on its way when we reset the stream; as no table is kept, it need not be decoded
        ends = flags & frames.END_STREAM
        if stream.status:
            if ends:
                self._finish_answered(stream)
            else:
                self._finish_malformed(stream, "trailers without an end")
            return
        try:
            status = status_of(block)
        except MalformedHead as error:
            raise ProtocolError(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        if status < 200:
            if ends:
                self._finish_malformed(stream, "it ends with an informational status")
            return
        stream.status = status
        if status >= 400:
            self._read_retry_after(stream, block)
        if ends:
            self._finish_answered(stream)

    def _read_retry_after(self, stream: Stream, block: bytes) -> None:
        if len(block) >= BLOCK_LIMIT:
            return  # cut off: the status has to do
        try:
            stream.retry_after = retry_after_of(block)
        except MalformedHead as error:
            # The status was read and counts for this stream, but the connection has to end (RFC 9113, 4.3).
            raise ProtocolError(ErrorCode.COMPRESSION_ERROR, str(error)) from error

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        # Flow control counts padding, and data for streams that have ended (section 6.9.1).
        self._uncredited += size
        if self._uncredited >= CREDIT_BYTES:
            self._outbox.control(frames.window_update(0, self._uncredited))
            self._uncredited = 0
        stream = self._streams.get(stream_id) or self._stream_of(stream_id)
        if stream is None:
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(flags & frames.PADDED, payload)
        if not stream.status:
            self._finish_malformed(stream, "a body before its head")
            return
        stream.received += size
        if not stream.body:
            stream.body = payload[:ANSWER_LIMIT]
        else:
            stream.body = _appended(stream.body, payload)
        if flags & frames.END_STREAM:
            self._finish_answered(stream)
        elif stream.received >= ANSWER_LIMIT:
            self._finish(stream, _ANSWERED, code=ErrorCode.CANCEL)

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """Deprecated, and ignored (section 5.3.2)."""
        if len(payload) != 5 or not stream_id:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of the wrong size")

    def _on_reset(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of the wrong size")
        stream = self._stream_of(stream_id)
        if stream is None:
            return  # e.g. NO_ERROR behind a complete answer that came before all of the body (section 8.1)
        (code,) = frames.WORD.unpack(payload)
        outcome = Outcome.REFUSED if code == ErrorCode.REFUSED_STREAM else Outcome.UNANSWERED
        self._finish(stream, outcome, f"the server reset the stream ({code_name(code)})")

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of the wrong size")
        if flags & frames.ACK:
            return
        if not self.ready:
            self.ready, self._strict = True, False
            self.limit = frames.LAST_STREAM_ID  # unlimited unless SETTINGS say otherwise (section 6.5.2)
        for name, value in frames.settings_of(payload):
            self._apply(name, value)
        self._outbox.reply(frames.SETTINGS_ACK)

    def _apply(self, name: int, value: int) -> None:
        """One setting of the server's. Its MAX_HEADER_LIST_SIZE is advice (6.5.2): it answers 431 to what is larger."""
        if name == frames.HEADER_TABLE_SIZE:
            self._encoder.resize(value)
        elif name == frames.MAX_CONCURRENT_STREAMS:
            self.limit = value
        elif name == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window above its limit")
            self._outbox.adjust(value)
        elif name == frames.MAX_FRAME_SIZE:
            # Looked at, and not used: ours are never above the least limit there is.
            if not frames.FRAME_LIMIT <= value <= frames.LARGEST_FRAME_LIMIT:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a frame size out of its range")
        elif name == frames.ENABLE_PUSH and value:
            # A server may send 0 only (section 6.5.2).
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the server enables push")

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        """Our SETTINGS disable push (section 6.6)."""
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which we do not allow")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "PING of the wrong size")
        if not flags & frames.ACK:
            self._outbox.reply(frames.ping(payload, ack=True))

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        """Streams above the last one were not and will not be processed; the others are still answered (6.8).

        In a graceful shutdown the first GOAWAY has the highest id there is, and a second one the real one.
        """
        if stream_id:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of the wrong size")
        self.draining = True
        last, code = frames.TWO_WORDS.unpack_from(payload)
        detail = f"the server is closing the connection ({_goaway_reason(code, payload)})"
        last &= frames.LAST_STREAM_ID  # the highest bit is reserved, and means nothing (section 6.8)
        for stream in [one for one in self._streams.values() if one.id > last]:
            # Header blocks that wait in the outbox are still sent, as in `cancel`: the server ignores these streams.
            is_unsent = stream.begins_at >= self._outbox.handed
            del self._streams[stream.id]
            self._outbox.withdraw(stream)
            outcome = Outcome.UNSENT if is_unsent else Outcome.REFUSED
            self._settle(stream, outcome, detail, of_connection=True)
            self._ended_streams.append(stream)

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of the wrong size")
        increment = frames.WORD.unpack(payload)[0] & frames.LARGEST_WINDOW
        if not increment:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        if not stream_id:
            self._outbox.window += increment
            if self._outbox.window > frames.LARGEST_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window above its limit")
            return
        stream = self._stream_of(stream_id)
        # The window of a stream whose body is sent means nothing any more.
        if stream is not None and not stream.ends_at:
            stream.window += increment
            if stream.window > frames.LARGEST_WINDOW:
                text = "a window above its limit"
                self._finish(stream, Outcome.REFUSED, text, ErrorCode.FLOW_CONTROL_ERROR)


def _outcome_when_lost(stream: Stream, handed: int) -> Outcome:
    """What is known of a stream without a status when its connection has ended after `handed` bytes.

    `handed`, `begins_at` and `ends_at` count bytes from the connection's first one on.
    """
    if stream.begins_at >= handed:
        return Outcome.UNSENT
    # Neither gateway acts on a request whose body did not end.
    if not stream.ends_at or stream.ends_at > handed:
        return Outcome.REFUSED
    return Outcome.UNANSWERED


def _appended(body: bytes | bytearray, payload: bytes) -> bytearray:
    """A body and its next piece, within the limit; a bytearray grows in place."""
    longer = body if isinstance(body, bytearray) else bytearray(body)
    longer += payload[: ANSWER_LIMIT - len(longer)]
    return longer


def _goaway_reason(code: int, payload: bytes) -> str:
    """The code, and APNs' own word for it; other debug data is not shown, as it may hold anything."""
    found = _REASON.search(payload, 8, 8 + 512)
    return f"{code_name(code)}, {found[1].decode()}" if found else code_name(code)
