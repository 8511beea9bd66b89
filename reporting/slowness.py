"""Why a run is as slow as it is, in words: pace, limits, ramp, slowed gateways, retries, answers, lanes, waits."""

from collections.abc import Iterator

from notifier.model.plurals import counted
from notifier.model.speed import EndpointSpeed, Speed
from notifier.model.summary import Summary
from reporting.times import duration, moment

NAMES = {"fcm": "FCM", "apns": "APNs", "apns-sandbox": "APNs sandbox"}
FRESH_MS = 15_000
"""A pace that was measured longer ago is not the pace of now. A worker writes at least each 4 s."""
AT_LIMIT = 0.85
"""From this share of a limit on, the limit is what holds the run back."""
SLOW_P50_MS = 1_000
"""Answers that take longer than this for half of the requests are named as the cause."""


def why_slow(summary: Summary, now_ms: int | None = None) -> Iterator[tuple[str, str]]:
    """What held the run back, each with its name: for `status` while it sends, for `report` afterwards.

    Nothing of a run of a release that did not measure it.

    Args:
        now_ms: by default the moment at which its speed was measured last.
    """
    speed = summary.speed
    if speed is None:
        return
    now_ms = speed.at_ms if now_ms is None else now_ms
    is_running = summary.status == "running"
    if is_running:
        yield "pace", _pace(summary, speed, now_ms)
        yield from _ramp(summary, speed)
    for name, endpoint in sorted(speed.endpoints.items()):
        if (slowed := _slowed(endpoint, now_ms, is_running=is_running)) is not None:
            yield f"{_called(name)} slowed", slowed
    if retries := _retries(speed):
        yield "asked again", retries
    if answers := _answers(speed):
        yield "answers", answers
    if is_running and summary.slowest_lane is not None:
        yield "slowest lane", f"{summary.slowest_lane} of {summary.lanes}: it has the least of its part behind it"
    yield "waits", _waits(speed)


def _called(endpoint: str) -> str:
    return NAMES.get(endpoint, endpoint)


def _pace(summary: Summary, speed: Speed, now_ms: int) -> str:
    """The pace now, and the limit that explains it, if one does."""
    old_ms = now_ms - speed.at_ms
    if old_ms > FRESH_MS:
        return f"nothing was heard of its workers for {duration(old_ms / 1000)}; the sweeper looks each minute"
    settled = summary.devices - summary.unsent
    mean = f", {settled * summary.lanes / summary.sending_s:,.0f} on average while it sent" if summary.sending_s else ""
    text = f"{speed.per_second:,.0f} devices a second{mean}"
    if speed.campaign_limit and speed.per_second >= AT_LIMIT * speed.campaign_limit:
        return f"{text}: the file's own per_second of {speed.campaign_limit:,}"
    fcm = sum(one.answers for name, one in speed.endpoints.items() if name == "fcm")
    if fcm and speed.fcm_budget and speed.per_second >= AT_LIMIT * speed.fcm_budget:
        return f"{text}: FcmPerSecond of {speed.fcm_budget:,}, which all runs at work share"
    limits = [f"per_second {speed.campaign_limit:,}"] if speed.campaign_limit else []
    return f"{text} (limits: {', '.join([*limits, f'FcmPerSecond {speed.fcm_budget:,} for all runs'])})"


def _ramp(summary: Summary, speed: Speed) -> Iterator[tuple[str, str]]:
    sent_ms = int(summary.sending_s * 1000 / summary.lanes)
    if sent_ms < speed.ramp_ms:
        share = sent_ms / speed.ramp_ms
        after = f"{sent_ms / 1000:,.0f} of {speed.ramp_ms / 1000:,.0f} s of sending are over"
        yield "ramp", f"at most {share:.0%} of the full rate now: {after} (RampSeconds)"


def _slowed(endpoint: EndpointSpeed, now_ms: int, *, is_running: bool) -> str | None:
    """Since when an endpoint is asked less on purpose, and why; afterwards for how long it was."""
    if is_running and endpoint.limit is not None:
        since = f"since {moment(endpoint.limited_since_ms)} ({duration((now_ms - endpoint.limited_since_ms) / 1000)})"
        return f"to {endpoint.limit:,.0f} requests a second {since}: it refuses for now, or answers late"
    if endpoint.limited_ms >= 1_000:
        return f"for {duration(endpoint.limited_ms / 1000)} in all, because it refused for now or answered late"
    return None


def _retries(speed: Speed) -> str:
    """Requests that were made again, by gateway and reason, the most frequent first."""
    found = [
        (n, f"{_called(name)} {reason} {n:,}")
        for name, endpoint in speed.endpoints.items()
        for reason, n in endpoint.retries.items()
    ]
    return ", ".join(text for _, text in sorted(found, key=lambda one: -one[0])[:6])


def _answers(speed: Speed) -> str:
    """How fast each gateway answers, the slowest first."""
    asked = [(name, one) for name, one in speed.endpoints.items() if one.answers]
    asked.sort(key=lambda one: -one[1].p50_ms)
    texts = [f"{_called(name)} half within {one.p50_ms:,} ms, 99 % within {one.p99_ms:,} ms" for name, one in asked]
    if asked and asked[0][1].p50_ms >= SLOW_P50_MS:
        texts[0] += " (slow)"
    return "; ".join(texts)


def _waits(speed: Speed) -> str:
    begun = f"its first worker began after {duration(speed.late_ms / 1000)}"
    if not speed.gaps:
        return f"{begun}; none between workers"
    longest = duration(speed.longest_gap_ms / 1000)
    between = f"{counted(speed.gaps, 'wait')} between workers"
    return f"{begun}; {between}, {duration(speed.gaps_ms / 1000)} in all, at most {longest}"
