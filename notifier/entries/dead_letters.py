"""Replays dead letters, which are events that Lambda gave up on, and moves aside what was replayed often enough."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec

REPLAYS = 3
"""So often a dead letter is replayed."""
VISIBILITY_S = 55
"""Less than the minute to the next sweep, which then sees what this one could not replay."""
RECEIVES = 20
"""Requests of at most ten letters in one sweep: it ends in time, and the next minute goes on."""


class Queues(NamedTuple):
    """URLs. `spent` takes what is not replayed any more; without it such a letter stays where it is."""

    dead: str
    spent: str


class DeadLetters:
    """One sweep's look at the queue of dead letters.

    Args:
        sqs: a boto3 SQS client.
        replay: invokes the worker with an event.
        attempt: around what is done with one letter; a failure in it keeps no other letter waiting.
    """

    def __init__(
        self,
        sqs: Any,
        queues: Queues,
        replay: Callable[[bytes], object],
        attempt: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._sqs = sqs
        self._queues = queues
        self._replay = replay
        self._attempt = attempt

    def sweep(self) -> Iterator[bool]:
        """Each letter that was dealt with: True where it was replayed, False where it was given up."""
        for message in self._received():
            with self._attempt(message["MessageId"]):
                event = replayable(message["Body"])
                if event is not None:
                    self._replay(event)
                elif self._queues.spent:
                    # Out of the way of the others, and kept for people to read.
                    self._sqs.send_message(QueueUrl=self._queues.spent, MessageBody=message["Body"])
                else:
                    continue
                # Last: ended between the two, the letter is replayed or moved twice. A nudge may be repeated.
                self._sqs.delete_message(QueueUrl=self._queues.dead, ReceiptHandle=message["ReceiptHandle"])
                yield event is not None

    def _received(self) -> Iterator[dict[str, Any]]:
        """Letters until the queue has none that is visible; what was received before stays hidden for this sweep."""
        for _ in range(RECEIVES):
            answer = self._sqs.receive_message(
                QueueUrl=self._queues.dead, MaxNumberOfMessages=10, VisibilityTimeout=VISIBILITY_S
            )
            messages = answer.get("Messages", ())
            if not messages:
                return
            yield from messages


def replayable(body: str) -> bytes | None:
    """The dead event with its replays counted, or None when it had enough of them, or is no event of ours."""
    try:
        event = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if not isinstance(event, dict):
        return None
    replays = event.get("replays", 0)
    if not isinstance(replays, int) or replays >= REPLAYS:
        return None
    return msgspec.json.encode(event | {"replays": replays + 1})
