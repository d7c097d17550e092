"""Every choice beside those that lost: the scores are those of scipy, and the winner can be seen to win."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory, models
from calibrate.errors import ModelError
from calibrate.models.frequency import Hawkes

MONTHS = pd.period_range("2020-01", periods=48, freq="M")


def history(seed=1, rate=4.0, clustered=0.0):
    """One member's lognormal losses on random days; a month's rate is gamma distributed if clustered."""
    rng = np.random.default_rng(seed)
    rates = rate * (rng.gamma(1 / clustered, clustered, len(MONTHS)) if clustered else np.ones(len(MONTHS)))
    rows = [
        {
            "date": month.start_time + pd.Timedelta(days=int(day)),
            "member": member,
            "loss": float(np.exp(rng.normal(10, 1))),
        }
        for month, mean in zip(MONTHS, rates, strict=True)
        for member in "AB"
        for day in rng.integers(0, 28, rng.poisson(mean))
    ]
    return LossHistory.from_events(
        pd.DataFrame(rows), date="date", member="member", loss="loss", start="2020-01", end="2023-12"
    )


def test_scores_are_those_of_scipy():
    seen = history()
    model = JointLossModel(severity=models.severity.LogNormal(), frequency=models.frequency.Poisson()).fit(seen)
    table = models.compare(model, seen)
    when = seen.events["date"].dt.tz_localize(None).dt.to_period("M")
    counts = pd.crosstab(when, seen.events["member"]).reindex(MONTHS, fill_value=0)
    poisson = table.loc[("frequency", "all", "Poisson()")]
    rates = model.margins_.segments[0].frequency.rate_
    assert poisson["log_likelihood"] == pytest.approx(stats.poisson(rates).logpmf(counts).sum())
    assert poisson["aic"] == pytest.approx(2 * 2 - 2 * poisson["log_likelihood"])
    assert poisson["chosen"]
    scale = model.margins_.segments[0].sizes.relative[(seen.events["member"] == "B").to_numpy().astype(int)]
    x = np.log(seen.events["loss"] / scale)
    law = stats.norm(x.mean(), x.std(ddof=0))
    assert table.loc[("severity", "all", "LogNormal()"), "aic"] == pytest.approx(4 - 2 * (law.logpdf(x) - x).sum())
    days = (pd.Timestamp("2024-01-01") - pd.Timestamp("2020-01-01")).days
    n = len(seen.events)
    constant = table.loc[("clustering", "all", "constant rate")]
    assert constant["log_likelihood"] == pytest.approx(n * np.log(n / days) - n)
    assert constant["p_value"] > 0.01
    assert set(table.index.get_level_values("part")) == {"frequency", "clustering", "severity", "dependence"}
    assert table.loc["frequency"].chosen.sum() == table.loc["severity"].chosen.sum() == 1


def test_clusters_are_seen_and_the_losers_keep_their_scores():
    seen = history(clustered=2.0)
    model = JointLossModel().fit(seen)
    table = models.compare(model, seen)
    frequency = table.xs(("frequency", "all"))
    best = frequency["aic"].idxmin()
    assert frequency.loc["Poisson()", "aic"] > frequency.loc[best, "aic"] + 50
    assert frequency["aic"].notna().all()
    clustering = table.xs(("clustering", "all"))
    assert clustering.loc["Hawkes", "aic"] < clustering.loc["constant rate", "aic"] - 50
    assert clustering.loc["constant rate", "p_value"] < 0.01
    assert "an event brings" in clustering.loc["Hawkes", "note"]


@pytest.mark.slow
def test_a_coefficient_that_was_not_kept_is_no_parameter():
    seen = history(seed=4)
    table = models.compare(JointLossModel().fit(seen), seen).loc["frequency"].loc["all"]
    plain, trend = table.loc["NegativeBinomial()"], table.loc["Trend(base=NegativeBinomial())"]
    assert trend["note"].startswith("coefficient not kept (5 % test)")
    assert (trend["parameters"], trend["aic"]) == (plain["parameters"], plain["aic"])
    late = seen.events[seen.events["date"].dt.year > 2021]
    rising = LossHistory.from_events(late, date="date", member="member", loss="loss", start="2020-01", end="2023-12")
    table = models.compare(JointLossModel().fit(rising), rising).loc["frequency"].loc["all"]
    trend = table.loc["Trend(base=NegativeBinomial())"]
    assert not trend["note"].startswith("coefficient not kept")
    assert trend["parameters"] == table.loc["NegativeBinomial()", "parameters"] + 1


@pytest.mark.slow
def test_a_family_of_one_s_own_is_added_and_marked():
    seen = history()
    law = models.severity.Spliced(tail=models.severity.GeneralizedPareto(models.severity.QuantileThreshold(0.7)))
    table = models.compare(JointLossModel(severity=law).fit(seen), seen)
    severity = table.xs(("severity", "all"))
    assert list(severity.index[severity.chosen]) == [repr(law)]
    assert len(severity) == 6


def test_what_cannot_be_fitted_says_why():
    few = history().until("2020-02-29")
    table = models.compare(JointLossModel(severity=models.severity.LogNormal()).fit(few), few)
    assert "at least 20 are needed to tell clustering from chance" in table.loc[("clustering", "all", "Hawkes"), "note"]
    assert "are needed to say anything about a tail" in table.loc[("severity", "all", "Spliced()"), "note"]


@pytest.mark.slow
def test_many_events_are_looked_at_from_the_end(monkeypatch):
    seen = history()
    model = JointLossModel(severity=models.severity.LogNormal()).fit(seen)
    monkeypatch.setitem(models.compare.__globals__, "LATEST", 60)
    row = models.compare(model, seen).loc[("clustering", "all", "constant rate")]
    days = seen.events["date"].dt.tz_localize(None).sort_values()
    start = days.iloc[-60].to_period("M").start_time  # the whole period of the sixtieth
    n = int((days >= start).sum())
    assert 60 <= n < 60 + (days.dt.to_period("M") == start.to_period("M")).sum()
    rate = n / (pd.Timestamp("2024-01-01") - start).days
    assert row["log_likelihood"] == pytest.approx(n * np.log(rate) - n)
    assert f"(of the latest {n} events)" in models.compare(model, seen).loc[("clustering", "all", "Hawkes"), "note"]


def test_a_panel_compares_its_dependence_only():
    rng = np.random.default_rng(3)
    common = rng.standard_normal((60, 1))
    panel = pd.DataFrame(
        np.exp(0.9 * common + 0.3 * rng.standard_normal((60, 3))),
        index=MONTHS[:1].append(pd.period_range("2020-02", periods=59, freq="M")),
        columns=list("ABC"),
    )
    seen = LossHistory.from_panel(panel)
    model = JointLossModel().fit(seen)
    table = models.compare(model, seen)
    assert list(table.index.get_level_values("candidate")) == ["Independent()", "Gaussian()", "StudentT()"]
    score = table["log_likelihood"].to_numpy()
    assert abs(score[0]) < 0.1  # the density of independent uniforms is one
    assert (score[1:] > 50).all()
    fixed = models.dependence.StudentT(degrees_of_freedom=4.0)
    table = models.compare(JointLossModel(dependence=fixed).fit(seen), seen)
    assert table["chosen"].tolist() == [False, False, False, True]
    assert table["note"].iloc[-1] == "has no likelihood of pairs to compare"
    with pytest.raises(ModelError, match="fitted to a panel, the history has events"):
        models.compare(model, history())


@pytest.mark.slow
def test_growth_of_exposure_is_no_clustering_and_what_was_fitted_is_shown():
    """Independent events in proportion to an exposure that grows by a fifth a year."""
    rng = np.random.default_rng(8)
    exposures = pd.DataFrame({"A": 1.2 ** np.arange(20)}, index=range(2000, 2020))
    counts = rng.poisson(3.0 * exposures["A"])
    years = np.repeat(exposures.index, counts)
    dates = pd.to_datetime(years.astype(str)) + pd.to_timedelta(rng.integers(0, 365, years.size), unit="D")
    frame = pd.DataFrame(
        {"date": dates, "member": "A", "loss": rng.lognormal(0, 1, years.size), "id": range(years.size)}
    )
    named = {"date": "date", "member": "member", "loss": "loss", "period": "Y", "start": 2000, "end": 2019}
    seen = LossHistory.from_events(frame, exposures=exposures, **named)
    model = JointLossModel(frequency=Hawkes(resolution=1.0)).fit(seen)
    for used in (model, JointLossModel().fit(seen)):
        table = models.compare(used, seen).loc["clustering"].loc["all"]
        gain = table["log_likelihood"]["Hawkes"] - table["log_likelihood"]["constant rate"]
        assert 0 <= gain < 4
        assert (table["p_value"] > 0.01).all()
    process = model.frequencies_["all"].process_
    chosen = models.compare(model, seen).loc["clustering"].loc["all"].loc["Hawkes"]
    assert chosen["chosen"]
    assert chosen["log_likelihood"] == process.log_likelihood_
    assert f"an event brings {process.branching_ratio_:.2f} more" in chosen["note"]
