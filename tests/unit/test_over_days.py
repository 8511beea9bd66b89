"""A schedule's experiment over many days: the evidence of its times multiplies."""

import math
import random

import pytest

from reporting.over_days import Time, over_days
from reporting.statistics.always_valid import log_e_of, ratio_interval, ratio_interval_of_days
from reporting.statistics.fixed_horizon import Arm


def days(count: int, base: float, lift: float, seed: int) -> list[Time]:
    """So many times with 400 control users and 1,600 of a variant."""
    draw = random.Random(seed)

    def conversions(users: int, rate: float) -> int:
        return sum(draw.random() < rate for _ in range(users))

    return [
        Time(f"2026-12-{n + 1:02d}T0900", f"r{n}", {
            "a": (1600, conversions(1600, base * (1 + lift))), "control": (400, conversions(400, base)),
        })
        for n in range(count)
    ]  # fmt: skip


def test_one_day_is_the_look_at_one_run() -> None:
    """The interval over one day is that of the day."""
    variant, control = Arm(20_000, 1000), Arm(20_000, 900)
    assert ratio_interval_of_days([(variant, control)], 1.1) == ratio_interval(variant, control, 1.1)


def test_days_multiply() -> None:
    """What one day cannot show, thirty can; p is one over the product of their e-values."""
    times = days(30, 0.2, 0.25, 7)
    single = over_days("nudge", times[:1], 20.0).lifts[0]
    found = over_days("nudge", times, 20.0).lifts[0]
    assert single.in_words.startswith("cannot tell yet")
    assert found.in_words.startswith("better than no push: between +")
    assert found.in_words.endswith("over 30 times")
    assert found.relative.low < 0.25 < found.relative.high
    logs = [log_e_of(Arm(*one.figures["a"]), Arm(*one.figures["control"]), 1.2) for one in times]
    largest = max(math.fsum(logs[: n + 1]) for n in range(len(logs)))
    assert found.p_value == pytest.approx(min(1.0, math.exp(-largest)))


def test_nothing_is_called_a_win_without_an_effect() -> None:
    """200 schedules of 20 days without an effect, looked at each day: at most 5 in 100 are ever called a win."""
    wins = 0
    for seed in range(200):
        times = days(20, 0.1, 0.0, seed)
        wins += over_days("nudge", times, 20.0).lifts[0].p_value < 0.05
    assert wins <= 10


def test_a_time_that_has_no_figures_counts_for_nothing() -> None:
    """It is shown, with why."""
    times = [*days(3, 0.2, 0.1, 1), Time("2026-12-04T0900", "r4", note="its rows have expired")]
    found = over_days("nudge", times, 20.0)
    assert (len(found.times), found.lifts[0].times) == (4, 3)
