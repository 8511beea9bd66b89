"""Campaigns that come back, as the pages see them: the function of the schedules reads and writes them for us."""

from collections.abc import Mapping
from typing import Any

import msgspec

from approval.functions import NoAnswer, StackFunction, heed
from approval.people import Person
from approval.reasons import without_commands
from approval.request import Forbidden, Refused
from approval.taken_audiences import SCHEDULE_NAME, TakenAudience

_FOR_APPROVERS = ("approve", "decide")
"""Steps that are four eyes' second pair. Everybody who works here may pause, for that stops pushes."""


_SILENT = "The schedules do not answer."


class NotThere(LookupError):
    """There is no such schedule, or no function that has any."""


class SeenOccurrence(msgspec.Struct, frozen=True):
    """What has become of one time of a schedule. `users` is None until its audience is made."""

    occurrence: str
    fires_at_ms: int
    state: str
    users: int | None = None
    run_id: str = ""
    reason: str = ""
    decision: str = ""
    by: str = ""
    review_until_ms: int | None = None


class ScheduleLine(msgspec.Struct, frozen=True):
    """A schedule in the list."""

    name: str
    state: str
    reason: str = ""
    by: str = ""
    keeps_old: bool = False
    next: str = ""
    next_ms: int | None = None
    last: SeenOccurrence | None = None


class CalendarTime(msgspec.Struct, frozen=True):
    """A time that is still to come: the local minute in the schedule's zone, and when that is."""

    schedule: str
    local: str
    utc_ms: int


class Overview(msgspec.Struct, frozen=True):
    """All schedules, and the times of the next 30 days."""

    schedules: tuple[ScheduleLine, ...]
    calendar: tuple[CalendarTime, ...]


class SeenSchedule(msgspec.Struct, frozen=True):
    """One schedule: what its file and its queries say now, what is in force, and its history.

    Attributes:
        changed: keys of the texts that differ from those in force.
        hash: of the texts as they are now; "" while they have faults.
        sha256: of the file as it is now, in hexadecimal; "" where it is gone.
        in_force: the hash by which it fires; "" for none.
        times_ms: the next times by what is in force; `planned_ms` by what its file says.
        unseen: of who has approved it without looking at all its texts, the names of those.
        rhythm: `schedule` of its file; empty while that has faults.
        occurs: its rule in words; "" where a release before answers, which has none.
        needs_approval: whether an edit waits for an approval, as this stack's settings say.
    """

    line: ScheduleLine
    text: str
    history: tuple[SeenOccurrence, ...]
    times: tuple[str, ...]
    sha256: str = ""
    in_force: str = ""
    hash: str = ""
    faults: tuple[str, ...] = ()
    queries: Mapping[str, str] = {}
    changed: tuple[str, ...] = ()
    old_text: str = ""
    edited_by: str = ""
    approved_by: tuple[str, ...] = ()
    unseen: Mapping[str, str] = {}
    needed: int = 1
    max_users: int | None = None
    ends: str = ""
    times_ms: tuple[int, ...] = ()
    planned_ms: tuple[int, ...] = ()
    rhythm: Mapping[str, Any] = {}
    occurs: str = ""
    needs_approval: bool = True

    @property
    def shown_times_ms(self) -> tuple[int, ...]:
        """The next times of what its page shows and an approver decides on: its file.

        Where an edit waits, what is in force may go on by a rhythm that the edit changes: its times are not these.
        """
        if self.hash and self.hash != self.in_force:
            return self.planned_ms
        # Of a file with faults only what is in force has times.
        return self.times_ms or self.planned_ms

    @property
    def rule(self) -> str:
        """Its rule as it is written."""
        when = self.rhythm.get("when", {})
        return str(when.get("cron") or when.get("at") or "")

    @property
    def approvers(self) -> str:
        """Who has approved what its file says, each with the texts that they have not looked at."""
        return "; ".join(
            f"{by}, without looking at {self.unseen[by]}" if by in self.unseen else by for by in self.approved_by
        )

    @property
    def waits_for_approval(self) -> bool:
        """Whether its texts are not in force because nobody, or too few, have approved them."""
        return self.line.state == "unapproved" and bool(self.hash)


class NextTime(msgspec.Struct, frozen=True):
    """Whom the next time would reach as of now; `examples` are records without their devices' tokens.

    `campaign` is as its batch file would have it, `manifest` the key of the audience that was made, `hash` of the texts
    that it was made by.
    """

    occurrence: str
    state: str
    campaign: Mapping[str, Any]
    values: Mapping[str, str] = {}
    users: int | None = None
    reason: str = ""
    examples: tuple[Mapping[str, Any], ...] = ()
    manifest: str = ""
    hash: str = ""


