"""Unpacks plain files, gzip and gzip in gzip, recognised by content; never more than one chunk at a time."""

import zlib

from notifier.model.audience_faults import BrokenFile

TEXT_BYTES = 64 * 1024
"""The largest piece of text returned at once. ijson is no faster with more."""

_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31
"""zlib's number for a gzip header and the largest window."""


class Unpacker:
    """Push stored bytes in, pull text out. gzip in gzip comes from tools that compress what is compressed already.

    Args:
        plain: do not look for gzip: the bytes begin in the middle of a file that is known to be plain.
    """

    def __init__(self, name: str, *, plain: bool = False) -> None:
        self._name = name
        self._outer = _Layer(name, plain=plain)
        self._inner: _Layer | None = None

    @property
    def is_gzip(self) -> bool | None:
        """Whether the stored bytes are compressed; None until the first two have arrived."""
        return self._outer.is_gzip

    def push(self, data: bytes) -> None:
        """More stored bytes; an empty piece is the end."""
        self._outer.push(data)

    def pull(self) -> bytes | None:
        """Some text; None when more must be pushed; empty at the end.

        Raises:
            BrokenFile: a gzip is damaged or cut off.
        """
        if not self._outer.is_gzip:
            return self._outer.pull()
        # A second layer is unpacked too. A third is passed on as it is, and `foreign_formats` reports it.
        if self._inner is None:
            self._inner = _Layer(self._name)
        while True:
            text = self._inner.pull()
            if text is not None:
                return text
            data = self._outer.pull()
            if data is None:
                return None
            self._inner.push(data)


class _Layer:
    """Plain bytes, or one layer of gzip.

    A gzip file may have several members (shards joined by `cat`) and zero padding after the last.
    """

    def __init__(self, name: str, *, plain: bool = False) -> None:
        self.is_gzip: bool | None = False if plain else None
        self._name = name
        self._in = b""
        self._read = 0
        self._ended = False
        self._member: zlib._Decompress | None = None
        self._any = False

    def push(self, data: bytes) -> None:
        """More stored bytes; an empty piece is the end."""
        self._ended = self._ended or not data
        self._in += data
        self._read += len(data)
        if self.is_gzip is None and (len(self._in) >= len(_MAGIC) or self._ended):
            self.is_gzip = self._in.startswith(_MAGIC)

    def pull(self) -> bytes | None:
        """Some text; None when more must be pushed; empty at the end.

        Raises:
            BrokenFile: the gzip is damaged or cut off.
        """
        if self.is_gzip is None:
            return None
        if self.is_gzip:
            return self._inflate()
        text, self._in = self._in[:TEXT_BYTES], self._in[TEXT_BYTES:]
        return text if text or self._ended else None

    def _inflate(self) -> bytes | None:
        while True:
            if self._member is None and not self._begin_member():
                return b"" if self._ended else None
            assert self._member is not None
            try:
                # The bound keeps a member that unpacks to gigabytes from filling the memory.
                text = self._member.decompress(self._in, TEXT_BYTES)
            except zlib.error:
                raise self._broken("damaged gzip") from None
            if self._member.eof:
                self._in, self._member = self._member.unused_data, None
            else:
                self._in = self._member.unconsumed_tail
            if text:
                return text
            if self._member is not None and not self._in:
                if self._ended:
                    raise self._broken("the gzip is cut off")
                return None

    def _begin_member(self) -> bool:
        """Start the next member if there is one; zero padding after a member is skipped."""
        if self._any:
            self._in = self._in.lstrip(b"\x00")
        # One byte may be the beginning of the magic number, unless nothing follows.
        if not self._in or (len(self._in) < len(_MAGIC) and not self._ended):
            return False
        if not self._in.startswith(_MAGIC):
            raise self._broken("something that is not gzip follows the gzip data")
        self._member = zlib.decompressobj(wbits=_GZIP_WBITS)
        self._any = True
        return True

    def _broken(self, reason: str) -> BrokenFile:
        return BrokenFile(self._name, reason, (max(0, self._read - len(self._in)),))
