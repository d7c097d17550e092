"""The joint model against brute force, closed forms and known truths, on panels and on events."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.models import (
    Coverage,
    EmpiricalRatio,
    GammaRatio,
    JointLossModel,
    dependence,
    frequency,
    pool_level,
    sampling,
    severity,
)
from calibrate.models.process import OrderedMargins
from calibrate.models.shocks import SharedShocks
from calibrate.models.sizes import Seen

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def make_panel(rng, members=46, periods=10):
    exposure = pd.Series(np.exp(rng.normal(9, 1.3, members)), [f"M{i}" for i in range(members)])
    shock = rng.normal(size=(periods, 1))
    logs = -0.35 + 0.1 * rng.normal(size=members) + 0.2 * (0.6 * shock + 0.8 * rng.normal(size=(periods, members)))
    losses = pd.DataFrame(np.exp(logs) * exposure.to_numpy(), index=range(1988, 1988 + periods), columns=exposure.index)
    return LossHistory.from_panel(losses, exposures=exposure)


def make_events(rng, months=72, members=10, rates=(0.03, 0.15), tail=0.4):
    """Common gamma shocks by segment and month, Pareto losses; the last member is small and silent."""
    exposure = pd.Series(np.exp(rng.normal(0, 0.8, members)), [f"D{i}" for i in range(members)])
    exposure.iloc[-1] = 1e-4
    rows = []
    for g, rate in enumerate(rates):
        shock = rng.gamma(0.8, 1 / 0.8, months)
        counts = rng.poisson(rate * exposure.to_numpy() * shock[:, None])
        for t, i in zip(*np.nonzero(counts), strict=True):
            for k in range(counts[t, i]):
                loss = 1e5 * stats.genpareto(tail, scale=1 + g).rvs(random_state=rng)
                rows.append(
                    (
                        pd.Timestamp("2019-01-01") + pd.DateOffset(months=int(t)),
                        exposure.index[i],
                        f"S{g}",
                        loss,
                        len(rows) + k,
                    )
                )
    frame = pd.DataFrame(rows, columns=["date", "member", "segment", "loss", "id"])
    names = {"date": "date", "member": "member", "segment": "segment", "loss": "loss"}
    return LossHistory.from_events(frame, **names, exposures=exposure, start="2019-01", end="2024-12")


EVENTS = make_events(np.random.default_rng(0))
PANEL = make_panel(np.random.default_rng(1))


def test_a_panel_gives_scenarios_of_all_members():
    model = JointLossModel().fit(PANEL)
    pool = model.sample(20_000, 1)
    assert pool.members == PANEL.members
    assert pool.segments == ("all",)
    error = 4 * pool.losses.std(axis=0) / np.sqrt(20_000)
    assert np.all(np.abs(pool.losses.mean(axis=0) - model.summary_["expected_loss"]) < error)
    ratio = pool.losses.sum(axis=1) / PANEL.exposures.iloc[-1].sum()
    seen = PANEL.losses.sum(axis=1) / PANEL.exposures.sum(axis=1)
    assert ratio.mean() == pytest.approx(seen.mean(), abs=3 * seen.std() / np.sqrt(10))
    assert 0.5 < ratio.std() / seen.std() < 2


@pytest.mark.parametrize("ratio", [GammaRatio(), EmpiricalRatio()])
def test_other_ratio_models(ratio):
    model = JointLossModel(ratio=ratio).fit(PANEL)
    drawn = model.sample(20_000, 1).losses
    error = 4.5 * drawn.std(axis=0) / np.sqrt(20_000)
    assert np.all(np.abs(drawn.mean(axis=0) - model.summary_["expected_loss"]) < error)


def test_margins_of_a_panel_are_those_of_the_ratio_model_around_the_level():
    model = JointLossModel(pool_level=pool_level.KnownLevel()).fit(PANEL)
    drawn = model.sample(40_000, 3).losses[:, 5]
    row = model.summary_.iloc[5]
    law = stats.lognorm(row["log_deviation"], scale=row["exposure"] * np.exp(row["log_mean"]))
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-3


def test_sampled_ranks_have_the_fitted_correlation():
    model = JointLossModel(dependence=dependence.Gaussian(), pool_level=pool_level.KnownLevel()).fit(PANEL)
    drawn = stats.norm.ppf(stats.rankdata(model.sample(30_000, 4).losses, axis=0) / 30_001)
    np.testing.assert_allclose(np.corrcoef(drawn.T), model.correlation_, atol=0.03)
    assert model.correlation_.to_numpy()[np.triu_indices(46, 1)].mean() > 0.1


def test_tail_dependence_is_shown_by_column():
    model = JointLossModel(dependence=dependence.StudentT(4.0)).fit(PANEL)
    rho = model.correlation_.loc["M0", "M1"]
    exact = 2 * stats.t(5).cdf(-np.sqrt(5 * (1 - rho) / (1 + rho)))
    assert model.tail_dependence_.loc["M0", "M1"] == pytest.approx(exact, rel=1e-9)
    none = JointLossModel(dependence=dependence.Gaussian()).fit(PANEL).tail_dependence_
    assert none.to_numpy().sum() == len(none)


def test_events_give_the_compound_law():
    """Probability of no loss, mean and distribution of one column against a loop of plain numpy."""
    model = JointLossModel(severity=severity.LogNormal(), frequency=frequency.NegativeBinomial()).fit(EVENTS)
    pool = model.sample(60_000, 1)
    column = EVENTS.members.index("D3") * 2 + 1
    row = model.summary_.iloc[column]
    drawn = pool.losses[:, column]
    law = model.margins_.segments[1].sizes.law
    assert (drawn == 0).mean() == pytest.approx(row["zero_probability"], abs=4 * np.sqrt(0.25 / 60_000))
    rng = np.random.default_rng(5)
    k = row["frequency_size"]
    counts = rng.poisson(row["frequency"] * (rng.gamma(k, 1 / k, 60_000) if np.isfinite(k) else 1.0))
    x = np.exp(rng.normal(np.log(law.scale_), law.shape_, counts.sum())) * row["severity_scale"]
    brute = np.bincount(np.repeat(np.arange(60_000), counts), x, 60_000)
    assert stats.ks_2samp(drawn[drawn > 0], brute[brute > 0]).pvalue > 1e-3
    assert np.abs(drawn.mean() - row["expected_loss"]) < 5 * drawn.std() / np.sqrt(60_000)


def test_coverage_applies_to_each_event():
    terms = Coverage(retention=5e4, limit=2e5, coinsurance=0.8)
    model = JointLossModel(severity=severity.LogNormal(), coverage=terms).fit(EVENTS)
    assert model.summary_["mean_payment"].max() < 0.8 * 2e5
    drawn = model.sample(60_000, 2).losses
    error = 5 * drawn.std(axis=0) / np.sqrt(60_000)
    assert np.all(np.abs(drawn.mean(axis=0) - model.summary_["expected_loss"]) <= error + 2.0)  # D9 hardly ever loses
    one = drawn[:, 0]
    assert one[one > 0].min() > 0
    full = JointLossModel(severity=severity.LogNormal()).fit(EVENTS).summary_
    assert (model.summary_["expected_loss"] < full["expected_loss"]).all()


def test_coverage_by_member():
    by_member = dict.fromkeys(EVENTS.members, 0.0) | {"D0": 1e12}
    model = JointLossModel(severity=severity.LogNormal(), coverage=Coverage(retention=by_member)).fit(EVENTS)
    drawn = model.sample(5_000, 2).to_frame()
    assert (drawn["D0"] == 0).all().all()
    assert drawn["D1"].to_numpy().max() > 0
    with pytest.raises(DataError, match="no retention for member 'D0'"):
        JointLossModel(coverage=Coverage(retention={"D1": 5.0})).fit(EVENTS)
    with pytest.raises(DataError, match="retention names 'Q', which is no member"):
        JointLossModel(coverage=Coverage(retention=by_member | {"Q": 1.0})).fit(EVENTS)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"retention": -1.0}, "retention is -1.0, expected a number >= 0"),
        ({"limit": 0.0}, "limit is 0.0, expected a number > 0"),
        ({"coinsurance": 1.5}, r"coinsurance is 1.5, expected a number in \(0, 1\]"),
        ({"limit": {"A": float("nan")}}, "coverage, A: limit is nan"),
        ({"limit": None}, "limit is None, expected a number > 0"),
        ({"retention": "5"}, "retention is 5, expected a number >= 0"),
    ],
)
def test_coverage_that_is_none(terms, words):
    with pytest.raises(DataError, match=words):
        Coverage(**terms)


def test_terms_by_member_may_be_a_series():
    by_member = {"A": 1.0, "B": 2.0}
    cover = Coverage(retention=pd.Series(by_member), limit=pd.Series([5, 6], index=["B", "A"]))
    assert cover == Coverage(retention=by_member, limit={"A": 6, "B": 5})
    terms = cover.terms(["B", "A"])
    assert (terms.retention.tolist(), terms.limit.tolist()) == ([2.0, 1.0], [5.0, 6.0])
    with pytest.raises(DataError, match="coverage, B: retention is nan, expected a number >= 0"):
        Coverage(retention=pd.Series([1.0, np.nan], index=["A", "B"]))
    with pytest.raises(DataError, match="coverage: limit names 'A' twice; give one for each member"):
        Coverage(limit=pd.Series([1.0, 2.0], index=["A", "A"]))


def test_coverage_formula_by_hand():
    np.testing.assert_allclose(
        Coverage(10, 50, 0.5).payment(np.array([0.0, 10.0, 30.0, 60.0, 1e9])), [0, 0, 10, 25, 25]
    )


def test_a_cell_without_events_borrows_from_its_segment():
    model = JointLossModel(severity=severity.LogNormal()).fit(EVENTS)
    row = model.summary_.loc[("D9", "S0")]
    assert row["events"] == 0
    assert row["expected_loss"] > 0
    assert row["severity_scale"] == pytest.approx(1.0)
    collective = model.margins_.segments[0].frequency.collective_rate_
    assert row["frequency"] == pytest.approx(collective * row["exposure"], rel=0.2)


def test_members_with_larger_losses_have_a_larger_scale():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=400), "member": ["small", "large"] * 200})
    frame["loss"] = np.exp(rng.normal(0, 1, 400)) * np.where(frame["member"] == "large", 20.0, 1.0)
    few = pd.DataFrame({"date": ["2020-05-05"], "member": ["new"], "loss": [1.0]})
    history = LossHistory.from_events(pd.concat([frame, few]), date="date", member="member", loss="loss")
    table = JointLossModel(severity=severity.LogNormal()).fit(history).summary_
    assert table.loc["large", "severity_scale"] / table.loc["small", "severity_scale"] == pytest.approx(20, rel=0.35)
    assert table.loc["new", "severity_credibility"] < table.loc["small", "severity_credibility"]


def heavy(shape, rng=None):
    rng = np.random.default_rng(7) if rng is None else rng
    loss = 1e4 * stats.genpareto(shape).rvs(600, random_state=rng)
    frame = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=600), "member": list("AB") * 300, "loss": loss})
    return LossHistory.from_events(
        frame.assign(segment="rug"),
        date="date",
        member="member",
        loss="loss",
        segment="segment",
        exposures={"A": 1e7, "B": 2e7},
    )


def test_a_tail_without_a_mean_is_refused_by_segment_shape_and_remedy():
    with pytest.raises(
        ModelError,
        match=r"segment 'rug': the fitted Spliced tail of shape 1\.\d+ is so .*exposure_cap.*limit of the coverage",
    ):
        JointLossModel().fit(heavy(1.6))


@pytest.mark.parametrize("remedy", [{"exposure_cap": 1.0}, {"coverage": Coverage(limit=1e6)}])
def test_a_cap_makes_the_mean_finite_and_is_flagged(remedy):
    model = JointLossModel(**remedy).fit(heavy(1.6))
    assert np.isfinite(model.summary_["expected_loss"]).all()
    assert "rests on the cap" in model.flags_[0]
    drawn = model.sample(20_000, 1).losses
    error = 5 * drawn.std(axis=0) / np.sqrt(20_000)
    assert np.all(np.abs(drawn.mean(axis=0) - model.summary_["expected_loss"]) < error)


def test_a_tail_near_one_is_flagged():
    shapes = JointLossModel().fit(heavy(0.9)).summary_["tail_shape"]
    assert 0.8 < shapes.iloc[0] < 1
    near = JointLossModel().fit(heavy(0.9)).flags_[0]
    assert re.search(r"near 1 \(of \d+ losses; 95 % interval of the shape .*\): sample means are too low", near)


def test_a_thin_segment_is_flagged():
    thin = make_events(np.random.default_rng(2), rates=(0.03, 0.3))
    model = JointLossModel().fit(thin)
    few, many = (model.summary_.xs(name, level="segment") for name in ("S0", "S1"))
    assert few["events"].sum() < 200 < many["events"].sum()
    assert any("segment 'S0'" in flag and "its form is that of all segments" in flag for flag in model.flags_)
    assert np.isfinite(few["tail_shape"]).all()
    hopeless = thin.until("2019-12")
    assert any("LogNormal, which may understate it" in flag for flag in JointLossModel().fit(hopeless).flags_)


@pytest.mark.slow
def test_a_thin_segment_has_a_mean_near_the_true_one_whatever_its_few_losses():
    """The form of all segments at its own level, in the middle of nine histories."""
    found = []
    for seed in range(100, 109):
        thin = make_events(np.random.default_rng(seed), rates=(0.03, 0.3))
        table = JointLossModel(frequency=frequency.Poisson()).fit(thin).summary_.xs("S0", level="segment")
        found.append(np.average(table["mean_payment"], weights=table["frequency"]) / (1e5 / 0.6))
    assert np.median(found) == pytest.approx(1.0, abs=0.15)


def test_members_of_unlike_size_with_few_losses_each_have_their_expected_losses():
    """Twenty members, four losses each, scales a factor of e apart: the estimates of the scales take a part of the
    scatter, and a scale that is uncertain is larger in the mean than in the middle."""
    found, scatter = [], []
    for seed in range(60):
        rng = np.random.default_rng([seed, 4])
        scales = np.exp(rng.normal(size=20))
        owner = np.repeat(np.arange(20), rng.poisson(4, 20))
        losses = scales[owner] * np.exp(rng.normal(size=owner.size))
        where = np.zeros(owner.size, int), owner, np.zeros(owner.size, int)
        seen = Seen.of(["all"], losses, *where, np.ones((20, 1)), [severity.LogNormal()], owner < 0)
        (sizes,) = seen.fit()
        found.append(sizes.scale.sum() * sizes.law.mean() / (scales.sum() * np.exp(0.5)))
        scatter.append(sizes.law.shape_)
    assert np.mean(found) == pytest.approx(1.0, abs=0.06)  # standard error .02; .84 with neither
    assert np.mean(scatter) == pytest.approx(1.0, abs=0.04)  # .9


def test_losses_at_one_limit_have_a_law_all_the_same():
    """A sixth of them are the limit itself: there is no tail above the 90 % quantile, and nobody asked for one."""
    rng = np.random.default_rng(4)
    dates = pd.Timestamp("2018-01-01") + pd.to_timedelta(np.arange(400) * 5, unit="D")
    frame = pd.DataFrame(
        {"date": dates, "member": list("ABCD") * 100, "loss": np.minimum(rng.pareto(1.5, 400) + 0.01, 3)}
    )
    history = LossHistory.from_events(frame, date="date", member="member", loss="loss")
    model = JointLossModel(coverage=Coverage(limit=3.0)).fit(history)
    for said in ("no tail can be fitted", "they look cut off at a limit"):
        assert any(said in flag for flag in model.flags_)
    assert model.summary_["expected_loss"].sum() == pytest.approx(history.losses.sum(axis=1).mean(), rel=0.25)
    with pytest.raises(ModelError, match="0 fully seen losses exceed the threshold 3"):
        JointLossModel(severity=severity.Spliced()).fit(history)


def test_severity_by_segment():
    model = JointLossModel(severity={"S0": severity.Gamma(), "S1": severity.LogNormal()}).fit(EVENTS)
    assert model.summary_.xs("S0", level="segment")["severity"].unique().tolist() == ["Gamma"]
    with pytest.raises(ModelError, match="severity names 'S9', which is no segment"):
        JointLossModel(severity={"S9": severity.Gamma()}).fit(EVENTS)


def test_the_same_seed_gives_the_same_bytes():
    model = JointLossModel().fit(EVENTS)
    first = model.sample(3000, 9)
    assert model.sample(3000, 9).losses.tobytes() == first.losses.tobytes()
    assert clone(model).fit(EVENTS).sample(3000, np.random.SeedSequence(9)).losses.tobytes() == first.losses.tobytes()
    assert model.sample(3000, 10).losses.tobytes() != first.losses.tobytes()
    kids = np.random.SeedSequence(9).spawn(2)
    assert model.sample(3000, kids[0]).losses.tobytes() != model.sample(3000, kids[1]).losses.tobytes()
    assert (
        model.sample(50, np.random.default_rng(1)).losses.tobytes()
        == model.sample(50, np.random.default_rng(1)).losses.tobytes()
    )


@pytest.mark.parametrize("history", [EVENTS, PANEL], ids=["events", "panel"])
def test_the_bytes_do_not_depend_on_the_workers(history, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 1024)
    one, two = (JointLossModel(n_jobs=jobs).fit(history).sample(5000, 9).losses for jobs in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_whole_blocks_do_not_depend_on_what_follows(monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 1024)
    model = JointLossModel().fit(PANEL)
    np.testing.assert_array_equal(model.sample(3000, 9).losses[:2048], model.sample(2048, 9).losses)


def test_periods_are_added_up():
    """With known parameters; those that are not known are shared by all periods (test_open_parameters.py)."""
    model = JointLossModel(severity=severity.LogNormal()).fit(EVENTS)
    known, exposures = model.process_.around, model.exposures_.to_numpy()
    one, year = (sampling.draw_losses(known, 30_000, exposures, 1, periods).sum(axis=1) for periods in (1, 12))
    assert year.mean() == pytest.approx(12 * one.mean(), abs=5 * year.std() / np.sqrt(30_000))
    assert year.var() == pytest.approx(12 * one.var(), rel=0.35)


def test_exposures_ahead():
    model = JointLossModel().fit(PANEL)
    double, single = (model.sample(40_000, 1, exposures=PANEL.exposures.iloc[-1] * k).losses for k in (2, 1))
    np.testing.assert_allclose(double.mean(axis=0), 2 * single.mean(axis=0), rtol=0.02)
    assert (double.std(axis=0) < 2 * single.std(axis=0)).all()  # what is larger scatters less
    events = JointLossModel(severity=severity.LogNormal()).fit(EVENTS)
    by_cell = EVENTS.exposures.iloc[-1].copy()
    by_cell[("D0", "S0")] = 0.0
    drawn = events.sample(2000, 1, exposures=by_cell).to_frame()
    assert drawn[("D0", "S0")].sum() == 0.0 < drawn[("D0", "S1")].sum()
    with pytest.raises(DataError, match="missing for"):
        model.sample(100, 1, exposures={"M0": 1.0})
    ahead = PANEL.exposures.iloc[-1]
    for wrong, words in (
        (PANEL.exposures, r"exposures are a frame of \d+ rows; .* give one row, as exposures.iloc\[-1\]"),
        (pd.concat([ahead, ahead.iloc[[0]]]), rf"exposures: more than one for \['{ahead.index[0]}'\]; expected one"),
        (ahead.astype(object).replace(ahead.iloc[0], "much"), "exposures: could not convert .* 'much'; expected one"),
        ("much", "exposures: could not convert .* 'much'; expected one number for each member"),
        ({("M0", "all"): 1.0, "M1": 2.0}, r"exposures: missing for \[\('"),
    ):
        with pytest.raises(DataError, match=words):
            model.sample(100, 1, exposures=wrong)


@pytest.mark.parametrize("power", [-18, *(pytest.param(power, marks=pytest.mark.slow) for power in (-6, 9)), 24])
def test_units(power):
    unit = 10.0**power
    panel = LossHistory.from_panel(PANEL.losses * unit, exposures=PANEL.exposures * unit)
    np.testing.assert_allclose(
        JointLossModel().fit(panel).sample(500, 1).losses / unit,
        JointLossModel().fit(PANEL).sample(500, 1).losses,
        rtol=1e-8,
    )
    frame = EVENTS.events.assign(loss=EVENTS.events["loss"] * unit, id=range(len(EVENTS.events)))
    other = LossHistory.from_events(
        frame,
        date="date",
        member="member",
        loss="loss",
        segment="segment",
        exposures=EVENTS.exposures.xs("S0", axis=1, level=1) * unit,
        start="2019-01",
        end="2024-12",
    )
    base = JointLossModel(exposure_cap=1e6).fit(EVENTS)
    scaled = JointLossModel(exposure_cap=1e6).fit(other)
    np.testing.assert_allclose(scaled.summary_["expected_loss"] / unit, base.summary_["expected_loss"], rtol=1e-7)
    np.testing.assert_allclose(scaled.sample(500, 1).losses / unit, base.sample(500, 1).losses, rtol=1e-6)


def test_one_member_one_segment():
    panel = pd.DataFrame({"only": np.exp(np.random.default_rng(0).normal(0, 0.3, 10))}, index=range(2000, 2010))
    assert JointLossModel().fit(LossHistory.from_panel(panel)).sample(100, 1).losses.shape == (100, 1)


@pytest.mark.parametrize("segments", [1, 2])
def test_no_period_of_a_panel_costs_more_than_the_cap(segments):
    """Scenarios are those without the cap, cut at it; the expected loss is theirs, and what was above it is said."""
    rng, years = np.random.default_rng(7), range(2004, 2024)
    names = pd.MultiIndex.from_product([list("ABCDE"), list("xy")[:segments]])
    exposures = pd.DataFrame(np.tile(rng.uniform(1, 10, len(names)), (20, 1)), index=years, columns=names)
    ratios = np.exp(rng.normal(-2, 1.2, exposures.shape)) * np.exp(rng.normal(0, 0.3, (20, 1)))
    history = LossHistory.from_panel(exposures * ratios, exposures=exposures)
    free, capped = JointLossModel().fit(history), JointLossModel(exposure_cap=0.5).fit(history)
    drawn, cut = (model.sample(100_000, random_state=1).losses for model in (free, capped))
    most = 0.5 * exposures.to_numpy()[-1]
    assert (drawn > most).any(axis=0).all()
    np.testing.assert_array_equal(cut, np.minimum(drawn, most))
    error = cut.std(axis=0) / 100_000**0.5
    assert np.all(np.abs(cut.mean(axis=0) - capped.summary_["expected_loss"]) < 5 * error + 0.005 * cut.mean(axis=0))
    several = capped.sample(20_000, random_state=1, periods=3).losses
    assert np.all(several <= 3 * most * (1 + 1e-12)) and np.all(several.max(axis=0) > most)
    np.testing.assert_allclose(capped.summary_["expected_ratio"] * exposures.iloc[-1], capped.summary_["expected_loss"])
    above = int((ratios > 0.5).sum())
    assert any(f"{above} of {ratios.size} losses are above exposure_cap times" in flag for flag in capped.flags_)
    with pytest.raises(ModelError, match=r"exposure_cap is 0.5: it needs .* a history with exposures"):
        JointLossModel(exposure_cap=0.5).fit(LossHistory.from_panel(exposures * ratios))


def test_refusals():
    with pytest.raises(DataError, match="fit needs a LossHistory, got ndarray"):
        JointLossModel().fit(np.ones((3, 3)))
    with pytest.raises(ModelError, match="coverage is about single events, and a panel has none"):
        JointLossModel(coverage=Coverage(limit=1.0)).fit(PANEL)
    frame = pd.DataFrame({"date": ["2024-01-01", "2024-02-01"], "member": ["A", "B"], "loss": [1.0, 2.0]})
    bare = LossHistory.from_events(frame, date="date", member="member", loss="loss")
    with pytest.raises(ModelError, match=r"exposure_cap is 1.0: it needs .* a history with exposures"):
        JointLossModel(exposure_cap=1.0).fit(bare)
    cells = pd.Series({("A", "x"): 1.0, ("A", "y"): 1.0, ("B", "x"): 1.0, ("B", "y"): 1.0})
    silent = LossHistory.from_events(
        frame.assign(s="x"), date="date", member="member", loss="loss", segment="s", exposures=cells
    )
    with pytest.raises(ModelError, match="segment 'y': no loss in any period"):
        JointLossModel().fit(silent)
    with pytest.raises(ModelError, match="n is 0 and periods is 1"):
        JointLossModel().fit(PANEL).sample(0, 1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"frequency": "poisson"}, "frequency is 'poisson', expected an instance of CountModel or Hawkes"),
        ({"coverage": {"limit": 5.0}}, "coverage is {'limit': 5.0}, expected an instance of Coverage"),
        ({"severity": {"all": "gamma"}}, "severity of 'all' is 'gamma', expected an instance of Severity"),
        ({"exposure_cap": "a"}, "exposure_cap is 'a', expected an instance of int"),
    ],
)
def test_what_is_no_model_is_refused_in_words(given, words):
    with pytest.raises(ModelError, match=re.escape(words)):
        JointLossModel(**given).fit(EVENTS)


def test_what_is_asked_for_is_whole_and_within_what_is_known():
    model = JointLossModel().fit(EVENTS)
    for asked in ({"n": 10.5}, {"n": 10, "periods": 1.5}, {"n": 0}):
        with pytest.raises(ModelError, match="expected whole numbers >= 1"):
            model.sample(**asked)
    trend = JointLossModel(frequency=frequency.Trend()).fit(EVENTS)
    with pytest.raises(ModelError, match="periods is 12, and Trend knows the rate of the next period only"):
        trend.sample(10, periods=12)


def test_a_ratio_model_for_events_is_refused():
    with pytest.raises(ModelError, match="ratio is about panels, and this history has events"):
        JointLossModel(ratio=GammaRatio()).fit(EVENTS)


def test_events_of_zero_are_no_losses():
    frame = EVENTS.events.assign(id=range(len(EVENTS.events)))
    zeros = frame.head(5).assign(loss=0.0)
    options = {
        "date": "date",
        "member": "member",
        "loss": "loss",
        "segment": "segment",
        "exposures": EVENTS.exposures.iloc[-1],
        "start": "2019-01",
        "end": "2024-12",
    }
    with_zeros = LossHistory.from_events(pd.concat([frame, zeros], ignore_index=True), **options)
    one, two = JointLossModel().fit(EVENTS).summary_, JointLossModel().fit(with_zeros).summary_
    pd.testing.assert_frame_equal(one, two)


def test_commercial_auto():
    """46 insurers: the sampled pool has the mean and about the scatter of the ten years seen."""
    path = DATA / "cas/comauto_company_year_panel.csv"
    if not path.exists():
        pytest.skip("shared data are not here")
    table = pd.read_csv(path)
    losses, premium = (
        table.pivot_table(index="AccidentYear", columns="GRNAME", values=name)
        for name in ("IncurLoss", "EarnedPremNet")
    )
    model = JointLossModel().fit(LossHistory.from_panel(losses, exposures=premium))
    pool = model.sample(20_000, 1)
    seen = losses.sum(axis=1) / premium.sum(axis=1)
    drawn = pool.losses.sum(axis=1) / premium.iloc[-1].sum()
    assert drawn.mean() == pytest.approx(seen.mean(), abs=0.02)
    assert 0.7 < drawn.std() / seen.std() < 2.5
    own = (losses / premium).std(ddof=1)
    sampled = pd.Series((pool.losses / premium.iloc[-1].to_numpy()).std(axis=0), own.index)
    assert 0.7 < (sampled / own).median() < 1.4


@pytest.mark.slow
def test_the_chosen_process_is_reported_and_can_be_chosen():
    assert JointLossModel(frequency=frequency.SharedShock()).fit(EVENTS).process_.around.__class__ is SharedShocks
    assert JointLossModel(dependence=dependence.StudentT()).fit(EVENTS).process_.around.__class__ is OrderedMargins


@pytest.mark.slow
def test_proportion_is_kept_where_it_holds():
    kept = [JointLossModel().fit(make_events(np.random.default_rng(seed), months=48)).flags_ for seed in range(6)]
    assert sum(any("the power" in flag for flag in flags) for flags in kept) <= 1


def test_members_may_be_named_by_numbers_wherever_they_are_named():
    """Names are texts; a number stands for its text."""
    rng = np.random.default_rng(2)
    dates = pd.date_range("2020-01-01", periods=60, freq="20D")
    frame = pd.DataFrame({"date": dates, "member": np.tile([1, 2, 3], 20), "loss": rng.lognormal(3, 1, 60)})
    named = {"date": "date", "member": "member", "loss": "loss", "exposures": {1: 1.0, 2: 2.0, 3: 3.0}}
    history = LossHistory.from_events(frame, confirm_unit_jumps=[1], **named)
    model = JointLossModel(severity=severity.LogNormal(), coverage=Coverage(retention={1: 1.0, 2: 2.0, 3: 3.0})).fit(
        history
    )
    assert model.members_ == ("1", "2", "3")
    drawn = model.sample(1000, random_state=1, exposures={1: 0.0, 2: 1.0, 3: 1.0}).losses
    assert drawn[:, 0].sum() == 0 < drawn[:, 1].sum()
