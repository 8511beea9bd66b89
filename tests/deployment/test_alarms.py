"""Alarms and dashboard against the code: every metric that is watched is one that is written, with those dimensions."""

import ast
import contextlib
import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from approval.mail import count_failure
from audiences.unknown_users import METRIC as UNKNOWN_USERS
from audiences.unknown_users import log_unknown
from notifier.composition.hop_metrics import (
    HopMetrics,
    Observer,
    ended,
    ignored,
    stopped,
    suppression_unreadable,
    swept,
)
from notifier.composition.settings import Settings
from notifier.model.account import Account
from notifier.model.campaign_reading import read_campaign
from notifier.model.conversion_counts import ConversionCounts
from notifier.model.cursor import Cursor
from notifier.model.exchange import Answer
from notifier.model.outcome import Disposition, Outcome, Verdict
from notifier.model.recipient import Device, Platform
from notifier.model.run import HAND_OVER_MS, Ending, Lane, LaneState
from notifier.sending.batch import Batch, Push
from notifier.telemetry import NO_TRACE, Dimension, JsonLog, Metric, Metrics, Tracing
from notifier.telemetry.metrics import NAMESPACE, UNITS, VALUES_MAX, Reading
from notifier.telemetry.trace import Trace
from schedules.app import METRIC as SCHEDULES
from schedules.app import Log as ScheduleLog
from tests.deployment.transformed_template import ROOT, resources, source, transformed

STACK = "notifier"
CAMPAIGN = read_campaign({"id": "c1", "message": {"title": "x"}})


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Lines:
    """What would stand in the log."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, text: str) -> int:
        self.lines += [json.loads(line) for line in text.splitlines()]
        return len(text)

    def metrics(self) -> set[tuple[str, frozenset[str]]]:
        """Names with their dimensions, as CloudWatch would make them."""
        return {
            (metric["Name"], frozenset(dimensions))
            for line in self.lines
            for directive in line["_aws"]["CloudWatchMetrics"]
            for dimensions in directive["Dimensions"]
            for metric in directive["Metrics"]
        }


def a_hop(account: Account) -> Any:
    """A hop, as far as its watch looks at it."""
    return SimpleNamespace(
        checkpoint=SimpleNamespace(account=account, unsettled=0, lane=SimpleNamespace(run_id="r1")),
        dispatch=SimpleNamespace(open_count=0),
        deadline=SimpleNamespace(remaining_ms=lambda: 1_000),
    )


def everything_told() -> Lines:
    """Goes through everything that writes metrics."""
    lines, clock = Lines(), Clock()
    metrics = Metrics(STACK, clock.now, lines.write)
    settings = Settings(bucket="b", table="t", stack=STACK)
    watch = HopMetrics(settings, clock, JsonLog("ERROR"), metrics, NO_TRACE)
    account = Account()
    hop = a_hop(account)
    watch.begin(hop)
    batch = Batch("r1", "c1", 0, 0, Cursor())
    push = Push(batch, 0, 0, "u1", "a", Device(Platform.ANDROID, "token"), "fcm")
    watch.sending.answered(push, Answer(ticket=None, latency_s=0.1, status=404), Verdict(Disposition.DROP_TOKEN))
    for outcome, reason in (
        (Outcome.ACCEPTED, None), (Outcome.REJECTED, "UNREGISTERED"), (Outcome.FAILED, "x"), (Outcome.HELD, None),
    ):  # fmt: skip
        account.count("a", outcome, reason)
    watch.end(hop)
    observer = Observer(settings, clock, JsonLog("ERROR"))
    observer.metrics = metrics
    with observer.invocation("", "worker"):
        observer.began(Lane("r1", state=LaneState.RESTING, due_at_ms=1), 5_000)
    for ending in Ending:
        metrics.emit(ended(Lane("r1", ending=ending)))
    for reason in ("credentials_refused: x", "no_progress: x", "payload_refused", None):
        metrics.emit(stopped(reason))
    metrics.emit(swept(1))
    # The pages write theirs by themselves.
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        count_failure(STACK)
    lines.write(written.getvalue())
    metrics.emit(ignored(1))
    metrics.emit(suppression_unreadable())
    counts = ConversionCounts((), (), "", "", None, False, seen=100, unknown=98, unreadable=0)
    log_unknown(counts, "r1", "opened", STACK, clock.now(), lines.write)
    ScheduleLog(STACK, clock.now, lines.write)("occurrence", alarms=True, schedule="a", state="missed")
    return lines


def alarms() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each metric that an alarm of ours looks at, with the alarm's name."""
    for name, alarm in resources(transformed(), "AWS::CloudWatch::Alarm"):
        queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
        for metric in queries or [alarm]:
            yield name, metric


