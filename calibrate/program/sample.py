"""The scenarios that a level of the tail solver looks at, and the trees that it makes of those in the tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrate.blocks import Blocks
from calibrate.errors import SolverError
from calibrate.program.forest import Forest
from calibrate.program.form import Program
from calibrate.program.risk import RiskTerm
from calibrate.program.waterfall import Stage

__all__ = ["Sample", "plant"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
        if stride == 1:
            return cls(scenarios.losses, scenarios.probabilities, scenarios.collateral)
        p = scenarios.probabilities[::stride]
        collateral = None if scenarios.collateral is None else scenarios.collateral[::stride]
        mass = float(p.sum())
        if mass <= 0:
            raise SolverError(f"every {stride}-th scenario has no probability")
        return cls(scenarios.losses[::stride], p / mass, collateral)


def plant(program: Program, sample: Sample, term: RiskTerm, chosen: Ints, reach: Floats) -> Forest:
    """The forest of a term over the chosen scenarios; a leaf for every positive loss that a plan within reach may miss.

    `reach`: what each cell pays at least in the plans that matter, units. A smaller loss leaves nothing there; left out
    it can only lower the program, so that its lower bound holds for every plan all the same.
    """
    k, cells = len(program.pool.scenarios.segments), program.n_cells
    losses = sample.losses[chosen] / program.unit
    worth = None if sample.collateral is None else np.repeat(sample.collateral[chosen], k, axis=1)
    mutualised = term.of == "mutualised"
    kinked_groups = k > 1 and (not mutualised or program.waterfall.has_stage(Stage.SEGMENT))
    n_groups = k if kinked_groups else 1
    by_group = losses.reshape(len(chosen), cells // k, k).transpose(0, 2, 1) if kinked_groups else losses[:, None, :]
    cell_of = np.arange(cells).reshape(-1, k).T if kinked_groups else np.arange(cells)[None, :]
    missed = np.maximum(reach, 0.0) if worth is None else worth * np.maximum(reach, 0.0)
    missed = missed.reshape(-1, cells // k, k).transpose(0, 2, 1) if kinked_groups else missed.reshape(-1, 1, cells)
    present = by_group > missed if mutualised else np.broadcast_to(worth is not None, by_group.shape)
    s, g, i = np.nonzero(present)
    cell = cell_of[g, i]
    counts = present.sum(axis=2).ravel()
    segment = np.tile(cells + np.arange(n_groups), len(chosen)) if kinked_groups or k == 1 else np.full(len(chosen), -1)
    return Forest(
        groups_of=np.arange(len(chosen) + 1, dtype=np.int64) * n_groups,
        leaves_of=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        base=np.zeros(len(chosen) * n_groups) if mutualised else by_group.sum(axis=2).ravel(),
        segment=segment.astype(np.int64),
        cell=cell.astype(np.int64),
        loss=by_group[s, g, i] if mutualised else np.zeros(len(cell)),
        worth=np.ones(len(cell)) if worth is None else worth[s, cell],
        weight=sample.probabilities[chosen] / (1 - term.level),
        leaf_kinks=mutualised,
        group_kinks=kinked_groups,
        n_coordinates=cells + k + 2,
    )
