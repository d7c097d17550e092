"""Newton's equations of a program in standard form, between its slacks and multipliers.

Predictor and corrector after Mehrotra (1992), Nesterov-Todd scaling for the rules. The second-order term is what the
predictor would do in a full step; where that is blocked it misleads, and is weighted by how far the predictor gets
(Colombo and Gondzio 2008). The forests are eliminated (see `elimination`), so every step solves one dense system as
large as the plan.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from calibrate.program import dense
from calibrate.program.cones import SecondOrder
from calibrate.program.dense import Aims, Factored, Place, Residuals
from calibrate.program.standard_form import Point, StandardForm
from calibrate.program.trees import Trees

__all__ = ["AT_A_CAP", "DIVERGED", "FEASIBLE", "OPTIMAL", "STALLED", "TO_THE_EDGE", "UNDER_WAY", "Newton"]

Floats = npt.NDArray[np.float64]

FEASIBLE = 1e-9  # residual, relative to the size of the plan
NEARLY = 1e-6  # residual at which it shows whether the neighbourhood holds the plan
INFINITE = 1e12  # units: no plan of this size is meant
TINY = 1e-14  # regularisation, relative to the diagonal
TO_THE_EDGE = 0.995
WATCHED = 1e3  # times the gap that is asked for: from there it shows how good the bound is
LAST_DIGITS = 1e-7  # relative gap from which it is watched too: where more is asked, rounding may allow no more
LEAST_SHORT = 1e-8  # relative: as little as dual residuals need cost a bound
TRUST = 2.0  # second-order term: times the length of the predictor's step
BINDING, FULL = 2.0, 0.97  # times the gap: above it caps bind, and are not just near; of a cap: as good as reached
UNDER_WAY, AT_A_CAP = "under way", "held by its neighbourhood"
OPTIMAL, STALLED, DIVERGED = "optimal", "stalled", "diverged"


class Newton:
    """Newton's equations at a point, which it moves: measured, factored once, solved for predictor and corrector."""

    def __init__(self, form: StandardForm, point: Point) -> None:
        self.form, self.point, self.body, self.given = form, point, form.body, form.conditions
        self.trees = [Trees(tail.forest, step) for tail, step in zip(form.tails, point.steps, strict=True)]
        self.n, self.m, self.e = len(self.body.q), len(form.rows), len(self.body.f)
        self.n_bounds = len(self.given.at)
        parts = point.v, point.slack, point.multiplier, point.rule_slack, point.rule, point.equal
        self.place = Place(*parts)
        self.moves = self.place.still()
        self.residuals = Residuals(*(np.zeros(k) for k in (self.n, len(point.rule), self.e, self.m)))
        self.aims = Aims(np.zeros(len(point.slack)), np.zeros(len(point.rule)))
        self.misses = np.inf  # how far a bound near the end lies below the value; infinite elsewhere
        self.cones = SecondOrder(self.body.cone, self.body.G, self.place, self.moves)
        self._measure(0.0, 0.0)

    def state(self, tolerance: float) -> str:
        """Whether the point is good enough, or no further one is to be had."""
        point, self.misses = self.point, np.inf
        exact, gap = tolerance * abs(point.value) + 1e-13, abs(point.value - point.dual)
        enough = max(exact, LEAST_SHORT * abs(point.value))
        if point.residual <= FEASIBLE and gap <= max(WATCHED * exact, LAST_DIGITS * abs(point.value)):
            short = self.body.short(self._without_bounds(), point.v, point.value)
            if gap <= exact and short <= enough:
                return OPTIMAL
            self.misses = gap + short
        if point.residual <= NEARLY and gap <= exact and self._held_by_caps() > BINDING * enough:
            return AT_A_CAP  # the optimum lies elsewhere: no more digits of this one
        if not (np.isfinite(point.value) and self.mu >= 0) or float(np.abs(point.v).max()) > INFINITE:
            return DIVERGED
        if self.mu < 1e-16 * (1.0 + abs(point.value)) / self.form.pairs:
            return STALLED
        return UNDER_WAY

    def step(self) -> str:
        """One step, unless there is none."""
        if not self._factor():
            return DIVERGED
        self._advance()
        return UNDER_WAY

    def _measure(self, primal: float, dual: float) -> None:
        """Residuals, complementarity, primal and dual value, after the trees have gone along their moves."""
        form, body, point = self.form, self.body, self.point
        self.prices = form.base_price + point.limit @ form.eta
        slope, constant, products = np.zeros(self.n), body.constant, 0.0
        risks = np.zeros(len(self.trees))
        self.swept = [
            trees.sweep(primal, dual, float(price)) for trees, price in zip(self.trees, self.prices, strict=True)
        ]
        for k, (tail, swept) in enumerate(zip(form.tails, self.swept, strict=True)):
            constant += swept.sums[0] - float(swept.pull @ tail.m) + self.prices[k] * tail.constant
            products += swept.sums[1]
            risks[k] = tail.slope @ point.v + tail.constant + swept.sums[2]
            slope += self.prices[k] * tail.slope - tail.back(swept.pull)
        self.residuals.dual[:] = slope
        flat, bound, worst = dense.measure(self.given, self.place, risks, self.residuals)
        self.mu = float(products + flat) / form.pairs
        half = 0.5 * float(point.v @ (body.P * point.v))
        point.value = float(body.constant + body.q @ point.v + form.base_price @ risks + half)
        point.dual = float(constant + bound - half)
        point.residual = worst / (1.0 + float(np.abs(point.v).max()))

    def _held_by_caps(self) -> float:
        """What the caps that bind cost the objective, to first order."""
        caps, point = slice(len(self.body.bounded), self.n_bounds), self.point
        ends = self.given.ends[caps]
        return float(point.multiplier[caps] @ np.where(point.slack[caps] <= (1 - FULL) * ends, ends, 0.0))

    def _without_bounds(self) -> Floats:
        """The slope of the Lagrangian without what the bounds pull."""
        pulls = self.given.signs * self.point.multiplier[: self.n_bounds]
        return self.residuals.dual + np.bincount(self.given.at, pulls, self.n)

    def system(self) -> Floats:
        """`[H B' E'; B -C 0; E 0 0]`, quasi-definite, in plan, limits and equalities."""
        form, n, m = self.form, self.n, self.m
        H = self.cones.curvature()
        dense.curve(self.given, self.place, H)
        bends, gives = np.zeros((len(self.trees), n)), np.zeros(len(self.trees))
        for k, (tail, swept) in enumerate(zip(form.tails, self.swept, strict=True)):
            tail.curve(swept.half, H)
            bends[k], gives[k] = tail.back(swept.bend), swept.root[0]
        if not m + self.e:
            return H
        matrix = np.zeros((n + m + self.e,) * 2)
        matrix[:n, :n] = H
        B = form.row_q - form.eta @ bends
        for k, tail in enumerate(form.tails):
            B += np.multiply.outer(form.eta[:, k], tail.slope)
        C = np.diag(self.point.slack[self.n_bounds :] / self.point.limit) + (form.eta * gives) @ form.eta.T
        matrix[n : n + m, :n], matrix[:n, n : n + m] = B, B.T
        matrix[n : n + m, n : n + m] = -C
        matrix[n + m :, :n], matrix[:n, n + m :] = self.body.E, self.body.E.T
        return matrix

    def _factor(self) -> bool:
        """The factors of the system; says whether it has any."""
        matrix = self.system()
        # Redundant rules make it singular in exact arithmetic; the refinement of every solution takes the ridge back.
        balanced, scale = dense.balanced(matrix, self.n, self.m, TINY)
        if not np.isfinite(balanced.sum()):
            return False
        factors, pivots, failed = lapack.dgetrf(balanced.T, overwrite_a=True)
        self.factored = Factored(matrix, factors.T, pivots, scale)
        return not failed

    def _advance(self) -> None:
        """Predictor, corrector, step."""
        reach = self._direction(0.0, 0.0, [(swept.push, swept.root[1]) for swept in self.swept])
        primal, dual = _lengths(reach, 1.0)
        kept = (self.mu + (primal * reach[2] + dual * reach[3] + primal * dual * reach[4]) / self.form.pairs) / self.mu
        target = float(min(max(kept, 0.0), 1.0) ** 3) * self.mu
        second = float(min(1.0, TRUST * min(primal, dual)))
        pushes = [trees.forward(price, target, second) for trees, price in zip(self.trees, self.prices, strict=True)]
        reach = self._direction(target, second, pushes)
        primal, dual = _lengths(reach, TO_THE_EDGE)
        dense.go(self.place, self.moves, primal, dual)
        self._measure(primal, dual)

    def _direction(self, target: float, second: float, pushes: list[tuple[Floats, float]]) -> Floats:
        """Newton's direction towards products of slack and multiplier of `target`, with second order by the last one.

        `pushes` and leaks of the trees towards them.
        Returns the largest relative falls of slacks and of multipliers, and the changes of the sum of the products:
        `p` times the third, `d` times the fourth, `p d` times the fifth for steps of `p` and `d`.
        """
        form, n, m = self.form, self.n, self.m
        rhs, reach = np.zeros(n + m + self.e), np.zeros(5)
        self.cones.aim(target, second, self.residuals.rule, rhs)
        for k, (tail, (pushed, leak)) in enumerate(zip(form.tails, pushes, strict=True)):
            rhs[:n] += tail.back(pushed)
            rhs[n : n + m] -= form.eta[:, k] * leak
        place, moves, aim = self.place, self.moves, (target, second)
        solution = dense.direct(self.given, place, self.residuals, moves, aim, self.aims, self.factored, rhs, reach)
        self.cones.move(reach)
        d_prices = solution[n : n + m] @ form.eta
        for k, (tail, trees) in enumerate(zip(form.tails, self.trees, strict=True)):
            part = trees.backward(tail.along(self.moves.v), d_prices[k])
            reach[:2] = np.maximum(reach[:2], part[:2])
            reach[2:] += part[2:]
        return reach


def _lengths(reach: Floats, edge: float) -> tuple[float, float]:
    """How far one may go with slacks and multipliers, at most the whole way."""
    primal, dual = (min(1.0, edge / float(far)) if far > 0 else 1.0 for far in reach[:2])
    return primal, dual
