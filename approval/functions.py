"""Asks another function of the stack, and waits for its answer: the schedules, the privacy officers' function."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from approval.reasons import without_commands
from approval.request import Refused

_AGAIN = "Try again in a minute; if that does not help, ask an engineer."


class NoAnswer(Refused):
    """A function failed, or did not answer in time."""


class StackFunction:
    """A function that answers with JSON, or with `refused`: a sentence for the person who asked.

    Args:
        client: a boto3 Lambda client that asks once: a step that is asked for twice is done twice.
        name: its name or ARN; "" where this stack has none.
        silent: what a person reads where it does not answer.
    """

    def __init__(self, client: Any, name: str, silent: str) -> None:
        self._lambda = client
        self._name = name
        self._silent = silent

    @property
    def is_there(self) -> bool:
        """Whether this stack has it."""
        return bool(self._name)

    def ask(self, event: Mapping[str, Any], *, changes: bool = False) -> dict[str, Any]:
        """Its answer, which may say `refused`. Raises NoAnswer where it fails, or does not answer.

        Args:
            changes: whether it changes something, and not merely says something.
        """
        try:
            answer = self._lambda.invoke(
                FunctionName=self._name, InvocationType="RequestResponse", Payload=json.dumps(event).encode()
            )
            body = answer["Payload"].read()
        except ReadTimeoutError:
            # It has been asked, and goes on: a step may be taken all the same. A question is simply asked again.
            after = "It may be done all the same: look before you ask again." if changes else _AGAIN
            raise NoAnswer(f"{self._silent} {after}") from None
        except (BotoCoreError, ClientError):
            raise NoAnswer(f"{self._silent} {_AGAIN}") from None
        # The body is a stack trace then, which is in its own log.
        if answer.get("FunctionError"):
            raise NoAnswer(f"{self._silent} {_AGAIN}")
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded


def heed(answer: Mapping[str, Any]) -> None:
    """Raise Refused, with the function's sentence, where it refused."""
    if "refused" in answer:
        words = without_commands(str(answer["refused"]))
        raise Refused(f"{words[:1].upper()}{words[1:].removesuffix('.')}.")
