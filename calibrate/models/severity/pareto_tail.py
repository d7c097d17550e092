"""The one-dimensional profile likelihood of the generalized Pareto distribution (Grimshaw 1993), for any one-sided scheme."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from calibrate.models.severity.observation import Sample

__all__ = ["log_likelihood", "profile_fit"]

Floats = npt.NDArray[np.float64]
GRID = 48


def profile_fit(sample: Sample) -> tuple[float, float]:
    """Shape and scale that maximise the likelihood of excesses `y > 0` over shape >= -1.

    With `t = shape / scale`, `m` the weight fully seen, entry `e`:
    `shape(t) = sum w (log(1 + t y) - log(1 + t e)) / m`, and the profile
    `l(t) / m = -log(shape(t) / t) - 1 - sum_seen w log(1 + t y) / m` has one variable. Its maximum is global: bracketed on
    a grid, then the root of its slope. Below shape -1 the likelihood has no maximum; there the answer is the uniform
    law on (0, largest excess), shape -1.
    """
    unit = float(np.exp2(round(math.log2(sample.unit))))
    profile = Profile(sample.scaled(unit))
    t = profile.best()
    shape = profile.shape(t)
    top = float(sample.losses.max())
    boundary_better = (
        log_likelihood(sample, -1.0, top) > log_likelihood(sample, shape, shape / t * unit) if shape > -1 else True
    )
    if boundary_better:
        return -1.0, top
    return shape, shape / t * unit


def log_likelihood(sample: Sample, shape: float, scale: float) -> float:
    """`sum w (seen: -log scale - (1 + 1/shape) log(1 + shape y / scale); censored: log S(y)) - sum w log S(e)`."""
    w, seen = sample.weights, ~sample.censored
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = -_log_growth(sample.losses / scale, shape)
        density = (
            -math.log(scale) + survival - (np.log1p(np.maximum(shape * sample.losses / scale, -1.0)) if shape else 0.0)
        )
        if shape == -1.0:
            density = np.where(sample.losses <= scale, -math.log(scale), -np.inf)
        terms = np.where(seen, density, survival)
        if sample.entry.any():
            terms = terms + _log_growth(sample.entry / scale, shape)
    return float(w @ terms)


def _log_growth(z: Floats, shape: float) -> Floats:
    """`log(1 + shape z) / shape`, `z` at shape 0: minus the log survival."""
    return np.log1p(np.maximum(shape * z, -1.0)) / shape if shape else z


class Profile:
    """The profile as a function of `s`, `1 + t y_max = e^s`: the whole line, 0 the exponential law."""

    def __init__(self, sample: Sample) -> None:
        self.y, self.w = sample.losses, sample.weights
        self.entry = sample.entry if sample.entry.any() else None
        self.seen = None if not sample.censored.any() else ~sample.censored
        self.m = float(self.w.sum() if self.seen is None else self.w[self.seen].sum())
        self.top = float(self.y.max())

    def best(self) -> float:
        """The maximising `t`, never exactly 0."""
        spread = math.log(self.top / max(float(self.y.min()), 1e-300))
        low = -25.0
        grid = np.concatenate(
            [np.linspace(low, -1.5, GRID // 3), np.linspace(-1.0, min(3 * spread, 600.0) + 5.0, GRID)]
        )
        t = self._t(grid)
        values = np.array([self.value(item) for item in t])
        allowed = np.array([self.shape(item) >= -1 for item in t])
        values[~allowed] = -np.inf
        k = int(np.argmax(values))
        left, right = grid[max(k - 1, 0)], grid[min(k + 1, grid.size - 1)]
        if not self._uphill(left) > 0 > self._uphill(right):
            return float(t[k])
        return float(self._t(np.array(brentq(self._uphill, left, right, xtol=1e-15, rtol=1e-14, maxiter=200))))

    def _t(self, s: Floats) -> Floats:
        t = np.expm1(s) / self.top
        return np.where(np.abs(t) * self.top < 1e-10, 1e-10 / self.top, t)

    def shape(self, t: float) -> float:
        """Best shape given `t`."""
        logs = np.log1p(t * self.y)
        total = float(self.w @ logs)
        if self.entry is not None:
            total -= float(self.w @ np.log1p(t * self.entry))
        return total / self.m

    def value(self, t: float) -> float:
        """Profile log-likelihood a unit of seen weight."""
        logs = np.log1p(t * self.y)
        shape = self.shape(t)
        burden = shape if self.seen is None and self.entry is None else self._seen_sum(logs) / self.m
        return -math.log(shape / t) - 1.0 - burden

    def _uphill(self, s: float) -> float:
        """Slope of the profile in `t`, times `t`: `1 - t k'/k - t b'`."""
        t = float(self._t(np.asarray(s)))
        growth = t * self.y
        ratio = growth / (1.0 + growth)
        rising = float(self.w @ ratio)
        if self.entry is not None:
            late = t * self.entry
            rising -= float(self.w @ (late / (1.0 + late)))
        slope = 1.0 - rising / self.m / self.shape(t) - self._seen_sum(ratio) / self.m
        return slope / t

    def _seen_sum(self, values: Floats) -> float:
        return float(self.w @ values if self.seen is None else self.w[self.seen] @ values[self.seen])
