"""E-values: evidence that may be looked at at any time, as often as one likes, and stopped at whatever one sees.

Lindon and Malek 2022 (arXiv 2011.03567). If a push changes nothing, each user's first conversion is of the variant
with the probability w0, its share of the users, whatever the time of day does to the rate. An e-value is how much
better a mixture of other probabilities explains the conversions seen so far. If nothing is changed it passes 20 in at
most one of 20 experiments *ever*, however often one looks. Looked at daily for two weeks, p < .05 of a fixed test is
passed by chance in 23 of 100.
"""

import math
from collections.abc import Callable, Sequence

from reporting.statistics.fixed_horizon import LEVEL, Arm, Interval

SIZE_CHECK_CONCENTRATION = 10_000.0
"""Of the check of the arms' sizes. A hash splits exactly, so that small deviations are looked for."""
_BISECTIONS = 60
"""Halvings of an interval until its ends are the same to a float's precision."""
_FAR = 30.0
"""In logarithms of ratios: farther than any ratio that an experiment could exclude."""


def expected_share(variant_users: int, control_users: int, ratio: float = 1.0) -> float:
    """The probability that a conversion is the variant's, if its rate is `ratio` times the control's."""
    return variant_users * ratio / (variant_users * ratio + control_users)


def concentration(variant_users: int, control_users: int, smallest_ratio: float) -> float:
    """How narrow the mixture is: best for the smallest effect that was declared, before anything was seen."""
    w0 = expected_share(variant_users, control_users)
    return w0 * (1 - w0) / (expected_share(variant_users, control_users, smallest_ratio) - w0) ** 2


def log_e(counts: Sequence[float], shares: Sequence[float], spread: float) -> float:
    """The logarithm of the e-value of counts against the shares that they should have.

    The Dirichlet mixture is around the shares themselves, with `spread` as its concentration. With two arms it is the
    Beta mixture. Also the sequential check of the arms' sizes, where the counts are users.
    """
    whole = math.fsum(shares)
    total = math.lgamma(spread) - math.lgamma(spread + sum(counts))
    for n, share in zip(counts, shares, strict=True):
        w = share / whole
        total += math.lgamma(spread * w + n) - math.lgamma(spread * w) - (n * math.log(w) if n else 0.0)
    return total


def log_e_of(variant: Arm, control: Arm, smallest_ratio: float) -> float:
    """The logarithm of the e-value of a variant against control."""
    w0 = expected_share(variant.users, control.users)
    spread = concentration(variant.users, control.users, smallest_ratio)
    return log_e((variant.conversions, control.conversions), (w0, 1 - w0), spread)


def p_of(log_e_values: Sequence[float]) -> float:
    """The p-value after these looks, or of their largest e-value: 1/e, which never rises again."""
    return min(1.0, math.exp(-max(log_e_values, default=0.0)))


def together(log_e_values: Sequence[float]) -> float:
    """The evidence of independent experiments, as a nudge's days: e-values multiply, their logarithms add up."""
    return math.fsum(log_e_values)


def ratio_interval(variant: Arm, control: Arm, smallest_ratio: float, level: float = LEVEL) -> Interval:
    """The ratios of the rates that the conversions do not speak against, at any look.

    From 0 to infinity while nothing is known. Two bisections, because the evidence against a ratio is convex in it.
    """
    seen = (variant.conversions, control.conversions)
    w0 = expected_share(variant.users, control.users)
    spread = concentration(variant.users, control.users, smallest_ratio)
    # The mixture stays where it was declared; only the likelihood moves with the ratio in question.
    mixture = log_e(seen, (w0, 1 - w0), spread) + _log_likelihood(variant, control, 0.0)
    threshold = math.log(1 / (1 - level))

    def is_excluded(log_ratio: float) -> bool:
        return mixture - _log_likelihood(variant, control, log_ratio) >= threshold

    return Interval(_border(is_excluded, variant, control, -1), _border(is_excluded, variant, control, 1))


def ratio_interval_of_days(days: Sequence[tuple[Arm, Arm]], smallest_ratio: float, level: float = LEVEL) -> Interval:
    """The same over independent days, each a variant and its control: the ratio that all of them have in common.

    Each day's mixture is its own; their evidence against a ratio is multiplied, and stays convex in it.
    """
    seen = [(variant, control) for variant, control in days if variant.users and control.users]
    if not seen:
        return Interval(0.0, math.inf)
    mixture = together(
        [
            log_e_of(variant, control, smallest_ratio) + _log_likelihood(variant, control, 0.0)
            for variant, control in seen
        ]
    )
    threshold = math.log(1 / (1 - level))

    def is_excluded(log_ratio: float) -> bool:
        return mixture - math.fsum(_log_likelihood(*day, log_ratio) for day in seen) >= threshold

    variant, control = (Arm(sum(day[n].users for day in seen), sum(day[n].conversions for day in seen)) for n in (0, 1))
    return Interval(_border(is_excluded, variant, control, -1), _border(is_excluded, variant, control, 1))


def further_conversions(variant: Arm, control: Arm, smallest_ratio: float, threshold: float) -> float | None:
    """How many more conversions are expected to decide, if the lift is the smallest that matters.

    None where fewer users than that have not converted yet.

    Args:
        threshold: the logarithm of the e-value that decides.
    """
    w0 = expected_share(variant.users, control.users)
    w1 = expected_share(variant.users, control.users, smallest_ratio)
    spread = concentration(variant.users, control.users, smallest_ratio)

    def decides(more: float) -> bool:
        seen = (variant.conversions + more * w1, control.conversions + more * (1 - w1))
        return log_e(seen, (w0, 1 - w0), spread) >= threshold

    low, high = 0.0, float(variant.users + control.users - variant.conversions - control.conversions)
    if not decides(high):
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _log_likelihood(variant: Arm, control: Arm, log_ratio: float) -> float:
    """Of the conversions seen, if the rates have this ratio.

    By the logarithms of both shares: far from 1 a share is rounded to 1, and the other one to 0, which has none.
    """
    odds = log_ratio + math.log(variant.users / control.users)
    # log(1 + exp(odds)), which overflows for no odds in this form.
    both = max(odds, 0.0) + math.log1p(math.exp(-abs(odds)))
    return variant.conversions * (odds - both) - control.conversions * both


def _border(is_excluded: Callable[[float], bool], variant: Arm, control: Arm, direction: int) -> float:
    """The last ratio in one direction that is not excluded; 0 or infinity where none is."""
    # Half a conversion in place of none: the likeliest ratio is never excluded, and this one is close to it.
    odds = max(variant.conversions, 0.5) / max(control.conversions, 0.5)
    inside = math.log(odds * control.users / variant.users)
    outside = inside + direction * _FAR
    if not is_excluded(outside):
        return math.inf if direction > 0 else 0.0
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if is_excluded(middle) else (middle, outside)
    return math.exp(inside)
