"""Reads template.yaml itself, so that what runs on a laptop is what deploys.

Functions, tables, buckets, queues, secrets and rules are read. Roles, policies, alarms and log groups are passed over:
the sandbox forbids nothing, and their properties are never resolved.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sandbox import intrinsics
from sandbox.blueprint import (
    Bucket,
    Function,
    Index,
    Notification,
    Place,
    Queue,
    Retries,
    Route,
    Rule,
    Secret,
    Stack,
    Table,
)
from sandbox.intrinsics import Resolver, TemplateError, as_text

__all__ = ["Place", "Stack", "TemplateError", "read"]

# What Ref gives, and GetAtt's Arn, by resource type: the property with the name, and the ARN's service and prefix.
_NAMED: Final = {
    "AWS::Serverless::Function": ("FunctionName", "lambda", "function:"),
    "AWS::Lambda::Function": ("FunctionName", "lambda", "function:"),
    "AWS::DynamoDB::Table": ("TableName", "dynamodb", "table/"),
    "AWS::Serverless::SimpleTable": ("TableName", "dynamodb", "table/"),
    "AWS::S3::Bucket": ("BucketName", "s3", ""),
    "AWS::SQS::Queue": ("QueueName", "sqs", ""),
    "AWS::SecretsManager::Secret": ("Name", "secretsmanager", "secret:"),
    "AWS::Events::Rule": ("Name", "events", "rule/"),
    "AWS::Events::EventBus": ("Name", "events", "event-bus/"),
    "AWS::Logs::LogGroup": ("LogGroupName", "logs", "log-group:"),
    "AWS::SNS::Topic": ("TopicName", "sns", ""),
}
_FUNCTION_TYPES: Final = ("AWS::Serverless::Function", "AWS::Lambda::Function")
_QUEUE_ATTRIBUTES: Final = (
    "DelaySeconds",
    "FifoQueue",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout",
)


def read(
    path: Path,
    place: Place = Place(),  # noqa: B008  (frozen)
    parameters: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Stack:
    """The stack that the template describes.

    `parameters` override the template's defaults. `attributes` say what only a deployed stack knows, such as
    `{"HttpApi.ApiEndpoint": "http://127.0.0.1:8080"}`. Raises TemplateError, naming resource and property.
    """
    return _Reading(intrinsics.load(path), place, parameters or {}, attributes or {}).stack()


def _parameter(name: str, declared: Mapping[str, Any], overrides: Mapping[str, str]) -> Any:
    value = overrides[name] if name in overrides else declared.get("Default")
    if value is None:
        raise TemplateError(f"Parameters.{name}: no default, and no value was given")
    text = as_text(value)
    kind = str(declared.get("Type", "String"))
    if kind.startswith("AWS::SSM::") and name not in overrides:
        raise TemplateError(f"Parameters.{name}: {kind} cannot be looked up in the sandbox; give a value")
    allowed = [as_text(item) for item in declared.get("AllowedValues", ())]
    if allowed and text not in allowed:
        raise TemplateError(f"Parameters.{name}: {text!r} is none of {', '.join(allowed)}")
    if "AllowedPattern" in declared and not re.fullmatch(str(declared["AllowedPattern"]), text):
        raise TemplateError(f"Parameters.{name}: {text!r} does not match {declared['AllowedPattern']}")
    if kind == "Number":
        _check_number(name, text, declared)
    return text.split(",") if kind == "CommaDelimitedList" else text


def _check_number(name: str, text: str, declared: Mapping[str, Any]) -> None:
    try:
        number = float(text)
    except ValueError:
        raise TemplateError(f"Parameters.{name}: {text!r} is not a number") from None
    if number < float(declared.get("MinValue", number)) or number > float(declared.get("MaxValue", number)):
        raise TemplateError(f"Parameters.{name}: {text} is out of range")


class _Reading:
    """One pass over one template."""

    def __init__(
        self, tree: Mapping[str, Any], place: Place, overrides: Mapping[str, str], attributes: Mapping[str, str]
    ) -> None:
        declared: Mapping[str, Any] = tree.get("Parameters") or {}
        unknown = sorted(set(overrides) - set(declared))
        if unknown:
            raise TemplateError(f"Parameters: the template has no {', '.join(unknown)}")
        self._place = place
        self._attributes = attributes
        self._values: dict[str, Any] = {name: _parameter(name, item, overrides) for name, item in declared.items()}
        self._values |= {
            "AWS::StackName": place.stack_name,
            "AWS::Region": place.region,
            "AWS::AccountId": place.account_id,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackId": place.arn("cloudformation", f"stack/{place.stack_name}/local"),
            "AWS::NotificationARNs": [],
        }
        self._globals: Mapping[str, Any] = (tree.get("Globals") or {}).get("Function") or {}
        self._resolver = Resolver(
            self._reference, self._attribute, tree.get("Conditions") or {}, tree.get("Mappings") or {}
        )
        self._resources: dict[str, Mapping[str, Any]] = {
            name: resource
            for name, resource in tree["Resources"].items()
            if "Condition" not in resource or self._resolver.condition(resource["Condition"], f"{name}.Condition")
        }

    def stack(self) -> Stack:
        functions = [(name, self._function(name)) for name in self._of(*_FUNCTION_TYPES)]
        triggers = [
            (f"{name}.Events.{event}", function, item)
            for name, function in functions
            for event, item in self._events(name)
        ]
        return Stack(
            place=self._place,
            functions=tuple(function for _, function in functions),
            tables=tuple(self._table(name) for name in self._of("AWS::DynamoDB::Table")),
            buckets=tuple(self._bucket(name, triggers) for name in self._of("AWS::S3::Bucket")),
            queues=tuple(self._queue(name) for name in self._of("AWS::SQS::Queue")),
            secrets=tuple(self._secret(name) for name in self._of("AWS::SecretsManager::Secret")),
            rules=(*self._event_rules(triggers), *self._own_rules()),
        )

    # ------------------------------------------------------------------ references

    def _of(self, *types: str) -> list[str]:
        return [name for name, resource in self._resources.items() if resource.get("Type") in types]

    def _physical_name(self, logical_id: str) -> str:
        resource = self._resources[logical_id]
        kind = str(resource.get("Type"))
        if kind in _NAMED:
            key = _NAMED[kind][0]
            given = (resource.get("Properties") or {}).get(key)
            if given is not None:
                return as_text(self._resolver.resolve(given, f"{logical_id}.{key}"))
        name = f"{self._place.stack_name}-{logical_id}"
        return name.lower() if kind == "AWS::S3::Bucket" else name

    def _reference(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        logical_id, _, part = name.partition(".")
        if part:  # SAM's own: Ref to the alias or the version that it makes
            return self._attribute(logical_id, part)
        physical = self._physical_name(logical_id)
        kind = self._resources[logical_id].get("Type")
        if kind == "AWS::SQS::Queue":
            return self._place.queue_url(physical)
        if kind in ("AWS::SecretsManager::Secret", "AWS::SNS::Topic"):
            return self._attribute(logical_id, "Arn")
        return physical

    def _attribute(self, logical_id: str, name: str) -> str:
        given = self._attributes.get(f"{logical_id}.{name}")
        if given is not None:
            return given
        resource = self._resources[logical_id]
        kind = str(resource.get("Type"))
        if kind not in _NAMED:
            raise KeyError(logical_id)
        _, service, prefix = _NAMED[kind]
        arn = self._place.arn(service, prefix + self._physical_name(logical_id))
        match name:
            case "Arn" | "TopicArn":
                return arn
            case "Alias":
                return f"{arn}:{self._property(logical_id, 'AutoPublishAlias')}"
            case "Version":
                return f"{arn}:1"
            case "QueueName" | "TopicName":
                return self._physical_name(logical_id)
            case "QueueUrl":
                return self._place.queue_url(self._physical_name(logical_id))
        raise KeyError(name)

    def _property(self, logical_id: str, name: str, default: Any = None) -> Any:
        node = (self._resources[logical_id].get("Properties") or {}).get(name)
        if node is None:
            return default
        value = self._resolver.resolve(node, f"{logical_id}.{name}")
        return default if value is intrinsics.NO_VALUE else value

    # ------------------------------------------------------------------ functions

    def _function_property(self, logical_id: str, name: str, default: Any = None) -> Any:
        if name in self._globals and name not in (self._resources[logical_id].get("Properties") or {}):
            value = self._resolver.resolve(self._globals[name], f"Globals.Function.{name}")
            return default if value is intrinsics.NO_VALUE else value
        return self._property(logical_id, name, default)

    def _function(self, logical_id: str) -> Function:
        get: Callable[..., Any] = lambda name, default=None: self._function_property(logical_id, name, default)  # noqa: E731
        handler = get("Handler")
        if handler is None:
            raise TemplateError(f"{logical_id}.Handler: missing")
        concurrency = get("ReservedConcurrentExecutions")
        tracing = get("Tracing") or (get("TracingConfig") or {}).get("Mode")
        code = get("CodeUri", ".")
        return Function(
            logical_id=logical_id,
            name=self._physical_name(logical_id),
            arn=self._attribute(logical_id, "Arn"),
            handler=as_text(handler),
            code=code if isinstance(code, str) else ".",
            timeout_s=int(get("Timeout", 3)),
            memory_mb=int(get("MemorySize", 128)),
            ephemeral_storage_mb=int((get("EphemeralStorage") or {}).get("Size", 512)),
            environment=self._environment(logical_id),
            alias=as_text(get("AutoPublishAlias", "")),
            loop_allowed=get("RecursiveLoop") == "Allow",
            traced=tracing == "Active",
            concurrency=None if concurrency is None else int(concurrency),
            retries=self._retries(logical_id),
            routes=tuple(self._routes(logical_id)),
        )

    def _environment(self, logical_id: str) -> tuple[tuple[str, str], ...]:
        variables: dict[str, str] = {}
        own = (self._resources[logical_id].get("Properties") or {}).get("Environment") or {}
        for where, node in (("Globals.Function", self._globals.get("Environment") or {}), (logical_id, own)):
            resolved = self._resolver.resolve(node, f"{where}.Environment")
            variables |= {name: as_text(value) for name, value in (resolved.get("Variables") or {}).items()}
        return tuple(variables.items())

    def _retries(self, logical_id: str) -> Retries:
        config = self._function_property(logical_id, "EventInvokeConfig") or {}
        dead_letter = (
            self._function_property(logical_id, "DeadLetterQueue")
            or self._function_property(logical_id, "DeadLetterConfig")
            or {}
        )
        on_failure = ((config.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination", "")
        for arn, name in ((on_failure, "EventInvokeConfig"), (dead_letter.get("TargetArn", ""), "DeadLetterQueue")):
            if arn and ":sqs:" not in arn:
                raise TemplateError(f"{logical_id}.{name}: the sandbox delivers failures to SQS only, not to {arn}")
        return Retries(
            attempts=int(config.get("MaximumRetryAttempts", 2)),
            max_age_s=int(config.get("MaximumEventAgeInSeconds", 21_600)),
            on_failure_arn=on_failure,
            dead_letter_arn=dead_letter.get("TargetArn", ""),
        )

    def _events(self, logical_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, event in ((self._resources[logical_id].get("Properties") or {}).get("Events") or {}).items():
            if event.get("Type") in ("Api", "HttpApi"):
                continue
            properties = self._resolver.resolve(event.get("Properties") or {}, f"{logical_id}.Events.{name}")
            yield name, {"Type": event.get("Type"), **properties}

    def _routes(self, logical_id: str) -> Iterator[Route]:
        for name, event in ((self._resources[logical_id].get("Properties") or {}).get("Events") or {}).items():
            if event.get("Type") in ("Api", "HttpApi"):
                node = {key: value for key, value in (event.get("Properties") or {}).items() if key != "ApiId"}
                properties = self._resolver.resolve(node, f"{logical_id}.Events.{name}")
                auth = properties.get("Auth") or {}
                yield Route(
                    method=str(properties.get("Method", "ANY")).upper(),
                    path=str(properties.get("Path", "$default")),
                    authorizer=str(auth.get("Authorizer", "")),
                )

    # ------------------------------------------------------------------ rules

    def _event_rules(self, triggers: list[tuple[str, Function, Mapping[str, Any]]]) -> Iterator[Rule]:
        for where, function, event in triggers:
            name = where.replace(".Events.", "-")
            match event["Type"]:
                case "S3":
                    continue
                case "Schedule" | "ScheduleV2":
                    schedule = event.get("Schedule") or event.get("ScheduleExpression")
                    if not schedule:
                        raise TemplateError(f"{where}: no schedule")
                    enabled = event.get("Enabled", True) not in (False, "false") and event.get("State") != "DISABLED"
                    yield Rule(
                        name, function.trigger_arn, schedule=schedule, input=event.get("Input", ""), enabled=enabled
                    )
                case "EventBridgeRule" | "CloudWatchEvent":
                    pattern = json.dumps(event.get("Pattern") or {})
                    yield Rule(name, function.trigger_arn, pattern=pattern, input=event.get("Input", ""))
                case kind:
                    raise TemplateError(f"{where}: events of type {kind} are not known to the sandbox")

    def _own_rules(self) -> Iterator[Rule]:
        for name in self._of("AWS::Events::Rule"):
            pattern = self._property(name, "EventPattern")
            for target in self._property(name, "Targets", []):
                yield Rule(
                    name=self._physical_name(name),
                    target_arn=target["Arn"],
                    pattern=json.dumps(pattern) if pattern else "",
                    schedule=self._property(name, "ScheduleExpression", ""),
                    input=target.get("Input", ""),
                    enabled=self._property(name, "State", "ENABLED") == "ENABLED",
                )

    # ------------------------------------------------------------------ storage

    def _bucket(self, logical_id: str, triggers: list[tuple[str, Function, Mapping[str, Any]]]) -> Bucket:
        name = self._physical_name(logical_id)
        notifications = [
            _notification(
                where.replace(".Events.", "-"), function.trigger_arn, event.get("Events"), event.get("Filter")
            )
            for where, function, event in triggers
            if event["Type"] == "S3" and event.get("Bucket") == name
        ]
        own = self._property(logical_id, "NotificationConfiguration") or {}
        for index, item in enumerate(own.get("LambdaConfigurations", ())):
            notifications.append(
                _notification(f"{logical_id}-{index}", item["Function"], item["Event"], item.get("Filter"))
            )
        for key in ("QueueConfigurations", "TopicConfigurations"):
            if own.get(key):
                raise TemplateError(f"{logical_id}.NotificationConfiguration.{key}: not known to the sandbox")
        return Bucket(
            logical_id=logical_id,
            name=name,
            versioned=(self._property(logical_id, "VersioningConfiguration") or {}).get("Status") == "Enabled",
            event_bridge=_event_bridge(own.get("EventBridgeConfiguration")),
            notifications=tuple(notifications),
        )

    def _table(self, logical_id: str) -> Table:
        keys = _keys(self._property(logical_id, "KeySchema", []))
        ttl = self._property(logical_id, "TimeToLiveSpecification") or {}
        if self._property(logical_id, "LocalSecondaryIndexes"):
            raise TemplateError(f"{logical_id}.LocalSecondaryIndexes: not known to the sandbox")
        return Table(
            logical_id=logical_id,
            name=self._physical_name(logical_id),
            attributes=tuple(
                (item["AttributeName"], item["AttributeType"])
                for item in self._property(logical_id, "AttributeDefinitions", [])
            ),
            hash_key=keys["HASH"],
            range_key=keys.get("RANGE", ""),
            indexes=tuple(_index(item) for item in self._property(logical_id, "GlobalSecondaryIndexes", [])),
            ttl_attribute=ttl.get("AttributeName", "") if as_text(ttl.get("Enabled", False)) == "true" else "",
        )

    def _queue(self, logical_id: str) -> Queue:
        given = ((name, self._property(logical_id, name)) for name in _QUEUE_ATTRIBUTES)
        return Queue(
            logical_id=logical_id,
            name=self._physical_name(logical_id),
            attributes=tuple((name, as_text(value)) for name, value in given if value is not None),
        )

    def _secret(self, logical_id: str) -> Secret:
        generate = self._property(logical_id, "GenerateSecretString")
        text = (generate or {}).get("SecretStringTemplate", "") or self._property(logical_id, "SecretString", "")
        return Secret(
            logical_id=logical_id,
            name=self._physical_name(logical_id),
            text=text,
            generated=generate is not None,
            generate_under=(generate or {}).get("GenerateStringKey", ""),
        )


def _event_bridge(config: Any) -> bool:
    """EventBridgeConfiguration may be empty, which means yes; only an explicit false means no."""
    return config is not None and as_text((config or {}).get("EventBridgeEnabled", True)) == "true"


def _notification(name: str, function_arn: str, events: Any, event_filter: Any) -> Notification:
    rules = ((event_filter or {}).get("S3Key") or {}).get("Rules") or ()
    parts = {str(rule["Name"]).lower(): str(rule["Value"]) for rule in rules}
    return Notification(
        id=name,
        function_arn=function_arn,
        events=(events,) if isinstance(events, str) else tuple(events or ()),
        prefix=parts.get("prefix", ""),
        suffix=parts.get("suffix", ""),
    )


def _keys(schema: list[Mapping[str, str]]) -> dict[str, str]:
    return {item["KeyType"]: item["AttributeName"] for item in schema}


def _index(item: Mapping[str, Any]) -> Index:
    keys = _keys(item["KeySchema"])
    projection = item.get("Projection") or {}
    return Index(
        name=item["IndexName"],
        hash_key=keys["HASH"],
        range_key=keys.get("RANGE", ""),
        projection=projection.get("ProjectionType", "ALL"),
        projected=tuple(projection.get("NonKeyAttributes", ())),
    )
