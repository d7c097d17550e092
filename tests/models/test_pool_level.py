"""The level of a pool: coverage on known truths, means, units, and what it does to the members' losses."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t
from sklearn.utils.estimator_checks import check_estimator

from calibrate import JointLossModel, LossHistory
from calibrate.errors import DataError, ModelError
from calibrate.models import sampling
from calibrate.models.dependence import Independent
from calibrate.models.margins import SeverityMargins
from calibrate.models.pool_level import KnownLevel, LocalLevel
from calibrate.models.process import ComposedMargins
from calibrate.models.severity import LogNormal

YEARS = 7


def panel(seed=0, years=YEARS, members=6, level=0.25):
    rng = np.random.default_rng(seed)
    logs = level * rng.standard_normal((years, 1)) + 0.15 * rng.standard_normal((years, members))
    table = pd.DataFrame(100 * np.exp(logs), index=range(2000, 2000 + years), columns=list("ABCDEF")[:members])
    return LossHistory.from_panel(table, exposures=dict.fromkeys(table.columns, 100.0))


def series(kind, rng, n):
    shocks = rng.standard_normal(n)
    if kind == "forgets":
        return 0.2 * shocks
    if kind == "wanders":
        return 0.1 * np.cumsum(shocks) + 0.1 * rng.standard_normal(n)
    found = [shocks[0]]
    for shock in shocks[1:]:
        found.append(0.8 * found[-1] + 0.6 * shock)
    return 0.2 * np.array(found)


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("forgets", 0.87, 0.94), ("reverts", 0.85, 0.95), ("wanders", 0.85, 0.95)]
)
def test_the_period_after_is_inside_as_often_as_it_says(kind, least, most):
    rng = np.random.default_rng(1)
    inside, widths = 0, []
    for _ in range(600):
        x = series(kind, rng, YEARS + 1)
        past = x[:-1]
        model = LocalLevel().fit(np.exp(past))
        ahead = past.mean() + np.log(model.level_ * next(model.factors(2000, 1, 0.0, rng)))
        low, high = np.quantile(ahead, [0.05, 0.95])
        inside += low <= x[-1] <= high
        widths.append((high - low) / (2 * student_t.ppf(0.95, YEARS - 1) * past.std(ddof=1) * np.sqrt(1 + 1 / YEARS)))
    assert least <= inside / 600 <= most
    assert np.median(widths) < 1.2  # over the textbook's interval, the right one where the level forgets


@pytest.mark.parametrize("held", [0.0, 0.02, 1.0])
def test_factors_have_the_mean_one_in_every_period(held):
    model = LocalLevel().fit([60.0, 70.0, 65.0, 80.0, 72.0, 90.0])
    for factors in model.factors(400_000, 4, held, np.random.default_rng(0)):
        assert factors.mean() == pytest.approx(1.0, abs=5 * factors.std() / np.sqrt(400_000))


def test_expected_losses_are_those_of_the_scenarios_at_the_level_ahead():
    table = pd.DataFrame(np.exp(0.2 * np.arange(6.0))[:, None] * [1.0, 3.0], range(2000, 2006), ["A", "B"])
    rising = LossHistory.from_panel(table)
    for periods in (1, 3):
        model = JointLossModel().fit(rising)
        drawn = model.sample(200_000, 1, periods=periods).losses
        error = 5 * drawn.std(axis=0) / np.sqrt(200_000)
        assert (np.abs(drawn.mean(axis=0) - periods * model.summary_["expected_loss"]) < error).all()
    known = JointLossModel(pool_level=KnownLevel()).fit(rising).summary_
    assert model.pool_level_.level_ > 1.3
    np.testing.assert_allclose(model.summary_["expected_loss"], known["expected_loss"] * model.pool_level_.level_)
    assert (model.summary_["log_deviation"] < 0.5 * np.log(table).std().to_numpy()).all()  # to have risen is no scatter
    np.testing.assert_allclose(model.summary_["pool_level"], model.pool_level_.level_)


def test_what_scenarios_scatter_already_is_taken_off():
    """The variance of the log of the pool's loss is that of the law, or what it was without the factor if more."""
    model = JointLossModel().fit(panel())
    level, held = model.pool_level_, model.process_.pool.variance
    noise = np.outer(level.variances_, level.scales_)
    law = np.maximum(noise * (1 + level.errors_ + level.drifts_)[:, None], held)
    centres = level.log_levels_[:, None] - law / 2
    weights = np.broadcast_to(level.chances_[:, None] / level.scales_.size, law.shape)
    expected = np.average(law + (centres - np.average(centres, weights=weights)) ** 2, weights=weights)
    drawn = np.log(model.sample(200_000, 1).losses.sum(axis=1)).var()
    plain = np.log(JointLossModel(pool_level=KnownLevel()).fit(panel()).sample(200_000, 1).losses.sum(axis=1)).var()
    assert held < plain  # which takes for scatter that the level has wandered
    assert drawn == pytest.approx(expected, rel=0.05)
    assert drawn > 1.2 * plain


