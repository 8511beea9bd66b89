"""A schedule's file written by a person: what fires until it is approved, and who must not approve it."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.model.caps import NO_DEFAULTS, read_defaults
from operations.cli.schedule_uploads import _asked_to_keep, _what_follows
from sandbox.schedule_twins import Clock, FolderTexts, PlayedStack, PlayedStore
from schedules.control import Control, Refused
from schedules.definition import key_of
from schedules.documents import Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrence_steps import Occurrences, Prepared
from schedules.overview import Overview
from schedules.store import OccurrenceItem, ScheduleItem, ScheduleState

NAME, ANN, BOB, CAT = "nudge", "ann@example.com", "bob@example.com", "cat@example.com"


def text(title: str = "Hi", **campaign: Any) -> str:
    """A schedule's file."""
    when = {"cron": "0 9 * * *", "timezone": "UTC"}
    rhythm = {"when": when, "starts": "2026-12-01", "ends": "2027-02-01", "limits": {"max_users": 1000}}
    campaign = {"message": {"title": title}, **campaign}
    return json.dumps({"schedule": rhythm, "audience": {"files": ["standing/users.jsonl"]}, "campaign": campaign})


class World:
    """A stack, with RequireApproval or without. `setting` may be changed, as by a deployment."""

    def __init__(self, *, needs_approval: bool) -> None:
        self.setting = needs_approval
        self.defaults = NO_DEFAULTS
        self.clock = Clock(datetime(2026, 12, 1, 8, 0, tzinfo=UTC))
        self.store = PlayedStore(self.clock)
        self.texts = FolderTexts(Path("nowhere"), {})
        self.around: Any = PlayedStack(None, self.clock)  # type: ignore[arg-type]
        self.lines: list[str] = []
        """What ticks have logged."""
        self.questions: list[dict[str, Any]] = []
        """What approvers were asked."""

    def ask(self, action: str, by: str = ANN, **about: Any) -> dict[str, Any]:
        """What the function answers."""
        documents, two_above = Documents(self.texts, needs_approval=self.setting), 100_000 if self.setting else None
        event = {"action": action, "schedule": NAME, "by": by, **about}
        shown = Overview(self.store, documents, self.around, self.clock, two_above).answer(event)
        control = Control(self.store, documents, self.around, self.clock, two_above=two_above, defaults=self.defaults)
        return shown if shown is not None else control.carry_out(event)

    def save(self, body: str, by: str = ANN, **about: Any) -> dict[str, Any]:
        """Write the file in place of the one that is there."""
        before = self.texts.get(key_of(NAME))
        return self.ask("save", by, text=body, before=sha256(before).hexdigest() if before else "", **about)

    def approve(self, *people: str) -> None:
        """They approve what the file says."""
        for by in people:
            self.ask("approve", by, hash=self.ask("show")["hash"])
        self.tick()

    def tick(self) -> ScheduleItem:
        """One tick; the schedule after it."""
        documents = Documents(self.texts, needs_approval=self.setting)
        occurrences = Occurrences(self.store, self.around, Drops(None, ""), self.clock)  # type: ignore[arg-type]
        Tick(
            self.store, documents, occurrences, self.clock, lambda action, **_: self.lines.append(action),
            needs_approval=self.setting, ask=self.questions.append,
        ).run()  # fmt: skip
        found = self.store.read(NAME)
        assert found is not None
        return found

    def in_force(self) -> "World":
        """With a schedule that fires."""
        self.save(text())
        self.tick()
        if self.setting:
            self.approve(BOB)
        assert self.tick().fires
        return self


@pytest.mark.parametrize("keep", [True, False])
def test_a_stack_without_approvals_refuses_to_keep_or_pause(*, keep: bool) -> None:
    """It would be said and not done: an edit is in force at the next tick. Nothing is written, and a way is named."""
    world = World(needs_approval=False).in_force()
    before = world.tick()
    with pytest.raises(Refused, match=r"needs no approval.* within a minute.*notifier schedules pause nudge"):
        world.save(text("New"), keep=keep)
    assert world.tick() == before
    answer = world.save(text("New"))
    assert answer == {
        "schedule": NAME, "action": "save", "hash": answer["hash"], "needs_approval": False, "is_paused": False,
        "in_force": before.hash, "keeps_old": False, "is_approved": False, "lifts": "",
    }  # fmt: skip
    assert (world.tick().hash, world.tick().fires) == (answer["hash"], True)


