"""Variants compared with control: the figures, with every correction, by the test that is valid at this time.

Before the last user's window is over that is the always-valid one alone, and afterwards the fixed one alone. Neither is
shown beside the other: of two answers people take the one they like, which is a further look that nobody accounts for.
"""

import enum
import itertools
import math
from collections.abc import Iterator, Sequence

import msgspec

from reporting.chi_squared import SUSPICIOUS_P, RatioCheck, RatioVerdict, check_ratio
from reporting.statistics.always_valid import (
    SIZE_CHECK_CONCENTRATION,
    further_conversions,
    log_e,
    log_e_of,
    p_of,
    ratio_interval,
)
from reporting.statistics.fixed_horizon import (
    LEVEL,
    Arm,
    Interval,
    absolute_lift,
    bonferroni_level,
    holm,
    pooled_z,
    relative_lift,
    two_sided_p,
    wilson,
)
from reporting.statistics.verdict import Situation, Verdict, verdict_of

SMALLEST_LIFT_PERCENT = 10.0
"""The smallest lift that matters, where nobody declared one."""


class Basis(enum.StrEnum):
    """When the figures were taken."""

    FINAL = "final"
    """After the last user's window: the fixed test decides, once."""
    LOOK = "look"
    """Before: only what is valid at any look."""


class ArmFigures(msgspec.Struct, frozen=True):
    """One arm: its users, its conversions, its rate and the rate's interval (Wilson). No rate without users."""

    name: str
    users: int
    conversions: int
    rate: float | None
    rate_interval: Interval | None


class Lift(msgspec.Struct, frozen=True):
    """A variant against control, or against another variant where there is no control.

    `relative` is a ratio minus 1; None where it has no value, or where the arms must not be compared. `absolute`, the
    difference of the rates, has an interval at the end only. `p_value` is corrected for the number of comparisons.
    """

    variant: str
    against: str
    absolute: Interval | None
    relative: Interval | None
    z: float | None
    p_value: float | None
    verdict: Verdict


class Comparison(msgspec.Struct, frozen=True):
    """All arms of an experiment. Each interval is at `interval_level`, so that together they hold at `level`."""

    basis: Basis
    level: float
    interval_level: float
    smallest_lift_percent: float
    arms: tuple[ArmFigures, ...]
    sizes: RatioCheck
    lifts: tuple[Lift, ...]


class Experiment(msgspec.Struct, frozen=True):
    """What is compared.

    Args:
        arms: by name, in the campaign's order.
        control: the name of the control group's arm; None where there is none. Then variants are compared in pairs.
        shares: the arms' planned sizes in any unit, in the same order; None where they are not known.
        smallest_lift_percent: the smallest lift that matters, as it was declared before anything was seen.
        control_in_words: what a variant is better than.
        days: for how long conversions have been counted, for the words about how long it still takes.
    """

    arms: tuple[tuple[str, Arm], ...]
    control: str | None
    shares: tuple[int, ...] | None = None
    smallest_lift_percent: float = SMALLEST_LIFT_PERCENT
    days: float | None = None
    control_in_words: str = "control"

    @property
    def smallest_ratio(self) -> float:
        """The variant's rate by the control's, if the lift is the smallest that matters."""
        return 1 + self.smallest_lift_percent / 100


def compare(experiment: Experiment, basis: Basis, level: float = LEVEL) -> Comparison:
    """The comparison of an experiment's arms."""
    pairs = tuple(_pairs(experiment))
    sizes = _sizes(experiment, basis)
    each = bonferroni_level(len(pairs), level)
    make = _final if basis is Basis.FINAL else _look
    return Comparison(
        basis=basis,
        level=level,
        interval_level=each,
        smallest_lift_percent=experiment.smallest_lift_percent,
        arms=tuple(_figures(name, arm, level) for name, arm in experiment.arms),
        sizes=sizes,
        lifts=tuple(make(experiment, pairs, each, out=sizes.verdict is RatioVerdict.OUT_OF_PROPORTION)),
    )


_Pair = tuple[str, Arm, str, Arm]
"""Name and figures of the variant, and of what it is compared with."""


def _pairs(experiment: Experiment) -> Iterator[_Pair]:
    arms = dict(experiment.arms)
    if experiment.control is not None:
        control = arms.pop(experiment.control)
        for name, arm in arms.items():
            yield name, arm, experiment.control, control
        return
    # Without control each pair of variants is a comparison, later ones against earlier ones.
    for (first, one), (second, other) in itertools.combinations(arms.items(), 2):
        yield second, other, first, one


