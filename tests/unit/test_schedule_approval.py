"""One approval is good for the whole definition: whatever of it is changed, nothing fires before the next one."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.model.audience_request import AudienceSource, ColumnFilter, NamedQuery
from notifier.model.campaign import Campaign, Goal, Message, Part, Text, Variant, Winner
from notifier.model.caps import Cap
from notifier.model.local_time import LocalTime
from notifier.model.quiet_hours import Quiet
from sandbox.schedule_twins import Clock, FolderTexts, PlayedStack, PlayedStore
from schedules.definition import DatedDrops, Limits, Rhythm, ScheduleFile, When, key_of
from schedules.documents import Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrence_steps import Occurrences
from schedules.store import ScheduleItem, ScheduleState

NAME = "nudge"
START = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
QUERY = {"queries/signed-up.sql": b"SELECT 1 AS user_id", "queries/signed-up.json": b'{"parameters": {}}'}
GOAL = {
    "conversions/opened.json": b'{"query": {"name": "opened"}, "complete": {"query": {"name": "through"}}}',
    "queries/opened.sql": b"SELECT user_id, 'opened' AS event, at FROM events",
    "queries/opened.json": b'{"tables": {"events": ["standing/events/"]}}',
    "queries/through.sql": b"SELECT max(at) FROM events",
    "queries/through.json": b'{"tables": {"events": ["standing/events/"]}}',
}
PART = {"key": "standing/d.jsonl", "bucket": "others", "version_id": "v1", "etag": "e1"}
BY_CRON: dict[str, Any] = {
    "schedule": {
        "when": {"timezone": "Europe/London", "cron": "0 9 * * *"},
        "starts": "2026-12-01",
        "ends": "2027-03-01",
        "catch_up_s": 3600,
        "overlap": "wait",
        "limits": {"min_users": 1, "max_users": 50_000, "max_change": 3.0, "decide_within_s": 7200},
    },
    "audience": {"query": {"name": "signed-up", "parameters": {"day": "$day"}}},
    "campaign": {
        "message": {
            "title": "Hi",
            "body": "Look",
            "data": {"screen": "home"},
            "translations": {"de": {"title": "Hallo", "body": "Sieh"}},
        },
        "variants": [{"name": "short", "percent": 45, "message": {"sound": "ding"}}, {"name": "long", "percent": 45}],
        "control_percent": 10,
        "experiment": "nudges",
        "per_second": 100,
        "essential": False,
        "legal": False,
        "goal": {"name": "opened", "window_h": 72, "smallest_lift_percent": 10},
    },
}
IN_LOCAL_TIME: dict[str, Any] = {
    "schedule": {"when": {"timezone": "UTC", "cron": "1 0 * * *"}, "ends": "2027-03-01", "limits": {"max_users": 900}},
    "audience": {
        "all": [
            {"query": {"name": "signed-up"}, "where": [{"column": "country", "is": ["DE", "AT"]}]},
            {"any": [{"files": ["standing/a.csv", "standing/b/"]}, {"parts": [PART]}]},
        ],
        "without": [{"parts": [{"key": "standing/c.jsonl", "etag": "e1"}]}],
    },
    "campaign": {
        "message": {
            "title": "Hi",
            "body": "Look",
            "image_url": "https://example.com/1.png",
            "deep_link": "app://1",
            "ttl_s": 3600,
            "priority": "high",
            "collapse_id": "c1",
            "sound": "ding",
            "badge": 1,
            "background": False,
            "apns": {"thread-id": "t1"},
            "fcm": {"android": {"notification": {"channel_id": "c1"}}},
        },
        "variants": [{"name": "a", "percent": 90}],
        "control_percent": 10,
        "dry_run": False,
        "exclude": {"parts": [{"key": "standing/left-out.txt"}]},
        "lanes": 2,
        "groups": ["marketing", "weekly"],
        "caps": [{"group": "marketing", "most": 3, "days": 7}],
        "local_time": {"at": "09:00", "fallback_timezone": "Europe/London", "within_s": 10_800, "if_past": "skip"},
        "quiet": {"from": "21:00", "to": "08:00", "then": "wait", "timezone": "Europe/London", "ttl": "cut"},
    },
}
BY_SQL: dict[str, Any] = {
    "schedule": {"when": {"timezone": "UTC", "cron": "0 9 * * *"}, "ends": "2027-03-01", "limits": {"max_users": 900}},
    "audience": {
        "sql": "SELECT user_id FROM events WHERE day > $since",
        "engine": "duckdb",
        "tables": {"events": ["standing/events/"]},
        "parameters": {"since": "2026-12-01"},
    },
    "campaign": {
        "message": {"title": "Hi"},
        "control_percent": 10,
        "quiet": None,
        "goal": {"name": "opened", "window_h": 72},
        "winner": {"test_percent": 20, "decide_after_h": 24, "decide_by_h": 48, "otherwise": "best"},
    },
}
ONCE_FROM_DROPS: dict[str, Any] = {
    "schedule": {
        "when": {"timezone": "Europe/London", "at": "2026-12-02T09:00"},
        "ends": "2027-03-01",
        "limits": {"max_users": 50_000},
    },
    "audience": {"prefix": "audiences/day-2/$day/", "ready": "_SUCCESS", "ready_by": "10:00"},
    "campaign": {"message": {"title": "Hi"}},
}
DOCUMENTS = {"cron": BY_CRON, "once": ONCE_FROM_DROPS, "local time": IN_LOCAL_TIME, "sql": BY_SQL}
OTHERS = {
    "Europe/London": "Europe/Paris", "UTC": "Europe/Paris", "$day": "$now", "signed-up": "others", "opened": "other",
    "21:00": "22:00", "08:00": "07:00", "2026-12-01": "2026-12-03", "audiences/day-2/$day/": "audiences/day-3/$day/",
}  # fmt: skip
CHOICES: dict[Any, dict[str, str]] = {
    "overlap": {"wait": "skip"}, "then": {"wait": "drop"}, "ttl": {"cut": "keep"}, "if_past": {"skip": "now"},
    "otherwise": {"best": "stop"}, "priority": {"high": "normal"}, "engine": {"duckdb": "athena"},
}  # fmt: skip
"""Of fields that have a few values: another one of them."""
HAVE_FAULTS = {
    "campaign.control_percent", "campaign.variants.0.percent", "campaign.variants.1.percent",
    "campaign.message.background", "campaign.groups.0", "campaign.caps.0.group",
}  # fmt: skip
"""Fields of which another value alone does not fit the others: percentages that sum to 100, a cap of the own groups."""
KINDS = (
    ScheduleFile, Rhythm, When, Limits, DatedDrops, AudienceSource, NamedQuery, ColumnFilter, Part,
    Campaign, Message, Text, Variant, Goal, Winner, LocalTime, Quiet, Cap,
)  # fmt: skip
NOT_IN_A_SCHEDULE: dict[Any, set[str]] = {
    # Each occurrence has its own, or none makes sense in one.
    Campaign: {"id", "not_before", "abort_after", "again", "test", "remainder_of"},
    LocalTime: {"date"},
    # Written into its batch files: of the approved copy.
    NamedQuery: {"copy"},
    Goal: {"conversions_sha256", "queries_sha256"},
}


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of a document's values."""
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if members is None:
        yield path
        return
    for name, value in members:
        yield from leaves(value, (*path, name))


