"""What came of a campaign, for its page: the report's verdicts, table and pictures, by the names that people gave."""

from collections.abc import Mapping
from typing import Any

import msgspec
from markupsafe import Markup
from msgspec.structs import replace

from approval.arm_names import shown_names
from approval.goals import Goals
from approval.request import Request
from approval.results import Counted, Results, arms_to_choose, outcome
from approval.runs import Runs, RunSeen
from approval.store import CountAsked, Store
from notifier.model.campaign import DEFAULT_ARM, Campaign, Variant
from reporting.outcome import Outcome
from reporting.page_words import HEAD, HEAD_WORDS, WHEN, chance_in_words, sizes_in_words, table_rows
from reporting.pictures import SLIM, WIDE, curve_picture, interval_picture

MAX_KEPT = 500
"""Results that a process keeps for the list."""
_BRIEFLY = {
    "no_difference": "no difference that matters",
    "not_shown": "no difference shown",
    "not_yet": "cannot tell yet",
    "out_of_proportion": "arms out of proportion",
    "no_users": "nothing to compare",
    "no_conversions": "no conversions",
}
"""Verdicts without figures, by their finding."""
THE_PUSH = "the push"
"""The name of the one arm of a campaign without variants."""


class ResultSeen(msgspec.Struct, frozen=True):
    """A campaign's goal as its page shows it.

    Attributes:
        lifts: variant, finding, verdict, and whether it may be chance, of each comparison.
        through: up to when conversions are complete, as the source writes it; "" where it does not say.
        pictures: each in two widths, for a large screen and for a phone.
    """

    asked: CountAsked
    counted: Counted
    lifts: tuple[tuple[str, str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    sizes: str = ""
    when: str = ""
    through: str = ""
    head: tuple[str, ...] = HEAD
    head_words: str = HEAD_WORDS
    rows: tuple[tuple[str, ...], ...] = ()
    pictures: tuple[tuple[Markup, Markup], ...] = ()


class Short(msgspec.Struct, frozen=True):
    """A variant's verdict in a few words, for the list."""

    variant: str
    finding: str
    words: str


class ResultView:
    """Reads the result of a request's run."""

    def __init__(self, results: Results, goals: Goals, store: Store, runs: Runs) -> None:
        self._results = results
        self._goals = goals
        self._store = store
        self._runs = runs
        self._shorts: dict[str, tuple[Short, ...]] = {}
        """By count, which never changes once it is over, and whether the run was over by then."""

    def short(self, request_id: str) -> tuple[Short, ...]:
        """The verdicts of a request's latest count in a few words; none where nobody has asked for one."""
        asked = self._store.count_asked(request_id)
        if asked is None:
            return ()
        if asked.count in self._shorts:
            return self._shorts[asked.count]
        request = self._store.request(request_id)
        run = self._runs.run(request.written.run_id) if request.written is not None else None
        seen = self._result(request, run)
        if seen is None or not seen.rows or run is None:
            return ()
        if len(self._shorts) >= MAX_KEPT:
            self._shorts.pop(next(iter(self._shorts)))
        goal = request.campaign.goal.name if request.campaign is not None and request.campaign.goal is not None else ""
        shorts = tuple(
            Short(variant, finding, _brief(finding, words, goal)) for variant, finding, words, _ in seen.lifts
        )
        if run.is_over:
            self._shorts[asked.count] = shorts
        return shorts

    def values(self, request: Request, run: RunSeen | None) -> dict[str, Any]:
        """The values of `_result.html`."""
        campaign = request.campaign
        is_test = campaign is not None and campaign.winner is not None
        decision = self._results.decision(request.written.run_id) if request.written is not None and is_test else None
        return {
            "result": self._result(request, run),
            "decision": decision,
            "remainder": self._runs.run(decision.remainder) if decision is not None and decision.remainder else None,
            "choices": arms_to_choose(campaign) if is_test and campaign is not None else (),
            "arm_names": shown_names(request.form),
        }

    def _result(self, request: Request, run: RunSeen | None) -> ResultSeen | None:
        """The latest count of the conversions, compared; None where nobody has asked for one."""
        if run is None or request.campaign is None or request.campaign.goal is None:
            return None
        asked = self._store.count_asked(request.id)
        if asked is None:
            return None
        counted = self._results.counted(asked.count, asked.at_ms)
        named, counted = _as_named(request.campaign, counted, shown_names(request.form))
        found = outcome(named, run, counted, other_source=self._goals.changed(request.campaign))
        return _seen(asked, counted, found) if found is not None else ResultSeen(asked, counted)


def _seen(asked: CountAsked, counted: Counted, found: Outcome) -> ResultSeen:
    comparison = found.comparison
    drawn = (
        (interval_picture(comparison, WIDE, "lifts"), interval_picture(comparison, SLIM, "lifts-slim")),
        (curve_picture(found, WIDE, "curve"), curve_picture(found, SLIM, "curve-slim")),
    )
    return ResultSeen(
        asked,
        counted,
        lifts=tuple(
            (
                lift.variant,
                lift.verdict.finding.value,
                lift.verdict.in_words,
                chance_in_words(lift, comparison.basis),
            )
            for lift in comparison.lifts
        ),
        notes=found.notes,
        sizes=sizes_in_words(comparison.sizes),
        when=WHEN[comparison.basis],
        through=found.complete_through or "",
        rows=table_rows(comparison),
        # The pictures escape what they are given: names of arms.
        pictures=tuple((Markup(wide), Markup(slim)) for wide, slim in drawn if wide),  # noqa: S704
    )


def _brief(finding: str, words: str, goal: str) -> str:
    """`+4 % to +21 % opened against no push`, of a verdict with figures: a list must say what they measure."""
    if finding in _BRIEFLY:
        return _BRIEFLY[finding]
    what, _, figures = words.partition(": ")
    against = what.rpartition(" than ")[2]
    return f"{figures.removeprefix('between ').replace(' and ', ' to ')} {goal} against {against}"


def _as_named(campaign: Campaign, counted: Counted, names: Mapping[str, str]) -> tuple[Campaign, Counted]:
    """Campaign and counts under the names that the form has for the arms."""
    names = {DEFAULT_ARM: THE_PUSH, **names}
    variants = campaign.variants or (Variant(DEFAULT_ARM, 100 - campaign.control_percent),)
    named = replace(campaign, variants=tuple(replace(one, name=names.get(one.name, one.name)) for one in variants))
    if counted.found is None:
        return named, counted
    found = replace(
        counted.found,
        arms=tuple(replace(one, arm=names.get(one.arm, one.arm)) for one in counted.found.arms),
        curve=tuple(replace(one, arm=names.get(one.arm, one.arm)) for one in counted.found.curve),
    )
    return named, replace(counted, found=found)
