"""One batch file through everything: S3, Lambda, DynamoDB and the gateways' stand-ins, counted by the stand-ins."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from notifier.model.run import Lane
from sandbox.audience import BROKEN, Recipe, campaign, make, users
from sandbox.trial import Setting, Trial

PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A sandbox with the template's own times."""
    with Trial.start(tmp_path_factory.mktemp("sandbox"), Setting(schedule_every_s=60.0)) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A sandbox whose function has so little time that every run needs several hops."""
    setting = Setting(function_timeout_s=6.0, recurse_below_ms=3_000, schedule_every_s=60.0)
    with Trial.start(tmp_path_factory.mktemp("hasty"), setting) as running:
        yield running


def finish(trial: Trial, run_id: str) -> Lane:
    """Wait for the run's end. Returns the lane as it is then."""
    lane = None
    for lane in trial.follow(run_id, PATIENCE_S, every_s=0.2):  # noqa: B007 - the last one counts
        pass
    assert lane is not None
    return lane


def drop_json(trial: Trial, folder: Path, name: str, value: Any) -> str:
    path = folder / f"{name}.json"
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return trial.drop(path)


def tokens_of(rows: list[dict[str, Any]]) -> Counter[tuple[int, int]]:
    return Counter((row["record"], row["device"]) for row in rows)


def arm_by_hand(salt: str, user_id: str, arms: list[tuple[str, int]]) -> str:
    """The published hash, in a second implementation."""
    n = int(hashlib.sha256(f"{salt}:{user_id}".encode()).hexdigest()[:15], 16) % 10000
    total = 0
    for name, hundredths in arms:
        total += hundredths
        if n < total:
            return name
    raise AssertionError("the arms do not reach 10,000")


def test_a_long_run_hops_and_asks_for_every_device_once(hasty: Trial, tmp_path: Path) -> None:
    """Three hops and more; each token once by the stand-ins' own count; one row a device; arms as the hash says."""
    recipe = Recipe(users=3_600, seed=7, broken=6)
    hasty.gateways.reset()
    value = {"campaign": campaign(recipe) | {"per_second": 480}, "users": list(users(recipe))}
    run_id = drop_json(hasty, tmp_path, "long", value)
    lane = finish(hasty, run_id)
    assert (lane.status, lane.reason) == ("completed", None)
    assert lane.hop >= 3
    assert lane.account.users == 3_600
    assert lane.account.invalid_records == 6
    rows = list(hasty.rows(run_id))
    assert len(rows) == lane.account.devices == 3_594
    assert set(tokens_of(rows).values()) == {1}
    counts = hasty.gateways.counts()
    asked = sum(1 for row in rows if row["outcome"] != "held")
    assert counts.fcm.repeated_tokens == counts.apns.repeated_tokens == 0
    assert counts.fcm.distinct_tokens + counts.apns.distinct_tokens == asked
    assert lane.account.possibly_repeated == 0
    arms = [("question", 4500), ("statement", 4500), ("control", 1000)]
    salt = str(campaign(recipe)["id"])
    assert all(row["arm"] == arm_by_hand(salt, row["user_id"], arms) for row in rows)
    assert all((row["outcome"] == "held") == (row["arm"] == "control") for row in rows)


def test_each_kind_of_broken_record_is_reported_and_skipped(trial: Trial, tmp_path: Path) -> None:
    """The good ones are sent; each broken one is in `invalid/` with its index and reason."""
    recipe = Recipe(users=60, broken=len(BROKEN), campaign_id="broken-records")
    run_id = trial.drop(make(recipe, tmp_path / "broken.json"))
    lane = finish(trial, run_id)
    assert lane.status == "completed"
    assert lane.account.invalid_records == len(BROKEN)
    assert lane.account.devices == 60 - len(BROKEN)
    key = f"invalid/run_id={run_id}/batch=00000000.json.gz"
    body = trial.s3.get_object(Bucket=trial.sandbox.bucket, Key=key)["Body"].read()
    found = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    assert [(item["record"], item["reason"]) for item in found] == [
        (5, "token: missing"),
        (15, "user_id: missing"),
        (25, "platform: not one of ios, android, web"),
        (35, "devices: text that is not a JSON list"),
        (45, "devices: empty"),
        (55, "attributes: not an object"),
    ]