def test_every_alarm_watches_what_is_written() -> None:
    """Name and dimensions of each alarm's metric are exactly those of a metric that the code writes."""
    written = everything_told().metrics()
    ours = [(name, metric) for name, metric in alarms() if metric["Namespace"] == NAMESPACE]
    assert len(ours) >= 8
    for name, metric in ours:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
        assert (metric["MetricName"], frozenset(dimensions)) in written, name
        assert dimensions[Dimension.STACK] == {"Ref": "AWS::StackName"}, name
    foreign = {
        (metric["Namespace"], metric["MetricName"], tuple(one["Name"] for one in metric["Dimensions"]))
        for _, metric in alarms()
        if metric["Namespace"] != NAMESPACE
    }
    # By https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html and
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    assert foreign == {
        ("AWS/Lambda", "Throttles", ("FunctionName",)),
        ("AWS/Lambda", "AsyncEventsDropped", ("FunctionName",)),
        ("AWS/Lambda", "Errors", ("FunctionName",)),
        ("AWS/ApiGateway", "5XXError", ("ApiName", "Stage")),
    }


@pytest.mark.parametrize(
    ("alarm", "metric", "function", "minutes"),
    [
        # Invocations wait in Lambda's queue for a while in any busy account: three times five minutes, each with one.
        ("WorkerThrottledAlarm", "Throttles", "WorkerFunction", 15),
        # A command that was refused, and a file that nobody works on, need a person at once.
        ("ControlThrottledAlarm", "Throttles", "ControlFunction", 5),
        ("EventsDroppedAlarm", "AsyncEventsDropped", "WorkerFunction", 5),
    ],
)
def test_what_lambda_refuses_or_drops_alarms(alarm: str, metric: str, function: str, minutes: int) -> None:
    """One is enough, of the function that it is named for, in each five minutes of the time that is watched."""
    about = transformed()["Resources"][alarm]["Properties"]
    assert (about["Namespace"], about["MetricName"]) == ("AWS/Lambda", metric)
    assert about["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": function}}]
    assert (about["Statistic"], about["Threshold"]) == ("Sum", 1)
    assert about["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert (about["Period"], about["Period"] * about["EvaluationPeriods"]) == (300, minutes * 60)
    assert "DatapointsToAlarm" not in about, "all periods, not some of them"
    assert about["TreatMissingData"] == "notBreaching"


def test_silence_is_fine_except_the_sweepers() -> None:
    """Without runs nothing is written, and that is fine; a sweeper that writes nothing is what its alarm is for."""
    found = {name: alarm["TreatMissingData"] for name, alarm in resources(transformed(), "AWS::CloudWatch::Alarm")}
    assert {name for name, missing in found.items() if missing == "breaching"} == {
        "SweeperSilentAlarm",
        "NoDailyRunAlarm",
    }
    assert set(found.values()) == {"breaching", "notBreaching"}
    silent = transformed()["Resources"]["SweeperSilentAlarm"]["Properties"]
    sweeper = source()["Resources"]["SweeperFunction"]["Properties"]["Events"]["EveryMinute"]["Properties"]
    assert (silent["Statistic"], silent["Threshold"], silent["ComparisonOperator"]) == ("Sum", 1, "LessThanThreshold")
    assert sweeper["Schedule"] == "rate(1 minute)"
    assert silent["Period"] * silent["EvaluationPeriods"] >= 3 * 60


def test_what_is_asked_for_has_an_alarm_and_a_description() -> None:
    """Each says what to look at, and docs/operations.md has a row for it that goes on from there."""
    alarms_ = dict(resources(transformed(), "AWS::CloudWatch::Alarm"))
    assert alarms_.keys() == {
        "RunFailedAlarm", "RunStoppedAlarm", "StalledLaneAlarm", "DeadLetterAlarm", "RejectionRateAlarm",
        "CredentialsRefusedAlarm", "NoProgressAlarm", "SuppressionUnreadableAlarm",
        "ScheduleTroubleAlarm", "SweeperSilentAlarm", "UnknownUsersAlarm",
        "WorkerThrottledAlarm", "MailFailedAlarm",
        "NoDailyRunAlarm", "ControlThrottledAlarm", "EventsDroppedAlarm", "ApprovalErrorsAlarm", "PrivacyErrorsAlarm",
    }  # fmt: skip
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("## Alarms")[2].partition("\n## ")[0]
    for name, alarm in alarms_.items():
        assert len(alarm["AlarmDescription"]) > 30, name
        assert f"| `{name}` |" in text, name


LAMBDA = {"Invocations", "Errors", "Throttles", "AsyncEventsDropped"}
"""Of AWS/Lambda by FunctionName: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""


def test_the_dashboard_shows_what_aws_writes() -> None:
    """What is shown beyond our own metrics has AWS' dimensions, of this stack's function and queue."""
    [(_, dashboard)] = resources(transformed(), "AWS::CloudWatch::Dashboard")
    foreign = []
    for widget in json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]:
        above: list[str] = []
        for metric in widget["properties"]["metrics"]:
            if isinstance(metric[0], dict) or metric[0] == NAMESPACE:
                continue
            above = [above[n] if part == "." else part for n, part in enumerate(metric)]
            foreign.append(tuple(above))
    assert set(foreign) == {
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${DeadLetterQueue.QueueName}"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${SpentLetterQueue.QueueName}"),
        *(("AWS/Lambda", name, "FunctionName", "${WorkerFunction}") for name in LAMBDA),
    }


def test_the_stack_is_told_to_the_code() -> None:
    """The dimension's value in the alarms is what the functions get as STACK."""
    assert source()["Globals"]["Function"]["Environment"]["Variables"]["STACK"] == {"Ref": "AWS::StackName"}
    lines = Lines()
    Metrics("my-stack", Clock().now, lines.write).emit(swept(0))
    assert lines.lines[0]["Stack"] == "my-stack"


def test_every_metric_is_written_by_something() -> None:
    """A name that is never written is taken out of the enum."""
    assert {name for name, _ in everything_told().metrics()} == {metric.value for metric in Metric} | {
        "MailsFailed"
    } | {SCHEDULES, UNKNOWN_USERS}


def test_the_dashboard_shows_what_is_written() -> None:
    """Each graph of the dashboard is of a metric that the code writes, and every metric has its graph."""
    [(_, dashboard)] = resources(transformed(), "AWS::CloudWatch::Dashboard")
    written = everything_told().metrics()
    shown = set()
    for widget in json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]:
        for metric in widget["properties"]["metrics"]:
            if metric[0] == NAMESPACE:
                names = [part for part in metric[2:] if isinstance(part, str)]
                shown.add((metric[1], frozenset(names[::2])))
            elif isinstance(metric[0], dict):
                expression = metric[0]["expression"]
                dimensions = expression.partition("{Notifier,")[2].partition("}")[0].split(",")
                shown.add((expression.partition('MetricName="')[2].partition('"')[0], frozenset(dimensions)))
    assert shown - written == set()
    assert {name for name, _ in shown} == {metric.value for metric in Metric} | {"MailsFailed"}


