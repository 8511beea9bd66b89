"""When the worker asks: in each lane's window only, in nobody's quiet hours, whatever breaks meanwhile.

The clock on each user's wall is computed here with zoneinfo alone, and not by the product's quiet hours.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifier.model.outcome import Outcome, Row
from notifier.model.quiet_hours import Quiet
from notifier.model.run import Control, Ending, LaneState
from notifier.model.span import Span
from notifier.model.time_zones import zone_named
from tests.twins.background import TwinBackground, TwinTask
from tests.twins.clock import START_S, TwinClock
from tests.twins.gateway import Act, Phones
from tests.twins.hop_factory import World
from tests.twins.invocation import hops_of, invocation
from tests.twins.schedule import Faults
from tests.unit.test_worker_simulation import EXAMPLES, History

ZONES = ("UTC", "UTC+00:15", "UTC-01:30", "Asia/Kathmandu", "Mars/X", None)
FALLBACK = "UTC"


def clock_text(at_s: float) -> str:
    """A time of day in UTC, as quiet hours are written."""
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M}"


def is_quiet(quiet: Quiet, zone: str | None, at_s: float) -> bool:
    """By the clock on the user's wall, and texts of hours and minutes."""
    known = zone_named(zone or FALLBACK) or zone_named(FALLBACK)
    local = f"{datetime.fromtimestamp(at_s, known):%H:%M}"
    if quiet.begins < quiet.ends:
        return quiet.begins <= local < quiet.ends
    return local >= quiet.begins or local < quiet.ends


def zone_of(record: int) -> str | None:
    """The time zone of a record's user."""
    return ZONES[record % len(ZONES)]


def people(count: int) -> list[dict[str, Any]]:
    """Users with one device each, over the zones."""
    return [
        {"user_id": f"u{n}", "devices": [{"platform": "android", "token": f"t{n}.0"}]}
        | ({"timezone": zone} if (zone := zone_of(n)) else {})
        for n in range(count)
    ]


WINDOW = st.tuples(st.integers(0, 30), st.sampled_from((1, 5, 20, 60)))
"""When a lane's window opens, in minutes from the beginning, and for how long."""
FAULTS = st.builds(
    Faults,
    kills=st.integers(0, 3),
    stalls=st.integers(0, 2),
    commands=st.integers(0, 3),
    store=st.sampled_from((0.0, 0.05)),
    acts=st.lists(st.sampled_from((Act.BUSY, Act.MINUTE, Act.LATER, Act.REFUSED)), max_size=3, unique=True).map(tuple),
    trouble=st.sampled_from((0.0, 0.3)),
    doubled=st.sampled_from((0.0, 0.3)),
    timeout_s=st.sampled_from((900, 90)),
)


