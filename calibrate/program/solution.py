"""What a solver hands back, and what it tried."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calibrate.program.form import Floats, Program
from calibrate.program.multipliers import Witness

__all__ = ["Attempt", "Solution"]


@dataclass(frozen=True)
class Attempt:
    """One call of a solver: what was tried and what it claimed."""

    solver: str
    status: str

    def __str__(self) -> str:
        return f"{self.solver}: {self.status}"


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver hands back: `x` in units, the objective's bound in money, shadow prices of rules and limits."""

    x: Floats
    lower_bound: float
    shadow_prices: tuple[float, ...]
    attempts: tuple[Attempt, ...]
    bound_by: str  # who vouches for the bound
    witness: Witness | None = None  # what the bound follows from
    claimed: bool = False  # the bound is a claim, of which only exact arithmetic can tell
    v: Floats | None = None  # `x` with the auxiliary variables of the rules, units

    def told(self, program: Program) -> Solution:
        """That of the `ordered` program as one of the program itself: its decisions in the caller's order."""
        if program.ordered is program:
            return self
        x = np.empty_like(self.x)
        x[program.ordered.positions] = self.x
        return replace(self, x=x)
