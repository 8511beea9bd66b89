"""Builds what a template asks for on the local AWS and the local Lambda, and applies itself what moto drops."""

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sandbox.aws import CREDENTIALS, LocalAws
from sandbox.blueprint import Bucket, Function, Index, Queue, Rule, Secret, Stack, StackContext, Table
from sandbox.local_lambda import schedule
from sandbox.local_lambda.environment import Setup
from sandbox.local_lambda.functions import Functions
from sandbox.local_lambda.http_api import name_and_qualifier
from sandbox.local_lambda.schedule import Schedule
from sandbox.local_lambda.service import LocalLambda


class Options(msgspec.Struct, frozen=True):
    """How the deployed functions differ from the template: for all of them, where a value is given.

    `variables` are added to every function's environment. `kept` are values that are paths of the sandbox's owner, see
    `Setup.kept`. `schedule_every_s` is the period of every schedule, whatever the template says. With `schedules` false
    none tick, and never those of functions whose names end with one of `idle`. `interpreter` is the Python that runs
    the handlers; it must have awslambdaric.
    """

    function_timeout_s: float | None = None
    memory_mb: int | None = None
    schedule_every_s: float | None = None
    schedules: bool = True
    idle: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}
    kept: frozenset[str] = frozenset()
    interpreter: str = sys.executable


def deploy(
    stack: Stack,
    root: Path,
    aws: LocalAws,
    lambda_: LocalLambda,
    options: Options = Options(),  # noqa: B008  (frozen)
) -> tuple[Schedule, ...]:
    """Creates everything; gives the schedules, which tick from now on. `root` is the template's folder."""
    for queue in stack.queues:
        _create_queue(aws.client("sqs"), queue)
    for secret in stack.secrets:
        _create_secret(aws.client("secretsmanager"), secret)
    for table in stack.tables:
        _create_table(aws.client("dynamodb"), table)
    for function in stack.functions:
        _create_function(lambda_.functions, function, stack.context, root, options)
    for bucket in stack.buckets:
        _create_bucket(aws.client("s3"), bucket, stack.context)
    for rule in stack.rules:
        if rule.pattern:
            _create_rule(aws.client("events"), rule)
    if not options.schedules:
        return ()
    return tuple(
        _schedule(lambda_, rule, stack.context, options)
        for rule in stack.rules
        if rule.schedule
        and rule.enabled
        and not name_and_qualifier(rule.target_arn)[0].endswith(options.idle or ("/",))
    )


def _create_queue(client: Any, queue: Queue) -> None:
    client.create_queue(QueueName=queue.name, Attributes=dict(queue.attributes))


def _create_secret(client: Any, secret: Secret) -> None:
    text = secret.text
    if secret.generated:
        password = secrets.token_urlsafe(32)
        if secret.generate_under:
            text = msgspec.json.encode({**msgspec.json.decode(text or "{}"), secret.generate_under: password}).decode()
        else:
            text = password
    client.create_secret(Name=secret.name, SecretString=text or "{}")


def _create_table(client: Any, table: Table) -> None:
    indexes = {"GlobalSecondaryIndexes": [_index(item) for item in table.indexes]} if table.indexes else {}
    client.create_table(
        TableName=table.name,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in table.attributes],
        KeySchema=_keys(table.hash_key, table.range_key),
        BillingMode="PAY_PER_REQUEST",
        **indexes,
    )
    if table.ttl_attribute:
        client.update_time_to_live(
            TableName=table.name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl_attribute},
        )


def _index(index: Index) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": index.projection}
    if index.projected:
        projection["NonKeyAttributes"] = list(index.projected)
    return {"IndexName": index.name, "KeySchema": _keys(index.hash_key, index.range_key), "Projection": projection}


def _keys(hash_key: str, range_key: str) -> list[dict[str, str]]:
    keys = [{"AttributeName": hash_key, "KeyType": "HASH"}]
    return [*keys, {"AttributeName": range_key, "KeyType": "RANGE"}] if range_key else keys


def _create_bucket(client: Any, bucket: Bucket, context: StackContext) -> None:
    client.create_bucket(Bucket=bucket.name, CreateBucketConfiguration={"LocationConstraint": context.region})
    if bucket.versioned:
        client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    configuration: dict[str, Any] = {}
    if bucket.event_bridge:
        configuration["EventBridgeConfiguration"] = {}
    if bucket.notifications:
        configuration["LambdaFunctionConfigurations"] = [
            {
                "Id": item.id,
                "LambdaFunctionArn": item.function_arn,
                "Events": list(item.events),
                "Filter": {"Key": {"FilterRules": _filter_rules(item.prefix, item.suffix)}},
            }
            for item in bucket.notifications
        ]
    if configuration:
        client.put_bucket_notification_configuration(Bucket=bucket.name, NotificationConfiguration=configuration)


def _filter_rules(prefix: str, suffix: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in (("prefix", prefix), ("suffix", suffix)) if value]


def _create_rule(client: Any, rule: Rule) -> None:
    client.put_rule(Name=rule.name, EventPattern=rule.pattern, State="ENABLED" if rule.enabled else "DISABLED")
    target = {"Id": "target", "Arn": rule.target_arn} | ({"Input": rule.input} if rule.input else {})
    client.put_targets(Rule=rule.name, Targets=[target])


def _create_function(
    functions: Functions, function: Function, context: StackContext, root: Path, options: Options
) -> None:
    setup = Setup(
        function=function.name,
        arn=function.arn,
        version="",
        handler=function.handler,
        code=(root / function.code).resolve(),
        timeout_s=options.function_timeout_s or function.timeout_s,
        memory_mb=options.memory_mb or function.memory_mb,
        region=context.region,
        variables={
            **CREDENTIALS,
            "AWS_ACCESS_KEY_ID": function.name,  # in place of the function's role: a request shows whose it is
            "AWS_ENDPOINT_URL": context.endpoint_url,
            **dict(function.environment),
            **options.variables,
        },
        kept=options.kept,
        interpreter=options.interpreter,
    )
    functions.deploy(
        setup,
        function.retries,
        function.alias,
        loop_allowed=function.loop_allowed,
        traced=function.traced,
        concurrency=function.concurrency,
    )


def _schedule(lambda_: LocalLambda, rule: Rule, context: StackContext, options: Options) -> Schedule:
    name, qualifier = name_and_qualifier(rule.target_arn)
    arn = context.arn("events", f"rule/{rule.name}")

    def tick() -> None:
        event = rule.input.encode() or schedule.scheduled_event(arn, context.account_id, context.region)
        lambda_.invoke_later(name, event, qualifier)

    return Schedule(options.schedule_every_s or schedule.period_s(rule.schedule), tick)
