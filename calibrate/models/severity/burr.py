"""Burr losses: a body that rises or falls, and a Pareto tail."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad
from scipy.special import beta, betainc

from calibrate.models.severity.scale_family import Floats, ScaleFamily, Shape

__all__ = ["Burr"]

TINY = -40.0  # log of `u`: below it the rest of the series is rounding
NEARLY_ALL = 0.01  # share of the law before `z`, over `alpha`, below which `u` is too near 1


class Burr(ScaleFamily):
    """`P(X > x) = (1 + (x/s)^g)^(-a)` (Burr XII): `alpha_ = a`, `gamma_ = g`, `scale_ = s` (money).

    The tail index is `shape_ = 1/(a g)`; the mean exists below 1. With `u(x) = 1/(1 + (x/s)^g)` the survival integrates
    to `s/g B(a - 1/g, 1/g) I_u(a - 1/g, 1/g)`, from `x` to infinity.
    Source: Klugman, Panjer, Willmot, Loss Models, appendix A.

    >>> u = (np.arange(999) + 0.5) / 999
    >>> model = Burr().fit(((1 - u) ** (-1 / 2) - 1) ** (1 / 2))
    >>> round(model.alpha_, 1), round(model.gamma_, 1)
    (2.0, 2.0)
    """

    shapes = ("alpha_", "gamma_")
    alpha_: float
    gamma_: float

    @property
    def shape_(self) -> float:
        """Tail index `1/(alpha gamma)`, comparable with that of the generalized Pareto law."""
        return 1.0 / (self.alpha_ * self.gamma_)

    def _start(self, z: Floats, weights: Floats) -> tuple[float, ...]:
        logs = np.log(z)
        mean = float(np.average(logs, weights=weights))
        deviation = math.sqrt(float(np.average((logs - mean) ** 2, weights=weights)))
        return 1.0, math.pi / math.sqrt(3) / deviation, math.exp(mean)  # at a = 1 log X is logistic

    def _z_log_density(self, z: Floats, *shapes: Shape) -> Floats:
        a, g = shapes
        logs = g * np.log(z)
        return np.asarray(np.log(a * g) + (g - 1) / g * logs - (a + 1) * np.logaddexp(0.0, logs))

    def _z_log_survival(self, z: Floats, *shapes: Shape) -> Floats:
        a, g = shapes
        with np.errstate(divide="ignore"):
            return np.asarray(-a * np.logaddexp(0.0, g * np.log(z)))

    def _z_isf(self, p: Floats, *shapes: float) -> Floats:
        a, g = shapes
        with np.errstate(divide="ignore"):
            odds = -np.log(p) / a  # `log(e^odds - 1)`, where `e^odds` may be beyond all numbers
            return np.asarray(np.exp((odds + np.log(-np.expm1(-odds))) / g))

    def _z_layer(self, low: float, high: float, *shapes: float) -> float:
        a, g = shapes
        if self._z_has_mean(a, g):
            return _beyond(low, a, g) - _beyond(high, a, g)
        start = max(low, 1e-12 * min(high, 1.0))  # below it nearly everything survives
        body = quad(lambda v: math.exp(v - a * np.logaddexp(0.0, g * v)), math.log(start), math.log(high), limit=400)
        return float(body[0]) + start - low

    def _z_has_mean(self, *shapes: float) -> bool:
        return shapes[0] * shapes[1] > 1


def _beyond(z: float, a: float, g: float) -> float:
    """Integral of the survival from `z` on; where nearly all of it is, what there is before `z` is taken off."""
    p, q = a - 1 / g, 1 / g
    odds = g * math.log(z) if z > 0 else -math.inf
    log_u, log_rest = -np.logaddexp(0.0, [odds, -odds])
    if log_rest < math.log(NEARLY_ALL / max(a, 1.0)):  # `u` is next to 1 and has lost its digits
        return float(beta(p, q) - _incomplete_beta(q, p, log_rest)) / g
    return _incomplete_beta(p, q, log_u) / g


def _incomplete_beta(p: float, q: float, log_u: float) -> float:
    """`B(p, q) I_u(p, q)`; where `u` is tiny, the first term of its series."""
    if log_u < TINY:
        return math.exp(p * log_u) / p
    return float(beta(p, q) * betainc(p, q, math.exp(log_u)))
