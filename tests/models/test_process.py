"""Shared shocks, counts out of proportion, and hopeless data: what the joint model makes of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate.errors import ModelError
from calibrate.history import LossHistory
from calibrate.models import JointLossModel, dependence, frequency, sampling, severity
from calibrate.models.process import OrderedMargins
from calibrate.models.shocks import PartlyShared, SharedShocks


def shocked(rng, months=240, members=12, size=0.7, rho=0.8):
    """Two segments whose gamma shocks hang together by a Gaussian copula; unit losses, so that losses are counts."""
    exposure = pd.Series(np.exp(rng.normal(0, 0.6, members)), [f"D{i}" for i in range(members)])
    z = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], months)
    shock = stats.gamma(size, scale=1 / size).ppf(stats.norm.cdf(z))
    rows = []
    for g in range(2):
        counts = rng.poisson((0.6, 0.3)[g] * exposure.to_numpy() * shock[:, [g]])
        t, i = np.nonzero(counts)
        repeat = counts[t, i]
        when = pd.PeriodIndex(np.repeat(pd.period_range("2000-01", periods=months, freq="M")[t], repeat)).to_timestamp()
        rows.append(pd.DataFrame({"date": when, "member": exposure.index[np.repeat(i, repeat)], "segment": f"S{g}"}))
    frame = pd.concat(rows, ignore_index=True).assign(loss=1.0, id=lambda table: range(len(table)))
    window = {"start": "2000-01", "end": str(pd.Period("2000-01", "M") + months - 1)}
    names = {"date": "date", "member": "member", "segment": "segment", "loss": "loss"}
    return LossHistory.from_events(frame, **names, exposures=exposure, **window), exposure


@pytest.mark.slow
def test_shared_shocks_are_found_and_drawn():
    """Number of events of a whole segment, by month: mean, scatter, zeros and tail against the known truth."""
    history, exposure = shocked(np.random.default_rng(14))
    model = JointLossModel(severity=severity.Empirical()).fit(history)
    assert isinstance(model.process_.around, SharedShocks)
    assert any("events hit members together: SharedShock is likelier" in flag for flag in model.flags_)
    assert model.correlation_.loc["S0", "S1"] == pytest.approx(0.8, abs=0.2)
    drawn = model.sample(40_000, 1).cube.sum(axis=1)
    for g, rate in enumerate((0.6, 0.3)):
        mean = rate * exposure.sum()
        truth = stats.nbinom(0.7, 0.7 / (0.7 + mean))
        assert drawn[:, g].mean() == pytest.approx(truth.mean(), rel=0.2)
        assert drawn[:, g].std() == pytest.approx(truth.std(), rel=0.3)
        assert (drawn[:, g] == 0).mean() == pytest.approx(truth.pmf(0), abs=0.06)
        assert np.quantile(drawn[:, g], 0.99) == pytest.approx(truth.ppf(0.99), rel=0.3)
    error = 5 * np.sqrt(model.sample(40_000, 2).losses.var(axis=0) / 40_000)
    assert np.all(np.abs(model.sample(40_000, 2).losses.mean(axis=0) - model.summary_["expected_loss"]) < error)


@pytest.mark.parametrize("asked", [frequency.NegativeBinomial(), frequency.Poisson()])
def test_shocks_that_were_not_asked_for_are_told_where_they_are_likelier(asked):
    history, _ = shocked(np.random.default_rng(14), months=60)
    told = f"SharedShock is likelier than {asked!r}"
    model = JointLossModel(severity=severity.Empirical(), frequency=asked).fit(history)
    assert any(told in flag and "which was asked for" in flag for flag in model.flags_)
    bound = JointLossModel(severity=severity.Empirical(), frequency=asked, dependence=dependence.Gaussian()).fit(
        history
    )
    assert not any("SharedShock" in flag for flag in bound.flags_)


def test_margins_do_not_depend_on_the_process():
    """One column of the shared shocks has the law that the collective model says: zeros, mean, distribution."""
    history, _ = shocked(np.random.default_rng(15), months=120)
    shared = JointLossModel(severity=severity.Empirical(), frequency=frequency.SharedShock()).fit(history)
    ordered = JointLossModel(severity=severity.Empirical(), dependence=dependence.Gaussian()).fit(history)
    assert isinstance(ordered.process_.around, OrderedMargins)
    ordered.margins_.segments[:] = shared.margins_.segments
    exposures = shared.exposures_.to_numpy()
    one, two = (sampling.draw_losses(model.process_.around, 40_000, exposures, 1) for model in (shared, ordered))
    np.testing.assert_allclose((one == 0).mean(axis=0), shared.summary_["zero_probability"], atol=0.012)
    np.testing.assert_allclose((two == 0).mean(axis=0), shared.summary_["zero_probability"], atol=0.012)
    for column in (0, 5, 11):
        first, second = (np.bincount(table[:, column].astype(int), minlength=60)[:60] / 40_000 for table in (one, two))
        np.testing.assert_allclose(first, second, atol=0.012)


def test_events_that_do_not_grow_with_exposure_are_found_and_said():
    """Exposure grows a hundredfold, the number of events stays: no forecast of a hundred times the events."""
    rng = np.random.default_rng(17)
    months = pd.period_range("2019-01", periods=72, freq="M")
    growth = np.exp(np.linspace(0, np.log(100), 72))
    exposure = pd.DataFrame({f"D{i}": growth * 10**i for i in range(4)}, index=months)
    t, i = np.nonzero(rng.random((72, 4)) < 0.6)
    frame = pd.DataFrame({"date": months[t].to_timestamp(), "member": [f"D{k}" for k in i]})
    frame["loss"] = np.exp(rng.normal(10, 1, len(frame)))
    names = {"date": "date", "member": "member", "loss": "loss"}
    history = LossHistory.from_events(frame, **names, exposures=exposure, start="2019-01", end="2024-12")
    model = JointLossModel().fit(history)
    assert any("'all': the number of events grows with the power" in flag for flag in model.flags_)
    assert model.summary_["frequency"].sum() == pytest.approx(len(frame) / 72, rel=0.15)
    blind = JointLossModel(frequency=frequency.NegativeBinomial()).fit(history)
    assert blind.summary_["frequency"].sum() > 2 * len(frame) / 72
    drawn = model.sample(20_000, 1).losses
    error = 5 * drawn.std(axis=0) / np.sqrt(20_000)
    assert np.all(np.abs(drawn.mean(axis=0) - model.summary_["expected_loss"]) < error)


def few_events(losses, members, **columns):
    months = pd.date_range("2023-01-15", periods=len(losses), freq="MS")
    frame = pd.DataFrame({"date": months, "member": members, "loss": losses, "id": range(len(losses)), **columns})
    names = {"date": "date", "member": "member", "loss": "loss"} | ({"segment": "segment"} if columns else {})
    return LossHistory.from_events(frame, **names, start="2023", end="2023-12")


def test_hopeless_data_get_an_answer_or_words():
    four = JointLossModel().fit(few_events([1.0, 2.0, 3.0, 4.0], list("ABAB")))
    assert "4 losses are too few for a tail (expected 200); LogNormal, which may understate it" in four.flags_[0]
    assert np.isfinite(four.sample(1000, 1).losses).all()
    with pytest.raises(ModelError, match="segment 'all': LogNormal: the 10 losses all equal 5"):
        JointLossModel().fit(few_events([5.0] * 10, list("AB") * 5))
    same = JointLossModel(severity=severity.Empirical()).fit(few_events([5.0] * 10, list("AB") * 5))
    assert set(np.unique(same.sample(1000, 1).losses % 5)) == {0.0}
    with pytest.raises(ModelError, match="segment 'all': no loss in any period"):
        JointLossModel().fit(few_events([0.0] * 4, list("ABAB")))
    frame = pd.DataFrame({"date": ["2023-01-01"] * 3, "member": list("ABA"), "loss": [1.0, 2.0, 4.0]})
    single = LossHistory.from_events(frame, date="date", member="member", loss="loss")
    with pytest.raises(ModelError, match=r"the history has one period, 2023-01: .* needs at least two"):
        JointLossModel().fit(single)


def test_a_segment_of_one_loss_borrows_its_form():
    history = few_events([1.0, 5.0, 2.0, 9.0, 3.0, 7.0, 4.0], list("AAAAAAB"), segment=list("xxxxxxy"))
    model = JointLossModel().fit(history)
    assert model.margins_.segments[1].sizes.level == pytest.approx(4.0)
    assert any(
        "segment 'y': 1 losses are too few for a tail (expected 200); its form is that of all" in f
        for f in model.flags_
    )


def own_and_together(seed, years=15, members=8):
    """Members' own shocks and many events in one segment; in the other a few years that hit nearly all."""
    rng = np.random.default_rng(seed)
    own = rng.poisson(20 * rng.gamma(2.0, 0.5, (years, members)))
    hit = rng.binomial(rng.poisson(0.5, years)[:, None], 0.8, (years, members))
    rows = [
        pd.DataFrame({"year": 2000 + t, "member": f"m{i}", "segment": segment, "id": range(counts[t, i])})
        for segment, counts in (("own", own), ("together", hit))
        for t in range(years)
        for i in range(members)
    ]
    frame = pd.concat(rows, ignore_index=True)
    frame = frame.assign(date=pd.to_datetime(frame["year"].astype(str) + "-06-01"), loss=1.0)
    named = {"date": "date", "member": "member", "segment": "segment", "loss": "loss", "period": "Y"}
    return LossHistory.from_events(frame, start=2000, end=1999 + years, **named)


