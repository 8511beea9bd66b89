"""Counts in the messages that people read: `1 user`, `1,203 users`."""


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun. `many` is the plural where it is not the singular with an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
