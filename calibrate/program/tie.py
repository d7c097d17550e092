"""Ties, decided by us and not by the solver: among optimal plans, the one closest to the stated reference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from calibrate.program.extensive import reference_point, reference_weights
from calibrate.program.face import nearest_on_face
from calibrate.program.form import LITTLE
from calibrate.program.graft import grafted
from calibrate.program.interior_point import STEP_LIMIT, InteriorPoint
from calibrate.program.level import Level
from calibrate.program.newton import AT_A_CAP, DIVERGED, FEASIBLE, STALLED
from calibrate.program.search import WARM, Bounds
from calibrate.program.sight import View
from calibrate.program.solution import Attempt
from calibrate.program.standard_form import Point, StandardForm, Tail
from calibrate.program.statement import vector_at

__all__ = ["closest", "on_trees"]

Floats = npt.NDArray[np.float64]

TIE = 0.3  # of the tolerance: what the objective may give for a plan closer to the reference
EXACT = 1e-8  # of the tolerance
ROUNDING = 1e-4  # of the tolerance: what a plan as good may cost more in print
SMOOTH, ATOMS = 100.0, 300.0  # first price of the distance: times the one that is small enough for certain
MOST_PRICES = 10
SHARPER, SHARPEST = 100.0, 2  # times the price, and so often, where rounding leaves a plan that is not exact
MOST_STEPS, LOWER = 80, 0.1  # of one price; and where they do not do, the next one


def closest(level: Level, best: Bounds) -> Bounds:
    """Among plans within the tolerance, the closest to the reference: the distance gets a price in the objective.

    A small enough price picks exactly among optimal plans (Friedlander and Tseng 2007). The objective never gives
    more than the price of the distance gone, so that a price of `TIE` of the tolerance over the distance would be
    small enough for certain; a larger one is exact to more digits, and is lowered where the objective gives too
    much. Where losses lie on atoms the optimal plans are many, and more digits are worth more steps; where rounding
    leaves a plan that is not exact, a larger price is tried beside it. What rounding hides of a price so
    small, the face of the optimum tells (`face`).
    """
    distance = _Distance.of(level)
    left_over = max(1.0 - best.gap / level.tolerance, 0.0)  # the gap and what is given must not exceed the tolerance
    allowed = min(TIE, 0.9 * left_over) * level.tolerance * max(abs(best.upper), LITTLE)
    itself = _reference(level, best, allowed)
    if itself is not None or best.tied:
        return itself or best
    return _at_prices(level, best, distance, allowed)


def _at_prices(level: Level, best: Bounds, distance: _Distance, allowed: float) -> Bounds:
    """The closest plan at any price that gives no more than is allowed; the plan that was known if there is none."""
    price, start, at, found = _Price.first(distance, best.v, allowed), best.point, best.v, best
    for _ in range(MOST_PRICES):
        if start is None or price.value <= 0:
            break
        point = _pulled(level, at, distance, price.value, start)
        if point.status == DIVERGED or (point.status == STEP_LIMIT and found is not best):
            break
        if point.status == STEP_LIMIT:  # a lower price is decided sooner
            price.value *= LOWER
            continue
        before = level.tails
        if _held(level, point):  # closer plans lie outside: from now on they do not
            if not level.loosen(point.v):
                level.extend(point.v, level.look(point.v))
            start = _moved(level, start, before)
            continue
        if not point.residual <= FEASIBLE:
            if price.raised():
                continue
            break
        sight = level.look(point.v)
        closer = replace(best, v=point.v, upper=level.view.value(point.v, sight))
        gives = closer.upper - best.upper
        if gives <= allowed:
            found = closer if found is best or distance.far(closer.v) < distance.far(found.v) else found
        if found is not best:
            if point.status == STALLED and gives <= allowed and price.raised():
                continue
            break
        at = level.view.lift(point.v, sight)
        known = point.value - distance.pull(price.value, point.v) - best.upper
        if level.extend(point.v, sight) == 0 or known > allowed:  # also where the working set knows that: too high
            price.lower(distance, gives, allowed)
        start = _moved(level, start, before)
    return found


def on_trees(level: Level, start: Point) -> Point | None:
    """The same as far as what is planted tells, without a pass: from a point that is optimal there; None if undecided.

    Where the trees have the whole tail, the plan that is then seen over all scenarios is the last one.
    """
    distance = _Distance.of(level)
    allowed = TIE * level.tolerance * max(abs(start.value), LITTLE)
    price, found = _Price.first(distance, start.v, allowed), None
    for _ in range(MOST_PRICES):
        if price.value <= 0:
            break
        point = _pulled(level, start.v, distance, price.value, start)
        if point.status == STEP_LIMIT and found is None:
            price.value *= LOWER
            continue
        if _held(level, point):  # closer plans lie outside
            return None
        if point.status in (STEP_LIMIT, DIVERGED):
            break
        if not point.residual <= FEASIBLE:
            if price.raised():
                continue
            break
        gives = point.value - distance.pull(price.value, point.v) - start.value
        if gives > allowed and found is None:
            price.lower(distance, gives, allowed)
            continue
        if gives <= allowed and (found is None or distance.far(point.v) < distance.far(found.v)):
            found = point
        if point.status != STALLED or gives > allowed or not price.raised():
            break
    return found


def _held(level: Level, point: Point) -> bool:
    """Whether the neighbourhood holds a plan, or rounding stopped at its edge, where nothing tells."""
    return point.status == AT_A_CAP or (
        point.status == STALLED and level.around.full(level.form.plan(point.v)).size > 0
    )


def _reference(level: Level, best: Bounds, allowed: float) -> Bounds | None:
    """The reference itself, where it is as good as the plan found: nothing moves then, not by a digit.

    What it costs on the working set is less than what it costs; mostly that is too much already, and no pass is needed.
    """
    program, form = level.program, level.form
    x = reference_point(program)
    entries = form.entries(x)
    if not x.any() or not np.allclose(form.scale[: program.size] * entries, x, rtol=1e-12, atol=0.0):
        return None
    v = np.zeros(form.size)
    v[: program.size] = entries
    most = best.upper + allowed
    if form.body.constant + form.body.q @ v > most:
        return None
    if View(program, form, level.sample.among(level.seen)).price(v) > most or not program.as_fair(x, form.plan(best.v)):
        return None
    v = vector_at(program, form, x)
    sight = level.look(v)
    upper = level.view.value(v, sight)
    return replace(best, v=level.view.lift(v, sight), upper=upper, tied=True) if upper <= most else None


@dataclass(frozen=True, eq=False)
class _Distance:
    """From the reference, `squares @ (v - target)^2`; `first` is its first price over the one that is certain."""

    squares: Floats
    target: Floats
    first: float

    @classmethod
    def of(cls, level: Level) -> _Distance:
        n, form = level.program.size, level.form
        squares, target = np.zeros(form.size), np.zeros(form.size)
        squares[:n] = (reference_weights(level.program) * form.scale[:n]) ** 2
        target[:n] = form.entries(reference_point(level.program))
        return cls(squares, target, ATOMS if level.on_atoms else SMOOTH)

    def far(self, v: Floats) -> float:
        """The distance of a plan."""
        return float(self.squares @ (v - self.target) ** 2)

    def pull(self, price: float, v: Floats) -> float:
        """What the distance costs at a price, without its constant."""
        return float(price * self.squares @ (v * (v - 2 * self.target)))


@dataclass
class _Price:
    """Of the distance: lowered where the objective gives too much, raised where rounding leaves a plan inexact."""

    value: float
    raises: int = SHARPEST

    @classmethod
    def first(cls, distance: _Distance, v: Floats, allowed: float) -> _Price:
        """Where the objective may give so much from a plan on; 0 at the reference."""
        far = distance.far(v)
        return cls(distance.first * allowed / far if far > 0 else 0.0)

    def lower(self, distance: _Distance, gives: float, allowed: float) -> None:
        """After one at which the objective gave too much."""
        self.value *= max(0.9 * min(float(np.sqrt(allowed / gives)), 0.1), 1 / distance.first)

    def raised(self) -> bool:
        """Whether it was raised; false if it was often enough."""
        if not self.raises:
            return False
        self.value, self.raises = SHARPER * self.value, self.raises - 1
        return True


def _moved(level: Level, start: Point, before: list[Tail]) -> Point:
    """A start with the trees of the level, where it had those `before`."""
    way = start.on_the_way
    if way is None or not way.has_trees(before):
        return start
    return replace(start, on_the_way=grafted(way, before, level.tails, level.form.priced(way.limit)))


def _pulled(level: Level, v: Floats, distance: _Distance, price: float, like: Point) -> Point:
    """The program on the working set, with the distance at a price in the objective."""
    plain, prices = StandardForm(level.body(), level.tails, list(level.form.rows)), price * distance.squares
    body = replace(plain.body, P=2 * prices, q=plain.body.q - 2 * prices * distance.target)  # see `_Distance.pull`
    method = InteriorPoint(replace(plain, body=body), MOST_STEPS)
    exact = EXACT * level.tolerance
    if like.on_the_way is not None and method.fits(like.on_the_way):
        point = method.follow(like.on_the_way.copy(), exact)
    else:
        point = method.solve(v, exact, WARM * max(abs(like.value), LITTLE) / method.form.pairs, like)
    level.attempts.append(Attempt(f"tie at price {price:.1e}", f"{point.status} after {point.iterations} steps"))
    if point.status in (DIVERGED, STEP_LIMIT, AT_A_CAP) or not point.residual <= FEASIBLE:
        return point
    rounding = ROUNDING * level.tolerance * max(abs(like.value), LITTLE)
    nearer = nearest_on_face(plain, point, distance.squares, distance.target, rounding)
    if nearer is None:
        return point
    return replace(point, v=nearer, value=plain.costs(nearer) + distance.pull(price, nearer))
