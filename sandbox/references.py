"""What the names in a template refer to: parameters, resources, and the attributes of resources."""

from collections.abc import Mapping
from typing import Any, Final

from sandbox import intrinsics
from sandbox.blueprint import StackContext
from sandbox.intrinsics import Resolver, as_text
from sandbox.parameters import parameter_values

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


class References:
    """One template's references. `resources` are those whose condition holds; `resolver` resolves their properties."""

    def __init__(
        self,
        tree: Mapping[str, Any],
        context: StackContext,
        overrides: Mapping[str, str],
        attributes: Mapping[str, str],
    ) -> None:
        self.context = context
        self._attributes = attributes
        self._values = parameter_values(tree.get("Parameters") or {}, overrides)
        self._values |= {
            "AWS::StackName": context.stack_name,
            "AWS::Region": context.region,
            "AWS::AccountId": context.account_id,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackId": context.arn("cloudformation", f"stack/{context.stack_name}/local"),
            "AWS::NotificationARNs": [],
        }
        self.resolver = Resolver(
            self._reference, self.attribute, tree.get("Conditions") or {}, tree.get("Mappings") or {}
        )
        self.resources: dict[str, Mapping[str, Any]] = {
            name: resource
            for name, resource in tree["Resources"].items()
            if "Condition" not in resource or self.resolver.condition(resource["Condition"], f"{name}.Condition")
        }

    def of_type(self, *types: str) -> list[str]:
        """The logical ids of the resources of these types."""
        return [name for name, resource in self.resources.items() if resource.get("Type") in types]

    def unresolved(self, logical_id: str) -> Mapping[str, Any]:
        """A resource's properties as they are written, references and all."""
        return self.resources[logical_id].get("Properties") or {}

    def physical_name(self, logical_id: str) -> str:
        """The name that a resource has in AWS: its own, or one made of the stack's name and its logical id."""
        kind = str(self.resources[logical_id].get("Type"))
        if kind in _NAMED:
            key = _NAMED[kind][0]
            given = self.unresolved(logical_id).get(key)
            if given is not None:
                return as_text(self.resolver.resolve(given, f"{logical_id}.{key}"))
        name = f"{self.context.stack_name}-{logical_id}"
        return name.lower() if kind == "AWS::S3::Bucket" else name  # buckets have no upper case letters

    def _reference(self, name: str) -> Any:
        """What `Ref` gives. Raises KeyError."""
        if name in self._values:
            return self._values[name]
        logical_id, _, part = name.partition(".")
        if part:  # SAM's own: Ref to the alias or the version that it makes
            return self.attribute(logical_id, part)
        physical = self.physical_name(logical_id)
        kind = self.resources[logical_id].get("Type")
        if kind == "AWS::SQS::Queue":
            return self.context.queue_url(physical)
        if kind in ("AWS::SecretsManager::Secret", "AWS::SNS::Topic"):
            return self.attribute(logical_id, "Arn")
        return physical

    def attribute(self, logical_id: str, name: str) -> str:
        """What `GetAtt` gives. Raises KeyError for resources and attributes that the sandbox does not know."""
        given = self._attributes.get(f"{logical_id}.{name}")
        if given is not None:
            return given
        kind = str(self.resources[logical_id].get("Type"))
        if kind not in _NAMED:
            raise KeyError(logical_id)
        _, service, prefix = _NAMED[kind]
        arn = self.context.arn(service, prefix + self.physical_name(logical_id))
        match name:
            case "Arn" | "TopicArn":
                return arn
            case "Alias":
                return f"{arn}:{self.property_of(logical_id, 'AutoPublishAlias')}"
            case "Version":
                return f"{arn}:1"  # every deployment to the sandbox is the first
            case "QueueName" | "TopicName":
                return self.physical_name(logical_id)
            case "QueueUrl":
                return self.context.queue_url(self.physical_name(logical_id))
        raise KeyError(name)

    def property_of(self, logical_id: str, name: str, default: Any = None) -> Any:
        """One property, resolved; the default where it is missing, or `AWS::NoValue`."""
        node = self.unresolved(logical_id).get(name)
        if node is None:
            return default
        value = self.resolver.resolve(node, f"{logical_id}.{name}")
        return default if value is intrinsics.NO_VALUE else value
