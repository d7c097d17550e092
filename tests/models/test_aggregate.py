"""Compound laws against published tables, closed mixtures, each other, and simulation."""

import re

import numpy as np
import pytest
from scipy import stats

from calibrate.errors import ModelError
from calibrate.models.aggregate import (
    DiscreteSeverity,
    NegativeBinomialCount,
    PoissonCount,
    compound,
    compound_by_recursion,
    compound_by_transform,
    count_of,
    discretise,
)
from calibrate.models.severity import Gamma, GeneralizedPareto, LogNormal

METHODS = (compound_by_recursion, compound_by_transform)
both = pytest.mark.parametrize("method", METHODS)


def gamma(shape, scale):
    model = Gamma().fit([1.0, 2.0, 3.0])
    model.shape_, model.scale_ = shape, scale
    return model


@both
def test_published_poisson_gamma(method):
    """Manual of the R package actuar, vignette on risk theory: Poisson(10), gamma(2, 1), unbiased grid of 0.5."""
    total = method(PoissonCount(10.0), discretise(gamma(2.0, 1.0), 0.5, 256))
    assert [total.var(level) for level in (0.9, 0.95, 0.99)] == [30.5, 34.0, 41.0]
    tails = [round(total.conditional_tail_expectation(level), 2) for level in (0.9, 0.95, 0.99)]
    assert tails == [35.42, 38.55, 45.01]
    assert total.mean == pytest.approx(20.0, rel=1e-14)


@both
@pytest.mark.parametrize(
    ("count", "law"),
    [
        (PoissonCount(10.0), stats.poisson(10.0)),
        (NegativeBinomialCount(10.0, 2.5), stats.nbinom(2.5, 2.5 / 12.5)),
        (PoissonCount(0.05), stats.poisson(0.05)),
    ],
)
def test_total_of_gamma_losses_is_a_mixture_of_gammas(method, count, law):
    total = method(count, discretise(gamma(2.0, 1.0), 0.02, 8192))
    n = np.arange(1, 400)
    for x in (5.0, 20.0, 60.0):
        exact = law.pmf(0) + law.pmf(n) @ stats.gamma(2.0 * n).cdf(x)
        middle = 0.5 * (total.cdf(x) + total.cdf(x - 0.02))
        assert middle == pytest.approx(exact, abs=3e-6)
        excess = law.pmf(n) @ (2.0 * n * stats.gamma(2.0 * n + 1).sf(x) - x * stats.gamma(2.0 * n).sf(x))
        assert total.expected_excess(x) == pytest.approx(excess, abs=1e-4 * max(total.mean, 1))
    assert count.mean == pytest.approx(law.mean())


@pytest.mark.parametrize("count", [PoissonCount(3.0), PoissonCount(200.0), NegativeBinomialCount(5.0, 0.3)])
def test_both_methods_agree_within_the_stated_error(count):
    size = discretise(LogNormal().fit([1.0, 3.0, 9.0]), 0.25 * count.mean**0.5, 4096)
    slow, fast = compound_by_recursion(count, size), compound_by_transform(count, size)
    assert np.abs(slow.probabilities - fast.probabilities).max() <= fast.error
    assert fast.error < 1e-6


@pytest.mark.parametrize("size", [1e7, 1e9, 1e12, 1e15])
def test_a_nearly_poisson_number_of_losses_has_the_total_of_a_poisson_one(size):
    """Losses of 1: the total is the number itself, of Poisson's closed form but for `rate^2 / size` of its variance."""
    found = compound_by_transform(NegativeBinomialCount(2.0, size), DiscreteSeverity(1.0, np.eye(1, 256, 1)[0], 1.0))
    assert found.probabilities == pytest.approx(stats.poisson(2.0).pmf(np.arange(256)), abs=1e-8 + 2 / size)
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    law = stats.poisson(2.0)
    worst = law.ppf(0.99) + law.expect(lambda n: np.maximum(n - law.ppf(0.99), 0.0)) / 0.01
    assert found.expected_shortfall(0.99) == pytest.approx(worst, rel=1e-5)


