"""From scores to losses by table, where the table is proved to be as good as the functions it stands for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from calibrate.models.arrays import Floats

__all__ = ["QuantileTable"]

WIDTH = 0.125  # of a bin
BINS = {True: (-10.0, 8.0), False: (-8.0, 8.0)}  # range of `log(s - threshold)`, and of `asinh(s)` without a threshold
FAR = -4.0  # a threshold below it is as good as none
POINTS = np.cos(np.pi * (np.arange(8) + 0.5) / 8)  # Chebyshev points of a bin
INVERSE = np.linalg.inv(np.vander(POINTS, increasing=True)).T
TRIAL = np.array([-0.999, -0.83, -0.4, -0.1, 0.2, 0.65, 0.91, 0.998])  # where a bin is examined
ORDER = np.argsort(np.concatenate([POINTS, TRIAL]))
TOLERANCE = 1e-11  # relative error that a loss may have there


class QuantileTable:
    """Loss as a function of the score, `exp(polynomial of degree 7)` in each bin of `log(s - threshold)`.

    That variable makes quantiles smooth at the threshold, where a loss begins, and in the tail. Each bin is examined at
    points of its own against the function itself; where the relative error is above 1e-11 (a splice, an atom, an
    observed loss), and outside the bins, the function is called instead. So a loss has 1e-9 of relative error at most,
    and no law must be smooth.

    >>> table = QuantileTable(lambda s: np.exp(s), 1.0)
    >>> s = np.array([1.001, 2.0, 50.0])
    >>> bool(np.all(np.abs(table(s) / np.exp(s) - 1) < 1e-11))
    True
    """

    def __init__(self, function: Callable[[Floats], Floats], threshold: float) -> None:
        self.function, self.threshold = function, threshold if threshold > FAR else -np.inf
        self.low, high = BINS[np.isfinite(self.threshold)]
        centres = np.arange(self.low, high, WIDTH)[:, None] + WIDTH / 2
        with np.errstate(all="ignore"):
            known, tried = (self._logs(centres + WIDTH / 2 * points) for points in (POINTS, TRIAL))
            self.coefficients = known @ INVERSE
            wrong = np.abs(self.coefficients @ np.vander(TRIAL, len(POINTS), increasing=True).T - tried).max(axis=1)
            rising = np.diff(np.hstack([known, tried])[:, ORDER], axis=1).min(axis=1)
        self.coefficients[~((wrong <= TOLERANCE) & (rising > 0))] = np.nan  # equal losses must stay equal

    def _logs(self, places: Floats) -> Floats:
        scores = self.threshold + np.exp(places) if np.isfinite(self.threshold) else np.sinh(places)
        return np.asarray(np.log(self.function(scores.ravel())).reshape(places.shape))

    def __call__(self, scores: Floats) -> Floats:
        """Losses at scores above the threshold, one-dimensional."""
        places = np.log(scores - self.threshold) if np.isfinite(self.threshold) else np.arcsinh(scores)
        logs = np.empty_like(places)
        _evaluate(places, self.low, self.coefficients, logs)
        losses = np.exp(logs)
        unknown = np.flatnonzero(np.isnan(losses))
        if unknown.size:
            losses[unknown] = self.function(scores[unknown])
        return np.asarray(losses)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _evaluate(places: Floats, low: float, coefficients: Floats, result: Floats) -> None:
    """The bin's polynomial by Horner's rule; NaN outside the bins."""
    bins, terms = coefficients.shape
    for k in range(places.size):
        at = (places[k] - low) / WIDTH
        if at >= 0.0 and at < bins:
            b = int(at)
            y = 2.0 * (at - b) - 1.0
            value = coefficients[b, terms - 1]
            for degree in range(terms - 2, -1, -1):
                value = value * y + coefficients[b, degree]
            result[k] = value
        else:
            result[k] = np.nan
