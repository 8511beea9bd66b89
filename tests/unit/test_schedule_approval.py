"""One approval is good for the whole definition: whatever of it is changed, nothing fires before the next one."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox.schedule_twins import Clock, FolderTexts, PlayedStack, PlayedStore
from schedules.definition import DatedDrops, Limits, Rhythm, ScheduleFile, When, key_of
from schedules.documents import Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrences import Occurrences
from schedules.store import ScheduleItem, ScheduleState

NAME = "nudge"
START = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
QUERY = {"queries/signed-up.sql": b"SELECT 1 AS user_id", "queries/signed-up.json": b'{"parameters": {}}'}
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
ONCE_FROM_DROPS: dict[str, Any] = {
    "schedule": {
        "when": {"timezone": "Europe/London", "at": "2026-12-02T09:00"},
        "ends": "2027-03-01",
        "limits": {"max_users": 50_000},
    },
    "audience": {"prefix": "audiences/day-2/$day/", "ready": "_SUCCESS", "ready_by": "10:00"},
    "campaign": {"message": {"title": "Hi"}},
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
        case _:
            others = {"Europe/London": "Europe/Paris", "wait": "skip", "$day": "$now", "signed-up": "others"}
            # A digit more or another one: most texts stay what they are, such as a date or a cron expression.
            digits = (
                value.replace("9", "8") if "9" in value else value.replace("1", "2") if "1" in value else value + "x"
            )
            node[path[-1]] = others.get(value, digits)
    return copy


class World:
    """A stack with RequireApproval and one approved schedule."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.clock = Clock(START)
        self.store = PlayedStore(self.clock)
        others = {key.replace("signed-up", "others"): text for key, text in QUERY.items()}
        self.texts = FolderTexts(Path("nowhere"), {**QUERY, **others})
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


@pytest.mark.parametrize("document", [BY_CRON, ONCE_FROM_DROPS], ids=["cron", "once"])
def test_each_field_in_turn(document: dict[str, Any]) -> None:
    """Whichever value is another one: it does not fire, and the definition in force is still the approved one."""
    world = World(document)
    approved = world.item()
    assert approved.state is ScheduleState.ACTIVE
    unapproved = 0
    for path in leaves(document):
        world.write(changed(document, path))
        world.tick()
        found = world.item()
        # A few changes have a fault besides: a name of no language, a start after the end.
        assert found.state in (ScheduleState.UNAPPROVED, ScheduleState.BROKEN), path
        assert (found.fires, found.hash) == (False, approved.hash), path
        unapproved += found.state is ScheduleState.UNAPPROVED
        world.write(document)
        world.tick()
        assert world.item().state is ScheduleState.ACTIVE, path
    assert unapproved >= len(list(leaves(document))) * 0.7


def test_every_field_was_changed() -> None:
    """The two documents have every field of the schedule's own types: a new one has to come into the test."""
    names = {name for document in (BY_CRON, ONCE_FROM_DROPS) for path in leaves(document) for name in path}
    for kind in (ScheduleFile, Rhythm, When, Limits, DatedDrops):
        assert {field.name for field in msgspec.structs.fields(kind)} <= names, kind


@pytest.mark.parametrize("key", sorted(QUERY))
def test_a_query_that_it_names(key: str) -> None:
    """An edited query is an edit of the schedule."""
    world = World(BY_CRON)
    world.texts.put(key, QUERY[key] + b" ")
    world.tick()
    assert world.item().state is ScheduleState.UNAPPROVED
