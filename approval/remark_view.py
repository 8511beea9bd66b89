"""Comments, tags and the archive on the page of a request."""

from typing import Any

from approval.remark_service import RemarkService, SentRuns
from approval.remarks import Remarks
from approval.request import Request
from approval.web import Call
from notifier.model.mailbox import is_same_person


class RemarkView:
    """The values of `_tags.html` and `_comments.html`."""

    def __init__(self, remarks: Remarks, service: RemarkService) -> None:
        self._remarks = remarks
        self._service = service

    def values(self, call: Call, request: Request, sent: SentRuns) -> dict[str, Any]:
        """What is beside the request, and what the visitor may do with it.

        Args:
            sent: as the page has read it.
        """
        person = call.visitor.person if call.visitor else None
        is_mine = person is not None and is_same_person(person.email, request.requester)
        may_remark = is_mine or bool(person and person.is_approver)
        is_reviewed = request.campaign is not None
        beside = self._remarks.of(request)
        # Of a draft that was in review before, what was said then is its writer's: it quotes the texts.
        is_read = beside.comments > 0 and (is_reviewed or is_mine)
        return {
            "beside": beside,
            "comments": self._remarks.comments(request.id) if is_read else (),
            "may_remark": may_remark,
            "may_comment": may_remark and is_reviewed,
            "may_archive": may_remark and not beside.is_archived and self._service.is_over(request, sent),
            # Where a step was refused, what was typed is not lost.
            "typed_comment": call.one("comment_text"),
        }
