"""Pareto losses above a known threshold."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.special import lambertw
from scipy.stats import chi2
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import DataError, ModelError
from calibrate.models.severity.base import Floats, Severity
from calibrate.models.severity.observation import Sample

__all__ = ["Pareto"]


class Pareto(Severity):
    """`P(X > x) = (x / threshold)^(-alpha)` for `x` above a known threshold: one parameter, the reinsurer's curve.

    `1/alpha = sum w log(max(x, threshold) / max(threshold, deductible)) / sum of fully seen w` (Hill 1975), `shape_`.
    Every loss must lie above the threshold; `GeneralizedPareto` leaves the smaller ones out. Mean for `alpha > 1`.

    Parameters
    ----------
    threshold : money, > 0; or the smallest fully seen loss if not given (its maximum-likelihood estimate, a little
        high; an open claim below it tells nothing, as every loss ends above it).

    Fitted: `alpha_`, `shape_`, `scale_` (the threshold), `standard_errors_`.

    >>> model = Pareto(threshold=1.0).fit(np.exp([0.2, 0.5, 0.8]))
    >>> round(model.alpha_, 6), round(model.mean(), 6)
    (2.0, 2.0)
    """

    alpha_: float
    shape_: float
    scale_: float
    standard_errors_: pd.Series[float]

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold

    def _fit(self, sample: Sample) -> None:
        self.scale_ = _smallest(sample) if self.threshold is None else _checked(float(self.threshold), sample)
        seen = float(sample.weights[~sample.censored].sum())
        above = np.maximum(sample.losses, self.scale_) / np.maximum(sample.entry, self.scale_)
        growth = float(sample.weights @ np.log(above))
        if not (seen > 0 and growth > 1e-12 * seen):
            raise ModelError(
                f"Pareto: {sample.losses.size} losses, {int((~sample.censored).sum())} fully seen, do not spread above "
                f"{self.scale_:g}, so that the tail index cannot be estimated; use Empirical, or a lower threshold"
            )
        self.alpha_ = seen / growth
        self.shape_, self.endpoint_ = 1.0 / self.alpha_, math.inf
        self.has_mean_, self.n_parameters_ = self.alpha_ > 1, 1 if self.threshold is not None else 2
        self.has_density_ = True
        self.log_likelihood_ = float(sample.weights @ self.log_terms(sample))
        self._evidence = float(sample.effective.weights[~sample.censored].sum())
        error = self.alpha_ / math.sqrt(self._evidence)
        self.standard_errors_ = pd.Series({"alpha": error}, name="standard error")

    def intervals(self, confidence: float = 0.95) -> pd.DataFrame:
        """Likelihood interval of alpha: where `2 m (r - 1 - log r) <= chi-squared quantile`, `r = alpha / estimate`.

        `m` is the number of fully seen losses (of those that the weights are worth).
        """
        check_is_fitted(self)
        if not 0 < confidence < 1:
            raise ModelError(f"a confidence must lie strictly between 0 and 1, got {confidence}")
        drop = -math.exp(-1.0 - float(chi2.ppf(confidence, 1)) / (2 * self._evidence))
        ends = [self.alpha_ * -float(lambertw(drop, branch).real) for branch in (0, -1)]
        return pd.DataFrame([[self.alpha_, *ends]], index=["alpha"], columns=["estimate", "lower", "upper"])

    def _sf(self, x: Floats) -> Floats:
        return np.asarray(np.exp(-self.alpha_ * np.log(np.maximum(x, self.scale_) / self.scale_)))

    def _isf(self, p: Floats) -> Floats:
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(self.scale_ * np.asarray(p, dtype=np.float64) ** -self.shape_)

    def _layer(self, low: float, high: float) -> float:
        flat = max(min(self.scale_, high) - low, 0.0)
        a, b = max(low / self.scale_, 1.0), max(high / self.scale_, 1.0)
        if abs(self.alpha_ - 1) < 1e-9:
            return flat + self.scale_ * math.log(b / a)
        power = 1 - self.alpha_
        return float(flat + self.scale_ * (a**power - b**power) / -power)

    def _log_density(self, x: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = math.log(self.alpha_) + self.alpha_ * math.log(self.scale_) - (self.alpha_ + 1) * np.log(x)
        return np.where(x >= self.scale_, inside, -np.inf)


def _smallest(sample: Sample) -> float:
    """The smallest fully seen loss; of bounds alone, which are refused, the smallest."""
    seen = sample.losses[~sample.censored]
    return float((seen if seen.size else sample.losses).min())


def _checked(threshold: float, sample: Sample) -> float:
    if not (math.isfinite(threshold) and threshold > 0):
        raise ModelError(f"Pareto: the threshold must be a finite amount > 0, got {threshold}")
    below = sample.losses < threshold
    if below.any():
        raise DataError(
            f"Pareto: {int(below.sum())} losses lie below the threshold {threshold:g} (the first is "
            f"{sample.losses[below][0]:g}); leave them out, lower the threshold, or use GeneralizedPareto"
        )
    return threshold
