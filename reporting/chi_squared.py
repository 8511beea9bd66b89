"""The sample-ratio check: whether the arms have the sizes that the campaign asked for.

A hash puts every user in an arm, so the sizes differ from the shares by chance only. Where they differ by more than
chance allows, something removed users of one arm rather than of another, and no comparison of the arms can be trusted.
Pearson's chi-squared test; its p-value is the regularised upper incomplete gamma function (Numerical Recipes, 6.2).
"""

import enum
import math
from collections.abc import Sequence

import msgspec

SUSPICIOUS_P = 0.001
"""Below this p-value the arms are called out of proportion. The check is made on every run, so that a larger one would
raise false alarms; most experiment platforms use this one."""
MIN_EXPECTED = 5.0
"""With fewer users expected in an arm, the test says nothing (Cochran's rule)."""
_TINY = 1e-300
"""In place of a denominator of zero, as Lentz's method wants it."""
_PRECISE = 1e-15
"""Relative change of a step at which a sum or fraction has converged: about a float's precision."""
_MAX_STEPS = 10_000
_ONE_IN_A_MILLION = 1e-6
_RARE = 0.01
"""A smaller share is written as one in so many, a larger one in percent."""


class RatioVerdict(enum.StrEnum):
    """The result of the check."""

    IN_PROPORTION = "in_proportion"
    """The sizes differ by no more than chance."""
    OUT_OF_PROPORTION = "out_of_proportion"
    """They differ by more than chance: the arms must not be compared."""
    TOO_FEW = "too_few"
    """Too few users for the test."""
    ONE_ARM = "one_arm"
    """There is nothing to compare."""
    NOT_KNOWN = "not_known"
    """The sizes that were asked for are not known."""


class RatioCheck(msgspec.Struct, frozen=True):
    """The outcome of the check. `p_value` is how often chance alone would make a difference at least this large.

    Without `chi_squared` it is of a check at every look: the most often that this happens at one of them.
    """

    verdict: RatioVerdict
    chi_squared: float | None = None
    degrees: int | None = None
    p_value: float | None = None

    @property
    def in_words(self) -> str:
        """The result for readers who do not know the test."""
        match self.verdict:
            case RatioVerdict.ONE_ARM:
                return "There is only one arm: nothing to compare."
            case RatioVerdict.NOT_KNOWN:
                return "The sizes that were asked for are not known: the arms' sizes could not be checked."
            case RatioVerdict.TOO_FEW:
                return "Too few users to tell whether the arms have the sizes that were asked for."
            case RatioVerdict.IN_PROPORTION:
                return (
                    "The arms have the sizes that were asked for: chance alone makes a difference at least this large "
                    f"{self._often} of all runs. They can be compared."
                )
            case RatioVerdict.OUT_OF_PROPORTION:
                return (
                    "The arms do NOT have the sizes that were asked for: chance alone makes such a difference "
                    f"{self._often} of all runs. Something removed users from one arm rather than another; "
                    "do not compare the arms before it is found."
                )

    @property
    def _often(self) -> str:
        # An e-value bounds how often it happens at any of the looks; chi-squared says how often at this one.
        return f"in {_share(self.p_value)}" if self.degrees else f"at some look in at most {_share(self.p_value)}"


def check_ratio(assigned: Sequence[int], shares: Sequence[int]) -> RatioCheck:
    """Check the arms' sizes (users) against their shares (hundredths of a percent; any unit will do)."""
    # An arm of 0 % has no expected users: it would divide by zero, and says nothing about the others.
    wanted = [(n, share) for n, share in zip(assigned, shares, strict=True) if share]
    if len(wanted) < 2:
        return RatioCheck(RatioVerdict.ONE_ARM)
    users, whole = sum(n for n, _ in wanted), sum(share for _, share in wanted)
    expected = [users * share / whole for _, share in wanted]
    if min(expected) < MIN_EXPECTED:
        return RatioCheck(RatioVerdict.TOO_FEW)
    chi_squared = sum((n - mean) ** 2 / mean for (n, _), mean in zip(wanted, expected, strict=True))
    degrees = len(wanted) - 1
    p_value = survival(chi_squared, degrees)
    verdict = RatioVerdict.OUT_OF_PROPORTION if p_value < SUSPICIOUS_P else RatioVerdict.IN_PROPORTION
    return RatioCheck(verdict, chi_squared, degrees, p_value)


def survival(chi_squared: float, degrees: int) -> float:
    """The probability of a value of at least `chi_squared` with this number of degrees of freedom."""
    if chi_squared <= 0:
        return 1.0
    return _upper_gamma(degrees / 2, chi_squared / 2)


def _upper_gamma(a: float, x: float) -> float:
    """Q(a, x), the regularised upper incomplete gamma function, for a > 0 and x > 0."""
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a))
    # The series converges fast for small x, the continued fraction for large x; the border is Numerical Recipes'.
    if x < a + 1:
        return 1.0 - scale * _series(a, x)
    return scale * _continued_fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1.0 / a
    for n in range(1, _MAX_STEPS):
        term *= x / (a + n)
        total += term
        if term < total * _PRECISE:
            break
    return total


def _continued_fraction(a: float, x: float) -> float:
    """Evaluated by Lentz's method: from the left, until a further step changes nothing."""
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    fraction = d
    for n in range(1, _MAX_STEPS):
        factor = -n * (n - a)
        b += 2.0
        d = 1.0 / _away_from_zero(factor * d + b)
        c = _away_from_zero(b + factor / c)
        fraction *= d * c
        if abs(d * c - 1.0) < _PRECISE:
            break
    return fraction


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _share(p_value: float | None) -> str:
    """A p-value in words."""
    if p_value is None:
        return "an unknown share"
    if p_value < _ONE_IN_A_MILLION:
        return "less than one in a million"
    if p_value < _RARE:
        return f"one in {round(1 / p_value):,}"
    return f"{p_value:.0%}"
