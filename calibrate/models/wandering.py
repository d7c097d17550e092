"""Losses of the periods ahead around a level of the pool that is not known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrate.models.arrays import Floats
from calibrate.models.pool_level import PoolLevel
from calibrate.models.process import Key, Process, Step

__all__ = ["WanderingLevel"]


class WanderingLevel(Process):
    """Losses of periods drawn by another process, times what is not known of the pool's level, the same for all.

    The periods of a scenario are one step: they share the level that they set out from. `held` is the variance of the
    log of the pool's loss in one period of the other process.
    """

    def __init__(self, around: Process, level: PoolLevel, held: float) -> None:
        self.margins = around.margins
        self.around, self.level, self.held = around, level, held

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """All periods, each at its level."""
        steps = self.around.at(exposures, periods)

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            first, second = (_children(key, periods + 1) for key in keys)
            rng = np.random.Generator(np.random.SFC64(second[-1]))
            factors = self.level.factors(len(rows), periods, self.held, rng)
            for step, factor, *pair in zip(steps, factors, first, second, strict=False):
                losses = np.zeros_like(rows)
                step(losses, pair)
                rows += factor[:, None] * losses

        return [add]


def _children(key: Key, n: int) -> list[Key]:
    """Keys that follow from one, without a mark on it: it may be used again."""
    return [np.random.SeedSequence(key.entropy, spawn_key=(*key.spawn_key, k)) for k in range(n)]
