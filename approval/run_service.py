"""What people do with a campaign that was sent: pause, resume, cancel, have conversions counted, decide the winner."""

from approval.access import Access
from approval.people import Person
from approval.request import Refused, Request, Step, Written, require
from approval.results import Results, arms_to_choose
from approval.runs import ControlAction, Runs
from approval.schedules import Schedules
from approval.step_writer import StepWriter
from approval.store import CountAsked, Store
from notifier.model.campaign import CONTROL
from notifier.model.mailbox import is_same_person

COUNTS_PER_WINDOW = 4
"""How often the conversions of one campaign may be counted in a window: each count reads all of its rows."""
WINDOW_S = 600
_NOT_SENT = "Nothing is being sent yet."


class RunService:
    """Takes the steps. Checks each person's role."""

    def __init__(
        self, store: Store, access: Access, runs: Runs, results: Results, schedules: Schedules, steps: StepWriter
    ) -> None:
        self._store = store
        self._access = access
        self._runs = runs
        self._results = results
        self._schedules = schedules
        self._steps = steps

    def control(self, id_: str, person: Person, action: ControlAction) -> bool:
        """Pause, resume or cancel the run of a request. Returns False where Lambda had no room: see `Runs.control`."""
        _, written = self._sent(id_, person)
        run = self._runs.run(written.run_id)
        if run is None or run.is_over:
            raise Refused("It is over already." if run else "Sending has not begun yet. Try again in a moment.")
        # A cancel is final. Where it has not reached each lane yet it may be given once more, and nothing else.
        if run.is_cancelled or (run.control == "cancel" and action is not ControlAction.CANCEL):
            raise Refused("It is cancelled, and ends in a moment.")
        by_function = self._runs.control(written.run_id, action, person.email, self._steps.now_ms)
        self._store.note(id_, self._steps.entry(Step(action.value), person))
        about = {} if by_function else {"by_ledger": True}
        self._steps.log(Step(action.value), request_id=id_, run_id=written.run_id, by=person.email, **about)
        return by_function

    def count_conversions(self, id_: str, person: Person) -> None:
        """Have the conversions of a request's run counted, as of now."""
        request, written = self._sent(id_, person)
        if request.campaign is None or request.campaign.goal is None:
            raise Refused("This campaign has no goal: there is nothing to count.")
        run = self._runs.run(written.run_id)
        if run is None or not run.account.users:
            raise Refused("Nobody was asked yet: there is nothing to count.")
        if run.account.dry:
            raise Refused("This was a rehearsal: nobody got a push, so there is nothing to compare.")
        now_ms = self._steps.now_ms
        if not self._access.is_within("conversions", id_, COUNTS_PER_WINDOW, WINDOW_S, now_ms // 1000):
            raise Refused("The conversions were counted several times just now. Wait ten minutes.")
        count = self._results.count(written.run_id, now_ms)
        self._store.keep_count(id_, CountAsked(count, person.email, now_ms))
        self._steps.log("conversions_counted", request_id=id_, run_id=written.run_id, by=person.email)

    def decide_winner(self, id_: str, person: Person, arm: str) -> None:
        """Decide as a person what goes to the remainder of a test. It is sent within a minute."""
        require(person.is_approver, "Only approvers decide the winner.")
        request, written = self._sent(id_, person)
        if request.campaign is None or request.campaign.winner is None:
            raise Refused("This campaign is no test: there is no winner to decide.")
        if arm not in arms_to_choose(request.campaign):
            raise Refused("Choose one of the variants, or that nobody else gets it.")
        self._schedules.decide_winner(person, written.run_id, arm)
        said = "nobody else gets it" if arm == CONTROL else f"{arm} goes to the others"
        self._store.note(id_, self._steps.entry(Step.WINNER, person, said))
        self._steps.log(Step.WINNER, request_id=id_, run_id=written.run_id, by=person.email, arm=arm)

    def _sent(self, id_: str, person: Person) -> tuple[Request, Written]:
        """The request and its run, for its requester and for approvers."""
        request = self._store.request(id_)
        is_mine = is_same_person(person.email, request.requester)
        require(person.is_approver or is_mine, "Only the requester and approvers can do that.")
        if request.written is None:
            raise Refused(_NOT_SENT)
        return request, request.written
