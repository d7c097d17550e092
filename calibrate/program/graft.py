"""A point of one program as a start of another with mostly the same trees: those keep their state, others are centred.

After a tie has seen scenarios that it did not know, it goes on from where it was on its way, not from the beginning.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from calibrate.program.forest import Y1, Grove, Step, spread
from calibrate.program.standard_form import Point, Tail
from calibrate.program.trees import Trees

__all__ = ["grafted"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HALF = 0.5  # of its weight: what the multiplier of a new root starts with


def grafted(point: Point, old: list[Tail], new: list[Tail], prices: Floats) -> Point:
    """`point`, of a program with the trees `old`, with the trees `new`; `prices` of the risk terms."""
    steps = []
    for before, tail, step, price in zip(old, new, point.steps, prices, strict=True):
        fresh = Step.empty(tail.forest)
        fresh.state.root[:, Y1] = HALF * price * tail.forest.weight
        Trees(tail.forest, fresh).centre(tail.along(point.v) + tail.m, float(price), point.mu)
        _carry(before.grove, tail.grove, step, fresh)
        steps.append(fresh)
    return replace(point.copy(), steps=steps)


def _carry(old: Grove, new: Grove, step: Step, fresh: Step) -> None:
    """The states of trees that are in both."""
    here, there = _shared(new, old)
    fresh.state.root[here] = step.state.root[there]
    pairs = [(new.forest.leaf_ends, old.forest.leaf_ends, fresh.state.leaf, step.state.leaf)]
    if new.forest.group_kinks:
        pairs.append((new.forest.groups_of, old.forest.groups_of, fresh.state.group, step.state.group))
    for ends, ends_old, state, state_old in pairs:
        state[spread(ends, here)[1]] = state_old[spread(ends_old, there)[1]]


def _shared(new: Grove, old: Grove) -> tuple[Ints, Ints]:
    """Trees of the same scenario, or of the same loss, with the same leaves: their places in both."""
    _, here, there = np.intersect1d(_names(new), _names(old), assume_unique=True, return_indices=True)
    ends, ends_old = new.forest.leaf_ends, old.forest.leaf_ends
    alike = np.diff(ends)[here] == np.diff(ends_old)[there]
    here, there = here[alike], there[alike]
    (tree, leaf), (_, leaf_old) = spread(ends, here), spread(ends_old, there)
    other = np.bincount(tree, new.forest.cell[leaf] != old.forest.cell[leaf_old], len(here)) > 0
    return here[~other], there[~other]


def _names(grove: Grove) -> Ints:
    """A number of every tree: of the first scenario that it stands for, and of the loss if it is one by itself."""
    scenario, alone, tree = grove.planted
    first = np.unique(tree, return_index=True)[1]
    return grove.chosen[scenario[first]] * (grove.forest.n_coordinates + 1) + alone[first] + 1
