"""The command line against a whole sandbox: test pushes, start, watch, pause, resume, cancel, report, count."""

import gzip
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from notifier.model.run import source_of
from operations.cli import app, runs
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import ExitCode
from operations.cli.runs import upload
from sandbox.audience import Recipe, make
from sandbox.audience import users as made_users
from sandbox.schedule import Line
from sandbox.schedule_run import SendingPlayer, report_of
from sandbox.trial import Setting, Trial
from sandbox.up import write_stack_file
from schedules.store import ScheduleStore

SAMPLES = Path(__file__).parents[2] / "events" / "pinpoint"


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One sandbox for all, and the file that says where it is."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Trial.start(folder, Setting(latency_ms=(40.0, 80.0))) as trial:
        trial.stack_file = write_stack_file(trial.sandbox, folder / "stack.json")  # type: ignore[attr-defined]
        yield trial


def run(trial: Trial, *arguments: object) -> Result:
    environment = {"NOTIFIER_STACK_FILE": str(trial.stack_file), "COLUMNS": "200"}  # type: ignore[attr-defined]
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def printed(result: Result) -> Any:
    return json.loads(result.stdout)


def test_a_campaign_from_the_test_push_to_the_report(trial: Trial, tmp_path: Path) -> None:
    """Test pushes, start, watch, status and report say the same as the stand-ins."""
    path = make(
        Recipe(users=1_500, broken=6, placeholders=True, dead_share=0.1, campaign_id="story"), tmp_path / "story.json"
    )

    tested = run(trial, "test", path, "--token", "ios:" + "ab" * 32, "--token", "android:dead-phone", "--json")
    assert tested.exit_code == ExitCode.NOT_FINE
    assert [(one["arm"], one["platform"], one["outcome"]) for one in printed(tested)] == [
        ("question", "ios", "accepted"), ("question", "android", "rejected"),
        ("statement", "ios", "accepted"), ("statement", "android", "rejected"),
    ]  # fmt: skip
    assert "ab" * 32 not in tested.output

    started = run(trial, "start", path, "--yes", "--watch", "--json")
    assert started.exit_code == ExitCode.FINE, started.output
    last = json.loads(started.stdout.splitlines()[-1])["summary"]
    assert (last["status"], last["users"], last["invalid_records"]) == ("completed", 1_500, 6)

    for name in ("story", last["run_id"], f"s3://{trial.sandbox.bucket}/batches/story.json"):
        assert printed(run(trial, "status", name, "--json"))["summary"]["run_id"] == last["run_id"]
    assert "completed" in run(trial, "status", "story").output

    report = printed(run(trial, "report", "story", "--json"))
    assert report["rows_agree"]
    assert report["rows"] == last["devices"]
    assert report["summary"]["outcomes"] == last["outcomes"]
    assert report["dead_tokens"] == sum(last["outcomes"]["rejected"].values())
    assert report["ratio"]["verdict"] in ("in_proportion", "out_of_proportion")
    assert sum(bar["held"] for bar in report["time_line"]) == last["outcomes"]["held"]
    html = tmp_path / "report.html"
    assert run(trial, "report", "story", "--html", html).exit_code == ExitCode.FINE
    assert "story" in html.read_text()
    assert "accepted by Apple and Google" in run(trial, "report", "story").output
    assert last["run_id"] in run(trial, "report", "story", "--sql", "duckdb").output

    proof = printed(run(trial, "audit", "story", "--json"))
    assert (proof["conclusion"], proof["rows"]) == ("proved", last["devices"]), proof
    assert "every user's by the public hash" in run(trial, "audit", "story").output
    user = next(trial.rows(last["run_id"]))["user_id"]
    exported = tmp_path / "user.json"
    looked_up = run(trial, "find", user, "--export", exported, "--by", "ann")
    assert looked_up.exit_code == ExitCode.FINE, looked_up.output
    assert "story" in looked_up.stdout
    assert json.loads(exported.read_bytes())["rows"][0]["user_id"] == user
    assert run(trial, "find", "nobody").exit_code == ExitCode.NOT_FINE
    assert run(trial, "find", user, "--since", "yesterday").exit_code == ExitCode.USAGE
    nothing = run(trial, "retry", "story", "-o", tmp_path / "retry.json")
    assert (nothing.exit_code, nothing.output.splitlines()[0]) == (
        ExitCode.NOT_FINE,
        "nothing to retry: no device failed for such a reason",
    )
    assert not (tmp_path / "retry.json").exists()

    assert run(trial, "erase", "--yes").exit_code == ExitCode.USAGE
    unasked = run(trial, "erase", user)
    assert unasked.exit_code == ExitCode.USAGE
    assert "Erase 1 user in " in unasked.output
    assert "Add --yes to confirm" in unasked.output
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{user}\n")
    gone = printed(run(trial, "erase", "--file", ids, "--yes", "--by", "ann", "--json"))
    assert (gone["done"], gone["runs"]) == (True, {last["run_id"]: 1}), gone
    assert printed(run(trial, "audit", "story", "--json"))["in_words"] == "proved, 1 erased"
    assert run(trial, "find", user).exit_code == ExitCode.NOT_FINE
    assert "nobody is left" in run(trial, "erase", "--again", "--yes").output


