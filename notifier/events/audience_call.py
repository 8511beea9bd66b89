"""Asks the audience function to prepare a run's audience: an asynchronous invocation that names the run."""

from typing import Any

import msgspec


class AudienceCall:
    """Invokes the audience function.

    Args:
        client: a boto3 Lambda client.
        function: its name or ARN; empty where the stack has none.
        worker: the worker's name or ARN, which the audience function invokes when it has ended.
    """

    def __init__(self, client: Any, function: str, worker: str) -> None:
        self._client = client
        self._function = function
        self._worker = worker

    @property
    def is_there(self) -> bool:
        """Whether the stack has an audience function."""
        return bool(self._function)

    def ask(self, run_id: str) -> None:
        """Ask for the preparation of this run. Asked twice, the second finds that the first has the lease.

        Raises:
            botocore.exceptions.ClientError: the invocation was refused; the sweeper asks again.
        """
        payload = msgspec.json.encode({"prepare": run_id, "worker": self._worker})
        self._client.invoke(FunctionName=self._function, InvocationType="Event", Payload=payload)