def test_digits_lost_by_a_generating_function_are_refused():
    class Coarse(NegativeBinomialCount):
        def log_generating_function(self, z):
            return -self.size * np.log(1 - self.rate / self.size * (z - 1))

    with pytest.raises(ModelError, match=r"the probabilities of the total sum to .*too coarse.*compound_by_recursion"):
        compound_by_transform(Coarse(2.0, 1e9), discretise(gamma(2.0, 1.0), 0.02, 4096))


def test_without_tilting_a_heavy_tail_wraps_around_and_the_bound_holds():
    x = stats.genpareto(0.9, scale=1.0).rvs(2000, random_state=np.random.default_rng(2))
    size = discretise(GeneralizedPareto().fit(x), 1.0, 512)
    fast = compound_by_transform(PoissonCount(20.0), size)
    exact = compound_by_recursion(PoissonCount(20.0), size)
    assert fast.beyond > 1e-3
    plain = np.fft.irfft(np.exp(20.0 * (np.fft.rfft(size.masses) - 1)), 512)
    assert np.abs(fast.probabilities - exact.probabilities).max() < fast.error < 1e-6
    assert np.abs(plain - exact.probabilities).max() > 10 * fast.error


def test_against_simulation_with_retention_and_limit():
    rng = np.random.default_rng(3)
    model = LogNormal().fit(rng.lognormal(1.0, 1.0, 500))
    total = compound_by_transform(PoissonCount(4.0), discretise(model, 0.05, 8192, retention=2.0, limit=10.0))
    counts = rng.poisson(4.0, 200_000)
    losses = np.clip(model.sample(int(counts.sum()), 9) - 2.0, 0.0, 10.0)
    simulated = np.bincount(np.repeat(np.arange(counts.size), counts), losses, counts.size)
    assert total.mean == pytest.approx(simulated.mean(), abs=4 * simulated.std() / np.sqrt(simulated.size))
    worst = np.sort(simulated)[-2000:]
    error = worst.std() / np.sqrt(2000) + simulated.std() / 30
    assert total.expected_shortfall(0.99) == pytest.approx(worst.mean(), abs=4 * error)
    assert total.cdf(0.0) == pytest.approx((simulated < 0.025).mean(), abs=0.005)


def test_discretising_keeps_the_mean_of_every_layer():
    model = LogNormal().fit([1.0, 2.0, 6.0])
    grid = discretise(model, 0.5, 400)
    x = 0.5 * np.arange(400)
    for top in (10, 40, 200):
        assert grid.masses @ np.minimum(x, x[top]) + (1 - grid.masses.sum()) * x[top] == pytest.approx(
            model.layer_mean(0.0, x[top]), rel=1e-12
        )
    assert (grid.masses >= 0).all()


@pytest.mark.parametrize("power", [-18, 24])
def test_unit_does_not_matter(power):
    unit = 10.0**power
    one = compound_by_transform(PoissonCount(5.0), discretise(gamma(2.0, 1.0), 0.1, 1024))
    other = compound_by_transform(PoissonCount(5.0), discretise(gamma(2.0, unit), 0.1 * unit, 1024))
    assert other.expected_shortfall(0.99) == pytest.approx(one.expected_shortfall(0.99) * unit, rel=1e-8)


def test_infinite_means_are_refused_and_quantiles_are_not():
    x = stats.genpareto(1.5, scale=1.0).rvs(500, random_state=np.random.default_rng(1))
    model = GeneralizedPareto().fit(x)
    total = compound_by_transform(PoissonCount(0.5), discretise(model, 1.0, 4096))
    assert total.var(0.95) > 0
    with pytest.raises(ModelError, match=r"mean of the total does not exist .* give the severity a limit"):
        total.expected_shortfall(0.95)
    capped = compound_by_transform(PoissonCount(0.5), discretise(model, 1.0, 4096, limit=500.0))
    assert capped.expected_shortfall(0.95) <= 4095


