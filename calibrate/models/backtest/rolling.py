"""The model as it would have been used: refitted to what was known, asked about the period that followed."""

from __future__ import annotations

import inspect
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from calibrate.errors import DataError, ModelError
from calibrate.history import LossHistory
from calibrate.models.arrays import Floats
from calibrate.models.backtest.exams import (
    AcerbiSzekelyConditional,
    AcerbiSzekelyUnconditional,
    ChristoffersenCoverage,
    ChristoffersenIndependence,
    ForecastTest,
    Kupiec,
    traffic_light,
)
from calibrate.models.backtest.forecasts import Forecasts
from calibrate.models.backtest.realised import asked_of, realised
from calibrate.models.backtest.scores import joint_score

__all__ = ["backtest_table", "rolling_forecasts"]

logger = logging.getLogger(__name__)

TESTS = (
    Kupiec(),
    ChristoffersenIndependence(),
    ChristoffersenCoverage(),
    AcerbiSzekelyConditional(),
    AcerbiSzekelyUnconditional(),
)
FEWEST_EXPECTED = 5.0


def rolling_forecasts(
    history: LossHistory, model: Any, *, first: Any, level: float = 0.99, n: int = 10_000, random_state: int = 0
) -> Forecasts:
    """Forecasts of what the pool pays, one period ahead, from the period of `first` to the last one.

    For each period the model (anything with `fit(history)` and `sample(n, random_state)`, e.g. `JointLossModel()`) is
    cloned and fitted to the history up to the period before, and asked at the exposures of the period itself where
    `sample` takes them. The draws of each period have their own seed; scenarios with probabilities of their own are
    drawn from by these. Losses are what the model's cover and cap leave of the events (`realised`), of the members who
    were there before: one who enters in the period is not forecast, and `notes` say so. ModelError names the period at
    whose end the model could not be fitted.
    """
    periods, start = history.periods, _start(history, first)
    paid, notes = realised(history, model, start)
    seeds = np.random.SeedSequence(random_state).spawn(len(periods))
    losses, draws = np.empty(len(periods) - start), np.empty((len(periods) - start, n))
    for row, place in enumerate(range(start, len(periods))):
        known = history.until(periods[place - 1].end_time)
        draws[row] = _ahead(model, known, _exposures(history, place), n, seeds[place], str(periods[place]))
        new = ~np.isin(history.members, known.members)
        losses[row] = paid[place, ~new].sum()
        if paid[place, new].any():
            names = ", ".join(repr(history.members[i]) for i in np.flatnonzero(new & (paid[place] > 0)))
            lost = f"losses of {names}, {paid[place, new].sum():g} in all"
            notes.append(f"{periods[place]}: {lost}, are left out: new in this period, they were not forecast")
    for note in notes:
        logger.warning(note)
    return replace(Forecasts.from_draws(losses, draws, level, periods[start:]), notes=tuple(notes))


def _start(history: LossHistory, first: Any) -> int:
    """Place of the first period to be forecast."""
    periods = history.periods
    try:
        start = int((periods < pd.Period(first, periods.freqstr)).sum())
    except (TypeError, ValueError):
        start = 0
    if not 1 <= start < len(periods):
        raise DataError(
            f"first must name a period after {periods[0]} and not after {periods[-1]} (something must be known "
            f"before it), got {first!r}"
        )
    return start


def _exposures(history: LossHistory, place: int) -> pd.Series[float] | None:
    """Exposures of a period by the columns of the losses."""
    return None if history.exposures is None else history.exposures.iloc[place]


def _ahead(
    model: Any,
    known: LossHistory,
    exposures: pd.Series[float] | None,
    n: int,
    seed: np.random.SeedSequence,
    period: str,
) -> Floats:
    """Draws of the pool's loss in the period after what is known."""
    at: dict[str, Any] = {}
    if exposures is not None and "exposures" in inspect.signature(model.sample).parameters:
        at["exposures"] = exposures
    try:
        scenarios = asked_of(model, known.members).fit(known).sample(n, seed, **at)
    except ModelError as error:
        raise ModelError(
            f"at the end of {known.periods[-1]}, when {len(known.periods)} periods were known: {error}; or let "
            f"first be later than {period}"
        ) from error
    return _equally_likely(np.asarray(scenarios.losses.sum(axis=1)), scenarios.probabilities, n, seed)


def _equally_likely(losses: Floats, probabilities: Floats, n: int, seed: np.random.SeedSequence) -> Floats:
    """`n` draws from scenarios: these themselves, or by systematic resampling where they are weighted or not `n`."""
    if len(losses) == n and np.ptp(probabilities) == 0:
        return losses
    below = np.cumsum(probabilities)
    offset = np.random.default_rng(seed.spawn(1)[0]).random()  # a child: the seed itself has drawn the scenarios
    rows = np.searchsorted(below / below[-1], (np.arange(n) + offset) / n, side="right")
    return losses[np.minimum(rows, len(losses) - 1)]


def backtest_table(
    forecasts: Forecasts, *, tests: tuple[ForecastTest, ...] = TESTS, size: float = 0.05, random_state: int = 0
) -> pd.DataFrame:
    """One test a row: `statistic, p_value, power, verdict`.

    `power` is the chance that the test notices forecasts a third too low, in as many periods (NaN without draws).
    Below 5 expected exceedances the verdict says "cannot tell" where the test does not reject: silence is no praise.

    >>> rng = np.random.default_rng(1)
    >>> forecasts = Forecasts.from_draws(rng.exponential(2.0, 500), rng.exponential(1.0, (500, 1000)), 0.95)
    >>> backtest_table(forecasts).loc["Kupiec", "verdict"]
    'rejected'
    """
    light = traffic_light(forecasts)
    rows: list[dict[str, object]] = []
    for test in tests:
        if test.needs_draws and forecasts.draws is None:
            continue
        result = test(forecasts, random_state)
        power = test.power(forecasts, size=size, random_state=random_state) if forecasts.draws is not None else np.nan
        thin = forecasts.expected_exceedances < FEWEST_EXPECTED
        verdict = "rejected" if result.p_value <= size else "cannot tell" if thin else "not rejected"
        rows.append(
            {
                "test": result.name,
                "statistic": result.statistic,
                "p_value": result.p_value,
                "power": power,
                "verdict": verdict,
            }
        )
    rows.append(
        {
            "test": "TrafficLight",
            "statistic": float(light.exceedances),
            "p_value": light.p_value,
            "power": np.nan,
            "verdict": light.zone,
        }
    )
    score = float(joint_score(forecasts).mean())
    rows.append({"test": "mean joint score", "statistic": score, "p_value": np.nan, "power": np.nan, "verdict": ""})
    return pd.DataFrame(rows).set_index("test")
