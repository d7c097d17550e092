"""More of the tail in as many scenarios: draw many, keep all bad ones and a weighted few of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from calibrate.errors import ModelError
from calibrate.models.arrays import RandomState
from calibrate.models.sampling import key_of
from calibrate.scenarios import Scenarios

__all__ = ["Ahead", "enriched_scenarios"]

PILOT, BLOCK, THINNING = 0, 1, 2  # stages of the random keys
LEAST_BLOCK = 2_000


class Sampler(Protocol):
    """Anything that draws scenarios: `JointLossModel` after its fit."""

    def sample(self, n: int, random_state: np.random.SeedSequence) -> Scenarios:
        """`n` scenarios."""


def enriched_scenarios(
    model: Sampler, n: int, *, enrichment: int = 10, tail_share: float = 0.5, random_state: RandomState = 0
) -> Scenarios:
    """`n` scenarios whose tail is that of `enrichment * n` plain ones: stratified by the pool's total loss, two-phase.

    Of `enrichment * n` draws, made block by block, all with a total loss beyond a threshold are kept with their own
    probability, and as many of the others as there is room for, with what probability is left. A tail mean of
    anything that is large only when the total is large has the error of `enrichment * n` plain scenarios; everything
    stays unbiased (given the threshold, found in a pilot of its own). The tail kept is `tail_share / enrichment` of the
    probability: it must hold the level you ask for (5 % by default: room to spare at 0.99).
    Source: Cochran 1977, Sampling Techniques, chapter 12; Glasserman 2003, section 4.3.
    """
    if n < 100 or enrichment < 2 or not 0 < tail_share < 1:
        raise ModelError(
            f"enrichment needs n >= 100, enrichment >= 2 and 0 < tail_share < 1, got {n}, {enrichment} and {tail_share}"
        )
    root = key_of(random_state)
    pilot = model.sample(max(n, LEAST_BLOCK), _key(root, PILOT, 0))
    threshold = float(np.quantile(pilot.losses.sum(axis=1), 1 - tail_share / enrichment))
    tails, bodies, total = [], [], enrichment * n
    room = int(np.ceil(n / enrichment))  # body rows kept of each block: together n, more than there will be room for
    for block in range(enrichment):
        drawn = model.sample(n, _key(root, BLOCK, block))
        sums = drawn.losses.sum(axis=1)
        tails.append(drawn.losses[sums > threshold])
        rest = np.flatnonzero(sums <= threshold)
        generator = np.random.default_rng(_key(root, THINNING, block))
        bodies.append(drawn.losses[generator.permutation(rest)[:room]])
    tail, body = np.concatenate(tails), np.concatenate(bodies)
    space = n - len(tail)
    if space < n // 10 or space > len(body):
        raise ModelError(
            f"{len(tail)} of {total} draws lie beyond the pilot's threshold {threshold:g}, {n} scenarios are wanted; "
            "choose a smaller tail_share or more scenarios (totals on few distinct values cannot be split)"
        )
    chosen = body[np.linspace(0, len(body) - 1, space).astype(np.intp)]  # evenly from all blocks
    weights = np.concatenate([np.full(len(tail), 1 / total), np.full(space, (total - len(tail)) / (total * space))])
    return Scenarios(
        np.concatenate([tail, chosen]), pilot.members, pilot.segments, weights / weights.sum(), currency=pilot.currency
    )


def _key(root: tuple[Any, tuple[int, ...]], stage: int, block: int) -> np.random.SeedSequence:
    entropy, prefix = root
    return np.random.SeedSequence(entropy, spawn_key=(*prefix, stage, block))


@dataclass(frozen=True)
class Ahead:
    """A model with what it is asked to look at."""

    model: Any
    periods: int
    exposures: Any

    def sample(self, n: int, random_state: np.random.SeedSequence) -> Scenarios:
        """Scenarios of that."""
        found: Scenarios = self.model.sample(n, random_state, self.periods, self.exposures)
        return found
