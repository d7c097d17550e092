"""The scenarios that a level of the tail solver looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrate.blocks import Blocks
from calibrate.errors import SolverError
from calibrate.program.form import Program

__all__ = ["ASKED", "Sample", "different"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ASKED = 1000  # scenarios that are asked whether their losses lie on atoms


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

    def among(self, chosen: Ints) -> Sample:
        """Some of these scenarios, and all others as one without losses: no risk of it is more than of all."""
        losses, p = self.losses[chosen], self.probabilities[chosen]
        rest = np.append(p, max(float(self.probabilities.sum() - p.sum()), 0.0))
        collateral = None
        if self.collateral is not None:
            collateral = np.vstack([self.collateral[chosen], np.ones((1, self.collateral.shape[1]))])
        return Sample(np.vstack([losses, np.zeros((1, losses.shape[1]))]), rest, collateral)


def different(losses: Floats) -> float:
    """What part of the losses above zero are different from each other."""
    losses = losses[losses > 0]
    return len(np.unique(losses)) / max(len(losses), 1)
