"""Histories that scatter as scenarios do, less, and more: known truths."""

import numpy as np
import pandas as pd
import pytest

from calibrate import JointLossModel, LossHistory
from calibrate.models.doubts_of_scatter import scatter_flags


def history(seed: int, years: int, exclusive: bool, growth: float = 1.0) -> LossHistory:
    """Eight members, two segments of 15 events a year each; or all 30 in one of them, which chance picks."""
    rng = np.random.default_rng(seed)
    rows = []
    for year in range(2000, 2000 + years):
        hit, size = rng.integers(2), growth ** (year - 2000)
        for g, segment in enumerate(("fire", "flood")):
            mean = size * (30.0 * (g == hit) if exclusive else 15.0)
            hit_by = rng.integers(8, size=rng.poisson(mean))
            rows += [(f"{year}-06-01", f"m{member}", segment, rng.lognormal()) for member in hit_by]
    frame = pd.DataFrame(rows, columns=["day", "who", "what", "usd"])
    table = pd.DataFrame({f"m{i}": growth ** np.arange(years) for i in range(8)}, index=range(2000, 2000 + years))
    names = {"date": "day", "member": "who", "loss": "usd", "segment": "what"}
    return LossHistory.from_events(frame, **names, period="Y", end=2000 + years - 1, exposures=table)


def said(model: JointLossModel) -> list[str]:
    return [flag for flag in model.flags_ if "places of" in flag]


def test_segments_that_exclude_each_other_are_steadier_than_scenarios() -> None:
    model = JointLossModel().fit(history(1, 40, exclusive=True))
    (flag,) = said(model)
    assert flag.startswith("scenarios of the pool scatter 1.")
    assert "Tail risk is overstated (places of 40 periods among scenarios, p-value 0.0" in flag


@pytest.mark.parametrize("growth", [1.0, pytest.param(1.05, marks=pytest.mark.slow)])
def test_segments_apart_scatter_as_scenarios_do(growth: float) -> None:
    assert not said(JointLossModel().fit(history(3, 40, False, growth)))


def test_a_history_that_scatters_more_is_understated() -> None:
    model = JointLossModel().fit(history(1, 40, exclusive=False))
    losses, exposures = model_tables(history(1, 40, exclusive=False))
    middle = losses.sum(axis=1).mean()
    wider = losses * ((middle + 2 * (losses.sum(axis=1) - middle)) / losses.sum(axis=1)).clip(0.01)[:, None]
    (flag,) = scatter_flags(model.process_, wider, exposures, model.margins_.expected_losses)
    assert "bad periods are understated" in flag
    times = float(flag.split("scatters ")[1].split(" times")[0])
    assert times == pytest.approx(2.0, rel=0.2)
    assert not scatter_flags(model.process_, wider[:7], exposures[:7], model.margins_.expected_losses)


def model_tables(history: LossHistory) -> tuple[np.ndarray, np.ndarray]:
    assert history.exposures is not None
    return history.losses.to_numpy(), history.exposures.to_numpy()


def panel(seed: int, years: int, crisis: float) -> LossHistory:
    """Ten members who lose together, in a crisis, or each by itself with the same chance."""
    rng = np.random.default_rng([21, seed])
    hit = rng.random((years, 1 if crisis else 10)) < (crisis or 0.15)
    losses = rng.lognormal(-0.5, 1.0, (years, 10)) * (hit & (rng.random((years, 10)) < 0.9))
    return LossHistory.from_panel(pd.DataFrame(losses, index=range(2024 - years, 2024)))


def quiet(model: JointLossModel) -> list[str]:
    return [flag for flag in model.flags_ if flag.startswith("nobody loses in")]


def test_crises_that_one_dependence_cannot_say_are_told() -> None:
    told = [quiet(JointLossModel().fit(panel(seed, 60, 0.15))) for seed in range(4)]
    assert sum(map(bool, told)) >= 3
    assert any("of 60 periods of the history, and in" in flag for flags in told for flag in flags)


def test_members_hit_by_themselves_are_quiet_as_often_as_in_scenarios() -> None:
    assert not [flag for seed in range(4) for flag in quiet(JointLossModel().fit(panel(seed, 60, 0.0)))]


def test_quiet_years_before_a_pool_grew_are_no_crises() -> None:
    """Ten members from the fortieth year on, one before: nobody else could lose."""
    rng = np.random.default_rng(22)
    losses = rng.lognormal(-0.5, 1.0, (60, 10)) * (rng.random((60, 10)) < 0.3)
    exposures = np.ones((60, 10))
    losses[:40, 1:] = exposures[:40, 1:] = 0.0
    tables = [pd.DataFrame(one, index=range(1964, 2024)) for one in (losses, exposures)]
    assert not quiet(JointLossModel().fit(LossHistory.from_panel(tables[0], exposures=tables[1])))
