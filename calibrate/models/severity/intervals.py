"""Profile-likelihood intervals: the values that the losses do not contradict, whatever the other parameters are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit, xlog1py, xlogy
from scipy.stats import chi2

from calibrate.errors import ModelError
from calibrate.models.severity.likelihood import maximise
from calibrate.models.severity.observation import Sample
from calibrate.models.severity.pareto_tail import log_likelihood

__all__ = ["Interval", "ProfileSearch", "TailProfile"]

Floats = npt.NDArray[np.float64]
FARTHEST = 40.0  # e^40 times the estimate is reported as infinite


class Interval(NamedTuple):
    """An estimate between two limits that hold the truth with probability `confidence` (asymptotically)."""

    estimate: float
    lower: float
    upper: float
    confidence: float


class TailProfile:
    """Profile likelihoods of a generalized Pareto tail above a threshold.

    The interval of a quantity is where `2 (max L - max over the rest of L) <= chi-squared quantile(confidence, 1)`.
    `L` is the likelihood of the excesses plus, for quantities of the whole law, that of the number of exceedances
    (binomial in weights): the uncertainty of `p` counts. Source: Coles 2001, section 4.3.3; Wilks 1938.
    """

    def __init__(self, excesses: Sample, shape: float, scale: float, share: float, weight: float) -> None:
        self.scale = scale
        self.excesses = excesses.scaled(scale)  # in which the fitted scale is one
        self.fitted_shape, self.share, self.weight = shape, share, weight

    def shape(self, confidence: float) -> Interval:
        """Of the shape; the lower limit is not below -1, where the likelihood ends."""

        def height(shape: float, theta: Floats) -> float:
            return log_likelihood(self.excesses, shape, math.exp(theta[0])) if shape >= -1 else -math.inf

        profile = ProfileSearch(
            height, [np.array([value]) for value in np.linspace(-3.0, 3.0, 13)], self.excesses.weight
        )
        best = self.fitted_shape
        limits = profile.limits(best, np.zeros(1), lambda sign, d: max(best + sign * 0.1 * d, -1.0), confidence)
        return Interval(best, limits[0], limits[1], confidence)

    def var(self, level: float, threshold: float, confidence: float) -> Interval:
        """Of the quantile at `level` of the whole law."""

        def scale(excess: float, shape: float, ratio: float) -> float:
            return excess / _growth(shape, ratio)

        return self._of_amount(level, threshold, confidence, scale, 50.0 + 2 * abs(self.fitted_shape))

    def expected_shortfall(self, level: float, threshold: float, confidence: float) -> Interval:
        """Of the expected shortfall at `level`; no upper limit (infinity) where a shape of 1 cannot be excluded."""

        def scale(excess: float, shape: float, ratio: float) -> float:
            return excess * (1 - shape) / (1 + _growth(shape, ratio))

        bounded = self.shape(confidence).upper < 1
        found = self._of_amount(level, threshold, confidence, scale, 1.0)
        return found if bounded else found._replace(upper=math.inf)

    def _of_amount(
        self, level: float, threshold: float, confidence: float, scale: Callable[..., float], top: float
    ) -> Interval:
        def height(amount: float, theta: Floats) -> float:
            shape, share = top - math.exp(theta[0]), float(expit(theta[1])) if self.share < 1 else 1.0
            ratio = share / (1 - level)
            if shape < -1 or ratio <= 1:
                return -math.inf
            counted = (
                xlogy(self.counted, share) + xlog1py(self.weight - self.counted, -share) if self.share < 1 else 0.0
            )
            return log_likelihood(self.excesses, shape, scale(amount, shape, ratio)) + float(counted)

        best = self.fitted_shape
        estimate = _estimate(scale, best, self.share / (1 - level))
        odds = float(logit(self.share)) if self.share < 1 else 0.0
        shapes = [value for value in (-0.8, -0.4, -0.1, 0.1, 0.3, 0.6, 0.9, 0.99, 1.5, 3.0) if value < top]
        candidates = [np.array([math.log(top - value), odds]) for value in shapes]
        profile = ProfileSearch(height, candidates, self.excesses.weight, free=2 if self.share < 1 else 1)
        start = np.array([math.log(top - best), odds])
        limits = profile.limits(estimate, start, lambda sign, d: estimate * math.exp(sign * 0.1 * d), confidence)
        middle, lower, upper = (threshold + self.scale * value for value in (estimate, *limits))
        return Interval(middle, lower, upper, confidence)

    @property
    def counted(self) -> float:
        """Weight of exceedances, as the estimated share says."""
        return self.share * self.weight


def _growth(shape: float, ratio: float) -> float:
    return math.expm1(shape * math.log(ratio)) / shape if shape else math.log(ratio)


def _estimate(scale: Callable[..., float], shape: float, ratio: float) -> float:
    """The amount at which the scale is one: `scale` is linear in it."""
    return 1.0 / scale(1.0, shape, ratio)


class ProfileSearch:
    """Finds where a profile likelihood falls below what a confidence allows."""

    def __init__(
        self, height: Callable[[float, Floats], float], candidates: Iterable[Floats], weight: float, free: int = 1
    ) -> None:
        self.height, self.candidates, self.weight, self.free = height, list(candidates), weight, free

    def limits(
        self, best: float, theta: Floats, move: Callable[[float, float], float], confidence: float
    ) -> tuple[float, float]:
        """Both ends; `move(sign, d)` is the value `d` steps away from the estimate."""
        if not 0 < confidence < 1:
            raise ModelError(f"a confidence must lie strictly between 0 and 1, got {confidence}")
        self.candidates.append(theta)
        floor = self.height(best, theta) - 0.5 * float(chi2.ppf(confidence, 1))
        lower, upper = (self._end(sign, theta, move, floor) for sign in (-1.0, 1.0))
        return lower, upper

    def _end(self, sign: float, theta: Floats, move: Callable[[float, float], float], floor: float) -> float:
        state, known = [theta], {0.0: self.height(move(sign, 0.0), theta) - floor}

        def above(distance: float) -> float:
            if distance not in known:  # a second search for the same value may start, and end, elsewhere
                value, state[0] = self._highest(move(sign, distance), state[0])
                known[distance] = max(value - floor, -1e6)
            return known[distance]

        near, far = 0.0, 1.0
        while above(far) > 0:
            if move(sign, far) == move(sign, near):
                return move(sign, far)  # the quantity itself ends here
            near, far = far, 2 * far
            if far > 10 * FARTHEST:
                return move(sign, near) if sign < 0 else math.inf
        return move(sign, float(brentq(above, near, far, xtol=1e-8, rtol=1e-8)))

    def _highest(self, value: float, warm: Floats) -> tuple[float, Floats]:
        """Largest likelihood with the quantity held at `value`, and where."""

        def mean_height(free: Floats) -> float:
            theta = np.concatenate([free, warm[self.free :]])
            return self.height(value, theta) / self.weight

        def depth(free: Floats) -> float:
            return -mean_height(free)

        with np.errstate(all="ignore"):
            start = max([warm, *self.candidates], key=lambda theta: self.height(value, theta))[: self.free]
            if not math.isfinite(mean_height(start)):
                return -math.inf, warm
            try:
                found = maximise(mean_height, start, "profile likelihood")
            except (ModelError, np.linalg.LinAlgError):  # at an edge of the parameters, where slopes do not exist
                found = np.asarray(minimize(depth, start, method="Nelder-Mead").x)
            return mean_height(found) * self.weight, np.concatenate([found, warm[self.free :]])
