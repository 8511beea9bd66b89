"""Random histories of a schedule: people write, keep, pause, approve, while ticks overlap with all of it.

The deployed tick and the deployed steps of people work on the table in memory. Beside them goes a model of what people
were answered: which definition may fire now. It is written here a second time, from docs/schedules.md, in ten lines.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.schedule_twins import Clock, FolderTexts, PlayedStack, PlayedStore
from schedules.control import Control, Refused
from schedules.definition import BrokenSchedule, key_of
from schedules.documents import Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrence_steps import LATE_S, Occurrences, Prepared
from schedules.overview import Overview
from schedules.store import ScheduleItem, ScheduleState
from schedules.timetable import Occurrence
from tests.examples import examples

NAME = "nudge"
KEY = key_of(NAME)
PEOPLE = tuple(f"{name}@example.com" for name in ("ann", "bob", "cat"))
TWO_ABOVE = 1_000
MOST_LINES = 3
"""Of a schedule's state, however long nobody does anything: what is in force stops, is found unapproved, is removed."""


def text(title: str, cron: str = "0 * * * *", most: int = 500) -> bytes:
    """A schedule's file, that is due every hour."""
    rhythm = {"when": {"cron": cron, "timezone": "UTC"}, "ends": "2027-02-01", "limits": {"max_users": most}}
    campaign = {"message": {"title": title}}
    return json.dumps({"schedule": rhythm, "audience": {"files": ["standing/u.jsonl"]}, "campaign": campaign}).encode()


TEXTS = (text("one"), text("two"), text("three", "30 * * * *"), text("four", most=5_000))
"""The last one needs two people's approval."""
BROKEN = b"{"
ANY = "any"
"""Edit: what the file says when the function reads it."""
HASHES = {body: Documents(FolderTexts(Path("nowhere"), {})).document(NAME, body).hash for body in TEXTS}
BODIES = {digest: body for body, digest in HASHES.items()}


class Store(PlayedStore):
    """The table, in which something else happens before the call that is chosen; its index may be behind."""

    def __init__(self, history: "History") -> None:
        super().__init__(history.clock)
        self.played = history
        self.countdown = -1
        self.meanwhile: Callable[[], None] = lambda: None
        self.behind: list[ScheduleItem] | None = None
        """What its index had when the tick began, where it has not caught up since."""

    def _pass(self) -> None:
        self.countdown -= 1
        if self.countdown == -1:
            self.meanwhile()

    def read(self, name: str) -> ScheduleItem | None:
        """A schedule, after what happens meanwhile."""
        self._pass()
        return super().read(name)

    def adopt(self, before: ScheduleItem, after: ScheduleItem) -> bool:
        """Change it, after what happens meanwhile."""
        self._pass()
        found = self._schedules[NAME]
        done = super().adopt(before, after)
        if done and found.fires and found.next_at_ms <= self._now_ms() and after.next != found.next and after.hash:
            # Nothing stands by it: no pause, no fault, no missing approval, each of which is said.
            stands = after.state not in (ScheduleState.ACTIVE, ScheduleState.ENDED)
            assert stands or self.read_occurrence(NAME, found.next), "a time is lost without a word"
        if done and after.hash not in (found.hash, ""):
            self.played.in_force(after.hash)
        return done

    def edited(self, name: str, file_sha256: str, by: str) -> None:
        """Enter who wrote a file, after what happens meanwhile."""
        self._pass()
        super().edited(name, file_sha256, by)
        self.played.authors.setdefault(file_sha256, by)

    def approved_by(self, name: str, digest: str) -> str:
        """Who approved it, after what happens meanwhile."""
        self._pass()
        return super().approved_by(name, digest)

    def due_schedules(self, now_ms: int) -> Iterator[ScheduleItem]:
        """By the index."""
        found = self._schedules.values() if self.behind is None else self.behind
        yield from [item for item in found if item.fires and item.next_at_ms <= now_ms]

    def put_occurrence(self, schedule: ScheduleItem) -> None:
        """Fire, after what happens meanwhile."""
        self._pass()
        if self.read_occurrence(NAME, schedule.next) is None:
            self.played.fired(schedule)
        super().put_occurrence(schedule)

    def move_on(self, item: ScheduleItem, following: Occurrence | None) -> bool:
        """Put the clock on, after what happens meanwhile."""
        self._pass()
        return super().move_on(item, following)


