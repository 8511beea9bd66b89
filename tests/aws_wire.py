"""AWS as its wire looks: what moto does not know of SES, and CloudFormation as it answers of a real stack.

REST-JSON for SES and Lambda, JSON for EventBridge, Query and XML for CloudFormation, REST-XML for S3.
boto3 speaks to it unchanged, signed, over HTTP. The signature's scope says which service is meant.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import msgspec

from sandbox.http_server import Asked as HttpRequest
from sandbox.http_server import HttpServer
from sandbox.http_server import Reply as HttpReply

CLOUDFORMATION = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
_SCOPE = re.compile(
    r"^AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9]+)/aws4_request"
)


class Refusal(msgspec.Struct, frozen=True):
    """An error of a service."""

    status: int
    code: str
    message: str


class Asked(msgspec.Struct, frozen=True):
    """One request. `values` are the query's or the form's."""

    service: str
    region: str
    method: str
    path: str
    values: Mapping[str, str]


class Stack(msgspec.Struct, frozen=True):
    """A stack: logical ids with their physical ones, and outputs. A resource without a physical id is being made."""

    resources: Mapping[str, str | None] = {}
    outputs: Mapping[str, str] = {}
    page: int = 3


class World(msgspec.Struct):
    """What there is. Tests change it.

    Args:
        account: SES' answer to GetAccount.
        identities: SES' answers to GetEmailIdentity; another identity is not found.
        functions: the variables of Lambda functions, by name.
        limits: Lambda's, of the account.
        answer: what any invoked function answers.
        notification: the XML in S3's notification configuration.
        rules: EventBridge's: their target (an ARN), and whether they are on.
    """

    account: dict[str, Any] | Refusal = msgspec.field(default_factory=dict)
    identities: dict[str, dict[str, Any] | Refusal] = msgspec.field(default_factory=dict)
    stacks: dict[str, Stack] = msgspec.field(default_factory=dict)
    functions: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    limits: dict[str, int] = msgspec.field(
        default_factory=lambda: {"ConcurrentExecutions": 1_000, "UnreservedConcurrentExecutions": 1_000}
    )
    answer: dict[str, Any] = msgspec.field(default_factory=lambda: {"secrets": {"fcm": "", "apns": ""}})
    notification: str = ""
    rules: dict[str, tuple[str, bool]] = msgspec.field(default_factory=dict)


class Wire:
    """Listens on a free port; `url` is what AWS_ENDPOINT_URL takes. `asked` is everything that was asked for."""

    def __init__(self) -> None:
        self.world = World()
        self.asked: list[Asked] = []
        self._server = HttpServer(self._answer, name="aws-wire")
        self.url = f"http://{self._server.address}"

    def _answer(self, http: HttpRequest) -> HttpReply:
        scope = _SCOPE.match(http.headers.get("Authorization", ""))
        assert scope is not None, "not signed"
        url = urlsplit(http.path)
        if "X-Amz-Target" in http.headers:
            values = {"Action": http.headers["X-Amz-Target"], **json.loads(http.body)}
        elif http.path.endswith("/invocations"):
            values = json.loads(http.body)
        else:
            values = dict(parse_qsl(http.body.decode() or url.query, keep_blank_values=True))
        asked = Asked(scope["service"], scope["region"], http.method, unquote(url.path), values)
        self.asked.append(asked)
        answers = {
            "ses": self._ses,
            "lambda": self._lambda,
            "cloudformation": self._cloudformation,
            "s3": self._s3,
            "events": self._events,
            "dynamodb": self._dynamodb,
        }
        found = answers[asked.service](asked)
        status, headers, text = found if not isinstance(found, Refusal) else _refused(asked.service, found)
        return HttpReply(status, text.encode(), tuple(headers.items()))

    # -- SES v2: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html ----------------------------

    def _ses(self, asked: Asked) -> "_Reply | Refusal":
        world, (kind, _, name) = self.world, asked.path.removeprefix("/v2/email/").partition("/")
        if (asked.method, kind) == ("GET", "account"):
            found: Any = world.account
        else:
            assert (asked.method, kind) == ("GET", "identities")
            missing = Refusal(404, "NotFoundException", f"Email identity {name} does not exist.")
            found = world.identities.get(name, missing)
        return found if isinstance(found, Refusal) else _json(found)

    # -- Lambda: https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html -----------------------

    def _lambda(self, asked: Asked) -> "_Reply | Refusal":
        if asked.path.startswith("/2016-08-19/account-settings"):
            return _json({"AccountLimit": self.world.limits})
        if re.fullmatch(r"/20.*/functions/[^/]+/concurrency", asked.path):
            return _json({})
        if asked.path.endswith("/invocations"):
            return _json(self.world.answer)
        found = re.fullmatch(r"/2015-03-31/functions/([^/]+)/configuration", asked.path)
        assert found is not None, asked.path
        name, _, qualifier = found[1].partition(":")
        if name not in self.world.functions:
            return Refusal(404, "ResourceNotFoundException", f"Function not found: {name}")
        arn = f"arn:aws:lambda:{asked.region}:123456789012:function:{name}" + (f":{qualifier}" if qualifier else "")
        return _json(
            {"FunctionName": name, "FunctionArn": arn, "Environment": {"Variables": self.world.functions[name]}}
        )

    # -- DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html --------------------

    def _dynamodb(self, asked: Asked) -> "_Reply | Refusal":
        """An empty table."""
        assert asked.values["Action"] == "DynamoDB_20120810.GetItem"
        return _json({})

    # -- S3: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketNotificationConfiguration.html ---------------

    def _s3(self, asked: Asked) -> "_Reply | Refusal":
        assert asked.values == {"notification": ""}
        xml = f'<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{self.world.notification}'
        return 200, {"Content-Type": "application/xml"}, xml + "</NotificationConfiguration>"

    # -- EventBridge: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_ListRuleNamesByTarget.html -------

    def _events(self, asked: Asked) -> "_Reply | Refusal":
        if asked.values["Action"] == "AWSEvents.ListRuleNamesByTarget":
            target = asked.values["TargetArn"]
            return _json({"RuleNames": [name for name, (arn, _) in self.world.rules.items() if arn == target]})
        assert asked.values["Action"] == "AWSEvents.DescribeRule"
        name = asked.values["Name"]
        return _json({"Name": name, "State": "ENABLED" if self.world.rules[name][1] else "DISABLED"})

    # -- CloudFormation: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/ ----------------------------

    def _cloudformation(self, asked: Asked) -> "_Reply | Refusal":
        assert (asked.method, asked.values["Version"]) == ("POST", "2010-05-15")
        action, name = asked.values["Action"], asked.values["StackName"]
        stack = self.world.stacks.get(name)
        if stack is None:
            return Refusal(400, "ValidationError", f"Stack with id {name} does not exist")
        actions = {"ListStackResources": _resources, "DescribeStacks": _described}
        inside = actions[action](name, stack, asked.values)
        xml = f'<{action}Response xmlns="{CLOUDFORMATION}"><{action}Result>{inside}</{action}Result>'
        return 200, {"Content-Type": "text/xml"}, xml + f"<ResponseMetadata/></{action}Response>"

    def stop(self) -> None:
        """Listens no more."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


