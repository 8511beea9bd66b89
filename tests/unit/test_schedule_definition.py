"""`schedules/NAME.json`: what is taken, and what is said of what is not."""

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from notifier.model.audience_request import filled_in
from notifier.model.goal_source import hash_of
from operations.schedule_schema import as_text, schedule_schema
from sandbox.schedule import Player, outage_of
from schedules.batch import batch_file, from_copy, values_of
from schedules.definition import BrokenSchedule, Limits, Schedule, name_of, read_schedule
from schedules.rules import OccurrenceState, judged
from schedules.timetable import Occurrence

SAMPLE = Path("events/schedules/day-2-engagement.json")
HEARTBEAT = Path("events/schedules/heartbeat.json")


def sample(**changes: Any) -> dict[str, Any]:
    """The sample with members replaced: `schedule__when__cron="…"`; None removes one."""
    decoded: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    for path, value in changes.items():
        node, names = decoded, path.split("__")
        for name in names[:-1]:
            node = node.setdefault(name, {})
        if value is None:
            node.pop(names[-1], None)
        else:
            node[names[-1]] = value
    return decoded


def read(decoded: Any, *, needs_approval: bool = False) -> Schedule:
    """A schedule, read."""
    return read_schedule("day-2", json.dumps(decoded).encode(), needs_approval=needs_approval)


class TestTaken:
    """Schedules without faults."""

    def test_sample(self) -> None:
        """The sample, with the name of its query."""
        schedule = read(sample(), needs_approval=True)
        assert schedule.queries == ("day-2-engagement",)
        assert str(schedule.timetable.zone) == "Europe/London"

    @pytest.mark.parametrize(
        "audience",
        [
            {"parts": [{"key": "standing/all.jsonl"}]},
            {"files": ["standing/users/*.parquet"]},
            {"all": [{"query": {"name": "a"}}], "without": [{"files": ["standing/out/"]}]},
            {"prefix": "audiences/day-2/$day/", "ready": "_SUCCESS", "ready_by": "10:00"},
        ],
    )
    def test_audiences(self, audience: Any) -> None:
        """Every form whose objects are there on a later day."""
        read(sample(audience=audience))

    @pytest.mark.parametrize(
        ("key", "name"),
        [
            ("schedules/day-2.json", "day-2"),
            ("schedules/approved/day-2/abc/schedules/day-2.json", None),
            ("schedules/readme.txt", None),
        ],
    )
    def test_name(self, key: str, name: str | None) -> None:
        """The key's stem is the name; copies of what was approved are no schedules."""
        assert name_of(key) == name


class TestSchema:
    """The published JSON Schema."""

    def test_it_is_the_types(self) -> None:
        """`docs/schedule.schema.json` is what `python -m operations.schedule_schema` prints: print it again."""
        assert Path("docs/schedule.schema.json").read_text(encoding="utf-8") == as_text()
        jsonschema.Draft202012Validator.check_schema(schedule_schema())

    def test_sample_is_valid(self) -> None:
        """The sample is valid, and one with an unknown field is not."""
        validator = jsonschema.Draft202012Validator(schedule_schema())
        validator.validate(sample())
        assert not validator.is_valid(sample(schedule__every=1))
        assert not validator.is_valid(sample(campaign__id="x"))


