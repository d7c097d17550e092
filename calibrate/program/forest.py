"""The tail of one risk term as a forest of kinks.

A scenario is a tree: a leaf for every loss, a group for every segment, a root. Each kink `v >= l, v >= 0` is a variable
`v` with two slacks and two multipliers. In coordinates `y` (what each cell and each segment pay at most; last, what
hangs on the roots, the pool and `t` together):

    leaf    e >= L - a y_cell                    e >= 0      multipliers add up to the one of its group's first kink
    group   u >= base + sum e - y_segment        u >= 0      ... to the one of its root's first kink
    root    z >= sum u - y_last                  z >= 0      ... to price * p / (1 - level)

Far from its kink `(x)+` is 0 or `x`. A loss that a plan surely covers is left out; one that surely exceeds what is paid
is a *line* of its group, `L` in the base and `-a y_cell`; a scenario that is surely in the tail is no tree, only its
leaves are, each a root of its own. `(x)+ >= 0` and `(x)+ >= x` always: what is left lies below the risk term at every
plan, and meets it wherever the guesses are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["F1", "F2", "G1", "G2", "S1", "S2", "Y1", "Y2", "Forest", "Grove", "Kinks", "Planted", "Step", "spread"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

S1, S2, Y1, Y2 = 0, 1, 2, 3  # columns of a state: slack of `v >= l`, of `v >= 0`, and their multipliers
G1, G2, F1, F2 = 0, 1, 2, 3  # relative moves: of both products, of the first multiplier and of the second slack


class Forest(NamedTuple):
    """The trees of a risk term over a working set of scenarios; amounts in units.

    `groups_of[s]:groups_of[s + 1]` are the groups of a root, `leaves_of[g]:leaves_of[g + 1]` the leaves of a group and
    `lines_of[g]:lines_of[g + 1]` its lines. Without group kinks leaves and lines hang on the root.
    A named tuple, because the compiled kernels take it as it is.
    """

    groups_of: Ints
    leaves_of: Ints
    lines_of: Ints
    base: Floats
    segment: Ints  # coordinate of the segment of a group, -1 where groups are no kinks
    cell: Ints
    loss: Floats
    worth: Floats
    line_cell: Ints
    line_worth: Floats
    weight: Floats
    hung: Floats  # 1 for a root that has the last coordinate, 0 for a loss of a scenario that is surely in the tail
    group_kinks: bool
    n_coordinates: int  # cells, segments where groups are kinks, what hangs on the roots

    @property
    def kinks(self) -> int:
        """Number of kinks: half the number of complementarity pairs."""
        return len(self.weight) + (len(self.segment) if self.group_kinks else 0) + len(self.cell)

    @property
    def leaf_ends(self) -> Ints:
        """`leaf_ends[s]:leaf_ends[s + 1]` are the leaves of a root."""
        return self.leaves_of[self.groups_of]

    def risk(self, y: Floats) -> float:
        """`sum w z` at coordinates `y`, every kink where it is: `(x)+`."""
        root_of, group_of, line_of = (_owners(ends) for ends in (self.groups_of, self.leaves_of, self.lines_of))
        groups, roots = len(self.segment), len(self.weight)
        leaves = np.maximum(self.loss - self.worth * y[self.cell], 0.0)
        level = self.base - np.where(self.segment >= 0, y[self.segment], 0.0) + np.bincount(group_of, leaves, groups)
        level -= np.bincount(line_of, self.line_worth * y[self.line_cell], groups)
        up = np.bincount(root_of, np.maximum(level, 0.0) if self.group_kinks else level, roots)
        return float(self.weight @ np.maximum(up - self.hung * y[-1], 0.0))


def _owners(ends: Ints) -> Ints:
    """To which range `ends[k]:ends[k + 1]` each position belongs."""
    return np.repeat(np.arange(len(ends) - 1), np.diff(ends))


def spread(ends: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """All positions of the ranges `ends[r]:ends[r + 1]` of some rows, range after range: whose they are, and they.

    >>> spread(np.array([0, 2, 3, 6]), np.array([2, 0]))
    (array([0, 0, 0, 1, 1]), array([3, 4, 5, 0, 1]))
    """
    first, count = ends[rows], ends[rows + 1] - ends[rows]
    item = np.repeat(np.arange(len(rows)), count)
    return item, np.arange(len(item)) + (first - (np.cumsum(count) - count))[item]


class Planted(NamedTuple):
    """What became of the chosen scenarios: whole trees first, then losses by themselves. Equal ones share a tree."""

    scenario: Ints  # its place among the chosen
    alone: Ints  # the cell whose loss it is, -1 for a whole scenario
    tree: Ints


@dataclass(frozen=True, eq=False)
class Grove:
    """A forest, what the scenarios that are surely in the tail add to it, and where everything comes from.

    They add `constant - line @ y` to the risk; `mass` is their share of the tail.
    """

    forest: Forest
    line: Floats
    constant: float
    weight: Floats  # of the chosen scenarios
    sure: Bools  # of the chosen scenarios
    chosen: Ints  # scenarios
    planted: Planted
    lines: tuple[Ints, Ints] | None  # scenarios and cells of all lines; None where no loss is a kink by itself

    @property
    def mass(self) -> float:
        """Weight of the scenarios that are surely in the tail."""
        return float(self.weight[self.sure].sum())


class Kinks(NamedTuple):
    """Numbers for every kink, one kink a row."""

    leaf: Floats
    group: Floats
    root: Floats


class Step(NamedTuple):
    """Where the kinks of a forest are and where they go."""

    state: Kinks  # S1, S2, Y1, Y2
    factors: Kinks  # softness, slope, and the parts of the right-hand side
    relative: Kinks  # G1, G2, F1, F2

    @classmethod
    def empty(cls, forest: Forest) -> Step:
        """Room for a forest."""
        leaves, groups, roots = len(forest.cell), len(forest.segment), len(forest.weight)
        return cls(
            Kinks(np.zeros((leaves, 4)), np.zeros((groups, 4)), np.zeros((roots, 4))),
            Kinks(np.zeros((leaves, 5)), np.zeros((groups, 7)), np.zeros((roots, 7))),
            Kinks(np.zeros((leaves, 4)), np.zeros((groups, 4)), np.zeros((roots, 4))),
        )

    def fits(self, forest: Forest) -> bool:
        """Whether there is a number for every leaf and root of a forest."""
        return len(self.state.leaf) == len(forest.cell) and len(self.state.root) == len(forest.weight)

    def copy(self) -> Step:
        """The same states, to move on from."""
        return type(self)(*(Kinks(*(part.copy() for part in kinks)) for kinks in self))
