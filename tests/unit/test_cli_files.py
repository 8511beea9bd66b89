"""The command line on files of this machine: faults with their places, exit codes, and no AWS."""

import gzip
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from notifier.model.campaign_reading import read_campaign
from notifier.model.recipient import Device, Platform
from operations.cli import app as notifier
from operations.cli.conversions import TABLE
from operations.cli.errors import ExitCode
from operations.cli.test_pushes import device_of
from operations.test_files import PREFIX, test_files
from sandbox.__main__ import app as sandbox

SAMPLES = Path(__file__).parents[2] / "events" / "pinpoint"
CAMPAIGN: dict[str, Any] = {
    "id": "day-2",
    "message": {
        "title": "Hi {{ first_name }}",
        "body": "News",
        "translations": {"de": {"title": "Hallo {{ first_name }}"}},
    },
    "variants": [
        {"name": "question", "percent": 45, "message": {"body": "Who?"}},
        {"name": "statement", "percent": 45},
    ],
    "control_percent": 10,
}


def user(n: int, **more: Any) -> dict[str, Any]:
    device = {"platform": "ios" if n % 2 else "android", "token": f"token-of-user-{n:06d}"}
    return {"user_id": f"u{n}", "devices": [device], "attributes": {"first_name": "Ann"}} | more


