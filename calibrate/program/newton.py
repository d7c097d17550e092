"""Newton's equations of a program in standard form, between its slacks and multipliers.

Predictor and corrector after Mehrotra (1992), Nesterov-Todd scaling for the rules. The second-order term is what the
predictor would do in a full step; where that is blocked it misleads, and is weighted by how far the predictor gets
(Colombo and Gondzio 2008). The forests are eliminated (see `elimination`), so every step solves one dense system as
large as the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from calibrate.program.cones import Scaling
from calibrate.program.standard_form import Point, StandardForm
from calibrate.program.trees import Trees

__all__ = ["AT_A_CAP", "FEASIBLE", "TO_THE_EDGE", "UNDER_WAY", "Newton"]

Floats = npt.NDArray[np.float64]

FEASIBLE = 1e-9  # residual, relative to the size of the plan
NEARLY = 1e-6  # residual at which it shows whether the neighbourhood holds the plan
INFINITE = 1e12  # units: no plan of this size is meant
TINY = 1e-14  # regularisation, relative to the diagonal
TO_THE_EDGE = 0.995
LEAST_SHORT = 1e-8  # relative: as little as dual residuals need cost a bound
TRUST = 2.0  # second-order term: times the length of the predictor's step
BINDING, FULL = 2.0, 0.97  # times the gap: above it caps bind, and are not just near; of a cap: as good as reached
UNDER_WAY, AT_A_CAP = "under way", "held by its neighbourhood"


@dataclass(frozen=True, eq=False)
class Move:
    """A direction, and how far one may go along it with the slacks (`primal`) and the multipliers (`dual`)."""

    v: Floats
    slack: Floats
    multiplier: Floats
    rule_slack: Floats
    rule: Floats
    equal: Floats
    primal: float
    dual: float
    bends: Floats  # change of the trees' complementarity: `p` times the first, `d` the second, `p d` the third


class Newton:
    """Newton's equations at a point, which it moves: measured, factored once, solved for predictor and corrector."""

    def __init__(self, form: StandardForm, point: Point) -> None:
        self.form, self.point, self.body = form, point, form.body
        self.trees = [Trees(tail.forest, step) for tail, step in zip(form.tails, point.steps, strict=True)]
        self.n, self.m, self.e = len(self.body.q), len(form.rows), len(self.body.f)
        self.at, self.signs, self.ends = self.body.bounds
        self.n_bounds = len(self.at)
        self.ridge = np.where(np.arange(self.n + self.m + self.e) < self.n, TINY, -TINY)
        self._measure(0.0, 0.0)

    def step(self, tolerance: float) -> str:
        """One step, unless the point is good enough or no step is possible; says which."""
        point = self.point
        if point.residual <= NEARLY and abs(point.value - point.dual) <= tolerance * abs(point.value) + 1e-13:
            enough = max(tolerance, LEAST_SHORT) * abs(point.value) + 1e-13
            slope = self.r_dual + self._bound_pull(point.multiplier[: self.n_bounds])
            if point.residual <= FEASIBLE and self.body.short(slope, point.v, point.value) <= enough:
                return "optimal"
            if self._held_by_caps() > BINDING * enough:  # the optimum lies elsewhere: no more digits of this one
                return AT_A_CAP
        if not (np.isfinite(point.value) and self.mu >= 0) or float(np.abs(point.v).max()) > INFINITE:
            return "diverged"
        if self.mu < 1e-16 * (1.0 + abs(point.value)) / self.form.pairs:
            return "stalled"
        if not self._factor():
            return "diverged"
        self._advance()
        return UNDER_WAY

    def _measure(self, primal: float, dual: float) -> None:
        """Residuals, complementarity, primal and dual value, after the trees have gone along their moves."""
        form, body, point = self.form, self.body, self.point
        self.prices = form.base_price + point.limit @ form.eta
        complementarity = point.slack @ point.multiplier + point.rule_slack @ point.rule
        slope = body.q + body.P * point.v + body.G.T @ point.rule
        if self.e:
            slope += body.E.T @ point.equal
        if self.m:
            slope += form.row_q.T @ point.limit
        bound = point.multiplier[: self.n_bounds]
        slope -= self._bound_pull(bound)
        constant, risks = body.constant + float(self.signs * self.ends @ bound), np.zeros(len(self.trees))
        for k, (tail, trees) in enumerate(zip(form.tails, self.trees, strict=True)):
            pull, sums = trees.advance(primal, dual)
            constant += sums[0] - float(pull @ tail.m) + self.prices[k] * tail.constant
            complementarity += sums[1]
            risks[k] = tail.slope @ point.v + tail.constant + sums[2]
            slope += self.prices[k] * tail.slope - tail.M.T @ pull
        self.mu = float(complementarity) / form.pairs
        self.r_dual = slope
        self.r_rule = body.G @ point.v + point.rule_slack - body.h
        self.r_equal = body.E @ point.v - body.f
        self.r_limit = form.row_q @ point.v + form.eta @ risks + point.slack[self.n_bounds :] - form.amount
        quadratic = point.v @ (body.P * point.v)
        point.value = float(body.constant + body.q @ point.v + form.base_price @ risks + 0.5 * quadratic)
        dual_value = constant - body.h @ point.rule - body.f @ point.equal - form.amount @ point.limit
        point.dual = float(dual_value - 0.5 * quadratic)
        parts = (slope / (1 + np.abs(body.q)), self.r_rule, self.r_equal, self.r_limit)
        worst = max(float(np.abs(part).max()) for part in parts if part.size)
        point.residual = worst / (1.0 + float(np.abs(point.v).max()))

    def _held_by_caps(self) -> float:
        """What the caps that bind cost the objective, to first order."""
        caps, point = slice(len(self.body.bounded), self.n_bounds), self.point
        ends = self.ends[caps]
        return float(point.multiplier[caps] @ np.where(point.slack[caps] <= (1 - FULL) * ends, ends, 0.0))

    def _bound_pull(self, multipliers: Floats) -> Floats:
        """What multipliers of the bounds pull on the entries of `v`."""
        return np.bincount(self.at, self.signs * multipliers, self.n).astype(float)

    def _factor(self) -> bool:
        """`[H B' E'; B -C 0; E 0 0]`, quasi-definite; says whether it has a factor."""
        form, body, point, n, m = self.form, self.body, self.point, self.n, self.m
        self.scaling = Scaling(body.cone, point.rule_slack, point.rule)
        scaled = self.scaling.over(body.G)
        H = scaled.T @ scaled
        bends, gives = np.zeros((len(self.trees), n)), np.zeros(len(self.trees))
        for k, (tail, trees) in enumerate(zip(form.tails, self.trees, strict=True)):
            curve, bend, gives[k] = trees.factor()
            tail.curve(curve, H)
            bends[k] = bend @ tail.M
        diagonal = H.ravel()[:: n + 1]
        diagonal += body.P
        np.add.at(diagonal, self.at, point.multiplier[: self.n_bounds] / point.slack[: self.n_bounds])
        self.matrix = H
        if m + self.e:
            self.matrix = np.zeros((n + m + self.e,) * 2)
            self.matrix[:n, :n] = H
            B = form.row_q - form.eta @ bends
            for k, tail in enumerate(form.tails):
                B += np.multiply.outer(form.eta[:, k], tail.slope)
            C = np.diag(point.slack[self.n_bounds :] / point.limit) + (form.eta * gives) @ form.eta.T
            self.matrix[n : n + m, :n], self.matrix[:n, n : n + m] = B, B.T
            self.matrix[n : n + m, n : n + m] = -C
            self.matrix[n + m :, :n], self.matrix[:n, n + m :] = body.E, body.E.T
        self.diagonal = np.sqrt(np.maximum(np.abs(self.matrix.ravel()[:: len(self.matrix) + 1]), 1e-200))
        self.diagonal[n + m :] = 1.0
        inverse = 1.0 / self.diagonal
        scaled_matrix = self.matrix * inverse
        scaled_matrix *= inverse[:, None]
        # Redundant rules make it singular in exact arithmetic; the refinement of every solution takes this back.
        scaled_matrix.ravel()[:: len(self.matrix) + 1] += self.ridge
        if not np.isfinite(scaled_matrix.sum()):
            return False
        self.lu, self.pivots, failed = lapack.dgetrf(scaled_matrix.T, overwrite_a=True)
        return not failed

    def _advance(self) -> None:
        """Predictor, corrector, step."""
        point = self.point
        affine = self._direction(0.0, None)
        primal, dual = min(1.0, affine.primal), min(1.0, affine.dual)
        kept = max(self._mu_after(affine, primal, dual), 0.0) / self.mu
        target = float(min(kept, 1.0) ** 3) * self.mu
        move = self._direction(target, affine, float(min(1.0, TRUST * min(primal, dual))))
        primal, dual = (min(1.0, TO_THE_EDGE * limit) for limit in (move.primal, move.dual))
        point.v += primal * move.v
        point.slack += primal * move.slack
        point.rule_slack += primal * move.rule_slack
        point.multiplier += dual * move.multiplier
        point.rule += dual * move.rule
        point.equal += dual * move.equal
        self._measure(primal, dual)

    def _direction(self, target: float, affine: Move | None, second: float = 0.0) -> Move:
        """Newton's direction towards products of slack and multiplier of `target`, second order by the `affine` one."""
        form, body, point, n, m = self.form, self.body, self.point, self.n, self.m
        scaling, cone, n_bounds = self.scaling, body.cone, self.n_bounds
        aim = target - point.slack * point.multiplier
        rule_aim = target * cone.identity - cone.product(scaling.lam, scaling.lam)
        if affine is not None:
            aim -= second * affine.slack * affine.multiplier
            rule_aim -= second * cone.product(scaling.over(affine.rule_slack), scaling.times(affine.rule))
        push = aim / point.slack
        to_cone = cone.divide(scaling.lam, rule_aim)
        rhs = np.empty(n + m + self.e)
        rhs[:n] = -self.r_dual - body.G.T @ scaling.over(scaling.over(self.r_rule) + to_cone)
        rhs[:n] += self._bound_pull(push[:n_bounds])
        leaks = np.zeros(len(self.trees))
        for k, (tail, trees) in enumerate(zip(form.tails, self.trees, strict=True)):
            pushed, leaks[k] = trees.forward(self.prices[k], target, second)
            rhs[:n] += pushed @ tail.M
        if m:
            rhs[n : n + m] = -self.r_limit - form.eta @ leaks - aim[n_bounds:] / point.limit
        rhs[n + m :] = -self.r_equal
        solution = self._solve(rhs)
        dv, limit, equal = solution[:n], solution[n : n + m], solution[n + m :]
        multiplier = np.append(
            push[:n_bounds] - point.multiplier[:n_bounds] / point.slack[:n_bounds] * self.signs * dv[self.at], limit
        )
        slack = (aim - point.slack * multiplier) / point.multiplier
        rule_slack = -self.r_rule - body.G @ dv
        rule = scaling.over(to_cone - scaling.over(rule_slack))
        fall = max(cone.fall(point.rule_slack, rule_slack), -float((slack / point.slack).min(initial=0.0)))
        drop = max(cone.fall(point.rule, rule), -float((multiplier / point.multiplier).min(initial=0.0)))
        bends = np.zeros(3)
        d_prices = limit @ form.eta
        for k, (tail, trees) in enumerate(zip(form.tails, self.trees, strict=True)):
            reach = trees.backward(tail.M @ dv, d_prices[k])
            fall, drop = max(fall, reach[0]), max(drop, reach[1])
            bends += reach[2:]
        primal, dual = (1 / float(far) if far > 0 else np.inf for far in (fall, drop))
        return Move(dv, slack, multiplier, rule_slack, rule, equal, primal, dual, bends)

    def _solve(self, rhs: Floats) -> Floats:
        """With two rounds of iterative refinement."""
        solution = np.zeros_like(rhs)
        residual = rhs
        for _ in range(3):
            change, _ = lapack.dgetrs(self.lu, self.pivots, residual / self.diagonal)
            solution += change / self.diagonal
            residual = rhs - self.matrix @ solution
        return solution

    def _mu_after(self, move: Move, primal: float, dual: float) -> float:
        point, trees = self.point, move.bends
        total = (point.slack + primal * move.slack) @ (point.multiplier + dual * move.multiplier)
        total += (point.rule_slack + primal * move.rule_slack) @ (point.rule + dual * move.rule)
        before = self.mu * self.form.pairs - point.slack @ point.multiplier - point.rule_slack @ point.rule
        total += before + primal * trees[0] + dual * trees[1] + primal * dual * trees[2]
        return float(total) / self.form.pairs
