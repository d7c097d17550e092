"""The tail of one risk term as a forest of kinks.

A scenario is a tree: a leaf for every loss, a group for every segment, a root. Each kink `v >= l, v >= 0` is a variable
`v` with two slacks and two multipliers. In coordinates `y` (what each cell, each segment and the pool pay at most,
and `t`):

    leaf    e >= L - a y_cell                    e >= 0      multipliers add up to the one of its group's first kink
    group   u >= base + sum e - y_segment        u >= 0      ... to the one of its root's first kink
    root    z >= sum u - y_pool - t              z >= 0      ... to price * p / (1 - level)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["S1", "S2", "Y1", "Y2", "Forest", "Kinks", "Step"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

S1, S2, Y1, Y2 = 0, 1, 2, 3  # columns of a state: slack of `v >= l`, of `v >= 0`, and their multipliers


class Forest(NamedTuple):
    """The trees of a risk term over a working set of scenarios; amounts in units.

    `groups_of[s]:groups_of[s + 1]` are the groups of a root, `leaves_of[g]:leaves_of[g + 1]` the leaves of a group.
    Without leaf kinks (shortfall with collateral) a leaf is linear; without group kinks its leaves hang on the root.
    A named tuple, because the compiled kernels take it as it is.
    """

    groups_of: Ints
    leaves_of: Ints
    base: Floats
    segment: Ints
    cell: Ints
    loss: Floats
    worth: Floats
    weight: Floats
    leaf_kinks: bool
    group_kinks: bool
    n_coordinates: int  # cells, segments, pool, t

    @property
    def kinks(self) -> int:
        """Number of kinks: half the number of complementarity pairs."""
        return (
            len(self.weight)
            + (len(self.segment) if self.group_kinks else 0)
            + (len(self.cell) if self.leaf_kinks else 0)
        )


class Kinks(NamedTuple):
    """Numbers for every kink, one kink a row."""

    leaf: Floats
    group: Floats
    root: Floats


class Step(NamedTuple):
    """Where the kinks of a forest are and where they go."""

    state: Kinks  # S1, S2, Y1, Y2
    factors: Kinks  # stiffness, slope, and the parts of the right-hand side
    moves: Kinks  # of S1, S2, Y1, Y2
    aims: Kinks  # what the two products of slack and multiplier aim at

    @classmethod
    def empty(cls, forest: Forest) -> Step:
        """Room for a forest."""
        lengths = len(forest.cell), len(forest.segment), len(forest.weight)
        return cls(*(Kinks(*(np.zeros((length, width)) for length in lengths)) for width in (4, 5, 4, 2)))

    def used(self, forest: Forest) -> list[tuple[Floats, Floats]]:
        """States and moves of those levels that have kinks."""
        levels = [(self.state.root, self.moves.root)]
        if forest.group_kinks:
            levels.append((self.state.group, self.moves.group))
        if forest.leaf_kinks:
            levels.append((self.state.leaf, self.moves.leaf))
        return levels
