"""Losses of the periods ahead around levels, of the pool and of its segments, that are not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibrate.models.arrays import Floats
from calibrate.models.pool_level import PoolLevel
from calibrate.models.process import Key, Process, Step, children

__all__ = ["Held", "WanderingLevel"]


@dataclass(frozen=True)
class Held:
    """A level, and the variance that the log of what it is the level of has in one period without it."""

    level: PoolLevel
    variance: float


class WanderingLevel(Process):
    """Losses of periods drawn by another process, times what is not known of levels: the pool's, the same for all, and
    those of its segments over the pool's (as many as there are segments, or none).

    The periods of a scenario are one step: they share the levels that they set out from.
    """

    def __init__(self, around: Process, pool: Held, segments: Sequence[Held] = ()) -> None:
        self.margins = around.margins
        self.around, self.pool, self.segments = around, pool, tuple(segments)

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
                rows += factors[0][:, None] * losses

        return [add]

    def _keys(self, key: Key) -> list[Key]:
        """The pool's is the key itself."""
        return [key, *children(key, len(self.segments))]
