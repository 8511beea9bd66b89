"""A person's own phones, for test pushes: their page and their steps."""

from http import HTTPStatus

from approval.test_push import BadDevice, TestPushes, read_device
from approval.views import Views
from approval.web import Call, Html, Route, page, person_of, see_other


class DeviceSite:
    """Pages and steps of test devices."""

    def __init__(self, tests: TestPushes, views: Views) -> None:
        self._tests = tests
        self._views = views

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each page and step."""
        return (
            ("GET", "/devices", lambda c: page(self._views.devices(c))),
            ("POST", "/devices", self._add_device),
            ("POST", "/devices/<id>/remove", self._remove_device),
        )

    def _add_device(self, call: Call) -> Html:
        try:
            device = read_device(*map(call.one, ("label", "platform", "token", "environment", "gateway")))
        except BadDevice as error:
            return page(self._views.devices(call, error.faults), HTTPStatus.UNPROCESSABLE_ENTITY)
        self._tests.add_device(person_of(call), device)
        return see_other(call, "/devices?done=device")

    def _remove_device(self, call: Call, id: str) -> Html:  # noqa: A002
        self._tests.remove_device(person_of(call), id)
        return see_other(call, "/devices?done=device_removed")
