"""Zero inflation and covariates, against statsmodels, closed forms and brute force; and inside the joint model."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.discrete.count_model import ZeroInflatedNegativeBinomialP, ZeroInflatedPoisson

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.models import JointLossModel, compare, severity
from calibrate.models.frequency import LogLinear, NegativeBinomial, Poisson, SharedShock, ZeroInflated
from calibrate.models.frequency.zero_inflated import _Idle


def inflated(rng, n, idle, size, columns=None):
    shape = n if columns is None else (n, columns)
    exposure = np.exp(rng.normal(0, 0.5, shape))
    shock = rng.gamma(size, 1 / size, shape) if np.isfinite(size) else 1.0
    return rng.poisson(2 * exposure * shock) * (rng.random(shape) >= idle) * 1.0, exposure


@pytest.mark.parametrize(("size", "base"), [(np.inf, Poisson()), (1.5, NegativeBinomial())])
@pytest.mark.parametrize("n", [200, 2000])
def test_zero_inflation_against_statsmodels(n, size, base):
    counts, exposure = inflated(np.random.default_rng(n), n, 0.4, size)
    model = ZeroInflated(base).fit(counts, exposure=exposure)
    reference = ZeroInflatedPoisson if np.isinf(size) else ZeroInflatedNegativeBinomialP
    one = np.ones((n, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = reference(counts, one, exog_infl=one, exposure=exposure, inflation="logit")
        theirs = problem.fit(method="bfgs", maxiter=5000, gtol=1e-9, disp=False)
    assert model.idle_probability_ == pytest.approx(1 / (1 + np.exp(-theirs.params[0])), rel=1e-5)
    assert model.base_.rate_[0] == pytest.approx(np.exp(theirs.params[1]), rel=1e-5)
    if np.isfinite(size):
        assert model.size_ == pytest.approx(1 / theirs.params[2], rel=1e-4)
    assert model.log_likelihood_ == pytest.approx(theirs.llf, abs=1e-6)
    assert model.log_likelihood_ >= theirs.llf - 1e-9
    assert model.gain_ > 0


def test_zero_inflated_law_by_hand():
    counts, exposure = inflated(np.random.default_rng(1), 400, 0.3, 2.0)
    model = ZeroInflated().fit(counts, exposure=exposure)
    z, m, k = model.idle_probability_, model.base_.rate_[0] * 3.0, model.size_
    n = np.arange(400)
    p = (1 - z) * stats.nbinom(k, k / (k + m)).pmf(n)
    p[0] += z
    assert model.mean(3.0)[0] == pytest.approx(p @ n, rel=1e-9)
    assert model.variance(3.0)[0] == pytest.approx(p @ n**2 - (p @ n) ** 2, rel=1e-9)
    assert model.zero_probability(3.0)[0] == pytest.approx(p[0], rel=1e-12)
    levels = np.array([[0.05], [0.4], [0.9], [0.999]])
    np.testing.assert_array_equal(model.ppf(levels, 3.0)[:, 0], np.searchsorted(np.cumsum(p), levels[:, 0]))
    drawn = model.sample(3.0, 1, 50_000)[:, 0]
    seen = np.bincount(drawn.astype(int), minlength=400)[:400] / 50_000
    np.testing.assert_allclose(seen, p, atol=0.008)
    rng, mean = np.random.default_rng(2), model.mean(3.0)[0]
    chance = model.largest(rng.random(50_000) * (1 - p[0]), mean)
    count = 1 + rng.poisson(model.others(chance, mean, rng))
    positive = np.bincount(count, minlength=400)[1:400] / 50_000
    np.testing.assert_allclose(positive, p[1:] / (1 - p[0]), atol=0.008)


def test_without_excess_zeros_nothing_is_idle():
    counts = np.random.default_rng(3).poisson(4.0, (60, 3)) * 1.0 + 1
    model, plain = ZeroInflated().fit(counts), NegativeBinomial().fit(counts)
    assert model.idle_probability_ == 0.0 == model.gain_
    np.testing.assert_allclose(model.mean(), plain.mean())
    assert model.log_likelihood_ == pytest.approx(plain.log_likelihood_)


def test_columns_borrow_from_each_other_when_some_are_idle():
    counts, exposure = inflated(np.random.default_rng(4), 120, 0.5, np.inf, 8)
    model = ZeroInflated(Poisson()).fit(counts, exposure=exposure)
    assert model.idle_probability_ == pytest.approx(0.5, abs=0.06)
    np.testing.assert_allclose(model.base_.rate_, 2.0, rtol=0.15)
    assert model.means_.sum() == pytest.approx(counts.sum(), rel=0.03)


@pytest.mark.parametrize("seed", [pytest.param(k, marks=pytest.mark.slow if k == 3 else ()) for k in range(12)])
def test_the_idle_probability_has_settled(seed):
    """At the fixed point the mean chance of being idle, given the counts, is the idle probability itself."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1.2, 1.0, (30, 4))) * (rng.random((30, 4)) < rng.uniform(0.5, 1)) * 1.0
    model = ZeroInflated().fit(counts)
    z, m, k = model.idle_probability_, model.base_.means_, model.size_
    none = np.exp(-m) if np.isinf(k) else stats.nbinom(k, k / (k + m)).pmf(0)
    idle = np.where(counts == 0, z / (z + (1 - z) * none), 0.0)
    if z > 0:
        assert idle.mean() == pytest.approx(z, abs=1e-6)
    assert model.log_likelihood_ >= NegativeBinomial().fit(counts).log_likelihood_ - 1e-9


