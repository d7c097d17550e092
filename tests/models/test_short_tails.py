"""Layers that the fitted tail hardly reaches, or does not: lognormal losses, whose tail has no end."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.models import Coverage

RETENTION = float(np.exp(8 + stats.norm.ppf(0.999)))
RATE, MEMBERS, MONTHS = 0.8, 8, 48
TRUTH = RATE * MEMBERS * (np.exp(8.5) * stats.norm.sf(stats.norm.ppf(0.999) - 1) - RETENTION * 0.001)


def history(seed: int) -> LossHistory:
    """Some three hundred lognormal losses."""
    rng = np.random.default_rng(500 + seed)
    months = pd.period_range("2018-01", periods=MONTHS, freq="M")
    when, who = np.nonzero(counts := rng.poisson(RATE, (MONTHS, MEMBERS)))
    when, who = np.repeat(when, counts[when, who]), np.repeat(who, counts[when, who])
    days = months.start_time[when] + pd.to_timedelta(rng.integers(0, 27 * 86400, who.size), unit="s")
    frame = pd.DataFrame({"day": days, "who": [f"m{i}" for i in who], "usd": rng.lognormal(8, 1, who.size)})
    edges = {"start": months[0].start_time, "end": months[-1].start_time}
    exposures = {f"m{i}": 1.0 for i in range(MEMBERS)}
    return LossHistory.from_events(frame, date="day", member="who", loss="usd", exposures=exposures, **edges)


def said(model: JointLossModel) -> list[str]:
    return [flag for flag in model.flags_ if "what such a layer costs" in flag]


def short(seed: int) -> JointLossModel:
    return JointLossModel(coverage=Coverage(retention=RETENTION)).fit(history(seed))


def test_a_layer_where_the_fitted_tail_is_thin_is_said_to_be_hardly_known() -> None:
    model = short(9)
    (flag,) = said(model)
    assert f"The cover begins at {RETENTION:.3g} (money), and the fitted tail is thin there" in flag
    assert "hardly told by this history, and may be many times as much" in flag
    assert model.summary_["expected_loss"].sum() < 0.1 * TRUTH


def test_a_tail_that_ends_says_where() -> None:
    """Of shape -.26 here: before the layer begins."""
    model = short(15)
    (flag,) = said(model)
    assert float(flag.split("ends at ")[1].split(":")[0]) < RETENTION
    assert model.summary_["expected_loss"].sum() == 0


def test_nothing_is_said_without_a_layer_or_below_the_tail() -> None:
    for cover in (None, Coverage(retention=3000.0)):
        assert not said(JointLossModel(coverage=cover).fit(history(9)))
