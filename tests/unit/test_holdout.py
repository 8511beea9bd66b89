"""The holdout: users who get no campaign, by a public hash."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from audiences.cut_rules import PreparedUser, reason_of, rules_of
from notifier.audience import IdSet
from notifier.composition.settings import BadSettings, read_settings
from notifier.content.render import Renderer
from notifier.model.account import EXCLUDE, HOLDOUT, SUPPRESSED
from notifier.model.arms import Arms, bucket_of
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.holdout import Holdout
from notifier.sending.batch import Batch
from notifier.sending.batch_builder import BatchBuilder

FILE = Path(__file__).parent / "holdout_vectors.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
ROOT = Path(__file__).parents[2]
FIVE_PERCENT = Holdout(500, "1")


@pytest.mark.parametrize("vector", VECTORS)
def test_published_vectors(vector: dict[str, Any]) -> None:
    """Every implementation gets the same number, and the same users."""
    assert bucket_of(f"holdout:{vector['version']}", vector["user_id"]) == vector["n"]
    held_out = vector["user_id"] in Holdout(500, vector["version"])
    assert held_out is vector["held_out_at_5_percent"]


def test_the_sql_on_the_page() -> None:
    """DuckDB, by the expression that docs/operations.md shows, gets what the vectors say."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith("| DuckDB | `concat")]
    expression = line.split("`")[1]
    for vector in VECTORS:
        number = expression.replace("holdout:1:", f"holdout:{vector['version']}:")
        sql = f"SELECT {number} FROM (SELECT ? AS user_id)"  # noqa: S608 - of our own page
        assert duckdb.execute(sql, [vector["user_id"]]).fetchall() == [(vector["n"],)]


def test_the_share_and_the_independence_of_the_arms() -> None:
    """5 % of the users, another 5 % in another version, and arms of the same sizes among those who are left."""
    users = [f"u{n}" for n in range(20_000)]
    held = {user for user in users if user in FIVE_PERCENT}
    other = {user for user in users if user in Holdout(500, "2")}
    assert 900 < len(held) < 1_100
    assert 20 < len(held & other) < 85
    arms = Arms("day-2", [("a", 5_000), ("b", 5_000)])
    first = sum(arms.index_of(user.encode()) == 0 for user in users if user not in held)
    assert first / (len(users) - len(held)) == pytest.approx(0.5, abs=0.015)


def formed(holdout: Holdout, excluded: set[str], suppressed: set[str]) -> Batch:
    """A batch of 500 users, one device each."""
    campaign = read_campaign({"id": "c", "message": {"title": "t"}})
    builder = BatchBuilder(
        "r", "c", Arms(campaign.salt, campaign.arms), Renderer(campaign), excluded, suppressed, holdout
    )
    users = [{"user_id": f"u{n}", "platform": "android", "token": f"t{n}"} for n in range(500)]
    return builder.form(0, 0, users, Cursor())


def test_a_plain_file_and_a_prepared_audience_leave_out_the_same() -> None:
    """Counted and listed as `holdout`; the exclude list and the suppression come first; nobody is in two."""
    held = [f"u{n}" for n in range(500) if f"u{n}" in FIVE_PERCENT]
    excluded, suppressed = {held[0]}, {held[1]}
    batch = formed(FIVE_PERCENT, excluded, suppressed)
    assert batch.account.excluded_by == {EXCLUDE: 1, SUPPRESSED: 1, HOLDOUT: len(held) - 2}
    assert batch.account.arms["default"].assigned == 500 - len(held) == batch.account.devices
    assert {one.user_id for one in batch.excluded if one.reason == HOLDOUT} == set(held[2:])
    rules = rules_of(IdSet(excluded), IdSet(suppressed), FIVE_PERCENT)
    cut = {f"u{n}": reason_of(PreparedUser(f"u{n}", ()), rules) for n in range(500)}
    assert {user: reason for user, reason in cut.items() if reason} == {
        one.user_id: one.reason for one in batch.excluded
    }


def test_without_a_share_there_is_no_rule() -> None:
    """Nobody is hashed in vain."""
    assert rules_of(IdSet(), IdSet(), Holdout(0)) == ()


def test_settings() -> None:
    """Read as a decimal, never through a float; what is no share or no version is named."""
    needed = {"BUCKET": "b", "TABLE": "t"}
    found = read_settings({**needed, "HOLDOUT_PERCENT": "0.29", "HOLDOUT_VERSION": "2026"})
    assert (found.holdout_percent, found.holdout_version) == (29, "2026")
    assert read_settings(needed).holdout_percent == 0
    for text in ("-1", "50.01", "5.001", "NaN", "5%", "Infinity"):
        with pytest.raises(BadSettings, match="HOLDOUT_PERCENT"):
            read_settings({**needed, "HOLDOUT_PERCENT": text})
    with pytest.raises(BadSettings, match="HOLDOUT_VERSION"):
        read_settings({**needed, "HOLDOUT_VERSION": "a:b"})