def test_pause_all_resume_cancel(trial: Trial, tmp_path: Path) -> None:
    """`pause --all` finds the run by itself; resumed it goes on; cancelled it ends, and watching says so."""
    path = tmp_path / "slow.json"
    campaign = {"id": "slow", "message": {"title": "t"}, "per_second": 300}
    path.write_text(json.dumps({"campaign": campaign, "users": list(made_users(Recipe(users=6_000)))}))
    run_id = printed(run(trial, "start", path, "--yes", "--json"))["run_id"]
    assert any(trial.follow(run_id, 60.0))
    assert run(trial, "watch", run_id, "--timeout-s", "1", "--json").exit_code == ExitCode.NOT_FINE

    paused = printed(run(trial, "pause", "--all", "--by", "ann", "--json"))
    assert [one["run_id"] for one in paused] == [run_id]
    watched = run(trial, "watch", run_id, "--json")
    assert watched.exit_code == ExitCode.NOT_FINE
    seen = json.loads(watched.stdout.splitlines()[-1])
    assert seen["summary"]["status"] == "paused"
    assert "notifier resume" in seen["next_step"]
    assert run(trial, "pause", "--all").stdout.strip() == "no run is sending or resting"

    assert printed(run(trial, "resume", "slow", "--json"))[0]["run_id"] == run_id
    assert run(trial, "cancel", run_id).exit_code == ExitCode.USAGE
    assert run(trial, "cancel", run_id, "--yes").exit_code == ExitCode.FINE
    watched = run(trial, "watch", run_id, "--json")
    assert json.loads(watched.stdout.splitlines()[-1])["summary"]["status"] == "cancelled"
    assert watched.exit_code == ExitCode.NOT_FINE
    for command, over in (("cancel", "to cancel"), ("pause", "to pause"), ("resume", "to resume")):
        refused = run(trial, command, "slow", *(["--yes"] if command == "cancel" else []))
        assert refused.exit_code == ExitCode.NOT_FINE
        assert f"run {run_id}: it is over (cancelled): there is nothing {over}" in refused.output
    unsent = run(trial, "retry", "slow", "-o", tmp_path / "retry.json")
    assert "the run was not completed (cancelled)" in unsent.output
    proof = printed(run(trial, "audit", "slow", "--json"))
    assert proof["conclusion"] == "proved", proof


