"""Segments of a panel whose levels wander apart: coverage on known truths, means, and what is left to the pool."""

import numpy as np
import pandas as pd
import pytest

from calibrate import JointLossModel, LossHistory
from calibrate.models import sampling
from calibrate.models.pool_level import KnownLevel
from calibrate.models.resampling import resampling_of

SEGMENTS, MEMBERS = ("fire", "flood", "storm"), 4


def drawn(paths, rng, own, scatter=0.15):
    """Losses, years x (member, segment), around the log levels of the segments (years, segments)."""
    noise = scatter * rng.standard_normal((len(paths), MEMBERS, len(SEGMENTS)))
    return 100 * np.exp(paths[:, None, :] + own[None, :, None] + noise)


def panel(losses, unit=1.0):
    columns = pd.MultiIndex.from_product([list("ABCD"), SEGMENTS], names=["member", "segment"])
    table = pd.DataFrame(unit * losses.reshape(len(losses), -1), range(2000, 2000 + len(losses)), columns)
    return LossHistory.from_panel(table)


def apart(seed=0, years=9):
    rng = np.random.default_rng(seed)
    rise = np.linspace(-0.5, 0.5, years)[:, None] * [1.0, -1.0, 0.0] + 0.05 * rng.standard_normal((years, 3))
    return panel(drawn(rise, rng, np.zeros(MEMBERS)))


def test_each_segment_is_forecast_from_where_it_stands():
    history = apart()
    expected = JointLossModel().fit(history).summary_["expected_loss"].groupby(level="segment").sum()
    last = history.losses.iloc[-2:].T.groupby(level="segment").sum().T.mean()
    whole = history.losses.T.groupby(level="segment").sum().T.mean()
    assert expected["fire"] == pytest.approx(last["fire"], rel=0.15)
    assert expected["flood"] == pytest.approx(last["flood"], rel=0.15)
    assert expected["fire"] > 1.2 * whole["fire"]
    assert expected["flood"] < 0.8 * whole["flood"]


def test_segments_that_go_together_stay_together():
    """One level for all: what a segment seems to be off by is mostly chance, and is mostly taken back."""
    kept = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        common = np.tile(0.15 * np.cumsum(rng.standard_normal(9))[:, None], 3)
        model = JointLossModel().fit(panel(drawn(common, rng, 0.1 * rng.standard_normal(MEMBERS))))
        by_segment = model.summary_["pool_level"].groupby(level="segment").first() / model.pool_level_.level_
        kept.append(np.abs(np.log(by_segment)).max())
        assert model.summary_["expected_loss"].sum() == pytest.approx(
            model.pool_level_.level_ * (model.summary_["expected_loss"] / model.summary_["pool_level"]).sum()
        )
    assert np.mean(kept) < 0.05


@pytest.mark.parametrize("periods", [1, 3])
def test_expected_losses_are_those_of_the_scenarios(periods):
    model = JointLossModel().fit(apart())
    losses = model.sample(200_000, 1, periods=periods).losses
    error = 5 * losses.std(axis=0) / np.sqrt(200_000)
    assert (np.abs(losses.mean(axis=0) - periods * model.summary_["expected_loss"]) < error).all()


