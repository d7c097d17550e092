"""Sizes that go with the exposure of their own period: the power against known truths, and what becomes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from calibrate import JointLossModel, LossHistory
from calibrate.models import Coverage, frequency
from calibrate.models.collective import Collective
from calibrate.models.comparison import compare
from calibrate.models.scales import MUCH_LIKELIER
from calibrate.models.size_powers import SizePower, at_references

Floats = npt.NDArray[np.float64]
MEMBERS, PERIODS = 12, 48
MONTHS = pd.period_range("2019-01", periods=PERIODS, freq="M")
NAMES = [f"m{i}" for i in range(MEMBERS)]


def values(seed: int, swing: float, apart: float = 1.0) -> Floats:
    """Exposures that rise by the factor `swing` and fall back, of members some e^`apart` apart."""
    rng = np.random.default_rng([83, seed])
    cycle = swing ** np.exp(-(((np.arange(PERIODS) - PERIODS / 2) / 8) ** 2))
    return cycle[:, None] * np.exp(apart * rng.normal(size=MEMBERS) + 0.1 * rng.normal(size=(PERIODS, MEMBERS)))


def events(exposures: Floats, power: float, often: Floats | float, seed: int) -> pd.DataFrame:
    """Lognormal losses times a power of the exposure of their month, so many a member and month."""
    rng = np.random.default_rng([89, seed])
    when, who = np.nonzero(counts := rng.poisson(often, exposures.shape))
    when, who = np.repeat(when, counts[when, who]), np.repeat(who, counts[when, who])
    losses = exposures[when, who] ** power * rng.lognormal(-4.0, 1.0, when.size)
    return pd.DataFrame({"day": MONTHS[when].start_time, "who": [NAMES[i] for i in who], "usd": losses})


def history(exposures: Floats, frame: pd.DataFrame, **more: Any) -> LossHistory:
    table = pd.DataFrame(exposures, index=MONTHS, columns=NAMES)
    edges = {"start": MONTHS[0].start_time, "end": MONTHS[-1].start_time}
    return LossHistory.from_events(frame, date="day", member="who", loss="usd", exposures=table, **edges, **more)


def in_proportion(seed: int, swing: float, often: float = 0.25) -> tuple[LossHistory, float]:
    """Sizes that go with exposure, counts that do not, and the expected loss ahead."""
    exposures = values(seed, swing)
    truth = often * exposures[-1].sum() * np.exp(-4.0 + 0.5)
    return history(exposures, events(exposures, 1.0, often, seed)), float(truth)


def expected(model: JointLossModel, exposures: Any = None) -> float:
    assert isinstance(model.margins_, Collective)
    at = model.exposures_.to_numpy() if exposures is None else np.asarray(exposures)
    return float(model.margins_.expected_losses(at).sum())


def said(model: JointLossModel) -> list[str]:
    return [flag for flag in model.flags_ if "another exposure of a member moves its losses by the power" in flag]


def drawn(seed: int, of_those: float, of_time: float, growth: float = 0.0, common: float = 0.0) -> SizePower | None:
    """Of 300 losses: a power of what members differ by, one of how they move, a trend, months in common."""
    rng = np.random.default_rng([97, seed])
    level, path = rng.normal(size=MEMBERS), np.cumsum(0.2 * rng.normal(size=(PERIODS, MEMBERS)), axis=0) + growth
    path = path + growth * np.arange(PERIODS)[:, None]
    when, who = rng.integers(PERIODS, size=300), rng.integers(MEMBERS, size=300)
    logs = of_those * level[who] + of_time * path[when, who] + growth * when + 0.3 * rng.normal(size=MEMBERS)[who]
    logs = logs + common * rng.normal(size=PERIODS)[when] + rng.normal(size=300)
    return SizePower.of(logs, level[who] + path[when, who], who, when)


@pytest.mark.parametrize(("growth", "common"), [(0.0, 0.0), (0.03, 0.0), (0.0, 0.5)])
@pytest.mark.slow
def test_no_power_is_told_where_there_is_none(growth: float, common: float) -> None:
    """Nor where prices and exposures both grow, nor where losses of a month are alike: one in two hundred by chance."""
    found = [drawn(seed, 0.0, 0.0, growth, common) for seed in range(100)]
    assert sum(power is not None and power.gain > MUCH_LIKELIER for power in found) <= 3


def test_a_power_is_told_with_its_error() -> None:
    found = [drawn(seed, 1.0, 1.0) for seed in range(100)]
    powers, errors = (np.array([getattr(each, name) for each in found]) for name in ("power", "error"))
    assert powers.mean() == pytest.approx(1.0, abs=4 * errors.mean() / 10)
    assert powers.std() == pytest.approx(errors.mean(), rel=0.25)
    assert all(each is not None and each.gain > MUCH_LIKELIER for each in found)


def test_members_that_differ_do_not_tell_how_members_move_where_both_are_unlike() -> None:
    found = [drawn(seed, 1.5, 0.0) for seed in range(60)]
    assert sum(power is not None and power.gain > MUCH_LIKELIER for power in found) <= 3
    assert np.mean([power.power for power in found if power is not None]) == pytest.approx(0.0, abs=0.1)


def test_too_little_tells_nothing() -> None:
    few, time = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 1, 2, 3, 4, 5])
    logs = np.array([0.1, 1.2, 1.9, 0.3, 1.1, 2.2])
    assert SizePower.of(logs, few.astype(float), few, time) is None  # three members that stay what they are
    assert SizePower.of(logs, np.zeros(6), few, time) is None
    assert SizePower.of(few.astype(float), few.astype(float), few, time) is None  # nothing scatters


@pytest.mark.parametrize("times", [0.1, 10.0])
def test_other_exposures_move_sizes_of_members_that_never_moved(times: float) -> None:
    """Numbers do not go with exposure here, sizes do: expected losses stayed where they were."""
    base = np.tile(np.exp(np.random.default_rng(3).normal(0.0, 1.5, MEMBERS)), (PERIODS, 1))
    model = JointLossModel().fit(history(base, events(base, 1.0, 0.25, 1)))
    (flag,) = said(model)
    assert f"{model.size_powers_['all']:+.2f}" in flag
    one = expected(model)
    assert model.summary_["expected_loss"].sum() == pytest.approx(one)
    assert expected(model, times * base[-1]) == pytest.approx(times * one, rel=0.15)
    sampled = model.sample(20_000, random_state=1, exposures=dict(zip(NAMES, times * base[-1], strict=True)))
    assert sampled.losses.sum(axis=1).mean() == pytest.approx(times * one, rel=0.2)


@pytest.mark.slow
def test_what_is_exposed_has_risen_a_hundredfold_and_fallen_back() -> None:
    """Members lost in proportion to what they had then: losses of the peak are not to be expected after it."""
    ratios = []
    for seed in range(8):
        past, truth = in_proportion(seed, 100.0)
        model = JointLossModel().fit(past)
        ratios.append(expected(model) / truth)
        assert not model.size_trends_
        assert not [flag for flag in model.flags_ if "hit members together" in flag or "alike in size" in flag]
    assert abs(np.mean(ratios) - 1) < 2 * np.std(ratios, ddof=1) / len(ratios) ** 0.5  # .97, standard error .05


@pytest.mark.slow
def test_sizes_that_do_not_go_with_exposures_that_move_stay() -> None:
    """The usual case: numbers go with exposure."""
    for seed in range(12):
        exposures = values(seed, 3.0)
        frame = events(exposures, 0.0, 0.25 * exposures / exposures.mean(), seed)
        model = JointLossModel().fit(history(exposures, frame))
        assert not model.size_powers_ and not said(model)


def test_other_units_and_another_order_change_nothing() -> None:
    exposures = values(1, 30.0)
    frame = events(exposures, 1.0, 0.25, 1)
    numbers = frequency.Elastic(frequency.NegativeBinomial())
    one = JointLossModel(frequency=numbers).fit(history(exposures, frame))
    assert set(one.size_powers_) == {"all"}
    dear = history(exposures * 1e9, frame.assign(usd=frame["usd"] * 1e-6)[::-1])
    other = JointLossModel(frequency=numbers).fit(dear)
    assert other.size_powers_["all"] == pytest.approx(one.size_powers_["all"], rel=1e-8)
    found, wanted = other.summary_["expected_loss"], one.summary_["expected_loss"]
    np.testing.assert_allclose(found * 1e6, wanted, rtol=1e-7)
    assert expected(other, exposures[24] * 1e9) * 1e6 == pytest.approx(expected(one, exposures[24]), rel=1e-7)


@pytest.mark.parametrize(
    "asked",
    [frequency.NegativeBinomial(), frequency.SharedShock(), frequency.Drifting(), frequency.Hawkes(resolution=1.0)],
    ids=repr,
)
@pytest.mark.slow
def test_scenarios_of_every_process_have_sizes_of_the_exposures_asked_for(asked: Any) -> None:
    """Layers and caps are of money, and stay where they are: the closed form of the summary moves the sizes below."""
    exposures = values(2, 30.0)
    cover = Coverage(retention=0.01, limit=0.2)
    often = 0.25 * exposures / exposures.mean()  # as the families have it that are asked for
    model = JointLossModel(frequency=asked, coverage=cover).fit(history(exposures, events(exposures, 1.0, often, 2)))
    at = 0.3 * exposures[24]
    sampled = model.sample(30_000, random_state=1, exposures=dict(zip(NAMES, at, strict=True))).losses.sum(axis=1)
    there = model.sample(30_000, random_state=1, exposures=dict(zip(NAMES, 0.1 * at, strict=True))).losses.sum(axis=1)
    now = model.margins_.mean_payments(at) / model.margins_.mean_payments(0.1 * at)
    assert now.min() > 1.5
    assert sampled.mean() / there.mean() == pytest.approx(expected(model, at) / expected(model, 0.1 * at), rel=0.06)


@pytest.mark.slow
def test_members_that_come_late_or_leave_have_what_they_had_then() -> None:
    exposures = values(3, 10.0)
    exposures[:20, 0], exposures[30:, 1] = 0.0, 0.0
    frame = events(exposures, 1.0, 0.25 * (exposures > 0), 3)
    models = [
        JointLossModel(frequency=frequency.Elastic(frequency.NegativeBinomial())).fit(history(exposures * unit, frame))
        for unit in (1.0, 1e6)
    ]
    assert models[0].summary_["expected_loss"].iloc[1] == 0.0
    found = [m.margins_.mean_payments(np.full(MEMBERS, unit)) for m, unit in zip(models, (1.0, 1e6), strict=True)]
    np.testing.assert_allclose(*found, rtol=1e-7)
    np.testing.assert_allclose(found[0], np.median(found[0]), rtol=0.7)  # all of one exposure, and of one law


@pytest.mark.slow
def test_money_of_today_leaves_the_power() -> None:
    exposures = values(4, 30.0)
    past = history(exposures, events(exposures, 1.0, 0.25, 4))
    model = JointLossModel(frequency=frequency.Elastic()).fit(past)
    prices = pd.Series(1.01 ** np.arange(PERIODS), index=MONTHS)
    restated = JointLossModel(frequency=frequency.Elastic()).fit(past.at_prices(prices, exposures=prices))
    assert restated.size_powers_["all"] == pytest.approx(model.size_powers_["all"], abs=0.01)
    assert expected(restated) == pytest.approx(expected(model), rel=0.05)


def test_losses_at_the_reference_are_those_times_a_power_of_exposure() -> None:
    exposures = np.tile(np.where(np.arange(PERIODS) < 12, 1.0, 9.0)[:, None], (1, MEMBERS))  # 7 in the mean
    exposures[:24, 0] = 0.0
    frame = events(exposures, 0.0, 1.0 * (exposures > 0), 5)
    past = history(exposures, frame)
    even = at_references(past, {"all": 0.5})
    factor = np.where(exposures[:, 1:] == 1.0, 7**0.5, (7 / 9) ** 0.5)
    np.testing.assert_allclose(even.losses.to_numpy()[:, 1:], past.losses.to_numpy()[:, 1:] * factor)
    np.testing.assert_allclose(even.losses.to_numpy()[:, 0], past.losses.to_numpy()[:, 0])  # 9 whenever it was there
    assert even.events is not None
    assert even.events["loss"].sum() == pytest.approx(even.losses.to_numpy().sum())


@pytest.mark.slow
def test_candidates_are_compared_on_losses_that_exposure_is_taken_out_of() -> None:
    exposures = values(4, 30.0)
    past = history(exposures, events(exposures, 1.0, 0.25, 4))
    model = JointLossModel().fit(past)
    even = at_references(past, model.size_powers_).events
    reference = history(
        np.tile(exposures.mean(axis=0), (PERIODS, 1)),
        even[["date", "member", "loss"]].set_axis(["day", "who", "usd"], axis=1),
    )
    tables = [
        compare(one, given).loc["severity"]
        for one, given in ((model, past), (JointLossModel().fit(reference), reference))
    ]
    np.testing.assert_allclose(tables[0]["log_likelihood"], tables[1]["log_likelihood"], rtol=1e-6)


@pytest.mark.parametrize(
    "asked",
    [
        None,
        {"fire": frequency.SharedShock(), "theft": frequency.Elastic(frequency.NegativeBinomial())},
    ],
)
@pytest.mark.slow
def test_segments_have_powers_of_their_own(asked: Any) -> None:
    """Thefts go with exposure in size, fires in number."""
    exposures = values(6, 30.0)
    fires = events(exposures, 0.0, 0.25 * exposures / exposures.mean(), 6).assign(kind="fire")
    thefts = events(exposures, 1.0, 0.25, 7).assign(kind="theft")
    model = JointLossModel(frequency=asked).fit(history(exposures, pd.concat([fires, thefts]), segment="kind"))
    assert list(model.size_powers_) == ["theft"]
    (flag,) = said(model)
    assert flag.startswith("segment 'theft': ")
    at = model.exposures_.to_numpy()
    payments = [model.margins_.mean_payments(at * times) for times in (1.0, 8.0)]
    np.testing.assert_allclose(payments[1] / payments[0], np.tile([1.0, 8.0 ** model.size_powers_["theft"]], (12, 1)))
    sampled = model.sample(20_000, random_state=1).losses.sum(axis=1).mean()
    assert sampled == pytest.approx(expected(model), rel=0.1)


def test_losses_in_all_are_in_proportion_where_that_is_not_clearly_unlikelier() -> None:
    rng = np.random.default_rng(8)
    exposures = np.tile(np.geomspace(1.0, 100.0, MEMBERS), (PERIODS, 1))
    often = frequency.Elastic().fit(rng.poisson(0.3, exposures.shape), exposure=exposures)
    rest = 1 - often.coefficient_
    assert rest == pytest.approx(1.0, abs=0.2)
    assert SizePower(0.85, 0.08, 18.0).beside(often) == rest
    assert SizePower(0.90, 0.40, 50.0).beside(often) == rest  # a hypothesis without a free number takes less
    assert SizePower(0.10, 0.40, 50.0).beside(often) == 0.0
    assert SizePower(0.30, 0.08, 18.0).beside(often) == 0.30
    usual = frequency.Elastic().fit(rng.poisson(0.02 * exposures), exposure=exposures)
    assert not usual.kept
    assert SizePower(0.85, 0.08, 18.0).beside(usual) == 0.85
    assert SizePower(0.90, 0.40, 50.0).beside(usual) == 0.0


@pytest.mark.parametrize("asked", [frequency.NegativeBinomial(), {"all": frequency.SharedShock()}])
def test_numbers_that_are_asked_for_leave_losses_in_all_in_proportion(asked: Any) -> None:
    """Sizes in proportion and numbers that do not move: ten times the exposure cost a hundred times as much."""
    model = JointLossModel(frequency=asked).fit(in_proportion(0, 5.0)[0])
    assert expected(model, 10 * model.exposures_.to_numpy()) == pytest.approx(10 * expected(model), rel=0.1)


@pytest.mark.parametrize(("power", "taken"), [(8.9, 0.0), (-1.9, 0.0), (1.6, 1.5), (0.9, 0.9)])
def test_what_no_power_of_exposure_can_be_is_something_else(power: float, taken: float) -> None:
    """Of banks that failed in a crisis, dearer than those before, while assets grew a little: a power of nine."""
    numbers = frequency.Elastic(frequency.NegativeBinomial()).fit([1, 2, 1, 3], exposure=[1.0, 1.0, 1.0, 1.0])
    assert SizePower(power, 0.2, 40.0).beside(numbers) == taken
