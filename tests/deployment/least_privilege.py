"""IAM, as far as the template uses it: records what functions ask of AWS, and says what their roles would refuse.

A proxy is in front of the sandbox's AWS. Every function signs with a key id of its own, so each call is known by who
makes it. Actions and resources are those of the Service Authorization Reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import http.client
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from sandbox.aws import ATHENA_WORKGROUP
from sandbox.blueprint import Stack, StackContext
from sandbox.http_server import Asked, HttpServer, Reply
from sandbox.intrinsics import Resolver
from tests.deployment.transformed_template import transformed

_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/[a-z0-9-]+/(?P<service>[a-z0-9]+)/aws4_request")
_HOP_BY_HOP = {"connection", "content-length", "transfer-encoding"}


class Call(msgspec.Struct, frozen=True):
    """One thing that was asked for. `context` are the condition keys that the template's policies use."""

    who: str
    action: str
    resource: str
    context: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Recorder:
    """The proxy; `url` is what functions take for AWS. `before` says which AWS that is."""

    def __init__(self) -> None:
        self.calls: set[Call] = set()
        self.unknown: set[str] = set()
        self._upstream = ""
        self._server = HttpServer(self._forward, name="least-privilege")
        self.url = f"http://{self._server.address}"

    def before(self, endpoint_url: str) -> None:
        """Pass everything on to this AWS."""
        self._upstream = urlsplit(endpoint_url).netloc

    def _forward(self, asked: Asked) -> Reply:
        scope = _SCOPE.search(asked.headers.get("Authorization", ""))
        if scope is None:
            self.unknown.add(f"{asked.method} {asked.path}")
        else:
            try:
                self.calls.update(_calls(scope["key"], scope["service"], asked))
            except (KeyError, ValueError) as error:
                self.unknown.add(f"{scope['service']} {asked.method} {asked.path}: {error!r}")
        upstream = http.client.HTTPConnection(self._upstream, timeout=60)
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in _HOP_BY_HOP}
        upstream.request(asked.method, asked.path, asked.body or None, headers)
        answer = upstream.getresponse()
        content = answer.read()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
        length = answer.getheader("Content-Length")
        if asked.method == "HEAD" and length:
            kept.append(("Content-Length", length))
        upstream.close()
        return Reply(answer.status, content, kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def _calls(who: str, service: str, asked: Asked) -> Iterator[Call]:  # noqa: C901 - one case a service
    """What IAM would be asked for one request. Raises KeyError for what is not known here."""
    url = urlsplit(asked.path)
    values = dict(parse_qsl(url.query, keep_blank_values=True))
    place = StackContext()
    target = asked.headers.get("X-Amz-Target", "").rpartition(".")[2]
    match service:
        case "s3":
            bucket, _, key = unquote(url.path).lstrip("/").partition("/")
            if key:
                verb = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[
                    asked.method
                ]
                versioned = "Version" if "versionId" in values else ""
                tagging = "Tagging" if "tagging" in values else ""
                arn = place.arn("s3", f"{bucket}/{key}")
                yield Call(who, f"s3:{verb}{versioned}{tagging}", arn)
                # https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html: tags in a header need it as well.
                if asked.headers.get("x-amz-tagging"):
                    yield Call(who, "s3:PutObjectTagging", arn)
            else:
                listing = {"list-type": "s3:ListBucket", "versions": "s3:ListBucketVersions"}
                # Its other parameters may come first.
                [action] = [listing[name] for name in values if name in listing]
                yield Call(who, action, place.arn("s3", bucket))
        case "dynamodb":
            yield from _dynamodb(who, target, json.loads(asked.body), place)
        case "lambda":
            if url.path.startswith("/2016-08-19/account-settings"):
                yield Call(who, "lambda:GetAccountSettings", "*")
                return
            path = unquote(url.path).removeprefix("/2015-03-31/functions/").removeprefix("/2019-09-30/functions/")
            name, _, what = path.rstrip("/").partition("/")
            action = {
                ("POST", "invocations"): "InvokeFunction",
                ("GET", "versions"): "ListVersionsByFunction",
                ("GET", "aliases"): "ListAliases",
                ("GET", "concurrency"): "GetFunctionConcurrency",
                ("GET", "configuration"): "GetFunctionConfiguration",
                ("DELETE", ""): "DeleteFunction",
            }[asked.method, what]
            arn = name if name.startswith("arn:") else place.arn("lambda", f"function:{name}")
            qualifier = f":{values['Qualifier']}" if "Qualifier" in values else ""
            yield Call(who, f"lambda:{action}", arn + qualifier)
        case "sqs":
            queue = json.loads(asked.body)["QueueUrl"].rsplit("/", 1)[1]
            yield Call(who, f"sqs:{target}", place.arn("sqs", queue))
        case "events":
            for entry in json.loads(asked.body)["Entries"]:
                bus = entry.get("EventBusName", "default")
                source = (("events:source", (entry["Source"],)),)
                yield Call(who, f"events:{target}", place.arn("events", f"event-bus/{bus}"), source)
        case "secretsmanager":
            yield Call(who, f"secretsmanager:{target}", json.loads(asked.body)["SecretId"])
        case "ses":
            form = dict(parse_qsl(asked.body.decode()))
            context = (("ses:FromAddress", (form["Source"],)),)
            yield Call(who, f"ses:{form['Action']}", place.arn("ses", f"identity/{form['Source']}"), context)
        case "athena":
            # Of a query only its id is asked for: the sandbox has one workgroup.
            group = json.loads(asked.body).get("WorkGroup") or ATHENA_WORKGROUP
            yield Call(who, f"athena:{target}", place.arn("athena", f"workgroup/{group}"))
        case _:
            raise KeyError(service)


_IN_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}


