"""What one lane of several sends: a range of the parts of a prepared audience.

Batches are numbered over the whole audience and a lane begins at a multiple of 500 records. So no batch belongs to two
lanes, and identity, rows and arms do not depend on how many lanes there are.
"""

from collections.abc import Sequence

import msgspec

from notifier.model.cursor import Cursor
from notifier.model.user_rows import BATCH_SIZE

MAX_LANES = 112
"""Most lanes of a run. Each is an item of the ledger, and every command of an operator is a write to each of them."""


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """The records from `first` to `end` (exclusive), which are the parts from `part` to `end_part` (exclusive).

    `lanes` is how many lanes the run has. First requests are made from `not_before_ms` on and before `not_after_ms`, in
    milliseconds since the epoch; None, and left out where a span is stored, for no such limit.
    """

    first: int
    end: int
    part: int
    end_part: int
    lanes: int
    not_before_ms: int | None = None
    not_after_ms: int | None = None

    @property
    def start(self) -> Cursor:
        """Where the lane begins."""
        return Cursor(record=self.first, part=self.part)

    def batches(self, size: int = BATCH_SIZE) -> tuple[int, int]:
        """The numbers of the lane's batches: the first, and the one after the last."""
        return self.first // size, -(-self.end // size)


def spans_of(firsts: Sequence[int], end: int, lanes: int, size: int = BATCH_SIZE) -> tuple[Span, ...]:
    """Divide an audience into lanes of about the same number of records; none where it is one lane.

    Args:
        firsts: of each part the number of its first record, over all parts.
        end: how many records there are.
        lanes: at most so many. There are fewer where there are fewer parts.
        size: records in a batch.
    """
    # A part that begins within a batch cannot begin a lane: the batch would belong to two.
    begins = [part for part, first in enumerate(firsts) if first % size == 0 and first < end]
    if not begins or begins[0] != 0:
        return ()
    lanes = min(lanes, MAX_LANES, len(begins))
    chosen = [0]
    for n in range(1, lanes):
        # The beginning that is nearest to the even one, behind those that are taken: no lane is empty.
        even = end * n / lanes
        free = [part for part in begins if part > chosen[-1]]
        if free:
            chosen.append(min(free, key=lambda part: abs(firsts[part] - even)))
    if len(chosen) == 1:
        return ()
    ends = [*chosen[1:], len(firsts)]
    at = [*(firsts[part] for part in chosen), end]
    return tuple(
        Span(at[n], at[n + 1], part, end_part, len(chosen))
        for n, (part, end_part) in enumerate(zip(chosen, ends, strict=True))
    )
