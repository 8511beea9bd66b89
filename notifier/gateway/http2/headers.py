"""The header blocks we send (HPACK, RFC 7541).

The server keeps a table of fields for each connection, and one byte names a field in it. Three kinds of headers:

- Constant ones (content type, topic, priority…) are put into the table the first time, and named by index afterwards.
- Those of `CHANGING` have another value in each request: their name is put into the table, their value is sent.
- Secrets (`SECRET`, and paths with a device token) never enter a table, here or behind a proxy: literals that are
  marked never-indexed (section 7.1.3). Apple asks for the same, as its tables are small
  (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns).

Nothing is ever evicted: once the table is full, further constants are sent as literals. So an index is only a count.
"""

from __future__ import annotations

from collections.abc import Sequence

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

TABLE_LIMIT = 4096
"""Ours is never larger, whatever more the server would keep (section 4.2)."""
ENTRY_OVERHEAD = 32
"""What a table's entry counts beside name and value (section 4.1)."""
STATIC_ENTRIES = 61
CACHE_LIMIT = 256

SECRET = frozenset({"authorization", "proxy-authorization", "cookie"})
EXPIRATION = "apns-expiration"
CHANGING = frozenset({"apns-id", EXPIRATION})
USER_AGENT = "user-agent: notifier"

_METHOD_AND_SCHEME = b"\x83\x87"
"""`:method: POST` and `:scheme: https`, entries 3 and 7 of the static table (appendix A)."""
_STATIC_NAMES = {":authority": 1, ":path": 4, "authorization": 23, "content-type": 31, "cookie": 32, "user-agent": 58}
"""Of the static table's names, those that pushes have."""
_INDEXED, _INDEXING, _PLAIN, _NEVER = (0x80, 7), (0x40, 6), (0x00, 4), (0x10, 4)
"""First bits of a field, and how many bits its index has (sections 6.1 and 6.2)."""
_RESIZE = (0x20, 5)
"""Dynamic table size update (section 6.3)."""
_EMPTY_TABLE = b"\x20"

_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


