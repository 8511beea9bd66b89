"""What is deferred: where a batch's devices are kept, and when they are due."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec


class DeferredBatch(msgspec.Struct, frozen=True):
    """Where one batch's deferred devices are. `epochs` are those of the objects: one of them counts.

    `due_at` is when the first of them is due, seconds since the epoch; infinite when all wait for the end of the
    reading, None when it has to be read.
    """

    number: int
    round: int
    epochs: tuple[int, ...]
    due_at: float | None = None


class OpenBatches(msgspec.Struct, frozen=True):
    """What a listing finds: batches with devices to be asked for, and rounds above 0 that are settled."""

    batches: tuple[DeferredBatch, ...]
    settled: frozenset[tuple[int, int]]


def open_of(rounds: Mapping[int, Mapping[int, Sequence[int]]], settled: Collection[tuple[int, int]]) -> OpenBatches:
    """Of each batch the round that is to be asked next: deferred by a round that is settled, and not settled itself.

    Args:
        rounds: by number and round the epochs of the objects under `deferred/`.
        settled: numbers and rounds of the objects under `rows/`.
    """
    found = []
    for number, objects in rounds.items():
        for round_, epochs in sorted(objects.items()):
            if (number, round_) not in settled and (number, round_ - 1) in settled:
                found.append(DeferredBatch(number, round_, tuple(epochs)))
                break
    return OpenBatches(tuple(found), frozenset(one for one in settled if one[1]))


def due_from(one: Any) -> float:
    """When a deferred device is due, seconds since the epoch; infinite when it waits for the end of the reading.

    Those are devices that were asked for and have no time: put off, or refused in a way that may be our fault.
    """
    return math.inf if one.attempts and not one.due_at else float(one.due_at)
