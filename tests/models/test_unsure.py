"""A scatter that is known only as far as the data tell: against the normal and Student laws of scipy."""

import numpy as np
import pytest
from scipy import stats

from calibrate.models.ratio import LogNormalRatio
from calibrate.models.unsure import equally_likely_variances, unsure_lognormal_isf

CHANCES = np.array([1e-300, 1e-60, 1e-9, 0.001, 0.05, 0.4, 0.6, 0.95, 0.999, 1 - 1e-9])


@pytest.mark.parametrize("deviation", [1e-3, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("freedom", [1.0, 5.0, 40.0])
def test_quantiles_are_those_of_the_mixture(deviation, freedom):
    logs = np.log(unsure_lognormal_isf(CHANCES, 0.7, deviation, freedom))
    c = equally_likely_variances(deviation, freedom)
    mixed = stats.norm(0.7 + (deviation**2 - c) / 2, np.sqrt(c))
    above, below = mixed.sf(logs[:, None]).mean(axis=1), mixed.cdf(logs[:, None]).mean(axis=1)
    np.testing.assert_allclose(above[:6], CHANCES[:6], rtol=1e-10)
    np.testing.assert_allclose(below[6:], 1 - CHANCES[6:], rtol=1e-6, atol=1e-15)
    many = np.random.default_rng(0).random(500)  # by a spline, and then by Newton's steps
    few = [unsure_lognormal_isf(many[k : k + 1], 0.7, deviation, freedom)[0] for k in range(0, 500, 25)]
    np.testing.assert_allclose(unsure_lognormal_isf(many, 0.7, deviation, freedom)[::25], few, rtol=1e-11)


@pytest.mark.parametrize(("freedom", "within"), [(5.0, 0.04), (12.0, 0.02)])
def test_logs_that_hardly_move_are_student_t(freedom, within):
    p = np.array([0.01, 0.05, 0.25])
    drawn = np.log(unsure_lognormal_isf(p, 0.0, 1e-6, freedom)) / 1e-6
    np.testing.assert_allclose(drawn, stats.t(freedom).isf(p), rtol=within)


def test_a_scatter_that_is_sure_is_lognormal():
    exact = stats.lognorm(0.4, scale=np.exp(-0.2)).isf(CHANCES)
    np.testing.assert_allclose(unsure_lognormal_isf(CHANCES, -0.2, 0.4, np.inf), exact, rtol=1e-10)
    np.testing.assert_array_equal(unsure_lognormal_isf(CHANCES, -0.2, 0.0, 5.0), np.exp(-0.2))


@pytest.mark.parametrize("deviation", [0.1, 0.6])
@pytest.mark.parametrize("freedom", [3.0, 9.0])
def test_what_is_uncertain_does_not_move_the_mean(deviation, freedom):
    edges = np.r_[0.0, np.geomspace(1e-12, 0.5, 6000), 1 - np.geomspace(0.5, 1e-12, 6000)[1:], 1.0]
    middle = (edges[1:] + edges[:-1]) / 2
    mean = np.diff(edges) @ unsure_lognormal_isf(middle, 0.3, deviation, freedom)
    assert mean == pytest.approx(np.exp(0.3 + deviation**2 / 2), rel=1e-4)


def test_the_ends_are_nothing_and_infinity():
    np.testing.assert_array_equal(unsure_lognormal_isf(np.array([0.0, 1.0]), 0.0, 0.3, 5.0), [np.inf, 0.0])


def test_freedom_is_what_a_member_has_and_borrows():
    """Members that scatter alike know their scatter; unlike ones, by their own periods and what the prior is worth."""
    rng = np.random.default_rng(1)
    alike = LogNormalRatio().fit(np.exp(0.2 * rng.standard_normal((8, 40))))
    scatter = 0.2 * np.sqrt(4 / rng.chisquare(4, 400))
    unlike = LogNormalRatio().fit(np.exp(scatter * rng.standard_normal((8, 400))))
    assert alike.freedom_.min() > 20
    assert unlike.freedom_ == pytest.approx(7 + 4, abs=1.5)
    alone = LogNormalRatio().fit(np.exp(0.2 * rng.standard_normal(8)))
    assert alone.freedom_ == pytest.approx(7)
