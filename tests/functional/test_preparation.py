"""A batch file whose audience is made first: the whole way in the sandbox, from the file to the pushes."""

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifier.model.run import Lane
from sandbox.trial import Setting, Trial


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A sandbox."""
    with Trial.start(tmp_path_factory.mktemp("sandbox"), Setting()) as running:
        yield running


def drop(trial: Trial, folder: Path, name: str, audience: object, **campaign: Any) -> str:
    """A batch file with this audience; returns its run."""
    value = {"campaign": {"id": name, "message": {"title": "Hi"}, **campaign}, "audience": audience}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return trial.drop(path, f"batches/{name}.json")


def finish(trial: Trial, run_id: str, timeout_s: float = 120.0) -> Lane:
    """The run's lane once it is over."""
    lane = None
    for lane in trial.follow(run_id, timeout_s):  # noqa: B007 - the last one counts
        pass
    assert lane is not None
    return lane


def csv_of(users: int) -> bytes:
    """Two rows for each user, far apart: a phone and a tablet."""
    rows = [f"u{n},{platform},{token}{n:060d}" for platform, token in PLATFORMS for n in range(users)]
    return ("user_id,platform,token\n" + "\n".join(rows) + "\n").encode()


PLATFORMS = (("ios", "aaaa"), ("android", "bbbb"))


def put(trial: Trial, key: str, body: bytes) -> None:
    """An object of the stack's bucket."""
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=body)


@pytest.mark.slow
def test_rows_become_people(trial: Trial, tmp_path: Path) -> None:
    """CSV of flat rows: each user once, with both devices, each device asked once; the same again is reused."""
    trial.gateways.reset()
    put(trial, "audiences/exports/part-1.csv", csv_of(300))
    run_id = drop(trial, tmp_path, "prepared", {"files": ["audiences/exports/"]})
    lane = finish(trial, run_id)
    assert (lane.status, lane.reason) == ("completed", None)
    assert (lane.account.users, lane.account.devices) == (300, 600)
    counts = trial.gateways.counts()
    assert (counts.fcm.distinct_tokens, counts.apns.distinct_tokens) == (300, 300)
    assert (counts.fcm.repeated_tokens, counts.apns.repeated_tokens) == (0, 0)
    found = trial.s3.list_objects_v2(Bucket=trial.sandbox.bucket, Prefix="audiences/prepared/")["Contents"]
    manifests = [one["Key"] for one in found if one["Key"].endswith("_manifest.json")]
    again = drop(trial, tmp_path, "prepared-again", {"files": ["audiences/exports/"]})
    assert finish(trial, again).status == "completed"
    found = trial.s3.list_objects_v2(Bucket=trial.sandbox.bucket, Prefix="audiences/prepared/")["Contents"]
    assert [one["Key"] for one in found if one["Key"].endswith("_manifest.json")] == manifests


def test_an_audience_that_cannot_be_made_leaves_the_id_free(trial: Trial, tmp_path: Path) -> None:
    """The run fails with what is wrong and what to do; nothing is sent; the mended file takes the id."""
    trial.gateways.reset()
    failed = finish(trial, drop(trial, tmp_path, "mended", {"files": ["audiences/nothing-here/*.csv"]}))
    assert failed.status == "failed"
    assert "no object has such a key" in (failed.reason or "")
    assert trial.gateways.counts().apns.requests == 0
    put(trial, "audiences/few/a.csv", csv_of(3))
    path = tmp_path / "mended.json"
    value = json.loads(path.read_text(encoding="utf-8")) | {"audience": {"files": ["audiences/few/a.csv"]}}
    path.write_text(json.dumps(value), encoding="utf-8")
    assert finish(trial, trial.drop(path, "batches/mended.json")).status == "completed"


def test_cancelled_while_it_is_prepared(trial: Trial, tmp_path: Path) -> None:
    """It ends at once, and nothing is sent."""
    trial.gateways.reset()
    put(trial, "audiences/many/a.csv", csv_of(150_000))
    run_id = drop(trial, tmp_path, "cancelled", {"files": ["audiences/many/a.csv"]})
    while (lane := trial.ledger.read_lane(run_id)) is None or lane.status != "preparing":
        time.sleep(0.05)
    assert (lane.reason or "").startswith("preparing: ")
    order = {"action": "cancel", "run_id": run_id, "by": "the test"}
    trial.sandbox.lambda_.invoke(trial.sandbox.function("ControlFunction").name, json.dumps(order).encode())
    assert finish(trial, run_id).status == "cancelled"
    assert trial.gateways.counts().apns.requests == 0
    assert trial.ledger.owner_of("cancelled") is None


