"""The texts by which a goal's conversions are found: which they are, their hashes, whether they are still the same."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from notifier.model.campaign import Goal
from notifier.model.goal_source import MissingText, hash_of, pinned, read_texts, what_changed
from sandbox.schedule_twins import FolderTexts
from schedules.batch import campaign_of
from schedules.definition import BrokenSchedule, Schedule, key_of
from schedules.documents import Documents, copy_prefix

DECLARED = b'{"query": {"name": "opened"}, "complete": {"query": {"name": "through"}}}'
QUERIES = {
    "queries/opened.sql": b"SELECT 1\n", "queries/opened.json": b"{}\n",
    "queries/through.sql": b"SELECT 2\n", "queries/through.json": b"{}\n",
}  # fmt: skip
TEXTS = {"conversions/opened.json": DECLARED, **QUERIES}
OF_FILES = b'{"files": ["standing/e/"], "complete": {"marker": "standing/m"}}'
GOAL = Goal("opened", 24)
PLAIN = b'{"schedule": {"when": {"cron": "0 9 * * *", "timezone": "UTC"}}, "audience": {"query": {"name": "q"}}, '
WITHOUT = PLAIN + b'"campaign": {"message": {"title": "Hi"}}}'
WITH = PLAIN + b'"campaign": {"message": {"title": "Hi"}, "goal": {"name": "opened", "window_h": 24}}}'
ITS_QUERY = {"queries/q.sql": b"SELECT 0\n", "queries/q.json": b"{}\n"}


def test_hashes_of_a_goal() -> None:
    """Of the declaration alone; of its queries another one, of `sha256sum`'s output over them, as a schedule's hash."""
    found = pinned(GOAL, read_texts("opened", TEXTS.get))
    assert found.conversions_sha256 == sha256(DECLARED).hexdigest()
    # sha256sum queries/* | sha256sum
    assert found.queries_sha256 == "b52506d1bf1970bfd8b79a4720f039adca2530fe9af45ddd7d26fb46c4f39a46"
    assert pinned(GOAL, {"conversions/opened.json": OF_FILES}).queries_sha256 is None
    # What was there before is replaced, and not kept beside it.
    assert pinned(found, {"conversions/opened.json": OF_FILES}).queries_sha256 is None


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_another_text(key: str) -> None:
    """Any byte of any of them is another source, and so is one that is gone; the reason is in words."""
    goal = pinned(GOAL, TEXTS)
    assert what_changed(goal, TEXTS.get) == ""
    words = what_changed(goal, {**TEXTS, key: TEXTS[key] + b" "}.get)
    assert words == (
        "conversions/opened.json is another file than the one approved"
        if key == "conversions/opened.json"
        else "a query that conversions/opened.json names is another than the one approved"
    )
    without = {name: text for name, text in TEXTS.items() if name != key}
    assert what_changed(goal, without.get) == f"{key}, by which conversions are found, is missing"
    with pytest.raises(MissingText, match=key):
        read_texts("opened", without.get)


def test_what_was_approved_before() -> None:
    """A campaign of an earlier release has the declaration's hash alone: its queries are not compared. One has none."""
    goal = replace(pinned(GOAL, TEXTS), queries_sha256=None)
    assert what_changed(goal, {**TEXTS, "queries/opened.sql": b"SELECT 3"}.get) == ""
    assert what_changed(goal, {**TEXTS, "conversions/opened.json": OF_FILES}.get).endswith("than the one approved")
    assert what_changed(GOAL, dict[str, bytes]().get) == ""


@pytest.mark.parametrize(
    "declared", [b"{", b"[]", b'{"query": 3}', b'{"query": {"name": "../x"}}', b"\xff", b'{"a": 1}']
)
def test_a_declaration_with_faults(declared: bytes) -> None:
    """It names no query, and its bytes are pinned all the same: whoever counts says what is wrong with it."""
    found = pinned(GOAL, read_texts("opened", {"conversions/opened.json": declared}.get))
    assert (found.conversions_sha256, found.queries_sha256) == (sha256(declared).hexdigest(), None)


def documents(texts: Mapping[str, bytes]) -> tuple[Documents, FolderTexts]:
    """The definitions of a bucket with these objects."""
    found = FolderTexts(Path("nowhere"), texts)
    return Documents(found), found


