"""The losses themselves as the model."""

from __future__ import annotations

import numpy as np

from calibrate.errors import ModelError
from calibrate.models.severity.base import Floats, Severity
from calibrate.models.severity.observation import Sample, product_limit

__all__ = ["Empirical"]


class Empirical(Severity):
    """Losses drawn from those seen: weights `w / sum w`; under truncation or censoring, the product-limit estimate.

    `values_` (ascending, distinct), `probabilities_` (sum 1). Nothing larger than the largest seen loss can happen:
    the tail is as long as the history. Weight left over by a censored largest loss stays at that loss, which is a
    lower bound. Under a deductible it is the law of losses above it. Source: Kaplan and Meier 1958.

    >>> model = Empirical().fit([1.0, 2.0, 3.0, 10.0])
    >>> model.mean(), model.var(0.5), model.expected_shortfall(0.75)
    (4.0, 2.0, 10.0)
    """

    values_: Floats
    probabilities_: Floats

    def _fit(self, sample: Sample) -> None:
        if sample.censored.all():
            raise ModelError(
                f"Empirical: all {sample.losses.size} losses are censored; at least one must be fully seen"
            )
        points, above = product_limit(sample)
        left = float(above[-1])
        top = float(sample.losses.max())
        if left > 1e-12 and top > points[-1]:
            points, above = np.append(points, top), np.append(above, 0.0)
        above[-1] = 0.0
        self.values_, self._above = points, above
        self.probabilities_ = -np.diff(above, prepend=1.0)
        self.has_mean_, self.endpoint_, self.n_parameters_ = True, float(points[-1]), points.size - 1
        self.has_density_ = False
        seen = sample.where(~sample.censored)
        self.log_likelihood_ = float(seen.weights @ self._log_density(seen.losses))

    def _sf(self, x: Floats) -> Floats:
        return np.concatenate([[1.0], self._above])[np.searchsorted(self.values_, x, side="right")]

    def _isf(self, p: Floats) -> Floats:
        position = np.searchsorted(-self._above, -np.asarray(p) * (1 + 1e-12) - 1e-15, side="left")
        return self.values_[np.minimum(position, self.values_.size - 1)]

    def _layer(self, low: float, high: float) -> float:
        return float(self.probabilities_ @ np.clip(np.minimum(self.values_, high) - low, 0.0, None))

    def _log_density(self, x: Floats) -> Floats:
        place = np.minimum(np.searchsorted(self.values_, x), self.values_.size - 1)
        with np.errstate(divide="ignore"):
            return np.where(self.values_[place] == x, np.log(self.probabilities_[place]), -np.inf)
