"""The seam behind which a program is solved: by the tail, or else with its conflict named, or else written out."""

from __future__ import annotations

import logging
from dataclasses import replace

import cvxpy as cp

from calibrate.errors import ProblemError, SolverError
from calibrate.one_thread import ONE_THREAD
from calibrate.program.affine import affine
from calibrate.program.answer import vouched
from calibrate.program.compiled import NotSeparable
from calibrate.program.conflict import explain
from calibrate.program.even import evened
from calibrate.program.extensive import Infeasible, run, solve_extensive
from calibrate.program.fairness.base import GeneratedRule
from calibrate.program.fairness.stated import check_solvable
from calibrate.program.form import Floats, Program
from calibrate.program.risk import CostTerm, finite
from calibrate.program.solution import Attempt, Solution
from calibrate.program.working_set import solve_by_tail

__all__ = ["optimum"]

logger = logging.getLogger(__name__)

LARGEST = 0.01  # tolerance: a wider gap is no proof of anything, and no verifier takes it for one
EXTENSIVE_UP_TO = 1_000_000  # losses: beyond it the program written out would not end


def optimum(program: Program, tolerance: float, start: Floats | None) -> tuple[Program, Solution]:
    """The solution, and the program with all rows that had to be generated for it."""
    if not (finite(tolerance) and 0 < tolerance <= LARGEST):
        raise ProblemError(f"tolerance is {tolerance!r}, expected a relative gap > 0, at most {LARGEST}, such as 1e-6")
    tolerance = float(tolerance)
    for rule in program.rules:
        check_solvable(rule, *program.trials)
    with ONE_THREAD:
        while True:
            solution = _solved(program, tolerance, start)
            refined = _refined(program, solution)
            if refined is None:
                return program, solution
            program, start = refined, solution.x


def _solved(program: Program, tolerance: float, start: Floats | None) -> Solution:
    """The seam: by the tail; without a proof the rules are asked for a conflict; then the program is written out."""
    _check_bounded(program)
    try:
        solution = solve_by_tail(program, tolerance, start)
        return evened(program, vouched(program, solution, tolerance) if solution.claimed else solution, tolerance)
    except (NotSeparable, SolverError, ArithmeticError) as reason:  # the last: numbers ran out of range
        logger.info("no plan found; asking the rules for a conflict")
        logger.debug("not solved by the tail: %s", reason)
        conflict = explain(program)
        if conflict is not None:
            raise conflict from None
        if program.pool.scenarios.losses.size > EXTENSIVE_UP_TO:
            if isinstance(reason, SolverError):
                raise
            raise SolverError(
                f"the pool is too large to be solved but by its tail, and that way ends here: {reason}; "
                "use fewer scenarios, or rules that speak of fewer pairs of members"
            ) from reason
        first = Attempt("by the tail", str(reason))
    try:
        solution = solve_extensive(program, tolerance)
    except Infeasible as claim:
        raise SolverError(
            "no plan was found, and no conflict of the rules could be proved; a plan far beyond all losses may keep "
            f"them, such as a floor for small members beside a giant: {claim}"
        ) from None
    return evened(program, replace(solution, attempts=(first, *solution.attempts)), tolerance)


def _check_bounded(program: Program) -> None:
    """Refuse an objective that can fall without bound: some decision earns more than the rules can hold."""
    earning = [(price, part) for price, part in program.objective if isinstance(part, CostTerm)]
    x = cp.Variable(program.size, nonneg=True)
    plan = program.plan(x)
    costs = [price * part.amount(plan) / program.unit for price, part in earning]
    if not earning or all(_never_negative(cost, x) for cost in costs):
        return
    problem = cp.Problem(cp.Minimize(sum(costs)), [rule.gap(plan) / program.unit <= 0 for rule in program.rules])
    try:
        run(problem, "bounded")
    except ProblemError:
        names = ", ".join(f"{price:g} * {part}" for price, part in earning)
        raise ProblemError(
            f"the objective falls without bound: {names} has a rate below zero, so that more money is always better; "
            "make the rate >= 0 or add a Budget"
        ) from None
    except (Infeasible, SolverError):
        return  # the solve itself will say what is wrong


def _never_negative(cost: cp.Expression, x: cp.Variable) -> bool:
    slope, _ = affine(cp.reshape(cost, (1,), order="C"), x)
    return bool(slope.min(initial=0.0) >= 0)


def _refined(program: Program, solution: Solution) -> Program | None:
    """The program with the rows that the plan breaks, or None if it breaks none."""
    plan = program.plan(cp.Constant(solution.x))
    rules, changed = [], False
    for rule in program.rules:
        more = rule.refined(plan) if isinstance(rule, GeneratedRule) else None
        rules.append(rule if more is None else more)
        changed = changed or more is not None
    return replace(program, rules=tuple(rules)) if changed else None
