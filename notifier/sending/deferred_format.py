"""What is deferred: one device as it is stored, where a batch's devices are kept, and when they are due."""

import math
from collections.abc import Collection, Mapping, Sequence

import msgspec

from notifier.content.render import RenderedTexts
from notifier.model.recipient import Device
from notifier.sending.batch import Batch, Push, endpoint_of


class DeferredDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device whose outcome is open, in the form of `deferred/`. Times in seconds since the epoch.

    Args:
        number: which of the record's devices it is.
        due_at: not before this time; 0 for at once, or, of one that was asked for, for after the audience.
        counted: attempts that were refused while the endpoint accepted others.
        repeated: the account's `possibly_repeated` counts it already.
        timezone: of its user, in a run with quiet hours.
    """

    record: int
    number: int
    user_id: str
    arm: str
    device: Device
    words: RenderedTexts
    attempts: int
    asked_at: float
    due_at: float
    locale: str | None = None
    maybe_repeat: bool = False
    counted: int = 0
    last_at: float = 0.0
    repeated: bool = False
    timezone: str | None = None

    def __repr__(self) -> str:
        return f"DeferredDevice(record={self.record}, device={self.number})"


def deferred_device(push: Push) -> DeferredDevice:
    """The stored form of a push that is deferred."""
    if push.is_control:
        raise ValueError("a device of the control group is held, never deferred")
    return DeferredDevice(
        push.record,
        push.number,
        push.user_id,
        push.arm,
        push.device,
        push.texts,
        push.attempts,
        push.asked_at,
        push.due_at,
        push.locale,
        push.maybe_repeat,
        push.counted,
        push.last_at,
        push.is_repeated,
        push.timezone,
    )


def push_of(batch: Batch, stored: DeferredDevice) -> Push:
    """The push of a stored device, in the batch that asks for it again."""
    endpoint = endpoint_of(stored.device)
    push = Push(batch, stored.record, stored.number, stored.user_id, stored.arm, stored.device, endpoint)
    push.texts, push.locale = stored.words, stored.locale
    push.attempts, push.asked_at, push.due_at = stored.attempts, stored.asked_at, stored.due_at
    push.maybe_repeat, push.is_repeated = stored.maybe_repeat, stored.repeated
    push.counted, push.last_at = stored.counted, stored.last_at
    push.timezone = stored.timezone
    push.at_end = math.isinf(due_from(stored))
    return push


class DeferredBatch(msgspec.Struct, frozen=True):
    """Where one batch's deferred devices are.

    Args:
        epochs: the claims that wrote such an object. Only that of the claim which settled the round before counts.
        due_at: when the first device is due, seconds since the epoch; infinite when all wait for the end of the
            reading, None when it has to be read.
    """

    number: int
    round: int
    epochs: tuple[int, ...]
    due_at: float | None = None


class OpenBatches(msgspec.Struct, frozen=True):
    """What a listing finds: batches with devices to be asked for, and settled rounds above 0 (number, round)."""

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
            # The object precedes the rows that name it: without those of the round before, it was never settled.
            if (number, round_) not in settled and (number, round_ - 1) in settled:
                found.append(DeferredBatch(number, round_, tuple(epochs)))
                break
    return OpenBatches(tuple(found), frozenset(one for one in settled if one[1]))


def due_from(one: Push | DeferredDevice) -> float:
    """When a device is due, seconds since the epoch; infinite when it waits for the end of the reading.

    Those are devices that were asked for and have no time: put off, or refused in a way that may be our fault.
    """
    return math.inf if one.attempts and not one.due_at else float(one.due_at)
