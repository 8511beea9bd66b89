"""The throttle: slower when a gateway has too much to do or becomes slow, and back."""

from collections.abc import Callable
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.sending.backpressure import FLOOR, Backpressure
from notifier.sending.rate_limit import SHARE_EVERY_S, RateLimit, SharedBudget

STEP_S = 0.01
Gateway = Callable[[int, float], list[tuple[int, float]]]
"""From so many requests in one step at a time: their statuses and latencies."""


class Sender:
    """Sends as fast as the throttle lets it, up to `eager` requests a second."""

    def __init__(self, eager: int = 2_000) -> None:
        self.throttle = Backpressure(0.0)
        self.now_s = 0.0
        self.eager = eager
        self.statuses: dict[int, int] = {}

    def send(self, gateway: Gateway, seconds: float) -> int:
        """Go on for so long. Returns how many requests were made."""
        made = 0
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            n = min(self.throttle.permits(self.now_s), round(self.eager * STEP_S))
            self.throttle.take(n)
            made += n
            for status, latency_s in gateway(n, self.now_s):
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self.throttle.note(status, latency_s, self.now_s)
        return made


def fine(n: int, now_s: float) -> list[tuple[int, float]]:
    """Everything is taken, in 60 ms."""
    return [(200, 0.06)] * n


def limited(per_second: int, status: int = 429) -> Gateway:
    """Takes so many a second, and refuses the rest."""
    left = {"at": -1, "n": 0}

    def answer(n: int, now_s: float) -> list[tuple[int, float]]:
        if int(now_s) != left["at"]:
            left.update(at=int(now_s), n=per_second)
        taken = min(n, left["n"])
        left["n"] -= taken
        return [(200, 0.06)] * taken + [(status, 0.01)] * (n - taken)

    return answer


def slow(latency_s: float) -> Gateway:
    """Everything is taken, in that time."""
    return lambda n, _: [(200, latency_s)] * n


def test_without_trouble_it_is_free() -> None:
    """No limit of its own, however long it goes on."""
    sender = Sender()
    assert sender.send(fine, 20) == 40_000
    assert sender.throttle.rate is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_gateway_that_refuses_is_asked_as_fast_as_it_takes(status: int) -> None:
    """At 500 a second for 2,000: soon under a tenth is refused, and most of what it takes is used."""
    sender = Sender()
    gateway = limited(500, status)
    sender.send(gateway, 10)
    sender.statuses.clear()
    made = sender.send(gateway, 60)
    assert sender.statuses.get(status, 0) < 0.1 * made
    assert sender.statuses[200] > 0.7 * 500 * 60


def test_it_comes_back_when_the_trouble_is_over() -> None:
    """Within half a minute it is free again."""
    sender = Sender()
    sender.send(limited(500), 10)
    assert sender.throttle.rate is not None
    sender.send(fine, 30)
    assert sender.throttle.rate is None
    assert sender.send(fine, 1) == 2_000


def test_single_refusals_are_no_trouble() -> None:
    """One in a hundred is a device, or chance."""
    sender = Sender()
    sender.send(lambda n, now_s: [(429 if round(now_s * 100) % 5 == 0 else 200, 0.06), *fine(n - 1, now_s)], 10)
    assert sender.statuses[429] > 100
    assert sender.throttle.rate is None


def test_rising_latency_slows_down() -> None:
    """From 60 ms to 2 s at the median: slower, until it falls."""
    sender = Sender()
    sender.send(fine, 5)
    sender.send(slow(2.0), 2.5)
    rate = sender.throttle.rate
    assert rate is not None
    assert rate < 1_500
    sender.send(fine, 30)
    assert sender.throttle.rate is None


def test_a_gateway_that_stays_slow_is_not_waited_for_for_ever() -> None:
    """What is usual follows what is: going slower has not helped."""
    sender = Sender()
    sender.send(fine, 5)
    sender.send(slow(2.0), 120)
    assert sender.throttle.rate is None


def test_slow_from_the_start_is_usual() -> None:
    """Nothing to compare with: no reason to go slower."""
    sender = Sender()
    sender.send(slow(2.0), 20)
    assert sender.throttle.rate is None


def test_it_never_stops() -> None:
    """A gateway that refuses everything still gets a few requests, or the end of the trouble would go unnoticed."""
    sender = Sender()
    sender.send(limited(0), 60)
    assert sender.throttle.rate == FLOOR
    assert FLOOR * 9 <= sender.send(limited(0), 10) <= FLOOR * 11


def test_silence_says_nothing() -> None:
    """Requests that were not answered are no message about load."""
    sender = Sender()
    sender.send(lambda n, _: [(0, 15.0)] * n, 20)
    assert sender.throttle.rate is None


@given(
    st.lists(st.tuples(st.sampled_from([0, 200, 400, 429, 500, 503]), st.floats(0, 20), st.floats(0, 2)), max_size=300)
)
def test_whatever_is_answered_the_rate_is_none_or_above_the_floor(answers: list[tuple[int, float, float]]) -> None:
    """No sequence of answers brings it to zero, or below."""
    throttle, now_s = Backpressure(0.0), 0.0
    for status, latency_s, passed_s in answers:
        now_s += passed_s
        for _ in range(10):
            throttle.note(status, latency_s, now_s)
        assert throttle.rate is None or throttle.rate >= FLOOR
        throttle.take(max(throttle.permits(now_s), 0))


# -- a budget that several runs share


def known(users: int) -> "Future[int]":
    """An answer that is here."""
    answer: Future[int] = Future()
    answer.set_result(users)
    return answer


def spend(budget: SharedBudget, from_s: float, to_s: float) -> int:
    """Take every permit there is."""
    taken = 0
    for n in range(1, round((to_s - from_s) / STEP_S) + 1):
        permits = budget.permits(from_s + n * STEP_S)
        budget.take(permits)
        taken += permits
    return taken


def test_a_budget_is_divided_by_those_who_are_alive() -> None:
    """Three runs: each gets a third; when two have ended, the last gets all of it at the next look."""
    users = [3]
    budget = SharedBudget(RateLimit(900.0, 0, 0, 0.0), 900.0, lambda: known(users[0]))
    spend(budget, 0, 1)
    assert 295 <= spend(budget, 1, 2) <= 305
    users[0] = 1
    spend(budget, 2, 2 + SHARE_EVERY_S)
    assert 890 <= spend(budget, 6, 7) <= 905


def test_nobody_alive_is_one() -> None:
    """The index is behind the table: the run that asks may not be in it yet."""
    budget = SharedBudget(RateLimit(900.0, 0, 0, 0.0), 900.0, lambda: known(0))
    spend(budget, 0, 1)
    assert 890 <= spend(budget, 1, 2) <= 905


def test_a_count_that_fails_changes_nothing() -> None:
    """As before, until it is asked again."""
    answers = [known(2)]

    def ask() -> "Future[int]":
        if answers:
            return answers.pop()
        broken: Future[int] = Future()
        broken.set_exception(OSError("throttled"))
        return broken

    budget = SharedBudget(RateLimit(900.0, 0, 0, 0.0), 900.0, ask)
    spend(budget, 0, 10)
    assert 440 <= spend(budget, 10, 11) <= 455


def test_it_is_not_asked_more_often_than_needed() -> None:
    """One question at a time, and one every few seconds."""
    asked: list[float] = []
    never: Future[int] = Future()

    def ask() -> "Future[int]":
        asked.append(1)
        return known(1) if len(asked) < 4 else never

    budget = SharedBudget(RateLimit(900.0, 0, 0, 0.0), 900.0, ask)
    spend(budget, 0, 60)
    assert len(asked) == 4
