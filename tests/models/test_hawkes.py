"""The self-exciting process against brute force, closed moments, and known truth."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from calibrate.errors import DataError, ModelError
from calibrate.models.frequency.hawkes import Hawkes


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7])
def test_recovers_the_truth(ratio):
    times = Hawkes.simulate(0.5, ratio, 2.0, horizon=4000.0, random_state=4)
    model = Hawkes().fit(times, end=4000.0)
    if ratio == 0:
        assert model.branching_ratio_ < 0.06
        return
    for name, value in {"base_rate": 0.5, "branching_ratio": ratio, "decay": 2.0}.items():
        assert abs(getattr(model, name + "_") - value) < 4 * model.standard_errors_[name]
    assert model.log_likelihood_ > model.poisson_log_likelihood_ + 10
    assert model.goodness_of_fit_ > 0.01


def test_likelihood_is_that_of_the_definition():
    times = Hawkes.simulate(1.0, 0.5, 3.0, horizon=60.0, random_state=2)
    model = Hawkes().fit(times, end=60.0)
    mu, a, b = model.base_rate_, model.branching_ratio_, model.decay_

    def rate(t):
        return mu + sum(a * b * np.exp(-b * (t - s)) for s in times if s < t)

    edges = [0.0, *times, 60.0]
    integral = sum(quad(rate, low, high)[0] for low, high in itertools.pairwise(edges))
    by_hand = sum(np.log(rate(t)) for t in times) - integral
    assert model.log_likelihood_ == pytest.approx(by_hand, rel=1e-6)
    for other in ((mu * 1.1, a, b), (mu, a * 1.1, b), (mu, a, b * 1.1)):
        mu, a, b = other
        assert (
            sum(np.log(rate(t)) for t in times)
            - sum(quad(rate, low, high)[0] for low, high in itertools.pairwise(edges))
            < by_hand
        )
        mu, a, b = model.base_rate_, model.branching_ratio_, model.decay_
    first = quad(rate, 0.0, times[0])[0]
    second = quad(rate, times[0], times[1])[0]
    assert model.residuals_[:2] == pytest.approx([first, second], rel=1e-6)


def test_forecast_mean_is_the_closed_one_and_counts_are_overdispersed():
    times = Hawkes.simulate(0.5, 0.8, 1.0, horizon=1500.0, random_state=1)
    model = Hawkes().fit(times, end=1500.0)
    counts = model.sample_counts(40_000, 20.0, 7)
    assert counts.mean() == pytest.approx(model.mean_count(20.0), abs=4 * counts.std() / 200)
    assert counts.var() > 3 * counts.mean()
    assert np.array_equal(counts, model.sample_counts(40_000, 20.0, np.random.SeedSequence(7)))
    long_run = Hawkes.simulate(0.5, 0.8, 1.0, horizon=200_000.0, random_state=3)
    monthly = np.histogram(long_run, bins=np.arange(0, 200_001, 100))[0]
    assert monthly.mean() == pytest.approx(250.0, rel=0.03)
    assert monthly.var() / monthly.mean() == pytest.approx(1 / 0.2**2, rel=0.25)


def test_unit_of_time_does_not_matter():
    times = Hawkes.simulate(0.5, 0.5, 2.0, horizon=500.0, random_state=9)
    days, seconds = Hawkes().fit(times, end=500.0), Hawkes().fit(times * 86400, end=500.0 * 86400)
    assert seconds.branching_ratio_ == pytest.approx(days.branching_ratio_, rel=1e-8)
    assert seconds.decay_ * 86400 == pytest.approx(days.decay_, rel=1e-8)
    assert seconds.mean_count(86400.0) == pytest.approx(days.mean_count(1.0), rel=1e-8)


def test_dates_are_days_and_ties_are_spread_with_the_seed():
    dates = pd.to_datetime("2022-01-01") + pd.to_timedelta(np.sort(np.random.default_rng(0).integers(0, 300, 150)), "D")
    model = Hawkes(resolution=1.0).fit(dates, start="2022-01-01", end="2022-10-28")
    again = Hawkes(resolution=1.0).fit(dates, start="2022-01-01", end="2022-10-28")
    assert model.horizon_ == 300.0
    assert np.array_equal(model.times_, again.times_)
    assert model.base_rate_ / (1 - model.branching_ratio_) == pytest.approx(0.5, abs=0.15)
    with pytest.raises(DataError, match=r"two events have the same time.*resolution \(1.0 for dates\)"):
        Hawkes().fit(dates)


def test_a_wrong_model_is_seen_by_time_rescaling():
    """Events at nearly equal steps: less clustered than chance, which a self-exciting process cannot be."""
    times = np.arange(1.0, 301.0) + 0.2 * np.random.default_rng(0).random(300)
    model = Hawkes().fit(times, end=301.5)
    assert model.branching_ratio_ < 0.05
    assert model.goodness_of_fit_ < 1e-6


def test_faults_are_named():
    with pytest.raises(ModelError, match="Hawkes: 4 events; at least 20"):
        Hawkes().fit([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(DataError, match=r"event 10: the time 11 lies outside the observed span, 0 to 10"):
        Hawkes().fit(np.arange(1.0, 21.0), end=10.0)
    with pytest.raises(DataError, match="event 3: the time is missing or infinite"):
        Hawkes().fit([*np.arange(3.0), np.nan, *np.arange(20.0)])
    with pytest.raises(ModelError, match="0 <= branching_ratio < 1"):
        Hawkes.simulate(1.0, 1.2, 1.0, horizon=10.0)
