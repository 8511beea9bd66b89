"""The rows load into DuckDB as they are: the report and the arms, computed again in SQL, are what the notifier said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from notifier.model.arms import bucket_of
from reporting import sql
from sandbox.audience import Recipe, campaign, make, users
from sandbox.trial import Setting, Trial

RECIPE = Recipe(users=4_000, broken=6, dead_share=0.05, placeholders=True, campaign_id="rows")


class Sent(NamedTuple):
    """A run that is over, its rows on this disk as they lie in S3."""

    run_id: str
    summary: Any
    folder: Path


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """A real file, sent through everything."""
    folder = tmp_path_factory.mktemp("rows")
    with Trial.start(folder / "sandbox", Setting()) as trial:
        run_id = trial.drop(make(RECIPE, folder / "rows.json"))
        for _ in trial.follow(run_id, 120, 0.2):
            pass
        pages = trial.s3.get_paginator("list_objects_v2").paginate(Bucket=trial.sandbox.bucket, Prefix="rows/")
        for thing in (thing for page in pages for thing in page["Contents"]):
            path = folder / thing["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            trial.s3.download_file(trial.sandbox.bucket, thing["Key"], str(path))
        # As a claim leaves it that met batches without rows: no engine may take it for rows.
        (folder / "rows" / f"run_id={run_id}" / "_probe").touch()
        yield Sent(run_id, trial.summary(run_id), folder)


@pytest.fixture
def database(sent: Sent) -> Iterator[Any]:
    """DuckDB with the rows as the report's SQL makes them a table."""
    with duckdb.connect() as database:
        view = sql.rows_table(sql.Dialect.DUCKDB, "bucket").replace("s3://bucket/rows", str(sent.folder / "rows"))
        database.execute(view)
        yield database


def test_one_row_for_each_device(sent: Sent, database: Any) -> None:
    """Run, record and device are a key, and there are as many rows as devices."""
    [(rows, keys)] = database.execute(
        "SELECT count(*), count(DISTINCT (run_id, record, device)) FROM push_rows"
    ).fetchall()
    assert rows == keys == sent.summary.devices


def test_types_are_guessed_rightly_too(sent: Sent, database: Any) -> None:
    """Without stated types DuckDB guesses the same: times are timestamps, numbers numbers."""
    pattern = str(sent.folder / "rows" / "*" / "*.json.gz")
    described = database.execute(f"DESCRIBE SELECT * FROM read_json('{pattern}')").fetchall()  # noqa: S608
    guessed = {name: kind for name, kind, *_ in described}
    assert guessed["at"] == "TIMESTAMP"
    assert (guessed["record"], guessed["device"], guessed["status"], guessed["attempts"]) == ("BIGINT",) * 4
    assert (guessed["user_id"], guessed["arm"], guessed["reason"]) == ("VARCHAR",) * 3


def test_the_report_again(sent: Sent, database: Any) -> None:
    """Devices by arm, outcome and reason, from the SQL that `notifier report --sql` prints."""
    again: dict[str, dict[str, Any]] = {
        name: {"accepted": 0, "rejected": {}, "failed": {}, "held": 0} for name in sent.summary.arms
    }
    for arm, outcome, reason, devices, _ in database.execute(sql.outcomes_query(sent.run_id, "push_rows")).fetchall():
        if outcome in ("rejected", "failed"):
            again[arm][outcome][reason] = devices
        else:
            again[arm][outcome] += devices
    reported = {
        name: {key: n for key, n in arm.items() if key != "assigned"} for name, arm in sent.summary.arms.items()
    }
    assert again == reported


def test_the_arms_again(sent: Sent, database: Any) -> None:
    """The arm of every user, from the hash in SQL: it is the arm of their rows, and assigned users are as many."""
    bounds = {"question": (0, 4_500), "statement": (4_500, 9_000), "control": (9_000, 10_000)}
    hashed = "CAST('0x' || substr(sha256('rows' || ':' || user_id), 1, 15) AS BIGINT) % 10000"
    found = database.execute(
        f"SELECT arm, count(DISTINCT user_id), min({hashed}), max({hashed}) FROM push_rows GROUP BY arm"  # noqa: S608
    ).fetchall()
    assert {arm: users for arm, users, _, _ in found} == {
        name: arm["assigned"] for name, arm in sent.summary.arms.items()
    }
    for arm, _, least, most in found:
        assert bounds[arm][0] <= least <= most < bounds[arm][1]
    assert campaign(RECIPE)["id"] == "rows"
    [(user_id, n)] = database.execute(f"SELECT user_id, {hashed} FROM push_rows LIMIT 1").fetchall()  # noqa: S608
    assert n == bucket_of("rows", user_id)


def test_conversions_by_arm(sent: Sent, database: Any) -> None:
    """The printed query counts assigned users and those who converted within seven days of their push, once each."""
    database.execute('CREATE TABLE app_conversions (user_id VARCHAR, "at" TIMESTAMP)')
    database.execute(
        'INSERT INTO app_conversions SELECT DISTINCT user_id, max("at") OVER () + INTERVAL 1 HOUR FROM push_rows'
        " WHERE arm = 'question' UNION ALL"
        " SELECT user_id, \"at\" + INTERVAL 1 DAY FROM push_rows WHERE arm = 'question' UNION ALL"
        " SELECT user_id, \"at\" - INTERVAL 1 DAY FROM push_rows WHERE arm = 'statement' UNION ALL"
        " SELECT user_id, \"at\" + INTERVAL 8 DAY FROM push_rows WHERE arm = 'control'"
    )
    query = sql.conversions_query(sql.Dialect.DUCKDB, sent.run_id, "push_rows", "app_conversions")
    arms = {arm: (assigned, converted, rate) for arm, assigned, converted, rate in database.execute(query).fetchall()}
    assigned = {name: arm["assigned"] for name, arm in sent.summary.arms.items()}
    assert arms == {
        "question": (assigned["question"], assigned["question"], 1.0),
        "statement": (assigned["statement"], 0, 0.0),
        "control": (assigned["control"], 0, 0.0),
    }


def test_the_whole_script_runs(sent: Sent) -> None:
    """What `notifier report --sql duckdb` prints runs as it is, once the bucket's place is put in."""
    with duckdb.connect() as database:
        database.execute('CREATE TABLE conversions (user_id VARCHAR, "at" TIMESTAMP)')
        script = sql.script(sql.Dialect.DUCKDB, sent.run_id, "bucket")
        database.execute(script.replace("s3://bucket/rows", str(sent.folder / "rows")))


def test_held_users_have_the_same_records(sent: Sent, database: Any) -> None:
    """Joined with the file's own users by record, no user is missing but the broken ones: no row belongs to another."""
    made = {n: user.get("user_id") for n, user in enumerate(users(RECIPE))}
    rows = database.execute("SELECT record, user_id FROM push_rows").fetchall()
    assert all(made[record] == user_id for record, user_id in rows)
    assert len(made) - len(rows) == sent.summary.invalid_records
