"""A wandering intensity: its likelihood against scipy, its forecasts against the known truth, the joint model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate.history import LossHistory
from calibrate.models import JointLossModel, severity
from calibrate.models.frequency import Drifting, SharedShock
from calibrate.models.shocks import DriftingShocks


def waves(rng, months=120, members=6, memory=0.9, rate=1.5):
    """Counts at a shared intensity, log-normal with autocorrelation `memory` and mean 1."""
    z = np.empty(months + 1)
    z[0] = rng.normal()
    for t in range(months):
        z[t + 1] = memory * z[t] + np.sqrt(1 - memory**2) * rng.normal()
    intensity = np.exp(0.9 * z - 0.9**2 / 2)
    exposure = np.exp(rng.normal(0, 0.6, members))
    return rng.poisson(rate * exposure * intensity[:-1, None]) * 1.0, exposure, rate * exposure * intensity[-1]


def quiet_and_busy(rng, periods=30, rate=8.0, stays=0.85):
    """Counts at 4 % of the mean rate or at 196 % of it, in spells; the intensity of the period ahead, if it stays."""
    state = rng.random() < 0.5
    states = []
    for _ in range(periods):
        states.append(state)
        state = state if rng.random() < stays else not state
    levels = np.where(states, 1.96, 0.04)
    return rng.poisson(rate * levels) * 1.0, levels[-1]


def test_the_forecasts_are_negative_binomial():
    """Filter by hand, with scipy's law of the sums and its multinomial law of who is hit."""
    counts, exposure, _ = waves(np.random.default_rng(0), months=40, members=3)
    model = Drifting().fit(counts, exposure=np.tile(exposure, (40, 1)))
    base = SharedShock().fit(counts, exposure=np.tile(exposure, (40, 1)))
    r, k, value, law = model.memory_, model.long_size_, 0.0, (1.0, 1 / model.long_size_)
    for t in range(40):
        a, b, m = law[0] ** 2 / law[1], law[0] / law[1], base.means_[t]
        assert model.levels_[t] == pytest.approx(law[0], rel=1e-10)
        value += stats.nbinom(a, b / (b + m.sum())).logpmf(counts[t].sum())
        value += stats.multinomial(int(counts[t].sum()), m / m.sum()).logpmf(counts[t])
        known = stats.gamma(a + counts[t].sum(), scale=1 / (b + m.sum()))
        law = 1 + r * (known.mean() - 1), r**2 * known.var() + (1 - r) * (1 - r + 2 * r * known.mean()) / k
    assert model.log_likelihood_ == pytest.approx(value, rel=1e-10)
    assert model.gain_ == pytest.approx(value - base.log_likelihood_, rel=1e-8)
    assert model.size_ == pytest.approx(law[0] ** 2 / law[1], rel=1e-10)
    np.testing.assert_allclose(model.mean(2.0), 2 * base.rate_ * law[0])


def test_the_filter_is_close_to_the_exact_one():
    """The chance of each count of the last period, given those before, by sums over a fine grid of intensities.

    From one to the next by scipy's noncentral chi-square law.
    """
    counts = np.array([9, 14, 6, 0, 0, 1, 0, 12, 20, 17, 3, 0, 0, 0, 2, 8, 15, 11, 1, 0]) * 1.0
    model = Drifting().fit(counts)
    r, k, rate = model.memory_, model.long_size_, counts.mean()
    edges = np.append(0.0, np.geomspace(1e-4, 12.0, 400))
    values = (edges[1:] + edges[:-1]) / 2
    scale = (1 - r) / (2 * k)
    moves = np.diff(stats.ncx2.cdf(edges / scale, 2 * k, r * values[:, None] / scale), axis=1)
    chance = np.diff(stats.gamma(k, scale=1 / k).cdf(edges))
    for count in counts:
        chance = (chance * stats.poisson(rate * values).pmf(count)) @ moves
        chance /= chance.sum()
    seen = np.arange(40)
    exact = stats.poisson(rate * values[:, None]).pmf(seen).T @ chance
    size, mean = model.size_, float(model.mean()[0])
    assert 0.3 < r < 0.95
    np.testing.assert_allclose(
        np.cumsum(stats.nbinom(size, size / (size + mean)).pmf(seen)), np.cumsum(exact), atol=0.03
    )