def changed(document: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The document with another value there."""
    copy = deepcopy(document)
    node: Any = copy
    for name in path[:-1]:
        node = node[name]
    value = node[path[-1]]
    match value:
        case bool():
            node[path[-1]] = not value
        case int() | float():
            node[path[-1]] = value + 1
        case None:
            node[path[-1]] = {"from": "21:00", "to": "08:00", "timezone": "UTC"}
        case _:
            # A digit more or another one: most texts stay what they are, such as a date or a cron expression.
            digits = (
                value.replace("9", "8") if "9" in value else value.replace("1", "2") if "1" in value else value + "x"
            )
            node[path[-1]] = CHOICES.get(path[-1], {}).get(value) or OTHERS.get(value, digits)
    return copy


class World:
    """A stack with RequireApproval and one approved schedule."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.clock = Clock(START)
        self.store = PlayedStore(self.clock)
        others = {key.replace("signed-up", "others"): text for key, text in QUERY.items()}
        others["conversions/other.json"] = b'{"files": ["standing/e/"], "complete": {"marker": "standing/m"}}'
        self.texts = FolderTexts(Path("nowhere"), {**QUERY, **GOAL, **others})
        self.write(document)
        self.tick()
        self.store.approve(NAME, Documents(self.texts, needs_approval=True).read(NAME).hash, "bob")
        self.tick()

    def write(self, document: dict[str, Any]) -> None:
        """The file says this now."""
        self.texts.put(key_of(NAME), json.dumps(document).encode())

    def tick(self) -> None:
        """One tick."""
        around: Any = PlayedStack(None, self.clock)  # type: ignore[arg-type]
        occurrences = Occurrences(self.store, around, Drops(None, ""), self.clock)  # type: ignore[arg-type]
        documents = Documents(self.texts, needs_approval=True)
        Tick(self.store, documents, occurrences, self.clock, lambda *_, **__: None, needs_approval=True).run()

    def item(self) -> ScheduleItem:
        """The schedule."""
        found = self.store.read(NAME)
        assert found is not None
        return found


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_each_field_in_turn(document: dict[str, Any]) -> None:
    """Whichever value is another one: it does not fire, and the definition in force is still the approved one."""
    world = World(document)
    approved = world.item()
    assert approved.state is ScheduleState.ACTIVE
    broken = []
    for path in leaves(document):
        world.write(changed(document, path))
        world.tick()
        found = world.item()
        assert found.state in (ScheduleState.UNAPPROVED, ScheduleState.BROKEN), path
        assert (found.fires, found.hash) == (False, approved.hash), path
        broken += [".".join(map(str, path))] if found.state is ScheduleState.BROKEN else []
        world.write(document)
        world.tick()
        assert world.item().state is ScheduleState.ACTIVE, path
    # All others could be approved as they are then, and are not: by the hash, and not for a fault.
    assert set(broken) <= HAVE_FAULTS


def test_every_field_was_changed() -> None:
    """The documents have every field of each type: a new one has to come into the test."""
    names = {name for document in DOCUMENTS.values() for path in leaves(document) for name in path}
    for kind in KINDS:
        mine = {field.encode_name for field in msgspec.structs.fields(kind)} - NOT_IN_A_SCHEDULE.get(kind, set())
        assert mine <= names, (kind, mine - names)


@pytest.mark.parametrize("key", sorted({**QUERY, **GOAL}))
def test_a_text_that_it_names(key: str) -> None:
    """An edited query is an edit of the schedule; so is an edit of what its goal's conversions are found by."""
    world = World(BY_CRON)
    before = world.texts.get(key)
    assert before is not None
    world.texts.put(key, before + b" ")
    world.tick()
    assert world.item().state is ScheduleState.UNAPPROVED
    world.texts.put(key, before)
    world.tick()
    assert world.item().state is ScheduleState.ACTIVE
    world.texts.delete(key)
    world.tick()
    assert world.item().state is ScheduleState.BROKEN
    assert f"there is no {key}" in world.item().reason
