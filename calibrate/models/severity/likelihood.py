"""Maximum likelihood in a few unconstrained parameters: damped Newton on central differences, after standardising."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from calibrate.errors import ModelError

__all__ = ["curvature", "maximise"]

Floats = npt.NDArray[np.float64]
STEP = 1e-3  # for functions and parameters of order one: slopes to 1e-13 (fourth order), curvatures to 1e-7
LONGEST_STEP, MOST_STEPS, SMALL_STEP = 1.0, 200, 1e-9


def maximise(function: Callable[[Floats], float], start: Floats, what: str) -> Floats:
    """Maximum of a smooth function of order one, `theta <- theta - H^-1 g` with halving; ModelError if none."""
    theta, value = np.array(start, dtype=np.float64), function(start)
    if not np.isfinite(value):
        raise ModelError(f"{what}: the likelihood is not finite at the starting point; check the losses for extremes")
    for _ in range(MOST_STEPS):
        step = _ascent(function, theta)
        for _ in range(40):
            trial = function(theta + step)
            if trial >= value - 1e-15 * abs(value):
                break
            step = step / 2
        else:
            return theta  # no direction goes up by more than rounding
        theta, value = theta + step, trial
        if np.abs(step).max() < SMALL_STEP:
            return theta
        if np.abs(theta).max() > 50:
            break
    raise ModelError(
        f"{what}: the likelihood has no maximum at finite parameters (last logs {np.round(theta, 2).tolist()}); "
        "the losses do not determine this family, choose a simpler one or Empirical"
    )


def _ascent(function: Callable[[Floats], float], theta: Floats) -> Floats:
    gradient = np.array([_slope(function, theta, row) for row in np.eye(theta.size) * STEP])
    values, vectors = np.linalg.eigh(curvature(function, theta))
    bent = np.maximum(np.abs(values), 1e-8)  # a saddle is left along the same axes, uphill
    step = vectors @ (vectors.T @ gradient / bent)
    return np.asarray(step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300)))


def _slope(function: Callable[[Floats], float], theta: Floats, h: Floats) -> float:
    near, far = function(theta + h) - function(theta - h), function(theta + 2 * h) - function(theta - 2 * h)
    return float((8 * near - far) / (12 * h.sum()))


def curvature(function: Callable[[Floats], float], theta: Floats) -> Floats:
    """Matrix of second derivatives by central differences."""
    n = theta.size
    steps = np.eye(n) * STEP
    matrix = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            a, b = steps[i], steps[j]
            corners = (
                function(theta + a + b) - function(theta + a - b) - function(theta - a + b) + function(theta - a - b)
            )
            matrix[i, j] = matrix[j, i] = corners / (4 * STEP**2)
    return matrix