@pytest.mark.slow
def test_from_the_goal_to_the_verdict(trial: Trial, tmp_path: Path) -> None:
    """A goal declared before sending: its conversions by arm, an early look, and a verdict when it is complete."""
    goal = {"name": "opened_people", "window_h": 1, "smallest_lift_percent": 50}
    campaign = {"id": "goal", "message": {"title": "t"}, "control_percent": 20, "goal": goal}
    path = tmp_path / "goal.json"
    path.write_text(json.dumps({"campaign": campaign, "users": list(made_users(Recipe(users=1_000)))}))
    run_id = json.loads(run(trial, "start", path, "--yes", "--watch", "--json").stdout.splitlines()[-1])["summary"][
        "run_id"
    ]
    missing = run(trial, "report", "goal")
    assert missing.exit_code == ExitCode.FINE
    assert "conversions/opened_people.json is missing" in missing.output

    put = trial.s3.put_object
    bucket = trial.sandbox.bucket
    declared = {"files": ["standing/opened/"], "event": None, "complete": {"marker": "standing/opened_through"}}
    put(Bucket=bucket, Key="conversions/opened_people.json", Body=json.dumps(declared).encode())
    rows = [row for row in trial.rows(run_id) if int(row["user_id"][-3:]) % (8 if row["arm"] == "control" else 2) == 0]
    events = "".join(f"{row['user_id']},{row['at'].replace(' ', 'T')}Z\n" for row in rows)
    put(Bucket=bucket, Key="standing/opened/one.csv", Body=f"user_id,at\n{events}".encode())
    report = printed(run(trial, "report", "goal", "--json"))["goal"]
    assert report["comparison"]["basis"] == "look"
    assert sum(arm["conversions"] for arm in report["comparison"]["arms"]) == len({row["user_id"] for row in rows})
    assert report["comparison"]["lifts"][0]["verdict"]["finding"] == "better"
    # A dry run has rows too, and no verdict.
    dry = tmp_path / "dry.json"
    dry.write_text(
        json.dumps({"campaign": campaign | {"id": "dry", "dry_run": True}, "users": list(made_users(Recipe(users=9)))})
    )
    assert run(trial, "start", dry, "--yes", "--watch").exit_code == ExitCode.FINE
    assert "this was a dry run: nobody got a push" in run(trial, "report", "dry").output
    html = tmp_path / "goal.html"
    assert run(trial, "report", "goal", "--html", html).exit_code == ExitCode.FINE
    assert "better than no push: " in html.read_text()
    assert "default: better than no push" in run(trial, "report", "goal").output
    assert printed(run(trial, "audit", "goal", "--json"))["conclusion"] == "proved"


@pytest.mark.parametrize("name", ["endpoints.csv", pytest.param("endpoints.json", marks=pytest.mark.slow)])
def test_pinpoint_files_are_converted_and_sent(trial: Trial, tmp_path: Path, name: str) -> None:
    """Each kind of Pinpoint file becomes an audience whose devices are all asked for."""
    kind = name.rpartition(".")[2]
    out = tmp_path / f"pinpoint-{kind}.json.gz"
    assert run(trial, "convert", "pinpoint", SAMPLES / name, "-o", out).exit_code == ExitCode.FINE
    key = f"audiences/{out.name}"
    trial.s3.upload_file(str(out), trial.sandbox.bucket, key)
    path = tmp_path / f"from-pinpoint-{kind}.json"
    message = {"title": "Hi {{ FirstName | default: 'there' }}"}
    path.write_text(
        json.dumps({"campaign": {"id": f"pp-{kind}", "message": message}, "audience": {"parts": [{"key": key}]}})
    )
    validated = printed(run(trial, "validate", path, "--json"))
    assert (validated["faults"], validated["figures"]["users"]) == ([], 3)
    started = run(trial, "start", path, "--yes", "--watch", "--json")
    assert started.exit_code == ExitCode.FINE, started.output
    summary = json.loads(started.stdout.splitlines()[-1])["summary"]
    assert (summary["users"], summary["devices"], summary["outcomes"]["accepted"]) == (3, 4, 4)


def test_objects_in_s3_are_counted_here(trial: Trial) -> None:
    """Pinned, fetched and counted on this machine; no function of the stack is asked."""
    records = [msgspec.json.encode(user) for user in made_users(Recipe(users=3_000, duplicates=30, broken=6))]
    urls = []
    for n, part in enumerate((records[:1_000], records[1_000:])):
        key = f"audiences/count-{n}.json.gz"
        trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=gzip.compress(b"\n".join(part)))
        urls.append(f"s3://{trial.sandbox.bucket}/{key}")
    name = trial.sandbox.function("AudienceFunction").name
    before = trial.sandbox.lambda_.figures(name).invocations
    counts = printed(run(trial, "count", *urls, "--json"))
    assert (counts["rows"], counts["repeated_tokens"], sum(counts["invalid"].values())) == (3_000, 30, 6)
    assert trial.sandbox.lambda_.figures(name).invocations == before
    # Whom another test of this stack has erased is suppressed, too.
    already = counts["now"]["left_out"].get("suppressed", 0)
    assert counts["now"]["left_out"].keys() <= {"suppressed"}
    gone = [one["user_id"] for one in map(msgspec.json.decode, records[:40])]
    body = b"\n".join(msgspec.json.encode({"user_id": one}) for one in (*gone, "nobody"))
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="suppression/left.jsonl", Body=body)
    try:
        now = printed(run(trial, "count", *urls, "--json"))["now"]
        shown = run(trial, "count", *urls).output
    finally:
        trial.s3.delete_object(Bucket=trial.sandbox.bucket, Key="suppression/left.jsonl")
    assert now["users"] == counts["users"]
    left = now["left_out"]["suppressed"]
    assert 30 <= left - already <= 40, "all but those whose records are broken"
    assert (
        f"at most {counts['users']:,} users; about {left} would be left out as of now: {left} want no pushes" in shown
    )
    key = "audiences/not.json"
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=b"hello")
    result = run(trial, "count", f"s3://{trial.sandbox.bucket}/{key}")
    assert result.exit_code == ExitCode.NOT_FINE
    assert "not.json" in result.output


