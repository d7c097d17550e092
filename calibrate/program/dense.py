"""Newton's equations of all that is no tree: costs, bounds, rules, limits and equalities, as large as the plan.

A condition is a slack `s >= 0` with a multiplier `y >= 0`. With `aim` what their product lacks, `y ds + s dy = aim`; so
`dy = (aim - y ds) / s`, which leaves a push `aim / s` and a curvature `y / s` on the plan. Second-order cones do the
same by blocks (see `cones`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from calibrate.program.kernel import inlined, kernel
from calibrate.program.rule_rows import RuleRows, add_back, add_curvature, add_rows

__all__ = [
    "Aims",
    "Conditions",
    "Factored",
    "Place",
    "Residuals",
    "add_curve",
    "along",
    "back",
    "balanced",
    "curve",
    "direct",
    "go",
    "measure",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_REFINED = 8  # where redundant rules leave a system that the ridge alone makes regular


class Conditions(NamedTuple):
    """What does not move. A named tuple, because the compiled kernels take it as it is.

    Bounds `signs (v[at] - ends) >= 0`, rules `G v + slack = h` (the first `orthant` are conditions each, cones follow),
    limits `row_q v + eta risks + slack = amount`, equalities `E v = f`.
    """

    q: Floats
    P: Floats
    at: Ints
    signs: Floats
    ends: Floats
    G: RuleRows
    h: Floats
    orthant: int
    E: Floats
    f: Floats
    row_q: Floats
    eta: Floats
    amount: Floats


class Place(NamedTuple):
    """A plan with slacks and multipliers, or a move of them. The first are of bounds, then come the limits."""

    v: Floats
    slack: Floats
    multiplier: Floats
    rule_slack: Floats
    rule: Floats
    equal: Floats

    def still(self) -> Place:
        """No move."""
        return Place(*(np.zeros(len(part)) for part in self))


class Residuals(NamedTuple):
    """How far the equations are from holding; `dual` is the slope of the Lagrangian."""

    dual: Floats
    rule: Floats
    equal: Floats
    limit: Floats


class Factored(NamedTuple):
    """A symmetric matrix with the factors of its balanced self, by columns, and the scale that balanced it."""

    matrix: Floats
    columns: Floats
    pivots: npt.NDArray[np.int32]
    scale: Floats


class Aims(NamedTuple):
    """What the products of slack and multiplier lack."""

    flat: Floats  # of bounds and limits
    rule: Floats


@kernel
def measure(given: Conditions, place: Place, risks: Floats, out: Residuals) -> tuple[float, float, float]:
    """Residuals; `out.dual` comes with the slope of the risk terms.

    Returns the sum of the products, the constant of the dual function and the largest residual, slopes relative to 1
    and the cost.
    """
    n_bounds, v, dual = len(given.at), place.v, out.dual
    dual += given.q + given.P * v
    out.rule[:] = place.rule_slack - given.h
    add_rows(given.G, v, out.rule)
    add_back(given.G, place.rule, dual)
    for j in range(len(given.f)):
        dual += given.E[j] * place.equal[j]
        out.equal[j] = (given.E[j] * v).sum() - given.f[j]
    for j in range(len(given.amount)):
        dual += given.row_q[j] * place.multiplier[n_bounds + j]
        spent = (given.row_q[j] * v).sum() + (given.eta[j] * risks).sum()
        out.limit[j] = spent + place.slack[n_bounds + j] - given.amount[j]
    for k in range(n_bounds):
        dual[given.at[k]] -= given.signs[k] * place.multiplier[k]
    products = (place.slack * place.multiplier).sum() + (place.rule_slack * place.rule).sum()
    constant = (given.signs * given.ends * place.multiplier[:n_bounds]).sum() - (given.h * place.rule).sum()
    constant -= (given.f * place.equal).sum() + (given.amount * place.multiplier[n_bounds:]).sum()
    worst = _largest(dual / (1.0 + np.abs(given.q)), 0.0)
    for part in (out.rule, out.equal, out.limit):
        worst = _largest(part, worst)
    return products, constant, worst


@inlined
def _largest(values: Floats, known: float) -> float:
    """Largest absolute value; NaN if one is."""
    for one in values:
        known = np.nan if np.isnan(one) or np.isnan(known) else max(known, abs(one))
    return known


@kernel
def curve(given: Conditions, place: Place, H: Floats) -> None:
    """Add the curvature of costs, bounds and rules (without cones) to `H`."""
    weight = place.rule / place.rule_slack
    weight[given.orthant :] = 0.0
    add_curvature(given.G, weight, H)
    for i in range(len(given.q)):
        H[i, i] += given.P[i]
    for k in range(len(given.at)):
        H[given.at[k], given.at[k]] += place.multiplier[k] / place.slack[k]


@kernel
def along(own: Floats, rest: Floats, v: Floats) -> Floats:
    """`M v`, where `M` has `own` on the diagonal and below it the rows `rest`."""
    cells = len(own)
    y = np.empty(cells + len(rest))
    y[:cells] = own * v[:cells]
    for r in range(len(rest)):
        y[cells + r] = (rest[r] * v).sum()
    return y


@kernel
def back(own: Floats, rest: Floats, y: Floats) -> Floats:
    """`M' y`."""
    cells = len(own)
    v = np.zeros(rest.shape[1])
    v[:cells] = own * y[:cells]
    for r in range(len(rest)):
        v += y[cells + r] * rest[r]
    return v


@kernel
def add_curve(half: Floats, own: Floats, rest: Floats, H: Floats) -> None:
    """Add `M' (half + half') M` to `H`."""
    cells, n = len(own), len(H)
    for i in range(cells):
        for j in range(cells):
            H[i, j] += own[i] * own[j] * (half[i, j] + half[j, i])
    for r in range(len(rest)):
        across = np.zeros(n)
        for i in range(cells):
            across[i] = own[i] * (half[i, cells + r] + half[cells + r, i])
        for other in range(len(rest)):
            across += half[cells + r, cells + other] * rest[other]
        for i in range(n):
            if rest[r, i] != 0.0:
                H[i] += rest[r, i] * across
                H[:, i] += rest[r, i] * across


@kernel
def balanced(matrix: Floats, n: int, n_limits: int, ridge: float) -> tuple[Floats, Floats]:
    """A matrix of plan, limits and equalities with a diagonal of size one, and the scale that makes it so.

    The diagonal is moved by `ridge` to the side where it is: redundant rules make it singular in exact arithmetic.
    """
    size = len(matrix)
    scale, scaled = np.ones(size), np.empty((size, size))
    for i in range(n + n_limits):
        scale[i] = 1.0 / np.sqrt(max(abs(matrix[i, i]), 1e-200))
    for i in range(size):
        for j in range(size):
            scaled[i, j] = matrix[i, j] * scale[i] * scale[j]
        scaled[i, i] += ridge if i < n else -ridge
    return scaled, scale


@kernel
def direct(
    given: Conditions,
    place: Place,
    residuals: Residuals,
    moves: Place,
    aim: tuple[float, float],
    aims: Aims,
    factored: Factored,
    rhs: Floats,
    reach: Floats,
) -> Floats:
    """Newton's direction: the moves, and what they reach (see `_move`). Returns that of plan, limits and equalities.

    Every product goes to `aim[0]`, less `aim[1]` times the second-order term of the `moves` known. `rhs` comes with
    what trees and cones push.
    """
    _right_side(given, place, residuals, moves, aim, aims, rhs)
    solution = _solved(factored, rhs)
    _move(given, place, residuals, solution, aims, moves, reach)
    return solution


@kernel
def _solved(factored: Factored, rhs: Floats) -> Floats:
    """The solution of the equations, refined until rounding is all that is left of them (mostly twice)."""
    solution, residual, before = np.zeros(len(rhs)), rhs, np.inf
    for _ in range(MOST_REFINED):
        solution += factored.scale * _substituted(factored, residual * factored.scale)
        residual = rhs - factored.matrix @ solution
        left = np.abs(residual).max()
        if not left < 0.5 * before:
            break
        before = left
    return solution


@kernel
def _substituted(factored: Factored, x: Floats) -> Floats:
    """Forward and back through the factors, column by column."""
    n = len(x)
    for j in range(n):
        pivot = factored.pivots[j]
        x[j], x[pivot] = x[pivot], x[j]
    for j in range(n):
        column, known = factored.columns[j], x[j]
        for i in range(j + 1, n):
            x[i] -= column[i] * known
    for j in range(n - 1, -1, -1):
        column = factored.columns[j]
        x[j] /= column[j]
        known = x[j]
        for i in range(j):
            x[i] -= column[i] * known
    return x


@kernel
def _right_side(
    given: Conditions,
    place: Place,
    residuals: Residuals,
    moves: Place,
    aim: tuple[float, float],
    aims: Aims,
    rhs: Floats,
) -> None:
    """Add the right-hand side of the equations in plan, limits and equalities; set the aims that it comes from."""
    n, n_bounds, n_limits = len(given.q), len(given.at), len(given.amount)
    _lacking(place.slack, place.multiplier, moves.slack, moves.multiplier, aim, aims.flat)
    _lacking(place.rule_slack, place.rule, moves.rule_slack, moves.rule, aim, aims.rule)
    rhs[:n] -= residuals.dual
    push = -(residuals.rule * place.rule + aims.rule) / place.rule_slack
    push[given.orthant :] = 0.0
    add_back(given.G, push, rhs[:n])
    for k in range(n_bounds):
        rhs[given.at[k]] += given.signs[k] * aims.flat[k] / place.slack[k]
    for j in range(n_limits):
        rhs[n + j] -= residuals.limit[j] + aims.flat[n_bounds + j] / place.multiplier[n_bounds + j]
    rhs[n + n_limits :] -= residuals.equal


@inlined
def _lacking(s: Floats, y: Floats, ds: Floats, dy: Floats, aim: tuple[float, float], out: Floats) -> None:
    """What the products `s y` lack."""
    for i in range(len(s)):
        out[i] = aim[0] - s[i] * y[i]
        if aim[1] > 0.0:
            out[i] -= aim[1] * ds[i] * dy[i]


@kernel
def _move(
    given: Conditions, place: Place, residuals: Residuals, solution: Floats, aims: Aims, moves: Place, reach: Floats
) -> None:
    """Moves of plan, slacks and multipliers (of cones only the slacks), from those of plan, limits and equalities.

    `reach`: the largest relative falls of slacks and multipliers, and the changes of the sum of the products with the
    step (see `elimination.backward`).
    """
    n, n_bounds, n_limits = len(given.q), len(given.at), len(given.amount)
    v, slack, multiplier, rule_slack, rule, equal = moves
    v[:] = solution[:n]
    equal[:] = solution[n + n_limits :]
    for k in range(n_bounds):
        slack[k] = given.signs[k] * v[given.at[k]]
        multiplier[k] = (aims.flat[k] - place.multiplier[k] * slack[k]) / place.slack[k]
        _reached(place.slack[k], place.multiplier[k], slack[k], multiplier[k], reach)
    for j in range(n_bounds, n_bounds + n_limits):
        multiplier[j] = solution[n + j - n_bounds]
        slack[j] = (aims.flat[j] - place.slack[j] * multiplier[j]) / place.multiplier[j]
        _reached(place.slack[j], place.multiplier[j], slack[j], multiplier[j], reach)
    rule_slack[:] = residuals.rule
    add_rows(given.G, v, rule_slack)
    rule_slack *= -1.0
    for i in range(given.orthant):
        rule[i] = (aims.rule[i] - place.rule[i] * rule_slack[i]) / place.rule_slack[i]
        _reached(place.rule_slack[i], place.rule[i], rule_slack[i], rule[i], reach)


@inlined
def _reached(s: float, y: float, ds: float, dy: float, reach: Floats) -> None:
    """Add a pair to `reach`."""
    reach[0] = max(reach[0], -ds / s)
    reach[1] = max(reach[1], -dy / y)
    reach[2] += ds * y
    reach[3] += s * dy
    reach[4] += ds * dy


@kernel
def go(place: Place, moves: Place, primal: float, dual: float) -> None:
    """Go along the moves: plan and slacks by `primal`, multipliers by `dual`."""
    place.v[:] += primal * moves.v
    place.slack[:] += primal * moves.slack
    place.rule_slack[:] += primal * moves.rule_slack
    place.multiplier[:] += dual * moves.multiplier
    place.rule[:] += dual * moves.rule
    place.equal[:] += dual * moves.equal