@pytest.mark.slow
def test_a_segment_that_tells_another_family_than_the_rest_has_it():
    """The chance of a quiet year is that of the truth, exp(-1/2), which eight members apart would never have."""
    quiet = []
    for seed in range(4):
        history = own_and_together(seed)
        model = JointLossModel(severity=severity.Empirical()).fit(history)
        assert type(model.process_.around) is PartlyShared
        (said,) = [flag for flag in model.flags_ if flag.startswith("segments differ in how they are hit")]
        assert "members together in 'together' (SharedShock), apart from each other in 'own'" in said
        assert model.frequencies_["together"].shared and not model.frequencies_["own"].shared
        drawn = model.sample(20_000, 1)
        losses = drawn.losses.reshape(20_000, 8, 2)[:, :, model.segments_.index("together")]
        quiet.append((losses.sum(axis=1) == 0).mean())
        seen = history.losses.xs("together", axis=1, level="segment").sum(axis=1)
        assert losses.sum(axis=1).mean() == pytest.approx(seen.mean(), rel=0.1)
    assert np.mean(quiet) == pytest.approx(np.exp(-0.5), abs=0.1)


def test_frequencies_are_given_by_segment():
    """As asked for where it is, and what the events tell elsewhere; the dependence binds shocks and columns."""
    history = own_and_together(1)
    asked = {"own": frequency.Poisson()}
    model = JointLossModel(severity=severity.Empirical(), frequency=asked).fit(history)
    assert isinstance(model.frequencies_["own"], frequency.Poisson)
    assert isinstance(model.frequencies_["together"], frequency.SharedShock)
    labels = [("(all members)", "together"), *[column for column in history.losses.columns if column[1] == "own"]]
    assert list(model.correlation_.index) == labels
    assert model.tail_dependence_.shape == (9, 9)
    bound = JointLossModel(severity=severity.Empirical(), dependence=dependence.Gaussian()).fit(history)
    assert len({type(node.margins.segments[0].frequency) for node in bound.process_.nodes}) == 1
    assert not any(model.shared for model in bound.frequencies_.values())
    asked = dict.fromkeys(("own", "together"), frequency.SharedShock())
    both = JointLossModel(
        severity=severity.Empirical(), frequency=dict.fromkeys(("own", "together"), frequency.SharedShock())
    ).fit(history)
    assert type(both.process_.around) is SharedShocks
    assert list(both.correlation_.index) == list(history.segments)


def test_what_is_no_frequency_of_a_segment_is_refused():
    history = own_and_together(1)
    for asked, said in (
        ({"fire": frequency.Poisson()}, "frequency names 'fire', which is no segment; the segments are own, together"),
        ({"own": "Poisson"}, "frequency of 'own' is 'Poisson', expected an instance of CountModel"),
        ({"own": frequency.Hawkes()}, r"frequency of 'own' is Hawkes\(\), expected an instance of CountModel"),
        ({"own": frequency.Drifting()}, r"'own' is Drifting\(\), which remembers the period before: all segments or"),
    ):
        with pytest.raises(ModelError, match=said):
            JointLossModel(frequency=asked).fit(history)
