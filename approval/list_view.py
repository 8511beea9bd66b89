"""The list of requests: each with its push in small, how far it is, and what came of it."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from approval.page_frame import PageFrame
from approval.remarks import NOTHING, Beside, Remarks
from approval.request import OPEN, State
from approval.request import in_words as state_in_words
from approval.result_view import ResultView, Short
from approval.runs import RunBrief, Runs
from approval.store import ListedRequest, NoSuchRequest, Store, place_of
from approval.web import Call, quoted
from approval.without_user import without_user
from notifier.model.mailbox import is_same_person

PAGE = 25
"""Requests on a page: of each that was sent, the run is read."""
READ = 300
"""Requests that are looked through for one page."""
MAX_QUERY_CHARS = 100
_REVIEWED = (State.IN_REVIEW, State.APPROVED, State.REJECTED)
"""States whose content was sent for review: for items of an earlier release, which do not say so."""
ARCHIVED = "archived"
"""In the filter: what was archived, and nothing else; the list has it nowhere else."""
SENT = "sent"
"""In the filter: whatever was handed over for sending."""
_PLACE = re.compile(r"[0-9]{15}#[\w-]{1,64}", re.ASCII)


class SmallPush(msgspec.Struct, frozen=True):
    """A push as lists draw it in small."""

    title: str
    text: str
    image_url: str


class Line(msgspec.Struct, frozen=True):
    """A request in the list. `is_shown` is whether the visitor may read its push: a draft is its writer's own."""

    request: ListedRequest
    is_shown: bool
    run: RunBrief | None = None
    result: tuple[Short, ...] = ()
    beside: Beside = NOTHING

    @property
    def push(self) -> SmallPush:
        """The push, filled in for nobody in particular."""
        one = self.request
        # An earlier release kept the texts as they were written alone, or nothing of one that was blank for nobody.
        title = one.small_title or without_user(one.push_title)
        text = one.small_text or without_user(one.push_text)
        return SmallPush(title, text, one.image_url)


class Filter(msgspec.Struct, frozen=True):
    """What the visitor looks for; each is empty for everything."""

    state: str = ""
    person: str = ""
    text: str = ""
    tag: str = ""

    @property
    def query(self) -> str:
        """As part of an address."""
        asked = (("q", self.text), ("state", self.state), ("person", self.person), ("tag", self.tag))
        return "&".join(f"{name}={quoted(value)}" for name, value in asked if value)

    def has(self, listed: ListedRequest, beside: Beside, *, is_shown: bool) -> bool:
        """Whether a request is among what is looked for."""
        if beside.is_archived != (self.state == ARCHIVED) or (self.tag and self.tag not in beside.tags):
            return False
        state = "" if self.state == ARCHIVED else self.state
        is_in_state = bool(listed.run_id) if state == SENT else not state or listed.state == state
        is_of_person = not self.person or is_same_person(listed.requester, self.person)
        texts = (listed.text, listed.push_title, listed.push_text, listed.small_title or "", listed.small_text or "")
        push = " ".join(texts) if is_shown else ""
        searched = f"{listed.title} {push} {listed.requester} {' '.join((*listed.audience, *beside.tags))}"
        return is_in_state and is_of_person and all(word in searched.lower() for word in self.text.lower().split())


class ListView:
    """Renders the list.

    Args:
        now_ms: milliseconds since the epoch.
    """

    def __init__(
        self,
        frame: PageFrame,
        store: Store,
        remarks: Remarks,
        runs: Runs,
        results: ResultView,
        now_ms: Callable[[], int],
    ) -> None:
        self._frame = frame
        self._store = store
        self._remarks = remarks
        self._runs = runs
        self._results = results
        self._now_ms = now_ms

    def requests(self, call: Call) -> str:
        """A page of the list, filtered by state, person, tag and words."""
        email = call.visitor.email if call.visitor else ""
        # `mine` is in addresses that people have kept.
        person = email if call.asked("mine") == "yes" else call.asked("person").strip().lower()
        wanted = Filter(call.asked("state"), person, call.asked("q")[:MAX_QUERY_CHARS], call.asked("tag"))
        before = call.asked("before")
        # Filtered here: the table has no index for words. So a page may show few, and lead on to older ones.
        read = self._store.listed(READ, before if _PLACE.fullmatch(before) else "")
        listed = [_as_now(one, self._now_ms()) for one in read]
        beside = self._remarks.listed(read[-1], read[0]) if read else {}

        def is_found(one: ListedRequest) -> bool:
            return wanted.has(one, beside.get(place_of(one), NOTHING), is_shown=_is_shown(one, email))

        found = [one for one in listed if is_found(one)]
        shown = found[:PAGE]
        return self._frame.page(
            "list.html",
            call,
            lines=[self._line(one, email, beside.get(place_of(one), NOTHING)) for one in shown],
            older=_older(shown, found, read),
            wanted=wanted,
            waiting=self._waiting(listed, call) if not before else [],
            states=((SENT, "sent"), *((one.value, state_in_words(one)) for one in State), (ARCHIVED, "archived")),
            tags=sorted({tag for one in beside.values() for tag in one.tags} | ({wanted.tag} - {""})),
            people=sorted({one.requester for one in listed} | {email, wanted.person} - {""}),
            is_first=not before,
            any=bool(listed),
        )

    def _line(self, one: ListedRequest, email: str, beside: Beside) -> Line:
        run = self._runs.brief(one.run_id) if one.run_id else None
        result = self._results.short(one.id) if one.has_goal and run else ()
        return Line(one, _is_shown(one, email), run, result, beside)

    def _waiting(self, listed: Sequence[ListedRequest], call: Call) -> list[ListedRequest]:
        """What the visitor may still decide on: of others, and not approved by themselves already."""
        if call.visitor is None or not call.visitor.person.is_approver:
            return []
        email = call.visitor.email
        return [
            one
            for one in listed
            if one.state is State.IN_REVIEW
            and not is_same_person(one.requester, email)
            and not any(is_same_person(by, email) for by in self._approved_by(one))
        ]

    def _approved_by(self, one: ListedRequest) -> tuple[str, ...]:
        """Who has approved a request in review."""
        if one.approved_by is not None:
            return one.approved_by
        # Listed by an earlier release. There are few: a review is over in days, and any step on it writes it again.
        try:
            return tuple(given.by for given in self._store.request(one.id).approvals)
        except NoSuchRequest:
            return ()


def _is_shown(one: ListedRequest, email: str) -> bool:
    return one.is_reviewed or is_same_person(one.requester, email)


def _older(shown: Sequence[Any], found: Sequence[ListedRequest], read: Sequence[ListedRequest]) -> str:
    """The place after which older requests are; "" where there are none."""
    if len(found) > len(shown):
        return place_of(shown[-1])
    return place_of(read[-1]) if len(read) == READ else ""


def _as_now(listed: ListedRequest, now_ms: int) -> ListedRequest:
    # As `Request.state_at`: the stored state of an open request does not change when it expires.
    over = listed.state in OPEN and now_ms >= listed.expires_at_ms
    state = State.EXPIRED if over else listed.state
    # By the stored state: a draft and a review end as the same `expired`.
    is_reviewed = listed.is_reviewed or listed.state in _REVIEWED
    return msgspec.structs.replace(listed, state=state, is_reviewed=is_reviewed)
