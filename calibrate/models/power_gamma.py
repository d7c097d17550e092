"""Laws of a positive ratio around the lognormal: a power of it is gamma. Of powers below 0 the tail is a Pareto's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import digamma, gammainc, gammaincc, gammainccinv, gammaincinv, gammaln, ndtr, ndtri, polygamma

from calibrate.models.arrays import Floats
from calibrate.models.pooling import inverse_trigamma
from calibrate.models.unsure import equally_likely_variances

__all__ = ["HEAVIEST", "LogPowerGamma", "gamma_shapes", "log_mean", "no_heavier", "unsure_isf"]

HEAVIEST = 2.0  # tail exponent: no law of a ratio has a smaller one, or its mean would rest on what nobody has seen
STEADY = 1e-3  # deviation of a power's log below which its law and the lognormal differ by nothing
FARTHEST = 30.0  # score, either side
SCORES = np.sinh(np.linspace(-1.0, 1.0, 241) * np.arcsinh(FARTHEST))
SMALL = -600.0  # log of a number whose gamma law is a power
STEPS = 12  # Newton's
KEPT = 4096  # tables: of 1,000 members with scatter of their own, and of a few models


def no_heavier(power: float, log_deviations: Floats) -> Floats:
    """The power at each deviation of the log; one below 0 so near to 0 that the tail exponent `-p k` is at least 2.

    With `-p = 2 / k` the deviation says `k^2 trigamma(k) = (2 b)^2`, of which `k + 1/2` is the left side but for
    `O(1/k)`: Newton's steps from there.

    >>> no_heavier(-1.0, np.array([0.4, 1.0])).round(3), no_heavier(0.5, np.array([1.0]))
    (array([-1.   , -0.579]), array([0.5]))
    """
    b = np.asarray(log_deviations, dtype=np.float64)
    if power >= 0:
        return np.full(b.shape, power)
    wide = HEAVIEST * b > 1 + STEADY  # up to there no power is too heavy
    aim = np.where(wide, (HEAVIEST * b) ** 2, 2.0)
    k = aim - 0.5
    for _ in range(STEPS):
        k = np.maximum(k - (k**2 * polygamma(1, k) - aim) / (2 * k * polygamma(1, k) + k**2 * polygamma(2, k)), k / 4)
    return np.asarray(np.where(wide, np.maximum(power, -HEAVIEST / k), power))


def gamma_shapes(power: float | Floats, log_deviations: Floats) -> Floats:
    """Shape `k` of `R^p`, `trigamma(k) = (p b)^2`; infinite where the law is lognormal."""
    variances = (power * np.asarray(log_deviations, dtype=np.float64)) ** 2
    steady = variances < STEADY**2
    return np.where(steady, np.inf, inverse_trigamma(np.where(steady, 1.0, variances)))


def log_mean(power: float | Floats, log_deviations: Floats) -> Floats:
    """`log E R` where `log R` has the mean 0: `log Gamma(k + 1/p) - log Gamma(k) - digamma(k)/p`, or `b^2/2`."""
    normal: Floats = np.asarray(log_deviations, dtype=np.float64) ** 2 / 2
    shapes = gamma_shapes(power, log_deviations)
    if np.isinf(shapes).all():
        return normal
    steady = np.isinf(shapes)
    k, over = np.where(steady, 2.0, shapes), 1 / np.where(steady, 1.0, power)
    return np.where(steady, normal, gammaln(k + over) - gammaln(k) - digamma(k) * over)


class LogPowerGamma:
    """`log R` with mean 0 and deviation `b` where `R^p` is gamma (`R` Stacy's generalized gamma); normal at `p = 0`.

    Source: Stacy 1962, Annals of Mathematical Statistics 33; Prentice 1974, Biometrika 61 (lognormal as the limit).

    >>> LogPowerGamma(1.0, np.pi / 6**0.5).at(np.array([0.0])).round(3)  # exponential: log(log 2) + Euler's constant
    array([0.211])
    """

    def __init__(self, power: float, log_deviation: float) -> None:
        self.power, self.deviation = power, log_deviation
        self.shape = float(gamma_shapes(power, np.asarray(log_deviation)))

    def at(self, scores: Floats) -> Floats:
        """Quantiles at the levels of a normal law's scores."""
        k = self.shape
        if np.isinf(k):
            return self.deviation * scores
        scores = np.copysign(1.0, self.power) * scores
        low = scores < 0
        logs = (np.log(ndtr(scores)) + gammaln(k + 1)) / k  # near 0, where the gamma law is a power
        found = low & (logs > SMALL)
        logs[found] = np.log(gammaincinv(k, ndtr(scores[found])))
        logs[~low] = np.log(gammainccinv(k, ndtr(-scores[~low])))
        return np.asarray((logs - digamma(k)) / self.power)

    def above(self, y: Floats) -> Floats:
        """Probability to lie above."""
        return self._normal(-y) if np.isinf(self.shape) else self._of_gamma(y, self.power > 0)

    def below(self, y: Floats) -> Floats:
        """Probability to lie below."""
        return self._normal(y) if np.isinf(self.shape) else self._of_gamma(y, self.power < 0)

    def _normal(self, y: Floats) -> Floats:
        return np.asarray(ndtr(y / self.deviation))

    def _of_gamma(self, y: Floats, above: bool) -> Floats:
        """Probability that the gamma variable lies above its value at `y`, or below."""
        k, logs = self.shape, self.power * y + digamma(self.shape)
        with np.errstate(over="ignore", under="ignore"):
            x = np.exp(logs)
            if above:
                return np.asarray(gammaincc(k, x))
            small = np.exp(k * np.minimum(logs, 0.0) - gammaln(k + 1))
            return np.asarray(np.where(logs < SMALL, small, gammainc(k, x)))


class _Part(NamedTuple):
    """A law of `log R` around its centre, and its weight in the mixture."""

    weight: float
    centre: float
    law: LogPowerGamma


def unsure_isf(
    chance: Floats, moments: tuple[float, float, float], powers: Sequence[float], weights: Sequence[float]
) -> Floats:
    """What `R` exceeds with probability `chance`: mixed over powers, by their weights, and over its scatter.

    `moments`: mean and deviation of `log R`, and the degrees of freedom of its variance, over 12 equally likely ones
    as in `unsure_lognormal_isf`: what is uncertain about the scatter leaves the mean of each power what it is.
    By a table: chances beyond those of its ends (1e-100) have the quantiles of the ends, and 0 and 1 their limits.

    >>> unsure_isf(np.array([0.0, 0.5, 1.0]), (0.0, 1.0, np.inf), [1.0], [1.0]).round(3)
    array([ inf, 1.15, 0.  ])
    """
    mean, deviation, freedom = moments
    if not deviation > 0:
        return np.full_like(np.asarray(chance, dtype=np.float64), np.exp(mean))
    table = _table(deviation, freedom, tuple(powers), tuple(weights))
    inside = np.clip(-ndtri(chance), table.x[0], table.x[-1])
    logs = np.where(chance <= 0, np.inf, np.where(chance >= 1, -np.inf, mean + table(inside)))
    return np.asarray(np.exp(logs))


@lru_cache(maxsize=KEPT)
def _table(deviation: float, freedom: float, powers: tuple[float, ...], weights: tuple[float, ...]) -> CubicSpline:
    """Quantiles of `log R` by score, its mean 0: points where its probabilities tell, and the mixture's score there."""
    weighed = [pair for pair in zip(powers, weights, strict=True) if pair[1] > 0]
    families = [_parts(deviation, freedom, power, weight) for power, weight in weighed]
    parts, left = [part for family in families for part in family], SCORES < 0
    places, shares = _places(families), [part.weight for part in parts]
    below = np.average([part.law.below(places[left] - part.centre) for part in parts], axis=0, weights=shares)
    above = np.average([part.law.above(places[~left] - part.centre) for part in parts], axis=0, weights=shares)
    scores = np.append(ndtri(below), -ndtri(above))
    rising = np.isfinite(scores) & (np.diff(scores, prepend=-np.inf) > 0)
    return CubicSpline(scores[rising], places[rising])


def _parts(deviation: float, freedom: float, power: float, weight: float) -> list[_Part]:
    """A power's laws from the largest scatter to the least, all with the same mean of `R`."""
    deviations = np.sqrt(equally_likely_variances(deviation, freedom))
    own, sure = no_heavier(power, deviations), no_heavier(power, np.asarray(deviation))
    centres = log_mean(sure, np.asarray(deviation)) - log_mean(own, deviations)
    return [
        _Part(weight / deviations.size, float(centre), LogPowerGamma(float(p), float(b)))
        for centre, p, b in zip(centres, own, deviations, strict=True)
    ]


def _places(families: Sequence[Sequence[_Part]]) -> Floats:
    """Near the parts' quantiles in the middle, at the widest far out, which rules there; the ends of each family do."""
    ends = [part for family in families for part in (family[0], family[-1])]
    quantiles = np.array([part.centre + part.law.at(SCORES) for part in ends])
    widest = np.where(SCORES < 0, quantiles.min(axis=0), quantiles.max(axis=0))
    middle = np.average(quantiles, axis=0, weights=[part.weight for part in ends])
    return np.asarray(middle + (widest - middle) * np.abs(SCORES) / FARTHEST)
