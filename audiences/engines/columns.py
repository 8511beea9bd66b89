"""Which columns a query's result must have, and what is wrong with those it has."""

from collections.abc import Sequence

REQUIRED = ("user_id", "platform", "token")
KNOWN = (*REQUIRED, "devices", "locale", "timezone", "gateway", "environment", "updated_at", "attributes")
"""Columns with a meaning, in any case. Every other column becomes an attribute."""


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
        return (
            f"the result has no column {' and no column '.join(missing)} (it has {', '.join(columns[:20])})",
            "SELECT user_id, platform, token (or user_id and devices): give a column its name by AS",
        )
    return None
