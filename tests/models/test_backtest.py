"""Backtests: published statistics, other libraries' likelihoods, size and power, and what was known when."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.base import BaseEstimator

from calibrate import JointLossModel, LossHistory, Scenarios
from calibrate.errors import DataError, ModelError
from calibrate.models import Coverage
from calibrate.models.backtest import (
    AcerbiSzekelyConditional,
    AcerbiSzekelyUnconditional,
    ChristoffersenCoverage,
    ChristoffersenIndependence,
    Forecasts,
    Kupiec,
    backtest_table,
    compare_scores,
    joint_score,
    rolling_forecasts,
    traffic_light,
)
from calibrate.models.backtest.exams import observed_ratios, p_value, simulated_histories

TESTS = (
    Kupiec(),
    ChristoffersenIndependence(),
    ChristoffersenCoverage(),
    AcerbiSzekelyConditional(),
    AcerbiSzekelyUnconditional(),
)


def hits(pattern, level=0.99):
    pattern = np.asarray(pattern, dtype=float)
    return Forecasts(2.0 * pattern, np.ones(pattern.size), np.full(pattern.size, 1.5), level)


def test_kupiec_statistics_as_published():
    """Likelihood ratios of 4 to 10 exceedances in 250 days at 99 %, as in Kupiec 1995 and any table after it."""
    published = {4: 0.7691, 5: 1.9568, 6: 3.5554, 7: 5.4970, 8: 7.7336, 9: 10.2290, 10: 12.9555}
    for count, value in published.items():
        result = Kupiec()(hits(np.arange(250) < count), simulations=10)
        assert result.statistic == pytest.approx(value, abs=6e-5)
    assert Kupiec()(hits(np.zeros(250)), simulations=10).statistic == pytest.approx(-500 * np.log(0.99))
    assert Kupiec()(hits(np.ones(250)), simulations=10).statistic == pytest.approx(-500 * np.log(0.01))


def test_kupiec_p_value_tends_to_chi_squared():
    result = Kupiec()(hits(np.arange(4_000) % 88 == 0), simulations=2000)
    assert result.p_value == pytest.approx(stats.chi2.sf(result.statistic, 1), abs=0.02)


def test_independence_is_the_likelihood_ratio_of_a_logistic_regression_on_yesterday():
    rng = np.random.default_rng(4)
    pattern = np.zeros(500)
    for t in range(1, 500):
        pattern[t] = rng.random() < (0.3 if pattern[t - 1] else 0.05)
    fit = sm.Logit(pattern[1:], sm.add_constant(pattern[:-1])).fit(disp=0)
    result = ChristoffersenIndependence()(hits(pattern, 0.95))
    assert result.statistic == pytest.approx(2 * (fit.llf - fit.llnull), rel=1e-8)
    assert result.p_value < 0.01
    both = ChristoffersenCoverage()(hits(pattern, 0.95)).statistic
    assert both == pytest.approx(result.statistic + Kupiec()(hits(pattern, 0.95)).statistic)


def test_acerbi_szekely_by_hand():
    forecasts = Forecasts(
        np.array([1.0, 6.0, 9.0, 0.0]), np.full(4, 4.0), np.array([5.0, 5.0, 6.0, 5.0]), 0.75, np.ones((4, 3))
    )
    assert AcerbiSzekelyUnconditional()(forecasts).statistic == pytest.approx((6 / 5 + 9 / 6) / (4 * 0.25) - 1)
    assert AcerbiSzekelyConditional()(forecasts).statistic == pytest.approx((6 / 5 + 9 / 6) / 2 - 1)
    with pytest.raises(ModelError, match=r"AcerbiSzekelyConditional judges .* needs draws"):
        AcerbiSzekelyConditional()(hits([0, 1]))


@pytest.mark.parametrize(
    ("count", "zone", "multiplier"),
    [(0, "green", 3.0), (4, "green", 3.0), (5, "yellow", 3.4), (9, "yellow", 3.85), (10, "red", 4.0)],
)
def test_basel_zones(count, zone, multiplier):
    """Basel Committee 1996, table 2: 250 days at 99 %; cumulative 89.22 % at 4, 95.88 % at 5, 99.99 % at 10."""
    light = traffic_light(hits(np.arange(250) < count))
    assert (light.zone, light.multiplier) == (zone, multiplier)
    published = {0: 0.0811, 4: 0.8922, 5: 0.9588, 9: 0.9997, 10: 0.9999}
    assert light.cumulative == pytest.approx(published[count], abs=6e-5)
    assert traffic_light(hits(np.arange(300) < count)).multiplier is None
    law = stats.binom(250, 0.01)
    assert light.p_value == pytest.approx(law.sf(count) + 0.5 * law.pmf(count), rel=1e-9)


@pytest.mark.parametrize(("level", "periods"), [(0.995, 10), (0.99, 5), (0.95, 1), (0.9999, 1), (0.99, 1)])
def test_no_exceedance_is_green_in_however_few_periods(level, periods):
    light = traffic_light(hits(np.zeros(periods), level))
    assert light.zone == "green"
    assert light.cumulative >= 0.95
    assert traffic_light(hits(np.arange(periods) < 1, level)).zone != "green"


@pytest.mark.parametrize("level", [0.9, 0.975, 0.99, 0.995])
@pytest.mark.parametrize("periods", [10, 40, 100, 250, 1000])
def test_zones_begin_where_the_law_of_a_right_model_says(level, periods):
    """Of counts above the expected one: yellow where no more than 5 % lies beyond, red where .01 %."""
    beyond = stats.binom(periods, 1 - level).sf(np.arange(12))
    for count in range(min(periods, 11) + 1):
        few = count <= periods * (1 - level)
        zone = "green" if few or beyond[count] > 0.05 else "yellow" if beyond[count] > 0.0001 else "red"
        assert traffic_light(hits(np.arange(periods) < count, level)).zone == zone


def law(factor, periods, rng, level=0.99, draws=1000):
    """Student t losses with four degrees of freedom, `factor` times what the forecasts say."""
    nominal = np.abs(rng.standard_t(4, (periods, draws)))
    return Forecasts.from_draws(factor * np.abs(rng.standard_t(4, periods)), nominal, level)


def test_a_model_that_understates_by_a_third_is_caught():
    rng = np.random.default_rng(8)
    table = backtest_table(law(1.5, 1000, rng))
    assert table.loc[["Kupiec", "ChristoffersenCoverage", "AcerbiSzekelyUnconditional"], "verdict"].eq("rejected").all()
    assert table.loc["TrafficLight", "verdict"] == "red"
    assert (table.loc[["Kupiec", "AcerbiSzekelyUnconditional"], "power"] > 0.8).all()
    assert table.loc["AcerbiSzekelyConditional", "power"] < 0.3
    right = backtest_table(law(1.0, 1000, rng))
    assert right["verdict"].iloc[:5].eq("not rejected").all()


def test_too_few_periods_to_tell_is_said():
    table = backtest_table(law(1.0, 12, np.random.default_rng(2)))
    assert set(table["verdict"].iloc[:5]) <= {"cannot tell", "rejected"}
    assert (table["power"].iloc[:3] < 0.5).all()
    without = backtest_table(hits([0] * 30))
    assert without["power"].isna().all()
    assert "AcerbiSzekelyUnconditional" not in without.index


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.99])  # others: tests/benchmarks/backtests.py
def test_size_and_power_over_1000_simulations(level):
    rng = np.random.default_rng(99)
    rejected = np.zeros((2, len(TESTS) + 1))
    true = stats.t(4)
    var = float(true.ppf(0.5 + level / 2))
    shortfall = true.expect(lambda x: x, lb=var) / (0.5 - level / 2)
    for _ in range(1000):
        draws = np.abs(rng.standard_t(4, (1000, 200)))
        right = Forecasts(draws[:, 0], np.full(1000, var), np.full(1000, shortfall), level, draws)
        histories = simulated_histories(right, 0, 200)  # once for all tests
        for row, factor in enumerate((1.0, 1.5)):
            losses = factor * np.abs(rng.standard_t(4, 1000))
            forecasts = Forecasts(losses, np.full(1000, var), np.full(1000, shortfall), level, draws)
            seen = forecasts.exceedances[:, None], observed_ratios(forecasts)[:, None]
            found = [(test.statistic(*seen, level)[0], test.statistic(*histories, level)) for test in TESTS]
            p_values = [p_value(*each) for each in found] + [traffic_light(forecasts).p_value]
            rejected[row] += np.array(p_values) <= 0.05
    size, power = rejected / 1000
    assert (size >= 0.03).all()
    assert (size <= 0.07).all()
    assert (power[[0, 2, 4, 5]] >= 0.8).all()


def test_point_masses_do_not_spoil_the_p_values():
    """Most periods lose nothing: VaR 90 % is zero, and a loss exceeds it in 8 % of the periods, not in 10 %."""
    rng = np.random.default_rng(10)
    p_values = []
    for _ in range(300):
        draws = rng.exponential(1.0, (100, 200)) * (rng.random((100, 200)) < 0.08)
        losses = rng.exponential(1.0, 100) * (rng.random(100) < 0.08)
        draws[:, 0] = 5.0  # no period without any loss at all
        p_values.append(AcerbiSzekelyUnconditional()(Forecasts.from_draws(losses, draws, 0.9)).p_value)
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.10


def test_joint_score_is_least_at_the_truth():
    x = stats.expon.ppf((np.arange(200_000) + 0.5) / 200_000)
    n, level = x.size, 0.9
    var = -np.log(0.1)

    def mean(v, e):
        return joint_score(Forecasts(x, np.full(n, v), np.full(n, e), level)).mean()

    best = mean(var, var + 1)
    for factor in (0.8, 0.95, 1.05, 1.2):
        assert mean(var * factor, var * factor + 1) > best
        assert mean(var, max(var, (var + 1) * factor)) > best
    assert best == pytest.approx(np.log(var + 1), abs=1e-4)  # closed form: at the truth the rest is zero in expectation


def test_comparison_of_scores_is_a_regression_on_a_constant_with_robust_errors():
    rng = np.random.default_rng(3)
    losses = rng.exponential(1.0, 400)
    first = Forecasts(losses, np.full(400, 2.3), np.full(400, 3.3), 0.9)
    second = Forecasts(losses, np.full(400, 1.5), np.full(400, 2.2), 0.9)
    gaps = joint_score(first) - joint_score(second)
    lags = int(4 * 4 ** (2 / 9))
    fit = sm.OLS(gaps, np.ones(400)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    found = compare_scores(first, second)
    assert found.difference == pytest.approx(fit.params[0])
    assert found.standard_error == pytest.approx(fit.bse[0], rel=1e-9)
    assert found.p_value == pytest.approx(fit.pvalues[0], rel=1e-6)
    assert found.difference < 0
    assert found.p_worse == pytest.approx(1 - fit.pvalues[0] / 2, rel=1e-6)
    assert compare_scores(second, first).p_worse == pytest.approx(fit.pvalues[0] / 2, rel=1e-6)
    assert compare_scores(first, first).p_value == 1.0
    with pytest.raises(ModelError, match="on the same losses at the same level only"):
        compare_scores(first, Forecasts(losses + 1, np.ones(400), np.full(400, 2.0), 0.9))


def test_forecasts_from_draws_are_quantile_and_tail_mean():
    draws = np.tile(np.arange(1.0, 101.0), (3, 1))
    forecasts = Forecasts.from_draws([1.0, 2.0, 96.0], draws, 0.95, pd.Index(["a", "b", "c"]))
    assert forecasts.var.tolist() == [95.0] * 3
    assert forecasts.expected_shortfall.tolist() == pytest.approx([98.0] * 3)
    assert forecasts.to_frame().loc["c", "exceeded"]
    assert forecasts.expected_exceedances == pytest.approx(0.15)


class Recorder:
    """A model that remembers what it was shown and forecasts twice the mean it saw."""

    seen: list = []  # noqa: RUF012

    def get_params(self, deep=True):
        return {}

    def fit(self, history):
        Recorder.seen.append(history.periods[-1])
        self.mean = history.losses.to_numpy().mean()
        return self

    def sample(self, n, random_state):
        rng = np.random.default_rng(random_state)
        return Scenarios(rng.exponential(self.mean, (n, 2)), ["A", "B"])


def test_rolling_refit_knows_the_past_only():
    months = pd.period_range("2020-01", "2021-12", freq="M")
    losses = pd.DataFrame(np.random.default_rng(0).gamma(2.0, 1.0, (24, 2)), index=months, columns=["A", "B"])
    history = LossHistory.from_panel(losses)
    Recorder.seen = []
    forecasts = rolling_forecasts(history, Recorder(), first="2021-01", level=0.9, n=500)
    assert [str(period) for period in Recorder.seen] == [str(period) for period in months[11:23]]
    assert [str(period) for period in forecasts.periods] == [str(period) for period in months[12:]]
    assert forecasts.losses == pytest.approx(losses.sum(axis=1).to_numpy()[12:])
    assert forecasts.draws.shape == (12, 500)
    again = rolling_forecasts(history, Recorder(), first="2021-06", level=0.9, n=500)
    assert np.array_equal(again.draws, forecasts.draws[5:])
    with pytest.raises(DataError, match=r"first must name a period after 2020-01 and not after 2021-12"):
        rolling_forecasts(history, Recorder(), first="2020-01")


class Weighted(BaseEstimator):
    """A model whose `n` scenarios, and `more`, are not equally likely."""

    def __init__(self, more=0):
        self.more = more

    def fit(self, history):
        return self

    def sample(self, n, random_state):
        losses = np.r_[np.zeros(n // 2), np.ones(n - n // 2), np.full(self.more, 2.0)][:, None]
        parts = np.r_[np.full(n // 2, 0.9 / (n // 2)), np.full(n - n // 2, 0.1 / (n - n // 2)), np.zeros(self.more)]
        return Scenarios(losses, ["A"], probabilities=parts)


@pytest.mark.parametrize("more", [0, 3])
def test_forecasts_are_of_the_probabilities_that_scenarios_have(more):
    """Half of the scenarios lose something, with a tenth of the probability: so do a tenth of the draws."""
    history = LossHistory.from_panel(pd.DataFrame({"A": [1.0, 0.0, 1.0]}, index=[2020, 2021, 2022]))
    forecasts = rolling_forecasts(history, Weighted(more), first="2021", level=0.95, n=1000)
    assert forecasts.draws.mean(axis=1) == pytest.approx([0.1, 0.1], abs=0.0011)
    assert forecasts.draws.max() == 1.0
    again = rolling_forecasts(history, Weighted(more), first="2021", level=0.95, n=1000)
    assert np.array_equal(again.draws, forecasts.draws)


def test_draws_of_equally_likely_scenarios_are_the_scenarios():
    history = LossHistory.from_panel(pd.DataFrame({"A": [1.0, 0.0], "B": [1.0, 2.0]}, index=[2020, 2021]))
    drawn = rolling_forecasts(history, Recorder(), first="2021", n=200).draws[0]
    losses = np.random.default_rng(np.random.SeedSequence(0).spawn(2)[1]).exponential(1.0, (200, 2))
    assert np.array_equal(drawn, losses.sum(axis=1))


class Proportional(BaseEstimator):
    """A model with a cover, which forecasts three times the exposures that it is asked about."""

    def __init__(self, coverage=None, exposure_cap=None):
        self.coverage, self.exposure_cap = coverage, exposure_cap

    def fit(self, history):
        self.members = history.members
        if self.coverage is not None:
            self.coverage.terms(history.members)
        return self

    def sample(self, n, random_state, exposures):
        return Scenarios(np.tile(3.0 * exposures[list(self.members)].to_numpy(), (n, 1)), self.members)


class Otherwise(Proportional):
    """A model of the user's own that means another thing by its cover."""

    def fit(self, history):
        self.members = history.members
        return self


