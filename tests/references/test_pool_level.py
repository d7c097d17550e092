"""The level of a pool against the local-level model of statsmodels, numerical integration, and Student's t of scipy."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.integrate import quad

from calibrate.models.pool_level import LocalLevel


def local_level(logs, drift):
    """The filter of statsmodels, nothing known of the level before the first period; variances over the noise's."""
    model = sm.tsa.UnobservedComponents(logs, "local level", use_exact_diffuse=True)
    return model, model.filter([1.0, drift])


def series(seed, n=9, gaps=False):
    rng = np.random.default_rng(seed)
    logs = 0.2 * rng.standard_normal(n) + np.cumsum(0.1 * rng.standard_normal(n))
    if gaps:
        logs[[3, n - 1]] = np.nan
    return logs


def fitted(logs):
    return LocalLevel().fit(np.where(np.isnan(logs), 0.0, np.exp(logs)))


@pytest.mark.parametrize("gaps", [False, True], ids=["every period", "two without a loss"])
@pytest.mark.parametrize("seed", [1, 2])
def test_levels_and_their_variances_are_those_of_statsmodels(seed, gaps):
    logs = series(seed, gaps=gaps)
    ours = fitted(logs)
    for i in (0, 5, 12, 19):
        _, theirs = local_level(logs, ours.drifts_[i])
        assert ours.log_levels_[i] + np.nanmean(logs) == pytest.approx(theirs.filtered_state[0, -1], rel=1e-8)
        assert ours.errors_[i] == pytest.approx(theirs.filtered_state_cov[0, 0, -1], rel=1e-8)


def test_credibilities_are_weighted_by_their_likelihood():
    """That of statsmodels, integrated over the variance of the noise by quadrature."""
    logs = series(3)
    ours = fitted(logs)

    def integrated(drift):
        model, _ = local_level(logs, drift)
        top = model.loglike([0.02, 0.02 * drift])
        value, _ = quad(lambda u: np.exp(model.loglike([np.exp(u), np.exp(u) * drift]) - top), -9, 3, limit=200)
        return np.log(value) + top

    heights = [integrated(ours.drifts_[i]) for i in (0, 7, 14)]
    found = np.log(ours.chances_[[0, 7, 14]])
    np.testing.assert_allclose(found - found[0], np.array(heights) - heights[0], atol=1e-5)


def test_forecasts_are_student_t():
    """Ratios that hardly move, so that the factor is one plus its logarithm: quantiles of the t laws of all levels."""
    logs = 1e-3 * series(4)
    ours = fitted(logs)
    drawn = np.log(next(ours.factors(400_000, 1, 0.0, np.random.default_rng(0)))) + np.log(ours.level_)
    scale = np.sqrt(ours.variances_ * (ours.errors_ + ours.drifts_ + 1))
    for p in (0.01, 0.05, 0.25, 0.5, 0.9, 0.99):
        exact = ours.chances_ @ stats.t(len(logs) - 1, ours.log_levels_, scale).cdf(np.quantile(drawn, p))
        assert exact == pytest.approx(p, abs=0.004)


def test_a_level_that_stands_still_gets_the_interval_of_the_textbook():
    """Of many years that forget, `mean +- t s sqrt(1 + 1/n)`."""
    logs = 1e-3 * np.random.default_rng(5).standard_normal(400)
    ours = fitted(logs)
    drawn = np.log(next(ours.factors(200_000, 1, 0.0, np.random.default_rng(1)))) + np.log(ours.level_)
    reach = stats.t.ppf(0.95, 399) * logs.std(ddof=1) * np.sqrt(1 + 1 / 400)
    assert ours.credibility_ < 0.06
    np.testing.assert_allclose(np.quantile(drawn, [0.05, 0.95]), [-reach, reach], rtol=0.06)
