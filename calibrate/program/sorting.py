"""The losses of a tail, sorted out: which are kinks, which are surely exceeded, which are surely covered.

Most are zero or covered, so two sweeps over the chosen scenarios write down the others and nothing else: a table of all
of them would be a hundred times as large, and to fill it took longer than to solve.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from calibrate.program.forest import spread
from calibrate.program.kernel import inlined, kernel
from calibrate.program.threads import side_by_side

__all__ = ["Entries", "Sorted", "sorted_out"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COVERED, OPEN, LINE = 0, 1, 2
SIDE_BY_SIDE_FROM = 1_000_000  # losses


class Entries(NamedTuple):
    """Losses of scenarios, group after group: `ends[g]:ends[g + 1]` are those of a group."""

    ends: Ints
    cell: Ints
    loss: Floats
    worth: Floats

    @classmethod
    def room(cls, counts: Ints) -> Entries:
        """Room for so many in each group."""
        ends = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        return cls(ends, np.empty(ends[-1], dtype=np.int64), np.empty(ends[-1]), np.empty(ends[-1]))

    def of(self, groups: Ints) -> tuple[Ints, Entries]:
        """Those of some groups, one after another, and to which of these each belongs."""
        item, at = spread(self.ends, groups)
        counts = np.bincount(item, minlength=len(groups))
        ends = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        return item, Entries(ends, self.cell[at], self.loss[at], self.worth[at])

    def picked(self, at: Ints) -> Entries:
        """Some of them, of no group."""
        return self._replace(cell=self.cell[at], loss=self.loss[at], worth=self.worth[at])

    @property
    def owners(self) -> Ints:
        """The group of each."""
        return np.repeat(np.arange(len(self.ends) - 1), np.diff(self.ends))


class Sorted(NamedTuple):
    """Losses in units of every scenario and group (one group a scenario where groups are no kinks).

    `open` ones are kinks, `lines` surely exceed what is paid; `base[s, g]` is what the latter add up to.
    """

    open: Entries
    lines: Entries
    base: Floats


class _Asked(NamedTuple):
    """Losses (scenarios, columns) of the `chosen`, and what is known of them; `worth` by chosen scenario and member."""

    losses: Floats
    chosen: Ints
    worth: Floats
    per_unit: float
    covered: Floats
    exceeded: Floats
    mutualised: bool
    n_groups: int


def sorted_out(
    losses: Floats,
    chosen: Ints,
    worth: Floats,
    unit: float,
    bounds: tuple[Floats, Floats],
    mutualised: bool,
    n_groups: int,
) -> Sorted:
    """Losses of the `chosen` scenarios against what is surely covered and what surely exceeded: `bounds`, by column.

    `worth` of the chosen scenarios' collateral by member; no columns where it keeps its value. Nothing of a shortfall
    is a kink: it is the sum of losses less what is paid, lines where that is collateral.
    """
    asked = _Asked(losses, chosen, worth, 1.0 / unit, *bounds, mutualised, n_groups)
    rows = len(chosen)
    n_open, n_lines = np.zeros(rows * n_groups, dtype=np.int64), np.zeros(rows * n_groups, dtype=np.int64)
    base = np.zeros((rows, n_groups))
    chunks = get_num_threads() if rows * losses.shape[1] >= SIDE_BY_SIDE_FROM else 1
    ends = [rows * k // chunks for k in range(chunks + 1)]
    side_by_side(lambda first, last: _count(first, last, asked, n_open, n_lines, base), ends)
    open_, lines = Entries.room(n_open), Entries.room(n_lines)
    side_by_side(lambda first, last: _fill(first, last, asked, open_, lines), ends)
    return Sorted(open_, lines, base)


@inlined
def _kind(loss: float, worth: float, covered: float, exceeded: float, mutualised: bool, collateral: bool) -> int:
    """Which of the three a loss is."""
    if not mutualised:
        return LINE if collateral else COVERED
    # Collateral worth nothing, times no limit, is not a number: not known to be a line.
    if loss > 0.0 and loss >= worth * exceeded:
        return LINE
    return OPEN if loss > worth * covered else COVERED


@kernel
def _count(first: int, last: int, asked: _Asked, n_open: Ints, n_lines: Ints, base: Floats) -> None:
    """How many there are of each in a group, and what its lines add up to (of a shortfall all its losses)."""
    losses, chosen, worth, per_unit, covered, exceeded, mutualised, n_groups = asked
    cells, members = losses.shape[1], worth.shape[1]
    for s in range(first, last):
        row = losses[chosen[s]]
        for g in range(n_groups):
            total, opened, lined = 0.0, 0, 0
            for j in range(g, cells, n_groups):
                loss = row[j] * per_unit
                w = worth[s, j * members // cells] if members else 1.0
                kind = _kind(loss, w, covered[j], exceeded[j], mutualised, members > 0)
                opened += kind == OPEN
                lined += kind == LINE
                total += loss if kind == LINE or not mutualised else 0.0
            n_open[s * n_groups + g], n_lines[s * n_groups + g] = opened, lined
            base[s, g] = total


@kernel
def _fill(first: int, last: int, asked: _Asked, open_: Entries, lines: Entries) -> None:
    """Write them down, by group and cell."""
    losses, chosen, worth, per_unit, covered, exceeded, mutualised, n_groups = asked
    cells, members = losses.shape[1], worth.shape[1]
    for s in range(first, last):
        row = losses[chosen[s]]
        for g in range(n_groups):
            i, k = open_.ends[s * n_groups + g], lines.ends[s * n_groups + g]
            for j in range(g, cells, n_groups):
                loss = row[j] * per_unit
                w = worth[s, j * members // cells] if members else 1.0
                kind = _kind(loss, w, covered[j], exceeded[j], mutualised, members > 0)
                if kind == OPEN:
                    open_.cell[i], open_.loss[i], open_.worth[i] = j, loss, w
                    i += 1
                elif kind == LINE:
                    lines.cell[k], lines.loss[k], lines.worth[k] = j, loss, w
                    k += 1
