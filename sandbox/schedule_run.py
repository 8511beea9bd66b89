"""`python -m sandbox schedule … --run`: a schedule's occurrences sent into the stand-ins, with the tick's clock moved.

Here the tick works on the sandbox's table and bucket; the audience function and the worker are the deployed ones, in
the local Lambda. Only the tick's clock is moved: the others are waited for, however long they take.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as of_day
from pathlib import Path
from typing import Any

from sandbox.schedule import TICK_S, Line, Player, line_of
from sandbox.schedule_twins import Clock
from sandbox.trial import Setting, Trial
from sandbox.up import write_stack_file
from schedules.definition import Schedule
from schedules.documents import BucketTexts, Documents
from schedules.drops import Drops
from schedules.firing import Tick, next_of
from schedules.occurrence_steps import Occurrences
from schedules.rules import OccurrenceState
from schedules.stack import Stack
from schedules.store import OccurrenceItem, ScheduleStore

FOLDERS = ("queries", "standing", "audiences", "conversions")
"""What of the folder is put into the bucket."""
WAIT_S = 120.0


class SendingPlayer(Player):
    """Plays a schedule and sends its occurrences.

    Args:
        trial: a running sandbox.
        on_sent: is given each occurrence that was sent, when its run has ended.
    """

    def start(self, state_dir: Path) -> Trial:
        """The sandbox that it is played in."""
        return Trial.start(state_dir, Setting())

    def sent(self, trial: Trial, on_sent: Callable[[Line, str], object]) -> Iterator[Line]:
        """The occurrences, each when it is over."""
        self._fill(trial)
        end = datetime.combine(self._end, of_day(), self.schedule.timetable.zone).astimezone(UTC)
        clock = Clock(self._begins - timedelta(minutes=1))
        # The worker's approvals and preparations are looked at by functions whose clock is the machine's.
        store, tick = self._tick(trial, clock, time.time)
        tick.run()
        seen: set[str] = set()
        while True:
            item = store.read(self.schedule.name)
            following = next_of(self.schedule, int(clock.s * 1000)) if item is not None and item.next else None
            if following is None or following.utc >= end:
                return
            clock.s = following.utc.timestamp()
            for one in self._over(tick, store, clock, trial):
                if one.stamp not in seen:
                    seen.add(one.stamp)
                    line = line_of_item(self.schedule, one)
                    on_sent(line, one.run_id)
                    yield line

    @property
    def _begins(self) -> datetime:
        """The beginning of the first date, in the schedule's zone."""
        return datetime.combine(self._first, of_day(), self.schedule.timetable.zone).astimezone(UTC)

    def _tick(
        self, trial: Trial, clock: Callable[[], float], functions_clock: Callable[[], float]
    ) -> tuple[ScheduleStore, Tick]:
        """The tick over the trial's table and bucket, with a clock that is moved."""
        bucket, dynamodb = trial.sandbox.bucket, trial.sandbox.client("dynamodb")
        audience_function = trial.sandbox.function("AudienceFunction").name

        def ask(preparation: str) -> None:
            trial.sandbox.lambda_.invoke_later(audience_function, json.dumps({"prepare": preparation}).encode(), "")

        store = ScheduleStore(dynamodb, trial.sandbox.table, clock)
        stack = Stack(dynamodb, trial.sandbox.table, trial.s3, bucket, ask, functions_clock)
        occurrences = Occurrences(store, stack, Drops(trial.s3, bucket), clock)
        documents = Documents(BucketTexts(trial.s3, bucket))
        return store, Tick(store, documents, occurrences, clock, lambda *_a, **_k: None, on_error=_raise)

    def _over(self, tick: Tick, store: ScheduleStore, clock: Clock, trial: Trial) -> list[OccurrenceItem]:
        """Tick until nothing is open; wait for each run."""
        waited = time.monotonic()
        while True:
            tick.run()
            latest = store.history(self.schedule.name, limit=5)
            open_ones = [one for one in latest if not one.state.is_over]
            if not open_ones or open_ones[0].state is OccurrenceState.NEEDS_REVIEW:
                break
            if time.monotonic() - waited > WAIT_S:
                raise TimeoutError(f"{open_ones[0].stamp} is still {open_ones[0].state.value}")
            if open_ones[0].state is OccurrenceState.PREPARING:
                trial.sandbox.lambda_.wait_idle(WAIT_S)
            clock.s += TICK_S
        for one in latest:
            if one.run_id:
                for _ in trial.follow(one.run_id, WAIT_S, every_s=0.1):
                    pass
        return list(reversed(latest))

    def _fill(self, trial: Trial) -> None:
        """Put the folder's files, and the schedule, into the bucket."""
        for folder in FOLDERS:
            for path in sorted((self._root / folder).rglob("*")):
                if path.is_file():
                    key = str(path.relative_to(self._root))
                    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=path.read_bytes())
        trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=f"schedules/{self.schedule.name}.json", Body=self._data)


def report_of(trial: Trial, run_id: str, folder: Path) -> None:
    """Print what `notifier report` says of a run."""
    from operations.cli import app  # noqa: PLC0415 - half a second, for this alone

    stack_file = write_stack_file(trial.sandbox, folder / "stack.json")
    app(["report", run_id, "--stack-file", str(stack_file)], standalone_mode=False)


def line_of_item(schedule: Schedule, one: OccurrenceItem) -> Line:
    """An occurrence as it is stored, as it is printed."""
    found, users = one.occurrence, one.users if one.users >= 0 else None
    return line_of(schedule, found.local, found.utc, one.state.value, users, one.reason)


def _raise(error: Exception) -> Any:
    raise error
