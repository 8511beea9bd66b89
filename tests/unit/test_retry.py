"""Asking again: whether, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.health import Health
from notifier.model.outcome import Disposition, Verdict
from notifier.sending.retry import (
    LAST_CALL_S,
    MAX_COUNTED,
    MAX_DELAY_S,
    MAX_RETRY_AFTER_S,
    MAX_TRYING_S,
    RETRIED,
    Tried,
    backoff_s,
    decide,
    on_grid,
    trying_s,
)

EVER = float("inf")
RETRY = Verdict(Disposition.RETRY, "UNAVAILABLE")
draws = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 1_000)


def after(wish_s: int | None) -> Verdict:
    """A retry with the gateway's wish."""
    return Verdict(Disposition.RETRY, "QUOTA_EXCEEDED", retry_after_s=wish_s)


def delay_s(verdict: Verdict, tried: Tried, expires_in_s: float, draw: float) -> float | None:
    """How long it waits."""
    again = decide(verdict, tried, expires_in_s, draw)
    return again.delay_s if again else None


@pytest.mark.parametrize("disposition", [d for d in Disposition if d not in RETRIED])
def test_final_answers(disposition: Disposition) -> None:
    """What is final is never asked again."""
    assert decide(Verdict(disposition), Tried(1), EVER, 0.5) is None


@given(draws)
def test_refused_alone(draw: float) -> None:
    """A device that is refused while others are accepted has failed after eight requests, over more than an hour."""
    waited_s = 0.0
    for n in range(1, MAX_COUNTED):
        again = decide(RETRY, Tried(n, n, is_counted=True), EVER, draw)
        assert again is not None
        waited_s += again.delay_s
    assert decide(RETRY, Tried(MAX_COUNTED, MAX_COUNTED, is_counted=True), EVER, draw) is None
    assert 3_600 < waited_s < 4_500


@given(attempts, draws)
def test_an_outage_counts_nothing(n: int, draw: float) -> None:
    """However often it was refused in an outage, it is asked again, within a quarter of an hour."""
    again = decide(RETRY, Tried(n), EVER, draw)
    assert again is not None
    assert 0 < again.delay_s <= MAX_DELAY_S


@pytest.mark.parametrize(("n", "least", "most"), [(1, 0.25, 0.5), (2, 0.5, 1), (3, 1, 2), (7, 16, 32)])
def test_backoff(n: int, least: float, most: float) -> None:
    """Half a second, doubled each time; the jitter takes up to half of it away."""
    assert delay_s(RETRY, Tried(n), EVER, 0.0) == least
    assert backoff_s(Tried(n), 0.999_999) == pytest.approx(most)


@given(attempts, draws, st.none() | st.integers(-5, 10**12), st.floats(-10, 10**7))
def test_never_beyond_the_time_to_live(n: int, draw: float, wish_s: int | None, expires_in_s: float) -> None:
    """A message that will be stale by then is not asked for again; a wait is never negative."""
    again = decide(after(wish_s), Tried(n), expires_in_s, draw)
    if again is not None:
        assert 0 < again.delay_s < expires_in_s


@pytest.mark.parametrize("n", [1, 5, 12, 100])
def test_the_time_to_live_is_used_up(n: int) -> None:
    """A wait that would end too late ends shortly before the message expires: one last attempt, and only one."""
    last = decide(RETRY, Tried(n), 0.2 * backoff_s(Tried(n), 0.0) + LAST_CALL_S, 0.0)
    assert last is not None
    if n >= 12:
        assert last.delay_s == pytest.approx(0.2 * backoff_s(Tried(n), 0.0))
    assert decide(RETRY, Tried(n + 1), 0.5, 0.999) is None


@pytest.mark.parametrize(
    ("ttl_s", "trying"), [(None, MAX_TRYING_S), (0.0, 60.0), (600.0, 600.0), (2_419_200.0, MAX_TRYING_S)]
)
def test_how_long_a_device_is_tried(ttl_s: float | None, trying: float) -> None:
    """For the message's time to live, at most a day; a day without one; a minute for one that is now or never."""
    assert trying_s(ttl_s) == trying


@given(attempts, draws, st.integers(0, int(MAX_RETRY_AFTER_S)))
def test_a_wish_is_granted(n: int, draw: float, wish_s: int) -> None:
    """Never sooner than the gateway asked for, nor than our own backoff."""
    again = decide(after(wish_s), Tried(n), EVER, draw)
    assert again is not None
    assert again.delay_s >= max(wish_s, backoff_s(Tried(n), draw))


