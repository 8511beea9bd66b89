"""The pages of schedules, and of the hold of the whole stack: their views and their routes."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Any

import msgspec

from approval.functions import NoAnswer
from approval.prepared import LeftOutNow, NotKnown
from approval.request import Forbidden, Refused, State
from approval.runs import Runs
from approval.schedule_previews import LastPreview, SchedulePreviews
from approval.schedule_view import ScheduleView, campaign_of, different_lines
from approval.schedules import BrokenText, CalendarTime, NotThere, Schedules, SeenSchedule
from approval.store import Store
from approval.views import Views
from approval.web import Call, Html, Route, page, person_of, see_other, whole
from notifier.model.mailbox import is_same_person

CALENDAR_DAYS = 30
MAX_REASON_CHARS = 500
_OF_NAME = re.compile(r"name: (.* is not the name of a schedule\b.*|is another schedule's already\b.*)", re.DOTALL)
"""The faults of a schedule's own name. All others are of the text, which may have a field `name`, too."""
_ACTIONS = ("pause", "resume", "keep", "approve", "decide", "now", "ready")
NEW_TEXT = """{
  "schedule": {
    "when": {"cron": "0 9 * * *", "timezone": "Europe/London"},
    "ends": "2027-06-30",
    "limits": {"min_users": 1, "max_users": 50000}
  },
  "audience": {"query": {"name": "", "parameters": {"day": "$day"}}},
  "campaign": {
    "message": {"title": "", "body": ""},
    "control_percent": 10
  }
}
"""


class OnDay(msgspec.Struct, frozen=True):
    """What is planned for one day. `times` are of its schedules, `others` the campaigns that begin once."""

    day: str
    times: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, str, str], ...] = ()

    @property
    def weekday(self) -> str:
        """`Mon`."""
        return f"{date.fromisoformat(self.day):%a}"

    @property
    def shown(self) -> str:
        """`1 Dec`."""
        of_day = date.fromisoformat(self.day)
        return f"{of_day.day} {of_day:%b}"

    @property
    def is_empty(self) -> bool:
        """Whether nothing is planned."""
        return not self.times and not self.others


class Typed(msgspec.Struct, frozen=True):
    """What was typed into the form of a schedule, or is in it to begin with; and what is wrong with it.

    Args:
        before: the SHA-256 of the file that its author had before them; "" for none.
        keep: whether what is in force goes on until the change is approved.
        at_name: faults of the name; `at_text` of all the rest.
        over: where another person's edit is there by now, the lines that this one would change in it.
    """

    name: str
    text: str
    before: str = ""
    is_new: bool = True
    keep: bool = False
    at_name: tuple[str, ...] = ()
    at_text: tuple[str, ...] = ()
    over: tuple[str, ...] = ()

    def faulty(self, faults: tuple[str, ...]) -> "Typed":
        """With faults, each at its field."""
        # Only a new one has a field for its name.
        own = {one: found[1] for one in faults if self.is_new and (found := _OF_NAME.fullmatch(one))}
        rest = tuple(one for one in faults if one not in own)
        return msgspec.structs.replace(self, at_name=tuple(own.values()), at_text=rest)

    def values(self) -> dict[str, Any]:
        """The values of `_definition.html`."""
        return {
            "name": self.name, "text": self.text, "before": self.before, "is_new": self.is_new,
            "keep": "", "keep_ticked": self.keep, "typed_over": self.over,
            "faults": {"name": self.at_name, "text": self.at_text},
        }  # fmt: skip


