"""A schedule's page: what it sends, to whom and when as far as that is known, and what became of its times."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from difflib import unified_diff
from typing import Any

import msgspec

from approval.audience_view import grouped
from approval.card_view import number_shown
from approval.composer import sample_name
from approval.decision_card import DecisionCard, TextShown, decision_card, texts_in
from approval.looks import Looks
from approval.people import Person
from approval.prepared import Audiences, AudienceSeen
from approval.preview import previews, previews_of_text
from approval.queries import whom_to_ask
from approval.request_audiences import RequestAudiences
from approval.request_status import arms_of
from approval.rule_words import rhythm_words
from approval.runs import RunBrief, Runs
from approval.schedule_previews import LastPreview, SchedulePreviews
from approval.schedules import NextTime, SeenOccurrence, SeenSchedule
from approval.web import Call, whole
from notifier.model.authored_json import BadJson, decode_authored
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.mailbox import is_same_person
from notifier.model.quiet_hours import Quiet
from notifier.model.stored_query import PREFIX, StoredQuery

SHOWN_RESULTS = 10
"""Times whose runs' figures are read: the latest ones."""


class ScheduleView:
    """The values of `schedule.html`.

    Args:
        audiences: prepared ones; `figures` makes forecasts of them.
        now: the time, aware.
    """

    def __init__(
        self,
        audiences: Audiences,
        figures: RequestAudiences,
        previews: SchedulePreviews,
        looks: Looks,
        runs: Runs,
        now: Callable[[], datetime],
    ) -> None:
        self._audiences = audiences
        self._figures = figures
        self._previews = previews
        self._looks = looks
        self._runs = runs
        self._now = now

    def values(self, call: Call, name: str, seen: SeenSchedule, following: NextTime | None) -> dict[str, Any]:
        """The values, but for what a form that was just posted has added.

        Args:
            following: the preview that was just asked for; the page shows the last one.
        """
        person = call.visitor.person if call.visitor else None
        is_author = bool(person and is_same_person(seen.edited_by, person.email))
        last = self._previews.last(name, int(self._now().timestamp()))
        audience = AudienceSeen(prepared=self._audiences.prepared(last.manifest) if last is not None else None)
        campaign = campaign_of(name, seen)
        # They are real users: not for who sees the pages for another reason, as privacy officers do.
        may_see = bool(person and (person.is_requester or person.is_approver))
        samples = (audience.samples or (following.examples if following is not None else ())) if may_see else ()
        return {
            "seen": seen,
            "campaign": campaign,
            "last": last,
            "is_approver": bool(person and person.is_approver),
            "is_author": is_author,
            # What the page cannot show is not decided on it.
            "may_decide": bool(person and person.is_approver)
            and not is_author
            and seen.waits_for_approval
            and campaign is not None,
            "is_unreadable": bool(seen.hash) and campaign is None,
            "has_decided": bool(person and any(is_same_person(by, person.email) for by in seen.approved_by)),
            "lifts_quiet": False,  # `_times.html` would say it too, in words for a requester
            "has_no_quiet": campaign is not None and campaign.quiet is None,
            "keeps_ttl": campaign is not None and isinstance(campaign.quiet, Quiet) and campaign.quiet.ttl == "keep",
            "rhythm": tuple(rhythm_words(seen.rhythm, seen.occurs)) if seen.rhythm else (),
            "next_times": seen.shown_times_ms,
            "diff": different_lines(seen.old_text, seen.text),
            "results": self._results(seen.history),
            "whom_to_ask": whom_to_ask(following.reason, _owners(seen)) if following is not None else "",
            **self._run_shown(call, seen.history),
            **self._looked(call, campaign, samples),
            **self._card(call, name, seen, campaign, audience, last, samples),
        }

    def unseen(self, name: str, person: Person, seen: SeenSchedule, shown: int | None) -> tuple[TextShown, ...]:
        """The texts that an approver has not looked at, on any device. `shown`: the one on the page."""
        texts = texts_in(campaign_of(name, seen), {}, self._seen_by(person.email, name, seen), shown)
        return tuple(text for text in texts if not text.is_seen)

    def look(self, name: str, person: Person, seen: SeenSchedule, number: int | None) -> bool:
        """Note that an approver has looked at one of its texts. False where there is no such text."""
        texts = texts_in(campaign_of(name, seen), {})
        if number is None or number >= len(texts):
            return False
        now_ms = int(self._now().timestamp() * 1000)
        self._looks.look(_looked_at(name), person.email, seen.hash, [texts[number].key], now_ms)
        return True

    def _seen_by(self, email: str, name: str, seen: SeenSchedule) -> frozenset[str]:
        looked = {one.content_hash: one.texts for one in self._looks.of(_looked_at(name), email)}
        return looked.get(seen.hash, frozenset())

    def _card(
        self,
        call: Call,
        name: str,
        seen: SeenSchedule,
        campaign: Campaign | None,
        audience: AudienceSeen,
        last: LastPreview | None,
        samples: tuple[Mapping[str, Any], ...],
    ) -> dict[str, Any]:
        """The card of a request, for the next time: the same facts, by the last preview."""
        looked = self._seen_by(call.visitor.email if call.visitor else "", name, seen)
        number = number_shown(call, texts_in(campaign, {}, looked))
        texts = texts_in(campaign, {}, looked, number)
        start = _next_start(seen, self._now())
        forecast = self._figures.forecast(audience, campaign, start=start)
        times = self._figures.times(audience, campaign, start)
        left_out = last.left_out if last is not None else None
        card = decision_card(_starting(campaign, start), forecast, self._now(), texts, left_out, times=times)
        shown = texts[number] if number < len(texts) else None
        user = samples[0] if samples else None
        return {
            "card": _with_users(msgspec.structs.replace(card, if_approved_at=None), last),
            "times": times,
            "text_number": number,
            "shown": previews_of_text(campaign, user, shown.arm, shown.locale) if campaign and shown else (),
        }

    def _looked(self, call: Call, campaign: Campaign | None, samples: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
        """All texts on phones, as one of the users sees them."""
        asked = whole(call.asked("sample")) or 0
        sample = asked if asked < len(samples) else 0
        user = samples[sample] if samples else None
        return {
            "previews": grouped(previews(campaign, user), {}) if campaign is not None else (),
            "samples": tuple(sample_name(str(n), record) for n, record in enumerate(samples)),
            "sample": sample,
            "look": "open" if call.asked("look") == "open" else "lock",
        }

    def _results(self, history: tuple[SeenOccurrence, ...]) -> dict[str, RunBrief]:
        """How far the runs of the latest times are, by run."""
        sent = [one.run_id for one in history if one.run_id][:SHOWN_RESULTS]
        return {run_id: brief for run_id in sent if (brief := self._runs.brief(run_id)) is not None}

    def _run_shown(self, call: Call, history: tuple[SeenOccurrence, ...]) -> dict[str, Any]:
        """The figures of the run that the address names; else of the latest one."""
        sent = {one.occurrence: one for one in history if one.run_id}
        one = sent.get(call.asked("time")) or next(iter(sent.values()), None)
        run = self._runs.run(one.run_id) if one is not None else None
        return {"run_time": one, "run": run, "arms": arms_of(run, {}) if run is not None else ()}


def campaign_of(name: str, seen: SeenSchedule) -> Campaign | None:
    """The campaign in a schedule's file; None while it has faults, which the page lists."""
    try:
        # Decoded as the schedules' function does: what that takes, as a file with a byte order mark, is shown here too.
        decoded: Any = decode_authored(seen.text.encode(), "file")
        return read_campaign({**decoded["campaign"], "id": name})
    except (BadJson, BrokenCampaign, KeyError, TypeError):
        return None


def _owners(seen: SeenSchedule) -> dict[str, str]:
    """Who looks after the queries that it names, by their names."""
    found: dict[str, str] = {}
    for key, text in seen.queries.items():
        name = key.removeprefix(PREFIX).removesuffix(".json")
        # The SQL is among them, and what a goal's conversions are found by.
        if key == f"{PREFIX}{name}.json":
            with suppress(msgspec.DecodeError):
                found[name] = msgspec.json.decode(text, type=StoredQuery).owner
    return found


def _looked_at(name: str) -> str:
    # Beside the requests, whose ids begin with a day: no schedule's is one of them.
    return f"schedule:{name}"


def _next_start(seen: SeenSchedule, now: datetime) -> datetime:
    following = next(iter(seen.shown_times_ms), None)
    return datetime.fromtimestamp(following / 1000, UTC) if following is not None else now


def _starting(campaign: Campaign | None, start: datetime) -> Campaign | None:
    """The campaign of that time. In the users' own time it has no start of its own: it begins before the first zone."""
    if campaign is None or campaign.local_time is not None:
        return campaign
    return msgspec.structs.replace(campaign, not_before=start)


def _with_users(card: DecisionCard, last: LastPreview | None) -> DecisionCard:
    """The users of the preview, also where its manifest is gone, and nothing else is known of them."""
    if card.users is not None or last is None:
        return card
    return msgspec.structs.replace(card, users=last.users)


def different_lines(old: str, new: str) -> tuple[str, ...]:
    """The lines of a text that are different from those of the one before it, with those around them."""
    if not old or old == new:
        return ()
    # The first two lines name files.
    return tuple(list(unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:])
