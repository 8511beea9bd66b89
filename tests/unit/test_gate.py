"""tests/gate.py: that what it leaves out is there."""

from pathlib import Path

import pytest

from tests.gate import EVERY, LEFT_OUT, is_left_out

TESTS = Path(__file__).parent.parent


@pytest.mark.parametrize("name", [*EVERY, *LEFT_OUT])
def test_it_names_a_test(name: str) -> None:
    """A test that was renamed would come back into the gate without a word."""
    file, *_, test = name.split("::")
    assert f"def {test}(" in (TESTS / file).read_text(encoding="utf-8")


def test_of_many_cases_some_stay() -> None:
    """The first, and each nth."""
    name = "tests/unit/test_timetable.py::test_year"
    assert [is_left_out(name, number) for number in range(5)] == [False, True, True, True, False]
    assert is_left_out(f"tests/{LEFT_OUT[0]}", 0)
    assert not is_left_out("tests/unit/test_gate.py::test_of_many_cases_some_stay", 3)