def batch_file(
    folder: Path, users: list[Any], campaign: dict[str, Any] | None = None, name: str = "day-2.json"
) -> Path:
    path = folder / name
    path.write_text(json.dumps({"campaign": campaign or CAMPAIGN, "users": users}))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(notifier, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack is named by the environment."""
    for name in ("STACK", "STACK_FILE", "BUCKET", "TABLE", "WORKER", "CONTROL"):
        monkeypatch.delenv(f"NOTIFIER_{name}", raising=False)


def test_a_good_file_is_taken(tmp_path: Path) -> None:
    """AudienceFigures, arms, payload sizes and three previews are shown, and the exit code is 0."""
    result = run("validate", batch_file(tmp_path, [user(n) for n in range(300)]))
    assert result.exit_code == ExitCode.FINE, result.output
    for part in ("would take", "question", "45 %", "APNs: largest payload", "of 4,096 bytes", "Hi Ann", "Android,"):
        assert part in result.output


def test_a_campaign_that_nobody_gets(tmp_path: Path) -> None:
    """Everybody in the control group is possible, and hardly meant; so are ids that end in a line break."""
    users = [user(n) | {"user_id": f"u{n}\n", "timezone": "CEST"} for n in range(3)]
    campaign = {"id": "c", "message": {"title": "T", "body": "B"}, "control_percent": 100}
    result = run("validate", batch_file(tmp_path, users, campaign))
    assert result.exit_code == ExitCode.FINE, result.output
    said = " ".join(result.output.split())
    assert "control_percent is 100: everybody is in the control group" in said
    assert "3 user ids begin or end with white space" in said
    assert "3 users have a time zone that is none (CEST)" in said


def test_texts_are_held_against_the_audience(tmp_path: Path) -> None:
    """Who reads which text, what looks like a placeholder, and the value that does not fit, before anything is sent."""
    message = {
        "title": "Hi {first_name}",
        "body": "{% if points > 9 %}gold{% else %}silver{% endif %}",
        "translations": {"de": {"title": "Hallo"}, "pt-BR": {"title": "Oi"}, "zh": {"title": "你好"}},
    }
    locales = ["de_AT", "DE", "pt_PT", "zh_TW", "iw", "xx", None]
    users = [user(n, locale=locale) for n, locale in enumerate(locales)]
    for one in users:
        one["attributes"] = {"first_name": "A\0nn", "points": 10}
    campaign = {"id": "c", "message": message}
    result = run("validate", batch_file(tmp_path, users, campaign))
    assert result.exit_code == ExitCode.FINE, result.output
    assert "texts read: German 2, Portuguese (pt-br) 1, the message's own 4 (of them" in result.output
    for part in ("1 'xx', which is no language", "1 without a locale", "1 'zh_TW'", "7 users have control characters"):
        assert part in result.output
    assert "{first_name} is sent as it is; for the attribute of this name write {{ first_name }}" in result.output
    users[0]["attributes"]["points"] = users[1]["attributes"]["points"] = "150"
    result = run("validate", batch_file(tmp_path, users, campaign))
    assert result.exit_code == ExitCode.NOT_FINE
    assert "cannot be filled in for 2 of 7 records: `points` is text where a number is compared" in result.output
    assert 'it is "150"' in result.output


def test_a_record_that_would_show_nothing_is_broken(tmp_path: Path) -> None:
    """It is listed with its reason, and never sent as an empty push."""
    body = "{% if first_name != blank %}Hi {{ first_name }}!{% endif %}"
    users = [user(n, attributes={"first_name": name}) for n, name in enumerate(["Ann", "", "  ", "\u200b"])]
    result = run("validate", batch_file(tmp_path, users, {"id": "c", "message": {"body": body}}), "--json")
    found = json.loads(result.output)
    assert found["broken_by_reason"] == {"text is empty": 2}
    assert [one["record"] for one in found["broken"]] == [1, 2]


def test_previews_hide_tokens(tmp_path: Path) -> None:
    """Neither the screen nor the JSON holds a whole token."""
    path = batch_file(tmp_path, [user(n) for n in range(30)])
    for options in (("--payloads",), ("--json",)):
        assert "token-of-user" not in run("validate", path, *options).output


def test_validate_as_json(tmp_path: Path) -> None:
    """The JSON has the figures, the arms and both payloads of three users; users add up over the arms."""
    result = run("validate", batch_file(tmp_path, [user(n, locale="de-AT") for n in range(300)]), "--json")
    found = json.loads(result.output)
    assert found["faults"] == []
    assert found["figures"]["users"] == 300
    assert sum(arm["users"] for arm in found["arms"].values()) == 300
    assert len(found["previews"]) == 3
    assert found["previews"][0]["ios"]["aps"]["alert"]["title"] == "Hallo Ann"
    assert found["previews"][0]["android"]["message"]["notification"]["title"] == "Hallo Ann"
    assert 0 < found["payloads"]["apns"]["largest"] < 4096


def test_broken_records_have_places(tmp_path: Path) -> None:
    """Each broken record and device is listed with its record, its device, its user and the reason."""
    two = [{"platform": "ios", "token": "a"}, {"platform": "pager", "token": "b"}]
    users = [user(0), user(1, attributes={}), {"user_id": "u2"}, user(3, devices=two), [], user(5)]
    found = json.loads(run("validate", batch_file(tmp_path, users), "--json").output)
    assert found["broken"] == [
        {"record": 1, "reason": "attribute `first_name` is missing", "user_id": "u1"},
        {"record": 2, "reason": "token: missing", "user_id": "u2"},
        {"record": 3, "reason": "platform: not one of ios, android, web", "device": 1, "user_id": "u3"},
        {"record": 4, "reason": "not an object"},
    ]
    assert found["figures"]["invalid_records"] == 4
    assert found["figures"]["devices"] == 3


def test_repeated_tokens_are_counted(tmp_path: Path) -> None:
    """Devices that repeat a token are a warning, not a fault."""
    users = [user(n, devices=[{"platform": "ios", "token": f"t{n % 40}"}]) for n in range(50)]
    result = run("validate", batch_file(tmp_path, users))
    assert result.exit_code == ExitCode.FINE
    assert "10 devices repeat a token" in result.output


def test_repeated_tokens_have_places(tmp_path: Path) -> None:
    """Each device that repeats a token is listed with its record and the record that had the token first."""
    tokens = ["a", "b", "a", "c", "b", "a"]
    users = [user(n, devices=[{"platform": "android", "token": token}]) for n, token in enumerate(tokens)]
    path = batch_file(tmp_path, users)
    found = json.loads(run("validate", path, "--json").output)
    assert [(one["record"], one["first_record"]) for one in found["repeats"]] == [(2, 0), (4, 1), (5, 0)]
    limited = run("validate", path, "--limit", "2")
    assert "has a token of record" in limited.output
    assert "and 1 more" in limited.output


def test_what_the_gateways_would_refuse_is_refused(tmp_path: Path) -> None:
    """By `validate`, with what to write; and by `test`, before any stack is looked for."""
    campaign = {"id": "c", "message": {"title": "T", "fcm": {"android": {"ttl": 86400}}, "apns": {"badge": "7"}}}
    path = batch_file(tmp_path, [user(0)], campaign)
    fixes = {"campaign.message.fcm.android.ttl": 'write "86400s"', "campaign.message.apns.badge": "write 7"}
    result = run("validate", path, "--json")
    assert result.exit_code == ExitCode.NOT_FINE
    assert {fault["field"]: fault["mend"] for fault in json.loads(result.output)["faults"]} == fixes
    tried = run("test", path, "--token", "android:some-token-of-a-phone")
    assert tried.exit_code == ExitCode.NOT_FINE
    assert all(field in tried.output for field in fixes)


def test_every_fault_of_a_campaign_is_named(tmp_path: Path) -> None:
    """Fields, problems and fixes; the exit code is 1; users are counted all the same."""
    campaign = CAMPAIGN | {"control_percent": 20, "per_second": 0, "colour": "red"}
    result = run("validate", batch_file(tmp_path, [user(1)], campaign), "--json")
    assert result.exit_code == ExitCode.NOT_FINE
    found = json.loads(result.output)
    assert {fault["field"] for fault in found["faults"]} >= {"campaign.per_second", "campaign.colour"}
    assert found["figures"]["users"] == 1
    sums = run("validate", batch_file(tmp_path, [user(1)], CAMPAIGN | {"control_percent": 20}))
    assert "percentages sum to 110" in sums.output


def test_the_wrong_file_is_told(tmp_path: Path) -> None:
    """More than a fifth of the first thousand broken: the worker would refuse it, and so do we."""
    users = [user(n) if n % 4 else {"user_id": "x"} for n in range(400)]
    result = run("validate", batch_file(tmp_path, users))
    assert result.exit_code == ExitCode.NOT_FINE
    assert "25% of the first 400 records are broken" in result.output


def test_a_file_cut_off_is_told_with_its_place(tmp_path: Path) -> None:
    """The fault has a position; what was read before it is counted."""
    path = batch_file(tmp_path, [user(n) for n in range(100)])
    path.write_bytes(path.read_bytes()[:-900])
    result = run("validate", path, "--json")
    assert result.exit_code == ExitCode.NOT_FINE
    found = json.loads(result.output)
    assert "cut off" in found["faults"][0]["problem"]
    assert found["figures"]["users"] > 80


def test_too_large_payloads_are_counted(tmp_path: Path) -> None:
    """A payload over 4,096 bytes is reported for its gateway."""
    users = [user(n, attributes={"first_name": "A" * (4_200 if n == 7 else 3)}) for n in range(40)]
    campaign = {"id": "large", "message": {"title": "Hi {{ first_name }}"}}
    found = json.loads(run("validate", batch_file(tmp_path, users, campaign), "--json").output)
    assert found["payloads"]["apns"]["too_large"] == 1
    assert any("for apns is over 4,096 bytes" in warning for warning in found["warnings"])


def test_a_campaign_whose_time_is_over(tmp_path: Path) -> None:
    """A file that would send nothing any more, or leaves people out that we do not look at, is warned of."""
    times = {"abort_after": "2020-01-01T00:00:00Z", "exclude": {"parts": [{"key": "audiences/stop.json"}]}}
    found = json.loads(run("validate", batch_file(tmp_path, [user(1)], CAMPAIGN | times), "--json").output)
    assert found["faults"] == []
    assert any("nothing would be sent" in warning for warning in found["warnings"])
    assert any("exclude list" in warning for warning in found["warnings"])


def test_a_test_that_is_over_before_its_winner_is_decided(tmp_path: Path) -> None:
    """Its test would be sent, and nothing to the remainder: warned of, as it depends on when the file is dropped."""
    test = {
        "variants": [], "control_percent": 50, "goal": {"name": "opened", "window_h": 24},
        "winner": {"test_percent": 20, "decide_after_h": 24, "decide_by_h": 48},
        "abort_after": (datetime.now(UTC) + timedelta(hours=5)).isoformat(),
    }  # fmt: skip
    found = json.loads(run("validate", batch_file(tmp_path, [user(1)], CAMPAIGN | test), "--json").output)
    assert any("nothing would go to the remainder" in warning for warning in found["warnings"])


def test_a_start_that_is_later_than_files_are_kept(tmp_path: Path) -> None:
    """Warned of by the defaults: which days a stack has set is not known here."""
    late = {"not_before": (datetime.now(UTC) + timedelta(days=40)).isoformat()}
    found = json.loads(run("validate", batch_file(tmp_path, [user(1)], CAMPAIGN | late), "--json").output)
    assert found["faults"] == []
    assert any("raise BatchFileDays and WorkDays). This is by the defaults" in warning for warning in found["warnings"])


def test_gzip_and_users_first(tmp_path: Path) -> None:
    """A gzipped file whose users come before the campaign is looked at as well."""
    path = tmp_path / "late.json.gz"
    text = json.dumps({"users": [user(n) for n in range(200)], "campaign": CAMPAIGN})
    path.write_bytes(gzip.compress(text.encode()))
    assert json.loads(run("validate", path, "--json").output)["figures"]["users"] == 200


def test_a_part_alone(tmp_path: Path) -> None:
    """`--users-only` looks at an audience part; without it the option is named."""
    path = tmp_path / "part.json"
    path.write_text("\n".join(json.dumps(user(n)) for n in range(50)) + "\n{broken\n")
    assert "add --users-only" in run("validate", path).output
    found = json.loads(run("validate", path, "--users-only", "--json").output)
    assert found["figures"]["users"] == 51
    assert found["broken"] == [{"record": 50, "reason": "not JSON"}]


def test_a_missing_file(tmp_path: Path) -> None:
    """Exit 3, the file's name, and what to do."""
    result = run("validate", tmp_path / "nobody.json")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "nobody.json" in result.output
    assert "check the path" in result.output


def test_errors_as_json(tmp_path: Path) -> None:
    """With --json an error is JSON on standard error."""
    result = run("validate", tmp_path / "nobody.json", "--json")
    error = json.loads(result.stderr)
    assert error["exit_code"] == ExitCode.NOT_FOUND
    assert error["mend"]


@pytest.mark.parametrize("command", ["status", "watch", "report", "resume", "pause"])
def test_without_a_stack(command: str) -> None:
    """Commands that need a stack say how to name it; exit 2."""
    result = run(command, "x")
    assert result.exit_code == ExitCode.USAGE
    assert "NOTIFIER_TABLE" in result.output
    assert "--stack NAME" in result.output


def test_pause_needs_to_know_which() -> None:
    """Neither a run nor --all, or both, is refused."""
    assert run("pause").exit_code == ExitCode.USAGE
    assert run("pause", "x", "--all").exit_code == ExitCode.USAGE


def test_counting_files_here(tmp_path: Path) -> None:
    """Files on this machine are counted without a stack, as one audience: a user of both is one, and so is a token."""
    (tmp_path / "a.json").write_text(json.dumps([user(n, timezone="Europe/London") for n in range(10)]))
    (tmp_path / "b.csv").write_text("user_id,platform,token\nu9,ios,a-token-of-a-tenth-user\n")
    counts = json.loads(run("count", tmp_path / "a.json", tmp_path / "b.csv", "--json").output)
    assert (counts["rows"], counts["users"], counts["joined_rows"]) == (11, 10, 1)
    assert counts["timezones"] == {"Europe/London": 10}


@pytest.mark.parametrize(
    ("name", "users"),
    [
        pytest.param("query.json", 28, marks=pytest.mark.slow),
        pytest.param("files.json", 7, marks=pytest.mark.slow),
        ("combination.json", 36),
        ("inline.json", 2),
    ],
)
def test_an_audience_that_is_made_first(name: str, users: int) -> None:
    """`count` and `validate` make it here, as the audience function would, from a directory like a bucket."""
    file = SAMPLES.parent / "batches" / name
    where = ("--from", SAMPLES.parent) if name != "inline.json" else ()
    counts = json.loads(run("count", file, *where, "--json").output)
    assert counts["users"] == users
    found = json.loads(run("validate", file, *where, "--json").output)
    assert found["faults"] == []
    if where:
        assert found["figures"]["users"] == users
        assert found["prepared"]["users"] == users
        assert sum(arm["users"] for arm in found["arms"].values()) == users
        shown = run("validate", file, *where).output
        assert "made of what its audience names" in shown


@pytest.mark.parametrize(
    ("audience", "words"),
    [
        ({"query": {"name": "nobody"}}, "nobody"),
        ({"query": {"name": "follows-brands", "parameters": {"brands": ["Nike"]}}}, "is not one of the choices"),
        ({"sql": "SELECT 1 AS user_id"}, "the result has no column platform"),
        ({"files": ["standing/nothing/*.csv"]}, "there is no such file"),
        ({"files": ["a"], "query": {"name": "x"}}, "exactly one of"),
        ({"query": {"name": "follows-brands"}, "where": [{"column": "email", "is": ["x"]}]}, "may not be filtered by"),
    ],
)
def test_what_is_wrong_with_such_an_audience(tmp_path: Path, audience: dict[str, Any], words: str) -> None:
    """`validate` has it among the faults, `count` ends with it: the words of the audience function."""
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"campaign": CAMPAIGN, "audience": audience}))
    found = run("validate", path, "--from", SAMPLES.parent, "--json")
    assert found.exit_code == ExitCode.NOT_FINE, found.output
    [fault] = json.loads(found.output)["faults"]
    assert words in f"{fault['problem']} {fault['mend']}"
    counted = run("count", path, "--from", SAMPLES.parent)
    assert counted.exit_code in (ExitCode.NOT_FINE, ExitCode.NOT_FOUND)
    assert words in " ".join(counted.output.split())


