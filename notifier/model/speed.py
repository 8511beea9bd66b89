"""How fast a lane sends and what holds it back, for people who ask why a run is slow. Nothing is decided by it."""

import msgspec


class EndpointSpeed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One endpoint. Answers and percentiles are of the latest hop that asked it, the rest of all hops of the lane.

    Args:
        limit: requests a second while it is slowed down, because it refuses for now or answers late; else None.
        limited_since_ms: since when, in milliseconds since the epoch.
        limited_ms: for how long in all.
        retries: requests that are made again, or later, by the gateway's reason.
    """

    answers: int = 0
    p50_ms: int = 0
    p99_ms: int = 0
    limit: float | None = None
    limited_since_ms: int = 0
    limited_ms: int = 0
    retries: dict[str, int] = {}


class Speed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A lane's speed at one moment of its latest hop.

    Args:
        at_ms: the moment, in milliseconds since the epoch.
        per_second: devices settled a second, over the seconds before it.
        campaign_limit: the campaign's `per_second`; 0 for none.
        fcm_budget: requests a second that all lanes of the stack share for FCM.
        ramp_ms: time of sending over which the rates grow from zero; 0 for none.
        late_ms: how long the run waited for its first invocation.
        gaps, gaps_ms, longest_gap_ms: waits between two invocations of the lane: how many, in all, the longest.
    """

    at_ms: int
    per_second: float = 0.0
    campaign_limit: int = 0
    fcm_budget: int = 0
    ramp_ms: int = 0
    late_ms: int = 0
    gaps: int = 0
    gaps_ms: int = 0
    longest_gap_ms: int = 0
    endpoints: dict[str, EndpointSpeed] = {}
