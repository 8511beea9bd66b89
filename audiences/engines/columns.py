"""Which columns a query's result must have, and what is wrong with those it has."""

import re
from collections.abc import Sequence

from notifier.model.spelling import are_values

REQUIRED = ("user_id", "platform", "token")
KNOWN = (*REQUIRED, "devices", "locale", "timezone", "gateway", "environment", "updated_at", "attributes")
"""Columns with a meaning, in any case. Every other column becomes an attribute."""

_SEPARATOR = re.compile(r"[,;|\t]")


def column_problem(columns: Sequence[str], *, is_audience: bool) -> tuple[str, str] | None:
    """A column that is missing, or is there twice: the problem and what to do; None if all is well."""
    lower = [column.lower() for column in columns]
    # Attributes keep their case: only known columns are the same in any case.
    names = [low if low in KNOWN else column for low, column in zip(lower, columns, strict=True)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        return f"the column {twice} is in the result twice", "name the columns instead of *"
    if not is_audience:
        return None
    wanted = ("user_id", "devices") if "devices" in lower else REQUIRED
    if missing := [name for name in wanted if name not in lower]:
        shown = _shown(columns)
        return (
            f"the result has no column {' and no column '.join(missing)} (it has {shown})",
            "SELECT user_id, platform, token (or user_id and devices): give a column its name by AS",
        )
    return None


def _shown(columns: Sequence[str]) -> str:
    """What the columns are called, and what may be the cause."""
    # The first line of a table without a header: its values, such as tokens, are shown to nobody.
    if are_values(columns):
        return "values in place of names: has a table no header?"
    names = ", ".join(columns[:20])
    joined = any(_SEPARATOR.search(one) and {*REQUIRED} & {*_SEPARATOR.split(one.lower())} for one in columns)
    # DuckDB takes each line for one cell if the numbers of cells differ.
    return f"{names}: has a row of a table more or fewer cells than its header?" if joined else names
