"""Counts of all members at an intensity that wanders from period to period."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import gammaincinv, gammaln
from sklearn.base import clone

from calibrate.models.arrays import Floats, broadcast
from calibrate.models.frequency.likelihood import log_probability
from calibrate.models.frequency.model import Order, counted
from calibrate.models.frequency.reexposed import Reexposed
from calibrate.models.frequency.shared_shock import SharedShock

__all__ = ["Drifting", "memory_evidence"]

MEMORIES = np.array([0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
SIZES = np.geomspace(0.1, 100.0, 13)


class Drifting(Reexposed):
    """Poisson counts at `rate * exposure * G_t`, one `G` for all columns, which remembers where it was.

    `G` is an autoregressive gamma process, in the long run of mean 1 and size `k`, with memory `r`:

        E[G_(t+1) | G_t] = 1 + r (G_t - 1),   Var[G_(t+1) | G_t] = (1 - r)(1 - r + 2 r G_t) / k

    So counts that come in waves, or after quiet spells, are forecast from where the wave stands, and the way back to
    the mean is open: a spell without events ends. What is known of `G_t` is kept as a gamma law of the right mean and
    variance, so each period's sum is negative binomial. `r` and `1 / k` are means of a grid, weighted by likelihood
    (with `r = 0` it is `SharedShock`); rates of the columns are those of `SharedShock`.
    Source: Gourieroux and Jasiak 2006 (the process; Cox, Ingersoll and Ross 1985 in periods); West and Harrison 1997,
    chapter 14 (the filter).

    Fitted: `memory_` (r), `long_size_` (k), `level_` (mean of `G` in the period ahead), `levels_` (forecast for each
    period), `gain_` (of log-likelihood over `SharedShock`), `profile_` (Series: log-likelihood by memory, less its
    maximum), `base_` (with rates and size ahead).

    >>> counts = np.repeat([2.0, 20.0, 3.0, 18.0], 12)
    >>> model = Drifting().fit(counts)
    >>> bool(model.mean()[0] > 15), bool(model.gain_ > 20)
    (True, True)
    """

    memory_: float
    long_size_: float
    level_: float
    levels_: Floats
    gain_: float
    profile_: pd.Series[float]

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods in the order of time, columns); `y` is ignored. Errors as of `SharedShock`."""
        counts, exposures, weights = counted(self, X, sample_weight, exposure)
        self.base_ = clone(SharedShock()).fit(counts, None, weights, exposure=exposures)
        expected = self.base_.means_
        seen = counts.sum(axis=1), expected.sum(axis=1), weights
        memories, sizes = np.meshgrid(MEMORIES, SIZES, indexing="ij")
        values = _filtered(*seen, memories, sizes)[0]
        chances = np.exp(values - values.max())
        chances /= chances.sum()
        index = pd.Index(MEMORIES, name="memory")
        self.profile_ = pd.Series(values.max(axis=1) - values.max(), index, name="log-likelihood")
        self.memory_ = float((chances * memories).sum())
        self.long_size_ = float(1 / (chances / sizes).sum())
        value, shapes, levels = _filtered(*seen, np.array(self.memory_), np.array(self.long_size_))
        likelihood = float(value) + float(weights @ _allocation(counts, expected))
        self.gain_ = max(0.0, likelihood - self.base_.log_likelihood_)
        self.levels_, self.level_ = levels[:-1], float(levels[-1])
        self.base_.means_ = expected * self.levels_[:, None]
        self.base_.rate_ = self.base_.rate_ * self.level_
        self.base_.collective_rate_ *= self.level_
        self.base_.size_, self.base_.log_likelihood_ = float(shapes[-1]), likelihood
        return self

    @property
    def order(self) -> Order:
        """Which periods follow each other, and which is the last."""
        return Order.NEIGHBOURS

    def shocks(self, uniform: Floats) -> Floats:
        """`G / level_` of the period ahead, (n,), at these levels of its gamma law."""
        return np.asarray(gammaincinv(self.size_, uniform) / self.size_)

    def next_shocks(self, shocks: Floats, uniform: Floats, rng: np.random.Generator) -> Floats:
        """`G / level_` one period after that of `shocks`: gamma of size `k + Z`, `Z` Poisson of mean `r k G / (1 - r)`.

        Exact, not as the filter has it.
        """
        k, moves = self.long_size_, 1 - self.memory_
        sizes = k + rng.poisson(self.memory_ * k / moves * self.level_ * shocks)
        return np.asarray(gammaincinv(sizes, uniform) * moves / k / self.level_)

    def laws(self, periods: int) -> list[tuple[float, float]]:
        """Size and mean of `G / level_` in each of the periods ahead, seen from now: gamma laws of their variance."""
        mean, variance, found = self.level_, self.level_**2 / self.size_, []
        for _ in range(periods):
            found.append((mean**2 / variance, mean / self.level_))
            mean, variance = _moved(mean, variance, self.memory_, self.long_size_)
        return found

    def flag(self, segment: str) -> str:
        """Where the intensity stands, in a sentence."""
        return (
            f"segment {segment!r}: {self.level_:.2g} times as many events are expected in the period ahead as in the "
            f"whole history; {self.memory_:.0%} of the distance is left a period later"
        )

    def _ahead(self, exposure: Any) -> Floats:
        return broadcast(exposure, self.n_features_in_)


def memory_evidence(seen: Floats, expected: Floats) -> float:
    """Log-likelihood of an intensity that remembers over one that does not: numbers of events by period, over expected.

    >>> memory_evidence(np.repeat([2.0, 20.0, 3.0, 18.0], 12), np.full(48, 10.0)) > 20
    True
    """
    memories, sizes = np.meshgrid(MEMORIES, SIZES, indexing="ij")
    likely = _filtered(seen, expected, np.ones(len(seen)), memories, sizes)[0].max(axis=1)
    return float(likely.max() - likely[0])


def _filtered(
    hits: Floats, means: Floats, weights: Floats, memory: Floats, size: Floats
) -> tuple[Floats, Floats, Floats]:
    """Log-likelihood of the sums; size and mean of the intensity as forecast for each period and the one ahead.

    For each of the memories and long-run sizes, which come last.
    """
    mean, variance, value = np.ones_like(memory), 1 / size, np.zeros_like(memory)
    shapes, levels = [], []
    for hit, expected, weight in zip(hits, means, weights, strict=True):
        a, b = mean**2 / variance, mean / variance
        shapes.append(a)
        levels.append(mean)
        if expected > 0:
            chance = gammaln(a + hit) - gammaln(a) - gammaln(hit + 1)
            value = value + weight * (chance - a * np.log1p(expected / b) - hit * np.log1p(b / expected))
        a, b = a + weight * hit, b + weight * expected
        mean, variance = _moved(a / b, a / b**2, memory, size)
    return value, np.array([*shapes, mean**2 / variance]), np.array([*levels, mean])


def _moved(known: Any, error: Any, memory: Any, size: Any) -> tuple[Any, Any]:
    """Mean and variance of the intensity a period later, of one with this mean and variance."""
    return 1 + memory * (known - 1), memory**2 * error + (1 - memory) * (1 - memory + 2 * memory * known) / size


def _allocation(counts: Floats, means: Floats) -> Floats:
    """Log probability of who was hit, given how many: independent Poisson over the Poisson law of the sum."""
    total = log_probability(counts.sum(axis=1), means.sum(axis=1), np.inf)
    return np.asarray(log_probability(counts, means, np.inf).sum(axis=1) - total)
