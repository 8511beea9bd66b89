"""A whole stack on this machine: the local AWS, the local Lambda, and what the template asks for."""

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from sandbox import template
from sandbox.aws import LocalAws
from sandbox.blueprint import Function, Stack, StackContext
from sandbox.deploy import Options, deploy
from sandbox.local_lambda.http_api import LambdaApi
from sandbox.local_lambda.invocation import FaultPlan, no_fault
from sandbox.local_lambda.service import LocalLambda
from sandbox.running import Running

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

    def __init__(self, aws: LocalAws, context: StackContext) -> None:
        self._client = aws.client("sqs")
        self._context = context

    def send(self, queue_arn: str, body: str, attributes: dict[str, str]) -> None:
        self._client.send_message(
            QueueUrl=self._context.queue_url(queue_arn.rsplit(":", 1)[1]),
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )


class Sandbox(Running):
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
        super().__init__(running)

    @classmethod
    def start(
        cls,
        state_dir: Path,
        template_path: Path,
        parameters: Mapping[str, str] | None = None,
        options: Options = Options(),  # noqa: B008  (frozen)
        *,
        retry_scale: float = 0.01,
        faults: FaultPlan = no_fault,
        setting_up: Preparation | None = None,
    ) -> Self:
        """Starts everything; what an earlier sandbox has left in `state_dir` is removed first.

        Args:
            parameters: of the template.
            options: how the deployed functions differ from the template.
            retry_scale: shortens Lambda's waits before retries.
            setting_up: called with the local AWS before the template is read; returns further parameters, such as ARNs
                of secrets that it has created.

        Raises:
            TemplateError, RuntimeError: nothing is left running then.
        """
        with contextlib.ExitStack() as running:
            running.enter_context(_own(state_dir))
            lambda_ = LocalLambda(state_dir, retry_scale, faults=faults)
            running.callback(lambda_.stop)
            api = LambdaApi(lambda_)
            running.callback(api.stop)
            # After the Lambda API, whose address it needs; before the template, whose parameters name its secrets.
            aws = running.enter_context(LocalAws.start(state_dir, api.address))
            given = {**(parameters or {}), **(setting_up(aws) if setting_up is not None else {})}
            context = StackContext(endpoint_url=aws.endpoint_url)
            # The local Lambda is older than the queues that it sends given-up events to.
            lambda_.send_message = _Messages(aws, context).send
            stack = template.read(template_path, context, given)
            options = msgspec.structs.replace(options, kept=options.kept | frozenset(given.values()))
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
