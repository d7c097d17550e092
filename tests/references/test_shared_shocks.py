"""Rates and coefficients under a shock that all members share, against the negative multinomial likelihood itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy.special import gammaln

from calibrate.models.frequency import LogLinear, Poisson, SharedShock
from calibrate.models.frequency.likelihood import shared_rates


def log_likelihood(counts, means, k):
    """Of counts (periods, members), Poisson of `means` times one gamma shock of size `k` a period."""
    hit, all_means = counts.sum(axis=1), means.sum(axis=1)
    shock = gammaln(k + hit) - gammaln(k) + k * np.log(k) - (k + hit) * np.log(k + all_means)
    members = np.where(means > 0, counts * np.log(np.where(means > 0, means, 1.0)), 0.0) - gammaln(counts + 1)
    return float(shock.sum() + members.sum())


def drawn(seed, k=1.5, periods=15, members=5):
    """One member joins for the last third."""
    rng = np.random.default_rng(seed)
    exposures = rng.uniform(0.5, 2, (periods, members))
    exposures[: 2 * periods // 3, -1] = 0.0
    rates = rng.uniform(1, 9, members)
    return rng.poisson(rng.gamma(k, 1 / k, (periods, 1)) * exposures * rates).astype(float), exposures


@pytest.mark.parametrize("k", [0.3, 2.0, 50.0])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_of_maximum_likelihood(k, seed):
    counts, exposures = drawn(seed)
    best = optimize.minimize(
        lambda logs: -log_likelihood(counts, exposures * np.exp(logs), k), np.zeros(5), method="BFGS", tol=1e-9
    )
    rates, effective = shared_rates(counts, exposures, np.ones(15), k)
    np.testing.assert_allclose(rates, np.exp(best.x), rtol=1e-4)
    shocks = (k + counts.sum(axis=1)) / (k + exposures @ rates)
    np.testing.assert_allclose(effective, shocks @ exposures, rtol=1e-10)


def test_a_shock_that_all_share_takes_nothing_from_what_is_known_of_each():
    """Ten members, hundreds of events, wild years: their rates are told apart as without shocks."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(20):
        rates = 6 * rng.gamma(3, 1 / 3, 10)
        counts = rng.poisson(rng.gamma(0.5, 2.0, (15, 1)) * rates).astype(float)
        shares = [model.fit(counts).means_.sum(axis=0) / counts.sum() for model in (SharedShock(), Poisson())]
        errors.append([np.abs(one - rates / rates.sum()).sum() / 2 for one in shares])
    shared, independent = np.mean(errors, axis=0)
    assert shared < 1.2 * independent
    assert SharedShock().fit(counts).credibility_.min() > 0.8


def test_one_column_is_as_it_was():
    """By itself the shock is its own: the rate is its mean."""
    counts = np.random.default_rng(1).poisson(np.random.default_rng(2).gamma(1.0, 4.0, 40)).astype(float)
    assert SharedShock().fit(counts).rate_[0] == pytest.approx(counts.mean(), rel=1e-10)


@pytest.mark.slow
def test_coefficients_of_members_are_of_maximum_likelihood_with_their_errors():
    """A covariate that differs by member: where the shock cancels, it is seen as well as without one.

    At the coefficient the likelihood has no slope; its rates borrow from each other, and are taken as they are.
    """
    found, stated = [], []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(31, 8))
        counts = rng.poisson(rng.gamma(1.5, 1 / 1.5, (30, 1)) * 3 * np.exp(0.5 * x[:30])).astype(float)
        model = LogLinear(covariates=x[:, :, None], base=SharedShock()).fit(counts)
        found.append(model.coefficients_.iloc[0])
        stated.append(model.standard_errors_.iloc[0])
        base, step = model.base_, 1e-4
        up, down = (log_likelihood(counts, base.means_ * np.exp(s * x[:30]), base.size_) for s in (step, -step))
        assert abs(up - down) / (2 * step) < 1e-4 * counts.sum()
    assert np.mean(found) == pytest.approx(0.5, abs=3 * 0.04 / 15**0.5)
    assert np.std(found) == pytest.approx(np.mean(stated), rel=0.5)
    assert np.mean(stated) < 0.05
