"""Why there is no plan: an irreducible set of conflicting rules, verified by re-solving, and what each would have to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cvxpy as cp
import numpy as np

from calibrate.errors import RuleConflictError
from calibrate.program.extensive import Extensive, run
from calibrate.program.fairness.base import Rule
from calibrate.program.form import Program
from calibrate.program.risk import RiskLimit

__all__ = ["explain"]

Condition = Rule | RiskLimit
FEASIBLE = 1e-6  # units: slack below it is rounding of the solver


def explain(program: Program) -> RuleConflictError | None:
    """The error that names the conflict, or None if the rules can be satisfied after all."""
    conditions: list[Condition] = [*program.rules, *program.limits]
    if _slack(program, conditions, conditions) <= FEASIBLE:
        return None
    core = _irreducible(program, conditions)
    needed = {str(one): _slack(program, core, [one]) * program.unit for one in core}
    currency = program.pool.scenarios.currency
    lines = "".join(f"\n  - {name}: by {amount:,.6g} {currency}" for name, amount in needed.items())
    many = "these rules conflict" if len(core) > 1 else "this rule cannot be satisfied"
    return RuleConflictError(
        f"no plan satisfies all rules: {many}, and any one of them would have to give, alone:{lines}\n"
        f"Without any one of them the {len(core) - 1} others can be satisfied. Relax or drop one.",
        needed,
    )


def _irreducible(program: Program, conditions: Sequence[Condition]) -> list[Condition]:
    """Deletion filter: drop each condition in turn and keep it only if the rest can be satisfied without it."""
    core = list(conditions)
    for condition in conditions:
        rest = [other for other in core if other is not condition]
        if rest and _slack(program, rest, rest) > FEASIBLE:
            core = rest
    return core


def _slack(program: Program, conditions: Sequence[Condition], elastic: Sequence[Condition]) -> float:
    """Least sum of slacks, in units, with which `conditions` can be satisfied when only the `elastic` ones give."""
    limits = tuple(one for one in conditions if isinstance(one, RiskLimit))
    rules = tuple(one for one in conditions if isinstance(one, Rule))
    parts = Extensive.of(replace(program, rules=rules, limits=limits, objective=()))
    slack = cp.Variable(len(parts.gaps), nonneg=True)
    gives = np.array([any(one is other for other in elastic) for one in (*rules, *limits)])
    rows = [gap <= (slack[k] if gives[k] else 0.0) for k, gap in enumerate(parts.gaps)]
    # A little weight on size keeps the plan finite where only ratios are ruled.
    problem = cp.Problem(cp.Minimize(cp.sum(slack)), parts.constraints + rows)
    run(problem, "conflict")
    return float(problem.value)
