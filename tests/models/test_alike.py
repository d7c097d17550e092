"""Losses of one period that are alike in size: against closed forms, brute force and pools of known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.models import frequency, severity
from calibrate.models.alike import LOADINGS, NOT_ALIKE, UNLIKE, Alike, AlikePosterior

SHOCK, LOADING, BOND = 3.0, 0.6, 0.8


def drawn(seed, periods, rate=10.0, loading=LOADING, bond=BOND, size=SHOCK):
    """Places of losses and their logs (deviation 1.2): shock and score of a period are normal scores bound by `bond`,
    the shock's own."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, periods))
    shocks = stats.gamma.ppf(stats.norm.cdf(first), size) / size
    common = bond * first + np.sqrt(1 - bond**2) * second
    when = np.repeat(np.arange(periods), rng.poisson(rate * shocks))
    return when, 1.2 * (loading * common[when] + np.sqrt(1 - loading**2) * rng.normal(size=when.size))


def posterior(when, logs, periods, size=SHOCK):
    return AlikePosterior.of(logs, when, np.full(periods, when.size / periods), size)


def test_an_event_of_any_period_has_the_law_of_its_segment():
    """Although busy periods have the larger losses: the reason why expected losses need not know of them."""
    rng = np.random.default_rng(1)
    shocks = rng.gamma(SHOCK, 1 / SHOCK, 400_000)
    counts = rng.poisson(2.0 * shocks)
    levels = Alike(0.9, 0.95).levels(counts, shocks, SHOCK, rng)
    period = np.repeat(np.arange(counts.size), counts)
    sums = np.bincount(period, levels, counts.size)
    assert abs(sums.mean() - 2.0) < 4 * sums.std() / np.sqrt(counts.size)  # E N = 2, and a level has mean 1
    for level in (0.1, 1.0, 4.0):
        beyond = np.bincount(period, levels > level, counts.size)
        assert abs(beyond.mean() - 2 * np.exp(-level)) < 4 * beyond.std() / np.sqrt(counts.size)
    busy = shocks > 1.5
    assert sums[busy].sum() / counts[busy].sum() > 1.5


def test_two_losses_of_a_period_have_the_correlation_that_is_said():
    rng = np.random.default_rng(2)
    levels = Alike(0.7, 0.0).levels(np.full(200_000, 2), np.ones(200_000), 4.0, rng).reshape(-1, 2)
    scores = stats.norm.isf(np.exp(-levels))
    assert np.corrcoef(scores.T)[0, 1] == pytest.approx(0.49, abs=0.01)
    assert stats.kstest(levels[:, 0], "expon").pvalue > 0.001
    alone = UNLIKE.levels(np.full(200_000, 2), np.ones(200_000), 4.0, rng).reshape(-1, 2)
    assert abs(np.corrcoef(alone.T)[0, 1]) < 0.01


def test_the_posterior_of_the_loading_is_that_of_brute_force():
    """Where counts say nothing of a shock: normal laws of whole periods, at random places, scales and loadings."""
    when = np.repeat(np.arange(5), [3, 1, 5, 2, 4])
    rng = np.random.default_rng(5)
    logs = 1.1 * np.random.default_rng(4).normal(size=5)[when] + rng.normal(size=when.size)
    law = AlikePosterior.of(logs, when, np.full(5, 3.0), np.inf)
    scores = stats.norm.ppf((stats.rankdata(logs) - 0.5) / logs.size)
    n = 60_000
    loading = np.where(rng.random(n) < 0.5, 0.0, LOADINGS[rng.integers(LOADINGS.size, size=n)])
    place, scale = rng.uniform(-4, 4, n), np.exp(rng.uniform(-1, 2, n))
    height = np.zeros(n)
    same = when[:, None] == when
    for a in np.unique(loading):
        own = loading == a
        covariance = a**2 * same + (1 - a**2) * np.eye(when.size)
        z = (scores - place[own, None]) / scale[own, None]
        height[own] = stats.multivariate_normal(cov=covariance).logpdf(z) - when.size * np.log(scale[own])
    weight = np.exp(height)
    assert law.chances[0].sum() == pytest.approx(weight[loading == 0].sum() / weight.sum(), abs=0.02)
    found = law.chances[1:].sum(axis=1) @ LOADINGS
    assert found == pytest.approx((weight @ loading) / weight.sum(), abs=0.02)
    bayes = weight[loading > 0].mean() / weight[loading == 0].mean()
    assert law.evidence == pytest.approx(np.log((1 + bayes) / 2), abs=0.06)


