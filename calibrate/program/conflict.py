"""Why there is no plan: an irreducible set of rules in conflict, verified by re-solving, and what each has to give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from calibrate.errors import RuleConflictError, SolverError
from calibrate.program.compiled import NotSeparable
from calibrate.program.extensive import least_slack_extensive
from calibrate.program.fairness.base import Rule
from calibrate.program.form import Program
from calibrate.program.proof import Certificate
from calibrate.program.risk import RiskLimit
from calibrate.program.working_set import least_slack, slack_bounds

__all__ = ["explain"]

Condition = Rule | RiskLimit
UNSOLVED = (NotSeparable, SolverError, ArithmeticError)  # the last: rules without a plan drive numbers out of range
FEASIBLE = 1e-6  # units: slack below it is rounding of the solver


def explain(program: Program) -> RuleConflictError | None:
    """The error that names the conflict, or None if the rules can be satisfied after all, or it cannot be proved."""
    conditions: list[Condition] = [*program.rules, *program.limits]
    if _slack(program, conditions, conditions) <= FEASIBLE:
        return None
    core = _irreducible(conditions, lambda rest: _slack(program, rest, rest) > FEASIBLE)
    certificate = _certificate(program, core)
    if certificate is not None and certificate["multipliers"] is None:  # a plan far beyond the losses may keep the core
        core = _irreducible(conditions, lambda rest: _proved(program, rest))
        if not _proved(program, core):
            return None
        certificate = _certificate(program, core)
    needed = {_named(one, conditions): _given(program, core, one) for one in core}
    currency = program.pool.scenarios.currency
    told = {name: f"{amount:,.6g} {currency}" for name, amount in needed.items() if math.isfinite(amount)}
    lines = "".join(f"\n  - {name}: by {told.get(name, 'more than can be measured')}" for name in needed)
    if len(core) == 1:
        return RuleConflictError(
            f"no plan satisfies this rule alone, it would have to give:{lines}\nRelax or drop it.", needed, certificate
        )
    return RuleConflictError(
        f"no plan satisfies all rules: these conflict, and any one of them would have to give, alone:{lines}\n"
        "Without any one of them the others can be satisfied. Relax or drop one.",
        needed,
        certificate,
    )


def _named(condition: Condition, conditions: Sequence[Condition]) -> str:
    """The words of a rule, numbered where several have the same."""
    alike = [other for other in conditions if str(other) == str(condition)]
    position = next(k for k, other in enumerate(alike, 1) if other is condition)
    return str(condition) if len(alike) == 1 else f"{condition}, number {position} of {len(alike)}"


def _irreducible(conditions: Sequence[Condition], conflict: Callable[[list[Condition]], bool]) -> list[Condition]:
    """Deletion filter: drop each condition in turn and keep it only if the rest can be satisfied without it."""
    core = list(conditions)
    for condition in conditions:
        rest = [other for other in core if other is not condition]
        if rest and conflict(rest):
            core = rest
    return core


def _proved(program: Program, conditions: Sequence[Condition]) -> bool:
    certificate = _certificate(program, conditions)
    return certificate is not None and certificate["multipliers"] is not None


def _given(program: Program, core: Sequence[Condition], one: Condition) -> float:
    """What one of the conditions has to give alone, money; infinite where that is beyond a solver's numbers."""
    try:
        return _slack(program, core, [one]) * program.unit
    except SolverError:
        return math.inf


def _certificate(program: Program, core: Sequence[Condition]) -> Certificate | None:
    """The multipliers of the contradiction; None where the rules are too unusual for the tail solver."""
    alone = _alone(program, core).ordered
    for tolerance in (1e-3, 1e-5, 1e-7):
        with suppress(*UNSOLVED):
            bounds = slack_bounds(alone, core, tolerance)
            if bounds.lower > 1 and bounds.witness is not None:
                return Certificate(alone, bounds.witness.form, bounds.witness, None)
    return None


def _slack(program: Program, conditions: Sequence[Condition], elastic: Sequence[Condition]) -> float:
    """Least sum of slacks, in units, with which `conditions` can be satisfied when only the `elastic` ones give."""
    alone = _alone(program, conditions)
    try:
        return least_slack(alone, elastic)
    except UNSOLVED:
        return least_slack_extensive(alone, elastic)


def _alone(program: Program, conditions: Sequence[Condition]) -> Program:
    """The program with these conditions and no objective."""
    limits = tuple(one for one in conditions if isinstance(one, RiskLimit))
    rules = tuple(one for one in conditions if isinstance(one, Rule))
    return replace(program, rules=rules, limits=limits, objective=())
