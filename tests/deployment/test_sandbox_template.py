"""How the sandbox reads a template."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox import template
from sandbox.blueprint import Function, Stack, StackContext

PARAMETERS = """
Parameters:
  Name: { Type: String, Default: app }
  Mode: { Type: String, Default: rehearse, AllowedValues: [rehearse, live] }
  Rate: { Type: Number, Default: 60, MinValue: 1 }
  Topic: { Type: String, Default: "", AllowedPattern: "^(arn:.+)?$" }
Mappings:
  Sizes: { live: { mb: 1769 }, rehearse: { mb: 512 } }
Conditions:
  IsLive: !Equals [!Ref Mode, live]
  HasTopic: !Not [!Equals [!Ref Topic, ""]]
  Both: !And [!Condition IsLive, !Condition HasTopic]
  Either: !Or [{ Condition: IsLive }, { Condition: HasTopic }]
"""


def read(tmp_path: Path, resources: str, parameters: Mapping[str, str] | None = None) -> Stack:
    path = tmp_path / "template.yaml"
    path.write_text(PARAMETERS + resources)
    return template.read(path, StackContext(endpoint_url="http://aws"), parameters, {"Api.ApiEndpoint": "http://pages"})


def variable(tmp_path: Path, value: str, parameters: Mapping[str, str] | None = None, more: str = "") -> str:
    """What a variable with this YAML becomes in a function's environment."""
    resources = f"""
Resources:
  Queue: {{ Type: AWS::SQS::Queue }}
  Other: {{ Type: "AWS::Serverless::Function", Properties: {{ Handler: a.b, AutoPublishAlias: live }} }}
  Api: {{ Type: "AWS::Serverless::HttpApi" }}
  Conditional: {{ Type: AWS::SQS::Queue, Condition: IsLive }}
  Main:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Environment: {{ Variables: {{ X: {value} }} }}
{more}"""
    return dict(read(tmp_path, resources, parameters).function("Main").environment)["X"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!Ref Rate", "60"),
        ("true", "true"),
        ("2012-10-17", "2012-10-17"),
        ('!Sub "${Name}-${AWS::AccountId}-${AWS::Region}"', "app-123456789012-eu-central-1"),
        ('!Sub ["${a}/${!literal}", { a: !Ref Name }]', "app/${literal}"),
        ('!Sub "${Queue.Arn}"', "arn:aws:sqs:eu-central-1:123456789012:notifier-Queue"),
        ("!Ref Queue", "http://aws/123456789012/notifier-Queue"),
        ("!GetAtt Queue.QueueName", "notifier-Queue"),
        ("!GetAtt Other.Arn", "arn:aws:lambda:eu-central-1:123456789012:function:notifier-Other"),
        ("!Ref Other.Alias", "arn:aws:lambda:eu-central-1:123456789012:function:notifier-Other:live"),
        ("!GetAtt Api.ApiEndpoint", "http://pages"),
        ('!Join ["-", [a, !Ref Name]]', "a-app"),
        ('!Select [1, !Split [",", "a,b,c"]]', "b"),
        ("!FindInMap [Sizes, !Ref Mode, mb]", "512"),
        ("!If [IsLive, a, b]", "b"),
        ("{ Fn::If: [Either, a, b] }", "b"),
    ],
)
def test_intrinsic_functions_are_resolved(tmp_path: Path, value: str, expected: str) -> None:
    """As CloudFormation does it; scalars come out as text."""
    assert variable(tmp_path, value) == expected


def test_parameters_can_be_overridden(tmp_path: Path) -> None:
    """And decide conditions."""
    given = {"Mode": "live", "Topic": "arn:x"}
    assert variable(tmp_path, "!If [Both, a, b]", given) == "a"
    assert variable(tmp_path, "!FindInMap [Sizes, !Ref Mode, mb]", given) == "1769"


def test_no_value_leaves_the_variable_out(tmp_path: Path) -> None:
    """AWS::NoValue is not the empty string."""
    with pytest.raises(KeyError):
        variable(tmp_path, "!If [IsLive, a, !Ref AWS::NoValue]")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!ImportValue shared", r"Main\.Environment\.Variables\.X: Fn::ImportValue is not known"),
        ("!Cidr [a, b]", r"Main\.Environment\.Variables\.X: Fn::Cidr is not known"),
        ("!Ref Nothing", r"Main\.Environment\.Variables\.X: Ref to Nothing"),
        ("!GetAtt Queue.Colour", r"Main\.Environment\.Variables\.X: GetAtt Queue\.Colour"),
        ("!Ref Conditional", r"Main\.Environment\.Variables\.X: Ref to Conditional"),
        ("!If [Absent, a, b]", r"no condition Absent"),
        ("!FindInMap [Sizes, none, mb]", r"nothing in Mappings under Sizes\.none\.mb"),
    ],
)
def test_what_cannot_be_resolved_is_named(tmp_path: Path, value: str, message: str) -> None:
    """With resource and property."""
    with pytest.raises(template.TemplateError, match=message):
        variable(tmp_path, value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Mode": "loud"}, "Mode: 'loud' is none of rehearse, live"),
        ({"Topic": "x"}, "Topic: 'x' does not match"),
        ({"Rate": "fast"}, "Rate: 'fast' is not a number"),
        ({"Rate": "0"}, "Rate: 0 is out of range"),
        ({"Absent": "1"}, "the template has no Absent"),
    ],
)
def test_parameters_are_held_to_their_declaration(tmp_path: Path, parameters: dict[str, str], message: str) -> None:
    """What CloudFormation would refuse is refused here."""
    with pytest.raises(template.TemplateError, match=message):
        variable(tmp_path, "x", parameters)