@pytest.mark.slow
def test_a_stored_query_and_a_combination(trial: Trial, tmp_path: Path) -> None:
    """Who the query finds, without who is in a file; a run that names what is not there says so."""
    trial.gateways.reset()
    for path in sorted(Path("events/standing").rglob("*.*")) + sorted(Path("events/queries").glob("*")):
        put(trial, path.relative_to("events").as_posix(), path.read_bytes())
    query = {"query": {"name": "follows-brands", "parameters": {"brands": ["Accessorize", "Whistles"]}}}
    lane = finish(trial, drop(trial, tmp_path, "followers", query))
    assert (lane.status, lane.reason) == ("completed", None)
    everybody = sorted(row["user_id"] for row in trial.rows(lane.run_id))
    assert lane.account.users > 2
    gone = everybody[0]
    left_out = json.dumps({"user_id": gone, "platform": "android", "token": "t"}).encode()
    put(trial, "audiences/gone.jsonl", left_out)
    without = {"all": [query], "without": [{"files": ["audiences/gone.jsonl"]}]}
    lane = finish(trial, drop(trial, tmp_path, "followers-but-one", without))
    assert sorted(row["user_id"] for row in trial.rows(lane.run_id)) == [one for one in everybody if one != gone]
    lane = finish(
        trial, drop(trial, tmp_path, "no-brand", {"query": {"name": "follows-brands", "parameters": {"x": 1}}})
    )
    assert lane.status == "failed"
    assert "parameters.x: unknown" in (lane.reason or "")


@pytest.mark.slow
def test_a_query_of_athena(trial: Trial, tmp_path: Path) -> None:
    """The sample: started, left, reported by EventBridge, fetched and sent; what it refuses is the run's reason."""
    trial.gateways.reset()
    trial.stock()
    path = Path("events/batches/query-athena.json")
    lane = finish(trial, trial.drop(path))
    assert (lane.status, lane.reason) == ("completed", None)
    stored = json.loads(path.read_text(encoding="utf-8"))["audience"]["query"]
    same = finish(trial, drop(trial, tmp_path, "as-duckdb", {"query": {**stored, "name": "follows-brands"}}))
    assert len({row["user_id"] for row in trial.rows(lane.run_id)}) == lane.account.users > 2
    assert devices_of(trial, lane.run_id) == devices_of(trial, same.run_id)
    function = trial.sandbox.function("AudienceFunction").name
    reported = [json.loads(line) for line in trial.sandbox.lambda_.log_lines(function, 200) if '"ended_query"' in line]
    assert {one["run_id"] for one in reported} == {lane.run_id}
    sql = {"sql": "SELECT user_id, platform, tokn FROM devices", "engine": "athena"}
    lane = finish(trial, drop(trial, tmp_path, "wrong-athena", sql))
    assert lane.status == "failed"
    assert "audience.sql, line 1, column 27: Athena: " in (lane.reason or "")


@pytest.mark.slow
def test_a_query_of_bigquery(trial: Trial, tmp_path: Path) -> None:
    """The sample: a job of ours, looked at by the sweeper's minute, its pages fetched and sent."""
    trial.gateways.reset()
    trial.stock()
    path = Path("events/batches/query-bigquery.json")
    run_id = trial.drop(path)
    stored = json.loads(path.read_text(encoding="utf-8"))["audience"]["query"]
    same = finish(trial, drop(trial, tmp_path, "duckdb", {"query": {**stored, "name": "follows-brands"}}))
    sql = {"sql": "SELECT user_id, platform, tokn FROM crm.devices", "engine": "bigquery"}
    wrong = finish(trial, drop(trial, tmp_path, "wrong-bigquery", sql))
    lane = finish(trial, run_id)
    assert (lane.status, lane.reason) == ("completed", None)
    assert len({row["user_id"] for row in trial.rows(lane.run_id)}) == lane.account.users > 2
    assert devices_of(trial, lane.run_id) == devices_of(trial, same.run_id)
    assert wrong.status == "failed"
    assert "audience.sql, line 1, column 27: BigQuery: " in (wrong.reason or "")