def small(name: str, **changes: Any) -> dict[str, Any]:
    recipe = Recipe(users=20, campaign_id=name)
    return {"campaign": campaign(recipe) | changes, "users": list(users(recipe))}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("not-json", b"to whom it may concern", "not a JSON object with `campaign` and `users`; byte 0"),
        ("cut-off", json.dumps(small("cut")).encode()[:-30], "cut off"),
        ("sum-101", small("sum", control_percent=11), "sum to 101"),
        ("no-campaign", {"users": []}, "campaign"),
        ("both", small("both") | {"audience": {"parts": [{"key": "x"}]}}, "audience"),
        ("wrong-file", small("wrong") | {"users": [{"id": n} for n in range(200)]}, "wrong file"),
        (
            "etag",
            {"campaign": {"id": "e", "message": {"title": "x"}}, "audience": {"parts": [{"key": "gone"}]}},
            "gone",
        ),
    ],
)
def test_a_broken_file_fails_with_its_reason(trial: Trial, tmp_path: Path, name: str, content: Any, words: str) -> None:
    """A clear error in the run's reason, and no request is made."""
    trial.gateways.reset()
    lane = finish(trial, drop_json(trial, tmp_path, name, content))
    assert lane.status == "failed"
    assert words in (lane.reason or "")
    counts = trial.gateways.counts()
    assert counts.fcm.requests + counts.apns.requests == 0


def test_a_file_cut_off_late_keeps_what_was_sent(trial: Trial, tmp_path: Path) -> None:
    """Batches before the cut are accounted to the last device; the run fails with the position."""
    trial.gateways.reset()
    whole = make(Recipe(users=3_000, campaign_id="late-cut"), tmp_path / "whole.json").read_bytes()
    run_id = drop_json(trial, tmp_path, "late", whole[: len(whole) * 3 // 4])
    lane = finish(trial, run_id)
    assert lane.status == "failed"
    assert "byte" in (lane.reason or "")
    rows = list(trial.rows(run_id))
    account = lane.account
    assert account.users == account.devices >= 2_000
    assert len(rows) == account.settled == account.devices - account.deferred
    counts = trial.gateways.counts()
    assert counts.fcm.requests + counts.apns.requests == sum(row["outcome"] != "held" for row in rows)


SAMPLES = Path(__file__).parents[2] / "events" / "audiences"


@pytest.mark.parametrize(
    ("name", "status", "figures", "words"),
    [
        ("firehose.json", "completed", (12, 12, 0), ""),
        ("twice.json.gz", "completed", (3, 3, 0), ""),
        ("flat-rows.jsonl", "completed", (6, 12, 1), ""),
        ("keyed-by-id.json", "failed", (0, 0, 0), "`users` is an object keyed by id, not a list: jq"),
        ("table.csv", "completed", (3, 3, 0), ""),
    ],
)
def test_audiences_of_other_tools(
    trial: Trial, tmp_path: Path, name: str, status: str, figures: tuple[int, int, int], words: str
) -> None:
    """Users, devices and what is broken; each device asked for once. What cannot be read fails, and says why."""
    trial.gateways.reset()
    key = f"audiences/{name}"
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=(SAMPLES / name).read_bytes())
    value = {"campaign": {"id": name, "message": {"title": "x"}}, "audience": {"parts": [{"key": key}]}}
    run_id = drop_json(trial, tmp_path, name, value)
    lane = finish(trial, run_id)
    assert (lane.status, words in (lane.reason or "")) == (status, True)
    account = lane.account
    assert (account.users, account.devices, account.invalid_records) == figures
    assert sum(arm.assigned for arm in account.arms.values()) == figures[0]
    counts = trial.gateways.counts()
    assert (
        counts.fcm.requests + counts.apns.requests
        == counts.fcm.distinct_tokens + counts.apns.distinct_tokens
        == figures[1]
    )
    assert set(tokens_of(list(trial.rows(run_id))).values()) <= {1}


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ([], "no_users: the audience is empty"),
        ([{"user_id": "a"}], "no_valid_device: of 1 record none can be sent to: token: missing (record 0)"),
    ],
)
def test_nobody_to_send_to_is_no_completed_run(trial: Trial, tmp_path: Path, users: list[Any], words: str) -> None:
    """However small the file is."""
    value = {"campaign": {"id": f"nobody-{len(users)}", "message": {"title": "x"}}, "users": users}
    lane = finish(trial, drop_json(trial, tmp_path, f"nobody-{len(users)}", value))
    assert (lane.status, (lane.reason or "").startswith(words)) == ("failed", True)


