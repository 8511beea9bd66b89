"""The database is stopped from outside: where it spills too much, and where nobody wants its result any more."""

from pathlib import Path

import duckdb
import pytest

from audiences.build import Order, build
from audiences.database import Limits, connect
from audiences.destinations import Directory
from audiences.engines.duckdb import DuckDb
from audiences.engines.port import Limits as QueryLimits
from audiences.engines.port import Query
from audiences.faults import AudienceFault
from audiences.sources import InputFile
from audiences.store import AttemptLost
from audiences.watch import LastProgress, watched

ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
SPILLS = "CREATE TABLE t AS SELECT sha256(range::VARCHAR) AS x FROM range(20000000)"


def test_spilling_is_bounded(tmp_path: Path) -> None:
    """DuckDB itself goes on for ever: the message says how much there was, and which parameter to change."""
    limits = Limits(tmp_path / "work", memory_mb=50, spill_mb=20)
    con = connect(limits)
    with con, pytest.raises(AudienceFault) as caught, watched(con, limits, lambda: None, every_s=0.02):
        con.execute(SPILLS)
    assert "of 20 MB" in caught.value.problem
    assert "AudienceStorageMb" in caught.value.mend


def test_a_statement_whose_result_is_not_wanted(tmp_path: Path) -> None:
    """A cancelled run's preparation ends within the statement, not after it."""
    limits, asked = Limits(tmp_path / "work"), []

    def check() -> None:
        asked.append(1)
        if len(asked) > 2:
            raise AttemptLost("r")

    con = connect(limits)
    with con, pytest.raises(AttemptLost), watched(con, limits, check, every_s=0.02):
        con.execute(ENDLESS)


def test_an_error_of_the_statement_stays_what_it_is(tmp_path: Path) -> None:
    """Only what the watch has stopped gets the watch's reason."""
    limits = Limits(tmp_path / "work")
    con = connect(limits)
    with con, pytest.raises(duckdb.ParserException), watched(con, limits, lambda: None):
        con.execute("SELEC")


def test_a_query_whose_result_is_not_wanted(tmp_path: Path) -> None:
    """Its process is killed, and its attempt ends with the reason."""
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        raise AttemptLost("r")

    users = "SELECT 'u' AS user_id, 'ios' AS platform, 't' AS token WHERE (" + ENDLESS + ") = 0"
    engine = DuckDb(tmp_path / "work", QueryLimits(memory_mb=200, time_s=60), check)
    with pytest.raises(AttemptLost):
        engine.run(Query(users), {}, tmp_path / "output")
    assert asked
    assert engine._process is None
    assert not (tmp_path / "work" / "spilled").exists()


def test_what_is_reported_again_is_the_last() -> None:
    """A look at the database does not change what people see that is done."""
    seen: list[tuple[str, int]] = []
    reported = LastProgress(lambda what, users: seen.append((what, users)))
    reported("writing", 7)
    reported.again()
    assert seen == [("writing", 7)] * 2


def test_a_preparation_that_is_not_wanted_leaves_nothing(tmp_path: Path) -> None:
    """Nothing is stored, and the room on the disk is free."""

    def refuse(what: str, _users: int) -> None:
        if what == "counting":
            raise AttemptLost("r")

    path = tmp_path / "a.jsonl"
    path.write_text('{"user_id":"u","platform":"android","token":"t"}\n', encoding="utf-8")
    limits = Limits(tmp_path / "work")
    with pytest.raises(AttemptLost):
        build(Order({}, (InputFile(path, "a"),)), Directory(tmp_path / "out"), limits, refuse)
    assert not (tmp_path / "out").exists()
    assert not limits.work.exists()
