"""What the decision card says of the readers' clocks, and of fields that differ."""

from datetime import UTC, datetime

import msgspec
import pytest

from approval.content_changes import Change, changes
from approval.form import FilterForm, Form, SourceForm, Texts, VariantForm
from approval.local_clocks import local_clocks
from approval.looks import Content

ZONES = {
    "Europe/London": 10,
    "Europe/Lisbon": 3,
    "Africa/Accra": 2,
    "Africa/Abidjan": 1,
    "Asia/Tokyo": 20,
    "(others)": 5,
}


def test_readers_are_together_who_see_the_same_clock() -> None:
    """The most first, three of their places by name; unknown zones are nobody's; the night is said."""
    tokyo, london = local_clocks(ZONES, datetime(2026, 11, 22, 14, 30, tzinfo=UTC))
    assert (tokyo.at, tokyo.day, tokyo.places, tokyo.users, tokyo.is_night) == (
        "23:30",
        "Sun 22 Nov",
        "Tokyo",
        20,
        True,
    )
    assert (london.at, london.places, london.users) == ("14:30", "London, Lisbon, Accra and 1 more", 16)
    assert not london.is_night


def test_clocks_of_the_summer_are_other_ones() -> None:
    """Accra has no summer time, and is another group then."""
    clocks = local_clocks(ZONES, datetime(2026, 7, 1, 6, 59, tzinfo=UTC))
    assert [(clock.at, clock.is_night) for clock in clocks] == [("15:59", False), ("07:59", True), ("06:59", True)]


def content(users: int = 5, **fields: object) -> Content:
    return Content(Form(name="c", **fields), users, 0)  # type: ignore[arg-type]


def test_fields_are_compared_by_what_they_are() -> None:
    """A language that was put before another one has not changed the other; a variant goes by its name."""
    de, fr = Texts(locale="de", title="Hallo"), Texts(locale="fr", title="Salut")
    assert changes(content(languages=(de,)), content(languages=(fr, de))) == (Change("Title in fr", "", "Salut"),)
    long, short = VariantForm(name="Long", percent="50"), VariantForm(name="Short", percent="50", title="Hi")
    moved = content(variants=(short, long))
    assert changes(content(variants=(long, short)), moved) == ()
    gone = changes(moved, content(variants=(long,)))
    assert gone == (Change("Share of Short, %", "50", ""), Change("Title of Short", "Hi", ""))


def test_every_kind_of_field_is_compared() -> None:
    """Text, audience, its size, when it is sent."""
    before = content(title="Hi", audience=("audiences/a.json",), start="2026-11-22T10:00")
    after = content(7, title="Hello", audience=("audiences/b.json",), start="")
    assert changes(before, before) == ()
    assert [(one.field, one.before, one.after) for one in changes(before, after)] == [
        ("Title", "Hi", "Hello"),
        ("Audience", "audiences/a.json", "audiences/b.json"),
        ("Users", "5", "7"),
        ("Not before", "2026-11-22T10:00", ""),
    ]


OTHERS = {
    "languages": (Texts(locale="de"),),
    "variants": (VariantForm("Long"),),
    "sources": (SourceForm(files="audiences/b.json"),),
    "filters": (FilterForm("country", "DE"),),
    "audience": ("audiences/b.json",),
}
"""Other values of the fields that are no text."""


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Form)])
def test_no_field_of_the_form_differs_unsaid(field: str) -> None:
    """Whichever field is another one, the approver reads that it is: "No fields differ" is never said falsely."""
    form = Form()
    after = msgspec.structs.replace(form, **{field: OTHERS.get(field, "9")})
    assert changes(Content(form, 5, 0), Content(after, 5, 0)), field


@pytest.mark.parametrize(
    ("group", "changed"),
    [
        (SourceForm("and", "a", "x"), {"how": "without", "query": "b", "files": "y",
            "parameters": {"day": ("2",)}, "schedule": "day-2", "version": "ab"}),
        (VariantForm("Long", languages=(Texts(),)), {"name": "Short", "percent": "9", "title": "a", "body": "b",
            "image_url": "c", "deep_link": "d", "languages": (Texts(title="e"),)}),
        (Texts(locale="de"), {"locale": "fr", "title": "a", "body": "b", "image_url": "c", "deep_link": "d"}),
        (FilterForm("country", "DE"), {"column": "city", "values": "AT"}),
    ],
)  # fmt: skip
def test_no_field_of_a_group_differs_unsaid(group: msgspec.Struct, changed: dict[str, object]) -> None:
    """Nor any of a group of users, a variant, a language or a filter."""
    place = {SourceForm: "sources", VariantForm: "variants", Texts: "languages", FilterForm: "filters"}[type(group)]
    base = Form(languages=(Texts(locale="de"),))
    before = msgspec.structs.replace(base, **{place: (group,)})
    assert set(changed) == {field.name for field in msgspec.structs.fields(type(group))}
    for name, value in changed.items():
        after = msgspec.structs.replace(base, **{place: (msgspec.structs.replace(group, **{name: value}),)})
        assert changes(Content(before, 5, 0), Content(after, 5, 0)), name


def test_two_groups_of_one_query_are_compared_apart() -> None:
    """Each has its own values, also where the other's are the same as before."""
    one, other = (SourceForm(query="follows", parameters={"brand": (brand,)}) for brand in ("acme", "other"))
    found = changes(content(sources=(one, other)), content(sources=(other, other)))
    assert found == (Change("Group 1 of users, brand", "acme", "other"),)
