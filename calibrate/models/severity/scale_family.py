"""Families of losses that differ by a scale and a few shapes: their fit stands here, their law in the family's file."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import ModelError
from calibrate.models.severity.base import Severity
from calibrate.models.severity.intervals import ProfileSearch
from calibrate.models.severity.likelihood import curvature, maximise
from calibrate.models.severity.observation import Sample

__all__ = ["ScaleFamily"]

Floats = npt.NDArray[np.float64]
Shape = float | Floats
LARGEST_BLOCK = 20_000  # numbers held at once while many points are tried
LEAST_BODY = 1e-3  # of a law may lie below the threshold: of less, the digits are lost
SMALLEST_SPREAD = 1e-6  # losses that agree to a millionth are one number, rounded


class ScaleFamily(Severity):
    """A family `X = scale * Z`, the law of `Z` known by positive shape parameters; fitted by maximum likelihood.

    A subclass names its shape parameters and says the law of `Z`: log density, log survival, quantile, layer and where
    to start. `log L = sum w (log f(x) if seen, log S(x) if censored, - log S(deductible))`. Standard errors: observed
    information, in the unit of each parameter; of as many losses as the weights are worth (`Sample.effective`).
    """

    shapes: ClassVar[tuple[str, ...]] = ("shape_",)
    scale_: float
    standard_errors_: pd.Series[float]
    observed_: Sample
    unit_: float
    _below: tuple[float, float] | None = None  # of the body of a splice: threshold in units, share of losses above it

    @abstractmethod
    def _start(self, z: Floats, weights: Floats) -> tuple[float, ...]:
        """Shapes and scale to begin with, for losses of order one."""

    @abstractmethod
    def _z_log_density(self, z: Floats, *shapes: Shape) -> Floats:
        """At many losses; the shapes are numbers, or columns that broadcast against `z`."""

    @abstractmethod
    def _z_log_survival(self, z: Floats, *shapes: Shape) -> Floats:
        """Likewise."""

    @abstractmethod
    def _z_isf(self, p: Floats, *shapes: float) -> Floats: ...

    @abstractmethod
    def _z_layer(self, low: float, high: float, *shapes: float) -> float: ...

    def _z_has_mean(self, *shapes: float) -> bool:
        return True

    def _fit(self, sample: Sample) -> None:
        self._refuse_degenerate(sample)
        scaled = sample.scaled(sample.unit)
        start = np.log(self._start(scaled.losses, scaled.weights))
        self._below = None
        self._settle(scaled, sample.unit, start)

    def fit_below(self, sample: Sample, threshold: float, share: float) -> None:
        """Go on from a fit, to the likeliest body of a splice at a threshold, whose tail has this `share` of losses.

        Deductibles are below the threshold, and some losses have none. ModelError, and the fit that was, where none is
        likeliest.
        """
        start = np.log([*self._shape_values, self.scale_ / self.unit_])
        self._below = threshold / self.unit_, share
        try:
            self._settle(sample.scaled(self.unit_), self.unit_, start)
        except ModelError:
            self._below = None
            raise

    def _settle(self, scaled: Sample, unit: float, start: Floats) -> None:
        """The parameters of the largest log-likelihood, and what is known of them."""

        def mean_log_likelihood(points: Floats) -> Floats:
            return self._height(scaled, points) / scaled.weight

        theta = maximise(mean_log_likelihood, start, type(self).__name__)
        observed = scaled.effective
        information = -curvature(mean_log_likelihood, theta) * observed.weight
        *found, scale = np.exp(theta)
        for name, value in zip(self.shapes, found, strict=True):
            setattr(self, name, float(value))
        self.scale_ = float(scale * unit)
        self.endpoint_, self.has_density_, self.n_parameters_ = math.inf, True, theta.size
        self.has_mean_ = self._z_has_mean(*found)
        seen = float(scaled.weights[~scaled.censored].sum())
        self.log_likelihood_ = float(self._height(scaled, theta[None])[0]) - seen * math.log(unit)
        self.standard_errors_ = self._standard_errors(information)
        self.observed_, self.unit_ = observed, unit

    def intervals(self, confidence: float = 0.95) -> pd.DataFrame:
        """Profile-likelihood intervals of the parameters: columns `estimate, lower, upper`, in the unit of each."""
        check_is_fitted(self)
        names = [*self.shapes, "scale_"]
        theta = np.log([*self._shape_values, self.scale_ / self.unit_])
        rows = [self._interval(place, theta, confidence) for place in range(theta.size)]
        units = np.array([1.0] * len(self.shapes) + [self.unit_])
        frame = pd.DataFrame(rows, index=[name.rstrip("_") for name in names], columns=["estimate", "lower", "upper"])
        return frame.mul(units, axis=0)

    def _interval(self, place: int, theta: Floats, confidence: float) -> tuple[float, float, float]:
        def height(points: Floats) -> Floats:
            return self._height(self.observed_, np.insert(points[:, 1:], place, points[:, 0], axis=1))

        rest, best = np.delete(theta, place), float(theta[place])
        search = ProfileSearch(height, [rest], self.observed_.weight, free=rest.size)
        with np.errstate(all="ignore"):
            lower, upper = search.limits(best, rest, lambda sign, d: best + sign * 0.1 * d, confidence)
        return math.exp(best), math.exp(lower), math.exp(upper)

    def _standard_errors(self, information: Floats) -> pd.Series[float]:
        """Delta method from log-parameters: `se(exp t) = exp(t) se(t)`."""
        values = np.array([*self._shape_values, self.scale_])
        with np.errstate(invalid="ignore"):
            errors = values * np.sqrt(np.diag(np.linalg.inv(information)))
        return pd.Series(errors, index=[name.rstrip("_") for name in (*self.shapes, "scale_")], name="standard error")

    def _height(self, sample: Sample, points: Floats) -> Floats:
        """What the fit is the maximum of: the log-likelihood, of the whole law or of the body of a splice."""
        if self._below is None:
            return self._log_likelihood(sample, points)
        return self._spliced(sample, *self._below, points)

    def _log_likelihood(self, sample: Sample, points: Floats) -> Floats:
        """At many points of log-parameters (k, shapes and scale); minus infinity where it is not finite."""
        if len(points) > 1 and len(points) * sample.losses.size > LARGEST_BLOCK:
            return np.concatenate([self._log_likelihood(sample, point[None]) for point in points])
        with np.errstate(all="ignore"):
            *shapes, scale = np.exp(points).T[:, :, None]
            seen, (amounts, weights) = ~sample.censored, sample.survived
            w, z = sample.weights[seen], sample.losses[seen] / scale
            value = self._z_log_density(z, *shapes) @ w - points[:, -1] * float(w.sum())
            if amounts.size:
                value += self._z_log_survival(amounts / scale, *shapes) @ weights
        return np.where(np.isfinite(value), value, -np.inf)

    def _spliced(self, sample: Sample, threshold: float, share: float, points: Floats) -> Floats:
        """Log-likelihood as `_log_likelihood`, of the body of a splice: `P(X <= x) = (1 - p) B(x) / B(u)` up to `u`."""
        if len(points) > 1 and len(points) * sample.losses.size > LARGEST_BLOCK:
            return np.concatenate([self._spliced(sample, threshold, share, point[None]) for point in points])
        with np.errstate(all="ignore"):
            *shapes, scale = np.exp(points).T[:, :, None]

            def below(amounts: Floats) -> Floats:
                return np.asarray(-np.expm1(self._z_log_survival(amounts / scale, *shapes)))

            whole, body = below(np.array([threshold])), sample.losses <= threshold
            kept = (1 - share) / whole
            seen, (amounts, weights) = body & ~sample.censored, sample.survived
            w, z = sample.weights[seen], sample.losses[seen] / scale
            value = self._z_log_density(z, *shapes) @ w + (np.log(kept) - np.log(scale))[:, 0] * float(w.sum())
            inside = amounts <= threshold
            value += np.log1p(-kept * below(amounts[inside])) @ weights[inside]
        return np.where(np.isfinite(value) & (whole[:, 0] > LEAST_BODY), value, -np.inf)

    def _refuse_degenerate(self, sample: Sample) -> None:
        distinct = np.unique(sample.losses[~sample.censored])
        needed = len(self.shapes) + 1
        spread = distinct.size and distinct[-1] / distinct[0] - 1 > SMALLEST_SPREAD
        if distinct.size < needed or not spread:
            what = (
                f"all equal {distinct[0]:g}"
                if distinct.size == 1
                else f"have only {distinct.size} distinct fully seen values"
            )
            raise ModelError(
                f"{type(self).__name__}: the {sample.losses.size} losses {what}; at least {needed} distinct ones are "
                f"needed to fit {needed} parameters. Use Empirical, or borrow from a larger segment"
            )

    @property
    def _shape_values(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.shapes)

    def _sf(self, x: Floats) -> Floats:
        positive = np.maximum(x, 0.0) / self.scale_
        with np.errstate(divide="ignore"):
            return np.exp(self._z_log_survival(positive, *self._shape_values))

    def _isf(self, p: Floats) -> Floats:
        return self.scale_ * self._z_isf(p, *self._shape_values)

    def _layer(self, low: float, high: float) -> float:
        return self.scale_ * float(self._z_layer(low / self.scale_, high / self.scale_, *self._shape_values))

    def _log_density(self, x: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = self._z_log_density(x / self.scale_, *self._shape_values) - math.log(self.scale_)
        return np.where(x > 0, inside, -np.inf)
