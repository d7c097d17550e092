"""The program at any number of scenarios: solved on a working set of the tail, between a lower and an upper bound.

The lower bound is that of the multipliers (`bound`, with the proof). The upper bound is the plan itself, its CVaR over
all scenarios computed exactly. When its tail lies within the working set the two meet. Coarse samples tell where the
tail is; then `level` solves on all scenarios, and `tie` picks among the plans that are optimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from calibrate.blocks import HELD
from calibrate.errors import SolverError
from calibrate.one_thread import ONE_THREAD
from calibrate.program.bound import smallest
from calibrate.program.compiled import Compiled, compiled
from calibrate.program.extensive import reference_point
from calibrate.program.first import good_multiple
from calibrate.program.form import LITTLE, Program
from calibrate.program.held import Held, held_together
from calibrate.program.level import ROUGH, Level, Tie
from calibrate.program.sample import Sample
from calibrate.program.search import WARM, Bounds
from calibrate.program.solution import Attempt, Solution
from calibrate.program.statement import vector_at
from calibrate.program.tie import closest, on_trees

__all__ = ["least_slack", "slack_bounds", "solve_by_tail"]

Floats = npt.NDArray[np.float64]

PROOF = "multipliers of rules and tail, by weak duality"
COARSER = 10  # a level has a tenth of the scenarios of the one above
COARSEST = 100  # scenarios in a tail below which no coarser level helps
COLD = 1.0  # complementarity at the start far from the optimum, relative to the objective
NOTHING = 1e-9  # units: an amount, of the size of the tail of all losses, that is as good as none


def solve_by_tail(program: Program, tolerance: float, start: Floats | None = None) -> Solution:
    """Optimum within `tolerance`, proved by the two bounds, and among such plans the one closest to the reference.

    `start`: decisions (units) that are thought to be near the optimum. Raises `NotSeparable` when the program has a
    form this way does not know, SolverError when the bounds do not meet.
    """
    program.check()
    ordered = program.ordered
    with ONE_THREAD:
        form = compiled(ordered)
        near = None if start is None else ordered.arranged(start)
        try:
            solution = _near(ordered, form, tolerance, near)
            if solution is None:
                level, best = _levels(ordered, form, tolerance, on_trees)
        except (SolverError, ArithmeticError):
            held = held_together(form)
            if held is None:
                raise
            return _without_held(ordered, held, tolerance).told(program)
        return (solution or _solution(level, closest(level, best))).told(program)


def _without_held(program: Program, held: Held, tolerance: float) -> Solution:
    """The solution where rules hold decisions at zero together: that of the rest, with a bound still to be proved."""
    level, best = _levels(program, held.rest, tolerance)
    best = closest(level, best)
    if best.witness is not None:
        best = replace(best, witness=held.told(best.witness), claimed=True)
    return _solution(level, best)


def least_slack(program: Program, elastic: Sequence[object], tolerance: float = 1e-7) -> tuple[float, Floats]:
    """Least sum of what the `elastic` rules and limits have to give for a plan to exist, and such a plan; in units."""
    best, x = slack_bounds(program, elastic, tolerance), np.zeros(program.size)
    x[program.ordered.positions] = np.maximum(best.v[: program.size], 0.0)
    return best.upper - 1.0, x


def slack_bounds(program: Program, elastic: Sequence[object], tolerance: float = 1e-7) -> Bounds:
    """Bounds on 1 plus the least slack; their multipliers prove that without slack there is no plan."""
    ordered = program.ordered
    with ONE_THREAD:
        return _levels(ordered, compiled(ordered, elastic), tolerance)[1]


def _near(program: Program, form: Compiled, tolerance: float, start: Floats | None) -> Solution | None:
    """From a plan near the optimum, on all scenarios at once.

    None where there is none, where it leads nowhere, and where no tie is decided from there: the answer does not depend
    on where the search sets out. An optimum of next to nothing has so many plans that one near the start would do.
    """
    if start is None:
        return None
    level = Level(program, form, Sample.every(program, 1), tolerance, near=True, tie=on_trees)
    try:
        best = level.run(vector_at(program, form, start), None)[0]
        if abs(best.upper) <= LITTLE:
            return None
        decided = closest(level, best)
    except (SolverError, ArithmeticError):
        return None
    return _solution(level, decided) if decided.tied or decided is not best else None


def _levels(program: Program, form: Compiled, tolerance: float, tie: Tie | None = None) -> tuple[Level, Bounds]:
    """From the coarsest sample to all scenarios, each level starting where the one before ended."""
    v = np.zeros(form.size)
    v[: program.size] = 0.5 * form.entries(reference_point(program))
    mu, near = COLD * float(max(form.prices.sum() + form.body.constant, 1e-3)), False
    for stride in _strides(program):
        with suppress(SolverError, ArithmeticError):  # a sample may have no plan where the whole has one
            level = Level(program, form, Sample.every(program, stride), ROUGH, near)
            best, point = level.run(v if near else good_multiple(program, form, level.sample, v), mu)
            v, mu, near = point.v, max(WARM * abs(best.upper), LITTLE * mu), True
    level = Level(program, form, Sample.every(program, 1), tolerance, near, tie)
    return level, level.run(v if near else good_multiple(program, form, level.sample, v), mu)[0]


def _strides(program: Program) -> list[int]:
    """From the coarsest level to the finest but one."""
    scenarios = program.pool.scenarios
    n = len(scenarios)
    share = 1 - max((term.level for term in program.risk_terms), default=0.0)
    most = n * share / COARSEST
    levels = int(np.log(most) / np.log(COARSER) + 1e-9) if most > 1 else 0  # of 1e6 at .99 two, however rounded
    strides = [COARSER**k for k in range(levels, 0, -1)]
    return strides if scenarios.in_memory else [k for k in strides if scenarios.losses.size <= HELD * k]


def _solution(level: Level, best: Bounds) -> Solution:
    """The plan, its bound in money, the shadow prices of rules and limits, and how it came about."""
    shadows: list[float] = []
    if best.point is not None:
        prices = np.abs(level.form.room).T @ np.abs(best.point.rule)
        E, _ = level.form.equalities
        equal = np.append(best.point.equal, np.zeros(len(E) - len(best.point.equal)))
        prices = prices + np.abs(level.form.equal_room).T @ np.abs(smallest(E, equal))
        shadows = [float(price) for price in prices]
        shadows += [float(multiplier) for multiplier in best.point.limit]
    return Solution(
        _without_dust(level, best),
        best.lower * level.program.unit,
        tuple(shadows),
        (*level.attempts, Attempt("passes over all scenarios", str(level.view.passes))),
        PROOF,
        best.witness,
        best.claimed,
        level.form.scale * best.v,
    )


def _without_dust(level: Level, best: Bounds) -> Floats:
    """The plan without the traces that an interior method leaves where nothing is due, if it costs no more so."""
    n, cells = level.program.size, level.program.n_cells
    x = level.form.plan(best.v)
    of_cells = level.sample.losses[level.seen].max(axis=0, initial=0.0) / level.program.unit
    largest = np.append(of_cells, np.ones(n - cells))
    clean = np.where(x < NOTHING * np.where(largest > 0, largest, 1.0), 0.0, x)
    if np.array_equal(clean, x):
        return x
    as_fair = level.program.as_fair(clean, x)
    return clean if as_fair and replace(best, upper=_upper(level, best, clean)).gap <= level.tolerance else x


def _upper(level: Level, best: Bounds, clean: Floats) -> float:
    """What a plan without traces costs at most, units: a pass over all scenarios where that is not plain.

    In no scenario does it leave more than what the traces would have paid, nor does a CVaR grow by more; costs fall.
    """
    n, form = len(clean), level.form
    if not form.rows and form.body.q.min() >= 0:
        before, after = (np.hstack(form.amounts.at(x)) for x in (form.plan(best.v), clean))
        paid = float(np.abs(before - after).sum())
        most = best.upper + float(form.prices.sum()) * paid
        if replace(best, upper=most).gap <= level.tolerance:
            return most
    v = best.v.copy()
    v[:n] = form.entries(clean)
    return level.view.value(v, level.look(v))
