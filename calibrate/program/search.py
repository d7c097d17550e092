"""Where a search for a plan is: the bounds that are known, and from where and how exactly the next round goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrate.program.form import LITTLE
from calibrate.program.proof import Witness
from calibrate.program.sight import Sight
from calibrate.program.standard_form import Point

__all__ = ["WARM", "Bounds", "Search"]

Floats = npt.NDArray[np.float64]

WARM = 0.05  # complementarity at the start near the optimum, relative to the objective
NEAR = 0.3  # relative gap from which the next round starts where this one ended
FAR = 100.0  # complementarity over the gap from which the next round starts: nearer, its steps are short
MET = 10.0  # gap over its goal up to which a round has come as near as it was to


@dataclass(frozen=True, eq=False)
class Bounds:
    """A plan with its value over all scenarios, and the best lower bound so far; units."""

    v: Floats
    upper: float
    lower: float
    point: Point | None = None
    witness: Witness | None = None  # of the lower bound
    claimed: bool = False  # the lower bound is what the solver says, and only exact arithmetic can tell
    tied: bool = False  # of all plans that are as good, the closest to the reference

    @property
    def gap(self) -> float:
        """Relative to the value, or to a millionth of the gross tail loss where the value is smaller still."""
        return (self.upper - self.lower) / max(abs(self.upper), LITTLE)

    def costs_at_most(self, value: float, more: float) -> bool:
        """Whether the plan costs no more than a value (units) and the share `more` of it."""
        return self.upper < value + more * abs(value)


@dataclass(eq=False)
class Search:
    """Where the rounds are: the plan to go on from, what was seen of it, and the plan that costs least so far."""

    v: Floats
    sight: Sight
    known: tuple[Floats, float]  # with its value
    mu: float  # complementarity at the start of a round
    goal: float  # relative gap
    best: Bounds
    claimed: Bounds  # of the last round
    like: Point | None = None
    met: bool = False  # the last round came about as near as it was to
    freed: bool = False  # the neighbourhood held the plan back and was opened

    def aim(self, tolerance: float) -> None:
        """The next round, by what the last one left: how near it starts, and how exact it is."""
        gap = self.best.gap
        if gap <= NEAR:
            self.mu = min(self.mu, max(abs(self.best.upper) * min(WARM, FAR * gap), LITTLE * self.mu))
        self.met = gap <= MET * self.goal
        if self.met:
            self.goal = tolerance