def test_near_the_fixed_point_the_last_steps_say_together_where_it_is(monkeypatch):
    """Idle and quiet periods are hardly told apart here: leaps along one change take more than 300 steps."""
    rng, steps, step = np.random.default_rng(4), [], _Idle._step
    counts = np.where(rng.random((72, 10)) < 0.2, 0, rng.poisson(0.4 * rng.gamma(1.3, 1 / 1.3, (72, 10))))
    monkeypatch.setattr(_Idle, "_step", lambda self, values: steps.append(values) or step(self, values))
    model = ZeroInflated().fit(counts)
    assert model.idle_probability_ > 0.4
    assert len(steps) < 200


def test_one_shock_for_all_cannot_be_idle_for_one():
    with pytest.raises(
        ModelError, match="SharedShock hits all columns together, so no single one is idle; use Poisson"
    ):
        ZeroInflated(SharedShock()).fit([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])


def explained(rng, n=400, size=np.inf):
    table = pd.DataFrame({"volatility": rng.normal(5, 2, n), "crash": (rng.random(n) < 0.3) * 1.0})
    exposure = np.exp(rng.normal(0, 0.5, n))
    mean = 0.5 * exposure * np.exp(0.2 * table["volatility"] - 0.5 * table["crash"]).to_numpy()
    return table, exposure, rng.poisson(mean * (rng.gamma(size, 1 / size, n) if np.isfinite(size) else 1)) * 1.0


@pytest.mark.parametrize("size", [np.inf, 1.5])
def test_regression_against_statsmodels(size):
    table, exposure, counts = explained(np.random.default_rng(5), size=size)
    model = LogLinear(table, Poisson() if np.isinf(size) else None).fit(counts, exposure=exposure)
    family = sm.families.Poisson() if np.isinf(size) else sm.families.NegativeBinomial(alpha=1 / model.size_)
    theirs = sm.GLM(counts, sm.add_constant(table), family=family, offset=np.log(exposure)).fit(tol=1e-14)
    np.testing.assert_allclose(model.coefficients_, theirs.params.iloc[1:], rtol=1e-7)
    np.testing.assert_allclose(model.standard_errors_, theirs.bse.iloc[1:], rtol=1e-6)
    assert model.log_likelihood_ == pytest.approx(theirs.llf, rel=1e-10)
    ahead = theirs.params.iloc[0] + table.iloc[-1] @ theirs.params.iloc[1:]
    assert model.mean(2.0)[0] == pytest.approx(2 * np.exp(ahead), rel=1e-7)
    if np.isfinite(size):
        full = sm.NegativeBinomial(counts, sm.add_constant(table), exposure=exposure).fit(disp=False, maxiter=500)
        assert model.size_ == pytest.approx(1 / full.params.iloc[-1], rel=1e-3)
        assert model.log_likelihood_ >= full.llf - 1e-6


