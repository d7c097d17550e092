"""Ratio models against closed forms, scipy, and known truths."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import betabinom, binom

from calibrate import JointLossModel, LossHistory
from calibrate.errors import ModelError
from calibrate.models.exposed_scatter import time_exponent
from calibrate.models.pooling import mean_exponent, pooled_means
from calibrate.models.ratio import EmpiricalRatio, GammaRatio, GeneralizedGammaRatio, LogNormalRatio

FAMILIES = [LogNormalRatio, GammaRatio, GeneralizedGammaRatio, EmpiricalRatio]


def pool(rng, periods=10, members=46, between=0.15, within=0.2):
    level = rng.normal(-0.35, between, members)
    deviation = within * np.exp(rng.normal(0, 0.4, members))
    exposure = np.exp(rng.normal(9, 1.3, (1, members))) * np.ones((periods, 1))
    return exposure * np.exp(level + deviation * rng.normal(size=(periods, members))), exposure, level, deviation


def test_one_member_is_fitted_as_by_scipy():
    x = np.exp(np.random.default_rng(0).normal(1, 0.5, 30))
    model = LogNormalRatio().fit(x)
    shape, _, scale = stats.lognorm.fit(x, floc=0)
    assert model.log_mean_[0] == pytest.approx(np.log(scale), rel=1e-6)
    assert model.log_deviation_[0] == pytest.approx(shape * np.sqrt(30 / 29), rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mean_is_the_integral_of_the_quantiles(family):
    losses, exposure, *_ = pool(np.random.default_rng(1), members=4)
    losses[0, 0] = 0.0
    model = family().fit(losses, exposure=exposure)
    edges = np.r_[0.0, np.geomspace(1e-9, 0.5, 4000), 1 - np.geomspace(0.5, 1e-9, 4000)[1:], 1.0]
    middle = (edges[1:] + edges[:-1]) / 2
    integral = np.diff(edges) @ model.ppf(middle[:, None])
    np.testing.assert_allclose(model.mean(), integral, rtol=2e-4)


def test_gamma_quantiles_are_those_of_scipy():
    losses, exposure, *_ = pool(np.random.default_rng(2), members=3)
    model = GammaRatio().fit(losses, exposure=exposure)
    unsure, model.freedom_ = model.ppf(0.99), np.full(3, np.inf)
    assert (unsure > model.ppf(0.99)).all()  # by what is not known of the scatter
    for j in range(3):
        z = stats.loggamma.var(1.0)  # trigamma(1), to be found again below
        assert z == pytest.approx(np.pi**2 / 6)
        k = next(iter(_shape_by_bisection(model.log_deviation_[j] ** 2)))
        scale = np.exp(model.log_mean_[j] - stats.loggamma.mean(k))
        assert model.ppf(0.99)[j] == pytest.approx(stats.gamma(k, scale=scale).ppf(0.99), rel=1e-6)


def _shape_by_bisection(variance):
    low, high = 1e-3, 1e5
    for _ in range(200):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if stats.loggamma.var(middle) > variance else (low, middle)
    yield low


def test_borrowing_comes_nearer_to_the_truth():
    rng = np.random.default_rng(3)
    ours, own, ours_b, own_b = [], [], [], []
    for _ in range(20):
        losses, exposure, level, deviation = pool(rng)
        model = LogNormalRatio().fit(losses, exposure=exposure)
        logs = np.log(losses / exposure)
        ours.append(((model.log_mean_ - level) ** 2).mean())
        own.append(((logs.mean(axis=0) - level) ** 2).mean())
        ours_b.append((np.log(model.log_deviation_ / deviation) ** 2).mean())
        own_b.append((np.log(logs.std(axis=0, ddof=1) / deviation) ** 2).mean())
    assert np.mean(ours) < np.mean(own)
    assert np.mean(ours_b) < np.mean(own_b)


def test_zeros_are_a_point_mass():
    rng = np.random.default_rng(4)
    losses, exposure, *_ = pool(rng, periods=60, members=12)
    losses[rng.random(losses.shape) < 0.3] = 0.0
    model = LogNormalRatio().fit(losses, exposure=exposure)
    np.testing.assert_allclose(model.zero_share_, 0.3, atol=0.15)
    drawn = model.sample(random_state=1, n=20_000)
    np.testing.assert_allclose((drawn == 0).mean(axis=0), model.zero_share_, atol=0.015)
    assert model.ppf(model.zero_share_ * 0.99).max() == 0.0


def test_a_member_that_never_lost_borrows_all():
    losses, exposure, *_ = pool(np.random.default_rng(5), members=8)
    losses[:, 2] = 0.0
    model = LogNormalRatio().fit(losses / exposure)
    assert model.credibility_[2] == 0.0
    seldom = (1 - model.zero_share_[2]) / (1 - 1 / 8)  # no other tells whether who seldom loses loses more
    assert model.mean()[2] == pytest.approx(model.collective_mean_ * seldom ** (1 - 0.5 * 0.5))
    assert 0 < model.zero_share_[2] < 1
    assert model.mean()[2] > 0


def test_one_year_without_a_loss_is_not_a_member_that_never_has_one():
    """Shares by quadrature over the correlation of two years and the part of size, the likelihood by scipy's law."""
    losses, exposure, *_ = pool(np.random.default_rng(5), periods=8, members=4)
    losses[:, 3], exposure[:7, 3] = 0.0, 0.0  # a newcomer
    model = LogNormalRatio().fit(losses, exposure=exposure)
    zeros, years = np.array([0, 0, 0, 1]), np.array([8, 8, 8, 1])
    sizes = exposure.sum(axis=0) / years

    @cache
    def of_size(power):
        factor = brentq(lambda a: years @ np.exp(-a * (sizes / sizes.mean()) ** power) - 1, 1e-9, 100, xtol=1e-12)
        return np.exp(-factor * (sizes / sizes.mean()) ** power)

    def weighed(root, power, what):
        s, c = 1 / root**2 - 1, of_size(power)
        return betabinom(years, s * c, s * (1 - c)).pmf(zeros).prod() * what((zeros + s * c) / (years + s))

    def whole(what):
        nodes, weights = np.polynomial.legendre.leggauss(12)
        powers = list(zip((nodes + 1) / 2, weights, strict=True))
        return sum(w * (quad(weighed, 0.001, 0.999, args=(x, what))[0] + apart(x, what)) for x, w in powers)

    def apart(power, what):  # years of a member have nothing in common: as likely as anything else together
        return binom(years, of_size(power)).pmf(zeros).prod() * what(of_size(power))

    every = whole(lambda shares: 1.0)
    exact = [whole(lambda shares, j=j: shares[j]) / every for j in range(4)]
    np.testing.assert_allclose(model.zero_share_, exact, rtol=0.03)
    assert model.mean()[3] > 0.3 * model.mean()[:3].mean()


