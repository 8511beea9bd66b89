"""Why a run is slow, in words, and how the figures behind it are measured over hops and lanes."""

from types import SimpleNamespace
from typing import Any

import msgspec

from notifier.composition.hop_speed import HopSpeed, Wait
from notifier.composition.settings import Settings
from notifier.model.account import Account
from notifier.model.campaign_reading import read_campaign
from notifier.model.run import Lane, LaneState, Run, source_of
from notifier.model.speed import EndpointSpeed, Speed
from notifier.model.summary import Summary, summary_of
from notifier.telemetry.sending import GatewayFigures
from reporting.slowness import why_slow

NOW_MS = 1_795_000_000_000
RUN = Run("r", source_of("b", "batches/day.json", "v", "e"), NOW_MS)
CAMPAIGN = read_campaign({"id": "c", "message": {"title": "x"}, "per_second": 500})


def summary(speed: Speed | None, *, state: LaneState = LaneState.RUNNING, sending_s: float = 100) -> Summary:
    lane = Lane("r", state=state, sending_ms=int(sending_s * 1000), account=Account(devices=5_000), speed=speed)
    return summary_of(RUN, lane, "b")


def words(speed: Speed | None, **about: Any) -> dict[str, str]:
    return dict(why_slow(summary(speed, **about), NOW_MS))


def test_its_own_limit_is_the_reason() -> None:
    """The pace with the limit that explains it: the file's, else the stack's; else both are only named."""
    own = Speed(NOW_MS, per_second=480, campaign_limit=500, fcm_budget=9_000)
    assert words(own)["pace"] == "480 devices a second, 50 on average while it sent: the file's own per_second of 500"
    fcm = {"fcm": EndpointSpeed(answers=10)}
    of_stack = Speed(NOW_MS, per_second=8_800, fcm_budget=9_000, endpoints=fcm)
    assert words(of_stack)["pace"].endswith(": FcmPerSecond of 9,000, which all runs at work share")
    neither = Speed(NOW_MS, per_second=40, campaign_limit=500, fcm_budget=9_000)
    assert words(neither)["pace"].endswith("(limits: per_second 500, FcmPerSecond 9,000 for all runs)")


def test_a_pace_of_long_ago_is_none() -> None:
    """A worker writes every 4 s: after 15 s without, there is none, and that is said."""
    assert words(Speed(NOW_MS - 60_000, per_second=40))["pace"].startswith("nothing was heard of its workers for 1 min")


def test_the_ramp_says_how_far_it_is() -> None:
    """By the time that was spent sending, over all hops; after it there is no such line."""
    ramp = Speed(NOW_MS, ramp_ms=60_000)
    assert words(ramp, sending_s=15)["ramp"].startswith("at most 25% of the full rate now: 15 of 60 s")
    assert "ramp" not in words(ramp, sending_s=60)


def test_a_slowed_gateway_says_since_when() -> None:
    """While it is slowed: to how much, and since when; afterwards for how long it was. The slowest gateway first."""
    fcm = EndpointSpeed(100, 90, 300, 72.0, NOW_MS - 48_000, 50_000, {"UNAVAILABLE": 501, "QUOTA_EXCEEDED": 7})
    apns = EndpointSpeed(50, 1_500, 2_000, retries={"unanswered": 30})
    found = words(Speed(NOW_MS, endpoints={"fcm": fcm, "apns": apns}))
    assert found["FCM slowed"].startswith("to 72 requests a second since 2026-")
    assert "(48.0 s)" in found["FCM slowed"]
    assert found["asked again"] == "FCM UNAVAILABLE 501, APNs unanswered 30, FCM QUOTA_EXCEEDED 7"
    assert found["answers"].startswith("APNs half within 1,500 ms, 99 % within 2,000 ms (slow); FCM half within 90 ms")
    assert "APNs slowed" not in found
    ended = words(Speed(NOW_MS, endpoints={"fcm": fcm}), state=LaneState.DONE)
    assert ended["FCM slowed"].startswith("for 50.0 s in all")
    assert not ended.keys() & {"pace", "ramp"}


def test_waits_between_workers() -> None:
    """How late the first one was, how often and how long nobody worked."""
    assert words(Speed(NOW_MS, late_ms=2_600))["waits"] == "its first worker began after 2.6 s; none between workers"
    waits = words(Speed(NOW_MS, gaps=4, gaps_ms=4_900, longest_gap_ms=4_000))["waits"]
    assert waits.endswith("4 waits between workers, 4.9 s in all, at most 4.0 s")


def test_a_run_of_an_earlier_release_says_nothing() -> None:
    """It has not measured."""
    assert words(None) == {}