class ScheduleSite:
    """Pages and steps of schedules and of the hold.

    Args:
        now: the time, aware.
        log: logs a step with fields.
        left_out: whom the final cut would leave out now, of a manifest and a campaign. Raises NotKnown.
    """

    def __init__(
        self,
        schedules: Schedules,
        runs: Runs,
        store: Store,
        views: Views,
        now: Callable[[], datetime],
        log: Callable[..., None],
        left_out: Callable[[str, Mapping[str, Any]], LeftOutNow],
        view: ScheduleView,
        previews: SchedulePreviews,
    ) -> None:
        self._schedules = schedules
        self._runs = runs
        self._store = store
        self._views = views
        self._now = now
        self._log = log
        self._left_out = left_out
        self._view = view
        self._previews = previews

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each page and step."""
        return (
            ("GET", "/schedules", self._list),
            ("POST", "/schedules", self._save),
            ("GET", "/schedules/<name>", lambda call, name: page(self._show(call, name))),
            ("POST", "/schedules/<name>/seen", self._look),
            ("POST", "/schedules/<name>/<action>", self._act),
            ("GET", "/schedules/<name>/<action>", lambda call, name, **_: see_other(call, f"/schedules/{name}")),
            ("GET", "/hold", lambda call: page(self._hold_page(call))),
            ("POST", "/hold", self._hold),
            ("POST", "/release", self._release),
        )

    # -- the list and the calendar ------------------------------------------------------------------------------------

    def _list(self, call: Call) -> Html:
        return page(self._listed(call, Typed("", NEW_TEXT)))

    def _listed(self, call: Call, typed: Typed) -> str:
        """The list, with the form for a new one."""
        found = self._schedules.overview()
        return self._views.page(
            "schedules.html",
            call,
            schedules=found.schedules,
            days=self._calendar(found.calendar),
            today=self._now().date().isoformat(),
            **typed.values(),
        )

    def _calendar(self, times: Sequence[CalendarTime]) -> tuple[OnDay, ...]:
        """Whole weeks from this one's Monday on; none where nothing is planned. Times by each schedule's own clock."""
        by_day: dict[str, list[tuple[str, str]]] = {}
        for (day, name), of_day in groupby(times, key=lambda one: (one.local[:10], one.schedule)):
            clock = [one.local[11:] for one in of_day]
            # An hourly one has 24 a day.
            words = ", ".join(clock) if len(clock) <= 3 else f"{len(clock)} times, {clock[0]} to {clock[-1]}"
            by_day.setdefault(day, []).append((name, words))
        others = self._planned_once()
        planned = {*by_day, *(day for day, *_ in others)}
        if not planned:
            return ()
        today = self._now().date()
        first = today - timedelta(days=today.weekday())
        # To the last planned day, to the end of its week: a zone ahead of UTC may have one more day than we count.
        last = max(*map(date.fromisoformat, planned), today + timedelta(days=CALENDAR_DAYS))
        count = ((last - first).days // 7 + 1) * 7
        days = [(first + timedelta(days=n)).isoformat() for n in range(count)]
        return tuple(
            OnDay(day, tuple(by_day.get(day, ())), tuple(one[1:] for one in others if one[0] == day)) for day in days
        )

    def _planned_once(self) -> list[tuple[str, str, str, str]]:
        """Approved requests that begin in these days: day and time in UTC, title, id."""
        now = self._now()
        found: list[tuple[str, str, str, str]] = []
        for listed in self._store.listed():
            if listed.state is not State.APPROVED or listed.starts_at_ms is None:
                continue
            start = datetime.fromtimestamp(listed.starts_at_ms / 1000, UTC)
            if 0 <= (start - now).total_seconds() < CALENDAR_DAYS * 86_400:
                found.append((f"{start:%Y-%m-%d}", f"{start:%H:%M} UTC", listed.title, listed.id))
        return sorted(found)

    # -- one schedule -------------------------------------------------------------------------------------------------

    def _show(
        self, call: Call, name: str, seen: SeenSchedule | None = None, typed: Typed | None = None, **values: Any
    ) -> str:
        """The page of a schedule; with `following` also how far the preview is that was just asked for.

        Args:
            seen: what it says, where that was asked for already.
            typed: what is in its form, where it is not what it says.
        """
        seen = seen or self._schedules.schedule(name)
        defaults: dict[str, Any] = {"notice": "", "following": None, "unknown": ""}
        typed = typed or Typed(name, seen.text, before=seen.sha256, is_new=False)
        shown = defaults | typed.values() | values
        of_schedule = self._view.values(call, name, seen, shown["following"])
        return self._views.page("schedule.html", call, **of_schedule, **shown)

    def _preview(self, call: Call, name: str) -> Html:
        """Have the audience of the next time made as of now; once that is done, keep whom it would reach."""
        # First what its page shows: it comes, whatever the other two questions take. All have one deadline.
        seen = self._schedules.schedule(name, soon=True)
        try:
            following = self._schedules.next_time(person_of(call), name)
        except Forbidden:
            raise  # not for who may not see the users, as the page below has some
        except Refused as refused:
            return page(self._show(call, name, seen, notice=str(refused)), HTTPStatus.CONFLICT)
        if following.state != "prepared":
            return page(self._show(call, name, seen, following=following))
        preview = LastPreview(
            following.hash, following.occurrence, self._now_ms(), following.users or 0, following.manifest
        )
        # Before anything more is asked for: this call may end meanwhile, and the count has been paid for.
        self._previews.keep(name, preview)
        unknown = ""
        if following.manifest:
            try:
                left_out = self._left_out(following.manifest, following.campaign)
                self._previews.keep(name, msgspec.structs.replace(preview, left_out=left_out))
            except NotKnown as error:
                unknown = f"How many would be left out as of now is not known. {error}"
        return page(self._show(call, name, seen, following=following, unknown=unknown))

    def _look(self, call: Call, name: str) -> Html:
        """Note that an approver has looked at the text on their page, and show the next one."""
        person, number, seen = person_of(call), whole(call.one("text")), self._schedules.schedule(name)
        if not person.is_approver:
            raise Forbidden("Only approvers decide.")
        # On this page `_said.html` sends `content_hash`; "Go through them" sends the approval form, which has `hash`.
        shown = call.one("content_hash") or call.one("hash")
        if shown != seen.hash or not self._view.look(name, person, seen, number):
            raise Refused("The schedule was changed after your page was made. Look at it again, then decide.")
        return see_other(call, f"/schedules/{name}?text={(number or 0) + 1}")

    def _check_seen(self, call: Call, name: str) -> tuple[str, ...]:
        """The texts that an approver approves unseen, and says so. Raises Refused where they do not say so."""
        person, seen = person_of(call), self._schedules.schedule(name)
        # Of another definition than the one on the page, the schedules' function refuses the approval itself.
        if call.one("hash") != seen.hash or is_same_person(seen.edited_by, person.email):
            return ()
        if campaign_of(name, seen) is None:
            raise Refused("Its texts cannot be shown here, so nobody has looked at them. Ask an engineer.")
        unseen = tuple(text.name for text in self._view.unseen(name, person, seen, whole(call.one("text"))))
        if unseen and call.one("unseen") != "yes":
            names = ", ".join(unseen)
            raise Refused(f"You have not looked at: {names}. Look at them, or say that you approve them unseen.")
        return unseen

    def _save(self, call: Call) -> Html:
        """Write a schedule's file, a new one or in place of the one that its author had before them."""
        person, typed = person_of(call), _typed(call)
        try:
            # Without a tick nothing is said of it: a stack without approvals refuses either answer.
            keep = True if typed.keep else None
            self._schedules.act(person, "save", typed.name, text=typed.text, before=typed.before, keep=keep)
        except Forbidden:
            raise
        except BrokenText as broken:
            return page(self._again(call, typed.faulty(broken.faults)), HTTPStatus.UNPROCESSABLE_ENTITY)
        except Refused as refused:
            return page(self._again(call, typed.faulty((str(refused),))), HTTPStatus.CONFLICT)
        self._log("schedule_saved", by=person.email, schedule=typed.name)
        return see_other(call, f"/schedules/{typed.name}?done=schedule_saved")

    def _again(self, call: Call, typed: Typed) -> str:
        """The form with everything that was typed, and what is wrong with it."""
        try:
            if typed.is_new:
                return self._listed(call, typed)
            seen = self._schedules.schedule(typed.name)
            if seen.sha256 != typed.before:
                # Their text is shown: saved again, this one is written over it knowingly.
                typed = msgspec.structs.replace(typed, before=seen.sha256, over=different_lines(seen.text, typed.text))
            return self._show(call, typed.name, seen, typed)
        except NotThere:
            # It was deleted meanwhile, or never was: what was typed is a new one.
            typed = msgspec.structs.replace(typed, before="", is_new=True)
        except NoAnswer:
            pass
        # Whatever cannot be shown around it: nobody types it again.
        return self._views.page("unsaved.html", call, **typed.values() | {"keep": "yes" if typed.keep else ""})

    def _act(self, call: Call, name: str, action: str) -> Html:
        person = person_of(call)
        if action == "preview":
            return self._preview(call, name)
        if action not in _ACTIONS:
            raise NotThere(action)
        fields = ("hash", "occurrence", "decision", "day", "reason")
        about = {field: call.one(field)[:MAX_REASON_CHARS] for field in fields if call.one(field)}
        unseen: tuple[str, ...] = ()
        try:
            if action == "approve" and person.is_approver:
                unseen = self._check_seen(call, name)
            # Whoever asks later how it could be approved finds what was not seen, with the approval and in the log.
            noted = {"unseen": ", ".join(unseen)} if unseen else {}
            self._schedules.act(person, action, name, **about, **noted)
        except NoAnswer:
            # The page would ask once more: the call would end without any answer, and without saying why.
            raise
        except Refused as refused:
            status = HTTPStatus.FORBIDDEN if isinstance(refused, Forbidden) else HTTPStatus.CONFLICT
            try:
                return page(self._show(call, name, notice=str(refused)), status)
            except NoAnswer:
                # Why it was refused is what they must read, also where there is no time left for the rest.
                raise refused from None
        self._log(f"schedule_{action}", by=person.email, schedule=name, **noted)
        return see_other(call, f"/schedules/{name}?done=schedule_{action}")

    # -- the hold -----------------------------------------------------------------------------------------------------

    def _hold_page(self, call: Call, notice: str = "") -> str:
        """Who holds the stack; for approvers the button, and what would start at a release."""
        held = self._runs.hold() is not None
        starting: tuple[str, ...] | None = None
        try:
            starting = self._schedules.starting() if held and self._schedules.are_there else ()
        except NoAnswer as error:
            # Whoever has held everything must be able to release it, whatever has no room then.
            notice = notice or f"What would start is not known. {error}"
        return self._views.page("hold.html", call, notice=notice, starting=starting, is_approver=_is_approver(call))

    def _hold(self, call: Call) -> Html:
        reason = call.one("reason").strip()[:MAX_REASON_CHARS]
        if not _is_approver(call):
            raise Forbidden("Only approvers may hold everything.")
        if not reason:
            return page(self._hold_page(call, "Say why: everybody reads it."), HTTPStatus.UNPROCESSABLE_ENTITY)
        self._runs.set_hold(person_of(call).email, reason, self._now_ms())
        self._log("hold", by=person_of(call).email)
        return see_other(call, "/hold?done=hold")

    def _release(self, call: Call) -> Html:
        if not _is_approver(call):
            raise Forbidden("Only approvers may release what is on hold.")
        self._runs.release_hold(person_of(call).email, self._now_ms())
        self._log("release", by=person_of(call).email)
        return see_other(call, "/hold?done=release")

    def _now_ms(self) -> int:
        return int(self._now().timestamp() * 1000)


def _is_approver(call: Call) -> bool:
    return call.visitor is not None and call.visitor.person.is_approver


def _typed(call: Call) -> Typed:
    """What was sent by the form."""
    text, before = call.one("text").replace("\r\n", "\n"), call.one("before")
    # Of a new one there is none: where a file of this name is there it is not overwritten.
    return Typed(call.one("name").strip(), text, before, is_new=not before, keep=call.one("keep") == "yes")
