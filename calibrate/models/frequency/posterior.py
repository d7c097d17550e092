"""What few counts leave open: the level of their rates, and how much a shock scatters them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from calibrate.models.arrays import Floats
from calibrate.models.frequency.likelihood import log_probability

__all__ = ["CountPosterior"]

STEADY = 1 / 3  # chance, before the data, that there is no shock: as one of each column's own, and one that all share
UNSEEN = 0.1  # a shock whose variance is so small a part of chance's is none
WIDEST = 4.0  # variance of a shock, before the data; more if the fitted one is near it
STEPS = 97  # variances that are tried, by powers
LIKELY = 12.0  # of log-likelihood: what lies so far below the best is left out
KEPT = 24  # variances that are looked at closely, at most
REACH = np.linspace(-4.5, 4.5, 61)  # levels, in standard deviations of their log


@dataclass(frozen=True)
class CountPosterior:
    """Chances of the variance `v` of a gamma shock (0: Poisson), and of the log of a level `w` of all rates given it.

    Counts are negative binomial of mean `w m` and size `1 / v`. Before the data: `log w` is flat (the posterior of a
    Poisson rate is gamma, its mean that of the fit), or normal as far as the counts tell less of it than one event;
    `v` is 0 with chance 1/3, else the deviation `sqrt(v)` is flat up to 2 (Gelman 2006), from where a shock is a tenth
    of what chance scatters: below it is none.

    `chances` (k,) of `variances` (k,); `below` (k, points), the chance that the log level is below `logs` (k, points);
    `evidence`: log of the integral of the likelihood, over that of the fit.
    Source: Gelman 2006, Bayesian Analysis 1(3); Gelman et al. 2013, Bayesian Data Analysis, 2.6 and 10.1 (grids).

    >>> law = CountPosterior.of(np.array([4.0, 6.0, 5.0]), np.full(3, 5.0), np.inf, shocked=False)
    >>> levels, sizes = law.at(np.full(2, 0.5), np.array([0.05, 0.95]))
    >>> levels.round(2).tolist(), sizes.tolist()  # a gamma law of shape 15 has .62 and 1.46
    ([0.62, 1.46], [inf, inf])
    """

    variances: Floats
    chances: Floats
    logs: Floats
    below: Floats
    evidence: float

    @classmethod
    def of(cls, hit: Floats, expected: Floats, size: float, *, shocked: bool, worth: float = 1.0) -> CountPosterior:
        """From counts that one shock hits together, their fitted means and size; `shocked`: whether there may be one.

        `worth`: what share of independent counts they are worth.
        """
        seen = expected.ravel() > 0
        pairs = np.column_stack([hit.ravel()[seen], expected.ravel()[seen]])
        (n, m), times = (part := np.unique(pairs, axis=0, return_counts=True))[0].T, worth * part[1]

        def height(level: Floats, variance: float) -> Floats:
            k = 1 / variance if variance > 0 else np.inf
            return np.asarray(times @ log_probability(n[:, None], m[:, None] * level, k))

        variances, prior = (
            _tried(height, float(times @ m / times.sum()), size) if shocked else (np.zeros(1), np.zeros(1))
        )
        found = [_levels(height, v, float(times @ (m / (1 + v * m)))) for v in variances]
        logs, heights, steps = (np.array(part) for part in zip(*found, strict=True))
        weights = heights + np.log(steps)[:, None]
        value = prior + logsumexp(weights, axis=1)
        each = softmax(weights, axis=1)
        whole = float(logsumexp(value))
        fitted = float(height(np.ones(1), 0.0 if np.isinf(size) else 1 / size)[0])
        return cls(variances, np.exp(value - whole), logs, np.cumsum(each, axis=1) - each / 2, whole - fitted)

    def at(self, first: Floats, second: Floats) -> tuple[Floats, Floats]:
        """Levels and sizes: `first` is the chance of a smaller variance, `second` of a smaller level given it."""
        place = np.searchsorted(np.cumsum(self.chances)[:-1], first)
        logs = [np.interp(u, self.below[k], self.logs[k]) for k, u in zip(place, second, strict=True)]
        with np.errstate(divide="ignore"):
            return np.exp(logs), 1 / self.variances[place]


def _tried(height: Callable[[Floats, float], Floats], mean: float, size: float) -> tuple[Floats, Floats]:
    """Variances that are not out of the question, zero first, and the log of their chances before the data."""
    low, high = UNSEEN / mean, max(WIDEST, 4 / size)
    if low >= high:
        return np.zeros(1), np.zeros(1)
    variances = np.geomspace(low, high, STEPS)
    prior = np.sqrt(variances)  # of equal steps of its log
    heights = np.array([height(np.ones(1), v)[0] for v in (0.0, *variances)])
    likely = np.flatnonzero(heights[1:] > heights.max() - LIKELY)
    stride = max(-(-likely.size // KEPT), 1)
    kept = likely[::stride]
    chances = [[STEADY], (1 - STEADY) * stride * prior[kept] / prior.sum()]
    return np.concatenate([[0.0], variances[kept]]), np.log(np.concatenate(chances))


def _levels(height: Callable[[Floats, float], Floats], v: float, information: float) -> tuple[Floats, Floats, float]:
    """Log levels given a variance, the log-likelihood there, and their distance."""
    unit = 1 / math.sqrt(max(information, 1.0))
    logs = REACH * unit
    missing = max(1 - information, 0.0)  # of what one event tells
    return logs, height(np.exp(logs), v) - missing / 2 * logs**2, float(REACH[1] - REACH[0]) * unit
