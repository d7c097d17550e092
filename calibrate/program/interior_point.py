"""A primal-dual interior-point method for the program on a working set of scenarios: where it starts, and its steps."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from calibrate.program.forest import Y1, Step
from calibrate.program.newton import DIVERGED, STALLED, TO_THE_EDGE, UNDER_WAY, Newton
from calibrate.program.standard_form import Point, StandardForm
from calibrate.program.trees import Trees

__all__ = ["STEP_LIMIT", "InteriorPoint"]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

MOST_STEPS, STEP_LIMIT = 400, "step limit"
ON_THE_WAY = 1e-3  # complementarity, relative to the objective, at which a copy is kept
INSIDE, INSIDE_LIKE = 1e-4, 1e-7  # of the plan: how far from its bounds it starts, the second near a point like it
LEAST_PLAN = 1.0  # entries of `v`: a plan of nearly nothing starts as far inside as one that pays for the tail
HELD_UP = 0.9  # of its weight: as much as the multiplier of a root starts with


class InteriorPoint:
    """The method on one program. `solve` returns the point reached, with what it claims."""

    def __init__(self, form: StandardForm, most: int = MOST_STEPS) -> None:
        self.form, self.most = form, most

    def solve(self, v: Floats, tolerance: float, mu: float, like: Point | None = None) -> Point:
        """From a plan `v` (pushed inside the bounds) and a complementarity `mu`, to a relative gap `tolerance`.

        `like`: a point of a similar program, whose multipliers of rules, equalities and limits are a good guess.
        """
        return self.follow(self._start(v, mu, like), tolerance)

    def follow(self, point: Point, tolerance: float) -> Point:
        """From a point of this program, or of one that differs little and has the same trees.

        Where rounding keeps a bound from becoming as exact as it is asked, the point with the best one is returned.
        """
        best, least = point, np.inf
        with np.errstate(all="ignore"):  # a program without a plan drives the numbers to infinity; that is read below
            newton = Newton(self.form, point)
            for point.iterations in range(self.most):
                point.status = newton.state(tolerance)
                if point.status == UNDER_WAY and newton.misses < least:
                    best, least = point.copy(), newton.misses
                if point.status == UNDER_WAY:
                    point.status = newton.step()
                if point.status != UNDER_WAY:
                    break
                if point.on_the_way is None and newton.mu * self.form.pairs < ON_THE_WAY * abs(point.value):
                    point.on_the_way = replace(point.copy(), mu=newton.mu)
            else:
                point.status = STEP_LIMIT
        spoilt = point.status == DIVERGED or (point.status == STALLED and newton.misses > least)
        if spoilt and least < np.inf:
            best.status, best.iterations, best.on_the_way = STALLED, point.iterations, point.on_the_way
            point = best
        logger.debug("interior point: %s after %d steps, %g", point.status, point.iterations, point.value)
        return point

    def fits(self, point: Point) -> bool:
        """Whether a point has the trees and the bounds of this program."""
        bounds = len(self.form.body.bounds[0]) + len(self.form.rows)
        return point.has_trees(self.form.tails) and len(point.slack) == bounds

    def _start(self, v: Floats, mu: float, like: Point | None) -> Point:
        """A point inside all bounds, near the central path where a plan and the multipliers of `like` allow it."""
        form, body, v = self.form, self.form.body, v.copy()
        size = max(float(np.abs(v).max()), LEAST_PLAN)
        margin = (INSIDE if like is None else INSIDE_LIKE) * size
        top = TO_THE_EDGE * body.cap if len(body.cap) else np.full(len(v), np.inf)
        v[body.bounded] = np.maximum(v[body.bounded], margin)
        v = np.minimum(v, top)
        slack, rule, limit = self._rules(v, mu, margin, like)
        prices = form.base_price + limit @ form.eta
        steps = self._planted(prices)
        equal = np.zeros(len(body.f)) if like is None or len(like.equal) != len(body.f) else like.equal.copy()
        rest = body.q + body.P * v + body.G.T @ rule + body.E.T @ equal + form.row_q.T @ limit
        slope = rest + self._hung(v, prices, steps, mu)[0]
        # What costs more than it helps goes to zero: it starts as near to it as `mu` wants, not where it was pushed to.
        low = body.bounded[v[body.bounded] <= margin]
        idle, wanted = low[slope[low] > 0], low[slope[low] < 0]
        v[idle] = np.minimum(mu / slope[idle], margin)
        # What helps more than it costs is not held down by a multiplier that is far too large.
        v[wanted] = np.minimum(np.clip(mu / -slope[wanted], margin, INSIDE * size), top[wanted])
        pull, risks = self._hung(v, prices, steps, mu)
        slope = rest + pull
        at, signs, ends = body.bounds
        distance = signs * (v[at] - ends)
        # The multipliers of the bounds may well take what is positive of the gradient.
        bound = np.maximum(mu / distance, signs * slope[at])
        least = mu / limit if like is not None else np.full(len(limit), 1e-2)
        room = np.maximum(form.amount - form.row_q @ v - form.eta @ risks, least)
        flat = np.append(distance, room), np.append(bound, limit)
        return Point(v, *flat, slack, rule, equal, len(limit), steps)

    def _rules(self, v: Floats, mu: float, margin: float, like: Point | None) -> tuple[Floats, Floats, Floats]:
        """Slacks and multipliers of the rules, and multipliers of the limits."""
        body = self.form.body
        slack = body.cone.inside(body.h - body.G @ v, max(10 * margin, 1e-9))
        rule = mu * body.cone.divide(slack, body.cone.identity)
        limit = np.full(len(self.form.rows), 1.0)
        if like is not None and len(like.limit) == len(limit):
            n = body.cone.orthant
            rule[:n] = np.maximum(rule[:n], like.rule[:n])
            slack[:n] = np.maximum(slack[:n], mu / rule[:n])
            limit = np.maximum(like.limit, mu)
        return slack, rule, limit

    def _planted(self, prices: Floats) -> list[Step]:
        """Trees whose roots have multipliers that leave about the mass that is in the tail."""
        steps = [Step.empty(tail.forest) for tail in self.form.tails]
        for tail, price, step in zip(self.form.tails, prices, steps, strict=True):
            forest = tail.forest
            mass, left = float(forest.weight @ forest.hung), 1.0 - tail.grove.mass
            share = min(HELD_UP, max(left, 0.1) / mass if mass > 0 else HELD_UP)
            step.state.root[:, Y1] = price * forest.weight * np.where(forest.hung > 0, share, 0.5)
        return steps

    def _hung(self, v: Floats, prices: Floats, steps: list[Step], mu: float) -> tuple[Floats, Floats]:
        """All trees near the central path at a plan; the slope of the risk terms there, and the risks."""
        slope, risks = np.zeros(len(v)), np.zeros(len(prices))
        for k, (tail, price, step) in enumerate(zip(self.form.tails, prices, steps, strict=True)):
            trees = Trees(tail.forest, step)
            trees.centre(tail.along(v) + tail.m, float(price), mu)
            pull, sums = trees.advance(0.0, 0.0)
            slope -= tail.back(pull)
            slope += price * tail.slope
            risks[k] = tail.slope @ v + tail.constant + sums[2]
        return slope, risks
