"""Measures how fast a hop sends and what holds it back, once a second, for `notifier status` and `report`."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from notifier.composition.settings import Settings
from notifier.model.campaign import Campaign
from notifier.model.run import Lane
from notifier.model.speed import EndpointSpeed, Speed
from notifier.sending.hop import Hop
from notifier.telemetry.sending import GatewayFigures

WINDOW = 10
"""Looks that the pace is measured over; there is one a second."""
SAME_LIMIT_S = 30.0
"""A limit that begins so soon in a hop, where the hop before ended with one, is the same one going on."""


class Wait(NamedTuple):
    """What was waited for before this hop: the first one after the file, or this one after the hop before."""

    ms: int = 0
    is_first: bool = False


class HopSpeed:
    """One hop's speed.

    Args:
        lane: as claimed: what earlier hops have seen is added to.
        began_s: monotonic time.
    """

    def __init__(self, lane: Lane, campaign: Campaign, settings: Settings, wait: Wait, began_s: float) -> None:
        self._before = lane.speed or Speed(0)
        self._began_s = self._looked_s = began_s
        self._limited_s: dict[str, float] = {}
        self._seen = deque[tuple[float, int]](maxlen=WINDOW)
        gaps = 0 if wait.is_first or not wait.ms else 1
        gap_ms = wait.ms if gaps else 0
        before = self._before
        self._waits = {
            "late_ms": wait.ms if wait.is_first else before.late_ms,
            "gaps": before.gaps + gaps,
            "gaps_ms": before.gaps_ms + gap_ms,
            "longest_gap_ms": max(before.longest_gap_ms, gap_ms),
        }
        # Test pushes have no ramp.
        self._ramp_ms = 0 if campaign.test else settings.ramp_s * 1000
        self._campaign_limit = campaign.per_second or 0
        self._fcm_budget = settings.fcm_per_second

    def look(self, hop: Hop, gateways: Mapping[str, GatewayFigures], now_s: float, now_ms: int) -> Speed:
        """The speed now. `now_s` monotonic, `now_ms` since the epoch."""
        self._seen.append((now_s, hop.checkpoint.account.settled))
        (since_s, settled), elapsed_s = self._seen[0], now_s - self._looked_s
        self._looked_s = now_s
        return Speed(
            at_ms=now_ms,
            per_second=round((self._seen[-1][1] - settled) / (now_s - since_s), 1) if now_s > since_s else 0.0,
            campaign_limit=self._campaign_limit,
            fcm_budget=self._fcm_budget,
            ramp_ms=self._ramp_ms,
            **self._waits,
            endpoints={
                name: self._endpoint(name, hop, figures, elapsed_s, now_s, now_ms)
                for name, figures in gateways.items()
                if figures.answers or name in self._before.endpoints
            },
        )

    def _endpoint(
        self, name: str, hop: Hop, figures: GatewayFigures, elapsed_s: float, now_s: float, now_ms: int
    ) -> EndpointSpeed:
        before = self._before.endpoints.get(name, EndpointSpeed())
        slowed = hop.dispatch.slowed(name)
        since_ms = 0
        if slowed is not None:
            self._limited_s[name] = self._limited_s.get(name, 0.0) + elapsed_s
            goes_on = before.limit is not None and slowed[1] - self._began_s < SAME_LIMIT_S
            since_ms = before.limited_since_ms if goes_on else now_ms - int((now_s - slowed[1]) * 1000)
        retries = dict(before.retries)
        for reason, n in figures.retries.items():
            retries[reason] = retries.get(reason, 0) + n
        # A hop that has not asked it keeps what the hop before has seen.
        has_asked = figures.answers > 0
        return EndpointSpeed(
            answers=figures.answers if has_asked else before.answers,
            p50_ms=figures.percentile_ms(0.5) if has_asked else before.p50_ms,
            p99_ms=figures.percentile_ms(0.99) if has_asked else before.p99_ms,
            limit=round(slowed[0], 1) if slowed is not None else None,
            limited_since_ms=since_ms,
            limited_ms=before.limited_ms + int(self._limited_s.get(name, 0.0) * 1000),
            retries=retries,
        )
