"""Losses of many scenarios, block by block: on several threads, the same bytes for any number of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from calibrate.models.arrays import Floats, RandomState
from calibrate.models.process import Process

__all__ = ["draw_losses", "key_of"]

BLOCK = 2**15  # scenarios that are drawn together; fixed, so that the bytes do not depend on memory or workers
DRAWS = 2e7  # single losses that one block may cost
SCORES, LOSSES = 1, 2  # stages of the random keys


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
    entropy, prefix = key_of(random_state)
    size = int(min(BLOCK, max(1024, DRAWS // max(process.margins.events_per_period(exposures), 1))))
    losses, add = np.zeros((n, exposures.size)), process.at(exposures)

    def fill(block: int) -> None:
        rows = losses[block * size : (block + 1) * size]
        for period in range(periods):
            places = [(*prefix, stage, block, period) for stage in (SCORES, LOSSES)]
            keys = [np.random.SeedSequence(entropy, spawn_key=place) for place in places]
            add(rows, keys)

    with threadpool_limits(limits=1, user_api="blas"):  # a product's bytes may depend on its number of threads
        Parallel(n_jobs=-1 if n_jobs is None else n_jobs, require="sharedmem")(
            delayed(fill)(block) for block in range(-(-n // size))
        )
    losses.setflags(write=False)
    return losses


def key_of(random_state: RandomState) -> tuple[Any, tuple[int, ...]]:
    """Entropy and key prefix of a seed; a generator gives 128 bits of its own."""
    if isinstance(random_state, np.random.Generator):
        return [int(bits) for bits in random_state.integers(0, 2**32, 4)], ()
    if isinstance(random_state, np.random.SeedSequence):
        return random_state.entropy, tuple(random_state.spawn_key)
    return np.random.SeedSequence(random_state).entropy, ()
