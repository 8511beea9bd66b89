"""What looks wrong in an audience: words for no value, tokens of the other gateway, and where what is broken is."""

import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from approval.form import Form
from approval.placeholders import audience_warnings
from notifier.model.audience_counts import OTHER, Counts
from notifier.model.recipient import Device, Gateway, Platform
from notifier.model.suspicious_values import BLANK, null_word, of_other_gateway, warnings_in
from operations.broken_groups import BrokenGroup, RecordPlace, add_broken, broken_lines, places_of
from operations.cli import app
from operations.dry_check.figures import AudienceCounter
from operations.dry_check.judgement import unknown_zones

APNS_TOKEN = "0123456789abcdefABCDEF" * 2 + "0" * 20
MEND = "export such a value as null (without quotes), or leave it out"
FCM_TOKEN = "c000000000000000000001:APA91b" + "0" * 130


@pytest.mark.parametrize(
    "word",
    [
        "null",
        "NULL",
        "Null",
        "\\N",
        "None",
        "none",
        "NaN",
        "undefined",
        "N/A",
        "#N/A",
        "<NA>",
        "(null)",
        "NA",
        "-",
        " nil ",
    ],
)
def test_a_word_for_no_value_is_one(word: str) -> None:
    """In any case, as it is written."""
    assert null_word(word) == word.strip()


@pytest.mark.parametrize("blank", [" ", "\t\n", "\u00a0"])
def test_white_space_is_one(blank: str) -> None:
    """A reader sees nothing."""
    assert null_word(blank) == BLANK


@pytest.mark.parametrize("value", ["", "Ann", "Na", "Nancy", "Nullmeyer", "Nonesuch", "a null", "Uwe", "-5", "?!", "N"])
def test_a_value_is_none(value: str) -> None:
    """An empty text has a default; a name that begins alike is a name."""
    assert null_word(value) is None


@pytest.mark.parametrize(
    ("platform", "gateway", "token", "marked"),
    [
        ("ios", None, FCM_TOKEN, "ios apns"),
        ("ios", "apns", "APA91b" + "x" * 140, "ios apns"),
        ("ios", None, APNS_TOKEN, None),
        ("ios", "fcm", FCM_TOKEN, None),
        ("ios", "fcm", APNS_TOKEN, "ios fcm"),
        ("android", None, APNS_TOKEN, "android fcm"),
        ("android", None, FCM_TOKEN, None),
        ("web", None, APNS_TOKEN, "web fcm"),
        ("android", None, "abc123", None),
    ],
)
def test_a_token_of_the_other_gateway(platform: str, gateway: str | None, token: str, marked: str | None) -> None:
    """Recognised by its form: Apple's are hexadecimal, Google's have a colon."""
    device = Device(Platform(platform), token, Gateway(gateway) if gateway else None)
    assert of_other_gateway(device) == marked


def test_warnings_say_what_to_do() -> None:
    """Per attribute and per mark; one user is one user."""
    words = {"first_name": {"null": 1, "": 3}, "points": {"NaN": 2}, "user_id": {"null": 1}}
    marks = {"ios apns": 120, "android fcm": 1, "ios fcm": 2}
    assert list(warnings_in(words, marks, {"first_name"})) == [
        "120 tokens look like FCM's, and are marked ios (gateway apns): set gateway: fcm",
        "1 token looks like APNs', and is marked android (gateway fcm): set platform: ios",
        "2 tokens look like APNs', and are marked ios (gateway fcm): set gateway: apns, or leave gateway out",
        f"first_name is blank for 3 users, the word null for 1 user; {MEND}",
        f"user_id is the word null for 1 user; {MEND}",
    ]
    assert len(list(warnings_in(words, {}, None))) == 3
    [one] = warnings_in({}, {}, None, 1)
    assert one.startswith(
        "1 user id begins or ends with white space, a quote or a character that nobody sees: it is not"
    )
    [many] = warnings_in({}, {}, None, 2)
    assert many.startswith("2 user ids begin or end with")
    assert many.endswith("export ids without it")


def test_time_zones_that_are_none() -> None:
    """They are counted and named; zones, fixed offsets and names beyond those that are counted are not."""
    zones = {"Europe/Vienna": 5, "UTC+02:00": 1, "CEST": 2, "+02:00": 3, OTHER: 7}
    [warning] = unknown_zones(zones)
    assert warning.startswith("5 users have a time zone that is none (CEST, +02:00): ")
    assert not list(unknown_zones({"Europe/Vienna": 5}))