def test_an_audience_elsewhere_needs_a_place(tmp_path: Path) -> None:
    """Without a stack or a directory the command says how to name one."""
    for command in ("count", "validate"):
        result = run(command, SAMPLES.parent / "batches" / "query.json")
        assert result.exit_code == ExitCode.USAGE
        assert "--from DIR" in " ".join(result.output.split())


def test_without_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs it says so, and how to install it; a plain batch file is validated without."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    result = run("count", SAMPLES.parent / "batches" / "query.json", "--from", SAMPLES.parent)
    assert result.exit_code == ExitCode.USAGE
    assert "pip install 'notifier[audiences]'" in " ".join(result.output.split())
    assert run("validate", SAMPLES.parent / "batches" / "inline.json").exit_code == ExitCode.FINE


@pytest.mark.parametrize("name", ["endpoints.csv", "endpoints.json"])
def test_converting_pinpoint(tmp_path: Path, name: str) -> None:
    """What was left out is counted by reason, and the audience that comes out is valid."""
    out = tmp_path / "audience.json.gz"
    counts = json.loads(run("convert", "pinpoint", SAMPLES / name, "-o", out, "--json").output)
    assert counts["left_out"] == {"other_channel": 2, "opted_out": 1, "inactive": 1, "no_address": 1}
    assert counts["devices"] == 4
    shown = run("convert", "pinpoint", SAMPLES / name, "-o", out)
    assert "opted out (OptOut=ALL)" in shown.output
    found = json.loads(run("validate", out, "--users-only", "--json").output)
    assert (found["figures"]["users"], found["broken"]) == (3, [])