def dated(members, losses, exposures, **named):
    """One event a row in the middle of each of the months of 2020."""
    frame = pd.DataFrame({"date": pd.date_range("2020-01-15", periods=len(losses), freq="MS") + pd.Timedelta("14D")})
    frame = frame.assign(member=members, loss=losses, **named)
    table = pd.DataFrame(exposures, index=pd.period_range("2020-02", periods=len(losses), freq="M"))
    return LossHistory.from_events(
        frame, date="date", member="member", loss="loss", exposures=table, **{name: name for name in named}
    )


def test_losses_are_what_the_cover_pays_and_forecasts_are_at_the_exposures_of_their_period():
    """By hand: 200 is cut at 5 times the exposure of 20; of 80 above the retention the limit leaves 60, half paid."""
    exposures = {"A": [10.0, 10, 10, 30, 20], "B": [0.0, 0, 0, 8, 9]}
    history = dated(["A", "A", "A", "B", "A"], [15.0, 40, 30, 25, 200], exposures)
    cover = Coverage(retention={"A": 20.0, "B": 0.0}, limit=60.0, coinsurance=0.5)
    forecasts = rolling_forecasts(history, Proportional(cover, 5.0), first="2020-04", level=0.9, n=3)
    assert forecasts.losses.tolist() == [5.0, 0.0, 30.0]
    assert forecasts.draws[:, 0].tolist() == [30.0, 90.0, 87.0]
    assert len(forecasts.notes) == 1
    assert forecasts.notes[0].startswith("2020-05: losses of 'B', 12.5 in all, are left out")
    plain = rolling_forecasts(history, Proportional(), first="2020-04", level=0.9, n=3)
    assert plain.losses.tolist() == [30.0, 0.0, 200.0]