@pytest.mark.parametrize(
    ("parameters", "recipient"),
    [
        ({}, "nobody"),
        ({"AlarmEmail": "ops@example.com"}, "email"),
        ({"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:ops"}, "topic"),
        ({"AlarmEmail": "ops@example.com", "AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:ops"}, "topic"),
    ],
)
def test_whom_an_alarm_notifies(parameters: dict[str, str], recipient: str) -> None:
    """An email address makes a topic with a subscription; a topic of one's own is used as it is, and wins."""
    conditions = source()["Conditions"]
    has_topic = bool(parameters.get("AlarmTopicArn"))
    makes_topic = not has_topic and bool(parameters.get("AlarmEmail"))
    assert conditions["MakesAlarmTopic"]["Fn::And"][0] == {"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}
    assert {"nobody": (False, False), "email": (False, True), "topic": (True, False)}[recipient] == (
        has_topic,
        makes_topic,
    )
    for name, alarm in resources(transformed(), "AWS::CloudWatch::Alarm"):
        assert alarm["AlarmActions"] == {
            "Fn::If": [
                "HasAlarmTopic",
                [{"Ref": "AlarmTopicArn"}],
                {"Fn::If": ["MakesAlarmTopic", [{"Ref": "AlarmTopic"}], []]},
            ]
        }, name
        # A message when it is over, too: otherwise who was woken has to go and look.
        assert alarm["OKActions"] == alarm["AlarmActions"], name


def test_a_day_without_a_run_alarms_where_one_is_expected() -> None:
    """Only with DailyRunAlarm: a stack that sends now and then would be red on every quiet day."""
    alarm = transformed()["Resources"]["NoDailyRunAlarm"]
    assert alarm["Condition"] == "ExpectsDailyRun"
    about = alarm["Properties"]
    assert (about["MetricName"], about["Period"] * about["EvaluationPeriods"]) == ("RunsCompleted", 86_400)
    assert (about["ComparisonOperator"], about["Threshold"]) == ("LessThanThreshold", 1)
    assert source()["Parameters"]["DailyRunAlarm"]["Default"] == "false"


def test_access_logs_hold_no_link() -> None:
    """They are off by default, because the account needs a role; no format has the query, which signs a person in."""
    template = transformed(MailFrom="ops@example.com")
    [(_, stage)] = resources(template, "AWS::ApiGateway::Stage")
    condition, setting, without = stage["AccessLogSetting"]["Fn::If"]
    assert (condition, without) == ("LogsAccess", {"Ref": "AWS::NoValue"})
    assert setting["DestinationArn"] == {"Fn::GetAtt": ["ApprovalAccessLogs", "Arn"]}
    fields = json.loads(setting["Format"])
    assert {"status", "path", "request", "ms"} <= fields.keys()
    assert not [value for value in fields.values() if "query" in value.lower() or "authorizer" in value.lower()]


def test_the_pages_alarm_looks_at_the_pages_stage() -> None:
    """CloudWatch knows an API by its title and stage: both are what the transform gives it."""
    template = transformed(MailFrom="ops@example.com")["Resources"]
    named = {one["Name"]: one["Value"] for one in template["ApprovalErrorsAlarm"]["Properties"]["Dimensions"]}
    [(_, stage)] = resources({"Resources": template}, "AWS::ApiGateway::Stage")
    title = template["ApprovalApi"]["Properties"]["Body"]["info"]["title"]
    assert named == {"ApiName": title, "Stage": stage["StageName"]}


def test_a_line_holds_what_cloudwatch_takes() -> None:
    """At most a hundred values of a metric, units by their names, nothing where there is nothing to report."""
    lines = Lines()
    metrics = Metrics(STACK, Clock().now, lines.write)
    metrics.emit(Reading({Metric.BATCH_LATENCY: list(range(1_000))}), Reading({}), run_id="r1")
    [line] = lines.lines
    assert len(line["BatchLatency"]) == VALUES_MAX
    assert line["run_id"] == "r1"
    assert line["_aws"]["Timestamp"] == 1_000_000
    assert set(UNITS.values()) <= {"Milliseconds", "Count/Second"}


def test_a_minute_is_told_once() -> None:
    """What earlier hops and earlier minutes have done is not reported again."""
    lines, clock = Lines(), Clock()
    metrics = Metrics(STACK, clock.now, lines.write)
    watch = HopMetrics(Settings(bucket="b", table="t"), clock, JsonLog("ERROR"), metrics, NO_TRACE)
    account = Account()
    account.arm("a").accepted = 1_000
    hop = a_hop(account)
    watch.begin(hop)
    for more in (10, 20):
        account.arm("a").accepted += more
        clock.sleep(60)
        watch.turn(hop)
    watch.turn(hop)
    watch.end(hop)
    reported = [line["Accepted"] for line in lines.lines if "Accepted" in line]
    assert reported == [10, 20, 0]
    assert [line["PushesPerSecond"] for line in lines.lines if "Accepted" in line][:2] == [0.2, 0.3]


def test_an_undocumented_word_is_no_dimension() -> None:
    """A gateway that makes up a word for each answer makes one more metric, and not thousands; the sum stays right."""
    lines, clock = Lines(), Clock()
    watch = HopMetrics(
        Settings(bucket="b", table="t"), clock, JsonLog("ERROR"), Metrics(STACK, clock.now, lines.write), NO_TRACE
    )
    account = Account()
    watch.begin(a_hop(account))
    for n in range(500):
        account.count("a", Outcome.REJECTED, f"http_400 MadeUp{n}")
    documented = ("UNREGISTERED", "INVALID_ARGUMENT token", "BadDeviceToken", "too_large", "http_413")
    for reason in documented:
        account.count("a", Outcome.REJECTED, reason)
    watch.end(a_hop(account))
    found = {line["Reason"]: line["Rejected"] for line in lines.lines if "Reason" in line}
    assert found == {"other": 500, **dict.fromkeys(documented, 1)}
    assert sum(line["Rejected"] for line in lines.lines if "Reason" not in line and "Rejected" in line) == 505


@pytest.mark.parametrize(
    ("lane", "dropped_at_ms", "lag_ms"),
    [
        (Lane("r", due_at_ms=500_000 + HAND_OVER_MS), 497_000, 3_500),
        (Lane("r", due_at_ms=500_000 + HAND_OVER_MS), None, 500),
        (Lane("r", due_at_ms=500_500 + HAND_OVER_MS), 500_700, 0),
        (Lane("r", epoch=1, due_at_ms=500_100 + HAND_OVER_MS), 200_000, 400),
        (Lane("r", epoch=1, state=LaneState.RESTING, due_at_ms=500_200), None, 300),
        (Lane("r", epoch=1, state=LaneState.RESTING, due_at_ms=500_501), None, None),
        (Lane("r", epoch=1, due_at_ms=500_100, control_at_ms=500_100), None, 400),
        (Lane("r", epoch=1, due_at_ms=500_100, reason="preparing: 3 files"), None, 400),
        (Lane("r", epoch=1, due_at_ms=500_100 + HAND_OVER_MS, reason="preparing: 3 files"), None, 400),
        (Lane("r", epoch=1, state=LaneState.RUNNING, due_at_ms=500_000), 497_000, None),
        (Lane("r", epoch=1, state=LaneState.DONE), 497_000, None),
        (None, None, None),
    ],
    ids=[
        "the first hop, from S3's event on",
        "the first hop of a nudge that knows no time, from when the run was entered",
        "S3's clock is ahead",
        "a hand-over; the event that began the run is long ago",
        "a rest that is over",
        "too early for its appointment",
        "an operator's command, due at once",
        "its audience is prepared: due at once",
        "the sweeper found it prepared, and nudged it",
        "the event once more, while a worker is there",
        "the event once more, when all is done",
        "no lane",
    ],
)
def test_lag_is_from_due_to_begun(lane: Lane | None, dropped_at_ms: int | None, lag_ms: int | None) -> None:
    """Lag covers the way from S3 to the first hop, and from each hop to the next."""
    lines, clock = Lines(), Clock()
    observer = Observer(Settings(bucket="b", table="t", stack=STACK), clock, JsonLog("ERROR"))
    observer.metrics = Metrics(STACK, clock.now, lines.write)
    observer.began(lane, 500_500, dropped_at_ms)
    assert [line["Lag"] for line in lines.lines] == ([] if lag_ms is None else [lag_ms])


class Chain(Trace):
    """A trace that records when it continues in another one."""

    def __init__(self) -> None:
        self.parted = False

    def start_new_trace(self) -> None:
        self.parted = True


def test_a_long_chain_goes_on_in_another_trace() -> None:
    """Every eighth hop names the next trace: what eight may write is what a trace holds."""
    observer = Observer(Settings(bucket="b", table="t", stack=STACK), Clock(), JsonLog("ERROR"))
    parted = []
    for number in range(1, 18):
        Tracing.current = chain = Chain()
        try:
            observer.hop(Lane("r1", hop=number), CAMPAIGN)
        finally:
            Tracing.current = NO_TRACE
        parted += [number] if chain.parted else []
    assert parted == [8, 16]


def test_action_names_come_from_the_enum() -> None:
    """Every logging call says `Action.…`: a search of the log for a name finds every such line."""
    for path in (ROOT / "notifier").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("debug", "info", "warning", "error") and "log" in ast.unparse(node.func.value):
                assert ast.unparse(node.args[0]).startswith("Action."), f"{path}:{node.lineno}"


def levels_in_code() -> dict[str, set[str]]:
    """Each action with the levels it is logged at."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "notifier").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                action = ast.unparse(node.args[0])
                if action.startswith("Action.") and node.func.attr in ("debug", "info", "warning", "error"):
                    found.setdefault(action.removeprefix("Action.").lower(), set()).add(node.func.attr.upper())
    return found


def test_the_table_of_levels_is_true() -> None:
    """docs/operations.md has a row for every action, with the levels that the code gives it."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    table = text.partition("## What is logged")[2].partition("\n## ")[0]
    rows = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            name, levels = (cell.strip() for cell in line.split("|")[1:3])
            rows[name.strip("`")] = set(levels.split(" or "))
    assert rows == levels_in_code()


def test_per_batch_lines_are_for_debug_only() -> None:
    """A million users are two thousand batches: what became of each is written at DEBUG and nowhere else."""
    assert levels_in_code()["batch"] == {"DEBUG"}


def test_no_setting_of_telemetry_is_unknown() -> None:
    """The template's names for stack and sampling are settings."""
    names = {field.name.upper() for field in msgspec.structs.fields(Settings)}
    assert {"STACK", "TRACE_SAMPLE"} <= names
