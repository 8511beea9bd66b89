"""Times and durations as texts."""

from datetime import UTC, datetime


def moment(at_ms: int | None) -> str:
    """A time as text, in UTC; – for none."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at_ms else "–"


def duration(seconds: float | None) -> str:
    """A duration as text; – for none."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