def test_a_share_of_every_loss_has_the_same_share_of_forecasts_and_losses():
    rng = np.random.default_rng(5)
    frame = {"date": pd.date_range("2020-01-02", periods=60, freq="10D"), "member": rng.choice(["A", "B"], 60)}
    named = {"date": "date", "member": "member", "loss": "loss", "period": "Q"}
    history = LossHistory.from_events(pd.DataFrame(frame).assign(loss=rng.gamma(2.0, 5.0, 60)), **named)
    whole, half = (
        rolling_forecasts(history, JointLossModel(coverage=cover), first="2021Q3", level=0.9, n=500)
        for cover in (None, Coverage(coinsurance=0.5))
    )
    assert 2 * half.losses == pytest.approx(whole.losses)
    assert 2 * half.expected_shortfall == pytest.approx(whole.expected_shortfall)


def test_a_growing_panel_is_forecast_at_its_own_exposures():
    """Ratios of a fifth, deviation of the log .1, whoever is exposed to how much."""
    exposures = np.outer(4.0 ** np.arange(12), [1.0, 2.0])
    losses = 0.2 * exposures * np.exp(0.1 * np.random.default_rng(1).standard_normal((12, 2)))
    years, names = np.arange(2010, 2022), ["A", "B"]
    history = LossHistory.from_panel(
        pd.DataFrame(losses, index=years, columns=names),
        exposures=pd.DataFrame(exposures, index=years, columns=names),
        confirm_unit_jumps=names,
    )
    forecasts = rolling_forecasts(history, JointLossModel(), first="2021", level=0.9, n=2000)
    assert forecasts.draws.mean() == pytest.approx(0.2 * exposures[-1].sum(), rel=0.1)


