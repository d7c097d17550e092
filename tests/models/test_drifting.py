"""A wandering intensity: its likelihood against scipy, its forecasts against the known truth, the joint model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.integrate import quad

from calibrate.history import LossHistory
from calibrate.models import JointLossModel, severity
from calibrate.models.frequency import Drifting, SharedShock
from calibrate.models.process import SharedShocks


def waves(rng, months=120, members=6, memory=0.9, rate=1.5):
    """Counts at a shared intensity, log-normal with autocorrelation `memory` and mean 1."""
    z = np.empty(months + 1)
    z[0] = rng.normal()
    for t in range(months):
        z[t + 1] = memory * z[t] + np.sqrt(1 - memory**2) * rng.normal()
    intensity = np.exp(0.9 * z - 0.9**2 / 2)
    exposure = np.exp(rng.normal(0, 0.6, members))
    return rng.poisson(rate * exposure * intensity[:-1, None]) * 1.0, exposure, rate * exposure * intensity[-1]


def test_the_forecasts_are_negative_binomial():
    """Filter by hand, with scipy's law of the sums and its multinomial law of who is hit."""
    counts, exposure, _ = waves(np.random.default_rng(0), months=40, members=3)
    model = Drifting().fit(counts, exposure=np.tile(exposure, (40, 1)))
    base = SharedShock().fit(counts, exposure=np.tile(exposure, (40, 1)))
    a = b = 1.0
    value, d = 0.0, model.discount_
    for t in range(40):
        a, b, m = d * a, d * b, base.means_[t]
        assert model.levels_[t] == pytest.approx(a / b, rel=1e-10)
        value += stats.nbinom(a, b / (b + m.sum())).logpmf(counts[t].sum())
        value += stats.multinomial(int(counts[t].sum()), m / m.sum()).logpmf(counts[t])
        a, b = a + counts[t].sum(), b + m.sum()
    assert model.log_likelihood_ == pytest.approx(value, rel=1e-10)
    assert model.gain_ == pytest.approx(value - base.log_likelihood_, rel=1e-8)
    assert model.size_ == pytest.approx(d * a, rel=1e-10)
    np.testing.assert_allclose(model.mean(2.0), 2 * base.rate_ * a / b)
    one = quad(lambda g: stats.poisson(3 * g).pmf(2) * stats.gamma(d * a, scale=1 / (d * b)).pdf(g), 0, np.inf)[0]
    assert stats.nbinom(d * a, d * b / (d * b + 3)).pmf(2) == pytest.approx(one, rel=1e-6)


def test_waves_are_forecast_from_where_they_stand():
    """Log score of the month ahead and of its mean, 150 histories of waves: better than a constant rate."""
    scores, errors = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        counts, exposure, ahead = waves(rng)
        hit = rng.poisson(ahead).sum()
        table = np.tile(exposure, (120, 1))
        row, error = [], []
        for model in (Drifting().fit(counts, exposure=table), SharedShock().fit(counts, exposure=table)):
            mean = model.mean(exposure).sum()
            row.append(stats.nbinom(model.size_, model.size_ / (model.size_ + mean)).logpmf(hit))
            error.append(abs(np.log(mean / ahead.sum())))
        scores.append(row)
        errors.append(error)
    gain = np.diff(scores, axis=1)[:, 0] * -1
    assert gain.mean() > 2 * gain.std() / np.sqrt(150) > 0
    assert np.mean(errors, axis=0)[0] < 0.7 * np.mean(errors, axis=0)[1]


def test_a_steady_intensity_is_seen_to_be_steady():
    counts = np.random.default_rng(1).poisson(4.0, (200, 3)) * 1.0
    model = Drifting().fit(counts)
    assert model.discount_ > 0.97
    assert model.gain_ < 2
    np.testing.assert_allclose(model.mean(), 4.0, rtol=0.15)


def test_inside_the_joint_model():
    counts, exposure, _ = waves(np.random.default_rng(5))
    t, i = np.nonzero(counts)
    repeat = counts[t, i].astype(int)
    months = pd.period_range("2014-01", periods=120, freq="M")
    when, member = months[np.repeat(t, repeat)].to_timestamp(), np.repeat(i, repeat)
    frame = pd.DataFrame({"date": when, "member": [f"M{k}" for k in member], "loss": 1.0, "id": range(len(when))})
    names = {"date": "date", "member": "member", "loss": "loss"}
    exposures = {f"M{k}": value for k, value in enumerate(exposure)}
    history = LossHistory.from_events(frame, **names, exposures=exposures, start="2014-01", end="2023-12")
    model = JointLossModel(severity=severity.Empirical(), frequency=Drifting()).fit(history)
    assert isinstance(model.process_, SharedShocks)
    drawn = model.sample(60_000, 1).losses
    total, frequency = drawn.sum(axis=1), model.margins_.segments[0].frequency
    mean, k = frequency.mean(exposure).sum(), frequency.size_
    law = stats.nbinom(k, k / (k + mean))
    assert total.mean() == pytest.approx(mean, abs=5 * law.std() / np.sqrt(60_000))
    assert total.std() == pytest.approx(law.std(), rel=0.03)
    assert (total == 0).mean() == pytest.approx(law.pmf(0), abs=0.01)
    np.testing.assert_allclose((drawn == 0).mean(axis=0), model.summary_["zero_probability"], atol=0.012)