def test_what_the_grid_does_not_hold_is_refused():
    total = compound_by_transform(PoissonCount(10.0), discretise(gamma(2.0, 1.0), 0.5, 48))
    with pytest.raises(ModelError, match=r"quantile at 0.9 lies above the grid, which ends at 23.5 with 0\.29"):
        total.var(0.9)
    with pytest.raises(ModelError, match=r"40 lies above the grid, which ends at 23.5"):
        total.cdf(40.0)
    with pytest.raises(ModelError, match=r"strictly between 0 and 1, got 1\.0"):
        total.var(1.0)
    with pytest.raises(ModelError, match="rate must be a finite number > 0, got 0"):
        PoissonCount(0)
    with pytest.raises(ModelError, match="size must be a finite number > 0, got inf"):
        NegativeBinomialCount(1.0, np.inf)
    with pytest.raises(ModelError, match="a grid needs at least 2 points"):
        discretise(gamma(2.0, 1.0), 0.5, 1)
    with pytest.raises(ModelError, match=r"recursion cannot start .*-\d+, least -700.* use compound_by_transform"):
        compound_by_recursion(PoissonCount(2000.0), discretise(gamma(2.0, 1.0), 0.5, 64))


def test_a_certain_loss_of_one_counts():
    one = DiscreteSeverity(1.0, np.array([0.0, 1.0] + [0.0] * 62), 1.0)
    for method in METHODS:
        total = method(PoissonCount(7.0), one)
        assert total.probabilities == pytest.approx(stats.poisson(7.0).pmf(np.arange(64)), abs=1e-9)


def test_compound_finds_its_grid():
    n = np.arange(1, 400)
    for count, law in ((PoissonCount(10.0), stats.poisson(10.0)), (PoissonCount(0.01), stats.poisson(0.01))):
        total = compound(count, gamma(2.0, 1.0))
        assert total.beyond <= 1e-6
        q = total.var(0.995)
        excess = law.pmf(n) @ (2.0 * n * stats.gamma(2.0 * n + 1).sf(q) - q * stats.gamma(2.0 * n).sf(q))
        assert total.expected_shortfall(0.995) == pytest.approx(q + excess / 0.005, rel=2e-3)
    capped = compound(PoissonCount(2.0), gamma(2.0, 1.0), retention=1.0, limit=3.0)
    assert capped.mean == pytest.approx(2.0 * gamma(2.0, 1.0).layer_mean(1.0, 4.0))
    with pytest.raises(ModelError, match="beyond must lie strictly between 0 and 1"):
        compound(PoissonCount(1.0), gamma(2.0, 1.0), beyond=0.0)


def test_count_of_moments():
    assert count_of(3.0, 3.0) == PoissonCount(3.0)
    law = count_of(3.0, 7.5)
    assert isinstance(law, NegativeBinomialCount)
    assert law.rate * (1 + law.rate / law.size) == pytest.approx(7.5)
    with pytest.raises(ModelError, match="mean 3 and a smaller variance 2 is neither"):
        count_of(3.0, 2.0)


def test_a_grid_too_coarse_for_its_tail_is_refused_with_the_points_that_do():
    """Shape .7: the grid's step would be as long as the 90 % quantile."""
    law = GeneralizedPareto().fit(((1 - (np.arange(5000) + 0.5) / 5000) ** -0.7 - 1) / 0.7)
    with pytest.raises(ModelError, match=r"no longer small beside the mean .* take ([\d,]+) points") as told:
        compound(PoissonCount(1.0), law)
    points = int(re.search(r"take ([\d,]+) points", str(told.value)).group(1).replace(",", ""))
    fine = compound(PoissonCount(1.0), law, n_points=points)
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, 400_000)
    owner = np.repeat(np.arange(counts.size), counts)
    drawn = np.bincount(owner, law.isf(rng.random(owner.size)), counts.size)
    for level in (0.9, 0.95, 0.99):
        assert fine.var(level) == pytest.approx(np.quantile(drawn, level), abs=fine.step + 0.03 * fine.var(level))