def _figures(name: str, arm: Arm, level: float) -> ArmFigures:
    known = arm.users > 0
    return ArmFigures(
        name, arm.users, arm.conversions, arm.rate if known else None, wilson(arm, level) if known else None
    )


def _sizes(experiment: Experiment, basis: Basis) -> RatioCheck:
    """The check of the arms' sizes, by users. While a run sends, at every look, by the e-value of the sizes."""
    users = [arm.users for _, arm in experiment.arms]
    if experiment.shares is None:
        return RatioCheck(RatioVerdict.ONE_ARM if len(users) < 2 else RatioVerdict.NOT_KNOWN)
    fixed = check_ratio(users, experiment.shares)
    if basis is Basis.FINAL or fixed.p_value is None:
        return fixed
    # An arm of share 0 has no users by plan, and no logarithm.
    planned = [(n, share) for n, share in zip(users, experiment.shares, strict=True) if share]
    evidence = log_e([n for n, _ in planned], [share for _, share in planned], SIZE_CHECK_CONCENTRATION)
    p_value = p_of([evidence])
    verdict = RatioVerdict.OUT_OF_PROPORTION if p_value < SUSPICIOUS_P else RatioVerdict.IN_PROPORTION
    return RatioCheck(verdict, None, None, p_value)


def _is_comparable(variant: Arm, control: Arm) -> bool:
    return bool(variant.users and control.users and variant.conversions + control.conversions)


def _situation(experiment: Experiment, pair: _Pair, *, out: bool, basis: Basis) -> Situation:
    _, variant, against, control = pair
    return Situation(
        against=experiment.control_in_words if against == experiment.control else against,
        variant=variant,
        control=control,
        is_final=basis is Basis.FINAL,
        is_out_of_proportion=out,
        smallest_lift=experiment.smallest_lift_percent / 100,
    )


def _final(experiment: Experiment, pairs: Sequence[_Pair], level: float, *, out: bool) -> Iterator[Lift]:
    """The fixed test. Holm's correction is over the comparisons that could be made."""
    # Arms out of proportion are not the same kinds of users: no figure of a lift would mean anything.
    made = [not out and _is_comparable(variant, control) for _, variant, _, control in pairs]
    z_values = [pooled_z(p[1], p[3]) if can else None for p, can in zip(pairs, made, strict=True)]
    # Only over those that were made: a comparison without data must not make the others stricter.
    adjusted = iter(holm([two_sided_p(z) for z in z_values if z is not None]))
    for pair, z in zip(pairs, z_values, strict=True):
        name, variant, against, control = pair
        situation = _situation(experiment, pair, out=out, basis=Basis.FINAL)
        if z is None:
            yield Lift(name, against, None, None, None, None, verdict_of(situation, None, None))
            continue
        absolute, relative = absolute_lift(variant, control, level), relative_lift(variant, control, level)
        verdict = verdict_of(situation, absolute, relative)
        yield Lift(name, against, absolute, relative, z, next(adjusted), verdict)


def _look(experiment: Experiment, pairs: Sequence[_Pair], level: float, *, out: bool) -> Iterator[Lift]:
    """The always-valid test, each comparison at its share of the errors (Bonferroni)."""
    ratio = experiment.smallest_ratio
    for pair in pairs:
        name, variant, against, control = pair
        situation = _situation(experiment, pair, out=out, basis=Basis.LOOK)
        if out or not _is_comparable(variant, control):
            yield Lift(name, against, None, None, None, None, verdict_of(situation, None, None))
            continue
        found = ratio_interval(variant, control, ratio, level)
        # By the number of all pairs, also those without data yet: a later look may have them.
        p_value = min(1.0, p_of([log_e_of(variant, control, ratio)]) * len(pairs))
        more = further_conversions(variant, control, ratio, math.log(1 / (1 - level)))
        relative = Interval(found.low - 1, found.high - 1)
        situation = msgspec.structs.replace(
            situation, further_conversions=more, further_days=_days(experiment, pair, more)
        )
        yield Lift(name, against, None, relative, None, p_value, verdict_of(situation, None, relative))


def _days(experiment: Experiment, pair: _Pair, conversions: float | None) -> float | None:
    """How long so many more conversions of two arms take at their rate so far."""
    so_far = pair[1].conversions + pair[3].conversions
    if conversions is None or not experiment.days or not so_far:
        return None
    # As if the rate stayed: conversions slow down after the send, so this is rather too short.
    return conversions * experiment.days / so_far