def test_paused_first_an_edit_waits_without_approvals_too() -> None:
    """What the refusal advises: nothing fires by the edit before the schedule is resumed."""
    world = World(needs_approval=False).in_force()
    world.ask("pause", reason="look first")
    answer = world.save(text("New"))
    assert answer["is_paused"]
    assert (world.tick().state, world.tick().hash == answer["hash"]) == (ScheduleState.PAUSED, False)
    world.ask("resume")
    assert (world.tick().state, world.tick().hash == answer["hash"]) == (ScheduleState.ACTIVE, True)


@pytest.mark.parametrize(("keep", "fires"), [(True, True), (False, False), (None, False)])
def test_with_approvals_an_edit_waits(keep: bool | None, *, fires: bool) -> None:
    """What is in force fires meanwhile where its author says so."""
    world = World(needs_approval=True).in_force()
    assert world.save(text("New"), keep=keep)["needs_approval"] is True
    assert (world.tick().state, world.tick().fires) == (ScheduleState.UNAPPROVED, fires)


def test_keeping_it_with_the_text_that_is_in_force() -> None:
    """No edit waits then, and the schedule does not say that one does."""
    world = World(needs_approval=True).in_force()
    before = world.tick()
    world.save(text(), keep=True)
    assert world.tick() == before


@pytest.mark.parametrize("keep", [True, False, None])
def test_what_is_said_of_a_paused_one_holds_once_it_is_resumed(*, keep: bool | None) -> None:
    """Nothing fires while it is paused, and its reason stays; then what is in force goes on where that was said."""
    world = World(needs_approval=True).in_force()
    world.ask("pause", reason="prices")
    answer = world.save(text("New"), keep=keep)
    assert (answer["is_paused"], answer["keeps_old"]) == (True, bool(keep))
    paused = world.tick()
    assert (paused.state, paused.reason, paused.fires) == (ScheduleState.PAUSED, f"paused by {ANN}: prices", False)
    world.ask("resume")
    assert (world.tick().state, world.tick().fires) == (ScheduleState.UNAPPROVED, bool(keep))
    # Another edit is asked about again.
    world.save(text("Newer"))
    assert not world.tick().fires


def test_keeping_outlives_a_pause() -> None:
    """Said by `keep` of an edit that waits, it still holds after a pause; what was taken back does not."""
    world = World(needs_approval=True).in_force()
    world.save(text("New"))
    world.tick()
    world.ask("keep")
    assert world.tick().fires
    world.ask("pause")
    world.ask("resume")
    assert (world.tick().state, world.tick().fires) == (ScheduleState.UNAPPROVED, True)
    world.save(text("New"), keep=False)
    assert not world.tick().fires


def test_an_edit_that_a_release_before_has_kept_goes_on() -> None:
    """It noted that by the schedule's reason alone, which says of which edit it was."""
    world = World(needs_approval=True).in_force()
    world.save(text("New"), keep=True)
    before = world.tick()
    assert world.store.adopt(before, msgspec.structs.replace(before, kept_for=""))
    assert world.tick().fires


def test_what_nobody_has_approved_is_not_kept() -> None:
    """A stack gets RequireApproval over what is in force: it fires no more, and to keep it is refused."""
    world = World(needs_approval=False).in_force()
    world.setting = True
    with pytest.raises(Refused, match="nobody has approved what is in force of nudge"):
        world.save(text("New"), keep=True)
    assert world.texts.get(key_of(NAME)) == text().encode()
    world.save(text("New"), keep=False)
    with pytest.raises(Refused, match="nobody has approved what is in force of nudge"):
        world.ask("keep")
    assert not world.tick().fires


