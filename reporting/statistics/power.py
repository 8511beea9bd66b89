"""How many users an experiment needs, and the smallest effect that it is likely to show: asked before it is approved.

For the fixed test at the end, with arms of any sizes. The formula is that of R's `power.prop.test`, where the arms are
of one size: Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 3rd ed., 4.2.
"""

import math
from statistics import NormalDist

from reporting.statistics.fixed_horizon import LEVEL, normal_quantile

USUAL_POWER = 0.8
"""An experiment is planned to show an effect of the declared size four times of five."""
_BISECTIONS = 60
"""Halvings until the effect is exact to a float's precision."""


def power_of(
    control_users: float, variant_users: float, base: float, variant_rate: float, level: float = LEVEL
) -> float:
    """How often the test at the end shows a difference, if these are the true rates."""
    difference = abs(variant_rate - base)
    pooled = (control_users * base + variant_users * variant_rate) / (control_users + variant_users)
    if_equal = math.sqrt(pooled * (1 - pooled) * (1 / control_users + 1 / variant_users))
    as_is = math.sqrt(base * (1 - base) / control_users + variant_rate * (1 - variant_rate) / variant_users)
    if not as_is:
        # Nobody or everybody converts in both arms: without chance, any difference is seen.
        return 1.0 if difference else 1 - level
    return NormalDist().cdf((difference - normal_quantile((1 + level) / 2) * if_equal) / as_is)


def control_users_needed(
    base: float, variant_rate: float, variants_to_control: float = 1.0, power: float = USUAL_POWER, level: float = LEVEL
) -> float:
    """The users that control needs, if a variant has so many times as many; infinite for no difference."""
    if base == variant_rate:
        return math.inf
    k = variants_to_control
    pooled = (base + k * variant_rate) / (1 + k)
    if_equal = math.sqrt(pooled * (1 - pooled) * (1 + 1 / k))
    as_is = math.sqrt(base * (1 - base) + variant_rate * (1 - variant_rate) / k)
    root = normal_quantile((1 + level) / 2) * if_equal + normal_quantile(power) * as_is
    return (root / (variant_rate - base)) ** 2


def smallest_lift(
    control_users: int, variant_users: int, base: float, power: float = USUAL_POWER, level: float = LEVEL
) -> float | None:
    """The smallest relative lift upwards that is shown with this power; None if even everybody's converting is not.

    `base` is the control group's rate: above 0, at most 1.
    """
    low, high = base, 1.0
    if power_of(control_users, variant_users, base, high, level) < power:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_enough = power_of(control_users, variant_users, base, middle, level) >= power
        low, high = (low, middle) if is_enough else (middle, high)
    return high / base - 1
