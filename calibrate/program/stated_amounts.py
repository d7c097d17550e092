"""What a layer or a cost of the user's own has to be: told in words, before a solver stumbles over it."""

from __future__ import annotations

import math
from collections.abc import Callable

import cvxpy as cp

from calibrate.errors import ProblemError
from calibrate.program.fairness.stated import UNREADABLE, expression, no_number
from calibrate.program.names import check_name
from calibrate.program.plan import Plan
from calibrate.program.risk import CostTerm
from calibrate.program.waterfall import Layer, Stage

__all__ = ["check_cost", "check_layer"]


def check_layer(layer: Layer, numbers: Plan, unknown: Plan) -> None:
    """ProblemError where the amount is no affine expression of its stage's shape, at numbers and at variables.

    That it is nowhere negative shows when it is compiled.
    """
    shapes = {Stage.MEMBER: numbers.cells.shape, Stage.SEGMENT: numbers.segment_reserves.shape, Stage.POOL: ()}
    _check(str(layer), layer.amount, shapes[layer.stage], numbers, unknown)


def check_cost(cost: CostTerm, numbers: Plan, unknown: Plan) -> None:
    """ProblemError where the amount is no affine expression of one number, or the name is another kind's."""
    check_name("cost", str(cost))
    _check(str(cost), cost.amount, (), numbers, unknown)


def _check(name: str, amount: Callable[[Plan], object], shape: tuple[int, ...], numbers: Plan, unknown: Plan) -> None:
    known, open_ = (_told(name, amount(plan), shape) for plan in (numbers, unknown))
    own = {one.id for one in open_.variables()} - {one.id for one in unknown.cells.variables()}
    if known.variables() or own:
        raise ProblemError(f"{name}: amount has a variable of its own, expected the plan's only; give it a number")
    if not open_.is_affine():
        raise ProblemError(
            f"{name}: amount is {open_.curvature.lower()} to cvxpy, expected affine in the plan: sums of contributions "
            "and reserves at fixed rates; what is convex belongs in a rule"
        )
    wrong = no_number(known, open_)
    if wrong is not None:
        raise ProblemError(f"{name}: amount holds {wrong}, expected finite numbers; {UNREADABLE}")


def _told(name: str, given: object, shape: tuple[int, ...]) -> cp.Expression:
    amount = expression(f"{name}: amount", given, "in money, such as 0.1 * plan.total")
    if amount.size != math.prod(shape):
        raise ProblemError(
            f"{name}: amount has shape {amount.shape}, expected {shape}; of several numbers cp.sum makes one, "
            "cp.reshape another shape, and what members pay is a multiple of plan.cells"
        )
    return amount