def test_the_mean_of_several_periods_scatters_as_the_law_has_it():
    """Where scenarios scatter more than the noise of the law, so much less of the level is drawn."""
    model = LocalLevel().fit(np.exp(1e-3 * np.cumsum(np.random.default_rng(2).standard_normal(9))))
    held, periods = 5e-7, 6
    paths = np.log(np.array(list(model.factors(200_000, periods, held, np.random.default_rng(0)))))
    noise = np.outer(model.variances_, model.scales_)
    steps = (periods + 1) * (2 * periods + 1) / (6 * periods)
    law = np.maximum(noise * (model.errors_ + model.drifts_ * steps + 1 / periods)[:, None], held / periods)
    centre = model.chances_ @ model.log_levels_
    between = model.chances_ @ (model.log_levels_ - centre) ** 2
    expected = model.chances_ @ law.mean(axis=1) + between
    assert paths.mean(axis=0).var() + held / periods == pytest.approx(expected, rel=0.03)


def giant(seed, small=11, years=7, ahead=4000):
    """A member with nine tenths of all, small ones of whom one has a year of none; true losses of the year after."""
    rng = np.random.default_rng([3, seed])
    sizes, scatter = np.array([1000.0] + [10.0] * small), np.array([0.03] + [0.3] * small)
    own, walk = 0.1 * rng.standard_normal(small + 1), 0.06 * np.cumsum(rng.standard_normal(years))

    def drawn(level, noise):
        return sizes * np.exp((level + noise)[:, None] + own + scatter * rng.standard_normal((noise.size, small + 1)))

    losses = drawn(walk, 0.04 * rng.standard_normal(years))
    losses[rng.integers(years), 1 + rng.integers(small)] = 0.0
    names = [f"member {i}" for i in range(small + 1)]
    table = pd.DataFrame(losses, range(2000, 2000 + years), names)
    history = LossHistory.from_panel(table, exposures=dict(zip(names, sizes, strict=True)), confirm_unit_jumps=names)
    return history, drawn(walk[-1], np.hypot(0.06, 0.04) * rng.standard_normal(ahead)).sum(axis=1)


@pytest.mark.slow
def test_a_small_member_without_a_loss_does_not_make_the_pool_sure_of_its_level():
    """A share of the true years ahead: .66 where what the giant might not lose counted as scatter of every period."""
    found = []
    for seed in range(25):
        history, true = giant(seed)
        drawn = JointLossModel(n_jobs=1).fit(history).sample(4000, seed).losses.sum(axis=1)
        low, high = np.quantile(drawn, [0.05, 0.95])
        found.append(((low <= true) & (true <= high)).mean())
    assert 0.85 <= np.mean(found) <= 0.95


def test_what_a_pool_scatters_is_that_of_its_giant_and_not_its_rare_zero():
    """A lognormal member with all but nothing, that has no loss once in 250 periods: the variance of its log."""
    law = LogNormal().fit(np.exp([-0.1, 0.1, -0.3, 0.3]))
    margins = SeverityMargins([law, law], np.full(2, 0.004))
    process = ComposedMargins(margins, Independent().fit([[1.0, 2.0], [3.0, 1.0]]))
    pool = sampling.log_variances(process, np.array([1.0, 1e-6]))[0]
    assert pool == pytest.approx(np.var([-0.1, 0.1, -0.3, 0.3]), rel=0.06)


def test_members_lose_together_the_more():
    wandering, known = (
        JointLossModel(pool_level=level).fit(panel()).sample(50_000, 1).losses for level in (None, KnownLevel())
    )
    off = np.triu_indices(6, 1)
    together = [np.corrcoef(np.log(losses).T)[off].mean() for losses in (wandering, known)]
    assert together[0] > together[1] + 0.05


def test_the_bytes_do_not_depend_on_threads_or_blocks():
    history = panel()
    n, periods = sampling.BLOCK + 5000, 3
    one, two = (JointLossModel(n_jobs=jobs).fit(history).sample(n, 7, periods=periods) for jobs in (1, 2))
    assert one.losses.tobytes() == two.losses.tobytes()
    assert JointLossModel().fit(history).sample_blocks(n, 7, periods=periods).digest == one.digest


