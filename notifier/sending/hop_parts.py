"""What one hop is made of, as the modules that end it and open its batches share it."""

from dataclasses import dataclass

from notifier.model.runtime import Clock, Deadline
from notifier.sending.audience_reading import AudienceReading
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.deferred_rounds import DeferredRounds
from notifier.sending.dispatch import Dispatch
from notifier.sending.hop_exit import Plan
from notifier.sending.send_queue import SendQueue


@dataclass(frozen=True, slots=True)
class HopParts:
    """The parts of one hop. None of them is ever replaced by another."""

    checkpoint: Checkpoint
    dispatch: Dispatch
    queue: SendQueue
    reading: AudienceReading
    deferred: DeferredRounds
    plan: Plan
    deadline: Deadline
    clock: Clock