class HeaderEncoder:
    """Encodes the requests of one connection.

    Args:
        authority: host and port.
        path_is_shared: requests have one path, without a secret; otherwise no path is ever indexed.
    """

    def __init__(self, authority: str, *, path_is_shared: bool = False) -> None:
        self._path_is_shared = path_is_shared
        self._size_limit = TABLE_LIMIT
        self._resizes = b""
        self._authority = f":authority: {authority}"
        self._known: dict[str, bytes] = {}
        """What a line is encoded as. For lines in the table it changes with every new entry."""
        self._names: dict[str, bytes] = {}
        """The same for the name of a line of `CHANGING`."""
        self._literals: dict[str, bytes] = {}
        """Cached lines that are in no table."""
        self._secrets: dict[str, str] = {}
        """The line of each secret that is cached, to forget it when there is another."""
        self._last_expiration = ""
        """The line of it that is among the known ones, to forget it when there is another."""
        self._last_lines: Sequence[str] | None = None
        self._last_path = ""
        self._last_block = b""
        self._reset_table()

    def encode(self, path: str, lines: Sequence[str]) -> bytes:
        """The header block for a POST to `path` with these `name: value` lines.

        Blocks must be sent in the order in which they were made: the server's table follows them. The same `lines`
        object twice in a row is taken as unchanged.
        """
        if lines is self._last_lines and path == self._last_path:
            return self._last_block
        count = len(self._entries)
        # The server's table is as long as ours when it decodes a field: each is looked up only when it is its turn.
        pieces = [self._resizes, _METHOD_AND_SCHEME, self._field(self._authority), self._path(path)]
        known, literals = self._known, self._literals
        pieces += [known.get(line) or literals.get(line) or self._line(line) for line in lines]
        pieces.append(known.get(USER_AGENT) or self._field(USER_AGENT))
        block = b"".join(pieces)
        # Only a block that changes no table may be sent again as it is.
        if count == len(self._entries) and not self._resizes:
            self._last_lines, self._last_path, self._last_block = lines, path, block
        self._resizes = b""
        return block

    def resize(self, limit: int) -> None:
        """The server's SETTINGS_HEADER_TABLE_SIZE is `limit` from here on; the next block acknowledges it."""
        limit = min(limit, TABLE_LIMIT)
        if limit == self._size_limit:
            return
        # The smallest size in between must be signalled too (section 4.2); 0 is below all, and empties both tables.
        self._resizes = _EMPTY_TABLE + (_integer(*_RESIZE, limit) if limit else b"")
        self._size_limit = limit
        self._reset_table()

    def _reset_table(self) -> None:
        self._entries: list[tuple[str, str]] = []
        """Line and name of each entry, oldest first."""
        self._size = 0
        self._known.clear()
        self._names.clear()
        self._last_lines = None

    def _path(self, path: str) -> bytes:
        if self._path_is_shared:
            return self._field(f":path: {path}")
        return _NEVER_PATH + _string(path.encode())

    def _field(self, line: str) -> bytes:
        """A line that may be indexed: its index, or itself as a new entry, or a literal where the table is full."""
        return self._known.get(line) or self._literals.get(line) or self._enter(line, *_split(line))

    def _line(self, line: str) -> bytes:
        """A line that is not cached."""
        # Nearly always one of `CHANGING`, with another value in each request: one call takes it apart.
        name, _, value = line.partition(": ")
        if (prefix := self._names.get(name)) is not None:
            piece = prefix + _string(value.strip().encode())
            if name == EXPIRATION:  # that of all pushes of a second: 0.2 µs less for each
                self._known.pop(self._last_expiration, None)
                self._known[line], self._last_expiration = piece, line
            return piece
        name, value = _split(line)
        if name in SECRET:
            return self._secret(line, name, value)
        if name in CHANGING and (prefix := self._names.get(name)) is not None:
            return prefix + _string(value.encode())
        return self._enter(line, name, value)

    def _secret(self, line: str, name: str, value: str) -> bytes:
        """A never-indexed literal, cached as the same credentials are sent for an hour."""
        self._literals.pop(self._secrets.get(name, ""), None)
        self._secrets[name] = line
        piece = self._literals[line] = _name(_NEVER, name) + _compressed(value.encode())
        return piece

    def _enter(self, line: str, name: str, value: str) -> bytes:
        size = len(name) + len(value.encode()) + ENTRY_OVERHEAD
        if self._size + size > self._size_limit:
            piece = _name(_PLAIN, name) + _string(value.encode())
            if name not in CHANGING and len(self._literals) < CACHE_LIMIT:
                self._literals[line] = piece
            return piece
        self._size += size
        self._entries.append((line, name))
        self._renumber()
        return _name(_INDEXING, name) + _string(value.encode())

    def _renumber(self) -> None:
        """The newest entry has the lowest index: each new one moves all others (section 2.3.3)."""
        self._last_lines = None
        self._known.pop(self._last_expiration, None)
        newest = STATIC_ENTRIES + len(self._entries)
        for position, (line, name) in enumerate(self._entries):
            if name in CHANGING:
                self._names[name] = _integer(*_PLAIN, newest - position)
            else:
                self._known[line] = _integer(*_INDEXED, newest - position)


def _split(line: str) -> tuple[str, str]:
    """Name and value; pseudo-headers begin with a colon (RFC 9113, section 8.3)."""
    at = line.index(":", 1)
    return line[:at].lower(), line[at + 1 :].strip()


def _integer(first: int, bits: int, value: int) -> bytes:
    """An integer in the last `bits` bits of a byte that begins with `first`, and in what follows (section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    encoded = bytearray((first | most,))
    value -= most
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_LENGTHS = [_integer(0x00, 7, size) for size in range(512)]


def _string(value: bytes) -> bytes:
    """A string literal as it is (section 5.2): Huffman's code would cost more time than its bytes do."""
    size = len(value)
    return (_LENGTHS[size] if size < len(_LENGTHS) else _integer(0x00, 7, size)) + value


def _compressed(value: bytes) -> bytes:
    """A string literal in Huffman's code where that is shorter: for what is encoded once and sent often."""
    short = _huffman.encode(value)
    return _integer(0x80, 7, len(short)) + short if len(short) < len(value) else _string(value)


def _name(kind: tuple[int, int], name: str) -> bytes:
    """How a literal field begins: a name of the static table, or the name itself (section 6.2)."""
    index = _STATIC_NAMES.get(name, 0)
    return _integer(*kind, index) if index else bytes((kind[0],)) + _string(name.encode())


_NEVER_PATH = _name(_NEVER, ":path")