def test_broken_records_are_grouped_with_their_first_places() -> None:
    """The number of each reason is exact, the places are the first three, further reasons are one."""
    groups: list[BrokenGroup] = []
    for n in range(5):
        add_broken(groups, "token: missing", RecordPlace(n))
    add_broken(groups, "platform: missing", RecordPlace(7, "s3://b/part-1", 2))
    assert list(broken_lines(groups)) == [
        "5 × token: missing (first: records 0, 1, 2)",
        "1 × platform: missing (record 7 device 2 of s3://b/part-1)",
    ]
    for n in range(100):
        add_broken(groups, f"reason {n}", RecordPlace(n))
    assert len(groups) == 51
    assert groups[-1].reason == "other reasons"
    assert sum(group.count for group in groups) == 106
    assert places_of(groups[-1]).startswith("first: records ")


def test_figures_do_not_grow_with_the_audience() -> None:
    """Whatever is in it."""
    source = random.Random(1)
    letters = string.ascii_letters + "é"

    def record(n: int) -> dict[str, Any]:
        names = {
            "".join(source.choices(letters, k=60)): source.choice(["null", "NULL", "nUll", "N/A"]) for _ in range(9)
        }
        return {"user_id": f"u{n}", "platform": source.choice(["ios", f"p{n}"]), "token": FCM_TOKEN, **names}

    tally = AudienceCounter()
    tally.take(record(n) for n in range(2_000))
    assert len(json.dumps([tally.figures.null_words, [g.reason for g in tally.figures.broken]])) < 60_000


def written(path: Path, name: str, value: object) -> Path:
    path = path / name
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


USERS = [
    {"user_id": "u0", "platform": "android", "token": FCM_TOKEN, "first_name": "null", "colour": "N/A"},
    {"user_id": "u1", "platform": "ios", "token": FCM_TOKEN + "1", "first_name": "Ann"},
    {"user_id": "u2", "platform": "ios"},
]


def test_validate_warns_of_what_the_texts_use(tmp_path: Path) -> None:
    """The colour is in no text; the file is taken all the same."""
    batch = {"campaign": {"id": "c", "message": {"title": "Hi {{ first_name | default: 'there' }}"}}, "users": USERS}
    result = CliRunner().invoke(app, ["validate", str(written(tmp_path, "a.json", batch)), "--json"])
    assert result.exit_code == 0, result.output
    warnings = json.loads(result.output)["warnings"]
    assert "1 token looks like FCM's, and is marked ios (gateway apns): set gateway: fcm" in warnings
    assert [warning.partition(";")[0] for warning in warnings if "the word" in warning] == [
        "first_name is the word null for 1 user"
    ]
    shown = CliRunner().invoke(app, ["validate", str(tmp_path / "a.json")])
    assert "1 × token: missing (record 2)" in shown.output


def test_count_warns_of_every_attribute(tmp_path: Path) -> None:
    """No text is known; a batch file is counted like any other file."""
    batch = written(tmp_path, "a.json", {"campaign": {"id": "c", "message": {"title": "Hi"}}, "users": USERS})
    result = CliRunner().invoke(app, ["count", str(batch), "--json"])
    assert result.exit_code == 0, result.output
    counts = json.loads(result.output)
    assert [warning.partition(" ")[0] for warning in counts["warnings"]] == ["1", "first_name", "colour"]
    assert counts["invalid"] == {"token: missing": 1}
    assert counts["invalid_first"] == [{"input": str(batch), "row": 2, "reason": "token: missing"}]
    shown = CliRunner().invoke(app, ["count", str(batch)]).output
    assert "first_name is the word null for 1 user" in shown
    assert "1 × token: missing (first: row 2 of" in " ".join(shown.split())


def test_the_form_warns_too() -> None:
    """Of what its texts print."""
    count = Counts(users=3, null_words={"first_name": {"null": 1}, "colour": {"N/A": 1}}, other_gateway={"ios apns": 1})
    form = Form(name="c", title="{% if first_name %}Hi{% endif %}")
    assert [warning.partition(" ")[0] for warning in audience_warnings(form, count)] == ["1", "first_name"]
    assert audience_warnings(form, None) == ()
