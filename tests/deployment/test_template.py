"""template.yaml: that it deploys, that no role allows more than needed, and the traps that no linter knows."""

import ast
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from approval.clients import ASK_TIMEOUTS_S
from approval.files import PREPARED as KEPT_BY_PAGES
from notifier.audience.unused import PREPARED, UNUSED
from notifier.composition.settings import Mode, Settings, check_time, read_settings
from notifier.dynamodb import Items
from notifier.events.triggers import OWN_PREFIXES
from notifier.lane_commands import command_lane
from notifier.model.kept_days import KEPT_BY_DEFAULT, read_kept_days
from notifier.model.run import Control, LaneState
from operations.test_files import PREFIX
from sandbox.intrinsics import Resolver
from sandbox.template import read
from tests.deployment.transformed_template import (
    ROOT,
    TEMPLATE,
    resources,
    source,
    statements,
    transformed,
    transformed_of,
)

BIN = Path(sys.executable).parent


def prefixes_in_code() -> set[str]:
    """Where in the bucket the deployed code has things: each text that begins like a key of ours."""
    deployed = [*(ROOT / "notifier").rglob("*.py"), *(ROOT / "approval").rglob("*.py")]
    key = re.compile(r"^([a-z][a-z-]*/)(run_id=|count_id=|test/|$)")
    found = {
        match[1]
        for path in deployed
        if not {"cli", "report", "convert"} & set(path.parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := key.match(node.value))
    }
    return found - {"mail/", "link/", "requests/", "static/"}  # templates and pages


def prefixes_written() -> set[str]:
    """Where the stack's roles may put objects."""
    resources_ = [
        str(resource)
        for _, statement in statements(transformed())
        if "s3:PutObject" in statement["Action"]
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    ]
    return {found[1] for text in resources_ for found in re.finditer(r"\}/([a-z-]+/)\*", text)}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Runs a tool in a world without an AWS account."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def with_a_circle() -> dict[str, Any]:
    """The standard circle: a function that names the bucket that notifies it."""
    function = {
        "Runtime": "python3.14",
        "Handler": "app.handler",
        "Role": "arn:aws:iam::123456789012:role/any",
        "Code": {"S3Bucket": "code", "S3Key": "code.zip"},
        "Environment": {"Variables": {"BUCKET": {"Ref": "Bucket"}}},
    }
    notified = {"Event": "s3:ObjectCreated:*", "Function": {"Fn::GetAtt": ["WorkerFunction", "Arn"]}}
    bucket = {"NotificationConfiguration": {"LambdaConfigurations": [notified]}}
    return {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": bucket},
            "WorkerFunction": {"Type": "AWS::Lambda::Function", "Properties": function},
        }
    }