def test_loadings_are_inside_their_intervals_as_often_as_said():
    """Drawn from what is thought before the data, where they are not 0: then 90 % is exact, whatever the history."""
    rng, inside = np.random.default_rng(6), []
    for seed in range(300):
        a, k = rng.random(2)
        law = posterior(*drawn([8, seed], 12, 5.0, a, k), 12)
        given = law.chances[1:].sum(axis=1) / law.chances[1:].sum()
        inside.append(0.05 <= np.cumsum(given)[int(a * 20)] - given[int(a * 20)] / 2 <= 0.95)
    assert 0.84 <= np.mean(inside) <= 0.95  # and three standard deviations of 300


def test_much_data_tells_loading_and_bond():
    found = posterior(*drawn(9, 1500), 1500)
    assert found.likely.loading == pytest.approx(LOADING, abs=0.051)
    assert found.likely.bond == pytest.approx(BOND, abs=0.17)
    assert found.chances[0].sum() < 1e-6
    free = posterior(*drawn(10, 1500, bond=0.0), 1500)
    assert free.likely.bond < 0.17
    none = posterior(*drawn(11, 1500, loading=0.0), 1500)
    assert none.likely == UNLIKE
    assert none.chances[0].sum() > 0.8
    assert none.evidence < np.log(0.625)


def test_what_cannot_tell_is_not_alike():
    assert AlikePosterior.of(np.zeros(9), np.repeat(np.arange(3), 3), np.ones(3), 2.0) is NOT_ALIKE
    assert AlikePosterior.of(np.arange(9.0), np.zeros(9, dtype=int), np.ones(3), 2.0) is NOT_ALIKE
    assert NOT_ALIKE.likely == UNLIKE
    assert NOT_ALIKE.flag("A") == ()
    single = AlikePosterior.of(np.arange(9.0), np.arange(9), np.ones(9), np.inf)
    assert single.chances[0].sum() == pytest.approx(0.5, abs=1e-9)  # a loss a period: as before the data
    assert single.evidence == pytest.approx(0.0, abs=1e-9)
    assert single.flag("A") == ()
    assert (single.factors([Alike(LOADING)], np.array([0.1, 0.9])) == 1.0).all()  # its losses are as good as they look


@pytest.mark.slow
def test_segments_that_cannot_tell_do_not_choose_the_family():
    """A loss a week at most, in members and weeks by chance: that shocks are shared is likelier by nothing."""
    rng, weeks = np.random.default_rng(1), pd.period_range("2018-01-01", periods=300, freq="W")
    when = np.concatenate([rng.choice(300, 24, replace=False) for _ in range(15)])
    frame = pd.DataFrame({"date": weeks[when].start_time, "member": rng.choice(list("ABCD"), when.size)})
    frame["loss"], frame["segment"] = np.exp(rng.normal(size=when.size)), np.repeat(np.arange(15), 24).astype(str)
    names = {"date": "date", "member": "member", "loss": "loss", "segment": "segment", "period": "W"}
    model = JointLossModel(n_jobs=1).fit(LossHistory.from_events(frame, **names, start="2018-01-01", end="2023-09-30"))
    assert not any("SharedShock" in flag or "alike" in flag for flag in model.flags_)


def test_the_level_of_sizes_is_known_as_the_periods_tell_it():
    """Mean log-losses of histories around the true one scatter as `factors` says, and their own scatter besides."""
    found, means = [], []
    for seed in range(400):
        when, logs = drawn([12, seed], 20, bond=0.0)
        means.append(logs.mean())
        law = posterior(when, logs, 20)
        found.append(law.factors([Alike(LOADING)], np.array([stats.norm.cdf(1)]))[0])
    common = np.log(found) + 0.5 * np.mean([np.log(each) for each in found]) ** 2  # about one deviation up
    own = 1.2**2 / 200
    assert np.std(means) == pytest.approx(np.sqrt(common.mean() ** 2 + own), rel=0.1)


