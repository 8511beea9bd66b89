"""What every page shows: who is signed in, what the step before has done, the hold of the whole stack."""

from http.cookies import CookieError, SimpleCookie
from typing import Any

from approval.config import Settings
from approval.csrf import masked
from approval.mail import failure_in_words
from approval.pages import Pages
from approval.runs import Runs
from approval.web import Call
from notifier.model.hold import Hold

DONE = {
    "saved": "Saved.",
    "count": "The audience was asked for. This page follows it.",
    "submitted": "Sent for review. The approvers got a mail.",
    "unsent": "Sent for review, but not every approver could be mailed. Remind them, or let them know yourself.",
    "remind_unsent": "Not every approver could be mailed. Let them know yourself.",
    "approved_unsent": "Approved. The requester got no mail.",
    "reject_unsent": "Rejected, but the requester could not be mailed. Let them know yourself.",
    "take_back": "Back to a draft. Approvals given before count no more.",
    "withdraw": "Withdrawn.",
    "copy": "This is a copy. Change what should be different, then send it for review.",
    "remind": "The approvers got another mail.",
    "comment": "Your comment is there.",
    "comment_unsent": "Your comment is there, but not everybody could be mailed.",
    "tag": "Tagged.",
    "untag": "The tag is removed.",
    "archive": "Archived. It is in the list under the state archived.",
    "unarchive": "It is in the list again.",
    "approved": "Approved. This page follows it.",
    "approved_one": "Your approval counts. One more approver is needed.",
    "newer": "The new one is being counted. Load this page again in a moment.",
    "reject": "Rejected. The requester got a mail.",
    "finish": "Handed over for sending.",
    "finish_unsent": "Handed over for sending. The requester got no mail.",
    "test": "Test pushes were sent for. What became of each is shown below.",
    "pause": "Pause was asked for. It takes a few seconds; this page follows it.",
    "resume": "Resume was asked for. It takes a few seconds; this page follows it.",
    "cancel": "Cancel was asked for. It takes a few seconds; this page follows it.",
    "conversions": "The conversions were asked for. This page follows it.",
    "decide_winner": "Your decision counts. What follows from it is sent within a minute.",
    "pause_by_ledger": "Paused, though AWS Lambda has no room now. No push begins later than 5 seconds from now.",
    "resume_by_ledger": "Resumed, though AWS Lambda has no room now. It goes on, at the earliest within a minute.",
    "cancel_by_ledger": "Cancelled, though AWS Lambda has no room now. No push begins later than 5 seconds from now.",
    "schedule_saved": "Saved. It is looked at within a minute.",
    "schedule_pause": "Paused. Nothing fires until it is resumed; runs that have begun go on.",
    "schedule_resume": "Resumed, from its next time on.",
    "schedule_keep": "What is in force goes on until the change is approved.",
    "schedule_approve": "Your approval counts. What is approved by enough people fires from its next time on.",
    "schedule_decide": "Your decision counts. It takes up to a minute.",
    "schedule_now": "It fires now. Its audience is made first.",
    "schedule_ready": "Noted: that day's files are complete.",
    "hold": "On hold: no push begins later than 5 seconds from now.",
    "release": "Released: what is due starts within a minute.",
    "template": "Saved. Everybody who makes requests can start from it.",
    "template_removed": "Deleted.",
    "from_template": "Begun from the template. Give it a name of its own.",
    "device": "Registered.",
    "device_removed": "Removed.",
}
"""What the page says after a step, by the query's `done`. Only these texts: an address in a mail cannot add its own."""


def _done(call: Call) -> str:
    """What the step before has done; of mails that were not sent, why, by SES's code in the address."""
    done, code = call.asked("done"), call.asked("unsent")
    if not code or done not in DONE:
        return DONE.get(done, "")
    if code.startswith("Webhook"):
        return f"{DONE[done]} The channel got no message: {failure_in_words(code)}."
    # failure_in_words has a fixed text for each code, so an address cannot add one of its own.
    return f"{DONE.get(f'{done}_unsent', DONE[done])} The reason: {failure_in_words(code)}."


class PageFrame:
    """Renders a template as a whole page."""

    def __init__(self, pages: Pages, runs: Runs, settings: Settings) -> None:
        self._pages = pages
        self._runs = runs
        self._settings = settings

    def page(self, template: str, call: Call, **values: Any) -> str:
        """A page with what all of them show."""
        csrf = call.visitor.csrf if call.visitor else ""
        return self._pages.render(
            template,
            **{"notice": "", "done": _done(call) if call.method == "GET" else "", **values},
            prefix=call.prefix,
            theme=_theme(call),
            path=call.path,
            visitor=call.visitor,
            # A page may be compressed, and so never has the token itself. A part that a script loads is not, and the
            # script compares it with the one before: its token must be the same text each time.
            csrf=csrf if template.startswith("_") else masked(csrf),
            mode=self._settings.mode,
            has_schedules=bool(self._settings.schedule_function),
            # Only for those who are signed in: a reason may name what has gone wrong.
            hold=self.hold() if call.visitor else None,
        )

    def hold(self) -> Hold | None:
        """The hold of the whole stack, for parts that say what waits for its release."""
        return self._runs.hold()

    def part(self, template: str, call: Call, **values: Any) -> str:
        """A part of a page, for the page's script: asked for with each key, so without what only whole pages show."""
        return self._pages.render(template, **values, prefix=call.prefix)


def _theme(call: Call) -> str:
    """The theme that the visitor has chosen: in a cookie, so that a page never shows in the other one first."""
    try:
        found = SimpleCookie(call.headers.get("cookie", "")).get("theme")
    except CookieError:
        return ""  # another app's cookie on this host: the session's reader leaves it out in the same way
    return found.value if found is not None and found.value in ("light", "dark") else ""
