"""What a rule of the user's own has to be: told in words, before a solver or the verifier stumbles over it."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np

from calibrate.errors import ProblemError
from calibrate.program.fairness.base import Rule
from calibrate.program.names import check_name
from calibrate.program.plan import Plan

__all__ = ["UNREADABLE", "check_gap", "check_solvable", "expression", "no_number"]

UNREADABLE = "look for a division by zero in it, or for the value of a plan that is not solved yet"


def check_gap(rule: Rule, numbers: Plan) -> cp.Expression:
    """The gap at a plan of constants; ProblemError where it is none of cvxpy, or open there, or the name is a limit's.

    What a rule makes of the pool's losses is not asked: another pool may stand for the one that is solved.
    """
    name = str(rule)
    check_name("rule", name)
    gap = _told(rule, numbers)
    if gap.variables():
        raise ProblemError(
            f"{name}: gap leaves {len(gap.variables())} variable(s) of its own open at a plan of numbers; say it by "
            "atoms such as cp.max and cp.min, or give the least gap as a number where plan.cells.is_constant()"
        )
    return gap


def check_solvable(rule: Rule, numbers: Plan, unknown: Plan) -> None:
    """ProblemError where the gap has no rows, is not convex in the unknown plan, or has numbers that are none."""
    known, gap = check_gap(rule, numbers), _told(rule, unknown)
    if not gap.size:
        raise ProblemError(f"{rule}: gap has 0 rows, expected at least one; leave the rule out where it says nothing")
    if any(one.attributes["boolean"] or one.attributes["integer"] for one in gap.variables()):
        raise ProblemError(f"{rule}: gap has a whole-numbered variable, expected a convex gap; let it be any number")
    wrong = no_number(known, gap)
    if wrong is not None:
        raise ProblemError(f"{rule}: gap holds {wrong}, expected finite numbers; {UNREADABLE}")
    if not gap.is_convex():
        raise ProblemError(
            f"{rule}: gap is {gap.curvature.lower()} to cvxpy, expected convex; multiply out what divides by the plan, "
            "and write it in atoms that cvxpy knows to be convex"
        )


def _told(rule: Rule, plan: Plan) -> cp.Expression:
    fair = "that is fair when <= 0: of a constraint the left side less the right, such as plan.contributions - 5.0"
    return expression(f"{rule}: gap", rule.gap(plan), fair)


def expression(what: str, given: object, such: str) -> cp.Expression:
    """What a user's method gives, if it is an expression of numbers and the plan; else ProblemError says so."""
    if not isinstance(given, cp.Expression):
        raise ProblemError(
            f"{what} is of type {type(given).__name__}, expected a cvxpy expression {such}; of numbers "
            "cp.Constant(numbers)"
        )
    if given.parameters():
        raise ProblemError(f"{what} holds a cvxpy Parameter, expected a number; put its value there")
    return given


def no_number(known: cp.Expression, unknown: cp.Expression) -> float | None:
    """An infinity or NaN: in the value, or only in the constants where a convex gap need not have one everywhere.

    Of the unknown plan too: what reads its `value`, which is not there yet, makes NaN of it.
    """
    told = [known] if unknown.is_affine() else known.constants()
    with np.errstate(all="ignore"):
        held = [one.value for one in (*told, *unknown.constants()) if one.size]
    ends = [float(end(value)) for value in held for end in (np.min, np.max)]  # of sparse ones too
    return next((end for end in ends if not math.isfinite(end)), None)
