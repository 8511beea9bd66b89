"""A whole stack on this machine: the local AWS, the local Lambda, and what the template asks for."""

import contextlib
import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sandbox import template
from sandbox.aws import LocalAws
from sandbox.blueprint import Function, Place, Stack
from sandbox.deploy import Options, deploy
from sandbox.local_lambda.http_api import LambdaApi
from sandbox.local_lambda.invocation import FaultPlan, no_fault
from sandbox.local_lambda.service import LocalLambda

Preparation = Callable[[LocalAws], Mapping[str, str]]
_LEFTOVERS: Final = ("environments", "spool", "logs")


@contextlib.contextmanager
def _own(state_dir: Path) -> Iterator[None]:
    """Holds the folder for one sandbox, without what an earlier one has left. Raises RuntimeError if it is in use."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RuntimeError(f"another sandbox is running in {state_dir}") from None
        for name in _LEFTOVERS:
            shutil.rmtree(state_dir / name, ignore_errors=True)
        yield
        for name in ("environments", "spool"):
            shutil.rmtree(state_dir / name, ignore_errors=True)


class _Messages:
    """Delivers to SQS what Lambda has given up."""

    def __init__(self, aws: LocalAws, place: Place) -> None:
        self._client = aws.client("sqs")
        self._place = place

    def send(self, queue_arn: str, body: str, attributes: dict[str, str]) -> None:
        self._client.send_message(
            QueueUrl=self._place.queue_url(queue_arn.rsplit(":", 1)[1]),
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )


class Sandbox:
    """A deployed stack. Two at once, with different `state_dir`, do not meet: every port is a free one.

    `lambda_` is the local Lambda, `aws` the local AWS, `stack` what the template asked for, `state_dir` holds `logs/`.
    """

    def __init__(
        self, stack: Stack, aws: LocalAws, lambda_: LocalLambda, state_dir: Path, running: contextlib.ExitStack
    ) -> None:
        self.stack = stack
        self.aws = aws
        self.lambda_ = lambda_
        self.state_dir = state_dir
        self.endpoint_url = aws.endpoint_url
        self._running = running

    @classmethod
    def start(
        cls,
        state_dir: Path,
        template_path: Path,
        parameters: Mapping[str, str] | None = None,
        *,
        attributes: Mapping[str, str] | None = None,
        function_timeout_s: float | None = None,
        memory_mb: int | None = None,
        schedule_every_s: float | None = None,
        schedules: bool = True,
        retry_scale: float = 0.01,
        variables: Mapping[str, str] | None = None,
        faults: FaultPlan = no_fault,
        interpreter: str = sys.executable,
        stack_name: str = "notifier",
        setting_up: Preparation | None = None,
    ) -> Self:
        """Starts everything; what an earlier sandbox has left in `state_dir` is removed first.

        `parameters` and `attributes` are as for `template.read`. `function_timeout_s`, `memory_mb` and
        `schedule_every_s` replace the template's values for every function. `retry_scale` shortens Lambda's waits
        before retries. `variables` are added to every function's environment. `setting_up` is called with the local
        AWS before the template is read, and may give further parameters, such as ARNs of secrets it made.
        `interpreter` is the Python that runs the handlers; it must have awslambdaric.
        Raises TemplateError and RuntimeError; nothing is left running then.
        """
        parameters = dict(parameters or {})
        with contextlib.ExitStack() as running:
            running.enter_context(_own(state_dir))
            lambda_ = LocalLambda(state_dir, retry_scale, faults=faults)
            running.callback(lambda_.stop)
            api = LambdaApi(lambda_)
            running.callback(api.stop)
            # After the Lambda API, whose address it needs; before the template, whose parameters name its secrets.
            aws = running.enter_context(LocalAws.start(state_dir, api.address))
            if setting_up is not None:
                parameters |= setting_up(aws)
            place = Place(stack_name=stack_name, endpoint_url=aws.endpoint_url)
            lambda_.send_message = _Messages(aws, place).send
            stack = template.read(template_path, place, parameters, attributes)
            options = Options(
                function_timeout_s=function_timeout_s,
                memory_mb=memory_mb,
                schedule_every_s=schedule_every_s,
                schedules=schedules,
                variables=variables or {},
                kept=frozenset(parameters.values()),
                interpreter=interpreter,
            )
            for schedule in deploy(stack, template_path.parent, aws, lambda_, options):
                running.callback(schedule.stop)
            # From here on `stop` ends everything; an error before this line has ended it already.
            return cls(stack, aws, lambda_, state_dir, running.pop_all())

    def client(self, service: str) -> Any:
        """A boto3 client for the local AWS."""
        return self.aws.client(service)

    def function(self, logical_id: str) -> Function:
        """A function of the template. Raises KeyError."""
        return self.stack.function(logical_id)

    @property
    def bucket(self) -> str:
        """The name of the template's first bucket."""
        return self.stack.buckets[0].name

    @property
    def table(self) -> str:
        """The name of the template's first table."""
        return self.stack.tables[0].name

    def stop(self) -> None:
        """Ends everything that was started. May be called twice. Logs stay."""
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
