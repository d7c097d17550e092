"""Gamma losses."""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import gammaincc, gammainccinv, gammaincinv, gammaln, ndtr, ndtri

from calibrate.models.severity.scale_family import Floats, ScaleFamily, Shape

__all__ = ["Gamma"]

MANY, NODES, FARTHEST_SCORE = 20_000, 8192, 8.0


class Gamma(ScaleFamily):
    """Density `x^(a-1) e^(-x/s) / (s^a Gamma(a))`: `shape_ = a`, `scale_ = s` (money); mean `a s`.

    `E[(X - d)+] = a s Q(a + 1, d/s) - d Q(a, d/s)`, `Q` the regularised upper incomplete gamma function.
    Source: Klugman, Panjer, Willmot, Loss Models, appendix A.

    >>> model = Gamma().fit([1.0, 2.0, 3.0, 4.0])
    >>> round(model.mean(), 6)
    2.5
    """

    shape_: float

    def _start(self, z: Floats, weights: Floats) -> tuple[float, ...]:
        mean = float(np.average(z, weights=weights))
        s = max(math.log(mean) - float(np.average(np.log(z), weights=weights)), 1e-12)
        shape = (3 - s + math.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)  # Minka 2002, within 1.5 % of the maximum
        return shape, mean / shape

    def _z_log_density(self, z: Floats, *shapes: Shape) -> Floats:
        (a,) = shapes
        return np.asarray((a - 1) * np.log(z) - z - gammaln(a))

    def _z_log_survival(self, z: Floats, *shapes: Shape) -> Floats:
        (a,) = shapes
        q = gammaincc(a, z)
        far = (
            q < 1e-280
        )  # continued fraction, first terms: log Q ~ (a-1) log z - z - log Gamma(a) - log(1 - (a-1)/z...)
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = (a - 1) * np.log(z) - z - gammaln(a) + np.log(z / (z + 1 - a))
            return np.where(far, tail, np.log(q))

    def _z_isf(self, p: Floats, *shapes: float) -> Floats:
        (a,) = shapes
        return np.asarray(gammainccinv(a, p)) if np.size(p) < MANY else _many_quantiles(np.asarray(p), a)

    def _z_layer(self, low: float, high: float, *shapes: float) -> float:
        return _excess(low, shapes[0]) - _excess(high, shapes[0])


def _many_quantiles(p: Floats, a: float) -> Floats:
    """The same, 20 times faster: `log z` by the normal score of `p`, a Hermite spline through exact values and slopes.

    Relative error below 1e-10; scores beyond the nodes, and shapes whose small losses are no numbers, go the slow way.
    """
    scores = np.linspace(-FARTHEST_SCORE, FARTHEST_SCORE, NODES)
    z = np.where(scores < 0, gammainccinv(a, ndtr(scores)), gammaincinv(a, ndtr(-scores)))
    if not z.min() > 1e-280:
        return np.asarray(gammainccinv(a, p))
    log_slope = -0.5 * scores**2 - 0.5 * math.log(2 * math.pi) + z - a * np.log(z) + gammaln(a)
    spline = CubicHermiteSpline(scores, np.log(z), -np.exp(log_slope))
    score = ndtri(p)
    inside = np.abs(score) < FARTHEST_SCORE
    found = np.exp(spline(np.where(inside, score, 0.0)))
    found[~inside] = gammainccinv(a, p[~inside])
    return np.asarray(found)


def _excess(d: float, a: float) -> float:
    return 0.0 if math.isinf(d) else float(a * gammaincc(a + 1, d) - d * gammaincc(a, d))
