"""The ledger: what a run must remember between two invocations, and who may write it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from notifier.model.hold import Hold
from notifier.model.lane_membership import Member, Membership
from notifier.model.preparation import Preparation
from notifier.model.run import Control, Ending, Lane, LaneState, Run
from notifier.model.span import Span


class Approval(NamedTuple):
    """What the approval pages say of one key: the SHA-256 of the bytes that were approved, and who approved them."""

    sha256: str
    by: str


class Ledger(Protocol):
    """Runs, lanes and campaign ids. `notifier.stores.ledger` keeps them in DynamoDB, the tests' twin in memory.

    A claim takes a lane's lease and increments its epoch. The lease's owner writes with the lane that its last call
    returned; each of these writes is conditional on the epoch, so that a worker that was replaced can change nothing.
    """

    # -- runs ---------------------------------------------------------------------------------------------------------

    def open_run(self, run: Run) -> Run:
        """Enter a run and its lane, unless they are there already. Returns the run as the ledger has it."""
        ...

    def read_run(self, run_id: str) -> Run | None:
        """The run, or None. Raises LedgerTooNew."""
        ...

    def read_lane(self, run_id: str, lane: int = 0) -> Lane | None:
        """The lane, or None. Raises LedgerTooNew."""
        ...

    def name_campaign(self, run_id: str, campaign_id: str) -> None:
        """Note which campaign the file of a run holds, whether or not it may be sent."""
        ...

    def take_campaign(self, campaign_id: str, run_id: str, *, again: bool) -> bool:
        """Make the run the owner of its campaign id. False when another run owns it and `again` is not set."""
        ...

    def name_audience(self, run: Run, campaign_id: str, objects: Iterable[tuple[str, str]]) -> None:
        """Enter the run under the objects (bucket, key) that hold its users, for those who look it up by them."""
        ...

    def note_opened(self, run_id: str, counted_by: str = "") -> None:
        """Note that the run's campaign is stored under `state/`. From now on a missing one was deleted.

        Args:
            counted_by: what counts its users for caps; empty for nothing.
        """
        ...

    def close_run(self, run_id: str, lanes: Iterable[int] = ...) -> None:
        """Note that the run's summary is written and its end announced: no lane of it is due any more."""
        ...

    # -- lanes --------------------------------------------------------------------------------------------------------

    def lanes_of(self, run_id: str) -> tuple[Lane, ...]:
        """All lanes of a run, by number; none of an unknown run. Raises LedgerTooNew."""
        ...

    def open_lanes(self, lane: Lane, spans: Sequence[Span], rest_until_ms: int | None = None) -> Lane:
        """Enter the further lanes of a run, and what its first lane sends. Repeatable.

        A lane whose time has not come rests until then.

        Args:
            lane: the first lane, which the caller has claimed. It is returned.
            rest_until_ms: at most until this time.

        Raises:
            LaneLost: another worker claimed the first lane.
        """
        ...

    def pass_on_command(self, lane: Lane) -> None:
        """Give the lanes of a run the last command of its first lane, where they have an earlier one or none.

        Raises:
            LedgerTooNew: a newer release wrote one of them.
        """
        ...

    def control_run(self, run_id: str, control: Control, by: str) -> tuple[Lane, ...]:
        """Pause, resume or cancel all lanes. Returns those that are not done; none of an unknown run."""
        ...

    def await_others(self, lane: Lane) -> None:
        """A lane is done before others of its run: it is not due any more, and the last one closes the run."""
        ...

    def approval(self, bucket: str, key: str) -> Approval | None:
        """Which bytes were approved under this key, and by whom."""
        ...

    def await_decision(self, run_id: str, after_ms: int) -> None:
        """Enter that the winner of this test is to be decided, in so many milliseconds at the earliest. Repeatable."""
        ...

    # -- preparations -------------------------------------------------------------------------------------------------

    def ask_for_preparation(self, run_id: str, request: str, bucket: str) -> Preparation:
        """Enter a preparation of this audience, unless the run has one already. Returns it as it is.

        Args:
            request: the batch file's `audience`, as JSON.
            bucket: of names in it that have none.
        """
        ...

    def ask_for_count(self, run_id: str, began_at_ms: int) -> str:
        """Enter that a run is over and to be counted for caps, unless that is entered already.

        Returns the id of its preparation.
        """
        ...

    def read_preparation(self, run_id: str) -> Preparation | None:
        """The run's preparation, or None."""
        ...

    def ask_for_cut(self, run_id: str) -> Preparation:
        """Enter the final cut of a run whose audience is prepared, unless it is entered already. Returns it as it is.

        Raises:
            KeyError: the run has no preparation.
        """
        ...

    def end_preparation(self, run_id: str) -> None:
        """Note that the worker has seen how it ended: no sweeper has to look at it any more."""
        ...

    def cancel_preparation(self, run_id: str) -> None:
        """Note that the audience is not wanted any more, unless its preparation is over."""
        ...

    # -- the owner of a lane's lease ----------------------------------------------------------------------------------

    def claim(
        self, run_id: str, lane: int, function_version: str, owner: str, ends_at_ms: int, gone_version: str = ""
    ) -> Lane:
        """Take the lease of a lane that is ready, due, cancelled while it waited, or whose lease is over.

        Args:
            owner: names this invocation and no other, so that a claim whose answer was lost is recognised.
            ends_at_ms: when the invocation's time is up, milliseconds since the epoch; for people who watch.
            gone_version: the lane's version of the code where that was deleted: it goes on with `function_version`.

        Raises:
            LaneTaken: the lane is leased, not due, waits for an operator, or is done.
            LaneHeld: the stack is held, and the lane is not cancelled.
        """
        ...

    def renew(self, lane: Lane) -> Lane:
        """Extend the lease; `may_ask_below`, `most_devices` and `trouble` are written too.

        Returns the lane, whose `control` may have changed, and `held`.

        Raises:
            LaneLost: another worker claimed the lane.
        """
        ...

    def advance(self, before: Lane, after: Lane) -> Lane:
        """Move cursor and account in one write, and extend the lease.

        Raises:
            LaneLost: another worker claimed the lane.
        """
        ...

    def release(self, lane: Lane, state: LaneState, due_at_ms: int | None, reason: str | None = None) -> Lane:
        """End the lease: hand over, rest, pause or stop.

        An operator may have resumed or cancelled the run meanwhile. Then the lane does not wait: it becomes ready.

        Args:
            due_at_ms: when the sweeper nudges the lane; None: not before an operator resumes the run.

        Raises:
            LaneLost: another worker claimed the lane.
        """
        ...

    def finish(self, lane: Lane, ending: Ending, reason: str | None) -> Lane:
        """End the lease and the lane. It stays due until the run is closed.

        Raises:
            LaneLost: another worker claimed the lane.
        """
        ...

    # -- operators and the sweeper ------------------------------------------------------------------------------------

    def read_hold(self) -> Hold | None:
        """The hold of the whole stack, or None."""
        ...

    def set_hold(self, by: str, reason: str) -> Hold:
        """Hold the stack: nothing is claimed any more, and workers end. One that is held already keeps its time."""
        ...

    def release_hold(self, by: str) -> bool:
        """Release it. False where nothing is held."""
        ...

    def set_control(
        self,
        run_id: str,
        control: Control,
        by: str,
        lane: int = 0,
        *,
        only_if_going: bool = ...,
        at_ms: int | None = ...,
    ) -> Lane | None:
        """Pause, resume or cancel one lane. None when it is done, cancelled, unknown, or has a later command.

        Args:
            only_if_going: not where another command was given before.
            at_ms: when the command was given; by default now.
        """
        ...

    def due(self, now_ms: int, on_unreadable: Callable[[str, Exception], None]) -> Iterator[Lane]:
        """Lanes whose `due_at_ms` has passed, the earliest first.

        Args:
            on_unreadable: gets the key of each item that cannot be read, and why. The other lanes are due all the same.
        """
        ...

    def put_off(self, lane: Lane, due_at_ms: int) -> bool:
        """Move a due lane's `due_at_ms`. False when another sweep or a claim was first."""
        ...

    def due_preparations(
        self, now_ms: int, on_unreadable: Callable[[str, Exception], None] = ...
    ) -> Iterator[Preparation]:
        """Preparations that no attempt works on although one should, and those whose lane was not nudged."""
        ...

    def put_off_preparation(self, found: Preparation, due_at_ms: int) -> bool:
        """Move a due preparation's `due_at_ms`. False when another sweep was first."""
        ...

    # -- lanes that share a rate --------------------------------------------------------------------------------------

    def alive(self, now_ms: int) -> int:
        """How many lanes, of all runs, share FCM's budget."""
        ...

    def membership(self, now_ms: int) -> Membership:
        """Who shares."""
        ...

    def join(self, members: Mapping[str, Member], now_ms: int) -> Membership:
        """Enter lanes of runs that have several, or enter them again. Returns who shares now."""
        ...

    def leave(self, name: str, now_ms: int) -> None:
        """Let a lane lapse that does not work any more."""
        ...
