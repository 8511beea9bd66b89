"""Our statistics against statsmodels and scipy, over many figures.

Together they weigh 300 MB, so that they are no dependency, not even of development. To compare:

    .tools/bin/uv run --with scipy --with statsmodels python -m pytest -m slow tests/unit/test_statistics_elsewhere.py
"""

import math
import random
import warnings
from typing import Any

import pytest

from reporting.chi_squared import survival
from reporting.statistics.always_valid import log_e
from reporting.statistics.fixed_horizon import Arm, absolute_lift, holm, pooled_z, two_sided_p, wilson
from reporting.statistics.power import control_users_needed

pytestmark = pytest.mark.slow
PAIRS = 300


@pytest.fixture(scope="module")
def proportion() -> Any:
    # Their imports warn of what newer Pythons will do.
    warnings.simplefilter("ignore")
    return pytest.importorskip("statsmodels.stats.proportion")


def pairs() -> list[tuple[Arm, Arm]]:
    chance = random.Random(17)

    def arm() -> Arm:
        users = chance.randint(2, 100_000)
        return Arm(users, chance.randint(1, users - 1))

    return [(arm(), arm()) for _ in range(PAIRS)]


def test_intervals_and_z(proportion: Any) -> None:
    """Newcombe, Wilson and pooled z agree to twelve digits."""
    for ours, theirs in pairs():
        counts = (ours.conversions, ours.users, theirs.conversions, theirs.users)
        low, high = proportion.confint_proportions_2indep(*counts, method="newcomb", compare="diff")
        found = absolute_lift(ours, theirs)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
        one = wilson(ours)
        assert (one.low, one.high) == pytest.approx(
            proportion.proportion_confint(ours.conversions, ours.users, method="wilson"), abs=1e-12
        )
        z, p = proportion.proportions_ztest(counts[::2], counts[1::2])
        assert pooled_z(ours, theirs) == pytest.approx(z, rel=1e-9)
        assert two_sided_p(z) == pytest.approx(p, rel=1e-9, abs=1e-300)


def test_holm_and_power(proportion: Any) -> None:
    """Holm's p-values, and users needed."""
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    chance = random.Random(17)
    for _ in range(50):
        p_values = [chance.random() ** 3 for _ in range(chance.randint(1, 12))]
        assert holm(p_values) == pytest.approx(list(multitest.multipletests(p_values, method="holm")[1]))
    for base, lift in ((0.05, 1.1), (0.5, 1.5), (0.3, 0.8)):
        wanted = proportion.samplesize_proportions_2indep_onetail(
            base * lift - base, base, 0.8, ratio=1, alpha=0.025, alternative="larger" if lift > 1 else "smaller"
        )
        assert control_users_needed(base, base * lift) == pytest.approx(wanted, rel=0.01)


def test_evidence_and_chi_squared() -> None:
    """Beta-binomial against binomial, and the tail of chi-squared."""
    stats = pytest.importorskip("scipy.stats")
    chance = random.Random(17)
    for _ in range(PAIRS):
        n, share, spread = chance.randint(1, 5000), chance.uniform(0.05, 0.95), chance.uniform(1, 10_000)
        x = chance.randint(0, n)
        wanted = stats.betabinom.logpmf(x, n, spread * share, spread * (1 - share)) - stats.binom.logpmf(x, n, share)
        assert log_e((x, n - x), (share, 1 - share), spread) == pytest.approx(wanted, abs=1e-6)
        value, degrees = chance.uniform(0.01, 60), chance.randint(1, 40)
        assert survival(value, degrees) == pytest.approx(stats.chi2.sf(value, degrees), rel=1e-9)
    assert math.isfinite(log_e((0, 0), (0.5, 0.5), 100))