def devices_of(trial: Trial, run_id: str) -> list[tuple[str, str]]:
    """Whom a run asked, on which platform."""
    return sorted((row["user_id"], row["platform"]) for row in trial.rows(run_id))


@pytest.mark.slow
def test_sql_in_the_batch_file(trial: Trial, tmp_path: Path) -> None:
    """Runs over the tables that it names; what is wrong with it is the run's reason, with the place."""
    put(trial, "audiences/sql/a.csv", csv_of(20))
    tables = {"people": ["audiences/sql/*.csv"]}
    sql = "SELECT user_id, platform, token FROM people WHERE platform = $platform"
    audience = {"sql": sql, "tables": tables, "parameters": {"platform": "android"}}
    lane = finish(trial, drop(trial, tmp_path, "by-sql", audience))
    assert (lane.status, lane.account.users, lane.account.devices) == ("completed", 20, 20)
    lane = finish(trial, drop(trial, tmp_path, "wrong-sql", {"sql": "SELECT nobody FROM people", "tables": tables}))
    assert lane.status == "failed"
    assert "nobody" in (lane.reason or "")


def excluded_in(trial: Trial, run_id: str) -> list[dict[str, Any]]:
    """What is listed under `excluded/` of a run."""
    prefix = f"excluded/run_id={run_id}/"
    keys = [one["Key"] for one in trial.s3.list_objects_v2(Bucket=trial.sandbox.bucket, Prefix=prefix)["Contents"]]
    bodies = [trial.s3.get_object(Bucket=trial.sandbox.bucket, Key=key)["Body"].read() for key in keys]
    return [json.loads(line) for body in bodies if body for line in gzip.decompress(body).splitlines()]


@pytest.mark.slow  # the cut's own tests: tests/contract/test_final_cut
def test_the_final_cut(trial: Trial, tmp_path: Path) -> None:
    """Who is on the exclude list or suppressed when the run begins is in no part that is sent, and is accounted."""
    trial.gateways.reset()
    put(trial, "audiences/cut/a.csv", csv_of(1_200))
    put(trial, "audiences/cut-exclude.json", json.dumps([f"u{n}" for n in range(0, 1_200, 3)]).encode())
    put(trial, "suppression/a.json", json.dumps([f"u{n}" for n in range(0, 1_200, 2)]).encode())
    try:
        exclude = {"parts": [{"key": "audiences/cut-exclude.json"}]}
        run_id = drop(trial, tmp_path, "cut", {"files": ["audiences/cut/"]}, exclude=exclude)
        lane = finish(trial, run_id)
    finally:
        trial.s3.delete_object(Bucket=trial.sandbox.bucket, Key="suppression/a.json")
    assert (lane.status, lane.reason) == ("completed", None)
    # Every third is on the list, of the others every second is suppressed: each user has one reason.
    assert lane.account.excluded_by == {"exclude": 400, "suppressed": 400}
    assert (lane.account.users, lane.account.excluded, lane.account.devices) == (1_200, 800, 800)
    staying = {f"u{n}" for n in range(1_200) if n % 3 and n % 2}
    assert {row["user_id"] for row in trial.rows(run_id)} == staying
    assert trial.gateways.counts().fcm.distinct_tokens == len(staying)
    listed = excluded_in(trial, run_id)
    assert len(listed) == 800
    assert {one["user_id"]: one["reason"] for one in listed} == {
        f"u{n}": "suppressed" if n % 3 else "exclude" for n in range(1_200) if n % 3 == 0 or n % 2 == 0
    }


def test_nobody_is_left(trial: Trial, tmp_path: Path) -> None:
    """All are suppressed: the run completes, and its account says where they are."""
    trial.gateways.reset()
    put(trial, "audiences/none-left/a.csv", csv_of(5))
    put(trial, "suppression/a.json", json.dumps([f"u{n}" for n in range(5)]).encode())
    try:
        lane = finish(trial, drop(trial, tmp_path, "none-left", {"files": ["audiences/none-left/"]}))
    finally:
        trial.s3.delete_object(Bucket=trial.sandbox.bucket, Key="suppression/a.json")
    assert (lane.status, lane.reason) == ("completed", None)
    assert (lane.account.users, lane.account.excluded_by) == (5, {"suppressed": 5})
    assert trial.gateways.counts().fcm.requests == 0
