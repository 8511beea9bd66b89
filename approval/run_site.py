"""The steps with a campaign that was sent: pause, resume, cancel, count its conversions, decide its winner."""

from functools import partial

from approval.run_service import RunService
from approval.runs import ControlAction
from approval.web import Call, Html, Route, person_of, see_other


class RunSite:
    """Steps of campaigns that were sent. Their page is the request's."""

    def __init__(self, service: RunService) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each step."""
        return (
            *(
                ("POST", f"/requests/<id>/{action.value}", partial(self._control, action=action))
                for action in ControlAction
            ),
            ("POST", "/requests/<id>/conversions", self._conversions),
            ("POST", "/requests/<id>/decide_winner", self._winner),
        )

    def _control(self, call: Call, id: str, action: ControlAction) -> Html:  # noqa: A002 - the name in the path
        by_function = self._service.control(id, person_of(call), action)
        done = action.value if by_function else f"{action.value}_by_ledger"
        return see_other(call, f"/requests/{id}?done={done}")

    def _conversions(self, call: Call, id: str) -> Html:  # noqa: A002
        self._service.count_conversions(id, person_of(call))
        return see_other(call, f"/requests/{id}?done=conversions#result")

    def _winner(self, call: Call, id: str) -> Html:  # noqa: A002
        self._service.decide_winner(id, person_of(call), call.one("arm"))
        return see_other(call, f"/requests/{id}?done=decide_winner#result")
