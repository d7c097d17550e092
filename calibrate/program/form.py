"""The program in the form in which it is solved: one vector of decisions, in a unit of money that is a power of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.errors import ProblemError
from calibrate.program.fairness.base import Rule
from calibrate.program.plan import Plan, Pool
from calibrate.program.risk import CostTerm, RiskLimit, RiskTerm
from calibrate.program.waterfall import Cascade, PoolReserve, SegmentReserve, Waterfall

if TYPE_CHECKING:
    from calibrate.program.proof import Witness

__all__ = ["Attempt", "Program", "Solution"]

Floats = npt.NDArray[np.float64]
Parts = tuple[tuple[float, RiskTerm | CostTerm], ...]

LITTLE = 1e-6  # units: a value below which a gap is not asked to be relative


@dataclass(frozen=True, eq=False)
class Program:
    """`minimise objective subject to limits and rules` over `x = (c[0, 0], c[0, 1], ..., r[0], ..., r0) >= 0`.

    `x` counts in `unit`s of money. Segment and pool reserves are there only if the waterfall has them.
    """

    pool: Pool
    waterfall: Waterfall
    objective: Parts
    limits: tuple[RiskLimit, ...]
    rules: tuple[Rule, ...]
    reference: Floats
    unit: float

    @property
    def n_cells(self) -> int:
        """Contributions: members x segments."""
        return int(self.pool.scenarios.losses.shape[1])

    @cached_property
    def reserve_names(self) -> tuple[str, ...]:
        """Names of the reserves, in the order of `x`."""
        segments = self.pool.scenarios.segments if self.waterfall.has(SegmentReserve) else ()
        return (*segments, *(("pool",) if self.waterfall.has(PoolReserve) else ()))

    @property
    def size(self) -> int:
        """Length of `x`."""
        return self.n_cells + len(self.reserve_names)

    @property
    def risk_terms(self) -> tuple[RiskTerm, ...]:
        """The risk terms of objective and limits, each once."""
        parts = (*self.objective, *(pair for limit in self.limits for pair in limit.term.parts))
        return tuple(dict.fromkeys(term for _, term in parts if isinstance(term, RiskTerm)))

    def plan(self, x: cp.Expression) -> Plan:
        """Decisions in units as a plan in money."""
        shape = (len(self.pool.members), len(self.pool.scenarios.segments))
        money = self.unit * x
        has_segments, has_pool = self.waterfall.has(SegmentReserve), self.waterfall.has(PoolReserve)
        start = self.n_cells
        return Plan(
            pool=self.pool,
            cells=cp.reshape(money[:start], shape, order="C"),
            segment_reserves=money[start : start + shape[1]] if has_segments else cp.Constant(np.zeros(shape[1])),
            pool_reserve=money[self.size - 1] if has_pool else cp.Constant(0.0),
        )

    def with_condition(self, condition: Rule | RiskLimit) -> Program:
        """The program with one rule or limit more, the last of its kind."""
        if isinstance(condition, RiskLimit):
            return replace(self, limits=(*self.limits, condition))
        return replace(self, rules=(*self.rules, condition))

    def cascade(self, x: Floats) -> Cascade:
        """What the stages of the waterfall pay at decisions `x` (units), money."""
        return Cascade.of(self.waterfall, self.plan(cp.Constant(x)))

    def check(self) -> None:
        """Refuse terms that the waterfall does not define."""
        for term in self.risk_terms:
            if term.of == "mutualised" and not self.waterfall.defaulter_pays:
                raise ProblemError(
                    f"{term} needs a layer in which the defaulter pays, but the waterfall has none; "
                    'add OwnContribution() as its first layer, or use of="shortfall"'
                )


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
    v: Floats | None = None  # `x` with the auxiliary variables of the rules, as the solver scales them