class Around(PlayedStack):
    """A stack whose audiences have as many users as the history says."""

    def __init__(self, history: "History") -> None:
        super().__init__(None, history.clock)  # type: ignore[arg-type]
        self.history = history

    def ask(self, preparation: str, request: Mapping[str, Any]) -> None:
        """Prepare it."""
        self._asked[preparation] = Prepared(self.history.users, manifest="m", audience={"parts": [{"key": "p"}]})

    def write_batch_file(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """Begin a run."""
        self.history.sent(key, body)
        return super().write_batch_file(key, body, sha256_hex, approved_by)


class Running:
    """A tick under way: what may fire by what held at some time since it began."""

    def __init__(self) -> None:
        self.may: set[str] = set()
        self.may_approve: set[str] = set()
        """What was approved, or needed no approval, at some time."""
        self.was_awake = False
        """Whether there was a time at which it was not paused."""
        self.files: set[str] = set()


class History:
    """A stack with one schedule, and what people were answered about it."""

    def __init__(self) -> None:
        self.clock = Clock(datetime(2026, 12, 1, 8, 10, tzinfo=UTC))
        self.store = Store(self)
        self.texts = FolderTexts(Path("nowhere"), {})
        self.around: Any = Around(self)
        self.users = 100
        self.required = True
        self.running: list[Running] = []
        self.is_gone = False
        """Whether its file was deleted, and that was seen, and nothing has come into force since."""
        self.silent_at = 0.0
        """When a tick last found that nothing may fire: what was due until then is not made up for."""
        # -- what was answered
        self.paused = False
        self.kept = ""
        """The edit for which what is in force was said to go on."""
        self.may_be_kept: set[str] = set()
        """Where several did something in one moment either may have been first: it may be of any of these."""
        self.is_sure = self.is_calm = True
        """Whether no tick may have seen another edit since; whether nothing comes in between."""
        self.keeping: Counter[str] = Counter()
        """What is being kept in this moment, by whom the answer has not reached yet."""
        self.authors: dict[str, str] = {}
        self.approvals: dict[str, set[str]] = {}
        self.approved: set[str] = set()
        self.rejected: set[str] = set()
        # -- what is counted
        self.fired_hashes: dict[str, str] = {}
        self.sent_bodies: dict[str, bytes] = {}
        self.lines: list[str] = []
        self.questions: list[str] = []
        self.settled_at: float | None = None
        """When the last whole tick was, since which nobody has done anything."""
        self.quiet_from = (0, 0)

    # -- the model ----------------------------------------------------------------------------------------------------

    @property
    def file(self) -> bytes | None:
        """What the schedule's file says."""
        return self.texts.get(KEY)

    @property
    def in_force_now(self) -> str:
        """By the table."""
        item = self.store._schedules.get(NAME)
        return item.hash if item is not None and not self.is_gone else ""

    def is_approved(self, digest: str) -> bool:
        """Whether as many people have approved it as it needed then."""
        return digest in self.approved

    def may_fire(self) -> set[str]:
        """The definition that may fire now; none where nothing may."""
        if self.paused or self.file not in HASHES:
            return set()
        edit = HASHES[self.file]
        if not self.required or self.is_approved(edit):
            return {edit}
        is_kept = edit in self.may_be_kept or self.keeping[edit] or self.keeping[ANY]
        return {self.in_force_now} if is_kept and self.is_approved(self.in_force_now) else set()

    def note(self) -> None:
        """Something was done: what ticks that are under way have read may be from before, or after."""
        for tick in self.running:
            tick.may |= self.may_fire()
            tick.may_approve |= {digest for digest in BODIES if not self.required or self.is_approved(digest)}
            tick.was_awake |= not self.paused
            tick.files |= {HASHES[self.file]} if self.file in HASHES else set()
            self.is_sure = self.is_sure and HASHES.get(self.file or b"", self.kept) == self.kept

    def in_force(self, digest: str) -> None:
        """A definition takes effect."""
        tick = self.running[-1]
        assert digest in tick.files, "it is no file's"
        assert digest in tick.may_approve, "nobody has approved what takes effect"
        self.is_gone = False

    def fired(self, schedule: ScheduleItem) -> None:
        """A time of it is fired."""
        self.fired_hashes[schedule.next] = schedule.hash
        if self.running:
            assert schedule.hash in self.running[-1].may, "it fires what must not fire"
            assert schedule.next_at_ms > self.silent_at * 1000, "it makes up for what was due while nothing was to fire"
        else:
            assert not self.paused, "sent out of turn while paused"
            assert not self.required or self.is_approved(schedule.hash), "sent out of turn, and nobody has approved it"

    def sent(self, key: str, body: bytes) -> None:
        """A run begins."""
        stamp = key.removesuffix(".json")[-len("2026-12-01T0900") :]
        tick = self.running[-1]
        assert tick.was_awake, "a run of a paused schedule"
        assert stamp not in self.rejected, "a run of a rejected time"
        assert self.sent_bodies.setdefault(key, body) == body, "two runs of one time"
        one = self.store.read_occurrence(NAME, stamp)
        assert one is not None
        # catch_up_s, and how late the last step may be; of one that was decided on since then.
        decided = one.decision == "approve"
        since_ms = one.due_at_ms if decided else one.fires_at_ms
        assert self.clock.s * 1000 - since_ms <= (3_600 + LATE_S + 60) * 1000, "long after its time"
        title = json.loads(body)["campaign"]["message"]["title"]
        [digest] = [digest for digest, text in BODIES.items() if f'"title": "{title}"'.encode() in text]
        assert digest == self.fired_hashes[stamp], "another definition than the one that was fired"
        assert digest in tick.may_approve, "a run that nobody has approved"

    # -- what is done -------------------------------------------------------------------------------------------------

    def ask(self, action: str, by: str = PEOPLE[0], **about: Any) -> dict[str, Any]:
        """What the function answers a person."""
        documents, two_above = Documents(self.texts, needs_approval=self.required), TWO_ABOVE if self.required else None
        event = {"action": action, "schedule": NAME, "by": by, **about}
        control = Control(self.store, documents, self.around, self.clock, two_above=two_above)
        shown = Overview(self.store, documents, self.around, self.clock, two_above).answer(event)
        return shown if shown is not None else control.carry_out(event)

    def tick(self, indexed: list[ScheduleItem] | None = None) -> None:
        """One tick, with an index that has what it is given."""
        documents = Documents(self.texts, needs_approval=self.required)
        occurrences = Occurrences(self.store, self.around, Drops(None, ""), self.clock)  # type: ignore[arg-type]

        def log(action: str, **about: Any) -> None:
            assert action != "trouble", about
            self.lines += [action] if action == "schedule" else []

        def failed(error: Exception) -> None:
            raise error

        tick = Tick(
            self.store, documents, occurrences, self.clock, log, needs_approval=self.required, on_error=failed,
            ask=lambda question: self.questions.append(question.get("hash", "")),
        )  # fmt: skip
        self.running.append(Running())
        self.note()
        self.store.behind = indexed
        tick.run()
        self.store.behind = None
        self.running.pop()
        item = self.store._schedules.get(NAME)
        self.is_gone = self.is_gone or (item is not None and item.state is ScheduleState.REMOVED)

    def put(self, n: int, by: str, meanwhile: str) -> None:
        """A person writes the file."""
        before, digest, keep = self.file, HASHES[TEXTS[n]], {"keep": True, "pause": False}.get(meanwhile)
        with self._keeping(digest if keep else ""):
            answer = self.ask(
                "save", by, text=TEXTS[n].decode(), keep=keep if self.required else None,
                before=sha256(before).hexdigest() if before is not None else "",
            )  # fmt: skip
        self.is_gone = self.is_gone or (
            before is None and self.is_calm and self.required and not self.is_approved(digest)
        )
        self._answered(digest, is_kept=answer["keeps_old"])

    def _answered(self, digest: str, *, is_kept: bool) -> None:
        if is_kept:
            self.kept, self.is_sure = digest, self.is_calm
            self.may_be_kept.add(digest)
        elif self.is_calm:
            self.may_be_kept.discard(digest)
        else:
            self.is_sure = False

    @contextmanager
    def _keeping(self, digest: str) -> Iterator[None]:
        self.keeping[digest] += 1
        self.note()
        try:
            yield
        finally:
            self.keeping[digest] -= 1

    def upload(self, n: int) -> None:
        """The file comes into the bucket by another way, perhaps with a fault."""
        self.texts.put(KEY, (*TEXTS, BROKEN)[n])

    def delete(self) -> None:
        """The file is deleted."""
        if self.file is not None:
            self.texts.delete(KEY)

    def keep(self) -> None:
        """A person keeps what is in force."""
        with self._keeping(ANY):
            answer = self.ask("keep")
        self._answered(answer["hash"], is_kept=True)

    def pause(self) -> None:
        """A person pauses it."""
        self.ask("pause")
        self.paused = True

    def resume(self) -> None:
        """A person resumes it."""
        was, self.paused = self.paused, False
        self.note()
        try:
            self.ask("resume")
        except Refused:
            self.paused = was
            raise
        self.paused = False

    def approve(self, by: str) -> None:
        """A person approves what they see."""
        is_required = self.required
        answer = self.ask("approve", by, hash=self.ask("show").get("hash"))
        digest = answer["hash"]
        assert self.authors.get(sha256(BODIES[digest]).hexdigest()) != by, "its author has approved it"
        self.approvals.setdefault(digest, set()).add(by)
        needed = 2 if is_required and digest == HASHES[TEXTS[-1]] else 1
        assert (answer["missing"] == 0) is (len(self.approvals[digest]) >= needed)
        self.approved |= set() if answer["missing"] else {digest}

    def require(self, approvals: str) -> None:
        """A deployment sets RequireApproval, or takes it away."""
        self.required = approvals == "needed"

    def decide(self, decision: str) -> None:
        """An approver decides on the time that waits for that."""
        latest = next(self.store.latest(NAME), None)
        if latest is not None:
            self.ask("decide", PEOPLE[1], occurrence=latest.stamp, decision=decision)
            self.rejected |= {latest.stamp} if decision == "reject" else set()

    def send_now(self) -> None:
        """A person sends it out of turn."""
        running, self.running = self.running, []
        try:
            self.ask("now", day=f"{datetime.fromtimestamp(self.clock.s, UTC):%Y-%m-%d}")
        finally:
            self.running = running

    def audience(self, users: int) -> None:
        """So many users from now on."""
        self.users = users

    # -- and what holds after it --------------------------------------------------------------------------------------

    def do(self, step: tuple[Any, ...]) -> None:
        """One step, that may be refused."""
        name, *about = step
        with suppress(Refused, BrokenSchedule):
            STEPS[name](self, *about)
        self.note()

    def act(self, step: tuple[Any, ...], at: int = -1, meanwhile: tuple[tuple[Any, ...], ...] = ()) -> None:
        """One step, with others before one of its calls of the table."""
        self._end_quiet()

        def others() -> None:
            for other in meanwhile:
                self.do(other)

        self.store.countdown, self.store.meanwhile = at, others
        # Of a person's step and another's in the same moment either may be the first; a tick undoes neither.
        self.is_calm = not meanwhile or step == ("tick",)
        self.do(step)
        self.is_sure = self.is_sure and self.is_calm
        self.store.countdown, self.is_calm = -1, True

    def whole_tick(self, minutes: int = 0) -> None:
        """Time passes, and a tick comes, while nobody does anything."""
        self.clock.s += minutes * 60
        before = dict(self.fired_hashes)
        self.tick()
        edit = HASHES.get(self.file or b"", "")
        if edit and not self.paused:
            # It has seen what the file says. What was said of another edit is not said of this one.
            self.may_be_kept &= set() if self.is_approved(edit) or not self.required else {edit}
        if edit in self.may_be_kept and not (edit == self.kept and self.is_sure):
            self._end_quiet()
            return
        if self.settled_at is None:
            self.quiet_from = (len(self.lines), len(self.questions))
        else:
            new = {stamp: hash_ for stamp, hash_ in self.fired_hashes.items() if stamp not in before}
            assert new == self._due_since(self.settled_at), "not what was answered"
            assert len(self.lines) - self.quiet_from[0] <= MOST_LINES, "back and forth"
            assert len(self.questions) - self.quiet_from[1] <= MOST_LINES, "asked again and again"
        self.settled_at = self.clock.s
        if not self.may_fire():
            self.silent_at = self.clock.s
        self._is_shown_as_it_is()

    def _due_since(self, since_s: float) -> dict[str, str]:
        """What has to be fired, by a computation of its own."""
        [digest] = self.may_fire() or {""}
        if not digest:
            return {}
        past_m = 30 if BODIES[digest] == TEXTS[2] else 0
        minutes = range(int(since_s // 60) + 1, int(self.clock.s // 60) + 1)
        due = [datetime.fromtimestamp(minute * 60, UTC) for minute in minutes if minute % 60 == past_m]
        return {f"{one:%Y-%m-%dT%H%M}": digest for one in due}

    def _end_quiet(self) -> None:
        self.settled_at = None

    def _is_shown_as_it_is(self) -> None:
        """After a tick its page says what is so."""
        if self.file is None:
            return
        shown = self.ask("show")
        assert bool(shown["line"]["next"]) is bool(self.may_fire()), shown["line"]
        if self.paused:
            assert shown["line"]["state"] == "paused"
        elif self.file in HASHES and self.required and not self.is_approved(HASHES[self.file]):
            assert shown["line"]["state"] == "unapproved"
            assert HASHES[self.file] in self.questions, "approvers were not asked"


STEPS: dict[str, Callable[..., None]] = {
    "put": History.put, "upload": History.upload, "delete": History.delete, "keep": History.keep,
    "pause": History.pause, "resume": History.resume, "approve": History.approve, "require": History.require,
    "decide": History.decide, "now": History.send_now, "audience": History.audience, "tick": History.tick,
}  # fmt: skip
_TEXT = st.sampled_from((0, 1, 1, 2, 3))
_PERSON = st.sampled_from(PEOPLE)
_PUT = st.tuples(st.just("put"), _TEXT, _PERSON, st.sampled_from(("keep", "keep", "pause", "")))
OTHER = st.one_of(
    _PUT,
    _PUT,
    st.tuples(st.just("approve"), _PERSON),
    st.sampled_from((("keep",), ("pause",), ("resume",), ("tick",))),
    st.one_of(st.tuples(st.just("upload"), st.integers(0, len(TEXTS))), st.just(("delete",))),
    st.tuples(st.just("require"), st.sampled_from(("needed", "not needed"))),
    st.sampled_from((("decide", "approve"), ("decide", "reject"), ("now",), ("audience", 100), ("audience", 9_999))),
)
OTHERS = st.lists(OTHER, min_size=1, max_size=2).map(tuple)
MINUTES = st.sampled_from((0, 1, 5, 20, 30, 50, 60, 180))
_CALL = st.integers(0, 7)
"""Of the table, before which something else is done."""
_ALONE = st.tuples(st.just("act"), OTHER)
_PASS = st.tuples(st.just("pass"), MINUTES)
PLAY = st.one_of(
    _ALONE,
    _ALONE,
    _PASS,
    _PASS,
    st.tuples(st.just("tick"), MINUTES, _CALL, OTHERS),
    st.tuples(st.just("act"), OTHER, _CALL, OTHERS),
    st.tuples(st.just("behind"), MINUTES, OTHERS),
)


BEGINNINGS: tuple[tuple[tuple[Any, ...], ...], ...] = (
    (),
    (("act", ("upload", 1)),),
    (("act", ("put", 1, PEOPLE[0], "")), ("pass", 1)),
    (("act", ("put", 1, PEOPLE[0], "keep")), ("pass", 1)),
    (("act", ("put", 1, PEOPLE[0], "keep")), ("pass", 1), ("act", ("upload", len(TEXTS))), ("pass", 180)),
    (("act", ("pause",)), ("pass", 180)),
    (("act", ("require", "not needed")), ("act", ("upload", 1)), ("pass", 1), ("act", ("require", "needed"))),
    (("act", ("delete",)),),
    (("act", ("delete",)), ("pass", 60)),
)
_MOMENT = st.one_of(
    st.tuples(st.just("tick"), MINUTES, _CALL, OTHERS),
    st.tuples(st.just("act"), OTHER, _CALL, OTHERS),
    st.tuples(st.just("behind"), MINUTES, OTHERS),
    _ALONE,
)


def play(history: History, step: tuple[Any, ...]) -> None:
    """One step of a history."""
    match step:
        case "act", one, *about:
            history.act(one, *about)
        case "tick", minutes, at, meanwhile:
            history.clock.s += minutes * 60
            history.act(("tick",), at, meanwhile)
        case "pass", minutes:
            history.whole_tick(minutes)
        case "behind", minutes, others:
            # The index has not caught up with what was done in the moment before, nor with what this tick writes.
            history.clock.s += minutes * 60
            indexed = list(history.store._schedules.values())
            for other in others:
                history.act(other)
            history.tick(indexed)
        case _:
            raise AssertionError(step)


def lived(steps: Iterable[tuple[Any, ...]]) -> None:
    """A history of these steps. At its beginning a schedule is in force, and at its end it can still be used."""
    history = History()
    history.act(("put", 0, PEOPLE[0], ""))
    history.act(("tick",))
    history.act(("approve", PEOPLE[1]))
    history.whole_tick()
    history.whole_tick(1)
    for step in steps:
        play(history, step)
    for minutes in (1, 1, 20, 60):
        history.whole_tick(minutes)
    history.require("needed")
    if history.paused:
        history.resume()
    history.upload(0)
    history.approve(next(person for person in PEOPLE if person != history.ask("show")["edited_by"]))
    history.act(("tick",))
    for minutes in (1, 30, 30):
        history.whole_tick(minutes)
    assert next(history.store.latest(NAME)).hash == HASHES[TEXTS[0]]


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(BEGINNINGS), _MOMENT, _MOMENT)
def test_whatever_happens_in_one_moment(
    beginning: tuple[tuple[Any, ...], ...], first: tuple[Any, ...], second: tuple[Any, ...]
) -> None:
    """To a schedule in each of its states: what was answered holds, whatever else is done in the same moment."""
    lived((*beginning, first, ("pass", 1), second))


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PLAY, max_size=25))
def test_what_was_answered_holds(steps: list[tuple[Any, ...]]) -> None:
    """Whatever they do, in whatever order, and whatever comes in between: what fires is what was answered to them.

    Nothing fires that nobody has approved where that is needed, nor while it is paused, nor of a deleted file; each
    time fires once, and all that were announced do; nothing goes back and forth.
    """
    lived(steps)