def test_periods_without_exposure_do_not_count():
    losses, exposure, *_ = pool(np.random.default_rng(6), members=5)
    late, gone = exposure.copy(), losses.copy()
    late[:4, 1], gone[:4, 1] = 0.0, 0.0
    model = LogNormalRatio().fit(gone, exposure=late)
    assert model.zero_share_[1] == 0.0
    alone = LogNormalRatio().fit(losses[4:, 1], exposure=exposure[4:, 1])
    whole = LogNormalRatio().fit(losses[:, 1], exposure=exposure[:, 1])
    assert abs(model.log_mean_[1] - alone.log_mean_[0]) < abs(model.log_mean_[1] - whole.log_mean_[0]) + 0.05


def test_the_empirical_ratio_never_exceeds_what_was_seen():
    losses, exposure, *_ = pool(np.random.default_rng(7))
    model = EmpiricalRatio().fit(losses, exposure=exposure)
    assert model.ppf(1.0).max() == pytest.approx(
        np.exp(model.log_mean_ + model.log_deviation_ * model.residuals_[-1]).max()
    )


def test_one_observation_is_refused_in_words():
    with pytest.raises(ModelError, match=r"LogNormalRatio: no member has two positive losses .*lengthen the history"):
        LogNormalRatio().fit([[5.0, 7.0]])


