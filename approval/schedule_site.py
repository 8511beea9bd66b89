"""The pages of schedules, and of the hold of the whole stack: their views and their routes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Any

import msgspec

from approval.audience_view import grouped
from approval.left_out import in_words
from approval.prepared import LeftOutNow, NotKnown
from approval.preview import previews
from approval.request import Forbidden, Refused, State
from approval.runs import Runs
from approval.schedules import BrokenText, CalendarTime, NextTime, NotThere, Schedules
from approval.store import Store
from approval.views import Views
from approval.web import Call, Html, Route, page, person_of, see_other
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.mailbox import is_same_person
from notifier.model.quiet_hours import Quiet

CALENDAR_DAYS = 30
MAX_REASON_CHARS = 500
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
    ) -> None:
        self._schedules = schedules
        self._runs = runs
        self._store = store
        self._views = views
        self._now = now
        self._log = log
        self._left_out = left_out

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each page and step."""
        return (
            ("GET", "/schedules", self._list),
            ("POST", "/schedules", self._save),
            ("GET", "/schedules/<name>", lambda call, name: page(self._show(call, name))),
            ("POST", "/schedules/<name>/<action>", self._act),
            ("GET", "/schedules/<name>/<action>", lambda call, name, **_: see_other(call, f"/schedules/{name}")),
            ("GET", "/hold", lambda call: page(self._hold_page(call))),
            ("POST", "/hold", self._hold),
            ("POST", "/release", self._release),
        )

    # -- the list and the calendar ------------------------------------------------------------------------------------

    def _list(self, call: Call) -> Html:
        found = self._schedules.overview()
        return page(
            self._views.page(
                "schedules.html",
                call,
                schedules=found.schedules,
                days=self._calendar(found.calendar),
                today=self._now().date().isoformat(),
                new_text=NEW_TEXT,
                name="",
                faults=(),
            )
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

    def _show(self, call: Call, name: str, **values: Any) -> str:
        """The page of a schedule; with `following` also whom its next time would reach."""
        seen = self._schedules.schedule(name)
        person = call.visitor.person if call.visitor else None
        defaults: dict[str, Any] = {"notice": "", "text": seen.text, "faults": (), "following": None, "left_out": ""}
        # After faults the file may be another one by now: what was typed was written over the one that was shown.
        shown = defaults | {"before": seen.sha256} | values
        campaign = _campaign_of(name, seen.text)
        return self._views.page(
            "schedule.html",
            call,
            name=name,
            seen=seen,
            phones=_phones_of(campaign, shown["following"]),
            lifts_quiet=campaign is not None and campaign.quiet is None,
            keeps_ttl=campaign is not None and isinstance(campaign.quiet, Quiet) and campaign.quiet.ttl == "keep",
            is_approver=bool(person and person.is_approver),
            is_author=bool(person and is_same_person(seen.edited_by, person.email)),
            **shown,
        )

    def _left_out_words(self, following: NextTime) -> str:
        """How many of them would be left out: too late, in quiet hours, capped, on a list."""
        if not following.manifest:
            return ""
        try:
            return in_words(self._left_out(following.manifest, following.campaign))
        except NotKnown as error:
            return f"How many would be left out as of now is not known. {error}"

    def _save(self, call: Call) -> Html:
        """Write a schedule's file, a new one or in place of the one that its author had before them."""
        person, name, text = person_of(call), call.one("name").strip(), call.one("text").replace("\r\n", "\n")
        # Of a new one there is none: where a file of this name is there it is not overwritten.
        before, is_new = call.one("before"), not call.one("before")
        try:
            self._schedules.act(person, "save", name, text=text, before=before, keep=call.one("keep") == "yes")
        except BrokenText as broken:
            return page(self._again(call, name, text, broken.faults, is_new=is_new), HTTPStatus.UNPROCESSABLE_ENTITY)
        self._log("schedule_saved", by=person.email, schedule=name)
        return see_other(call, f"/schedules/{name}?done=schedule_saved")

    def _again(self, call: Call, name: str, text: str, faults: tuple[str, ...], *, is_new: bool) -> str:
        """The form with what was typed, and what is wrong with it."""
        if not is_new:
            return self._show(call, name, text=text, faults=faults, before=call.one("before"))
        found = self._schedules.overview()
        days = self._calendar(found.calendar)
        return self._views.page(
            "schedules.html", call, schedules=found.schedules, days=days, today=self._now().date().isoformat(),
            new_text=text, name=name, faults=faults,
        )  # fmt: skip

    def _act(self, call: Call, name: str, action: str) -> Html:
        person = person_of(call)
        if action == "preview":
            following = self._schedules.next_time(person, name)
            return page(self._show(call, name, following=following, left_out=self._left_out_words(following)))
        if action not in _ACTIONS:
            raise NotThere(action)
        fields = ("hash", "occurrence", "decision", "day", "reason")
        about = {field: call.one(field)[:MAX_REASON_CHARS] for field in fields if call.one(field)}
        try:
            self._schedules.act(person, action, name, **about)
        except Refused as refused:
            status = HTTPStatus.FORBIDDEN if isinstance(refused, Forbidden) else HTTPStatus.CONFLICT
            return page(self._show(call, name, notice=str(refused)), status)
        self._log(f"schedule_{action}", by=person.email, schedule=name)
        return see_other(call, f"/schedules/{name}?done=schedule_{action}")

    # -- the hold -----------------------------------------------------------------------------------------------------

    def _hold_page(self, call: Call, notice: str = "") -> str:
        """Who holds the stack; for approvers the button, and what would start at a release."""
        held = self._runs.hold() is not None
        starting = self._schedules.starting() if held and self._schedules.are_there else ()
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


def _campaign_of(name: str, text: str) -> Campaign | None:
    """The campaign in a schedule's file, for its previews; None while it has faults, which the page lists."""
    try:
        campaign = msgspec.json.decode(text)["campaign"]
        return read_campaign({**campaign, "id": name})
    except (msgspec.DecodeError, BrokenCampaign, KeyError, TypeError):
        return None


def _phones_of(campaign: Campaign | None, following: NextTime | None) -> tuple[tuple[str, Any], ...]:
    """Previews by the user whom they are of: the examples of the next time, else nobody in particular."""
    if campaign is None:
        return ()
    if following is None or not following.examples:
        return (("", grouped(previews(campaign, None), {})),)
    return tuple((str(one.get("user_id", "")), grouped(previews(campaign, one), {})) for one in following.examples)


def _is_approver(call: Call) -> bool:
    return call.visitor is not None and call.visitor.person.is_approver
