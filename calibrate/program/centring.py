"""A forest near its central path at a plan: where every product of slack and multiplier is the same.

A kink at a level under a multiplier has a closed form; what is to be found is the multiplier that each tree's root has.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.program.forest import S1, S2, Y1, Y2, Forest, Kinks
from calibrate.program.kernel import inlined, kernel

__all__ = ["centre"]

Floats = npt.NDArray[np.float64]

SHARE = 1e-12  # of a root's weight: as little as its first multiplier may start from
MOST_CENTRINGS, CENTRED = 12, 0.1  # rounds, and relative error, of a tree that is centred


@kernel
def centre(forest: Forest, first: int, last: int, y: Floats, price: float, mu: float, state: Kinks) -> None:
    """Put the trees near the central path at coordinates `y`, from the multipliers of their roots."""
    groups_of = forest[0]
    root = state[2]
    for s in range(first, last):
        whole = price * forest.weight[s]
        low, high = 0.0, whole
        next_z = min(max(root[s, Y1], SHARE * whole), (1.0 - SHARE) * whole)
        for _ in range(MOST_CENTRINGS):
            z = next_z
            level = _hang(forest, s, y, z, mu, state)
            _kink(level, whole, mu, root, s)
            found = root[s, Y1]
            if abs(found - z) <= CENTRED * min(found, z):
                break
            # What a root carries falls as its leaves are pressed harder: the fixed point lies between the two.
            if found > z:
                low, high = max(low, z), min(high, found)
            else:
                low, high = max(low, found), min(high, z)
            next_z = np.sqrt(max(low, SHARE * whole) * high)
        for g in range(groups_of[s], groups_of[s + 1]):
            _share(forest, g, found / z, state)


@inlined
def _hang(forest: Forest, s: int, y: Floats, z: float, mu: float, state: Kinks) -> float:
    """Groups and leaves of a tree under the multiplier `z` of its root; returns the level of the root."""
    leaf, group, _ = state
    level_root = -forest.hung[s] * y[len(y) - 1]
    for g in range(forest.groups_of[s], forest.groups_of[s + 1]):
        level_group = forest.base[g] - (y[forest.segment[g]] if forest.segment[g] >= 0 else 0.0)
        for j in range(forest.lines_of[g], forest.lines_of[g + 1]):
            level_group -= forest.line_worth[j] * y[forest.line_cell[j]]
        y1 = 0.5 * z if forest.group_kinks else z
        for i in range(forest.leaves_of[g], forest.leaves_of[g + 1]):
            level_group += _kink(forest.loss[i] - forest.worth[i] * y[forest.cell[i]], y1, mu, leaf, i)
        if forest.group_kinks:
            level_root += _kink(level_group, z, mu, group, g)
            _rescale(leaf, forest.leaves_of[g], forest.leaves_of[g + 1], group[g, Y1] / y1)
        else:
            level_root += level_group
    return float(level_root)


@inlined
def _share(forest: Forest, g: int, scale: float, state: Kinks) -> None:
    """Multipliers of a group and its leaves times `scale`."""
    if forest.group_kinks:
        _rescale(state[1], g, g + 1, scale)
    _rescale(state[0], forest.leaves_of[g], forest.leaves_of[g + 1], scale)


@inlined
def _rescale(state: Floats, first: int, last: int, scale: float) -> None:
    """Multipliers times `scale`."""
    for i in range(first, last):
        state[i, Y1] *= scale
        state[i, Y2] *= scale


@inlined
def _kink(level: float, multiplier: float, mu: float, state: Floats, i: int) -> float:
    """The point of the central path of `v >= level, v >= 0` under a multiplier; returns `v`."""
    root = np.sqrt(level * level + (2.0 * mu / multiplier) ** 2)
    v = 0.5 * (level + root) + mu / multiplier
    # v - level and v without cancellation: both are mu / multiplier + (root -+ level) / 2
    small = 2.0 * (mu / multiplier) ** 2 / (root + abs(level))
    s2 = v if level >= 0 else mu / multiplier + small
    s1 = mu / multiplier + (small if level >= 0 else 0.5 * (root - level))
    state[i, S1], state[i, S2] = s1, s2
    state[i, Y1], state[i, Y2] = mu / s1, mu / s2
    return float(s2)
