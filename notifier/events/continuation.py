"""How a run goes on: the function invokes itself, asynchronously, with a nudge."""

from typing import Any

from botocore.exceptions import ClientError

from notifier.events.triggers import CONTINUE, LaneNudge


class LambdaContinuation:
    """Invokes the worker function.

    Args:
        client: a boto3 Lambda client.
        function: the worker's name or ARN; an alias in it is used when no version is asked for.
    """

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    def nudge(self, run_id: str, lane: int, version: str, kind: str = CONTINUE) -> bool:
        """Ask for the next hop, of the very version of the code that the run began with.

        Returns whether that version is there. Where it was deleted the current one is asked, and takes the lane over.

        Raises:
            botocore.exceptions.ClientError: the invocation was refused; the caller fails, so that Lambda retries it.
        """
        return self.invoke(LaneNudge(run_id, lane, kind).encode(), version)

    def forward(self, run_id: str, lane: int, version: str) -> bool:
        """As `nudge`, but nobody is asked where the version was deleted: then whoever forwards takes the lane over."""
        return self._invoke(LaneNudge(run_id, lane, CONTINUE).encode(), version)

    def invoke(self, payload: bytes, version: str = "") -> bool:
        """Send any event to the worker, asynchronously: to the current version where the wanted one was deleted."""
        if self._invoke(payload, version):
            return True
        self._invoke(payload, "")
        return False

    def _invoke(self, payload: bytes, version: str) -> bool:
        """Returns whether there is such a version of the function. Without a version its absence is an error."""
        function, qualifier = self._function, {}
        if version and version != "$LATEST":
            function, qualifier = unqualified(function), {"Qualifier": version}
        try:
            self._client.invoke(FunctionName=function, InvocationType="Event", Payload=payload, **qualifier)
        except ClientError as error:
            if not qualifier or error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return False
        return True


def unqualified(function: str) -> str:
    """A function's name or ARN without alias or version."""
    parts = function.split(":")
    return ":".join(parts[:7]) if function.startswith("arn:") else parts[0]