class TestRefused:
    """Each fault with the path of its field."""

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"schedule__when__timezone": "London"}, "schedule.when.timezone: "),
            ({"schedule__when__timezone": "europe/london"}, "is not a time zone (write Europe/London)"),
            ({"schedule__when__cron": "0 9 * *"}, "schedule.when.cron: "),
            (
                {"schedule__when__cron": "0 9 ? * MON"},
                "has a field for the day of month that cannot be read (as on Unix",
            ),
            ({"schedule__when__cron": "cron(0 9 * * ? *)"}, "* in place of ?, no year, no cron(…)"),
            (
                {"schedule__when": {"at": "2026-12-01", "timezone": "UTC"}},
                "at: not a date and a time of day (local ones",
            ),
            (
                {"audience": {"prefix": "audiences/$day/", "ready": "_SUCCESS", "ready_by": "10h"}},
                "audience.ready_by: not a time of day (hours and minutes",
            ),
            ({"schedule__when__cron": None}, "schedule.when: has not exactly one of cron and at"),
            ({"schedule__when__at": "2026-12-01T09:00"}, "schedule.when: has not exactly one of cron and at"),
            ({"schedule__ends": "2026-01-01"}, "schedule.ends: before starts"),
            ({"schedule__limits__max_users": 0}, "schedule.limits.max_users: "),
            ({"schedule__limits__min_users": 300_000}, "schedule.limits.max_users: less than min_users"),
            ({"schedule__overlap": "both"}, "schedule.overlap: "),
            ({"schedule__every": 1}, "schedule.every: unknown field"),
            ({"audience": {"files": ["audiences/x.jsonl"]}}, "audience.files[0]: "),
            ({"campaign__remainder_of": "0123"}, "campaign.remainder_of: not for a schedule"),
            ({"audience": {"parts": [{"key": "audiences/x.jsonl"}]}}, "audience.parts[0].key: "),
            ({"audience": {"prefix": "audiences/x/"}}, "audience.prefix: has no $day"),
            ({"audience": {"prefix": "audiences/$day"}}, "audience.prefix: does not end in /"),
            ({"audience": {"files": ["standing/a"], "sql": "SELECT 1"}}, "audience: has files and sql"),
            ({"campaign__id": "x"}, "campaign.id: not for a schedule"),
            ({"campaign__control_percent": 20}, "campaign.variants: percentages sum to 110"),
            ({"campaign": None}, "campaign: missing"),
        ],
    )
    def test_fault(self, changes: dict[str, Any], fault: str) -> None:
        """The message names the file and the field."""
        with pytest.raises(BrokenSchedule) as refused:
            read(sample(**changes))
        assert str(refused.value).startswith("schedules/day-2.json: ")
        assert fault in str(refused.value)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "the file is empty"),
            ('{"schedule": {', "the file ends before its end"),
            ('{"a": 1,}', "a comma before a closing bracket (leave the comma out)"),
            ('{"a": [1,]}', "a comma before a closing bracket (leave the comma out)"),
            ("// daily\n{}", "a comment (leave it out)"),
            ("{'a': 1}", "another kind of quotes (write straight double quotes"),
            ("{“a”: 1}", "another kind of quotes (write straight double quotes"),
            ("schedule:\n  when: 1\n", "it looks like YAML (yq -o json"),
            ('{"a": 1 "b": 2}', "a comma is missing before this"),
            ('{"a" 1}', "a colon is missing before this"),
            ("{a: 1}", "a name is missing here, in double quotes"),
            ('{"a": undefined}', "a value is missing here"),
            ("{}}", "more follows behind the end"),
            ('{"a": "x}', "the text that begins here has no end"),
            ('{"a": "x\ny"}', "a line break or a tab within a text"),
            (r'{"a": "\d"}', "a backslash before a character that needs none"),
        ],
    )
    def test_json_that_is_none(self, text: str, words: str) -> None:
        """In words for people, with the place and what to do; Python's own are for programmers."""
        with pytest.raises(BrokenSchedule) as refused:
            read_schedule("day-2", text.encode())
        assert words in str(refused.value)
        assert "line 1, column" in str(refused.value)

    def test_all_at_once(self) -> None:
        """Every fault is reported, not only the first."""
        with pytest.raises(BrokenSchedule) as refused:
            read(sample(schedule__when__timezone="x", campaign__id="y"))
        assert len(refused.value.faults) == 2

    def test_approval_needs_an_end(self) -> None:
        """With RequireApproval one approval must not be good for ever, or for any number of users."""
        with pytest.raises(BrokenSchedule) as refused:
            read(sample(schedule__ends=None, schedule__limits__max_users=None), needs_approval=True)
        assert [fault.field for fault in refused.value.faults] == ["schedule.limits.max_users", "schedule.ends"]

    @pytest.mark.parametrize("data", [b"{", b"\xff", b'{"schedule": {}, "schedule": {}}', b"[]", b""])
    def test_no_json(self, data: bytes) -> None:
        """What is no JSON object is refused with the place."""
        with pytest.raises(BrokenSchedule):
            read_schedule("day-2", data)

    def test_name(self) -> None:
        """The name becomes a part of keys and of campaigns' ids."""
        with pytest.raises(BrokenSchedule, match="not the name of a schedule"):
            read_schedule("Day 2", SAMPLE.read_bytes())


