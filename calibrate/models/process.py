"""How the columns' losses come together in one period."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from scipy.special import gammaincinv

from calibrate.models.arrays import Floats
from calibrate.models.collective import Collective
from calibrate.models.dependence import Dependence
from calibrate.models.margins import Margins

__all__ = ["OrderedMargins", "Process", "SharedShocks"]

Key = np.random.SeedSequence


class Process(ABC):
    """Draws one period for many scenarios. `keys`: one seed for the dependence, one for the losses."""

    @abstractmethod
    def add_period(self, rows: Floats, exposures: Floats, keys: Sequence[Key]) -> None:
        """Add one period's losses to `rows` (scenarios, columns), at the exposures by column."""


class OrderedMargins(Process):
    """Who loses, and in which order of size, by the scores of the dependence; how much by the margins, exactly.

    Only what loses something is drawn, and no score is transformed: a column loses where its score is above the
    quantile of its probability of no loss (Iman and Conover 1982 for the order).
    """

    def __init__(self, margins: Margins, dependence: Dependence) -> None:
        self.margins = margins
        self.dependence = dependence

    def add_period(self, rows: Floats, exposures: Floats, keys: Sequence[Key]) -> None:
        """Scores, thresholds, losses in the order of the scores."""
        scores = np.ascontiguousarray(self.dependence.scores(len(rows), keys[0]).T)
        none = self.margins.zero_probability(exposures)
        inside = self.dependence.score_ppf(np.clip(none, 1e-300, 1 - 1e-16))
        thresholds = np.where(none <= 0, -np.inf, np.where(none >= 1, np.inf, inside))
        losing = [np.flatnonzero(column > threshold) for column, threshold in zip(scores, thresholds, strict=True)]
        counts = np.array([places.size for places in losing], dtype=np.intp)
        drawn = self.margins.draw(counts, exposures, np.random.default_rng(keys[1]))
        ends = np.concatenate([[0], np.cumsum(counts)])
        for j, places in enumerate(losing):
            column = scores[j]
            order = places[np.argsort(column[places])]
            column.fill(0.0)  # the scores have told what they know: their memory takes the losses
            column[order] = np.sort(drawn[ends[j] : ends[j + 1]])
        rows += scores.T


class SharedShocks(Process):
    """Events of a segment at a rate that one gamma shock `G[g]` moves for all its members; a copula binds the shocks.

    `N[g] ~ Poisson(G[g] sum_i m[i, g])`, who is hit by `m[i, g]`, losses independent; margins as in `Collective`.
    """

    def __init__(self, collective: Collective, dependence: Dependence) -> None:
        self.collective = collective
        self.dependence = dependence

    def add_period(self, rows: Floats, exposures: Floats, keys: Sequence[Key]) -> None:
        """Shocks, number of events, who is hit, how much is paid."""
        means, caps = self.collective.means(exposures), self.collective.caps(exposures)
        members, width = means.shape
        uniform = self.dependence.sample(len(rows), keys[0])
        rng = np.random.default_rng(keys[1])
        for g in range(width):
            total = float(means[:, g].sum())
            if total == 0:
                continue
            k = self.collective.segments[g].frequency.size_
            shock = np.ones(len(rows)) if math.isinf(k) else gammaincinv(k, uniform[:, g]) / k
            events = rng.poisson(total * shock)
            place = np.repeat(np.arange(len(rows)), events)
            owner = np.searchsorted(np.cumsum(means[:, g]) / total, rng.random(place.size), side="right")
            owner = np.minimum(owner, np.flatnonzero(means[:, g])[-1])
            paid = self.collective.payments(g, owner, caps[:, g], rng)
            sums = np.bincount(place * members + owner, paid, len(rows) * members)
            rows[:, g::width] += sums.reshape(len(rows), members)