@pytest.mark.parametrize("noted", [True, False])
def test_what_nobody_has_approved_does_not_go_back_and_forth(*, noted: bool) -> None:
    """Kept under a release before, or while that was not needed: it stops once, and approvers are asked once."""
    world = World(needs_approval=False).in_force()
    before = world.tick()
    world.setting = True
    answer = world.save(text("New"))
    reason = f"{answer['hash'][:12]}: nobody has approved what {key_of(NAME)} and the texts that it names say now"
    kept = {"keeps_old": True, "kept_for": answer["hash"] if noted else "", "reason": reason}
    assert world.store.adopt(before, msgspec.structs.replace(before, looked_at="", **kept))
    world.lines.clear()
    for _ in range(10):
        world.clock.s += 20 * 60
        assert not world.tick().fires
    assert world.lines == ["schedule"]
    assert world.questions == [{"schedule": NAME, "hash": answer["hash"], "keeps_old": False}]


def test_what_is_in_force_unapproved_stops_once() -> None:
    """Within a minute after the stack gets RequireApproval, and approvers are asked then: not at its next time."""
    world = World(needs_approval=False).in_force()
    before = world.tick()
    assert world.store.adopt(before, msgspec.structs.replace(before, keeps_old=True, kept_for=before.hash))
    world.setting = True
    world.lines.clear()
    for _ in range(10):
        world.clock.s += 20 * 60
        assert (world.tick().state, world.tick().fires) == (ScheduleState.UNAPPROVED, False)
    asked = [{"schedule": NAME, "hash": before.hash, "keeps_old": False}]
    assert (world.lines, world.questions) == (["schedule"], asked)
    world.approve(BOB)
    assert world.tick().fires


def test_what_was_fired_before_approvals_were_needed_is_not_sent() -> None:
    """Its run would be refused: what became of it says so."""
    world = World(needs_approval=False).in_force()
    world.ask("now", day="2026-12-01")
    world.setting = True
    world.tick()
    one = world.store.read_occurrence(NAME, "2026-12-01T0800")
    assert one is not None
    assert (one.state.value, "nobody has approved" in one.reason, world.around.files) == ("failed", True, {})


def test_what_the_index_does_not_know_yet_fires_nothing() -> None:
    """An edit, found in the tick in which a time is due: the index by which it is due is behind what was written."""
    world = World(needs_approval=True).in_force()
    found = world.tick()

    class Behind(PlayedStore):
        def due_schedules(self, now_ms: int) -> Iterator[ScheduleItem]:
            yield found

    world.store.__class__ = Behind
    world.save(text("New"))
    world.clock.s += 3600
    assert world.tick().state is ScheduleState.UNAPPROVED
    assert list(world.store.latest(NAME)) == []


def test_a_time_that_is_over_is_not_sent() -> None:
    """A tick that has found it before it was skipped, by an index that is behind, or late: no run begins."""
    world = World(needs_approval=False).in_force()
    world.around.prepared = lambda _preparation: Prepared(7, manifest="m", audience={"parts": [{"key": "p"}]})
    world.around.ask = lambda *_: None
    world.ask("now", day="2026-12-01")
    world.tick()
    world.clock.s += 61
    found = list(world.store.due_occurrences(int(world.clock.s * 1000)))
    assert [one.state.value for one in found] == ["preparing"]
    world.ask("pause")
    world.tick()
    world.ask("resume")

    class Behind(PlayedStore):
        def due_occurrences(self, now_ms: int) -> Iterator[OccurrenceItem]:
            yield from found

    world.store.__class__ = Behind
    world.tick()
    assert world.around.files == {}


def test_approvers_are_asked_about_an_edit_that_was_kept() -> None:
    """Also where another one waited already: about each they get a mail."""
    world = World(needs_approval=True).in_force()
    first = world.save(text("New"))["hash"]
    world.tick()
    second = world.save(text("Newer"), keep=True)["hash"]
    for _ in range(3):
        assert world.tick().fires
    asked = [(question["hash"], question["keeps_old"]) for question in world.questions[1:]]
    assert asked == [(first, False), (second, True)]


