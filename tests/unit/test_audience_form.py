"""What a form's audience means: a request in the audience function's words."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from approval.audience_form import as_schedules, chosen_audience, columns_of, in_words
from approval.form import FilterForm, Form, SourceForm, flat, read_form
from approval.queries import OfferedQuery
from approval.taken_audiences import TakenAudience
from audiences.compose import read_composition
from notifier.model.audience_request import read_audience_source
from notifier.model.campaign import Part
from notifier.model.stored_query import Parameter, StoredQuery

FOLLOWS = OfferedQuery(
    "follows", StoredQuery(parameters={"brands": Parameter("texts", default=("A",))}, show=("country",))
)
TYPED = OfferedQuery(
    "typed",
    StoredQuery(
        parameters={
            "n": Parameter("integer"),
            "x": Parameter("number", default=1),
            "day": Parameter("date", default="2026-11-21"),
            "on": Parameter("boolean", default=False),
            "word": Parameter("text", choices=("a", "b"), default="a"),
        }
    ),
)
OFFERED = {"follows": FOLLOWS, "typed": TYPED}


def a_query(name: str = "follows", *, how: str = "and", **parameters: tuple[str, ...]) -> SourceForm:
    return SourceForm(how=how, query=name, parameters=parameters)


def some_files(how: str, files: str) -> SourceForm:
    return SourceForm(how=how, files=files)


F, G, Q = {"files": ["audiences/f"]}, {"files": ["audiences/g"]}, {"query": {"name": "follows"}}


NOW = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
"""In Paris that is the first of December."""


def taken(audience: dict[str, Any], **about: Any) -> TakenAudience:
    given = {"schedule": "day-2", "version": "ab" * 32, "timezone": "Europe/Paris", "time": "09:00", **about}
    return TakenAudience(audience=audience, **given)


OF_A_DAY = taken({"query": {"name": "follows", "parameters": {"day": "$day", "since": "$previous", "until": "$now"}}})
FILTERED = taken({"files": ["standing/s"], "where": [{"column": "plan", "is": ["pro"]}]}, version="cd" * 32)
TAKEN = {(one.schedule, one.version): one for one in (OF_A_DAY, FILTERED)}
TODAY = {
    "query": {
        "name": "follows",
        "parameters": {
            "day": "2026-12-01",
            "since": "2026-11-30T09:00:00+01:00",
            "until": "2026-12-01T09:00:00+01:00",
        },
    }
}


def a_schedule(one: TakenAudience = OF_A_DAY, how: str = "and") -> SourceForm:
    return SourceForm(how=how, schedule=one.schedule, version=one.version)


STAR = "audiences/[1].csv"
TICKED = {"parts": [{"key": STAR}]}
WHERE = {"where": [{"column": "country", "is": ["DE", "AT"]}]}
ONLY = (FilterForm("country", "DE, AT ,DE"),)


def groups(*sources: SourceForm, filters: tuple[FilterForm, ...] = ()) -> Form:
    """Files, and these groups below them."""
    return Form(files="audiences/f", sources=sources, filters=filters)


@pytest.mark.parametrize(
    ("form", "request_"),
    [
        (groups(), F),
        (
            Form(audience=("audiences/f",), files="standing/x/*.csv\n\n "),
            {"files": ["audiences/f", "standing/x/*.csv"]},
        ),
        (Form(audience=(STAR,)), TICKED),
        (Form(audience=(STAR,), files="audiences/f"), {"any": [TICKED, F]}),
        (Form(sources=(a_query(),)), Q),
        (groups(a_query()), {"all": [F, Q]}),
        (groups(a_query(how="or"), some_files("or", "audiences/g")), {"any": [F, Q, G]}),
        (groups(a_query(how="or"), some_files("and", "audiences/g")), {"all": [{"any": [F, Q]}, G]}),
        (groups(a_query(how="without"), some_files("without", "audiences/g")), {"all": [F], "without": [Q, G]}),
        (
            groups(a_query(how="without"), some_files("and", "audiences/g")),
            {"all": [{"all": [F], "without": [Q]}, G]},
        ),
        (groups(filters=ONLY), {**F, **WHERE}),
        (Form(sources=(a_schedule(),)), TODAY),
        (groups(a_schedule(how="without")), {"all": [F], "without": [TODAY]}),
        (Form(sources=(a_schedule(), some_files("or", "audiences/g")), filters=ONLY), {"any": [TODAY, G], **WHERE}),
        # Its own filters stay on it alone.
        (Form(sources=(a_schedule(FILTERED), some_files("or", "audiences/g"))), {"any": [FILTERED.audience, G]}),
        (Form(sources=(a_schedule(FILTERED),), filters=ONLY), {"all": [FILTERED.audience], **WHERE}),
        (groups(a_query(how="or"), filters=ONLY), {"any": [F, Q], **WHERE}),
    ],
)
def test_what_is_chosen(form: Form, request_: dict[str, Any]) -> None:
    """Files, then each group combined with everything above it; the audience function and the worker take it."""
    chosen = chosen_audience(form, OFFERED, TAKEN, NOW)
    assert (chosen.request, chosen.faults) == (request_, {})
    assert chosen.request is not None
    read_composition(chosen.request, lambda source: ("country",) if "query" in source else None)
    read_audience_source(chosen.request)
    assert list(in_words(chosen.request))


def test_a_group_to_leave_out_needs_one_above_it() -> None:
    """Where that was removed, whom the group leaves out do not become the audience: a fault at its own field."""
    for group in (a_query(how="without"), some_files("without", "audiences/g"), a_schedule(how="without")):
        for sources in ((group,), (group, a_query()), (SourceForm(), group)):
            chosen = chosen_audience(Form(sources=sources), OFFERED, TAKEN, NOW)
            assert chosen.request is None
            assert list(chosen.faults) == [f"sources.{sources.index(group)}.how"]
            assert "choose users first" in next(iter(chosen.faults.values()))
    # A group above that has a fault of its own is what is to be corrected.
    chosen = chosen_audience(Form(sources=(a_query("gone"), a_query(how="without"))), OFFERED, TAKEN, NOW)
    assert list(chosen.faults) == ["sources.0.query"]


def test_values_have_their_types() -> None:
    """As the audience function wants them; what is left empty is left to the query's default."""
    given = a_query("typed", n=("7",), x=("2.5",), day=("2026-11-28",), on=("true",), word=("b",))
    chosen = chosen_audience(Form(sources=(given,)), OFFERED, {}, NOW)
    assert chosen.request == {
        "query": {"name": "typed", "parameters": {"n": 7, "x": 2.5, "day": "2026-11-28", "on": True, "word": "b"}}
    }
    chosen = chosen_audience(Form(sources=(a_query("typed", n=("7",), word=("",)),)), OFFERED, {}, NOW)
    assert chosen.request == {"query": {"name": "typed", "parameters": {"n": 7}}}


