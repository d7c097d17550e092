"""Means with a variance between them: the equation of Paule and Mandel by scipy's root finder, and statsmodels."""

import numpy as np
import pytest
from scipy.optimize import brentq
from statsmodels.stats.meta_analysis import combine_effects

from calibrate.models.pooling import pooled_means


def surplus(between, means, variances):
    """Weighted squares around the weighted mean, less their expectation."""
    w = 1 / (variances + between)
    return float(w @ (means - np.average(means, weights=w)) ** 2) - (means.size - 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_weights_solve_the_equation_of_paule_and_mandel(seed):
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.01, 1.0, 12) ** 2
    means = rng.normal(0, rng.choice([0.0, 0.1, 0.5, 3.0]), 12) + np.sqrt(variances) * rng.normal(size=12)
    between = 0.0
    if surplus(0.0, means, variances) > 0:
        between = brentq(surplus, 0.0, 1e3, args=(means, variances), xtol=1e-14)
    weights = 1 / (variances + between)
    pooled, collective, credibility = pooled_means(means, variances)
    assert collective == pytest.approx(np.average(means, weights=weights), abs=1e-8)
    np.testing.assert_allclose(credibility, between * weights, atol=1e-8)
    np.testing.assert_allclose(pooled, collective + credibility * (means - collective), atol=1e-12)
    found = combine_effects(means, variances, method_re="iterated", atol=1e-10, maxiter=1000)
    if found.tau2 > 0:  # it says 0 too where its own steps lead below it
        assert collective == pytest.approx(float(found.mean_effect_re), abs=1e-6)
