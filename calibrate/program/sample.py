"""The scenarios that a level of the tail solver looks at, and the trees that it makes of those in the tail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from calibrate.blocks import Blocks
from calibrate.errors import SolverError
from calibrate.program.alike import alike, apart
from calibrate.program.forest import Forest, Grove, Planted
from calibrate.program.form import Program
from calibrate.program.risk import RiskTerm
from calibrate.program.waterfall import Stage

__all__ = ["ASKED", "Guess", "Sample", "different", "plant"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ASKED = 1000  # scenarios that are asked whether their losses lie on atoms
FEW_VALUES = 0.8  # of the losses that are different: from it on looking for equal scenarios is a waste


@dataclass(frozen=True, eq=False)
class Sample:
    """Scenarios to solve on: all of them, or every k-th (views, no copies)."""

    losses: Floats | Blocks
    probabilities: Floats
    collateral: Floats | None

    @classmethod
    def every(cls, program: Program, stride: int) -> Sample:
        """Every `stride`-th scenario, probabilities summing to 1 again."""
        scenarios = program.pool.scenarios
        whole = cls(scenarios.losses, scenarios.probabilities, scenarios.collateral)
        return whole if stride == 1 else whole.thinned(stride)

    def thinned(self, stride: int) -> Sample:
        """Every `stride`-th of these scenarios, probabilities summing to 1 again."""
        p = self.probabilities[::stride]
        collateral = None if self.collateral is None else self.collateral[::stride]
        mass = float(p.sum())
        if mass <= 0:
            raise SolverError(f"every {stride}-th scenario has no probability")
        return Sample(self.losses[::stride], p / mass, collateral)


def different(losses: Floats) -> float:
    """What part of the losses above zero are different from each other."""
    losses = losses[losses > 0]
    return len(np.unique(losses)) / max(len(losses), 1)


@dataclass(frozen=True, eq=False)
class Guess:
    """What is thought to be known of the plans that matter: by cell, units, and by scenario.

    A loss up to `covered` is covered, one from `exceeded` on exceeds what its cell pays; `sure` scenarios are in the
    tail. Whatever is guessed, what is planted lies below the risk term at every plan.
    """

    covered: Floats
    exceeded: Floats
    sure: Ints


def plant(program: Program, sample: Sample, term: RiskTerm, chosen: Ints, guess: Guess) -> Grove:
    """The forest of a term over the chosen scenarios; a kink for everything that is not known by the guess."""
    sorted_ = _sorted_out(program, sample, term, chosen, guess)
    losses, worth, open_, lines, base, kinked = sorted_
    sure = np.zeros(len(chosen), dtype=bool) if kinked else np.isin(chosen, guess.sure, assume_unique=True)
    weight = sample.probabilities[chosen] / (1 - term.level)
    every, (at, alone) = np.flatnonzero(~sure), np.nonzero(open_ & sure[:, None])
    whole, single = apart(len(every)), apart(len(at))
    if sample.collateral is None and different(losses[:ASKED]) < FEW_VALUES:
        whole = alike(np.where(open_, losses, 0.0)[every], lines[every].astype(float), base[every])
        single = alike(np.column_stack([alone + 1.0, losses[at, alone]]))
    rest = every[whole.first]
    weights = np.concatenate([whole.total(weight[every]), single.total(weight[at])])
    forest = _forest(sorted_, rest, at[single.first], alone[single.first], weights)
    mass = float(weight[sure].sum())
    own = weight[sure] @ np.where(lines, worth, 0.0)[sure]
    line = np.concatenate([own, np.zeros(forest.n_coordinates - len(own) - 1), [mass]])
    constant = float(weight[sure] @ base[sure].sum(axis=1))
    planted = Planted(
        scenario=np.concatenate([every, at]),
        alone=np.concatenate([np.full(len(every), -1), alone]),
        tree=np.concatenate([whole.which, len(rest) + single.which]),
    )
    s, cell = np.nonzero(lines)
    return Grove(forest, line, constant, weight, sure, chosen, planted, (s, cell) if term.of == "mutualised" else None)


def _forest(sorted_: _Sorted, rest: Ints, owner: Ints, alone: Ints, weight: Floats) -> Forest:
    """Trees of the scenarios `rest`, and losses `alone` of the scenarios `owner`, each a root of its own."""
    losses, worth, open_, lines, base, kinked = sorted_
    cells, n_groups = losses.shape[1], base.shape[1]
    leaves, ropes = _by_group(open_[rest], n_groups), _by_group(lines[rest], n_groups)
    one = np.arange(1, len(alone) + 1)
    segments = np.tile(cells + np.arange(n_groups), len(rest)) if kinked else np.full(len(rest), -1)
    return Forest(
        groups_of=np.concatenate([np.arange(len(rest) + 1) * n_groups, len(rest) * n_groups + one]),
        leaves_of=np.concatenate([leaves.ends, np.full(len(alone), leaves.ends[-1])]),
        lines_of=np.concatenate([ropes.ends, ropes.ends[-1] + one]),
        base=np.concatenate([base[rest].ravel(), losses[owner, alone]]),
        segment=np.concatenate([segments, np.full(len(alone), -1)]),
        cell=leaves.cell,
        loss=losses[rest[leaves.row], leaves.cell],
        worth=worth[rest[leaves.row], leaves.cell],
        line_cell=np.concatenate([ropes.cell, alone]),
        line_worth=np.concatenate([worth[rest[ropes.row], ropes.cell], worth[owner, alone]]),
        weight=weight,
        hung=np.concatenate([np.ones(len(rest)), np.zeros(len(alone))]),
        group_kinks=kinked,
        n_coordinates=cells + (n_groups if kinked else 0) + 1,
    )


class _Sorted(NamedTuple):
    """Losses of the chosen scenarios, units: which are kinks, which are lines, and the constant part of every group."""

    losses: Floats
    worth: Floats
    open_: Bools
    lines: Bools
    base: Floats
    kinked: bool  # the groups are kinks


def _sorted_out(program: Program, sample: Sample, term: RiskTerm, chosen: Ints, guess: Guess) -> _Sorted:
    k, cells = len(program.pool.scenarios.segments), program.n_cells
    losses = sample.losses[chosen] / program.unit
    worth = np.ones((1, cells)) if sample.collateral is None else np.repeat(sample.collateral[chosen], k, axis=1)
    mutualised = term.of == "mutualised"
    kinked = k > 1 and (not mutualised or program.waterfall.has_stage(Stage.SEGMENT))
    if mutualised:
        with np.errstate(invalid="ignore"):  # collateral worth nothing, times no limit: not known to be a line
            lines = (losses >= worth * guess.exceeded) & (losses > 0)
        open_, fixed = (losses > worth * guess.covered) & ~lines, np.where(lines, losses, 0.0)
    else:  # nothing of a shortfall is a kink: it is the sum of losses less what is paid, lines where that is collateral
        open_, lines = np.zeros(losses.shape, dtype=bool), np.full(losses.shape, sample.collateral is not None)
        fixed = losses
    n_groups = k if kinked else 1
    base = fixed.reshape(-1, cells // n_groups, n_groups).sum(axis=1)
    return _Sorted(losses, np.broadcast_to(worth, losses.shape), open_, lines, base, kinked)


class _Entries(NamedTuple):
    """Entries of a table in the order of rows and groups; `ends` of the groups."""

    row: Ints
    cell: Ints
    ends: Ints


def _by_group(present: Bools, n_groups: int) -> _Entries:
    row, cell = np.nonzero(present)
    group = row * n_groups + cell % n_groups
    order = np.argsort(group, kind="stable") if n_groups > 1 else slice(None)
    counts = np.bincount(group, minlength=len(present) * n_groups)
    return _Entries(row[order], cell[order], np.concatenate([[0], np.cumsum(counts)]))