def test_what_was_paid_of_an_open_claim_is_not_known_and_that_is_said():
    exposures = {"A": [10.0] * 4}
    history = dated(["A"] * 4, [15.0, 40, 30, 25], exposures, at_least=[False, True, False, True])
    open_ = rolling_forecasts(history, Proportional(), first="2020-04", level=0.9, n=3)
    assert open_.losses.tolist() == [30.0, 25.0]
    (told,) = open_.notes
    assert told.startswith("1 of 2 losses") and "the first in 2020-05, of member 'A' and 25: periods count as" in told
    capped = rolling_forecasts(history, Proportional(Coverage(limit=20.0)), first="2020-04", level=0.9, n=3)
    assert capped.losses.tolist() == [20.0, 20.0]
    assert not capped.notes
    own = rolling_forecasts(history, Otherwise(0.95), first="2020-04", level=0.9, n=3)
    assert own.losses.tolist() == [30.0, 25.0]


def test_faults_are_named():
    with pytest.raises(DataError, match=r"period 1: loss is nan"):
        Forecasts(np.array([1.0, np.nan]), np.ones(2), np.full(2, 2.0), 0.9)
    with pytest.raises(DataError, match=r"period 0: expected shortfall is 0.5, expected no less than the VaR"):
        Forecasts(np.ones(1), np.ones(1), np.full(1, 0.5), 0.9)
    with pytest.raises(DataError, match=r"expected shortfall is 0, expected a finite amount > 0"):
        Forecasts(np.ones(1), np.zeros(1), np.zeros(1), 0.9)
    with pytest.raises(DataError, match="one value a period"):
        Forecasts(np.ones(2), np.ones(1), np.ones(2), 0.9)
    with pytest.raises(DataError, match="level of the forecasts must lie strictly between 0 and 1, got 99"):
        Forecasts(np.ones(1), np.ones(1), np.ones(1), 99)
    with pytest.raises(DataError, match="period 0: a draw is not finite"):
        Forecasts(np.ones(1), np.ones(1), np.ones(1), 0.9, np.array([[1.0, np.inf]]))
    with pytest.raises(ModelError, match="power needs draws"):
        Kupiec().power(hits([0, 1]))