def test_the_row_after_the_last_is_the_period_ahead():
    table, exposure, counts = explained(np.random.default_rng(6))
    short = LogLinear(table).fit(counts[:399], exposure=exposure[:399])
    by_hand = np.exp(table.iloc[399] @ short.coefficients_ - table.iloc[398] @ short.coefficients_)
    same = LogLinear(table.iloc[:399]).fit(counts[:399], exposure=exposure[:399])
    assert short.mean()[0] / same.mean()[0] == pytest.approx(by_hand, rel=1e-9)


QUARTERS = pd.period_range("2010Q1", periods=41, freq="Q")


def followed():
    """Events that follow a covariate by quarter, none in the first; the covariate."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"x": np.r_[-4.0, rng.normal(size=40)]}, index=QUARTERS)
    k = np.repeat(np.arange(1, 40), rng.poisson(4 * np.exp(0.8 * x["x"].to_numpy()[1:40])))
    frame = pd.DataFrame({"date": QUARTERS[k].to_timestamp(), "member": rng.choice(["A", "B"], k.size), "loss": 1.0})
    frame["id"] = np.arange(k.size)
    return x, LossHistory.from_events(frame, date="date", member="member", loss="loss", period="Q", end="2019Q4")


def coefficient(covariates, history):
    return JointLossModel(severity=severity.Empirical(), frequency=LogLinear(covariates)).fit(history)


def test_covariates_stand_beside_their_periods():
    x, history = followed()
    assert len(history.periods) == 39
    placed = coefficient(x.to_numpy()[1:], history)
    expected = placed.summary_["frequency"]
    assert placed.frequencies_["all"].coefficients_.iloc[0] == pytest.approx(0.8, abs=0.2)
    months = x.loc[QUARTERS.repeat(3)].set_axis(pd.period_range("2010-01", periods=123, freq="M"))
    for labelled in (
        x.iloc[::-1],
        x["x"],
        x.set_axis(QUARTERS.to_timestamp()),
        x.set_axis(QUARTERS.to_timestamp().tz_localize("Asia/Tokyo")),
        x.set_axis(QUARTERS.astype(str)),
        x.assign(x=x["x"].where(x.index > QUARTERS[0])),  # what is not needed may be missing
        months + np.tile([[0.1], [0.0], [-0.1]], (41, 1)),
    ):
        model = coefficient(labelled, history)
        np.testing.assert_allclose(model.summary_["frequency"], expected, rtol=1e-9)
    compared = compare(model, history).loc["frequency"]
    own = compared[compared["chosen"]]
    assert own["log_likelihood"].iloc[0] == pytest.approx(model.frequencies_["all"].log_likelihood_)


def test_covariates_whose_periods_are_missing_are_refused():
    x, history = followed()
    for kept, absent in ((x.iloc[2:], "2010Q2"), (x.iloc[:-2], "2019Q4"), (x.drop(QUARTERS[7]), "2011Q4")):
        with pytest.raises(
            DataError, match=f"covariates: no entry for period {absent}; expected entries for all of 2010Q2"
        ):
            coefficient(kept, history)
    last = x.assign(x=x["x"].where(x.index != x.index[-1], x["x"].iloc[-2]))
    assert coefficient(x.iloc[:-1], history).summary_.equals(
        coefficient(last, history).summary_
    )  # it stands for the next
    with pytest.raises(DataError, match=r"covariates have shape \(41, 1\), expected a row for each of 39 periods"):
        coefficient(x.reset_index(drop=True), history)
    with pytest.raises(DataError, match="covariates: row 2012Q1, column 0, covariate 0 is no finite number"):
        coefficient(x.assign(x=x["x"].where(x.index != QUARTERS[8])), history)
    with pytest.raises(DataError, match="row 2010Q3 occurs more than once"):
        coefficient(x.iloc[[*range(41), 2]], history)
    with pytest.raises(DataError, match="covariates: row 'q0'"):
        coefficient(x.set_axis([f"q{k}" for k in range(41)]), history)
    with pytest.raises(DataError, match="covariates must be numbers: could not convert string to float"):
        coefficient(x.assign(x="busy"), history)


def test_labelled_counts_find_their_covariates():
    table, _, counts = explained(np.random.default_rng(6), 41)
    placed, labelled = LogLinear(table).fit(counts[:40]), table.set_axis(QUARTERS)
    framed = pd.DataFrame({"A": counts[:40]}, QUARTERS[:40])
    for model in (LogLinear(labelled).fit(counts[:40]), LogLinear(labelled).fit(framed.iloc[::-1])):
        np.testing.assert_allclose(model.mean(), placed.mean(), rtol=1e-12)


def test_covariates_of_each_member():
    rng = np.random.default_rng(7)
    x = rng.normal(0, 1, (150, 6, 1))
    counts = rng.poisson(np.exp(0.6 * x[:, :, 0])) * 1.0
    model = LogLinear(x).fit(counts)
    assert model.coefficients_.iloc[0] == pytest.approx(0.6, abs=3 * model.standard_errors_.iloc[0])
    np.testing.assert_allclose(
        model.mean(), model.base_.rate_ * np.exp(model.coefficients_[0] * (x[-1, :, 0] - x.mean()))
    )


def test_covariates_that_are_none():
    counts = [1.0, 0.0, 2.0, 1.0]
    with pytest.raises(
        DataError, match=r"covariates have shape \(3, 1\), expected a row for each of 4 periods, .*: \(4 or 5, cov"
    ):
        LogLinear(np.ones((3, 1))).fit(counts)
    with pytest.raises(DataError, match=r"covariates have shape \(6, 1\), expected a row for each of 4 periods"):
        LogLinear(np.ones((6, 1))).fit(counts)
    with pytest.raises(DataError, match="covariates: row 2, column 0, covariate 0 is no finite number"):
        LogLinear([[1.0], [2.0], [np.nan], [1.0]]).fit(counts)
    table = pd.DataFrame({"crash": np.tile([0.0, 1.0], 20)})
    with pytest.raises(ModelError, match="covariate 'crash': no finite coefficient fits; it, or a sum"):
        LogLinear(table).fit(table["crash"].to_numpy() * 3)


def test_a_covariate_that_never_moves_says_nothing():
    model = LogLinear(np.ones((40, 1))).fit(np.tile([0.0, 2.0], 20))
    assert model.coefficients_.iloc[0] == 0.0


@pytest.mark.parametrize(
    "family", [ZeroInflated(), LogLinear(np.linspace(0, 1, 61)[:, None])], ids=["idle", "regression"]
)
def test_inside_the_joint_model(family):
    rng = np.random.default_rng(8)
    months = pd.period_range("2019-01", periods=60, freq="M")
    t, i = np.nonzero(rng.random((60, 6)) < np.where(rng.random((60, 6)) < 0.4, 0.0, 0.6))
    frame = pd.DataFrame({"date": months[t].to_timestamp(), "member": [f"M{k}" for k in i], "id": range(t.size)})
    frame["loss"] = np.exp(rng.normal(0, 1, t.size))
    names = {"date": "date", "member": "member", "loss": "loss"}
    history = LossHistory.from_events(frame, **names, start="2019-01", end="2023-12")
    model = JointLossModel(severity=severity.LogNormal(), frequency=family).fit(history)
    drawn = model.sample(40_000, 1).losses
    np.testing.assert_allclose((drawn == 0).mean(axis=0), model.summary_["zero_probability"], atol=0.012)
    error = 5 * drawn.std(axis=0) / np.sqrt(40_000)
    assert np.all(np.abs(drawn.mean(axis=0) - model.summary_["expected_loss"]) < error)
