"""Reads template.yaml itself, so that what runs on a laptop is what deploys.

Functions, tables, buckets, queues, secrets and rules are read. Roles, policies, alarms and log groups are passed over:
the sandbox forbids nothing, and their properties are never resolved.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sandbox import intrinsics
from sandbox.blueprint import (
    Bucket,
    Function,
    Index,
    Notification,
    Queue,
    Rule,
    Secret,
    Stack,
    StackContext,
    Table,
)
from sandbox.intrinsics import TemplateError, as_text
from sandbox.references import References
from sandbox.template_functions import FUNCTION_TYPES, FunctionReader

__all__ = ["Stack", "StackContext", "TemplateError", "read"]

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
    context: StackContext = StackContext(),  # noqa: B008  (frozen)
    parameters: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Stack:
    """The stack that the template describes.

    `parameters` override the template's defaults. `attributes` say what only a deployed stack knows, such as
    `{"HttpApi.ApiEndpoint": "http://127.0.0.1:8080"}`. Raises TemplateError, naming resource and property.
    """
    tree = intrinsics.load(path)
    references = References(tree, context, parameters or {}, attributes or {})
    functions = FunctionReader(references, (tree.get("Globals") or {}).get("Function") or {})
    return _Reading(references, functions).stack()


class _Reading:
    """One pass over one template."""

    def __init__(self, references: References, functions: FunctionReader) -> None:
        self._references = references
        self._functions = functions

    def stack(self) -> Stack:
        functions = [(name, self._functions.read(name)) for name in self._references.of_type(*FUNCTION_TYPES)]
        triggers = [
            (f"{name}.Events.{event}", function, item)
            for name, function in functions
            for event, item in self._functions.events(name)
        ]
        return Stack(
            context=self._references.context,
            functions=tuple(function for _, function in functions),
            tables=tuple(self._table(name) for name in self._references.of_type("AWS::DynamoDB::Table")),
            buckets=tuple(self._bucket(name, triggers) for name in self._references.of_type("AWS::S3::Bucket")),
            queues=tuple(self._queue(name) for name in self._references.of_type("AWS::SQS::Queue")),
            secrets=tuple(self._secret(name) for name in self._references.of_type("AWS::SecretsManager::Secret")),
            rules=(*self._event_rules(triggers), *self._own_rules()),
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
        for name in self._references.of_type("AWS::Events::Rule"):
            pattern = self._references.property_of(name, "EventPattern")
            for target in self._references.property_of(name, "Targets", []):
                yield Rule(
                    name=self._references.physical_name(name),
                    target_arn=target["Arn"],
                    pattern=json.dumps(pattern) if pattern else "",
                    schedule=self._references.property_of(name, "ScheduleExpression", ""),
                    input=target.get("Input", ""),
                    enabled=self._references.property_of(name, "State", "ENABLED") == "ENABLED",
                )

    # ------------------------------------------------------------------ storage

    def _bucket(self, logical_id: str, triggers: list[tuple[str, Function, Mapping[str, Any]]]) -> Bucket:
        name = self._references.physical_name(logical_id)
        notifications = [
            _notification(
                where.replace(".Events.", "-"), function.trigger_arn, event.get("Events"), event.get("Filter")
            )
            for where, function, event in triggers
            if event["Type"] == "S3" and event.get("Bucket") == name
        ]
        own = self._references.property_of(logical_id, "NotificationConfiguration") or {}
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
            versioned=(self._references.property_of(logical_id, "VersioningConfiguration") or {}).get("Status")
            == "Enabled",
            event_bridge=_event_bridge(own.get("EventBridgeConfiguration")),
            notifications=tuple(notifications),
        )

    def _table(self, logical_id: str) -> Table:
        keys = _keys(self._references.property_of(logical_id, "KeySchema", []))
        ttl = self._references.property_of(logical_id, "TimeToLiveSpecification") or {}
        if self._references.property_of(logical_id, "LocalSecondaryIndexes"):
            raise TemplateError(f"{logical_id}.LocalSecondaryIndexes: not known to the sandbox")
        return Table(
            logical_id=logical_id,
            name=self._references.physical_name(logical_id),
            attributes=tuple(
                (item["AttributeName"], item["AttributeType"])
                for item in self._references.property_of(logical_id, "AttributeDefinitions", [])
            ),
            hash_key=keys["HASH"],
            range_key=keys.get("RANGE", ""),
            indexes=tuple(
                _index(item) for item in self._references.property_of(logical_id, "GlobalSecondaryIndexes", [])
            ),
            ttl_attribute=ttl.get("AttributeName", "") if as_text(ttl.get("Enabled", False)) == "true" else "",
        )

    def _queue(self, logical_id: str) -> Queue:
        given = ((name, self._references.property_of(logical_id, name)) for name in _QUEUE_ATTRIBUTES)
        return Queue(
            logical_id=logical_id,
            name=self._references.physical_name(logical_id),
            attributes=tuple((name, as_text(value)) for name, value in given if value is not None),
        )

    def _secret(self, logical_id: str) -> Secret:
        generate = self._references.property_of(logical_id, "GenerateSecretString")
        text = (generate or {}).get("SecretStringTemplate", "") or self._references.property_of(
            logical_id, "SecretString", ""
        )
        return Secret(
            logical_id=logical_id,
            name=self._references.physical_name(logical_id),
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
