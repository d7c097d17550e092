"""Counts of all members at an intensity that wanders from period to period."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import gammaln
from sklearn.base import clone

from calibrate.models.arrays import Floats, broadcast
from calibrate.models.frequency.likelihood import log_probability
from calibrate.models.frequency.model import Order, counted
from calibrate.models.frequency.reexposed import Reexposed
from calibrate.models.frequency.shared_shock import SharedShock

__all__ = ["Drifting"]

DISCOUNTS = np.concatenate([1 - np.geomspace(0.95, 0.002, 40), [1.0]])
PRIOR = 1.0  # periods' worth of evidence that the intensity starts at its mean


class Drifting(Reexposed):
    """Poisson counts at `rate * exposure * G_t`, one `G` for all columns, which remembers where it was.

    `G_t` is gamma with shape `a` and rate `b`; a period adds its count to `a` and the expected count to `b`, and the
    next one knows `d a, d b`: the past fades by the discount `d`. So counts that come in waves (autocorrelation) are
    forecast from where the wave stands, each by a negative binomial law of size `d a`. `d` is the mean of a grid from
    0.05 to 1, weighted by likelihood; rates of the columns are those of `SharedShock`. Several periods ahead are drawn
    as if each began from here on its own: their sum scatters too little.
    Source: Smith and Miller 1986; Harvey and Fernandes 1989.

    Fitted: `discount_`, `level_` (mean of `G` in the period ahead), `levels_` (forecast for each period), `gain_` (of
    log-likelihood over `SharedShock`), `profile_` (Series: log-likelihood by discount, less its maximum), `base_` (with
    rates and size ahead).

    >>> counts = np.repeat([2.0, 20.0, 3.0, 18.0], 12)
    >>> model = Drifting().fit(counts)
    >>> bool(model.mean()[0] > 15), bool(model.gain_ > 20)
    (True, True)
    """

    discount_: float
    level_: float
    levels_: Floats
    gain_: float
    profile_: pd.Series[float]

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods in the order of time, columns); `y` is ignored. Errors as of `SharedShock`."""
        counts, exposures, weights = counted(self, X, sample_weight, exposure)
        self.base_ = clone(SharedShock()).fit(counts, None, weights, exposure=exposures)
        expected = self.base_.means_
        hits, means = counts.sum(axis=1), expected.sum(axis=1)
        values = np.array([_filtered(hits, means, weights, discount)[0] for discount in DISCOUNTS])
        chances = np.exp(values - values.max())
        self.profile_ = pd.Series(values - values.max(), pd.Index(DISCOUNTS, name="discount"), name="log-likelihood")
        self.discount_ = float(chances @ DISCOUNTS / chances.sum())
        value, shapes, self.levels_ = _filtered(hits, means, weights, self.discount_)
        value += float(weights @ _allocation(counts, expected))
        self.gain_ = max(0.0, value - self.base_.log_likelihood_)
        self.level_ = float(self.levels_[-1])
        self.levels_ = self.levels_[:-1]
        self.base_.means_ = expected * self.levels_[:, None]
        self.base_.rate_ = self.base_.rate_ * self.level_
        self.base_.collective_rate_ *= self.level_
        self.base_.size_, self.base_.log_likelihood_ = float(shapes[-1]), value
        return self

    @property
    def order(self) -> Order:
        """Which periods follow each other, and which is the last."""
        return Order.NEIGHBOURS

    def _ahead(self, exposure: Any) -> Floats:
        return broadcast(exposure, self.n_features_in_)


def _filtered(hits: Floats, means: Floats, weights: Floats, discount: float) -> tuple[float, Floats, Floats]:
    """Log-likelihood of the sums; shape and mean of the intensity as forecast for each period and the one ahead."""
    a = b = PRIOR
    shapes, levels = np.empty(len(hits) + 1), np.empty(len(hits) + 1)
    for t, (hit, mean, weight) in enumerate(zip(hits, means, weights, strict=True)):
        shapes[t], levels[t] = discount * a, a / b
        a, b = discount * a + weight * hit, discount * b + weight * mean
    shapes[-1], levels[-1] = discount * a, a / b
    m, k = levels[:-1] * means, shapes[:-1]
    safe = np.where(m > 0, m, 1.0)
    value = (
        gammaln(k + hits) - gammaln(k) - gammaln(hits + 1) - k * np.log1p(safe / k) + hits * np.log(safe / (k + safe))
    )
    return float(weights @ np.where(m > 0, value, 0.0)), shapes, levels


def _allocation(counts: Floats, means: Floats) -> Floats:
    """Log probability of who was hit, given how many: independent Poisson over the Poisson law of the sum."""
    total = log_probability(counts.sum(axis=1), means.sum(axis=1), np.inf)
    return np.asarray(log_probability(counts, means, np.inf).sum(axis=1) - total)