class TestBatchFile:
    """What an occurrence's batch file holds."""

    def test_members(self) -> None:
        """The id has the local minute, the experiment is the schedule's name, and the bytes are always the same."""
        schedule = read(sample())
        occurrence = next(schedule.timetable.after(schedule_start()))
        body = batch_file(schedule, occurrence, {"parts": []})
        assert body == batch_file(schedule, occurrence, {"parts": []})
        campaign = json.loads(body)["campaign"]
        assert campaign["id"] == "day-2-2026-11-01T0900"
        assert campaign["experiment"] == "day-2"

    def test_own_experiment(self) -> None:
        """A schedule may share its arms with another one."""
        schedule = read(sample(campaign__experiment="nudges"))
        body = batch_file(schedule, next(schedule.timetable.after(schedule_start())), {"parts": []})
        assert json.loads(body)["campaign"]["experiment"] == "nudges"

    def test_values(self) -> None:
        """`$day` is the scheduled date, `$now` and `$previous` are instants in the schedule's zone."""
        schedule = read(sample())
        occurrence = next(schedule.timetable.after(schedule_start()))
        assert values_of(schedule, occurrence, None) == {
            "$day": "2026-11-01",
            "$now": "2026-11-01T09:00:00+00:00",
            "$previous": "2026-10-31T09:00:00+00:00",
        }

    def test_filled_in(self) -> None:
        """Whole values of parameters are replaced, in any depth, and nothing within a text."""
        request = {"all": [{"query": {"name": "a", "parameters": {"day": "$day", "note": "on $day", "n": 3}}}]}
        assert filled_in(request, {"$day": "2026-11-01"}) == {
            "all": [{"query": {"name": "a", "parameters": {"day": "2026-11-01", "note": "on $day", "n": 3}}}]
        }

    def test_from_copy(self) -> None:
        """Queries are read from the copy that was approved, in any depth."""
        request = {"any": [{"query": {"name": "a"}}, {"files": ["standing/x"]}]}
        assert from_copy(request, "p/") == {"any": [{"query": {"name": "a", "copy": "p/"}}, {"files": ["standing/x"]}]}


def schedule_start() -> Any:
    """Before the sample's first date."""
    from datetime import UTC, datetime

    return datetime(2026, 10, 1, tzinfo=UTC)


class TestHash:
    """The hash of a definition: a public contract."""

    def test_vector(self) -> None:
        """It is the SHA-256 of `sha256sum`'s output over the texts, sorted by key."""
        texts = {"schedules/a.json": b"{}\n", "queries/b.sql": b"SELECT 1\n"}
        assert hash_of(texts) == "9e3c15cac1ffebf799808ed3205c8017f9aa1f36bc6a1f8f8bdb161cc34d8dd6"

    def test_every_text_counts(self) -> None:
        """Any byte of any text, and any key, makes another hash."""
        texts = {"schedules/a.json": b"{}", "queries/b.sql": b"SELECT 1"}
        others = [{**texts, "queries/b.sql": b"SELECT 2"}, {**texts, "schedules/a.json": b"{} "}, {"a": b"{}"}]
        assert len({hash_of(one) for one in [texts, *others]}) == 4


class TestLimits:
    """Which occurrences an approver has to decide on."""

    LIMITS = read(sample()).rhythm.limits

    @pytest.mark.parametrize(
        ("users", "before", "state"),
        [
            (100, [], OccurrenceState.RUN),
            (0, [], OccurrenceState.EMPTY),
            (200_001, [], OccurrenceState.NEEDS_REVIEW),
            (301, [100, 100, 100], OccurrenceState.NEEDS_REVIEW),
            (300, [100, 100, 100], OccurrenceState.RUN),
            (33, [100, 100, 100], OccurrenceState.NEEDS_REVIEW),
            (34, [100, 100, 100], OccurrenceState.RUN),
            (1000, [100, 100], OccurrenceState.RUN),  # too few to compare with
            (0, [100, 100, 100], OccurrenceState.NEEDS_REVIEW),  # the change is judged before emptiness
            (301, [900, 900, 100, 100, 100, 100, 100, 100, 100], OccurrenceState.NEEDS_REVIEW),  # the last 7 count
        ],
    )
    def test_judged(self, users: int, before: list[int], state: OccurrenceState) -> None:
        """By the most, by the change against the median of the last seven, then by emptiness."""
        assert judged(users, before, self.LIMITS).state is state

    @pytest.mark.parametrize(
        ("users", "before", "limits", "state"),
        [
            (9, [], Limits(min_users=10), OccurrenceState.NEEDS_REVIEW),
            (10, [], Limits(min_users=10), OccurrenceState.RUN),
            (0, [], Limits(min_users=10), OccurrenceState.EMPTY),  # nobody is not few: there is nothing to send
            (100_000, [1, 1, 1], Limits(max_change=None), OccurrenceState.RUN),
            (0, [500, 500, 500], Limits(max_change=None), OccurrenceState.EMPTY),
            (5, [0, 0, 0, 0], Limits(), OccurrenceState.NEEDS_REVIEW),  # zeros that people have accepted count
            (5, [], Limits(), OccurrenceState.RUN),
        ],
    )
    def test_limits_that_are_off(self, users: int, before: list[int], limits: Limits, state: OccurrenceState) -> None:
        """The least alone; `"max_change": null` judges no change; a median of accepted zeros."""
        assert judged(users, before, limits).state is state

    def test_occurrence_is_a_value(self) -> None:
        """Two of the same minute are the same."""
        one = next(read(sample()).timetable.after(schedule_start()))
        assert one == Occurrence(one.local, one.utc)


