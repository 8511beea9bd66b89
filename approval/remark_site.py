"""The steps of comments, tags and the archive. They are on the pages of requests."""

from collections.abc import Callable

from approval.notifications import Notifications, not_mailed
from approval.people import Person
from approval.remark_service import RemarkService
from approval.web import Call, Html, Route, person_of, see_other


class RemarkSite:
    """Steps of comments, tags and the archive.

    Args:
        notifications: makes what sends the mails of one call.
    """

    def __init__(self, service: RemarkService, notifications: Callable[[Call], Notifications]) -> None:
        self._service = service
        self._notifications = notifications

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each step."""
        service = self._service
        return (
            ("POST", "/requests/<id>/comment", self._comment),
            ("POST", "/requests/<id>/tag", _step("tag", lambda c, i, p: service.tag(i, p, c.one("tags")))),
            ("POST", "/requests/<id>/untag", _step("untag", lambda c, i, p: service.untag(i, p, c.one("tag")))),
            ("POST", "/requests/<id>/archive", _step("archive", lambda _, i, p: service.archive(i, p))),
            ("POST", "/requests/<id>/unarchive", _step("unarchive", lambda _, i, p: service.unarchive(i, p))),
        )

    def _comment(self, call: Call, id: str) -> Html:  # noqa: A002 - the name in the path
        notifications = self._notifications(call)
        self._service.comment(id, person_of(call), call.one("comment_text"), notifications)
        return see_other(call, f"/requests/{id}?done=comment{not_mailed(notifications)}#comments")


def _step(done: str, take: Callable[[Call, str, Person], None]) -> Callable[..., Html]:
    def answer(call: Call, id: str) -> Html:  # noqa: A002
        take(call, id, person_of(call))
        return see_other(call, f"/requests/{id}?done={done}")

    return answer