def test_the_intensity_of_a_later_period_is_the_process():
    """Against the noncentral chi-square law of scipy, given the intensity before; mean and memory of the long run."""
    model = Drifting().fit(quiet_and_busy(np.random.default_rng(3))[0])
    rng, n = np.random.default_rng(0), 20_000
    r, k = model.memory_, model.long_size_
    before = np.full(n, 0.7 / model.level_)
    after = model.level_ * model.next_shocks(before, rng.random(n), rng)
    scale = (1 - r) / (2 * k)
    assert stats.kstest(after, stats.ncx2(2 * k, r * 0.7 / scale, scale=scale).cdf).pvalue > 0.01
    steady = rng.gamma(k, 1 / k, n) / model.level_
    later = model.next_shocks(steady, rng.random(n), rng)
    assert stats.kstest(model.level_ * later, stats.gamma(k, scale=1 / k).cdf).pvalue > 0.01
    assert np.corrcoef(steady, later)[0, 1] == pytest.approx(r, abs=0.03)


def test_a_quiet_spell_may_end():
    """No event in the last two periods: the chance of none in the next is .62, as the truth has it.

    Memory without a way back said .96 in the mean.
    """
    said = []
    for seed in range(120):
        counts, level = quiet_and_busy(np.random.default_rng(seed))
        if level < 1 and not counts[-2:].any():
            said.append(float(Drifting().fit(counts).zero_probability()[0]))
    true = 0.85 * np.exp(-8 * 0.04) + 0.15 * np.exp(-8 * 1.96)
    assert len(said) > 15
    assert np.mean(said) == pytest.approx(true, abs=0.1)
    assert max(said) < 0.9


@pytest.mark.slow
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
    assert model.long_size_ > 30  # hardly any scatter beyond Poisson
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
    assert isinstance(model.process_, DriftingShocks)
    assert any("as many events are expected in the period ahead" in flag for flag in model.flags_)
    drawn = model.sample(60_000, 1).losses
    total, frequency = drawn.sum(axis=1), model.margins_.segments[0].frequency
    mean, k = frequency.mean(exposure).sum(), frequency.size_
    law = stats.nbinom(k, k / (k + mean))
    assert total.mean() == pytest.approx(mean, abs=5 * law.std() / np.sqrt(60_000))
    assert total.std() == pytest.approx(law.std(), rel=0.03)
    assert (total == 0).mean() == pytest.approx(law.pmf(0), abs=0.01)
    np.testing.assert_allclose((drawn == 0).mean(axis=0), model.summary_["zero_probability"], atol=0.012)


def test_periods_ahead_remember_each_other():
    """Mean and scatter of the sum of four periods, in closed form from the first: `E` and `Cov` of the process."""
    counts, _ = quiet_and_busy(np.random.default_rng(3))
    years = pd.period_range("1990", periods=30, freq="Y")
    when = years[np.repeat(np.arange(30), counts.astype(int))].to_timestamp()
    frame = pd.DataFrame({"date": when, "member": "A", "loss": 1.0, "id": range(len(when))})
    named = {"date": "date", "member": "member", "loss": "loss", "period": "Y", "start": "1990", "end": "2019"}
    model = JointLossModel(severity=severity.Empirical(), frequency=Drifting()).fit(
        LossHistory.from_events(frame, **named)
    )
    found = model.frequencies_["all"]
    r, k, rate = found.memory_, found.long_size_, found.mean()[0] / found.level_
    means, variances = [found.level_], [found.level_**2 / found.size_]
    for _ in range(3):
        variances.append(r**2 * variances[-1] + (1 - r) * (1 - r + 2 * r * means[-1]) / k)
        means.append(1 + r * (means[-1] - 1))
    together = sum(variances[min(s, t)] * r ** abs(s - t) for s in range(4) for t in range(4))
    drawn = model.sample(60_000, 1, periods=4).losses.sum(axis=1)
    variance = rate * sum(means) + rate**2 * together
    assert drawn.mean() == pytest.approx(rate * sum(means), abs=5 * np.sqrt(variance / 60_000))
    assert drawn.var() == pytest.approx(variance, rel=0.05)
    assert variance > 1.3 * sum(rate * m + rate**2 * v for m, v in zip(means, variances, strict=True))
    assert not any("what the history cost" in flag for flag in model.flags_)  # today's level is not that of all years