def test_large_members_are_steadier():
    """Scatter falls with exposure to the power -1/2 in truth; found again, and nearer to the truth than without."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(20):
        exposure = np.exp(rng.normal(0, 1.3, 46)) * np.ones((10, 1))
        losses = exposure * np.exp(0.2 * exposure**-0.25 * rng.normal(size=(10, 46)))
        model = LogNormalRatio().fit(losses, exposure=exposure)
        found.append(model.size_exponent_)
        largest = exposure[0].argmax()
        assert model.log_deviation_[largest] < np.median(model.log_deviation_)
    assert np.mean(found) == pytest.approx(-0.5, abs=0.08)


def test_without_exposures_size_says_nothing():
    losses, *_ = pool(np.random.default_rng(9))
    assert LogNormalRatio().fit(losses).size_exponent_ == 0.0


def grown(seed, exponent, members=30, periods=10, zeros=0.0):
    """Exposures that move by members of their own, lognormal ratios of mean 1 and variance of logs `0.3 g^exponent`."""
    rng = np.random.default_rng([51, seed])
    growth = np.exp(np.linspace(-1, 1, periods)[:, None] * rng.normal(0, 1.2, members))
    exposure = growth * rng.lognormal(0, 1, members)
    variance = 0.3 * (exposure / exposure.mean(axis=0)) ** exponent
    ratios = np.exp(np.sqrt(variance) * rng.normal(size=exposure.shape) - variance / 2)
    return exposure * ratios * (rng.random(exposure.shape) >= zeros), exposure


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0])
def test_the_exponent_of_scatter_in_time_is_found(exponent):
    found = np.array(
        [LogNormalRatio().fit(x, exposure=e).time_exponent_ for x, e in (grown(s, exponent) for s in range(20))]
    )
    inside = np.clip(exponent, -0.93, -0.07)  # a mean over -1 to 0 does not reach its ends
    assert found.mean() == pytest.approx(inside, abs=0.1)
    for dust in (0.0, 1e-8, 0.01):  # nothing told
        small = LogNormalRatio().fit([[1.0, 2.0], [1.1, 1.5]], exposure=[[1.0, 1.0], [1.0, 1.0 + dust]])
        assert small.time_exponent_ == pytest.approx(-0.5, abs=0.01)


def test_a_first_year_of_next_to_nothing_does_not_rule_a_member():
    """A ten-thousandth of the exposure scatters no more than a tenth of it would."""
    losses, exposure = grown(3, -0.5)
    dust = exposure.copy()
    dust[0] *= 1e-6
    moved = LogNormalRatio().fit(losses / exposure * dust, exposure=dust)
    tenth = exposure.copy()
    tenth[0] *= 0.05
    known = LogNormalRatio().fit(losses / exposure * tenth, exposure=tenth)
    np.testing.assert_allclose(moved.log_mean_, known.log_mean_, atol=0.15)
    np.testing.assert_allclose(moved.log_deviation_, known.log_deviation_, rtol=0.3)


def test_restricted_likelihood_is_that_of_all_contrasts():
    """Normal density of what is orthogonal to the mean, at the variance that makes it largest; written out."""
    rng = np.random.default_rng(3)
    logs, growth = rng.normal(size=(7, 1)), rng.normal(size=(7, 1))
    contrasts = stats.ortho_group.rvs(7, random_state=1)
    contrasts = np.linalg.qr(np.column_stack([np.ones(7), contrasts[:, 1:]]))[0][:, 1:]
    likely = []
    for c in np.linspace(-1, 0, 21):
        V = contrasts.T @ np.diag(np.exp(c * growth[:, 0])) @ contrasts
        y = contrasts.T @ logs[:, 0]
        variance = y @ np.linalg.solve(V, y) / 6
        likely.append(stats.multivariate_normal(np.zeros(6), variance * V).logpdf(y))
    chances = np.exp(np.array(likely) - max(likely))
    expected = chances @ np.linspace(-1, 0, 21) / chances.sum()
    assert time_exponent(logs, np.ones((7, 1)), growth) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_a_member_that_has_shrunk_scatters_more_at_the_same_mean(family):
    losses, exposure = grown(1, -1.0, zeros=0.15)
    model = family().fit(losses, exposure=exposure)
    usual = model.mean_exposures_
    chances = (np.arange(200_000)[:, None] + 0.5) / 200_000
    spreads = []
    for times in (0.25, 1.0, 4.0):
        drawn = model.ppf(chances, usual * times) / (usual * times)
        np.testing.assert_allclose(drawn.mean(axis=0), model.mean(), rtol=0.03)
        none = (drawn == 0).mean(axis=0)
        np.testing.assert_allclose(none, model.zero_share_ ** (times**-model.time_exponent_), atol=1e-5)
        spreads.append(np.median(drawn.std(axis=0)))
    assert spreads[0] > 1.4 * spreads[1] > 1.4 * 1.4 * spreads[2]
    np.testing.assert_array_equal(model.ppf(0.9, usual), usual * model.ppf(0.9))


@pytest.mark.slow
def test_years_after_tenfold_shrinking_lie_where_it_says():
    """Compound Poisson losses of ten members whose exposures fall tenfold: beyond the 99 % quantile were 4 to 5 %."""
    exposures, above, below = np.geomspace(1, 0.1, 11), [], []
    for seed in range(25):
        rng = np.random.default_rng([61, seed])
        counts = rng.poisson(20 * exposures[:, None] * np.ones(10))
        losses = np.array([[rng.lognormal(0, 1, n).sum() for n in row] for row in counts])
        years, names = pd.RangeIndex(2000, 2010), [f"M{i}" for i in range(10)]
        known = pd.DataFrame(exposures[:10, None] * np.ones(10), years, names)
        history = LossHistory.from_panel(pd.DataFrame(losses[:10], years, names), exposures=known)
        ahead = dict.fromkeys(names, exposures[10])
        drawn = JointLossModel().fit(history).sample(4_000, 1, exposures=ahead).losses
        truth = np.array([[rng.lognormal(0, 1, n).sum() for n in rng.poisson(20 * exposures[10], 400)]]).ravel()
        above.append((truth[:, None] > np.quantile(drawn, 0.99, axis=0)).mean())
        below.append((truth[:, None] < np.quantile(drawn, 0.05, axis=0)).mean())
    assert np.mean(above) < 0.025
    assert np.mean(below) < 0.15


@pytest.mark.parametrize("law", ["lognormal", "gamma"])
def test_small_members_who_scatter_more_are_not_overcharged(law):
    """All have the ratio 1; as means of logs were pooled, the smallest of four groups was charged 1.43 of it."""
    exposures, found = np.repeat([0.25, 0.5, 1.0, 4.0], 4), []
    b = np.sqrt(0.3 / exposures)
    for seed in range(40):
        rng = np.random.default_rng([11, seed])
        normal = rng.normal(size=(12, 16))
        ratios = (
            np.exp(b * normal - b**2 / 2)
            if law == "lognormal"
            else rng.gamma(4 * exposures, 0.25 / exposures, (12, 16))
        )
        model = GeneralizedGammaRatio().fit(exposures * ratios, exposure=np.tile(exposures, (12, 1)))
        found.append(model.mean().reshape(4, 4).mean(axis=1))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - 1) < 3.5 * error)
    assert error.max() < 0.02


@pytest.mark.parametrize("severity", ["gamma", "lognormal"])
def test_small_members_who_often_lose_nothing_are_charged_what_they_cost(severity):
    """Compound Poisson losses, all of the ratio 1: members share that, and not the mean of a loss that there is."""
    exposures, found = np.repeat([0.2, 0.75, 3.0], 6), []
    for seed in range(40):
        rng = np.random.default_rng([12, seed])
        counts = rng.poisson(4 * exposures, (12, 18))
        one = {
            "gamma": rng.gamma(1.0, 0.25, (*counts.shape, 30)),
            "lognormal": rng.lognormal(-0.5, 1.0, (*counts.shape, 30)) / 4,
        }
        losses = (one[severity] * (np.arange(30) < counts[..., None])).sum(axis=-1)
        model = GeneralizedGammaRatio().fit(losses, exposure=np.tile(exposures, (12, 1)))
        found.append(model.mean().reshape(3, 6).mean(axis=1))
    assert np.abs(np.mean(found, axis=0) - 1).max() < 0.05


def test_members_of_one_size_who_seldom_lose_cost_less():
    """What differs between members of one size is how often they lose: that is not made up for by larger losses."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng([13, seed])
        often = np.repeat([0.1, 0.8], 8)
        losses = rng.lognormal(-0.5, 1.0, (40, 16)) * (rng.random((40, 16)) < often)
        found.append(LogNormalRatio().fit(losses).mean().reshape(2, 8).mean(axis=1))
    np.testing.assert_allclose(np.mean(found, axis=0), [0.1, 0.8], rtol=0.2)


