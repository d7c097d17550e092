"""How a column's log-ratios scatter less when it is large, period by period: as they would be at its mean exposure."""

from __future__ import annotations

import numpy as np

from calibrate.models.arrays import Floats
from calibrate.models.open_family import worth
from calibrate.models.pooling import pooled_variances

__all__ = ["at_mean_exposure", "deviation_at", "log_growth", "time_exponent"]

EXPONENTS = np.linspace(-1.0, 0.0, 21)
FARTHEST = 10.0  # times as large or as small as in the mean of the history: no scatter is carried farther
WIDEST = 2.0  # log deviation that being smaller leads to


def log_growth(exposures: Floats, mean_exposures: Floats) -> Floats:
    """Log of exposures over those in the mean, as far as scatter is carried; 0 without exposure."""
    there = exposures > 0
    ratio = np.where(there, exposures, 1.0) / np.where(there, mean_exposures, 1.0)
    return np.asarray(np.log(ratio.clip(1 / FARTHEST, FARTHEST)))


def deviation_at(deviation: Floats, growth: Floats, exponent: float) -> Floats:
    """Log deviation of a ratio, `s g^(c/2)`, at such a `log_growth`."""
    return np.minimum(deviation * np.exp(exponent / 2 * growth), np.maximum(deviation, WIDEST))


def at_mean_exposure(logs: Floats, weights: Floats, growth: Floats, exponent: float) -> Floats:
    """Log-ratios (periods, columns) whose variance is `s^2 g^c`, as if it were `s^2`, at the same mean of the ratio.

    `g` of `growth`, its log, `c` the exponent. A lognormal ratio has the mean `exp(a + s^2 g^c / 2)`: where it scatters
    more its log is lower by that.
    """
    wider = np.exp(exponent * growth)
    precision, count = weights / wider, weights.sum(axis=0)
    scale = np.where(count > 0, precision.sum(axis=0), 1.0)
    scatter = (precision * (logs - (precision * logs).sum(axis=0) / scale) ** 2).sum(axis=0)
    freedom = count - 1
    variances = pooled_variances(np.where(freedom > 0, scatter / np.where(freedom > 0, freedom, 1.0), 0.0), freedom)[0]
    deviations = np.sqrt(variances)
    level = logs + (deviation_at(deviations, growth, exponent) ** 2 - variances) / 2
    means = (precision * level).sum(axis=0) / scale
    return np.where(weights > 0, means + (level - means) / np.sqrt(wider), 0.0)


def time_exponent(logs: Floats, weights: Floats, growth: Floats) -> float:
    """How variances fall where a column grows: `c` in `s^2 g^c`, any from -1 to 0 as likely as another before the data.

    -1 where a column's parts are independent, 0 where all of it moves together. The mean of `c`, weighted by the
    likelihood of normal `logs`, the columns' means and variances left out, to the power `worth` of columns that move
    together; -1/2 where nothing tells. Source: Harville 1974, Biometrika 61 (restricted likelihood).
    """
    count = weights.sum(axis=0)
    told = count > 1
    w, x, growth = weights[:, told], logs[:, told], growth[:, told]
    deviations = np.sqrt((w * (x - (w * x).sum(axis=0) / count[told]) ** 2).sum(axis=0) / (count[told] - 1))
    alone, likely = worth(x, w, deviations), []
    for c in EXPONENTS:
        precision = w * np.exp(-c * growth)
        mean = (precision * x).sum(axis=0) / precision.sum(axis=0)
        scatter = (precision * (x - mean) ** 2).sum(axis=0)
        moved = scatter > 1e-24
        known = (count[told] - 1)[moved] * np.log(scatter[moved])
        known += c * (w * growth).sum(axis=0)[moved] + np.log(precision.sum(axis=0)[moved])
        likely.append(-alone / 2 * float(known.sum()))
    chances = np.exp(np.array(likely) - max(likely))
    return float(chances @ EXPONENTS / chances.sum())
