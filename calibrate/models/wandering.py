"""Losses of the periods ahead around levels, of the pool and of its segments, that are not known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import norm

from calibrate.models.arrays import Floats
from calibrate.models.margins import InvertibleMargins
from calibrate.models.pool_level import PoolLevel
from calibrate.models.process import Key, Process, Step, children

__all__ = ["Held", "WanderingLevel"]

FARTHEST, STEP = 8.0, 0.02  # scores
LEVELS = 2000


@dataclass(frozen=True)
class Held:
    """A level, and the variance that the log of what it is the level of has in one period without it."""

    level: PoolLevel
    variance: float


class WanderingLevel(Process):
    """Losses of periods drawn by another process, times what is not known of levels: the pool's, the same for all, and
    those of its segments over the pool's (as many as there are segments, or none).

    The periods of a scenario are one step: they share the levels that they set out from. No column loses more in a
    period than `cap` times its exposure.
    """

    def __init__(self, around: Process, pool: Held, segments: Sequence[Held] = (), cap: float = math.inf) -> None:
        self.margins = around.margins
        self.around, self.pool, self.segments, self.cap = around, pool, tuple(segments), cap

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """All periods, each at its levels."""
        steps = self.around.at(exposures, periods)

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            first, second = (children(key, periods + 1) for key in keys)
            ways = [
                held.level.factors(len(rows), periods, held.variance, np.random.Generator(np.random.SFC64(key)))
                for held, key in zip((self.pool, *self.segments), self._keys(second[-1]), strict=True)
            ]
            for step, factors, *pair in zip(steps, zip(*ways, strict=True), first, second, strict=False):
                losses = np.zeros_like(rows)
                step(losses, pair)
                apart = np.column_stack(factors[1:]) if len(factors) > 1 else np.ones((1, 1))
                by_segment = losses.reshape(len(rows), -1, apart.shape[1])
                by_segment *= apart[:, None, :]
                losses *= factors[0][:, None]
                if self.cap < math.inf:
                    np.minimum(losses, self.cap * exposures, out=losses)
                rows += losses

        return [add]

    def capped_means(self, exposures: Floats, margins: InvertibleMargins) -> Floats:
        """Expected loss of each column in the period ahead, money: `E min(W L, cap e)`, by trapezoids over the score of
        `L`, and over always the same 2,000 levels `W` (with those of the segments), brought to their mean, which is 1.
        """
        scores = np.arange(-FARTHEST, FARTHEST + STEP / 2, STEP)
        weights, found = STEP * norm.pdf(scores), np.zeros(exposures.size)
        ways = [
            next(held.level.factors(LEVELS, 1, held.variance, np.random.default_rng([0, k])))
            for k, held in enumerate((self.pool, *self.segments))
        ]
        chances = 1 - margins.zero_probability(exposures)
        for column in np.flatnonzero(exposures > 0):
            level = ways[0] * (ways[1 + column % len(self.segments)] if self.segments else 1.0)
            level /= level.mean()
            losses = margins.exceeded(ndtr(-scores), exposures, int(column))
            capped = np.minimum(level[:, None] * losses, self.cap * exposures[column])
            found[column] = chances[column] * float(np.mean(capped @ weights))
        return found

    def _keys(self, key: Key) -> list[Key]:
        """The pool's is the key itself."""
        return [key, *children(key, len(self.segments))]
