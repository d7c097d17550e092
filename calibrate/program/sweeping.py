"""One pass over a forest does for a whole step: along its moves, the elimination at the new place, and the first push.

Memory rules what a step takes, so three kernels work on a few trees while these are near the processor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from calibrate.program.elimination import factor, forward
from calibrate.program.forest import F1, F2, G1, G2, S1, S2, Y1, Y2, Forest, Kinks, Step
from calibrate.program.kernel import inlined, kernel

__all__ = ["Swept", "advance", "sweep"]

Floats = npt.NDArray[np.float64]

TOGETHER = 64  # trees that stay near the processor


class Swept(NamedTuple):
    """What a pass over trees finds, along the coordinates: see `advance`, and `elimination.factor` and `forward`."""

    pull: Floats
    sums: Floats  # constant, complementarity, sum w z
    half: Floats  # of the curvature, which is `half + half'`
    bend: Floats
    push: Floats
    root: Floats  # give and leak


@kernel
def advance(
    forest: Forest,
    first: int,
    last: int,
    primal: float,
    dual: float,
    state: Kinks,
    relative: Kinks,
    pull: Floats,
    sums: Floats,
) -> None:
    """Go along the moves: the slacks by `primal`, the multipliers by `dual`.

    Adds the first multipliers to `pull`, minus the gradient of the tail by coordinate; to `sums` the constant of that
    affine function, the complementarity and `sum w z`.
    """
    (
        groups_of,
        leaves_of,
        lines_of,
        base,
        segment,
        cell,
        loss,
        worth,
        line_cell,
        line_worth,
        weight,
        hung,
        group_kinks,
        _,
    ) = forest
    leaf, group, root = state
    leaf_r, group_r, root_r = relative
    n_y = len(pull)
    for s in range(first, last):
        sums[1] += _move(root, s, primal, dual, root_r)
        sums[2] += weight[s] * root[s, S2]
        for g in range(groups_of[s], groups_of[s + 1]):
            y = root[s, Y1]
            if group_kinks:
                sums[1] += _move(group, g, primal, dual, group_r)
                y = group[g, Y1]
            sums[0] += y * base[g]
            if segment[g] >= 0:
                pull[segment[g]] += y
            for i in range(leaves_of[g], leaves_of[g + 1]):
                sums[1] += _move(leaf, i, primal, dual, leaf_r)
                pull[cell[i]] += worth[i] * leaf[i, Y1]
                sums[0] += leaf[i, Y1] * loss[i]
            for j in range(lines_of[g], lines_of[g + 1]):
                pull[line_cell[j]] += line_worth[j] * y
        pull[n_y - 1] += root[s, Y1] * hung[s]


@inlined
def _move(state: Floats, i: int, primal: float, dual: float, relative: Floats) -> float:
    """Move a kink; returns its complementarity."""
    f1, f2 = relative[i, F1], relative[i, F2]
    state[i, S1] *= 1.0 + primal * (relative[i, G1] - f1)
    state[i, S2] *= 1.0 + primal * f2
    state[i, Y1] *= 1.0 + dual * f1
    state[i, Y2] *= 1.0 + dual * (relative[i, G2] - f2)
    return float(state[i, S1] * state[i, Y1] + state[i, S2] * state[i, Y2])


@kernel
def sweep(
    forest: Forest,
    first: int,
    last: int,
    primal: float,
    dual: float,
    price: float,
    step: Step,
    rows: Floats,
    into: Swept,
) -> None:
    """Go along the moves, eliminate, and push towards products of zero."""
    state, factors, relative = step
    for start in range(first, last, TOGETHER):
        end = min(start + TOGETHER, last)
        advance(forest, start, end, primal, dual, state, relative, into.pull, into.sums)
        into.root[0] += factor(forest, start, end, state, factors, into.half, rows, into.bend)
        into.root[1] += forward(forest, start, end, price, (0.0, 0.0), state, factors, relative, into.push)
