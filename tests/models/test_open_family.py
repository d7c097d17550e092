"""Ratios lognormal, lighter and heavier, against scipy's laws, quadrature, and pools of known truth."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from scipy.integrate import quad

from calibrate import JointLossModel, LossHistory
from calibrate.models.open_family import LOGNORMAL, POWERS, chances, log_evidence, worth
from calibrate.models.power_gamma import HEAVIEST, LogPowerGamma, gamma_shapes, log_mean, no_heavier, unsure_isf
from calibrate.models.ratio import GammaRatio, GeneralizedGammaRatio, LogNormalRatio
from calibrate.models.unsure import equally_likely_variances

CASES = [(0.25, 0.4), (0.5, 1.2), (1.0, 0.3), (1.0, 2.5), (-0.5, 0.7), (-1.0, 0.45)]


def law_of(power, deviation):
    """`R` by scipy, `log R` with mean 0 and this deviation; its shape by bisection."""
    if power == 0:
        return stats.lognorm(deviation)
    wanted = (power * deviation) ** 2
    shape = np.exp(optimize.brentq(lambda x: np.log(stats.loggamma.var(np.exp(x)) / wanted), -9.0, 14.0, xtol=1e-13))
    return stats.gengamma(shape, power, scale=np.exp(-stats.loggamma.mean(shape) / power))


@pytest.mark.parametrize(("power", "deviation"), CASES)
def test_laws_are_the_generalized_gamma_of_scipy(power, deviation):
    exact, scores = law_of(power, deviation), np.array([-4.0, -1.0, 0.0, 0.7, 3.0, 5.0])
    law = LogPowerGamma(power, deviation)
    np.testing.assert_allclose(np.exp(law.at(scores[:3])), exact.ppf(stats.norm.cdf(scores[:3])), rtol=1e-8)
    np.testing.assert_allclose(np.exp(law.at(scores[3:])), exact.isf(stats.norm.sf(scores[3:])), rtol=1e-8)
    y = np.array([-2.0, 0.1, 1.5]) if deviation > 0.5 else np.array([-1.0, 0.1, 1.0])
    np.testing.assert_allclose(law.above(y), exact.sf(np.exp(y)), rtol=1e-8)
    np.testing.assert_allclose(law.below(y), exact.cdf(np.exp(y)), rtol=1e-8)
    assert log_mean(power, np.array(deviation)) == pytest.approx(np.log(exact.mean()), rel=1e-8)


def test_far_to_the_left_a_gamma_law_is_a_power():
    """Quantiles too small for a number: `P = (x^k) / Gamma(k + 1)`."""
    law = LogPowerGamma(1.0, 40.0)
    y = law.at(np.array([-6.0]))
    exact = (stats.norm.logcdf(-6.0) + math.lgamma(law.shape + 1)) / law.shape - stats.loggamma.mean(law.shape)
    assert y[0] == pytest.approx(exact, rel=1e-9)
    assert law.below(y)[0] == pytest.approx(stats.norm.cdf(-6.0), rel=1e-8)


def test_a_power_below_zero_is_a_pareto_tail_and_none_is_heavier_than_said():
    """A tail exponent of 2 at any wide scatter, by bisection; narrow laws keep their power, which is inverse gamma."""
    deviations = np.array([0.2, 0.5, 0.51, 0.8, 1.5, 2.0, 6.0])
    for power in (-1.0, -0.5, -0.25):
        found = no_heavier(power, deviations)
        shapes = gamma_shapes(found, deviations)
        assert np.all(-found * shapes >= HEAVIEST * (1 - 1e-9))
        at = stats.loggamma.var(HEAVIEST / -power) ** 0.5 / -power  # where that power itself has the exponent
        np.testing.assert_allclose((-found * shapes)[deviations > at * 1.001], HEAVIEST, rtol=1e-9)
        assert np.all(found[deviations < at] == power)
    law = LogPowerGamma(-1.0, 0.45)
    inverse = stats.invgamma(law.shape, scale=np.exp(stats.loggamma.mean(law.shape)))
    np.testing.assert_allclose(np.exp(law.at(np.array([3.0]))), inverse.isf(stats.norm.sf(3.0)), rtol=1e-9)


def test_shapes_are_those_of_the_trigamma_function():
    deviations = np.geomspace(2e-3, 300.0, 40)
    shapes = gamma_shapes(1.0, deviations)
    np.testing.assert_allclose([stats.loggamma.var(k) for k in shapes], deviations**2, rtol=1e-9)
    assert np.isinf(gamma_shapes(0.0, deviations)).all()


@pytest.mark.parametrize(("power", "deviation"), [*CASES, (0.0, 0.7)])
def test_evidence_is_the_likelihood_integrated_over_the_level(power, deviation):
    logs = deviation * np.random.default_rng(3).standard_normal(6) + 2.0
    exact = law_of(power, deviation)

    def likelihood(level):
        return np.exp(np.sum(exact.logpdf(np.exp(logs - level)) + logs - level))

    whole = quad(likelihood, logs.mean() - 9 * deviation, logs.mean() + 9 * deviation, limit=400, epsabs=0)[0]
    found = log_evidence(power, logs[:, None], np.ones((6, 1)), np.array([deviation]))
    assert found == pytest.approx(np.log(whole), abs=1e-5)


def test_what_was_not_seen_does_not_count():
    logs, weights = np.random.default_rng(4).standard_normal((7, 3)), np.ones((7, 3))
    weights[2:5, 1], weights[1:, 2] = 0.0, 0.0  # the last column has one ratio: it tells nothing of a family
    b = np.array([0.9, 1.1, 1.0])
    apart = log_evidence(1.0, logs[:, :1], np.ones((7, 1)), b[:1])
    apart += log_evidence(1.0, logs[[0, 1, 5, 6], 1:2], np.ones((4, 1)), b[1:2])
    assert log_evidence(1.0, logs, weights, b) == pytest.approx(apart, rel=1e-12)


@pytest.mark.parametrize("freedom", [np.inf, 6.0])
@pytest.mark.parametrize(
    "weights", [(0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.05, 0.05), (0.0,) * 7 + (1.0,), (1.0,) + (0.0,) * 7]
)
def test_quantiles_are_those_of_the_mixture(weights, freedom):
    deviation, chance = 0.8, np.array([1e-9, 1e-4, 0.02, 0.3, 0.6, 0.97, 1 - 1e-6])
    found, above = unsure_isf(chance, (0.3, deviation, freedom), POWERS, weights), 0.0
    variances = equally_likely_variances(deviation, freedom)
    for power, weight in zip(POWERS, weights, strict=True):
        for b in np.sqrt(variances):
            sure, own = (law_of(float(no_heavier(power, np.array(at))), at) for at in (deviation, float(b)))
            kept = sure.mean() / own.mean()  # the mean of the law that is sure
            above = above + weight / variances.size * own.sf(found / np.exp(0.3) / kept)
    np.testing.assert_allclose(above, chance, rtol=2e-5)


def test_columns_that_are_one_tell_as_much_as_one():
    logs, ones = np.random.default_rng(5).standard_normal((9, 1)), np.ones((9, 6))
    assert worth(np.tile(logs, 6), ones, np.ones(6)) == pytest.approx(1 / 6)
    apart = np.random.default_rng(5).standard_normal((4000, 6))
    assert worth(apart, np.ones_like(apart), np.ones(6)) == pytest.approx(1.0, abs=0.1)
    alike = GeneralizedGammaRatio().fit(np.tile(np.exp(logs), 6)).log_likelihoods_
    np.testing.assert_allclose(np.diff(alike), np.diff(GeneralizedGammaRatio().fit(np.exp(logs)).log_likelihoods_))


def test_chances_are_those_of_bayes():
    told = np.array([-4.0, -2.0, -3.0, -3.0, -2.0, -1.5, -1.0, -2.5])
    exact = np.array([4 / 3, 4 / 3, 4 / 3, 12, 1, 1, 1, 1]) * np.exp(told)
    np.testing.assert_allclose(chances(told), exact / exact.sum(), atol=8 * np.exp(-10.0))  # what is hopeless goes
    np.testing.assert_allclose(chances(told - 1e6), chances(told), rtol=1e-9)
    assert chances(np.array([0.0, 0, 0, 0, 0, 0, 0, 14]))[LOGNORMAL] == 0.0  # hopeless


def expected(draw, seeds, family, periods=8, members=20):
    """Mean over pools of expected losses over true ones, which are 1 each."""
    pools = [draw(np.random.default_rng(seed), (periods, members)) for seed in range(seeds)]
    return np.mean([family().fit(losses).mean().mean() for losses in pools])


def gamma_losses(rng, shape):
    return rng.gamma(0.9**-2, 0.9**2, shape)


def lognormal_losses(rng, shape):
    b = np.sqrt(np.log(1 + 0.9**2))
    return np.exp(b * rng.standard_normal(shape) - b**2 / 2)


@pytest.mark.slow
def test_lighter_ratios_are_not_expected_to_cost_too_much_and_lognormal_ones_not_too_little():
    assert expected(gamma_losses, 60, LogNormalRatio) > 1.10
    assert expected(gamma_losses, 60, GeneralizedGammaRatio) == pytest.approx(1.02, abs=0.04)
    sure, open_ = (expected(lognormal_losses, 60, family) for family in (LogNormalRatio, GeneralizedGammaRatio))
    assert open_ == pytest.approx(sure, rel=0.02)
    assert expected(lognormal_losses, 60, GammaRatio) < 0.96 * sure


@pytest.mark.slow
def test_a_thin_panel_keeps_the_lognormal():
    """Six periods of three members: neither a lighter nor a heavier tail from noise."""
    pools = [lognormal_losses(np.random.default_rng(seed), (6, 3)) for seed in range(100)]
    models = [GeneralizedGammaRatio().fit(losses) for losses in pools]
    assert np.mean([model.chances_[LOGNORMAL] for model in models]) > 0.58  # 0.6 before the data
    assert np.mean([bool(model.flags()) for model in models]) < 0.1
    sure = [LogNormalRatio().fit(losses).ppf(0.995) for losses in pools]
    assert np.median([model.ppf(0.995) for model in models] / np.array(sure)) == pytest.approx(1.03, abs=0.05)


def panel(losses):
    return LossHistory.from_panel(pd.DataFrame(losses, index=range(2000, 2000 + len(losses))).add_prefix("member "))


def test_the_choice_is_reported():
    light = panel(gamma_losses(np.random.default_rng(1), (10, 40)))
    said = "lighter tail than lognormal ones: .* are likelier .log-likelihood -[0-9.]+ against -[0-9.]+.: scenarios"
    assert [flag for flag in JointLossModel().fit(light).flags_ if re.search(said, flag)]
    asked = JointLossModel(ratio=LogNormalRatio()).fit(light).flags_
    assert any("lighter tail" in flag and "lognormal was asked for: leave ratio out" in flag for flag in asked)
    heavy = panel(lognormal_losses(np.random.default_rng(1), (10, 40)))
    assert not any("tail" in flag for flag in JointLossModel().fit(heavy).flags_)
    asked = JointLossModel(ratio=GammaRatio()).fit(heavy).flags_
    assert any("heavier tail than GammaRatio, which was asked for" in flag for flag in asked)


@pytest.mark.slow
def test_heavier_ratios_are_said_and_expected_to_cost_more():
    """Inverse gamma ratios, tail exponent 3: the lognormal expects too little, the open family most of what is true."""

    def draw(rng, shape):
        return 2.0 / rng.gamma(3.0, 1.0, shape)

    sure, open_ = (expected(draw, 60, family, periods=20) for family in (LogNormalRatio, GeneralizedGammaRatio))
    assert sure < 0.97 < open_ < 1.02
    said = "heavier tail than lognormal ones: .* are likelier .*: scenarios and expected losses weigh all"
    flags = JointLossModel().fit(panel(draw(np.random.default_rng(2), (20, 20)))).flags_
    assert [flag for flag in flags if re.search(said, flag) and "safe side" not in flag]


def test_the_order_of_members_does_not_matter():
    losses = gamma_losses(np.random.default_rng(7), (9, 12))
    order = np.random.default_rng(8).permutation(12)
    one, other = GeneralizedGammaRatio().fit(losses), GeneralizedGammaRatio().fit(losses[:, order])
    np.testing.assert_allclose(other.mean(), one.mean()[order], rtol=1e-10)
    np.testing.assert_allclose(other.ppf(0.99), one.ppf(0.99)[order], rtol=1e-8)
