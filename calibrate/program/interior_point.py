"""A primal-dual interior-point method for the program on a working set of scenarios.

    minimise    1/2 v'Pv + q'v + sum_k price_k * (t_k + sum_s w_ks z_ks)
    subject to  q_j'v + sum_k eta_jk * (t_k + sum_s w_ks z_ks) <= b_j     (limits; their multipliers move the prices)
                G v + slack = h,  slack in a cone;   E v = f;   v_i >= 0 for some i
                z_ks the root of the forest of term k at y = M_k v + m_k

Predictor and corrector after Mehrotra (1992), Nesterov-Todd scaling for the rules. The forests are eliminated (see
`forest`), so every step solves one dense system as large as the plan.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.linalg as la

from calibrate.program import elimination as trees
from calibrate.program.cones import Cone, Scaling
from calibrate.program.forest import S2, Forest, Step

__all__ = ["Body", "InteriorPoint", "Point", "Row", "Tail"]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

MOST_STEPS = 120
FEASIBLE = 1e-9  # residual, relative to the size of the plan
INFINITE = 1e12  # units: no plan of this size is meant
TINY = 1e-14  # regularisation, relative to the diagonal
TO_THE_EDGE = 0.995
DENSE_FROM = 0.3  # share of the coordinates in an average tree from which a matrix product beats scattering


@dataclass(frozen=True, eq=False)
class Body:
    """What does not depend on the scenarios: costs, rules, bounds."""

    q: Floats
    P: Floats  # diagonal
    G: Floats
    h: Floats
    cone: Cone
    E: Floats
    f: Floats
    bounded: npt.NDArray[np.intp]  # positions with v >= 0
    constant: float = 0.0  # of the objective


@dataclass(frozen=True, eq=False)
class Tail:
    """A risk term: its forest, and the coordinates `y = M v + m` at which it is read."""

    forest: Forest
    M: Floats
    m: Floats
    t: int
    price: float


@dataclass(frozen=True, eq=False)
class Row:
    """A limit on risk: `q'v + sum_k eta_k risk_k <= amount`."""

    q: Floats
    eta: Floats
    amount: float


@dataclass(eq=False)
class Point:
    """Where the method is: plan, multipliers, slacks."""

    v: Floats
    bound: Floats  # multipliers of v >= 0
    slack: Floats
    rule: Floats  # multipliers of the rules
    room: Floats  # slack of the limits
    limit: Floats  # multipliers of the limits
    equal: Floats
    steps: list[Step] = field(default_factory=list)
    value: float = np.inf
    dual: float = -np.inf
    residual: float = np.inf
    iterations: int = 0
    status: str = "not solved"


class InteriorPoint:
    """One program on one working set. `solve` returns the point reached, with what it claims."""

    def __init__(self, body: Body, tails: list[Tail], rows: list[Row]) -> None:
        self.body, self.tails, self.rows = body, tails, rows
        self.row_q = np.array([row.q for row in rows]).reshape(len(rows), len(body.q))
        self.eta = np.array([row.eta for row in rows]).reshape(len(rows), len(tails))
        self.amount = np.array([row.amount for row in rows])
        self.base_price = np.array([tail.price for tail in tails])
        self.pairs = len(body.bounded) + body.cone.degree + len(rows) + 2 * sum(tail.forest.kinks for tail in tails)

    def solve(self, v: Floats, tolerance: float, mu: float, like: Point | None = None) -> Point:
        """From a plan `v` (pushed inside the bounds) and a complementarity `mu`, to a relative gap `tolerance`.

        `like`: a point of a similar program, whose multipliers of rules and limits are a good guess.
        """
        point = self._start(v, mu, like)
        with np.errstate(all="ignore"):  # a program without a plan drives the numbers to infinity; that is read below
            for point.iterations in range(MOST_STEPS):
                point.status = self._step(point, tolerance)
                if point.status != "under way":
                    break
            else:
                point.status = "step limit"
        logger.debug("interior point: %s after %d steps, %g", point.status, point.iterations, point.value)
        return point

    def _step(self, point: Point, tolerance: float) -> str:
        """One step, unless the point is good enough or no step is possible; says which."""
        try:
            system = _System(self, point)
            point.residual = system.residual
            gap = abs(point.value - point.dual)
            if point.residual <= FEASIBLE and gap <= tolerance * abs(point.value) + 1e-13:
                return "optimal"
            if not np.isfinite(point.value) or float(np.abs(point.v).max()) > INFINITE:
                return "diverged"
            if system.mu < 1e-16 * (1.0 + abs(point.value)) / self.pairs:
                return "stalled"
            system.advance()
        except (la.LinAlgError, ValueError):  # singular, or no longer finite
            return "diverged"
        return "under way"

    def _start(self, v: Floats, mu: float, like: Point | None) -> Point:
        body, v = self.body, v.copy()
        size = max(float(np.abs(v).max()), 1e-3)
        margin = 1e-4 if like is None else 1e-7
        v[body.bounded] = np.maximum(v[body.bounded], margin * size)
        slack = body.cone.inside(body.h - body.G @ v, max(10 * margin * size, 1e-9))
        rule = mu * body.cone.divide(slack, body.cone.identity)
        limit = np.full(len(self.rows), 1.0)
        if like is not None and len(like.limit) == len(limit):
            n = body.cone.orthant
            rule[:n] = np.maximum(rule[:n], like.rule[:n])
            slack[:n] = np.maximum(slack[:n], mu / rule[:n])
            limit = np.maximum(like.limit, mu)
        steps = []
        prices = self.base_price + limit @ self.eta
        for tail, price in zip(self.tails, prices, strict=True):
            step = Step.empty(tail.forest)
            mass = tail.forest.weight.sum()
            share = np.full(len(tail.forest.weight), min(0.9, 1.0 / mass if mass > 0 else 0.9))
            trees.start(tail.forest, tail.M @ v + tail.m, price, share, mu, step.state)
            steps.append(step)
        point = Point(v, mu / v[body.bounded], slack, rule, limit, limit, np.zeros(len(body.f)), steps)
        point.bound = np.maximum(point.bound, self._slope(point)[body.bounded])
        least = mu / limit if like is not None else np.full(len(limit), 1e-2)
        point.room = np.maximum(self.amount - self.row_q @ v - self.eta @ self.risks(point), least)
        return point

    def _slope(self, point: Point) -> Floats:
        """Gradient of the Lagrangian without the bounds: their multipliers may well take what is positive of it."""
        body = self.body
        slope = body.q + body.P * point.v + body.G.T @ point.rule + self.row_q.T @ point.limit
        prices = self.base_price + point.limit @ self.eta
        for tail, step, price in zip(self.tails, point.steps, prices, strict=True):
            pull = np.zeros(len(tail.m))
            trees.gradient(tail.forest, step.state, pull)
            slope -= tail.M.T @ pull
            slope[tail.t] += price
        return slope

    def risks(self, point: Point) -> Floats:
        """`t_k + sum_s w_ks z_ks` at the auxiliary variables (an upper bound of the CVaR on the working set)."""
        return np.array(
            [
                point.v[tail.t] + tail.forest.weight @ step.state.root[:, S2]
                for tail, step in zip(self.tails, point.steps, strict=True)
            ]
        )


@dataclass(eq=False)
class _Aims:
    """What the products of slack and multiplier aim at: bounds, rules (scaled, a Jordan product), limits."""

    bound: Floats
    rule: Floats
    room: Floats


@dataclass(frozen=True, eq=False)
class _Move:
    """A direction, and how far one may go along it with the slacks (`primal`) and the multipliers (`dual`)."""

    v: Floats
    bound: Floats
    slack: Floats
    rule: Floats
    room: Floats
    limit: Floats
    equal: Floats
    primal: float
    dual: float


class _System:
    """Newton's equations at a point: factored once, solved for the predictor and the corrector."""

    def __init__(self, method: InteriorPoint, point: Point) -> None:
        self.method, self.point = method, point
        body = method.body
        self.prices = method.base_price + point.limit @ method.eta
        self.scaling = Scaling(body.cone, point.slack, point.rule)
        n, m, e = len(body.q), len(method.rows), len(body.f)
        self.matrix = np.zeros((n + m + e, n + m + e))
        self.bends = np.zeros((len(method.tails), n))
        self.gives = np.zeros(len(method.tails))
        self._assemble(n, m)
        self._measure()

    def _assemble(self, n: int, m: int) -> None:
        """`[H B' E'; B -C 0; E 0 0]`, quasi-definite."""
        method, body, point = self.method, self.method.body, self.point
        H = np.zeros((n, n))
        for k, (tail, step) in enumerate(zip(method.tails, point.steps, strict=True)):
            curve, bend, self.gives[k] = _curvature(tail.forest, step)
            H += tail.M.T @ curve @ tail.M
            self.bends[k] = tail.M.T @ bend
        scaled = self.scaling.over(body.G)
        H += scaled.T @ scaled
        H[np.arange(n), np.arange(n)] += body.P
        H[body.bounded, body.bounded] += point.bound / point.v[body.bounded]
        B = method.row_q.copy()
        for k, tail in enumerate(method.tails):
            B -= np.outer(method.eta[:, k], self.bends[k])
            B[:, tail.t] += method.eta[:, k]
        C = np.diag(point.room / point.limit) + (method.eta * self.gives) @ method.eta.T
        self.matrix[:n, :n] = H
        self.matrix[n : n + m, :n], self.matrix[:n, n : n + m] = B, B.T
        self.matrix[n : n + m, n : n + m] = -C
        self.matrix[n + m :, :n], self.matrix[:n, n + m :] = body.E, body.E.T
        self.diagonal = np.sqrt(np.maximum(np.abs(np.diag(self.matrix)), 1e-200))
        self.diagonal[n + m :] = 1.0
        scaled_matrix = self.matrix / np.outer(self.diagonal, self.diagonal)
        # Redundant rules make it singular in exact arithmetic; the refinement of every solution takes this back.
        scaled_matrix[np.diag_indices(n + m + len(body.f))] += np.where(np.arange(n + m + len(body.f)) < n, TINY, -TINY)
        self.lu = la.lu_factor(scaled_matrix, check_finite=True)

    def _measure(self) -> None:
        """Residuals, complementarity, primal and dual value."""
        method, body, point = self.method, self.method.body, self.point
        risks = method.risks(point)
        complementarity = point.bound @ point.v[body.bounded] + point.slack @ point.rule + point.room @ point.limit
        constant: float = body.constant
        slope = (
            body.q + body.P * point.v + body.G.T @ point.rule + body.E.T @ point.equal + method.row_q.T @ point.limit
        )
        slope[body.bounded] -= point.bound
        for tail, step, price in zip(method.tails, point.steps, self.prices, strict=True):
            pull = np.zeros(len(tail.m))
            constant += trees.gradient(tail.forest, step.state, pull) - float(pull @ tail.m)
            complementarity += _complementarity(tail.forest, step)
            slope -= tail.M.T @ pull
            slope[tail.t] += price
        self.mu = float(complementarity) / method.pairs
        self.r_dual = slope
        self.r_rule = body.G @ point.v + point.slack - body.h
        self.r_equal = body.E @ point.v - body.f
        self.r_limit = method.row_q @ point.v + method.eta @ risks + point.room - method.amount
        quadratic = point.v @ (body.P * point.v)
        point.value = float(body.constant + body.q @ point.v + method.base_price @ risks + 0.5 * quadratic)
        point.dual = float(
            constant - body.h @ point.rule - body.f @ point.equal - method.amount @ point.limit - 0.5 * quadratic
        )
        parts = [self.r_dual / (1 + np.abs(body.q)), self.r_rule, self.r_equal, self.r_limit]
        size = 1.0 + float(np.abs(point.v).max())
        self.residual = max(float(np.abs(part).max(initial=0.0)) for part in parts) / size

    def advance(self) -> None:
        """Predictor, corrector, step."""
        body, point = self.method.body, self.point
        aims = _Aims(np.zeros(len(body.bounded)), np.zeros(body.cone.size), np.zeros(len(self.method.rows)))
        for step in point.steps:
            for kinks in step.aims:
                kinks[:] = 0.0
        affine = self._direction(aims)
        primal, dual = min(1.0, affine.primal), min(1.0, affine.dual)
        kept = max(self._mu_after(affine, primal, dual), 0.0) / self.mu
        target = float(min(kept**3, 1.0)) * self.mu
        aims = _Aims(
            target - affine.v[body.bounded] * affine.bound,
            target * body.cone.identity
            - body.cone.product(self.scaling.over(affine.slack), self.scaling.times(affine.rule)),
            target - affine.room * affine.limit,
        )
        for step in point.steps:
            for kinks, moves in zip(step.aims, step.moves, strict=True):
                trees.aim(kinks, moves, target)
        self._take(self._direction(aims))

    def _take(self, move: _Move) -> None:
        primal, dual = (min(1.0, TO_THE_EDGE * limit) for limit in (move.primal, move.dual))
        if self.method.body.P.any():
            primal = dual = min(primal, dual)
        point = self.point
        point.v += primal * move.v
        point.slack += primal * move.slack
        point.room += primal * move.room
        point.bound += dual * move.bound
        point.rule += dual * move.rule
        point.limit += dual * move.limit
        point.equal += dual * move.equal
        lengths = np.array([primal, primal, dual, dual])
        for step in point.steps:
            for state, moves in zip(step.state, step.moves, strict=True):
                state += lengths * moves

    def _direction(self, aims: _Aims) -> _Move:
        """Newton's direction towards the aims."""
        method, body, point = self.method, self.method.body, self.point
        n, m = len(body.q), len(method.rows)
        v_bounded = point.v[body.bounded]
        to_bound = aims.bound / v_bounded - point.bound
        lam = self.scaling.lam
        to_cone = body.cone.divide(lam, aims.rule - body.cone.product(lam, lam))
        to_room = aims.room / point.limit - point.room
        rhs = np.zeros(len(self.matrix))
        rhs[:n] = -self.r_dual - body.G.T @ self.scaling.over(self.scaling.over(self.r_rule) + to_cone)
        rhs[:n][body.bounded] += to_bound
        leaks = np.zeros(len(method.tails))
        for k, (tail, step) in enumerate(zip(method.tails, point.steps, strict=True)):
            push = np.zeros(len(tail.m))
            leaks[k] = trees.forward(tail.forest, self.prices[k], step.state, step.factors, step.aims, push)
            rhs[:n] += tail.M.T @ push
        rhs[n : n + m] = -self.r_limit - method.eta @ leaks - to_room
        rhs[n + m :] = -self.r_equal
        solution = self._solve(rhs)
        dv, limit, equal = solution[:n], solution[n : n + m], solution[n + m :]
        bound = to_bound - point.bound / v_bounded * dv[body.bounded]
        slack = -self.r_rule - body.G @ dv
        rule = self.scaling.over(to_cone - self.scaling.over(slack))
        room = to_room - point.room / point.limit * limit
        primal = min(
            _ratio(v_bounded, dv[body.bounded]), _ratio(point.room, room), body.cone.longest_step(point.slack, slack)
        )
        dual = min(_ratio(point.bound, bound), _ratio(point.limit, limit), body.cone.longest_step(point.rule, rule))
        d_prices = limit @ method.eta
        for k, (tail, step) in enumerate(zip(method.tails, point.steps, strict=True)):
            reach = trees.backward(
                tail.forest,
                tail.M @ dv,
                d_prices[k],
                step.state,
                step.factors,
                step.aims,
                step.moves,
            )
            primal, dual = min(primal, reach[0]), min(dual, reach[1])
        return _Move(dv, bound, slack, rule, room, limit, equal, primal, dual)

    def _solve(self, rhs: Floats) -> Floats:
        """With two rounds of iterative refinement."""
        solution = np.zeros_like(rhs)
        residual = rhs
        for _ in range(3):
            solution = solution + la.lu_solve(self.lu, residual / self.diagonal, check_finite=True) / self.diagonal
            residual = rhs - self.matrix @ solution
        return solution

    def _mu_after(self, move: _Move, primal: float, dual: float) -> float:
        point, body = self.point, self.method.body
        total = (point.v[body.bounded] + primal * move.v[body.bounded]) @ (point.bound + dual * move.bound)
        total += (point.slack + primal * move.slack) @ (point.rule + dual * move.rule)
        total += (point.room + primal * move.room) @ (point.limit + dual * move.limit)
        for tail, step in zip(self.method.tails, point.steps, strict=True):
            total += _complementarity(tail.forest, step, primal, dual)
        return float(total) / self.method.pairs


def _curvature(forest: Forest, step: Step) -> tuple[Floats, Floats, float]:
    n = forest.n_coordinates
    H, bend = np.zeros((n, n)), np.zeros(n)
    lines = len(forest.weight) + (len(forest.segment) if forest.group_kinks else 0)
    dense = len(forest.cell) > DENSE_FROM * n * max(len(forest.weight), 1)
    rows = np.zeros((lines, n)) if dense else np.zeros((0, n))
    give = trees.factor(forest, step.state, step.factors, H, rows, dense, bend)
    if dense:
        H += rows.T @ rows
    return H, bend, float(give)


def _complementarity(forest: Forest, step: Step, primal: float = 0.0, dual: float = 0.0) -> float:
    """`sum slack * multiplier` over the kinks, after a step along the moves."""
    lengths = np.array([primal, primal, dual, dual])
    total = 0.0
    for state, move in step.used(forest):
        there = state + lengths * move if primal or dual else state
        total += float(np.einsum("ij,ij->", there[:, :2], there[:, 2:]))
    return total


def _ratio(x: Floats, dx: Floats) -> float:
    falling = dx < 0
    return float(np.min(-x[falling] / dx[falling], initial=np.inf))