@pytest.fixture(scope="module")
def found_by_linter(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What cfn-lint has against each template, as rule and message; by one process, which takes seconds to begin."""
    folder = tmp_path_factory.mktemp("templates")
    files = {"written": TEMPLATE, "transformed": folder / "transformed.json", "circle": folder / "circle.json"}
    files["transformed"].write_text(json.dumps(transformed()), encoding="utf-8")
    files["circle"].write_text(json.dumps(with_a_circle()), encoding="utf-8")
    result = run(BIN / "cfn-lint", "--format", "json", "--regions", "eu-west-1", "--template", *files.values())
    found: dict[str, list[str]] = {name: [] for name in files}
    names = {str(path): name for name, path in files.items()}
    for one in json.loads(result.stdout):
        found[names[one["Filename"]]].append(f"{one['Rule']['Id']} {one['Message']}")
    return found


def test_sam_accepts_the_template(found_by_linter: dict[str, list[str]]) -> None:
    """cfn-lint has nothing against the template as it is written: what `sam validate --lint` asks, too."""
    assert found_by_linter["written"] == []


def test_cloudformation_accepts_what_sam_makes_of_it(found_by_linter: dict[str, list[str]]) -> None:
    """cfn-lint has nothing against the transformed template; circles between resources show only there."""
    assert found_by_linter["transformed"] == []


def test_the_linter_would_see_a_circle(found_by_linter: dict[str, list[str]]) -> None:
    """A function that names the bucket that notifies it is found: so the linter has looked."""
    assert any(found.startswith("E3004") for found in found_by_linter["circle"])


def test_actions_are_named() -> None:
    """No statement allows a family of actions; each names what it allows."""
    for name, statement in statements(transformed()):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert [action for action in actions if "*" in action] == [], f"{name}: {statement}"


def test_resources_are_narrow() -> None:
    """A star in a resource is only at its end: for the keys of one prefix, or for the versions of the worker."""
    prefixes = "|".join(sorted(prefixes_in_code()))
    allowed = re.compile(
        rf"arn:\S+:s3:::\S+/({prefixes}|standing/|queries/|conversions/|schedules/|schedules/approved/"
        r"|audiences/(conversions|prepared|queried|cut)/"
        r"|batches/(schedules|remainders)/|\$\{SuppressionPrefix\})\*"
        # SES looks at the recipient's identity too, and at a default configuration set; the sender is a condition
        r"|arn:\S+:ses:\S+:(identity|configuration-set)/\*"
        r"|\$\{WorkerFunction\.Arn\}:\*"  # a run invokes the version that it began with
        # one prefix of the buckets that were given
        r"|.*'\$\{Arns\}/audiences/\*'.*\['/audiences/\*,', \{'Ref': 'AudienceBucketArns'\}\].*"
        # the tables of one database, and the buckets that were given for their data
        r"|arn:\S+:glue:\S+:table/\$\{AthenaDatabase\}/\*"
        r"|.*'\$\{Arns\}/\*'.*\['/\*,', \{'Ref': 'AthenaBucketArns'\}\].*"
    )
    for name, statement in statements(transformed()):
        if statement["Action"] == "lambda:GetAccountSettings":
            continue  # it has no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
        if statement.get("Sid") == "FindAndErasePeople":
            continue  # a person may be in any object; test_erasing_is_one_functions_right says who may
        listed = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for resource in listed:
            text = resource if isinstance(resource, str) else str(next(iter(resource.values())))
            assert "*" not in text or allowed.fullmatch(text), f"{name}: {text}"


def test_managed_policies_are_only_for_logs_and_traces() -> None:
    """What SAM attaches by itself covers logging and tracing, whose resources cannot be narrowed, and nothing more."""
    attached = {
        arn.rsplit("/", 1)[1]
        for _, role in resources(transformed(), "AWS::IAM::Role")
        for arn in role.get("ManagedPolicyArns", ())
    }
    assert attached == {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"}


def test_secrets_are_read_by_those_who_need_them() -> None:
    """GetSecretValue: of the gateways' secrets the worker alone, of BigQuery's the audiences, the pages their own."""
    reading = {
        name: statement["Resource"]
        for name, statement in statements(transformed())
        if "secretsmanager:GetSecretValue" in statement["Action"]
    }
    assert reading == {
        "WorkerReadsFcmSecret": {"Ref": "FcmSecretArn"},
        "WorkerReadsApnsSecret": {"Ref": "ApnsSecretArn"},
        "AudienceReadsBigQuerySecret": {"Ref": "BigQuerySecretArn"},
        "ApprovalFunctionRole": {"Ref": "ApprovalSigningSecret"},
        "ApprovalReadsWebhookSecret": {"Ref": "WebhookSecretArn"},
        "AuthorizerFunctionRole": {"Ref": "ApprovalSigningSecret"},
    }
    policies = dict(resources(transformed(), "AWS::IAM::Policy"))
    workers = [name for name in reading if name.startswith("Worker")]
    assert all(policies[name]["Roles"] == [{"Ref": "WorkerFunctionRole"}] for name in workers)
    assert policies["ApprovalReadsWebhookSecret"]["Roles"] == [{"Ref": "ApprovalFunctionRole"}]
    assert policies["AudienceReadsBigQuerySecret"]["Roles"] == [{"Ref": "AudienceFunctionRole"}]


def test_every_parameter_of_the_worker_publishes_a_version() -> None:
    """A parameter that the worker sees is in its version's description, or its new value would not reach the alias.

    SAM names the version after a hash in which parameters are not resolved.
    """
    template = transformed()
    parameters = set(template["Parameters"])
    [(_, version)] = resources(template, "AWS::Lambda::Version")
    worker = template["Resources"]["WorkerFunction"]["Properties"]
    # Reserved concurrency is the function's, not a version's: it counts at once.
    seen = {name for name in parameters if mentions(worker, name)} - {"WorkerConcurrency"}
    assert {"Mode", "FcmSecretArn", "RecurseBelowMs", "WorkerMemoryMb"} <= seen
    assert {name for name in seen if not mentions(version["Description"], name)} == set()


def widest(about: dict[str, Any]) -> str:
    """A longest value that a parameter takes, of those without a pattern that says more about its form."""
    if "AllowedValues" in about:
        return max(map(str, about["AllowedValues"]), key=len)
    if about["Type"] == "Number":
        return str(about["MaxValue"])
    return "x" * int(about["MaxLength"])


def test_the_longest_description_of_a_version_is_taken() -> None:
    """Lambda takes 256 characters. The longest that each parameter may be fit in there together."""
    about = source()["Parameters"]
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:" + "x" * 38 + "-AbCdEf"
    values = {
        "FcmSecretArn": secret,
        "ApnsSecretArn": secret,
        "BucketName": "x" * 25,
        "TraceSample": "99.99",
        **{name: "https://" + "x" * (about[name]["MaxLength"] - 8) for name in about if name.endswith("BaseUrl")},
    }
    for name, value in values.items():
        pattern = about[name]["AllowedPattern"]
        assert re.fullmatch(pattern, value), name
        assert len(value) == about[name].get("MaxLength", len(value)), name
        assert not re.fullmatch(pattern, value + "x") or "MaxLength" in about[name], f"{name} may be longer"
    [(_, version)] = resources(transformed(), "AWS::Lambda::Version")
    seen = {name for name in about if mentions(version["Description"], name)}
    values |= {name: widest(about[name]) for name in seen - values.keys()}
    # With a proxy its address is there in place of the gateways'.
    for proxy in ("", values["GatewayProxy"]):
        assert 200 < len(described(version["Description"], values | {"GatewayProxy": proxy})) <= 256


def described(description: Any, values: dict[str, str]) -> str:
    """The description of a version as CloudFormation writes it, with these parameters."""
    template = source()
    resolver = Resolver(values.__getitem__, lambda *_: "", template["Conditions"], template["Mappings"])
    return str(resolver.resolve(description, "Description"))


def test_defaults_fit_their_own_limits() -> None:
    """A default that a parameter would not take is refused by CloudFormation."""
    for name, about in source()["Parameters"].items():
        default = str(about.get("Default", ""))
        assert len(default) <= about.get("MaxLength", len(default)), name
        assert re.fullmatch(about.get("AllowedPattern", ".*"), default), name


def test_functions_that_invoke_themselves_may_do_so_for_long() -> None:
    """Lambda ends a chain of a function's own invocations after about 16, unless the function says otherwise."""
    template = transformed()
    chained = {
        resource["Fn::GetAtt"][0]
        for name, one in template["Resources"].items()
        if one["Type"] == "AWS::IAM::Policy" and "Invokes" in name
        for statement in one["Properties"]["PolicyDocument"]["Statement"]
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
        if "Fn::GetAtt" in resource
    }
    assert chained == {"WorkerFunction"}
    allowed = {
        name for name, one in resources(template, "AWS::Lambda::Function") if one.get("RecursiveLoop") == "Allow"
    }
    assert allowed == chained


def test_every_function_is_traced() -> None:
    """And API Gateway, where the trace of a request begins."""
    template = transformed()
    for name, one in resources(template, "AWS::Lambda::Function"):
        assert one["TracingConfig"] == {"Mode": "Active"}, name
    [(_, stage)] = resources(template, "AWS::ApiGateway::Stage")
    assert stage["TracingEnabled"] is True


def test_the_pages_have_one_stage() -> None:
    """SAM makes another one, named Stage, without throttle and tracing, unless OpenApiVersion is there.

    The gateway's own error pages and the authorizer stay as they are without it.
    """
    template = transformed(MailFrom="ops@example.com")
    [(_, deployment)] = resources(template, "AWS::ApiGateway::Deployment")
    assert "StageName" not in deployment
    [(_, stage)] = resources(template, "AWS::ApiGateway::Stage")
    [setting] = stage["MethodSettings"]
    assert (setting["ThrottlingRateLimit"], setting["ThrottlingBurstLimit"]) == (50, 100)
    before = source()
    del before["Resources"]["ApprovalApi"]["Properties"]["OpenApiVersion"]
    old, new = (
        one["Resources"]["ApprovalApi"]["Properties"]["Body"]
        for one in (transformed_of(before, {"MailFrom": "ops@example.com"}), template)
    )
    pages = "x-amazon-apigateway-gateway-responses"
    assert {name: page | {"statusCode": ""} for name, page in old[pages].items()} == {
        name: page | {"statusCode": ""} for name, page in new[pages].items()
    }
    assert str(old[pages]["UNAUTHORIZED"]["statusCode"]) == new[pages]["UNAUTHORIZED"]["statusCode"] == "401"
    assert new["components"]["securitySchemes"]["Session"] == old["securityDefinitions"]["Session"]
    assert {path: one for path, one in new["paths"].items() if one != old["paths"][path]} == {}


@pytest.mark.parametrize("name", ["FcmSecretArn", "ApnsSecretArn", "BigQuerySecretArn"])
def test_a_secrets_arn_is_whole(name: str) -> None:
    """Without the six characters that AWS adds, IAM allows no secret: it deploys, and the first run is stopped."""
    pattern = source()["Parameters"][name]["AllowedPattern"]
    begin = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
    for arn in (
        "",
        f"{begin}notifier/fcm-AbCdE1",
        f"{begin}fcm-prod-x1y2z3",
        begin.replace("aws", "aws-cn") + "f-AbCdE1",
    ):
        assert re.fullmatch(pattern, arn), arn
    for arn in (f"{begin}notifier/fcm", f"{begin}fcm-", f"{begin}fcm-AbCdE", "notifier/fcm-AbCdE1", f"{begin}-AbCdE1"):
        assert not re.fullmatch(pattern, arn), arn


def test_the_audit_trail_is_there_without_the_pages() -> None:
    """The table of the pages has no condition: pages that come back go on with the same trail."""
    table = source()["Resources"]["ApprovalTable"]
    assert "Condition" not in table
    assert [one.logical_id for one in read(TEMPLATE, parameters={"MailFrom": ""}).tables] == [
        one.logical_id for one in read(TEMPLATE, parameters={"MailFrom": "ops@example.com"}).tables
    ]


def test_mail_may_use_a_default_configuration_set() -> None:
    """SES asks for the right to the set that an identity has by default, and refuses the mail without it."""
    [mail] = [one for _, one in statements(transformed(MailFrom="a@b.c")) if one.get("Sid") == "Mail"]
    names = [resource["Fn::Sub"].rpartition(":")[2] for resource in mail["Resource"]]
    assert names == ["identity/*", "configuration-set/*"]


def test_it_deploys_without_questions() -> None:
    """`sam deploy` from the shipped samconfig.toml needs no --guided: every parameter has a default, rehearsal first.

    SAM gives no default to a bucket for the artifacts, to a stack's name and to capabilities; the file has all three.
    """
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))["default"]
    given = config["global"]["parameters"] | config["deploy"]["parameters"]
    assert (given["stack_name"], given["resolve_s3"], given["capabilities"]) == ("notifier", True, "CAPABILITY_IAM")
    assert given["confirm_changeset"] is False
    assert [name for name, about in source()["Parameters"].items() if "Default" not in about] == []
    assert source()["Parameters"]["Mode"]["Default"] == Mode.REHEARSE
    # CAPABILITY_IAM is not enough for roles and managed policies with names of their own.
    template = transformed(MailFrom="ops@example.com")
    assert [name for name, role in resources(template, "AWS::IAM::Role") if "RoleName" in role] == []
    assert list(resources(template, "AWS::IAM::ManagedPolicy")) == []


