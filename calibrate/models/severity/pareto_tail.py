"""Mathematics of the generalized Pareto law of an excess: likelihood, information, layers, one-dimensional fit."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from calibrate.models.severity.observation import Sample

__all__ = ["exceedances", "information", "layer", "log_density", "log_growth", "log_likelihood", "profile_fit"]

Floats = npt.NDArray[np.float64]
GRID, LOCATED_ON = 40, 128
NEAR_ZERO = 1e-5  # below this |shape|, derivatives in the shape are taken here: an error of the same relative size


def exceedances(sample: Sample, threshold: float) -> Sample:
    """Excesses over the threshold; a loss entered (deductible) above it keeps its entry."""
    above = sample.where(sample.losses > threshold)
    return Sample(above.losses - threshold, above.weights, np.maximum(above.entry - threshold, 0.0), above.censored)


def log_growth(z: Floats, shape: float) -> Floats:
    """`log(1 + shape z) / shape` (`z` at shape 0): minus the log survival of a standard excess `z >= 0`."""
    with np.errstate(divide="ignore"):
        return np.log1p(np.maximum(shape * z, -1.0)) / shape if shape else np.asarray(z)


def log_density(z: Floats, shape: float) -> Floats:
    """`-(1 + 1/shape) log(1 + shape z)` of a standard excess, minus infinity beyond its end; `shape >= -1`."""
    if shape <= -1:
        return np.where(z <= 1 + 1e-12, 0.0, -np.inf)
    return np.asarray(-(1 + shape) * log_growth(z, shape))


def layer(low: float, high: float, shape: float) -> float:
    """Integral of `(1 + shape z)^(-1/shape)` from `low` to `high`."""
    if abs(shape - 1) < 1e-9:
        return math.log1p(high) - math.log1p(low)
    if shape == 0:
        return math.exp(-low) - math.exp(-high)
    powers = [_power(1 + shape * z, 1 - 1 / shape) for z in (low, high)]
    return (powers[0] - powers[1]) / (1 - shape)


def _power(base: float, exponent: float) -> float:
    if base <= 0 or math.isinf(base):
        return 0.0
    return math.exp(exponent * math.log(base))


def log_likelihood(sample: Sample, shape: float, scale: float) -> float:
    """`sum w (seen: log f(y), censored: log S(y)) - sum w log S(entry)`,
    `log f = -log scale - (1 + 1/shape) log(1 + shape y / scale)`."""
    weights, z = sample.weights, sample.losses / scale
    growth = log_growth(z, shape)
    terms = np.where(sample.censored, -growth, log_density(z, shape) - math.log(scale))
    if sample.entry.any():
        terms = terms + log_growth(sample.entry / scale, shape)
    return float(weights @ terms)


def information(sample: Sample, shape: float, scale: float) -> Floats:
    """Observed information in (shape, log scale), shape > -1/2.

    With `r = z / (1 + shape z)`, `s = 1 / (1 + shape z)` and `G = log_growth`: second derivatives of `G` are
    `(-r^2 - 2 (r - G) / shape) / shape, r^2, r s` and of `shape G` are `-r^2, -r s, shape r s`.
    """
    shape = math.copysign(max(abs(shape), NEAR_ZERO), shape)
    seen = sample.weights * ~sample.censored
    matrix = _growth_curvature(sample.losses / scale, shape, sample.weights)
    if sample.entry.any():
        matrix -= _growth_curvature(sample.entry / scale, shape, sample.weights)
    z = sample.losses / scale
    s = 1 / (1 + shape * z)
    r = z * s
    a, b, c = -float(seen @ r**2), -float(seen @ (r * s)), shape * float(seen @ (r * s))
    matrix += np.array([[a, b], [b, c]])
    return matrix


def _growth_curvature(z: Floats, shape: float, weights: Floats) -> Floats:
    s = 1 / (1 + shape * z)
    r = z * s
    a = (-(r**2) - 2 * (r - np.log1p(shape * z) / shape) / shape) / shape
    matrix: Floats = np.array([[weights @ a, weights @ r**2], [weights @ r**2, weights @ (r * s)]])
    return matrix


def profile_fit(sample: Sample) -> tuple[float, float, float]:
    """Shape, scale and the largest log-likelihood over shape >= -1, for excesses under any one-sided scheme.

    With `t = shape / scale`, `m` the weight fully seen and `e` the entries (deductibles):
    `shape(t) = sum w (log(1 + t y) - log(1 + t e)) / m`, and the profile
    `l(t) / m = -log(shape(t) / t) - 1 - sum_seen w log(1 + t y) / m` has one variable (Grimshaw 1993). The maximum is
    located on a grid, then found as the root of the slope. Below shape -1 the likelihood has no maximum; the best at
    the edge is the uniform law up to the largest excess.
    """
    unit = float(np.exp2(np.frexp(sample.losses.mean())[1]))  # a power of two: exact
    scaled = sample.scaled(unit)
    profile = Profile(scaled)
    t = profile.best()
    shape, value = profile.shape(t), profile.m * profile.value(t)
    scale = shape / t
    edge = -profile.m * math.log(profile.top) if profile.whole else log_likelihood(scaled, -1.0, profile.top)
    if shape <= -1 or edge > value:
        shape, scale, value = -1.0, profile.top, edge
    return shape, scale * unit, value - profile.m * math.log(unit)


class Profile:
    """The profile as a function of `s`, `1 + t y_max = e^s`: the whole line; `s = 0` is the exponential law."""

    def __init__(self, sample: Sample) -> None:
        self.y, self.w = sample.losses, sample.weights
        self.entry = sample.entry if sample.entry.any() else None
        self.seen_w = np.where(sample.censored, 0.0, self.w)
        self.m = float(self.seen_w.sum())
        self.top = float(self.y.max())
        self.whole = self.entry is None and not sample.censored.any()
        self.thin = sample.losses.size >= 2 * LOCATED_ON and self.whole
        self.sample = sample

    def best(self) -> float:
        """The maximising `t`, never exactly 0."""
        grid = self._grid()
        t = self._t(grid)
        rough = self._rough() if self.thin else self
        k = int(np.argmax(rough._heights(t)))
        near = self._t(np.linspace(grid[max(k - 1, 0)], grid[min(k + 1, t.size - 1)], 14)[1:-1])
        start = float(near[np.argmax(rough._heights(near))])
        found = self._newton(start, float(t[max(k - 2, 0)]), float(t[min(k + 2, t.size - 1)]))
        if found is not None:
            return found
        left, right = self._bracket(grid, k)
        if left is None or right is None:
            return float(t[k])
        root = brentq(self._uphill, left, right, xtol=1e-13, rtol=1e-13, maxiter=200)
        return float(self._t(np.asarray(root)))

    def _newton(self, t: float, low: float, high: float) -> float | None:
        """Newton's steps on the slope within (low, high); None where they leave it or do not settle at a maximum."""
        for _ in range(12):
            slope, bend = self._slope(t)
            if bend >= 0:
                return None
            step = -slope / bend
            t += step
            if not low < t < high or abs(t) * self.top < 1e-6:
                return None
            if abs(step) <= max(1e-9 * abs(t), 1e-11 / self.top):  # the next step would be below rounding
                return t
        return None

    def _grid(self) -> Floats:
        spread = math.log(self.top / max(float(self.y.min()), 1e-300))
        far = min(3 * spread, 600.0) + 5.0
        middle = np.linspace(-1.6, 8.0, GRID // 2)
        return np.concatenate([np.linspace(-20.0, -2.0, GRID // 4), middle, np.arange(9.5, max(far, 12.0), 2.0)])

    def _rough(self) -> Profile:
        """The same profile on every so-manieth excess and the largest: to find the hill, not its top."""
        stride = self.y.size // LOCATED_ON
        y, w = np.append(self.y[::stride], self.top), np.append(self.w[::stride], self.w.mean() / stride)
        zeros = np.zeros(y.size)
        return Profile(Sample(y, w, zeros, zeros.astype(bool)))

    def _bracket(self, grid: Floats, k: int) -> tuple[float | None, float | None]:
        """Around grid point `k`, a point where the profile rises and one where it falls; None if there is none."""
        left, right = k, k
        while left >= 0 and not self._uphill(grid[left]) > 0:
            left -= 1
        while right < grid.size and not self._uphill(grid[right]) < 0:
            right += 1
        return (float(grid[left]) if left >= 0 else None, float(grid[right]) if right < grid.size else None)

    def _t(self, s: Floats) -> Floats:
        t = np.expm1(s) / self.top
        return np.where(np.abs(t) * self.top < 1e-10, 1e-10 / self.top, t)

    def shape(self, t: float) -> float:
        """Best shape given `t`."""
        total = float(self.w @ np.log1p(t * self.y))
        if self.entry is not None:
            total -= float(self.w @ np.log1p(t * self.entry))
        return total / self.m

    def value(self, t: float) -> float:
        """Profile log-likelihood a unit of seen weight."""
        shape = self.shape(t)
        burden = shape if self.whole else float(self.seen_w @ np.log1p(t * self.y)) / self.m
        return -math.log(shape / t) - 1.0 - burden

    def _heights(self, t: Floats) -> Floats:
        """Profile at many `t`, minus infinity where the shape is below -1."""
        logs = np.log1p(np.outer(t, self.y))
        shapes = logs @ self.w / self.m
        if self.entry is not None:
            shapes -= np.log1p(np.outer(t, self.entry)) @ self.w / self.m
        values = -np.log(shapes / t) - logs @ self.seen_w / self.m
        return np.asarray(np.where(shapes >= -1, values, -np.inf))

    def _uphill(self, s: float) -> float:
        return self._slope(float(self._t(np.asarray(s))))[0]

    def _slope(self, t: float) -> tuple[float, float]:
        """First and second derivative of the profile in `t`: `F / t` and `(t F' - F) / t^2`.

        `F = 1 - t k'/k - t b'`, `t k' = A`, `t b' = B` with `A`, `B` sums of `r = t y / (1 + t y)`; `t r' = r (1 - r)`.
        """
        growth = t * self.y
        ratio = growth / (1.0 + growth)
        a, a_more = _sums(self.w, ratio)
        b, b_more = (a, a_more) if self.whole else _sums(self.seen_w, ratio)
        if self.entry is not None:
            late = t * self.entry
            minus, minus_more = _sums(self.w, late / (1.0 + late))
            a, a_more = a - minus, a_more - minus_more
        weight = self.m * self.shape(t)
        value = 1.0 - a / weight - b / self.m
        change = -(a_more / weight - (a / weight) ** 2) - b_more / self.m
        return value / t, (change - value) / t**2


def _sums(weights: Floats, ratio: Floats) -> tuple[float, float]:
    weighted = weights * ratio
    first = float(weighted.sum())
    return first, first - float(weighted @ ratio)