def test_an_audience_of_another_etag_is_refused(trial: Trial, tmp_path: Path) -> None:
    """Other bytes than the approved ones are never sent."""
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="audiences/a.json", Body=b"[]")
    audience = {"parts": [{"key": "audiences/a.json", "etag": "0" * 32}]}
    value = {"campaign": {"id": "other-etag", "message": {"title": "x"}}, "audience": audience}
    lane = finish(trial, drop_json(trial, tmp_path, "other-etag", value))
    assert lane.status == "failed"
    assert "ETag" in (lane.reason or "")


def test_parts_gzip_and_keys_in_any_order(trial: Trial, tmp_path: Path) -> None:
    """Users first, campaign last, gzipped; and an audience in two parts of different forms: all of it arrives."""
    recipe = Recipe(users=700, campaign_id="any-order")
    body = json.dumps({"users": list(users(recipe)), "campaign": campaign(recipe)}).encode()
    path = tmp_path / "any-order.json.gz"
    path.write_bytes(gzip.compress(body))
    assert finish(trial, trial.drop(path)).account.devices == 700
    records = list(users(recipe))
    lines = b"".join(json.dumps(user).encode() + b"\n" for user in records[:300])
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="audiences/one.jsonl", Body=lines)
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="audiences/two.json", Body=json.dumps(records[300:]).encode())
    audience = {"parts": [{"key": "audiences/one.jsonl"}, {"key": "audiences/two.json"}]}
    value = {"audience": audience, "campaign": campaign(Recipe(campaign_id="parts"))}
    lane = finish(trial, drop_json(trial, tmp_path, "parts", value))
    assert (lane.status, lane.account.devices) == ("completed", 700)


def test_the_same_version_again_is_the_same_run(trial: Trial, tmp_path: Path) -> None:
    """An operator's start of a file whose event has already begun a run sends nothing; a second version is refused."""
    path = make(Recipe(users=50, campaign_id="once"), tmp_path / "once.json")
    run_id = trial.drop(path)
    finish(trial, run_id)
    before = trial.gateways.counts()
    name = trial.sandbox.function("WorkerFunction").name
    event = {"bucket": trial.sandbox.bucket, "key": "batches/once.json"}
    trial.sandbox.lambda_.invoke(name, json.dumps(event).encode())
    after = trial.gateways.counts()
    assert (before.fcm.requests, before.apns.requests) == (after.fcm.requests, after.apns.requests)
    again = finish(trial, trial.drop(path))
    assert again.status == "failed"
    assert (again.reason or "").startswith("campaign_exists")


@pytest.mark.slow
def test_without_its_line_in_the_template_a_long_run_dies(tmp_path: Path) -> None:
    """Lambda stops a chain of invocations (16; here 5, to be quick); `RecursiveLoop: Allow` lets a long run live."""
    template = tmp_path / "template.yaml"
    source = (Path(__file__).parents[2] / "template.yaml").read_text()
    assert "RecursiveLoop: Allow" in source
    template.write_text(source.replace("RecursiveLoop: Allow", "RecursiveLoop: Terminate"))
    setting = Setting(function_timeout_s=5.0, recurse_below_ms=3_400, ramp_s=0, schedule_every_s=600.0)
    value = small("chain", per_second=5)
    with Trial.start(tmp_path / "state", setting, template=template) as trial:
        trial.sandbox.lambda_.loop_limit = 5
        path = tmp_path / "chain.json"
        path.write_text(json.dumps(value | {"users": list(users(Recipe(users=200)))}))
        run_id = trial.drop(path)
        name = trial.sandbox.function("WorkerFunction").name
        assert trial.sandbox.lambda_.wait_idle(PATIENCE_S)
        lane = trial.ledger.read_lane(run_id)
        assert lane is not None
        assert lane.status != "completed"
        assert trial.sandbox.lambda_.figures(name).loops_stopped == 1


