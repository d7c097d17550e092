"""Frequency models against statsmodels on the same data, and the known truth inside intervals at the right rate."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from calibrate.models.frequency import NegativeBinomial, Poisson


def clustered(rng, rate, size, exposure):
    return rng.poisson(rate * exposure * rng.gamma(size, 1 / size, exposure.shape)).astype(float)


@pytest.mark.parametrize("seed", range(5))
def test_negative_binomial_is_that_of_statsmodels(seed):
    """statsmodels NegativeBinomial (NB2) with exposure, likelihood maximised by Newton."""
    rng = np.random.default_rng(seed)
    exposure = rng.uniform(1, 10, 300)
    counts = clustered(rng, 0.7, 1.5, exposure)
    ours = NegativeBinomial().fit(counts, exposure=exposure)
    theirs = sm.NegativeBinomial(counts, np.ones((300, 1)), exposure=exposure).fit(
        disp=0, method="newton", maxiter=200, tol=1e-12
    )
    assert ours.rate_[0] == pytest.approx(np.exp(theirs.params[0]), rel=1e-6)
    assert 1 / ours.size_ == pytest.approx(theirs.params[1], rel=1e-5)
    assert ours.log_likelihood_ == pytest.approx(theirs.llf, abs=1e-7)
    assert ours.log_likelihood_ >= theirs.llf - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_poisson_is_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    exposure = rng.uniform(1, 10, 200)
    counts = rng.poisson(0.7 * exposure).astype(float)
    theirs = sm.GLM(counts, np.ones((200, 1)), family=sm.families.Poisson(), exposure=exposure).fit()
    ours = Poisson().fit(counts, exposure=exposure)
    assert ours.rate_[0] == pytest.approx(np.exp(theirs.params[0]), rel=1e-10)
    assert ours.log_likelihood_ == pytest.approx(theirs.llf, rel=1e-12)


def test_likelihood_is_that_of_scipy():
    counts = clustered(np.random.default_rng(9), 2.0, 0.8, np.ones(100))
    model = NegativeBinomial().fit(counts)
    k, m = model.size_, float(model.rate_[0])
    assert model.log_likelihood_ == pytest.approx(stats.nbinom(k, k / (k + m)).logpmf(counts).sum(), rel=1e-12)


@pytest.mark.parametrize("periods", [100, 500])
def test_recovery_of_the_truth(periods):
    """300 histories of known rate and size: 95 % likelihood-ratio regions hold the truth so often; no bias is seen."""
    rate, size, covered, rates, logs = 0.8, 1.2, 0, [], []
    rng = np.random.default_rng(periods)
    exposure = np.exp(rng.normal(0.5, 0.5, periods))
    histories = 300
    for _ in range(histories):
        counts = clustered(rng, rate, size, exposure)
        model = NegativeBinomial().fit(counts, exposure=exposure)
        mean = rate * exposure
        truth = stats.nbinom(size, size / (size + mean)).logpmf(counts).sum()
        covered += 2 * (model.log_likelihood_ - truth) <= stats.chi2(2).ppf(0.95)
        rates.append(model.rate_[0])
        logs.append(1 / model.size_)
    error = 3 * np.std(rates, ddof=1) / np.sqrt(histories)
    assert abs(np.mean(rates) - rate) < error
    assert abs(np.median(logs) - 1 / size) < 0.1
    assert stats.binomtest(covered, histories, 0.95).pvalue > 0.01


def test_clusters_across_members_are_recovered():
    """20 members of different rates, clustered by month: common size and the members' rates are found again."""
    rng = np.random.default_rng(11)
    exposure = np.exp(rng.normal(0, 1, 20)) * np.ones((72, 1))
    level = 0.5 * rng.gamma(3, 1 / 3, 20)
    found = [NegativeBinomial().fit(clustered(rng, level, 1.2, exposure), exposure=exposure) for _ in range(40)]
    assert np.median([model.size_ for model in found]) == pytest.approx(1.2, rel=0.15)
    rates = np.array([model.rate_ for model in found])
    assert np.all(np.abs(rates.mean(axis=0) - level) < 4 * rates.std(axis=0) / np.sqrt(40) + 0.12 * level)