def test_keeping_is_said_of_what_the_file_says() -> None:
    """An edit that no tick has seen yet is what a person has before them who keeps what is in force."""
    world = World(needs_approval=True).in_force()
    world.save(text("New"))
    world.tick()
    world.save(text("Newer"))
    world.ask("keep")
    assert world.tick().fires
    world.save(text("New"))
    assert not world.tick().fires


def test_keeping_on_a_broken_one_makes_up_for_nothing() -> None:
    """Days after a broken edit the clock stands on a time that is past: what fires next is the next one from now."""
    world = World(needs_approval=True).in_force()
    world.texts.put(key_of(NAME), b"{")
    world.tick()
    world.clock.s += 4 * 86_400 + 90 * 60
    assert world.save(text("New"), keep=True)["keeps_old"]
    assert (world.tick().next, list(world.store.latest(NAME))) == ("2026-12-06T0900", [])


def test_a_kept_edit_that_comes_back_makes_up_for_nothing() -> None:
    """An edit was kept, then broken for days, then put back as it was: what was said of it holds."""
    world = World(needs_approval=True).in_force()
    world.save(text("New"), keep=True)
    world.tick()
    world.texts.put(key_of(NAME), b"{")
    world.tick()
    world.clock.s += 4 * 86_400 + 90 * 60
    world.texts.put(key_of(NAME), text("New").encode())
    assert world.tick().fires
    assert (world.tick().next, list(world.store.latest(NAME))) == ("2026-12-06T0900", [])


def test_an_edit_put_back_while_a_tick_reads_it_is_seen() -> None:
    """Listed with the edit, read without it, then there again: what is in force is what the file says."""
    world = World(needs_approval=False).in_force()
    edit = text("New").encode()

    class Slow(PlayedStore):
        def read(self, name: str) -> ScheduleItem | None:
            world.texts.put(key_of(NAME), text().encode())
            return super().read(name)

    world.texts.put(key_of(NAME), edit)
    world.store.__class__ = Slow
    world.tick()
    world.store.__class__ = PlayedStore
    world.texts.put(key_of(NAME), edit)
    assert world.tick().hash == Documents(world.texts).document(NAME, edit).hash


@pytest.mark.parametrize("seen", [True, False])
def test_what_was_kept_is_paused_with_the_same_text(*, seen: bool) -> None:
    """`--pause` after `--keep`, whether a tick has been there in between or not: nothing fires."""
    world = World(needs_approval=True).in_force()
    world.save(text("New"), keep=True)
    if seen:
        assert world.tick().fires
    assert not world.save(text("New"), keep=False)["keeps_old"]
    world.clock.s += 86_400
    assert (world.tick().fires, list(world.store.latest(NAME))) == (False, [])