@pytest.mark.slow
def test_eventbridge_may_be_the_trigger_instead(tmp_path: Path) -> None:
    """With `Trigger=eventbridge` a dropped file reaches the worker once, by the rule; other names do not."""
    setting = Setting(parameters={"Trigger": "eventbridge"}, schedule_every_s=600.0)
    with Trial.start(tmp_path / "state", setting) as trial:
        trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="batches/readme.txt", Body=b"not for sending")
        run_id = trial.drop(make(Recipe(users=10), tmp_path / "bridged.json"))
        assert finish(trial, run_id).status == "completed"
        counts = trial.gateways.counts()
        assert counts.fcm.requests + counts.apns.requests == sum(r["outcome"] != "held" for r in trial.rows(run_id))


def test_every_file_under_batches_is_taken_or_named(trial: Trial, tmp_path: Path) -> None:
    """A name in capitals starts a run; an audience by mistake is named in the log, with what to do, and counted."""
    recipe = Recipe(users=20, campaign_id="capitals")
    path = make(recipe, tmp_path / "capitals.json")
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="batches/mistake.jsonl", Body=b'{"user_id": "u1"}')
    assert finish(trial, trial.drop(path, "batches/Capitals.JSON")).status == "completed"
    trial.sandbox.lambda_.wait_idle(10)
    lines = [json.loads(line) for line in trial.log_lines(500) if "mistake.jsonl" in line or "IgnoredFiles" in line]
    [named] = [line for line in lines if "mistake.jsonl" in line.get("file", "")]
    assert (named["message"], named["level"]) == ("ignored", "WARNING")
    assert "audience.parts" in named["reason"]
    assert [line["IgnoredFiles"] for line in lines if "_aws" in line] == [1]


def test_excluded_users_are_counted_and_left_alone(trial: Trial, tmp_path: Path) -> None:
    """Users on an exclude list belong to no arm and are not asked for."""
    ids = [f"user-1-{n:09d}" for n in range(0, 40, 2)]
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="audiences/no-thanks.json", Body=json.dumps(ids).encode())
    recipe = Recipe(users=40, campaign_id="excluding")
    exclude = {"parts": [{"key": "audiences/no-thanks.json"}]}
    value = {"campaign": campaign(recipe) | {"exclude": exclude}, "users": list(users(recipe))}
    run_id = drop_json(trial, tmp_path, "excluding", value)
    lane = finish(trial, run_id)
    assert (lane.account.excluded, lane.account.devices) == (20, 20)
    assert sum(arm.assigned for arm in lane.account.arms.values()) == 20
    assert not {row["user_id"] for row in trial.rows(run_id)} & set(ids)


def test_suppressed_users_get_nothing(trial: Trial, tmp_path: Path) -> None:
    """Every run leaves them out, unless the law obliges to send it. The summary says how many, and why."""
    ids = [f"user-1-{n:09d}" for n in range(0, 40, 2)]
    bucket = trial.sandbox.bucket
    trial.s3.put_object(Bucket=bucket, Key="suppression/no-pushes.json", Body=json.dumps(ids).encode())
    trial.s3.put_object(Bucket=bucket, Key="audiences/two.json", Body=json.dumps(ids[:2]).encode())
    try:
        recipe = Recipe(users=40, campaign_id="suppressing")
        members = {"exclude": {"parts": [{"key": "audiences/two.json"}]}}
        value = {"campaign": campaign(recipe) | members, "users": list(users(recipe))}
        run_id = drop_json(trial, tmp_path, "suppressing", value)
        assert finish(trial, run_id).account.excluded_by == {"exclude": 2, "suppressed": 18}
        assert trial.summary(run_id).excluded_by == {"exclude": 2, "suppressed": 18}
        assert not {row["user_id"] for row in trial.rows(run_id)} & set(ids)
        recipe = Recipe(users=40, campaign_id="recall")
        legal = {"campaign": campaign(recipe) | {"legal": True}, "users": list(users(recipe))}
        assert finish(trial, drop_json(trial, tmp_path, "legal", legal)).account.excluded == 0
    finally:
        trial.s3.delete_object(Bucket=bucket, Key="suppression/no-pushes.json")


