"""Lognormal losses."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from calibrate.models.severity.scale_family import Floats, ScaleFamily, Shape

__all__ = ["LogNormal"]


class LogNormal(ScaleFamily):
    """`log X ~ Normal(mu, sigma^2)`: `shape_ = sigma`, `scale_ = exp(mu)` (the median, in money).

    `E[(X - d)+] = e^(mu + sigma^2/2) Phi((mu + sigma^2 - log d)/sigma) - d Phi((mu - log d)/sigma)`.
    Source: Klugman, Panjer, Willmot, Loss Models, appendix A.

    >>> model = LogNormal().fit([1.0, 2.0, 4.0])
    >>> round(model.scale_, 6), round(model.sigma_, 6)
    (2.0, 0.565952)
    """

    shape_: float

    @property
    def mu_(self) -> float:
        """Mean of the logarithm."""
        return math.log(self.scale_)

    @property
    def sigma_(self) -> float:
        """Standard deviation of the logarithm."""
        return self.shape_

    def _start(self, z: Floats, weights: Floats) -> tuple[float, ...]:
        logs = np.log(z)
        mu = float(np.average(logs, weights=weights))
        return math.sqrt(float(np.average((logs - mu) ** 2, weights=weights))), math.exp(mu)

    def _z_log_density(self, z: Floats, *shapes: Shape) -> Floats:
        (sigma,) = shapes
        logs = np.log(z)
        return np.asarray(-logs - 0.5 * (logs / sigma) ** 2 - np.log(sigma * math.sqrt(2 * math.pi)))

    def _z_log_survival(self, z: Floats, *shapes: Shape) -> Floats:
        return np.asarray(log_ndtr(-np.log(z) / shapes[0]))

    def _z_isf(self, p: Floats, *shapes: float) -> Floats:
        return np.exp(-shapes[0] * ndtri(p))

    def _z_layer(self, low: float, high: float, *shapes: float) -> float:
        return _excess(low, shapes[0]) - _excess(high, shapes[0])


def _excess(d: float, sigma: float) -> float:
    if math.isinf(d):
        return 0.0
    log_d = math.log(d) if d > 0 else -math.inf
    return float(math.exp(sigma**2 / 2) * ndtr(sigma - log_d / sigma) - d * ndtr(-log_d / sigma))
