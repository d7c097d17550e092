"""A power of its own for each member whose losses scatter unlike those of its segment."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from calibrate import JointLossModel, LossHistory
from calibrate.models import Coverage, tail_table
from calibrate.models.forms import Forms, forms_of, layer_mean, tail_index
from calibrate.models.frequency import Poisson
from calibrate.models.severity import Empirical, GeneralizedPareto, LogNormal, Spliced, Weibull

LOSSES = np.exp(stats.norm.ppf((np.arange(300) + 0.5) / 300))
LAYERS = [(0.0, np.inf), (0.0, 5.0), (2.0, 30.0), (10.0, np.inf), (1e-9, 1e-8), (40.0, 40.5)]


@pytest.mark.parametrize(("low", "high"), LAYERS)
@pytest.mark.parametrize("power", [0.3, 0.9, 2.2])
def test_a_power_of_a_lognormal_law_is_lognormal(power, low, high):
    law, pivot = LogNormal().fit(LOSSES), 3.0
    exact = LogNormal().fit(pivot * (LOSSES / pivot) ** power).layer_mean(low, high)
    assert layer_mean(law, power, pivot, low, high) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("power", [0.5, 1.4])
def test_layers_of_heavy_and_of_short_tails(power):
    """By scipy's quadrature of `E[payment]` over chances, and by the atoms themselves."""
    heavy = stats.genpareto(0.5, scale=2.0).isf(np.linspace(0.0005, 0.9995, 1000))
    for law in (GeneralizedPareto(threshold=0.0).fit(heavy), Weibull().fit(LOSSES)):

        def paid(score, law=law):
            return min(2.0 * (law.isf(np.exp(-score)) / 2.0) ** power, 1e4) * np.exp(-score)

        exact = integrate.quad(paid, 0, 60, limit=500, epsabs=0, epsrel=1e-10)[0]
        assert layer_mean(law, power, 2.0, 0.0, 1e4) == pytest.approx(exact, rel=1e-8)
    for losses, off in ((LOSSES, 2e-3), (LOSSES[3::6], 0.015)):
        exact = np.clip(2.0 * (losses / 2.0) ** power - 1.0, 0.0, 6.0).mean()
        assert layer_mean(Empirical().fit(losses), power, 2.0, 1.0, 7.0) == pytest.approx(exact, rel=off)


def test_powers_are_those_of_the_losses_as_far_as_these_tell():
    """Known powers; none where members are alike, for who has few losses, nor for who always loses the same."""
    rng, owner = np.random.default_rng(2), np.repeat(np.arange(8), [9, 12, 30, 60, 100, 200, 400, 800])
    truth, off = np.array([2.0, 0.6, 1.5, 0.6, 1.5, 0.6, 1.5, 1.0]), []
    for _ in range(200):
        logs = truth[owner] * rng.standard_normal(owner.size)
        found = forms_of(logs, owner, rng.integers(50, size=owner.size), 8, 1)
        assert found.power[0] == 1.0
        off.append(np.log(found.power[1:] / truth[1:]))
    error = np.array(off) - np.array(off)[:, -1:]
    counts = np.bincount(owner)[1:]
    assert (np.abs(error.mean(axis=0)) < 0.5 / np.sqrt(counts)).all()  # drawn to the middle
    deviation = np.sqrt((np.pi / 2 - 1) * (1 / counts + 1 / counts[-1]))[:-1]  # of the log of a mean distance
    assert (error.std(axis=0)[:-1] < 1.2 * deviation).all()
    assert (error.std(axis=0)[:-1] > 0.6 * deviation).all()
    when = rng.integers(50, size=owner.size)
    assert not forms_of(rng.standard_normal(owner.size), owner, when, 8, 1).own
    constant = forms_of(np.where(owner == 3, 1.0, logs), owner, when, 8, 1)
    assert constant.power[3] == 1.0
    assert np.isfinite(constant.power).all()


def test_losses_in_two_steps_have_forms_too():
    """Sums insured in two steps: all of a member's distances are the same, and nothing scatters about them."""
    steps = np.tile([100.0, 1000.0, 100.0, 10000.0], 12)
    frame = pd.DataFrame({"date": pd.date_range("2015-01-01", periods=48, freq="45D"), "loss": steps})
    frame["member"] = np.tile(["A", "A", "B", "B"], 12)
    model = JointLossModel(severity=LogNormal()).fit(
        LossHistory.from_events(frame, date="date", member="member", loss="loss", period="Y")
    )
    assert model.summary_["severity_power"].tolist() == pytest.approx([2**-0.5, 2**0.5], rel=0.01)


