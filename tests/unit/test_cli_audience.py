"""`notifier audience`: counts and builds files of any format on a laptop."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from audiences.manifest_format import decode_manifest
from operations.cli import app
from operations.cli.errors import ExitCode
from tests.audience_people import FORMATS, expected, found, people

SAMPLES = Path(__file__).parents[2] / "events"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audience", *map(str, arguments)], env={"COLUMNS": "200"})


def counting(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["count", *map(str, arguments)], env={"COLUMNS": "200"})


def test_build_and_count(tmp_path: Path) -> None:
    """The manifest is printed, and lies beside the parts; counting says the same without writing anything."""
    users = people(600)
    for name in ("csv", "zstd"):
        FORMATS[name](tmp_path, users[:300] if name == "csv" else users[300:])
    files = tmp_path / "rows.*"
    built = run("build", files, "-o", tmp_path / "out", "--json", "--show", "first_name")
    assert built.exit_code == ExitCode.FINE, built.output
    printed: dict[str, Any] = json.loads(built.stdout)
    folder = tmp_path / "out" / "audiences" / "prepared" / printed["id"]
    assert decode_manifest((folder / "_manifest.json").read_bytes()).id == printed["id"]
    assert found([tmp_path / "out" / part["key"] for part in printed["parts"]]) == expected(users)
    assert "Ann" in printed["counts"]["attributes"]["first_name"]["examples"]

    again = json.loads(run("build", files, "-o", tmp_path / "out", "--json").stdout)
    assert (again["id"], again["attempt"]) == (printed["id"], printed["attempt"])

    counted = counting(files, "--json", "--show", "first_name")
    assert json.loads(counted.stdout) == printed["counts"] | {"warnings": [], "now": None}
    words = counting(files, "--show", "basket").output
    assert f"users            {printed['counts']['users']}" in words
    assert "repeated tokens" in words
    assert "Ann" not in words


@pytest.mark.parametrize("name", ["users.csv", "users.parquet", "users.jsonl.zst"])
def test_the_samples(name: str, tmp_path: Path) -> None:
    """Each sample of a format is the same three users with four devices."""
    built = run("build", SAMPLES / "tables" / name, "-o", tmp_path, "--json")
    counts = json.loads(built.stdout)["counts"]
    assert (counts["users"], counts["devices"]) == (3, {"android": {"fcm": 2}, "ios": {"apns": 2}})
    assert (counts["repeated_tokens"], counts["joined_rows"], counts["rows"]) == (1, 2, 5)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("build", "nothing.jsonl", "-o", "out"), ExitCode.NOT_FOUND, "there is no such file"),
        (("build", SAMPLES / "audiences" / "keyed-by-id.json", "-o", "out"), ExitCode.NOT_FINE, "keyed by id"),
        (("build", "x", "-o", "s3://bucket/folder"), ExitCode.USAGE, "name the bucket alone"),
    ],
)
def test_what_goes_wrong(arguments: tuple[object, ...], code: ExitCode, words: str) -> None:
    """Each error says what and what to do, and nothing of the inside."""
    result = run(*arguments)
    assert result.exit_code == code
    assert words in result.output
    assert "Error" not in result.output
