"""How a run goes on: the function invokes itself, asynchronously, with a nudge."""

from typing import Any

from notifier.event import CONTINUE, LaneNudge


class LambdaContinuation:
    """Invokes the worker function.

    Args:
        client: a boto3 Lambda client.
        function: the worker's name or ARN; an alias in it is used when no version is asked for.
    """

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    def nudge(self, run_id: str, lane: int, version: str, kind: str = CONTINUE) -> None:
        """Ask for the next hop, of the very version of the code that the run began with.

        Raises:
            botocore.exceptions.ClientError: the invocation was refused; the caller fails, so that Lambda retries it.
        """
        self.invoke(LaneNudge(run_id, lane, kind).encode(), version)

    def invoke(self, payload: bytes, version: str = "") -> None:
        """Send any event to the worker, asynchronously."""
        function, qualifier = self._function, {}
        if version and version != "$LATEST":
            function, qualifier = unqualified(function), {"Qualifier": version}
        self._client.invoke(FunctionName=function, InvocationType="Event", Payload=payload, **qualifier)


def unqualified(function: str) -> str:
    """A function's name or ARN without alias or version."""
    parts = function.split(":")
    return ":".join(parts[:7]) if function.startswith("arn:") else parts[0]
