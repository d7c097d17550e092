"""One pass over all scenarios: what the waterfall leaves at a plan, and the scenarios in the tail."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from calibrate.blocks import Blocks
from calibrate.program.kernel import sweep_kernel
from calibrate.program.tail import largest
from calibrate.program.threads import side_by_side

__all__ = ["left", "tail_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PARALLEL_FROM = 2_000_000  # losses


def left(
    kind: str, losses: Floats | Blocks, collateral: Floats | None, own: Floats, segment: Floats, pool: float
) -> Floats:
    """What is left in each scenario, money: the formulas of `Waterfall` in one sweep over losses (scenarios, columns).

    Without the last `(.)+`: what is negative tells how far a scenario is from the tail. Losses that are drawn block by
    block are swept block by block.
    """
    if isinstance(losses, Blocks):

        def sweep(first: int, block: Floats) -> Floats:
            worth = None if collateral is None else collateral[first : first + len(block)]
            return left(kind, block, worth, own, segment, pool)

        return np.concatenate(list(losses.over(sweep)))
    out = np.empty(len(losses))
    mutualised = kind == "mutualised"

    def work(first: int, last: int) -> None:
        if collateral is not None:
            _sweep_collateral(losses, first, last, collateral, own, segment, pool, mutualised, out)
        elif len(segment) == 1:
            _sweep_plain(losses, first, last, own, segment[0] + pool, mutualised, own.sum(), out)
        else:
            _sweep(losses, first, last, own, segment, pool, mutualised, out)

    chunks = get_num_threads() if losses.size >= PARALLEL_FROM else 1
    side_by_side(work, [len(losses) * k // chunks for k in range(chunks + 1)])
    return out


@sweep_kernel
def _sweep_plain(
    losses: Floats, first: int, last: int, own: Floats, reserve: float, mutualised: bool, total: float, out: Floats
) -> None:
    """One segment."""
    for s in range(first, last):
        row = losses[s]
        beyond = 0.0
        if mutualised:
            for j in range(len(own)):
                beyond += max(row[j] - own[j], 0.0)
        else:
            for j in range(len(own)):
                beyond += row[j]
            beyond -= total
        out[s] = beyond - reserve


@sweep_kernel
def _sweep(
    losses: Floats,
    first: int,
    last: int,
    own: Floats,
    segment: Floats,
    pool: float,
    mutualised: bool,
    out: Floats,
) -> None:
    """Several segments."""
    n_segments = len(segment)
    for s in range(first, last):
        rest = 0.0
        for g in range(n_segments):
            beyond = -segment[g]
            for j in range(g, len(own), n_segments):
                excess = losses[s, j] - own[j]
                beyond += max(excess, 0.0) if mutualised else excess
            rest += max(beyond, 0.0)
        out[s] = rest - pool


@sweep_kernel
def _sweep_collateral(
    losses: Floats,
    first: int,
    last: int,
    collateral: Floats,
    own: Floats,
    segment: Floats,
    pool: float,
    mutualised: bool,
    out: Floats,
) -> None:
    """With posted collateral that loses value."""
    n_segments = len(segment)
    for s in range(first, last):
        rest = 0.0
        for g in range(n_segments):
            beyond = -segment[g]
            for j in range(g, len(own), n_segments):
                excess = losses[s, j] - collateral[s, j // n_segments] * own[j]
                beyond += max(excess, 0.0) if mutualised else excess
            rest += max(beyond, 0.0)
        out[s] = rest - pool


def tail_of(values: Floats, probabilities: Floats, mass: float, floor: float = -np.inf) -> Ints:
    """Scenarios with the largest values, at least `mass` of probability (or all of them), in their order.

    Those at or below `floor`, what a scenario without any loss leaves, are left out: they are many, and selecting among
    equals is slow.
    """
    candidates = largest(values, probabilities, mass, floor)
    p = probabilities[candidates]
    if p.size == 0 or p.sum() <= mass:
        return candidates
    if p.min() == p.max():
        count = min(int(np.ceil(mass / p[0] * (1 - 1e-12))) + 1, len(p))
        chosen = np.argpartition(values[candidates], len(p) - count)[len(p) - count :]
    else:
        order = np.argsort(values[candidates])[::-1]
        count = min(int(np.searchsorted(np.cumsum(p[order]), mass)) + 1, len(p))
        chosen = order[:count]
    return np.sort(candidates[chosen])
