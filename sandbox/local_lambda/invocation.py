"""One invocation: what goes in, what comes out, and the faults that a scenario may order."""

import enum
from collections.abc import Callable
from typing import Final

import msgspec

SYNCHRONOUS_LIMIT_BYTES: Final = 6 * 1024 * 1024
ASYNCHRONOUS_LIMIT_BYTES: Final = 1024 * 1024


class Invocation(msgspec.Struct, frozen=True):
    """What one attempt hands to a function. `arn` is qualified as the caller did; `number` counts from 1."""

    function: str
    version: str
    arn: str
    request_id: str
    payload: bytes
    trace: str
    asynchronous: bool
    attempt: int = 1
    number: int = 0


class Failure(enum.StrEnum):
    """Why an invocation counts as failed."""

    NONE = ""
    HANDLER = "handler"  # the handler raised
    INIT = "init"  # the module could not be imported
    TIMEOUT = "timeout"  # killed at the function's timeout
    MEMORY = "memory"  # killed for using more than the function's memory
    EXIT = "exit"  # the process ended by itself, or was killed
    GONE = "gone"  # the version was deleted before the event's turn came
    LOOP = "loop"  # Lambda's guard against recursive loops
    STOPPED = "stopped"  # the sandbox is being stopped


class Answer(msgspec.Struct, frozen=True):
    """What became of an invocation. `payload` is the function's result, or Lambda's JSON about the error."""

    payload: bytes
    version: str
    failure: Failure = Failure.NONE
    error_type: str = ""

    @property
    def error_header(self) -> str:
        """`X-Amz-Function-Error`; Lambda says `Unhandled` for every failure of a Python function."""
        return "Unhandled" if self.failure else ""


class Refusal(Exception):
    """The Lambda API refuses a call: HTTP status, AWS's error code, text."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Delivery(enum.Enum):
    """What is done with an accepted invocation."""

    ONCE = enum.auto()
    DROPPED = enum.auto()  # asynchronous: taken and never run
    TWICE = enum.auto()  # asynchronous: run twice, with one request id
    REFUSED = enum.auto()  # the caller gets a ServiceException


class Fault(msgspec.Struct, frozen=True):
    """What a scenario does to one invocation."""

    delivery: Delivery = Delivery.ONCE
    kill_after_s: float | None = None


FaultPlan = Callable[[Invocation], Fault]


def no_fault(_: Invocation) -> Fault:
    """The plan in which nothing goes wrong."""
    return Fault()
