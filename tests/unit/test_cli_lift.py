"""`notifier lift`: the figures of any tool, compared."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from operations.cli import app
from operations.cli.errors import ExitCode
from reporting.statistics.means import Sums, welch


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lift", *arguments], env={"COLUMNS": "100"})


def test_the_aspirin_study() -> None:
    """Table and sentence: a third to a half fewer, whatever the reader knows of statistics."""
    result = run("--control", "189/11034", "--variant", "104/11037")
    assert result.exit_code == ExitCode.FINE, result.output
    assert "variant: worse than control: between −57 % and −30 %" in result.output
    assert "5.7e-07" in result.output
    assert "1.49 to 1.97%" in result.output


def test_json_has_the_same_figures() -> None:
    """JSON has all that the table has, and null in place of what is infinite."""
    result = run("--control", "0/9000", "--variant", "b=50/9,000", "--look", "--smallest", "50", "--json")
    assert result.exit_code == ExitCode.FINE, result.output
    printed: dict[str, Any] = json.loads(result.stdout)
    (lift,) = printed["lifts"]
    assert (lift["variant"], lift["verdict"]["finding"]) == ("b", "better")
    assert lift["relative"]["low"] > 0
    assert lift["relative"]["high"] is None
    assert printed["basis"] == "look"


def test_no_verdict_is_exit_code_1() -> None:
    """Where it cannot tell, a script sees it by the exit code, and a person by how long it still takes."""
    result = run("--control", "500/10000", "--variant", "2530/45000", "--look", "--days", "5", "--smallest", "20")
    assert result.exit_code == ExitCode.NOT_FINE
    words = " ".join(result.output.split())
    assert "about 2 more days at this rate, if the lift is +20 %" in words
    assert "a lift of +14 % is shown four times of five" in words


def test_arms_out_of_proportion_are_not_compared() -> None:
    """A split that chance does not make takes the verdict away, in every form of the output."""
    arguments = ("--control", "500/10000", "--variant", "9000/41000", "--split", "10,45")
    result = run(*arguments)
    assert result.exit_code == ExitCode.NOT_FINE
    assert "the arms are out of proportion: do not compare" in result.output
    assert json.loads(run(*arguments, "--json").stdout)["lifts"][0]["relative"] is None


def test_two_variants_without_control() -> None:
    """They are compared with each other, and named by their number where they have no names."""
    assert "variant 2: better than variant 1" in run("--variant", "100/1000", "--variant", "160/1000").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--control", "1/10"], "there is nothing to compare"),
        (["--control", "11034/189", "--variant", "1/2"], "the other way round? 189/11034"),
        (["--control", "1", "--variant", "1/2"], "--control: '1' is not two numbers"),
        (["--variant", "a=1/2", "--variant", "a=1/2"], "name each once"),
        (["--control", "1/2", "--variant", "1/2", "--smallest", "0"], "--smallest 0: not a lift"),
        (["--control", "1/2", "--variant", "1/2", "--days", "0"], "--days 0: not a number of days"),
        (["--control", "1/2", "--variant", "1/2", "--split", "10,0"], "--split 10,0: not 2 shares above 0"),
        (["--control", "1/2", "--variant", "1/2", "--split", "10"], "not 2 shares above 0"),
    ],
)
def test_what_goes_wrong(arguments: list[str], words: str) -> None:
    """Each error names the option, what is wrong with it, and what to write."""
    result = run(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert words in " ".join(result.output.split())
    assert "Error" not in result.output


def test_means_from_sums(tmp_path: Path) -> None:
    """Six sums an arm, one GROUP BY: Welch's interval; with the values of before, CUPED's, which is narrower."""
    plain, adjusted = tmp_path / "plain.csv", tmp_path / "adjusted.csv"
    plain.write_text("arm,users,y,yy\ncontrol,3407,1396.87,52378.2\na,3461,2422.7,134698.3\n", encoding="utf-8")
    found = json.loads(run("--sums", str(plain), "--json").stdout)
    assert (found["arms"][1]["arm"], found["cuped"]) == ("a", False)
    assert found["arms"][1]["interval"]["low"] == pytest.approx(0.04538, abs=5e-5)
    assert found["arms"][1]["p_value"] == pytest.approx(0.02016, abs=5e-5)
    printed = run("--sums", str(plain))
    assert printed.exit_code == ExitCode.FINE
    assert "+0.04538 to +0.5346" in printed.output
    adjusted.write_text(
        "arm,users,y,yy,x,xx,xy\ncontrol,100,1000,10900,1000,10800,10700\na,100,1050,12000,1000,10800,11200\n",
        encoding="utf-8",
    )
    narrow = json.loads(run("--sums", str(adjusted), "--json").stdout)
    width = narrow["arms"][1]["interval"]["high"] - narrow["arms"][1]["interval"]["low"]
    assert narrow["cuped"]
    without = welch(Sums(100, 1050, 12_000), Sums(100, 1000, 10_900)).interval
    assert width < 0.8 * (without.high - without.low)
    assert "CUPED" in run("--sums", str(adjusted)).output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arm,users,y,yy\na,10,1,1\nb,10,1,1\n", "not a control group and variants"),
        ("arm,users,y,yy\ncontrol,10,1,1\na,ten,1,1\n", "a: not numbers"),
        ("arm,users,y,yy\ncontrol,1,1,1\na,10,1,1\n", "an arm needs two users at least"),
        ("arm,users,y,yy\ncontrol,10,10,10\na,10,10,10\n", "every user has the same value"),
        ("arm,users,y,yy\ncontrol,0,0,0\na,10,1,1\n", "control: an arm needs two users at least"),
        ("arm,users,y,yy,x,xx,xy\ncontrol,0,0,0,0,0,0\na,10,1,1,1,1,1\n", "control: an arm needs two users at least"),
        ("arm,users,y,yy\ncontrol,-5,1,1\na,10,1,1\n", "control: an arm needs two users at least"),
        ("arm;users;y;yy\ncontrol;10;1;1\na;10;1;1\n", "no column arm, users, y, yy, or another separator"),
        ("arm,users,y,yy\ncontrol,10,1,1\na,10,100,900\n", "a: no 10 users can have these sums"),
        ("arm,users,y,yy\ncontrol,10,1,1\na,10,0,-1\n", "a: no 10 users can have these sums"),
        ("arm,users,y,yy\ncontrol,10,1,1\na,10,nan,1\n", "a: not numbers"),
        ("arm,users,y,yy\ncontrol,10,1,1\na,10,1,inf\n", "a: not numbers"),
        ("arm,users,y,yy,x,xx,xy\ncontrol,10,1,1,1,1,1\na,10,1,1,100,900,1\n", "a: no 10 users can have these sums"),
        ("arm,users,y,yy,x,xx,xy\ncontrol,10,1,1,1,1,1\na,10,0,10,0,10,11\n", "a: no 10 users can have these sums"),
    ],
)
def test_sums_that_cannot_be_compared(tmp_path: Path, text: str, words: str) -> None:
    """Each with the file, and how it is written."""
    path = tmp_path / "sums.csv"
    path.write_text(text, encoding="utf-8")
    result = run("--sums", str(path))
    assert result.exit_code == ExitCode.USAGE
    assert words in " ".join(result.output.split())


def test_sums_of_a_spreadsheet(tmp_path: Path) -> None:
    """A byte-order mark is none of the first name; sums of equal values may be rounded to a little too little."""
    path = tmp_path / "sums.csv"
    path.write_text("arm,users,y,yy\ncontrol,3,1,0.3333333\na,3,2,2\n", encoding="utf-8-sig")
    found = json.loads(run("--sums", str(path), "--json").stdout)
    assert found["arms"][1]["lift"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (("--control", "1/10"), "--control"),
        (("--variant", "1/10"), "--variant"),
        (("--look", "--days", "5"), "--look, --days"),
        (("--smallest", "10"), "--smallest"),
        (("--split", "10,90"), "--split"),
    ],
)
def test_beside_sums(tmp_path: Path, beside: tuple[str, ...], named: str) -> None:
    """What would change nothing is refused by its name, also where it is the default."""
    result = run("--sums", str(tmp_path / "sums.csv"), *beside)
    assert result.exit_code == ExitCode.USAGE
    assert f"leave out {named}" in " ".join(result.output.split())
