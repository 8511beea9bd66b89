"""An asynchronous event that Lambda has given up, in the two shapes in which it is handed on."""

import enum
import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from sandbox.local_lambda.invocation import Answer, Failure, Invocation


class Condition(enum.StrEnum):
    """Why an event was given up, in Lambda's words."""

    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"


class FailedEvent(msgspec.Struct, frozen=True):
    """The last attempt at an event, and its answer."""

    invocation: Invocation
    answer: Answer
    condition: Condition

    def record(self) -> str:
        """For an on-failure destination: the invocation record.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps(
            {
                "version": "1.0",
                "timestamp": now,
                "requestContext": {
                    "requestId": self.invocation.request_id,
                    "functionArn": self.invocation.arn,
                    "condition": self.condition,
                    "approximateInvokeCount": 0 if self.answer.failure is Failure.LOOP else self.invocation.attempt,
                },
                "requestPayload": _value(self.invocation.payload),
                "responseContext": {
                    "statusCode": 200,
                    "executedVersion": self.answer.version,
                    "functionError": self.answer.error_header,
                },
                "responsePayload": _value(self.answer.payload),
            }
        )

    def dead_letter(self) -> tuple[str, dict[str, str]]:
        """For a dead-letter queue: the event itself as body, and the message's attributes."""
        response = _value(self.answer.payload)
        message = response.get("errorMessage", "") if isinstance(response, dict) else ""
        attributes = {
            "RequestID": self.invocation.request_id,
            "ErrorCode": "200",
            "ErrorMessage": str(message)[:1024] or "unknown",
        }
        return self.invocation.payload.decode(), attributes


def _value(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