def history(seed, periods=24, **kwargs):
    return of_logs(*drawn(seed, periods, **kwargs), periods, seed)


def of_logs(when, logs, periods, seed=0):
    months = pd.period_range("2020-01", periods=periods, freq="M")
    frame = pd.DataFrame({"date": months[when].to_timestamp() + pd.Timedelta(days=9), "loss": 1e6 * np.exp(logs)})
    frame["member"] = np.random.default_rng(seed).choice(list("ABCDE"), len(frame))
    frame["id"] = range(len(frame))
    return LossHistory.from_events(
        frame, date="date", member="member", loss="loss", start="2020-01", end=str(months[-1])
    )


def expected_shortfall(totals, level=0.99):
    return np.sort(totals)[round(level * totals.size) :].mean()


@pytest.mark.slow
def test_pools_whose_periods_are_bad_in_number_and_size_have_the_risk_that_they_have():
    """ES 99 % of known pools over the true one; it is a third where sizes are drawn by themselves."""
    when, logs = drawn(13, 200_000, 4.0)
    true = expected_shortfall(np.bincount(when, 1e6 * np.exp(logs), 200_000))
    ratios, means = [], []
    for seed in range(4):
        model = JointLossModel(severity=severity.LogNormal(), frequency=frequency.SharedShock(), n_jobs=1)
        losses = model.fit(history(seed, 300, rate=4.0)).sample(50_000, seed).losses.sum(axis=1)
        ratios.append(expected_shortfall(losses) / true)
        means.append(losses.mean() / model.summary_["expected_loss"].sum())
        assert any("losses of one period are alike in size" in flag for flag in model.flags_)
        assert (model.summary_["size_correlation"] > 0.2).all()
    assert 0.8 < np.mean(ratios) < 1.15
    np.testing.assert_allclose(np.mean(means), 1.0, atol=0.02)


@pytest.mark.slow
def test_losses_of_periods_further_ahead_keep_their_law_where_the_intensity_wanders():
    """From a low level back to 1: the expected number of losses is a sum of powers, the mean of each that of now."""
    rng, memory, size = np.random.default_rng(20), 0.85, 0.7
    intensity = [1.0]
    for _ in range(119):
        before = rng.poisson(memory * size * intensity[-1] / (1 - memory))
        intensity.append(rng.gamma(size + before) * (1 - memory) / size)
    score = stats.norm.ppf(stats.gamma.cdf(intensity, size, scale=1 / size))
    when = np.repeat(np.arange(120), rng.poisson(6 * np.array(intensity)))
    model = JointLossModel(severity=severity.LogNormal(), frequency=frequency.Drifting(), n_jobs=1)
    model.fit(of_logs(when, 0.7 * score[when] + 0.7 * rng.normal(size=when.size), 126))
    found, now = model.frequencies_["all"], model.summary_["expected_loss"].sum()
    assert found.level_ < 0.5 and model.margins_.segments[0].alike.bond > 0.4
    ahead = 1 + (found.level_ - 1) * found.memory_ ** np.arange(12)
    drawn = model.sample(100_000, 1, periods=12).losses.sum(axis=1)
    assert drawn.mean() == pytest.approx(now * ahead.sum() / found.level_, rel=0.025)


def test_members_alone_say_that_their_losses_are_drawn_independently():
    model = JointLossModel(frequency=frequency.NegativeBinomial(), n_jobs=1).fit(history(1))
    (said,) = [flag for flag in model.flags_ if "alike in size" in flag]
    assert "drawn independently of each other" in said
    assert said.endswith("Ask for SharedShock(), whose losses may be alike")  # right also where nothing was asked for
    assert (model.summary_["size_correlation"] == 0).all()


def test_units_and_order_of_rows_do_not_matter():
    when, logs = drawn(14, 24)
    law = posterior(when, logs, 24)
    for factor in (1e-18, 1e24):
        np.testing.assert_allclose(posterior(when, logs + np.log(factor), 24).chances, law.chances, rtol=1e-9)
    order = np.random.default_rng(0).permutation(when.size)
    np.testing.assert_allclose(posterior(when[order], logs[order], 24).chances, law.chances, rtol=1e-9)
