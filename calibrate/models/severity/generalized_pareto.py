"""Peaks over a threshold: the generalized Pareto distribution."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import ModelError
from calibrate.models.severity.base import Floats, Severity
from calibrate.models.severity.intervals import Interval, TailProfile
from calibrate.models.severity.observation import Sample, share_above
from calibrate.models.severity.pareto_tail import exceedances, information, layer, log_density, log_growth, profile_fit
from calibrate.models.severity.threshold import ThresholdRule

__all__ = ["GeneralizedPareto"]

FEWEST = 10
SURE = 3.0  # standard deviations


class GeneralizedPareto(Severity):
    """The tail above a threshold `u`: `P(X > x) = p (1 + shape (x - u) / scale)^(-1 / shape)`, `p = P(X > u)`.

    `var(level) = u + scale/shape (((1 - level)/p)^(-shape) - 1)`; the mean excess over `v > u` is
    `(scale + shape (v - u)) / (1 - shape)`.
    Levels are those of the whole law, of which only losses above `u` are modelled: below, the answer is a refusal
    (`Spliced` adds a body). Under a deductible the levels refer to losses above the smallest deductible; to those above
    the threshold, if it is lower.
    Source: McNeil 1997, ASTIN Bulletin 27(1).

    Parameters
    ----------
    threshold : money, or a rule that chooses it (`SequentialThreshold()`, `QuantileThreshold(0.9)`).

    Fitted: `threshold_`, `shape_`, `scale_` (money), `n_exceedances_`, `exceedance_probability_` (`p`),
    `standard_errors_` (observed information), `log_likelihood_` (of the excesses). Fewer than 10 fully seen excesses
    are refused.

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
    excesses_: Sample

    def __init__(self, threshold: float | ThresholdRule = 0.0) -> None:
        self.threshold = threshold

    def _fit(self, sample: Sample) -> None:
        chosen = self.threshold.choose(sample) if isinstance(self.threshold, ThresholdRule) else self.threshold
        self.threshold_ = _checked(chosen)
        excesses = exceedances(sample, self.threshold_)
        self.n_exceedances_ = int((sample.losses > self.threshold_).sum())
        _refuse_thin(excesses, self.threshold_)
        self.shape_, self.scale_, self.log_likelihood_ = profile_fit(excesses)
        self.excesses_ = excesses.effective
        self.exceedance_probability_, self._evidence = share_above(sample, self.threshold_)
        self.has_mean_, self.n_parameters_ = self.shape_ < 1, 2
        self.has_density_ = self.exceedance_probability_ == 1
        self.endpoint_ = self.threshold_ - self.scale_ / self.shape_ if self.shape_ < 0 else math.inf

    @property
    def standard_errors_(self) -> pd.Series[float]:
        """Of `shape` and `scale`, observed information; NaN at shape <= -1/2, where the theory does not hold."""
        check_is_fitted(self)
        names = ["shape", "scale"]
        if self.shape_ <= -0.5:
            return pd.Series([math.nan, math.nan], index=names, name="standard error")
        covariance = np.linalg.inv(information(self.excesses_, self.shape_, self.scale_))
        return pd.Series(np.sqrt(np.diag(covariance)) * [1.0, self.scale_], index=names, name="standard error")

    def intervals(self, confidence: float = 0.95) -> pd.DataFrame:
        """Profile-likelihood intervals of shape and scale: columns `estimate, lower, upper`, in the unit of each."""
        profile = self._profile()
        rows = [profile.shape(confidence)[:3], profile.scale_of_excesses(confidence)[:3]]
        return pd.DataFrame(rows, index=["shape", "scale"], columns=["estimate", "lower", "upper"])

    def shape_interval(self, confidence: float = 0.95) -> Interval:
        """Profile-likelihood interval of the shape."""
        return self._profile().shape(confidence)

    def var_interval(self, level: float, confidence: float = 0.95) -> Interval:
        """Profile-likelihood interval of the value at risk, money; the uncertainty of `p` is in it.

        ModelError for a level so near that of the threshold that the quantile may lie below it.
        """
        self.var(level)
        self._refuse_below(level)
        return self._profile().var(level, self.threshold_, confidence)

    def expected_shortfall_interval(self, level: float, confidence: float = 0.95) -> Interval:
        """Profile-likelihood interval of the expected shortfall; upper limit infinite where shape 1 is not excluded."""
        self.expected_shortfall(level)
        self._refuse_below(level)
        return self._profile().expected_shortfall(level, self.threshold_, confidence)

    def _refuse_below(self, level: float) -> None:
        """Wilson's interval of `p` at three standard deviations: below its lower end the tail may not have begun."""
        p, n, z = self.exceedance_probability_, self._evidence, SURE
        if p == 1:
            return
        least = (p + z * z / (2 * n) - z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
        if 1 - level >= least:
            raise ModelError(
                f"level {level:g} is so near that of the threshold, {1 - p:.4g} as {n:,.0f} losses tell it, that the "
                f"quantile may lie below {self.threshold_:g}: ask for a level above {1 - least:.4g}, or lower the "
                "threshold"
            )

    def _profile(self) -> TailProfile:
        check_is_fitted(self)
        share, weight = self.exceedance_probability_, self._evidence
        return TailProfile(self.excesses_, self.shape_, self.scale_, share, weight)

    def _sf(self, x: Floats) -> Floats:
        if self.exceedance_probability_ < 1 and (x < self.threshold_).any():
            raise ModelError(self._no_body(f"losses below {self.threshold_:g}"))
        growth = log_growth(np.maximum(x - self.threshold_, 0.0) / self.scale_, self.shape_)
        return np.where(x < self.threshold_, 1.0, self.exceedance_probability_ * np.exp(-growth))

    def _isf(self, p: Floats) -> Floats:
        if (p > self.exceedance_probability_ * (1 + 1e-12)).any():
            raise ModelError(self._no_body(f"levels below {1 - self.exceedance_probability_:.4g}"))
        with np.errstate(divide="ignore"):
            logs = np.log(self.exceedance_probability_) - np.log(p)
        grown = np.expm1(self.shape_ * logs) / self.shape_ if self.shape_ else logs
        return np.asarray(self.threshold_ + self.scale_ * np.maximum(grown, 0.0))

    def _layer(self, low: float, high: float) -> float:
        if low < self.threshold_ and self.exceedance_probability_ < 1:
            raise ModelError(self._no_body(f"a layer from {low:g}"))
        flat = max(min(self.threshold_, high) - low, 0.0)
        a, b = (max(item - self.threshold_, 0.0) / self.scale_ for item in (low, high))
        return flat + self.exceedance_probability_ * self.scale_ * layer(a, b, self.shape_)

    def _log_density(self, x: Floats) -> Floats:
        z = (x - self.threshold_) / self.scale_
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = log_density(np.maximum(z, 0.0), self.shape_)
        outside = -np.inf if self.exceedance_probability_ == 1 else np.nan  # below the threshold nothing is known
        return np.where(z > 0, inside + math.log(self.exceedance_probability_ / self.scale_), outside)

    def _no_body(self, what: str) -> str:
        return (
            f"GeneralizedPareto knows the law above its threshold {self.threshold_:g} only "
            f"({self.exceedance_probability_:.4g} of the losses) and cannot answer for {what}; "
            "use Spliced(body=..., tail=GeneralizedPareto(...)) for the whole law"
        )


def _checked(threshold: float) -> float:
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ModelError(f"the threshold must be a finite amount >= 0, got {threshold}")
    return float(threshold)


def _refuse_thin(excesses: Sample, threshold: float) -> None:
    seen = excesses.losses[~excesses.censored]
    if seen.size < FEWEST:
        raise ModelError(
            f"GeneralizedPareto: {seen.size} fully seen losses exceed the threshold {threshold:g}; at least {FEWEST} "
            "are needed to say anything about a tail. Lower the threshold, or borrow the tail from a larger segment"
        )
    if seen.max() - seen.min() <= 1e-12 * (seen.max() + threshold):
        raise ModelError(
            f"GeneralizedPareto: the {seen.size} losses above {threshold:g} are all equal "
            f"({seen.max() + threshold:g}); a tail cannot be fitted to one number. Use Empirical"
        )
