"""Losses that are larger where more is exposed: known truths."""

import numpy as np
import pandas as pd
import pytest

from calibrate import JointLossModel, LossHistory

EXPOSURES = np.geomspace(1.0, 100.0, 12)


def history(seed: int, power: float, of_each: float = 0.0) -> LossHistory:
    """Twelve members with as many events each, five a year; sizes go with a power of exposure."""
    rng = np.random.default_rng([41, seed])
    scale = EXPOSURES**power * np.exp(of_each * rng.normal(size=12))
    rows = [
        (f"{year}-06-01", f"m{i}", scale[i] * rng.lognormal(-0.5, 1.0))
        for year in range(2014, 2024)
        for i in range(12)
        for _ in range(rng.poisson(0.5))
    ]
    frame = pd.DataFrame(rows, columns=["day", "who", "usd"])
    exposures = {f"m{i}": float(EXPOSURES[i]) for i in range(12)}
    dates = {"period": "Y", "start": 2014, "end": 2023}
    return LossHistory.from_events(frame, date="day", member="who", loss="usd", exposures=exposures, **dates)


def said(model: JointLossModel) -> list[str]:
    return [flag for flag in model.flags_ if "losses go with the power +" in flag]


@pytest.mark.slow
def test_sizes_that_go_with_exposure_are_told_by_all_members() -> None:
    """Members of five events: their own means are drawn to a common power of exposure, not to a common size."""
    ratios, powers = [], []
    for seed in range(20):
        model = JointLossModel().fit(history(seed, 1.0))
        (flag,) = said(model)
        powers.append(float(flag.split("power +")[1].split(" ")[0]))
        payment = model.summary_["mean_payment"].to_numpy()
        ratios.append(payment / EXPOSURES)
    means = np.mean(ratios, axis=0).reshape(4, 3).mean(axis=1)
    np.testing.assert_allclose(means / means.mean(), 1.0, atol=0.1)
    assert np.mean(powers) == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_sizes_that_do_not_go_with_exposure_have_no_power() -> None:
    assert sum(bool(said(JointLossModel().fit(history(seed, 0.0, of_each=0.4)))) for seed in range(20)) == 0