@pytest.mark.parametrize(
    ("name", "typed"), [("n", "seven"), ("x", "a lot"), ("day", "28.11."), ("on", "maybe"), ("word", "c")]
)
def test_a_value_of_another_type(name: str, typed: str) -> None:
    """A fault at its field."""
    given = SourceForm(query="typed", parameters={"n": ("1",), name: (typed,)})
    chosen = chosen_audience(Form(sources=(given,)), OFFERED, {}, NOW)
    assert list(chosen.faults) == [f"sources.0.parameters.{name}"]
    assert chosen.request is None


@pytest.mark.parametrize(
    ("source", "one", "words"),
    [
        (SourceForm(schedule="day-2"), OF_A_DAY, "The audience of day-2 is not taken into this draft. Press Choose."),
        (SourceForm(schedule="other", version="ab" * 32), OF_A_DAY, "The audience of other is not taken"),
        (msgspec.structs.replace(a_schedule(), files="audiences/f"), OF_A_DAY, "one of them in one group"),
        (msgspec.structs.replace(a_schedule(), query="follows"), OF_A_DAY, "one of them in one group"),
        (a_schedule(), taken({"query": {"name": "gone"}}), "Its query gone cannot be used: there is no such query."),
        (
            a_schedule(),
            taken({"any": [Q, {"all": [F], "without": [{"query": {"name": "broken"}}]}]}),
            "Its query broken cannot be used: it cannot be read.",
        ),
        (a_schedule(), taken({"any": [Q, {"sql": "SELECT 1"}]}), "Its audience is SQL of its own."),
    ],
)
def test_a_schedule_whose_audience_cannot_be_taken(source: SourceForm, one: TakenAudience, words: str) -> None:
    """A fault at the field, and no request."""
    offered = {**OFFERED, "broken": OfferedQuery("broken", fault="it cannot be read")}
    chosen = chosen_audience(Form(sources=(source,)), offered, {(one.schedule, one.version): one}, NOW)
    assert list(chosen.faults) == ["sources.0.schedule"]
    assert words in chosen.faults["sources.0.schedule"]
    assert chosen.request is None


def test_files_of_a_day() -> None:
    """Those of today, by the calendar of the schedule's zone."""
    drops = taken({"prefix": "audiences/day-2/$day/"})
    chosen = chosen_audience(Form(sources=(a_schedule(),)), OFFERED, {("day-2", "ab" * 32): drops}, NOW)
    assert chosen.request == {"files": ["audiences/day-2/2026-12-01/"]}


def test_who_is_left_out_by_a_schedule_is_left_out_by_the_campaign_too() -> None:
    """The lists of its campaign, each once; of a group whose users get nothing they say nothing."""
    part = Part("standing/staff.csv")
    one = taken(F, exclude=(part,))
    all_taken = {("day-2", one.version): one}
    assert chosen_audience(Form(sources=(a_schedule(one),)), OFFERED, all_taken, NOW).exclude == (part,)
    twice = groups(a_schedule(one), a_schedule(one, "or"))
    assert chosen_audience(twice, OFFERED, all_taken, NOW).exclude == (part,)
    assert chosen_audience(groups(a_schedule(one, "without")), OFFERED, all_taken, NOW).exclude == ()


def test_columns_and_words_of_a_schedule() -> None:
    """One may filter by what its query lists; people read its name and its version."""
    form = Form(sources=(a_schedule(),))
    assert columns_of(form, OFFERED, TAKEN) == ("country",)
    assert as_schedules(form) == ("as schedule day-2, version abababababab",)
    assert as_schedules(groups(SourceForm(schedule="day-2"))) == ()


def test_the_form_comes_back_as_it_was_typed() -> None:
    """What the page posts is read as the form that it was made from; values of another query are dropped."""
    form = Form(
        name="c",
        audience=("audiences/a",),
        files="standing/b",
        sources=(a_query(how="or", brands=("A", "B")), some_files("without", "audiences/c"), a_schedule()),
        filters=(FilterForm("country", "DE"),),
    )
    fields: dict[str, list[str]] = {}
    for name, value in flat(form):
        fields.setdefault(name, []).append(value)
    assert read_form(fields) == form
    changed = {**fields, "sources.0.shown": ["other"]}
    assert read_form(changed).sources[0].parameters == {}


def test_in_words() -> None:
    """For the people who decide."""
    request = {"all": [{"query": {"name": "q", "parameters": {"n": 1, "b": ["x", "y"]}}}, F], "without": [G]}
    assert list(in_words(request)) == ["query q (n: 1; b: x, y)", "and audiences/f", "without audiences/g"]
