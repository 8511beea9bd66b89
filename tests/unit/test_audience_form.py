"""What a form's audience means: a request in the audience function's words."""

from typing import Any

import pytest

from approval.audience_form import chosen_audience, in_words
from approval.form import FilterForm, Form, SourceForm, flat, read_form
from approval.queries import OfferedQuery
from audiences.compose import read_composition
from notifier.model.audience_request import read_audience_source
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
        (Form(sources=(a_query(how="without"),)), Q),
        (groups(a_query()), {"all": [F, Q]}),
        (groups(a_query(how="or"), some_files("or", "audiences/g")), {"any": [F, Q, G]}),
        (groups(a_query(how="or"), some_files("and", "audiences/g")), {"all": [{"any": [F, Q]}, G]}),
        (groups(a_query(how="without"), some_files("without", "audiences/g")), {"all": [F], "without": [Q, G]}),
        (
            groups(a_query(how="without"), some_files("and", "audiences/g")),
            {"all": [{"all": [F], "without": [Q]}, G]},
        ),
        (groups(filters=ONLY), {**F, **WHERE}),
        (groups(a_query(how="or"), filters=ONLY), {"any": [F, Q], **WHERE}),
    ],
)
def test_what_is_chosen(form: Form, request_: dict[str, Any]) -> None:
    """Files, then each group combined with everything above it; the audience function and the worker take it."""
    chosen = chosen_audience(form, OFFERED)
    assert (chosen.request, chosen.faults) == (request_, {})
    assert chosen.request is not None
    read_composition(chosen.request, lambda source: ("country",) if "query" in source else None)
    read_audience_source(chosen.request)
    assert list(in_words(chosen.request))


def test_values_have_their_types() -> None:
    """As the audience function wants them; what is left empty is left to the query's default."""
    given = a_query("typed", n=("7",), x=("2.5",), day=("2026-11-28",), on=("true",), word=("b",))
    chosen = chosen_audience(Form(sources=(given,)), OFFERED)
    assert chosen.request == {
        "query": {"name": "typed", "parameters": {"n": 7, "x": 2.5, "day": "2026-11-28", "on": True, "word": "b"}}
    }
    chosen = chosen_audience(Form(sources=(a_query("typed", n=("7",), word=("",)),)), OFFERED)
    assert chosen.request == {"query": {"name": "typed", "parameters": {"n": 7}}}


@pytest.mark.parametrize(
    ("name", "typed"), [("n", "seven"), ("x", "a lot"), ("day", "28.11."), ("on", "maybe"), ("word", "c")]
)
def test_a_value_of_another_type(name: str, typed: str) -> None:
    """A fault at its field."""
    given = SourceForm(query="typed", parameters={"n": ("1",), name: (typed,)})
    chosen = chosen_audience(Form(sources=(given,)), OFFERED)
    assert list(chosen.faults) == [f"sources.0.parameters.{name}"]
    assert chosen.request is None


def test_the_form_comes_back_as_it_was_typed() -> None:
    """What the page posts is read as the form that it was made from; values of another query are dropped."""
    form = Form(
        name="c",
        audience=("audiences/a",),
        files="standing/b",
        sources=(a_query(how="or", brands=("A", "B")), some_files("without", "audiences/c")),
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
