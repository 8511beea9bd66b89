"""The answer's headers arrive, then the stream is reset or the connection closed."""

import zlib

from sandbox.faults.count import token_of
from sandbox.faults.http2 import accepted
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action, Cut, ErrorCode
from sandbox.wire.server import Behaviour, Seen


def cut() -> Behaviour:
    """By the token: every tenth stream is reset after its headers, with and without a part of the body."""

    def behave(seen: Seen) -> tuple[Action, ...]:
        match zlib.crc32(token_of(seen).encode()) % 20:
            case 0:
                return (Cut(200),)
            case 1:
                return (Cut(200, b'{"name": "projects/sandbox/mess', ErrorCode.CANCEL),)
            case _:
                return (accepted(seen),)

    return behave


SCENARIO = Scenario(
    name="reset-after-200",
    breaks="A tenth of the answers is broken off after its headers, which say 200.",
    expects="They count as accepted: nothing is asked for again.",
    wire=cut,
)
