"""Continues a run in another invocation: the function invokes itself, asynchronously, with a nudge."""

from typing import Any

from botocore.exceptions import ClientError

from notifier.events.triggers import CONTINUE, LaneNudge


class LambdaContinuation:
    """Invokes the worker function.

    Args:
        client: a boto3 Lambda client.
        function: the worker's name or ARN; an alias in it is used where no version is wanted.
    """

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    def nudge(self, run_id: str, lane: int, version: str, kind: str = CONTINUE) -> bool:
        """Invoke the next hop, in the version of the code that the run began with.

        Returns whether there is that version. Where it was deleted the current one is invoked, and goes on with the
        lane.

        Raises:
            botocore.exceptions.ClientError: the invocation was refused. The caller fails, so that Lambda retries it.
        """
        return self.invoke(LaneNudge(run_id, lane, kind).encode(), version)

    def forward(self, run_id: str, lane: int, version: str) -> bool:
        """As `nudge`, but where the version was deleted nothing is invoked: the caller itself goes on with the lane."""
        return self._invoke(LaneNudge(run_id, lane, CONTINUE).encode(), version)

    def invoke(self, payload: bytes, version: str = "") -> bool:
        """Invoke the worker with any event, asynchronously; in the current version where the wanted one was deleted."""
        if self._invoke(payload, version):
            return True
        self._invoke(payload, "")
        return False

    def _invoke(self, payload: bytes, version: str) -> bool:
        """Returns False where that version of the function was deleted."""
        function, qualifier = self._function, {}
        if version and version != "$LATEST":
            function, qualifier = unqualified(function), {"Qualifier": version}
        try:
            self._client.invoke(FunctionName=function, InvocationType="Event", Payload=payload, **qualifier)
        except ClientError as error:
            # Without a version it is the function that does not exist, and that is an error.
            if not qualifier or error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return False
        return True


def unqualified(function: str) -> str:
    """A function's name or ARN without alias or version."""
    parts = function.split(":")
    return ":".join(parts[:7]) if function.startswith("arn:") else parts[0]
