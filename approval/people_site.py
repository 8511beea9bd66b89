"""The pages of privacy officers: find a person, export what there is of them, erase them. Nobody else may see them.

A user id is only ever posted: addresses are logged, by API Gateway and by browsers. The function writes each look-up,
export and erasure into the audit trail itself.
"""

import re
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from aws_lambda_powertools.event_handler import Response

from approval.officers import Officers
from approval.request import Forbidden, Refused
from approval.views import Views
from approval.web import JSON, Call, Html, Route, page, person_of, see_other

MAX_ID_CHARS = 500
MAX_ERASED = 1_000
SHOWN_ROWS = 500
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)


class PeopleSite:
    """Pages and steps of privacy officers.

    Args:
        now: the time, aware.
    """

    def __init__(self, officers: Officers, views: Views, now: Callable[[], datetime]) -> None:
        self._officers = officers
        self._views = views
        self._now = now

    def routes(self) -> tuple[Route, ...]:
        """Method, path and answer of each page and step."""
        return (
            ("GET", "/people", lambda call: page(self._people(call))),
            ("POST", "/people/cost", self._cost),
            ("POST", "/people/find", self._find),
            ("POST", "/people/erase", self._erase),
            ("GET", "/people/<job>", lambda call, job: page(self._job(call, job, "person.html"))),
            ("GET", "/people/<job>/status", lambda call, job: page(self._job(call, job, "_person.html"))),
            ("POST", "/people/<job>/export", self._export),
        )

    def _people(self, call: Call, **values: object) -> str:
        """The form, and who has looked whom up."""
        month = call.asked("month")
        month = month if _MONTH.fullmatch(month) else f"{self._now():%Y-%m}"
        trail = self._officers.trail(person_of(call), month)
        shown = {"user_id": "", "since": "", "cost": "", "asked": (), **values}
        return self._views.page("people.html", call, trail=trail, month=month, **shown)

    def _cost(self, call: Call) -> Html:
        """What the look-up has to read, before it is in anybody's trail."""
        user_id, since = _user_id(call), _since(call)
        cost = self._officers.cost(person_of(call), user_id, since)
        return page(self._people(call, user_id=user_id, since=since, cost=cost))

    def _find(self, call: Call) -> Html:
        job = self._officers.find(person_of(call), _user_id(call), _since(call))
        return see_other(call, f"/people/{job}")

    def _job(self, call: Call, job: str, template: str) -> str:
        """How far a look-up or an erasure is, and what it found. Jobs of other officers are refused by the function."""
        seen, found = self._officers.job(person_of(call), job)
        return self._views.page(template, call, job=seen, found=found, most=SHOWN_ROWS)

    def _export(self, call: Call, job: str) -> Html:
        text = self._officers.export(person_of(call), job)
        # The file's name has no id of the person in it: it ends in histories and logs of downloads.
        headers: dict[str, str | list[str]] = {"Content-Disposition": f'attachment; filename="person-{job[:8]}.json"'}
        return Response(int(HTTPStatus.OK), JSON, text, headers=headers)

    def _erase(self, call: Call) -> Html:
        """Ask first; erase when the answer repeats the id, or for several how many there are."""
        person = person_of(call)
        if not person.is_officer:
            raise Forbidden("Only privacy officers may do this.")
        ids = tuple(dict.fromkeys(line.strip() for line in call.one("user_ids").splitlines() if line.strip()))
        if not ids or len(ids) > MAX_ERASED:
            raise Refused(f"Write 1 to {MAX_ERASED:,} user ids, each on a line of its own.")
        if any(len(one) > MAX_ID_CHARS for one in ids):
            raise Refused(f"A user id has at most {MAX_ID_CHARS} characters.")
        wanted = ids[0] if len(ids) == 1 else str(len(ids))
        if call.one("again").strip() != wanted:
            wrong = "This is not what was asked for: nothing was erased." if call.one("again") else ""
            return page(self._people(call, asked=ids, notice=wrong))
        return see_other(call, f"/people/{self._officers.erase(person, ids)}")


def _user_id(call: Call) -> str:
    user_id = call.one("user_id").strip()
    if not user_id or len(user_id) > MAX_ID_CHARS:
        raise Refused(f"Write a user id, as your app's files have it: at most {MAX_ID_CHARS} characters.")
    return user_id


def _since(call: Call) -> str:
    since = call.one("since").strip()
    if since and not _DAY.fullmatch(since):
        raise Refused("A day is written as 2026-11-01.")
    return since