def test_small_members_of_higher_ratios_are_charged_for_them():
    """Claims that grow with the root of exposure: small members cost more of each, and it is said."""
    exposures, found = np.geomspace(0.03, 30.0, 20), []
    for seed in range(20):
        rng = np.random.default_rng([14, seed])
        counts = rng.poisson(2 * exposures**0.5, (12, 20))
        losses = rng.gamma(np.maximum(counts, 1), 0.5) * (counts > 0)
        model = GeneralizedGammaRatio().fit(losses, exposure=np.tile(exposures, (12, 1)))
        found.append((model.mean(exposures) / exposures**0.5).reshape(4, 5).mean(axis=1))
        assert model.mean_exponent_ == pytest.approx(-0.5, abs=0.3)
        assert any("loss ratios go with the power -0." in flag for flag in model.flags())
    assert np.abs(np.mean(found, axis=0) - 1).max() < 0.1


def test_ratios_that_do_not_go_with_size_have_no_power():
    rng, powers = np.random.default_rng(15), []
    for _ in range(40):
        exposures = np.exp(rng.normal(0, 1.5, 20))
        losses = exposures * np.exp(rng.normal(0, 0.3, 20) + rng.normal(0, 0.4, (10, 20)))
        powers.append(LogNormalRatio().fit(losses, exposure=np.tile(exposures, (10, 1))).mean_exponent_)
    assert np.count_nonzero(powers) <= 2


