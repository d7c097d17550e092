"""Ties, decided by us and not by the solver: among optimal plans, the one closest to the stated reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from calibrate.program.extensive import reference_point, reference_weights
from calibrate.program.form import LITTLE, Attempt
from calibrate.program.graft import grafted
from calibrate.program.interior_point import STEP_LIMIT, InteriorPoint
from calibrate.program.level import Level
from calibrate.program.newton import AT_A_CAP, FEASIBLE
from calibrate.program.search import WARM, Bounds
from calibrate.program.standard_form import Point, StandardForm, Tail

__all__ = ["closest", "on_trees"]

Floats = npt.NDArray[np.float64]

TIE = 0.3  # of the tolerance: what the objective may give for a plan closer to the reference
EXACT = 1e-8  # of the tolerance
SMOOTH, ATOMS = 100.0, 300.0  # first price of the distance: times the one that is small enough for certain
MOST_PRICES = 10
MOST_STEPS, LOWER = 80, 0.1  # of one price; and where they do not do, the next one


def closest(level: Level, best: Bounds) -> Bounds:
    """Among plans within the tolerance, the closest to the reference: the distance gets a price in the objective.

    A small enough price picks exactly among optimal plans (Friedlander and Tseng 2007). The objective never gives
    more than the price of the distance gone, so that a price of `TIE` of the tolerance over the distance would be
    small enough for certain; a larger one is exact to more digits, and is lowered where the objective gives too
    much. Where losses lie on atoms the optimal plans are many, and more digits are worth more steps.
    """
    if best.tied:
        return best
    squares, target = _reference(level)
    far = float(squares @ (best.v - target) ** 2)
    left_over = max(1.0 - best.gap / level.tolerance, 0.0)  # the gap and what is given must not exceed the tolerance
    allowed = min(TIE, 0.9 * left_over) * level.tolerance * abs(best.upper)
    first = ATOMS if level.on_atoms else SMOOTH
    price = first * allowed / far if far > 0 else 0.0
    start, at = best.point, best.v
    for _ in range(MOST_PRICES):
        if start is None or price <= 0:
            break
        point = _pulled(level, at, price * squares, target, start)
        level.attempts.append(Attempt(f"tie at price {price:.1e}", f"{point.status} after {point.iterations} steps"))
        if point.status == STEP_LIMIT:  # a lower price is decided sooner
            price *= LOWER
            continue
        sight = level.look(point.v)
        before = level.tails
        if point.status == AT_A_CAP:  # closer plans lie outside: from now on they do not
            level.extend(point.v, sight)
            start = _moved(level, start, before)
            continue
        if point.status == "diverged" or point.residual > FEASIBLE:
            break
        closer = replace(best, v=point.v, upper=level.view.value(point.v, sight))
        gives = closer.upper - best.upper
        if gives <= allowed:
            return closer
        at = level.view.lift(point.v, sight)
        known = point.value - _pull(price * squares, target, point.v) - best.upper
        if level.extend(point.v, sight) == 0 or known > allowed:  # also where the working set knows that: too high
            price *= max(0.9 * min(float(np.sqrt(allowed / gives)), 0.1), 1 / first)
        start = _moved(level, start, before)
    return best


def on_trees(level: Level, start: Point) -> Point | None:
    """The same as far as what is planted tells, without a pass: from a point that is optimal there; None if undecided.

    Where the trees have the whole tail, the plan that is then seen over all scenarios is the last one.
    """
    squares, target = _reference(level)
    far = float(squares @ (start.v - target) ** 2)
    allowed = TIE * level.tolerance * abs(start.value)
    first = ATOMS if level.on_atoms else SMOOTH
    price = first * allowed / far if far > 0 else 0.0
    for _ in range(MOST_PRICES):
        if price <= 0:
            break
        point = _pulled(level, start.v, price * squares, target, start)
        level.attempts.append(Attempt(f"tie at price {price:.1e}", f"{point.status} after {point.iterations} steps"))
        if point.status == STEP_LIMIT:
            price *= LOWER
            continue
        if point.status in (AT_A_CAP, "diverged") or not point.residual <= FEASIBLE:
            break
        gives = point.value - _pull(price * squares, target, point.v) - start.value
        if gives <= allowed:
            return point
        price *= max(0.9 * min(float(np.sqrt(allowed / gives)), 0.1), 1 / first)
    return None


def _moved(level: Level, start: Point, before: list[Tail]) -> Point:
    """A start with the trees of the level, where it had those `before`."""
    way = start.on_the_way
    if way is None or not way.has_trees(before):
        return start
    return replace(start, on_the_way=grafted(way, before, level.tails, level.form.priced(way.limit)))


def _reference(level: Level) -> tuple[Floats, Floats]:
    """Squares of the weights of a distance from the reference, and the reference, for every entry of `v`."""
    n, form = level.program.size, level.form
    squares, target = np.zeros(form.size), np.zeros(form.size)
    squares[:n] = (reference_weights(level.program) * form.scale[:n]) ** 2
    target[:n] = form.entries(reference_point(level.program))
    return squares, target


def _pull(prices: Floats, target: Floats, v: Floats) -> float:
    """`prices @ (v - target)^2`, without its constant."""
    return float(prices @ (v * (v - 2 * target)))


def _pulled(level: Level, v: Floats, prices: Floats, target: Floats, like: Point) -> Point:
    """The program on the working set, with `prices @ (v - target)^2` in the objective."""
    body = level.body()
    body = replace(body, P=2 * prices, q=body.q - 2 * prices * target)  # see `_pull`
    method = InteriorPoint(StandardForm(body, level.tails, list(level.form.rows)), MOST_STEPS)
    exact = EXACT * level.tolerance
    if like.on_the_way is not None and method.fits(like.on_the_way):
        return method.follow(like.on_the_way.copy(), exact)
    return method.solve(v, exact, WARM * max(abs(like.value), LITTLE) / method.form.pairs, like)