def coverage(walk, pools=20, years=8):
    """Share of 4,000 true years ahead in which a segment, and the pool, lie in their 90 % intervals; mean of pools."""
    found = []
    for seed in range(pools):
        rng = np.random.default_rng([8, seed])
        own = 0.1 * rng.standard_normal(MEMBERS)
        path = np.cumsum(0.1 * rng.standard_normal((years, 1)) + walk * rng.standard_normal((years, 3)), axis=0)
        noise = 0.08 * rng.standard_normal((years, 3))
        sampled = JointLossModel().fit(panel(drawn(path + noise, rng, own))).sample(4000, seed)
        ahead = path[-1] + 0.1 * rng.standard_normal((4000, 1)) + np.hypot(walk, 0.08) * rng.standard_normal((4000, 3))
        true = drawn(ahead, rng, own).sum(axis=1)
        said = sampled.cube.sum(axis=1)
        low, high = np.quantile(said, [0.05, 0.95], axis=0)
        pool = np.quantile(said.sum(axis=1), [0.05, 0.95])
        total = true.sum(axis=1)
        found.append([((low <= true) & (true <= high)).mean(), ((pool[0] <= total) & (total <= pool[1])).mean()])
    return np.mean(found, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("walk", [0.0, 0.15], ids=["together", "apart"])
def test_segments_are_inside_as_often_as_they_say(walk):
    segments, pool = coverage(walk)
    assert 0.86 <= segments <= 0.95
    assert 0.82 <= pool <= 0.95


def test_a_level_that_is_known_is_known_of_all_segments():
    model = JointLossModel(pool_level=KnownLevel()).fit(apart())
    assert model.segment_levels_ == ()
    assert (model.summary_["pool_level"] == 1.0).all()


def test_the_bytes_do_not_depend_on_threads_or_blocks():
    history, n = apart(), sampling.BLOCK + 500
    one, two = (JointLossModel(n_jobs=jobs).fit(history).sample(n, 7, periods=2) for jobs in (1, 2))
    assert one.losses.tobytes() == two.losses.tobytes()
    assert JointLossModel().fit(history).sample_blocks(n, 7, periods=2).digest == one.digest


@pytest.mark.parametrize("power", [-20, 20])
def test_the_unit_does_not_matter(power):
    rng = np.random.default_rng(1)
    losses = drawn(0.2 * rng.standard_normal((6, 3)), rng, np.zeros(MEMBERS))
    one, other = (JointLossModel().fit(panel(losses, unit)) for unit in (1.0, 10.0**power))
    np.testing.assert_allclose(other.sample(5000, 1).losses, one.sample(5000, 1).losses * 10.0**power, rtol=1e-8)


@pytest.mark.slow
def test_histories_are_drawn_again_around_each_segment():
    """The mean of what is fitted to them is what was fitted, segment by segment."""
    history = apart(years=12)
    model = JointLossModel().fit(history)
    resampling = resampling_of(model, history)
    found = []
    for seed in range(30):
        again = JointLossModel().fit(resampling(history, np.random.default_rng(seed)))
        found.append(np.log(again.summary_["expected_loss"].groupby(level="segment").sum()))
    table = pd.DataFrame(found)
    expected = np.log(model.summary_["expected_loss"].groupby(level="segment").sum())
    assert (np.abs(table.mean() - expected) < 0.12).all()


def test_hopeless_segments_are_answered():
    """One segment without a loss in half of the years, one that never moves, one member with everything."""
    losses = np.ones((6, MEMBERS, 3))
    losses[::2, :, 0] = 0.0
    losses[:, 0, 2] = [1.0, 5.0, 2.0, 9.0, 1e6, 3.0]
    history = LossHistory.from_panel(panel(losses).losses, confirm_unit_jumps=list("ABCD"))
    assert np.isfinite(JointLossModel().fit(history).sample(2000, 1).losses).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("year", [2003, 2008])
def test_a_year_in_which_nobody_was_exposed_tells_nothing(year):
    losses = apart().losses
    exposures = pd.DataFrame(1.0, losses.index, losses.columns)
    nobody = losses.index.year == year
    losses = losses.mask(nobody[:, None] & np.ones(losses.shape, dtype=bool), 0.0)
    exposures[nobody] = 0.0
    found = JointLossModel().fit(LossHistory.from_panel(losses, exposures=exposures))
    levels = np.array([level.level_ for level in (found.pool_level_, *found.segment_levels_)])
    assert np.isfinite(found.sample(1000, random_state=0).losses).all()
    whole = JointLossModel().fit(apart())  # the year was like its neighbours
    known = [level.level_ for level in (whole.pool_level_, *whole.segment_levels_)]
    np.testing.assert_allclose(levels, known, rtol=0.15)