def test_a_member_who_never_lost_is_not_thought_another_for_it():
    """Members all of one ratio: those who by chance lost nothing in ten years cost what the others do."""
    cost = []
    for seed in range(60):
        rng = np.random.default_rng([16, seed])
        counts = rng.poisson(0.25, (10, 20))
        losses = rng.gamma(np.maximum(counts, 1), 4.0) * (counts > 0)
        if (losses.sum(axis=0) == 0).any():
            cost.append(GeneralizedGammaRatio().fit(losses).mean()[losses.sum(axis=0) == 0].mean() / (0.25 * 4.0))
    assert len(cost) > 40
    assert np.mean(cost) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("steady", "wild", "chance"), [(0.2, 0.8, 0.25), (0.3, 1.0, 0.1)])
def test_who_seldom_loses_may_lose_more(steady, wild, chance):
    """Half lose every year, half seldom and as much in all, at a scatter of their own: charged .85 to 1; .6 it was."""
    cost, seldom = [], np.arange(10) % 2 == 1
    for seed in range(40):
        rng = np.random.default_rng([18, seed])
        b = np.where(seldom, wild, steady)
        losses = np.exp(b * rng.normal(size=(20, 10)) - b**2 / 2)
        losses *= np.where(seldom, (rng.random(losses.shape) < chance) / chance, 1.0)
        cost.append(GeneralizedGammaRatio().fit(losses).mean().reshape(5, 2).mean(axis=0))
    often, rarely = np.mean(cost, axis=0)
    assert often == pytest.approx(1.0, abs=0.05)
    assert 0.8 < rarely < 1.12


def test_what_lies_between_means_of_unlike_precision_is_told_by_all_of_them():
    """Half known to .03 and alike, half to .4 and three times as large: these were drawn to the others (.65)."""
    means = np.tile([0.0, np.log(3.0)], 10) + np.tile([0.03, 0.4], 10) * np.random.default_rng(19).normal(size=20)
    pooled, _, credibility = pooled_means(means, np.tile([0.03**2, 0.4**2], 10))
    assert credibility[1::2].min() > 0.6
    assert np.exp(pooled[1::2]).mean() > 2.2


def test_one_member_may_outweigh_all():
    """A mean known to 1e-12 beside others known to 1: as far apart as they are, each keeps nearly its own."""
    rng = np.random.default_rng(17)
    means, variances = rng.normal(0.0, 10.0, 8), np.r_[1e-24, np.ones(7)]
    pooled, _, credibility = pooled_means(means, variances)
    assert credibility[0] == pytest.approx(1.0)
    assert (credibility[1:] > 0.9).all()
    np.testing.assert_allclose(pooled, means, atol=3.0)
    assert np.isfinite(mean_exponent(means, variances, rng.normal(0.0, 1.0, 8), 4.0))
