"""Data in other units: the same shapes, the scales in the new unit, to 1e-8, over 43 decades.

Severities sit the same exam in severity/test_contract.py. Both ends by default; every third decade in the slow tests.
"""

import numpy as np
import pytest

from calibrate.models import frequency
from calibrate.models.aggregate import (
    NegativeBinomialCount,
    PoissonCount,
    compound,
    compound_by_recursion,
    compound_by_transform,
    discretise,
)
from calibrate.models.credibility import BuhlmannStraub, HierarchicalCredibility
from calibrate.models.severity import Gamma, GeneralizedPareto, LogNormal, Weibull
from calibrate.models.uncertainty import tail_mean

every_power = pytest.mark.parametrize(
    "powers",
    [pytest.param((-18, 24), id="ends"), pytest.param(range(-18, 25, 3), id="all", marks=pytest.mark.slow)],
)
RNG = np.random.default_rng(5)
EXPOSURE = np.exp(RNG.normal(0, 1, (60, 4)))
COUNTS = RNG.poisson(1.5 * EXPOSURE * RNG.gamma(1.5, 1 / 1.5, (60, 1))) * (RNG.random((60, 4)) < 0.8)
FAMILIES = {
    "Poisson": frequency.Poisson(),
    "NegativeBinomial": frequency.NegativeBinomial(),
    "SharedShock": frequency.SharedShock(),
    "ZeroInflated": frequency.ZeroInflated(),
    "Elastic": frequency.Elastic(),
    "Trend": frequency.Trend(),
}


@every_power
@pytest.mark.parametrize("name", FAMILIES)
def test_exposures_in_other_units(name, powers):
    family = FAMILIES[name]
    one = family.fit(COUNTS.astype(float), exposure=EXPOSURE)
    ahead, scatter, height = one.mean(EXPOSURE[-1]), one.variance(EXPOSURE[-1]), one.log_likelihood_
    for power in powers:
        unit = 10.0**power
        other = family.fit(COUNTS.astype(float), exposure=EXPOSURE * unit)
        assert other.mean(EXPOSURE[-1] * unit) == pytest.approx(ahead, rel=1e-8)
        assert other.variance(EXPOSURE[-1] * unit) == pytest.approx(scatter, rel=1e-8)
        assert other.log_likelihood_ == pytest.approx(height, rel=1e-8)


@every_power
def test_times_in_other_units(powers):
    times = frequency.Hawkes.simulate(0.5, 0.5, 2.0, horizon=200.0, random_state=3)
    one = frequency.Hawkes().fit(times, start=0.0, end=200.0)
    expected = one.base_rate_, one.branching_ratio_, one.decay_, one.mean_count(5.0)
    for power in powers:
        unit = 10.0**power
        other = frequency.Hawkes().fit(times * unit, start=0.0, end=200.0 * unit)
        found = other.base_rate_ * unit, other.branching_ratio_, other.decay_ * unit, other.mean_count(5.0 * unit)
        assert found == pytest.approx(expected, rel=1e-8)


@every_power
@pytest.mark.parametrize("family", [Gamma(), LogNormal(), Weibull(), GeneralizedPareto()], ids=repr)
def test_aggregate_losses_in_other_units(family, powers):
    losses = np.random.default_rng(1).gamma(2.0, 1.0, 200)
    count = NegativeBinomialCount(4.0, 2.0)

    def answers(unit):
        law = family.fit(losses * unit)
        totals = [
            compound(count, law, retention=0.2 * unit, limit=30.0 * unit),
            compound_by_transform(count, discretise(law, 0.2 * unit, 512)),
            compound_by_recursion(PoissonCount(4.0), discretise(law, 0.2 * unit, 512)),
        ]
        return [total.expected_shortfall(0.99) / unit for total in totals] + [total.mean / unit for total in totals]

    expected = answers(1.0)
    for power in powers:
        assert answers(10.0**power) == pytest.approx(expected, rel=1e-8)


@every_power
def test_credibility_and_tail_means_in_other_units(powers):
    values, weights = RNG.gamma(2.0, 3.0, (8, 5)), RNG.random((8, 5)) + 0.1
    losses = RNG.pareto(3.0, 20_000)
    one, tail = BuhlmannStraub().fit(values, weights), tail_mean(losses, 0.95)
    cohorts = HierarchicalCredibility().fit(values, weights, cohorts=list("aabbccdd")).premiums_.to_numpy()
    for power in powers:
        unit = 10.0**power
        other = BuhlmannStraub().fit(values * unit, weights)
        assert other.premiums_.to_numpy() == pytest.approx(one.premiums_.to_numpy() * unit, rel=1e-8)
        assert other.between_variance_ == pytest.approx(one.between_variance_ * unit**2, rel=1e-8)
        again = HierarchicalCredibility().fit(values * unit, weights, cohorts=list("aabbccdd"))
        assert again.premiums_.to_numpy() == pytest.approx(cohorts * unit, rel=1e-8)
        found = tail_mean(losses * unit, 0.95)
        assert (found.lower, found.estimate, found.upper) == pytest.approx(
            (tail.lower * unit, tail.estimate * unit, tail.upper * unit), rel=1e-8
        )
        assert found.shape == pytest.approx(tail.shape, rel=1e-8)