_Reply = tuple[int, dict[str, str], str]


def _json(value: Mapping[str, Any]) -> _Reply:
    return 200, {"Content-Type": "application/json"}, json.dumps(value)


def _refused(service: str, refusal: Refusal) -> _Reply:
    if service == "cloudformation":
        error = f"<Type>Sender</Type><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
        xml = f'<ErrorResponse xmlns="{CLOUDFORMATION}"><Error>{error}</Error><RequestId>r</RequestId></ErrorResponse>'
        return refusal.status, {"Content-Type": "text/xml"}, xml
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": refusal.code}
    return refusal.status, headers, json.dumps({"message": refusal.message})


def _tags(**values: str | None) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items() if value is not None)


def _resources(name: str, stack: Stack, values: Mapping[str, str]) -> str:
    """One page. The token is the page's number, as text that is opaque to the caller."""
    first = int(values.get("NextToken", "token-0").removeprefix("token-"))
    members = ""
    for logical, physical in list(stack.resources.items())[first : first + stack.page]:
        status = "CREATE_COMPLETE" if physical else "CREATE_IN_PROGRESS"
        inside = _tags(LogicalResourceId=logical, PhysicalResourceId=physical, ResourceStatus=status, ResourceType="x")
        members += f"<member>{inside}<LastUpdatedTimestamp>2026-11-21T09:00:00Z</LastUpdatedTimestamp></member>"
    more = first + stack.page < len(stack.resources)
    token = _tags(NextToken=f"token-{first + stack.page}") if more else ""
    return f"<StackResourceSummaries>{members}</StackResourceSummaries>{token}"


def _described(name: str, stack: Stack, _: Mapping[str, str]) -> str:
    outputs = "".join(
        f"<member>{_tags(OutputKey=key, OutputValue=value)}</member>" for key, value in stack.outputs.items()
    )
    about = _tags(StackName=name, StackStatus="CREATE_COMPLETE", CreationTime="2026-11-21T09:00:00Z")
    return f"<Stacks><member>{about}<Outputs>{outputs}</Outputs></member></Stacks>"
