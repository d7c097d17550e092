"""Frequencies whose exposure counts for more or less than it says: by its size, or by time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from calibrate.models.arrays import Floats, RandomState, broadcast, exposure_table, nonnegative, row_weights, table
from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.negative_binomial import NegativeBinomial

__all__ = ["Elastic", "Reshaped", "Trend"]

SIGNIFICANT = float(chi2.ppf(0.95, 1)) / 2  # log-likelihood that the coefficient must add to be kept


class Reshaped(BaseEstimator, ABC):  # type: ignore[misc]
    """A frequency `base` with one covariate: `log E N = log rate + log E + (c - neutral) x`, a regression.

    The coefficient `c` solves `sum w x (N - m) / (1 + m / k) = 0` (the likelihood equation, given the rates). Kept only
    if it adds 1.92 to the log-likelihood (5 % likelihood-ratio test), else exposures stay as they are.
    Fitted: `base_`, `coefficient_`, `gain_` (of log-likelihood, by the best coefficient), and what `base_` knows.

    Parameters
    ----------
    base : frequency estimator; `NegativeBinomial()` if not given.
    """

    base_: Frequency
    coefficient_: float
    gain_: float
    n_features_in_: int

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
        counts = nonnegative(table(self, X), "a count")
        weights = row_weights(sample_weight, len(counts))
        exposures = exposure_table(exposure, counts.shape)
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
        self.gain_ = max(0.0, chosen.log_likelihood_ - neutral.log_likelihood_)
        self.coefficient_ = float(best) if self.gain_ > SIGNIFICANT else self._neutral
        self.base_ = chosen if self.gain_ > SIGNIFICANT else neutral
        return self

    def _reshape(self, exposures: Floats, ages: Floats, coefficient: float) -> Floats:
        covariate = self._covariate(np.where(exposures > 0, exposures, 1.0), ages)
        return np.asarray(exposures * np.exp((coefficient - self._neutral) * covariate))

    @property
    def credibility_(self) -> Floats:
        """Of `base_`."""
        return self.base_.credibility_

    @property
    def size_(self) -> float:
        """Of `base_`."""
        return self.base_.size_

    @property
    def log_likelihood_(self) -> float:
        """Of `base_`."""
        return self.base_.log_likelihood_

    @property
    def means_(self) -> Floats:
        """Of `base_`."""
        return self.base_.means_

    @property
    def shared(self) -> bool:
        """Of `base_`."""
        return self.base_.shared

    def mean(self, exposure: Any = 1.0) -> Floats:
        """Expected count of each column at `exposure`, one period after the last."""
        return self.base_.mean(self._ahead(exposure))

    def variance(self, exposure: Any = 1.0) -> Floats:
        """Variance of each column's count, one period after the last."""
        return self.base_.variance(self._ahead(exposure))

    def zero_probability(self, exposure: Any = 1.0) -> Floats:
        """Probability of a period without losses, by column."""
        return self.base_.zero_probability(self._ahead(exposure))

    def ppf(self, q: Any, exposure: Any = 1.0) -> Any:
        """Quantile of each column's count."""
        return self.base_.ppf(q, self._ahead(exposure))

    def sample(self, exposure: Any = 1.0, random_state: RandomState = None, n: int = 1) -> Floats:
        """`n` independent counts for each column, shape (n, columns)."""
        return self.base_.sample(self._ahead(exposure), random_state, n)

    def positive_quantiles(self, uniform: Floats, mean: float) -> Any:
        """Counts given at least one, for the mean `mean`."""
        return self.base_.positive_quantiles(uniform, mean)

    def _ahead(self, exposure: Any) -> Floats:
        check_is_fitted(self)
        given = broadcast(exposure, self.n_features_in_)[None, :] / self._unit
        return np.asarray(self._reshape(given, np.full((1, 1), -1.0), self.coefficient_)[0])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


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
