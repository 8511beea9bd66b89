"""What Pythons between 3.11.0 and 3.11.4 get wrong: Debian 12 has 3.11.2."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+|\(\?>")
"""`(…)*+`, `(…){2}+`, `(?>…)`: matched wrongly before 3.11.5 (https://github.com/python/cpython/issues/106052)."""


def test_no_expression_has_a_possessive_group() -> None:
    """Expressions of the product are possessive in single characters only, which every Python 3.11 gets right."""
    shipped = (file for package in ("notifier", "approval", "audiences") for file in (ROOT / package).rglob("*.py"))
    found = {file.name for file in shipped if POSSESSIVE_GROUP.search(file.read_text())}
    assert found == set()
