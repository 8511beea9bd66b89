"""Figures of the records that a dry check goes over: what a run with the same records would count."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from notifier.content.render import Renderer
from notifier.model.account import Account
from notifier.model.arms import Arms
from notifier.model.audience_counts import MAX_NAMES, OTHER
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.spelling import BrokenRecord
from notifier.model.user_rows import joined_rows_note
from notifier.sending.batch_builder import BatchBuilder
from operations.dry_check.figures import AudienceCounter


def user(n: int, token: str | None = None, **more: Any) -> dict[str, Any]:
    return {"user_id": f"u{n}", "platform": "ios", "token": token or f"token-{n:08d}", **more}


def test_figures_of_an_audience() -> None:
    """Users, devices by platform, broken ones, locales, time zones, attributes and repeats are counted."""
    counter = AudienceCounter()
    counter.take(
        [
            user(1, locale="en-GB", timezone="Europe/London", attributes={"first_name": "Ann", "age": None}),
            {"user_id": "u2", "devices": [{"platform": "android", "token": "a"}, {"platform": "pager", "token": "b"}]},
            user(3, token="token-00000001", first_name="Cy"),
            BrokenRecord("not JSON"),
            {"user_id": "u5"},
        ]
    )
    figures = counter.figures
    assert (figures.users, figures.devices, figures.invalid_records) == (5, 3, 3)
    assert figures.platforms == {"ios": 2, "android": 1}
    assert counter.tokens.repeated() == 1
    assert (figures.locales, figures.timezones) == ({"en-GB": 1}, {"Europe/London": 1})
    assert figures.without_timezone == 2
    assert figures.attributes == {"first_name": 2}


def test_names_without_end_are_put_together() -> None:
    """A file whose locales are all different makes no figures without end."""
    counter = AudienceCounter()
    counter.take(user(n, locale=f"l{n}") for n in range(MAX_NAMES + 7))
    assert len(counter.figures.locales) == MAX_NAMES + 1
    assert counter.figures.locales[OTHER] == 7


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=80))
def test_rows_are_joined_as_in_a_run(rows: list[tuple[int, int]]) -> None:
    """Users and devices are those that batches of the same records have."""
    records: list[object] = [user(n, token=f"t{token}", locale="en", attributes={"name": "N"}) for n, token in rows]
    counter = AudienceCounter(size=10)
    counter.take(records)
    account = Account()
    maker = BatchBuilder(
        "r", "c", Arms("c", [("default", 10_000)]), Renderer(read_campaign({"id": "c", "message": {"body": "B"}}))
    )
    for number in range(-(-len(records) // 10)):
        batch = records[number * 10 : number * 10 + 10]
        account.add(maker.form(number, number * 10, batch, Cursor()).account)
    found = counter.figures
    assert (found.users, found.devices, found.invalid_records) == (
        account.users,
        account.devices,
        account.invalid_records,
    )
    assert found.records == len(records)
    assert found.locales.get("en", 0) == account.arm("default").assigned


def test_joined_rows_are_noted() -> None:
    """A note explains why users and lines differ, and by how many a run may count too many."""
    assert joined_rows_note(300, 300) is None
    assert joined_rows_note(300, 100) == ("300 records are 100 users: consecutive rows of one user are one user")
    assert "(every 500 records) counts twice, so up to 2 may be too many" in str(joined_rows_note(1_500, 502))