class TestPlayed:
    """`python -m sandbox schedule`: the deployed code with a moved clock."""

    @pytest.mark.parametrize(
        ("first", "days"),
        # In both New York's clocks change on 8 March: the hour that is not there has its occurrence, too.
        [(date(2026, 2, 15), 40), pytest.param(date(2026, 1, 1), 365, marks=pytest.mark.slow)],
    )
    def test_every_hour(self, tmp_path: Path, first: date, days: int) -> None:
        """For weeks, or for a year: the users of a file, one run each; what an outage leaves out is missed."""
        path = tmp_path / "schedules" / "hourly.json"
        path.parent.mkdir()
        (tmp_path / "standing").mkdir()
        (tmp_path / "standing/users.jsonl").write_text('{"user_id": "u1", "platform": "ios", "token": "t1"}\n')
        changed = sample(schedule__when={"cron": "0 * * * *", "timezone": "America/New_York"}, schedule__starts=None)
        changed |= {"audience": {"files": ["standing/users.jsonl"]}}
        changed["schedule"]["ends"] = None
        path.write_text(json.dumps(changed), encoding="utf-8")
        lines = Player(path, first, days, [outage_of("2026-03-01T10:30Z/48h")]).lines()
        assert len(lines) == 24 * days
        assert Counter(line.state for line in lines) == {"run": 24 * days - 47, "missed": 47}
        assert {line.users for line in lines if line.state == "run"} == {1}

    def test_without_an_audience(self, tmp_path: Path) -> None:
        """The times are listed all the same, and it is said what is missing."""
        path = tmp_path / "day-2.json"
        path.write_bytes(SAMPLE.read_bytes())
        player = Player(path, date(2026, 12, 1), 3)
        assert [line.utc for line in player.lines()] == [f"2026-12-0{day}T09:00:00Z" for day in (1, 2, 3)]
        assert "queries/day-2-engagement.sql" in player.without_audience

    def test_heartbeat(self, tmp_path: Path) -> None:
        """The synthetic campaign: once a day in UTC, to a test device, rehearsed until it is wanted on a phone."""
        schedule = read_schedule("heartbeat", HEARTBEAT.read_bytes())
        assert schedule.campaign["dry_run"] is True
        path = tmp_path / "heartbeat.json"
        path.write_bytes(HEARTBEAT.read_bytes())
        times = [line.utc for line in Player(path, date(2026, 12, 1), 2).lines()]
        assert times == ["2026-12-01T06:30:00Z", "2026-12-02T06:30:00Z"]

    def test_by_sql(self) -> None:
        """The sample: who signed up two days before each day."""
        lines = Player(SAMPLE, date(2026, 11, 1), 30).lines()
        people = [line.split(",") for line in Path("events/standing/signups/2026.csv").read_text().split()[1:]]
        asked = Counter(date.fromisoformat(one[3]) + timedelta(days=2) for one in people if one[4] == "0")
        assert {date.fromisoformat(line.local[:10]): line.users for line in lines} == {
            day: n for day, n in asked.items() if date(2026, 11, 1) <= day <= date(2026, 11, 30)
        }