def test_lanes_are_one() -> None:
    """What adds up is added; of percentiles the worst counts, of times the earliest; the slowest lane is named."""
    one = Speed(NOW_MS, 100, endpoints={"fcm": EndpointSpeed(10, 50, 90, 20.0, NOW_MS - 9, 9, {"a": 1})}, gaps=1)
    two = Speed(NOW_MS, 200, endpoints={"fcm": EndpointSpeed(30, 70, 80, 30.0, NOW_MS - 5, 5, {"a": 2})}, gaps=2)
    lanes = [Lane("r", n, state=LaneState.RUNNING, speed=speed) for n, speed in enumerate((one, two, None))]
    found = summary_of(RUN, lanes, "b")
    assert found.speed is not None
    assert (found.speed.per_second, found.speed.gaps) == (300, 3)
    assert found.speed.endpoints["fcm"] == EndpointSpeed(40, 70, 90, 50.0, NOW_MS - 9, 9, {"a": 3})
    assert dict(why_slow(found, NOW_MS))["slowest lane"].startswith(f"{found.slowest_lane} of 3")


class Watched:
    """A hop, as far as its speed is concerned: how many devices are settled, and which endpoint is slowed."""

    def __init__(self, lane: Lane, began_s: float) -> None:
        settings = Settings(bucket="b", table="t", ramp_s=60, fcm_per_second=9_000)
        self.speed = HopSpeed(lane, CAMPAIGN, settings, Wait(700), began_s)
        self.figures = {"fcm": GatewayFigures()}
        self.settled = 0
        self.slowed: tuple[float, float] | None = None

    def look(self, now_s: float) -> Speed:
        """Its speed at this time."""
        account = SimpleNamespace(settled=self.settled)
        dispatch = SimpleNamespace(slowed=lambda _: self.slowed)
        hop: Any = SimpleNamespace(checkpoint=SimpleNamespace(account=account), dispatch=dispatch)
        return self.speed.look(hop, self.figures, now_s, NOW_MS + int(now_s * 1000))


def test_what_a_hop_measures() -> None:
    """The pace of the last seconds; requests that were made again; since when an endpoint is slowed."""
    hop = Watched(Lane("r"), 0.0)
    hop.look(0.0)
    hop.settled, hop.slowed = 300, (72.04, 2.0)
    hop.figures["fcm"] = GatewayFigures(answers=9, retries={"UNAVAILABLE": 3})
    found = hop.look(3.0)
    assert (found.per_second, found.campaign_limit, found.ramp_ms) == (100.0, 500, 60_000)
    assert (found.gaps, found.gaps_ms, found.late_ms) == (1, 700, 0)
    endpoint = found.endpoints["fcm"]
    assert (endpoint.limit, endpoint.limited_since_ms, endpoint.limited_ms) == (72.0, NOW_MS + 2_000, 3_000)
    assert endpoint.retries == {"UNAVAILABLE": 3}


def test_the_next_hop_goes_on_with_it() -> None:
    """A limit that begins again soon is the same one; retries and times add up; what is not asked keeps its figures."""
    before = EndpointSpeed(9, 100, 200, 72.0, NOW_MS - 60_000, 3_000, {"UNAVAILABLE": 3})
    hop = Watched(
        Lane("r", speed=Speed(NOW_MS, gaps=1, gaps_ms=5_000, longest_gap_ms=5_000, endpoints={"fcm": before})), 0.0
    )
    quiet = hop.look(0.5).endpoints["fcm"]
    assert (quiet.answers, quiet.p50_ms, quiet.limit, quiet.retries) == (9, 100, None, {"UNAVAILABLE": 3})
    hop.slowed = (50.0, 1.0)
    hop.figures["fcm"] = GatewayFigures(answers=4, retries={"UNAVAILABLE": 1})
    found = hop.look(2.0)
    assert (found.gaps, found.gaps_ms, found.longest_gap_ms) == (2, 5_700, 5_000)
    endpoint = found.endpoints["fcm"]
    assert (endpoint.limited_since_ms, endpoint.retries) == (NOW_MS - 60_000, {"UNAVAILABLE": 4})
    assert endpoint.limited_ms == 4_500


def test_it_is_kept_as_json() -> None:
    """The lane's attribute `speed`: a stored format, which changes by adding only."""
    speed = Speed(7, 1.5, endpoints={"fcm": EndpointSpeed(1, 2, 3, 4.0, 5, 6, {"a": 7})}, gaps=1)
    text = (
        b'{"at_ms":7,"per_second":1.5,"gaps":1,"endpoints":{"fcm":{"answers":1,"p50_ms":2,"p99_ms":3,"limit":4.0,'
        b'"limited_since_ms":5,"limited_ms":6,"retries":{"a":7}}}}'
    )
    assert msgspec.json.encode(speed) == text
    assert msgspec.json.decode(text, type=Speed) == speed