FULL = """
Globals:
  Function: { Timeout: 7, MemorySize: 300, Tracing: Active, Environment: { Variables: { A: global, B: global } } }
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: drop
      VersioningConfiguration: { Status: Enabled }
      NotificationConfiguration: { EventBridgeConfiguration: {} }
  Dead: { Type: AWS::SQS::Queue, Properties: { QueueName: dead, VisibilityTimeout: 120 } }
  Role: { Type: AWS::IAM::Role, Properties: { Anything: !GetAtt Unknown.Thing } }
  Removed: { Type: AWS::SQS::Queue, Condition: IsLive }
  Main:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: main
      Handler: app.main
      MemorySize: 400
      RecursiveLoop: Allow
      AutoPublishAlias: live
      Environment: { Variables: { B: own } }
      EphemeralStorage: { Size: 2048 }
      DeadLetterQueue: { Type: SQS, TargetArn: !GetAtt Dead.Arn }
      EventInvokeConfig: { MaximumRetryAttempts: 1, MaximumEventAgeInSeconds: 60 }
      Events:
        Drop:
          Type: S3
          Properties:
            Bucket: !Ref Bucket
            Events: s3:ObjectCreated:*
            Filter: { S3Key: { Rules: [{ Name: prefix, Value: in/ }, { Name: suffix, Value: .json }] } }
        Tick: { Type: Schedule, Properties: { Schedule: rate(1 minute) } }
        Rule: { Type: EventBridgeRule, Properties: { Pattern: { source: [x] } } }
        Page: { Type: HttpApi, Properties: { Method: get, Path: "/a/{b}", ApiId: !Ref Unknown } }
"""


def main_of(tmp_path: Path) -> Function:
    return read(tmp_path, FULL).function("Main")


def test_a_function_has_its_own_properties_before_the_global_ones(tmp_path: Path) -> None:
    """Environments are merged, other properties replaced."""
    function = main_of(tmp_path)
    assert (function.timeout_s, function.memory_mb, function.ephemeral_storage_mb) == (7, 400, 2048)
    assert dict(function.environment) == {"A": "global", "B": "own"}
    assert (function.loop_allowed, function.traced, function.alias) == (True, True, "live")


def test_retries_and_dead_letter_queue_are_read(tmp_path: Path) -> None:
    """EventInvokeConfig and DeadLetterQueue."""
    retries = main_of(tmp_path).retries
    assert (retries.attempts, retries.max_age_s) == (1, 60)
    assert retries.dead_letter_arn == "arn:aws:sqs:eu-central-1:123456789012:dead"


def test_events_become_notifications_rules_and_routes(tmp_path: Path) -> None:
    """All of them invoke the alias."""
    stack = read(tmp_path, FULL)
    alias = "arn:aws:lambda:eu-central-1:123456789012:function:main:live"
    (notification,) = stack.bucket("Bucket").notifications
    assert (notification.function_arn, notification.prefix, notification.suffix) == (alias, "in/", ".json")
    assert [(rule.schedule, rule.pattern, rule.target_arn) for rule in stack.rules] == [
        ("rate(1 minute)", "", alias),
        ("", '{"source": ["x"]}', alias),
    ]
    (route,) = main_of(tmp_path).routes
    assert (route.method, route.path) == ("GET", "/a/{b}")


def test_false_conditions_remove_and_unbuilt_resources_are_passed_over(tmp_path: Path) -> None:
    """A role's properties are never resolved."""
    stack = read(tmp_path, FULL)
    assert [queue.name for queue in stack.queues] == ["dead"]
    assert stack.queues[0].attributes == (("VisibilityTimeout", "120"),)
    assert stack.bucket("Bucket").versioned
    assert stack.bucket("Bucket").event_bridge


def test_an_unknown_event_type_is_named(tmp_path: Path) -> None:
    """Rather than silently doing nothing."""
    with pytest.raises(template.TemplateError, match=r"Main\.Events\.E: events of type Kinesis"):
        variable(tmp_path, "x", more="      Events: { E: { Type: Kinesis, Properties: {} } }")


def test_the_products_own_template_can_be_read() -> None:
    """What deploys is what the sandbox runs."""
    stack = template.read(Path(__file__).parents[2] / "template.yaml")
    assert stack.function("WorkerFunction").loop_allowed
    assert stack.bucket("Bucket").notifications
    assert stack.table("Table").ttl_attribute == "expires_at"
