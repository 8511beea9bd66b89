"""What a template asks the sandbox to build: frozen values, every reference resolved."""

from typing import Final

import msgspec

REGION: Final = "eu-central-1"
ACCOUNT_ID: Final = "123456789012"


class StackContext(msgspec.Struct, frozen=True):
    """Name, region and account of a stack, as CloudFormation's pseudo parameters give them, and its AWS endpoint."""

    stack_name: str = "notifier"
    region: str = REGION
    account_id: str = ACCOUNT_ID
    endpoint_url: str = "http://127.0.0.1"

    def arn(self, service: str, resource: str) -> str:
        """An ARN in this account and region; S3's carry neither."""
        if service == "s3":
            return f"arn:aws:s3:::{resource}"
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def queue_url(self, name: str) -> str:
        """The URL by which SQS knows a queue."""
        return f"{self.endpoint_url}/{self.account_id}/{name}"


class Retries(msgspec.Struct, frozen=True):
    """What Lambda does with a failed asynchronous event. The defaults are Lambda's own."""

    attempts: int = 2
    max_age_s: int = 21_600
    on_failure_arn: str = ""
    dead_letter_arn: str = ""


class Route(msgspec.Struct, frozen=True):
    """One path of an HTTP API that leads to a function. `method` is upper case, or `ANY`."""

    method: str
    path: str
    authorizer: str = ""


class Function(msgspec.Struct, frozen=True):
    """A Lambda function. `code` is the folder of its CodeUri, relative to the template."""

    logical_id: str
    name: str
    arn: str
    handler: str
    code: str = "."
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_storage_mb: int = 512
    environment: tuple[tuple[str, str], ...] = ()
    alias: str = ""
    loop_allowed: bool = False
    traced: bool = False
    concurrency: int | None = None
    retries: Retries = Retries()
    routes: tuple[Route, ...] = ()

    @property
    def trigger_arn(self) -> str:
        """What its events invoke: the alias where there is one."""
        return f"{self.arn}:{self.alias}" if self.alias else self.arn


class Index(msgspec.Struct, frozen=True):
    """A global secondary index. `range_key` is empty where there is none."""

    name: str
    hash_key: str
    range_key: str = ""
    projection: str = "ALL"
    projected: tuple[str, ...] = ()


class Table(msgspec.Struct, frozen=True):
    """A DynamoDB table. `attributes` pairs names with types (`S`, `N`, `B`)."""

    logical_id: str
    name: str
    attributes: tuple[tuple[str, str], ...]
    hash_key: str
    range_key: str = ""
    indexes: tuple[Index, ...] = ()
    ttl_attribute: str = ""


class Notification(msgspec.Struct, frozen=True):
    """An S3 notification that invokes a function."""

    id: str
    function_arn: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""


class Bucket(msgspec.Struct, frozen=True):
    """An S3 bucket. `event_bridge` says whether its events go to EventBridge too."""

    logical_id: str
    name: str
    versioned: bool = False
    event_bridge: bool = False
    notifications: tuple[Notification, ...] = ()


class Queue(msgspec.Struct, frozen=True):
    """An SQS queue. `attributes` are those that CreateQueue takes."""

    logical_id: str
    name: str
    attributes: tuple[tuple[str, str], ...] = ()


class Secret(msgspec.Struct, frozen=True):
    """A secret. `text` is its SecretString; `generate_under` is the key under which a generated password goes."""

    logical_id: str
    name: str
    text: str = ""
    generated: bool = False
    generate_under: str = ""


class Rule(msgspec.Struct, frozen=True):
    """An EventBridge rule with one target: by `pattern` (JSON) or by `schedule` (`rate(1 minute)`), never both.

    `input` (JSON) replaces the event where it is not empty.
    """

    name: str
    target_arn: str
    pattern: str = ""
    schedule: str = ""
    input: str = ""
    enabled: bool = True


class Stack(msgspec.Struct, frozen=True):
    """Everything that a template asks for."""

    context: StackContext
    functions: tuple[Function, ...] = ()
    tables: tuple[Table, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    queues: tuple[Queue, ...] = ()
    secrets: tuple[Secret, ...] = ()
    rules: tuple[Rule, ...] = ()

    def function(self, logical_id: str) -> Function:
        """The function with this logical id. Raises KeyError."""
        return {item.logical_id: item for item in self.functions}[logical_id]

    def table(self, logical_id: str) -> Table:
        """The table with this logical id. Raises KeyError."""
        return {item.logical_id: item for item in self.tables}[logical_id]

    def bucket(self, logical_id: str) -> Bucket:
        """The bucket with this logical id. Raises KeyError."""
        return {item.logical_id: item for item in self.buckets}[logical_id]

    def queue(self, logical_id: str) -> Queue:
        """The queue with this logical id. Raises KeyError."""
        return {item.logical_id: item for item in self.queues}[logical_id]
