"""An audience and the previews for its users, as several pages show them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from approval.arm_names import shown_names
from approval.audience import Forecast
from approval.audience_form import as_schedules, in_words
from approval.composer import sample_name
from approval.form import TEXTS, Form, flat
from approval.form_campaign import plan_of, read_campaign_of
from approval.goals import power_in_words, read_base
from approval.language_reach import language_reach
from approval.placeholders import audience_warnings, gaps, lookalike_warnings
from approval.prepared import AudienceSeen
from approval.preview import Preview, previews
from approval.queries import whom_to_ask
from approval.request import CLOSED, Request
from approval.request_audiences import RequestAudiences
from notifier.model.campaign import Campaign


class AudienceView:
    """The values of `_audience.html`, and previews.

    Args:
        now: the time, aware.
    """

    def __init__(self, audiences: RequestAudiences, now: Callable[[], datetime]) -> None:
        self._audiences = audiences
        self._now = now

    def of_form(self, form: Form, seen: AudienceSeen, campaign: Campaign | None) -> dict[str, Any]:
        """The values of `_audience.html` for a form that is being written, with its campaign as previews have it."""
        return {
            **self._values(form, seen, campaign, is_pinned=True, plan=self._plan_of(form)),
            "says_something": any(text for field, text in flat(form) if field.rpartition(".")[2] in TEXTS),
            "is_plan": False,
        }

    def _plan_of(self, form: Form) -> tuple[datetime | None, int | None]:
        """When it would begin, and how fast, by what is in the form: the previews' campaign has neither."""
        start, per_second = plan_of(form)
        return (max(start, self._now()) if start else None), per_second

    def _values(
        self,
        form: Form,
        seen: AudienceSeen,
        campaign: Campaign | None,
        *,
        is_pinned: bool,
        plan: tuple[datetime | None, int | None] = (None, None),
    ) -> dict[str, Any]:
        """The values of `_audience.html`.

        Args:
            plan: start and speed, where they are not the campaign's.
            is_pinned: whether the prepared audience itself is sent, and not the files that it was made of.
        """
        return {
            "seen": seen,
            "whom_to_ask": whom_to_ask(seen.fault, self._owners()) if seen.fault else "",
            "as_schedules": as_schedules(form),
            "chosen": tuple(in_words(seen.request)) if seen.request is not None else (),
            "sql": seen.prepared.manifest.queries if seen.prepared is not None else {},
            "forecast": _as_named(
                self._audiences.forecast(seen, campaign, repeats=not is_pinned, start=plan[0], per_second=plan[1]), form
            ),
            "is_pinned": is_pinned,
            "is_closed": False,
            "power": self._power(campaign, form, seen),
            "gaps": gaps(form, seen.counts),
            "left_out_of": "",
            "reach": language_reach(form, seen.counts),
            "lookalikes": (*lookalike_warnings(form, seen.counts), *audience_warnings(form, seen.counts)),
        }

    def _owners(self) -> dict[str, str]:
        """Who looks after the stored queries, by their names."""
        return {name: one.about.owner for name, one in self._audiences.offered().items()}

    def _power(self, campaign: Campaign | None, form: Form, seen: AudienceSeen) -> tuple[str, ...]:
        """How likely the audience is to show what the campaign is to bring about, once it is counted."""
        if campaign is None or campaign.goal is None:
            # Previews have a campaign without a goal: the form's, as soon as it has no faults.
            campaign, _ = read_campaign_of(form, self._now())
        if campaign is None or seen.counts is None:
            return ()
        return power_in_words(campaign, read_base(form.goal_base_percent), seen.counts.users)

    def previews_of(self, campaign: Campaign | None, seen: AudienceSeen, sample: int, form: Form) -> dict[str, Any]:
        chosen = seen.samples[sample] if sample < len(seen.samples) else None
        return {
            "previews": grouped(previews(campaign, chosen), shown_names(form)) if campaign is not None else (),
            "samples": tuple(sample_name(str(n), record) for n, record in enumerate(seen.samples)),
            "sample": sample if chosen is not None else 0,
        }

    def of_request(self, request: Request, seen: AudienceSeen) -> dict[str, Any]:
        """The values of `_audience.html` for a request. One that was handed over keeps the figures of that moment."""
        start = datetime.fromtimestamp(request.written.at_ms / 1000, UTC) if request.written else None
        if start is not None and request.campaign is not None and request.campaign.not_before is not None:
            start = max(start, request.campaign.not_before)
        is_pinned = bool(request.manifest)
        # By the time as well: an open request expires without a write.
        is_closed = request.state_at(int(self._now().timestamp() * 1000)) in CLOSED
        values = self._values(request.form, seen, request.campaign, is_pinned=is_pinned, plan=(start, None))
        # Of what was handed over the run's own figures say it.
        return values | {
            "left_out_of": request.id if is_pinned and request.written is None and not is_closed else "",
            "is_closed": is_closed,
            "times": self._audiences.times(seen, request.campaign, start),
            "lifts_quiet": False,  # said in red above
        }


def _as_named(forecast: Forecast | None, form: Form) -> Forecast | None:
    """The forecast with the variants' names as they were typed."""
    if forecast is None:
        return None
    names = shown_names(form)
    arms = tuple(msgspec.structs.replace(arm, name=names.get(arm.name, arm.name)) for arm in forecast.arms)
    return msgspec.structs.replace(forecast, arms=arms)


def grouped(
    found: tuple[Preview, ...], names: Mapping[str, str]
) -> tuple[tuple[str, tuple[tuple[str, tuple[Preview, ...]], ...]], ...]:
    """Previews by arm, under the name that it has on the pages, and in an arm by language."""
    arms: dict[str, dict[str, list[Preview]]] = {}
    for preview in found:
        arms.setdefault(names.get(preview.arm, preview.arm), {}).setdefault(preview.locale, []).append(preview)
    return tuple((arm, tuple((locale, tuple(p)) for locale, p in group.items())) for arm, group in arms.items())