def test_converting_another_file(tmp_path: Path) -> None:
    """A file that is not Pinpoint's is named, and leaves nothing behind."""
    path = tmp_path / "phones.csv"
    path.write_text("name,phone\nAnn,1\n")
    result = run("convert", "pinpoint", path, "-o", tmp_path / "out.json")
    assert result.exit_code == ExitCode.NOT_FINE
    assert "phones.csv" in result.output
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("text", ["", "\n\n", "ChannelType,Address,User.UserId\n"])
def test_converting_a_file_without_an_endpoint(tmp_path: Path, text: str) -> None:
    """A file without endpoints is no audience: the file is named with what to give instead, and nothing is written."""
    good, empty, out = SAMPLES / "endpoints.csv", tmp_path / "nobody.csv", tmp_path / "out.json"
    empty.write_text(text)
    for files in ((empty,), (good, empty)):
        result = run("convert", "pinpoint", *files, "-o", out)
        assert result.exit_code == ExitCode.NOT_FINE
        said = " ".join(result.output.split())
        assert "nobody.csv: not one endpoint is in it" in said
        assert "give Pinpoint's endpoint files" in said
    assert list(tmp_path.iterdir()) == [empty]


def test_converting_a_file_of_which_everybody_is_left_out(tmp_path: Path) -> None:
    """An audience without users is not written either; the reasons are printed."""
    path = tmp_path / "texts.csv"
    path.write_text("ChannelType,Address,User.UserId,OptOut\nSMS,+1,u,NONE\nGCM,t,u,ALL\n")
    result = run("convert", "pinpoint", path, "-o", tmp_path / "out.json")
    said = " ".join(result.output.split())
    assert result.exit_code == ExitCode.NOT_FINE
    assert "texts.csv: every endpoint is left out: 1 another channel, 1 opted out (OptOut=ALL)" in said
    assert "export a segment with APNS" in said
    assert list(tmp_path.iterdir()) == [path]


