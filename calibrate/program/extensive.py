"""The extensive program: a variable for every scenario, member and segment with a loss, written in cvxpy.

The reference for everything faster, and the way for tiny pools. Variables stand only where there is a loss.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from calibrate.errors import ProblemError, SolverError
from calibrate.program.affine import NotSeparable
from calibrate.program.fairness.base import Rule
from calibrate.program.form import Floats, Program
from calibrate.program.plan import Plan
from calibrate.program.quiet import greeted
from calibrate.program.risk import CostTerm, RiskTerm
from calibrate.program.rule_matrix import rule_rows
from calibrate.program.solution import Attempt, Solution
from calibrate.program.waterfall import Stage

__all__ = [
    "Extensive",
    "Infeasible",
    "least_slack_extensive",
    "reference_point",
    "reference_weights",
    "solve_extensive",
]

logger = logging.getLogger(__name__)

Ladder = tuple[tuple[str, dict[str, Any]], ...]


def _clarabel(tolerance: float) -> tuple[str, dict[str, Any]]:
    tolerances = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    return cp.CLARABEL, {**tolerances, "max_iter": 500, "time_limit": 900.0}


# Where ten digits cannot be had, eight do: an optimum is proved apart from the solver that claims it.
SOLVERS: Ladder = (_clarabel(1e-10), (cp.HIGHS, {"time_limit": 900.0}), _clarabel(1e-8))
SLACK_SOLVERS: Ladder = (*SOLVERS, _clarabel(1e-7))  # a slack is told in three digits and judged at 1e-6 units
TIE_SOLVERS: Ladder = tuple(_clarabel(tolerance) for tolerance in (1e-10, 1e-9, 1e-8))

SAME = 1e-12  # units: rounding of a gap
SMALLEST_ENTRY = 2e-9  # of a matrix that HiGHS may be given


class Infeasible(Exception):  # noqa: N818 (not an error yet: the rules are asked which of them conflict)
    """A solver claims that no plan satisfies the constraints."""


@dataclass(frozen=True, eq=False)
class Extensive:
    """The parts of the extensive program, in units; `constraints` tie the auxiliary variables to the losses."""

    x: cp.Variable
    plan: Plan
    objective: cp.Expression
    constraints: list[cp.Constraint]
    gaps: list[cp.Expression]

    @classmethod
    def of(cls, program: Program) -> Extensive:
        """Write a program down; `gaps` runs over the rules, then the limits."""
        program.check()
        x = cp.Variable(program.size, nonneg=True)
        plan = program.plan(x)
        writer = _Writer(program, plan)
        objective = writer.total(program.objective)
        gaps = [_ruled(rule, program, x, plan, writer.constraints) for rule in program.rules]
        gaps += [writer.total(limit.term.parts) - limit.amount / program.unit for limit in program.limits]
        return cls(x, plan, objective, writer.constraints, gaps)


def _ruled(rule: Rule, program: Program, x: cp.Variable, plan: Plan, constraints: list[cp.Constraint]) -> cp.Expression:
    """A variable that is at least the rule's worst gap, in units.

    Compiled with its auxiliary variables in units too: left in money, a solver takes 1e9 for well scaled and is wrong.
    """
    free = cp.Variable(program.size)
    try:
        block = rule_rows(rule, program, free, program.asked.plan(free))
    except NotSeparable:
        return _in_units(rule, program, x, plan)
    gap, n = cp.Variable(), program.size
    left = block.b - block.A[:, :n] @ x - block.A[:, n] * gap
    if block.A.shape[1] > n + 1:
        left = left - block.A[:, n + 1 :] @ cp.Variable(block.A.shape[1] - n - 1)
    ends = np.cumsum([block.zero, block.orthant, *block.sizes])
    cones = [cp.SOC(left[int(a)], left[int(a) + 1 : int(z)]) for a, z in pairwise(ends[1:])]
    constraints += [left[: ends[0]] == 0] if block.zero else []
    constraints += [left[ends[0] : ends[1]] >= 0] if block.orthant else []
    constraints += cones
    return gap


def _in_units(rule: Rule, program: Program, x: cp.Variable, plan: Plan) -> cp.Expression:
    """The gap of a rule that has other cones: in units all through where it is a constant and what grows with money."""
    told = None if program.told is None else replace(program.told, unit=1.0)
    small, trials = replace(program, unit=1.0, told=told), np.random.default_rng(0).random((3, program.size)) + 0.5

    def gaps(one: Program, v: Floats) -> Floats:
        return np.asarray(rule.gap(one.plan(cp.Constant(v))).value, dtype=np.float64)

    nothing = np.zeros(program.size)
    constant = gaps(program, nothing) / program.unit - gaps(small, nothing)
    apart = [gaps(program, v) / program.unit - gaps(small, v) - constant for v in trials]
    if max(float(np.abs(one).max()) for one in apart) <= SAME * (1 + float(np.abs(constant).max())):
        return rule.gap(small.plan(x)) + constant
    return rule.gap(plan) / program.unit


class _Writer:
    """Writes each risk term once, as an expression in units with its auxiliary variables."""

    def __init__(self, program: Program, plan: Plan) -> None:
        self.program, self.plan = program, plan
        self.constraints: list[cp.Constraint] = []
        self._risks = {term: self._cvar(term, self._left(term.of)) for term in program.risk_terms}

    def total(self, parts: tuple[tuple[float, RiskTerm | CostTerm], ...]) -> cp.Expression:
        """Prices times terms, in units."""
        total: cp.Expression = cp.Constant(0.0)
        for price, part in parts:
            amount = part.amount(self.plan) / self.program.unit if isinstance(part, CostTerm) else self._risks[part]
            total = total + price * amount
        return total

    def _cvar(self, term: RiskTerm, left: cp.Expression) -> cp.Expression:
        """`min_t t + E[(Y - t)+] / (1 - level)`; `t >= 0` as `Y >= 0`, hence `Y` may lack its last `(.)+`."""
        t, z = cp.Variable(nonneg=True), cp.Variable(left.shape, nonneg=True)
        self.constraints.append(z >= left - t)
        return t + (self.program.pool.scenarios.probabilities / (1 - term.level)) @ z

    def _left(self, kind: str) -> cp.Expression:
        """What the waterfall leaves before the last `(.)+`, in units, a scenario an entry."""
        program, scenarios = self.program, self.program.pool.scenarios
        n, k = len(scenarios), len(scenarios.segments)
        segment, pool = (self._amount(stage) for stage in (Stage.SEGMENT, Stage.POOL))
        own = self._amount(Stage.MEMBER)
        own = program.in_order(self.plan.cells) / program.unit if own is None else own
        beyond = self._excess(own) if kind == "mutualised" else self._balance(own)
        if segment is not None:
            beyond = beyond - np.ones((n, 1)) @ cp.reshape(segment, (1, k), order="C")
        if k > 1:
            left = cp.Variable((n, k), nonneg=True)
            self.constraints.append(left >= beyond)
            beyond = cp.sum(left, axis=1)
        else:
            beyond = cp.reshape(beyond, (n,), order="C")
        return beyond if pool is None else beyond - pool

    def _amount(self, stage: Stage) -> cp.Expression | None:
        amount = self.program.amount(stage, self.plan)
        return None if amount is None else amount / self.program.unit

    def _excess(self, own: cp.Expression) -> cp.Expression:
        """`sum_i (L - a c)+` by scenario and segment, with a variable for each positive loss."""
        scenarios = self.program.pool.scenarios
        n, k = len(scenarios), len(scenarios.segments)
        s, j = np.nonzero(scenarios.losses)
        if not s.size:
            return cp.Constant(np.zeros((n, k)))
        i = j // k
        worth = np.ones(s.size) if scenarios.collateral is None else scenarios.collateral[s, i]
        pick = sp.csr_matrix((worth, (np.arange(s.size), j)), shape=(s.size, self.program.n_cells))
        excess = cp.Variable(s.size, nonneg=True)
        own_flat = cp.reshape(own, (self.program.n_cells,), order="C")
        self.constraints.append(excess >= scenarios.losses[s, j] / self.program.unit - pick @ own_flat)
        add = sp.csr_matrix((np.ones(s.size), (s * k + j % k, np.arange(s.size))), shape=(n * k, s.size))
        return cp.reshape(add @ excess, (n, k), order="C")

    def _balance(self, own: cp.Expression) -> cp.Expression:
        """`sum_i (L - a c)` by scenario and segment."""
        scenarios = self.program.pool.scenarios
        n = len(scenarios)
        gross = scenarios.cube.sum(axis=1) / self.program.unit
        if scenarios.collateral is None:
            paid = cp.reshape(cp.sum(own, axis=0), (1, own.shape[1]), order="C")
            return gross - np.ones((n, 1)) @ paid
        return gross - scenarios.collateral @ own


def solve_extensive(program: Program, tolerance: float) -> Solution:
    """Optimum, shadow prices, and of the optimal plans (within a tenth of `tolerance`) the closest to the reference.

    Raises `Infeasible` for the caller to explain, ProblemError when unbounded, SolverError when nothing was proven.
    """
    caller, program = program, program.ordered
    parts = Extensive.of(program)
    rows = [gap <= 0 for gap in parts.gaps]
    optimum = cp.Problem(cp.Minimize(parts.objective), parts.constraints + rows)
    attempts = run(optimum, "optimum")
    best, x = float(optimum.value), np.array(parts.x.value)
    shadows = tuple(float(np.sum(np.abs(row.dual_value))) for row in rows)
    slack = 0.1 * tolerance * abs(best) + 1e-12
    closest = cp.Problem(
        cp.Minimize(distance(program, parts.x)), [*parts.constraints, *rows, parts.objective <= best + slack]
    )
    try:
        attempts += run(closest, "tie", TIE_SOLVERS)
        x = np.array(parts.x.value)
    except (SolverError, Infeasible) as error:  # the tie stays with the solver, and the provenance says so
        attempts += (Attempt("tie", f"left to the solver ({error})"),)
    return Solution(np.maximum(x, 0.0), best * program.unit, shadows, attempts, "a solver's claim").told(caller)


def least_slack_extensive(program: Program, elastic: Sequence[object]) -> tuple[float, Floats]:
    """Least sum of what the `elastic` rules and limits have to give for a plan to exist, and such a plan; in units."""
    parts, x = Extensive.of(program.ordered), np.zeros(program.size)
    slack = cp.Variable(len(parts.gaps), nonneg=True)
    gives = [any(one is other for other in elastic) for one in (*program.rules, *program.limits)]
    rows = [gap <= (slack[k] if gives[k] else 0.0) for k, gap in enumerate(parts.gaps)]
    problem = cp.Problem(cp.Minimize(cp.sum(slack)), parts.constraints + rows)
    try:
        run(problem, "conflict", SLACK_SOLVERS)
    except (Infeasible, ProblemError) as claim:  # a sum of slacks falls to no less than nothing
        raise SolverError(f"the conflict of the rules could not be measured: {claim}") from None
    if parts.x.value is not None:  # else nothing speaks of a decision
        x[program.ordered.positions] = np.maximum(parts.x.value, 0.0)
    return float(problem.value), x


def distance(program: Program, x: cp.Expression) -> cp.Expression:
    """Relative least squares from the reference, `sum (c - ref)^2 / ref`, in units; see `reference_weights`."""
    return cp.sum_squares(cp.multiply(weights := reference_weights(program), x) - weights * reference_point(program))


def reference_point(program: Program) -> Floats:
    """The reference in units."""
    return program.reference / program.unit


def reference_weights(program: Program) -> Floats:
    """`1 / sqrt(reference)`: where only the total is ruled, every contribution then moves by the same share of itself.

    Squares over the reference's square would take most from the largest member. Floored at a ten-thousandth of the
    mean, as the tie is a badly conditioned program otherwise; reserves weigh like the whole of the contributions.
    """
    target = program.reference[: program.n_cells] / program.unit
    mean = target.mean() if target.any() else 1.0
    whole = np.full(len(program.reserve_names), max(target.sum(), mean))
    return np.asarray(1 / np.sqrt(np.append(np.maximum(target, 1e-4 * mean), whole)))


def _keeps_its_entries(problem: cp.Problem) -> bool:
    """Whether HiGHS would read the whole matrix: it drops entries below 1e-9, and then proves another optimum."""
    entries = np.abs(problem.get_problem_data(cp.HIGHS)[0]["A"].data)
    return not bool(np.any((entries > 0) & (entries < SMALLEST_ENTRY)))


def run(problem: cp.Problem, what: str, ladder: Ladder = SOLVERS) -> tuple[Attempt, ...]:
    """Solve by the ladder of solvers; only `optimal` counts. The one place where the status of an answer is read."""
    greeted()
    attempts: list[Attempt] = []
    for solver, options in ladder:
        if solver == cp.HIGHS and not (problem.is_lp() and _keeps_its_entries(problem)):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate": the status below says it
                problem.solve(solver=solver, **options)
            status = str(problem.status)
        except (cp.SolverError, ValueError, ArithmeticError) as error:
            status = f"failed ({error})"
        attempts.append(Attempt(f"{what} by {solver}", status))
        logger.info("%s", attempts[-1])
        if status == cp.OPTIMAL:
            return tuple(attempts)
    statuses = {attempt.status for attempt in attempts}
    told = "; ".join(map(str, attempts))
    if statuses & {cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE}:
        raise Infeasible(told)
    if statuses & {cp.UNBOUNDED, cp.UNBOUNDED_INACCURATE}:
        raise ProblemError(f"the objective falls without bound ({told})")
    raise SolverError(f"no solver proved an optimum: {told}")
