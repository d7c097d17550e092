"""The censored t likelihood against scipy's multivariate t, and the recovery of correlation and degrees of freedom."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from calibrate.models.dependence import GroupedT, StudentT
from calibrate.models.dependence.correlation import Ranks
from calibrate.models.dependence.factor import FactorLikelihood, loadings


@pytest.mark.parametrize("v", [2.5, 4.0, 20.0])
def test_without_zeros_it_is_the_density_of_the_t_copula(v):
    loading = np.array([0.8, 0.6, 0.5, -0.3])
    matrix = np.outer(loading, loading)
    np.fill_diagonal(matrix, 1.0)
    uniform = np.random.default_rng(0).random((30, 4))
    weights = np.random.default_rng(1).random(30)
    ranks = Ranks(uniform, np.zeros(4), np.zeros((30, 4), dtype=bool), np.ones((30, 4), dtype=bool), np.ones(4))
    x = stats.t(v).ppf(uniform)
    exact = stats.multivariate_t(shape=matrix, df=v).logpdf(x) - stats.t(v).logpdf(x).sum(axis=1)
    assert FactorLikelihood(ranks, weights, loading)(v, np.ones(1))[0] == pytest.approx(weights @ exact, rel=2e-4)


def test_zeros_are_intervals():
    """One row of each kind of two columns: corner and conditional probability by scipy; and three zeros by integral."""
    v, mass = 4.0, np.array([0.7, 0.8])
    loading = np.array([0.8, 0.7])
    rho = loading.prod()
    at = np.array([[True, True], [True, False]])
    uniform = np.array([[0.35, 0.4], [0.35, 0.95]])
    got = [
        FactorLikelihood(
            Ranks(uniform[[k]], mass, at[[k]], np.ones((1, 2), dtype=bool), np.ones(2)), np.ones(1), loading
        )(v, np.ones(1))[0]
        for k in (0, 1)
    ]
    cut = stats.t(v).ppf(mass)
    corner = stats.multivariate_t(shape=[[1, rho], [rho, 1]], df=v).cdf(cut, maxpts=2_000_000, random_state=0)
    assert got[0] == pytest.approx(np.log(corner), abs=1e-4)
    x = stats.t(v).ppf(0.95)
    spread = np.sqrt((v + x**2) / (v + 1) * (1 - rho**2))
    assert got[1] == pytest.approx(stats.t(v + 1).logcdf((cut[0] - rho * x) / spread), abs=1e-4)
    three = Ranks(
        np.full((1, 3), 0.4), np.full(3, 0.8), np.ones((1, 3), dtype=bool), np.ones((1, 3), dtype=bool), np.ones(3)
    )

    f, w = np.linspace(-8, 8, 161)[:, None], np.linspace(1e-6, 60, 6_001)
    inner = (stats.t(v).ppf(0.8) * np.sqrt(w / v) - 0.6 * f) / 0.8
    chance = stats.norm.cdf(inner) ** 3 * stats.norm.pdf(f) * stats.chi2(v).pdf(w)
    exact = chance.sum() * 0.1 * 60 / 6_000
    found = FactorLikelihood(three, np.ones(1), np.full(3, 0.6))(v, np.ones(1))[0]
    assert found == pytest.approx(np.log(exact), abs=1e-4)


def test_loadings():
    """Equal correlations; two groups that go together, or against each other; nothing in common; one alone."""
    equal = np.full((4, 4), 0.36) + 0.64 * np.eye(4)
    np.testing.assert_allclose(loadings(equal, np.zeros(4, int)), 0.6)
    groups = np.array([0, 0, 1, 1, 1])
    for second in (0.5, -0.5):
        each = np.where(groups == 0, 0.8, second)
        matrix = np.outer(each, each)
        np.fill_diagonal(matrix, 1.0)
        np.testing.assert_allclose(loadings(matrix, groups), each * np.sign(each.sum()), atol=1e-12)
    np.testing.assert_allclose(loadings(1.2 * np.eye(3) - 0.2, np.zeros(3, int)), 0.0)
    alone = loadings(np.array([[1.0, 0.4], [0.4, 1.0]]), np.array([0, 1]))
    np.testing.assert_allclose(alone, np.sqrt(0.4))


def drawn(rng, n, d, zero, rho, v):
    z = np.sqrt(rho) * rng.standard_normal((n, 1)) + np.sqrt(1 - rho) * rng.standard_normal((n, d))
    z *= np.sqrt(v / rng.chisquare(v, n))[:, None]
    return np.where(z > stats.t(v).ppf(zero), np.exp(np.minimum(z, 50)), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "d", "rho", "v"), [(240, 20, 0.4, 4.0), (120, 40, 0.4, 4.0), (240, 20, 0.4, 50.0), (240, 20, 0.1, 4.0)]
)
def test_recovery_with_nine_in_ten_entries_zero(n, d, rho, v):
    """Ranks of few losses leave a little: by normal scores the correlation was .49, 1/v by pairs .14 instead of .25."""
    rng = np.random.default_rng(8)
    found = [StudentT().fit(drawn(rng, n, d, 0.9, rho, v)) for _ in range(12)]
    correlation = np.mean([model.correlation_[np.triu_indices(d, 1)].mean() for model in found])
    inverse = np.mean([1 / model.degrees_of_freedom_ for model in found])
    tail = np.mean([model.tail_dependence_[np.triu_indices(d, 1)].mean() for model in found])
    assert correlation == pytest.approx(rho, abs=0.05)
    assert inverse == pytest.approx(1 / v, abs=0.09)
    exact = 2 * stats.t(v + 1).cdf(-np.sqrt((v + 1) * (1 - rho) / (1 + rho)))
    assert tail == pytest.approx(exact, abs=0.07)


@pytest.mark.slow
def test_groups_with_tails_of_their_own_behind_zeros():
    rng, v = np.random.default_rng(9), (3.0, 60.0)
    inverses = []
    for _ in range(6):
        z = np.sqrt(0.4) * rng.standard_normal((240, 1)) + np.sqrt(0.6) * rng.standard_normal((240, 30))
        uniform = rng.random(240)
        shock = [np.sqrt(k / stats.chi2(k).ppf(uniform))[:, None] for k in v]
        x = np.hstack([z[:, :15] * shock[0], z[:, 15:] * shock[1]])
        cut = np.repeat(stats.t(np.array(v)).ppf(0.9), 15)
        model = GroupedT().fit(np.where(x > cut, np.exp(np.minimum(x, 50)), 0.0), groups=["a"] * 15 + ["b"] * 15)
        inverses.append(1 / model.degrees_of_freedom_[[0, -1]])
    heavy, light = np.mean(inverses, axis=0)
    assert heavy > 0.2
    assert light < 0.1
