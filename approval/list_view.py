"""The list of requests."""

from collections.abc import Callable

import msgspec

from approval.page_frame import PageFrame
from approval.request import OPEN, State
from approval.runs import Runs
from approval.store import ListedRequest, Store
from approval.web import Call
from notifier.model.mailbox import is_same_person

MAX_LISTED = 100
MAX_QUERY_CHARS = 100


class ListView:
    """Renders the list.

    Args:
        now_ms: milliseconds since the epoch.
    """

    def __init__(self, frame: PageFrame, store: Store, runs: Runs, now_ms: Callable[[], int]) -> None:
        self._frame = frame
        self._store = store
        self._runs = runs
        self._now_ms = now_ms

    def requests(self, call: Call) -> str:
        """The list of requests, filtered by state, person and words."""
        now_ms = self._now_ms()
        state, words = call.asked("state"), call.asked("q").strip().lower()[:MAX_QUERY_CHARS].split()
        mine = call.asked("mine") == "yes"
        email = call.visitor.email if call.visitor else ""
        # Filtered here: the table has no index for words, and the store lists the latest few hundred only.
        listed = [_as_now(one, now_ms) for one in self._store.listed()]
        matching = [
            one
            for one in listed
            if (not state or one.state == state)
            and (not mine or is_same_person(one.requester, email))
            and all(word in _searched(one) for word in words)
        ]
        waiting = [one for one in listed if one.state is State.IN_REVIEW and not is_same_person(one.requester, email)]
        return self._frame.page(
            "list.html",
            call,
            requests=matching[:MAX_LISTED],
            runs={one.id: self._runs.status(one.run_id) for one in matching[:MAX_LISTED] if one.run_id},
            more=max(0, len(matching) - MAX_LISTED),
            waiting=waiting if call.visitor and call.visitor.person.is_approver else [],
            states=tuple(State),
            state=state,
            q=call.asked("q")[:MAX_QUERY_CHARS],
            mine=mine,
            any=bool(listed),
        )


def _as_now(listed: ListedRequest, now_ms: int) -> ListedRequest:
    # As `Request.state_at`: the stored state of an open request does not change when it expires.
    over = listed.state in OPEN and now_ms >= listed.expires_at_ms
    return msgspec.structs.replace(listed, state=State.EXPIRED) if over else listed


def _searched(listed: ListedRequest) -> str:
    return f"{listed.title} {listed.text} {listed.requester} {' '.join(listed.audience)}".lower()
