"""GOAWAY after every 150th request of a connection: what came later is not processed."""

from sandbox.faults.http2 import accepted
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action, GoAway
from sandbox.wire.server import Behaviour, Seen


def going() -> Behaviour:
    """Per connection: its 150th request is the last that counts."""
    last: dict[int, int] = {}

    def behave(seen: Seen) -> tuple[Action, ...]:
        if seen.connection in last and seen.stream_id > last[seen.connection]:
            return ()
        if seen.number == 150:
            last[seen.connection] = seen.stream_id
            return (accepted(seen), GoAway(seen.stream_id))
        return (accepted(seen, delay_s=0.02),)

    return behave


SCENARIO = Scenario(
    name="goaway-mid-flight",
    breaks="GOAWAY after every 150th request of a connection: what came later is not processed.",
    expects="What came before is answered, the rest is asked for again on a new connection; nothing comes twice.",
    wire=going,
    in_gate=True,
)
