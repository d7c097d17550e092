"""Burr laws at their edges: where they turn into a Pareto law above a point, or into a Weibull law."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from calibrate.models import severity

SHAPES = [(2.0, 3.0), (0.5, 4.0), (1e-3, 2e3), (1.8e-5, 8e4), (300.0, 0.5)]


@pytest.mark.parametrize(("alpha", "gamma"), SHAPES)
def test_quantiles_go_back_to_their_chances(alpha, gamma):
    chances = np.array([0.999, 0.5, 1e-3, 1e-9])
    losses = severity.Burr()._z_isf(chances, alpha, gamma)
    back = -alpha * np.logaddexp(0.0, gamma * np.log(losses))
    np.testing.assert_allclose(back, np.log(chances), rtol=1e-12)


@pytest.mark.parametrize(("alpha", "gamma"), SHAPES)
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.01), (0.01, 0.5), (0.5, 0.99), (0.99, 1.001), (1.001, 1.5), (1.5, 30.0)]
)
def test_layers_are_the_integral_of_the_survival(alpha, gamma, low, high):
    def survival(x):
        with np.errstate(divide="ignore"):
            return float(np.exp(-alpha * np.logaddexp(0.0, gamma * np.log(x))))

    exact = quad(survival, low, high, epsabs=0, epsrel=1e-11, limit=500, points=[1.0] if low < 1 < high else None)[0]
    mean = severity.Burr()._z_layer(0.0, np.inf, alpha, gamma)
    assert severity.Burr()._z_layer(low, high, alpha, gamma) == pytest.approx(exact, rel=1e-8, abs=1e-11 * mean)


def test_losses_above_a_point_that_nobody_stated_make_a_pareto_law():
    losses = 10 * stats.pareto(1.5).isf((np.arange(2000) + 0.5) / 2000)
    law = severity.Burr().fit(losses)
    assert law.gamma_ > 1e3
    np.testing.assert_allclose(law.isf([0.1, 1e-3, 1e-9]), 10 * stats.pareto(1.5).isf([0.1, 1e-3, 1e-9]), rtol=0.05)
    assert law.mean() == pytest.approx(30.0, rel=0.01)
    assert law.layer_mean(0.0, 5.0) == pytest.approx(5.0, rel=1e-9)
