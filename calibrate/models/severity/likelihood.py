"""Maximum likelihood in a few unconstrained parameters: damped Newton on central differences, after standardising."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from calibrate.errors import ModelError

__all__ = ["Function", "curvature", "derivatives", "maximise", "one_by_one"]

Floats = npt.NDArray[np.float64]
Function = Callable[[Floats], Floats]  # of points (k, parameters), values (k,)
STEP = 1e-3  # for functions and parameters of order one: slopes to 1e-13 (fourth order), curvatures to 1e-7
LONGEST_STEP, MOST_STEPS, SMALL_STEP = 1.0, 200, 1e-9
FALLS, UNSEEN = 1e-7, 1e-15  # curvature that is not rounding; a gain that is


def one_by_one(function: Callable[[Floats], float]) -> Function:
    """The same function, of many points."""
    return lambda points: np.array([function(point) for point in points])


def maximise(function: Function, start: Floats, what: str) -> Floats:
    """Maximum of a smooth function of order one, `theta <- theta - H^-1 g` with halving; ModelError if none."""
    theta = np.array(start, dtype=np.float64)
    value = float(function(theta[None])[0])
    if not np.isfinite(value):
        raise ModelError(f"{what}: the likelihood is not finite at the starting point; check the losses for extremes")
    for _ in range(MOST_STEPS):
        step = _ascent(function, theta)
        for _ in range(40):
            trial = float(function((theta + step)[None])[0])
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
    if _on_top(function, theta):
        return theta
    raise ModelError(
        f"{what}: the likelihood has no maximum at finite parameters (last logs {np.round(theta, 2).tolist()}); "
        "the losses do not determine this family, choose a simpler one or Empirical"
    )


def _on_top(function: Function, theta: Floats) -> bool:
    """Whether all directions fall and no step is worth taking: a top so flat that rounding keeps the steps from
    settling, at 1e-6 of the parameters (of a Burr law near a Weibull law, say)."""
    _, slope, bend = derivatives(function, theta)
    values, vectors = np.linalg.eigh(bend)
    if not values[-1] < -FALLS:
        return False
    return bool((vectors.T @ slope) ** 2 @ (-0.5 / values) < UNSEEN)


def _ascent(function: Function, theta: Floats) -> Floats:
    _, slope, bend = derivatives(function, theta)
    values, vectors = np.linalg.eigh(bend)
    bent = np.maximum(np.abs(values), 1e-8)  # a saddle is left along the same axes, uphill
    step = vectors @ (vectors.T @ slope / bent)
    return np.asarray(step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300)))


def derivatives(function: Function, theta: Floats) -> tuple[float, Floats, Floats]:
    """Value, slopes (central differences of the fourth order) and second derivatives, from one call."""
    n = theta.size
    values = function(theta + STEP * _stencil(n))
    near, far = values[1 : 2 * n + 1].reshape(n, 2), values[2 * n + 1 : 4 * n + 1].reshape(n, 2)
    slope = (8 * (near[:, 0] - near[:, 1]) - (far[:, 0] - far[:, 1])) / (12 * STEP)
    bend = np.diag(far.sum(axis=1) - 2 * values[0])
    corners = values[4 * n + 1 :].reshape(-1, 4) @ [1.0, -1.0, -1.0, 1.0]
    i, j = np.triu_indices(n, 1)
    bend[i, j] = bend[j, i] = corners
    return float(values[0]), slope, bend / (4 * STEP**2)


def curvature(function: Function, theta: Floats) -> Floats:
    """Matrix of second derivatives by central differences."""
    return derivatives(function, theta)[2]


@cache
def _stencil(n: int) -> Floats:
    """Points around the origin: itself, one and two steps along each axis, the corners of each pair of axes."""
    axes = np.eye(n)
    rows = [np.zeros(n)]
    rows += [sign * distance * axis for distance in (1.0, 2.0) for axis in axes for sign in (1.0, -1.0)]
    pairs = zip(*np.triu_indices(n, 1), strict=True)
    rows += [a * axes[i] + b * axes[j] for i, j in pairs for a in (1.0, -1.0) for b in (1.0, -1.0)]
    return np.array(rows)
