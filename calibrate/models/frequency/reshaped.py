"""Frequencies whose exposure counts for more or less than it says: by its size, or by time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from calibrate.models.arrays import Floats, broadcast
from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.model import Open, Order, counted
from calibrate.models.frequency.negative_binomial import NegativeBinomial
from calibrate.models.frequency.reexposed import Reexposed

__all__ = ["Elastic", "Reshaped", "Trend"]

SIGNIFICANT = float(chi2.ppf(0.95, 1)) / 2  # log-likelihood that the coefficient must add to be kept


class Reshaped(Reexposed, Open, ABC):
    """A frequency `base` with one covariate: `log E N = log rate + log E + (c - neutral) x`, a regression.

    The coefficient `c` solves `sum w x (N - m) / (1 + m / k) = 0` (the likelihood equation, given the rates). Kept only
    if it adds 1.92 to the log-likelihood (5 % likelihood-ratio test; rates of columns integrated out), else exposures
    stay as they are.
    Fitted: `base_`, `coefficient_`, `gain_` (of `evidence_`, by the best coefficient), and what `base_` knows.

    Parameters
    ----------
    base : frequency estimator; `NegativeBinomial()` if not given.
    """

    coefficient_: float
    gain_: float

    def __init__(self, base: Frequency | None = None) -> None:
        self.base = base

    @property
    @abstractmethod
    def _neutral(self) -> float:
        """The coefficient that leaves exposures as they are."""

    @abstractmethod
    def _bounds(self, periods: int) -> tuple[float, float]:
        """Where the coefficient is looked for, given the number of periods."""

    @abstractmethod
    def _covariate(self, exposures: Floats, ages: Floats) -> Floats:
        """`x`, for exposures > 0 of order one in rows that lie `ages` (>= 0, in periods) before the last."""

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods in the order of time, columns); `y` is ignored. Errors as of `base`."""
        counts, exposures, weights = counted(self, X, sample_weight, exposure)
        self._unit = float(exposures.mean())
        exposures, ages = exposures / self._unit, np.arange(len(counts), dtype=np.float64)[::-1, None]
        covariate = self._covariate(np.where(exposures > 0, exposures, 1.0), ages)
        family = NegativeBinomial() if self.base is None else self.base

        def fitted(coefficient: float) -> Frequency:
            model: Frequency = clone(family)
            return model.fit(counts, None, weights, exposure=self._reshape(exposures, ages, coefficient))

        def score(coefficient: float) -> float:
            model = fitted(coefficient)
            return float(weights @ (model.residuals(counts) * covariate).sum(axis=1))

        low, high = self._bounds(len(counts))
        ends = score(low), score(high)
        best = brentq(score, low, high, xtol=1e-12, rtol=1e-12) if ends[0] > 0 > ends[1] else (low, high)[ends[1] > 0]
        neutral, chosen = fitted(self._neutral), fitted(float(best))
        self.gain_ = max(0.0, chosen.evidence_ - neutral.evidence_)
        self.coefficient_ = float(best) if self.kept else self._neutral
        self.base_ = chosen if self.kept else neutral
        return self

    @property
    def kept(self) -> bool:
        """Whether the coefficient adds enough to be there."""
        return self.gain_ > SIGNIFICANT

    def _reshape(self, exposures: Floats, ages: Floats, coefficient: float) -> Floats:
        covariate = self._covariate(np.where(exposures > 0, exposures, 1.0), ages)
        return np.asarray(exposures * np.exp((coefficient - self._neutral) * covariate))

    def _ahead(self, exposure: Any) -> Floats:
        check_is_fitted(self)
        given = broadcast(exposure, self.n_features_in_)[None, :] / self._unit
        return np.asarray(self._reshape(given, np.full((1, 1), -1.0), self.coefficient_)[0])


class Elastic(Reshaped):
    """Losses that grow with a power of exposure: `E N = rate * E^c`; `c = 1` is in proportion, `c = 0` not at all.

    Venues that grow a hundredfold do not have a hundred times the events; the power says how many.

    >>> exposure = np.repeat([1.0, 100.0], 20)
    >>> counts = np.r_[np.tile([1.0, 3.0], 10), np.tile([15.0, 25.0], 10)]
    >>> round(Elastic().fit(counts, exposure=exposure).coefficient_, 3)
    0.5
    """

    @property
    def _neutral(self) -> float:
        return 1.0

    def _bounds(self, periods: int) -> tuple[float, float]:
        return 0.0, 1.5

    def _covariate(self, exposures: Floats, ages: Floats) -> Floats:
        return np.log(exposures)

    @property
    def order(self) -> Order:
        """Nothing: exposures go with their periods."""
        return Order.NOTHING


class Trend(Reshaped):
    """Rates that grow or fall in time: `E N = rate * E * exp(c t)`, `t` in periods; forecasts are one period ahead.

    >>> counts = np.random.default_rng(0).poisson(5 * 1.03 ** np.arange(60))
    >>> bool(abs(Trend().fit(counts).coefficient_ - 0.03) < 0.01)
    True
    """

    @property
    def _neutral(self) -> float:
        return 0.0

    def _bounds(self, periods: int) -> tuple[float, float]:
        return -6.0 / max(periods, 2), 6.0 / max(periods, 2)

    def _covariate(self, exposures: Floats, ages: Floats) -> Floats:
        return -ages * np.ones_like(exposures)

    @property
    def order(self) -> Order:
        """When each period was."""
        return Order.PLACES