def test_wishes_double_and_end() -> None:
    """A wish granted in vain is doubled up to five minutes; a longer wish is kept as it is; a day is an hour."""
    assert [delay_s(after(60), Tried(n), EVER, 0.0) for n in (1, 2, 3, 4)] == [60, 120, 240, 300]
    assert delay_s(after(1_000), Tried(5), EVER, 0.0) == 1_000
    assert delay_s(after(86_400), Tried(1), EVER, 0.0) == MAX_RETRY_AFTER_S


@pytest.mark.parametrize("wish_s", [0, -30])
def test_a_wish_of_nothing(wish_s: int) -> None:
    """`Retry-After: 0`, or a date that has passed, is no leave to hammer."""
    assert delay_s(after(wish_s), Tried(3), EVER, 0.0) == 1.0


def test_renewed_credentials() -> None:
    """With new credentials it is asked at once; one that is refused again and again waits and fails like any other."""
    stale = Verdict(Disposition.RENEW, "ExpiredProviderToken")
    assert delay_s(stale, Tried(1), 60, 0.5) == 0.0
    assert delay_s(stale, Tried(3, 3, is_counted=True), EVER, 0.0) == 15 * 0.95
    assert decide(stale, Tried(8, 8, is_counted=True), EVER, 0.0) is None


def test_now_or_never() -> None:
    """When the time is over, there is no other attempt."""
    assert decide(RETRY, Tried(1), 0.0, 0.0) is None


@given(attempts, draws, st.none() | st.integers(0, 3_600), st.floats(1.7e9, 2e9))
def test_the_grid(n: int, draw: float, wish_s: int | None, now_s: float) -> None:
    """Waits end at round times: never early; what a gateway asked for at most an eighth late, our own at most half."""
    again = decide(after(wish_s), Tried(n), EVER, draw)
    assert again is not None
    due_at = now_s + again.delay_s
    late_s = on_grid(due_at, again.grid_s) - due_at
    share = 8 if wish_s is not None and again.delay_s > backoff_s(Tried(n), draw) else 2
    assert 0 <= late_s < max(again.delay_s / share, 1) + 1e-6
    assert again.grid_s <= 256


class TestHealth:
    """Distinguishes a device that is refused alone from an outage."""

    def test_alone(self) -> None:
        """Refused although a later request was accepted: it is the device."""
        health = Health()
        health.accept("fcm", 101.0)
        assert health.refuse("fcm", 100.0, 100.0, 0)
        health.accept("fcm", 150.0)
        assert health.refuse("fcm", 160.0, 100.0, 1)

    def test_accepted_before_it_was_asked(self) -> None:
        """What was accepted before an outage began says nothing about the devices that it met."""
        health = Health()
        health.accept("fcm", 99.0)
        health.accept("apns", 101.0)
        assert not health.refuse("fcm", 100.0, 100.0, 0)
        assert not health.refuse("fcm", 160.0, 100.0, 0)

    def test_the_last_one_of_a_run(self) -> None:
        """No other device is left to be asked: it was refused alone before, and is refused alone now."""
        health = Health()
        health.accept("fcm", 101.0)
        assert health.refuse("fcm", 100.0, 100.0, 0)
        assert health.refuse("fcm", 160.0, 100.0, 1)
        assert health.refuse("fcm", 900.0, 160.0, 2)

    def test_alone_before_and_an_outage_now(self) -> None:
        """Devices that were never refused alone are refused too: an outage, which counts against none."""
        health = Health()
        health.accept("fcm", 101.0)
        assert health.refuse("fcm", 100.0, 100.0, 0)
        assert health.refuse("fcm", 150.0, 100.0, 1)
        assert not health.refuse("fcm", 200.0, 200.0, 0)
        assert not health.refuse("fcm", 210.0, 150.0, 2)

    def test_it_is_remembered(self) -> None:
        """A copy of what was seen goes on where the first one ended, and leaves that alone."""
        health = Health()
        health.accept("fcm", 101.0)
        again = Health(health.seen)
        assert again.refuse("fcm", 100.0, 100.0, 0)
        again.accept("fcm", 500.0)
        assert health.seen["fcm"].accepted_at == 101.0
