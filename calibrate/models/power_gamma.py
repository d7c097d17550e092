"""Laws of a positive ratio from the lognormal to the gamma: a power of the ratio is gamma."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import digamma, gammainc, gammaincc, gammainccinv, gammaincinv, gammaln, ndtr, ndtri

from calibrate.models.arrays import Floats
from calibrate.models.pooling import inverse_trigamma
from calibrate.models.unsure import equally_likely_variances

__all__ = ["LogPowerGamma", "gamma_shapes", "log_mean", "unsure_isf"]

STEADY = 1e-3  # deviation of a power's log below which its law and the lognormal differ by nothing
FARTHEST = 30.0  # score, either side
SCORES = np.sinh(np.linspace(-1.0, 1.0, 241) * np.arcsinh(FARTHEST))
SMALL = -600.0  # log of a number whose gamma law is a power
KEPT = 4096  # tables: of 1,000 members with scatter of their own, and of a few models


def gamma_shapes(power: float, log_deviations: Floats) -> Floats:
    """Shape `k` of `R^p`, `trigamma(k) = (p b)^2`; infinite where the law is lognormal."""
    variances = (power * np.asarray(log_deviations, dtype=np.float64)) ** 2
    steady = variances < STEADY**2
    return np.where(steady, np.inf, inverse_trigamma(np.where(steady, 1.0, variances)))


def log_mean(power: float, log_deviations: Floats) -> Floats:
    """`log E R` where `log R` has the mean 0: `log Gamma(k + 1/p) - log Gamma(k) - digamma(k)/p`, or `b^2/2`."""
    normal: Floats = np.asarray(log_deviations, dtype=np.float64) ** 2 / 2
    shapes = gamma_shapes(power, log_deviations)
    if np.isinf(shapes).all():
        return normal
    k = np.where(np.isinf(shapes), 1.0, shapes)
    return np.where(np.isinf(shapes), normal, gammaln(k + 1 / power) - gammaln(k) - digamma(k) / power)


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
        low = scores < 0
        logs = (np.log(ndtr(scores)) + gammaln(k + 1)) / k  # near 0, where the gamma law is a power
        found = low & (logs > SMALL)
        logs[found] = np.log(gammaincinv(k, ndtr(scores[found])))
        logs[~low] = np.log(gammainccinv(k, ndtr(-scores[~low])))
        return np.asarray((logs - digamma(k)) / self.power)

    def tails(self, y: Floats) -> tuple[Floats, Floats]:
        """Probabilities to lie above and below."""
        k = self.shape
        if np.isinf(k):
            return ndtr(-y / self.deviation), ndtr(y / self.deviation)
        logs = self.power * y + digamma(k)
        with np.errstate(over="ignore", under="ignore"):
            x = np.exp(logs)
            below = np.where(logs < SMALL, np.exp(k * np.minimum(logs, 0.0) - gammaln(k + 1)), gammainc(k, x))
        return np.asarray(gammaincc(k, x)), np.asarray(below)


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
    """Quantiles of `log R` by score, its mean 0: points between the parts' quantiles, and the mixture's score there."""
    weighed, centres, laws = zip(*_parts(deviation, freedom, powers, weights), strict=True)
    quantiles = np.array([centre + law.at(SCORES) for centre, law in zip(centres, laws, strict=True)])
    widest = np.where(SCORES < 0, quantiles.min(axis=0), quantiles.max(axis=0))  # rules the far tail
    places = np.average(quantiles, axis=0, weights=weighed)
    places += (widest - places) * np.abs(SCORES) / FARTHEST
    tails = [law.tails(places - centre) for centre, law in zip(centres, laws, strict=True)]
    above, below = np.average(tails, axis=0, weights=weighed)
    with np.errstate(divide="ignore"):
        scores = np.where(above < 0.5, -ndtri(above), ndtri(below))
    rising = np.isfinite(scores) & (np.diff(scores, prepend=-np.inf) > 0)
    return CubicSpline(scores[rising], places[rising])


def _parts(
    deviation: float, freedom: float, powers: tuple[float, ...], weights: tuple[float, ...]
) -> Iterator[tuple[float, float, LogPowerGamma]]:
    """Weight, centre and law of each part; those of one power have the same mean of `R`."""
    deviations = np.sqrt(equally_likely_variances(deviation, freedom))
    for power, weight in zip(powers, weights, strict=True):
        if weight > 0:
            centres = log_mean(power, np.asarray(deviation)) - log_mean(power, deviations)
            for centre, b in zip(centres, deviations, strict=True):
                yield weight / deviations.size, float(centre), LogPowerGamma(power, float(b))