def test_labelled_forecasts_stand_beside_the_losses_of_their_period():
    losses, turned = pd.Series([1.0, 5.0, 2.0], index=[2018, 2019, 2020]), [2020, 2019, 2018]
    var = pd.Series([6.0, 3.0, 1.5], index=turned)
    for of_losses, of_var in ((losses, var), (losses.to_numpy(), var[::-1]), (losses, var[::-1].to_numpy())):
        forecasts = Forecasts(of_losses, of_var, var * 1.2, 0.95)
        assert forecasts.exceedances.tolist() == [False, True, False]
    assert Forecasts(losses, var, var * 1.2, 0.95).expected_shortfall == pytest.approx([1.8, 3.6, 7.2])
    draws = pd.DataFrame(np.outer([30.0, 20.0, 10.0], [1.0, 2.0]), index=turned)
    told = Forecasts.from_draws(losses, draws, 0.5)
    assert told.var.tolist() == [10.0, 20.0, 30.0] == told.draws[:, 0].tolist()
    with pytest.raises(DataError, match="var: the rows name unknown '2021', leave out '2018'; label them as"):
        Forecasts(losses, var.rename({2018: 2021}), var, 0.95)


def test_what_is_no_period_and_no_draws_is_told():
    history = LossHistory.from_panel(pd.DataFrame({"A": [1.0, 2.0, 3.0]}, index=[2020, 2021, 2022]))
    with pytest.raises(DataError, match=r"first must name a period after 2020 .* got 'abc'"):
        rolling_forecasts(history, JointLossModel(), first="abc")
    with pytest.raises(DataError, match=r"draws have shape \(0,\), expected a row of draws for each loss"):
        Forecasts.from_draws([1.0, 2.0], np.zeros(0), 0.9)


