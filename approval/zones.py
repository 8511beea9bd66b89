"""Time zones by name."""

from functools import lru_cache
from zoneinfo import ZoneInfo


@lru_cache(maxsize=1000)
def zone_of(name: str) -> ZoneInfo | None:
    """The zone of an IANA name (`Europe/London`); None for an unknown name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None
