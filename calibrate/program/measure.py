"""What a plan costs and leaves, measured on the plan itself: nothing is taken from a solver."""

from __future__ import annotations

import cvxpy as cp

from calibrate.program.form import Floats, Parts, Program
from calibrate.program.plan import Plan
from calibrate.program.risk import CostTerm, Kind
from calibrate.program.tail import cvar
from calibrate.program.waterfall import Cascade
from calibrate.scenarios import Scenarios

__all__ = ["cost", "left_of", "lefts", "objective_at", "total"]


def objective_at(program: Program, x: Floats) -> float:
    """The objective at decisions `x` (units) on the program's scenarios, money; the rules are not asked."""
    ordered = program.ordered
    return cost(ordered, ordered.arranged(x))


def cost(ordered: Program, x: Floats) -> float:
    """The same at decisions in the order of the program."""
    cascade, scenarios = ordered.cascade(x), ordered.pool.scenarios
    kinds = {part.of for _, part in ordered.objective if not isinstance(part, CostTerm)}
    left = {kind: left_of(cascade, kind, scenarios) for kind in kinds}
    return total(ordered, ordered.objective, ordered.plan(cp.Constant(x)), left)


def _kinds(program: Program) -> tuple[Kind, ...]:
    return ("shortfall", "mutualised") if program.waterfall.defaulter_pays else ("shortfall",)


def lefts(program: Program, x: Floats) -> dict[Kind, Floats]:
    """What each kind of waterfall leaves in every scenario at decisions `x` (units), money."""
    cascade = program.cascade(x)
    return {kind: left_of(cascade, kind, program.pool.scenarios) for kind in _kinds(program)}


def left_of(cascade: Cascade, kind: Kind, scenarios: Scenarios) -> Floats:
    """What one kind of waterfall leaves, money, a scenario an entry."""
    return cascade.leaves(kind, scenarios.losses, scenarios.collateral)


def total(program: Program, parts: Parts, plan: Plan, left: dict[Kind, Floats]) -> float:
    """Prices times terms, money; `left` in every scenario by kind."""
    p = program.pool.scenarios.probabilities
    return sum(
        price * (float(part.amount(plan).value) if isinstance(part, CostTerm) else cvar(left[part.of], p, part.level))
        for price, part in parts
    )
