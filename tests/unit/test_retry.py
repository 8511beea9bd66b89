"""Asking again: whether, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.outcome import Disposition, Verdict
from notifier.retry import ASK_AGAIN, MAX_ATTEMPTS, MAX_DELAY_S, MAX_RETRY_AFTER_S, Again, backoff_s, decide

EVER = float("inf")
RETRY = Verdict(Disposition.RETRY, "UNAVAILABLE")
draws = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, MAX_ATTEMPTS - 1)


def after(wish_s: int | None) -> Verdict:
    """A retry with the gateway's wish."""
    return Verdict(Disposition.RETRY, "QUOTA_EXCEEDED", retry_after_s=wish_s)


@pytest.mark.parametrize("disposition", [d for d in Disposition if d not in ASK_AGAIN])
def test_final_answers(disposition: Disposition) -> None:
    """What is final is never asked again."""
    assert decide(Verdict(disposition), 1, EVER, 0.5) is None


def test_the_last_attempt() -> None:
    """After the eighth request the device has failed."""
    assert decide(RETRY, MAX_ATTEMPTS - 1, EVER, 0.5) is not None
    assert decide(RETRY, MAX_ATTEMPTS, EVER, 0.5) is None


@pytest.mark.parametrize(("attempts", "least", "most"), [(1, 0.25, 0.5), (2, 0.5, 1), (3, 1, 2), (7, 16, 32)])
def test_backoff(attempts: int, least: float, most: float) -> None:
    """Half a second, doubled each time; the jitter takes up to half of it away."""
    assert decide(RETRY, attempts, EVER, 0.0) == Again(least)
    assert backoff_s(attempts, 0.999_999) == pytest.approx(most)


@given(st.integers(1, 10**9), draws)
def test_the_jitter_stays_under_the_cap(attempts: int, draw: float) -> None:
    """However often, never more than five minutes."""
    assert 0 < backoff_s(attempts, draw) <= MAX_DELAY_S


@given(attempts, draws, st.none() | st.integers(-5, 10**12), st.floats(-10, 10**7))
def test_never_beyond_the_time_to_live(n: int, draw: float, wish_s: int | None, expires_in_s: float) -> None:
    """A message that will be stale by then is not asked for again; a wait is never negative."""
    again = decide(after(wish_s), n, expires_in_s, draw)
    if again is not None:
        assert 0 < again.delay_s < expires_in_s


@given(attempts, draws, st.integers(0, int(MAX_RETRY_AFTER_S)))
def test_a_wish_is_granted(n: int, draw: float, wish_s: int) -> None:
    """Never sooner than the gateway asked for, nor than our own backoff."""
    again = decide(after(wish_s), n, EVER, draw)
    assert again is not None
    assert again.delay_s >= max(wish_s, backoff_s(n, draw))


def test_wishes_double_and_end() -> None:
    """A wish granted in vain is doubled up to five minutes; a longer wish is kept as it is; a day is an hour."""
    assert [decide(after(60), n, EVER, 0.0) for n in (1, 2, 3, 4)] == [Again(60), Again(120), Again(240), Again(300)]
    assert decide(after(1_000), 5, EVER, 0.0) == Again(1_000)
    assert decide(after(86_400), 1, EVER, 0.0) == Again(MAX_RETRY_AFTER_S)


@pytest.mark.parametrize("wish_s", [0, -30])
def test_a_wish_of_nothing(wish_s: int) -> None:
    """`Retry-After: 0`, or a date that has passed, is no leave to hammer."""
    assert decide(after(wish_s), 3, EVER, 0.0) == Again(1.0)


def test_renewed_credentials() -> None:
    """With new credentials it is asked at once; a second refusal is the dispatch's business."""
    assert decide(Verdict(Disposition.RENEW, "ExpiredProviderToken"), 1, 60, 0.5) == Again(0.0)


def test_now_or_never() -> None:
    """A time to live of zero is one attempt."""
    assert decide(RETRY, 1, 0.0, 0.0) is None
