"""Rate limit: permits as time goes by."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.sending.rate_limit import RateLimit
from tests.examples import examples


def spend(rate_limit: RateLimit, from_s: float, to_s: float, step_s: float) -> int:
    """Take every permit there is, looking every `step_s`."""
    taken = 0
    for n in range(1, round((to_s - from_s) / step_s) + 1):
        permits = rate_limit.permits(from_s + n * step_s)
        rate_limit.take(permits)
        taken += permits
    return taken


@pytest.mark.parametrize("per_second", [0, -1, 0.0, float("nan"), float("inf"), -0.5])
def test_no_rate(per_second: float) -> None:
    """A rate that is no rate is refused, at the beginning and later."""
    with pytest.raises(ValueError, match="above zero"):
        RateLimit(per_second, 0, 0, 0)
    rate_limit = RateLimit(5, 0, 0, 0)
    with pytest.raises(ValueError, match="above zero"):
        rate_limit.set_rate(per_second)


def test_no_limit() -> None:
    """Without a limit there are always permits and no waiting."""
    rate_limit = RateLimit(None, 60, 0, 0)
    assert rate_limit.permits(0) > 100_000
    rate_limit.take(10**9)
    assert rate_limit.permits(0) > 100_000
    assert rate_limit.wait_s(0) == 0
    assert rate_limit.rate(0) is None


@pytest.mark.parametrize("per_second", [0.5, 1, 3, 70, 5_000, 9_000])
@pytest.mark.parametrize("step_s", [0.001, 0.02, 0.08])
def test_the_full_rate(per_second: float, step_s: float) -> None:
    """Over ten seconds so many as were promised, give or take one, however often one looks."""
    assert spend(RateLimit(per_second, 0, 0, 0), 0, 10, step_s) == pytest.approx(10 * per_second, abs=1.01)


@given(st.floats(0.2, 10_000), st.floats(1, 3_600))
def test_no_burst_after_a_stall(per_second: float, stall_s: float) -> None:
    """A moment in which nothing went is not made up for: a tenth of a second's worth, and one, at most."""
    rate_limit = RateLimit(per_second, 0, 0, 0)
    rate_limit.permits(0.5)
    assert rate_limit.permits(stall_s) <= per_second * RateLimit.BURST_S + 1


@given(st.floats(1, 60), st.lists(st.floats(0.001, 0.05), min_size=20, max_size=100))
@settings(max_examples=examples(50))
def test_the_ramp(ramp_s: float, steps: list[float]) -> None:
    """The rate grows in a straight line: after t seconds rate x t^2 / 2 ramp have gone, whatever the steps."""
    rate_limit, now_s, taken, rate = RateLimit(100_000, ramp_s, 0, 0), 0.0, 0, 100_000
    for step_s in steps:
        now_s += step_s
        permits = rate_limit.permits(now_s)
        rate_limit.take(permits)
        taken += permits
        if now_s >= ramp_s:
            return
    assert taken == pytest.approx(rate * now_s**2 / (2 * ramp_s), abs=2)


def test_the_whole_ramp() -> None:
    """Half as many in the ramp's time as at the full rate, and the full rate from then on."""
    rate_limit = RateLimit(1_000, 60, 0, 0)
    assert spend(rate_limit, 0, 60, 0.02) == pytest.approx(30_000, abs=5)
    assert spend(rate_limit, 60, 70, 0.02) == pytest.approx(10_000, abs=5)


def test_the_ramp_goes_on_over_hops() -> None:
    """A hop that begins after 30 s of sending begins at half the rate; after 60 s at the whole."""
    assert RateLimit(1_000, 60, 30, 500).rate(500) == 500
    assert RateLimit(1_000, 60, 60, 500).rate(500) == 1_000
    assert spend(RateLimit(1_000, 60, 30, 500), 500, 530, 0.02) == pytest.approx(22_500, abs=5)


def test_another_rate() -> None:
    """A rate that changes counts from now on."""
    rate_limit = RateLimit(1_000, 0, 0, 0)
    spend(rate_limit, 0, 1, 0.01)
    rate_limit.set_rate(100)
    assert spend(rate_limit, 1, 2, 0.01) == pytest.approx(100, abs=2)


@given(st.floats(0.01, 10_000), st.floats(0, 120), st.floats(0, 60))
def test_waiting(per_second: float, ramp_s: float, sent_for_s: float) -> None:
    """The wait for a permit is neither negative nor longer than a second, and enough waits bring one."""
    rate_limit, now_s = RateLimit(per_second, ramp_s, sent_for_s, 0), 0.0
    assert 0 <= rate_limit.wait_s(now_s) <= 1
    for _ in range(20_000):
        if rate_limit.permits(now_s):
            return
        wait_s = rate_limit.wait_s(now_s)
        assert 0 <= wait_s <= 1
        now_s += max(wait_s, 0.005)
    raise AssertionError(f"no permit after {now_s} s")


def test_overdrawn() -> None:
    """Permits taken beyond what there was are missing later."""
    rate_limit = RateLimit(100, 0, 0, 0)
    rate_limit.permits(0.05)
    rate_limit.take(15)
    assert spend(rate_limit, 0.05, 1.05, 0.01) == pytest.approx(90, abs=1.01)


class TestRateOverHops:
    """A rate below one a second: the next permit may come in another hop than the last."""

    @pytest.mark.parametrize("waited_s", [0.0, 30.0, 79.0])
    def test_it_goes_on(self, waited_s: float) -> None:
        """What earlier hops have waited counts, and only what is missing is waited for."""
        rate_limit = RateLimit(1 / 80, 0, 500, 1_000)
        rate_limit.carry_on(waited_s)
        assert rate_limit.permits(1_000) == 0
        assert rate_limit.next_s(1_000) == pytest.approx(80 - waited_s)
        assert rate_limit.waited_s() == pytest.approx(waited_s)
        assert rate_limit.permits(1_080.01 - waited_s) == 1

    def test_woken_late(self) -> None:
        """A lane that is woken a minute after its time has lost nothing; after a day it has no more than two."""
        rate_limit = RateLimit(1 / 80, 60, 60, 1_000)
        rate_limit.carry_on(140)
        assert rate_limit.permits(1_000) == 1
        assert rate_limit.permits(1_000) == 1  # the batch was not read yet: nothing was taken
        rate_limit.take(1)
        assert rate_limit.next_s(1_000) == pytest.approx(20)
        rate_limit = RateLimit(1 / 80, 60, 60, 1_000)
        rate_limit.carry_on(86_400)
        assert rate_limit.permits(1_000) == 2

    def test_not_known(self) -> None:
        """While the rate grows, and without one, nobody can say when the next permit comes."""
        assert RateLimit(1 / 80, 60, 0, 0).next_s(1) == 0
        assert RateLimit(None, 0, 0, 0).next_s(1) == 0

    def test_quick_rates(self) -> None:
        """From one a second on the wait ends within the hop: nothing is kept."""
        rate_limit = RateLimit(1, 0, 0, 0)
        assert rate_limit.permits(0.9) == 0
        assert rate_limit.waited_s() is None
