"""Survival function of Student's t, ten times faster than the incomplete beta function and as exact."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.polynomial import chebyshev
from scipy.special import stdtr

from calibrate.models.arrays import Floats

__all__ = ["StudentSurvival"]

DEGREES = (24, 32, 48, 64, 96)
EXACT = 1e-13  # relative error on a grid of its own, up to which a polynomial is taken
FAR = 1e8  # roots of `v` from which `w` is `v / x^2` to the last digit
LARGEST = 120.0  # degrees of freedom; beyond, the power leaves the range of floating point


class StudentSurvival:
    """`P(T > x) = w^(v/2) f(u)`, `w = v / (v + x^2)`, `u = x / sqrt(v + x^2)`, for many `x` and one `v`.

    `f` is analytic on [0, 1] with its nearest singularity at `u = -1`: a Chebyshev series converges like `5.8^-k`, and
    the power takes the tail, so the error is relative however far out. `f(u) = 2F1(v/2, 1/2; v/2 + 1; w) / (v B(v/2,
    1/2))` (Abramowitz and Stegun 26.5.23, 26.7.1). Beyond 120 degrees of freedom it is scipy's function.

    >>> from scipy.stats import t
    >>> bool(abs(StudentSurvival(4.0)(np.array([30.0]))[0] / t.sf(30.0, 4.0) - 1) < 1e-12)
    True
    """

    def __init__(self, degrees_of_freedom: float) -> None:
        self.degrees_of_freedom = v = float(degrees_of_freedom)
        self.coefficients: Floats | None = None
        if v > LARGEST:
            return
        trial = np.linspace(0.0, 1.0, 501)[1:-1]
        exact = _factor(trial, v)
        for degree in DEGREES:
            found = _series(v, degree)
            if np.all(np.abs(chebyshev.chebval(2 * trial - 1, found) / exact - 1) < EXACT):
                self.coefficients = _shortened(found)
                break

    def __call__(self, x: Floats) -> Floats:
        """`P(T > x)`, one-dimensional."""
        if self.coefficients is None:
            return np.asarray(stdtr(self.degrees_of_freedom, -x))
        r = np.abs(x) / math.sqrt(self.degrees_of_freedom)
        near = np.minimum(r, FAR)
        power = np.log1p(near * near) + 2 * np.log(np.maximum(r / FAR, 1.0))  # -log w
        factor = np.empty(len(x))
        _evaluate(near / np.sqrt(1 + near * near), self.coefficients, factor)
        tail = np.exp(-self.degrees_of_freedom / 2 * power) * factor
        return np.asarray(np.where(x > 0, tail, 1 - tail))


def _factor(u: Floats, v: float) -> Floats:
    w = (1 - u) * (1 + u)
    return np.asarray(stdtr(v, -u * np.sqrt(v / w)) / w ** (v / 2))


def _series(v: float, degree: int) -> Floats:
    """Chebyshev coefficients of the factor on [0, 1], by interpolation at the Chebyshev points."""
    points = np.asarray(chebyshev.chebpts1(degree + 1), dtype=np.float64)
    basis = chebyshev.chebvander(points, degree)
    weights = np.full(degree + 1, 2.0 / (degree + 1))
    weights[0] /= 2
    return np.asarray(weights * (basis.T @ _factor((points + 1) / 2, v)), dtype=np.float64)


def _shortened(coefficients: Floats) -> Floats:
    """Without the last ones that no longer count."""
    beyond = np.cumsum(np.abs(coefficients[::-1]))[::-1]
    return np.ascontiguousarray(coefficients[: max(int((beyond > 1e-17).sum()), 2)])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _evaluate(u: Floats, coefficients: Floats, result: Floats) -> None:
    """The series at `2u - 1` by Clenshaw's recurrence, all points of a short stretch together."""
    stretch, top = 64, coefficients.size - 1
    y, older, newer = np.empty(stretch), np.empty(stretch), np.empty(stretch)
    for first in range(0, u.size, stretch):
        count = min(stretch, u.size - first)
        for k in range(count):
            y[k] = 2.0 * (2.0 * u[first + k] - 1.0)
            older[k] = 0.0
            newer[k] = coefficients[top]
        for degree in range(top - 1, 0, -1):
            c = coefficients[degree]
            for k in range(count):
                step = c + y[k] * newer[k] - older[k]
                older[k] = newer[k]
                newer[k] = step
        for k in range(count):
            result[first + k] = coefficients[0] + 0.5 * y[k] * newer[k] - older[k]
