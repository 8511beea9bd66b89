"""Cursors: written and read back, and those of another release left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.cursor import Cursor, UnknownCursor, decode_cursor

numbers = st.integers(0, 2**63 - 1)


@given(numbers, numbers, numbers, st.none() | numbers, numbers)
def test_round_trip(record: int, part: int, in_part: int, byte: int | None, round_: int) -> None:
    """What is written is read."""
    cursor = Cursor(record, part, in_part, byte, round_)
    assert decode_cursor(cursor.encode()) == cursor
    assert decode_cursor(cursor.encode().encode()) == cursor


def test_as_it_stands_in_the_ledger() -> None:
    """The form that earlier releases wrote and later ones must read."""
    text = '{"record":1500,"part":1,"in_part":500,"byte":null,"round":0,"version":1}'
    assert Cursor(1500, 1, 500).encode() == text
    assert decode_cursor(text) == Cursor(1500, 1, 500)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"record":"1"}',
        '{"record":1.5}',
        '{"version":2}',
        '{"version":2,"shard":[1]}',
        "\0",
    ],
)
def test_unknown(text: str) -> None:
    """Nothing else is taken for a cursor; a newer one is recognised by its version."""
    with pytest.raises(UnknownCursor, match=r"version 2|not a cursor"):
        decode_cursor(text)
