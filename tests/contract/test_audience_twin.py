"""One contract for the real audience stream and its twin in memory."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifier.audience import AudienceStream, BrokenFile, PinnedObject
from notifier.model.cursor import Cursor
from tests.contract.audience_s3 import BUCKET, as_list, take_exactly, take_some, take_until_it_breaks
from tests.twins.audience import MemoryAudience

PARTS = (
    [{"user_id": "a"}, {"user_id": "b"}, {"user_id": "c"}],
    [{"user_id": "d"}],
    [{"user_id": "e"}, {"user_id": "f"}],
)
ALL = [record for part in PARTS for record in part]
Open = Callable[..., Any]


class Body:
    """What boto3 hands out: bytes to read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, amount: int) -> bytes:
        """The next bytes."""
        data, self._data = self._data[:amount], self._data[amount:]
        return data

    def close(self) -> None:
        """Nothing to give back."""


class MemoryS3:
    """The one request of a stream. Nothing is answered before `gate` is open."""

    def __init__(self, objects: dict[str, bytes], gate: threading.Event) -> None:
        self._objects = objects
        self._gate = gate

    def get_object(self, **asked: Any) -> dict[str, Any]:
        """A range."""
        assert self._gate.wait(10)
        start, end = map(int, asked["Range"].removeprefix("bytes=").split("-"))
        data = self._objects[asked["Key"]]
        return {"ETag": '"e"', "ContentRange": f"bytes {start}-{end}/{len(data)}", "Body": Body(data[start : end + 1])}


def open_real(cursor: Cursor | None = None, *, gate: threading.Event | None = None, broken: bool = False) -> Any:
    """The stream, on three lists."""
    objects = {f"part-{n}": as_list(part) for n, part in enumerate(PARTS)}
    if broken:
        objects["part-2"] = json.dumps(PARTS[2][:1])[:-1].encode() + b", oops]"
    if gate is None:
        gate = threading.Event()
        gate.set()
    pinned = [PinnedObject(BUCKET, key, None, "e", len(body)) for key, body in objects.items()]
    client: Any = MemoryS3(objects, gate)
    return AudienceStream(client, pinned, cursor)


def open_twin(cursor: Cursor | None = None, *, gate: threading.Event | None = None, broken: bool = False) -> Any:
    """The twin, of the same records."""
    return MemoryAudience(
        PARTS,
        cursor,
        arrived=lambda: len(ALL) if gate is None or gate.is_set() else 0,
        fault=(5, BrokenFile("memory", "not JSON", (0,), 1)) if broken else None,
    )


@pytest.fixture(params=[open_real, open_twin], ids=["real", "twin"])
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens streams that are closed in the end."""
    streams: list[Any] = []

    def make(*args: Any, **settings: Any) -> Any:
        streams.append(request.param(*args, **settings))
        return streams[-1]

    yield make
    for stream in streams:
        stream.close()


def test_records_come_in_order_and_never_more_than_asked(opened: Open) -> None:
    """Over the borders of parts."""
    stream, records = opened(), []
    while not stream.ended:
        taken = take_some(stream, 2)
        assert len(taken) <= 2
        records += taken
    assert records == ALL
    assert stream.take(2) == []


@pytest.mark.parametrize("count", range(len(ALL) + 1))
def test_a_cursor_is_the_next_record(opened: Open, count: int) -> None:
    """Its index over all parts is exact, and reading on from it gives the rest."""
    stream = opened()
    take_exactly(stream, count)
    cursor = stream.position()
    assert cursor.record == count
    rest = opened(cursor)
    assert take_exactly(rest, len(ALL) - count) == ALL[count:]
    assert take_some(rest, 1) == []
    assert rest.ended


@pytest.mark.parametrize("count", range(len(ALL)))
def test_a_record_has_a_place(opened: Open, count: int) -> None:
    """Its part and its number there, for every record that was taken since the cursor."""
    stream = opened()
    take_exactly(stream, count)
    rest = opened(stream.position())
    take_exactly(rest, len(ALL) - count)
    places = [(part, number) for part, records in enumerate(PARTS) for number in range(len(records))]
    assert [rest.locate(n) for n in range(count, len(ALL))] == places[count:]


def test_nothing_is_there_before_it_arrives(opened: Open) -> None:
    """`take` gives nothing then, and does not wait."""
    gate = threading.Event()
    stream = opened(gate=gate)
    assert stream.take(10) == []
    assert not stream.ended
    assert stream.position() == Cursor()
    gate.set()
    assert take_exactly(stream, len(ALL)) == ALL


def test_what_came_before_a_fault_is_handed_out(opened: Open) -> None:
    """The fault is raised where its record would be, and again whenever asked."""
    stream = opened(broken=True)
    taken: list[object] = []
    with pytest.raises(BrokenFile):
        take_until_it_breaks(stream, taken)
    assert taken == ALL[:5]
    assert not stream.ended
    with pytest.raises(BrokenFile):
        stream.take(1)
