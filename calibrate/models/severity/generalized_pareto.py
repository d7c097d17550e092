"""Peaks over a threshold: the generalized Pareto distribution."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from calibrate.errors import ModelError
from calibrate.models.severity.base import Floats, Severity
from calibrate.models.severity.likelihood import curvature
from calibrate.models.severity.observation import Sample, product_limit
from calibrate.models.severity.pareto_tail import log_likelihood, profile_fit
from calibrate.models.severity.threshold import ThresholdRule

__all__ = ["GeneralizedPareto"]

FEWEST = 10


class GeneralizedPareto(Severity):
    """The tail above a threshold `u`: `P(X > x) = p (1 + shape (x - u) / scale)^(-1 / shape)`, `p = P(X > u)`.

    `var(level) = u + scale/shape (((1 - level)/p)^(-shape) - 1)`; `E[X - v | X > v] = (scale + shape (v - u)) / (1 - shape)`.
    Levels are those of the whole law, of which only losses above `u` are modelled: below, the answer is a refusal
    (`Spliced` adds a body). Under a deductible the levels refer to losses above the smallest deductible.
    Source: McNeil 1997, ASTIN Bulletin 27(1).

    Parameters
    ----------
    threshold : money, or a rule that chooses it (`SequentialThreshold()`, `QuantileThreshold(0.9)`).

    Fitted: `threshold_`, `shape_`, `scale_` (money), `n_exceedances_`, `exceedance_probability_` (`p`),
    `standard_errors_` (observed information), `log_likelihood_` (of the excesses). Fewer than 10 fully seen excesses are refused.

    >>> x = 10 + 5 * ((1 - (np.arange(200) + 0.5) / 200) ** -0.5 - 1) / 0.5
    >>> model = GeneralizedPareto(threshold=10).fit(x)
    >>> round(model.shape_, 1), model.n_exceedances_
    (0.5, 200)
    """

    threshold_: float
    shape_: float
    scale_: float
    n_exceedances_: int
    exceedance_probability_: float
    standard_errors_: pd.Series[float]

    def __init__(self, threshold: float | ThresholdRule = 0.0) -> None:
        self.threshold = threshold

    def _fit(self, sample: Sample) -> None:
        chosen = self.threshold.choose(sample) if isinstance(self.threshold, ThresholdRule) else self.threshold
        self.threshold_ = _checked(chosen)
        excesses = exceedances(sample, self.threshold_)
        self.n_exceedances_ = int((sample.losses > self.threshold_).sum())
        _refuse_thin(excesses, self.threshold_)
        self.shape_, self.scale_ = profile_fit(excesses)
        self.exceedance_probability_ = _share_above(sample, self.threshold_)
        self.has_mean_, self.n_parameters_ = self.shape_ < 1, 2
        self.endpoint_ = self.threshold_ - self.scale_ / self.shape_ if self.shape_ < 0 else math.inf
        self.log_likelihood_ = log_likelihood(excesses, self.shape_, self.scale_)
        self.standard_errors_ = _standard_errors(excesses, self.shape_, self.scale_)

    def tail_mean_excess(self, level: float) -> float:
        """`E[X - v | X > v]` at the quantile `v` of `level`, money."""
        return self.expected_shortfall(level) - self.var(level)

    def _sf(self, x: Floats) -> Floats:
        if self.exceedance_probability_ < 1 and (x < self.threshold_).any():
            raise ModelError(self._no_body(f"losses below {self.threshold_:g}"))
        growth = _log_growth((x - self.threshold_) / self.scale_, self.shape_)
        return np.where(x < self.threshold_, 1.0, self.exceedance_probability_ * np.exp(-growth))

    def _isf(self, p: Floats) -> Floats:
        if (p > self.exceedance_probability_ * (1 + 1e-12)).any():
            raise ModelError(self._no_body(f"levels below {1 - self.exceedance_probability_:.4g}"))
        with np.errstate(divide="ignore"):
            logs = np.log(self.exceedance_probability_) - np.log(p)
        grown = np.expm1(self.shape_ * logs) / self.shape_ if self.shape_ else logs
        return self.threshold_ + self.scale_ * np.maximum(grown, 0.0)

    def _layer(self, low: float, high: float) -> float:
        if low < self.threshold_ and self.exceedance_probability_ < 1:
            raise ModelError(self._no_body(f"a layer from {low:g}"))
        flat = max(min(self.threshold_, high) - low, 0.0)
        a, b = (max(item - self.threshold_, 0.0) / self.scale_ for item in (low, high))
        return flat + self.exceedance_probability_ * self.scale_ * _layer(a, b, self.shape_)

    def _log_density(self, x: Floats) -> Floats:
        z = (x - self.threshold_) / self.scale_
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = -(1 + self.shape_) * _log_growth(z, self.shape_) + math.log(
                self.exceedance_probability_ / self.scale_
            )
        return np.where(
            (z > 0) & (x <= self.endpoint_), inside, -np.inf if self.exceedance_probability_ == 1 else np.nan
        )

    def _no_body(self, what: str) -> str:
        return (
            f"GeneralizedPareto knows the law above its threshold {self.threshold_:g} only "
            f"({self.exceedance_probability_:.4g} of the losses) and cannot answer for {what}; "
            "use Spliced(body=..., tail=GeneralizedPareto(...)) for the whole law"
        )


def exceedances(sample: Sample, threshold: float) -> Sample:
    """Excesses over the threshold; a loss entered (deductible) above it keeps its entry."""
    above = sample.where(sample.losses > threshold)
    return Sample(above.losses - threshold, above.weights, np.maximum(above.entry - threshold, 0.0), above.censored)


def _checked(threshold: float) -> float:
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ModelError(f"the threshold must be a finite amount >= 0, got {threshold}")
    return float(threshold)


def _refuse_thin(excesses: Sample, threshold: float) -> None:
    seen = excesses.losses[~excesses.censored]
    if seen.size < FEWEST:
        raise ModelError(
            f"GeneralizedPareto: {seen.size} fully seen losses exceed the threshold {threshold:g}; at least {FEWEST} are needed to "
            "say anything about a tail. Lower the threshold, or borrow the tail from a larger segment"
        )
    if seen.max() - seen.min() <= 1e-12 * (seen.max() + threshold):
        raise ModelError(
            f"GeneralizedPareto: the {seen.size} losses above {threshold:g} are all equal ({seen.max() + threshold:g}); a tail cannot "
            "be fitted to one number. Use Empirical"
        )


def _share_above(sample: Sample, threshold: float) -> float:
    if sample.complete:
        return float(sample.weights[sample.losses > threshold].sum() / sample.weight)
    points, above = product_limit(sample)
    place = int(np.searchsorted(points, threshold, side="right"))
    return float(above[place - 1]) if place else 1.0


def _standard_errors(excesses: Sample, shape: float, scale: float) -> pd.Series[float]:
    """From the observed information in (shape, log scale); NaN where shape <= -1/2, where the theory does not hold."""
    names = ["shape", "scale"]
    if shape <= -0.5:
        return pd.Series([math.nan, math.nan], index=names, name="standard error")
    scaled, weight = excesses.scaled(scale), excesses.weight

    def mean_log_likelihood(theta: Floats) -> float:
        return log_likelihood(scaled, float(theta[0]), math.exp(theta[1])) / weight

    covariance = np.linalg.inv(-curvature(mean_log_likelihood, np.array([shape, 0.0])) * weight)
    with np.errstate(invalid="ignore"):
        errors = np.sqrt(np.diag(covariance)) * [1.0, scale]
    return pd.Series(errors, index=names, name="standard error")


def _log_growth(z: Floats, shape: float) -> Floats:
    z = np.maximum(z, 0.0)
    with np.errstate(divide="ignore"):
        return np.log1p(np.maximum(shape * z, -1.0)) / shape if shape else z


def _layer(a: float, b: float, shape: float) -> float:
    """Integral of `(1 + shape z)^(-1/shape)` from a to b."""
    if abs(shape - 1) < 1e-9:
        return math.log1p(b) - math.log1p(a)
    if shape == 0:
        return math.exp(-a) - math.exp(-b)
    power = 1 - 1 / shape
    first, last = max(1 + shape * a, 0.0), max(1 + shape * b, 0.0)
    high = 0.0 if math.isinf(last) or last == 0 else math.exp(power * math.log(last))
    low = 0.0 if first == 0 else math.exp(power * math.log(first))
    return (low - high) / (1 - shape)
