"""Losses of many scenarios, block by block: on several threads, the same bytes for any number of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import Parallel, delayed

from calibrate.blocks import Blocks
from calibrate.models.arrays import Floats, RandomState, generator
from calibrate.models.process import Process
from calibrate.one_thread import ONE_THREAD

__all__ = ["BlockSource", "draw_losses", "key_of", "log_variances"]

BLOCK = 2**15  # scenarios that are drawn together; fixed, so that the bytes do not depend on memory or workers
CHUNK = 1024  # a block has a multiple of so many rows
DRAWS = 2e7  # single losses that one block may cost
SCORES, LOSSES = 1, 2  # stages of the random keys
NORMAL = 2 * 1.6448536269514722  # width of the 90 % interval of the normal law
PILOT = 8192  # scenarios that show how the pool's loss scatters: its variance to 2 %


def draw_losses(
    process: Process,
    n: int,
    exposures: Floats,
    random_state: RandomState = None,
    periods: int = 1,
    n_jobs: int | None = None,
) -> Floats:
    """Losses (n, columns) of `periods` periods at `exposures` by column; read-only, so that nobody need copy them.

    On `n_jobs` threads, all cores if not given.

    >>> from calibrate.models.dependence import Independent
    >>> from calibrate.models.margins import SeverityMargins
    >>> from calibrate.models.process import ComposedMargins
    >>> from calibrate.models.severity import LogNormal
    >>> margins = SeverityMargins([LogNormal().fit([1.0, 2.0, 4.0])] * 2, np.array([0.9, 0.5]))
    >>> copula = Independent().fit([[1.0, 2.0], [3.0, 1.0]])
    >>> (draw_losses(ComposedMargins(margins, copula), 10_000, np.ones(2), 1) > 0).mean(axis=0).round(1)
    array([0.1, 0.5])
    """
    source = BlockSource(process, exposures, random_state, periods)
    losses = np.zeros((n, exposures.size))

    def fill(block: int) -> None:
        source.fill(block, losses[block * source.rows : (block + 1) * source.rows])

    with ONE_THREAD:
        Parallel(n_jobs=-1 if n_jobs is None else n_jobs, require="sharedmem")(
            delayed(fill)(block) for block in range(-(-n // source.rows))
        )
    losses.setflags(write=False)
    return losses


def log_variances(process: Process, exposures: Floats, segments: int = 1) -> list[float]:
    """Scatter of the log of all columns' loss together in a period that has one, and of that of each segment over it.

    As the variance of the normal law whose 90 % interval is as wide: one period in 300 in which the largest member
    loses nothing would rule the moment, and pass for what every period scatters. Always the same draws.
    """
    drawn = draw_losses(process, PILOT, exposures, 0, n_jobs=1).reshape(PILOT, -1, segments).sum(axis=1)
    totals = drawn.sum(axis=1)
    logs = [np.log(totals[totals > 0])]
    logs += [np.log(x[x > 0] / totals[x > 0]) for x in drawn.T]
    widths = [float(np.diff(np.quantile(x, [0.05, 0.95]))[0]) if x.size else 0.0 for x in logs]
    return [(width / NORMAL) ** 2 for width in widths]


class BlockSource:
    """Draws any block of the scenarios of a seed, as often as it is asked."""

    def __init__(self, process: Process, exposures: Floats, random_state: RandomState, periods: int = 1) -> None:
        self.columns = exposures.size
        self._entropy, self._prefix = key_of(random_state)
        self._steps = process.at(exposures, periods)
        cost = max(process.margins.events_per_period(exposures) * periods / len(self._steps), 1)
        self.rows = int(np.clip(DRAWS / cost, CHUNK, BLOCK)) // CHUNK * CHUNK

    def fill(self, block: int, rows: Floats) -> None:
        """Add the losses of a block to its rows, which are zero."""
        for period, add in enumerate(self._steps):
            places = [(*self._prefix, stage, block, period) for stage in (SCORES, LOSSES)]
            add(rows, [np.random.SeedSequence(self._entropy, spawn_key=place) for place in places])

    def blocks(self, n: int) -> Blocks:
        """The first `n` scenarios, drawn again whenever they are needed."""

        def draw(block: int) -> Floats:
            rows = np.zeros((min(self.rows, n - block * self.rows), self.columns))
            with ONE_THREAD:
                self.fill(block, rows)
            return rows

        return Blocks(draw, (n, self.columns), self.rows)


def key_of(random_state: RandomState) -> tuple[Any, tuple[int, ...]]:
    """Entropy and key prefix of a seed; a generator gives 128 bits of its own."""
    if isinstance(random_state, np.random.Generator):
        return [int(bits) for bits in random_state.integers(0, 2**32, 4)], ()
    if isinstance(random_state, np.random.SeedSequence):
        return random_state.entropy, tuple(random_state.spawn_key)
    generator(random_state)  # says what is no seed
    return np.random.SeedSequence(random_state).entropy, ()
