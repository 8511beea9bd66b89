"""An audience in memory: the surface of `AudienceStream` without S3, threads or bytes."""

from collections.abc import Callable, Sequence

from notifier.model.cursor import Cursor


class MemoryAudience:
    """Hands out `parts` of decoded records, from a cursor on.

    Args:
        arrived: asked before every record for how many of all records have arrived by then; default all.
        fault: raised in the place of the record with this index.
        waited: called with the seconds of a `wait`, so that a simulation may let its clock run.
    """

    def __init__(
        self,
        parts: Sequence[Sequence[object]],
        cursor: Cursor | None = None,
        *,
        arrived: Callable[[], int] | None = None,
        fault: tuple[int, Exception] | None = None,
        waited: Callable[[float], object] = lambda _: None,
    ) -> None:
        cursor = cursor or Cursor()
        self._parts = parts
        self._part, self._in_part, self._record = cursor.part, cursor.in_part, cursor.record
        self._arrived = arrived or (lambda: sum(map(len, parts)))
        self._fault = fault
        self._waited = waited
        self.closed = False

    @property
    def ended(self) -> bool:
        """Whether every record was taken."""
        self._turn()
        return self._part >= len(self._parts) and not (self._fault and self._record == self._fault[0])

    def take(self, limit: int) -> list[object]:
        """At most `limit` records; none when none have arrived."""
        taken: list[object] = []
        while len(taken) < limit and self._record < self._arrived():
            self._turn()
            if self._part >= len(self._parts) or (self._fault and self._record == self._fault[0]):
                break
            taken.append(self._parts[self._part][self._in_part])
            self._in_part += 1
            self._record += 1
        if not taken and self._fault and self._record == self._fault[0]:
            raise self._fault[1]
        return taken

    def wait(self, timeout_s: float) -> None:
        """Tell the simulation that its caller has nothing else to do."""
        self._waited(timeout_s)

    def position(self) -> Cursor:
        """Where the next record is."""
        if self._part + 1 < len(self._parts):
            self._turn()
        return Cursor(record=self._record, part=self._part, in_part=self._in_part)

    def locate(self, record: int) -> tuple[int, int]:
        """The part that holds a record, and its index there."""
        for part, records in enumerate(self._parts):
            if record < len(records):
                return part, record
            record -= len(records)
        return len(self._parts), record

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _turn(self) -> None:
        while self._part < len(self._parts) and self._in_part >= len(self._parts[self._part]):
            self._part += 1
            self._in_part = 0