def test_a_pool_is_backtested_before_and_after_a_member_joins():
    rng = np.random.default_rng(2)
    quarters = pd.period_range("2015Q1", periods=24, freq="Q")
    exposures = pd.DataFrame({"A": 10.0, "B": 20.0, "new": np.r_[np.zeros(16), np.full(8, 5.0)]}, index=quarters)
    losses = exposures * np.exp(rng.normal(-1, 0.4, (24, 3)))
    history = LossHistory.from_panel(losses, exposures=exposures)
    forecasts = rolling_forecasts(history, JointLossModel(), first="2018Q3", level=0.9, n=500)
    assert len(forecasts.losses) == 10
    expected = losses.sum(axis=1).to_numpy()[-10:].copy()
    expected[2] -= losses["new"].iloc[16]  # of 2019Q1, when nothing was known of it
    assert forecasts.losses == pytest.approx(expected)
    assert len(forecasts.notes) == 1
    assert forecasts.notes[0].startswith("2019Q1: losses of 'new'")


def test_a_period_at_whose_end_nothing_could_be_fitted_is_named():
    """A segment whose first loss comes late."""
    dates = pd.date_range("2010-06-01", periods=120, freq="30D")
    frame = pd.DataFrame({"when": dates, "who": "A", "peril": "early", "usd": np.arange(1.0, 121)})
    frame.loc[100:, "peril"] = "late"
    named = {"date": "when", "member": "who", "loss": "usd", "segment": "peril", "period": "Y"}
    history = LossHistory.from_events(frame, confirm_unit_jumps=["A"], **named)
    with pytest.raises(ModelError, match=r"at the end of 2015, when 6 periods .*'late'.*let first be later than 2016"):
        rolling_forecasts(history, JointLossModel(), first="2016", n=100)
