"""One pass over all scenarios: what the waterfall leaves at a plan, and the scenarios in the tail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from numba import get_num_threads, prange, set_num_threads

from calibrate.program.kernel import parallel_kernel
from calibrate.program.tail import largest

__all__ = ["left", "tail_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PARALLEL_FROM = 2_000_000  # losses


def left(kind: str, losses: Floats, collateral: Floats | None, own: Floats, segment: Floats, pool: float) -> Floats:
    """What is left in each scenario, money: the formulas of `Waterfall` in one sweep over losses (scenarios, columns).

    Without the last `(.)+`: what is negative tells how far a scenario is from the tail.
    """
    out = np.empty(len(losses))
    mutualised = kind == "mutualised"
    with _threads(losses.size):
        if collateral is not None:
            _sweep_collateral(losses, collateral, own, segment, pool, mutualised, out)
        elif len(segment) == 1:
            _sweep_plain(losses, own, segment[0] + pool, mutualised, own.sum(), out)
        else:
            _sweep(losses, own, segment, pool, mutualised, out)
    return out


@contextmanager
def _threads(size: int) -> Iterator[None]:
    """One thread for a small pass: waking the others would take longer than the pass."""
    before = get_num_threads()
    set_num_threads(before if size >= PARALLEL_FROM else 1)
    try:
        yield
    finally:
        set_num_threads(before)


@parallel_kernel
def _sweep_plain(losses: Floats, own: Floats, reserve: float, mutualised: bool, total: float, out: Floats) -> None:
    """One segment."""
    for s in prange(losses.shape[0]):
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


@parallel_kernel
def _sweep(losses: Floats, own: Floats, segment: Floats, pool: float, mutualised: bool, out: Floats) -> None:
    """Several segments."""
    n_segments = len(segment)
    for s in prange(losses.shape[0]):
        rest = 0.0
        for g in range(n_segments):
            beyond = -segment[g]
            for j in range(g, len(own), n_segments):
                excess = losses[s, j] - own[j]
                beyond += max(excess, 0.0) if mutualised else excess
            rest += max(beyond, 0.0)
        out[s] = rest - pool


@parallel_kernel
def _sweep_collateral(
    losses: Floats, collateral: Floats, own: Floats, segment: Floats, pool: float, mutualised: bool, out: Floats
) -> None:
    """With posted collateral that loses value."""
    n_segments = len(segment)
    for s in prange(losses.shape[0]):
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