def test_no_power_makes_a_tail_that_no_sample_shows():
    heavy = GeneralizedPareto(threshold=0.0).fit(stats.genpareto(0.5).isf(np.linspace(0.001, 0.999, 999)))
    assert tail_index(heavy) == pytest.approx(heavy.shape_, rel=1e-6)
    forms = Forms(np.array([0.5, 1.0, 3.0]))
    np.testing.assert_allclose(forms.within(heavy).power, [0.5, 1.0, 0.8 / heavy.shape_], rtol=1e-6)
    np.testing.assert_array_equal(forms.within(Weibull().fit(LOSSES)).power, forms.power)
    endless = GeneralizedPareto(threshold=0.0).fit(stats.genpareto(1.2).isf(np.linspace(0.001, 0.999, 999)))
    np.testing.assert_array_equal(forms.within(endless).power, [0.5, 1.0, 1.0])  # that one is heavy by itself


DEVIATIONS = np.array([0.6, 0.6, 0.6, 1.4, 1.4, 1.4])


@pytest.fixture(scope="module")
def histories():
    """Six members of one segment, 240 lognormal losses each of the same median, ten thousand, in six years."""
    made = []
    for seed in range(4):
        rng, owner = np.random.default_rng([seed, 7]), np.repeat(np.arange(6), 240)
        score = np.concatenate([rng.permutation(stats.norm.ppf((np.arange(240) + 0.5) / 240)) for _ in range(6)])
        date = pd.Timestamp("2018-01-01") + pd.to_timedelta(rng.integers(2190, size=owner.size), unit="D")
        loss = 1e4 * np.exp(DEVIATIONS[owner] * score)
        frame = pd.DataFrame({"date": date, "member": [f"m{i}" for i in owner], "loss": loss})
        columns = {"date": "date", "member": "member", "loss": "loss"}
        made.append(LossHistory.from_events(frame, period="Y", start="2018", end="2023", **columns))
    return made


def test_members_of_unlike_forms_are_each_charged_what_they_cost(histories):
    """By one form for all the former are charged 1.7 times their cost, above a retention 100 times."""
    truth = 40 * 1e4 * np.exp(DEVIATIONS**2 / 2)
    for history in histories:
        model = JointLossModel(frequency=Poisson()).fit(history)
        expected = model.summary_["expected_loss"].to_numpy()
        np.testing.assert_allclose(expected / truth, 1.0, atol=0.12)
        np.testing.assert_allclose(expected.reshape(2, 3).sum(1) / truth.reshape(2, 3).sum(1), 1.0, atol=0.08)
    above = JointLossModel(frequency=Poisson(), severity=LogNormal(), coverage=Coverage(retention=3e4)).fit(
        histories[0]
    )
    layers = [LogNormal().fit(1e4 * LOSSES**s).layer_mean(3e4, np.inf) for s in DEVIATIONS]
    np.testing.assert_allclose(above.summary_["mean_payment"], layers, rtol=0.25)


def test_what_is_drawn_costs_what_the_summary_says(histories):
    for cover in (None, Coverage(retention=2e4, limit=1e5, coinsurance=0.5)):
        model = JointLossModel(severity=Spliced(), frequency=Poisson(), coverage=cover).fit(histories[1])
        losses = model.sample(100_000, random_state=1).losses
        error = losses.std(axis=0) / np.sqrt(len(losses))
        np.testing.assert_array_less(np.abs(losses.mean(axis=0) - model.summary_["expected_loss"]), 4 * error)
    table = tail_table(model)
    power = model.summary_["severity_power"]
    np.testing.assert_allclose(table["shape"], model.summary_["tail_shape"])
    assert power.iloc[:3].max() < 0.8 < 1.2 < power.iloc[3:].min()
    assert table["upper"].iloc[0] < table["upper"].iloc[5]


def test_another_unit_gives_the_same_forms(histories):
    events = histories[2].events
    other = LossHistory.from_events(
        events.assign(loss=events["loss"] * 2.0**40), date="date", member="member", loss="loss", period="Y"
    )
    here, there = (
        JointLossModel(frequency=Poisson()).fit(each).summary_.sort_index() for each in (histories[2], other)
    )
    np.testing.assert_allclose(there["severity_power"], here["severity_power"], rtol=1e-8)
    np.testing.assert_allclose(there["expected_loss"], here["expected_loss"] * 2.0**40, rtol=1e-7)