@given(
    users=st.integers(2, 40),
    size=st.integers(1, 5),
    control=st.sampled_from((0, 30)),
    windows=st.lists(WINDOW, min_size=1, max_size=4),
    is_timed=st.booleans(),
    quiet=st.none() | st.tuples(st.integers(-30, 40), st.sampled_from((2, 15, 50)), st.sampled_from(("wait", "drop"))),
    per_second=st.sampled_from((None, 0.5, 0.05)),
    ttl_s=st.sampled_from((None, 600.0)),
    faults=FAULTS,
    seed=st.integers(0, 2**32),
)
@settings(max_examples=max(EXAMPLES // 8, 10), suppress_health_check=list(HealthCheck), print_blob=True)
def test_any_times(
    users: int,
    size: int,
    control: int,
    windows: list[tuple[int, int]],
    is_timed: bool,
    quiet: tuple[int, int, Any] | None,
    per_second: float | None,
    ttl_s: float | None,
    faults: Faults,
    seed: int,
) -> None:
    """First requests are in their window, none is in quiet hours, each device has one row, and the run ends."""
    history = History(["one"] * users, size, control, faults, seed, None, len(windows))
    world = history.world
    world.records = people(users)
    world.parts = [world.records[first : first + size] for first in range(0, users, size)]
    world.per_second, world.ttl_s = per_second, ttl_s
    if len(world.spans) < 2:
        world.spans = (Span(0, users, 0, len(world.parts), 1),) if is_timed else ()
    if is_timed:
        world.spans = tuple(_timed(span, window) for span, window in zip(world.spans, windows, strict=False))
    if quiet is not None:
        begins, length, then = quiet
        first, last = (clock_text(START_S + 60 * minutes) for minutes in (begins, begins + length))
        world.quiet = Quiet(first, last, then, FALLBACK)
    asked: set[str] = set()
    checks_due = world.phones.on_ask

    def check(token: str, now_s: float, round_: int) -> None:
        checks_due(token, now_s, round_)
        record = int(token[1:].partition(".")[0])
        if world.quiet is not None and is_quiet(world.quiet, zone_of(record), now_s):
            history.seen_wrong.append(AssertionError(f"{token} was asked in quiet hours"))
        span = next((span for span in world.spans if span.first <= record < span.end), None)
        if token not in asked and span is not None and span.not_before_ms is not None:
            assert span.not_after_ms is not None
            if not span.not_before_ms <= now_s * 1000 < span.not_after_ms:
                history.seen_wrong.append(AssertionError(f"{token} was first asked outside of its window"))
        asked.add(token)

    world.phones.on_ask = check
    # Windows and quiet hours are rests of their own, and so is each device that is put off within a batch.
    history.schedule.resumes += 2 * users + 4 * len(windows)
    history.check()
    rows = [row for found in world.results.rows.values() for row in found.rows]
    late = {row.reason for row in rows if row.outcome is Outcome.FAILED}
    assert late <= {"too_late", "quiet", "ServiceUnavailable", "TooManyRequests", "refused", "unanswered"}
    assert is_timed or "too_late" not in late


@pytest.mark.parametrize("per_second", [0.05, 0.02])
def test_a_rate_that_outlasts_a_hop(per_second: float) -> None:
    """Four lanes whose share is a push in 80 s or more, in invocations of 90 s: each rests until its next push is due.

    The pace goes on over rests and hops, so that none waits in vain; and together they do not exceed the rate, though
    those that rest are not at work.
    """
    history = History(["one"] * 16, 2, 0, Faults(timeout_s=90), 0, None, 4)
    world = history.world
    world.per_second = per_second
    asked: list[float] = []
    world.phones.on_ask = lambda _token, now_s, _round: asked.append(now_s - START_S)
    history.check()
    assert world.lane.ending is Ending.COMPLETED
    # A sweep, which comes each minute, may wake each of them as much later: once, for what it waited too long counts.
    assert max(asked) <= 16 / per_second + 60
    for n, at_s in enumerate(asked):
        assert n <= at_s * per_second + 4, "no more than the rate, and a push in advance for each lane"
    assert world.lane.hop <= 4 * (4 + 2), "a hop for each push of a lane, and little else is paid"


@pytest.mark.parametrize("per_second", [0.05, 0.005])
def test_a_low_rate_opens_one_batch_after_the_other(per_second: float) -> None:
    """Hops that send less than a batch go on with the one that an earlier hop began: one is open at a time."""
    run = OneRun(15)
    run.world.per_second = per_second
    most_open = 0
    while run.world.lane.ending is None and run.invocations < 40:
        run.lane(0, timeout_s=90)
        most_open = max(most_open, run.world.lane.account.deferred)
        run.world.clock.time_s = max(run.world.clock.now(), (run.world.lane.due_at_ms or 0) / 1000)
    assert run.world.lane.ending is Ending.COMPLETED
    assert run.invocations > 6
    assert most_open <= 5, "a batch has five"
    assert [len(times) for times in run.asked_s.values()] == [1] * 15
    assert max(times[0] for times in run.asked_s.values()) <= 16 / per_second + 60


@pytest.mark.parametrize(("per_second", "keeps"), [(0.02, True), (0.5, False)])
def test_who_keeps_a_share_at_rest(per_second: float, keeps: bool) -> None:
    """A lane that rests until its share lets it go on keeps the share; one that waits for deferred devices does not."""
    run = OneRun(12, act_of=lambda _token, asked: Act.LATER if asked == 0 else Act.ACCEPT, lanes=2)
    run.world.per_second = per_second
    run.lane(0)
    [first, _] = run.world.ledger.lanes_of("r")
    assert first.state is LaneState.RESTING
    assert first.waits_for_rate is keeps
    now_ms = int(run.world.clock.now() * 1000)
    member = run.world.ledger.membership(now_ms).present(now_ms).get("r_0000")
    assert (member is not None and member.rests) is keeps


class SlowQuestions(TwinBackground):
    """Threads in which the question who shares a rate takes five seconds: one is always under way. All else is done."""

    def __init__(self, clock: TwinClock) -> None:
        super().__init__()
        self._clock = clock
        self.asked = 0

    def run_all(self) -> None:
        """Run what is pending, but for the questions that are not answered yet."""
        while (index := next((n for n, task in enumerate(self.pending) if self._is_ready(task)), None)) is not None:
            self.run(index)

    def _is_ready(self, task: TwinTask[Any]) -> bool:
        if task.function.__name__ != "join":
            return True
        if task.ready_s is None:
            self.asked, task.ready_s = self.asked + 1, self._clock.now() + 5
        return self._clock.now() >= task.ready_s


@pytest.mark.parametrize(("per_second", "rests"), [(2.0, False), (0.02, True)])
def test_a_question_under_way_does_not_enter_a_lane_that_has_left(per_second: float, rests: bool) -> None:
    """Answered after the lane has left its share, it would enter it again: so its hop ends only when it is answered."""
    run = OneRun(10, lanes=2)
    run.world.per_second = per_second
    hops = hops_of(run.world)
    hops.background = questions = SlowQuestions(run.world.clock)
    hops.lane_worker().work(run.world.run, 0, invocation(run.world))
    assert questions.asked >= 2
    while questions.pending:
        questions.run()
    now_ms = int(run.world.clock.now() * 1000)
    member = run.world.ledger.membership(now_ms).present(now_ms).get("r_0000")
    [lane, _] = run.world.ledger.lanes_of("r")
    assert lane.state is (LaneState.RESTING if rests else LaneState.DONE)
    assert (member is not None and member.rests) is rests
    assert (member is None) is not rests


def _timed(span: Span, window: tuple[int, int]) -> Span:
    opens_s = START_S + 60 * window[0]
    return msgspec.structs.replace(
        span, not_before_ms=int(opens_s * 1000), not_after_ms=int((opens_s + 60 * window[1]) * 1000)
    )


class OneRun:
    """A run that is nudged whenever one of its lanes is due, with nothing that breaks."""

    def __init__(self, count: int, *, control: int = 0, act_of: Any = None, **members: Any) -> None:
        self.asked_s: dict[str, list[float]] = {}
        phones = Phones(act_of or (lambda _token, _asked: Act.ACCEPT))
        phones.on_ask = lambda token, now_s, _: self.asked_s.setdefault(token, []).append(now_s - START_S)
        self.world = World(people(count), phones=phones, size=5, control_percent=control, **members)
        self.invocations = 0

    def windows(self, *minutes: tuple[int, int]) -> None:
        """Lanes with windows: from when, in minutes, and how long."""
        assert len(minutes) == len(self.world.spans)
        self.world.spans = tuple(_timed(span, window) for span, window in zip(self.world.spans, minutes, strict=True))

    def lane(self, number: int, timeout_s: float = 900.0) -> None:
        """One invocation for a lane."""
        self.invocations += 1
        hops_of(self.world).lane_worker().work(self.world.run, number, invocation(self.world, timeout_s))

    def go_on(self, until_s: float = 200_000.0, timeout_s: float = 900.0) -> None:
        """Every lane whenever it is due, as the sweeper does."""
        if not self.invocations:
            self.lane(0, timeout_s)
        while self.world.lane.ending is None:
            lanes = self.world.ledger.lanes_of("r")
            at_ms, number = min(
                (lane.due_at_ms, lane.lane) for lane in lanes if lane.due_at_ms and lane.state is not LaneState.DONE
            )
            self.world.clock.time_s = max(self.world.clock.now(), at_ms / 1000)
            if self.world.clock.now() - START_S > until_s:
                return
            self.lane(number, timeout_s)

    @property
    def rows(self) -> dict[str, Row]:
        """By user."""
        return {row.user_id: row for found in self.world.results.rows.values() for row in found.rows}


def test_lanes_rest_between_their_windows() -> None:
    """Each is invoked when its window opens and not before; the opener once more. Control is held in the window."""
    run = OneRun(30, lanes=3, control=30)
    run.windows((10, 60), (200, 60), (600, 60))
    run.go_on()
    assert run.world.lane.ending is Ending.COMPLETED
    assert run.invocations == 4
    for record in range(30):
        opens = (10, 200, 600)[record // 10]
        row = run.rows[f"u{record}"]
        at_s = datetime.fromisoformat(row.at + "+00:00").timestamp() - START_S
        assert opens * 60 <= at_s < opens * 60 + 60
        assert (row.outcome is Outcome.HELD) is (f"t{record}.0" not in run.asked_s)
    assert any(row.outcome is Outcome.HELD for row in run.rows.values())


def test_who_is_suppressed_between_two_windows() -> None:
    """It is read again before each window: whoever is added after the first gets nothing in the second."""
    run = OneRun(20, lanes=2)
    run.windows((10, 60), (200, 60))
    asked = run.world.phones.on_ask

    def add(token: str, now_s: float, round_: int) -> None:
        asked(token, now_s, round_)
        # One whose window is this one, who has been asked already, and one whose window comes.
        run.world.suppressed = {"u0", "u12"}

    run.world.phones.on_ask = add
    run.go_on()
    assert run.world.lane.ending is Ending.COMPLETED
    assert run.asked_s.keys() == {f"t{n}.0" for n in range(20) if n != 12}
    assert run.world.lane.account.excluded_by == {"suppressed": 1}
    assert "u12" not in run.rows


def test_who_is_suppressed_while_a_plain_file_is_sent() -> None:
    """At a push in 20 s an invocation of 90 s rests before its next: each wake reads the list again."""
    run = OneRun(12)
    run.world.per_second = 0.05
    asked = run.world.phones.on_ask

    def add(token: str, now_s: float, round_: int) -> None:
        asked(token, now_s, round_)
        run.world.suppressed = {"u11"}

    run.world.phones.on_ask = add
    run.go_on(timeout_s=90)
    assert run.world.lane.ending is Ending.COMPLETED
    assert run.invocations > 1
    assert run.asked_s.keys() == {f"t{n}.0" for n in range(11)}
    assert run.world.lane.account.devices == run.world.lane.account.settled


def test_a_window_that_was_missed() -> None:
    """A pause past its end: variants and control have failed alike; nobody is asked, and the other lane is whole."""
    run = OneRun(20, lanes=2, control=30)
    run.windows((10, 30), (200, 30))
    run.lane(0)
    run.world.ledger.control_run("r", Control.PAUSE, "ann")
    run.world.clock.time_s = START_S + 100 * 60
    run.world.ledger.control_run("r", Control.GO, "ann")
    run.go_on()
    assert {row.reason for user, row in run.rows.items() if int(user[1:]) < 10} == {"too_late"}
    assert {row.outcome for user, row in run.rows.items() if int(user[1:]) >= 10} == {Outcome.ACCEPTED, Outcome.HELD}
    assert run.world.lane.account.devices == run.world.lane.account.settled == 20


def test_a_device_that_is_refused_is_asked_again_within_minutes() -> None:
    """Not with the last window: its lane rests by itself."""
    run = OneRun(20, lanes=2, act_of=lambda token, asked: Act.MINUTE if token == "t1.0" and not asked else Act.ACCEPT)
    run.windows((10, 30), (1_500, 30))
    run.go_on()
    first, second = run.asked_s["t1.0"]
    assert 60 <= second - first <= 200
    assert run.world.lane.ending is Ending.COMPLETED


@pytest.mark.parametrize("then", ["wait", "drop"])
def test_quiet_hours_of_a_plain_file(then: Any) -> None:
    """Without windows: who is in quiet hours now waits for their end, or has failed; the others go at once."""
    run = OneRun(12, control=30)
    # Quiet for an hour from now in UTC: an hour and a half to the west it is not.
    run.world.quiet = Quiet(clock_text(START_S), clock_text(START_S + 3_600), then, FALLBACK)
    run.go_on()
    for user, row in run.rows.items():
        zone = zone_of(int(user[1:]))
        is_asleep = is_quiet(run.world.quiet, zone, START_S)
        if not is_asleep:
            assert row.outcome in (Outcome.ACCEPTED, Outcome.HELD)
        elif then == "drop":
            assert (row.outcome, row.reason) == (Outcome.FAILED, "quiet")
        else:
            # Control, too: as of the time at which the variants get theirs.
            at = datetime.fromisoformat(row.at + "+00:00").timestamp()
            assert not is_quiet(run.world.quiet, zone, at)
            assert row.outcome in (Outcome.ACCEPTED, Outcome.HELD)
            assert at > START_S + 1_800
    assert any(is_quiet(run.world.quiet, zone_of(n), START_S) for n in range(12))
    assert len(run.rows) == 12


@pytest.mark.parametrize(("ttl_s", "outcome"), [(None, Outcome.ACCEPTED), (3_600.0, Outcome.FAILED)])
def test_a_retry_waits_for_the_end_of_quiet_hours(ttl_s: float | None, outcome: Outcome) -> None:
    """Refused just before they begin, it is asked at their end; if its time to live is over by then, it has failed."""
    run = OneRun(1, act_of=lambda _, asked: Act.MINUTE if not asked else Act.ACCEPT)
    run.world.ttl_s = ttl_s
    run.world.quiet = Quiet(clock_text(START_S + 60), clock_text(START_S + 60 + 11 * 3_600), "wait", FALLBACK)
    run.go_on()
    assert run.rows["u0"].outcome is outcome
    if outcome is Outcome.FAILED:
        assert run.rows["u0"].reason == "quiet"
        return
    assert len(run.asked_s["t0.0"]) == 2
    assert not is_quiet(run.world.quiet, "UTC", START_S + run.asked_s["t0.0"][1])
    assert run.asked_s["t0.0"][1] > 11 * 3_600


def test_quiet_hours_are_not_waited_for_beyond_abort_after() -> None:
    """`abort_after` wins: the run ends then, and nobody is asked at the end of the night."""
    ends = datetime.fromtimestamp(START_S, UTC) + timedelta(minutes=100)
    run = OneRun(12, abort_after=ends.isoformat())
    run.world.quiet = Quiet(clock_text(START_S - 60), clock_text(START_S + 11 * 3_600), "wait", FALLBACK)
    run.go_on()
    assert run.world.lane.ending is Ending.ABORTED
    assert run.world.clock.now() - START_S < 101 * 60
    asleep = {f"t{n}.0" for n in range(12) if is_quiet(run.world.quiet, zone_of(n), START_S)}
    assert len(asleep) > 4
    assert not asleep & run.asked_s.keys()


def test_the_run_is_aborted_on_time() -> None:
    """`abort_after` wins over a window that opens later: the lanes that rest are ended then."""
    ends = datetime.fromtimestamp(START_S, UTC) + timedelta(minutes=100)
    run = OneRun(20, lanes=2, abort_after=ends.isoformat())
    run.windows((10, 30), (2_000, 30))
    run.go_on()
    assert run.world.lane.ending is Ending.ABORTED
    assert run.world.clock.now() - START_S < 101 * 60
    assert set(run.asked_s) == {f"t{n}.0" for n in range(10)}
