"""The lower bound that the multipliers of rules and tail prove, whatever the solver did.

Let `pi` be the multipliers of a forest on the working set W, with `0 <= pi_leaf <= pi_group <= pi_root <=
price * p / (1 - level)` and `sum pi_root <= price`. For every plan a layer leaves at least `phi * (x - amount)` for any
slope `phi` in [0, 1], and a CVaR is the largest mean over weights such as these. So the affine function that the
multipliers make of losses and plan lies below the risk of *every* plan over *all* scenarios: those outside W, and
losses left out of its trees, carry weight 0, and what is left is >= 0; lines and scenarios that are surely in the tail
carry the most they may, which is a slope and a weight like any other. This holds for any probabilities, a fractional
scenario at the tail's edge included, as it only asks `pi_root <= price * p / (1 - level)`. Adding what the rules say,
`multiplier * gap <= 0`, and minimising the affine sum over the plans that may be better than one that is known
(`Body.short`) gives a lower bound, by weak duality. Risks are >= 0: no such plan spends more than what that one costs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from calibrate.program.compiled import Compiled
from calibrate.program.forest import Y1, Grove, Kinks
from calibrate.program.standard_form import Point, Tail

__all__ = ["cut", "lower_bound", "smallest"]

Floats = npt.NDArray[np.float64]


def lower_bound(form: Compiled, tails: list[Tail], point: Point, upper: float) -> float:
    """The affine function of the multipliers, minimised over the plans that may be better (see the module); units."""
    body = form.body
    rule = body.cone.inside(point.rule, 0.0)
    limit = np.maximum(point.limit, 0.0)
    slope = form.body.q + body.G.T @ rule + body.E.T @ point.equal
    constant = body.constant - body.h @ rule - body.f @ point.equal
    prices = form.prices.copy()
    for row, multiplier in zip(form.rows, limit, strict=True):
        slope = slope + multiplier * row.q
        constant -= multiplier * row.amount
        prices = prices + multiplier * row.eta
    for tail, step, price in zip(tails, point.steps, prices, strict=True):
        value, gradient = cut(tail.grove, step.state, float(price))
        constant += value - gradient @ tail.m + price * tail.constant
        slope = slope - tail.back(gradient) + price * tail.slope
    if not np.isfinite(upper):
        return -np.inf  # without a plan there is no box
    return float(constant - body.short(slope, point.v, upper))


def cut(grove: Grove, state: Kinks, price: float) -> tuple[float, Floats]:
    """`(constant, gradient)` of the cut `constant - gradient.y`, from any multipliers clipped to where it is valid.

    Scenarios that are surely in the tail carry all they may, `price * p / (1 - level)`, and are in neither.
    """
    forest = grove.forest
    top = np.clip(state.root[:, Y1], 0.0, price * forest.weight)
    left, hung = price * max(1.0 - grove.mass, 0.0), float(top @ forest.hung)
    if hung > left:
        top = np.where(forest.hung > 0, top * (left / hung), top)
    per_group = np.repeat(top, np.diff(forest.groups_of))
    if forest.group_kinks:
        per_group = np.clip(state.group[:, Y1], 0.0, per_group)
    per_leaf = np.clip(state.leaf[:, Y1], 0.0, np.repeat(per_group, np.diff(forest.leaves_of)))
    per_line = np.repeat(per_group, np.diff(forest.lines_of))
    gradient = np.zeros(forest.n_coordinates)
    np.add.at(gradient, forest.cell, per_leaf * forest.worth)
    np.add.at(gradient, forest.line_cell, per_line * forest.line_worth)
    has_segment = forest.segment >= 0
    np.add.at(gradient, forest.segment[has_segment], per_group[has_segment])
    gradient[-1] += top @ forest.hung
    return float(per_leaf @ forest.loss + per_group @ forest.base), gradient


def smallest(E: Floats, multipliers: Floats) -> Floats:
    """Of all multipliers that pull like the given ones, those of the least sum: equalities may depend on each other."""
    if len(E) < 2:
        return multipliers
    found = linprog(np.ones(2 * len(E)), A_eq=np.hstack([E.T, -E.T]), b_eq=E.T @ multipliers)
    return multipliers if found.x is None else np.asarray(found.x[: len(E)] - found.x[len(E) :])
