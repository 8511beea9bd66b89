"""The alarm on dead letters, played over time: the sweeper's minutes, SQS's visibility and CloudWatch's periods."""

import json
import operator
from collections.abc import Callable
from typing import Any

from notifier.entries.dead_letters import REPLAYS
from notifier.telemetry.metrics import NAMESPACE, Metrics
from tests.deployment.transformed_template import transformed
from tests.unit.test_sweeper import World

DEAD, SPENT = "https://queue", "https://spent"


class Sqs:
    """Two queues as SQS keeps them: what was received cannot be seen until its visibility timeout is over."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self.queues: dict[str, dict[str, tuple[str, float]]] = {DEAD: {}, SPENT: {}}
        self._made = 0

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        self._made += 1
        self.queues[QueueUrl][f"m{self._made}"] = (MessageBody, 0.0)

    def receive_message(self, QueueUrl: str, MaxNumberOfMessages: int, VisibilityTimeout: float) -> dict[str, Any]:  # noqa: N803
        seen = [(id_, body) for id_, (body, hidden) in self.queues[QueueUrl].items() if hidden <= self._now()]
        for id_, body in seen[:MaxNumberOfMessages]:
            self.queues[QueueUrl][id_] = body, self._now() + VisibilityTimeout
        return {
            "Messages": [
                {"MessageId": id_, "ReceiptHandle": id_, "Body": body} for id_, body in seen[:MaxNumberOfMessages]
            ]
        }

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        del self.queues[QueueUrl][ReceiptHandle]

    def visible(self) -> int:
        """ApproximateNumberOfMessagesVisible of the dead letters."""
        return sum(hidden <= self._now() for _, hidden in self.queues[DEAD].values())


def played(world: "Playing", sqs: Sqs, minutes: int, dies_again: bool) -> list[tuple[int, float]]:
    """Sweeps once a minute. Minutes with the value of the metric that the template's alarm watches."""
    alarm = transformed()["Resources"]["DeadLetterAlarm"]["Properties"]
    points: list[tuple[int, float]] = []
    for minute in range(minutes):
        invoked = len(world.continuation.events)
        lines = world.sweep_lines()
        if dies_again:
            # Lambda tries an asynchronous event three times, and puts it back as a dead letter.
            for event in world.continuation.events[invoked:]:
                sqs.send_message(DEAD, event.decode())
        if alarm["Namespace"] == NAMESPACE:
            points += [(minute, line[alarm["MetricName"]]) for line in lines if alarm["MetricName"] in line]
        for _ in range(60):  # SQS reports the depth of a queue once a minute, at any second of it
            world.wait(1)
            if alarm["Namespace"] == "AWS/SQS":
                points.append((minute, sqs.visible()))
    return points


def is_raised(points: list[tuple[int, float]]) -> bool:
    """Whether CloudWatch would have raised the template's alarm, by its statistic, periods and threshold."""
    alarm = transformed()["Resources"]["DeadLetterAlarm"]["Properties"]
    statistics: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Minimum": min, "Maximum": max}
    of = statistics[alarm["Statistic"]]
    exceeds = {"GreaterThanOrEqualToThreshold": operator.ge}[alarm["ComparisonOperator"]]
    period = alarm["Period"] // 60
    by_period: dict[int, list[float]] = {}
    for minute, value in points:
        by_period.setdefault(minute // period, []).append(value)
    breaching = [exceeds(of(values), alarm["Threshold"]) for _, values in sorted(by_period.items())]
    needed = alarm["EvaluationPeriods"]
    return any(all(breaching[n : n + needed]) for n in range(len(breaching) - needed + 1))


class Playing(World):
    """The sweeper over those queues, with the metrics that it writes."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.sqs = Sqs(self.clock.now)
        self.queue: Any = self.sqs
        for n in range(letters):
            self.sqs.send_message(DEAD, json.dumps({"bucket": "b", "key": f"batches/{n}.json"}))

    def sweep_lines(self) -> list[dict[str, Any]]:
        """Sweep, and what was written to the log in CloudWatch's format of metrics."""
        lines: list[str] = []
        self.metrics = Metrics("notifier", self.clock.now, lines.append)
        self.sweep()
        return [json.loads(line) for line in lines]


def test_letters_that_stay_dead_raise_the_alarm() -> None:
    """25 letters die with every replay: within ten minutes all are put aside, each once, and the alarm is raised."""
    world = Playing(25)
    points = played(world, world.sqs, 10, dies_again=True)
    assert is_raised(points)
    assert (len(world.sqs.queues[DEAD]), len(world.sqs.queues[SPENT])) == (0, 25)
    assert len(world.continuation.events) == 25 * REPLAYS
    assert sum(value for _, value in points) == 25


def test_letters_that_a_replay_clears_raise_none() -> None:
    """An outage that is over: every letter is replayed in the first minute, and nobody is woken."""
    world = Playing(25)
    played(world, world.sqs, 1, dies_again=False)
    assert len(world.continuation.events) == 25  # more than the ten that SQS gives at a time
    points = played(world, world.sqs, 9, dies_again=False)
    assert not is_raised(points)
    assert (len(world.sqs.queues[DEAD]), len(world.sqs.queues[SPENT])) == (0, 0)
    assert len(world.continuation.events) == 25