def _dynamodb(who: str, operation: str, asked: dict[str, Any], place: StackContext) -> Iterator[Call]:
    if operation == "TransactWriteItems":
        for item in asked["TransactItems"]:
            for kind, inner in item.items():
                yield from _dynamodb(who, _IN_TRANSACTION[kind], inner, place)
        return
    index = f"/index/{asked['IndexName']}" if "IndexName" in asked else ""
    keys = asked.get("Key") or asked.get("Item") or {}
    context = (("dynamodb:LeadingKeys", (keys["pk"]["S"],)),) if "pk" in keys else ()
    yield Call(who, f"dynamodb:{operation}", place.arn("dynamodb", f"table/{asked['TableName']}{index}"), context)


class Statement(msgspec.Struct, frozen=True):
    """What a role allows, or denies. `likes` are the conditions: each value of a key matches one of the patterns."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    likes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    denies: bool = False

    def covers(self, call: Call) -> bool:
        """Whether it covers the call."""
        context = dict(call.context)
        return (
            call.action in self.actions
            and any(fnmatchcase(call.resource, pattern) for pattern in self.resources)
            and all(
                any(fnmatchcase(value, pattern) for pattern in patterns)
                for key, patterns in self.likes
                for value in context.get(key, ())
            )
        )


def refused(calls: set[Call], roles: Mapping[str, Sequence[Statement]]) -> list[Call]:
    """The calls that no statement of the caller's role allows, or that one denies."""

    def is_refused(call: Call) -> bool:
        found = {statement.denies for statement in roles[call.who] if statement.covers(call)}
        return found != {False}

    return sorted(
        filter(is_refused, calls),
        key=lambda call: (call.who, call.action, call.resource),
    )


def roles_of(stack: Stack, parameters: Mapping[str, str]) -> dict[str, list[Statement]]:
    """The statements of each function's role, by the function's name, as CloudFormation would resolve them."""
    template = transformed(**parameters)
    resolver = _resolver(template, stack, parameters)
    found: dict[str, list[Statement]] = {}
    for name, resource in template["Resources"].items():
        condition = resource.get("Condition")
        if condition is not None and not resolver.condition(condition, name):
            continue
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].get("Policies", ()):
                found.setdefault(name, []).extend(_statements(resolver.resolve(policy["PolicyDocument"], name)))
        if resource["Type"] == "AWS::IAM::Policy":
            for role in resource["Properties"]["Roles"]:
                if "Ref" in role:
                    document = resolver.resolve(resource["Properties"]["PolicyDocument"], name)
                    found.setdefault(role["Ref"], []).extend(_statements(document))
    return {function.name: found[f"{function.logical_id}Role"] for function in stack.functions}


def _resolver(template: dict[str, Any], stack: Stack, parameters: Mapping[str, str]) -> Resolver:
    place = stack.context
    arns = {one.logical_id: one.arn for one in stack.functions}
    arns |= {one.logical_id: place.arn("dynamodb", f"table/{one.name}") for one in stack.tables}
    arns |= {one.logical_id: place.arn("sqs", one.name) for one in stack.queues}
    arns |= {one.logical_id: place.arn("secretsmanager", f"secret:{one.name}") for one in stack.secrets}
    values: dict[str, Any] = {name: str(about.get("Default", "")) for name, about in template["Parameters"].items()}
    values |= parameters
    for name, about in template["Parameters"].items():
        if about["Type"] == "CommaDelimitedList":
            values[name] = values[name].split(",") if values[name] else []
    values |= {"AWS::AccountId": place.account_id, "AWS::Region": place.region, "AWS::Partition": "aws"}
    values["AWS::StackName"] = place.stack_name
    references = arns | values

    def attribute(name: str, what: str) -> str:
        return {"Arn": arns[name]}[what]

    return Resolver(references.__getitem__, attribute, template["Conditions"], template.get("Mappings", {}))


def _statements(document: Mapping[str, Any]) -> Iterator[Statement]:
    for one in document["Statement"]:
        conditions = one.get("Condition", {})
        # Of any value only in a Deny of calls that have one value, where all is the same as any.
        known = {"StringEquals", "ForAllValues:StringLike", "ForAllValues:StringEquals", "ForAnyValue:StringLike"}
        assert conditions.keys() <= known, "teach `covers` this condition first"
        likes = tuple((key, _texts(patterns)) for test in conditions.values() for key, patterns in test.items())
        yield Statement(_texts(one["Action"]), _texts(one["Resource"]), likes, denies=one["Effect"] == "Deny")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else (str(value),)