def test_published_versions_survive() -> None:
    """Neither a new version nor a deleted stack takes the version away in which a run is under way."""
    [version] = [one for one in transformed()["Resources"].values() if one["Type"] == "AWS::Lambda::Version"]
    assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_dropped_files_reach_the_published_version() -> None:
    """S3 or EventBridge, never both; the alias, for everything under batches/: the worker says what it ignores."""
    [(_, bucket)] = resources(transformed(), "AWS::S3::Bucket")
    notified = {}
    [condition, by_s3, by_event_bridge] = bucket["NotificationConfiguration"]["Fn::If"]
    assert (condition, by_event_bridge) == ("ByS3", {"EventBridgeConfiguration": {"EventBridgeEnabled": True}})
    for one in by_s3["LambdaConfigurations"]:
        rules = {rule["Name"]: rule["Value"] for rule in one["Filter"]["S3Key"]["Rules"]}
        notified[tuple(rules.items())] = one["Function"]
    assert notified == {(("prefix", "batches/"),): {"Ref": "WorkerFunctionAliaslive"}}


def test_nothing_is_kept_for_ever() -> None:
    """Each prefix that code has, writes to or reads from expires, and so do old versions and broken uploads.

    But for the lists of users whom every run leaves out: whoever asked for no pushes gets none next year either.
    """
    [(_, bucket)] = resources(transformed(), "AWS::S3::Bucket")
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    rules = [rule for rule in rules if "TagFilters" not in rule]
    prefix = source()["Parameters"]["SuppressionPrefix"]["Default"]
    rules = [rule | {"Prefix": prefix} if rule["Id"] == "suppression" else rule for rule in rules]
    expire = {rule["Prefix"] for rule in rules if "ExpirationInDays" in rule}
    batches = PREFIX.partition("/")[0] + "/"
    assert expire == set(OWN_PREFIXES) | {batches}
    # Releases that counted by themselves have written counts/.
    # Schedules and the copies of what was approved go on for months.
    # caps/ is the audience function's; the privacy officers' may write anywhere, and keeps its answers in lookups/.
    assert prefixes_written() | {"audiences/", "caps/", "counts/", "lookups/"} == expire | {"schedules/"}
    # What people put there for many campaigns: nobody would look for what expired under a query or a goal.
    kept = {prefix, "queries/", "conversions/", "standing/", "schedules/"}
    assert prefixes_in_code() == expire | kept
    # What has expired stays as an old version, for a day: only what a run reads by its version stays longer.
    read_by_version = {"batches/", "audiences/"}
    one_day = {rule["Prefix"] for rule in rules if rule.get("NoncurrentVersionExpiration") == {"NoncurrentDays": 1}}
    assert one_day == (expire - read_by_version) | {"suppression/"}
    for_all = {key for rule in rules if "Prefix" not in rule for key in rule}
    assert {"NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", "ExpiredObjectDeleteMarker"} <= for_all