class BrokenText(Refused):
    """What was written is no schedule. `faults` has a line for each reason."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("It was not saved: it has faults.")
        self.faults = faults


class Schedules:
    """The function of the schedules.

    Args:
        client: a boto3 Lambda client.
        function: its name or ARN; "" where this stack has none.
        brief_client: one that does not wait long, for what a page can be shown without.
        next_client: one for a call with several questions, which must leave time for each other.
    """

    def __init__(self, client: Any, function: str, brief_client: Any, next_client: Any) -> None:
        self._function = StackFunction(client, function, _SILENT)
        self._briefly = StackFunction(brief_client, function, _SILENT)
        self._soon = StackFunction(next_client, function, _SILENT)

    @property
    def are_there(self) -> bool:
        """Whether this stack has schedules."""
        return self._function.is_there

    def overview(self) -> Overview:
        """All of them. Raises Refused where the function does not answer."""
        return msgspec.convert(self._ask({"action": "list"}), Overview)

    def schedule(self, name: str, *, soon: bool = False) -> SeenSchedule:
        """One of them. Raises NotThere.

        Args:
            soon: whether more is asked after it, in the same call.
        """
        asking = self._soon if soon else self._function
        return msgspec.convert(self._shown({"action": "show", "schedule": name}, asking), SeenSchedule)

    def names(self) -> tuple[str, ...]:
        """Their names; none where there is no function, or it does not answer soon: a form is shown without them."""
        if not self.are_there:
            return ()
        try:
            return tuple(self._briefly.ask({"action": "names"}).get("names", ()))
        except NoAnswer:
            return ()

    def audience(self, name: str) -> TakenAudience:
        """Whom a schedule reaches. Raises Refused: there is no such schedule, or its file has faults."""
        if not SCHEDULE_NAME.fullmatch(name):
            raise Refused("There is no such schedule.")
        try:
            return msgspec.convert(self._ask({"action": "audience", "schedule": name}), TakenAudience)
        except NotThere as error:
            raise Refused(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        except BrokenText as error:
            raise Refused(f"Nothing of it is in force, and its file has faults: {error.faults[0]}.") from None

    def next_time(self, person: Person, name: str) -> NextTime:
        """Have the audience of the next time made as of now, or see how far that is. Its examples are real users."""
        _require_role(person)
        try:
            return msgspec.convert(self._ask({"action": "preview", "schedule": name}, self._soon), NextTime)
        except BrokenText as error:
            raise Refused(f"It cannot be counted, for its file has faults: {error.faults[0]}.") from None

    def starting(self) -> tuple[str, ...]:
        """What starts within a minute once the stack is released: runs, and times of schedules."""
        # Its page is shown without it: whoever releases the stack does not wait for it.
        return tuple(self._ask({"action": "starting"}, self._briefly)["starting"])

    def act(self, person: Person, action: str, name: str, **about: Any) -> dict[str, Any]:
        """Carry out what a person asks for.

        Raises:
            Forbidden: it is for approvers.
            BrokenText: what was to be saved is no schedule.
            Refused: it cannot be done; the message says why.
        """
        if action in _FOR_APPROVERS and not person.is_approver:
            raise Forbidden("Only approvers decide.")
        if action not in _FOR_APPROVERS:
            _require_role(person)
        return self._ask({"action": action, "schedule": name, "by": person.email, **about}, changes=True)

    def decide_winner(self, person: Person, run_id: str, arm: str) -> None:
        """Decide what goes to the remainder of a test. Raises Refused where it is decided, or not to be decided yet."""
        if not self._function.is_there:
            raise Refused("This stack has no function that sends winners. Ask an engineer.")
        self._ask({"action": "winner", "run_id": run_id, "arm": arm, "by": person.email}, changes=True)

    def _shown(self, event: Mapping[str, Any], asking: StackFunction) -> dict[str, Any]:
        try:
            return self._ask(event, asking)
        except NoAnswer:
            raise  # it may well be there
        except Refused as refused:
            raise NotThere(str(refused)) from None

    def _ask(
        self, event: Mapping[str, Any], asking: StackFunction | None = None, *, changes: bool = False
    ) -> dict[str, Any]:
        if not self._function.is_there:
            raise NotThere("this stack has no schedules")
        answer = (asking or self._function).ask(event, changes=changes)
        if answer.get("faults") and "refused" in answer:
            raise BrokenText(tuple(without_commands(fault) for fault in answer["faults"]))
        heed(answer)
        return answer


def _require_role(person: Person) -> None:
    """Refuse privacy officers without another role: campaigns and their users are not their business."""
    if not person.is_requester and not person.is_approver:
        raise Forbidden("Only requesters and approvers may do this.")
