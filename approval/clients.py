"""How long the app waits for AWS, and how often it tries: settings of its boto3 clients.

A call of API Gateway must be answered within 28 seconds, the function's time-out (template.yaml). A call that asks
other functions several questions has one deadline for all of them: `InTime`.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError

USUAL = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})
COMMANDS = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1})
"""Of a run's pause and cancel: whoever waits for Lambda to have room again does not stop the run in time."""
ASK_TIMEOUTS_S = (2.0, 24.0)
"""To connect to a function whose answer is waited for, and to wait."""
ASKED_ONCE = Config(
    connect_timeout=ASK_TIMEOUTS_S[0],
    read_timeout=ASK_TIMEOUTS_S[1],
    retries={"mode": "standard", "total_max_attempts": 1},
)
"""Of a call that is repeated after its time-out each would be a look-up, an erasure, a step of its own."""
ASKED_BRIEFLY = Config(connect_timeout=1, read_timeout=6, retries={"mode": "standard", "total_max_attempts": 1})
"""Of what a page has room for, and can be shown without: so long takes a function that has to start first."""
ASKED_LATER = Config(connect_timeout=2, read_timeout=16, retries={"mode": "standard", "total_max_attempts": 1})
"""Of a call that has used some seconds already: what is left is nearly all for this question."""
ASKED_NEXT = Config(connect_timeout=1, read_timeout=11, retries={"mode": "standard", "total_max_attempts": 1})
"""Of a second question of one call, whose page is shown without its answer: both have to have room in the call."""
ASKED_ONCE_S, ASKED_LATER_S, ASKED_NEXT_S, ASKED_BRIEFLY_S = 26.0, 18.0, 12.0, 7.0
"""How long each of them waits at most: to connect, and for the answer."""
PAGE_S = 1.0
"""What a page takes that says what was answered, and what was not."""
LINK_MAIL_TIMEOUTS_S = (0.5, 1.0)
"""To connect and to read, without a retry: a link is sent, or given up, before the answer (`sign_in.ANSWER_S`)."""
LINK_MAILS = Config(
    connect_timeout=LINK_MAIL_TIMEOUTS_S[0],
    read_timeout=LINK_MAIL_TIMEOUTS_S[1],
    retries={"mode": "standard", "total_max_attempts": 1},
)


class CallTime:
    """The time that a call has for its questions to other functions.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = math.inf

    def begin(self, remaining_ms: int | None) -> None:
        """A call begins that has so many milliseconds; None where nothing ends it."""
        self._until = math.inf if remaining_ms is None else self._clock() + remaining_ms / 1000 - PAGE_S

    @property
    def left_s(self) -> float:
        """Seconds in which answers must be there."""
        return self._until - self._clock()


class InTime:
    """A Lambda client that waits no longer than its call has time: the most patient one of several for which there is.

    Args:
        clients: with how many seconds each waits at most, the most patient one first.
    """

    def __init__(self, call: CallTime, clients: Sequence[tuple[float, Any]]) -> None:
        self._call = call
        self._clients = clients

    def invoke(self, **request: Any) -> Any:
        """Invoke a function. Raises ConnectTimeoutError, without asking, where no answer would come in time."""
        left_s = self._call.left_s
        for waits_s, client in self._clients:
            if waits_s <= left_s:
                return client.invoke(**request)
        raise ConnectTimeoutError(endpoint_url=str(request.get("FunctionName", "")))
