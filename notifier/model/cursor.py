"""Where a lane continues: a versioned value that points into the pinned version of its object."""

from typing import Literal

import msgspec

VERSION: Literal[1] = 1


class Cursor(msgspec.Struct, frozen=True, gc=False):
    """The first record that is not settled.

    Args:
        record: its index over all parts, from 0; a multiple of the batch size.
        part: the audience part that holds it, from 0 (inline users are part 0).
        in_part: its index within that part.
        byte: its offset in that part, where the part is plain newline-delimited JSON; elsewhere null.
        round: 0 while the audience is read; n while deferred devices are asked for the n-th time. In a round above 0
            `record` is that of the deferred batch and the other places are 0.
    """

    record: int = 0
    part: int = 0
    in_part: int = 0
    byte: int | None = None
    round: int = 0
    version: int = VERSION

    def encode(self) -> str:
        """As JSON, for the ledger."""
        return msgspec.json.encode(self).decode()


class UnknownCursor(ValueError):
    """A newer release wrote this cursor."""


def decode_cursor(text: str | bytes) -> Cursor:
    """The cursor in its JSON form.

    Raises:
        UnknownCursor: a newer release wrote it; its own workers go on with the run.
    """
    try:
        cursor = msgspec.json.decode(text, type=Cursor)
    except msgspec.DecodeError:
        raise UnknownCursor("not a cursor that this release knows") from None
    if cursor.version > VERSION:
        raise UnknownCursor(f"cursor version {cursor.version}: this release reads {VERSION}")
    return cursor