def test_a_rehearsal_reaches_no_phone(trial: Trial, tmp_path: Path) -> None:
    """With `dry_run` FCM validates only, APNs is not asked, rows say so, and the id stays free for the real run."""
    trial.gateways.reset()
    recipe = Recipe(users=60, campaign_id="rehearsed")
    value = {"campaign": campaign(recipe) | {"dry_run": True}, "users": list(users(recipe))}
    run_id = drop_json(trial, tmp_path, "rehearsed", value)
    assert finish(trial, run_id).status == "completed"
    counts = trial.gateways.counts()
    assert counts.apns.requests == 0
    assert counts.fcm.requests == counts.fcm.validate_only > 0
    assert {(row["outcome"], row["reason"]) for row in trial.rows(run_id)} == {
        ("accepted", "dry_run"),
        ("held", "control"),
    }
    assert trial.summary(run_id).dry_run
    again = drop_json(trial, tmp_path, "rehearsed-live", value | {"campaign": campaign(recipe)})
    assert finish(trial, again).status == "completed"


def test_times_and_pace_are_kept(trial: Trial, tmp_path: Path) -> None:
    """`abort_after` in the past ends the run before anybody is asked; `not_before` in the future rests it."""
    recipe = Recipe(users=20, campaign_id="too-late")
    trial.gateways.reset()
    late = {"campaign": campaign(recipe) | {"abort_after": "2020-01-01T00:00:00Z"}, "users": list(users(recipe))}
    lane = finish(trial, drop_json(trial, tmp_path, "late-run", late))
    assert lane.status == "aborted"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    early = late | {"campaign": campaign(Recipe(campaign_id="too-early")) | {"not_before": tomorrow}}
    run_id = drop_json(trial, tmp_path, "early-run", early)
    for resting in trial.follow(run_id, PATIENCE_S, every_s=0.1):
        if resting is not None and resting.status == "resting":
            break
    counts = trial.gateways.counts()
    assert counts.fcm.requests + counts.apns.requests == 0


@pytest.mark.slow
def test_again_and_experiment(trial: Trial, tmp_path: Path) -> None:
    """`again` lets an id be sent once more; with one `experiment` users keep their arm from campaign to campaign."""
    arms = {}
    weeks: dict[str, dict[str, object]] = {"week-1": {}, "week-1-again": {"again": True}, "week-2": {"id": "week-2"}}
    for name, changes in weeks.items():
        recipe = Recipe(users=200, campaign_id="week-1")
        value = {
            "campaign": campaign(recipe) | {"experiment": "weekly", **changes},
            "users": list(users(recipe)),
        }
        run_id = drop_json(trial, tmp_path, name, value)
        assert finish(trial, run_id).status == "completed"
        arms[name] = {row["user_id"]: row["arm"] for row in trial.rows(run_id)}
    assert arms["week-1"] == arms["week-1-again"] == arms["week-2"]
    assert set(arms["week-1"].values()) == {"question", "statement", "control"}


def test_languages_and_raw_additions(trial: Trial, tmp_path: Path) -> None:
    """`de-AT` gets the German text, everybody else the message's own; raw additions arrive last, on both gateways."""
    tokens = {"vienna": "a" * 64, "london": "b" * 64, "graz": "c" * 140}
    trial.gateways.register(*tokens.values())
    message = {
        "title": "Hello",
        "translations": {"de": {"title": "Servus"}},
        "apns": {"thread-id": "day-2"},
        "fcm": {"android": {"notification": {"channel_id": "social"}}},
    }
    audience = [
        {"user_id": "1", "platform": "ios", "token": tokens["vienna"], "locale": "de-AT"},
        {"user_id": "2", "platform": "ios", "token": tokens["london"], "locale": "en-GB"},
        {"user_id": "3", "platform": "android", "token": tokens["graz"], "locale": "de_AT"},
    ]
    value = {"campaign": {"id": "languages", "message": message}, "users": audience}
    assert finish(trial, drop_json(trial, tmp_path, "languages", value)).status == "completed"
    payloads = {name: trial.gateways.pushes(token)[-1]["payload"] for name, token in tokens.items()}
    assert payloads["vienna"]["aps"]["alert"]["title"] == "Servus"
    assert payloads["vienna"]["aps"]["thread-id"] == "day-2"
    assert payloads["london"]["aps"]["alert"]["title"] == "Hello"
    android = payloads["graz"].get("message", payloads["graz"])
    assert android["notification"]["title"] == "Servus"
    assert android["android"]["notification"]["channel_id"] == "social"