@pytest.mark.slow
def test_runs_that_sent_nothing_are_found_by_their_campaign(trial: Trial, tmp_path: Path) -> None:
    """A rehearsal is found by its id; a second file with an id that was sent is reported, and not taken for the run."""
    path = tmp_path / "rehearsed.json"
    campaign = {"id": "rehearsed", "message": {"title": "t"}}
    everybody = list(made_users(Recipe(users=5)))
    path.write_text(json.dumps({"campaign": campaign | {"dry_run": True}, "users": everybody}))
    rehearsal = json.loads(run(trial, "start", path, "--yes", "--watch", "--json").stdout.splitlines()[-1])["summary"]
    seen = printed(run(trial, "status", "rehearsed", "--json"))["summary"]
    assert (seen["run_id"], seen["dry_run"]) == (rehearsal["run_id"], True)

    path.write_text(json.dumps({"campaign": campaign, "users": everybody}))
    sent = run(trial, "start", path, "--yes", "--watch", "--json")
    assert "sent already" not in sent.stderr
    summary = json.loads(sent.stdout.splitlines()[-1])["summary"]
    refused = run(trial, "start", path, "--yes", "--watch", "--json")
    assert refused.exit_code == ExitCode.NOT_FINE
    assert f"sent already, by run {summary['run_id']}" in refused.stderr
    assert "campaign_exists" in refused.stdout
    assert printed(run(trial, "status", "rehearsed", "--json"))["summary"]["run_id"] == summary["run_id"]


def test_validation_reads_the_exclude_list(trial: Trial, tmp_path: Path) -> None:
    """Who is on it is in no arm; a list that is not there, or is none, is a fault."""
    key = "audiences/stop.json"
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=b'["u0", {"user_id": "u2"}, "nobody"]')
    users = [{"user_id": f"u{n}", "platform": "android", "token": f"t{n}"} for n in range(5)]
    path = tmp_path / "excluding.json"

    def validated(part: str) -> Any:
        campaign = {"id": "excluding", "message": {"title": "t"}, "exclude": {"parts": [{"key": part}]}}
        path.write_text(json.dumps({"campaign": campaign, "users": users}))
        return printed(run(trial, "validate", path, "--json"))

    found = validated(key)
    assert (found["faults"], found["excluded"], found["arms"]["default"]["users"]) == ([], 2, 3)
    (missing,) = validated("audiences/nothing.json")["faults"]
    assert missing["field"] == "campaign.exclude"
    assert "audiences/nothing.json" in missing["problem"]
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=b"[[]]")
    assert [fault["field"] for fault in validated(key)["faults"]] == ["campaign.exclude"]


def test_what_is_not_there(trial: Trial) -> None:
    """Runs and objects that are not there: exit 3, with the name."""
    assert run(trial, "status", "nobody").exit_code == ExitCode.NOT_FOUND
    missing = run(trial, "validate", f"s3://{trial.sandbox.bucket}/batches/none.json")
    assert missing.exit_code == ExitCode.NOT_FOUND
    assert "none.json" in missing.output
    key = "audiences/no-run.json"
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=b"[]")
    for command, url, words in (
        ("status", "batches/none.json", "none.json: there is no such object"),
        ("start", "batches/none.json", "none.json: "),
        ("pause", key, "there is no such run"),
    ):
        missing = run(trial, command, f"s3://{trial.sandbox.bucket}/{url}")
        assert missing.exit_code == ExitCode.NOT_FOUND
        assert words in missing.output