def test_prepared_audiences_that_nothing_uses_expire() -> None:
    """After two days, by the tag that the audience function gives; versions stay as long as any other."""
    [(_, bucket)] = resources(transformed(), "AWS::S3::Bucket")
    [rule] = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if "TagFilters" in rule]
    assert (rule["Prefix"], rule["ExpirationInDays"]) == (PREPARED, 2)
    assert rule["TagFilters"] == [{"Key": UNUSED, "Value": "true"}]
    assert "NoncurrentVersionExpiration" not in rule


def test_the_pages_keep_what_is_in_review_and_ask_for_its_versions() -> None:
    """Else it would expire as unused during the review, and its version could not be found."""
    template = transformed(Approvers="bob@example.com", MailFrom="push@example.com")
    allowed = {
        (action, str(where).partition("${AWS::Region}")[2].rstrip("'}"))
        for name, statement in statements(template)
        if name == "ApprovalFunctionRole"
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        for where in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    }
    assert ("s3:GetObjectVersion", "/audiences/*") in allowed
    assert {("s3:DeleteObjectTagging", f"/{PREPARED}*"), ("s3:DeleteObjectVersionTagging", f"/{PREPARED}*")} <= allowed
    assert KEPT_BY_PAGES == PREPARED


def test_a_run_is_over_before_what_it_goes_on_from_is_deleted() -> None:
    """The sweeper knows the days of every prefix that a run that waits reads again when it goes on.

    Batch files and audiences are read by their version, which stays for as long again after the object's own days.
    """
    [(_, bucket)] = resources(transformed(), "AWS::S3::Bucket")
    rules = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if "TagFilters" not in rule]
    days = {
        rule["Prefix"]: rule["ExpirationInDays"]["Ref"]
        for rule in rules
        # What caps are judged by, and answers of look-ups, have days of their own: no run goes on from them.
        if "ExpirationInDays" in rule and rule["Id"] not in ("caps", "lookups")
    }
    [old] = [rule["NoncurrentVersionExpiration"] for rule in rules if rule["Id"] == "old-versions"]
    assert not {"Prefix", "Filter"} & {key for rule in rules if rule["Id"] == "old-versions" for key in rule}
    read_again = ("batches/", "audiences/", "state/", "deferred/", "rows/")
    known = {days[prefix] for prefix in read_again} | {old["NoncurrentDays"]["Ref"]}
    variables = transformed()["Resources"]["SweeperFunction"]["Properties"]["Environment"]["Variables"]
    given = {value["Ref"] for name, value in variables.items() if name.endswith("_DAYS")}
    assert given == known == {"BatchFileDays", "WorkDays", "ResultDays"}
    settings = read_settings(environment("SweeperFunction"))
    assert (settings.batch_file_days, settings.work_days, settings.result_days) == (30, 30, 180)