class TestDeleted:
    """A file that comes back is a new one: what the deleted one said is not in force, whatever is said of an edit."""

    @staticmethod
    def world(*, seen: bool) -> World:
        """With a file that was deleted; a tick has seen it, or not."""
        world = World(needs_approval=True).in_force()
        world.texts.delete(key_of(NAME))
        if seen:
            world.clock.s += 3600
            assert world.tick().state is ScheduleState.REMOVED
        return world

    @pytest.mark.parametrize("paused", ["", "before", "after"])
    @pytest.mark.parametrize("seen", [True, False])
    def test_it_is_not_kept(self, paused: str, *, seen: bool) -> None:
        """Nothing fires until the new one is approved, and that is said."""
        world = self.world(seen=seen)
        if paused == "before":
            world.ask("pause")
        answer = world.save(text("New"), keep=True)
        assert "nothing is in force yet that could go on" in _what_follows(answer, keep=True)
        if paused == "after":
            world.ask("pause")
        if paused:
            world.ask("resume")
        world.tick()
        with pytest.raises(Refused, match="no edit that waits"):
            world.ask("keep")
        world.clock.s += 86_400
        assert (world.tick().state, world.tick().fires) == (ScheduleState.UNAPPROVED, False)
        world.approve(BOB)
        assert world.tick().fires

    def test_a_tick_was_faster(self) -> None:
        """What was deleted cannot be taken out in this moment: nothing is written, so nothing of it goes on."""
        world = self.world(seen=False)
        world.store.adopt = lambda *_: False  # type: ignore[method-assign]
        with pytest.raises(Refused, match="changed in this moment"):
            world.save(text("New"), keep=True)
        assert world.texts.get(key_of(NAME)) is None

    def test_what_was_said_of_an_edit_went_with_it(self) -> None:
        """The edit that had been kept is a new file after that, too."""
        world = World(needs_approval=True).in_force()
        world.save(text("New"), keep=True)
        assert world.tick().fires
        world.texts.delete(key_of(NAME))
        world.clock.s += 3600
        assert world.tick().state is ScheduleState.REMOVED
        world.texts.put(key_of(NAME), text("New").encode())
        assert (world.tick().state, world.tick().fires) == (ScheduleState.UNAPPROVED, False)

    def test_removed_under_the_release_before(self) -> None:
        """That left the definition where it was."""
        world = self.world(seen=True)
        before = world.store.read(NAME)
        assert before is not None
        digest = Documents(world.texts).document(NAME, text().encode()).hash
        world.store.adopt(before, msgspec.structs.replace(before, hash=digest, next="2026-12-01T0900", next_at_ms=1))
        world.texts.put(key_of(NAME), text("New").encode())
        assert world.tick().hash == ""

    def test_the_same_file_again(self) -> None:
        """Its approval is still good for it; what was due meanwhile is not made up for."""
        world = self.world(seen=True)
        world.save(text())
        assert (world.tick().state, world.tick().next) == (ScheduleState.ACTIVE, "2026-12-02T0900")

    @pytest.mark.parametrize("key", [key_of(NAME), "queries/q.sql"])
    def test_while_a_tick_reads_it(self, key: str) -> None:
        """Gone since it was listed, then there again as it was: it is looked at again, though the list is the same."""
        world = World(needs_approval=False)
        for ending in ("sql", "json"):
            world.texts.put(f"queries/q.{ending}", b"{}")
        asked = text().replace('{"files": ["standing/users.jsonl"]}', '{"query": {"name": "q"}}')
        world.texts.put(key_of(NAME), asked.encode())
        listed, body = world.texts.versions, world.texts.get(key)
        assert body is not None

        def delete(prefix: str) -> Mapping[str, str]:
            found = listed(prefix)
            if prefix == "conversions/":
                world.texts.delete(key)
            return found

        world.texts.versions = delete  # type: ignore[method-assign]
        assert not world.tick().fires
        world.texts.versions = listed  # type: ignore[method-assign]
        world.texts.put(key, body)
        assert world.tick().fires

    def test_a_long_reason_is_no_news(self) -> None:
        """A broken file is read in each tick, and logged once."""
        world = World(needs_approval=False).in_force()
        variants = [{"name": "a b", "percent": 1} for _ in range(100)]
        world.texts.put(key_of(NAME), text(variants=variants).encode())
        for _ in range(5):
            assert world.tick().state is ScheduleState.BROKEN
        # The table has no more of it: with more in hand each tick would find it changed.
        assert len(world.tick().reason) == 2_000
        assert world.lines.count("schedule") == 2

    def test_resumed_without_a_file(self) -> None:
        """It says so, and not that it fires."""
        world = self.world(seen=False)
        world.ask("pause")
        assert world.ask("resume")["state"] == "removed"

    @pytest.mark.parametrize("seen", [True, False])
    def test_it_is_not_sent_out_of_turn(self, *, seen: bool) -> None:
        """What would be skipped is refused."""
        world = self.world(seen=seen)
        with pytest.raises(Refused, match="was deleted"):
            world.ask("now", day="2026-12-01")


def test_what_nobody_has_approved_is_not_sent_out_of_turn() -> None:
    """Its run would be refused, where the stack has RequireApproval by now."""
    world = World(needs_approval=False).in_force()
    world.setting = True
    with pytest.raises(Refused, match="nobody has approved what is in force"):
        world.ask("now", day="2026-12-01")


