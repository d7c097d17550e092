"""Members who look alike pay the same, to the last bit: what a solver leaves of a difference is evened out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from calibrate.program.answer import gaps_at
from calibrate.program.extensive import reference_point, reference_weights
from calibrate.program.form import Program
from calibrate.program.measure import objective_at
from calibrate.program.order import Order
from calibrate.program.solution import Solution

__all__ = ["evened"]

Floats = npt.NDArray[np.float64]

ROUNDING = 1e-9  # units: a gap of a rule or a distance larger by no more is rounding


def evened(program: Program, solution: Solution, tolerance: float) -> Solution:
    """The solution with the mean for each of those who look alike (`Order.alike`), where that is as good.

    If their exchange leaves the program as it is, the mean of the exchanged plans is no dearer, breaks no rule and is
    no farther from the reference, as all of these are convex. If it does not (a rule names one of them), one of these
    will be the worse for it, and the solution stays.
    """
    ordered = program.ordered
    if ordered.pool.order is None:
        return solution
    x = ordered.arranged(solution.x)
    mean = _means(x, ordered.pool.order)
    if np.array_equal(mean, x) or _distance(ordered, mean) > _distance(ordered, x) + ROUNDING:
        return solution
    evened_out = replace(solution, x=mean).told(program)
    gap = program.relative_gap(objective_at(program, evened_out.x), solution.lower_bound)
    as_fair = np.all(gaps_at(ordered, mean) <= np.maximum(gaps_at(ordered, x), 0.0) + ROUNDING * program.unit)
    return evened_out if as_fair and gap <= tolerance else solution


def _means(x: Floats, order: Order) -> Floats:
    cells = x[: len(order.cells)].reshape(len(order.members), -1).copy()
    for one in np.flatnonzero(np.bincount(order.alike) > 1):
        same = order.alike == one
        cells[same] = [math.fsum(column) / len(column) for column in cells[same].T.tolist()]
    return np.append(cells, x[len(order.cells) :])


def _distance(ordered: Program, x: Floats) -> float:
    return float(np.sum((reference_weights(ordered) * (x - reference_point(ordered))) ** 2))
