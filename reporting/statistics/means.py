"""Means instead of shares, as revenue a user: Welch's test at the end, and CUPED, which makes it sharper.

Six sums of each arm are enough, one GROUP BY in any warehouse: users, and the sums of y, of x, of their squares and of
their product. y is what is compared, x the same user's value before the push: what x tells of y is no effect of the
push, and is taken out. Deng, Xu, Kohavi and Walker, WSDM 2013. x must not come from after the push.
"""

import math
from collections.abc import Sequence

import msgspec

from reporting.statistics.fixed_horizon import LEVEL, Interval

_TINY = 1e-300
"""In place of a denominator of zero, as Lentz's method wants it."""
_PRECISE = 1e-15
_MAX_STEPS = 10_000
_BISECTIONS = 200
_ROUNDED = 1e-6
"""What rounding may have changed in a sum: figures of seven digits are taken as they come."""
_FAR = 1e6
"""Farther out than any quantile that is asked for."""


class Sums(msgspec.Struct, frozen=True):
    """One arm's sums: `users`, and of y and x over all of them, those without any y included, as 0."""

    users: int
    y: float
    yy: float
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @property
    def mean(self) -> float:
        """Of y."""
        return self.y / self.users

    @property
    def variance(self) -> float:
        """Of y, with one degree of freedom less."""
        # Where all values are the same, rounded sums can make it a little less than 0.
        return max(0.0, self.yy - self.y * self.y / self.users) / (self.users - 1)

    @property
    def is_possible(self) -> bool:
        """Whether any users can have such sums, which are rounded. By Cauchy and Schwarz: no variance is below 0."""
        within_yy = self.yy - self.y * self.y / self.users
        within_xx = self.xx - self.x * self.x / self.users
        within_xy = self.xy - self.x * self.y / self.users
        if within_yy < -_ROUNDED * self.yy or within_xx < -_ROUNDED * self.xx:
            return False
        most = math.sqrt(max(0.0, within_xx) * max(0.0, within_yy))
        return abs(within_xy) <= most + _ROUNDED * math.sqrt(self.xx * self.yy)


class MeanLift(msgspec.Struct, frozen=True):
    """A variant's mean against control's: their difference, its interval, t and p."""

    difference: float
    interval: Interval
    t: float
    degrees: float
    p_value: float


def welch(variant: Sums, control: Sums, level: float = LEVEL) -> MeanLift:
    """Welch's t-test, for arms of any sizes and variances. Valid once, like every test of the end.

    Raises ValueError where an arm has fewer than two users, or no variance in either: there is nothing to compare with.
    """
    if min(variant.users, control.users) < 2:
        raise ValueError("an arm needs two users at least")
    ours, theirs = variant.variance / variant.users, control.variance / control.users
    error = math.sqrt(ours + theirs)
    if not error > 0:
        raise ValueError("every user has the same value: there is nothing to compare")
    difference = variant.mean - control.mean
    # Welch and Satterthwaite.
    degrees = (ours + theirs) ** 2 / (ours**2 / (variant.users - 1) + theirs**2 / (control.users - 1))
    half = t_quantile((1 + level) / 2, degrees) * error
    t = difference / error
    return MeanLift(difference, Interval(difference - half, difference + half), t, degrees, t_two_sided_p(t, degrees))


def cuped(arms: Sequence[Sums]) -> list[Sums]:
    """The sums of y' = y - theta (x - mean of x): the same means on average, with less of what was there before.

    theta = cov(x, y) / var(x), pooled within the arms, so that it knows nothing of their difference; the mean of x is
    over all arms. Without any variance in x the sums are as they were.
    """
    users = sum(arm.users for arm in arms)
    within_xy = math.fsum(arm.xy - arm.x * arm.y / arm.users for arm in arms)
    within_xx = math.fsum(arm.xx - arm.x * arm.x / arm.users for arm in arms)
    theta = within_xy / within_xx if within_xx > 0 else 0.0
    mean = math.fsum(arm.x for arm in arms) / users
    adjusted = []
    for arm in arms:
        n, shift = arm.users, theta * mean
        # Of (y - theta x + shift), with the square written out.
        y = arm.y - theta * arm.x + n * shift
        yy = arm.yy - 2 * theta * arm.xy + theta * theta * arm.xx + 2 * shift * (arm.y - theta * arm.x) + n * shift**2
        adjusted.append(Sums(n, y, yy, arm.x, arm.xx, arm.xy))
    return adjusted


def t_two_sided_p(t: float, degrees: float) -> float:
    """How often chance alone makes Student's t at least this far from 0."""
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def t_quantile(probability: float, degrees: float) -> float:
    """Student's t is below it with this probability, which is at least one half."""
    low, high = 0.0, _FAR
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_two_sided_p(middle, degrees) > 2 * (1 - probability) else (low, middle)
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I(x; a, b), regularised. Numerical Recipes, 6.4."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # The fraction converges fast on one side of this border only; on the other one it is taken of the rest.
    if x < (a + 1) / (a + b + 2):
        return scale * _continued_fraction(a, b, x) / a
    return 1 - scale * _continued_fraction(b, a, 1 - x) / b


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Evaluated by Lentz's method: from the left, until a further step changes nothing."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for n in range(1, _MAX_STEPS):
        for factor in (
            n * (b - n) * x / ((a + 2 * n - 1) * (a + 2 * n)),
            -(a + n) * (a + b + n) * x / ((a + 2 * n) * (a + 2 * n + 1)),
        ):
            d = 1 / _away_from_zero(1 + factor * d)
            c = _away_from_zero(1 + factor / c)
            fraction *= d * c
        if abs(d * c - 1) < _PRECISE:
            break
    return fraction


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