def test_every_command_has_an_example() -> None:
    """`--help` of each command has an example, also the sandbox's; that of all names the exit codes."""
    assert "Exit codes: 0 done" in run("--help").output
    for app, program in ((notifier, "notifier"), (sandbox, "python -m sandbox")):
        for words in commands_of(typer.main.get_command(app)):
            page = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}, prog_name=program).output
            name = " ".join(word for word in words if word != TABLE)
            assert f"Example: {program} {name}" in page, words


def commands_of(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that a program knows, groups included."""
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands_of(inner, (*words, name))


def test_test_files_cover_arms_and_translations() -> None:
    """One file for each arm and language: only that arm, own campaign and collapse id, under batches/test/."""
    campaign = read_campaign(json.loads(json.dumps(CAMPAIGN)))
    device = Device(Platform.IOS, "t" * 64)
    files = list(test_files(campaign, [device], {"attributes": {"first_name": "Ann"}}, "now"))
    assert [(one.arm, one.locale) for one in files] == [
        ("question", None), ("question", "de"), ("statement", None), ("statement", "de"),
    ]  # fmt: skip
    bodies = [msgspec.json.decode(one.body) for one in files]
    read = [read_campaign(msgspec.json.decode(one.body)["campaign"]) for one in files]
    assert [one.arms for one in read] == [((one.arm, 10_000),) for one in files]
    assert all(one.test and one.control_percent == Decimal(0) for one in read)
    assert len({one.id for one in read}) == len({one.message.collapse_id for one in read}) == 4
    assert all(one.key.startswith(PREFIX) and one.key.endswith(".json") for one in files)
    assert bodies[1]["users"][0]["locale"] == "de"
    assert read[0].message.body == "Who?"


def test_a_campaign_without_variants_is_tested_too() -> None:
    """Then there is one arm, `default`."""
    campaign = read_campaign({"id": "c", "message": {"title": "t"}})
    assert [one.arm for one in test_files(campaign, [Device(Platform.IOS, "t")], {}, "now")] == ["default"]


@pytest.mark.parametrize(
    ("text", "platform", "token"),
    [
        ("0a" * 32, "ios", "0a" * 32),
        ("ios:abc", "ios", "abc"),
        ("android:abc", "android", "abc"),
        ("abc:APA91bHun", "android", "abc:APA91bHun"),
        ("web:x", "web", "x"),
    ],
)
def test_the_platform_of_a_token(text: str, platform: str, token: str) -> None:
    """64 hexadecimal digits are Apple's; anything else Google's, unless it is said."""
    device = device_of(text, "production")
    assert (device.platform.value, device.token) == (platform, token)


def test_a_member_given_twice_is_a_warning(tmp_path: Path) -> None:
    """JSON keeps the last of them silently: each is named by its path, plain and gzipped."""
    users = json.dumps([user(1)])
    text = '{"campaign": {"id": "c", "per_second": 5, "message": {"title": "A", "title": "B"}, "per_second": 9,'
    text += ' "variants": [{"name": "a", "percent": 100, "percent": 100}]}, "users": ' + users + "}"
    plain, packed = tmp_path / "twice.json", tmp_path / "twice.json.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        result = run("validate", path, "--json")
        assert result.exit_code == ExitCode.FINE, result.output
        named = [line.split()[0] for line in json.loads(result.output)["warnings"] if "is given twice" in line]
        assert named == ["campaign.message.title", "campaign.per_second", "campaign.variants[0].percent"]


def test_a_token_that_apns_cannot_know_is_a_warning(tmp_path: Path) -> None:
    """Apple's tokens are hexadecimal. One that looks like FCM's has a warning of its own, and is not counted here."""
    tokens = ["ab" * 32, "AB" * 40, "xyz-1", "xyz-2", "a:APA91b"]
    users = [user(n, devices=[{"platform": "ios", "token": token}]) for n, token in enumerate(tokens)]
    users.append(user(9, devices=[{"platform": "android", "token": "xyz-3"}]))
    found = json.loads(run("validate", batch_file(tmp_path, users), "--json").output)
    assert found["faults"] == []
    assert [warning for warning in found["warnings"] if "hexadecimal" in warning] == [
        "2 tokens for APNs are not hexadecimal, as Apple's are: APNs would refuse them as BadDeviceToken"
    ]


def test_an_audience_without_a_device_is_no_answer_to_count_on(tmp_path: Path) -> None:
    """`count` exits 1 and says why: a run with this audience would be refused."""
    path = tmp_path / "part.json"
    path.write_text(json.dumps([{"user_id": "a"}, {"user_id": "b"}]))
    result = run("count", path)
    assert result.exit_code == ExitCode.NOT_FINE
    assert "of 2 rows none can be sent to: 2 × token: missing" in result.output


def test_one_is_no_plural(tmp_path: Path) -> None:
    """Messages count in the singular where there is one."""
    users = [user(0, user_id="u"), user(2, user_id="u"), user(4, user_id="u", devices=[{"platform": "ios"}])]
    printed = run("validate", batch_file(tmp_path, users)).output
    for line in ("3 records are 1 user:", "1 record or device is broken: it would be skipped", "1 record or device\n"):
        assert line in "\n".join(part.rstrip() for part in printed.splitlines()) + "\n"
    refused = run("validate", batch_file(tmp_path, users[:1], {"id": "c", "message": {"title": 7}})).output
    assert "would refuse this file: 1 fault\n" in refused
