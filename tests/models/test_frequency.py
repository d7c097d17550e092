"""Frequency models against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.integrate import quad

from calibrate.errors import ModelError
from calibrate.models.frequency import Elastic, NegativeBinomial, Poisson, SharedShock, Trend
from calibrate.models.frequency.likelihood import log_mixed


def clustered(rng, size, mean, shape):
    return rng.poisson(mean * rng.gamma(size, 1 / size, shape)).astype(float)


def test_poisson_rate_is_events_over_exposure():
    counts, exposure = np.array([3.0, 0.0, 5.0]), np.array([10.0, 20.0, 50.0])
    assert Poisson().fit(counts, exposure=exposure).rate_[0] == pytest.approx(8 / 80, rel=1e-14)


def test_quantiles_and_moments_are_those_of_scipy():
    rng = np.random.default_rng(0)
    model = NegativeBinomial().fit(clustered(rng, 0.8, 3.0, (200, 1)))
    k, m = model.size_, float(model.mean(2.0)[0])
    law = stats.nbinom(k, k / (k + m))
    for q in (0.1, 0.5, 0.99, 0.9999):
        assert model.ppf(q, 2.0)[0] == law.ppf(q)
    assert model.variance(2.0)[0] == pytest.approx(law.var(), rel=1e-12)
    assert model.zero_probability(2.0)[0] == pytest.approx(law.pmf(0), rel=1e-12)


@pytest.mark.parametrize("family", [Poisson, NegativeBinomial])
def test_samples_follow_the_law(family):
    rng = np.random.default_rng(1)
    model = family().fit(clustered(rng, 0.8, 3.0, (100, 2)))
    drawn = model.sample(1.5, 5, 40_000)
    error = 4 * np.sqrt(model.variance(1.5) / 40_000)
    assert np.all(np.abs(drawn.mean(axis=0) - model.mean(1.5)) < error)
    np.testing.assert_allclose(drawn.var(axis=0), model.variance(1.5), rtol=0.06)


@pytest.mark.parametrize("mean", [1e-9, 0.03, 2.0, 400.0])
@pytest.mark.parametrize("size", [0.2, 5.0, np.inf])
def test_counts_by_their_largest_event_are_the_truncated_law(mean, size):
    """The largest event from a uniform, then the smaller ones: as many events as the law has, given one."""
    model = NegativeBinomial().fit([0.0, 1.0])
    model.size_ = size
    law = stats.poisson(mean) if np.isinf(size) else stats.nbinom(size, size / (size + mean))
    rng = np.random.default_rng(2)
    exceeded = (np.arange(40_000) + 0.5) / 40_000 * law.sf(0)
    chance = model.largest(exceeded, mean)
    thinned = stats.poisson(mean * chance) if np.isinf(size) else stats.nbinom(size, size / (size + mean * chance))
    np.testing.assert_allclose(thinned.sf(0), exceeded, rtol=1e-6, atol=1e-15)
    got = 1 + rng.poisson(model.others(chance, mean, rng))
    for k in (1, 2, 3, int(mean), int(2 * mean) + 1):
        if k >= 1:
            expected = (law.cdf(k) - law.pmf(0)) / law.sf(0)
            assert (got <= k).mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(40_000))


def test_members_borrow_from_each_other_by_exposure():
    """Against the posterior mean of the gamma-Poisson model by numerical integration."""
    rng = np.random.default_rng(3)
    exposure = np.exp(rng.normal(1, 1, 30))
    truth = 0.4 * rng.gamma(2.0, 0.5, 30)
    counts = rng.poisson(truth * exposure, (12, 30)).astype(float)
    model = Poisson().fit(counts, exposure=exposure)
    totals, exposed = counts.sum(axis=0), 12 * exposure
    a = model.credibility_[0]
    a = exposed[0] * model.collective_rate_ * (1 - a) / a  # heterogeneity implied by the first member
    theta = np.linspace(1e-6, 12, 40_001)
    for j in range(30):
        log_posterior = stats.gamma(a, scale=1 / a).logpdf(theta) + stats.poisson(
            theta * model.collective_rate_ * exposed[j]
        ).logpmf(totals[j])
        weight = np.exp(log_posterior - log_posterior.max())
        assert model.rate_[j] == pytest.approx(model.collective_rate_ * (weight @ theta) / weight.sum(), rel=1e-4)
    raw = totals / exposed
    assert np.mean((model.rate_ - truth) ** 2) < np.mean((raw - truth) ** 2)


def test_heterogeneity_is_the_maximum_of_its_likelihood():
    rng = np.random.default_rng(4)
    exposure = np.exp(rng.normal(1, 1, 40))
    counts = rng.poisson(exposure * rng.gamma(1.5, 1 / 1.5, 40)).astype(float)[None, :]
    model = Poisson().fit(counts, exposure=exposure)
    z = model.credibility_[0]
    a, rate = exposure[0] * model.collective_rate_ * (1 - z) / z, model.collective_rate_

    def likelihood(size, level):
        return stats.nbinom(size, size / (size + level * exposure)).logpmf(counts[0]).sum()

    best = likelihood(a, rate)
    for factor in (0.97, 1.03):
        assert likelihood(a * factor, rate) < best
        assert likelihood(a, rate * factor) < best


def test_a_member_without_events_has_a_rate_by_its_exposure():
    model = Poisson().fit([[0.0, 2.0, 3.0, 1.0]] * 10, exposure=[5.0, 10.0, 10.0, 1.0])
    assert 0 < model.rate_[0] < model.collective_rate_
    assert model.credibility_[0] < model.credibility_[1]


def test_equal_members_share_one_rate():
    model = Poisson().fit(np.random.default_rng(0).poisson(0.2, (50, 20)).astype(float))
    np.testing.assert_allclose(model.rate_, model.collective_rate_, rtol=0.25)


def test_counts_without_clusters_are_poisson():
    model = NegativeBinomial().fit([1.0, 2.0, 1.0, 2.0])
    assert model.size_ == np.inf
    assert model.log_likelihood_ == pytest.approx(stats.poisson(1.5).logpmf([1, 2, 1, 2]).sum(), rel=1e-12)


def test_no_events_are_refused_in_words():
    with pytest.raises(
        ModelError, match=r"Poisson: no loss was counted in 12 periods .*, so no rate can be told; join"
    ):
        Poisson().fit(np.zeros(12))


def test_shared_shocks_are_the_negative_binomial_of_the_sum():
    rng = np.random.default_rng(12)
    exposure = np.exp(rng.normal(0, 1, 20))
    counts = rng.poisson(0.5 * exposure * rng.gamma(0.7, 1 / 0.7, (400, 1))).astype(float)
    model = SharedShock().fit(counts, exposure=exposure)
    alone = NegativeBinomial().fit(counts.sum(axis=1))
    assert model.size_ == pytest.approx(alone.size_, rel=0.02)
    assert model.size_ == pytest.approx(0.7, rel=0.25)
    total = model.mean(exposure).sum()
    law = stats.nbinom(model.size_, model.size_ / (model.size_ + total))
    share = model.mean(exposure) / total
    brute = law.logpmf(counts.sum(axis=1)).sum() + stats.multinomial.logpmf(counts, counts.sum(axis=1), share).sum()
    assert model.log_likelihood_ == pytest.approx(brute, rel=1e-9)
    assert model.log_likelihood_ > NegativeBinomial().fit(counts, exposure=exposure).log_likelihood_


def test_own_shocks_are_likelier_where_they_are_own():
    rng = np.random.default_rng(13)
    counts = clustered(rng, 0.7, 0.6, (400, 20))
    assert NegativeBinomial().fit(counts).log_likelihood_ > SharedShock().fit(counts).log_likelihood_


def test_elasticity_is_that_of_a_poisson_regression():
    """statsmodels GLM on log exposure, one column; the likelihood of Poisson."""
    rng = np.random.default_rng(14)
    exposure = np.exp(rng.normal(2, 1.2, 200))
    counts = rng.poisson(0.8 * exposure**0.6).astype(float)
    model = Elastic(Poisson()).fit(counts, exposure=exposure)
    glm = sm.GLM(counts, sm.add_constant(np.log(exposure)), family=sm.families.Poisson()).fit()
    assert model.coefficient_ == pytest.approx(glm.params[1], abs=1e-5)
    assert model.log_likelihood_ == pytest.approx(glm.llf, abs=1e-6)
    assert model.mean(50.0)[0] == pytest.approx(np.exp(glm.params[0] + glm.params[1] * np.log(50.0)), rel=1e-5)


def test_trend_is_that_of_a_negative_binomial_regression():
    rng = np.random.default_rng(15)
    time = np.arange(120.0)
    counts = rng.poisson(2 * np.exp(0.012 * time) * rng.gamma(2, 0.5, 120)).astype(float)
    model = Trend().fit(counts)
    theirs = sm.NegativeBinomial(counts, sm.add_constant(time)).fit(disp=0, method="newton", maxiter=200)
    assert model.coefficient_ == pytest.approx(theirs.params[1], abs=1e-6)
    assert 1 / model.size_ == pytest.approx(theirs.params[2], rel=1e-3)
    ahead = np.exp(theirs.params[0] + theirs.params[1] * 120)
    assert model.mean()[0] == pytest.approx(ahead, rel=1e-4)


def test_rates_of_members_are_integrated_out():
    """By quadrature over the gamma law of each member's rate, with scipy's Poisson law."""
    totals, exposures = np.array([0.0, 3.0, 12.0]), np.array([0.5, 1.0, 2.0])
    rates, collective, a = np.array([1.1, 2.4, 5.5]), 2.5, 0.8
    exact = 0.0
    for total, exposure, rate in zip(totals, exposures, rates, strict=True):
        law = stats.gamma(a, scale=collective / a)
        mixed = quad(lambda r, n=total, e=exposure, law=law: stats.poisson.pmf(n, r * e) * law.pdf(r), 0, np.inf)[0]
        exact += np.log(mixed) - stats.poisson.logpmf(total, rate * exposure)
    assert log_mixed(totals, exposures, rates, collective, a) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(("power", "found"), [(0.4, 4), (1.0, 0)])
def test_a_power_of_exposure_is_seen_between_members_too(power, found):
    """Members that do not grow: rates of their own would hide what they have in common."""
    chosen, exposures = [], np.geomspace(1.0, 1e3, 20)
    for seed in range(4):
        rng = np.random.default_rng([31, seed])
        counts = rng.poisson(exposures**power / (exposures**power).sum() * 2.0, (60, 20))
        model = Elastic(NegativeBinomial()).fit(counts, exposure=np.tile(exposures, (60, 1)))
        chosen.append(model.coefficient_ if model.gain_ > 4 else 1.0)
    assert sum(one != 1.0 for one in chosen) == found
    assert np.mean(chosen) == pytest.approx(power, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "neutral"), [(Elastic, 1.0), (Trend, 0.0)])
def test_what_adds_nothing_is_left_out(family, neutral):
    rng = np.random.default_rng(16)
    exposure = np.exp(rng.normal(0, 0.5, (60, 8)))
    kept = 0
    for _ in range(6):
        model = family().fit(rng.poisson(0.7 * exposure).astype(float), exposure=exposure)
        kept += model.coefficient_ != neutral
    assert kept <= 2
    plain = NegativeBinomial().fit(np.full((10, 2), 3.0), exposure=1.0)
    assert family().fit(np.full((10, 2), 3.0)).mean()[0] == pytest.approx(plain.mean()[0])