@pytest.mark.parametrize("function", ["AudienceFunction", "ApprovalFunction"])
def test_who_refuses_a_late_start_knows_how_long_files_are_kept(function: str) -> None:
    """The worker reads it from the audience function, where it is always the newest; the pages have it themselves."""
    variables = transformed()["Resources"][function]["Properties"]["Environment"]["Variables"]
    given = {name: variables[name] for name in ("BATCH_FILE_DAYS", "WORK_DAYS", "RESULT_DAYS")}
    assert [value["Ref"] for value in given.values()] == ["BatchFileDays", "WorkDays", "ResultDays"]
    assert read_kept_days(environment(function)) == KEPT_BY_DEFAULT


def test_the_bucket_is_closed() -> None:
    """Encrypted, versioned, never public, by TLS only: the policy covers the bucket and all that is in it."""
    [(_, bucket)] = resources(transformed(), "AWS::S3::Bucket")
    [encryption] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    [(_, policy)] = resources(transformed(), "AWS::S3::BucketPolicy")
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement == {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_only_schedules_approve_the_files_of_schedules() -> None:
    """The pages may say that any other batch file is approved; of those the function of the schedules says it alone."""
    schedules = ["approved#*/batches/schedules/*", "approved#*/batches/remainders/*"]
    found = [
        (name, statement["Effect"], tuple(test.get("dynamodb:LeadingKeys", ())))
        for name, statement in statements(transformed())
        # Who reads an approval says nothing.
        if statement["Action"] == "dynamodb:PutItem"
        for test in statement.get("Condition", {}).values()
    ]
    saying = {one for one in found if any(str(key).startswith("approved#") for key in one[2])}
    assert saying == {
        ("ScheduleFunctionRole", "Allow", tuple(schedules)),
        ("ApprovalFunctionRole", "Allow", ("approved#*",)),
        ("ApprovalFunctionRole", "Deny", tuple(schedules)),
    }


def test_erasing_is_one_functions_right() -> None:
    """Nobody else may delete objects or read the whole bucket; the pages may only ask, and the officers are in both."""
    template = transformed(PrivacyOfficers="olive@example.com", MailFrom="push@example.com")
    whole = {
        (name, action)
        for name, statement in statements(template)
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        if action.startswith("s3:Delete") or str(statement["Resource"]).endswith("${AWS::Region}/*'}")
    }
    # Of prepared audiences: by whoever takes one.
    tags = {
        (role, action)
        for role in ("WorkerFunctionRole", "ApprovalFunctionRole")
        for action in ("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging")
    }
    actions = ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObjectVersion")
    assert whole - tags == {("PrivacyFunctionRole", action) for action in actions}
    [asked] = [
        name
        for name, statement in statements(template)
        if statement["Action"] == "lambda:InvokeFunction" and "PrivacyFunction" in str(statement["Resource"])
        if name != "PrivacyBeginsItsWork"
    ]
    assert asked == "PagesAskThePrivacyFunction"
    officers = {"Ref": "PrivacyOfficers"}
    for function in ("PrivacyFunction", "ApprovalFunction", "AuthorizerFunction"):
        variables = template["Resources"][function]["Properties"]["Environment"]["Variables"]
        assert variables["PRIVACY_OFFICERS"] == officers
    assert template["Resources"]["PrivacyFunction"]["Condition"] == "HasOfficers"
    # An erasure at a run's end is asked for by nobody who would ask once more.
    assert template["Resources"]["PrivacyFunctionEventInvokeConfig"]["Properties"]["MaximumRetryAttempts"] == 1
    # What waits for no run is erased within a day, and a schedule of the same hour each day is met by few of these.
    every = template["Resources"]["PrivacyFunctionEverySevenHours"]["Properties"]["ScheduleExpression"]
    assert every == "rate(7 hours)"
    alarm = template["Resources"]["PrivacyErrorsAlarm"]
    watched = alarm["Properties"]
    assert (watched["MetricName"], alarm["Condition"]) == ("Errors", "HasOfficers")
    assert watched["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "PrivacyFunction"}}]
    assert watched["OKActions"] == watched["AlarmActions"]
    # A file that is put under batches/ is sent: what reads and rewrites people may not begin a run.
    [denied] = [
        (statement["Action"], str(statement["Resource"]).rpartition("/batches")[2])
        for name, statement in statements(template)
        if (name, statement["Effect"]) == ("PrivacyFunctionRole", "Deny")
    ]
    assert denied == ("s3:PutObject", "/*'}")


class Writes:
    """A table that keeps which attributes were named in its updates; the lane in it is in the state given."""

    def __init__(self, state: LaneState) -> None:
        self.named: set[str] = set()
        self._lane = {"pk": {"S": "run#r"}, "sk": {"S": "lane#0000"}, "state": {"S": state.value}, "span": {"S": "{}"}}

    def update_item(self, **request: Any) -> dict[str, Any]:
        """As DynamoDB: the attributes of key, expression and condition are those that IAM is asked about."""
        self.named |= {*request["Key"], *request["ExpressionAttributeNames"].values()}
        return {"Attributes": self._lane}


def test_the_pages_may_write_a_command_and_nothing_else() -> None:
    """Without Lambda they give commands by the ledger: exactly the attributes of these writes are allowed."""
    [allowed] = [
        statement["Condition"]
        for name, statement in statements(transformed())
        if name == "ApprovalFunctionRole" and statement.get("Sid") == "PauseResumeCancelWithoutLambda"
    ]
    assert allowed["ForAllValues:StringLike"] == {"dynamodb:LeadingKeys": ["run#*"]}
    named = set[str]()
    for state, control in itertools.product(LaneState, Control):
        client = Writes(state)
        command_lane(Items(client, "ledger"), "r", 0, control, "ann", 1)
        named |= client.named
    assert set(allowed["ForAllValues:StringEquals"]["dynamodb:Attributes"]) == named


def test_tables_and_queues_are_safe() -> None:
    """Any second of the last 35 days can be brought back; items expire; what waits in a queue is encrypted."""
    tables = dict(resources(transformed(), "AWS::DynamoDB::Table"))
    assert tables.keys() == {"Table", "ApprovalTable"}
    for name, table in tables.items():
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}, name
    for name, queue in resources(transformed(), "AWS::SQS::Queue"):
        assert queue["SqsManagedSseEnabled"] is True, name


def test_logs_end() -> None:
    """Every function writes to a log group of its own, and what is in it goes after LogDays."""
    template = transformed()
    groups = dict(resources(template, "AWS::Logs::LogGroup"))
    used = [one["LoggingConfig"]["LogGroup"]["Ref"] for _, one in resources(template, "AWS::Lambda::Function")]
    # API Gateway's own, where they are asked for, are beside those of the functions.
    assert sorted([*used, "ApprovalAccessLogs"]) == sorted(groups)
    assert [group["RetentionInDays"] for group in groups.values()] == [{"Ref": "LogDays"}] * len(groups)


def test_keys_of_ones_own_are_for_everybody_who_touches_what_they_encrypt() -> None:
    """Roles that read or write the bucket may use the keys in KmsKeyArns, and no others."""
    template = transformed()
    policy = template["Resources"]["UseKmsKeys"]["Properties"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert statement["Resource"] == {"Ref": "KmsKeyArns"}
    using = {role["Ref"] if "Ref" in role else role["Fn::If"][1]["Ref"] for role in policy["Roles"]}
    roles = {name for name, one in template["Resources"].items() if one["Type"] == "AWS::IAM::Role"}
    touching = {
        name
        for name, statement in statements(template)
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        if action.startswith("s3:") and name in roles
    }
    assert using == touching


def test_a_stack_takes_up_the_bucket_that_a_former_one_left() -> None:
    """With ExistingBucket no bucket is made, and EventBridge invokes the worker; an output says how to turn it on."""
    left = read(TEMPLATE, parameters={"ExistingBucket": "true", "FcmSecretArn": ""})
    assert left.buckets == ()
    assert [json.loads(rule.pattern)["source"] for rule in left.rules if rule.pattern] == [["aws.s3"]]
    assert len(read(TEMPLATE).buckets) == 1
    template = transformed()
    listening = template["Outputs"]["ListenToTheBucket"]
    assert "EventBridgeConfiguration" in listening["Value"]["Fn::Sub"]
    makes = {name for name, one in template["Resources"].items() if one.get("Condition") == "MakesBucket"}
    assert makes == {"Bucket", "BucketPolicy"}


def test_data_outlives_the_stack() -> None:
    """The bucket with its policy and every table are kept when the stack is deleted or they are replaced.

    They are not when the deployment fails that was to make them: the next one would find the bucket in its way.
    """
    data = {"AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::DynamoDB::Table"}
    kept = {name: one for name, one in source()["Resources"].items() if one["Type"] in data}
    assert {"Bucket", "BucketPolicy", "Table", "ApprovalTable"} == kept.keys()
    for name, resource in kept.items():
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain"), name


NAMES = {
    "AlarmName", "BucketName", "DashboardName", "FunctionName", "GroupName", "LogGroupName", "ManagedPolicyName",
    "Name", "QueueName", "RoleName", "RuleName", "TableName", "TopicName",
}  # fmt: skip
"""Properties that name a resource for its whole account."""
REFERENCES = {"AWS::Lambda::Alias", "AWS::Lambda::Permission", "AWS::Lambda::Version", "AWS::Lambda::EventInvokeConfig"}
"""Types of which FunctionName says to whom they belong; an alias is named within its function."""


def test_a_stack_can_be_deployed_again_after_its_deletion() -> None:
    """What stays when a stack is deleted has a generated name, or a way for the next stack to take it up.

    CloudFormation fails with "already exists" on a resource of a given name that is there. The bucket is the one such
    resource that stays, and ExistingBucket is for it. The dashboard goes with its stack.
    """
    template = transformed(MailFrom="ops@example.com", AlarmEmail="ops@example.com")
    named = {
        name: template["Resources"][name].get("DeletionPolicy", "Delete")
        for name, one in template["Resources"].items()
        if one["Type"] not in REFERENCES and NAMES & set(one.get("Properties", {}))
    }
    assert named == {"Bucket": "RetainExceptOnCreate", "Dashboard": "Delete"}
    assert template["Resources"]["Bucket"]["Condition"] == "MakesBucket"
    stays = {name for name, one in template["Resources"].items() if "Retain" in one.get("DeletionPolicy", "")}
    [(version, _)] = resources(template, "AWS::Lambda::Version")
    assert stays == {"Bucket", "BucketPolicy", "Table", "ApprovalTable", version}


def test_functions_are_built_for_what_they_run_on() -> None:
    """The Makefile installs wheels for the runtime and the processor that the template names."""
    globals_ = source()["Globals"]["Function"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    version = globals_["Runtime"].removeprefix("python")
    assert f"LAMBDA_PYTHON := {version}\n" in makefile
    assert globals_["Architectures"] == ["arm64"]
    assert "LAMBDA_PLATFORM := aarch64-" in makefile


def test_every_function_has_a_build_target() -> None:
    """`sam build` finds a target of the Makefile for each function."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {word.rstrip(":") for line in makefile.splitlines() if line.startswith("build-") for word in line.split()}
    functions = {name for name, one in source()["Resources"].items() if one["Type"] == "AWS::Serverless::Function"}
    assert functions
    assert {f"build-{name}" for name in functions} <= targets


def test_every_parameter_is_explained_and_grouped() -> None:
    """The deployment form shows each parameter in a group, with a description."""
    template = source()
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    assert [name for name, about in template["Parameters"].items() if not about.get("Description")] == []


@pytest.mark.parametrize("mode", ["rehearse", "live"])
def test_a_first_deployment_rehearses(mode: str) -> None:
    """Mode knows two values; without a word from the operator no push reaches a phone."""
    about = source()["Parameters"]["Mode"]
    assert mode in about["AllowedValues"]
    assert about["Default"] == "rehearse"


def environment(function: str) -> dict[str, str]:
    """The variables of a function, as a stack with nothing but defaults sets them; a resource's name is a text."""
    template = transformed()
    defaults = {name: str(about.get("Default", "")) for name, about in template["Parameters"].items()}
    variables = template["Resources"][function]["Properties"]["Environment"]["Variables"]
    return {
        name: str(defaults.get(value["Ref"], value["Ref"]))
        if isinstance(value, dict) and "Ref" in value
        else str(value)
        for name, value in variables.items()
    }


@pytest.mark.parametrize("function", ["WorkerFunction", "SweeperFunction", "ControlFunction"])
def test_every_variable_is_a_setting(function: str) -> None:
    """What the template sets is what the notifier reads, and the defaults are fit to run with."""
    variables = environment(function)
    known = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    assert set(variables) - known == set()
    settings = read_settings(variables)
    assert settings.mode is Mode.REHEARSE
    check_time(settings, int(source()["Parameters"]["WorkerTimeoutSeconds"]["Default"]) * 1000)


def mentions(value: Any, name: str) -> bool:
    """Whether a value of a template refers to a parameter, by Ref or inside a Sub."""
    text = json.dumps(value)
    return f'{{"Ref": "{name}"}}' in text or f"${{{name}}}" in text


def test_the_pages_answer_whoever_waits_for_another_function() -> None:
    """Connecting to it and waiting for it take less than the pages' own time-out, and API Gateway's of 29 s."""
    timeout_s = int(source()["Resources"]["ApprovalFunction"]["Properties"]["Timeout"])
    assert sum(ASK_TIMEOUTS_S) < timeout_s < 29


@pytest.mark.parametrize("given", ["", "21:00-08:00", "marketing:3/7"])
@pytest.mark.parametrize("timezone", ["", "Europe/London"])
@pytest.mark.parametrize("parameter", ["DefaultQuietHours", "DefaultCaps"])
def test_what_needs_a_time_zone(parameter: str, timezone: str, given: str) -> None:
    """Without DefaultTimezone, for users who have none, quiet hours and caps are refused before a stack is made."""
    template = source()
    values = {"DefaultQuietHours": "", "DefaultCaps": "", "DefaultTimezone": timezone, parameter: given}
    resolver = Resolver(values.__getitem__, lambda *_: "", {}, {})

    def is_refused(name: str, rule: dict[str, Any]) -> bool:
        asserted = [resolver.resolve(one["Assert"], name) for one in rule["Assertions"]]
        return bool(resolver.resolve(rule["RuleCondition"], name)) and not all(asserted)

    refused = {name for name, rule in template["Rules"].items() if is_refused(name, rule)}
    names = {"DefaultQuietHours": "QuietHoursNeedATimezone", "DefaultCaps": "CapsNeedATimezone"}
    assert refused == ({names[parameter]} if given and not timezone else set())
