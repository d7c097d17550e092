"""Lognormal losses."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from calibrate.models.severity.scale_family import Floats, ScaleFamily, Shape

__all__ = ["LogNormal"]

LARGEST = 700.0  # log of a mean: beyond it is no number


class LogNormal(ScaleFamily):
    """`log X ~ Normal(mu, sigma^2)`: `shape_ = sigma`, `scale_ = exp(mu)` (the median, in money).

    `E[(X - d)+] = e^(mu + sigma^2/2) Phi((mu + sigma^2 - log d)/sigma) - d Phi((mu - log d)/sigma)`, and
    `E[min(X, d)] = e^(mu + sigma^2/2) Phi((log d - mu - sigma^2)/sigma) + d Phi((mu - log d)/sigma)`.
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

    def _z_has_mean(self, *shapes: float) -> bool:
        return shapes[0] ** 2 / 2 < LARGEST

    def _z_layer(self, low: float, high: float, *shapes: float) -> float:
        (sigma,) = shapes
        if low > 0 and math.log(low) > sigma**2:
            return _excess(low, sigma) - _excess(high, sigma)
        return _limited(high, sigma) - _limited(low, sigma)


def _excess(d: float, sigma: float) -> float:
    """`E[(Z - d)+]`: exact where little lies beyond `d`."""
    if math.isinf(d):
        return 0.0
    beyond = math.log(d) / sigma
    return float(math.exp(sigma**2 / 2 + log_ndtr(sigma - beyond)) - d * ndtr(-beyond))


def _limited(d: float, sigma: float) -> float:
    """`E[min(Z, d)]`: exact where much lies beyond `d`."""
    if d == 0 or math.isinf(d):
        return 0.0 if d == 0 else math.exp(sigma**2 / 2)
    below = math.log(d) / sigma
    return float(math.exp(sigma**2 / 2 + log_ndtr(below - sigma)) + d * ndtr(-below))
