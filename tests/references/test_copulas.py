"""Copulas against densities and probabilities of scipy's multivariate laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from calibrate.models.dependence import Gaussian, StudentT
from calibrate.models.dependence.correlation import Ranks
from calibrate.models.dependence.likelihood import copula_log_likelihood, pairwise_log_likelihood

R = np.array([[1.0, 0.5, -0.2], [0.5, 1.0, 0.3], [-0.2, 0.3, 1.0]])


def no_mass(uniform):
    return Ranks(
        uniform,
        np.zeros(uniform.shape[1]),
        np.zeros(uniform.shape, dtype=bool),
        np.ones(uniform.shape, dtype=bool),
        np.ones(uniform.shape[1]),
    )


@pytest.mark.parametrize("v", [3.0, 8.0, 50.0])
def test_t_copula_density(v):
    uniform = np.random.default_rng(0).random((25, 3))
    x = stats.t(v).ppf(uniform)
    expected = stats.multivariate_t(shape=R, df=v).logpdf(x) - stats.t(v).logpdf(x).sum(axis=1)
    assert copula_log_likelihood(no_mass(uniform), np.ones(25), R, v) == pytest.approx(expected.sum(), rel=1e-10)
    weights = np.random.default_rng(1).random(25)
    assert copula_log_likelihood(no_mass(uniform), weights, R, v) == pytest.approx(weights @ expected, rel=1e-10)


@pytest.mark.parametrize("v", [3.0, 8.0])
def test_pairs_with_point_masses(v):
    """Two columns, four kinds of rows: density, two conditional probabilities, and the corner, each from scipy."""
    rho, mass = 0.6, np.array([0.7, 0.8])
    matrix = np.array([[1.0, rho], [rho, 1.0]])
    uniform = np.array([[0.9, 0.95], [0.35, 0.97], [0.85, 0.4], [0.35, 0.4]])
    at = np.array([[False, False], [True, False], [False, True], [True, True]])
    x, cut = stats.t(v).ppf(uniform), stats.t(v).ppf(mass)
    law = stats.multivariate_t(shape=matrix, df=v)
    density = law.logpdf(x[0]) - stats.t(v).logpdf(x[0]).sum()

    def given(limit, seen):
        spread = np.sqrt((v + seen**2) / (v + 1) * (1 - rho**2))
        return stats.t(v + 1).logcdf((limit - rho * seen) / spread)

    corner = np.log(law.cdf(cut, maxpts=2_000_000, random_state=0))
    expected = density + given(cut[0], x[1, 1]) + given(cut[1], x[2, 0]) + corner
    got = pairwise_log_likelihood(Ranks(uniform, mass, at, np.ones_like(at), np.ones(2)), np.ones(4), matrix, v)
    assert got == pytest.approx(expected, abs=2e-4)


def test_gaussian_copula_against_orthant_probabilities():
    """P(both in the upper tail) of the fitted copula, sampled, against scipy's bivariate normal."""
    z = stats.multivariate_normal(cov=R).rvs(400, random_state=2)
    model = Gaussian().fit(z)
    drawn = model.sample(200_000, 3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        rho = model.correlation_[i, j]
        exact = stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf([-1.2816, -1.2816])
        seen = ((drawn[:, i] > 0.9) & (drawn[:, j] > 0.9)).mean()
        assert seen == pytest.approx(exact, abs=4 * np.sqrt(exact / 200_000))


def test_t_copula_against_orthant_probabilities():
    z = stats.multivariate_t(shape=R, df=5).rvs(400, random_state=4)
    model = StudentT(degrees_of_freedom=5.0).fit(z)
    drawn = model.sample(200_000, 5)
    rho, cut = model.correlation_[0, 1], stats.t(5).ppf(0.05)
    exact = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=5).cdf([cut, cut], random_state=0)
    assert ((drawn[:, 0] > 0.95) & (drawn[:, 1] > 0.95)).mean() == pytest.approx(
        exact, abs=4 * np.sqrt(exact / 200_000) + 1e-4
    )


def test_hermite_series_against_the_bivariate_normal():
    """Correlation of censored scores implied by rho, by the series, against scipy's bivariate normal integrated."""
    from scipy.integrate import dblquad

    from calibrate.models.dependence.correlation import _scores

    rho, mass = 0.5, np.array([0.6, 0.8])
    ranks = Ranks(np.full((1, 2), 0.9), mass, np.zeros((1, 2), dtype=bool), np.ones((1, 2), dtype=bool), np.ones(2))
    series = _scores(ranks)[1]
    by_series = float((rho ** np.arange(1, len(series) + 1)) @ (series[:, 0] * series[:, 1]))
    cut = stats.norm.ppf(mass)
    below = -stats.norm.pdf(cut) / mass
    law = stats.multivariate_normal(cov=[[1, rho], [rho, 1]])

    def score(z, k):
        return z if z > cut[k] else below[k]

    pieces = [(-8, cut[0]), (cut[0], 8)]
    others = [(-8, cut[1]), (cut[1], 8)]
    total = sum(
        dblquad(lambda y, x: score(x, 0) * score(y, 1) * law.pdf([x, y]), *piece, *other, epsabs=1e-6)[0]
        for piece in pieces
        for other in others
    )
    assert by_series == pytest.approx(total, abs=1e-4)
