"""The test part and the remainder of an experiment with a winner: who is in which run, and which are refused."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from audiences.cut_rules import PreparedUser, reason_of, rules_of
from notifier.audience import IdSet
from notifier.content.render import Renderer
from notifier.model.account import REMAINDER, TEST_PART
from notifier.model.arms import Arms, bucket_of
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign, ends_before_the_winner, read_campaign
from notifier.model.cursor import Cursor
from notifier.model.remainder import other_part_of
from notifier.sending.batch import Batch
from notifier.sending.batch_builder import BatchBuilder
from operations.dry_check.judgement import campaign_warnings

ROOT = Path(__file__).parents[2]
VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "test_part_vectors.json").read_text(encoding="utf-8")
)["vectors"]
WINNER = {"test_percent": 20, "decide_after_h": 24, "decide_by_h": 48}
PLAIN: dict[str, Any] = {
    "id": "welcome", "experiment": "day-2", "message": {"title": "t"},
    "variants": [{"name": "a", "percent": 45}, {"name": "b", "percent": 45}], "control_percent": 10,
    "goal": {"name": "opened", "window_h": 24}, "winner": WINNER,
}  # fmt: skip
USERS = [f"u{n}" for n in range(2_000)]


def campaign(**changes: Any) -> Campaign:
    """An experiment whose winner goes to the remainder; None takes a member away."""
    return read_campaign({name: value for name, value in (PLAIN | changes).items() if value is not None})


@pytest.mark.parametrize("vector", VECTORS)
def test_published_vectors(vector: dict[str, Any]) -> None:
    """Every implementation gets the same number, and the same part."""
    assert bucket_of(vector["experiment"] + ":test", vector["user_id"]) == vector["n"]
    test = other_part_of(campaign(experiment=vector["experiment"]))
    assert test is not None
    assert (vector["user_id"] in test) is not vector["is_tested_at_20_percent"]


def test_the_sql_on_the_page() -> None:
    """DuckDB, by the expression that docs/conversions.md shows, gets what the vectors say."""
    page = (ROOT / "docs" / "conversions.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith("| DuckDB | `concat")]
    for vector in VECTORS:
        number = line.split("`")[1].replace("'day-2'", f"'{vector['experiment']}'")
        sql = f"SELECT {number} FROM (SELECT ? AS user_id)"  # noqa: S608 - of our own page
        assert duckdb.execute(sql, [vector["user_id"]]).fetchall() == [(vector["n"],)]


def formed(of: Campaign) -> Batch:
    """A batch of all users."""
    nobody: frozenset[str] = frozenset()
    arms = Arms(of.salt, of.arms)
    builder = BatchBuilder("r", of.id, arms, Renderer(of), nobody, nobody, nobody, other_part_of(of))
    records = [{"user_id": user, "platform": "android", "token": f"t{user}"} for user in USERS]
    return builder.form(0, 0, records, Cursor())


def test_the_remainder_is_exactly_the_complement_of_the_test() -> None:
    """Each user is in one of the two runs and no other; who is control in the one design is control in the other."""
    test = formed(campaign())
    winner = formed(
        campaign(id="welcome-remainder", remainder_of="r", variants=[{"name": "b", "percent": 90}], control_percent=10)
    )
    tested, sent = ({push.user_id: push.arm for push in batch.waiting} for batch in (test, winner))
    assert set(tested) | set(sent) == set(USERS)
    assert not set(tested) & set(sent)
    assert test.account.excluded_by == {REMAINDER: len(sent)}
    assert winner.account.excluded_by == {TEST_PART: len(tested)}
    design = Arms("day-2", campaign().arms)
    assert [user for user, arm in sent.items() if arm == "control"] == [
        user for user in sent if design.names[design.index_of(user.encode())] == "control"
    ]


def test_the_part_says_nothing_about_the_arm() -> None:
    """A fifth of each arm is tested."""
    test, design = other_part_of(campaign()), Arms("day-2", campaign().arms)
    assert test is not None
    users = [f"u{n}" for n in range(20_000)]
    for arm in range(3):
        of_arm = [user for user in users if design.index_of(user.encode()) == arm]
        assert sum(user not in test for user in of_arm) / len(of_arm) == pytest.approx(0.2, abs=0.025)


def test_a_plain_file_and_a_prepared_audience_leave_out_the_same() -> None:
    """The worker and the final cut agree about each user."""
    batch = formed(campaign())
    rules = rules_of(IdSet(), IdSet(), other_part=other_part_of(campaign()))
    cut = {user: reason_of(PreparedUser(user, ()), rules) for user in USERS}
    assert {user: reason for user, reason in cut.items() if reason} == {
        one.user_id: one.reason for one in batch.excluded
    }
    assert rules_of(IdSet(), IdSet(), other_part=other_part_of(campaign(winner=None))) == ()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"goal": None}, "campaign.winner: without a goal"),
        ({"variants": None, "control_percent": 0}, "campaign.winner: one arm"),
        ({"winner": WINNER | {"test_percent": 0}}, "campaign.winner.test_percent: 0 leaves no test"),
        ({"winner": WINNER | {"test_percent": 100}}, "campaign.winner.test_percent: 100 leaves no test"),
        ({"winner": WINNER | {"test_percent": 0.001}}, "campaign.winner.test_percent"),
        ({"winner": WINNER | {"decide_by_h": 23}}, "campaign.winner.decide_by_h: earlier than decide_after_h"),
        ({"winner": WINNER | {"decide_after_h": 0}}, "campaign.winner.decide_after_h"),
        ({"winner": WINNER | {"decide_by_h": 337}}, "campaign.winner.decide_by_h"),
        ({"winner": WINNER | {"otherwise": "guess"}}, "campaign.winner.otherwise"),
        ({"test": True}, "campaign.winner: a test push has no winner"),
        ({"id": "c" * 119}, "campaign.id: longer than 118"),
        ({"winner": None, "remainder_of": "r"}, "campaign.remainder_of: there is no winner"),
    ],
)
def test_faults(changes: dict[str, Any], fault: str) -> None:
    """Each names the field, and what to do."""
    with pytest.raises(BrokenCampaign) as error:
        campaign(**changes)
    assert fault in str(error.value)


@pytest.mark.parametrize(
    ("not_before", "abort_after", "ends"),
    [
        ("2026-12-01T09:00:00Z", "2026-12-02T09:00:00Z", True),
        ("2026-12-01T09:00:00Z", "2026-12-02T09:00:01Z", False),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.5Z", True),
    ],
)
def test_an_end_before_the_decision(not_before: str, abort_after: str, ends: bool) -> None:
    """It is read, as the release before has sent it: whoever writes it is warned."""
    made = campaign(not_before=not_before, abort_after=abort_after)
    assert made.not_before is not None
    assert ends_before_the_winner(made, made.not_before) is ends
    warned = any("before the winner" in words for words in campaign_warnings(made, 0.0, exclude_is_read=True))
    assert warned is ends
