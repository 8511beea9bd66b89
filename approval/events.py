"""What events of EventBridge cause: mails and messages to the channel, each once however often an event comes.

Where a call is cut off, before it is noted that the mails went out, Lambda tries it again, and they go out again.
"""

from collections.abc import Callable
from typing import Any

from approval import announcements
from approval.announcements import Announcement
from approval.notifications import Notifications
from approval.request import Request
from approval.runs import Runs
from approval.store import NoSuchRequest, Store


class Events:
    """Says to people what has happened beside the pages.

    Args:
        notifications: what sends, with the pages' address.
        now_s: seconds since the epoch.
    """

    def __init__(
        self, store: Store, runs: Runs, notifications: Callable[[str], Notifications], now_s: Callable[[], int]
    ) -> None:
        self._store = store
        self._runs = runs
        self._notifications = notifications
        self._now_s = now_s

    def ask_approvers(self, question: dict[str, Any], request_id: str = "") -> None:
        """Mail approvers what they are to decide on, or what a test's winner is. Asked again it is mailed once.

        `schedules.app.Questions` and `schedules.winner_steps` put it on EventBridge's bus.

        Args:
            request_id: of the invocation, which is the same when Lambda tries it again.

        Raises RuntimeError where nobody could be mailed: EventBridge's invocation is then tried again.
        """
        is_winner = "winner" in question
        name = str(question["winner"] if is_winner else question["schedule"])
        about = str(question["words"] if is_winner else question.get("occurrence") or question.get("hash", ""))

        request = self._request_of(str(question.get("request_id", ""))) if is_winner else None

        def send(notifications: Notifications) -> None:
            if is_winner:
                notifications.winner(question, request)
            else:
                notifications.schedule(question)

        def announced(base_url: str) -> Announcement:
            if is_winner:
                return announcements.winner(question, request, base_url)
            return announcements.schedule(question, base_url)

        self._say_once(f"question#{name}", about, request_id, send, announced)

    def run_ended(self, announced: dict[str, Any], request_id: str = "") -> None:
        """Mail the figures of a run to whoever asked for it and approved it. Announced again it is mailed once.

        Raises RuntimeError as `ask_approvers`.
        """
        run_id = str(announced["run_id"])
        # The batch file is named by its request. Of the other stacks in the account, and of files that came by another
        # way, there is none.
        name = str(announced["summary"]["source"]).rpartition("/")[2].removesuffix(".json")
        request, run = self._request_of(name), self._runs.run(run_id)
        if request is None or request.written is None or request.written.run_id != run_id or run is None:
            return
        self._say_once(
            f"ended#{run_id}",
            "mail",
            request_id,
            lambda notifications: notifications.ended(request, run),
            lambda base_url: announcements.ended(request, run, base_url),
        )

    def _say_once(
        self,
        pk: str,
        sk: str,
        request_id: str,
        send: Callable[[Notifications], None],
        announced: Callable[[str], Announcement],
    ) -> None:
        """Send the mails, and post the message, that an event has caused, which may come twice: each of both once."""

        def announce(notifications: Notifications) -> None:
            notifications.announce(announced(notifications.base_url))

        faults = [*self._once(pk, sk, request_id, send), *self._once(pk, f"{sk}#channel", request_id, announce)]
        if faults:
            raise RuntimeError("; ".join(faults))

    def _once(self, pk: str, sk: str, request_id: str, say: Callable[[Notifications], None]) -> list[str]:
        """Say it unless it was said. Returns why it reached nobody; it is tried again then."""
        # begun -> said -> done: where a call is ended after `begun`, Lambda's next try of it says it.
        if not self._store.begin_once(pk, sk, self._now_s(), request_id):
            return []
        notifications = self._notifications(self._store.base_url())
        try:
            say(notifications)
        except Exception:
            self._store.forget(pk, sk)  # whatever it was: it was not said, and is tried again
            raise
        if (notifications.unsent or notifications.unannounced) and not notifications.sent:
            self._store.forget(pk, sk)
        else:
            self._store.end_once(pk, sk, self._now_s())
            return []
        mails = [f"nobody could be mailed: {one.code}" for one in notifications.unsent[:1]]
        return mails + [f"the channel got no message: {one.code}" for one in notifications.unannounced]

    def _request_of(self, id_: str) -> Request | None:
        """The request of a run; None where it did not come from these pages, or is not kept any more."""
        try:
            return self._store.request(id_) if id_ else None
        except NoSuchRequest:
            return None
