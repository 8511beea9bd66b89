"""What we read of an answer's header block: the status, and `Retry-After` of a refusal.

Our SETTINGS_HEADER_TABLE_SIZE is 0, so no block depends on another, and what follows a good status need not be decoded.
`:status` is the only pseudo-header of an answer, and so the first field (RFC 9113, sections 8.3 and 8.3.2).
"""

from __future__ import annotations

from functools import cache

import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from notifier.gateway.http2.frames import ErrorCode, ProtocolError

BLOCK_LIMIT = 16_384
"""Bytes of one header block, and of the list in it (our SETTINGS_MAX_HEADER_LIST_SIZE)."""
FRAGMENT_LIMIT = 64
FRAGMENTS_BYTES = 256 * 1024
"""A header block of more frames or bytes than this ends the connection."""
_INDEXED = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
"""Entries 8 to 14 of the static table (RFC 7541, appendix A)."""
_LITERAL = frozenset(first | index for first in (0x00, 0x10, 0x40) for index in range(8, 15))
"""The first byte of a literal with one of these entries' name (section 6.2)."""


class MalformedHead(Exception):
    """The block cannot be decoded, or does not begin with a status."""


class HeaderBlock:
    """A header block that comes in several frames (section 6.10)."""

    __slots__ = ("_bytes", "_fragments", "flags", "kept", "stream_id")

    def __init__(self, stream_id: int, flags: int, payload: bytes) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.kept = bytearray(payload[:BLOCK_LIMIT])
        self._bytes = len(payload)
        self._fragments = 1

    def add(self, payload: bytes) -> None:
        """Keep what is within the limit; the status is at the beginning."""
        self._bytes += len(payload)
        self._fragments += 1
        if self._fragments > FRAGMENT_LIMIT or self._bytes > FRAGMENTS_BYTES:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "headers without an end")
        self.kept += payload[: BLOCK_LIMIT - len(self.kept)]


def status_of(block: bytes) -> int:
    """The status; raises `MalformedHead` where there is none."""
    status = _INDEXED.get(block[0]) if block else None
    return status if status is not None else _uncommon_status(block)


def retry_after_of(block: bytes) -> str:
    """`Retry-After` as it was sent, empty without; raises `MalformedHead`."""
    return _decoded(block).get("retry-after", "")


def _uncommon_status(block: bytes) -> int:
    at = 0
    # The first block of a connection may begin by confirming the table's size (RFC 7541, section 4.2).
    while block[at : at + 1] == b"\x20":
        at += 1
    if at < len(block) and block[at] in _INDEXED:
        return _INDEXED[block[at]]
    if at + 1 < len(block) and block[at] in _LITERAL:
        size, coded = block[at + 1] & 0x7F, block[at + 1] & 0x80
        value = block[at + 2 : at + 2 + size]
        status = _coded_statuses().get(value, 0) if coded else _number(value)
    else:
        # A status whose name is spelled out. The first fields decide: pseudo-headers precede all others.
        status = _number(_decoded(block).get(":status", "").encode())
    if not 100 <= status <= 599:
        raise MalformedHead("an answer without a status")
    return status


def _number(value: bytes) -> int:
    return int(value) if len(value) == 3 and value.isdigit() else 0


@cache
def _coded_statuses() -> dict[bytes, int]:
    """Every status in Huffman's code."""
    huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    return {huffman.encode(b"%d" % status): status for status in range(100, 600)}


def _decoded(block: bytes) -> dict[str, str]:
    """The whole block; a decoder of its own for each, as none keeps a table."""
    decoder = hpack.Decoder(max_header_list_size=BLOCK_LIMIT)
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    try:
        # latin-1: every byte is a character of it, and what is not ASCII is no header that we look for.
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in decoder.decode(block, raw=True)}
    except hpack.HPACKError as error:
        raise MalformedHead("a header block that cannot be decoded") from error
