"""Weibull losses."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gamma, gammainc, gammaincc

from calibrate.models.severity.scale_family import Floats, ScaleFamily, Shape

__all__ = ["Weibull"]


class Weibull(ScaleFamily):
    """`P(X > x) = exp(-(x/s)^k)`: `shape_ = k`, `scale_ = s` (money); heavy for `k < 1`, all moments exist.

    Integral of the survival from `a` to `b`: `s Gamma(1 + 1/k) (Q(1/k, (a/s)^k) - Q(1/k, (b/s)^k))`.
    Source: Klugman, Panjer, Willmot, Loss Models, appendix A.

    >>> model = Weibull().fit((-np.log(1 - (np.arange(999) + 0.5) / 999)) ** 2)
    >>> round(model.shape_, 2), round(model.mean(), 1)
    (0.5, 2.0)
    """

    shape_: float

    def _start(self, z: Floats, weights: Floats) -> tuple[float, ...]:
        logs = np.log(z)
        mean = float(np.average(logs, weights=weights))
        deviation = math.sqrt(float(np.average((logs - mean) ** 2, weights=weights)))
        shape = math.pi / math.sqrt(6) / deviation  # log X is Gumbel: its standard deviation is pi / (k sqrt 6)
        return shape, math.exp(mean + np.euler_gamma / shape)

    def _z_log_density(self, z: Floats, *shapes: Shape) -> Floats:
        (k,) = shapes
        return np.asarray(np.log(k) + (k - 1) * np.log(z) - z**k)

    def _z_log_survival(self, z: Floats, *shapes: Shape) -> Floats:
        return np.asarray(-(z ** shapes[0]))

    def _z_isf(self, p: Floats, *shapes: float) -> Floats:
        with np.errstate(divide="ignore"):
            return np.asarray((-np.log(p)) ** (1 / shapes[0]))

    def _z_layer(self, low: float, high: float, *shapes: float) -> float:
        (k,) = shapes
        with np.errstate(over="ignore"):
            a, b = np.power([low, high], k)
        below = gammainc(1 / k, a) < 0.5
        part = gammainc(1 / k, b) - gammainc(1 / k, a) if below else gammaincc(1 / k, a) - gammaincc(1 / k, b)
        return float(gamma(1 + 1 / k) * part)
