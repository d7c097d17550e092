"""Histories drawn again: periods with their events, levels that end where they did, and what cannot be drawn again."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from calibrate import JointLossModel, LossHistory
from calibrate.errors import ModelError
from calibrate.models import frequency
from calibrate.models.pool_level import KnownLevel, LocalLevel
from calibrate.models.resampling import AroundLevel, Blocks, _residuals, resampling_of


def test_resampled_events_go_with_their_period():
    frame = pd.DataFrame(
        {
            "when": ["2024-01-31", "2024-02-10", "2024-04-05", "2024-04-30"],
            "who": ["A", "B", "A", "A"],
            "usd": [1.0, 2.0, 4.0, 8.0],
        }
    )
    history = LossHistory.from_events(frame, date="when", member="who", loss="usd", start="2024-01", end="2024-05")
    for seed in range(20):
        again = Blocks(2)(history, np.random.default_rng(seed))
        assert list(again.periods) == list(history.periods)
        events = again.events
        total = events.groupby([events["date"].dt.tz_localize(None).dt.to_period("M"), "member"], observed=True)[
            "loss"
        ].sum()
        for (month, member), value in total.items():
            assert again.losses.loc[month, member] == value
        assert again.losses.to_numpy().sum() == events["loss"].sum()
    with pytest.raises(ModelError, match="a block must have between 1 and 5 periods, got 6"):
        Blocks(6)(history, np.random.default_rng(0))


def panel(logs, members=3, exposures=100.0):
    rng = np.random.default_rng(0)
    names = list("ABCDEF")[:members]
    noise = 0.1 * rng.standard_normal((len(logs), members))
    table = pd.DataFrame(100 * np.exp(logs[:, None] + noise), range(2000, 2000 + len(logs)), names)
    return LossHistory.from_panel(table, exposures=dict.fromkeys(names, exposures))


def test_the_last_block_stays_where_forecasts_start():
    history = panel(np.linspace(0, 1, 9))
    again = Blocks(3, kept=3)(history, np.random.default_rng(1))
    pd.testing.assert_frame_equal(again.losses.iloc[-3:], history.losses.iloc[-3:])
    assert not again.losses.equals(history.losses)


@pytest.mark.parametrize("drift", [0.0, 0.3, 20.0])
def test_residuals_are_what_statsmodels_says_from_all_other_periods(drift):
    logs = np.random.default_rng(4).standard_normal(7)
    logs[2] = np.nan  # a period without a loss
    places = np.flatnonzero(~np.isnan(logs))
    ours = _residuals(logs[places], places, drift)
    for k, place in enumerate(places):
        others = logs.copy()
        others[place] = np.nan
        model = sm.tsa.UnobservedComponents(others, "local level", use_exact_diffuse=True)
        found = model.smooth([1.0, drift])
        told, error = found.smoothed_state[0, place], found.smoothed_state_cov[0, 0, place]
        assert ours[k] == pytest.approx((logs[place] - told) / np.sqrt(1 + error), rel=1e-6)


@pytest.mark.slow
def test_levels_end_where_the_fitted_one_does():
    """A pool that has risen to 1.6 times its mean: shuffled periods forget it, and intervals leave the estimate out."""
    history = panel(np.repeat([-0.5, 0.5], 10) + 0.05 * np.random.default_rng(2).standard_normal(20))
    model = JointLossModel().fit(history)
    assert model.pool_level_.level_ > 1.25

    def ahead(resampling, seed):
        drawn = resampling(history, np.random.default_rng(seed))
        return np.log(JointLossModel().fit(drawn).summary_["expected_loss"].sum())

    expected = np.log(model.summary_["expected_loss"].sum())
    around = [ahead(resampling_of(model, history), seed) for seed in range(30)]
    shuffled = [ahead(Blocks(), seed) for seed in range(30)]
    assert np.mean(around) == pytest.approx(expected, abs=4 * np.std(around) / np.sqrt(30))
    assert np.mean(shuffled) < expected - 0.2


@pytest.mark.slow
def test_the_level_is_as_far_from_the_fitted_one_as_the_fitted_one_from_the_truth():
    """Levels that wander, of which the truth is known: 90 % intervals hold it, of shuffled periods they do not."""
    rng = np.random.default_rng(5)
    inside = {"around": 0, "shuffled": 0}
    for _ in range(60):
        path = 0.15 * np.cumsum(rng.standard_normal(9))
        logs = path + 0.1 * rng.standard_normal(9)
        table = pd.DataFrame({"A": np.exp(logs)}, range(2000, 2009))
        history, level = LossHistory.from_panel(table), LocalLevel().fit(np.exp(logs))
        for name, resampling in (("around", AroundLevel(level)), ("shuffled", Blocks())):
            found = []
            for _ in range(40):
                again = resampling(history, rng).losses["A"].to_numpy()
                found.append(np.log(LocalLevel().fit(again).level_) + np.log(again).mean())
            low, high = np.quantile(found, [0.05, 0.95])
            inside[name] += low <= path[-1] <= high
    assert inside["around"] >= 45
    assert inside["shuffled"] <= 42


def test_hopeless_panels_are_drawn_again():
    """A member that joined late, a period without a loss, a pool that does not move."""
    table = pd.DataFrame({"A": [1.0, 2.0, 0.0, 4.0], "B": [0.0, 0.0, 0.0, 3.0]}, range(2021, 2025))
    exposures = pd.DataFrame({"A": [1.0, 1.0, 1.0, 1.0], "B": [0.0, 0.0, 1.0, 1.0]}, range(2021, 2025))
    history = LossHistory.from_panel(table, exposures=exposures)
    for seed in range(20):
        again = AroundLevel(LocalLevel().fit(table.sum(axis=1)))(history, np.random.default_rng(seed))
        assert np.isfinite(again.losses.to_numpy()).all()
        assert (again.losses["B"].iloc[:2] == 0).all()
        pd.testing.assert_frame_equal(again.exposures, history.exposures)
    still = LossHistory.from_panel(pd.DataFrame({"A": [3.0] * 5, "B": [5.0] * 5}, range(2000, 2005)))
    again = AroundLevel(LocalLevel().fit([8.0] * 5))(still, np.random.default_rng(0))
    np.testing.assert_allclose(again.losses, still.losses)


@pytest.mark.parametrize("power", [-20, 20])
def test_the_unit_does_not_matter(power):
    history = panel(0.3 * np.random.default_rng(3).standard_normal(8))
    other = LossHistory.from_panel(history.losses * 10.0**power, exposures=dict.fromkeys(history.members, 100.0))
    drawn = []
    for each in (history, other):
        model = JointLossModel().fit(each)
        drawn.append(resampling_of(model, each)(each, np.random.default_rng(1)).losses)
    np.testing.assert_allclose(drawn[1], drawn[0] * 10.0**power, rtol=1e-8)


def events(months=27):
    rng = np.random.default_rng(6)
    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.sort(rng.uniform(0, 30 * months, 80)), unit="D")
    frame = pd.DataFrame({"date": when, "member": rng.choice(list("AB"), 80), "loss": rng.lognormal(0, 1, 80)})
    return LossHistory.from_events(frame, date="date", member="member", loss="loss", start="2020-01", end="2022-03")


def test_what_the_order_tells_decides_how_a_history_is_drawn_again():
    history, rows = events(), panel(np.zeros(6))
    assert resampling_of(JointLossModel(pool_level=KnownLevel()).fit(rows), rows) == Blocks()
    grown = JointLossModel().fit(history)
    assert resampling_of(grown, history, 2) == Blocks(2, trends=grown.size_trends_)
    assert resampling_of(JointLossModel(pool_level=KnownLevel()).fit(history), history, 2) == Blocks(2)
    drifting = JointLossModel(frequency=frequency.Drifting()).fit(history)
    assert resampling_of(drifting, history, 4) == Blocks(4, kept=4, trends=grown.size_trends_)
    assert resampling_of(drifting, history) == Blocks(3, kept=3, trends=grown.size_trends_)  # 27 periods
    with pytest.raises(ModelError, match=r"Drifting reads which periods follow each other, .* give block >= 3"):
        resampling_of(drifting, history, 1)
    with pytest.raises(ModelError, match="Trend reads when each period was"):
        resampling_of(JointLossModel(frequency=frequency.Trend()).fit(history), history, 4)
    assert resampling_of(object(), history, 2) == Blocks(2)
