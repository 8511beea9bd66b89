"""Asks the audience function to prepare a run's audience: an asynchronous invocation that names the run."""

from collections.abc import Mapping
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

    def environment(self) -> Mapping[str, str]:
        """What the stack's parameters set for campaigns, as the audience function has it: always the newest values.

        The worker's own environment is that of a published version. CloudFormation publishes none for a new value of a
        parameter that is not in the version's description, which is full.

        Raises:
            botocore.exceptions.ClientError: Lambda does not say it now.
        """
        if not self._function:
            return {}
        configuration = self._client.get_function_configuration(FunctionName=self._function)
        found: Mapping[str, str] = configuration.get("Environment", {}).get("Variables", {})
        return found

    def ask(self, run_id: str) -> None:
        """Ask for the preparation of this run. Asked twice, the second finds that the first has the lease.

        Raises:
            botocore.exceptions.ClientError: the invocation was refused; the sweeper asks again.
        """
        payload = msgspec.json.encode({"prepare": run_id, "worker": self._worker})
        self._client.invoke(FunctionName=self._function, InvocationType="Event", Payload=payload)
