"""Sizes that grow with time: the line against dense algebra, its law against integrals, the model against truths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from calibrate import JointLossModel, LossHistory, PoolCalibrator
from calibrate.errors import ModelError
from calibrate.models import frequency, severity
from calibrate.models.mixed_line import _products
from calibrate.models.pool_level import KnownLevel, LocalLevel
from calibrate.models.resampling import resampling_of
from calibrate.models.size_trend import SizeTrend


def trending(seed, growth, common, per_year=12, years=15, members=1, apart=0.0):
    """Log-losses, their members and years; a year adds a factor of deviation `common`, a member one of `apart`."""
    rng = np.random.default_rng([17, seed])
    when = np.repeat(np.arange(years), rng.poisson(per_year, years) + 1)
    owner = rng.integers(members, size=when.size) if members > 1 else np.zeros(when.size, dtype=int)
    logs = rng.normal(size=when.size) + common * rng.normal(size=years)[when] + growth * when
    return logs + apart * rng.normal(size=members)[owner], owner, when


def clear(draws, *cell, **sizes):
    found = (SizeTrend.of(*trending(seed, *cell, **sizes), 15.0) for seed in range(draws))
    return sum(trend is not None and trend.clear for trend in found)


@pytest.mark.slow
def test_a_trend_of_many_losses_a_year_is_seen_and_luck_is_not():
    assert clear(400, 0.07, 0.0) > 320
    assert clear(400, 0.07, 0.0, members=8, apart=1.0) > 320
    for common, more in ((0.0, {}), (0.6, {}), (0.0, {"per_year": 1}), (0.6, {"members": 8, "apart": 1.0})):
        assert clear(400, 0.0, common, **more) <= 10  # four, and three standard deviations
    assert clear(400, 0.0, 0.0, members=150, apart=1.0, per_year=3) <= 10  # nearly each loss has a member of its own


def late(seed, growth, larger, members=40, years=30):
    """Half of the members come in the middle, their losses `larger` in the log: logs, owners, years, middles."""
    rng = np.random.default_rng([29, seed])
    first = np.where(np.arange(members) < members // 2, years // 2, 0)
    counts = rng.poisson(0.1, (members, years)) * (np.arange(years) >= first[:, None])
    owner, when = np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0).T
    logs = rng.normal(size=owner.size) + growth * when + larger * (first > 0)[owner]
    return logs + 0.5 * rng.normal(size=members)[owner], owner, when, (first + years - 1) / 2


def test_members_that_come_later_with_larger_losses_are_no_trend():
    """Without regard to when members came, most of these histories would be told to grow."""
    blind, seeing = [], []
    for seed in range(200):
        *data, there = late(seed, 0.0, 1.6)
        blind.append(SizeTrend.of(*data, 30.0))
        seeing.append(SizeTrend.of(*data, 30.0, there))
    assert sum(trend.clear for trend in seeing) <= 7  # two, and three standard deviations
    assert sum(trend.p_value < 0.05 for trend in seeing) <= 20
    assert sum(trend.p_value < 0.05 for trend in blind) > 30
    found = [SizeTrend.of(*data, 30.0, there) for *data, there in (late(seed, 0.06, 1.6) for seed in range(100))]
    slopes = [trend.slope / (1 - (trend.deviation * 29) ** 2) for trend in found]  # less what the prior takes
    assert np.mean(slopes) == pytest.approx(0.06, abs=4 * np.std(slopes) / 10)


def test_where_who_is_there_tells_the_time_nothing_is_said():
    """A member a period: nobody can tell growth from members that are larger."""
    logs = np.arange(9.0) / 3 + np.tile([0.0, 0.3, -0.2], 3)
    assert SizeTrend.of(logs, np.arange(9), np.arange(9), 9.0, np.arange(9.0)) is None


def test_one_loss_a_period_is_the_textbooks_regression():
    logs = np.arange(9.0) / 3 + np.tile([0.0, 0.3, -0.2], 3)
    trend = SizeTrend.of(logs, np.zeros(9, dtype=int), np.arange(9), 9.0)
    textbook = stats.linregress(np.arange(9), logs)
    assert trend.p_value == pytest.approx(textbook.pvalue)
    assert trend.middle == pytest.approx(4.0)
    error = textbook.slope / stats.norm.isf(textbook.pvalue / 2)
    assert trend.slope == pytest.approx(textbook.slope / (1 + (8 * error) ** 2))  # one in the log over eight years


def test_the_normal_equations_are_those_of_the_whole_covariance():
    """`X' V^-1 X` with V written out."""
    rng = np.random.default_rng(0)
    who, at, X = rng.integers(5, size=60), rng.integers(7, size=60), rng.normal(size=(60, 3))
    counts = np.zeros((5, 7))
    np.add.at(counts, (who, at), 1.0)
    for members, periods in ((0.0, 0.0), (0.7, 0.0), (0.0, 0.3), (0.7, 0.3)):
        V = np.eye(60) + members * np.equal.outer(who, who) + periods * np.equal.outer(at, at)
        np.testing.assert_allclose(_products(X, who, at, counts, members, periods), X.T @ np.linalg.solve(V, X))


@pytest.mark.parametrize("seed", range(4))
def test_the_chance_of_a_trend_is_that_of_the_integral_over_slopes(seed):
    logs, owner, when = trending(seed, 0.03, 0.3)
    trend = SizeTrend.of(logs, owner, when, 15.0)
    before = 1.0 / (when.max() - when.min())
    kept = 1 - (trend.deviation / before) ** 2  # of the estimate
    estimate, error = trend.slope / kept, trend.deviation / np.sqrt(kept)

    def joint(b):
        return stats.norm.pdf(estimate, b, error) * stats.norm.pdf(b, 0.0, before)

    whole = integrate.quad(joint, -6 * before, 6 * before, points=[estimate, 0.0], limit=200)[0]
    mean = integrate.quad(lambda b: b * joint(b), -6 * before, 6 * before, points=[estimate, 0.0], limit=200)[0] / whole
    assert trend.chance == pytest.approx(whole / (whole + stats.norm.pdf(estimate, 0.0, error)), rel=1e-6)
    assert trend.slope == pytest.approx(mean, rel=1e-6)
    z = stats.norm.isf(trend.p_value / 2)
    assert abs(estimate) / error == pytest.approx(z)


def test_factors_are_quantiles_of_growth_with_mean_one():
    trend = SizeTrend(chance=0.7, slope=0.05, deviation=0.03, middle=6.0, ahead=15.0, p_value=0.05)
    rng = np.random.default_rng(0)
    drawn = np.exp(9.0 * np.where(rng.random(10**6) < 0.7, rng.normal(0.05, 0.03, 10**6), 0.0))
    even = (np.arange(20_000) + 0.5) / 20_000
    factors = trend.factors(trend.growths(even))
    assert np.all(np.diff(factors) >= 0)
    assert factors.mean() == pytest.approx(1.0, abs=1e-4)
    for q in (0.02, 0.2, 0.4, 0.8, 0.99):
        assert np.quantile(factors, q) == pytest.approx(np.quantile(drawn, q) / drawn.mean(), rel=0.01)


def history(seed, growth, years=25, per_year=12, members=6):
    rng = np.random.default_rng([3, seed])
    when = np.repeat(np.arange(years), rng.poisson(per_year, years))
    frame = pd.DataFrame({"date": pd.to_datetime([f"{2000 + t}-06-15" for t in when]), "id": range(when.size)})
    frame["member"] = [f"M{i}" for i in rng.integers(members, size=when.size)]
    frame["loss"] = np.exp(rng.normal(size=when.size) + growth * when)
    named = {"date": "date", "member": "member", "loss": "loss", "period": "Y"}
    return LossHistory.from_events(frame, start=2000, end=1999 + years, **named)


@pytest.mark.slow
def test_expected_losses_are_those_of_the_period_ahead():
    """Eight per cent a year for 25 years: without the trend two fifths of the truth."""
    carried, left_out, still = [], [], []
    for seed in range(6):
        true = 12 * np.exp(0.5 + 0.08 * 25)
        grown = history(seed, 0.08)
        model = JointLossModel(severity=severity.LogNormal()).fit(grown)
        carried.append(model.summary_["expected_loss"].sum() / true)
        old = JointLossModel(severity=severity.LogNormal(), pool_level=KnownLevel()).fit(grown)
        left_out.append(old.summary_["expected_loss"].sum() / true)
        steady = JointLossModel(severity=severity.LogNormal()).fit(history(seed, 0.0))
        still.append(steady.summary_["expected_loss"].sum() / (12 * np.exp(0.5)))
    assert np.mean(carried) == pytest.approx(1.0, abs=0.1)
    assert np.mean(still) == pytest.approx(1.0, abs=0.1)
    assert np.mean(left_out) < 0.6


@pytest.mark.slow
def test_sizes_grow_on_from_period_to_period():
    """Of twelve years ahead the last ones are the largest: the sum of the truth, not twelve times the first."""
    found = []
    for seed in range(3):
        model = JointLossModel(severity=severity.LogNormal()).fit(history(seed, 0.08))
        one, twelve = (model.sample(10_000, 1, periods=n).losses.sum(axis=1).mean() for n in (1, 12))
        found.append(twelve / one)
    assert np.mean(found) == pytest.approx(np.exp(0.08 * np.arange(12)).sum(), rel=0.1)
    grown = history(0, 0.08)
    drifting = JointLossModel(severity=severity.LogNormal(), frequency=frequency.Drifting()).fit(grown)
    assert any("sizes of 'all' move with time, and these frequencies take them" in flag for flag in drifting.flags_)
    with pytest.raises(ModelError, match="histories drawn again stay at those of the period ahead: over 12 periods"):
        PoolCalibrator(periods=12).uncertainty(grown)
    calibrator = PoolCalibrator(n_scenarios=2_000, n_out_of_sample=500, periods=12, random_state=1).fit(grown)
    members = calibrator.calibration_.members  # twelve times the closed form of the next year is not to be expected
    assert (members["expected_loss"] == members["sampled_loss"]).all()


def test_what_is_done_about_a_trend_is_said():
    grown = history(0, 0.08)
    (said,) = [flag for flag in JointLossModel().fit(grown).flags_ if "with time" in flag]
    assert said.startswith("segment 'all': losses grow with time, by ")
    by = float(said.split("by ")[1].split("%")[0])
    assert by == pytest.approx(8.3, abs=2.0)
    times = float(said.split("period ahead, ")[1].split(" times")[0])
    assert times == pytest.approx(np.exp(0.08 * 13), rel=0.3)
    (said,) = [flag for flag in JointLossModel(pool_level=KnownLevel()).fit(grown).flags_ if "with time" in flag]
    assert "Sizes are drawn as in the whole history: leave KnownLevel out" in said
    with pytest.raises(ModelError, match=r"LocalLevel\(\), and this history has events: KnownLevel\(\) takes no trend"):
        JointLossModel(pool_level=LocalLevel()).fit(grown)


@pytest.mark.slow
def test_histories_drawn_again_stay_at_the_sizes_ahead():
    """Periods in another order know of no trend: without it, the bootstrap would lie around another level."""
    grown = history(1, 0.08)
    model = JointLossModel(severity=severity.LogNormal(), frequency=frequency.Poisson()).fit(grown)
    again = resampling_of(model, grown)
    rng = np.random.default_rng(0)
    expected = [
        JointLossModel(severity=severity.LogNormal(), frequency=frequency.Poisson()).fit(again(grown, rng))
        for _ in range(20)
    ]
    found = np.mean([each.summary_["expected_loss"].sum() for each in expected])
    assert found == pytest.approx(model.summary_["expected_loss"].sum(), rel=0.15)


def test_a_growth_that_is_not_known_raises_the_tail():
    """Ten years of few losses: the same mean, and a wider law than if the growth were known."""
    few = history(5, 0.1, years=10, per_year=4)
    model = JointLossModel(severity=severity.LogNormal()).fit(few)
    levels = [node.margins.segments[0].sizes.level for node in model.process_.nodes]
    assert np.std(np.log(levels)) > 0.1
    drawn = model.sample(200_000, 1).losses.sum(axis=1)
    assert drawn.mean() == pytest.approx(model.summary_["expected_loss"].sum(), rel=0.03)


def test_a_fall_is_carried_only_where_it_is_clear():
    """The same slopes, up and down: a rise of p-value .05 moves sizes, a fall does not, and both are said."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=60)
    when, owner = np.repeat(np.arange(20), 3), np.zeros(60, dtype=int)
    rises = [SizeTrend.of(noise + slope * when, owner, when, 20.0) for slope in np.linspace(0.0, 0.2, 41)]
    falls = [SizeTrend.of(-noise - slope * when, owner, when, 20.0) for slope in np.linspace(0.0, 0.2, 41)]
    between = [k for k, trend in enumerate(rises) if 0.02 < trend.p_value < 0.06 and trend.slope > 0]
    assert between
    for k in between:
        assert rises[k].p_value == pytest.approx(falls[k].p_value)
        assert rises[k].carried and not falls[k].carried
        years = pd.period_range("2000", periods=20, freq="Y")
        assert "losses shrink with time" in falls[k].left_out("all", years)
        assert "a fall is carried where it is clear; else bring them" in falls[k].left_out("all", years)
    assert rises[-1].carried and falls[-1].carried