def test_an_object_that_is_there_already_is_started(trial: Trial) -> None:
    """`start s3://…` has the worker look at an object again: the same version is the same run."""
    key = "batches/again.json"
    body = json.dumps(
        {"campaign": {"id": "again", "message": {"title": "t"}}, "users": list(made_users(Recipe(users=5)))}
    )
    answer = trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=body.encode())
    url = f"s3://{trial.sandbox.bucket}/{key}"
    run_id = printed(run(trial, "start", url, "--yes", "--json"))["run_id"]
    assert run_id == source_of(trial.sandbox.bucket, key, answer.get("VersionId"), answer["ETag"]).run_id
    assert run(trial, "watch", url, "--json").exit_code == ExitCode.FINE
    assert printed(run(trial, "report", run_id, "--json"))["rows"] == 5
    # Nothing would happen: the run of this version is over. Nor is any other object taken for a batch file.
    over = run(trial, "start", url, "--yes")
    assert over.exit_code == ExitCode.NOT_FINE
    assert f"run {run_id} of this file is over, completed" in over.output
    table = f"s3://{trial.sandbox.bucket}/audiences/users.csv"
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="audiences/users.csv", Body=b"user_id,platform,token\n")
    refused = run(trial, "start", table, "--yes")
    assert refused.exit_code == ExitCode.NOT_FINE
    assert "users.csv: a table (CSV)" in refused.output


@pytest.mark.parametrize("is_whole", [False, True], ids=["before", "after"])
def test_ctrl_c_during_the_upload(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    """Whoever stops a campaign in the last second reads whether it is sent, and how to end it."""
    path = make(Recipe(users=5, campaign_id=f"interrupted-{is_whole}"), tmp_path / f"interrupted-{is_whole}.json")

    def pressed(cloud: Cloud, path: Path, key: str) -> str:
        if is_whole:
            upload(cloud, path, key)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "upload", pressed)
    # Another version, and its run, may be there already.
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=f"batches/{path.name}", Body=b"{}")
    result = run(trial, "start", path, "--yes")
    assert result.exit_code == ExitCode.INTERRUPTED
    words = "was uploaded: its run " if is_whole else "was uploaded whole: it is not in S3"
    assert f"{path} {words}" in result.output.replace("\n", " ")
    assert ("notifier cancel" in result.output) == is_whole


@dataclass
class Played:
    """The schedule `nudge`, of which two days were sent. `runs` are the runs' ids by campaign."""

    sent: list[Line]
    runs: dict[str, str]
    source: Path