def test_keeping_makes_up_for_nothing() -> None:
    """What was due while the edit waited, and nothing fired, stays out: the clock is put on the next time from now."""
    world = World(needs_approval=True).in_force()
    world.save(text("New"))
    world.tick()
    world.clock.s += 90 * 60  # 09:30, half an hour after its time
    world.save(text("New"), keep=True)
    assert (world.tick().next, list(world.store.latest(NAME))) == ("2026-12-02T0900", [])


def test_what_is_said_is_noted_whoever_writes_in_this_moment() -> None:
    """A tick, or a person, may be faster: it is tried again, and said where it was not to be."""
    world = World(needs_approval=True).in_force()

    class Busy(PlayedStore):
        left = 2

        def adopt(self, before: ScheduleItem, after: ScheduleItem) -> bool:
            self.left -= 1
            return self.left < 0 and super().adopt(before, after)

    world.store.__class__ = Busy
    assert world.save(text("New"), keep=True)["keeps_old"]
    assert world.tick().fires
    world.store.left = 5  # type: ignore[attr-defined]
    answer = world.save(text("Newer"), keep=True)
    assert "could NOT be noted: notifier schedules keep nudge" in _what_follows(answer, keep=True)


def test_a_tick_that_has_read_before_does_not_undo_what_is_said() -> None:
    """It finds the edit without it, and its write comes after: what was answered holds, and is what fires."""
    world = World(needs_approval=True).in_force()

    class Slow(PlayedStore):
        def adopt(self, before: ScheduleItem, after: ScheduleItem) -> bool:
            world.store.__class__ = PlayedStore
            assert world.save(text("New"), keep=True)["keeps_old"]
            return self.adopt(before, after)

    world.texts.replace(key_of(NAME), text("New").encode(), text().encode())
    world.store.__class__ = Slow
    world.tick()
    assert (world.tick().state, world.tick().fires) == (ScheduleState.UNAPPROVED, True)


def test_its_author_is_known_by_an_address_where_another_person_approves() -> None:
    """Entered as `ann`, ann@example.com could approve what she wrote. Nothing is written; without approvals it is."""
    world = World(needs_approval=True)
    with pytest.raises(Refused, match=r"another person approves it: ann is no mail address, .*--by"):
        world.save(text(), "ann")
    assert world.texts.get(key_of(NAME)) is None
    World(needs_approval=False).save(text(), "ann")


@pytest.mark.parametrize(
    ("lifts", "says"),
    [
        ({"essential": True}, "marketing"),
        ({"caps": [{"group": "marketing", "most": 9, "days": 7}]}, "more than 3 of marketing in 7 days"),
        ({"quiet": None}, "lifts the stack's quiet hours"),
        ({"quiet": {"from": "21:00", "to": "08:00", "ttl": "keep"}}, "may ring in quiet hours"),
        ({}, ""),
        ({"caps": [{"group": "marketing", "most": 1, "days": 7}]}, ""),
    ],
)
def test_what_lifts_the_stacks_caps_has_an_author_who_is_known(lifts: dict[str, Any], says: str) -> None:
    """It needs an approval in any stack. `ann` could be ann@example.com, who approves it: nothing is written."""
    world = World(needs_approval=False)
    world.defaults = read_defaults(
        {"DEFAULT_CAPS": "marketing:3/7", "DEFAULT_TIMEZONE": "UTC", "DEFAULT_QUIET_HOURS": "21:00-08:00"}
    )
    if says:
        with pytest.raises(Refused, match=rf"another person approves it, in this stack, too .*{says}.*ann is no mail"):
            world.save(text(**lifts), "ann")
        assert world.texts.get(key_of(NAME)) is None
        world.save(text(**lifts), ANN)
        world.tick()
        with pytest.raises(Refused, match="you wrote it"):
            world.approve(ANN)
    else:
        world.save(text(**lifts), "ann")


def test_written_under_another_name_before_approvals_were_needed() -> None:
    """Of two people one is not its author, who may be either of them."""
    world = World(needs_approval=False)
    world.save(text(), "ann")
    world.tick()
    world.setting = True
    assert world.ask("show")["needed"] == 2
    world.approve(ANN)
    world.clock.s += 3600
    assert not world.tick().fires
    world.approve(CAT)
    assert world.tick().fires