@pytest.mark.parametrize("power", range(-20, 21))
def test_the_unit_does_not_matter(power):
    ratios = np.array([60.0, 70.0, 0.0, 80.0, 72.0, 90.0])
    base, other = LocalLevel().fit(ratios, exposure=50.0), LocalLevel().fit(ratios * 10.0**power, exposure=3.0)
    for name, value in vars(base).items():
        if name.endswith("_"):
            np.testing.assert_allclose(getattr(other, name), value, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("power", [-20, 20])
def test_scenarios_in_other_units_are_the_same_scenarios(power):
    drawn = []
    for unit in (1.0, 10.0**power):
        table = panel().losses * unit
        history = LossHistory.from_panel(table, exposures=dict.fromkeys(table.columns, 100.0))
        drawn.append(JointLossModel().fit(history).sample(20_000, 1, periods=3).losses / unit)
    np.testing.assert_allclose(drawn[1], drawn[0], rtol=1e-8)


@pytest.mark.parametrize(
    "ratios", [[3.0] * 8, [0.0] * 8, [5.0], [0.0, 2.0, 0.0]], ids=["equal", "none", "one", "one loss"]
)
def test_what_tells_nothing_moves_nothing(ratios):
    model = LocalLevel().fit(ratios)
    assert model.level_ == 1.0
    assert model.credibility_ == 0.0
    np.testing.assert_array_equal(next(model.factors(10, 1, 0.0, np.random.default_rng(0))), 1.0)


def test_two_periods_and_wild_ones_stay_finite_and_seen():
    for ratios in ([1.0, 100.0], [1.0] * 9 + [1e6], [1e-300, 1e300, 1.0]):
        model = LocalLevel().fit(ratios)
        assert min(ratios) / np.mean(ratios) <= model.level_ <= max(ratios) / np.mean(ratios)
        for factors in model.factors(100_000, 2, 0.0, np.random.default_rng(0)):
            assert np.isfinite(factors).all()
            assert np.log(factors).std() < 700


@pytest.mark.parametrize("family", [KnownLevel, LocalLevel])
def test_scikit_learn_checks(family):
    results = check_estimator(
        family(), expected_failed_checks={"check_fit1d": "a vector is a pool"}, on_fail=None, on_skip=None
    )
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []


def test_what_is_no_loss_is_refused():
    with pytest.raises(DataError, match="a loss is -4"):
        LocalLevel().fit([1.0, -4.0])


def test_an_event_history_has_no_pool_level():
    frame = pd.DataFrame({"date": ["2020-01-01", "2020-02-01"], "member": ["A", "B"], "loss": [1.0, 2.0]})
    history = LossHistory.from_events(frame, date="date", member="member", loss="loss")
    with pytest.raises(ModelError, match=r"LocalLevel\(\), and this history has events: KnownLevel\(\) takes no trend"):
        JointLossModel(pool_level=LocalLevel()).fit(history)


@pytest.mark.parametrize(
    ("level", "words"), [(None, "known only as far as the periods tell"), (KnownLevel(), "9 times of 30")]
)
def test_few_periods_say_what_is_made_of_them(level, words):
    assert words in JointLossModel(pool_level=level).fit(panel()).flags_[0]


@pytest.mark.skipif(
    find_spec("chainladder") is None, reason="chainladder is not installed: pip install 'calibrate[cas]'"
)
@pytest.mark.slow
@pytest.mark.parametrize("line", ["medmal", "wkcomp"])
def test_the_year_after_of_medical_malpractice_and_workers_compensation(line):
    """Five years of two lines of insurers, the largest forty, whose levels wander: outside if they pass for known."""
    import chainladder

    outside = {"wanders": 0, "known": 0}
    pool = chainladder.load_sample("clrd")
    pool = pool[pool["LOB"] == line]
    tables = [pool[name].latest_diagonal.values[:, 0, :, 0].T for name in ("IncurLoss", "EarnedPremNet")]
    losses, premiums = (pd.DataFrame(table, index=range(1988, 1998), columns=pool.index["GRNAME"]) for table in tables)
    kept = (premiums.fillna(0) > 0).all() & (losses.fillna(0) >= 0).all()
    largest = premiums.loc[:, kept].sum().nlargest(40).index
    losses, premiums = losses[largest].fillna(0), premiums[largest]
    for t in range(5, 10):
        past = LossHistory.from_panel(
            losses.iloc[:t], exposures=premiums.iloc[:t], confirm_unit_jumps=list(losses.columns)
        )
        for name, level in (("wanders", LocalLevel()), ("known", KnownLevel())):
            model = JointLossModel(pool_level=level).fit(past)
            ahead = model.sample(5000, 1, exposures=premiums.iloc[t]).losses.sum(axis=1)
            outside[name] += not 0.05 <= (ahead < losses.iloc[t].sum()).mean() <= 0.95
    assert outside["wanders"] <= 1
    assert outside["known"] >= 2