@pytest.fixture(scope="module")
def nudge(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Two days of the sample, asked for and sent."""
    tmp_path = tmp_path_factory.mktemp("nudge")
    for folder in ("queries", "standing"):
        shutil.copytree(SAMPLES.parent / folder, tmp_path / folder)
    definition = json.loads((SAMPLES.parent / "schedules" / "day-2-engagement.json").read_text(encoding="utf-8"))
    definition["schedule"] = {"when": definition["schedule"]["when"]}
    definition["campaign"]["goal"] = {"name": "opened", "window_h": 24}
    path = tmp_path / "schedules" / "nudge.json"
    source = tmp_path / "conversions" / "opened.json"
    path.parent.mkdir()
    source.parent.mkdir()
    path.write_text(json.dumps(definition), encoding="utf-8")
    source.write_text(json.dumps({"files": ["standing/opened/"], "complete": {"marker": "standing/through"}}))

    runs: dict[str, str] = {}
    player = SendingPlayer(path, date(2026, 11, 10), 2)
    sent = list(player.sent(trial, lambda line, run_id: runs.setdefault(line.id, run_id)))
    return Played(sent, runs, source)


@pytest.mark.slow  # through a stack, in the gate: tests/deployment/test_least_privilege
def test_a_schedule_from_sql_to_the_report(
    trial: Trial, nudge: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two days of the sample are asked for and sent; the command line shows them, and pauses and resumes the rest."""
    sent, runs, source = nudge.sent, nudge.runs, nudge.source
    assert [(line.id, line.state) for line in sent] == [
        ("nudge-2026-11-10T0900", "run"), ("nudge-2026-11-11T0900", "run")
    ]  # fmt: skip
    for line in sent:
        summary = trial.summary(runs[line.id])
        assert (summary.status, summary.users) == ("completed", line.users)
        # Everybody is in one arm over all days: the schedule's name is its salt.
        batch = trial.s3.get_object(Bucket=trial.sandbox.bucket, Key=f"batches/schedules/nudge/{line.id}.json")
        campaign = json.loads(batch["Body"].read())["campaign"]
        assert campaign["experiment"] == "nudge"
        # What its conversions are found by is a part of its definition.
        assert campaign["goal"]["conversions_sha256"] == sha256(source.read_bytes()).hexdigest()

    capsys.readouterr()
    report_of(trial, runs[sent[1].id], tmp_path)
    assert sent[1].id in capsys.readouterr().out
    listed = run(trial, "schedules", "list", "--json")
    assert [(one["name"], one["state"], one["last_state"]) for one in printed(listed)] == [("nudge", "active", "run")]
    history = printed(run(trial, "schedules", "show", "nudge", "--json"))["occurrences"]
    assert [one["run_id"] for one in history] == [runs[line.id] for line in reversed(sent)]
    assert "2026-11-11T0900" in run(trial, "schedules", "show", "nudge").output
    seen = printed(run(trial, "schedules", "preview", "nudge", "--day", "2026-11-11", "--json"))
    assert (seen["occurrence"], seen["users"]) == ("2026-11-11T0900", sent[1].users)
    assert seen["left_out"] == {}
    assert len(seen["examples"]) == 3
    in_words = run(trial, "schedules", "preview", "nudge", "--day", "2026-11-11").output
    assert f"at most {sent[1].users:,} users; nobody would be left out as of now" in in_words
    for example in seen["examples"]:
        assert example.get("title", "in the control group") in in_words
    paused = run(trial, "schedules", "pause", "nudge", "--reason", "a test", "--by", "ann", "--json")
    assert printed(paused)["state"] == "paused"
    assert "paused by ann: a test" in run(trial, "schedules", "list").output
    assert printed(run(trial, "schedules", "resume", "nudge", "--json"))["state"] == "active"
    refused = run(trial, "schedules", "resume", "nudge")
    assert refused.exit_code == ExitCode.NOT_FINE
    assert "is not paused" in refused.output
    assert run(trial, "schedules", "show", "other").exit_code == ExitCode.NOT_FOUND
    assert printed(run(trial, "schedules", "ready", "nudge", "--day", "2026-11-12", "--json"))["day"] == "2026-11-12"
    approved = printed(run(trial, "schedules", "approve", "nudge", "--yes", "--by", "bob@example.com", "--json"))
    assert (approved["approved_by"], approved["missing"]) == ("bob@example.com", 0)
    assert "no edit that waits" in run(trial, "schedules", "keep", "nudge").output
    assert "cannot be decided on" in run(trial, "schedules", "decide", "nudge", "2026-11-11T0900", "--reject").output


def test_a_schedule_is_written(trial: Trial, tmp_path: Path) -> None:
    """`schedules put`, by the same step as on the pages: faults by field, what changes, and who wrote it."""
    definition = json.loads((SAMPLES.parent / "schedules" / "day-2-engagement.json").read_text(encoding="utf-8"))
    definition |= {"audience": {"files": ["standing/none.jsonl"]}}
    path = tmp_path / "from-here.json"

    def put(*options: str, **campaign: Any) -> Result:
        path.write_text(json.dumps(definition | {"campaign": {"message": {"title": "Hi"}} | campaign}, indent=1))
        return run(trial, "schedules", "put", path, *options)

    refused = put("--yes", winner={}, per_second=0)
    assert refused.exit_code == ExitCode.NOT_FINE
    assert "schedules/from-here.json: " in refused.output
    lines = refused.output.splitlines()
    for field in ("campaign.winner.test_percent", "campaign.per_second"):
        assert any(line.startswith(f"{field}: ") for line in lines), refused.output
    unsure = put()
    assert (unsure.exit_code, "Write schedules/from-here.json as " in unsure.output) == (ExitCode.USAGE, True)
    assert "from-here" not in run(trial, "schedules", "list").output

    written = printed(put("--yes", "--by", "ann@example.com", "--json"))
    key = "schedules/from-here.json"
    stored = trial.s3.get_object(Bucket=trial.sandbox.bucket, Key=key)["Body"].read()
    assert stored == path.read_bytes()
    assert written["hash"] == sha256(f"{sha256(stored).hexdigest()}  {key}\n".encode()).hexdigest()
    # Who must not approve it.
    cloud = Cloud(find_deployment(None, trial.stack_file))  # type: ignore[attr-defined]
    store = ScheduleStore(cloud.client("dynamodb"), trial.sandbox.table, cloud.now)
    assert store.edited_by("from-here", sha256(stored).hexdigest()) == "ann@example.com"
    # This stack needs no approval: nothing can be kept until there is one.
    kept = put("--yes", "--keep", "--by", "ann@example.com", per_second=7)
    assert (kept.exit_code, "this stack needs no approval" in " ".join(kept.output.split())) == (
        ExitCode.NOT_FINE,
        True,
    )
    edited = put("--yes", "--by", "ann@example.com", per_second=7)
    assert edited.exit_code == ExitCode.FINE, edited.output
    assert "it is in force within a minute" in " ".join(edited.output.split())
    assert '+  "per_second": 7' in edited.output
    assert json.loads(trial.s3.get_object(Bucket=trial.sandbox.bucket, Key=key)["Body"].read())["campaign"] == {
        "message": {"title": "Hi"}, "per_second": 7,
    }  # fmt: skip
    other = put("--yes", "--name", "another")
    assert (other.exit_code, "schedules/another.json is written" in other.output) == (ExitCode.FINE, True)
    for name in ("from-here", "another"):
        trial.s3.delete_object(Bucket=trial.sandbox.bucket, Key=f"schedules/{name}.json")


@pytest.mark.slow
def test_everything_is_held_and_released(trial: Trial, nudge: Played) -> None:
    """Whoever asks sees who holds it and why; nothing is fired or previewed; a release says what starts."""
    run_id = next(iter(nudge.runs.values()))
    # It was played with a moved clock: resumed, its next time is one that is still to come.
    for step in ("pause", "resume"):
        assert run(trial, "schedules", step, "nudge", "--by", "ann").exit_code == ExitCode.FINE
    assert run(trial, "hold", "--reason", "wrong texts", "--by", "bob").exit_code == 0
    twice = run(trial, "hold", "--reason", "wrong prices", "--by", "ann")
    assert "it was held by bob" in twice.output
    assert "wrong texts; one release ends both" in twice.output.replace("\n", " ")
    for arguments in (("now", "nudge", "--day", "2026-11-12", "--yes"), ("preview", "nudge")):
        refused = run(trial, "schedules", *arguments)
        assert refused.exit_code == ExitCode.NOT_FINE
        assert "ann" in refused.output
        assert "wrong prices" in refused.output
    held = printed(run(trial, "status", run_id, "--json"))["held"]
    assert "ann" in held
    assert "wrong prices" in held
    released = printed(run(trial, "release", "--yes", "--by", "bob", "--json"))
    assert (released["status"], released["starts"]) == ("released", [])
    assert run(trial, "release", "--yes").exit_code == ExitCode.NOT_FINE
    assert printed(run(trial, "status", run_id, "--json"))["held"] == ""
    # What was refused is now fired, for a person and not for its time.
    fired = printed(run(trial, "schedules", "now", "nudge", "--day", "2026-11-12", "--yes", "--by", "bob", "--json"))
    assert (fired["schedule"], fired["occurrence"][:11]) == ("nudge", "2026-11-12T")


def test_a_schedule_is_looked_at_before_it_is_uploaded(tmp_path: Path) -> None:
    """`schedules preview` needs no stack: it lists the next times, or every fault with its field."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    definition = json.loads((SAMPLES.parent / "schedules" / "day-2-engagement.json").read_text(encoding="utf-8"))
    definition["schedule"] = {"when": definition["schedule"]["when"]}
    good.write_text(json.dumps(definition), encoding="utf-8")
    bad.write_text(json.dumps(definition | {"audience": {"files": ["audiences/x"]}}), encoding="utf-8")
    found = CliRunner().invoke(app, ["schedules", "preview", str(good), "--count", "3", "--json"])
    assert (found.exit_code, len(json.loads(found.stdout))) == (0, 3)
    refused = CliRunner().invoke(app, ["schedules", "preview", str(bad)])
    assert refused.exit_code == ExitCode.NOT_FINE
    assert "audience.files[0]" in refused.output