class TestAsked:
    """Before an edit is written the command line asks what fires meanwhile, where that is to be asked."""

    @staticmethod
    def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> bool | None:
        """What a person who agrees was asked."""

        class Functions:
            deployment = type("Named", (), {"schedules": "schedules"})

            def client(self, _service: str) -> Any:
                return self

            def invoke(self, **request: Any) -> Mapping[str, Any]:
                answer = world.ask(**({"by": ANN} | _about(json.loads(request["Payload"]))))
                return {"Payload": io.BytesIO(json.dumps(answer).encode())}

        def _about(event: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in event.items() if name != "schedule"}

        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        cloud: Any = Functions()
        return _asked_to_keep(cloud, NAME)

    def test_with_approvals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where something is in force, and not paused."""
        world = World(needs_approval=True)
        world.save(text())
        world.tick()
        assert self.asked(world, monkeypatch) is None
        world.approve(BOB)
        assert self.asked(world, monkeypatch) is True
        world.ask("pause")
        assert self.asked(world, monkeypatch) is None

    def test_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An edit waits for nothing."""
        assert self.asked(World(needs_approval=False).in_force(), monkeypatch) is None


@pytest.mark.parametrize(
    ("in_force", "keeps_old", "words"),
    [
        ("old", True, "; what is in force goes on until then"),
        ("", False, "; nothing is in force yet that could go on"),
        ("new", False, "; it is what is in force already"),
        ("old", False, "could NOT be noted: notifier schedules keep nudge"),
    ],
)
@pytest.mark.parametrize("is_paused", [True, False])
def test_it_says_what_became_of_keep(in_force: str, words: str, *, keeps_old: bool, is_paused: bool) -> None:
    """Nothing that a person said is dropped without a word; who said nothing reads nothing of it."""
    answer = {
        "schedule": NAME, "hash": "new", "in_force": in_force, "keeps_old": keeps_old, "needs_approval": True,
        "is_paused": is_paused,
    }  # fmt: skip
    assert words in _what_follows(answer, keep=True)
    assert words not in _what_follows(answer)


@pytest.mark.parametrize(
    ("needs_approval", "is_paused", "words"),
    [
        (True, False, "once another person has approved it"),
        (False, False, "it is in force within a minute"),
        (True, True, "waits for an approval"),
        (False, True, "is in force"),
    ],
)
def test_it_says_when_it_counts(*, needs_approval: bool, is_paused: bool, words: str) -> None:
    """Nobody waits for an approval that is not needed, nor for a paused schedule."""
    said = _what_follows({"needs_approval": needs_approval, "is_paused": is_paused})
    assert words in said
    assert ("it is paused" in said) is is_paused


@pytest.mark.parametrize("keep", [None, True, False])
@pytest.mark.parametrize("is_paused", [True, False])
def test_it_says_that_what_is_put_back_is_approved(keep: bool | None, *, is_paused: bool) -> None:
    """Nobody waits for an approval that was given: it is in force at the next tick."""
    world = World(needs_approval=True).in_force()
    world.save(text("New"), keep=True)
    world.tick()
    if is_paused:
        world.ask("pause")
    answer = world.save(text(), keep=keep)
    said = _what_follows(answer, keep=keep)
    assert "this is in force" in said if is_paused else "approved already, and in force within a minute" in said
    assert ("nothing waits, so nothing is kept" in said) is bool(keep)
    if is_paused:
        world.ask("resume")
    assert world.tick().hash == answer["hash"]
    assert world.tick().state is ScheduleState.ACTIVE


def test_it_says_what_an_approval_is_needed_for_in_any_stack() -> None:
    """In force within a minute, and still nothing is sent before: that is said, until it is approved."""
    world = World(needs_approval=False)
    world.defaults = read_defaults({"DEFAULT_CAPS": "marketing:3/7", "DEFAULT_TIMEZONE": "UTC"})
    said = _what_follows(world.save(text(essential=True)))
    assert re.search("in force within a minute; nothing of it is sent before .* schedules approve nudge", said)
    world.tick()
    world.approve(BOB)
    assert "approved" not in _what_follows(world.save(text(essential=True)))
