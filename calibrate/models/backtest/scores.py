"""Scores by which two forecasters are compared: the smaller mean score is the better forecaster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from calibrate.errors import ModelError
from calibrate.models.backtest.forecasts import Forecasts

__all__ = ["ScoreComparison", "compare_scores", "joint_score"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScoreComparison:
    """Mean score of the first less that of the second (negative: the first is better) and its error.

    `p_worse` answers the question of a backtest: the chance of a difference so large where the first is no worse. Judge
    by it. `p_value` is that of a difference to either side, for two forecasters of whom none is the incumbent.
    """

    difference: float
    standard_error: float
    p_value: float
    p_worse: float


def joint_score(forecasts: Forecasts) -> Floats:
    """Score of VaR and ES together, a period: `(L - VaR)+ / ((1 - level) ES) + VaR / ES + log ES - 1`.

    Least in expectation for the true pair, and differences do not depend on the unit: the Fissler-Ziegel score of
    degree 0. Source: Fissler and Ziegel 2016; Patton, Ziegel and Chen 2019, equation 6.
    """
    var, es = forecasts.var, forecasts.expected_shortfall
    excess = np.clip(forecasts.losses - var, 0.0, None)
    return np.asarray(excess / ((1.0 - forecasts.level) * es) + var / es + np.log(es) - 1.0)


def compare_scores(first: Forecasts, second: Forecasts) -> ScoreComparison:
    """Is one forecaster better than the other by more than chance? Errors robust to autocorrelation.

    In 1,000 periods `p_worse` at 5 % has size 4.6 to 6.2 % and finds a forecaster a third too low worse than a right
    one in 99 and 88 % of the histories of |t4| losses (at 97.5 and 99 %), in 100 and 99 % of exponential ones, in 84
    and 56 % of lognormal ones (deviation 1): with heavier tails count exceedances. To either side 98, 80, 72, 40 %.
    Source: Diebold and Mariano 1995; Newey and West 1987 with `floor(4 (T/100)^(2/9))` lags.
    """
    if first.losses.size != second.losses.size or (first.losses != second.losses).any() or first.level != second.level:
        raise ModelError("two forecasters can be compared on the same losses at the same level only")
    gaps = joint_score(first) - joint_score(second)
    n, mean = gaps.size, float(gaps.mean())
    centred = gaps - mean
    lags = int(4 * (n / 100) ** (2 / 9))
    variance = float(centred @ centred) / n
    for lag in range(1, min(lags, n - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    error = float(np.sqrt(max(variance, 0.0) / n))
    if error == 0:
        return ScoreComparison(mean, error, float(mean == 0), float(mean <= 0))
    return ScoreComparison(mean, error, float(2 * ndtr(-abs(mean) / error)), float(ndtr(-mean / error)))