def test_hash_of_a_schedule_without_a_goal() -> None:
    """A contract: it is what it was before goals were a part of it. By `sha256sum FILES | sha256sum`, sorted by key."""
    found = documents({**ITS_QUERY, **TEXTS})[0].document("a", WITHOUT)
    assert found.hash == "5af5be8a785e4bec521142d9e6c737b20c61c6580e2595b43fbe298db32e7b45"
    assert sorted(found.texts) == ["queries/q.json", "queries/q.sql", "schedules/a.json"]


def test_hash_of_a_schedule_with_a_goal() -> None:
    """The declaration and its queries are lines of it, too."""
    found = documents({**ITS_QUERY, **TEXTS})[0].document("a", WITH)
    assert found.hash == "497074d87c2c6b185d3ea391184a9484364f164e8c88e9c1badb5047a7062936"
    assert found.hash == hash_of({"schedules/a.json": WITH, **ITS_QUERY, **TEXTS})


def goal_in(schedule: Schedule) -> Any:
    """The goal in an occurrence's batch file."""
    occurrence = next(schedule.timetable.after(datetime(2026, 12, 1, tzinfo=UTC)))
    return campaign_of(schedule, occurrence).get("goal")


def test_occurrences_carry_the_hashes_of_the_copy() -> None:
    """Those of the texts that were approved, whatever is in the bucket by then; not those that an author wrote."""
    own = json.loads(WITH)
    own["campaign"]["goal"]["queries_sha256"] = "0" * 64
    for data, source in ((WITH, TEXTS), (json.dumps(own).encode(), {"conversions/opened.json": OF_FILES})):
        made, bucket = documents({**ITS_QUERY, **source})
        document = made.document("a", data)
        made.copy(document)
        bucket.put("conversions/opened.json", b"{}")
        expected = pinned(GOAL, source)
        for schedule in (document.schedule, made.adopted("a", document.hash).schedule):
            found = goal_in(schedule)
            assert found["conversions_sha256"] == expected.conversions_sha256
            assert found.get("queries_sha256") == expected.queries_sha256


def test_a_copy_of_an_earlier_release() -> None:
    """Adopted before its goal's source was a part of it: it is still whole, and its occurrences carry no hashes."""
    own = json.loads(WITH)
    # An author's own are none of what was approved.
    own["campaign"]["goal"] |= {"conversions_sha256": "0" * 64, "queries_sha256": "0" * 64}
    for data in (WITH, json.dumps(own).encode()):
        texts = {"schedules/a.json": data, **ITS_QUERY}
        made, bucket = documents(TEXTS)
        for key, text in texts.items():
            bucket.put(copy_prefix("a", hash_of(texts)) + key, text)
        assert goal_in(made.adopted("a", hash_of(texts)).schedule) == {"name": "opened", "window_h": 24}


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_a_schedule_whose_text_is_missing(key: str) -> None:
    """It is refused at its field: nobody could approve what is not there."""
    made, _ = documents({name: text for name, text in {**ITS_QUERY, **TEXTS}.items() if name != key})
    with pytest.raises(BrokenSchedule) as raised:
        made.document("a", WITH)
    assert str(raised.value) == (
        f"{key_of('a')}: campaign.goal.name: there is no {key} (its conversions are found by it: upload it first)"
    )


def test_an_edited_source_is_looked_at() -> None:
    """A tick reads a schedule again when a text was edited that it may name: `files` says another version then."""
    made, bucket = documents({**ITS_QUERY, **TEXTS, "schedules/a.json": WITH})
    seen = [made.files()]
    for key, text in TEXTS.items():
        bucket.put(key, text + b" ")
        seen.append(made.files())
    assert len({one["a"] for one in seen}) == len(TEXTS) + 1


def test_a_stack_without_schedules_lists_once() -> None:
    """A tick comes each minute, and a list costs money: what schedules may name is looked at where there is one."""
    listed = list[str]()

    class Listed(FolderTexts):
        def versions(self, prefix: str) -> Mapping[str, str]:
            listed.append(prefix)
            return super().versions(prefix)

    bucket = Listed(Path("nowhere"), TEXTS)
    assert Documents(bucket).files() == {}
    assert listed == ["schedules/"]
    bucket.put("schedules/a.json", b"{}")
    assert set(Documents(bucket).files()) == {"a"}
    assert listed[1:] == ["schedules/", "queries/", "conversions/"]
