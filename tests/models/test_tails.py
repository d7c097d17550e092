"""What is said of a tail: shape, interval, cap, and what to mind."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory, models
from calibrate.models import severity
from calibrate.models.tails import dependence_summary, without_variance

MONTHS = pd.period_range("2020-01", periods=50, freq="M")
TAIL = models.severity.GeneralizedPareto(models.severity.QuantileThreshold(0.5))
LAW = models.severity.Spliced(tail=TAIL)


def history(shape, n=400):
    """Two members, losses that are quantiles of a generalized Pareto law of the shape above 1."""
    x = 1 + stats.genpareto(shape, scale=shape).ppf((np.arange(n) + 0.5) / n)
    dates = [MONTHS[k % 50].start_time + pd.Timedelta(days=k % 28) for k in range(n)]
    frame = pd.DataFrame(
        {"date": dates, "member": ["A", "B"] * (n // 2), "loss": np.random.default_rng(1).permutation(x)}
    )
    exposures = pd.DataFrame({"A": 5e3, "B": 2e4}, index=MONTHS)
    return LossHistory.from_events(frame, date="date", member="member", loss="loss", exposures=exposures)


def test_shape_interval_and_cap_by_member():
    seen = history(1.3)
    model = JointLossModel(
        severity=LAW, exposure_cap=0.1, coverage=models.Coverage(retention={"A": 0.0, "B": 10.0}, limit=900.0)
    ).fit(seen)
    table = models.tail_table(model)
    law = model.margins_.segments[0].sizes.law
    interval = law.tail_.shape_interval()
    for member, cap, by in (("A", 500.0, "exposure"), ("B", 910.0, "limit of the cover")):
        row = table.loc[(member, "all")]
        assert (row["shape"], row["lower"], row["upper"]) == tuple(interval)[:3]
        assert row["shape"] == pytest.approx(1.3, abs=0.15)
        assert (row["cap"], row["cap_by"], row["exceedances"]) == (cap, by, 200)
        assert not row["has_mean"]
        assert row["mind"] == "no mean without the cap: expected loss and risk rest on it"


@pytest.mark.parametrize(
    ("shape", "mind"),
    [(0.92, "near 1: a sample's mean is too low"), (0.7, "a shape of 1, from which"), (0.2, "")],
)
def test_what_to_mind_grows_with_the_shape(shape, mind):
    row = models.tail_table(JointLossModel(severity=LAW).fit(history(shape, n=140))).iloc[0]
    assert row["has_mean"]
    assert row["mind"].startswith(mind) and bool(row["mind"]) == bool(mind)
    assert row["cap"] == np.inf and row["cap_by"] == ""


def test_families_without_a_pareto_tail():
    seen = history(0.4)
    burr = JointLossModel(severity=models.severity.Burr()).fit(seen)
    row = models.tail_table(burr).iloc[0]
    assert row["shape"] == burr.margins_.segments[0].sizes.law.shape_
    assert np.isnan(row["upper"])
    best = models.severity.BestOf([models.severity.LogNormal(), models.severity.Gamma()])
    row = models.tail_table(JointLossModel(severity=best).fit(seen)).iloc[0]
    assert row["family"] in ("LogNormal", "Gamma")
    assert np.isnan(row["shape"]) and row["mind"] == ""


def test_a_panel_has_no_events():
    panel = LossHistory.from_panel(pd.DataFrame({"A": [1.0, 2.0, 3.0], "B": [2.0, 1.0, 2.0]}, index=[2020, 2021, 2022]))
    assert models.tail_table(JointLossModel().fit(panel)).empty


def test_dependence_in_a_few_numbers():
    """Tail dependence of Demarta and McNeil 2005, equation 2.2, at the fitted correlation and degrees of freedom."""
    rng = np.random.default_rng(2)
    common = rng.standard_t(4, size=(50, 1))
    losses = pd.DataFrame(np.exp(0.5 * (common + rng.standard_normal((50, 3)))), index=MONTHS, columns=list("ABC"))
    model = JointLossModel().fit(LossHistory.from_panel(losses))
    found = dependence_summary(model)
    v = model.dependence_.degrees_of_freedom_
    rho = found["highest_correlation"]
    assert rho == pytest.approx(np.sort(model.correlation_.to_numpy(), axis=None)[-4])
    expected = 2 * stats.t(v + 1).cdf(-np.sqrt((v + 1) * (1 - rho) / (1 + rho)))
    assert found["highest_tail"] == pytest.approx(expected, rel=1e-6)
    assert found["family"] == "StudentT"
    assert set(found["pair"]) < set("ABC") and found["lowest_tail"] <= found["highest_tail"]
    alone = LossHistory.from_panel(losses[["A"]])
    assert dependence_summary(JointLossModel().fit(alone)) == {}


def test_losses_without_variance_are_told_whatever_the_sample_shows():
    heavy, light = history(0.7), history(0.2)
    model = JointLossModel(severity=LAW).fit(heavy)
    told = without_variance(model)
    assert [flag for flag in model.flags_ if told in flag] == [flag for flag in model.flags_ if "no variance" in flag]
    assert sum(flag.startswith(told) for flag in model.flags_) == 1
    assert (
        told.startswith("by ") and "of 32 models that the history allows, losses without cap have a tail index" in told
    )
    assert int(told.split()[1]) > 16
    known = JointLossModel(severity=LAW, frequency=models.frequency.ZeroInflated()).fit(heavy)
    index = known.margins_.segments[0].sizes.law.tail_.shape_
    assert without_variance(known) == f"losses without cap have a tail index of up to {index:.2f}, so no variance"
    assert without_variance(JointLossModel(severity=LAW).fit(light)) == ""
    capped = JointLossModel(severity=LAW, exposure_cap=0.1).fit(heavy)
    assert without_variance(capped) == ""
    assert not any("no variance" in flag for flag in capped.flags_)
    assert without_variance(JointLossModel(severity=LAW, coverage=models.Coverage(limit=900.0)).fit(heavy)) == ""
    one_without = models.Coverage(limit={"A": 900.0, "B": np.inf})
    assert without_variance(JointLossModel(severity=LAW, coverage=one_without).fit(heavy)) == told


def test_a_burr_tail_has_the_index_of_its_formula():
    burr, closed = models.severity.Burr(), models.frequency.ZeroInflated()
    fitted = JointLossModel(severity=burr, frequency=closed).fit(history(0.7))
    law = fitted.margins_.segments[0].sizes.law
    assert f"up to {1 / (law.alpha_ * law.gamma_):.2f}," in without_variance(fitted)


def test_a_wide_lognormal_has_a_variance():
    """Its quantiles at 1e-9 and 1e-12 have the slope of a tail without one, from a deviation of 3.4 on."""
    rng = np.random.default_rng(8)
    dates = pd.date_range("2020-01-01", periods=300, freq="4D")
    frame = pd.DataFrame({"date": dates, "member": ["A", "B"] * 150, "loss": np.exp(4.0 * rng.normal(size=300))})
    events = LossHistory.from_events(frame, date="date", member="member", loss="loss")
    model = JointLossModel(severity=severity.LogNormal()).fit(events)
    assert not without_variance(model)
    assert not any("no variance" in flag for flag in model.flags_)
